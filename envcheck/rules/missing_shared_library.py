"""A shared library that a package needs cannot be found.

What it does
    Reports libraries that something failed to find, those that the loader will not find for the files of an installed
    package (all of them, by re-enacting its search), libraries that an installed GPU build needs and that are nowhere
    on this system, libraries that are there but not where the loader looks, and a stub of the driver on
    LD_LIBRARY_PATH.

Why it fails
    The loader looks in the folders of LD_LIBRARY_PATH, in its cache and in the system's folders, not in Python packages
    and not in /usr/local/cuda. Wheels of ONNX Runtime bring no CUDA; TensorFlow brings it only with the extra
    `[and-cuda]`. The stub libcuda.so of a toolkit is for linking only and contains no driver.

How it shows
    `libcudnn.so.8: cannot open shared object file: No such file or directory`; `Could not load dynamic library
    'libcusolver.so.11'`; `Cannot dlopen some GPU libraries. Skipping registering GPU devices`; `Failed to create
    CUDAExecutionProvider`; `CUDA driver is a stub library` (error 34).

How to fix
    Install the wheel that brings the library, let the program load it (`onnxruntime.preload_dlls()`, or import torch of
    the same CUDA major first), or put its folder on LD_LIBRARY_PATH. Take folders named stubs off the path.

Exceptions
    torch brings and finds its own libraries; a missing nvcc or toolkit is no finding. The TensorRT provider of ONNX
    Runtime is optional: without TensorRT it is left out, which is a warning at most. On a machine without an NVIDIA GPU
    missing CUDA libraries do no harm.

Sources
    NEEDED entries of the libraries in the wheels; names of CUDA's libraries from NVIDIA's wheels and cuda-pathfinder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Stack, Toolkit, known
from envcheck.facts.libraries import parse_name
from envcheck.rules._binaries import missing
from envcheck.rules._cuda_libs import (
    cite,
    fixes_for,
    is_side_framework,
    kind_of,
    needed_files,
    needs_system_cuda,
)
from envcheck.versions import numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.libraries import Found, Libraries
    from envcheck.matrix import Matrix

TENSORRT = (
    *("tensorrt", "tensorrt-cu11", "tensorrt-cu12", "tensorrt-cu13"),
    *("nvidia-tensorrt", "torch-tensorrt", "tensorrt-llm"),
)


def check(
    stack: Stack,
    *,
    cuda_builds: Sequence[FrameworkBuild] = (),
    libraries: Libraries | None = None,
    packages: Packages | None = None,
    toolkit: Toolkit | None = None,
    env: dict[str, str] | None = None,
    system: str | None = None,
    has_gpu: bool | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    stub = next((part for part in (env or {}).get("LD_LIBRARY_PATH", "").split(":") if _is_stubs(part)), None)
    if stub is not None and has_gpu is not False:
        yield _stub(stub, cuda_builds, sure=bool(cuda_builds) or has_gpu is True)
    if libraries is None:
        return
    if any(binary.missing for binary in stack.binaries):
        from envcheck.rules._importable import not_importable

        yield from not_importable(
            stack,
            libraries,
            packages,
            lambda stem, names, there, package: _fixes(
                stem,
                names,
                there,
                next((build for build in cuda_builds if build.package == package), None),
                libraries,
                packages,
                matrix,
            ),
        )
    for files in _groups(libraries).values():
        yield _missing(files, cuda_builds, libraries, packages, has_gpu, _asker(stack, files), matrix)
    if has_gpu is False:
        return
    named = {file for files in _groups(libraries).values() for file in files}
    for build in cuda_builds:
        cuda = build.cuda_major
        if cuda is None or needs_system_cuda(build) is False or build.package.endswith("-pjrt"):
            continue
        if not libraries.complete and _toolkit_has(build, cuda, toolkit, stack):
            yield Pass(str(build), f"a CUDA toolkit {cuda} and its cuDNN are there")
            continue
        result = _build(build, cuda, named, cuda_builds, libraries, packages, system, has_gpu, stack, matrix)
        if result is not None:
            yield result


def _asker(stack: Stack, files: list[str]) -> str | None:
    """Who asked for them when it was imported."""
    if not stack.imports:
        return None
    from envcheck.facts.imports import asker_of

    return asker_of(stack, files)


def _toolkit_has(build: FrameworkBuild, cuda: int, toolkit: Toolkit | None, stack: Stack) -> bool:
    """Facts name no libraries, but a toolkit of this CUDA major and a cuDNN of the right one."""
    version, cudnn = known(toolkit.version) if toolkit is not None else None, known(stack.cudnn)
    same = version is not None and numbers(version)[:1] == (cuda,)
    return same and bool(build.cudnn) and bool(cudnn) and numbers(cudnn or "")[:1] == numbers(build.cudnn or "")[:1]


def _is_stubs(folder: str) -> bool:
    return folder.rstrip("/").endswith("/stubs")


def _stub(folder: str, builds: Sequence[FrameworkBuild], *, sure: bool) -> Finding:
    who = str(builds[0]) if builds else "a CUDA program"
    return Finding(
        severity="error" if sure else "warning",
        confidence="medium",
        subject=f"{folder} on LD_LIBRARY_PATH",
        message=f"LD_LIBRARY_PATH has {folder}, whose libcuda.so is a stub for linking; {who} finds it first.",
        evidence=[Evidence(f"LD_LIBRARY_PATH has {folder}", "environment")],
        fixes=[
            Fix(
                command='export LD_LIBRARY_PATH="$(echo "$LD_LIBRARY_PATH" | tr : "\\n" | grep -v stubs | paste -sd:)"',
                note="takes the folder off the path; in an image remove it from ENV",
                safety="safe",
                verify="python -c \"import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))\"",
            )
        ],
    )


def _groups(libraries: Libraries) -> dict[str, list[str]]:
    """Missing libraries that one finding is about: CUDA and cuDNN, TensorRT, the driver, each other one by itself."""
    groups: dict[str, list[str]] = {}
    for file in libraries.missing:
        name = parse_name(file)
        if name is None:
            continue
        if name.stem in ("cuda", "nvidia-ml", "nvcuda", "nvml"):
            key = "driver"
        elif name.family == "nvinfer" or name.stem == "nvonnxparser":
            key = "tensorrt"
        else:
            key = "cuda" if libraries.cuda_of(file) or name.family == "cudnn" else file
        groups.setdefault(key, []).append(file)
    return groups


def _missing(
    files: list[str],
    builds: Sequence[FrameworkBuild],
    libraries: Libraries,
    packages: Packages | None,
    has_gpu: bool | None,
    asker: str | None,
    matrix: Matrix,
) -> Finding:
    stem = ((name := parse_name(files[0])) and name.stem) or ""
    elsewhere = [item for file in files for item in libraries.satisfying(file)]
    tensorrt = stem.startswith("nvinfer") or stem == "nvonnxparser"
    users = _users(files, builds, libraries)
    if tensorrt:  # the CUDA of TensorRT's name says nothing of who asks for it
        users = [build for build in builds if build.package == "onnxruntime-gpu"]
    user = next((build for build in users if not build.brings_cuda), None)
    who = str(user) if user else asker or _cudnn_user(files, builds, packages, matrix) or "a program"
    severity, confidence = "error", "medium" if user is None or user.confidence == "low" else "high"
    if tensorrt:
        severity, confidence = _optional_tensorrt(packages)
    elif stem == "gl" and packages is not None and "opencv-python-headless" in packages:
        # The headless build does not link it; what else wants it is not among what we know.
        severity = "error" if "opencv-python" in packages or "opencv-contrib-python" in packages else "warning"
    elif has_gpu is False and (libraries.cuda_of(files[0]) or stem == "cuda"):
        severity = "warning"
    many = len(files) > 1
    message = f"{', '.join(files)} {'were' if many else 'was'} not found, which {who} needs"
    if elsewhere and elsewhere[0].origin == "torch":
        message += f"; {elsewhere[0].package} brings {elsewhere[0].file}, but where only torch looks"
    elif elsewhere:
        place = elsewhere[0].path or elsewhere[0].package or elsewhere[0].origin
        message += f"; {elsewhere[0].file} is there ({place}), but not where the loader looks"
    evidence = [Evidence(f"{file} was not found", "loader") for file in files]
    return Finding(
        severity=severity,
        confidence=confidence,
        subject=files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more",
        message=message + ".",
        evidence=[*evidence, *(user.evidence if user else ()), *(item.evidence for item in elsewhere[:2])],
        fixes=_fixes(stem, files, elsewhere, user, libraries, packages, matrix),
    )


def _optional_tensorrt(packages: Packages | None) -> tuple[str, str]:
    """TensorRT is an extra of the frameworks: without it they run on CUDA."""
    if packages is not None and any(name in packages for name in TENSORRT):
        return "error", "medium"
    return "warning", "medium"


def _cudnn_user(
    files: list[str], builds: Sequence[FrameworkBuild], packages: Packages | None, matrix: Matrix
) -> str | None:
    """A package that loads this cuDNN without being a build of its own, e.g. ctranslate2."""
    from envcheck.facts.libraries import parse_name
    from envcheck.rules._cudnn import needs

    majors = {name.number for file in files if (name := parse_name(file)) is not None and name.family == "cudnn"}
    found = [need for need in needs(builds, packages, matrix) if need.major in majors] if majors else []
    return found[0].who if found else None


def _users(files: list[str], builds: Sequence[FrameworkBuild], libraries: Libraries) -> list[FrameworkBuild]:
    """Builds for the CUDA (or cuDNN) that the missing files belong to; those that need the system's come first."""
    fitting = []
    for build in builds:
        for file in files:
            name = parse_name(file)
            cudnn = name is not None and name.family == "cudnn"
            if cudnn and build.cudnn and name is not None and numbers(build.cudnn)[:1] != (name.number,):
                continue
            if build.cuda_major in libraries.cuda_of(file) or (build.cuda_major is None and libraries.cuda_of(file)):
                fitting.append(build)
                break
    return sorted(fitting, key=lambda build: bool(build.brings_cuda))


