"""The CPU that an x86-64 library is marked to need: GNU_PROPERTY_X86_ISA_1_NEEDED in ``.note.gnu.property``.

glibc 2.33 and newer refuses to load a file whose mark the CPU does not meet. The mark is made on demand alone
(``ld -z x86-64-v3``, or GCC's ``-mneeded``), so most files that use AVX2 bear none.
Layout: x86-64 psABI, "Program Property"; the note's fields: System V gABI, "Note Section".
"""

from __future__ import annotations

from struct import error, unpack_from

from envcheck.binaries.elf import ElfFile

SECTION = ".note.gnu.property"
NT_GNU_PROPERTY_TYPE_0 = 5
X86_ISA_1_NEEDED = 0xC0008002
MAX_NOTE = 1 << 16


def cpu_level(file: ElfFile) -> int | None:
    """1 to 4 for x86-64-v1 to v4; None: not marked. Raises :class:`~envcheck.binaries.elf.ElfError`."""
    section = file.section(SECTION) if file.machine in ("x86_64", "i686") else None
    if section is None:
        return None
    data = b"".join(row[0].to_bytes(1, "little") for row in file.rows("B", section.offset, min(section.size, MAX_NOTE)))
    try:
        return _needed(data, 8 if file.bits == 64 else 4)
    except error:
        return None


def _needed(data: bytes, align: int) -> int | None:
    """The highest level of all notes. Raises struct.error when they are cut off."""
    at, levels = 0, 0
    while at + 12 <= len(data):
        names, size, kind = unpack_from("<III", data, at)
        start = at + 12 + names + -names % 4
        if kind == NT_GNU_PROPERTY_TYPE_0 and data[at + 12 : at + 16] == b"GNU\0":
            place, end = start, min(start + size, len(data))
            while place + 8 <= end:
                property_kind, length = unpack_from("<II", data, place)
                if property_kind == X86_ISA_1_NEEDED and length >= 4:
                    levels |= unpack_from("<I", data, place + 8)[0]
                place += 8 + length + -length % align
        at = start + size + -size % align
    return (levels & 15).bit_length() or None
