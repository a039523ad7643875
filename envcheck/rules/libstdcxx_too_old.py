"""The C++ library is older than a package needs, or an older copy is loaded first.

What it does
    Reports symbol versions GLIBCXX_ and CXXABI_ that something failed to find, and compares what the installed files
    of the frameworks (else wheels that were measured) ask for with what the libstdc++.so.6 that they will load defines.

Why it fails
    libstdc++.so.6 keeps its name and gains symbol versions with each GCC release. A library built with a newer GCC
    names the versions it needs. One process loads one libstdc++.so.6: the first one found, which may be the system's
    although the environment has a newer one.

How it shows
    ``ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by ...)``,
    or the same with `CXXABI_1.3.8`.

How to fix
    In a conda environment `conda install -c conda-forge libstdcxx-ng`, and its lib folder first on LD_LIBRARY_PATH when
    the host program (R, MATLAB, a web server) has loaded the system's copy. Else a newer distribution or image.

Exceptions
    A newer libstdc++ is never a problem. Libraries that bring their own copy or link it statically need nothing.

Sources
    The GNU C++ Library manual, "ABI Policy and Guidelines"; PEP 600 compliance data of distributions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Binary, LibraryNeed, Machine, Stack, Userland, known
from envcheck.rules._binaries import evidence as seen
from envcheck.rules._binaries import lacks, read_floors
from envcheck.rules._symbols import Floor, has_all_measured, symbol_floor
from envcheck.versions import canonical, compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix

OLDEST = {"glibcxx": "3.4.19", "cxxabi": "1.3.7"}
"""CentOS 7 (manylinux2014): every system has at least these."""

CONDA = ("libstdcxx-ng", "libstdcxx")
"""Conda packages that bring a newer libstdc++ than the system's."""


