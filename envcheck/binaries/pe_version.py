"""Version resource of a Windows DLL: what its maker wrote into the file, and what that says of NVIDIA's libraries.

    library_of_dll(PeFile(data))        # LibraryVersion("cudart", "12.9", "version resource")

Layout: Microsoft, "PE Format" (.rsrc) and "VS_VERSIONINFO". Any bytes may come in: what is damaged raises
:class:`~envcheck.binaries.pe.PeError`, nothing else; sizes and counts are bounded.

NVIDIA writes it in two ways, seen in wheels of November 2026. The libraries of CUDA have the number 6.14.11.N, which
is no version, and say it in words: "NVIDIA CUDA Runtime, Version 12.9.79" (cudart; N is 12090), "NVIDIA CUDA NVJPEG
Library, Version 12.4.0.76". cuDNN 9 (9.10.2.21) and CUPTI (2025.2.1.0) have their version as the number itself. That of
onnxruntime is no version before 1.31 (1.23.2 has 1.23.25.1021 and "1.23.20251021": the date), so its text is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from
from typing import NamedTuple

from envcheck.binaries.pe import PeError, PeFile

RESOURCES, RT_VERSION = 2, 16
SIGNATURE = 0xFEEF04BD
MAX_ENTRIES, MAX_RESOURCE, MAX_NODES = 4096, 1 << 16, 512
DISPLAY = (6, 14, 11)
"""What the libraries of CUDA have in place of a version."""

Quad = tuple[int, int, int, int]


class FileVersion(NamedTuple):
    """A version resource."""

    file: Quad
    product: Quad
    texts: dict[str, str]
    """``FileDescription``, ``ProductName``, ``OriginalFilename`` ... of its first language."""


class DllVersion(NamedTuple):
    """What a library is and which version."""

    name: str
    version: str
    source: str


DLLS = (
    ("cudnn", "cudnn", 3),
    ("cudart", "cudart", 2),
    ("nvrtc64", "nvrtc", 2),
    ("cublas", "cublas", 3),
    ("cufft", "cufft", 3),
    ("curand", "curand", 3),
    ("cusolver", "cusolver", 3),
    ("cusparselt", "cusparselt", 3),
    ("cusparse", "cusparse", 3),
    ("nvjitlink", "nvjitlink", 3),
    ("nvjpeg", "nvjpeg", 3),
    ("cupti64", "cupti", 3),
    ("nvinfer", "tensorrt", 3),
    ("onnxruntime.", "onnxruntime", 3),
    ("directml.", "directml", 3),
)
"""Beginning of the file's name, library, numbers of its version; of cudart and NVRTC the release of CUDA.

