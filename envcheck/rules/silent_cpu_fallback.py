"""A program that asks for the GPU runs on the CPU.

What it does
    Compares the device that smoke tests asked for with where they really ran: the device of the results, the providers
    of the session and the kernels that each of them ran. Also reports GPU builds that offer no GPU at all where there
    is one. Smoke tests run only where they are asked for: `envcheck smoke`, `envcheck --smoke`.

Why it fails
    Frameworks go on without what they cannot load. ONNX Runtime lists the providers that were compiled in, whether
    their libraries are there or not, and takes the next provider where one cannot be made; TensorFlow and JAX register
    no GPU and say so in one line. The results are right, and come tens of times later.

How it shows
    `Failed to create CUDAExecutionProvider`; `Failed to load library libonnxruntime_providers_cuda.so with error:
    libcublasLt.so.12: cannot open shared object file`; `Cannot dlopen some GPU libraries. Skipping registering GPU
    devices`; `Falling back to cpu`; a GPU that is idle in nvidia-smi.

How to fix
    Mend the cause: where another rule knows it, it stands there and this finding is shown under it. In programs, look
    at `session.get_providers()` or at the device of a result, and stop when it is not the one that was asked for.

Exceptions
    On a machine without a GPU a GPU build is a warning: many run their tests so. Where the device was asked for by name
    it is an error. TensorRT is an extra of ONNX Runtime: its provider without TensorRT is only mentioned.

Sources
    The smoke test itself: providers of the session, its profile, the device of the results. ONNX Runtime's
    documentation of execution providers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import known
from envcheck.facts.smoke import cause_of, is_cpu, lines, of_family, strayed, where_it_ran
from envcheck.rules.smoke_failure import again

if TYPE_CHECKING:
    from envcheck.core.snapshot import SmokeTest, Snapshot
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.libraries import Libraries
    from envcheck.facts.smoke import Smoked
    from envcheck.matrix import Matrix

OPTIONAL = ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
"""Providers that are compiled in and need a product of its own."""


def check(
    smoked: list[Smoked],
    *,
    cuda_builds: Sequence[FrameworkBuild] = (),
    visible_gpus: Sequence[GpuView] = (),
    packages: Packages | None = None,
    libraries: Libraries | None = None,
    snapshot: Snapshot,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge where each test ran, and whether GPU builds had a GPU to offer."""
    scene = Scene(cuda_builds, packages, libraries, snapshot, matrix)
    for one in smoked:
        if not one.on_gpu or one.test.outcome == "untested" or one.own_failure:
            continue
        away = strayed(one.test)
        if away:
            yield _finding(one, away, scene)
        elif where_it_ran(one.test) or one.test.providers or one.test.kernels:
            yield Pass(str(one), "it ran where it was asked to")
        else:
            yield Undecided(str(one), f"smoke.{one.test.backend}.ran_on", "where it ran was not told")
    if visible_gpus:
        yield from _without_offer(smoked, cuda_builds, visible_gpus[0])


class Scene(NamedTuple):
    """What the fixes need of the rest of the machine."""

    builds: Sequence[FrameworkBuild]
    packages: Packages | None
    libraries: Libraries | None
    snapshot: Snapshot
    matrix: Matrix

    @property
    def has_tensorrt(self) -> bool:
        from envcheck.rules.missing_shared_library import TENSORRT

        if self.packages is not None and any(name in self.packages for name in TENSORRT):
            return True
        found = self.libraries.found if self.libraries is not None else ()
        return any(one.file.startswith(("libnvinfer.", "nvinfer_")) for one in found)

    def libraries_of(self, one: Smoked, name: str) -> list[Fix]:
        """How to get the library that is missing, with the others that the build needs."""
        from envcheck.rules._cuda_libs import fixes_for, needed_files

        build = next((each for each in self.builds if of_family(each.package, one.test.backend)), None)
        if build is None or self.libraries is None:
            return []
        windows = known(self.snapshot.machine.system) == "Windows"
        needed, _ = needed_files(build, self.libraries, self.matrix, windows=windows, stack=self.snapshot.stack)
        lost = [file for file in needed if not self.libraries.satisfying(file)]
        cuda = build.cuda_major or max(self.libraries.cuda_of(name), default=12)
        files = list(dict.fromkeys([*lost, *([name] if name else [])]))
        return fixes_for(build, files, cuda, None, self.libraries, self.packages, self.matrix)


