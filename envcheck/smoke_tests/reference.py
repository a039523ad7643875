"""What the operations of a smoke run must give: fixed inputs, definitions, expected outputs and tolerances.

Standard library only and light: a child process imports this file beside torch or onnxruntime, and the interpreter
of the checked environment may be another one than envcheck's. Nothing here depends on a framework, so every backend
on every device computes the very same numbers.

**Inputs** come from a Mersenne Twister with a fixed seed: integers of at most 8 significant bits divided by a power of
two. float32, tf32, float16 and bfloat16 hold each of them exactly, so a difference in the result is the computation's
and never the input's. Those of ``matmul-fp8`` have 3 significant bits (exact in float8_e4m3 and float8_e5m2), those of
``matmul-int8`` are integers of int8. **Expected outputs** are computed in float64 with NumPy from these definitions by
``tests/tools/make_smoke_data.py`` and shipped in ``data/``.

Definitions. The first tensor of ``inputs(operation)`` is the activation (``x`` of the ONNX models), the others are
weights. Layouts are those of torch: images NCHW, convolution weights OIHW, a linear layer is ``y = x @ weight.T +
bias``; a convolution is the cross-correlation of all frameworks, with zero padding.

=============  ======================================================================================================
matmul         ``a(64,96) @ b(96,48)`` -> (64,48). ``matmul-fp8`` and ``matmul-int8`` the same, with their own values;
               of int8 the sum is an int32, no scale and no zero point.
convolution    ``x(2,8,16,16)``, ``w(16,8,3,3)``, ``b(16)``, stride 1, padding 1 -> (2,16,16,16)
cnn            ``x(2,3,16,16)``; convolution 3->8 (``w1``, ``b1``), 3x3, padding 1; ReLU; max-pool 2x2, stride 2;
               convolution 8->16 (``w2``, ``b2``), 3x3, padding 1; ReLU; mean over height and width; linear 16->10
               (``w3``, ``b3``) -> (2,10)
transformer    ``x(2,8,32)`` (batch, tokens, width), a pre-LN block of 4 heads of 8:
               ``n = LayerNorm(x; ln1_w, ln1_b)``; q, k, v: linear layers of n (``wq``, ``bq``, ...), split into heads
               by ``reshape(2,8,4,8).transpose(0,2,1,3)``; ``s = softmax(q @ k.T / sqrt(8))`` over the keys, no mask;
               ``h = x + linear(merged s @ v; wo, bo)``; ``m = LayerNorm(h; ln2_w, ln2_b)``;
               ``y = h + linear(gelu(linear(m; w1, b1)); w2, b2)`` -> (2,8,32). LayerNorm: over the last axis, the
               variance divided by n, eps 1e-5. GELU in its erf form, not the tanh approximation.
=============  ======================================================================================================

In a 16-bit type everything from the first operation to the last is in that type, accumulation in float32 or wider
where the library does so. tf32 means float32 tensors whose products are taken in TF32. The matmul of float8 may give
float32, float16 or bfloat16.
"""

from __future__ import annotations

import os
import sys
from _random import Random  # the generator of the random module, without hashlib and what else that imports
from array import array
from math import isfinite
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    _Recipe = tuple[str, tuple[int, ...], str, int]  # name, shape, kind of values, power of two to divide by

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
OPERATIONS = ("matmul", "convolution", "cnn", "transformer", "matmul-fp8", "matmul-int8")
SHAPES: dict[str, tuple[int, ...]] = {
    "matmul": (64, 48),
    "convolution": (2, 16, 16, 16),
    "cnn": (2, 10),
    "transformer": (2, 8, 32),
    "matmul-fp8": (64, 48),
    "matmul-int8": (64, 48),
}
"""Shape of the output of each operation."""

