"""Stretches of a compiled file by section name, for ELF and Windows PE alike.

PE: Microsoft, "PE Format". A section's name has eight bytes there, so ``.nv_fatbin`` becomes ``.nv_fatb``.
"""

from __future__ import annotations

from struct import error, unpack_from

from envcheck.binaries.elf import SHT_NOBITS, ElfError, ElfFile
from envcheck.binaries.source import BinaryError, Source

MAX_PE_SECTIONS = 96
"""The limit of Windows' loader."""


def sections(source: Source) -> list[tuple[str, int, int]]:
    """(name, offset, size in bytes) of each section that has bytes in the file; parts beyond its end are cut off.

    Raises :class:`BinaryError` when the file is neither ELF nor PE, or its headers are damaged.
    """
    head = source.read(0, min(4, source.size))
    if head.startswith(b"\x7fELF"):
        try:
            found = [(one.name, one.offset, one.size) for one in ElfFile(source).sections if one.kind != SHT_NOBITS]
        except ElfError as problem:
            raise BinaryError(str(problem)) from problem
    elif head.startswith(b"MZ"):
        found = _pe(source)
    else:
        raise BinaryError("neither an ELF file nor a PE file")
    return [(name, at, min(size, source.size - at)) for name, at, size in found if at < source.size and size]


def _pe(source: Source) -> list[tuple[str, int, int]]:
    try:
        at = unpack_from("<I", source.read(0, 64), 60)[0]
        head = source.read(at, 24)
        if not head.startswith(b"PE\0\0"):
            raise BinaryError("not a Windows library")
        count, options = unpack_from("<H", head, 6)[0], unpack_from("<H", head, 20)[0]
        count = min(count, MAX_PE_SECTIONS)
        table = source.read(at + 24 + options, 40 * count)
        found = []
        for index in range(count):
            name, virtual, _, size, offset = unpack_from("<8sIIII", table, 40 * index)
            # The file's part is padded to the alignment; what lies beyond the section's true size is not its own.
            found.append((name.rstrip(b"\0").decode("latin-1"), offset, min(size, virtual) if virtual else size))
    except error as problem:
        raise BinaryError("the PE headers are damaged") from problem
    return found
