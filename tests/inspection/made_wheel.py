"""Wheels and libraries made by hand: an ELF file with any sections, fat binaries with any targets, a wheel."""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "binaries"))

from made_elf import library

ARCH_SPECIFIC, FAMILY_SPECIFIC = 0x100000, 0x200000


def with_sections(data: bytes, sections: Mapping[str, bytes]) -> bytes:
    """The 64-bit file with a section table behind it."""
    names, headers = b"\0", [bytes(64)]
    for name, body in {**sections, ".shstrtab": b""}.items():
        at = len(names)
        names += name.encode() + b"\0"
        if name == ".shstrtab":
            body = names
        data += bytes(-len(data) % 16)
        headers.append(struct.pack("<IIQQQQIIQQ", at, 1, 0, 0, len(data), len(body), 0, 0, 1, 0))
        data += body
    data += bytes(-len(data) % 16)
    head = bytearray(data + b"".join(headers))
    struct.pack_into("<Q", head, 40, len(data))
    struct.pack_into("<HHH", head, 58, 64, len(headers), len(headers) - 1)
    return bytes(head)


def fat_binary(*targets: str) -> bytes:
    """``sm_90a``, ``compute_80@8.4`` (PTX with its ISA)."""
    entries = b""
    for target in targets:
        kind, _, rest = target.partition("_")
        number, _, isa = rest.partition("@")
        flags = {"a": ARCH_SPECIFIC, "f": FAMILY_SPECIFIC}.get(number[-1], 0)
        major, minor = map(int, (isa or "0.0").split("."))
        entries += struct.pack(
            "<HHIQQHHIIIQQQ",
            1 if kind == "compute" else 2, 0x101, 64, 16, 0, minor, major, int(number.rstrip("af")), 0, 0, flags, 0, 0,
        ) + bytes(16)  # fmt: skip
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def isa_note(level: int) -> bytes:
    """``.note.gnu.property`` with the mark that the file needs x86-64-v<level>."""
    item = struct.pack("<III4x", 0xC0008002, 4, 1 << (level - 1))
    return struct.pack("<III4s", 4, len(item), 5, b"GNU\0") + item


def made_library(*, fat: tuple[bytes, ...] = (), isa: int = 0, **options: object) -> bytes:
    """An ELF library; ``options`` as for :func:`made_elf.library`."""
    sections = {}
    if fat:
        sections[".nv_fatbin"] = b"".join(fat)
    if isa:
        sections[".note.gnu.property"] = isa_note(isa)
    data = library(**options)  # type: ignore[arg-type]
    return with_sections(data, sections) if sections else data


def made_wheel(
    folder: Path,
    name: str = "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    members: Mapping[str, bytes] | None = None,
    metadata: str = "",
    packed: bool = True,
) -> Path:
    """A wheel of that file name."""
    project, version = name.split("-")[:2]
    info = f"{project}-{version}.dist-info"
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for member, body in (members or {}).items():
            archive.writestr(zipfile.ZipInfo(member), body, archive.compression)
        head = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n{metadata}\n\nA project.\n"
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), head)
        tags = "".join(f"Tag: {tag}\n" for tag in ["-".join(name.removesuffix(".whl").split("-")[-3:])])
        archive.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), f"Wheel-Version: 1.0\n{tags}")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    return path


KERNELS = {
    "kernels/__init__.py": b"",
    "kernels/_C.cpython-311-x86_64-linux-gnu.so": made_library(
        needed=("libkernels.so", "libcudart.so.12", "libcuda.so.1", "libc10.so", "libc.so.6", "libX11.so.6"),
        runpath="$ORIGIN/lib",
        needs={"libc.so.6": ("GLIBC_2.28", "GLIBC_2.34"), "libstdc++.so.6": ("GLIBCXX_3.4.30",)},
        weak=("GLIBC_2.34",),
    ),
    "kernels/lib/libkernels.so": made_library(
        soname="libkernels.so",
        needed=("libcublas.so.12", "libc.so.6"),
        needs={"libc.so.6": ("GLIBC_2.17",)},
        fat=(fat_binary("sm_80", "sm_90a"), fat_binary("sm_80"), fat_binary("sm_75", "sm_80", "compute_80@8.4")),
        isa=3,
    ),
    "kernels/lib/notes.so": b"This is a text.\n",
}
"""A package of CUDA kernels: an extension module, and a library with GPU code beside it."""

METADATA = """Requires-Python: >=3.11
Requires-Dist: torch==2.6.0
Requires-Dist: nvidia-cublas-cu12 (>=12)
Requires-Dist: pytest; extra == 'test'"""
