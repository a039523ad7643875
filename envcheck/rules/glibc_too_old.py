"""The C library is older than an installed package needs.

What it does
    Compares the system's glibc with what the installed packages ask for: the symbol versions in the installed files of
    the frameworks, each with the file that needs it; else those measured in wheels where our tables have them, else the
    wheel's manylinux tag. Symbol versions that something failed to find are taken as they are.

Why it fails
    A library that was linked against a newer glibc names the symbol versions that it needs (GLIBC_2.28). A glibc that
    does not define them refuses to load it. glibc comes with the distribution and cannot be updated on its own.

How it shows
    ``ImportError: /lib64/libm.so.6: version `GLIBC_2.27' not found (required by ...)``; pip says
    `... manylinux_2_28_x86_64.whl is not a supported wheel on this platform` or takes an old release instead.

How to fix
    An older release of the package that has a wheel for this glibc, or a container image with a newer distribution.
    Never copy another libc.so.6 into the system.

Exceptions
    musl distributions (Alpine) have no glibc: see platform-unsupported. A tag can promise less than the files need
    (torch up to 2.6 is tagged glibc 2.5 and needs 2.17) or more: measured symbols win. Where a source distribution
    exists, the installed files may have been built on this system; then it is only a warning.

Sources
    PEP 600 (manylinux); symbol versions read from the wheels; file names on the package index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import Binary, LibraryNeed, Stack, Userland, known
from envcheck.rules._binaries import evidence as seen
from envcheck.rules._binaries import lacks, read_floors
from envcheck.rules._symbols import OLDEST_GLIBC, Floor, glibc_floor, older_release
from envcheck.versions import canonical, compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix

EXPLAINS = ("libstdcxx-too-old",)


def check(
    stack: Stack,
    *,
    system: str | None = None,
    arch: str | None = None,
    userland: Userland | None = None,
    glibc: str | None = None,
    libraries: Libraries | None = None,
    packages: Packages | None = None,
    python_version: str | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    land = userland or Userland()
    if system not in (None, "Linux"):
        yield Skip("only Linux has glibc")
        return
    if known(land.libc) == "musl" or (glibc is None and known(land.distro) in ("alpine", "postmarketos")):
        yield Skip("the C library is musl")
        return
    symbols = [s for s in (libraries.symbols if libraries else ()) if s.upper().startswith("GLIBC_")]
    if symbols:
        yield _missing(symbols, glibc, land)
    reported: set[str] = set()
    for binary, need in lacks(stack, "GLIBC_"):
        if binary.package not in reported and need.name not in symbols:
            reported.add(binary.package)
            yield _lacking(binary, need, glibc, land)
    read = {} if not stack.binaries else read_floors(stack, "GLIBC", packages)
    wanted = [floor for name, floor in read.items() if name not in reported]
    listed = () if packages is None else _floors(packages, arch or "x86_64", glibc, matrix)
    wanted += [floor for floor in listed if floor.package not in read and floor.package not in reported]
    if glibc is None:
        demanding = [f for f in wanted if compare_numbers(f.need, OLDEST_GLIBC) > 0]
        if demanding and system == "Linux":
            most = max(demanding, key=lambda f: numbers(f.need))
            yield Undecided(str(most), "os.glibc", f"it needs glibc {most.need}, and the system's glibc is not known")
        return
    if packages and not wanted:
        yield Pass("packages", f"none is known to need more than glibc {glibc}")
    for floor in wanted:
        if compare_numbers(floor.need, glibc) > 0:
            yield _too_old(floor, glibc, land, arch or "x86_64", python_version, matrix)
        else:
            yield Pass(str(floor), f"it needs glibc {floor.need}, the system has {glibc}")


def _lacking(binary: Binary, need: LibraryNeed, glibc: str | None, land: Userland) -> Finding:
    version = need.name.partition("_")[2]
    have = _system(land, glibc) if glibc else "another C library"
    return Finding(
        severity="error",
        confidence="high",
        subject=f"{binary.package}: {need.name}",
        message=f"{need.by} of {binary.package} needs {need.name}, which {need.path} does not define: "
        f"the system has {have}.",
        evidence=[seen(binary, need)],
        fixes=[_newer_system(version)],
    )


def _floors(packages: Packages, arch: str, glibc: str | None, matrix: Matrix) -> Iterator[Floor]:
    for package in packages:
        version = known(package.version)
        # Conda builds its packages itself, for its own floor.
        if version is None or known(package.installer) == "conda":
            continue
        if (floor := glibc_floor(matrix, canonical(package.name), version, arch, glibc)) is not None:
            yield floor


def _system(land: Userland, glibc: str) -> str:
    distro = " ".join(part for part in (known(land.distro), known(land.distro_version)) if part)
    return f"glibc {glibc}" + (f" ({distro})" if distro else "")


def _missing(symbols: list[str], glibc: str | None, land: Userland) -> Finding:
    need = max((s.partition("_")[2] for s in symbols), key=numbers)
    have = f"the system has {_system(land, glibc)}" if glibc else "the system's glibc does not define it"
    if glibc and compare_numbers(glibc, need) >= 0:
        have = f"the system has {_system(land, glibc)}, so another libc was loaded (a container's, or one on the path)"
    return Finding(
        severity="error",
        confidence="high",
        subject=f"GLIBC_{need}",
        message=f"A library needs glibc {need} and did not find its symbols: {have}.",
        evidence=[Evidence(f"{symbol} was not found", "loader") for symbol in symbols],
        fixes=[_newer_system(need)],
    )


def _too_old(floor: Floor, glibc: str, land: Userland, arch: str, python: str | None, matrix: Matrix) -> Finding:
    built_here = floor.sdist and not floor.measured
    needs = f"{floor.file} in {floor} needs" if floor.file else f"{floor} needs"
    message = f"{needs} glibc {floor.need} or newer, the system has {_system(land, glibc)}"
    if built_here:
        message += "; it runs only if it was built from source for this system"
    fixes = [_newer_system(floor.need)]
    if (older := older_release(matrix, floor, glibc, arch, python)) is not None:
        fixes.insert(
            0,
            Fix(
                command=f'pip install "{floor.package}=={older}"',
                note=f"the newest release with a wheel for glibc {glibc}",
                safety="review",
                verify=f'python -c "import importlib.metadata as m; print(m.version({floor.package!r}))"',
            ),
        )
    return Finding(
        severity="warning" if built_here else "error",
        confidence="high" if floor.measured else "medium",
        subject=str(floor),
        message=message + ".",
        evidence=[Evidence(f"the system has {_system(land, glibc)}", "C library"), floor.evidence],
        fixes=fixes,
    )


_IMAGES = (("2.28", "rockylinux:8"), ("2.31", "debian:11"), ("2.35", "ubuntu:22.04"), ("2.39", "ubuntu:24.04"))
"""Images of distributions and their glibc, for the fix; by the table `distros`."""


def _newer_system(need: str) -> Fix:
    image = next((name for glibc, name in _IMAGES if compare_numbers(glibc, need) >= 0), "ubuntu:24.04")
    return Fix(
        command=f"docker run --rm -it --gpus all {image}",
        note=f"run it in an image with glibc {need} or newer, or upgrade the distribution; never replace glibc alone",
        safety="manual",
        verify="ldd --version",
    )
