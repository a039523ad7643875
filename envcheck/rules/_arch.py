"""The two rules on GPU architectures differ only in the side they report; this is what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import known
from envcheck.rules._coverage import ELSEWHERE, Coverage, coverage, distinct, toolkit_side
from envcheck.rules._floors import cite
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Toolkit
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpu_code import GpuCode
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix

SMALL_MIB = 4096
"""A GPU with less memory beside one that works is there for the display."""


class Site:
    """The machine and what is installed, as both rules need it."""

    def __init__(
        self,
        gpus: Sequence[GpuView],
        visible: Sequence[GpuView] | None,
        driver: Driver | None,
        packages: Packages | None,
        python: str | None,
        matrix: Matrix,
    ) -> None:
        self.gpus, self.driver, self.packages, self.python, self.matrix = gpus, driver, packages, python, matrix
        self.visible = gpus if visible is None else visible


def judge_builds(side: str, builds: Sequence[FrameworkBuild], codes: Sequence[GpuCode], site: Site) -> Iterator[Result]:
    """Results of one side for every build on every kind of GPU."""
    for build in builds:
        if build.package in ELSEWHERE:
            continue
        answers = [(gpu, coverage(build, gpu, codes, site.matrix)) for gpu, _ in distinct(site.gpus)]
        some_run = any(answer.kind in ("runs", "jit", "tegra") for _, answer in answers)
        for gpu, answer in answers:
            subject = f"{build} on {gpu.name}"
            if answer.kind == side:
                yield _finding(side, build, gpu, answer, some_run, site)
            elif answer.kind == "tegra":
                if side == "newer":
                    yield _finding(side, build, gpu, answer, some_run, site)
            elif answer.kind == "unknown":
                yield Undecided(subject, answer.missing, answer.why)
            elif answer.kind in ("runs", "jit"):
                if answer.share < 1 and side == "newer" and gpu in site.visible:
                    yield _partly(build, gpu, answer)
                yield Pass(subject, f"{build} {answer.why}")


def _finding(side: str, build: FrameworkBuild, gpu: GpuView, answer: Coverage, some_run: bool, site: Site) -> Finding:
    severity = answer.severity
    note = ""
    if gpu not in site.visible:
        severity, note = "info", "; CUDA_VISIBLE_DEVICES hides this GPU"
    elif some_run and gpu.memory_mib is not None and gpu.memory_mib < SMALL_MIB and severity == "error":
        severity, note = "warning", "; the other GPU is served, keep programs off this one"
    word = "unusual" if answer.kind == "tegra" else "too new" if side == "newer" else "too old"
    message = f"{gpu} is {word} for {build}, which {answer.why}{note}"
    return Finding(
        severity=severity,
        confidence=answer.confidence,
        subject=f"{build} on {gpu.name}",
        message=message,
        evidence=answer.evidence,
        fixes=_fixes(build, gpu, some_run, site),
    )


def _partly(build: FrameworkBuild, gpu: GpuView, answer: Coverage) -> Finding:
    """Some kernels have no code for this GPU; builds leave out what they hold to be useless there."""
    return Finding(
        severity="info",
        confidence="medium",
        subject=f"{build} on {gpu.name}",
        message=f"{100 * answer.share:.0f} % of the GPU code of {build} runs on {gpu}; "
        "the other kernels have no code for it, which builds often leave out by design.",
        evidence=answer.evidence,
        fixes=[Fix("", "nothing to do, unless an operator fails with 'no kernel image is available'", "manual")],
    )


def _fixes(build: FrameworkBuild, gpu: GpuView, some_run: bool, site: Site) -> list[Fix]:
    from envcheck.rules._fixes import driver_update, framework_fix

    everyone = [one for one in site.visible if one.sm] or [gpu]
    fix = framework_fix(build.package, site.matrix, site.driver, everyone, site.packages, site.python)
    found = [fix] if fix else []
    if fix is None:
        # A build for this GPU may exist that asks for a newer driver.
        newer = framework_fix(build.package, site.matrix, None, everyone, site.packages, site.python)
        if newer is not None:
            row = site.matrix.row("compute-capabilities", cc=gpu.cc) if gpu.cc else None
            floor = _floor_of_label(newer.command, site) or (row["first_driver_branch"] if row else None)
            update = driver_update(site.matrix, site.driver, floor, everyone) if floor else None
            found = [_both(newer, update) if update else newer]
    if some_run and site.gpus:
        others = ",".join(str(one.index) for one in site.gpus if (one.name, one.cc) != (gpu.name, gpu.cc))
        if others:
            found.append(Fix(f"export CUDA_VISIBLE_DEVICES={others}", f"keep {gpu.name} out", "safe"))
    return found or [Fix("", f"use a build of {build.package} that has code for compute capability {gpu.cc}", "review")]


def _both(build: Fix, driver: Fix) -> Fix:
    """Neither helps alone: a build with code for the GPU, and the driver that this build asks for."""
    command = "\n".join(filter(None, (build.command, driver.command)))
    return Fix(command, f"both are needed: a build for this GPU, and {driver.note}", "manual", build.verify)


def _floor_of_label(command: str, site: Site) -> str | None:
    """The driver that the build in a command such as ``... /whl/cu130`` needs."""
    from envcheck.facts.builds import cuda_of_label
    from envcheck.rules._floors import floor_of

    cuda = cuda_of_label(command.rpartition("/")[2])
    floor = floor_of(site.matrix, cuda, windows=bool(site.driver and site.driver.windows)) if cuda else None
    return floor[0] if floor else None


def judge_toolkit(
    side: str,
    toolkit: Toolkit | None,
    builds: Sequence[FrameworkBuild],
    codes: Sequence[GpuCode],
    site: Site,
) -> Iterator[Result]:
    """nvcc compiles for a range of GPUs; that matters when it is what programs are built with."""
    version = known(toolkit.version) if toolkit is not None else None
    if toolkit is None or version is None or known(toolkit.nvcc) is False:
        return
    for gpu, _ in distinct(site.gpus):
        row = site.matrix.row("compute-capabilities", cc=gpu.cc) if gpu.cc else None
        if gpu.sm is None or row is None:
            continue
        found = toolkit_side(version, gpu.sm, site.matrix)
        near = found is None and compare_numbers(row["first_toolkit"] or "0", version) > 0
        subject = f"nvcc {version} for {gpu.name}"
        if found != side and not (near and side == "newer"):
            if found is None and not near:
                yield Pass(subject, f"CUDA toolkit {version} compiles for compute capability {gpu.cc}")
            continue
        covered = [one for one in builds if coverage(one, gpu, codes, site.matrix).kind in ("runs", "jit")]
        severity = (
            "info"
            if covered or gpu not in site.visible
            else "warning"
            if site.packages is not None
            else "error"  # nothing prebuilt is named: the toolkit is what programs are built with
        )
        first, last = row["first_toolkit"], row["last_toolkit"]
        limit = f"CUDA {first} is the first that can" if side == "newer" else f"CUDA {last} is the last that can"
        message = f"nvcc {version} cannot compile for {gpu}: {limit}"
        if covered:
            message += f"; {covered[0]} does not need it to run"
        elif near:
            message += "; only code that is built for a lower capability of the same major runs on it"
        yield Finding(
            severity=severity,
            confidence="medium",
            subject=subject,
            message=message,
            evidence=[
                Evidence(f"nvcc {version}", known(toolkit.path) or "toolkit"),
                gpu.evidence,
                cite(site.matrix, row, f"compute capability {gpu.cc}: CUDA {first} to {last or 'now'}"),
            ],
            fixes=_toolkit_fixes(side, first, last, site),
        )


def _toolkit_fixes(side: str, first: str | None, last: str | None, site: Site) -> list[Fix]:
    from envcheck.rules._fixes import toolkit_install

    wanted = first if side == "newer" else last
    if site.driver is not None and site.driver.windows:
        return [Fix("", f"install CUDA toolkit {wanted}", "manual", "nvcc --version")]
    return [toolkit_install(wanted or "", f"the {'first' if side == 'newer' else 'last'} toolkit for this GPU")]


def known_builds(builds: Sequence[FrameworkBuild] | None) -> list[FrameworkBuild]:
    """Builds that can be judged; those whose CUDA is not known last."""
    return sorted(builds or [], key=lambda build: not numbers(build.cuda or ""))
