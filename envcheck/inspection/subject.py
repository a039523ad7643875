"""What is to be inspected: a compiled file, a wheel, or the name of an installed package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from envcheck.binaries.archive import is_archive
from envcheck.binaries.source import BinaryError, File, Source
from envcheck.inspection.model import Inspection, Library, Wheel
from envcheck.inspection.reading import DAMAGED, is_library, read_library
from envcheck.inspection.wheel import MAX_LIBRARIES, WheelError, WheelFile, add_requirement, head, is_compiled
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

Progress = Callable[[str], None]


class InspectError(ValueError):
    """Nothing can be said of the subject; its text is one sentence."""


def inspect(subject: str, matrix: Matrix, *, progress: Progress | None = None) -> Inspection:
    """Read a compiled file (ELF, PE, Mach-O), a wheel, or an installed package of this interpreter.

    Nothing is unpacked to disk, imported or run. Raises :class:`InspectError` when nothing can be said.
    """
    from envcheck.inspection.disk import resolve_on_disk
    from envcheck.inspection.resolve import resolve_wheel
    from envcheck.inspection.summary import summarise

    tell = progress or (lambda step: None)
    if not subject or "\0" in subject:
        raise InspectError(f"{subject!r}: this is no name of a file or a package")
    if os.path.lexists(subject) and not (os.path.isdir(subject) and _is_name(subject) and _distribution(subject)):
        found, wheel = _file(subject, matrix, tell)
        if wheel is not None:
            resolve_wheel(found, matrix)
        else:
            resolve_on_disk(found, [os.path.abspath(subject)], [], matrix)
    else:
        found, paths, folders = _package(subject, matrix, tell)
        tell("following what the libraries need")
        resolve_on_disk(found, paths, folders, matrix)
    summarise(found, matrix)
    return found


def called(path: str) -> str:
    """The name as it can stand in a sentence of one line."""
    return path if path.isprintable() else repr(path)


def open_wheel(path: str) -> tuple[Source, WheelFile]:
    """A wheel on disk; close the source after use. Raises :class:`InspectError`."""
    source = _open(path)
    try:
        return source, WheelFile(source, os.path.basename(path))
    except WheelError as error:
        source.close()
        raise InspectError(f"{called(path)}: it {error}") from None
    except OSError as error:
        source.close()
        raise InspectError(f"{called(path)}: can't be read: {error.strerror or error}") from None


def _open(path: str) -> Source:
    try:
        return File(path)
    except OSError as error:
        raise InspectError(f"{called(path)}: can't be read: {error.strerror or error}") from None
    except BinaryError:
        what = "a folder" if os.path.isdir(path) else "no regular file"
        raise InspectError(f"{called(path)}: this is {what}; name a library, a wheel or an installed package") from None


def _file(path: str, matrix: Matrix, tell: Progress) -> tuple[Inspection, WheelFile | None]:
    with _open(path) as source:
        try:
            start = source.read(0, min(16, source.size))
            packed = is_archive(source)
        except (OSError, BinaryError) as error:
            raise InspectError(f"{called(path)}: can't be read: {getattr(error, 'strerror', None) or error}") from None
        if not source.size:
            raise InspectError(f"{called(path)}: the file is empty")
        if packed or path.endswith(".whl"):
            return _wheel(source, path, matrix, tell)
        if not is_library(start):
            hint = "; a source distribution has to be built first" if path.endswith((".tar.gz", ".sdist")) else ""
            raise InspectError(
                f"{called(path)}: this is neither a compiled library (ELF, PE, Mach-O) nor a wheel, and there is no "
                f"such installed package{hint}"
            )
        tell(f"reading {os.path.basename(path)}")
        library = _read(lambda: source, path, matrix)
    if not library.format:
        raise InspectError(f"{called(path)}: it looks like a compiled library but can't be read: {library.problem}")
    return Inspection(subject=path, kind="library", libraries=[library]), None


def _wheel(source: Source, path: str, matrix: Matrix, tell: Progress) -> tuple[Inspection, WheelFile]:
    try:
        wheel = WheelFile(source, os.path.basename(path))
        names = wheel.libraries()
    except WheelError as error:
        raise InspectError(f"{called(path)}: it {error}") from None
    except OSError as error:
        raise InspectError(f"{called(path)}: can't be read: {error.strerror or error}") from None
    found = Inspection(subject=path, kind="wheel", distribution=wheel.metadata)
    for number, name in enumerate(names, 1):
        tell(f"reading {name.rpartition('/')[2]} ({number} of {len(names)})")
        found.libraries.append(_read(lambda name=name: wheel.open(name), name, matrix))  # type: ignore[misc]
    _drop_texts(found)
    return found, wheel


def _read(opener: Callable[[], Source], name: str, matrix: Matrix) -> Library:
    try:
        return read_library(opener(), name, matrix)
    except OSError as error:
        return Library(path=name, problem=f"can't be read: {error.strerror or error}")
    except DAMAGED as error:
        return Library(path=name, problem=str(error))


def _drop_texts(found: Inspection) -> None:
    """Files that bear the name of a library and are none (linker scripts, links of Windows) are only counted."""
    texts = [one for one in found.libraries if not one.format and one.problem == NOT_COMPILED]
    if texts:
        found.libraries = [one for one in found.libraries if one not in texts]
        others = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        found.notes.append(f"named like a library, but none: {texts[0].path[:200]}{others}")


NOT_COMPILED = "not a Mach-O file"
"""What the last reader says of a file that none of them knows."""


def _is_name(subject: str) -> bool:
    return bool(subject) and subject.replace("-", "").replace("_", "").replace(".", "").isalnum()


def _distribution(name: str) -> object | None:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):
        return None
    except Exception:
        return None  # damaged metadata raise whatever they like


def _package(name: str, matrix: Matrix, tell: Progress) -> tuple[Inspection, list[str], list[str]]:
    """The package, the paths of its libraries, and the folders of sys.path that hold them."""
    from importlib.metadata import Distribution

    looks_like_path = os.sep in name or name.endswith((".whl", ".so", ".pyd", ".dll", ".dylib"))
    distribution = _distribution(name) if _is_name(name) else None
    if not isinstance(distribution, Distribution):
        if looks_like_path or not _is_name(name):
            raise InspectError(f"{called(name)}: there is no such file")
        raise InspectError(f"{called(name)}: there is no such file, and {sys.executable} has no package of this name")
    try:
        metadata = Wheel(name=canonical(distribution.metadata["Name"] or name), version=distribution.version or "")
        metadata.requires_python = distribution.metadata["Requires-Python"]
        for line in distribution.requires or ():
            add_requirement(metadata, line)
        metadata.tags = [value for key, value in head(distribution.read_text("WHEEL") or "") if key == "tag"]
        files = distribution.files
        record, installer = (distribution.read_text(entry) or "" for entry in ("RECORD", "INSTALLER"))
    except Exception as error:  # damaged metadata raise whatever they like
        raise InspectError(f"{called(name)}: its metadata can't be read: {type(error).__name__}: {error}") from None
    found = Inspection(subject=name, kind="package", distribution=metadata)
    if files is None:
        found.notes.append("it has no list of its files (RECORD), so none of them was read")
    names = sorted(str(file) for file in files or () if is_compiled(str(file)))[:MAX_LIBRARIES]
    if len(names) == MAX_LIBRARIES:
        found.notes.append(f"only its first {MAX_LIBRARIES} compiled files were read")
    root = str(distribution.locate_file(""))
    paths: list[str] = []
    for number, entry in enumerate(names, 1):
        path = os.path.normpath(os.path.join(root, entry))
        tell(f"reading {os.path.basename(path)} ({number} of {len(names)})")
        try:
            with File(path) as source:
                library = _read(lambda source=source: source, entry, matrix)  # type: ignore[misc]
        except (OSError, ValueError) as error:
            library = Library(path=entry, problem=f"can't be read: {getattr(error, 'strerror', None) or error}")
        if library.format or library.problem != NOT_COMPILED:
            found.libraries.append(library)
            paths.append(path)
    if record or installer.strip() == "conda":
        from envcheck.inspection.installed import examine

        compared = examine(metadata.name, root, record, installer, tell)
        found.files = compared if compared.number else None
    return found, paths, [root]
