"""Members of a wheel (a zip archive) as sources, without unpacking it.

Only the central directory is read, and every number in it is checked. Layout: PKWARE's APPNOTE, 4.3 and 4.5.3 (zip64).
Why not zipfile: it holds the whole directory as objects whatever its size, costs an import, and its members can only
be read from the beginning.
"""

from __future__ import annotations

from struct import error, unpack, unpack_from
from typing import NamedTuple

from envcheck.binaries.source import BinaryError, Inflated, Part, Source

MAX_MEMBERS = 200_000
MAX_DIRECTORY = 24 << 20
STORED, DEFLATED = 0, 8


class Member(NamedTuple):
    """A file in the archive; sizes in bytes."""

    name: str
    size: int
    packed: int
    method: int
    header: int
    """Offset of its local header."""


class Archive:
    """The members of a zip archive by name. Raises :class:`BinaryError` when the directory is damaged."""

    __slots__ = ("members", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            self.members = {member.name: member for member in _directory(source)}
        except error as problem:
            raise BinaryError("the directory of the archive is damaged") from problem

    def open(self, name: str) -> Source:
        """One member. Raises KeyError when there is none, :class:`BinaryError` when it cannot be read."""
        member = self.members[name]
        head = self.source.read(member.header, 30)
        if not head.startswith(b"PK\3\4"):
            raise BinaryError(f"{name} is not where the archive says")
        if head[6] & 1:
            raise BinaryError(f"{name} is encrypted")
        names, extra = unpack_from("<HH", head, 26)
        start = member.header + 30 + names + extra
        if member.method == STORED:
            return Part(self.source, start, member.size)
        if member.method == DEFLATED:
            return Inflated(self.source, start, member.packed, member.size)
        raise BinaryError(f"{name} is packed by method {member.method}, which is not supported")


def is_archive(source: Source) -> bool:
    """Does it begin like a zip archive that is not empty?"""
    return source.size > 22 and source.read(0, 4) == b"PK\3\4"


def _directory(source: Source) -> list[Member]:
    size, start = _place(source)
    if size > MAX_DIRECTORY:
        raise BinaryError("the directory of the archive is too large")
    members: list[Member] = []
    data, at = source.read(start, size), 0
    while at + 46 <= len(data) and data[at : at + 4] == b"PK\1\2":
        if len(members) >= MAX_MEMBERS:
            raise BinaryError("the archive has too many members")
        flags, method = unpack_from("<HH", data, at + 8)
        packed, unpacked, names, extra, comment = unpack_from("<IIHHH", data, at + 20)
        header = unpack_from("<I", data, at + 42)[0]
        end = at + 46 + names
        name = data[at + 46 : end].decode("utf-8" if flags & 0x800 else "cp437", "replace")
        if 0xFFFFFFFF in (packed, unpacked, header):
            unpacked, packed, header = _wide(data[end : end + extra], unpacked, packed, header)
        members.append(Member(name, unpacked, packed, method, header))
        at = end + extra + comment
    return members


def _place(source: Source) -> tuple[int, int]:
    """Size and offset of the central directory."""
    tail_size = min(source.size, 22 + 0xFFFF)
    tail_at = source.size - tail_size
    tail = source.read(tail_at, tail_size)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < 22:
        raise BinaryError("not a zip archive")
    size, start = unpack_from("<II", tail, at + 12)
    if 0xFFFFFFFF in (size, start) and at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
        record = source.read(unpack_from("<Q", tail, at - 12)[0], 56)
        if not record.startswith(b"PK\6\6"):
            raise BinaryError("the directory of the archive is damaged")
        size, start = unpack_from("<QQ", record, 40)
    if start + size > tail_at + at:
        raise BinaryError("the directory of the archive lies outside of it")
    return size, start


def _wide(extra: bytes, *values: int) -> tuple[int, int, int]:
    """Sizes and offset of a member that 32 bits cannot hold: those that are -1 stand in field 1 of the extra data."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = unpack_from("<HH", extra, at)
        if kind == 1:
            given = extra[at + 4 : at + 4 + size]
            wide = iter(unpack(f"<{len(given) // 8}Q", given[: len(given) // 8 * 8]))
            found = [next(wide, value) if value == 0xFFFFFFFF else value for value in values]
            return found[0], found[1], found[2]
        at += 4 + size
    return values[0], values[1], values[2]
