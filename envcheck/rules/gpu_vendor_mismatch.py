"""The build is made for GPUs of another maker than those of this machine.

What it does
    Compares what each framework is built for (CUDA for NVIDIA, ROCm for AMD, XPU for Intel) with the makers of the
    GPUs in the machine.

Why it fails
    A build has code, and talks to the driver, of one maker only. On another maker's GPU it finds no device and runs on
    the CPU, or does not start. Each maker has its own package or its own index: torch from the package index is the
    CUDA build on Linux, whatever GPU is there.

How it shows
    "torch.cuda.is_available() False" although there is a GPU, "Found no NVIDIA driver on your system", "No HIP GPUs
    are available", "Specified provider 'CUDAExecutionProvider' is not in available provider names", "No CUDA runtime
    is found" on a machine with an AMD GPU, "libamdhip64.so: cannot open shared object file".

How to fix
    Install the build for the maker of the GPU: PyTorch's indexes rocm6.4, xpu and cu128, onnxruntime-migraphx for AMD,
    onnxruntime-openvino for Intel, tensorflow-rocm, jax with the ROCm plugin.

Exceptions
    A GPU inside a CPU, or one that no ROCm build has code for, is no reason to want another build. The index's default
    build, which nobody chose by label or name, is a warning. So is a build beside one that does fit, and a build for
    AMD or Intel on a machine without any GPU of theirs. In WSL the GPUs can't be listed: nothing is said there.

Sources
    PyTorch's installation selector; ONNX Runtime's and TensorFlow's installation pages; the tables of ROCm targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Result, Skip, Undecided
from envcheck.core.snapshot import Absent, Unknown, known

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.makers import MakerGpu
    from envcheck.matrix import Matrix

EXPLAINS = ("no-gpu-visible", "cpu-only-build")
MAKERS = {"cuda": "NVIDIA", "rocm": "AMD", "xpu": "Intel"}
KINDS = {"cuda": "a CUDA build", "rocm": "a ROCm build", "xpu": "an XPU build"}
DEFAULTS = ("torch", "tensorflow")
"""Packages whose default on the index is a CUDA build."""
INSTEAD = {
    ("onnxruntime-gpu", "AMD"): "onnxruntime-migraphx",
    ("onnxruntime-gpu", "Intel"): "onnxruntime-openvino",
    ("onnxruntime-rocm", "NVIDIA"): "onnxruntime-gpu",
    ("onnxruntime-migraphx", "NVIDIA"): "onnxruntime-gpu",
    ("tensorflow", "AMD"): "tensorflow-rocm",
    ("tensorflow-rocm", "NVIDIA"): "tensorflow[and-cuda]",
}
"""The package that takes the place of another one on the GPUs of a maker."""


class Scene:
    """The machine's GPUs by maker."""

    def __init__(
        self,
        nvidia: Sequence[GpuView],
        amd: Sequence[MakerGpu],
        intel: Sequence[MakerGpu],
        driver: Driver | None,
        matrix: Matrix,
    ) -> None:
        from envcheck.rules._makers import usable_amd

        self.usable: dict[str, Sequence[GpuView | MakerGpu]] = {
            "NVIDIA": nvidia,
            "AMD": [gpu for gpu in amd if usable_amd(matrix, gpu)],
            "Intel": [gpu for gpu in intel if gpu.discrete],
        }
        self.driver, self.matrix = driver, matrix

    def other(self, maker: str) -> tuple[str, GpuView | MakerGpu] | None:
        """A GPU of another maker that a build could use."""
        return next(((name, found[0]) for name, found in self.usable.items() if name != maker and found), None)


