"""Where the needs of Windows and macOS files come from: the search of their own loaders, re-enacted on files.

The files may be of this machine, of a mounted disk, or of a wheel that was unpacked into a folder. What is not there
to be read (System32, the interpreter, the rest of the disk) is not called missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from envcheck.inspection.model import Library, Need

if TYPE_CHECKING:
    from collections.abc import Callable

    from envcheck.binaries.dylib_search import Dylib
    from envcheck.binaries.pe_search import Import

    Brought = Callable[[str], tuple[str, str]]
    """Name of a library -> (``driver``, ``python`` or nothing; the package that brings it or nothing)."""

FORMATS = ("pe", "mach-o")
TORCH_DLLS = ("torch_cpu.", "torch_cuda.", "torch_python.", "torch.dll", "c10.", "c10_cuda.")
MAX_PARENTS = 64


def foreign_needs(library: Library, path: str, first: Collection[str], brought: Brought) -> list[Need]:
    """Needs of one file, and what is missing further down. ``first``: packages that are imported before it."""
    path = os.path.abspath(path)
    return _dll(library, path, first, brought) if library.format == "pe" else _dylib(library, path, brought)


def _dll(library: Library, path: str, first: Collection[str], brought: Brought) -> list[Need]:
    from envcheck.binaries.dll_importers import import_package, prepare
    from envcheck.binaries.pe_search import DllProcess, Windows

    site = _site(path)
    here = sys.platform == "win32"
    disk = "" if here else _above(path, "Windows/System32")
    prefix = os.path.dirname(os.path.dirname(site)) if os.path.basename(site).lower() == "site-packages" else ""
    windows = Windows(
        prefix,
        drives={"c": disk} if disk else None,
        env=os.environ if here else None,
        machine=library.arch[0] if library.arch else "x86_64",
    )
    process = DllProcess(windows)
    if site:
        if any(need.name.lower().startswith(TORCH_DLLS) for need in library.needs):
            first = ("torch", *first)  # what extends torch is only ever imported after it
        own = os.path.relpath(path, site).replace(os.sep, "/").partition("/")[0].partition(".")[0]
        for package in dict.fromkeys(first):
            if package != own and windows.folders.path(site, package):
                import_package(process, package, [site])
        prepare(process, own, [site])
    load = process.load(path)
    if load.error and not load.imports:
        library.problem = library.problem or load.error
    needs: dict[str, Need] = {}
    for one in load.imports:
        if one.by == path or one.where == "missing" or one.problem:
            needs.setdefault(one.name.lower(), _of_import(one, path, brought))
    for one in load.delayed:
        if one.where == "missing":
            later = "loaded when one of its functions is first called; not found here"
            needs.setdefault(one.name.lower(), Need(name=one.name, where="system", problem=later))
        else:
            needs.setdefault(one.name.lower(), _of_import(one, path, brought))
    return list(needs.values()) or library.needs


def _of_import(one: Import, path: str, brought: Brought) -> Need:
    from envcheck.binaries.windows_dlls import REDISTRIBUTABLE

    by = "" if one.by == path else one.by
    if one.where == "redistributable":
        return Need(name=one.name, where="system", problem=f"of the {REDISTRIBUTABLE}", by=by)
    if one.where in ("file", "loaded") and not one.problem:
        return Need(name=one.name, where="file", path=one.path, by=by)
    if one.where in ("system", "api-set", "python", "driver") and not one.problem:
        where = "system" if one.where == "api-set" else one.where
        return Need(name=one.name, where=where, path=one.path, by=by)
    kind, package = brought(one.name)
    return Need(name=one.name, where=kind or "missing", path=one.path, package=package, problem=one.problem, by=by)


def expected_of_windows(name: str) -> Need:
    """A DLL that a wheel's file needs and that neither the wheel nor a package brings."""
    from envcheck.binaries.windows_dlls import CPYTHON, REDISTRIBUTABLE, is_runtime

    if name.lower() in CPYTHON:
        return Need(name=name, where="python")
    return Need(name=name, where="system", problem=f"of the {REDISTRIBUTABLE}" if is_runtime(name) else "")


def _dylib(library: Library, path: str, brought: Brought) -> list[Need]:
    from envcheck.binaries.dylib_search import DylibProcess

    here = sys.platform == "darwin"
    disk = "" if here else _above(path, "System/Library")
    machines = [{"aarch64": "arm64"}.get(machine, machine) for machine in library.arch] or ["arm64"]
    own = os.uname().machine if here else "arm64"
    process = DylibProcess(
        machine=own if own in machines else machines[0],
        executable=sys.executable if here else "",
        root=disk,
        env=os.environ if here else None,
    )
    inside = path[len(disk.rstrip("/")) :] if disk else path
    load = process.load(inside)
    if load.error and not load.needs:
        library.problem = library.problem or load.error
    needs: dict[str, Need] = {}
    for one in load.needs:
        if one.by == inside or (one.where == "missing" and not one.weak):
            by = "" if one.by == inside else process.root + one.by
            told = one._replace(path=process.root + one.path)
            needs.setdefault(one.name, _of_dylib(told, by, here or bool(disk), brought))
    return list(needs.values()) or library.needs


def _of_dylib(one: Dylib, by: str, whole: bool, brought: Brought) -> Need:
    """``whole``: the disk is here, so that what is not found is not there."""
    if one.where != "missing":
        where = "system" if one.where == "system" else "file"
        return Need(name=one.name, where=where, path=os.path.normpath(one.path) if where == "file" else "", by=by)
    if one.weak:
        return Need(name=one.name, where="system", problem="it may be missing, and is not found", by=by)
    outside = one.name.startswith("/") or "@executable_path" in one.name or one.absolute
    if outside and not whole:
        return Need(name=one.name, where="unknown", problem="the disk that it would lie on is not here", by=by)
    kind, package = brought(one.name.rpartition("/")[2])
    return Need(name=one.name, where=kind or "missing", package=package, problem=one.problem, by=by)


def _site(path: str) -> str:
    """The folder of sys.path that the file lies in, told by what else lies there; empty: none is known."""
    for folder in _parents(path):
        if os.path.basename(folder).lower() in ("site-packages", "dist-packages"):
            return folder
        try:
            with os.scandir(folder) as entries:
                if any(entry.name.endswith(".dist-info") for entry in entries):
                    return folder
        except OSError:
            return ""
    return ""


def _above(path: str, mark: str) -> str:
    """The folder above ``path`` that has ``mark`` below it: where a system's disk is mounted."""
    return next((folder for folder in _parents(path) if os.path.isdir(os.path.join(folder, mark))), "")


def _parents(path: str) -> list[str]:
    found: list[str] = []
    while len(found) < MAX_PARENTS and os.path.dirname(path) != path:
        path = os.path.dirname(path)
        found.append(path)
    return found
