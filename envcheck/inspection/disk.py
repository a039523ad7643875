"""Needs on this machine: the loader's search re-enacted, after what a package's own import loads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from envcheck.binaries.elf import ElfError
from envcheck.inspection.model import Inspection, Library, Need, Undefined
from envcheck.inspection.reading import TORCH_LIBRARIES, TORCH_NAMES, extends_torch
from envcheck.inspection.resolve import FRAMEWORKS, brought_by, kind_of, notes_of, replacements, required
from envcheck.inspection.resolve_foreign import FORMATS, foreign_needs
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.binaries.files import Files
    from envcheck.binaries.loading import Load
    from envcheck.binaries.source import Source
    from envcheck.matrix import Matrix

PROGRAM = "cannot dynamically load"
"""How the loader refuses to load a program as a library."""
MOST_SYMBOLS = 20


def resolve_on_disk(found: Inspection, paths: Sequence[str], folders: Sequence[str], matrix: Matrix) -> None:
    """Re-enact the loader for files on this machine, after what the package's own import loads.

    ``paths``: of ``found.libraries``, in their order. Libraries of another system or architecture stay as they are.
    """
    if not folders and any(map(extends_torch, found.libraries)):
        import sysconfig

        folders = _site_folders(sysconfig.get_paths()["platlib"])  # the torch of this environment, imported first
    loader = _Loader.of_this_machine(_imported(found) if folders else (), folders)

    def brought(name: str) -> tuple[str, str]:
        packages = brought_by(name, matrix)
        return kind_of(name), packages[0] if packages else ""

    for library, path in zip(found.libraries, paths, strict=True):
        if loader is not None and loader.fits(library):
            library.needs = loader.needs(library, path, matrix)
        elif library.format in FORMATS:
            library.needs = foreign_needs(library, path, _imported(found), brought)
        else:
            library.needs = [Need(name=need.name, where=kind_of(need.name) or "system") for need in library.needs]
    if loader is None:
        return
    # A library that only others of the package load may live on their search path.
    for library, path in zip(found.libraries, paths, strict=True):
        needs = [loader.served(need, path) for need in library.needs]
        library.needs = [need for need in needs if need is not None]


def resolve_here(found: Inspection, matrix: Matrix, opener: Callable[[str], Source] | None = None) -> None:
    """Re-enact the loader of this machine for a wheel's files as if they were installed in this environment.

    ``opener`` gives the bytes of a member: with it, symbols and their versions are compared too.
    """
    from envcheck.inspection.overlay import Layout, WheelFiles
    from envcheck.inspection.search import MOST_NEEDS

    layout = Layout.here()
    name = found.distribution.name if found.distribution else ""
    files = WheelFiles(found.libraries, layout, opener=opener, bare=False, hidden=_installed_files(name))
    installed = _installed()
    replaced = replacements(found, installed)
    there, context = installed.keys() - replaced.keys(), _Brought(found)
    found.notes += notes_of(replaced)
    # The torch that pip would put in place of this one is not here to be asked.
    first = () if "torch" in replaced else _imported(found)
    loader = _Loader.of_this_machine(first, _site_folders(layout.site), files)
    if loader is None:
        return
    paths = [layout.place(library.path) for library in found.libraries]
    answers = [
        loader.needs(library, path, matrix) if loader.fits(library) and loader.steps < MOST_NEEDS else None
        for library, path in zip(found.libraries, paths, strict=True)
    ]
    for library, path, needs in zip(found.libraries, paths, answers, strict=True):
        if needs is None:
            continue
        before = {need.name: need for need in library.needs}
        library.needs = []
        for need in needs:
            served = loader.served(need, path)
            if served is None or (served.by and files.path(served.by) in files.members):
                continue  # the other file of the wheel tells it itself
            old = before.get(served.name)
            if served.where == "file" and (member := files.members.get(files.path(served.path))):
                served = Need(name=served.name, where="wheel", path=member, problem=served.problem)
            elif served.where == "missing" and old is not None and not served.by and context.brings(old, there):
                served = old
            library.needs.append(served)


class _Brought:
    """What pip would install together with the wheel."""

    def __init__(self, found: Inspection) -> None:
        self.required = required(found)

    def brings(self, need: Need, there: Collection[str]) -> bool:
        """Is a need that is missing now met once pip has done its work, or may the package itself see to it?"""
        if need.where == "wheel":
            return True
        if need.where != "package":
            return False
        # A framework brings libraries along, in releases of its own.
        return any(one not in there for one in self.required & (FRAMEWORKS | {need.package}))


def _site_folders(first: str) -> list[str]:
    """Folders of sys.path where packages lie."""
    found = [first, *(one for one in sys.path if one.rstrip("/").endswith(("site-packages", "dist-packages")))]
    return list(dict.fromkeys(found))


def _installed() -> dict[str, str]:
    """What is installed in this environment: canonical name -> version."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for distribution in distributions():
        try:
            found.setdefault(canonical(distribution.metadata["Name"] or ""), distribution.version or "")
        except Exception:  # damaged metadata raise whatever they like
            continue
    return found


