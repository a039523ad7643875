"""Readers of GPU code, archives and library versions take any bytes: a result or BinaryError, in bounds.

Bytes are arbitrary, or real files cut off, overwritten, spliced and repeated. ENVCHECK_FUZZ_EXAMPLES=100000 makes a
long run.
"""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import time
import zipfile
from pathlib import Path

import pytest

from envcheck.binaries.archive import Archive
from envcheck.binaries.coverage import coverage
from envcheck.binaries.fatbin import MAX_ENTRIES, fat_binaries
from envcheck.binaries.library_version import library_version
from envcheck.binaries.offload import amd_code
from envcheck.binaries.source import BinaryError, Source
from envcheck.binaries.source import source as opened
from envcheck.binaries.zstd_head import head

EXAMPLES = int(os.environ.get("ENVCHECK_FUZZ_EXAMPLES", "1500"))
DATA = Path(__file__).parent.parent / "binaries" / "data"
BOUNDS = (0, 1, 7, 64, 0x7FFF, 0x8000, 0xFFFF, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
MAGICS = (b"\x50\xed\x55\xba\x01\x00\x10\x00", b"__CLANG_OFFLOAD_BUNDLE__", b"CCOB\3\0\1\0", b"PK\1\2", b"PK\5\6",
          b"PK\3\4", b"\x7fELF\2\1\1", b"MZ", b"PE\0\0", b"\x28\xb5\x2f\xfd")  # fmt: skip


def with_section(name: bytes, data: bytes) -> bytes:
    """An ELF object with one section, which lies on a page."""
    names = b"\0" + name + b"\0.shstrtab\0"
    at = 4096 + len(data) + len(names)
    headers = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, 4096, len(data), 0, 0, 8, 0)
    headers += struct.pack("<IIQQQQIIQQ", len(name) + 2, 3, 0, 0, 4096 + len(data), len(names), 0, 0, 1, 0)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, 3, 2)
    return ident.ljust(4096, b"\0") + data + names + headers


def windows(name: bytes, data: bytes) -> bytes:
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 0, 0)
    return (head + struct.pack("<8sIIII", name, len(data), 4096, len(data), 512) + bytes(16)).ljust(512, b"\0") + data


def wheel(method: int, *members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number, data in enumerate(members):
            archive.writestr(f"pkg/{number}.so", data)
    return out.getvalue()


def seeds() -> list[bytes]:
    real = [path.read_bytes() for path in sorted(DATA.iterdir()) if path.suffix != ".md"]
    frame = (DATA / "offload-bundle.bin").read_bytes()
    packed = b"CCOB" + struct.pack("<HHQQQ", 3, 1, 32 + len(frame), 32768, 0) + frame
    plain = head(frame, 1 << 15)
    fat = (DATA / "concatenated.fatbin").read_bytes()
    made = [with_section(b".hip_fatbin", packed + bytes(-len(packed) % 4096) + plain), windows(b".hip_fat", packed)]
    made += [with_section(b"__nv_relfatbin", fat * 2), windows(b".nv_fatb", fat)]
    library = (DATA / "suffixes.so").read_bytes()
    made += [wheel(zipfile.ZIP_STORED, library, made[0]), wheel(zipfile.ZIP_DEFLATED, library, made[1])]
    if os.path.exists("/proc/self/exe"):
        libraries = [path for path in Path("/usr/lib").glob("*-linux-gnu/libz.so.1*") if path.is_file()]
        made += [path.read_bytes() for path in libraries[:1]]
    return real + made


def mutated(source: random.Random, files: list[bytes]) -> bytes:
    if source.random() < 0.1:
        return source.choice((b"", *MAGICS)) + source.randbytes(source.randrange(300))
    data = bytearray(source.choice(files))
    for _ in range(source.choice((1, 1, 2, 3, 8))):
        # Half of the damage is done where headers are: at the beginning, at the end, behind a magic number.
        anchors = [0, max(0, len(data) - 400), max(0, data.find(source.choice(MAGICS)))]
        near = (
            source.choice(anchors) + source.randrange(400) if source.random() < 0.5 else source.randrange(len(data) + 1)
        )
        at = min(near, len(data))
        match source.randrange(7):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = source.randbytes(1)
            case 2:
                data[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", source.choice(BOUNDS) & 0xFFFFFFFF)
            case 3:
                data[at // 8 * 8 : at // 8 * 8 + 8] = struct.pack("<Q", source.choice(BOUNDS))
            case 4:
                del data[at : at + source.randrange(64)]
            case 5:
                other, size = source.choice(files), source.randrange(512)
                start = source.randrange(len(other))
                data[at : at + source.choice((0, size))] = other[start : start + size]
            case 6:
                data[at : at + 8] = source.choice(MAGICS)
    return bytes(data)


def read_all(data: bytes) -> None:
    for reader in (fat_binaries, amd_code, library_version):
        try:
            found = reader(data)
        except BinaryError:
            continue
        if reader is fat_binaries:
            assert coverage(found, (9, 0), (8, 0)).total <= found.linked.number + found.relocatable.number  # type: ignore[arg-type, union-attr]
            str([str(target) for target in found.targets])  # type: ignore[union-attr]
    try:
        head(data, 5000)
    except BinaryError:
        pass
    try:
        archive = Archive(opened(data))
    except BinaryError:
        return
    for name in list(archive.members)[:3]:
        for reader in (fat_binaries, amd_code, library_version):
            try:
                reader(archive.open(name))
            except BinaryError:
                continue


def peak() -> int:
    """Peak memory of this process in bytes; 0 where it is not told."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_any_bytes() -> None:
    source, files = random.Random(20261121), seeds()
    for data in files:
        read_all(data)
    before, longest = peak(), 0.0
    for number in range(EXAMPLES):
        data = mutated(source, files)
        started = time.process_time()
        try:
            read_all(data)
        except Exception as error:
            pytest.fail(f"example {number} of {len(data)} bytes: {error!r}")
        longest = max(longest, time.process_time() - started)
    print(f"{EXAMPLES} examples, longest {longest:.3f} s, memory grew by {(peak() - before) >> 20} MiB")
    assert longest < 5
    assert peak() - before < 64 << 20


class Endless(Source):
    """A file of a terabyte that repeats one block."""

    def __init__(self, head: bytes, block: bytes) -> None:
        self.size, self.head, self.block = 1 << 40, head, block

    def _read(self, at: int, size: int) -> bytes:
        if at + size <= len(self.head):
            return self.head[at : at + size]
        if at < len(self.head):
            return self.head[at:] + self._read(len(self.head), size - len(self.head) + at)
        start = (at - len(self.head)) % len(self.block)
        return (self.block * (size // len(self.block) + 2))[start : start + size]


ENTRY = struct.pack("<HHIQIIHHIIIQQQ", 2, 0x101, 64, 0, 0, 0, 7, 1, 80, 0, 0, 17, 0, 0)
FAT = MAGICS[0] + struct.pack("<Q", 0)


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (MAGICS[0] + struct.pack("<Q", 1 << 40), ENTRY),  # one fat binary without end
        (FAT, FAT),  # fat binaries without end
        (FAT, b"\0" * 64),  # nothing follows
        (FAT, MAGICS[0][:6] + b"\xff" * 10),  # magic numbers alone
    ],
    ids=["one", "many", "nothing", "magic"],
)
def test_files_without_end(start: bytes, block: bytes) -> None:
    before, started = peak(), time.process_time()
    found = fat_binaries(Endless(start, block))
    assert not found.complete
    assert sum(found.entries.values()) <= MAX_ENTRIES
    assert time.process_time() - started < 20
    assert peak() - before < 64 << 20