# From tests/tools/simulate_smoke_errors.py, which computes each operation with the rounding of the type:
#
#               float32          tf32             float16          bfloat16         smallest
#               error  allowed   error  allowed   error  allowed   error  allowed   mistake
# matmul        0      1e-6      0      1e-3      2.7e-3 1.5e-2    2.9e-3 2e-2      9.2e-2
# convolution   2.2e-6 2e-5      0      1e-3      2.7e-3 1.5e-2    4.9e-3 2.5e-2    3.3e-1
# cnn           3.7e-7 3e-6      9.9e-4 4e-3      1.5e-3 8e-3      3.5e-3 2e-2      1.3e-1
# transformer   1.9e-7 5e-6      8.8e-4 4e-3      1.7e-3 1e-2      6.2e-3 3e-2      5.0e-2
#
# float32: sums in any order, and convolutions by Winograd F(6x6,3x3); the transformer has room for the approximate exp
# and erf of GPUs. tf32: factors cut, not rounded. float16: sums in float16, one after the other. bfloat16: sums in
# float32; with sums kept in bfloat16 matmul and convolution are off by 2e-2, which is too much. Smallest mistake: of a
# lost row of a weight, a lost bias, a flipped or transposed weight, a shifted result. A single lost value of a bias of
# the transformer (2.4e-2 and more) may pass in bfloat16 alone; its bk is invisible to a softmax over the keys.
#
# The products of matmul and convolution are exact in TF32 too, since their inputs are: where float32 was promised, TF32
# shows in cnn (at least 2.7e-4, 90 times what is allowed) and transformer (4.1e-4, 80 times), so does a GELU by tanh
# (9.6e-5). The result of matmul-fp8 is exact in sums of 14 bits (Hopper's) and off by 3.5e-3 when given in bfloat16.
TOLERANCE: dict[tuple[str, str], float] = {
    ("matmul", "float32"): 1e-6,
    ("matmul", "tf32"): 1e-3,
    ("matmul", "float16"): 1.5e-2,
    ("matmul", "bfloat16"): 2e-2,
    ("convolution", "float32"): 2e-5,
    ("convolution", "tf32"): 1e-3,
    ("convolution", "float16"): 1.5e-2,
    ("convolution", "bfloat16"): 2.5e-2,
    ("cnn", "float32"): 3e-6,
    ("cnn", "tf32"): 4e-3,
    ("cnn", "float16"): 8e-3,
    ("cnn", "bfloat16"): 2e-2,
    ("transformer", "float32"): 5e-6,
    ("transformer", "tf32"): 4e-3,
    ("transformer", "float16"): 1e-2,
    ("transformer", "bfloat16"): 3e-2,
    ("matmul-fp8", "float8_e4m3"): 2e-2,
    ("matmul-fp8", "float8_e5m2"): 2e-2,
    ("matmul-int8", "int8"): 0.0,
}
"""Largest allowed max|out - expected| / max|expected|, by operation and data type."""


class Tensor(NamedTuple):
    """Values in C order. ``values`` has the type code ``f`` (inputs) or ``d`` (expected outputs)."""

    shape: tuple[int, ...]
    values: array[float]


class Compared(NamedTuple):
    """What a comparison says.

    ``status``: ``ok``, ``wrong``, ``nan`` (a NaN or an infinity), ``zeros`` (nothing but zeros where there must be
    others) or ``shape``. ``error`` is max|out - expected| / max|expected|, None where it cannot be taken.
    ``text`` is a sentence with the figures.
    """

    status: str
    error: float | None
    tolerance: float
    text: str