def _installed_files(name: str) -> list[str]:
    """Compiled files of the release that is installed, which pip takes away."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        one = distribution(name)
        return [os.path.normpath(str(one.locate_file(file))) for file in one.files or () if ".so" in str(file)]
    except PackageNotFoundError:
        return []
    except Exception:  # damaged metadata raise whatever they like
        return []


def _imported(found: Inspection) -> tuple[str, ...]:
    """What an import of the package loads first: its own steps, or those of the frameworks that it stands on."""
    from envcheck.binaries.importers import IMPORTERS

    name = found.distribution.name.replace("-", "_") if found.distribution else ""
    module = "onnxruntime" if name.startswith("onnxruntime") else name
    if module in IMPORTERS:
        return (module,)
    return ("torch",) if "torch" in required(found) or any(map(extends_torch, found.libraries)) else ()


class _Loader:
    """The loader of this interpreter."""

    def __init__(self, modules: Sequence[str], folders: Sequence[str], files: Files | None = None) -> None:
        """``modules``: of :data:`~envcheck.binaries.importers.IMPORTERS`, imported first from these folders."""
        from envcheck.binaries.importing import import_package
        from envcheck.binaries.loading import Process

        self.machine, self.steps = os.uname().machine, 0
        self.process = Process(files, sys.executable, env=os.environ, cwd=os.getcwd())
        for module in modules:
            import_package(self.process, module, folders)
        self._base = len(self.process.loaded), len(self.process.everywhere)
        self._served: dict[tuple[str, str], str] = {}

    @classmethod
    def of_this_machine(
        cls, modules: Sequence[str], folders: Sequence[str], files: Files | None = None
    ) -> _Loader | None:
        """None where there is no such loader, or it cannot be read."""
        if not sys.platform.startswith("linux"):
            return None
        try:
            return cls(modules, folders, files)
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
        self.steps += len(load.needs) + 1
        if load.needs and load.needs[0].by is None and (load.needs[0].problem or "").startswith(PROGRAM):
            try:
                load = Process(self.process.files, path, env=os.environ, cwd=os.getcwd()).start
            except (OSError, ValueError) as error:
                library.problem = library.problem or str(error)
        self._symbols(library, load)
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

    def _symbols(self, library: Library, load: Load) -> None:
        """What it takes from torch and torch does not have. Only torch's own libraries could define that."""
        from envcheck.binaries.source import BinaryError

        if not extends_torch(library) or any(need.name.startswith(TORCH_LIBRARIES) for need in load.missing):
            return
        around = (*load.scope, *self.process.loaded)
        itself = load.new[:1] or load.scope[:1]  # its package's own import may have loaded it
        if not itself or not any(one.path.rpartition("/")[2].startswith(TORCH_LIBRARIES) for one in around):
            return
        from envcheck.binaries.mangled import readable
        from envcheck.binaries.symbols import undefined_symbols

        try:
            lost = undefined_symbols(load, itself, TORCH_NAMES)
        except (OSError, BinaryError, ElfError):
            return
        library.undefined = [
            Undefined(symbol=one.symbol.name, name=readable(one.symbol.name)) for one in lost[:MOST_SYMBOLS]
        ]

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
