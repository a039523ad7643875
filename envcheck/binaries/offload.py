"""GPU code in ROCm libraries: which gfx targets each offload bundle carries.

    amd_code("libbitsandbytes_rocm72.so").sets     # (("gfx1030", "gfx90a:xnack-", ...), number of bundles), ...

HIP puts its code into the section ``.hip_fatbin``: offload bundles, plain (``__CLANG_OFFLOAD_BUNDLE__``) or compressed
(``CCOB``, by zlib or, as ROCm 6 and newer do, by Zstandard). Each begins with a table of its targets, so only that is
unpacked. Layout: the documentation of clang-offload-bundler and OffloadBundle.cpp of LLVM. Libraries whose kernels lie
in files beside them (rocBLAS, MIOpen: ``.co``, ``.hsaco``) show nothing here.
"""

from __future__ import annotations

from struct import error, unpack_from
from typing import NamedTuple

from envcheck.binaries.sections import sections
from envcheck.binaries.source import BinaryError, Source, source
from envcheck.binaries.zstd_head import NEEDED
from envcheck.binaries.zstd_head import head as zstd_head

PLAIN, COMPRESSED = b"__CLANG_OFFLOAD_BUNDLE__", b"CCOB"
NAMES = (".hip_fatbin", ".hip_fat")
ALIGNMENT = 4096
"""Bundles begin on pages."""
MAX_BUNDLES = 100_000
MAX_TABLE = 1 << 16
FIRST = 1 << 12
"""Bytes of a bundle that hold the table of most."""


class AmdCode(NamedTuple):
    """Offload bundles of one file."""

    sets: tuple[tuple[tuple[str, ...], int], ...]
    """Distinct sets of targets (``gfx942:xnack-``), each with its number of bundles; the most frequent first."""
    unread: int
    """Bundles whose table could not be read."""
    complete: bool
    """False when reading was given up."""

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets of the file, sorted."""
        return tuple(sorted({target for targets, _ in self.sets for target in targets}))


def amd_code(file: str | bytes | bytearray | memoryview | Source) -> AmdCode:
    """Read an ELF or PE library. Raises OSError for a path, and :class:`BinaryError` when it is neither."""
    reader = source(file)
    try:
        found: dict[tuple[str, ...], int] = {}
        unread, left = 0, MAX_BUNDLES
        for name, at, size in sections(reader):
            end = at + size
            while name in NAMES and at + 32 <= end and left:
                left -= 1
                targets, following = _bundle(reader, at, end)
                if targets is None:
                    unread += 1
                elif targets:
                    found[targets] = found.get(targets, 0) + 1
                at = end if following is None else following
        ordered = sorted(found.items(), key=lambda pair: -pair[1])
        return AmdCode(tuple(ordered), unread, left > 0)
    finally:
        if isinstance(file, str):
            reader.close()


def _bundle(reader: Source, at: int, end: int) -> tuple[tuple[str, ...] | None, int | None]:
    """Targets of the bundle at or after ``at`` (None: not readable), and where to look for the next (None: no more)."""
    first = reader.read(at, 32)
    if first.startswith(PLAIN):
        try:
            targets, size = _table(reader.read(at, min(MAX_TABLE, end - at)))
        except BinaryError:
            return None, _after(reader, at + 1, end)
        return targets, _after(reader, at + max(size, 32), end)
    if first.startswith(COMPRESSED):
        version, method = unpack_from("<HH", first, 4)
        start, size = {1: (20, 0), 2: (24, unpack_from("<I", first, 8)[0])}.get(
            version, (32, unpack_from("<Q", first, 8)[0])
        )
        following = _after(reader, at + max(size, 32), end)
        try:
            return _table(_unpacked(reader, at + start, end, method, version))[0], following
        except BinaryError:
            return None, following
    found = _after(reader, at, end)
    return (), found if found != at else None


def _after(reader: Source, at: int, end: int) -> int | None:
    """Where the next bundle begins: at a page, or wherever its first bytes are found."""
    page = at + -at % ALIGNMENT
    for place in (at, page):
        if place + 32 <= end and reader.read(place, 32).startswith((PLAIN, COMPRESSED)):
            return place
    found = [place for magic in (PLAIN, COMPRESSED) if (place := reader.find(magic, at, min(end, at + (8 << 20)))) >= 0]
    return min(found, default=None)


def _unpacked(reader: Source, at: int, end: int, method: int, version: int) -> bytes:
    if version not in (1, 2, 3):
        raise BinaryError(f"compressed bundles of version {version} are not known")
    data = reader.read(at, max(0, min(NEEDED, end - at)))
    if method == 1:
        start = zstd_head(data, FIRST)
        return start if _fits(start) else zstd_head(data, MAX_TABLE)
    if method != 0:
        raise BinaryError(f"compression method {method} is not known")
    import zlib

    try:
        return zlib.decompressobj().decompress(data, MAX_TABLE)
    except zlib.error as problem:
        raise BinaryError("the compressed bundle is damaged") from problem


def _fits(data: bytes) -> bool:
    try:
        _table(data)
    except BinaryError:
        return False
    return True


def _table(data: bytes) -> tuple[tuple[str, ...], int]:
    """Targets with code, sorted, and the size of the bundle."""
    if not data.startswith(PLAIN):
        raise BinaryError("not an offload bundle")
    try:
        count = unpack_from("<Q", data, 24)[0]
        at, targets, end = 32, set(), 32
        if count > MAX_TABLE // 24:
            raise BinaryError("an offload bundle has too many entries")
        for _ in range(count):
            offset, size, length = unpack_from("<QQQ", data, at)
            name = data[at + 24 : at + 24 + length]
            if len(name) < length:
                raise BinaryError("the table of an offload bundle is longer than expected")
            at += 24 + length
            end = max(end, offset + size)
            place = name.find(b"-gfx")
            if place >= 0 and size:
                targets.add(name[place + 1 :].decode("ascii", "replace"))
    except error as problem:
        raise BinaryError("the table of an offload bundle is cut off") from problem
    return tuple(sorted(targets)), end
