"""What a pickle would call, read from its opcodes: nothing is unpickled. Standard library only.

torch loads with ``weights_only`` by itself; this says before what else a file holds, and guards releases of torch whose
own guard has holes, and parts of an exported program that torch unpickles with no guard at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.formats import LEGACY_TORCH, names_in, open_zip

if TYPE_CHECKING:
    from zipfile import ZipFile

MOST_BYTES = 256 << 20
"""Of one pickle: it holds names and shapes, the tensors lie beside it."""

TENSORS = {
    "collections.OrderedDict",
    "collections.Counter",
    "_codecs.encode",
    "torch.device",
    "torch.Size",
    "torch.Tensor",
    "torch._tensor._rebuild_from_type_v2",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "torch.serialization._get_layout",
    "torch.storage.UntypedStorage",
    "torch.storage.TypedStorage",
    "torch._export.serde.serialize._reconstruct_fake_tensor",
}
"""What a file with tensors calls, besides ``torch._utils._rebuild_*``, data types and storages."""


def objects_in(path: str, name: str) -> list[str]:
    """Classes and functions, beyond those of tensors, that loading a file of torch.save would call.

    Raises ModelError for a file that is damaged.
    """
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            with open_zip(path, name) as archive:
                return in_archive(archive, name)
        file.seek(0)
        return _sorted_out(_streams(file, name))


def in_archive(archive: ZipFile, name: str) -> list[str]:
    """The same of an archive that is open, with ``data.pkl`` in it."""
    found: list[str] = []
    for full, short in zip(archive.namelist(), names_in(archive), strict=False):
        if short.endswith(".pkl"):
            found += _sorted_out(called(member(archive, full, name), name))
    return list(dict.fromkeys(found))


def in_bytes(data: bytes, name: str) -> list[str]:
    """The same of a file of torch.save that lies in another one."""
    import io
    import zipfile

    if not data.startswith(b"PK"):
        return _sorted_out(_streams(io.BytesIO(data), name))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return in_archive(archive, name)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError(f"{name} is damaged: {error}") from None


def member(archive: ZipFile, full: str, name: str, most: int = MOST_BYTES) -> bytes:
    """One file of an archive. Raises ModelError when it is too large or damaged."""
    import zipfile
    import zlib

    size = archive.getinfo(full).file_size
    if size > most:
        raise ModelError(f"{name}: {full} unpacks to {size >> 20} MiB, which no real model has there")
    try:
        return archive.read(full)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ModelError(f"{name} is damaged: {full} can't be unpacked: {error}") from None


def _streams(file: IO[bytes], name: str) -> Iterator[str]:
    """Of a file before torch 1.6: pickles one after the other, then the tensors; of any other pickle, itself."""
    head = file.read(2 + len(LEGACY_TORCH))
    file.seek(0)
    for _ in range(5 if head[2:] == LEGACY_TORCH else 1):
        yield from called(file, name)


def called(data: bytes | IO[bytes], name: str) -> Iterator[str]:
    """``module.name`` of everything that a pickle looks up. Raises ModelError when it is damaged."""
    import pickletools

    texts: list[str] = []
    memo: dict[int, str] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            word = opcode.name
            if word in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".", 1)
            elif word == "STACK_GLOBAL":
                yield ".".join(texts[-2:]) or "an object without a name"
            elif word in ("EXT1", "EXT2", "EXT4"):
                yield "an object of the copyreg registry"
            elif isinstance(argument, str):
                texts = [*texts[-1:], argument]
            elif word == "MEMOIZE":
                memo[len(memo)] = texts[-1] if texts else ""
            elif word in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[int(argument or 0)] = texts[-1] if texts else ""
            elif word in ("BINGET", "LONG_BINGET", "GET"):
                texts = [*texts[-1:], memo.get(int(argument or 0), "")]
    except Exception as error:
        raise ModelError(f"{name} is damaged: its pickle makes no sense ({error})") from None


def _sorted_out(names: Iterator[str]) -> list[str]:
    return [one for one in dict.fromkeys(names) if not harmless(one)]


def harmless(name: str) -> bool:
    """Whether it is needed to build a tensor, and nothing more."""
    if name in TENSORS or name.startswith("torch._utils._rebuild_"):
        return True
    module, _, last = name.rpartition(".")
    if module in ("torch", "torch.cuda") and last.endswith("Storage"):
        return True
    return module == "torch" and last in DTYPES


DTYPES = {
    *("float16", "float32", "float64", "bfloat16", "complex32", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("quint8", "qint8", "qint32", "quint4x2", "quint2x4"),
}


def refusal(name: str, what: str, objects: list[str]) -> str:
    """The sentence that refuses to load it."""
    several = ", ".join(objects[:4]) + (f" and {len(objects) - 4} more" if len(objects) > 4 else "")
    return (
        f"{name} {what} ({several}), and loading them can run any code: give --trust-pickle if you trust where it "
        "comes from"
    )