# How a byte becomes a value: the signed byte, 3 significant bits, 7 signed bits or a positive number around 128 (the
# weight of a LayerNorm), divided by a power of two. The factors keep activations around 1.
#
# B of matmul-int8 has 7 bits: x86 without VNNI adds pairs of 8-bit products in 16 bits and saturates there
# (docs.openvino.ai/latest/pot_saturation_issue.html). That is a property of those processors and not a fault.
_KINDS: dict[str, Iterable[int]] = {
    "signed": [*range(128), *range(-128, 0)],
    "three": [byte % 15 - 7 for byte in range(256)],
    "seven": [(byte >> 1) - 64 for byte in range(256)],
    "positive": [(byte & 127) + 64 for byte in range(256)],
}
# Chosen among a few hundred as those with which the least visible mistake (a lost row, a transposed weight) is largest.
_SEEDS = {"matmul": 48, "convolution": 22, "cnn": 10, "transformer": 16, "matmul-fp8": 11, "matmul-int8": 25}
_RECIPES: dict[str, tuple[_Recipe, ...]] = {
    "matmul": (("a", (64, 96), "signed", 6), ("b", (96, 48), "signed", 10)),
    "convolution": (
        ("x", (2, 8, 16, 16), "signed", 6),
        ("w", (16, 8, 3, 3), "signed", 10),
        ("b", (16,), "signed", 7),
    ),
    "cnn": (
        ("x", (2, 3, 16, 16), "signed", 6),
        ("w1", (8, 3, 3, 3), "signed", 8),
        ("b1", (8,), "signed", 7),
        ("w2", (16, 8, 3, 3), "signed", 9),
        ("b2", (16,), "signed", 7),
        ("w3", (10, 16), "signed", 9),
        ("b3", (10,), "signed", 8),
    ),
    "transformer": (
        ("x", (2, 8, 32), "signed", 6),
        ("ln1_w", (32,), "positive", 7),
        ("ln1_b", (32,), "signed", 8),
        ("wq", (32, 32), "signed", 8),
        ("bq", (32,), "signed", 7),
        ("wk", (32, 32), "signed", 8),
        ("bk", (32,), "signed", 7),
        ("wv", (32, 32), "signed", 9),
        ("bv", (32,), "signed", 7),
        ("wo", (32, 32), "signed", 9),
        ("bo", (32,), "signed", 7),
        ("ln2_w", (32,), "positive", 7),
        ("ln2_b", (32,), "signed", 8),
        ("w1", (64, 32), "signed", 9),
        ("b1", (64,), "signed", 7),
        ("w2", (32, 64), "signed", 9),
        ("b2", (32,), "signed", 7),
    ),
    "matmul-fp8": (("a", (64, 96), "three", 2), ("b", (96, 48), "three", 5)),
    "matmul-int8": (("a", (64, 96), "signed", 0), ("b", (96, 48), "seven", 0)),
}


def size(shape: Sequence[int]) -> int:
    """The number of values of a shape."""
    product = 1
    for length in shape:
        product *= length
    return product


def _known(operation: str) -> str:
    if operation not in SHAPES:
        raise ValueError(f"no operation {operation!r}; there are {', '.join(OPERATIONS)}")
    return operation


def inputs(operation: str) -> dict[str, Tensor]:
    """The inputs and weights of an operation by name, the activation first. Raises ValueError for an unknown one."""
    # getrandbits of an integer seed is the same on every version and platform of Python. Not Random(seed): before
    # Python 3.9 that class takes the hash of the tuple of its arguments.
    random = Random()
    random.seed(_SEEDS[_known(operation)])
    tensors = {}
    for name, shape, kind, power in _RECIPES[operation]:
        count = size(shape)
        divisor = float(1 << power)
        table = array("f", [value / divisor for value in _KINDS[kind]]).tobytes()
        data = random.getrandbits(8 * count).to_bytes(count, "little")
        # Byte by byte of the float32: ten times as fast as a look-up for each value.
        planes = bytearray(4 * count)
        for plane in range(4):
            planes[plane::4] = data.translate(table[plane::4])
        values = array("f")
        values.frombytes(planes)
        tensors[name] = Tensor(shape, values)
    return tensors


def expected(operation: str) -> Tensor:
    """The output of an operation, computed in float64. Raises ValueError for an unknown one, OSError without data."""
    values = array("d")
    with open(os.path.join(DATA, _known(operation) + ".expected.f64"), "rb") as file:
        values.frombytes(file.read())
    if sys.byteorder == "big":
        values.byteswap()
    return Tensor(SHAPES[operation], values)


def model(operation: str, dtype: str = "float32") -> str:
    """Path of the ONNX model of an operation: input ``x`` and output ``y`` are float32, the weights are inside.

    ``dtype`` is float32, float16 or bfloat16; of ``matmul-int8`` it is int8. ``speed`` with float32 is a MatMul of
    ``x`` (N,N) with itself. Raises ValueError for a model that is not shipped.
    """
    path = os.path.join(DATA, f"{operation}.{dtype}.onnx")
    if not os.path.isfile(path):
        raise ValueError(f"no ONNX model of {operation} in {dtype}")
    return path


