"""Where each library that a file needs comes from: another file of its wheel, another package, or the system."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from envcheck.inspection.model import Inspection, Library, Need
from envcheck.requirements import parse
from envcheck.versions import canonical, public, satisfies_prefix

if TYPE_CHECKING:
    from envcheck.inspection.search import Search
    from envcheck.matrix import Matrix, Row

DRIVER = ("libcuda.so", "libnvidia-", "libnvcuvid.so", "libnvoptix.so", "nvcuda.dll", "nvml.dll", "nvcuvid.dll")
"""What only the NVIDIA driver brings."""
NO_WAY = "no search path leads to it: something must load it first"
NOT_REQUIRED = "the wheel does not require it"
FRAMEWORKS = frozenset(("torch", "tensorflow", "jaxlib", "jax", "paddlepaddle-gpu", "onnxruntime-gpu"))
BROUGHT_BY = {
    "libtorch": "torch",
    "libc10": "torch",
    "torch": "torch",
    "c10": "torch",
    "libtensorflow_": "tensorflow",
    "libonnxruntime": "onnxruntime",
    "libnvinfer_plugin": "tensorrt",
    "libnvonnxparser": "tensorrt",
    "libcutensor": "cutensor",
    "libcutensormg": "cutensor",
    "libmkl_": "mkl",
    "libtbb": "tbb",
    "libiomp5": "intel-openmp",
}
"""Beginnings of names of libraries of other packages than NVIDIA's, which the table `sonames` lists."""


def resolve_wheel(found: Inspection, matrix: Matrix) -> None:
    """Fill in where the needs of a wheel's files come from, as far as that can be told without a machine."""
    inside: dict[str, str] = {}
    for library in found.libraries:
        inside.setdefault(library.path.rpartition("/")[2], library.path)
        if library.soname:
            inside.setdefault(library.soname.rpartition("/")[2], library.path)
    lower = {name.lower(): path for name, path in inside.items()}
    search = None
    if any(library.format == "elf" for library in found.libraries):
        from envcheck.inspection.search import Search

        search = Search(found)
    context = _Context(found, matrix, search)
    for library in found.libraries:
        names = lower if library.format == "pe" else inside
        library.needs = [context.answer(need.name, library, names) for need in library.needs]


def resolve_names(library: Library, found: Inspection, matrix: Matrix) -> None:
    """Of one library that is looked at by itself, for a machine whose files are not here: what the names tell."""
    context = _Context(found, matrix, None)
    # What it needs further down is known of this machine only.
    names = dict.fromkeys(need.name for need in library.needs if not need.by)
    library.needs = [context.answer(name, library, {}) for name in names]


class _Context:
    """What is known of the whole subject when one need is judged."""

    def __init__(self, found: Inspection, matrix: Matrix, search: Search | None) -> None:
        self.matrix, self.search = matrix, search
        self.required = required(found)
        self.optional = found.distribution.optional if found.distribution else {}
        self.majors = _cuda_majors(found, matrix)
        self.single = found.kind == "library"

    def answer(self, name: str, library: Library, inside: dict[str, str]) -> Need:
        from envcheck.inspection.search import DESKTOP, expected_of_system, led_to

        last = name.rpartition("/")[2]
        searched = library.format == "elf" and self.search is not None and self.search.complete
        if self.search is not None and (path := self.search.met.get((library.path, name))):
            return Need(name=name, where="wheel", path=path)
        path = inside.get(last) or inside.get(last.lower(), "")
        kind = kind_of(last)
        packages = brought_by(last, self.matrix, self.majors)
        # What a required package brings is loaded before a copy in the wheel to which no path leads.
        elsewhere = searched and packages and self.required & (FRAMEWORKS | set(packages))
        if path and not kind and not elsewhere:
            # On Windows the package itself adds folders; macOS has its own paths, which are not followed.
            return Need(name=name, where="wheel", path=path, problem=NO_WAY if searched else "")
        if kind:
            return Need(name=name, where=kind)
        ways = self.search.ways.get(library.path, []) if self.search else []
        if packages:
            return self._of_package(name, packages, ways)
        if library.format == "pe":
            from envcheck.inspection.resolve_foreign import expected_of_windows

            return expected_of_windows(name)
        if library.format != "elf":
            return Need(name=name, where="system")
        if expected_of_system(last):
            return Need(name=name, where="system", problem="small images lack it" if last.startswith(DESKTOP) else "")
        if package := led_to(ways, self.required):
            return Need(name=name, where="package", package=package, problem="by the search path")
        who = "no package that we know brings it" if self.single else "neither the wheel nor a package that we know"
        return Need(name=name, where="unknown", problem=f"{who}{'' if self.single else ' brings it'}")

    def _of_package(self, name: str, packages: list[str], ways: list[str]) -> Need:
        package = next((one for one in packages if one in self.required or one in self.optional), packages[0])
        # A framework brings NVIDIA's libraries along, and loads them before its extensions.
        framework = bool(self.required & FRAMEWORKS)
        extra = self.optional.get(package)
        problem = ""
        if package in self.required and not framework and self.search is not None:
            folders = {row["wheel_dir"] for row in _rows(name, self.matrix) if row["wheel_dir"]}
            problem = NO_WAY if folders and not folders & set(ways) else ""
        elif package not in self.required and not framework and not self.single:
            problem = f"only with the extra {extra}" if extra else NOT_REQUIRED
        return Need(name=name, where="package", package=package, problem=problem)


