"""AMD offload bundles, plain and compressed, and the first block of Zstandard frames."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from test_fatbin import elf, pe

from envcheck.binaries.offload import AmdCode, amd_code
from envcheck.binaries.source import BinaryError
from envcheck.binaries.zstd_head import head

FRAME = (Path(__file__).parent / "data" / "offload-bundle.bin").read_bytes()
TARGETS = ("gfx1030", "gfx1100", "gfx1201", "gfx9-4-generic", "gfx906:sramecc+:xnack-", "gfx90a", "gfx942")


def bundle(*names: str) -> bytes:
    """A plain bundle: a host entry without code, and 64 bytes of code for each name."""
    entries = [("host-x86_64-unknown-linux-gnu-", 0), *((name, 64) for name in names)]
    at, table, code = 4096, b"", b""
    for name, size in entries:
        table += struct.pack("<QQQ", at, size, len(name)) + name.encode()
        code, at = code + b"\x7f" * size, at + size
    return (b"__CLANG_OFFLOAD_BUNDLE__" + struct.pack("<Q", len(entries)) + table).ljust(4096, b"\0") + code


def compressed(data: bytes, method: int, version: int) -> bytes:
    size = len(data)
    if version == 1:
        return b"CCOB" + struct.pack("<HHIQ", 1, method, 32768, 0) + data
    if version == 2:
        return b"CCOB" + struct.pack("<HHIIQ", 2, method, 24 + size, 32768, 0) + data
    return b"CCOB" + struct.pack("<HHQQQ", version, method, 32 + size, 32768, 0) + data


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4096)


def library(data: bytes, windows: bool = False) -> bytes:
    """The section lies on a page, as it does in real ones."""
    if windows:
        return pe({".text": bytes(3072), ".hip_fat": data})
    return elf({".text": bytes(4032), ".hip_fatbin": data})


@pytest.mark.parametrize("windows", [False, True])
def test_plain_bundles(windows: bool) -> None:
    old = bundle("hip-amdgcn-amd-amdhsa-gfx803", "hip-amdgcn-amd-amdhsa-gfx900")
    new = bundle("hipv4-amdgcn-amd-amdhsa--gfx90a:xnack+", "hipv4-amdgcn-amd-amdhsa--gfx90a:xnack-")
    found = amd_code(library(padded(old) + padded(new) + new, windows))
    assert found == AmdCode(((("gfx90a:xnack+", "gfx90a:xnack-"), 2), (("gfx803", "gfx900"), 1)), 0, True)
    assert found.targets == ("gfx803", "gfx900", "gfx90a:xnack+", "gfx90a:xnack-")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_compressed_bundles(version: int) -> None:
    packed = zlib.compress(bundle("hipv4-amdgcn-amd-amdhsa--gfx906"))
    both = padded(compressed(FRAME, 1, version)) + compressed(packed, 0, version)
    assert amd_code(library(both)).sets == ((TARGETS, 1), (("gfx906",), 1))


def test_bundles_that_cannot_be_read() -> None:
    damaged = padded(compressed(b"\x28\xb5\x2f\xfd\xa0" + b"\xff" * 200, 1, 3))
    unknown = padded(compressed(b"?" * 100, 9, 3)) + padded(compressed(FRAME, 1, 7))
    found = amd_code(library(damaged + unknown + bundle("hipv4-amdgcn-amd-amdhsa--gfx906")))
    assert (found.unread, found.targets) == (3, ("gfx906",))
    assert amd_code(library(b"nothing of the kind" * 300)) == AmdCode((), 0, True)
    with pytest.raises(BinaryError):
        amd_code(b"neither")


def test_the_head_of_a_frame() -> None:
    whole = head(FRAME, 1 << 17)
    assert len(whole) == 32768
    assert whole.startswith(b"__CLANG_OFFLOAD_BUNDLE__")
    for size in (0, 1, 23, 24, 5000, 32767):
        assert head(FRAME, size) == whole[:size]
    for bad in (b"", FRAME[:3], FRAME[:9], FRAME[:200], b"\0" * 100):
        with pytest.raises(BinaryError):
            head(bad, 4096)


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd here")
@pytest.mark.parametrize("level", [1, 3, 9, 19])
def test_the_head_equals_what_zstd_packed(level: int) -> None:
    source = random.Random(level)
    texts = [Path(__file__).read_bytes() * 4, bytes(source.choices(range(7), k=40_000)), source.randbytes(3000)]
    texts += [b"x" * 70_000, b"".join(source.choice((b"gfx90a", b"\0" * 9, source.randbytes(3))) for _ in range(5000))]
    for text in texts:
        frame = subprocess.run(["zstd", "-c", f"-{level}"], input=text, capture_output=True, check=True).stdout
        found = head(frame, 1 << 17)
        # zstd may cut its input into several blocks; the first is what is read.
        assert text.startswith(found)
        assert len(found) >= min(len(text), 1000)
