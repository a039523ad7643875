"""Readers of Windows and macOS files take any bytes: they answer or raise their own error, quickly, in little memory.

Arbitrary bytes (hypothesis), truncations and mutations of made files, and whole searches over damaged ones.
ENVCHECK_FUZZ_EXAMPLES=25000 makes a long run.
"""

from __future__ import annotations

import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import made_macho
from made_pe import dll
from test_fuzz_loading import mutated

from envcheck.binaries.dylib_search import DylibProcess
from envcheck.binaries.library_version import library_version
from envcheck.binaries.macho import MachOError, slices
from envcheck.binaries.pe import PeError, PeFile
from envcheck.binaries.pe_search import DllProcess, Windows, read_facts
from envcheck.binaries.pe_version import file_version, library_of_dll, major_of_name
from envcheck.binaries.source import BinaryError

EXAMPLES = int(os.environ.get("ENVCHECK_FUZZ_EXAMPLES", "300"))
LIMIT = 64 << 20
TEXTS = {"FileDescription": "NVIDIA CUDA Runtime, Version 12.9.79 ", "OriginalFilename": "CUDART64_129_79.DLL"}


def pe() -> bytes:
    return dll(
        ("KERNEL32.dll", "python312.dll"),
        ("nvcuda.dll",),
        name="cudart64_12.dll",
        version=(6, 14, 11, 12090),
        texts=TEXTS,
    )


def macho() -> bytes:
    thin = made_macho.dylib(("/usr/lib/libSystem.B.dylib", "@rpath/libx.dylib"), id="@rpath/libonnxruntime.1.dylib",
                            rpaths=("@loader_path/.",), weak=("/opt/x.dylib",))  # fmt: skip
    return made_macho.universal(thin, made_macho.dylib(machine=made_macho.X86_64))


def read_pe(data: bytes) -> None:
    try:
        file = PeFile(data)
    except PeError:
        return
    for part in (lambda: file.imports, lambda: file.delayed, lambda: file.name, lambda: file_version(file),
                 lambda: library_of_dll(file)):  # fmt: skip
        try:
            part()
        except PeError:
            continue


def read_macho(data: bytes) -> None:
    try:
        for part in slices(data):
            assert len(part.order) == len(part.loads) + len(part.weak)
    except MachOError:
        pass


def read_version(data: bytes) -> None:
    try:
        library_version(data)
    except BinaryError:
        pass


READERS: list[tuple[Callable[[bytes], None], Callable[[], bytes]]] = [
    (read_pe, pe),
    (read_macho, macho),
    (read_version, pe),
    (read_version, macho),
]


def test_samples_are_read() -> None:
    told = library_version(pe())
    assert told is not None
    assert (told.name, told.version) == ("cudart", "12.9")
    told = library_version(macho())
    assert told is not None
    assert (told.name, told.version) == ("onnxruntime", "1.2.3")


@pytest.mark.parametrize(("read", "make"), READERS)
def test_mutations_and_truncations(read: Callable[[bytes], None], make: Callable[[], bytes]) -> None:
    sample = make()
    for end in range(0, len(sample), 1 if EXAMPLES > 1000 else 7):
        read(sample[:end])
    slowest = 0.0
    for seed in range(EXAMPLES):
        data = mutated(random.Random(seed), sample)
        begun = time.process_time()
        read(data)
        slowest = max(slowest, time.process_time() - begun)
    assert slowest < 2, "a hang"


@given(st.binary(max_size=400), st.sampled_from((b"", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes, head: bytes) -> None:
    for read, _ in READERS:
        read(head + data)


@given(st.integers(0, 0x400 + 900), st.integers(0, 0xFFFFFFFF))
@settings(max_examples=300, deadline=None)
def test_any_number_in_any_place(at: int, number: int) -> None:
    for read, make in READERS:
        sample = make()
        read(sample[:at] + number.to_bytes(4, "little") + sample[at + 4 :])


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_name(name: str) -> None:
    major = major_of_name(name)
    assert major is None or 0 <= major <= 9999


def test_huge_counts_stay_small() -> None:
    tracemalloc.start()
    begun = time.process_time()
    try:
        for make, read in ((pe, read_pe), (macho, read_macho)):
            sample = make() + bytes(1 << 20)
            for at in range(0, 2200, 4):
                for number in (0xFFFFFFFF, 0x00FFFFFF, 0x0000FFFF):
                    read(sample[:at] + number.to_bytes(4, "little") + sample[at + 4 :])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT
    assert time.process_time() - begun < 60


def test_searches_over_damaged_files(tmp_path: Path) -> None:
    """Folders whose files need each other in circles, some of them damaged."""
    names = [f"lib{n}" for n in range(4)]
    for seed in range(max(30, EXAMPLES // 20)):
        chance = random.Random(seed)
        folder = tmp_path / str(seed % 50)
        folder.mkdir(exist_ok=True)
        for name in names:
            some = [chance.choice(names) for _ in range(3)]
            samples = (
                dll([f"{one}.dll" for one in some]),
                made_macho.dylib([f"@loader_path/{one}.dylib" for one in some]),
            )
            for kind, sample in zip(("dll", "dylib"), samples, strict=True):
                data = mutated(chance, sample) if chance.random() < 0.6 else sample
                (folder / f"{name}.{kind}").write_bytes(data)
        load = DllProcess(Windows(str(folder))).load(str(folder / "lib0.dll"))
        assert load.code in (0, 126, 193)
        assert bool(load.code) == bool(load.error)
        found = DylibProcess(root=str(tmp_path)).load(f"/{seed % 50}/lib0.dylib")
        assert bool(found.error) >= bool(found.missing)


def test_files_that_need_everything(tmp_path: Path) -> None:
    begun = time.process_time()
    (tmp_path / "a.dll").write_bytes(dll([f"lib{n}.dll" for n in range(20_000)]))
    (tmp_path / "a.dylib").write_bytes(made_macho.dylib([f"@loader_path/lib{n}.dylib" for n in range(20_000)]))
    assert len(DllProcess(Windows(str(tmp_path))).load(str(tmp_path / "a.dll")).imports) <= 4096
    assert len(DylibProcess(root=str(tmp_path)).load("/a.dylib").needs) <= 4096
    assert time.process_time() - begun < 5


def test_odd_paths(tmp_path: Path) -> None:
    (tmp_path / "fifo.dll").mkdir()
    assert read_facts(str(tmp_path / "fifo.dll")).problem
    assert read_facts("a\0b").problem
    assert DylibProcess().load("a\0b").error
    windows = Windows(str(tmp_path / "nowhere"), env={"PATH": ";;C:;\\\\host\\share;C:\\x", "CUDA_PATH": "\0"})
    assert DllProcess(windows).load_name("..\\..\\etc\\passwd").code == 126
    assert windows.local("relative") == windows.local("C:\\x") == ""
