"""What installed packages need of the C and C++ libraries: measured where the wheel was read, else the wheel's tag."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.versions import canonical, compare_numbers, numbers, version_key

if TYPE_CHECKING:
    from envcheck.matrix import Matrix, Row

OLDEST_GLIBC = "2.17"
"""manylinux2014, CentOS 7: what every wheel of today may ask for; not worth an open question."""

NEWEST_MEASURED = {"glibc": "2.32", "glibcxx": "3.4.22", "cxxabi": "1.3.13"}
"""The highest needs in the tables of measured wheels (a test keeps them so): a system that has these is not asked."""


TAGGED_ABOVE = (
    "2.28",
    frozenset(
        {
            "onnxruntime-genai-cuda",
            "onnxruntime-gpu",
            "onnxruntime-migraphx",
            "onnxruntime-qnn",
            "onnxruntime-rocm",
            "openvino",
            "torch-tensorrt",
            "vllm",
        }
    ),
)
"""The only packages with a wheel tagged for more than this glibc (a test keeps them so): of the others, a newer system
need not open the table."""


class Floor(Struct, frozen=True):
    """The lowest version of a C or C++ library that a package runs with."""

    package: str
    version: str
    need: str
    file: str | None
    """The library inside the package that asks for it; None where only the package as a whole is known."""
    measured: bool
    """Read from the symbols in the files; else it is the wheel's tag."""
    sdist: bool
    """A source distribution exists: what is installed may have been built elsewhere for an older system."""
    evidence: Evidence

    def __str__(self) -> str:
        return f"{self.package} {self.version}".rstrip()


@lru_cache(maxsize=16)
def has_all_measured(column: str, have: str) -> bool:
    """No measured wheel asks for more than this."""
    return compare_numbers(have, NEWEST_MEASURED[column]) >= 0


def glibc_floor(matrix: Matrix, package: str, version: str, arch: str, have: str | None = None) -> Floor | None:
    """Lowest glibc for a wheel of this release; None when the tables do not say, or none above ``have`` is likely."""
    row = None
    if package.startswith("tensorrt") and arch == "x86_64" and "llm" not in package:
        return _tensorrt(matrix, package, version)
    if have is not None and package not in TAGGED_ABOVE[1] and has_all_measured("glibc", have):
        return None
    if have is not None and has_all_measured("glibc", have):
        row = matrix.row("wheels", package=package, version=version)
        tag = None if row is None else row.get(f"glibc_{arch}")
        if tag is None or compare_numbers(tag, have) <= 0:
            return None
    if arch == "x86_64" and (floor := _measured(matrix, package, version, "glibc")) is not None:
        return floor
    row = row or matrix.row("wheels", package=package, version=version)
    row = row or _between(matrix, package, version, f"glibc_{arch}")
    need = None if row is None else row.get(f"glibc_{arch}")
    if row is None or need is None:
        return None
    title, url, as_of = matrix.cite(row)
    text = f"the wheels of {package} {row['version']} are tagged for glibc {need} or newer"
    evidence = Evidence(text, title, url, as_of)
    return Floor(package, version, str(need), None, False, bool(row["sdist"]), evidence)


def _between(matrix: Matrix, package: str, version: str, column: str) -> Row | None:
    """For a release that the index no longer lists: a listed neighbour of its minor release, if both agree."""
    key = numbers(version)
    if len(key) < 3 or not version.replace(".", "").isdigit():
        return None
    family = [row for row in matrix.rows("wheels", package=package) if numbers(row["version"])[:2] == key[:2]]
    below = max((row for row in family if numbers(row["version"]) < key), key=_release, default=None)
    above = min((row for row in family if numbers(row["version"]) > key), key=_release, default=None)
    return above if below is not None and above is not None and below.get(column) == above.get(column) else None


def _release(row: Row) -> tuple[int, ...]:
    return numbers(row["version"])