def _fixes(
    stem: str,
    files: list[str],
    elsewhere: list[Found],
    user: FrameworkBuild | None,
    libraries: Libraries,
    packages: Packages | None,
    matrix: Matrix,
) -> list[Fix]:
    from envcheck.rules._importable import SYSTEM_PACKAGES, same_torch

    if stem in ("cuda", "nvidia-ml", "nvcuda", "nvml"):
        return [
            Fix(
                command="docker run --gpus all IMAGE",
                note="this library comes with the driver: in a container give it the GPU, else install the driver",
                safety="review",
                verify="nvidia-smi",
            )
        ]
    if stem.startswith(("torch", "c10")):
        return [same_torch(packages)]
    if elsewhere and elsewhere[0].path:
        folder = elsewhere[0].path.replace("\\", "/").rpartition("/")[0]
        command = f'export LD_LIBRARY_PATH="{folder}:$LD_LIBRARY_PATH"'
        return [Fix(command=command, note="the folder in which the library lies", safety="safe")]
    if stem in SYSTEM_PACKAGES:
        command, note = SYSTEM_PACKAGES[stem]
        return [Fix(command=command, note=note, safety="manual")]
    majors = libraries.cuda_of(files[0])
    if majors:
        there = majors & set(libraries.cuda_majors())  # what other programs of this environment load
        cuda = user.cuda_major if user and user.cuda_major in majors else max(there or majors)
        return fixes_for(user, files, int(cuda or 12), None, libraries, packages, matrix)
    return [
        Fix(
            command="",
            note=f"install the package that brings {files[0]}, or put its folder on LD_LIBRARY_PATH",
            safety="manual",
        )
    ]


