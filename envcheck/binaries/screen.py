"""A quick look at a closure: enough to say that all is well, or that the exact search has to be asked.

The exact search (:mod:`envcheck.binaries.loading`) opens every library of the system too. Here the system's own
libraries only have to be where every glibc system has them, and each other file is read once. What this look cannot
settle is a :class:`Doubt`, and the exact search decides; so it may be wrong only in being doubtful.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from envcheck.binaries.elf import DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, ElfError, ElfFile

GLIBC = frozenset(("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1",
                   "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"))  # fmt: skip
FOLDERS = ("/lib/x86_64-linux-gnu/", "/lib64/", "/usr/lib64/", "/lib/aarch64-linux-gnu/", "/usr/lib/", "/lib/")
OLDEST = {"GLIBCXX": (3, 4, 19), "CXXABI": (1, 3, 7), "GCC": (4, 8, 0)}
"""CentOS 7: no system that runs today's Python has less."""
SYSTEM = GLIBC | {"libstdc++.so.6", "libgcc_s.so.1"}
MAX_FILES = 400
BY_CPU = ("glibc-hwcaps", "tls", "haswell", "x86_64", "avx512_1")
"""Subfolders that the loader of some releases prefers, by CPU."""


class Doubt(Exception):
    """The exact search has to decide; the text says why."""


class Head:
    """What the quick look reads of a file."""

    __slots__ = ("needed", "path", "rpath", "runpath", "soname", "versions")

    def __init__(self, path: str) -> None:
        """Raises OSError and ElfError."""
        self.path = path
        self.needed: list[str] = []
        self.soname = ""
        self.rpath: str | None = None
        self.runpath: str | None = None
        with ElfFile.open(path) as file:
            for tag, text in file.strings(DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH):
                if tag == DT_NEEDED:
                    self.needed.append(text)
                elif tag == DT_SONAME:
                    self.soname = text
                elif tag == DT_RPATH:
                    self.rpath = text
                else:
                    self.runpath = text
            self.versions = file.version_needs
            """Library -> symbol versions, each with its being weak."""
            if file.end > file.size:
                raise ElfError("the file is cut off")


