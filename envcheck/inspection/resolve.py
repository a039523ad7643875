"""Where each library that a file needs comes from: another file of its wheel, another package, or the system."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from envcheck.inspection.model import Inspection, Library, Need
from envcheck.requirements import parse
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.binaries.loading import Load
    from envcheck.matrix import Matrix, Row

DRIVER = ("libcuda.so", "libnvidia-", "libnvcuvid.so", "libnvoptix.so", "nvcuda.dll", "nvml.dll", "nvcuvid.dll")
"""What only the NVIDIA driver brings."""
PROGRAM = "cannot dynamically load"
"""How the loader refuses to load a program as a library."""
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
    required = _required(found)
    optional = found.distribution.optional if found.distribution else {}
    majors = _cuda_majors(found, matrix)
    for library in found.libraries:
        library.needs = [
            _of_wheel(need, lower if library.format == "pe" else inside, required, optional, majors, matrix)
            for need in library.needs
        ]


def _cuda_majors(found: Inspection, matrix: Matrix) -> set[str]:
    """CUDA releases whose libraries, by names that only they have, the files need."""
    majors: set[str] = set()
    for name in {need.name for library in found.libraries for need in library.needs}:
        rows = _rows(name, matrix)
        if len(rows) == 1:
            majors.add(rows[0]["cuda"])
    return majors


def _of_wheel(
    need: Need,
    inside: dict[str, str],
    required: set[str],
    optional: dict[str, str],
    majors: set[str],
    matrix: Matrix,
) -> Need:
    name = need.name.rpartition("/")[2]
    path = inside.get(name) or inside.get(name.lower())
    if path is not None:
        return Need(name=need.name, where="wheel", path=path)
    kind = kind_of(name)
    if kind:
        return Need(name=need.name, where=kind)
    packages = brought_by(name, matrix, majors)
    if not packages:
        return Need(name=need.name, where="system")
    package = next((one for one in packages if one in required or one in optional), packages[0])
    # A framework brings NVIDIA's libraries along, and loads them before its extensions.
    told = package in required or bool(required & FRAMEWORKS)
    extra = optional.get(package)
    problem = "" if told else f"only with the extra {extra}" if extra else "the wheel does not require it"
    return Need(name=need.name, where="package", package=package, problem=problem)


def _required(found: Inspection) -> set[str]:
    """Names of the packages that the distribution requires, whatever their markers say."""
    names = set()
    for line in found.distribution.requires if found.distribution else ():
        try:
            names.add(parse(line).name)
        except ValueError:
            continue
    return names


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


# On this machine


def resolve_on_disk(found: Inspection, paths: Sequence[str], folders: Sequence[str], matrix: Matrix) -> None:
    """Re-enact the loader for files on this machine, after what the package's own import loads.

    ``paths``: of ``found.libraries``, in their order. Libraries of another system or architecture stay as they are.
    """
    loader = _Loader.of_this_machine(found, folders)
    for library, path in zip(found.libraries, paths, strict=True):
        if loader is not None and loader.fits(library):
            library.needs = loader.needs(library, path, matrix)
        else:
            library.needs = [Need(name=need.name, where=kind_of(need.name) or "system") for need in library.needs]
    if loader is None:
        return
    # A library that only others of the package load may live on their search path.
    for library, path in zip(found.libraries, paths, strict=True):
        needs = [loader.served(need, path) for need in library.needs]
        library.needs = [need for need in needs if need is not None]


def resolve_here(found: Inspection, matrix: Matrix) -> None:
    """Look on this machine for what a wheel's files expect of the system."""
    loader = _Loader.of_this_machine(found, [])
    if loader is None:
        return
    answers: dict[str, Need] = {}
    for library in found.libraries:
        if not loader.fits(library):
            continue
        for place, need in enumerate(library.needs):
            if need.where == "system":
                if need.name not in answers:
                    answers[need.name] = loader.system(need.name)
                library.needs[place] = answers[need.name]


def _imported(found: Inspection) -> tuple[str, ...]:
    """What an import of the package loads first: its own steps, or those of the frameworks that it requires."""
    from envcheck.binaries.importers import IMPORTERS

    name = found.distribution.name.replace("-", "_") if found.distribution else ""
    module = "onnxruntime" if name.startswith("onnxruntime") else name
    return (module,) if module in IMPORTERS else tuple(one for one in ("torch",) if one in _required(found))


