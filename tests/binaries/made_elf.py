"""Small shared objects that the real loader loads: one segment, a dynamic section, names, versions."""

from __future__ import annotations

import struct

MACHINES = {"x86_64": 62, "aarch64": 183, "i686": 3, "s390x": 22}


def elf_hash(name: str) -> int:
    """The hash of DT_HASH, which version records hold too."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        value = (value ^ (value >> 24 & 0xF0)) & 0x0FFFFFFF
    return value


def library(
    soname: str | None = None,
    needed: tuple[str, ...] = (),
    *,
    rpath: str | None = None,
    runpath: str | None = None,
    flags_1: int = 0,
    defines: tuple[str, ...] = (),
    needs: dict[str, tuple[str, ...]] | None = None,
    weak: tuple[str, ...] = (),
    machine: str = "x86_64",
    kind: int = 3,
) -> bytes:
    """A 64-bit little-endian object with no code. ``defines`` and ``needs`` are symbol versions."""
    texts = bytearray(b"\0")

    def text(name: str) -> int:
        at = len(texts)
        texts.extend(name.encode() + b"\0")
        return at

    entries = [(1, text(name)) for name in needed]
    if soname is not None:
        entries.append((14, text(soname)))
    if rpath is not None:
        entries.append((15, text(rpath)))
    if runpath is not None:
        entries.append((29, text(runpath)))
    if flags_1:
        entries.append((0x6FFFFFFB, flags_1))
    definitions = b""
    names = (soname or "lib", *defines) if defines else ()
    for number, name in enumerate(names):
        last = number == len(names) - 1
        definitions += struct.pack(
            "<HHHHIII", 1, 1 if not number else 0, number + 1, 1, elf_hash(name), 20, 0 if last else 28
        )
        definitions += struct.pack("<II", text(name), 0)
    requirements = b""
    index = len(names) + 2
    for number, (file, versions) in enumerate((needs or {}).items()):
        last = number == len(needs or {}) - 1
        requirements += struct.pack("<HHIII", 1, len(versions), text(file), 16, 0 if last else 16 + 16 * len(versions))
        for at, version in enumerate(versions):
            flags = 2 if version in weak else 0
            following = 0 if at == len(versions) - 1 else 16
            requirements += struct.pack("<IHHII", elf_hash(version), flags, index, text(version), following)
            index += 1
    head = 64 + 3 * 56
    symbols = head
    hashes = symbols + 24
    marks = hashes + 20
    definitions_at = marks + 4
    requirements_at = definitions_at + len(definitions)
    texts_at = requirements_at + len(requirements)
    dynamic = (texts_at + len(texts) + 7) // 8 * 8
    base = 0
    entries += [(4, base + hashes), (5, base + texts_at), (6, base + symbols), (10, len(texts)), (11, 24)]
    if definitions or requirements:
        entries.append((0x6FFFFFF0, base + marks))
    if definitions:
        entries += [(0x6FFFFFFC, base + definitions_at), (0x6FFFFFFD, len(names))]
    if requirements:
        entries += [(0x6FFFFFFE, base + requirements_at), (0x6FFFFFFF, len(needs or {}))]
    table = b"".join(struct.pack("<qQ", *entry) for entry in [*entries, (0, 0)])
    end = dynamic + len(table)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", kind, MACHINES[machine], 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, base, base, end, end, 4096)
    part = struct.pack("<IIQQQQQQ", 2, 6, dynamic, base + dynamic, base + dynamic, len(table), len(table), 8)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    body = bytes(24) + struct.pack("<IIIII", 1, 1, 0, 0, 0) + struct.pack("<HH", 0, 0) + definitions + requirements
    data = header + load + part + stack + body + bytes(texts)
    return data + bytes(dynamic - len(data)) + table
