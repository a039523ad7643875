"""The search in ld.so.cache: every name of this machine's cache, its order, the older formats, glibc-hwcaps."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest

from envcheck.binaries.ldcache import ABI_FLAGS, LoaderCache, compare, lookup

CACHE = Path("/etc/ld.so.cache")
FLAGS = ABI_FLAGS["x86_64"]


def built(entries: list[tuple[str, str, int, int]], levels: tuple[str, ...] = (), *, order: str = "<") -> bytes:
    """A cache of (name, path, flags, hwcap); the hwcaps of ``levels`` are indexes into that list with bit 62 set."""
    head, size = 48, 24 * len(entries)
    texts = bytearray()

    def text(value: str) -> int:
        at = head + size + len(texts)
        texts.extend(value.encode() + b"\0")
        return at

    rows = b"".join(
        struct.pack(order + "IIIIQ", flags, text(name), text(path), 0, hwcap) for name, path, flags, hwcap in entries
    )
    names = [text(level) for level in levels]
    texts.extend(bytes(-(head + size + len(texts)) % 4))
    start = head + size + len(texts)
    extension = struct.pack(order + "II", 0xEAA42174, 1)
    extension += struct.pack(order + "IIII", 1, 0, start + 24, 4 * len(names)) + b"".join(
        struct.pack(order + "I", name) for name in names
    )
    mark = 2 if order == "<" else 3
    header = b"glibc-ld.so.cache1.1" + struct.pack(order + "II", len(entries), len(texts)) + bytes([mark, 0, 0, 0])
    header += struct.pack(order + "I", start if levels else 0) + bytes(12)
    return header + rows + bytes(texts) + (extension if levels else b"")


@pytest.mark.skipif(not CACHE.exists(), reason="no ld.so.cache here")
def test_every_name_of_this_machine() -> None:
    import platform

    arch = platform.machine()
    data = CACHE.read_bytes()
    cache = LoaderCache(data, arch)
    found = lookup(data, arch=arch)
    assert found
    for name, paths in found.items():
        assert cache.find(name, list) in paths
    assert cache.find("libno-such-library.so.1") is None
    keys = [cache._key(index) for index in range(cache._count)]
    assert all(compare(one, other) >= 0 for one, other in itertools.pairwise(keys))


def test_the_best_subfolder_wins() -> None:
    ext = 1 << 62
    entries = [
        ("libb.so.10", "/lib/libb.so.10", FLAGS, 0),
        ("libb.so.9", "/lib/v2/libb.so.9", FLAGS, ext | 0),
        ("libb.so.9", "/lib/v3/libb.so.9", FLAGS, ext | 1),
        ("libb.so.9", "/lib/libb.so.9", FLAGS, 0),
        ("liba.so.1", "/lib32/liba.so.1", 3, 0),
        ("liba.so.1", "/lib/liba.so.1", FLAGS, 0),
    ]
    for order in "<>":
        cache = LoaderCache(built(entries, ("x86-64-v2", "x86-64-v3"), order=order), "x86_64")
        assert cache.find("libb.so.9", lambda: ["x86-64-v2", "x86-64-v3", "x86-64-v4"]) == "/lib/v3/libb.so.9"
        assert cache.find("libb.so.9", lambda: ["x86-64-v2"]) == "/lib/v2/libb.so.9"
        assert cache.find("libb.so.9", list) == "/lib/libb.so.9"
        assert cache.find("libb.so.9") == "/lib/libb.so.9"
        assert cache.find("libb.so.10") == "/lib/libb.so.10"
        assert cache.find("liba.so.1") == "/lib/liba.so.1"
        assert cache.find("lib") is None


def test_numbers_are_compared_as_numbers() -> None:
    assert compare(b"liba.so.10", b"liba.so.9") > 0
    assert compare(b"liba.so", b"liba.so.9") < 0
    assert compare(b"liba1", b"libab") > 0
    assert compare(b"x", b"x") == 0


def test_the_old_format() -> None:
    texts = b"libz.so.1\0/lib/libz.so.1\0"
    data = b"ld.so-1.7.0\0" + struct.pack("<I", 1) + struct.pack("<III", FLAGS, 0, 10) + texts
    assert LoaderCache(data, "x86_64").find("libz.so.1") == "/lib/libz.so.1"
    assert LoaderCache(data[:30], "x86_64").find("libz.so.1") is None