def check(
    unserved_builds: list[FrameworkBuild],
    *,
    builds: Sequence[FrameworkBuild] = (),
    gpus: Sequence[GpuView] = (),
    amd_gpus: Sequence[MakerGpu] = (),
    intel_gpus: Sequence[MakerGpu] = (),
    driver: Driver | None = None,
    packages: Packages | None = None,
    python_version: str | None = None,
    wsl: bool = False,
    snapshot: Snapshot,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge every build for the GPUs of a maker of whom there is none."""
    machine = snapshot.machine
    if wsl or known(machine.system) == "Darwin":
        yield Skip("WSL lists no GPUs, and Macs have other builds")
        return
    scene = Scene(gpus, amd_gpus, intel_gpus, driver, matrix)
    fitting = [build for build in builds if build.variant in MAKERS and build not in unserved_builds]
    for build in unserved_builds:
        maker = MAKERS[build.variant or ""]
        if isinstance(machine.gpus, Unknown):
            if maker != "NVIDIA":
                yield Undecided(str(build), "gpus", f"whether the machine has a GPU of {maker}: {machine.gpus.why}")
        elif maker != "NVIDIA" or driver is None:
            yield from _judge(build, maker, scene, fitting, packages, python_version, snapshot)


def _judge(
    build: FrameworkBuild,
    maker: str,
    scene: Scene,
    fitting: Sequence[FrameworkBuild],
    packages: Packages | None,
    python: str | None,
    snapshot: Snapshot,
) -> Iterator[Result]:
    other = scene.other(maker)
    if other is None:
        if maker != "NVIDIA":  # for CUDA another rule says so
            yield _without_any(build, maker, snapshot)
        return
    theirs, gpu = other
    label = packages.label(build.package) if packages is not None else None
    severity, note = "error", ""
    if build.package in DEFAULTS and maker == "NVIDIA" and not (label and label.startswith("cu")):
        severity, note = "warning", "; it is what the index gives by default"
    elif fitting:
        severity, note = "warning", f"; {fitting[0]} uses {gpu.name}"
    elif theirs == "NVIDIA" and isinstance(snapshot.machine.nvidia.version, Absent):
        severity, note = "warning", "; the NVIDIA driver is missing too"
    fix = _fix(build, theirs, gpu, scene, packages, python, snapshot)
    yield Finding(
        severity=severity,
        confidence="low" if build.confidence == "low" else "medium",
        subject=f"{build} on {gpu.name}",
        message=f"{build} is {KINDS[build.variant or '']} for GPUs of {maker}, but the machine has {gpu}: "
        f"it can't use it{note}",
        evidence=[*build.evidence, gpu.evidence],
        fixes=[fix or Fix("", f"install a build of {build.package} for GPUs of {theirs}", "review")],
    )


def _without_any(build: FrameworkBuild, maker: str, snapshot: Snapshot) -> Finding:
    gpus = snapshot.machine.gpus
    why = gpus.why if isinstance(gpus, Absent) else f"no GPU of {maker} is among those found"
    fix = Fix("", f"run it on a machine with a GPU of {maker}, or install the CPU build", "manual")
    return Finding(
        severity="warning",
        confidence="medium",
        subject=str(build),
        message=f"{build} is {KINDS[build.variant or '']}, but the machine has no GPU of {maker} ({why})",
        evidence=[*build.evidence, Evidence(why, "GPU query")],
        fixes=[fix],
    )


def _fix(
    build: FrameworkBuild,
    maker: str,
    gpu: GpuView | MakerGpu,
    scene: Scene,
    packages: Packages | None,
    python: str | None,
    snapshot: Snapshot,
) -> Fix | None:
    from envcheck.rules._fixes import framework_fix, pip_install, uninstall
    from envcheck.rules._makers import torch_for_amd, torch_for_intel

    if maker == "AMD" and known(snapshot.machine.system) == "Windows":
        return Fix("", "AMD's own wheels of PyTorch for Windows, or WSL; onnxruntime-directml for ONNX", "review")
    if build.package == "torch" and maker == "AMD":
        target = getattr(gpu, "target", None)
        return torch_for_amd(scene.matrix, target, build.version, packages, python) if target else None
    if build.package == "torch" and maker == "Intel":
        return torch_for_intel(packages)
    if other := INSTEAD.get((build.package, maker)):
        # Two variants in one folder overwrite each other: the old one goes first.
        install = pip_install(other)
        return Fix(f"{uninstall(build.package)} && {install.command}", f"the package for GPUs of {maker}", "safe")
    if maker == "NVIDIA":
        return framework_fix(build.package, scene.matrix, scene.driver, list(scene.usable["NVIDIA"]), packages, python)  # type: ignore[arg-type]
    return None