def _cuda_majors(found: Inspection, matrix: Matrix) -> set[str]:
    """CUDA releases whose libraries, by names that only they have, the files need."""
    majors: set[str] = set()
    for name in {need.name for library in found.libraries for need in library.needs}:
        rows = _rows(name, matrix)
        if len(rows) == 1:
            majors.add(rows[0]["cuda"])
    return majors


def required(found: Inspection) -> set[str]:
    """Names of the packages that the distribution requires, whatever their markers say."""
    names = set()
    for line in found.distribution.requires if found.distribution else ():
        try:
            names.add(parse(line).name)
        except ValueError:
            continue
    return names


def replacements(found: Inspection, installed: Mapping[str, str | None]) -> dict[str, tuple[str, str]]:
    """Installed packages whose version the wheel does not accept: name -> (version, what it accepts)."""
    result: dict[str, tuple[str, str]] = {}
    for line in found.distribution.requires if found.distribution else ():
        try:
            wanted = parse(line)
            version = installed.get(wanted.name)
            if not version or not wanted.specifier or wanted.marker:
                continue
            if satisfies_prefix(public(version), wanted.specifier) is False:
                result.setdefault(wanted.name, (version, wanted.specifier))
        except ValueError:
            continue
    return result


def notes_of(replaced: Mapping[str, tuple[str, str]]) -> list[str]:
    """At most five sentences."""
    return [
        f"{name} {version} is installed there, and the wheel requires {name}{specifier}: pip would replace it"
        for name, (version, specifier) in list(replaced.items())[:5]
    ]


def kind_of(name: str) -> str:
    """``driver``, ``python`` or nothing."""
    low = name.lower()
    if low.startswith(DRIVER):
        return "driver"
    return "python" if low.startswith(("libpython", "python3")) else ""


def brought_by(name: str, matrix: Matrix, majors: Collection[str] = ()) -> list[str]:
    """Packages that bring a library of this name; of several CUDA releases those of ``majors``, the newest first."""
    rows = _rows(name, matrix)
    rows = [row for row in rows if row["cuda"] in majors] or rows
    found = [canonical(row["wheel_package"]) for row in reversed(rows) if row["wheel_package"]]
    if not found:
        stem = name.lower()
        found = [package for start, package in BROUGHT_BY.items() if _starts(stem, start)]
    return list(dict.fromkeys(found))


def _rows(name: str, matrix: Matrix) -> list[Row]:
    return matrix.rows("sonames", **{"dll" if name.lower().endswith(".dll") else "soname": name})


def _starts(name: str, start: str) -> bool:
    """``torch_cpu.dll`` is torch's, ``torchlight.dll`` is not."""
    if not name.startswith(start):
        return False
    return start.endswith("_") or name[len(start) : len(start) + 1] in ("", ".", "_", "5")
