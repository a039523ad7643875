"""CUDA fat binaries: what nvcc wrote, hand-made old ones, PE files, members of wheels, damage, coverage."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from envcheck.binaries.archive import Archive, is_archive
from envcheck.binaries.coverage import Coverage, coverage, serves
from envcheck.binaries.fatbin import MAGIC, FatBinaries, Target, fat_binaries
from envcheck.binaries.source import BinaryError, Buffer, File, Inflated, Part

DATA = Path(__file__).parent / "data"
SUFFIXES = [
    "compute_80 (PTX 9.5)",
    "compute_90a (PTX 9.5)",
    "compute_100f (PTX 9.5)",
    "compute_121 (PTX 9.5)",
    "sm_75",
    "sm_80",
    "sm_90a",
    "sm_100f",
    "sm_103a",
    "sm_120f",
]


def entry(
    kind: int, number: int, payload: bytes = b"\x7fELF", major: int = 1, minor: int = 7, flags: int = 0x11
) -> bytes:
    """An entry as nvcc of CUDA 5 to 13 writes it."""
    payload += bytes(-len(payload) % 8)
    return (
        struct.pack("<HHIQIIHHIIIQQQ", kind, 0x101, 64, len(payload), 0, 0, minor, major, number, 64, 0, flags, 0, 0)
        + payload
    )


def fat_binary(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return MAGIC + struct.pack("<HQ", 16, len(body)) + body


def pe(sections: dict[str, bytes]) -> bytes:
    """A Windows library with nothing but sections, each padded to 512 bytes."""
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, 240, 0x2022) + bytes(240)
    table, body, at = b"", b"", 1024
    for name, data in sections.items():
        padded = data + bytes(-len(data) % 512)
        table += struct.pack("<8sIIII", name.encode()[:8], len(data), 0x1000, len(padded), at) + bytes(16)
        body, at = body + padded, at + len(padded)
    return (head + table).ljust(1024, b"\0") + body


def elf(sections: dict[str, bytes]) -> bytes:
    """An ELF object with nothing but sections; its headers at the end, as linkers put them."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in sections) + b".shstrtab\0"
    headers, body = [bytes(64)], b""
    for name, data in [*sections.items(), (".shstrtab", names)]:
        body += bytes(-len(body) % 16)
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        headers.append(struct.pack("<IIQQQQIIQQ", at, 1, 2, 0, 64 + len(body), len(data), 0, 0, 8, 0))
        body += data
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    numbers = (3, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(headers), len(headers) - 1)
    return ident + struct.pack("<HHIQQQIHHHHHH", *numbers) + body + b"".join(headers)


def wheel(members: dict[str, bytes], method: int) -> Archive:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return Archive(Buffer(out.getvalue()))


def names(found: FatBinaries) -> list[str]:
    return [str(target) for target in found.targets]


@pytest.mark.parametrize("name", ["suffixes.so", "suffixes-zstd.fatbin", "concatenated.fatbin"])
def test_every_suffix_that_nvcc_makes(name: str) -> None:
    found = fat_binaries(str(DATA / name))
    assert names(found) == SUFFIXES
    assert (found.linked.number, found.relocatable.number, found.damaged, found.complete) == (1, 0, 0, True)
    assert set(found.entries.values()) == {1}


def test_lto_and_separable_compilation() -> None:
    assert names(fat_binaries(str(DATA / "lto.fatbin"))) == ["lto_80", "lto_90", "compute_90 (PTX 9.5)"]
    found = fat_binaries(str(DATA / "separable.so"))
    assert (found.linked.number, found.relocatable.number) == (0, 1)
    assert names(found) == ["compute_90 (PTX 9.5)", "sm_80", "sm_90"]


def old() -> bytes:
    """As CUDA 8 made them (sm_20 to PTX 5.0), with the padding between fat binaries that linkers leave."""
    one = fat_binary(entry(2, 20), entry(2, 35), entry(1, 35, b"// PTX", 5, 0))
    return one + bytes(24) + one + fat_binary(entry(2, 61)) + bytes(100)


@pytest.mark.parametrize("place", ["elf", "pe", "bare"])
def test_old_and_padded(place: str) -> None:
    file = {
        "elf": elf({".text": b"x", ".nv_fatbin": old()}),
        "pe": pe({".text": b"x", ".nv_fatb": old()}),
        "bare": old(),
    }
    found = fat_binaries(file[place])
    ptx = Target("ptx", (3, 5), "", (5, 0))
    assert found.linked.sets == (
        ((ptx, Target("sass", (2, 0)), Target("sass", (3, 5))), 2),
        ((Target("sass", (6, 1)),), 1),
    )
    assert found.entries == {ptx: 2, Target("sass", (2, 0)): 2, Target("sass", (3, 5)): 2, Target("sass", (6, 1)): 1}
    assert (found.damaged, found.complete) == (0, True)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_inside_a_wheel(method: int) -> None:
    noise = bytes(range(256)) * 40_000  # large enough to be read ahead of its section headers
    library = elf({".data": noise + MAGIC + noise, ".nv_fatbin": old(), "__nv_relfatbin": fat_binary(entry(2, 75))})
    archive = wheel({"pkg/_C.so": library, "pkg/_C.pyd": pe({".nv_fatb": old()}), "pkg/none.so": elf({})}, method)
    member = archive.open("pkg/_C.so")
    assert isinstance(member, Part if method == zipfile.ZIP_STORED else Inflated)
    assert fat_binaries(member) == fat_binaries(library)
    assert fat_binaries(archive.open("pkg/_C.pyd")) == fat_binaries(pe({".nv_fatb": old()}))
    assert not fat_binaries(archive.open("pkg/none.so")).targets
    with pytest.raises(KeyError):
        archive.open("pkg/other.so")


