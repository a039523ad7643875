"""Builds whose own name or version tells the CUDA: CuPy, JAX, MXNet, PaddlePaddle, RAPIDS, DALI, TensorRT ..."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envcheck.core.report import Evidence
from envcheck.facts.builds import FrameworkBuild, cite, from_files
from envcheck.facts.builds import stated as version_and_label
from envcheck.versions import canonical, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Build, Package
    from envcheck.facts import Facts
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import Finder


def finder(name: str) -> Finder | None:
    """What tells the build of a package whose name begins like one of :data:`envcheck.facts.builds.NAMED`."""
    if name in ("paddlepaddle", "paddlepaddle-gpu"):
        return _paddle
    if name == "jaxlib":
        return _jaxlib
    if name in ("tensorrt", "tensorrt-cu11", "tensorrt-cu12", "tensorrt-cu13"):
        return _tensorrt
    if name.startswith("cupy-cuda"):
        return _cupy
    if name.startswith("mxnet-cu") and name[8:].removesuffix("mkl").isdigit():
        return _mxnet
    if name.startswith(("jax-cuda", "jax-rocm")) and name.endswith(("-plugin", "-pjrt")):
        return _jax_plugin
    return _suffixed if cuda_of_name(name) else None


def cuda_of_name(name: str) -> str | None:
    """``faiss-gpu-cu12`` -> ``12``, ``spconv-cu118`` -> ``11.8``, ``nvidia-dali-cuda120`` -> ``12.0``; else None.

    None too for NVIDIA's component wheels (``nvidia-cublas-cu12``): they are what others bring along.
    """
    if name.startswith("nvidia-") and not name.startswith("nvidia-dali-"):
        return None
    tail = name.rpartition("-")[2]
    digits = tail.removeprefix("cuda") if tail.startswith("cuda") else tail.removeprefix("cu")
    if digits == tail or not digits.isdigit() or len(digits) not in (2, 3):
        return None
    if len(digits) == 2 and int(digits) in range(11, 20):
        return digits
    return f"{digits[:-1]}.{digits[-1]}"


def _suffixed(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    """One distribution for each CUDA, as RAPIDS, DALI, faiss-gpu and spconv are published."""
    name = canonical(package.name)
    version, _ = version_and_label(package)
    cuda = cuda_of_name(name)
    files = from_files(read)
    if files is not None:
        return replace(files, package=name, version=version or files.version)
    text = f"{name} is built for CUDA {cuda}"
    return FrameworkBuild(name, version, "cuda", cuda, None, None, "high", [Evidence(text, "package name")])


def _jax_plugin(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    name = canonical(package.name)
    version, _ = version_and_label(package)
    major = name.partition("cuda")[2].partition("-")[0]
    if not major.isdigit():
        return FrameworkBuild(name, version, "rocm", None, None, None, "high", [Evidence(f"{name} is the ROCm plugin")])
    evidence = [Evidence(f"{name} is the CUDA {major} plugin", "package name")]
    return FrameworkBuild(name, version, "cuda", major, None, None, "high", evidence)


def _cupy(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    name = canonical(package.name)
    version, _ = version_and_label(package)
    tail = name.partition("cuda")[2]
    cuda = tail[:-1] if tail.endswith("x") else f"{tail[:-1]}.{tail[-1]}" if tail.isdigit() and len(tail) > 1 else None
    text = f"{name} is built for CUDA {cuda}"
    return FrameworkBuild(name, version, "cuda", cuda, None, False, "high", [Evidence(text, "package name")])


def _mxnet(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    """``mxnet-cu112`` is the build for CUDA 11.2, ``mxnet-cu90mkl`` for 9.0; the libraries must be on the machine."""
    name = canonical(package.name)
    version, _ = version_and_label(package)
    digits = name[8:].removesuffix("mkl")
    stated = f"{digits[:-1]}.{digits[-1]}"
    row = facts.matrix.row("mxnet", package=name, version=version.partition("+")[0]) if version else None
    if row is None:
        evidence = [Evidence(f"{name} is built for CUDA {stated}", "package name")]
        return FrameworkBuild(name, version, "cuda", stated, None, False, "high", evidence)
    # Up to 1.7 cuDNN is linked in: what lies on the machine does not matter. 1.8 was not read.
    cudnn = row["cudnn"] if numbers(row["version"]) >= (1, 9, 1) else None
    text = f"{name} {version} is built for CUDA {row['cuda']}" + (f" and cuDNN {cudnn}" if cudnn else "")
    return FrameworkBuild(
        name, version, "cuda", str(row["cuda"]), cudnn, False, row["confidence"], [cite(facts, row, text)]
    )


def _paddle(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    from envcheck.matrix.lookup import of_minor

    name = canonical(package.name)
    version, _ = version_and_label(package)
    if name == "paddlepaddle":
        evidence = [Evidence("paddlepaddle is the CPU build")]
        return FrameworkBuild(name, version, "cpu", None, None, False, "high", evidence)
    files = from_files(read)
    if files is not None:
        return replace(files, package=name, version=version or files.version)
    release, post, digits = (version or "").partition("+")[0].partition(".post")
    rows = [row for row in facts.matrix.rows("paddlepaddle") if (row["tag"] or "") == f"{post}{digits}".lstrip(".")]
    row = of_minor(rows, "paddlepaddle_gpu", release)
    if row is not None:
        cuda, cudnn = str(row["cuda"]), str(row["cudnn"])
        text = f"{name} {version} is built for CUDA {cuda} and cuDNN {cudnn}"
        evidence = [cite(facts, row, text)]
        return FrameworkBuild(name, version, "cuda", cuda, cudnn, None, row["confidence"], evidence)
    known_suffix = digits.isdigit() and len(digits) in (2, 3) and digits not in ("97", "107")
    stated = f"{digits[:-1]}.{digits[-1]}" if known_suffix else None
    text = f"{name} {version} is built for CUDA {stated}" if stated else "its version does not say which CUDA it is for"
    return FrameworkBuild(name, version, "cuda", stated, None, None, "high" if stated else "low", [Evidence(text)])


def _jaxlib(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    version, label = version_and_label(package)
    if label and label.startswith("cuda"):
        cuda, _, cudnn = label.partition(".")
        digits = cudnn.removeprefix("cudnn")
        # cudnn86 is 8.6, cudnn805 is 8.0.5
        cudnn_version = ".".join(digits) if digits.isdigit() else None
        evidence = [Evidence(f"jaxlib is the {label} build", "version label")]
        return FrameworkBuild("jaxlib", version, "cuda", cuda[4:], cudnn_version, False, "high", evidence)
    return FrameworkBuild(
        "jaxlib", version, "cpu", None, None, None, "medium", [Evidence("jaxlib has no CUDA code; a plugin brings it")]
    )


def _tensorrt(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    """The plain name is a meta-package whose CUDA differs by release; its own companion tells."""
    name = canonical(package.name)
    version, _ = version_and_label(package)
    for other in (name, *(p.name for p in packages if p.name.startswith("tensorrt"))):
        digits = other.partition("-cu")[2].partition("-")[0]
        if digits.isdigit():
            text = f"{other} is the CUDA {digits} build"
            return FrameworkBuild(name, version, "cuda", digits, None, True, "high", [Evidence(text, "package name")])
    files = from_files(read)
    if files is not None:
        return replace(files, package=name, version=version or files.version)
    return FrameworkBuild(
        name, version, "cuda", None, None, None, "low", [Evidence("its name does not say which CUDA it is for")]
    )
