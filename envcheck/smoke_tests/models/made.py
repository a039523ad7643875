"""Inputs made from the signature of a model; the same on every machine, with any release of NumPy. Needs NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from envcheck.smoke_tests.models import ModelError

MOST_BYTES = 1 << 32
"""Of one input: no model takes more, but a mistyped shape does."""


class Slot(NamedTuple):
    """An input of a model."""

    name: str
    dtype: str
    """A name of NumPy's, or ``bfloat16``."""
    shape: tuple[int | str, ...] | None
    """A text stands for a length that is free; None: even the number of axes is not known."""
    example: tuple[int, ...] | None = None
    """A shape that the file itself gives as an example."""
    least: int = 1
    """Of a first axis that is free."""


def shapes_of(
    slots: Sequence[Slot], asked: Mapping[str, Sequence[int]]
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Name -> the shape to make, and notes on what was assumed.

    ``asked``: shapes that are given. Raises ModelError for one that does not fit, and for lengths that nobody gave.
    """
    known = {slot.name: slot for slot in slots}
    for name in asked:
        if name not in known:
            raise ModelError(f"--shape {name}: the model has no such input, it has {listed(known)}")
    lengths: dict[str, int] = {}
    for name, shape in asked.items():
        declared = known[name].shape
        if declared is None:
            continue
        if not fits(declared, shape):
            raise ModelError(f"--shape {name}={_given(shape)}: the model wants {shown(declared)}")
        pairs = zip(declared, shape, strict=True)
        lengths |= {axis: length for axis, length in pairs if isinstance(axis, str) and axis != "?"}
    found: dict[str, tuple[int, ...]] = {}
    open_: list[Slot] = []
    notes: list[str] = []
    for slot in slots:
        if slot.name in asked:
            found[slot.name] = tuple(asked[slot.name])
            continue
        if slot.shape is None:
            open_.append(slot)
            continue
        axes = [lengths.get(axis, axis) if isinstance(axis, str) else axis for axis in slot.shape]
        free = [place for place, axis in enumerate(axes) if isinstance(axis, str)]
        if free == [0]:
            notes.append(f"the first axis of {slot.name}, {axes[0]}, was taken as {slot.least}")
            axes[0] = slot.least
            free = []
        if free:
            open_.append(slot)
        else:
            found[slot.name] = tuple(int(axis) for axis in axes)
    if open_:
        raise ModelError(_question(open_, lengths))
    return found, notes


def _question(slots: Sequence[Slot], lengths: Mapping[str, int]) -> str:
    """Ask for the shapes, with a command that can be copied."""
    said = []
    for slot in slots:
        if slot.shape is None:
            said.append(f"the shape of input {slot.name!r} is not in the file")
        else:
            said.append(f"input {slot.name!r} has dynamic shape {shown(slot.shape)}")
    several = dict(lengths)
    options = " ".join(f"--shape {slot.name}={_given(_proposed(slot, several))}" for slot in slots)
    return f"{', '.join(said)}: give {options} (with lengths of yours), or --inputs"


def _proposed(slot: Slot, lengths: dict[str, int]) -> Sequence[int]:
    """A shape to start from; ``lengths`` of names are used, and added to."""
    if slot.example is not None:
        return slot.example
    if slot.shape is None:
        return (1, 16) if slot.dtype.startswith("int") else (1, 3, 224, 224)
    image = len(slot.shape) == 4
    found = []
    for place, axis in enumerate(slot.shape):
        usual = 224 if image and place > 1 else 16
        if isinstance(axis, str):
            if not place and axis not in slot.shape[1:]:
                usual = 1
            axis = usual if axis == "?" else lengths.setdefault(axis, usual)
        found.append(axis)
    return found


def fits(declared: Sequence[int | str], shape: Sequence[int]) -> bool:
    """Whether an array of this shape can be given where that one is declared."""
    return len(declared) == len(shape) and all(
        isinstance(axis, str) or axis == length for axis, length in zip(declared, shape, strict=True)
    )


def shown(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _given(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def listed(names: Mapping[str, Any]) -> str:
    """Some names for a sentence."""
    several = list(names)
    return ", ".join(several[:8]) + (f" and {len(several) - 8} more" if len(several) > 8 else "") or "none"


def make(slot: Slot, shape: tuple[int, ...]) -> Any:
    """An array for an input; a mask lets everything through, a number of a token is small. Raises ModelError.

    Floats are in (0, 1], as those of images are, and no logarithm or root of them is NaN; 8 significant bits are exact
    in every type. bfloat16 is made as float32.
    """
    import numpy

    count = 1
    for length in shape:
        count *= length
    kind = slot.dtype if slot.dtype != "bfloat16" else "float32"
    try:
        dtype = numpy.dtype(kind)
    except TypeError:
        raise ModelError(
            f"input {slot.name!r} has type {slot.dtype}, for which none can be made: give --inputs"
        ) from None
    if count * dtype.itemsize > MOST_BYTES:
        raise ModelError(f"input {slot.name!r} with shape {shown(shape)} takes {count * dtype.itemsize >> 20} MiB")
    raw = numpy.frombuffer(_bytes(slot.name, count), dtype=numpy.uint8)
    name = slot.name.lower()
    if dtype.kind in "fc":
        values = numpy.ones(count) if "mask" in name else (raw.astype(numpy.float32) + 1) / 256
    elif dtype.kind == "b":
        values = numpy.ones(count) if "mask" in name else raw & 1
    elif dtype.kind in "iu":
        if "mask" in name:
            values = numpy.ones(count)
        elif "type" in name or "segment" in name:
            values = numpy.zeros(count)
        elif "position" in name and shape:
            values = numpy.arange(count) % max(shape[-1], 1)
        elif kind == "uint8":
            values = raw
        else:
            values = raw & (0x7F if kind == "int8" else 0x7)
    else:
        raise ModelError(f"input {slot.name!r} has type {slot.dtype}, for which none can be made: give --inputs")
    return values.astype(dtype).reshape(shape)


def _bytes(name: str, count: int) -> bytes:
    """Random bytes that depend on the name alone."""
    import zlib
    from _random import Random

    random = Random(zlib.crc32(name.encode("utf-8", "replace")))
    parts, block = [], 1 << 20  # getrandbits takes an int of C
    for start in range(0, count, block):
        size = min(block, count - start)
        parts.append(random.getrandbits(8 * size).to_bytes(size, "little"))
    return b"".join(parts)


def given(slots: Sequence[Slot], arrays: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The arrays of a file for the inputs of a model, converted where nothing is lost. Raises ModelError."""
    known = {slot.name: slot for slot in slots}
    if len(slots) == len(arrays) == 1 and slots[0].name not in arrays:
        arrays = {slots[0].name: next(iter(arrays.values()))}  # nothing else can be meant
    missing = {name: None for name in known if name not in arrays}
    if missing:
        raise ModelError(f"{file} has no input {listed(missing)}; it has {listed(arrays)}")
    extra = {name: None for name in arrays if name not in known}
    if extra:
        raise ModelError(f"{file} has {listed(extra)}, the model has no such input, it has {listed(known)}")
    return {slot.name: _converted(slot, arrays[slot.name], file) for slot in slots}


def _converted(slot: Slot, array: Any, file: str) -> Any:
    import numpy

    if slot.shape is not None and not fits(slot.shape, array.shape):
        raise ModelError(f"{file}: {slot.name} has shape {shown(array.shape)}, the model wants {shown(slot.shape)}")
    if slot.dtype == "str":
        if array.dtype.kind not in "US":
            raise ModelError(f"{file}: {slot.name} is {array.dtype}, the model wants texts")
        return array.astype(str).astype(object)
    kind = slot.dtype if slot.dtype != "bfloat16" else "float32"
    if not kind or str(array.dtype) == kind:
        return numpy.ascontiguousarray(array).reshape(array.shape)
    try:
        with numpy.errstate(all="ignore"):
            converted = array.astype(kind)
            lossless = converted.dtype.kind == array.dtype.kind or array.dtype.kind in "iub"
            lossless = lossless and bool(numpy.array_equal(converted.astype(array.dtype), array, equal_nan=True))
    except (TypeError, ValueError):
        lossless = False
    if not lossless:
        raise ModelError(
            f"{file}: {slot.name} is {array.dtype}, the model wants {slot.dtype}, and values would be lost"
        )
    return numpy.ascontiguousarray(converted).reshape(array.shape)
