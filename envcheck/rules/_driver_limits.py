"""Where a driver that is new enough by its number ends all the same, and the fixes of rules on the driver.

cuda-compat on GPUs or kernel drivers that it does not serve; hardware newer than the driver; PTX newer than the
driver's compiler; what an image demands before it starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import known
from envcheck.rules._coverage import distinct
from envcheck.rules._floors import cite, ptx_isa
from envcheck.versions import compare_numbers, minor, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpu_code import GpuCode
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix


class DriverFixes:
    """Everything that the fixes of this rule are made from."""

    def __init__(
        self,
        matrix: Matrix,
        driver: Driver,
        gpus: Sequence[GpuView],
        packages: Packages | None,
        python: str | None,
        snapshot: Snapshot,
    ) -> None:
        self.matrix, self.driver, self.gpus, self.packages, self.python = matrix, driver, gpus, packages, python
        self.snapshot = snapshot

    def other_driver(self, floor: str | None, cuda: str | None = None) -> list[Fix]:
        from envcheck.rules._fixes import driver_update

        machine, stack = self.snapshot.machine, self.snapshot.stack
        container = isinstance(stack.container, str)
        fix = driver_update(
            self.matrix,
            self.driver,
            floor,
            self.gpus,
            cuda=cuda,
            container=container,
            wsl=bool(known(machine.wsl)),
            system=known(machine.system),
            distro=None if container else known(machine.userland.distro),
        )
        return [fix] if fix else []

    def other_build(self, package: str) -> list[Fix]:
        from envcheck.rules._fixes import framework_fix

        fix = framework_fix(package, self.matrix, self.driver, self.gpus, self.packages, self.python)
        return [fix] if fix else []

    def all(self, package: str | None, floor: str | None, cuda: str) -> list[Fix]:
        from envcheck.rules._fixes import compat_package

        found = self.other_build(package) if package else []
        found += self.other_driver(floor, cuda)
        compat = None if self.driver.windows or self.driver.tegra else compat_package(cuda, self.gpus)
        if compat:
            found.append(compat)
        return found or [Fix("", f"use a build for a CUDA that {self.driver} serves", "review")]


def forward_compat(driver: Driver, gpus: Sequence[GpuView], matrix: Matrix) -> Iterator[Result]:
    """cuda-compat runs on some GPUs and over some kernel drivers only."""
    if driver.forward_compat is None or driver.tegra:
        return
    subject = f"cuda-compat on {driver}"
    evidence = [Evidence(driver.forward_compat, "driver"), *driver.evidence]
    off = Fix(
        "unset LD_LIBRARY_PATH",
        "take the folder of cuda-compat off the loader's path and use a build that the driver itself serves",
    )
    refused = [gpu for gpu in gpus if gpu.data_center is False]
    unsure = [gpu for gpu in gpus if gpu.data_center is None]
    if refused:
        yield Finding(
            severity="error" if driver.compat_seen else "warning",
            confidence="medium",
            subject=f"{subject}, {refused[0].name}",
            message=(
                f"cuda-compat is active ({driver.forward_compat}), but {refused[0].name} is not eligible for forward "
                f"compatibility (data-centre GPUs are): CUDA fails with error 804"
            ),
            evidence=[*evidence, refused[0].evidence],
            fixes=[off],
        )
    elif unsure:
        yield Finding(
            severity="warning",
            confidence="low",
            subject=f"{subject}, {unsure[0].name}",
            message=f"cuda-compat is active, and whether {unsure[0].name} may use forward compatibility is not known",
            evidence=evidence,
            fixes=[off],
        )
    if driver.cuda and driver.branch and len(numbers(driver.cuda)) > 1:
        row = matrix.row("forward-compat", package=minor(driver.cuda), driver_branch=str(driver.branch))
        if row is not None and row["verdict"] == "not-compatible":
            text = f"cuda-compat {minor(driver.cuda)} is not compatible with driver branch {driver.branch}"
            yield Finding(
                severity="error" if driver.compat_seen else "warning",
                confidence="medium",
                subject=subject,
                message=f"{text}: CUDA fails with error 803; the driver's own libcuda is the newer one",
                evidence=[*evidence, cite(matrix, row, text)],
                fixes=[off],
            )


def new_hardware(driver: Driver, gpus: Sequence[GpuView], matrix: Matrix, fixes: DriverFixes) -> Iterator[Result]:
    """A GPU needs the driver branch that first knows it, whatever the floor of the CUDA release says."""
    have = driver.branch or _branch_of_cuda(driver, matrix)
    if have is None or driver.tegra:
        return
    for gpu, _ in distinct(gpus):
        row = matrix.row("compute-capabilities", cc=gpu.cc) if gpu.cc else None
        first = row["first_driver_branch"] if row is not None else None
        if row is None or not first or isinstance(gpu.raw.uuid, str) or gpu.memory_free_mib is not None:
            continue  # what NVML lists is driven
        if driver.windows:
            branch = matrix.row("driver-branches", branch=first)
            first = branch["windows_low"] if branch is not None else None
        if first and have < int(first):
            certain = row["confidence"] == "high"
            yield Finding(
                severity="error" if certain else "warning",
                confidence="medium" if certain else "low",
                subject=f"{gpu.name} on {driver}",
                message=f"{gpu} needs driver branch {first} or newer, but the machine has {driver}, which lacks it",
                evidence=[*driver.evidence, gpu.evidence, cite(matrix, row, f"{gpu.cc} from driver branch {first} on")],
                fixes=fixes.other_driver(first) or [Fix("", f"install a driver of branch {first} or newer", "manual")],
            )
            return


def _branch_of_cuda(driver: Driver, matrix: Matrix) -> int | None:
    """The Linux branch that serves the CUDA release that was read, where the driver's own version is not known."""
    if driver.cuda is None or driver.windows or driver.forward_compat:
        return None
    row = matrix.row("driver-branches", cuda=minor(driver.cuda))
    return numbers(row["branch"])[0] if row is not None else None


