"""Versions of NVIDIA libraries from their bytes, where file names and sonames name the major alone.

    library_version("libnccl.so.2")        # LibraryVersion("nccl", "2.32.3", "ncclGetVersion")

Nothing is executed and nothing searched: each library has a symbol that holds or returns its version. cuDNN's parts
export it as a number; the others have a function that returns a constant, which stands in its first instructions, or
in those of a function that it calls (cudart). x86-64 and AArch64. Reads some KB whatever the size of the file.

``libcublas`` and cuDNN's front ``libcudnn.so`` (8 and 9) ask another library when they run and so have no version of
their own: ask ``libcublasLt``, and ``libcudnn_graph`` (9), ``libcudnn_ops`` (9) or ``libcudnn_ops_infer`` (8).

Of a Windows DLL its version resource is asked, of a library of macOS the version that it was linked with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import unpack, unpack_from
from typing import NamedTuple

from envcheck.binaries.elf import ElfError, ElfFile
from envcheck.binaries.macho import THIN, MachOError
from envcheck.binaries.pe import PeError
from envcheck.binaries.source import BinaryError, Source, source

DT_HASH, DT_SYMTAB, DT_GNU_HASH = 4, 6, 0x6FFFFEF5
FAT = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
DYLIBS = (("libonnxruntime.", "onnxruntime"), ("libomp.", "omp"), ("libiomp5.", "iomp5"))
MAX_CHAIN = 1 << 12
MAX_FUNCTION, MAX_CALLED, MAX_CALLS = 1 << 10, 64, 32
"""Bytes of a function that are read, of one that it calls, and how many of those."""


class LibraryVersion(NamedTuple):
    """What a library is and which version."""

    name: str
    """``cudnn``, ``nccl``, ``nvrtc``, ``cudart``, ``cublas``, ``cusparselt`` or ``tensorrt``; of Windows and macOS also
    ``cufft``, ``curand``, ``cusolver``, ``cusparse``, ``nvjitlink``, ``nvjpeg``, ``cupti``, ``onnxruntime``."""
    version: str
    """``9.28.0``; of CUDA's own cudart and NVRTC the release, ``12.9``."""
    symbol: str
    """Where it was read."""


def library_version(file: str | bytes | bytearray | memoryview | Source) -> LibraryVersion | None:
    """None: not one of these libraries, or its version is not where it is expected.

    Raises OSError when a path cannot be opened, :class:`BinaryError` when it is no library or damaged.
    """
    reader = source(file)
    try:
        head = reader.read(0, min(4, reader.size))
        if head.startswith(b"MZ"):
            return _of_dll(reader)
        if head in THIN or head in FAT:
            return _of_dylib(reader)
        return _version(ElfFile(reader))
    except (ElfError, PeError, MachOError) as error:
        raise BinaryError(str(error)) from error
    finally:
        if isinstance(file, str):
            reader.close()


def _of_dll(reader: Source) -> LibraryVersion | None:
    from envcheck.binaries.pe import PeFile
    from envcheck.binaries.pe_version import library_of_dll

    told = library_of_dll(PeFile(read=reader.read, size=reader.size))
    return LibraryVersion(*told) if told else None


def _of_dylib(reader: Source) -> LibraryVersion | None:
    from envcheck.binaries.macho import slices

    for part in slices(read=reader.read, size=reader.size):
        name = (part.id or "").rpartition("/")[2]
        library = next((library for start, library in DYLIBS if name.startswith(start)), None)
        if library and part.current and any(part.current):
            return LibraryVersion(library, ".".join(map(str, part.current)), "LC_ID_DYLIB")
    return None


def _version(elf: ElfFile) -> LibraryVersion | None:
    if elf.bits != 64 or not elf.little:
        return None
    name = (elf.soname or "").partition(".so")[0]
    for prefix, library, symbols, read in KNOWN:
        if not name.startswith(prefix):
            continue
        for symbol in symbols:
            place = _find(elf, symbol)
            if place and (version := read(elf, *place)):
                return LibraryVersion(library, version, symbol)
    return None


# Numbers as each library writes them


def _cudnn(elf: ElfFile, at: int, size: int) -> str | None:
    """A constant of four bytes: major, minor, patch (0x091C00 is 9.28.0)."""
    value = unpack("<I", _bytes(elf, at, 4))[0]
    major, minor, patch = value >> 16, value >> 8 & 255, value & 255
    return f"{major}.{minor}.{patch}" if 7 <= major <= 99 else None


def _cudnn_whole(elf: ElfFile, at: int, size: int) -> str | None:
    """Up to cuDNN 7 one library, whose function returns 7605 for 7.6.5; later ones ask their parts."""
    value = _one(elf, at, min(size or 32, 32), lambda value: 4000 <= value < 8000)
    return _dotted(value, 1000) if value else None


