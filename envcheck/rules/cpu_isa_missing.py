"""The CPU lacks instructions that a package was compiled for.

What it does
    Compares the instruction sets that packages need (our table, from wheels run under restricted CPUs and from their
    documentation) with the flags of the CPU.

Why it fails
    A wheel compiled for AVX or x86-64-v2 executes these instructions without asking. A CPU, or a virtual machine that
    masks them, raises an illegal instruction, and the process dies without a Python traceback.

How it shows
    `Illegal instruction (core dumped)`, SIGILL, exit code 132 or -4; `RuntimeError: NumPy was built with baseline
    optimizations: (X86_V2) but your machine doesn't support: (X86_V2)`; `This version of jaxlib was built using AVX
    instructions, which your CPU and/or operating system do not support`; `Missing required CPU features`.

How to fix
    The last release before the need, a build for older CPUs (polars-lts-cpu), or another CPU. In a virtual machine let
    the hypervisor pass the flags on (QEMU: `-cpu host`).

Exceptions
    Packages that choose their code at run time (torch 2.13, ONNX Runtime 1.31, faiss-cpu) run without AVX and are not
    listed. AVX-512 is never a floor of a package in the table. Conda builds may differ from wheels and are not judged.

Sources
    Wheels imported under qemu-user with restricted CPU models; TensorFlow's installation page; x86-64 psABI.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Machine, Package, known
from envcheck.matrix.lookup import cpu_requirements
from envcheck.versions import canonical, public, version_key

if TYPE_CHECKING:
    from envcheck.facts.basics import CpuFlags, Packages
    from envcheck.matrix import Matrix, Row

ALIASES = {
    "abm": ("lzcnt",),
    "lahf_lm": ("lahf", "lahf_sahf"),
    "pni": ("sse3",),
    "cx16": ("cmpxchg16b",),
    "bmi1": ("bmi",),
}
"""Other spellings of flags of /proc/cpuinfo, as packages and people write them."""


def check(
    packages: Packages,
    machine: Machine,
    *,
    arch: str | None = None,
    cpu_flags: CpuFlags | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    if arch not in (None, "x86_64") or (arch is None and cpu_flags is None):
        return
    listed = {package for (package,) in matrix.values("cpu-requirements", "package")}
    lacking = _levels(machine, matrix)
    for package in packages:
        name = canonical(package.name)
        if name in listed and known(package.installer) != "conda":
            rows = _rows(package, packages, matrix)
            if rows and (result := _judge(package, rows, cpu_flags, lacking, machine, matrix)) is not None:
                yield result


def _rows(package: Package, packages: Packages, matrix: Matrix) -> list[Row]:
    """Rows that apply; all rows of the package where its version is not known."""
    name, version = canonical(package.name), known(package.version)
    rows = matrix.rows("cpu-requirements", package=name) if version is None else cpu_requirements(matrix, name, version)
    return [row for row in rows if not any(other in packages for other in row["unless"] or ())]


def _levels(machine: Machine, matrix: Matrix) -> tuple[frozenset[str], bool]:
    """Flags that the stated micro-architecture level includes; and whether a level is stated."""
    level = (known(machine.cpu.level) or "").removeprefix("x86-64-v")
    row = matrix.row("x86-levels", level=level) if level.isdigit() else None
    return (frozenset(row["all_flags"]), True) if row is not None else (frozenset(), False)


def _has(flag: str, flags: CpuFlags | None, level: tuple[frozenset[str], bool]) -> bool | None:
    if flags is not None:
        answers = [flags.has(spelling) for spelling in (flag, *ALIASES.get(flag, ()))]
        if True in answers:
            return True
        # A full list that has none of the spellings says no; a list of what is missing must name one of them.
        if False in answers and (
            flags.present is not None or any(s in flags.absent for s in (flag, *ALIASES.get(flag, ())))
        ):
            return False
    return True if flag in level[0] else None


def _judge(
    package: Package,
    rows: list[Row],
    flags: CpuFlags | None,
    level: tuple[frozenset[str], bool],
    machine: Machine,
    matrix: Matrix,
) -> Result | None:
    version = known(package.version)
    label = f"{package.name} {version}" if version else package.name
    lacking = [[flag for flag in row["requires_flags"] if _has(flag, flags, level) is False] for row in rows]
    if version is None:
        return _any_release(package, label, rows, lacking, machine, matrix)
    for row, missing in zip(rows, lacking, strict=True):
        if missing:
            sure = "high" if row["confidence"] == "high" else "medium"
            return _finding(package, label, row, missing, sure, machine, matrix)
    needed = list(dict.fromkeys(flag for row in rows for flag in row["requires_flags"]))
    unclear = [flag for flag in needed if _has(flag, flags, level) is None]
    if unclear:
        return Undecided(
            label, "cpu.flags", f"it needs {', '.join(unclear)}, and whether the CPU has that is not known"
        )
    return Pass(label, f"the CPU has {', '.join(needed)}")


def _any_release(
    package: Package, label: str, rows: list[Row], lacking: list[list[str]], machine: Machine, matrix: Matrix
) -> Result | None:
    """Of a package whose version is not known: does every release need what is missing?"""
    hit = next((pair for pair in zip(reversed(rows), reversed(lacking), strict=True) if pair[1]), None)
    if hit is None:
        return None
    row, missing = hit
    listed = matrix.rows("wheels", package=package.name)
    free = [
        w["version"]
        for w in listed
        if not any(_covers(r, w["version"]) for r, m in zip(rows, lacking, strict=True) if m)
    ]
    if free or row["to_version"] is not None:
        return Undecided(
            label,
            f"packages.{package.name}",
            f"releases from {row['from_version']} on need {', '.join(missing)}, older ones do not",
        )
    return _finding(package, label, row, missing, "medium" if listed else "low", machine, matrix)


def _covers(row: Row, version: str) -> bool:
    mine = version_key(version)
    below = row["to_version"] is None or mine < version_key(row["to_version"])
    return bool(version_key(row["from_version"]) <= mine and below)


def _finding(
    package: Package, label: str, row: Row, missing: list[str], sure: str, machine: Machine, matrix: Matrix
) -> Finding:
    title, url, as_of = matrix.cite(row)
    cpu = known(machine.cpu.brand) or "this CPU"
    text = f"{row['package']} from {row['from_version']} on needs {' '.join(row['requires_flags'])}"
    if row["to_version"]:
        text = text.replace(" on needs", f" to before {row['to_version']} needs")
    return Finding(
        severity="error",
        confidence=sure,
        subject=label,
        message=f"{label} needs the CPU instructions {', '.join(missing)}, which {cpu} does not have.",
        evidence=[
            Evidence(f"{cpu} lacks {', '.join(missing)}", "CPU flags"),
            Evidence(text + (f" ({row['note']})" if row["note"] else ""), title, url, as_of),
        ],
        fixes=_fixes(package, row, missing, matrix),
    )


def _fixes(package: Package, row: Row, missing: list[str], matrix: Matrix) -> list[Fix]:
    name = canonical(package.name)
    verify = f'python -c "import {name.replace("-", "_")}"'
    fixes = []
    for other in row["unless"] or ():
        command = f"pip uninstall -y {name} && pip install {other}"
        fixes.append(Fix(command=command, note="the build for older CPUs", safety="safe", verify=verify))
        break
    rows = matrix.rows("cpu-requirements", package=name)
    later = next((r for r in rows if row["to_version"] and r["from_version"] == row["to_version"]), None)
    if later is not None and not set(missing) & set(later["requires_flags"]):
        pin = f'pip install "{name}=={later["from_version"]}"'
        fixes.append(Fix(command=pin, note="the release that no longer needs it", safety="review", verify=verify))
    earlier = _before(rows, row, missing)
    if earlier is not None:
        fixes.append(
            Fix(
                command=f'pip install "{name}<{earlier}"',
                note="the last release before the need; check that the other packages accept it",
                safety="review",
                verify=verify,
            )
        )
    fixes.append(
        Fix(
            command="", note="or a CPU (in a virtual machine: a CPU model, e.g. host) with these flags", safety="manual"
        )
    )
    return fixes


def _before(rows: list[Row], row: Row, missing: list[str]) -> str | None:
    """The release below which none of the missing flags is needed."""
    first = row["from_version"]
    for other in sorted(rows, key=lambda r: version_key(public(r["from_version"])), reverse=True):
        if version_key(other["from_version"]) < version_key(first):
            if not set(missing) & set(other["requires_flags"]):
                break
            first = other["from_version"]
    return str(first)