def check(
    stack: Stack,
    *,
    system: str | None = None,
    arch: str | None = None,
    userland: Userland | None = None,
    glibc: str | None = None,
    libraries: Libraries | None = None,
    packages: Packages | None = None,
    built_on: Machine | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    if system not in (None, "Linux"):
        return
    land = userland or Userland()
    reported = set()  # a package whose GLIBCXX is too new needs no second finding on its CXXABI
    for prefix in ("GLIBCXX", "CXXABI"):
        symbols = [s for s in (libraries.symbols if libraries else ()) if s.upper().startswith(prefix + "_")]
        have, place = _have(land, prefix.lower(), arch or "x86_64", matrix)
        if symbols:
            yield _missing(prefix, symbols, have, place, packages, matrix)
        for binary, need in lacks(stack, prefix + "_"):
            if binary.package not in reported and need.name not in symbols:
                yield _lacking(prefix, binary, need, have, place, matrix)
                reported.add(binary.package)
        read = read_floors(stack, prefix, packages) if stack.binaries else {}
        # Read on this machine, the files were held against the copy that they will load, and what it lacks was said. On
        # another one they meet the system's, but for those of conda, which bring their own.
        moved = built_on is not None and not any(name in (packages or ()) for name in CONDA)
        for floor in read.values() if moved else ():
            if have is not None and compare_numbers(floor.need, have) > 0 and floor.package not in reported:
                yield _too_old(prefix, floor, have, place, matrix)
                reported.add(floor.package)
        if packages is None or arch not in (None, "x86_64") or any(name in packages for name in CONDA):
            continue
        if have is None:
            # Where glibc is known and new enough for a package, libstdc++ of the same system is too.
            if system == "Linux" and glibc is None:
                yield from _open(prefix, packages, matrix)
            continue
        if has_all_measured(prefix.lower(), have):
            yield Pass("libstdc++", f"no measured wheel needs more than {prefix}_{have}")
            continue
        for floor in _floors(packages, prefix.lower(), matrix):
            if floor.package in read:
                continue
            if compare_numbers(floor.need, have) > 0:
                if floor.package not in reported:
                    yield _too_old(prefix, floor, have, place, matrix)
                reported.add(floor.package)
            else:
                yield Pass(str(floor), f"it needs {prefix}_{floor.need}, the system has {have}")


def _open(prefix: str, packages: Packages, matrix: Matrix) -> Iterator[Undecided]:
    floors = list(_floors(packages, prefix.lower(), matrix))
    demanding = [floor for floor in floors if compare_numbers(floor.need, OLDEST[prefix.lower()]) > 0]
    if demanding:
        most = max(demanding, key=lambda floor: numbers(floor.need))
        why = f"it needs {prefix}_{most.need}, and the system's libstdc++ is not known"
        yield Undecided(str(most), f"os.{prefix.lower()}", why)


def _floors(packages: Packages, column: str, matrix: Matrix) -> Iterator[Floor]:
    for package in packages:
        version = known(package.version)
        if version is None or known(package.installer) == "conda":
            continue
        if (floor := symbol_floor(matrix, canonical(package.name), version, column)) is not None:
            yield floor


def _have(land: Userland, column: str, arch: str, matrix: Matrix) -> tuple[str | None, Evidence | None]:
    """The newest symbol version of the system's libstdc++, and where that is read."""
    read = known(land.glibcxx if column == "glibcxx" else land.cxxabi)
    if read is not None:
        return read, Evidence(f"the system's libstdc++.so.6 defines up to {column.upper()}_{read}", "libstdc++.so.6")
    distro, release = known(land.distro), known(land.distro_version)
    if not distro or not release:
        return None, None
    for version in (release, release.partition(".")[0]):
        row = matrix.row("distros", distro=distro.lower(), version=version, arch=arch)
        if row is not None and row[column]:
            title, url, as_of = matrix.cite(row)
            text = f"libstdc++ of {distro} {version} defines up to {column.upper()}_{row[column]}"
            return str(row[column]), Evidence(text, title, url, as_of)
    return None, None


def _gcc(prefix: str, need: str, matrix: Matrix) -> str | None:
    """The first GCC release whose libstdc++ defines this symbol version."""
    rows = [r for r in matrix.rows("libstdcxx") if r[prefix.lower()] and compare_numbers(r[prefix.lower()], need) >= 0]
    return str(min((row["gcc"] for row in rows), key=numbers)) if rows else None


def _fixes(gcc: str | None) -> list[Fix]:
    floor = f">={numbers(gcc)[0]}" if gcc else ""
    return [
        Fix(
            command=f'conda install -c conda-forge "libstdcxx-ng{floor}"',
            note="in a conda environment; then its own copy is newer than the system's",
            safety="safe",
            verify='strings "$CONDA_PREFIX/lib/libstdc++.so.6" | grep GLIBCXX | tail -1',
        ),
        Fix(
            command='export LD_LIBRARY_PATH="$CONDA_PREFIX/lib:$LD_LIBRARY_PATH"',
            note="when the environment has the newer one already and the system's is loaded first",
            safety="review",
        ),
        Fix(
            command="",
            note="or run it on a newer distribution or image" + (f" (GCC {gcc} or newer)" if gcc else ""),
            safety="manual",
        ),
    ]


def _missing(
    prefix: str, symbols: list[str], have: str | None, place: Evidence | None, packages: Packages | None, matrix: Matrix
) -> Finding:
    need = max((s.partition("_")[2] for s in symbols), key=numbers)
    gcc = _gcc(prefix, need, matrix)
    if have is None:
        is_ = "the libstdc++.so.6 that was loaded does not define it"
    elif compare_numbers(have, need) < 0:
        is_ = f"the system's libstdc++.so.6 ends at {prefix}_{have}"
    else:
        is_ = f"the system's has up to {prefix}_{have}, so an older copy was loaded before it"
        if packages is not None and any(name in packages for name in CONDA):
            is_ += " (conda's, by the package list)"
    made = f", which came with GCC {gcc}" if gcc else ""
    return Finding(
        severity="error",
        confidence="high",
        subject=f"{prefix}_{need}",
        message=f"A library needs {prefix}_{need} of libstdc++{made}, and it was not found: {is_}.",
        evidence=[*(Evidence(f"{symbol} was not found", "loader") for symbol in symbols), *([place] if place else [])],
        fixes=_fixes(gcc),
    )


def _lacking(
    prefix: str, binary: Binary, need: LibraryNeed, have: str | None, place: Evidence | None, matrix: Matrix
) -> Finding:
    gcc = _gcc(prefix, need.name.partition("_")[2], matrix)
    ends = f" (it ends at {prefix}_{have})" if have else ""
    return Finding(
        severity="error",
        confidence="high",
        subject=f"{binary.package}: {need.name}",
        message=f"{need.by} of {binary.package} needs {need.name} of libstdc++, and {need.path}, "
        f"which will be loaded, does not define it{ends}.",
        evidence=[seen(binary, need), *([place] if place else [])],
        fixes=_fixes(gcc),
    )


def _too_old(prefix: str, floor: Floor, have: str, place: Evidence | None, matrix: Matrix) -> Finding:
    return Finding(
        severity="error",
        confidence="medium",
        subject=str(floor),
        message=f"{floor} needs {prefix}_{floor.need} of libstdc++, and the system's ends at {prefix}_{have}.",
        evidence=[*([place] if place else []), floor.evidence],
        fixes=_fixes(_gcc(prefix, floor.need, matrix)),
    )
