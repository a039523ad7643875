"""What follows for a subject as a whole: symbol versions, the distributions that have them, CPU instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.inspection.model import Floor, Inspection
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

COLUMNS = {"GLIBC": "glibc_symbol", "GLIBCXX": "glibcxx", "CXXABI": "cxxabi"}
"""Family of symbol versions -> column of the table `distros`."""


BASELINE = "x86-64-v1"
"""What every x86-64 CPU has."""


def summarise(found: Inspection, matrix: Matrix) -> None:
    """Fill in ``symbols``, ``distributions`` and ``cpu``."""
    own = {library.path.rpartition("/")[2] for library in found.libraries} if found.kind != "library" else set()
    bundled = "libstdc++.so.6" in own
    for library in found.libraries:
        for family, version in library.symbols.items():
            if bundled and family != "GLIBC":
                continue
            if family not in found.symbols or compare_numbers(version, found.symbols[family].version) > 0:
                found.symbols[family] = Floor(version=version, file=library.path)
    arches = {arch for library in found.libraries if library.format == "elf" for arch in library.arch}
    if found.symbols and len(arches) == 1:
        found.distributions = distributions(
            matrix, arches.pop(), {family: floor.version for family, floor in found.symbols.items()}
        )
    _cpu(found, matrix)


def distributions(matrix: Matrix, arch: str, symbols: dict[str, str]) -> list[str]:
    """The lowest listed release of each distribution that defines all of these symbol versions."""
    lowest: dict[str, str] = {}
    for row in matrix.rows("distros", arch=arch):
        have = {family: row[COLUMNS[family]] for family in symbols}
        if any(not have[family] or compare_numbers(have[family], symbols[family]) < 0 for family in symbols):
            continue
        name, version = row["distro"], str(row["version"])
        if name not in lowest or numbers(version) < numbers(lowest[name]):
            lowest[name] = version
    return [f"{name} {version}" for name, version in sorted(lowest.items())]


def _cpu(found: Inspection, matrix: Matrix) -> None:
    levels = [library.cpu_level for library in found.libraries if library.cpu_level not in (None, BASELINE)]
    if levels:
        level = max(filter(None, levels))
        row = matrix.row("x86-levels", level=level.removeprefix("x86-64-v"))
        file = next(library.path for library in found.libraries if library.cpu_level == level)
        found.cpu[f"{file} is marked {level}"] = list(row["all_flags"]) if row else []
    distribution = found.distribution
    arches = {arch for library in found.libraries for arch in library.arch}
    if distribution is not None and (not arches or "x86_64" in arches):
        from envcheck.matrix.lookup import cpu_requirements

        try:
            rows = cpu_requirements(matrix, distribution.name, distribution.version)
        except ValueError:
            rows = []
        for row in rows:
            if row["requires_flags"]:
                key = f"{distribution.name} {distribution.version} (table {row['_table']}, {row['as_of']})"
                found.cpu[key] = list(row["requires_flags"])
