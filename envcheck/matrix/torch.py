"""GPU targets of a PyTorch build that is not here to be read."""

from __future__ import annotations

from envcheck.versions import minor, numbers

from . import Matrix, Row
from .lookup import of_minor


def torch_archs(matrix: Matrix, version: str, cuda: str, system: str = "linux", arch: str = "x86_64") -> Row | None:
    """Return the row of `torch-archs` for a PyTorch release built with a CUDA release (``12.4`` or ``12.4.1``).

    ``system`` is ``linux`` or ``windows``, ``arch`` is ``x86_64`` or ``aarch64``: their builds have other targets.
    The row of exactly this release if there is one, else the measured row nearest to it within the same minor
    release, else the row of the minor release. None when the table does not list the build.
    """
    if len(numbers(cuda)) < 2:
        return None
    return of_minor(matrix.rows("torch-archs", cuda=minor(cuda), os=system, arch=arch), "torch", version)
