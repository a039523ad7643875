"""How dyld finds the libraries that a Mach-O file needs, re-enacted on files: of this Mac, or a mounted disk.

>>> process = DylibProcess(machine="arm64", executable="/opt/python/bin/python3.12")
>>> load = process.load("/venv/lib/python3.12/site-packages/sklearn/_isotonic.cpython-312-darwin.so")
>>> load.missing                # [Dylib("@rpath/libomp.dylib", ...)]

Rules: dyld's own source (dyld4: ``Loader.cpp``, ``JustInTimeLoader.cpp``, ``DyldProcessConfig.cpp``, read in November
2026). Per need: a library of that install name or path that is loaded already; DYLD_LIBRARY_PATH by the last part of
the name; the path itself, with @loader_path, @executable_path, or each LC_RPATH of the chain of files that led here,
the nearest first; DYLD_FALLBACK_LIBRARY_PATH, or without it, for files built with an SDK before macOS 13,
/usr/local/lib and /usr/lib. The system's own libraries lie in dyld's shared cache and not on disk: they are taken to be
there. A candidate for another architecture is passed over, and the search goes on. Weak ones may be missing.
DYLD_ variables count only where the program lets them: a hardened one (Apple's own python3) ignores them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from envcheck.binaries.macho import MachOError, Slice, slices
from envcheck.binaries.source import BinaryError, File

CACHED = ("/usr/lib/", "/System/")
"""Beginnings of the paths of libraries in the shared cache (update_dyld_shared_cache)."""
FALLBACKS = ("/usr/local/lib", "/usr/lib")
FALLBACK_ENDS = (13, 0, 0)
"""SDK from which on a file gets no standard fallbacks (``sdkOnOrAfter2022``)."""
MAX_LIBRARIES, MAX_TRIED = 4096, 64


class Dylib(NamedTuple):
    """One needed library."""

    name: str
    """The install name as written: ``@rpath/libomp.dylib``."""
    by: str
    """The file that needs it."""
    where: str
    """``file``, ``loaded`` (by an earlier load), ``system`` (dyld's shared cache) or ``missing``."""
    path: str = ""
    weak: bool = False
    """It may be missing."""
    problem: str = ""
    """Which places were tried, as dyld says it."""
    absolute: bool = False
    """One of them does not depend on where the file lies."""


class DylibLoad(NamedTuple):
    """What loading one file does."""

    path: str
    needs: list[Dylib]
    """Its own and those of what it loads, each file's together, as dyld loads them."""
    error: str = ""
    """Why it cannot be loaded; empty: it can be."""

    @property
    def missing(self) -> list[Dylib]:
        """Needs that nothing meets, without the weak ones."""
        return [one for one in self.needs if one.where == "missing" and not one.weak]


class _Image:
    """A file that is loaded, and how it came to that: LC_RPATHs of the whole chain count."""

    __slots__ = ("parent", "path", "slice")

    def __init__(self, path: str, part: Slice, parent: _Image | None) -> None:
        self.path, self.slice, self.parent = path, part, parent


class DylibProcess:
    """A process of macOS: what it has loaded, its environment and its program."""

    def __init__(
        self, *, machine: str = "arm64", executable: str = "", root: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        """``root``: where the disk of the Mac is mounted; paths given and told are those below it, as the Mac has them.

        ``executable``: the program, for @executable_path and its LC_RPATHs; empty: it is not known.
        """
        self.machine, self.root, self.env = machine, root.rstrip("/"), dict(env or {})
        self.executable = executable
        self.loaded: dict[str, str] = {}
        """Paths without links, and install names, of what is loaded -> path."""
        self._read: dict[str, Slice | str | None] = {}
        self._program: _Image | None = None
        part = self._look(executable) if executable else None
        if isinstance(part, Slice):
            self._program = _Image(executable, part, None)

    def load(self, path: str) -> DylibLoad:
        """Load a file by its path: an extension module, or what dlopen is given."""
        part = self._look(path)
        if not isinstance(part, Slice):
            return DylibLoad(path, [], f"{path}: {part or 'no such file'}")
        before, needs = dict(self.loaded), list[Dylib]()
        self._take(path, part)
        stack = [_Image(path, part, self._program)]
        while stack:
            image = stack.pop()
            below: list[_Image] = []
            for name in image.slice.order[: MAX_LIBRARIES - len(needs)]:
                found, loaded = self._find(name, image)
                needs.append(found)
                if loaded is not None:
                    below.append(loaded)
            stack += reversed(below)
        load = DylibLoad(path, needs)
        if load.missing:
            self.loaded = before
            first = load.missing[0]
            return load._replace(error=f"Library not loaded: {first.name}, needed by {first.by}: {first.problem}")
        return load

    def _find(self, name: str, image: _Image) -> tuple[Dylib, _Image | None]:
        weak = name in image.slice.weak and name not in image.slice.loads
        known = self.loaded.get(name)
        if known is not None:
            return Dylib(name, image.path, "loaded", known, weak), None
        tried: list[str] = []
        for path, cached in self._candidates(name, image):
            if path in tried or len(tried) >= MAX_TRIED:
                continue
            part = self._look(path)
            if isinstance(part, Slice):
                real = self._real(path)
                if real in self.loaded:
                    return Dylib(name, image.path, "loaded", self.loaded[real], weak), None
                self._take(path, part)
                return Dylib(name, image.path, "file", path, weak), _Image(path, part, image)
            if part is None and cached:
                return Dylib(name, image.path, "system", path, weak), None
            tried.append(f"{path} ({part or 'no such file'})")
        rpaths = [rpath for one in _chain(image) for rpath in one.slice.rpaths] if name.startswith("@rpath/") else []
        problem = f"tried: {', '.join(tried[:8])}" if tried else "no LC_RPATH leads anywhere" if rpaths else "not found"
        if name.startswith("@rpath/") and not rpaths:
            problem = "no LC_RPATH's found"
        absolute = any(not rpath.startswith("@loader_path") for rpath in (*rpaths, *([] if rpaths else [name])))
        return Dylib(name, image.path, "missing", "", weak, problem, absolute and bool(tried)), None

    def _candidates(self, name: str, image: _Image) -> Iterator[tuple[str, bool]]:
        """(path, it may lie in the shared cache), in dyld's order."""
        leaf, framework = name.rpartition("/")[2], _framework(name)
        kind = "FRAMEWORK" if framework else "LIBRARY"
        for folder in _folders(self.env.get(f"DYLD_{kind}_PATH", "")):
            yield f"{folder}/{framework or leaf}", False
        for path in self._expand(name, image):
            yield path, path.startswith(CACHED)
        own = self.env.get(f"DYLD_FALLBACK_{kind}_PATH")
        if own is None and (framework or (image.slice.sdk or (0,)) >= FALLBACK_ENDS):
            return
        for folder in _folders(own) if own is not None else FALLBACKS:
            path = f"{folder}/{framework or leaf}"
            # The cache has libraries under their install names: only /usr/lib/X asked for by another path is none.
            yield path, path == name and path.startswith(CACHED)

    def _expand(self, name: str, image: _Image) -> Iterator[str]:
        if not name.startswith("@rpath/"):
            path = self._at(name, image.path)
            if path:
                yield path
            return
        for one in _chain(image):
            for rpath in one.slice.rpaths:
                path = self._at(rpath, one.path)
                if path:
                    yield f"{path.rstrip('/')}/{name[7:]}"

    def _at(self, name: str, loader: str) -> str:
        """Without @loader_path and @executable_path; empty: relative, or the program is not known."""
        for start, file in (("@loader_path", loader), ("@executable_path", self.executable)):
            if name == start or name.startswith(start + "/"):
                return f"{os.path.dirname(file)}{name[len(start) :]}" if file else ""
        return name if name.startswith("/") else ""

    def _take(self, path: str, part: Slice) -> None:
        self.loaded[self._real(path)] = self.loaded[path] = path
        if part.id:
            self.loaded.setdefault(part.id, path)

    def _real(self, path: str) -> str:
        return os.path.realpath(self.root + path)

    def _look(self, path: str) -> Slice | str | None:
        """The slice for this machine; None: there is no such file; or why it can't be used."""
        if path not in self._read:
            self._read[path] = self._open(path)
        return self._read[path]

    def _open(self, path: str) -> Slice | str | None:
        try:
            with File(self.root + path) as source:
                parts = slices(read=source.read, size=source.size)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror or str(error)
        except (MachOError, BinaryError, ValueError) as error:
            return f"not a usable Mach-O file: {error}"
        # On Apple silicon dyld takes arm64 code for arm64 programs alone; Rosetta runs x86_64 ones.
        found = next((part for part in parts if part.machine == self.machine), None)
        if found is None:
            return f"incompatible architecture (have {', '.join(p.machine for p in parts)!r}, need {self.machine!r})"
        return found


def _chain(image: _Image) -> Iterator[_Image]:
    one: _Image | None = image
    while one is not None:
        yield one
        one = one.parent


def _folders(text: str) -> list[str]:
    return [part.rstrip("/") for part in text.split(":") if part.startswith("/")]


def _framework(name: str) -> str:
    """``X.framework/Versions/A/X`` of the path of a framework; empty for other libraries."""
    leaf = name.rpartition("/")[2]
    at = name.rfind(f"/{leaf}.framework/")
    return name[at + 1 :] if leaf and at >= 0 else ""
