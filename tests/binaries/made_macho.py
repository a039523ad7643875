"""Makes Mach-O files: what a test says they load."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ARM64, X86_64 = 0x0100000C, 0x01000007


def dylib(
    loads: Sequence[str] = (),
    *,
    id: str = "",
    rpaths: Sequence[str] = (),
    weak: Sequence[str] = (),
    machine: int = ARM64,
    current: tuple[int, int, int] = (1, 2, 3),
    sdk: int = 14,
    kind: int = 6,
) -> bytes:
    """One slice."""
    number = current[0] << 16 | current[1] << 8 | current[2]
    commands = [_text(0xD, id, 24, struct.pack("<III", 2, number, 0x10000))] if id else []
    commands += [_text(0xC, name, 24, bytes(12)) for name in loads]
    commands += [_text(0x80000018, name, 24, bytes(12)) for name in weak]
    commands += [_text(0x8000001C, path, 12, b"") for path in rpaths]
    commands.append(struct.pack("<IIIIII", 0x32, 24, 1, 11 << 16, sdk << 16, 0))
    body = b"".join(commands)
    return b"\xcf\xfa\xed\xfe" + struct.pack("<IIIIIII", machine, 0, kind, len(commands), len(body), 0, 0) + body


def universal(*thin: bytes) -> bytes:
    """Several slices in one file."""
    head = struct.pack(">II", 0xCAFEBABE, len(thin))
    body, at = b"", 8 + 20 * len(thin)
    for one in thin:
        head += struct.pack(">IIIII", struct.unpack_from("<I", one, 4)[0], 0, at + len(body), len(one), 0)
        body += one
    return head + body


def _text(kind: int, text: str, skip: int, between: bytes) -> bytes:
    data = text.encode()
    data += bytes(8 - len(data) % 8)
    return struct.pack("<III", kind, skip + len(data), skip) + between + data