Seen: cuDNN, cudart, nvJPEG, CUPTI, onnxruntime. The others are taken to follow one of the two ways; where they do not,
their major number will rarely fit their name, and nothing is told."""


def file_version(file: PeFile) -> FileVersion | None:
    """The version resource; None: the file has none."""
    data = _resource(file, RT_VERSION)
    if data is None:
        return None
    children, key, value = _node(data, 0, len(data))
    if key != "VS_VERSION_INFO" or len(value) < 52 or unpack_from("<I", value)[0] != SIGNATURE:
        raise PeError("the version resource is damaged")
    numbers = [part for number in unpack_from("<4I", value, 8) for part in (number >> 16, number & 0xFFFF)]
    one, two, three, four, *product = numbers
    texts: dict[str, str] = {}
    budget = iter(range(MAX_NODES))
    for below, name, _ in _nodes(data, *children, budget):
        if name != "StringFileInfo":
            continue
        for language, _, _ in _nodes(data, *below, budget):
            for _, text, value in _nodes(data, *language, budget):
                texts.setdefault(text, _text(value))
            break
    return FileVersion((one, two, three, four), (product[0], product[1], product[2], product[3]), texts)


def library_of_dll(file: PeFile) -> DllVersion | None:
    """Which library of those in :data:`DLLS` the file is and its version; None: neither can be told.

    The file's own name (of its export table, or its resource) decides what it is. A version whose major number
    contradicts that name (``cudnn64_9.dll`` says 9) is not believed.
    """
    told = file_version(file)
    if told is None:
        return None
    name = (file.name or told.texts.get("OriginalFilename", "")).strip().lower()
    for start, library, count in DLLS:
        if name.startswith(start):
            numbers = _stated(told, release=count == 2)
            major = major_of_name(name)
            if not numbers or (major is not None and major != numbers[0]):
                return None
            return DllVersion(library, ".".join(map(str, numbers[:count])), "version resource")
    return None


def major_of_name(name: str) -> int | None:
    """The major version that a DLL's name states; None: it states none.

    >>> [major_of_name(name) for name in ("cudnn64_9.dll", "cudart64_110.dll", "nvrtc64_120_0.dll", "cusparseLt.dll")]
    [9, 11, 12, None]
    """
    stem = name.lower().rpartition(".")[0] or name.lower()
    digits = stem.partition("_")[2].partition("_")[0].partition(".")[0]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 4:
        return None
    number = int(digits)
    # Up to CUDA 11 the minor number stands in the name too: cudart64_101, cublas64_100, cudart64_90.
    return number // 10 if 60 <= number < 200 else number


def _stated(told: FileVersion, release: bool) -> tuple[int, ...]:
    """The numbers of the version, wherever they stand; empty: nowhere. ``release``: that of CUDA is wanted."""
    if told.texts.get("FileDescription") == "ONNX Runtime":
        return _before_date(told.texts.get("ProductVersion", ""))
    words = told.texts.get("FileDescription", "").partition(", Version ")[2].split()
    if words:
        parts = words[0].split(".")
        if 2 <= len(parts) <= 4 and all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
            return tuple(map(int, parts))
    if told.file[:3] == DISPLAY:
        number = told.file[3]
        return (number // 1000, number % 1000 // 10) if release and 5000 <= number < 40000 else ()
    return told.file if any(told.file) else ()


def _before_date(text: str) -> tuple[int, ...]:
    """``1.31.1.20261023.3.6af1a93`` is 1.31.1, ``1.23.20251021.3.a83fc4d`` 1.23."""
    numbers = []
    for part in text.split("."):
        if not part.isascii() or not part.isdigit() or len(part) >= 8:
            break
        numbers.append(int(part))
    return tuple(numbers[:3]) if len(numbers) >= 2 else ()


def _resource(file: PeFile, kind: int) -> bytes | None:
    """The data of the first resource of this kind, in its first language."""
    place = file.directory(RESOURCES)
    if place is None:
        return None
    root = at = file.offset(place[0])
    for wanted in (kind, None, None):
        named, numbered = unpack_from("<HH", file.bytes(at + 12, 4))
        for index in range(min(named + numbered, MAX_ENTRIES)):
            number, target = unpack_from("<II", file.bytes(at + 16 + index * 8, 8))
            if wanted is None or number == wanted:
                break
        else:
            return None
        at = root + (target & 0x7FFFFFFF)
        if not target >> 31:
            break
    if target >> 31:
        raise PeError("the resources are nested too deeply")
    address, size = unpack_from("<II", file.bytes(at, 8))
    if size > MAX_RESOURCE:
        raise PeError("the version resource is too large")
    return file.bytes(file.offset(address), size)


def _node(data: bytes, at: int, end: int) -> tuple[tuple[int, int], str, bytes]:
    """(where its children lie, key, value) of the node at ``at``."""
    if at + 6 > end:
        raise PeError("the version resource ends too early")
    length, size, text = unpack_from("<HHH", data, at)
    stop = at + length
    if length < 6 or stop > end:
        raise PeError("the version resource has a part of an impossible size")
    begin = at + 6
    close = begin
    while close + 2 <= stop and data[close : close + 2] != b"\0\0":
        close += 2
    key = data[begin:close].decode("utf-16-le", "replace")
    start = min(close + 2 + 3 & ~3, stop)
    # Some compilers count the bytes of a text, others its characters: up to its end it goes anyway.
    value = data[start:stop] if text else data[start : min(start + size, stop)]
    below = min(start + size * (2 if text else 1) + 3 & ~3, stop)
    return (below, stop), key, value


def _nodes(data: bytes, at: int, end: int, budget: Iterator[int]) -> Iterator[tuple[tuple[int, int], str, bytes]]:
    while at + 6 <= end and next(budget, None) is not None:
        length = unpack_from("<H", data, at)[0]
        if not length:
            return
        yield _node(data, at, end)
        at = at + length + 3 & ~3


def _text(value: bytes) -> str:
    return value.decode("utf-16-le", "replace").partition("\0")[0].strip()
