"""Files as a dynamic loader sees them: here, below another root (an image, a chroot), or overlaid with a wheel.

What a loader reads of an ELF file before it decides is in :class:`Facts`; each file is read once for each
:class:`Files`. Only headers and the dynamic section are read. The messages are those of glibc (``elf/dl-load.c``,
``open_verify``), as a user sees them.
"""

from __future__ import annotations

import errno
import os

from envcheck.binaries.elf import (
    BLOCK,
    DF_1_NODEFLIB,
    DF_1_PIE,
    DT_AUXILIARY,
    DT_FILTER,
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_VERDEF,
    ElfError,
    ElfFile,
)

MAX_LINKS = 40
"""Symbolic links on one way, as in Linux."""
GNU_ABIS = (0, 3)
CHECKED_ABIS = ("x86_64", "i686", "aarch64", "ppc64le")
MAX_READ = 1 << 24
MAX_NEEDS = 4096


Needs = dict[str, list[tuple[str, bool]]]
"""Library -> (symbol version, weak)."""


class Facts:
    """What matters for loading one file."""

    __slots__ = ("bits", "error", "id", "interpreter", "kind", "little", "machine", "needs", "nodeflib", "pie", "real",
                 "rpath", "runpath", "soname")  # fmt: skip

    def __init__(self, real: str, identity: tuple[int, int]) -> None:
        self.real = real
        """Where the file lies on this machine (not below the foreign root)."""
        self.id = identity
        """(device, inode): the loader maps one file once, whatever its names."""
        self.error: str | None = None
        """Why the loader gives up when it meets this file; None: it can be used."""
        self.machine = ""
        self.bits = 0
        self.little = True
        self.kind = 3
        self.pie = False
        self.soname: str | None = None
        self.interpreter: str | None = None
        self.needs: list[tuple[int, str]] = []
        """(DT_NEEDED, DT_AUXILIARY or DT_FILTER; name), in order."""
        self.rpath: str | None = None
        """DT_RPATH as written; None too where there is a DT_RUNPATH, which switches it off."""
        self.runpath: str | None = None
        self.nodeflib = False


class Files:
    """The file system below ``root``. Paths given are absolute paths inside of it; links are followed inside of it."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        self._by_path: dict[str, Facts | int] = {}
        self._by_id: dict[tuple[int, int, int, int], Facts] = {}
        self._folders: dict[str, bool] = {}
        self._inside: dict[str, str] = {}
        self._versions: dict[str, tuple[Needs, frozenset[str] | None]] = {}

    def here(self, path: str) -> str:
        """The path on this machine. Raises OSError: a link that leads nowhere, or round in a circle."""
        return self.root + self.resolve(path) if self.root else path

    def resolve(self, path: str, final: bool = True) -> str:
        """The path inside of the root without links; what does not exist stays as it is."""
        if not self.root:
            return os.path.realpath(path)
        folder, _, name = path.rpartition("/")
        known = self._inside.get(folder)
        if known is None:
            known = self._inside[folder] = self._walk(folder)
        return self._walk(f"{known}/{name}", len(known))

    def _walk(self, path: str, done: int = 0) -> str:
        links = 0
        way, rest = path[:done], path[done:].split("/")[::-1]
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                way = way.rpartition("/")[0]
                continue
            step = f"{way}/{part}"
            try:
                target = os.readlink(self.root + step)
            except (OSError, ValueError):
                way = step
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            rest += target.split("/")[::-1]
            if target.startswith("/"):
                way = ""
        return way or "/"

    def open(self, path: str) -> ElfFile:
        """Raises OSError, and ElfError when it is no ELF file."""
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, "a path has no NUL", path)
        return ElfFile.open(self.here(path))

    def read(self, path: str, limit: int = MAX_READ) -> bytes:
        """At most ``limit`` bytes from the start. Raises OSError."""
        with open(self.here(path), "rb") as file:
            # Python reserves as much as is asked for.
            return file.read(min(limit, os.fstat(file.fileno()).st_size or BLOCK))

    def is_folder(self, path: str) -> bool:
        known = self._folders.get(path)
        if known is None:
            try:
                known = os.path.isdir(self.here(path))
            except (OSError, ValueError):
                known = False
            self._folders[path] = known
        return known

    def names(self, path: str) -> list[str]:
        """Sorted; empty where there is no such folder."""
        try:
            return sorted(os.listdir(self.here(path)))
        except (OSError, ValueError):
            return []

    def look(self, path: str) -> Facts | int:
        """The facts, or the error number with which the loader's ``open`` fails."""
        known = self._by_path.get(path)
        if known is None:
            known = self._by_path[path] = self._look(path)
        return known

    def versions(self, path: str) -> tuple[Needs, frozenset[str] | None]:
        """Symbol versions that the file needs, and those it defines (None: it has no versions, so any will do)."""
        known = self._versions.get(path)
        if known is None:
            try:
                with self.open(path) as file:
                    defined = (
                        frozenset([*file.version_definitions, file.soname or ""]) if file.value(DT_VERDEF) else None
                    )
                    known = file.version_needs, defined
            except (OSError, ElfError):
                known = {}, None
            self._versions[path] = known
        return known

    def _look(self, path: str) -> Facts | int:
        if "\0" in path:
            return errno.ENOENT
        try:
            real = self.here(path)
            fd = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            return error.errno or errno.EIO
        except ValueError:
            return errno.ENOENT
        try:
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            facts = self._by_id.get(key)
            if facts is None:
                facts = self._by_id[key] = Facts(real, (status.st_dev, status.st_ino))
                if status.st_mode & 0o170000 == 0o040000:
                    facts.error = f"cannot read file data: {os.strerror(errno.EISDIR)}"
                else:
                    read_facts(facts, fd, status.st_size)
            return facts
        finally:
            os.close(fd)


