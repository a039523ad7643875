"""Where a dynamic loader looks for one name: the steps of glibc (``_dl_map_object``) and of musl (``load_library``)."""

import errno
import os
from collections.abc import Collection, Iterator
from typing import NamedTuple

from envcheck.binaries.files import Facts, Files
from envcheck.binaries.ldcache import LoaderCache
from envcheck.binaries.ldso import Loader, search_path, x86_levels

GOES_ON = (errno.ENOENT, errno.EACCES, errno.ENOTDIR)
MUSL_GOES_ON = (*GOES_ON, errno.ENAMETOOLONG)
"""Error numbers of open after which the next folder of a path is tried."""
CACHE = "/etc/ld.so.cache"


class Loaded:
    """A library in the process."""

    __slots__ = ("facts", "folders", "names", "needs", "parent", "path", "scope")

    def __init__(self, path: str, facts: Facts, parent: "Loaded | None") -> None:
        self.path, self.facts = path, facts
        self.parent = parent
        """The library whose need made the loader load this one; None: dlopen or the start of the program."""
        self.names: list[str] = []
        self.needs: list[Loaded] = []
        self.scope: list[Loaded] = []
        """Where its symbols were looked up, behind the global scope, when it was loaded."""
        self.folders: dict[str, list[str]] = {}
        """Search folders of its RPATH and RUNPATH, once they were asked for."""


class Found(NamedTuple):
    """The outcome of a search."""

    path: str
    facts: Facts | None
    """None: nothing was found."""
    step: str
    owner: str
    problem: str | None
    """Why what was found, or nothing, is of no use; in glibc's words."""