def _build(
    build: FrameworkBuild,
    cuda: int,
    named: set[str],
    builds: Sequence[FrameworkBuild],
    libraries: Libraries,
    packages: Packages | None,
    system: str | None,
    has_gpu: bool | None,
    stack: Stack,
    matrix: Matrix,
) -> Result | None:
    """Does an installed build find its libraries?"""
    files, row = needed_files(build, libraries, matrix, windows=system == "Windows", stack=stack)
    lost = {need.name for need in missing(stack, build.package, "plugin")}
    files = [file for file in files if file not in named]
    if not files:
        return None
    absent = [file for file in files if not libraries.satisfying(file)]
    apart = [
        file
        for file in files
        if file not in absent
        and (file in lost or not lost)
        and not any(_reaches(build, i) for i in libraries.satisfying(file))
    ]
    if not libraries.complete:
        # A list written by hand names what its author saw: what it does not name may be there.
        brought = any(item.origin in ("torch", "wheel", "conda") for item in libraries.found if cuda in item.cuda)
        if len(absent) < len(files) or libraries.listed or brought or needs_system_cuda(build) is None:
            return None if absent else Pass(str(build), "all its libraries are named")
        if has_gpu is None and kind_of(build.package) != "onnxruntime-gpu":
            return None  # TensorFlow and JAX are as often wanted for the CPU
        return Undecided(str(build), "libraries", f"it needs {', '.join(files)} of the system, which nobody looked for")
    if has_gpu is None:
        return None
    if absent:
        measured = row is not None or bool(lost.intersection(absent))
        return _absent(build, cuda, absent, files, measured, builds, libraries, packages, stack, matrix)
    if apart:
        return _apart(build, apart, libraries)
    evidence = cite(matrix, row, "").source if row is not None else "by its kind"
    return Pass(str(build), f"its {len(files)} libraries are there ({evidence})")


