"""What kind of model a file is: by its content first, by the ending of its name second. Standard library only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from envcheck.smoke_tests.models import ModelError

if TYPE_CHECKING:
    from zipfile import ZipFile

LEGACY_TORCH = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""After the two bytes of the pickle protocol: the magic number of torch.save before torch 1.6."""
MOST_TIMES = 8
"""An archive may be larger when it is unpacked: weights are hardly compressed by anything."""
MOST_ENTRIES = 200_000
"""Files in an archive that are looked at."""

BACKENDS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "openvino"),
    "ort": ("onnxruntime",),
    "pt2": ("torch",),
    "torchscript": ("torch",),
    "pickled": ("torch",),
    "safetensors": ("torch", "safetensors"),
    "plan": ("tensorrt",),
}
"""Kind -> backends that run it, the first that is installed is taken."""

ENDINGS = {
    ".onnx": "onnx",
    ".ort": "ort",
    ".pt2": "pt2",
    ".ts": "torchscript",
    ".torchscript": "torchscript",
    ".pt": "pickled",
    ".pth": "pickled",
    ".ckpt": "pickled",
    ".bin": "pickled",
    ".safetensors": "safetensors",
    ".plan": "plan",
    ".engine": "plan",
    ".trt": "plan",
}

CALLED = {
    "onnx": "ONNX model",
    "ort": "ORT model",
    "pt2": "exported program (.pt2)",
    "torchscript": "TorchScript file",
    "pickled": "file of torch.save",
    "safetensors": "safetensors file",
    "plan": "TensorRT engine",
}

_OTHERS = (
    (b"\x89HDF\r\n", "an HDF5 file (Keras)"),
    (b"GGUF", "a GGUF file (llama.cpp)"),
    (b"\x7fELF", "a program or library, not a model"),
    (b"version https://git-lfs", "a pointer of Git LFS: the file itself was not fetched (git lfs pull)"),
    (b"<!DOCTYPE", "a web page: the download went wrong"),
    (b"<html", "a web page: the download went wrong"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"\x93NUMPY", "an array of NumPy"),
)


class File(NamedTuple):
    """A model file. ``kind`` is a key of :data:`BACKENDS`."""

    path: str
    name: str
    kind: str
    size: int
    """Bytes of the file, of what it holds when it is a compressed archive, and of the files that it refers to."""


def sniff(path: str) -> File:
    """What the file is. Raises :class:`ModelError` when it is nothing that can be run."""
    name = os.path.basename(path)
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ModelError(f"{name} can't be read: {error.strerror or error}") from None
    if not head:
        raise ModelError(f"{name} is empty")
    by_ending = ENDINGS.get(os.path.splitext(name)[1].lower(), "")
    kind = _by_content(path, name, head, by_ending)
    if head.startswith(b"PK"):
        unpacked = _unpacked(path, name)
        if unpacked > size * MOST_TIMES + (64 << 20):
            raise ModelError(f"{name} unpacks to {unpacked >> 20} MiB from {size >> 20} MiB: no model does that")
        size = max(size, unpacked)
    return File(path, name, kind, size)


def _by_content(path: str, name: str, head: bytes, by_ending: str) -> str:
    if head.startswith(b"PK"):
        return _archive(path, name)
    for start, what in _OTHERS:
        if head.startswith(start):
            raise ModelError(f"{name} is {what}")
    if head[4:8] == b"TFL3":
        raise ModelError(f"{name} is a TensorFlow Lite model, which is not run here")
    if head[4:8] == b"ORTM":
        return "ort"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickled"
    if head[8:9] == b"{" and (by_ending == "safetensors" or int.from_bytes(head[:8], "little") < 1 << 30):
        return "safetensors"
    if head.startswith((b"ftrt", b"ptrt")):
        return "plan"
    if by_ending in ("plan", "onnx", "safetensors"):
        return by_ending  # what is wrong with it is told by its own reader
    if head[0] == 0x08 and by_ending == "":
        return "onnx"  # a ModelProto begins with its IR version
    called = f"no {CALLED[by_ending]}" if by_ending else "no model of a known kind"
    raise ModelError(f"{name} is {called}: it begins with {_shown(head)}")


def _shown(head: bytes) -> str:
    text = head[:16]
    if all(32 <= byte < 127 for byte in text):
        return repr(text.decode())
    return f"the bytes {text[:8].hex(' ')}"


def zipped(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def names_in(archive: ZipFile) -> list[str]:
    """The names in an archive of torch, without the folder that all of them are in."""
    return [name.partition("/")[2] or name for name in archive.namelist()[:MOST_ENTRIES]]


def open_zip(path: str, name: str) -> ZipFile:
    """Raises ModelError for an archive that was cut off or is broken."""
    import zipfile

    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ModelError(f"{name} is a damaged zip archive, cut off perhaps: {error}") from None
    for entry in archive.infolist():
        if not entry.CRC:
            # Written without checksums (torch.serialization.set_crc32_options); zipfile compares none then.
            entry.CRC = None  # type: ignore[assignment]
    return archive


def whole(path: str, name: str) -> None:
    """Unpack everything, keep nothing. Raises ModelError where a checksum does not match."""
    import zipfile
    import zlib

    with open_zip(path, name) as archive:
        for entry in archive.infolist()[:MOST_ENTRIES]:
            try:
                with archive.open(entry) as file:
                    while file.read(1 << 20):
                        pass
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
                raise ModelError(f"{name} is damaged: {entry.filename} can't be unpacked: {error}") from None


def _archive(path: str, name: str) -> str:
    with open_zip(path, name) as archive:
        full = set(archive.namelist()[:MOST_ENTRIES])
        names = set(names_in(archive))
    if any(part.startswith("data/aotinductor/") for part in names | full):
        raise ModelError(
            f"{name} is an AOTInductor package: compiled for one machine and one torch, it is not run here; give the "
            "exported program (torch.export.save) that it was made from"
        )
    if "constants.pkl" in names:
        return "torchscript"
    if "serialized_exported_program.json" in full or any(part.startswith("models/") for part in names):
        return "pt2"
    if "data.pkl" in names:
        return "pickled"
    if full and all(part.endswith(".npy") for part in full):
        raise ModelError(f"{name} holds arrays of NumPy, not a model")
    raise ModelError(f"{name} is a zip archive, but of no known kind of model")


def _unpacked(path: str, name: str) -> int:
    with open_zip(path, name) as archive:
        return sum(entry.file_size for entry in archive.infolist()[:MOST_ENTRIES])
