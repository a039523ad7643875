"""Where the tolerances of ``envcheck smoke`` come from: ``python tests/tools/simulate_smoke_errors.py``. Needs numpy.

Computes the operations of envcheck/smoke_tests/reference.py with the rounding of each data type and prints the error
(max|out - expected| / max|expected|) of each way to compute it, and those of wrong computations: what is left out or
mixed up. A tolerance lies above all ways of its type, and below what is wrong.

Ways: ``wide`` sums in float32 in any order (the worst of some), every result rounded to the type; ``narrow`` sums in
the type itself, one after the other; ``winograd4`` and ``winograd6`` convolve with F(4x4,3x3) and F(6x6,3x3) in
float32; tf32 ``truncated`` or ``nearest``: how the factors lose their last 13 bits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import make_smoke_data as exact
import numpy as np
import reference

Array = Any
Round = Callable[[Array], Array]
Given = dict[str, Array]


def nearest(bits: int) -> Round:
    """Rounds to so many significant bits, ties to even, with the range of float32."""

    def rounded(x: Array) -> Array:
        drop = 24 - bits
        raw = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
        raw = (raw + (1 << (drop - 1)) - 1 + ((raw >> drop) & 1)) >> drop << drop
        return raw.astype(np.uint32).view(np.float32).astype(np.float64)

    return rounded


def truncated(x: Array) -> Array:
    """Cut to the 11 significant bits of TF32."""
    return (np.asarray(x, dtype=np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def single(x: Array) -> Array:
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def half(x: Array) -> Array:
    return np.asarray(x, dtype=np.float16).astype(np.float64)


class Way:
    """How products, sums and results are rounded."""

    def __init__(self, result: Round, factor: Round = lambda x: x, accumulator: Round = single, order: int = 0) -> None:
        self.result, self.factor, self.accumulator, self.order = result, factor, accumulator, order
        self.tile = 0

    def product(self, a: Array, b: Array) -> Array:
        """``a @ b``, the sum one by one in the accumulator; ``order`` shuffles it."""
        a, b = self.factor(a), self.factor(b)
        places = np.arange(a.shape[-1])
        if self.order:
            np.random.default_rng(self.order).shuffle(places)
        total = np.zeros(())
        for place in places:
            total = self.accumulator(total + a[..., :, place, None] * b[..., None, place, :])
        return total

    def linear(self, x: Array, weight: Array, bias: Array) -> Array:
        return self.result(self.result(self.product(x, weight.T)) + bias)

    def convolve(self, x: Array, w: Array, b: Array) -> Array:
        if self.tile:
            return self.result(winograd(x, w, self.tile) + b[:, None, None])
        n, c, height, width = x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, c * 9)
        out = self.result(self.product(columns, w.reshape(len(w), -1).T)) + b
        return self.result(out).reshape(n, height, width, len(w)).transpose(0, 3, 1, 2)

    def mean(self, x: Array, axis: Any, keepdims: bool = False) -> Array:
        return self.result(single(x).mean(axis=axis, keepdims=keepdims))

    def norm(self, x: Array, weight: Array, bias: Array) -> Array:
        r = self.result
        centred = r(x - self.mean(x, -1, True))
        variance = self.mean(r(centred * centred), -1, True)
        return r(r(r(centred / r(np.sqrt(r(variance + r(np.float64(1e-5)))))) * weight) + bias)


def winograd(x: Array, w: Array, m: int) -> Array:
    """F(m x m, 3x3) by Cook-Toom, transforms and products in float32; the points are those of the known kernels."""
    points = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5][: m + 1]
    size = m + 2

    def powers(count: int) -> Array:
        rows = [[point**k for k in range(count)] for point in points]
        return np.array([*rows, [0.0] * (count - 1) + [1.0]])

    scale = np.array([1 / math.prod(p - q for q in points if q != p) for p in points] + [1.0])
    g = powers(3) * scale[:, None]
    a = powers(m)
    b = np.linalg.inv(powers(size) * scale[:, None])
    n, c, height, width = x.shape
    tiles = -(-height // m)
    side = tiles * m + 2
    padded = np.zeros((n, c, side, side))
    padded[:, :, 1 : height + 1, 1 : width + 1] = x
    u = single(single(g @ w) @ g.T)
    out = np.zeros((n, len(w), tiles * m, tiles * m))
    for i in range(tiles):
        for j in range(tiles):
            d = padded[:, :, i * m : i * m + size, j * m : j * m + size]
            v = single(single(b.T @ d) @ b)
            total = np.zeros((n, len(w), size, size))
            for channel in range(c):
                total = single(total + single(u[None, :, channel] * v[:, None, channel]))
            out[:, :, i * m : (i + 1) * m, j * m : (j + 1) * m] = single(single(a.T @ total) @ a)
    return out[:, :, :height, :width]


def matmul(way: Way, g: Given) -> Array:
    return way.result(way.product(g["a"], g["b"]))


def convolution(way: Way, g: Given) -> Array:
    return way.convolve(g["x"], g["w"], g["b"])


def cnn(way: Way, g: Given) -> Array:
    x = exact.pool(np.maximum(way.convolve(g["x"], g["w1"], g["b1"]), 0.0))
    x = way.mean(np.maximum(way.convolve(x, g["w2"], g["b2"]), 0.0), (2, 3))
    return way.linear(x, g["w3"], g["b3"])


def transformer(way: Way, g: Given) -> Array:
    r, x = way.result, g["x"]

    def heads(name: str, normed: Array) -> Array:
        return way.linear(normed, g[f"w{name}"], g[f"b{name}"]).reshape(2, 8, 4, 8).transpose(0, 2, 1, 3)

    normed = way.norm(x, g["ln1_w"], g["ln1_b"])
    q, k, v = (heads(name, normed) for name in "qkv")
    scores = r(r(way.product(q, k.transpose(0, 1, 3, 2))) / r(np.float64(math.sqrt(8.0))))
    shares = r(np.exp(r(scores - scores.max(axis=-1, keepdims=True))))
    shares = r(shares / r(shares.sum(axis=-1, keepdims=True)))
    mixed = r(way.product(shares, v)).transpose(0, 2, 1, 3).reshape(2, 8, 32)
    h = r(x + way.linear(mixed, g["wo"], g["bo"]))
    inner = way.linear(way.norm(h, g["ln2_w"], g["ln2_b"]), g["w1"], g["b1"])
    erf = r(np.vectorize(math.erf)(r(inner / r(np.float64(math.sqrt(2.0))))))
    return r(h + way.linear(r(r(0.5 * inner) * r(1.0 + erf)), g["w2"], g["b2"]))


OPERATIONS = {"matmul": matmul, "convolution": convolution, "cnn": cnn, "transformer": transformer}


def ways(operation: str) -> Iterator[tuple[str, str, Way]]:
    """Data type, name and way of computing, with more than one order of summation."""
    bfloat16 = nearest(8)
    for order in range(4):
        yield "float32", "wide", Way(single, order=order)
        yield "tf32", "nearest", Way(single, nearest(11), order=order)
        yield "tf32", "truncated", Way(single, truncated, order=order)
        yield "float16", "wide", Way(half, order=order)
        yield "float16", "narrow", Way(half, accumulator=half, order=order)
        yield "bfloat16", "wide", Way(bfloat16, order=order)
        yield "bfloat16", "narrow", Way(bfloat16, accumulator=bfloat16, order=order)
    if operation in ("convolution", "cnn"):
        for tile in (4, 6):
            for dtype, result in (("float32", single), ("float16", half), ("bfloat16", bfloat16)):
                way = Way(result)
                way.tile = tile
                yield dtype, f"winograd{tile}", way


def mistakes(operation: str) -> Iterator[tuple[str, Array]]:
    """Results of wrong computations, in float64."""
    g, compute = exact.given(operation), exact.EXACT[operation]
    right = compute(g)
    for name, values in list(g.items())[1:]:
        if name == "bk":
            continue  # the same for all keys: the softmax does not see it
        if values.ndim == 1:
            yield f"without {name}", compute({**g, name: np.zeros_like(values)})
        elif values.ndim == 4:
            yield f"{name} flipped", compute({**g, name: values[:, :, ::-1, ::-1]})
            yield f"{name} transposed", compute({**g, name: values.swapaxes(2, 3)})
        elif values.shape[0] == values.shape[1]:
            yield f"{name} transposed", compute({**g, name: values.T})
        else:
            yield f"{name} in another order", compute({**g, name: values.T.reshape(values.shape)})
    for name, values in g.items():
        if name == "bk":
            continue
        lost = values.copy()
        lost[-1] = 0
        yield f"last row of {name} lost", compute({**g, name: lost})
    shifted = right.reshape(-1).copy()
    yield "shifted by one", np.roll(shifted, 1).reshape(right.shape)
    lost = right.copy()
    lost[..., -1] = 0
    yield "last column lost", lost
    if operation == "transformer":
        yield "no scaling of the scores", compute({**g, "wq": g["wq"] * math.sqrt(8.0), "bq": g["bq"] * math.sqrt(8.0)})
        yield "q and k exchanged", compute({**g, "wq": g["wk"], "bq": g["bk"], "wk": g["wq"], "bk": g["bq"]})
        erf = exact.gelu
        exact.gelu = lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        yield "GELU by tanh", compute(g)
        exact.gelu = erf


def error(operation: str, out: Array) -> float:
    right = np.array(reference.expected(operation).values).reshape(reference.SHAPES[operation])
    return float(np.abs(out - right).max() / np.abs(right).max())


def main() -> int:
    for operation, compute in OPERATIONS.items():
        g = exact.given(operation)
        found: dict[tuple[str, str], float] = {}
        for dtype, name, way in ways(operation):
            found[dtype, name] = max(found.get((dtype, name), 0.0), error(operation, compute(way, g)))
        for (dtype, name), measured in sorted(found.items()):
            allowed = reference.TOLERANCE[operation, dtype]
            margin = allowed / measured if measured else math.inf
            print(f"{operation:12} {dtype:9} {name:10} {measured:8.1e}  allowed {allowed:.1e}, {margin:.3g} x")
    right = exact.EXACT["matmul-fp8"](exact.given("matmul-fp8"))
    for name, rounded in (
        ("float32", single),
        ("float16", half),
        ("bfloat16", nearest(8)),
        ("14-bit sums", nearest(14)),
    ):
        print(f"matmul-fp8   result in {name}: {error('matmul-fp8', rounded(right)):.1e}")
    for operation in reference.OPERATIONS:
        for name, out in sorted(mistakes(operation), key=lambda pair: error(operation, pair[1]))[:9]:
            measured = error(operation, out)
            blind = [
                dtype for (of, dtype), allowed in reference.TOLERANCE.items() if of == operation and allowed >= measured
            ]
            print(f"{operation:12} wrong: {name:26} {measured:.1e}{'  not seen in ' * bool(blind)}{', '.join(blind)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