def _nccl(elf: ElfFile, at: int, size: int) -> str | None:
    """Up to 2.8: 2804 is 2.8.4; from 2.9 on: 23203 is 2.32.3 (``NCCL_VERSION`` in nccl.h)."""
    value = _one(elf, at, size, lambda value: 2000 <= value < 3000 or 20000 < value < 90000)
    if value is None:
        return None
    return _dotted(value, 1000) if value < 3000 else _dotted(value, 10000)


def _cudart(elf: ElfFile, at: int, size: int) -> str | None:
    """12090 is 12.9 (``CUDART_VERSION``)."""
    value = _one(elf, at, size, lambda value: 5000 <= value < 40000 and value % 10 == 0, called=True)
    return f"{value // 1000}.{value % 1000 // 10}" if value else None


def _cublas(elf: ElfFile, at: int, size: int) -> str | None:
    """120903 is 12.9.3 (``CUBLAS_VERSION``); 10.x of CUDA 10.1 and 10.2 had other numbers and is not read."""
    value = _one(elf, at, size, lambda value: 110000 <= value < 400000)
    return _dotted(value, 10000) if value else None


def _cusparselt(elf: ElfFile, at: int, size: int) -> str | None:
    """801 is 0.8.1 (``CUSPARSELT_VERSION``)."""
    value = _one(elf, at, size, lambda value: 100 <= value < 3000, stored=True)
    return _dotted(value, 1000) if value else None


def _nvrtc(elf: ElfFile, at: int, size: int) -> str | None:
    """Two constants: major, minor."""
    values = [value for value, _ in _constants(elf, _bytes(elf, at, min(size or 64, 64)), stored=True)]
    return f"{values[0]}.{values[1]}" if len(values) >= 2 and 7 <= values[0] < 99 and values[1] < 99 else None


def _tensorrt(elf: ElfFile, at: int, size: int) -> str | None:
    """Up to 8: 8601 is 8.6.1; from 10 on: 110400 is 11.4.0 (``NV_TENSORRT_VERSION``)."""
    value = _one(elf, at, min(size or 16, 32), lambda value: 5000 <= value < 10000 or 100000 <= value < 400000)
    if value is None:
        return None
    return _dotted(value, 1000) if value < 10000 else _dotted(value, 10000)


def _dotted(value: int, unit: int) -> str:
    """Major, minor of two digits (of one, where the unit is 1000), patch."""
    minor, patch = divmod(value % unit, 100)
    return f"{value // unit}.{minor}.{patch}"


KNOWN: tuple[tuple[str, str, tuple[str, ...], Callable[[ElfFile, int, int], str | None]], ...] = (
    ("libcudnn_graph", "cudnn", ("cudnn_graph_version",), _cudnn),
    ("libcudnn_ops", "cudnn", ("cudnn_ops_infer_version", "cudnn_ops_train_version", "cudnn_ops_version"), _cudnn),
    ("libcudnn_cnn", "cudnn", ("cudnn_cnn_infer_version", "cudnn_cnn_train_version", "cudnn_cnn_version"), _cudnn),
    ("libcudnn_adv", "cudnn", ("cudnn_adv_infer_version", "cudnn_adv_train_version", "cudnn_adv_version"), _cudnn),
    ("libcudnn", "cudnn", ("cudnnGetVersion",), _cudnn_whole),
    ("libnccl", "nccl", ("ncclGetVersion",), _nccl),
    ("libcudart", "cudart", ("cudaRuntimeGetVersion",), _cudart),
    ("libnvrtc", "nvrtc", ("nvrtcVersion",), _nvrtc),
    ("libcublasLt", "cublas", ("cublasLtGetVersion",), _cublas),
    ("libcusparseLt", "cusparselt", ("cusparseLtGetVersion",), _cusparselt),
    ("libnvinfer", "tensorrt", ("getInferLibVersion",), _tensorrt),
)
"""(soname begins with, library, symbols, how to read them)"""


# Constants in machine code


def _one(
    elf: ElfFile, at: int, size: int, fits: Callable[[int], bool], stored: bool = False, called: bool = False
) -> int | None:
    """The only fitting constant of a function; None when there are several, or none."""
    code = _bytes(elf, at, min(size or 256, MAX_FUNCTION))
    found = {value for value, _ in _constants(elf, code, stored) if fits(value)}
    if called and not found:
        for target in _calls(elf, code, at):
            body = _bytes(elf, target, MAX_CALLED)
            found.update(value for value, to in _constants(elf, body, True) if fits(value) and to)
    return found.pop() if len(found) == 1 else None


