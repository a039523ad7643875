"""Readers of binaries take any bytes: they answer or raise their own error; quickly, and in little memory.

Arbitrary bytes, truncations and mutations of real and made files. ENVCHECK_FUZZ_EXAMPLES=25000 makes a long run: that
many for each of the four readers.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from envcheck.binaries.elf import ElfError, ElfFile
from envcheck.binaries.files import Facts, Files, take
from envcheck.binaries.ldcache import LoaderCache
from envcheck.binaries.ldso import system_folders
from envcheck.binaries.loading import Process
from envcheck.binaries.macho import MachOError, slices
from envcheck.binaries.pe import PeError, PeFile
from envcheck.binaries.symbols import Symbols, undefined_symbols

sys.path.insert(0, str(Path(__file__).parents[1] / "binaries"))
import made_elf

EXAMPLES = int(os.environ.get("ENVCHECK_FUZZ_EXAMPLES", "300"))
LIMIT = 64 << 20
NUMBERS = (
    0,
    1,
    2,
    0x7F,
    0xFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Bytes, numbers and blocks replaced, mostly near the start, where the tables are; or cut off."""
    out = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8, 30))):
        if not out:
            break
        at = chance.randrange(min(len(out), chance.choice((64, 256, 1024, 1 << 30))))
        what = chance.randrange(5)
        if what == 0:
            out[at] = chance.randrange(256)
        elif what == 1:
            number = chance.choice(NUMBERS) if chance.random() < 0.6 else chance.randrange(len(out) + 64)
            size = chance.choice((2, 4, 8))
            out[at : at + size] = (number & ((1 << size * 8) - 1)).to_bytes(size, "little")
        elif what == 2:
            out[at : at + chance.randrange(40)] = chance.randbytes(chance.randrange(40))
        elif what == 3:
            there = chance.randrange(len(out))
            out[at : at + 24] = out[there : there + 24]
        elif chance.random() < 0.3:
            del out[at:]
    return bytes(out) if chance.random() < 0.97 else chance.randbytes(chance.randrange(400))


def elf_samples() -> list[bytes]:
    samples = [
        made_elf.library("liba.so.1", ("libb.so", "libc.so.6"), rpath="$ORIGIN/x:/y", defines=("A_1", "A_2"),
                         needs={"libc.so.6": ("GLIBC_2.4", "GLIBC_2.9")}, flags_1=0x800),
    ]  # fmt: skip
    for path in sorted(Path("/usr/lib").glob("*-linux-gnu/lib*.so.*")):
        if path.stat().st_size < 40_000 and len(samples) < 8:
            samples.append(path.read_bytes())
    return samples


def read_elf(data: bytes) -> None:
    facts = Facts("x", (0, 0))
    try:
        file = ElfFile(data)
        take(facts, file)
        _ = file.version_definitions, file.version_needs, file.sections
        symbols = Symbols(file)
        symbols.find("printf")
        names = symbols.undefined()[:3] + symbols.defined()[:3]
        for symbol in names:
            symbols.find(symbol.name)
    except ElfError:
        pass


def cache_sample() -> bytes:
    try:
        return Path("/etc/ld.so.cache").read_bytes()[:20_000]
    except OSError:
        return b"glibc-ld.so.cache1.1" + bytes(200)


def read_cache(data: bytes) -> None:
    cache = LoaderCache(data, "x86_64")
    for name in ("libc.so.6", "libz.so.1", "libnone.so"):
        cache.find(name, lambda: ["x86-64-v2", "x86-64-v3"])
    system_folders(data)


def pe_sample() -> bytes:
    """Headers, one section, an import table and a delay-load table."""
    base, raw = 0x1000, 0x200
    names = b"KERNEL32.dll\0python311.dll\0cudart64_12.dll\0"
    imports = struct.pack("<IIIII", 0, 0, 0, base + 128, 0) + struct.pack("<IIIII", 0, 0, 0, base + 141, 0) + bytes(20)
    delayed = struct.pack("<IIIIIIII", 1, base + 155, 0, 0, 0, 0, 0, 0) + bytes(32)
    body = imports + delayed
    body += bytes(128 - len(body)) + names
    directories = [(0, 0)] * 16
    directories[1], directories[13] = (base, 60), (base + 60, 64)
    optional = struct.pack("<H", 0x20B) + bytes(46) + struct.pack("<HH", 6, 0) + bytes(56) + struct.pack("<I", 16)
    optional += b"".join(struct.pack("<II", *pair) for pair in directories)
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022) + optional
    head += struct.pack("<8sIIII", b".rdata", len(body), base, len(body), raw) + bytes(16)
    return head + bytes(raw - len(head)) + body