class Search:
    """The search of one process: its loader, LD_LIBRARY_PATH, cache and CPU."""

    def __init__(
        self,
        files: Files,
        loader: Loader,
        main: Loaded | None,
        *,
        library_path: str = "",
        cwd: str = "/",
        cpu: Collection[str] | None = None,
        intel: bool = False,
        platform: str = "",
        bits: int = 64,
        little: bool = True,
    ) -> None:
        self.files, self.loader, self.main = files, loader, main
        self.cwd = cwd.rstrip("/") + "/"
        self.cpu, self.intel, self.platform = cpu, intel, platform or loader.machine
        self.bits, self.little = bits, little
        self.musl = loader.kind == "musl"
        self._cache: LoaderCache | None = None
        self._subfolders: dict[str, list[str]] = {}
        self._active: list[str] | None = None
        if self.musl:
            self.library_path = _musl_folders(library_path)
        else:
            self.library_path = self._split(library_path, main, ":;") if library_path else []
        self.default = [folder.rstrip("/") + "/" for folder in loader.folders]

    def find(self, name: str, importer: Loaded | None) -> Found:
        """The file that the loader takes for a name. Found by nothing: ``step`` is ``nowhere``."""
        if "/" in name:
            looked = self.files.look(self.absolute(name))
            return self._found(name, looked, "path", "") or Found(
                name, None, "nowhere", "", self._failure(looked, self._class_differs(looked))
            )
        other_class = False
        for step, owner, folders in self._ways(importer):
            if step == "cache":
                path = self.cached(name)
                if path is None or (importer is not None and importer.facts.nodeflib and self._is_default(path)):
                    continue
                looked = self.files.look(path)
                found = self._found(path, looked, step, owner)
                other_class = other_class or self._class_differs(looked)
            else:
                found, differs = self._in(folders, name, step, owner)
                other_class = other_class or differs
            if found:
                return found
        return Found(name, None, "nowhere", "", self._failure(errno.ENOENT, other_class))

    def own(self, name: str, importer: Loaded) -> Found | None:
        """What the importer's own RPATH or RUNPATH gives."""
        kind = "runpath" if importer.facts.runpath is not None else "rpath"
        return self._in(self.folders(importer, kind), name, kind, importer.path)[0]

    def system(self, name: str, importer: Loaded) -> Found | None:
        """What the importer would get without LD_LIBRARY_PATH."""
        own, self.library_path = self.library_path, []
        try:
            found = self.find(name, importer)
        finally:
            self.library_path = own
        return found if found.facts is not None else None

    def absolute(self, path: str) -> str:
        return path if path.startswith("/") else self.cwd + path

    def origin(self, library: Loaded) -> str:
        """``$ORIGIN``: the folder of the library as the loader came to it."""
        path = self.absolute(library.path)
        return path.rpartition("/")[0] or "/"

    def folders(self, library: Loaded, kind: str) -> list[str]:
        """The folders of its ``rpath`` or ``runpath``."""
        known = library.folders.get(kind)
        if known is None:
            text = library.facts.rpath if kind == "rpath" else library.facts.runpath
            known = library.folders[kind] = self._split(text, library, ":") if text else []
        return known

    def cached(self, name: str) -> str | None:
        """What ld.so.cache has for a name."""
        if self._cache is None:
            try:
                data = self.files.read(CACHE)
            except (OSError, ValueError):
                data = b""
            self._cache = LoaderCache(data, self.loader.machine)
        return self._cache.find(name, self._levels if self.loader.hwcaps else None)

    # Steps

    def _ways(self, importer: Loaded | None) -> Iterator[tuple[str, str, list[str]]]:
        """(step, owner, folders) in the order of the search."""
        if self.musl:
            yield "library-path", "", self.library_path
            library = importer or self.main
            while library is not None:
                for kind in ("rpath", "runpath"):
                    yield kind, library.path, self.folders(library, kind)
                library = library.parent
            yield "default", "", self.default
            return
        if importer is None or importer.facts.runpath is None:
            library, did_main = importer, False
            while library is not None:
                yield "rpath", library.path, self.folders(library, "rpath")
                did_main = did_main or library is self.main
                library = library.parent
            if not did_main and self.main is not None:
                yield "rpath", self.main.path, self.folders(self.main, "rpath")
        yield "library-path", "", self.library_path
        if importer is not None:
            yield "runpath", importer.path, self.folders(importer, "runpath")
        yield "cache", "", []
        if importer is None or not importer.facts.nodeflib:
            yield "default", "", self.default

    def _in(self, folders: list[str], name: str, step: str, owner: str) -> tuple[Found | None, bool]:
        """The file in the first folder that has it; and whether one of another word size was passed over."""
        differs = False
        look, goes_on = self.files.look, MUSL_GOES_ON if self.musl else GOES_ON
        for folder in folders:
            subfolders = self._subfolders.get(folder)
            if subfolders is None:
                subfolders = self._subfolders[folder] = self._list_subfolders(folder)
            for sub in subfolders:
                path = folder + sub + name
                looked = look(path if path.startswith("/") else self.cwd + path)
                if isinstance(looked, int):
                    # A circle of links, say: the rest of this path is given up, by musl the whole search.
                    if looked not in goes_on and self.musl:
                        return Found(name, None, "nowhere", "", self._failure(looked, False)), differs
                    if looked not in goes_on and not sub and self._exists(folder):
                        return None, differs
                    continue
                found = self._found(path, looked, step, owner)
                if found:
                    return found, differs
                differs = differs or self._class_differs(looked)
        return None, differs

    def _exists(self, folder: str) -> bool:
        """A folder that is named from the current one counts as there."""
        return not folder.startswith("/") or self.files.is_folder(folder)

    def _found(self, path: str, looked: Facts | int, step: str, owner: str) -> Found | None:
        """None: passed over, the search goes on."""
        if isinstance(looked, int):
            return None
        if self.musl:
            return Found(path, looked, step, owner, "Exec format error" if looked.error else None)
        if looked.bits and not self._fits(looked):
            if looked.bits == self.bits and looked.little != self.little:
                order = "little" if self.little else "big"
                return Found(path, looked, step, owner, f"ELF file data encoding not {order}-endian")
            return None
        return Found(path, looked, step, owner, looked.error)

    def _fits(self, facts: Facts) -> bool:
        return facts.bits == self.bits and facts.machine == self.loader.machine and facts.little == self.little

    def _class_differs(self, looked: Facts | int) -> bool:
        return not isinstance(looked, int) and bool(looked.bits) and looked.bits != self.bits

    def _failure(self, looked: Facts | int, other_class: bool) -> str:
        if other_class:
            return f"wrong ELF class: ELFCLASS{96 - self.bits}"
        number = looked if isinstance(looked, int) else errno.ENOENT
        return f"cannot open shared object file: {os.strerror(number)}"

    def _is_default(self, path: str) -> bool:
        return path.startswith(tuple(self.default))

    def _split(self, text: str, library: Loaded | None, separators: str) -> list[str]:
        if not self.musl:
            origin = self.origin(library) if library is not None else None
            return search_path(text, separators, origin, self.loader.lib, self.platform)
        plain = text.replace("$ORIGIN", "").replace("${ORIGIN}", "")
        if "$" in plain or library is None:  # musl knows no other token and gives the whole path up
            return []
        folder, slash, _ = library.path.rpartition("/")
        folder = folder if slash else "."
        return _musl_folders(text.replace("$ORIGIN", folder).replace("${ORIGIN}", folder))

    # By CPU

    def _list_subfolders(self, folder: str) -> list[str]:
        if self.musl:
            return [""]
        base = folder if folder.startswith("/") else self.cwd + folder
        is_folder = self.files.is_folder
        first = ("glibc-hwcaps",) if self.loader.hwcaps else ()
        if self.loader.legacy and self.loader.machine == "x86_64":
            first = (*first, "tls", "haswell", "avx512_1", "x86_64")
        if not any(is_folder(base + name) for name in first):
            return [""]
        flags, levels = self._flags(), self._levels()
        subfolders = self.loader.subfolders(levels, flags, self.intel)
        return [sub for sub in subfolders if is_folder(base + sub.rstrip("/"))] + [""]

    def _levels(self) -> list[str]:
        if self._active is None:
            self._active = x86_levels(self._flags()) if self.loader.machine == "x86_64" else []
        return self._active

    def _flags(self) -> Collection[str]:
        """Asked of this machine when nobody said."""
        if self.cpu is None:
            try:
                with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
                    text = file.read(1 << 14)
            except (OSError, ValueError):
                text = ""
            self.cpu = frozenset(text.partition("\nflags")[2].partition("\n")[0].split())
            self.intel = "GenuineIntel" in text
        return self.cpu


def _musl_folders(text: str) -> list[str]:
    """Parts of a path that musl searches (``path_open``): as written, empty ones left out."""
    return [part + "/" for part in text.replace("\n", ":").split(":") if part]