def read_facts(facts: Facts, fd: int, size: int) -> None:
    """Fill in the facts, or why the file is of no use."""
    try:
        file = ElfFile(None, fd)
    except ElfError:
        head = b"" if size < 64 else os.pread(fd, 4, 0) if hasattr(os, "pread") else b"?"
        facts.error = "file too short" if size < 64 else "invalid ELF header"
        if head == b"\x7fELF":
            facts.error = "the ELF header is damaged"
        return
    except OSError as error:
        facts.error = f"cannot read file data: {error.strerror}"
        return
    take(facts, file)


def take(facts: Facts, file: ElfFile) -> None:
    """The facts of an open file."""
    facts.machine, facts.bits, facts.little, facts.kind = file.machine, file.bits, file.little, file.kind
    if file.size < 64:
        facts.error, facts.bits = "file too short", 0  # said before the machine is looked at
    elif file.abi not in GNU_ABIS and file.machine in CHECKED_ABIS:
        facts.error = "ELF file OS ABI invalid"
    elif file.kind not in (2, 3):
        facts.error = "only ET_DYN and ET_EXEC can be loaded"
    if facts.error:
        return
    try:
        texts = file.strings(DT_NEEDED, DT_AUXILIARY, DT_FILTER, DT_SONAME, DT_RPATH, DT_RUNPATH)
        for tag, text in texts:
            if tag in (DT_NEEDED, DT_AUXILIARY, DT_FILTER):
                facts.needs.append((tag, text))
            elif tag == DT_SONAME:
                facts.soname = text
            elif tag == DT_RPATH:
                facts.rpath = text
            else:
                facts.runpath = text
        if len(facts.needs) > MAX_NEEDS:
            raise ElfError("it needs more libraries than any real file does")
        if facts.runpath is not None:
            facts.rpath = None
        facts.interpreter = file.interpreter
        flags = file.flags_1
        facts.nodeflib = bool(flags & DF_1_NODEFLIB)
        facts.pie = bool(flags & DF_1_PIE)
        if file.end > file.size:
            facts.error = "the file is cut off: its segments reach beyond its end"
        elif not file.dynamic and not facts.interpreter:
            facts.error = "object file has no dynamic section"
    except ElfError as error:
        facts.error = f"the file is damaged: {error}"
    except OSError as error:
        facts.error = f"cannot read file data: {error.strerror}"
