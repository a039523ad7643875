"""Where the needs of a wheel's own files come from once it is installed: the loader's search among its members.

What the members do not give comes from a package that the wheel requires, when a search path leads there or its
import loads it, or from the system, as far as every Linux system that takes such wheels has it. All else is left open.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from envcheck.binaries.importers import IMPORTERS
from envcheck.binaries.importing import import_package
from envcheck.binaries.loading import Load, Process
from envcheck.inspection.overlay import Layout, WheelFiles
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.binaries.search import Loaded
    from envcheck.inspection.model import Inspection

POLICY = frozenset((
    "libatomic.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libanl.so.1", "libdl.so.2", "librt.so.1",
    "libc.so.6", "libnsl.so.1", "libutil.so.1", "libpthread.so.0", "libX11.so.6", "libXext.so.6", "libXrender.so.1",
    "libICE.so.6", "libSM.so.6", "libGL.so.1", "libgobject-2.0.so.0", "libgthread-2.0.so.0", "libglib-2.0.so.0",
    "libresolv.so.2", "libexpat.so.1", "libz.so.1", "libmvec.so.1",
))  # fmt: skip
"""What wheels may expect of the system: ``lib_whitelist`` of auditwheel's manylinux policy (November 2026)."""
LOADERS = ("ld-linux", "ld64.so", "ld-musl", "libc.musl-")
DESKTOP = ("libX", "libICE", "libSM", "libGL", "libgobject", "libgthread", "libglib")
"""On the list, and yet not in small container images."""
MOST_NEEDS = 60_000
"""Steps of the search in one wheel; the largest known takes some 20,000. What comes after is left open."""


class Search:
    """The members of one wheel, and where each of their needs leads."""

    def __init__(self, found: Inspection) -> None:
        tags = found.distribution.tags if found.distribution else []
        self.layout = Layout.anywhere(tags)
        self.files = WheelFiles(found.libraries, self.layout)
        self.musl = bool(tags) and all("musllinux" in tag for tag in tags)
        self.met: dict[tuple[str, str], str] = {}
        """(member, name that it needs) -> the member that is loaded for it."""
        self.ways: dict[str, list[str]] = {}
        """Member -> folders in which the loader looks for what it needs, relative to site-packages."""
        self.complete = True
        steps = 0
        for library in found.libraries:
            if library.format != "elf" or steps > MOST_NEEDS:
                self.complete = self.complete and library.format != "elf"
                continue
            process = self._process(library.arch[0], found)
            for load in (*self._before, process.dlopen(self.layout.place(library.path))):
                steps += len(load.needs) + 1
                self._note(process, load)

    def _process(self, arch: str, found: Inspection) -> Process:
        """Each by itself; what the import of a known package loads first is there."""
        interpreter = f"/lib/ld-musl-{arch}.so.1" if self.musl else None
        process = Process(self.files, machine=arch, interpreter=interpreter)
        self._before: list[Load] = []
        name = found.distribution.name.replace("-", "_") if found.distribution else ""
        module = "onnxruntime" if name.startswith("onnxruntime") else name
        if module in IMPORTERS:
            self._before = import_package(process, module, [self.layout.site]).loads
        return process

    def _note(self, process: Process, load: Load) -> None:
        members = self.files.members
        for need in load.needs:
            if need.by is None:
                continue
            by = members.get(self.files.path(need.by.path), "")
            if by not in self.ways:
                self.ways[by] = self._ways(process, need.by)
            if need.path and not need.problem and (path := members.get(self.files.path(need.path))):
                self.met.setdefault((by, need.name), path)

    def _ways(self, process: Process, library: Loaded) -> list[str]:
        folders = list(process.search.folders(library, "runpath"))
        one: Loaded | None = library if not folders else None
        while one is not None:
            folders += process.search.folders(one, "rpath")
            one = one.parent
        site = self.layout.site + "/"
        return [path[len(site) :] for folder in folders if (path := os.path.normpath(folder)).startswith(site)]


def expected_of_system(name: str) -> bool:
    """Does every system have it that takes manylinux (or musllinux) wheels?"""
    return name in POLICY or name.startswith(LOADERS)


def led_to(ways: Collection[str], required: Collection[str]) -> str:
    """A required package into whose folder one of these search paths leads; empty: none."""
    for way in ways:
        top = canonical(way.partition("/")[0])
        if top in required:
            return top
    return ""