def _finding(one: Smoked, away: str, scene: Scene) -> Finding:
    test = one.test
    cause = cause_of(test)
    provider = test.device.endswith("Provider")
    severity, confidence = "error", "high"
    if test.device in OPTIONAL and test.device not in test.asked and not scene.has_tensorrt:
        severity = "info"
    elif not test.asked and (one.there is not True or away == "partly" or (away == "other" and provider)):
        severity, confidence = "warning", "high" if one.there is False else "medium"
    return Finding(
        severity=severity,
        confidence=confidence,
        subject=str(one),
        message=f"{one.package} was asked for {test.device} and {_ran(one, away)}{_why(one, cause.text)}.",
        evidence=_evidence(test, one),
        fixes=_fixes(one, cause.kind, cause.name, scene),
    )


def _ran(one: Smoked, away: str) -> str:
    test = one.test
    if away == "partly":
        on_cpu = sum(count for name, count in test.kernels.items() if is_cpu(name))
        return f"ran {on_cpu} of {sum(test.kernels.values())} kernels on the CPU"
    if away == "cpu":
        return "ran on the CPU, and raised nothing"
    where = where_it_ran(test)
    return f"ran on {where if where and where != test.device else (test.providers or ['another device'])[0]}"


def _why(one: Smoked, said: str) -> str:
    parts = [f"it says: {said.rstrip('. ')[:300]}"] if said else []
    if one.there is False and one.test.kind == "cuda":
        parts.append("no NVIDIA GPU can be used here")
    return f"; {'; '.join(parts)}" if parts else ""


def _evidence(test: SmokeTest, one: Smoked) -> list[Evidence]:
    found = []
    if test.providers:
        found.append(Evidence(f"providers of the session: {', '.join(test.providers)}", "smoke test"))
    if test.kernels:
        kernels = ", ".join(f"{count} by {name}" for name, count in test.kernels.items())
        found.append(Evidence(f"kernels: {kernels}", "profile of the session"))
    if where := where_it_ran(test):
        found.append(Evidence(f"asked for {test.device}, computed by {where}", "smoke test"))
    found += [Evidence(line, "stderr of the smoke test") for line in lines(test)[:4]]
    if one.gpu is not None:
        found.append(one.gpu.evidence)
    return found


def _fixes(one: Smoked, kind: str, name: str, scene: Scene) -> list[Fix]:
    test, verify = one.test, again(one.test)
    found: list[Fix] = []
    if test.device in OPTIONAL and not scene.has_tensorrt:
        note = "in the release that this ONNX Runtime was built with"
        found.append(Fix("pip install tensorrt", note, "review", verify))
    elif kind == "library" and test.kind == "cuda":
        note = f"install what brings {name or 'the library that is missing'}"
        found += scene.libraries_of(one, name) or [Fix("", note, "review", verify)]
    elif test.kind == "cuda":
        found.append(Fix("nvidia-smi", "is the GPU there for this process, and what does the driver serve?", "safe"))
    look = f"the device of a result with {test.device}"
    if test.device.endswith("ExecutionProvider"):
        look = f"session.get_providers()[0] with {test.device}"
    return [*found, Fix("", f"let the program compare {look}, and stop when they differ", "review", verify)]


def _without_offer(smoked: list[Smoked], builds: Sequence[FrameworkBuild], gpu: GpuView) -> Iterator[Result]:
    """CUDA builds that came with nothing but the CPU where a GPU can be seen."""
    for build in builds:
        tests = [one for one in smoked if of_family(build.package, one.test.backend) and one.test.outcome != "untested"]
        if not tests or any(one.on_gpu or one.test.asked or not one.test.device for one in tests):
            continue  # it has a GPU to offer, or none was asked for, or it came to no device
        one = tests[0]
        said = cause_of(one.test).text
        offered = ", ".join(dict.fromkeys(each.test.device for each in tests))
        yield Finding(
            severity="error",
            confidence="medium",
            subject=str(build),
            message=f"{build} is a CUDA build, but offers {offered} only where there is {gpu}{_why(one, said)}.",
            evidence=[
                Evidence(f"devices that {one.test.backend} told of: {offered}", "smoke test"),
                gpu.evidence,
                *(Evidence(line, "stderr of the smoke test") for line in lines(one.test)[:3]),
            ],
            fixes=[
                Fix("nvidia-smi", "is the GPU there for this process, and what does the driver serve?", "safe"),
                Fix("", f"reinstall {build.package}, after removing other builds of it", "review", again(one.test)),
            ],
        )
