"""Makes PE files: what a test says they import, and a version resource as compilers write it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

BASE, RAW = 0x1000, 0x400


def dll(
    imports: Sequence[str] = (),
    delayed: Sequence[str] = (),
    *,
    name: str = "",
    machine: int = 0x8664,
    version: tuple[int, int, int, int] | None = None,
    product: tuple[int, int, int, int] | None = None,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """One section with all tables, 64 bits."""
    tables = {0: 40 if name else 0, 1: 20 * (len(imports) + 1), 13: 32 * (len(delayed) + 1) if delayed else 0}
    starts, at = {}, 0
    for index, size in tables.items():
        starts[index], at = at, at + size
    names, places = b"", {}
    for text in (*imports, *delayed, name):
        places[text] = BASE + at + len(names)
        names += text.encode() + b"\0"
    body = struct.pack("<12xI24x", places[name]) if name else b""
    body += b"".join(struct.pack("<IIIII", 0, 0, 0, places[text], 0) for text in imports) + bytes(20)
    if delayed:
        body += b"".join(struct.pack("<II24x", 1, places[text]) for text in delayed) + bytes(32)
    body += names
    directories = [(0, 0)] * 16
    for index, size in tables.items():
        if size:
            directories[index] = BASE + starts[index], size
    if version is not None:
        body += bytes(-len(body) % 8)
        place = len(body)
        body += resource(BASE + place, version, product or version, texts or {})
        directories[2] = BASE + place, len(body) - place
    optional = struct.pack("<H46xHH56xI", 0x20B, 6, 0, 16)
    optional += b"".join(struct.pack("<II", *pair) for pair in directories)
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, len(optional), 0x2022) + optional
    head += struct.pack("<8sIIII16x", b".rdata", len(body), BASE, len(body), RAW)
    return head.ljust(RAW, b"\0") + body


def resource(address: int, version: Sequence[int], product: Sequence[int], texts: Mapping[str, str]) -> bytes:
    """Three levels of folders (kind, name, language) and one VS_VERSIONINFO, after a resource of another kind."""
    fixed = struct.pack("<II", 0xFEEF04BD, 0x10000)
    for one, two, three, four in (version, product):
        fixed += struct.pack("<II", one << 16 | two, three << 16 | four)
    fixed += bytes(52 - len(fixed))
    strings = [_node(key, text.encode("utf-16-le") + b"\0\0", b"", 1) for key, text in texts.items()]
    table = _node("040904B0", b"", b"".join(_padded(one) for one in strings), 1)
    info = _node("VS_VERSION_INFO", fixed, _node("StringFileInfo", b"", table, 1), 0)
    top = struct.pack("<12xHH", 0, 2) + struct.pack("<IIII", 3, 0x80000000 | 32, 16, 0x80000000 | 32)
    name = struct.pack("<12xHHII", 0, 1, 1, 0x80000000 | 56)
    language = struct.pack("<12xHHII", 0, 1, 0x409, 80)
    return top + name + language + struct.pack("<IIII", address + 96, len(info), 0, 0) + info


def _node(key: str, value: bytes, children: bytes, text: int) -> bytes:
    head = _padded(bytes(6) + key.encode("utf-16-le") + b"\0\0")
    body = head + (_padded(value) + children if children else value)
    size = len(value) // 2 if text else len(value)
    return struct.pack("<HHH", len(body), size, text) + body[6:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