def test_a_packed_member_reads_anywhere() -> None:
    data = b"".join(index.to_bytes(4, "big") for index in range(3_000_000))
    member = wheel({"x": data}, zipfile.ZIP_DEFLATED).open("x")
    for at in (11_999_000, 0, 4, 6_000_000, 5_999_990, 100, 11_999_990, 8_388_607):
        assert member.read(at, 10) == data[at : at + 10]
    assert member[1_000_000:3_000_000] == data[1_000_000:3_000_000]
    assert member.find(b"\x00\x20\x00\x00", 1, len(data)) == data.find(b"\x00\x20\x00\x00", 1)
    assert member.find(b"never in there", 0, len(data)) == -1
    with pytest.raises(BinaryError):
        member.read(len(data) - 1, 2)


def test_damaged_archives() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(range(256)) * 4000)
    good = out.getvalue()
    assert is_archive(Buffer(good))
    for bad in (b"", b"PK", good[:-30], b"PK\3\4" + bytes(100), good[:40] + b"\xff" * 40 + good[80:]):
        with pytest.raises(BinaryError):
            Archive(Buffer(bad)).open("x").read(0, 1000_000)


def test_a_fat_binary_that_is_cut_off() -> None:
    whole = fat_binary(entry(2, 80), entry(2, 90))
    found = fat_binaries(elf({".nv_fatbin": whole[:-8]}))
    assert names(found) == ["sm_80"]
    assert found.damaged == 1
    huge = MAGIC + struct.pack("<HQ", 16, 2**63) + entry(2, 80)
    found = fat_binaries(elf({".nv_fatbin": huge + whole}))
    assert found.entries == {Target("sass", (8, 0)): 2, Target("sass", (9, 0)): 1}
    assert (found.damaged, found.linked.number) == (1, 2)


def test_what_is_no_fat_binary_is_passed_over() -> None:
    found = fat_binaries(elf({".nv_fatbin": b"\x01" * 5000 + old()}))
    assert found.linked.number == 3
    assert not fat_binaries(elf({".nv_fatbin": bytes(5000)})).entries
    assert names(fat_binaries(elf({".nv_fatbin": fat_binary(entry(77, 80))}))) == ["kind-77_80"]


def test_files_of_another_kind(tmp_path: Path) -> None:
    for data in (b"", b"MZ", b"\x7fELF", b"#!/bin/sh\n", b"MZ" + bytes(58) + b"\xff" * 4):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(BinaryError):
            fat_binaries(str(tmp_path / "x"))
    with pytest.raises(BinaryError):
        File(str(tmp_path))
    with pytest.raises(OSError, match="missing"):
        fat_binaries(str(tmp_path / "missing"))


SASS_86, PTX_80 = Target("sass", (8, 6)), Target("ptx", (8, 0), "", (7, 8))


@pytest.mark.parametrize(
    ("targets", "sm", "isa", "answer"),
    [
        ([SASS_86], (8, 6), None, "sass"),
        ([SASS_86], (8, 9), None, "sass"),
        ([SASS_86], (8, 0), None, "none"),
        ([SASS_86], (9, 0), None, "none"),
        ([SASS_86, PTX_80], (9, 0), None, "ptx"),
        ([SASS_86, PTX_80], (9, 0), (7, 8), "ptx"),
        ([SASS_86, PTX_80], (9, 0), (7, 7), "ptx-too-new"),
        ([SASS_86, PTX_80], (7, 5), None, "none"),
        ([Target("sass", (9, 0), "a")], (9, 0), None, "sass"),
        ([Target("ptx", (9, 0), "a", (8, 0))], (10, 0), None, "none"),
        ([Target("sass", (10, 0), "f")], (10, 3), None, "sass"),
        ([Target("sass", (10, 0), "a")], (10, 3), None, "none"),
        ([Target("sass", (10, 0))], (12, 0), None, "none"),
        ([Target("ptx", (10, 0), "f", (8, 8))], (12, 0), None, "none"),
        ([Target("lto", (8, 0))], (8, 0), None, "lto"),
        ([Target("lto", (8, 0)), SASS_86], (8, 0), None, "none"),
    ],
)
def test_the_rule_for_one_fat_binary(
    targets: list[Target], sm: tuple[int, int], isa: tuple[int, int] | None, answer: str
) -> None:
    assert serves(targets, sm, isa) == answer


def test_coverage_counts_fat_binaries() -> None:
    both = fat_binary(entry(2, 80), entry(1, 80, b"", 7, 8))
    hopper = fat_binary(entry(2, 90, flags=0x100011))
    found = fat_binaries(elf({".nv_fatbin": both * 3 + hopper + fat_binary(entry(8, 80))}))
    assert coverage(found, (8, 6)) == Coverage(4, 3, 0, 0, 1)
    assert coverage(found, (9, 0)) == Coverage(4, 1, 3, 0, 0)
    assert coverage(found, (9, 0), (7, 0)) == Coverage(4, 1, 0, 3, 0)
    assert coverage(found, (7, 5)).share == 0
    assert coverage(fat_binaries(elf({})), (7, 5)).share == 1


def test_coverage_of_separable_compilation() -> None:
    linked, part = fat_binary(entry(2, 80)), fat_binary(entry(2, 80), entry(1, 80, b"", 7, 8))
    found = fat_binaries(elf({"__nv_relfatbin": part * 2, ".nv_fatbin": linked}))
    assert coverage(found, (8, 0)) == Coverage(1, 1, 0, 0, 0)
    assert coverage(found, (9, 0)) == Coverage(1, 0, 1, 0, 0)  # the PTX of the parts is linked again
    assert coverage(found, (7, 0)) == Coverage(1, 0, 0, 0, 1)
