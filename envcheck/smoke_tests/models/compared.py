"""Outputs of a model held against those of another run. Needs NumPy."""

from __future__ import annotations

from typing import Any, NamedTuple

TOLERANCE = {
    "float64": (1e-6, 1e-9),
    "float32": (1e-3, 1e-5),
    "float16": (1e-2, 1e-3),
    "bfloat16": (5e-2, 1e-2),
}
"""Data type -> what two machines may differ by: relative to the value itself, and relative to the largest value.

The second one is for values near zero that are sums of large ones: their error has the size of what was summed. Other
data types must be equal.
"""


class Compared(NamedTuple):
    """``status`` as in a check: ``ok``, ``wrong``, ``nan``, ``shape``; ``difference`` relative to the largest value."""

    status: str
    difference: float
    tolerance: float
    text: str


def compare(
    name: str,
    found: Any,
    wanted: Any,
    dtype: str,
    rtol: float | None = None,
    atol: float | None = None,
) -> Compared:
    """Every |found - wanted| must be at most atol + rtol * |wanted|, NaN and infinities where the other has them.

    ``rtol`` and ``atol`` None: those of ``dtype``, the narrower of the two types where they differ; atol is then
    relative to the largest value.
    """
    import numpy

    relative, absolute = TOLERANCE.get(dtype, (0.0, 0.0))
    if tuple(found.shape) != tuple(wanted.shape):
        text = f"{name} has shape {list(found.shape)}, {list(wanted.shape)} is expected"
        return Compared("shape", 0.0, rtol if rtol is not None else relative, text)
    if found.dtype.kind not in "fiub" or wanted.dtype.kind not in "fiub":
        same = bool(numpy.array_equal(found, wanted))
        return Compared("ok" if same else "wrong", 0.0, 0.0, "" if same else f"{name} differs")
    if not found.size:
        return Compared("ok", 0.0, 0.0, "")
    with numpy.errstate(all="ignore"):
        # The widest type there is: integers of 64 bits keep their last digit on most machines.
        wide = numpy.longdouble if found.dtype.kind in "iu" and found.dtype.itemsize == 8 else numpy.float64
        out, right = found.astype(wide), wanted.astype(wide)
        finite = numpy.isfinite(right)
        largest = float(numpy.max(numpy.abs(right[finite]))) if finite.any() else 0.0
        limits = (absolute * largest if atol is None else atol, relative if rtol is None else rtol)
        error = numpy.abs(out - right)
        same = (out == right) | (numpy.isnan(out) & numpy.isnan(right))
        error[same] = 0.0
        excess = error - (limits[0] + limits[1] * numpy.abs(right))
        outside = ~same & ~(excess <= 0)  # also where it is NaN
        odd = outside & ~numpy.isfinite(out)
        worst_error = float(numpy.max(error[numpy.isfinite(error)], initial=0.0))
        difference = worst_error / largest if largest else worst_error
        allowed = f"rtol {limits[1]:g} and atol {limits[0]:.3g} allowed"
        count = int(outside.sum())
        if not count:
            return Compared("ok", difference, limits[1], "")
        if odd.any():
            place = numpy.unravel_index(int(numpy.argmax(odd)), odd.shape)
        else:
            excess[~outside] = -numpy.inf
            excess[numpy.isnan(excess)] = numpy.inf
            place = numpy.unravel_index(int(numpy.argmax(excess)), excess.shape)
    index = ", ".join(str(int(part)) for part in place)
    where = f"{name}[{index}] is {found[place]:.7g} where {wanted[place]:.7g} is expected"
    text = f"{count} of {found.size} values of {name} differ: {where}; {allowed}"
    if not odd.any() and largest:
        text += f"; the largest difference is {difference:.2g} of the largest value"
    return Compared("nan" if odd.any() else "wrong", difference, limits[1], text)


NARROW = ("bfloat16", "float16", "float32", "float64")


def narrower(one: str, other: str) -> str:
    """Of two data types the one with fewer digits; empty when one is not a float."""
    if one not in NARROW or other not in NARROW:
        return ""
    return NARROW[min(NARROW.index(one), NARROW.index(other))]
