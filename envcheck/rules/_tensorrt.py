"""Which TensorRT is installed, and for which CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.versions import numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix

_SUFFIXES = ("", "-libs", "-bindings")
_NAMES = (
    *("tensorrt" + cuda + suffix for suffix in _SUFFIXES for cuda in ("", "-cu13", "-cu12", "-cu11")),
    "nvidia-tensorrt",
    "tensorrt-lean",
    "tensorrt-dispatch",
)


class TensorRT(Struct, frozen=True):
    """One installed TensorRT."""

    label: str
    version: str | None
    cuda: int | None
    """CUDA major it is built for; None when that can't be told."""
    evidence: Evidence

    @property
    def major(self) -> int | None:
        parts = numbers(self.version or "")
        return int(parts[0]) if parts else None


def installed(packages: Packages | None, libraries: Libraries | None, matrix: Matrix) -> TensorRT | None:
    """The TensorRT of the Python packages, else a library on disk; None when there is none."""
    for name in _NAMES:
        if packages is not None and name in packages:
            version = packages.version(name)
            label = f"{name} {version}" if version else name
            where = f"{label} is installed"
            return TensorRT(label, version, _cuda(name, version, packages, matrix), Evidence(where, "package list"))
    for item in libraries.find("nvinfer") if libraries else ():
        if item.name.stem == "nvinfer" and item.origin != "wheel":
            version = item.version or (str(item.name.number) if item.name.number else None)
            return TensorRT(f"TensorRT {version or ''}".strip(), version, None, item.evidence)
    return None


def _cuda(name: str, version: str | None, packages: Packages, matrix: Matrix) -> int | None:
    """By the name of the package or of a part of it, else by the table of defaults."""
    parts = [
        p.name
        for p in packages
        if p.name.startswith("tensorrt") and p.name.removesuffix("-libs").removesuffix("-bindings")
    ]
    for each in (name, *parts):
        digits = each.partition("-cu")[2].partition("-")[0]
        if digits.isdigit():
            return int(digits)
    return default_cuda(name, version, matrix)


def default_cuda(name: str, version: str | None, matrix: Matrix) -> int | None:
    """CUDA major of what the index brings for a package whose name does not tell it."""
    from envcheck.matrix.lookup import applying

    # An archive of 8.6 from NVIDIA's site has the build as fourth number; 8.6.1 of the index has three.
    if version is None or (
        name == "tensorrt" and version.startswith("8.6.") and version.count(".") > 2 and "post" not in version
    ):
        return None
    if name == "tensorrt" and version.startswith("9."):
        # 9.3.0.post12.dev1: the Dockerfiles of NVIDIA/TensorRT's branches take post11 for CUDA 11 and post12 for 12.
        post = version.partition(".post")[2].partition(".")[0]
        return int(post) if post in ("11", "12") else None
    rows = applying(matrix.rows("tensorrt-builds", package=name), version)
    return int(rows[0]["cuda_major"]) if rows else None
