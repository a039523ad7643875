"""A wheel: name, tags and metadata, and its members as a folder that probes can read; nothing lands on the disk."""

from __future__ import annotations

from envcheck.binaries.archive import Archive
from envcheck.binaries.source import BinaryError, Buffer, Inflated, Source
from envcheck.inspection.model import Wheel
from envcheck.probes.host import READ_LIMIT, Host
from envcheck.requirements import parse
from envcheck.versions import canonical

MAX_TEXT = 4 << 20
"""No METADATA is larger."""
MAX_LIBRARIES = 4000
MAX_UNPACKED = 32 << 30
"""Bytes of compiled code in one wheel; the largest known has some 5 GB."""
BOMB_RATIO, BOMB_SIZE = 120, 64 << 20
"""Larger members that were packed to less than 1/120 are no compiled code: the best ratio of a real library is 20."""
IN_MEMORY = 8 << 20
"""Smaller members are unpacked at once."""
SUFFIXES = (".so", ".pyd", ".dll", ".dylib", ".exe", ".fatbin", ".cubin")


class WheelError(ValueError):
    """Not a wheel, or a damaged one; its text is a part of a sentence."""


class WheelFile:
    """An open wheel. Raises :class:`WheelError` for what is none."""

    def __init__(self, source: Source, name: str) -> None:
        """``name``: of the file, whose tags count when it has some (they are what pip reads)."""
        try:
            self.archive = Archive(source)
        except BinaryError as problem:
            raise WheelError(f"is a damaged zip archive: {problem}") from problem
        self.size = source.size
        folders = {
            name.partition("/")[0]
            for name in self.archive.members
            if name.count("/") == 1 and name.endswith((".dist-info/WHEEL", ".dist-info/METADATA"))
        }
        if len(folders) != 1:
            found = "no .dist-info folder" if not folders else f"{len(folders)} .dist-info folders"
            raise WheelError(f"is a zip archive but no wheel: it has {found}")
        self.info = folders.pop()
        stem = name.removesuffix(".whl").split("-") if name.endswith(".whl") else []
        self.metadata = self._metadata(stem)

    def text(self, name: str, limit: int = MAX_TEXT) -> str:
        """A member as text. Raises KeyError and :class:`BinaryError`."""
        member = self.archive.open(name)
        return member.read(0, min(limit, member.size)).decode("utf-8", "replace")

    def libraries(self) -> list[str]:
        """Members that are compiled code by their names. Raises :class:`WheelError` when there are too many."""
        found = [name for name in sorted(self.archive.members) if is_compiled(name)]
        if len(found) > MAX_LIBRARIES:
            raise WheelError(f"has {len(found)} compiled files, more than are read ({MAX_LIBRARIES})")
        if sum(self.archive.members[name].size for name in found) > MAX_UNPACKED:
            raise WheelError(f"has more than {MAX_UNPACKED >> 30} GiB of compiled code when unpacked")
        if sum(self.archive.members[name].packed for name in found) > self.size:
            raise WheelError("has members that overlap, as archives do that are made to exhaust their readers")
        return found

    def open(self, name: str) -> Source:
        """A member. Raises :class:`BinaryError`."""
        member = self.archive.members[name]
        if member.size > BOMB_SIZE and member.size > BOMB_RATIO * member.packed:
            raise BinaryError(f"it is packed to 1/{member.size // max(1, member.packed)}, as no library can be")
        source = self.archive.open(name)
        if isinstance(source, Inflated) and source.size <= IN_MEMORY:
            return Buffer(source.read(0, source.size))
        return source

    def _metadata(self, stem: list[str]) -> Wheel:
        name, version = (stem[0], stem[1]) if len(stem) in (5, 6) else ("", "")
        found = Wheel(name=name, version=version)
        try:
            lines = head(self.text(f"{self.info}/METADATA"))
        except (KeyError, BinaryError) as problem:
            if not name:
                raise WheelError("has no METADATA that can be read") from problem
            lines = []
        for key, value in lines:
            if key == "name":
                found.name = value
            elif key == "version":
                found.version = value
            elif key == "requires-python":
                found.requires_python = value
            elif key == "requires-dist":
                add_requirement(found, value)
        if not found.name or not found.version:
            raise WheelError("has metadata without a name or a version")
        found.name = canonical(found.name)
        if len(stem) in (5, 6):
            found.tags = expand(stem[-3:])
        else:
            try:
                lines = head(self.text(f"{self.info}/WHEEL"))
            except (KeyError, BinaryError):
                lines = []
            found.tags = [tag for key, value in lines if key == "tag" for tag in expand(value.split("-"))]
        return found


