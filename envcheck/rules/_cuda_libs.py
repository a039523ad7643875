"""What CUDA programs need on disk, by package, and the commands that bring it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Fix
from envcheck.versions import numbers, version_key

if TYPE_CHECKING:
    from envcheck.core.snapshot import Stack
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix, Row

TF_EXTRA_SINCE = (2, 14)
"""First TensorFlow with the extra and-cuda; before it the system must have CUDA."""

OPENS_BY_NAME = ("tensorflow", "cupy", "jax", "paddlepaddle-gpu")
"""They open CUDA's libraries themselves, by name: the needs of their files do not tell."""

_BY_PACKAGE = {
    "onnxruntime-gpu": ("cudart", "cublas", "cublasLt", "cufft", "curand"),
    "tensorflow": ("cudart", "cublas", "cublasLt", "cufft", "cusolver", "cusparse"),
    "jax": ("cudart", "cublas", "cufft", "cusolver", "cusparse"),
    "cupy": ("cublas", "cufft", "curand", "cusolver", "cusparse", "nvrtc"),
    "mxnet": ("cudart", "cublas", "cufft", "curand", "cusolver", "nvrtc"),
}
"""Libraries (as in the table sonames) that a package loads, where the wheel itself was not read."""


def kind_of(package: str) -> str:
    """``tensorflow-gpu`` is ``tensorflow``, ``cupy-cuda12x`` is ``cupy``, jaxlib and JAX's plugins are ``jax``."""
    for kind in ("tensorflow", "cupy", "jax", "mxnet"):
        if package.startswith(kind):
            return kind
    return package


def needs_system_cuda(build: FrameworkBuild) -> bool | None:
    """True: only the system can have it; None: it may also have come with wheels that nobody listed."""
    if kind_of(build.package) == "tensorflow" and build.brings_cuda is None and build.version:
        return True if numbers(build.version)[:2] < TF_EXTRA_SINCE else None
    return None if build.brings_cuda is None else not build.brings_cuda


def is_side_framework(package: str, builds: Sequence[FrameworkBuild]) -> bool:
    """TensorFlow and JAX are often there for their CPU part, beside another framework that uses the GPU."""
    kind = kind_of(package)
    return kind in ("tensorflow", "jax") and any(kind_of(build.package) != kind for build in builds)


def needed_files(
    build: FrameworkBuild, libraries: Libraries, matrix: Matrix, *, windows: bool, stack: Stack | None = None
) -> tuple[list[str], Row | None]:
    """File names of the CUDA and cuDNN libraries that a build loads, and the row that says so (None: by its kind).

    With ``stack`` the installed files are asked first.
    """
    if build.cuda_major is None:
        return [], None
    if stack is not None and stack.binaries and kind_of(build.package) not in OPENS_BY_NAME:
        from envcheck.rules._binaries import cuda_needs

        asked = cuda_needs(stack, build.package, libraries)
        if asked is not None:
            # ONNX Runtime's newer releases open cuDNN by name (seen in 1.31.1).
            opened = f"libcudnn.so.{numbers(build.cudnn)[0]}" if build.cudnn and numbers(build.cudnn) else ""
            if build.package == "onnxruntime-gpu" and opened and opened not in asked:
                asked.append(opened)
            return asked, None
    row = None
    if build.version and not windows:
        row = matrix.row("wheel-symbols", package=build.package, version=build.version.partition("+")[0])
        if row is not None and row["needed"]:
            skip = ("libcuda.so", "libnvinfer", "libnvidia-ml.so")
            return [name for name in row["needed"] if not name.startswith(skip)], row
    named = _BY_PACKAGE.get(kind_of(build.package), ())
    found = [libraries.file_of(library, build.cuda_major, windows=windows) for library in named]
    files = [file for file in found if file is not None]
    if files and build.cudnn:
        major = numbers(build.cudnn)[0]
        files.append(f"cudnn64_{major}.dll" if windows else f"libcudnn.so.{major}")
    return files, None


def wheels_of(libraries: Libraries, files: list[str], cuda: int) -> list[str]:
    """Names of the wheels that bring these files, with a version where the name alone would bring another file."""
    found: dict[str, str] = {}
    for file in files:
        wheel = libraries.wheel_of(file, cuda)
        if wheel is None:
            continue
        found.setdefault(wheel, wheel)
        if wheel.startswith("nvidia-cudnn-"):
            major = "".join(c for c in file.rpartition(".so.")[2].partition(".")[0] if c.isdigit())
            found[wheel] = f'"{wheel}=={major}.*"' if major else wheel
    return list(found.values())


def fixes_for(
    build: FrameworkBuild | None,
    files: list[str],
    cuda: int,
    there: int | None,
    libraries: Libraries,
    packages: Packages | None,
    matrix: Matrix,
    gpus: Sequence[GpuView] = (),
) -> list[Fix]:
    """Commands for a build that needs ``files`` of CUDA ``cuda``, on a system that has CUDA ``there`` (None: none)."""
    fixes: list[Fix] = []
    name = build.package if build else ""
    kind = kind_of(name)
    if kind == "onnxruntime-gpu" and there is not None:
        from envcheck.rules._fixes import best_ort

        if (other := best_ort(matrix, [there], gpus)) is not None:
            fixes.append(_ort(other[0], f"the newest release that is built for CUDA {there}"))
    if kind == "cupy" and there is not None:
        command = f"pip uninstall -y {name} && pip install cupy-cuda{there}x"
        fixes.append(Fix(command=command, note=f"the build for CUDA {there}", safety="safe"))
    if kind == "tensorflow" and build is not None and build.version and numbers(build.version)[:2] >= TF_EXTRA_SINCE:
        command = f'pip install "tensorflow[and-cuda]=={build.version.partition("+")[0]}"'
        fixes.append(Fix(command=command, note="brings its CUDA libraries as wheels", safety="safe", verify=_TF))
    elif kind == "jax" and name != "jaxlib":
        fixes.append(
            Fix(
                command=f'pip install -U "jax[cuda{cuda}]"', note="brings its CUDA libraries as wheels", safety="review"
            )
        )
    elif wheels := wheels_of(libraries, files, cuda):
        fixes.append(Fix(command="pip install " + " ".join(wheels), note=_loading(build, packages), safety="safe"))
    if not fixes:
        note = f"install the libraries of CUDA {cuda}, or a build of the program for the CUDA that is there"
        fixes.append(Fix(command="", note=note, safety="manual"))
    return fixes


_TF = "python -c \"import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))\""


def _ort(version: str, note: str) -> Fix:
    return Fix(
        command=f'pip install "onnxruntime-gpu=={version}"',
        note=note,
        safety="review",
        # The list of available providers names CUDA whether or not its libraries are there.
        verify='ldd "$(python -c "import onnxruntime as o; print(o.__path__[0])")/capi/'
        'libonnxruntime_providers_cuda.so" | grep "not found"',
    )


def _loading(build: FrameworkBuild | None, packages: Packages | None) -> str:
    """How a program finds what wheels bring."""
    if build is None or build.package != "onnxruntime-gpu":
        return "where the program does not find them, put site-packages/nvidia/*/lib on LD_LIBRARY_PATH"
    if build.version is None or version_key(build.version) >= version_key("1.21"):
        return "then call onnxruntime.preload_dlls() before the first session (or import torch of that CUDA first)"
    return "then put site-packages/nvidia/*/lib on LD_LIBRARY_PATH (or import torch of that CUDA first)"


def cite(matrix: Matrix, row: Row, fact: str) -> Evidence:
    """A table row as evidence."""
    title, url, as_of = matrix.cite(row)
    return Evidence(fact, title, url, as_of)
