"""The files of a wheel where they will lie once it is installed, as the re-enacted loader sees them.

Below them is this machine, or nothing: then the loader finds what the wheel brings, and nothing else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection

from envcheck.binaries.elf import DT_NEEDED, DT_VERDEF, ElfError, ElfFile
from envcheck.binaries.files import Facts, Files, Needs
from envcheck.binaries.source import BinaryError, Source
from envcheck.inspection.model import Library

PREFIX = "/prefix"
"""Where Python lies when no machine is looked at."""
MOST_UNPACKED = 256 << 20
"""Symbol versions of larger files are not compared: they would have to be unpacked once more."""


class Layout:
    """Where pip puts the parts of a wheel."""

    __slots__ = ("prefix", "site")

    def __init__(self, prefix: str, site: str) -> None:
        self.prefix, self.site = prefix, site

    @classmethod
    def anywhere(cls, tags: Collection[str]) -> Layout:
        """Of a usual Linux Python of the release for which the wheel is tagged."""
        digits = next((tag[3:].partition("-")[0] for tag in tags if tag.startswith("cp3") and tag[3:4].isdigit()), "")
        return cls(PREFIX, f"{PREFIX}/lib/python3{'.' * bool(digits)}{digits}/site-packages")

    @classmethod
    def here(cls) -> Layout:
        """Of this interpreter."""
        import sysconfig

        paths = sysconfig.get_paths()
        return cls(paths["data"], paths["platlib"])

    def place(self, member: str) -> str:
        """``x-1.0.data/data/lib/libx.so`` goes below the prefix, all else to site-packages."""
        first, _, rest = member.partition("/")
        if not first.endswith(".data") or "/" not in rest:
            return os.path.normpath(f"{self.site}/{member}")
        scheme, _, rest = rest.partition("/")
        root = {"data": self.prefix, "scripts": f"{self.prefix}/bin"}.get(scheme, self.site)
        return os.path.normpath(f"{root}/{rest}")


class WheelFiles(Files):
    """See the module. ``opener`` gives a member's bytes; without it only what was read of the members is known."""

    def __init__(
        self,
        libraries: Collection[Library],
        layout: Layout,
        *,
        opener: Callable[[str], Source] | None = None,
        bare: bool = True,
        hidden: Collection[str] = (),
    ) -> None:
        """``hidden``: files of this machine that pip removes first, those of the package's installed release."""
        super().__init__()
        self.opener, self.bare, self.hidden = opener, bare, frozenset(hidden)
        self.site = layout.site + "/"
        self.members: dict[str, str] = {}
        """Path when installed -> member."""
        self._facts: dict[str, Facts] = {}
        for number, library in enumerate(libraries):
            if library.format == "elf":
                path = layout.place(library.path)
                self.members[path] = library.path
                self._facts[path] = _facts(library, path, number)
        self._folders_here = {os.path.dirname(path) for path in self.members}

    def path(self, path: str) -> str:
        """Without ``..``, which $ORIGIN often has: folders of the wheel are no links."""
        return os.path.normpath(path) if "/.." in path or "//" in path else path

    def resolve(self, path: str, final: bool = True) -> str:
        return path if self.bare or self.path(path) in self.members else super().resolve(path, final)

    def open(self, path: str) -> ElfFile:
        member = self.members.get(self.path(path))
        if member is None:
            if self._is_hidden(path):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return super().open(self.path(path))
        if self.opener is None:
            raise ElfError("its bytes are not at hand")
        try:
            return ElfFile(self.opener(member))
        except (BinaryError, KeyError) as error:
            raise ElfError(str(error)) from None

    def read(self, path: str, limit: int = 1 << 24) -> bytes:
        if self.opener is not None and path.startswith(self.site):
            try:
                source = self.opener(path[len(self.site) :])
                return source.read(0, min(limit, source.size))
            except (BinaryError, KeyError):
                pass
        if self._is_hidden(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return super().read(path, limit)

    def is_folder(self, path: str) -> bool:
        clean = self.path(path).rstrip("/")
        return clean in self._folders_here or (not self.bare and super().is_folder(clean))

    def names(self, path: str) -> list[str]:
        folder = self.path(path)
        mine = {os.path.basename(one) for one in self.members if os.path.dirname(one) == folder}
        return sorted(mine | (set() if self.bare else set(super().names(folder))))

    def look(self, path: str) -> Facts | int:
        clean = self.path(path)
        facts = self._facts.get(clean)
        if facts is not None:
            return facts
        return errno.ENOENT if self._is_hidden(clean) else super().look(clean)

    def versions(self, path: str) -> tuple[Needs, frozenset[str] | None]:
        member = self.members.get(self.path(path))
        if member is None:
            return super().versions(path)
        if path not in self._versions:
            self._versions[path] = self._versions_of(member)
        return self._versions[path]

    def _versions_of(self, member: str) -> tuple[Needs, frozenset[str] | None]:
        try:
            source = self.opener(member) if self.opener is not None else None
            if source is None or source.size > MOST_UNPACKED:
                return {}, None
            file = ElfFile(source)
            defined = frozenset([*file.version_definitions, file.soname or ""]) if file.value(DT_VERDEF) else None
            return file.version_needs, defined
        except (OSError, BinaryError, ElfError, KeyError):
            return {}, None

    def _is_hidden(self, path: str) -> bool:
        return self.bare or path in self.hidden


def _facts(library: Library, path: str, number: int) -> Facts:
    """What was read of the member, as the loader would read it."""
    facts = Facts(path, (-1, number))
    facts.machine = library.arch[0] if library.arch else ""
    facts.bits = 32 if facts.machine in ("i686", "armv7l", "ppc") else 64
    facts.little = facts.machine not in ("s390x", "ppc64", "ppc")
    facts.soname = library.soname
    facts.needs = [(DT_NEEDED, need.name) for need in library.needs]
    text = ":".join(library.search) if library.search else None
    if library.inherited:
        facts.rpath = text
    else:
        facts.runpath = text
    return facts
