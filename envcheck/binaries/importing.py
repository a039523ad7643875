"""What ``import torch`` and the like load: the steps of :mod:`envcheck.binaries.importers`, walked in a process.

>>> process = Process(Files(), program=sys.executable, env=os.environ)
>>> imported = import_package(process, "torch", ["/venv/lib/python3.11/site-packages"])
>>> imported.error              # None: the libraries load
>>> used = import_package(process, "onnxruntime", [...], use="cuda")     # after torch, whose libraries it then finds

No Python code of a package runs: what it does is re-enacted from the data. A package that is not in the table is
imported by opening its extension modules with :meth:`Process.dlopen`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from envcheck.binaries.importers import IMPORTERS, Preload, Step
from envcheck.binaries.loading import Load, Process


class Imported(NamedTuple):
    """The outcome."""

    package: str
    loads: list[Load]
    """In order, those of packages imported before and preloads included."""
    absent: list[str]
    """Files that the package would open and that are not there (an optional part, or another build)."""
    error: str | None
    """Why the import ends; None: it does not, as far as libraries go."""

    @property
    def failed(self) -> list[Load]:
        """Loads that fail, whether the package minds or not."""
        return [load for load in self.loads if load.failed]


def import_package(process: Process, package: str, folders: Sequence[str], use: str | None = None) -> Imported:
    """Import a package from the folders of sys.path; with ``use`` also what is loaded when that part is used.

    Raises KeyError for a package, or a use, that the table does not have.
    """
    importer = IMPORTERS[package]
    result = Imported(package, [], [], None)
    for other in importer.first:
        before = import_package(process, other, folders)
        result.loads.extend(before.loads)
        result.absent.extend(before.absent)
        if before.error:
            return result._replace(error=before.error)
    steps = importer.steps if use is None else importer.steps + importer.uses[use]
    major = _cuda_major(process, folders) if any(step.rescue or step.then for step in steps) else None
    for step in steps:
        error = _step(process, step, folders, major, result)
        if error and not step.optional:
            return result._replace(error=error)
    return result


def _step(process: Process, step: Step, folders: Sequence[str], major: str | None, result: Imported) -> str | None:
    """None, or why it failed."""
    if step.search:
        return _search(process, step, folders, result)
    path = find_file(process, folders, step.file)
    if path is None:
        result.absent.append(step.file)
        return None if step.optional else f"{step.file}: no such file"
    load = process.dlopen(path, everywhere=step.everywhere)
    result.loads.append(load)
    if load.failed and step.rescue:
        if not any(preload.pattern.partition(".")[0] in (load.error or "") for preload in step.rescue):
            return load.error
        error = _preload(process, step.rescue, folders, major, result)
        if error:
            return error
        load = process.dlopen(path, everywhere=step.everywhere)
        result.loads.append(load)
    elif not load.failed and step.then and _is_loaded(process, step.when):
        _preload(process, step.then, folders, major, result)
    return load.error


def _search(process: Process, step: Step, folders: Sequence[str], result: Imported) -> str | None:
    if not _is_loaded(process, step.file):
        for wheel in step.wheels:
            path = find_file(process, folders, f"nvidia/{wheel}/lib/{step.file}")
            if path:
                load = process.dlopen(path)
                result.loads.append(load)
                return load.error
    caller = find_file(process, folders, step.caller) if step.caller else None
    load = process.dlopen(step.file, caller)
    result.loads.append(load)
    return load.error


def _preload(
    process: Process, preloads: Sequence[Preload], folders: Sequence[str], major: str | None, result: Imported
) -> str | None:
    for preload in preloads:
        path = None
        for folder in folders:
            places = [f"nvidia/{preload.folder}/lib/{preload.pattern}"]
            if major:
                places.append(f"nvidia/cu{major}/lib/{preload.pattern}")
            places.append(f"{preload.folder}/lib/{preload.pattern}")
            path = next((found for place in places if (found := find_file(process, [folder], place))), None)
            if path:
                break
        if path is None:
            if preload.required:
                return f"{preload.pattern} not found in the system path"
            continue
        load = process.dlopen(path)
        result.loads.append(load)
        if load.failed:
            return load.error
    return None


def _is_loaded(process: Process, start: str) -> bool:
    return any(library.path.rpartition("/")[2].startswith(start) for library in process.loaded)


def _cuda_major(process: Process, folders: Sequence[str]) -> str | None:
    """Of ``cuda`` in torch/version.py."""
    for folder in folders:
        try:
            text = process.files.read(f"{folder}/torch/version.py", 1 << 14).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        for line in text.splitlines():
            if line.startswith("cuda") and "=" in line:
                version = line.partition("=")[2].strip().strip("'\"")
                return version.partition(".")[0] if version[:1].isdigit() else None
    return None


def find_file(process: Process, folders: Sequence[str], pattern: str) -> str | None:
    """The first file of that pattern (only its last part may hold ``*``) below these folders."""
    below, _, name = pattern.rpartition("/")
    for folder in folders:
        base = f"{folder}/{below}" if below else folder
        if "*" not in name and "[" not in name:
            if not isinstance(process.files.look(f"{base}/{name}"), int):
                return f"{base}/{name}"
            continue
        from fnmatch import fnmatchcase

        for found in process.files.names(base):
            if fnmatchcase(found, name):
                return f"{base}/{found}"
    return None