class _Loader:
    """The loader of this interpreter."""

    def __init__(self, modules: Sequence[str], folders: Sequence[str]) -> None:
        """``modules``: of :data:`~envcheck.binaries.importers.IMPORTERS`, imported first from these folders."""
        from envcheck.binaries.files import Files
        from envcheck.binaries.importing import import_package
        from envcheck.binaries.loading import Process

        self.machine = os.uname().machine
        self.process = Process(Files(), sys.executable, env=os.environ, cwd=os.getcwd())
        for module in modules:
            import_package(self.process, module, folders)
        self._base = len(self.process.loaded), len(self.process.everywhere)
        self._served: dict[tuple[str, str], str] = {}

    @classmethod
    def of_this_machine(cls, found: Inspection, folders: Sequence[str]) -> _Loader | None:
        """None where there is no such loader, or it cannot be read."""
        if not sys.platform.startswith("linux"):
            return None
        try:
            return cls(_imported(found) if folders else (), folders)
        except (OSError, ValueError):
            return None

    def fits(self, library: Library) -> bool:
        return library.format == "elf" and library.arch == [self.machine]

    def needs(self, library: Library, path: str, matrix: Matrix) -> list[Need]:
        """Direct needs, then what is missing further down."""
        from envcheck.binaries.loading import Process

        # Each by itself: what another one loaded before must not serve it.
        loaded, everywhere = self._base
        del self.process.loaded[loaded:]
        del self.process.everywhere[everywhere:]
        load = self.process.dlopen(path)
        if load.needs and load.needs[0].by is None and (load.needs[0].problem or "").startswith(PROGRAM):
            try:
                load = Process(self.process.files, path, env=os.environ, cwd=os.getcwd()).start
            except (OSError, ValueError) as error:
                library.problem = library.problem or str(error)
        direct = {name.name for name in library.needs}
        answers: dict[str, Need] = {}
        for need in load.needs:
            if need.by is not None and need.path and not need.problem:
                self._served[os.path.realpath(need.by.path), need.name] = need.path
            mine = need.by is not None and need.by.path == path
            if not mine and not need.problem:
                continue
            by = "" if mine or need.by is None else need.by.path
            if need.by is None:
                if need.problem:
                    library.problem = library.problem or need.problem
                continue
            answers.setdefault(need.name, self._answer(need.name, need.path or "", need.problem or "", by, matrix))
        for one in load.elsewhere:
            mine = one.need.by is not None and one.need.by.path == path
            if mine and one.need.name in answers and answers[one.need.name].where == "file":
                problem = f"{one.meant} is meant, by {one.by}"
                answers[one.need.name] = Need(
                    name=one.need.name, where="file", path=one.need.path or "", problem=problem
                )
        for lack in _lacking(load):
            problem = f"version {lack[0]} is not defined by {lack[1]}"
            answers[f"{lack[2]} ({lack[0]})"] = Need(
                name=lack[2], where="missing", path=lack[1], problem=problem, by="" if lack[3] == path else lack[3]
            )
        for need_name in direct - set(answers):
            answers[need_name] = self._known(need_name)
        order = [name.name for name in library.needs]
        return sorted(answers.values(), key=lambda one: order.index(one.name) if one.name in order else len(order))

    def served(self, need: Need, path: str) -> Need | None:
        """The same need, met where the file was loaded for another one of the package; None: it is not its own."""
        if need.where != "missing":
            return need
        found = self._served.get((os.path.realpath(need.by or path), need.name))
        if found is None or not need.problem.startswith("cannot open"):
            return need
        return None if need.by else Need(name=need.name, where="file", path=found)

    def _known(self, name: str) -> Need:
        """A need of a library that was in the process already."""
        loaded = self.process.find(name)
        return Need(name=name, where="file", path=loaded.path) if loaded else self.system(name)

    def _answer(self, name: str, path: str, problem: str, by: str, matrix: Matrix) -> Need:
        if not problem:
            return Need(name=name, where="file", path=path)
        kind = kind_of(name)
        packages = brought_by(name, matrix)
        return Need(name=name, where=kind or "missing", package=packages[0] if packages else "", problem=problem, by=by)

    def system(self, name: str) -> Need:
        kind = kind_of(name)
        loaded = self.process.find(name)
        if loaded is not None:
            return Need(name=name, where=kind or "file", path=loaded.path)
        answer = self.process.search.find(name, None)
        if answer.facts is not None and not answer.problem:
            return Need(name=name, where=kind or "file", path=answer.path)
        return Need(name=name, where=kind or "missing", problem=answer.problem or "not found")


def _lacking(load: Load) -> list[tuple[str, str, str, str]]:
    """(symbol version, file that lacks it, name by which that is asked for, file that asks)."""
    return [(one.version, one.path, one.library, one.importer) for one in load.lacking_versions if not one.weak]