def _tensorrt(matrix: Matrix, package: str, version: str) -> Floor | None:
    """The wheels on the index are stubs: NVIDIA's notes say what the libraries that they fetch need."""
    from envcheck.matrix.lookup import tensorrt

    row = tensorrt(matrix, version)
    if row is None or not row["glibc"]:
        return None
    title, url, as_of = matrix.cite(row)
    evidence = Evidence(f"TensorRT {row['tensorrt']} needs glibc {row['glibc']} or newer", title, url, as_of)
    return Floor(package, version, str(row["glibc"]), None, False, False, evidence)


def symbol_floor(matrix: Matrix, package: str, version: str, column: str) -> Floor | None:
    """Lowest ``glibcxx`` or ``cxxabi`` for the x86-64 wheel of this release; None when it was not read."""
    return _measured(matrix, package, version, column)


def _measured(matrix: Matrix, package: str, version: str, column: str) -> Floor | None:
    name, public = canonical(package), version.partition("+")[0]
    if name.startswith("nvidia-"):
        return _nvidia(matrix, name, public, column)
    row = matrix.row("wheel-symbols", package=name, version=public)
    if row is None and name == "torch" and column == "glibc":
        row = matrix.row("torch-builds", torch=public)
    if row is None or not row.get(column):
        return None
    return _floor(matrix, row, name, version, str(row[column]), None, column)


def _nvidia(matrix: Matrix, package: str, version: str, column: str) -> Floor | None:
    """The highest need of the libraries in the wheel; between two releases that agree, theirs is taken."""
    by_version: dict[str, list[Row]] = {}
    for row in matrix.rows("nvidia-wheels", package=package):
        if row.get(column):
            by_version.setdefault(row["version"], []).append(row)
    rows = by_version.get(version)
    if rows is None:
        mine = _key(version)
        below = max((v for v in by_version if _key(v) < mine), key=_key, default=None)
        above = min((v for v in by_version if _key(v) > mine), key=_key, default=None)
        if below is None or above is None:
            return None
        lower, upper = _highest(by_version[below], column), _highest(by_version[above], column)
        if compare_numbers(lower[column], upper[column]) != 0:
            return None
        rows = [lower]
    row = _highest(rows, column)
    return _floor(matrix, row, package, version, str(row[column]), row["file"], column)


def _key(version: str) -> tuple[int, ...]:
    return numbers(version)


def _highest(rows: list[Row], column: str) -> Row:
    best = rows[0]
    for row in rows[1:]:
        if compare_numbers(row[column], best[column]) > 0:
            best = row
    return best


def _floor(matrix: Matrix, row: Row, package: str, version: str, need: str, file: str | None, column: str) -> Floor:
    title, url, as_of = matrix.cite(row)
    symbol = f"{column.upper()}_{need}"
    text = f"{file or 'the libraries'} of {package} {row.get('version') or row.get('torch')} ask for {symbol}"
    if file:
        text = text.replace(" ask for ", " asks for ")
    return Floor(package, version, need, file, True, False, Evidence(text, title, url, as_of))


def older_release(matrix: Matrix, floor: Floor, have: str, arch: str, python: str | None) -> str | None:
    """The newest earlier release with a wheel for this glibc and Python; None when there is none that we know."""
    candidates = []
    for row in matrix.rows("wheels", package=floor.package):
        if row["yanked"] or "-" in row["version"] or not _final(row["version"]):
            continue
        if version_key(row["version"]) < version_key(floor.version.partition("+")[0]) and _has_python(row, python):
            candidates.append(row["version"])
    for candidate in sorted(candidates, key=version_key, reverse=True):
        other = glibc_floor(matrix, floor.package, candidate, arch)
        if other is not None and compare_numbers(other.need, have) <= 0:
            return str(candidate)
    return None


def _final(version: str) -> bool:
    return all(part.isdigit() or part.startswith("post") for part in version.split("."))


def _has_python(row: Row, python: str | None) -> bool:
    """Has this release a wheel for this Python? Taken for granted where the Python is not known."""
    if python is None:
        return True
    wanted = ".".join(map(str, numbers(python)[:2]))
    for tag in row["python_tags"] or ():
        bare = tag.removesuffix("+abi3")
        if tag in (wanted, "py3") or (tag != bare and compare_numbers(bare, wanted) <= 0):
            return True
    return False