def read_pe(data: bytes) -> None:
    try:
        file = PeFile(data)
        _ = file.imports, file.delayed, file.name
    except PeError:
        pass


def macho_sample() -> bytes:
    """A universal file of one slice."""

    def text(kind: int, name: bytes, skip: int) -> bytes:
        body = name + b"\0" * (8 - len(name) % 8)
        return struct.pack("<III", kind, skip + len(body), skip) + bytes(skip - 12) + body

    commands = [text(0xD, b"@rpath/libx.dylib", 24), text(0xC, b"/usr/lib/libSystem.B.dylib", 24)]
    commands += [text(0x8000001C, b"@loader_path/.", 12), struct.pack("<IIIIII", 0x32, 24, 1, 0x0E0000, 0x0F0000, 0)]
    body = b"".join(commands)
    thin = b"\xcf\xfa\xed\xfe" + struct.pack("<IIIIIII", 0x0100000C, 0, 6, len(commands), len(body), 0, 0) + body
    return struct.pack(">IIIIIII", 0xCAFEBABE, 1, 0x0100000C, 0, 64, len(thin), 0) + bytes(36) + thin


def read_macho(data: bytes) -> None:
    try:
        slices(data)
    except MachOError:
        pass


READERS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "elf": (read_elf, elf_samples),
    "cache": (read_cache, lambda: [cache_sample()]),
    "pe": (read_pe, lambda: [pe_sample()]),
    "macho": (read_macho, lambda: [macho_sample()]),
}


def test_samples_are_read() -> None:
    file = PeFile(pe_sample())
    assert (file.machine, file.dll, file.subsystem) == ("x86_64", True, (6, 0))
    assert (file.imports, file.delayed) == (["KERNEL32.dll", "python311.dll"], ["cudart64_12.dll"])
    [part] = slices(macho_sample())
    assert (part.machine, part.id, part.platform) == ("arm64", "@rpath/libx.dylib", "macos")
    assert (part.loads, part.rpaths, part.minimum) == (["/usr/lib/libSystem.B.dylib"], ["@loader_path/."], (14, 0, 0))


@pytest.mark.parametrize("name", READERS)
def test_any_bytes(name: str) -> None:
    read, make = READERS[name]
    samples = make()
    for sample in samples:
        for end in range(0, min(len(sample), 2000), 1 if EXAMPLES > 1000 else 37):
            read(sample[:end])
    slowest = 0.0
    for seed in range(EXAMPLES):
        chance = random.Random(seed)
        data = mutated(chance, chance.choice(samples))
        begun = time.process_time()
        read(data)
        slowest = max(slowest, time.process_time() - begun)
    assert slowest < 2, "a hang"


def test_huge_counts_stay_small() -> None:
    """Every number of the header and of the dynamic section made huge, in turn: little memory, no hang."""
    sample = made_elf.library("liba.so.1", ("libb.so",), defines=("A_1",), needs={"libb.so": ("B_1",)})
    sample += bytes(1 << 20)
    tracemalloc.start()
    try:
        for at in range(16, 1200, 4):
            for number in (0xFFFFFFFF, 0x00FFFFFF, 0x000FFFFF):
                read_elf(sample[:at] + number.to_bytes(4, "little") + sample[at + 4 :])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT


def test_processes_of_damaged_libraries(tmp_path: Path) -> None:
    """A whole closure over damaged files; needs that go round in circles."""
    names = [f"lib{n}.so" for n in range(4)]
    for seed in range(max(30, EXAMPLES // 20)):
        chance = random.Random(seed)
        folder = tmp_path / str(seed % 50)
        folder.mkdir(exist_ok=True)
        for name in names:
            sample = made_elf.library(
                chance.choice((name, None)),
                tuple(chance.choice(names) for _ in range(3)),
                runpath="$ORIGIN",
                defines=("V_1",),
                needs={chance.choice(names): ("V_1", "V_2")},
            )
            (folder / name).write_bytes(mutated(chance, sample) if chance.random() < 0.6 else sample)
        process = Process(Files())
        load = process.dlopen(f"{folder}/{names[0]}")
        _ = load.error, load.missing, load.elsewhere, load.lacking_versions
        undefined_symbols(load)
        Process(Files(str(tmp_path))).dlopen(f"/{seed % 50}/{names[1]}")


def test_a_file_that_needs_everything(tmp_path: Path) -> None:
    """Sixty thousand needs: no long search, no memory."""
    path = tmp_path / "liball.so"
    path.write_bytes(made_elf.library("liball.so", tuple(f"lib{n}.so" for n in range(60_000))))
    begun = time.process_time()
    load = Process(Files()).dlopen(str(path))
    assert "more libraries" in (load.error or "")
    assert time.process_time() - begun < 2
