"""One compiled file: what it is, what it needs, which GPU code it carries. Any bytes give an answer or a reason."""

from __future__ import annotations

from struct import error as StructError
from typing import TYPE_CHECKING

from envcheck.binaries.decisive import DECISIVE
from envcheck.binaries.elf import ElfError, ElfFile
from envcheck.binaries.fatbin import MAGIC, FatBinaries
from envcheck.binaries.macho import THIN, MachOError
from envcheck.binaries.pe import PeError
from envcheck.binaries.source import BinaryError, Source
from envcheck.inspection.model import CodeSet, CudaCode, Library, Need, Version

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

DAMAGED = (ElfError, PeError, MachOError, BinaryError, StructError)
"""What the readers raise for damaged files."""
FAMILIES = ("GLIBC", "GLIBCXX", "CXXABI")
"""Symbol versions that decide on which system a file loads."""
DT_RELR = ("GLIBC_ABI_DT_RELR", "2.36")
"""A mark among the symbol versions: relative relocations in the packed form, which glibc reads from 2.36 on."""


HEADS = (b"\x7fELF", b"MZ", MAGIC, *THIN, b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
"""First bytes of what is read: ELF, PE, bare fat binaries, Mach-O thin and universal."""


TORCH_LIBRARIES = ("libtorch.", "libtorch_", "libc10.", "libc10_")
TORCH_NAMES = DECISIVE["torchvision"].symbols
"""Beginnings of mangled names that extensions take from torch."""


CUBIN = "machine-190"
"""EM_CUDA: machine code of a GPU, by itself in an ELF file."""


def is_library(head: bytes) -> bool:
    """Do the first bytes look like one of the formats that are read?"""
    return head.startswith(HEADS)


def read_library(source: Source, path: str, matrix: Matrix) -> Library:
    """Read one file. ``path`` is how it is to be called. Raises OSError when the disk does not answer.

    Damage is told in ``problem``; what could be read stands there all the same.
    """
    found = Library(path=path, python_abi=python_abi(path))
    trouble: list[str] = []
    try:
        head = source.read(0, min(16, source.size))
    except BinaryError as problem:
        found.problem = str(problem)
        return found
    # The GPU code first: a packed file can only be read forwards, and most of a large one is GPU code.
    if not head.startswith((b"\x7fELF", b"MZ", MAGIC)):
        parts = [_macho, _version]
    elif head.startswith(MAGIC):
        found.format = "fatbin"
        parts = [_cuda]
    else:
        parts = [_cuda, _amd, _elf if head.startswith(b"\x7fELF") else _pe, _version]
    for part in parts:
        try:
            part(source, found, matrix)
        except DAMAGED as problem:
            trouble.append(str(problem) or "it is damaged")
    found.problem = "; ".join(dict.fromkeys(trouble))
    return found


def _elf(source: Source, found: Library, matrix: Matrix) -> None:
    from envcheck.binaries.cpu_level import cpu_level
    from envcheck.versions import compare_numbers

    file = ElfFile(source)
    if file.machine == CUBIN:
        found.format = "cubin"
        return
    found.format, found.system, found.arch = "elf", "Linux", [file.machine]
    found.soname = file.soname
    found.search = file.runpath or file.rpath
    found.inherited = bool(file.rpath and not file.runpath)
    found.needs = [Need(name=name, where="system") for name in file.needed]
    for versions in file.version_needs.values():
        for text, weak in versions:
            family, _, number = text.partition("_")
            if text == DT_RELR[0]:
                number = DT_RELR[1]
            if weak or family not in FAMILIES or not number[:1].isdigit():
                continue
            if family not in found.symbols or compare_numbers(number, found.symbols[family]) > 0:
                found.symbols[family] = number
    found.symbols = {family: found.symbols[family] for family in FAMILIES if family in found.symbols}
    if (level := cpu_level(file)) is not None:
        found.cpu_level = f"x86-64-v{level}"
    if extends_torch(found):
        from envcheck.binaries.mangled import new_texts
        from envcheck.binaries.symbols import Symbols

        taken = (symbol.name for symbol in Symbols(file).undefined())
        found.cxx11_abi = new_texts(name for name in taken if name.startswith(TORCH_NAMES))


def extends_torch(library: Library) -> bool:
    """Does it need torch's libraries, and is none of them itself?"""
    name = library.path.rpartition("/")[2]
    return not name.startswith(TORCH_LIBRARIES) and any(one.name.startswith(TORCH_LIBRARIES) for one in library.needs)


def _pe(source: Source, found: Library, matrix: Matrix) -> None:
    from envcheck.binaries.pe import PeFile

    file = PeFile(read=source.read, size=source.size)
    found.format, found.system, found.arch = "pe", "Windows", [file.machine]
    found.system_version = ".".join(map(str, file.subsystem))
    names = {name.lower(): name for name in (*file.imports, *file.delayed)}
    found.needs = [Need(name=name, where="system") for name in names.values()]
    if found.python_abi is None and found.path.lower().endswith(".pyd"):
        found.python_abi = next((abi for name in names if (abi := abi_of_dll(name))), None)


def _macho(source: Source, found: Library, matrix: Matrix) -> None:
    from envcheck.binaries.macho import slices

    parts = slices(read=source.read, size=source.size)
    found.format, found.system = "mach-o", "Darwin"
    found.arch = [{"arm64": "aarch64"}.get(part.machine, part.machine) for part in parts]
    found.soname = next((part.id for part in parts if part.id), None)
    least = [part.minimum for part in parts if part.minimum and part.platform == "macos"]
    if least:
        found.system_version = ".".join(map(str, min(least))).removesuffix(".0")
    found.search = list(dict.fromkeys(path for part in parts for path in part.rpaths))
    names = dict.fromkeys(name for part in parts for name in part.loads)
    found.needs = [Need(name=name, where="system") for name in names]


def _cuda(source: Source, found: Library, matrix: Matrix) -> None:
    from envcheck.binaries.fatbin import fat_binaries

    code = fat_binaries(source)
    if code.entries:
        found.cuda = cuda_code(code, matrix)


def _amd(source: Source, found: Library, matrix: Matrix) -> None:
    from envcheck.binaries.offload import amd_code

    for targets, count in amd_code(source).sets:
        for target in targets:
            found.amd_targets[target] = found.amd_targets.get(target, 0) + count


def _version(source: Source, found: Library, matrix: Matrix) -> None:
    from envcheck.binaries.library_version import library_version

    if not found.format:
        return  # its reader has said already what it is not
    told = library_version(source)
    if told is not None:
        found.version = Version(library=told.name, version=told.version, source=told.symbol)


def cuda_code(code: FatBinaries, matrix: Matrix) -> CudaCode:
    """The code of one file, condensed, with its coverage of all listed compute capabilities."""
    from envcheck.inspection.gpus import table

    sets = [
        CodeSet(targets=[str(target) for target in targets], count=count, relocatable=part is code.relocatable)
        for part in (code.linked, code.relocatable)
        for targets, count in part.sets
    ]
    return CudaCode(
        fat_binaries=(code.linked if code.linked.sets else code.relocatable).number,
        targets={str(target): count for target, count in code.entries.items()},
        sets=sets,
        coverage=table(code, matrix),
        damaged=code.damaged,
        complete=code.complete,
    )


def python_abi(path: str) -> str | None:
    """What the name of an extension module says: ``_C.cpython-311-x86_64-linux-gnu.so`` is ``cp311``.

    >>> python_abi("x/core.cp313t-win_amd64.pyd"), python_abi("_imaging.abi3.so"), python_abi("libtorch.so")
    ('cp313t', 'abi3', None)
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    for part in name.split(".")[1:]:
        if part == "abi3":
            return part
        first, _, rest = part.partition("-")
        number = rest.partition("-")[0]
        if first == "cpython" and number.rstrip("tdmu").isdigit():
            return f"cp{number}"
        if first.startswith("pypy"):
            return f"pp{first[4:]}" if first[4:].isdigit() else first
        if first.startswith("cp") and first[2:].rstrip("td").isdigit():
            return first
    return None


def abi_of_dll(name: str) -> str | None:
    """``python311.dll`` is cp311, ``python3.dll`` the stable ABI.

    >>> abi_of_dll("python313t.dll"), abi_of_dll("PYTHON3.DLL"), abi_of_dll("kernel32.dll")
    ('cp313t', 'abi3', None)
    """
    name = name.lower()
    digits = name[6:-4] if name.startswith("python") and name.endswith(".dll") else ""
    if not digits.removesuffix("t").isdigit():
        return None
    return "abi3" if digits == "3" else f"cp{digits}"