class Closure:
    """What one root loads, by the quick look."""

    __slots__ = ("heads", "loads", "outside", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.heads: list[Head] = []
        """The root and what it needs, system libraries left out."""
        self.loads: dict[str, str] = {}
        """Soname -> path, where one is known."""
        self.outside: list[str] = []
        """Needs that the system serves."""


class Screen:
    """Reads each file once, for all roots."""

    def __init__(self, libc: tuple[int, ...], library_path: str = "") -> None:
        """``libc``: the release of the system's glibc; empty for another C library, of which everything is in doubt."""
        self.libc = libc
        folders = library_path.replace(";", ":").split(":") if library_path else []
        if not all(folder.startswith("/") for folder in folders):
            self.libc = ()  # the current folder is searched, or a path with $ORIGIN
        self.before = list(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))
        """Folders of LD_LIBRARY_PATH: what lies there may come before what is meant."""
        if any(os.path.isdir(f"{folder}/{part}") for folder in self.before for part in BY_CPU):
            self.libc = ()
        self._heads: dict[str, Head] = {}
        self._system: dict[str, str | None] = {}
        self._defined: dict[str, frozenset[str]] = {}
        self._fine: set[tuple[str, str]] = set()

    def closure(self, root: str, loaded: Iterable[Closure] = ()) -> Closure:
        """Breadth-first as the loader does it. ``loaded``: what is in the process already.

        Raises :class:`Doubt`, and ElfError or OSError when a file cannot be read.
        """
        if not self.libc:
            raise Doubt("nothing can be said of this loader")
        found = Closure(root)
        there: dict[str, str] = {}
        for other in loaded:
            there.update(other.loads)
        queue: list[tuple[Head, tuple[Head, ...]]] = [(self.head(root), ())]
        taken = {root}
        for head, parents in queue:
            if len(queue) > MAX_FILES:
                raise Doubt("there are too many libraries")
            found.heads.append(head)
            if head.soname:
                found.loads.setdefault(head.soname, head.path)
            for name in head.needed:
                if name in there or name in found.loads:
                    path = found.loads.setdefault(name, there.get(name, ""))
                    if (path == "" or path.startswith(FOLDERS)) and name not in found.outside:
                        found.outside.append(name)
                    continue
                path = self._find(name, head, parents)
                found.loads[name] = path
                if path == "" or path.startswith(FOLDERS):
                    found.outside.append(name)
                elif path not in taken:
                    taken.add(path)
                    queue.append((self.head(path), (*parents, head)))
        for head in found.heads:
            self._versions(head, found.loads)
        return found

    def head(self, path: str) -> Head:
        known = self._heads.get(path)
        if known is None:
            known = self._heads[path] = Head(path)
        return known

    def _find(self, name: str, head: Head, parents: tuple[Head, ...]) -> str:
        """The path; empty for a part of glibc."""
        if "/" in name or "$" in name:
            raise Doubt(f"{name} is a path")
        for folder in self.before:
            if os.path.exists(f"{folder}/{name}"):
                raise Doubt(f"LD_LIBRARY_PATH has {name}")
        ways = [head] if head.runpath is not None else [head, *reversed(parents)]
        for one in ways:
            text = one.runpath if one is head and one.runpath is not None else None if one.runpath else one.rpath
            if not text:
                continue
            origin = one.path.rpartition("/")[0]
            for folder in text.split(":"):
                if not folder:
                    raise Doubt("a search path has an empty part")
                folder = folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
                if "$" in folder:
                    raise Doubt(f"a search path has {folder}")
                path = f"{folder.rstrip('/')}/{name}"
                if os.path.exists(path):
                    return path
        if name in GLIBC:
            return ""
        if name not in self._system:
            self._system[name] = next((folder + name for folder in FOLDERS if os.path.exists(folder + name)), None)
        path = self._system[name] or ""
        if not path:
            raise Doubt(f"{name} is not where most systems have their libraries")
        return path

    def _versions(self, head: Head, loads: dict[str, str]) -> None:
        fine = self._fine
        for library, versions in head.versions.items():
            system = library in SYSTEM
            for version, weak in versions:
                if weak or (system and (library, version) in fine):
                    continue
                family, _, text = version.partition("_")
                if family == "GLIBC" and library in GLIBC:
                    if key(text) > self.libc:
                        raise Doubt(f"{version} is newer than the C library")
                elif key(text) > OLDEST.get(family, ()):
                    path = loads.get(library, "")
                    if path and path.rpartition("/")[0] == head.path.rpartition("/")[0]:
                        continue  # of one wheel
                    if version not in self._definitions(path):
                        raise Doubt(f"{version} is not in {library}")
                    if not path.startswith(FOLDERS):
                        continue
                fine.add((library, version))

    def _definitions(self, path: str) -> frozenset[str]:
        if path not in self._defined:
            with ElfFile.open(path) as file:
                self._defined[path] = frozenset([*file.version_definitions, file.soname or ""])
        return self._defined[path]


def key(text: str) -> tuple[int, ...]:
    """``2.34`` -> (2, 34); of another text something greater than all versions."""
    known = _KEYS.get(text)
    if known is None:
        parts = text.split(".")
        plain = all(part.isascii() and part.isdigit() and len(part) < 9 for part in parts)
        known = _KEYS[text] = tuple(map(int, parts)) if plain else (1 << 30,)
    return known


_KEYS: dict[str, tuple[int, ...]] = {}


def floors(heads: Iterable[Head]) -> dict[str, str]:
    """The highest GLIBC_, GLIBCXX_ and CXXABI_ that must be defined, each with the file that asks for it first."""
    asked: dict[str, str] = {}
    for head in heads:
        for versions in head.versions.values():
            for version, weak in versions:
                if not weak:
                    asked.setdefault(version, head.path)
    highest: dict[str, tuple[tuple[int, ...], str, str]] = {}
    for version, path in asked.items():
        family, _, text = version.partition("_")
        if family in ("GLIBC", "GLIBCXX", "CXXABI"):
            number = key(text)
            if number[0] < 1 << 30 and number > highest.get(family, ((), "", ""))[0]:
                highest[family] = number, version, path
    return {version: path for _, version, path in highest.values()}