def head(text: str) -> list[tuple[str, str]]:
    """``Key: value`` lines before the first empty one; keys in lower case."""
    found = []
    for line in text.replace("\r\n", "\n").partition("\n\n")[0].split("\n"):
        key, colon, value = line.partition(":")
        if colon and not key[:1].isspace():
            found.append((key.strip().lower(), value.strip()))
    return found


def only_with_extra(line: str) -> bool:
    """Does a requirement apply only when an extra is asked for? In doubt it does not."""
    marker = line.partition(";")[2]
    return "extra" in marker and " or " not in marker


def add_requirement(found: Wheel, line: str) -> None:
    """A line of Requires-Dist, to what is always asked for or to what an extra asks for."""
    if not only_with_extra(line):
        found.requires.append(line)
        return
    try:
        wanted = parse(line)
    except ValueError:
        return
    extra = (wanted.marker or "").rpartition("extra")[2].strip("= '\"()")
    if extra and len(found.optional) < MAX_LIBRARIES:
        found.optional.setdefault(wanted.name, extra)


def expand(parts: list[str]) -> list[str]:
    """Compressed tags (PEP 425) one by one; at most 200.

    >>> expand(["py2.py3", "none", "any"])
    ['py2-none-any', 'py3-none-any']
    """
    if len(parts) != 3:
        return []
    pythons, abis, platforms = (part.split(".")[:20] for part in parts)
    return [f"{python}-{abi}-{place}" for python in pythons for abi in abis for place in platforms][:200]


def is_compiled(name: str) -> bool:
    """By the name: ``libx.so``, ``libx.so.1.2``, ``libssl.so.1.1.1k``, ``x.pyd``.

    >>> is_compiled("a/libcudnn.so.9"), is_compiled("a/x.so.txt"), is_compiled("a/libssl-81259c47.so.1.1.1k")
    (True, False, True)
    """
    last = name.rpartition("/")[2].lower()
    if last.endswith(SUFFIXES):
        return True
    _, so, tail = last.rpartition(".so.")
    return bool(so) and all(part[:1].isdigit() and part.isalnum() for part in tail.split("."))


class WheelHost(Host):
    """A folder with the members of a wheel, for probes that read what an installed framework says of itself."""

    ROOT = "/wheel"

    def __init__(self, wheel: WheelFile) -> None:
        super().__init__({})
        self.wheel = wheel
        self.platform = "linux"
        self._folders: dict[str, set[str]] = {}
        for name in wheel.archive.members:
            # Code of a project may lie in NAME-VERSION.data/purelib and is put beside the rest when it is installed.
            folder, slash, last = name.rpartition("/")
            if slash and last and folder.count("/") < 12:
                self._folders.setdefault(folder, set()).add(last)

    def _bytes(self, path: str, limit: int = READ_LIMIT) -> bytes:
        name = path.removeprefix(self.ROOT + "/")
        try:
            member = self.wheel.archive.open(name)
            return member.read(0, min(limit, member.size))
        except KeyError:
            raise FileNotFoundError(2, "no such member", path) from None
        except BinaryError as problem:
            raise OSError(5, str(problem), path) from None

    def listdir(self, path: str) -> list[str]:
        name = path.removeprefix(self.ROOT + "/")
        if name not in self._folders:
            raise FileNotFoundError(2, "no such folder", path)
        return sorted(self._folders[name])

    def exists(self, path: str) -> bool:
        name = path.removeprefix(self.ROOT + "/")
        return name in self.wheel.archive.members or name in self._folders

    def isdir(self, path: str) -> bool:
        return path.removeprefix(self.ROOT + "/") in self._folders

    def realpath(self, path: str) -> str:
        return path
