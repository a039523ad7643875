"""The amdgpu driver and the build's ROCm are too far apart for AMD to support them together.

What it does
    Compares the version of AMD's own (DKMS) amdgpu kernel module with the ROCm that the installed build of PyTorch
    brings, in AMD's support matrix.

Why it fails
    ROCm's libraries come with the wheel, the kernel driver with the machine. AMD supports them up to a year apart (two
    releases before ROCm 6.4). Further apart an older driver may lack what newer libraries ask of it.

How it shows
    Often not at all. "hipErrorNoDevice", "HSA_STATUS_ERROR_OUT_OF_RESOURCES", a GPU that is not listed, hangs.

How to fix
    Install a build for a ROCm that the driver supports, or a newer driver.

Exceptions
    It is a warning: such pairs often work. The kernel's own amdgpu bears no version, and nothing is said of it, nor of
    drivers that the table does not list.

Sources
    ROCm: user and AMD GPU driver support matrix; versions of the packages amdgpu-dkms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import NOT_STATED, Unknown, known
from envcheck.versions import minor, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.basics import Packages
    from envcheck.facts.makers import MakerGpu, RocmCode
    from envcheck.matrix import Matrix, Row


def check(
    rocm_code: list[RocmCode],
    amd_gpus: list[MakerGpu],
    *,
    packages: Packages | None = None,
    python_version: str | None = None,
    snapshot: Snapshot,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge every ROCm build of PyTorch against the driver."""
    kernel = snapshot.machine.amd.kernel
    version = known(kernel)
    if isinstance(kernel, Unknown) and kernel != NOT_STATED:
        yield Undecided("amdgpu", "machine.amd.kernel", f"which driver it is: {kernel.why}")
        return
    row = next((row for row in matrix.rows("rocm-drivers") if version and row["module"] == version), None)
    if row is None:
        yield Skip(f"no table lists amdgpu {version}" if version else "the driver's version is not known")
        return
    for code in rocm_code:
        if code.rocm is None or len(numbers(code.rocm)) < 2:
            continue
        subject, supported = f"{code.build} on amdgpu {version}", row["rocm"] or []
        if minor(code.rocm) in supported:
            yield Pass(subject, f"AMD supports ROCm {minor(code.rocm)} on amdgpu {version}")
        elif _inside(matrix, minor(code.rocm)):
            yield _finding(code, amd_gpus[0], row, matrix, packages, python_version)


def _inside(matrix: Matrix, rocm: str) -> bool:
    """The table speaks of this release: it is supported on some driver."""
    return any(rocm in (row["rocm"] or []) for row in matrix.rows("rocm-drivers"))


def _finding(
    code: RocmCode, gpu: MakerGpu, row: Row, matrix: Matrix, packages: Packages | None, python: str | None
) -> Finding:
    from envcheck.rules._makers import torch_for_amd

    supported = row["rocm"] or []
    title, url, as_of = matrix.cite(row)
    listed = f"ROCm {supported[0]} to {supported[-1]}"
    fixes = [Fix("", f"install a newer amdgpu driver that AMD supports with ROCm {code.rocm}", "manual", "rocminfo")]
    if gpu.target and numbers(code.rocm or "") > numbers(supported[-1]):
        older = torch_for_amd(matrix, gpu.target, None, packages, python, rocm=supported)
        fixes = [older, *fixes] if older is not None else fixes
    return Finding(
        severity="warning",
        confidence="medium",
        subject=f"{code.build} on amdgpu {row['module']}",
        message=f"{code.build} brings ROCm {code.rocm}, and AMD supports {listed} on amdgpu {row['module']} "
        f"(driver {row['driver']})",
        evidence=[Evidence(f"amdgpu {row['driver']} supports {listed}", title, url, as_of), code.evidence],
        fixes=fixes,
    )