def compare(operation: str, dtype: str, values: Iterable[float], shape: Sequence[int]) -> Compared:
    """Compare what a backend has given with what it must be, in the tolerance of the data type.

    ``values`` are the flat values in C order, of any number type. Whatever they are, the answer is a status and
    never an error; only an operation or a data type without a tolerance raises ValueError.
    """
    tolerance = TOLERANCE.get((_known(operation), dtype))
    if tolerance is None:
        raise ValueError(f"no tolerance for {operation} in {dtype}")
    right = expected(operation)
    if tuple(shape) != right.shape:
        return Compared("shape", None, tolerance, f"the output has shape {_shape(shape)}, not {_shape(right.shape)}")
    compared = _compare(values, right.values, tolerance, tolerance * max(map(abs, right.values)), 0.0, right.shape)
    if compared.status == "wrong" and dtype == "float32" and compared.error is not None:
        for other in ("tf32", "float16", "bfloat16"):
            if compared.error <= TOLERANCE.get((operation, other), 0.0):
                text = f"{compared.text}; {other} gives errors of this size"
                return Compared("wrong", compared.error, tolerance, text)
    return compared


def compare_values(values: Iterable[float], golden: Iterable[float], rtol: float, atol: float = 0.0) -> Compared:
    """Compare two results of other origin: every |value - golden| must be at most atol + rtol * |golden|.

    A NaN or an infinity is right where the golden result has the same. ``tolerance`` of the answer is rtol.
    """
    right = _numbers(golden)
    if right is None:
        return Compared("wrong", None, rtol, "the values to compare with are not numbers")
    return _compare(values, right, rtol, atol, rtol, (len(right),))


def _numbers(values: Iterable[float]) -> array[float] | None:
    try:
        return array("d", iter(values))
    except (TypeError, ValueError, OverflowError):
        return None


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _place(index: int, shape: tuple[int, ...]) -> str:
    places: list[int] = []
    for length in reversed(shape):
        index, place = divmod(index, length)
        places.insert(0, place)
    return "[" + ", ".join(map(str, places)) + "]"


def _compare(
    values: Iterable[float],
    right: array[float],
    tolerance: float,
    atol: float,
    rtol: float,
    shape: tuple[int, ...],
) -> Compared:
    """Judge ``values``: what each may be off by is atol + rtol * |right|."""
    out = _numbers(values)
    if out is None:
        return Compared("wrong", None, tolerance, "the output is not made of numbers")
    if len(out) != len(right):
        return Compared("shape", None, tolerance, f"the output has {len(out)} values, not {len(right)}")
    only_zeros = not any(out)
    # A sum is finite only where all values are; that of huge values may not be, and they are looked at one by one.
    if not isfinite(sum(out)) or not isfinite(sum(right)):
        for index, value in enumerate(out):
            other = right[index]
            same = value == other or (value != value and other != other)
            if not same and not (isfinite(value) and isfinite(other)):
                odd = len(out) - sum(map(isfinite, out))
                where = f"{value} at {_place(index, shape)} where {other:g} is expected"
                return Compared("nan", None, tolerance, f"{odd} of {len(out)} values are NaN or infinite: {where}")
        # Where both are the same infinity or NaN there is no error.
        out, right = array("d", out), array("d", right)
        for index, value in enumerate(out):
            if not isfinite(value):
                out[index] = right[index] = 0.0
        only_zeros = False
    errors = array("d", map(abs, map(sub, out, right)))
    largest = max(map(abs, right), default=0.0)
    worst = max(errors, default=0.0)
    relative = worst / largest if largest else worst
    error = relative if isfinite(relative) else None
    unit = "of the largest value" if largest else "where all must be 0"
    allowed = f"{tolerance:.2g} allowed" if not rtol else f"rtol {rtol:g} and atol {atol:g} allowed"
    measured = f"max error {relative:.2g} {unit}, {allowed}"
    if not rtol and worst <= atol:
        return Compared("ok", error, tolerance, measured)
    outside = sum(not off <= atol + rtol * abs(right[index]) for index, off in enumerate(errors))
    if not outside:
        return Compared("ok", error, tolerance, measured)
    if only_zeros:
        return Compared("zeros", error, tolerance, f"all {len(out)} values are 0, up to {largest:.4g} is expected")
    index = errors.index(worst)
    where = f"{out[index]:.6g} at {_place(index, shape)} where {right[index]:.6g} is expected"
    return Compared("wrong", error, tolerance, f"{outside} of {len(out)} values are wrong: {where}; {measured}")