def ptx_limit(
    driver: Driver,
    gpus: Sequence[GpuView],
    codes: Sequence[GpuCode],
    served: Sequence[FrameworkBuild],
    matrix: Matrix,
    fixes: DriverFixes,
) -> Iterator[Result]:
    """Minor-version compatibility ends where PTX must be compiled: the driver reads PTX up to its own release."""
    reads = ptx_isa(matrix, driver.cuda)
    for code in codes:
        stated = ptx_isa(matrix, code.build.cuda)
        if not reads or code.build not in served:
            continue
        for gpu in gpus:
            if gpu.sm is None or code.machine_code_for(gpu.sm) or not code.ptx_for(gpu.sm):
                continue
            writes = code.isa_for(gpu.sm) or stated
            if not writes or compare_numbers(writes, reads) <= 0:
                continue
            yield Finding(
                severity="error",
                confidence="medium",
                subject=f"{code.build} on {gpu.name}",
                message=(
                    f"{code.build} serves {gpu} by PTX {writes} alone, and {driver} compiles PTX up to {reads} "
                    f"only: error 222"
                ),
                evidence=[code.evidence, *driver.evidence, gpu.evidence],
                fixes=fixes.all(code.build.package, None, code.build.cuda or ""),
            )
            break


def image_demands(
    env: dict[str, str], driver: Driver, gpus: Sequence[GpuView], fixes: DriverFixes, snapshot: Snapshot
) -> Iterator[Result]:
    """NVIDIA_REQUIRE_CUDA: the container is refused at its start when the demand is not met."""
    from envcheck.rules._require import demands, disabled, met

    stated = demands(env)
    if not stated or disabled(env):
        return
    # A container that sees the device nodes has started already: its engine does not ask, or asked and was content.
    running = snapshot.built_on is None and bool(known(snapshot.machine.nvidia.nodes))
    for name, value in stated:
        answer = met(value, driver, gpus)
        first = value.split()[0]
        if answer:
            yield Pass(name, f"{driver} meets {first}")
        elif answer is None:
            if not running:
                missing = "driver.cuda" if driver.cuda is None else "gpus"
                yield Undecided(name, missing, f"whether {name} ({first}) is met can't be told")
        else:
            brands = ", ".join(dict.fromkeys(gpu.name for gpu in gpus)) or "this GPU"
            yield Finding(
                severity="warning" if running else "error",
                confidence="medium",
                subject=f"{name} on {driver}",
                message=(
                    f"the image demands {first} (or one of its alternatives), but the machine has {driver} and "
                    f"{brands}, which meets none: the container engine refuses to start it"
                ),
                evidence=[Evidence(f"{name}={value}", "environment"), *driver.evidence],
                fixes=[
                    *fixes.other_driver(_full_driver(first, fixes.matrix, driver)),
                    Fix(
                        "docker run -e NVIDIA_DISABLE_REQUIRE=1 --gpus all IMAGE",
                        "skips the test at the start; what the driver does not serve then fails at run time",
                        "review",
                    ),
                ],
            )


def _full_driver(condition: str, matrix: Matrix, driver: Driver) -> str | None:
    """The driver whose own release is the CUDA that is asked for: a demand knows no minor-version compatibility."""
    wanted = condition.partition("cuda>=")[2].partition(",")[0]
    if len(numbers(wanted)) < 2:
        return None
    row = matrix.row("cuda-toolkits", toolkit=minor(wanted))
    return str(row["windows_driver_full" if driver.windows else "linux_driver_full"]) if row else None