def _constants(elf: ElfFile, code: bytes, stored: bool = False) -> Iterator[tuple[int, bool]]:
    """Constants of 32 bits in the instructions: (value, it is written to where an argument points).

    ``stored``: only such as are written to memory through a register without offset.
    """
    if elf.machine == "aarch64":
        yield from _aarch64(code, stored)
        return
    for at in range(len(code) - 5):
        first, second = code[at], code[at + 1]
        if first == 0xC7 and second < 8 and second not in (4, 5):  # mov dword [register], constant
            yield unpack_from("<I", code, at + 2)[0], True
        elif first == 0xC7 and second & 0xF8 == 0x40 and second != 0x44 and at + 7 <= len(code):  # [register + byte]
            if not stored or code[at + 2] == 0:
                yield unpack_from("<I", code, at + 3)[0], code[at + 2] == 0
        elif 0xB8 <= first <= 0xBF and not stored:  # mov register, constant
            yield unpack_from("<I", code, at + 1)[0], False


def _aarch64(code: bytes, stored: bool) -> Iterator[tuple[int, bool]]:
    registers: dict[int, int] = {}
    for at in range(0, len(code) - 3, 4):
        word = unpack_from("<I", code, at)[0]
        register, constant, shift = word & 31, word >> 5 & 0xFFFF, (word >> 21 & 1) * 16
        if word & 0xFFC00000 == 0x52800000:  # movz
            registers[register] = constant << shift
        elif word & 0xFFC00000 == 0x72800000 and register in registers:  # movk
            registers[register] = registers[register] & ~(0xFFFF << shift) | constant << shift
        elif word & 0xFFFFFC00 & ~(31 << 5) == 0xB9000000 and register in registers:  # str, no offset
            yield registers[register], True
            continue
        else:
            continue
        following = unpack_from("<I", code, at + 4)[0] if at + 8 <= len(code) else 0
        if not stored and following & 0xFFC0001F != 0x72800000 | register:
            yield registers[register], False


def _calls(elf: ElfFile, code: bytes, address: int) -> list[int]:
    """Addresses of functions that the code calls directly."""
    found = []
    if elf.machine == "aarch64":
        for at in range(0, len(code) - 3, 4):
            word = unpack_from("<I", code, at)[0]
            if word >> 26 == 0x25:
                found.append(address + at + (((word & 0x3FFFFFF) ^ 0x2000000) - 0x2000000) * 4)
    else:
        places = (at for at in range(len(code) - 4) if code[at] == 0xE8)
        found += [address + at + 5 + unpack_from("<i", code, at + 1)[0] for at in places]
    return found[:MAX_CALLS]


# Symbols


def _find(elf: ElfFile, name: str) -> tuple[int, int] | None:
    """Address and size of a symbol that the file defines, by its hash table."""
    table, symbols = elf.value(DT_GNU_HASH), elf.value(DT_SYMTAB)
    if symbols is None:
        return None
    chain = _gnu_chain(elf, elf.offset(table), name) if table is not None else _old_chain(elf, name)
    start = elf.offset(symbols)
    for index in chain:
        text, _, _, section, address, size = unpack("<IBBHQQ", _raw(elf, start + index * 24, 24))
        if section and elf.name(text) == name:
            return address, size
    return None


def _gnu_chain(elf: ElfFile, at: int, name: str) -> Iterator[int]:
    """Numbers of the symbols that may have the name: DT_GNU_HASH."""
    count, first, bloom, _ = unpack("<IIII", _raw(elf, at, 16))
    wanted = 5381
    for byte in name.encode():
        wanted = (wanted * 33 + byte) & 0xFFFFFFFF
    buckets = at + 16 + 8 * bloom
    index = unpack("<I", _raw(elf, buckets + wanted % count * 4, 4))[0] if count else 0
    for number in range(index, index + MAX_CHAIN if index >= first else index):
        own = unpack("<I", _raw(elf, buckets + 4 * (count + number - first), 4))[0]
        if own | 1 == wanted | 1:
            yield number
        if own & 1:
            return


def _old_chain(elf: ElfFile, name: str) -> Iterator[int]:
    """The same by DT_HASH, which older libraries have alone."""
    table = elf.value(DT_HASH)
    if table is None:
        return
    at = elf.offset(table)
    count = unpack("<I", _raw(elf, at, 4))[0]
    wanted = 0
    for byte in name.encode():
        wanted = (wanted << 4) + byte
        wanted = (wanted ^ (wanted & 0xF0000000) >> 24) & 0x0FFFFFFF
    place = at + 8 + wanted % count * 4 if count else 0
    for _ in range(MAX_CHAIN):
        number = unpack("<I", _raw(elf, place, 4))[0] if place else 0
        if not number:
            return
        yield number
        place = at + 8 + 4 * (count + number)


def _raw(elf: ElfFile, at: int, size: int) -> bytes:
    if elf.data is None or at < 0 or at + size > elf.size:
        raise ElfError("the file ends before a table that it names")
    return bytes(elf.data[at : at + size])


def _bytes(elf: ElfFile, address: int, size: int) -> bytes:
    """Up to ``size`` bytes at an address; zeros for an address outside."""
    try:
        at = elf.offset(address)
    except ElfError:
        return bytes(min(size, 4))
    found = _raw(elf, at, min(size, elf.size - at))
    return found if len(found) >= 4 else found.ljust(4, b"\0")
