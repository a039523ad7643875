"""The installed build has no code for this newer GPU.

What it does
    Compares each GPU's compute capability with the GPU code that each CUDA build carries: every fat binary in the
    installed files, else the targets listed for this release, else what its CUDA release can compile for. Machine code
    for X.y runs on X.z with z >= y and never across majors; PTX can be compiled for newer GPUs.

Why it fails
    A build is compiled for the GPUs that its CUDA release knew and its makers chose. On a GPU of a newer major there
    is nothing to run, unless the build also carries PTX; PyTorch's builds do not.

How it shows
    "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation",
    "no kernel image is available for execution on the device" (error 209), "device kernel image is invalid"
    (error 200), "nvcc fatal : Unsupported gpu architecture 'compute_120'".

How to fix
    Install a build for a newer CUDA, e.g. the cu128 build of PyTorch 2.7 or newer for Blackwell. For nvcc, install a
    newer toolkit.

Exceptions
    The same major is enough: code for 8.6 runs on an 8.9 GPU, code for 12.0 on 12.1. A GPU that CUDA_VISIBLE_DEVICES
    hides is only mentioned; so is a build of which a part has no code for the GPU, which is often by design. An old
    nvcc does no harm to prebuilt packages. Code for discrete GPUs is not promised to run on a Jetson, but often does:
    a warning.

Sources
    CUDA C++ Programming Guide (binary and PTX compatibility); GPU code in the wheels themselves; PyTorch build scripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Result
from envcheck.rules._arch import Site, judge_builds, judge_toolkit, known_builds

if TYPE_CHECKING:
    from envcheck.core.snapshot import Toolkit
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpu_code import GpuCode
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix

EXPLAINS = ("environment-drift",)


def check(
    cuda_users: list[str],
    gpus: list[GpuView],
    *,
    cuda_builds: list[FrameworkBuild] | None = None,
    visible_gpus: Sequence[GpuView] | None = None,
    gpu_code: Sequence[GpuCode] = (),
    toolkit: Toolkit | None = None,
    driver: Driver | None = None,
    packages: Packages | None = None,
    python_version: str | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge every CUDA build, and nvcc, on every GPU."""
    site = Site(gpus, visible_gpus, driver, packages, python_version, matrix)
    builds = known_builds(cuda_builds)
    yield from judge_builds("newer", builds, gpu_code, site)
    yield from judge_toolkit("newer", toolkit, builds, gpu_code, site)
