"""The header of a ``.safetensors`` file, checked without its library. Standard library only.

8 bytes with the length of the header, little-endian; the header, JSON: name -> ``dtype``, ``shape`` and
``data_offsets`` [begin, end) counted from its end; ``__metadata__``: text -> text. The tensors fill what follows
without a gap (github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from envcheck.smoke_tests.models import ModelError

LONGEST = 100_000_000
"""Bytes of a header that the library takes."""

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


class Entry(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Of its bytes, in the file."""
    end: int


def read(path: str, name: str) -> list[Entry]:
    """The tensors in the order of their bytes. Raises ModelError."""
    import json

    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or length > LONGEST:
            raise ModelError(f"{name} is no safetensors file: its header would have {length} bytes")
        if 8 + length > size:
            raise ModelError(f"{name} is cut off: its header has {length} bytes, the file {size}")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} is no safetensors file: its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise ModelError(f"{name} is no safetensors file: its header is no table of tensors")
    header.pop("__metadata__", None)
    found = [_entry(name, tensor, said, 8 + length) for tensor, said in header.items()]
    found.sort(key=lambda entry: (entry.begin, entry.end))
    at = 8 + length
    for entry in found:
        if entry.end > size:
            raise ModelError(
                f"{name} is cut off: tensor {entry.name} ends at byte {entry.end}, the file has {size}: fetch it again"
            )
        if entry.begin < at:
            raise ModelError(f"{name} is damaged: tensor {entry.name} overlaps the one before it")
        if entry.begin > at:
            raise ModelError(f"{name} is damaged: {entry.begin - at} bytes before tensor {entry.name} belong to none")
        at = entry.end
    if at != size:
        raise ModelError(f"{name} is damaged: its last {size - at} bytes belong to no tensor")
    return found


def _entry(file: str, tensor: str, said: Any, start: int) -> Entry:
    try:
        dtype, shape, (begin, end) = said["dtype"], said["shape"], said["data_offsets"]
        numbers = [*shape, begin, end]
        if any(isinstance(number, bool) or not isinstance(number, int) or number < 0 for number in numbers):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{file} is damaged: what its header says of tensor {tensor} makes no sense") from None
    count = 1
    for length in shape:
        count *= length
    bits = BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is not None and count * bits != 8 * (end - begin):
        raise ModelError(
            f"{file} is damaged: tensor {tensor}, {dtype} {list(shape)}, takes {count * bits // 8} bytes, "
            f"not {end - begin}"
        )
    return Entry(str(tensor), str(dtype), tuple(shape), start + begin, start + end)