def _reaches(build: FrameworkBuild, item: Found) -> bool:
    """Does this program find a library of this origin? Importer's rules: see `Why it fails`."""
    kind = kind_of(build.package)
    if item.loadable or item.origin == "torch":
        return True
    if item.origin == "wheel":
        return kind in ("tensorflow", "jax") or (
            kind == "cupy" and bool(build.version) and numbers(build.version or "0")[0] >= 14
        )
    return item.origin == "toolkit" and kind == "cupy"


def _absent(
    build: FrameworkBuild,
    cuda: int,
    absent: list[str],
    files: list[str],
    measured: bool,
    builds: Sequence[FrameworkBuild],
    libraries: Libraries,
    packages: Packages | None,
    stack: Stack,
    matrix: Matrix,
) -> Finding:
    wanted = not is_side_framework(build.package, builds)
    evidence = [*build.evidence, Evidence(f"none of {', '.join(absent)} is on disk", "library search")]
    evidence += [
        Evidence(f"{need.by} needs {need.name}: {need.why}", "the loader's search, re-enacted")
        for need in missing(stack, build.package, "plugin")
        if need.name in absent
    ]
    are = "are" if len(absent) > 1 else "is"
    return Finding(
        severity="error" if wanted else "warning",
        confidence="high" if measured else "medium",
        subject=str(build),
        message=f"{build} needs {', '.join(absent)}, which {are} not on this system; it will run on the CPU.",
        evidence=evidence,
        fixes=fixes_for(build, absent, cuda, None, libraries, packages, matrix),
    )


def _apart(build: FrameworkBuild, apart: list[str], libraries: Libraries) -> Finding:
    items = [libraries.satisfying(file)[0] for file in apart]
    folders = dict.fromkeys((item.path or "").rpartition("/")[0] for item in items if item.path)
    fixes = []
    preloads = kind_of(build.package) == "onnxruntime-gpu" and numbers(build.version or "0")[:2] >= (1, 21)
    if preloads and all(item.origin == "wheel" for item in items):
        fixes.append(
            Fix(
                command='python -c "import onnxruntime as o; o.preload_dlls(); print(o.get_available_providers())"',
                note="call onnxruntime.preload_dlls() in the program before its first session",
                safety="safe",
            )
        )
    if folders:
        command = f'export LD_LIBRARY_PATH="{":".join(folders)}:$LD_LIBRARY_PATH"'
        fixes.append(Fix(command=command, note="the folders in which the libraries lie", safety="safe"))
    return Finding(
        severity="warning" if preloads else "error",
        confidence="medium",
        subject=str(build),
        message=f"{build} needs {', '.join(apart)}, which are on this system but not where the loader looks.",
        evidence=[*build.evidence, *(item.evidence for item in items[:3])],
        fixes=fixes or [Fix(command="", note="put the folders of the libraries on LD_LIBRARY_PATH", safety="review")],
    )
