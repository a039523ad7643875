"""The operations of envcheck/smoke_tests/reference.py in plain Python (float64), written apart from the NumPy ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from envcheck.smoke_tests.reference import Tensor

Row = list[float]
Values = Sequence[float]


def rows(values: Values, width: int) -> list[Row]:
    return [list(values[start : start + width]) for start in range(0, len(values), width)]


def product(a: list[Row], b: list[Row]) -> list[Row]:
    columns = list(zip(*b, strict=True))
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]


def matmul(given: Mapping[str, Tensor]) -> Row:
    a, b = given["a"], given["b"]
    return [value for row in product(rows(a.values, a.shape[1]), rows(b.values, b.shape[1])) for value in row]


def convolve(x: Values, shape: Sequence[int], w: Values, w_shape: Sequence[int], bias: Values) -> Row:
    """Cross-correlation, 3x3, stride 1, padding 1."""
    batch, channels, height, width = shape
    outputs = w_shape[0]
    out: Row = []
    for image in range(batch):
        for o in range(outputs):
            plane = [bias[o]] * (height * width)
            for c in range(channels):
                start = (image * channels + c) * height * width
                for i in range(3):
                    for j in range(3):
                        factor = w[((o * channels + c) * 3 + i) * 3 + j]
                        for row in range(max(0, 1 - i), min(height, height + 1 - i)):
                            source = start + (row + i - 1) * width + j - 1
                            for column in range(max(0, 1 - j), min(width, width + 1 - j)):
                                plane[row * width + column] += factor * x[source + column]
            out += plane
    return out


def convolution(given: Mapping[str, Tensor]) -> Row:
    x, w, b = given["x"], given["w"], given["b"]
    return convolve(x.values, x.shape, w.values, w.shape, b.values)


def cnn(given: Mapping[str, Tensor]) -> Row:
    g = {name: tensor.values for name, tensor in given.items()}
    first = convolve(g["x"], (2, 3, 16, 16), g["w1"], (8, 3, 3, 3), g["b1"])
    pooled = [
        max(0.0, *(first[(plane * 16 + 2 * row + i) * 16 + 2 * column + j] for i in (0, 1) for j in (0, 1)))
        for plane in range(16)
        for row in range(8)
        for column in range(8)
    ]
    second = convolve(pooled, (2, 8, 8, 8), g["w2"], (16, 8, 3, 3), g["b2"])
    means = [math.fsum(max(0.0, value) for value in plane) / 64 for plane in rows(second, 64)]
    return linear(rows(means, 16), g["w3"], g["b3"])


def linear(x: list[Row], weight: Values, bias: Values) -> Row:
    """Flat ``x @ weight.T + bias``."""
    weights = rows(weight, len(x[0]))
    return [
        math.fsum(a * b for a, b in zip(row, line, strict=True)) + bias[k]
        for row in x
        for k, line in enumerate(weights)
    ]


def norm(x: list[Row], weight: Values, bias: Values) -> list[Row]:
    out = []
    for row in x:
        mean = math.fsum(row) / len(row)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in row) / len(row) + 1e-5)
        out.append([(value - mean) / deviation * weight[k] + bias[k] for k, value in enumerate(row)])
    return out


def erf_gelu(x: float) -> float:
    return x / 2 * (1 + math.erf(x / math.sqrt(2)))


def tanh_gelu(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def transformer(given: Mapping[str, Tensor], tanh: bool = False, scale: float = math.sqrt(8)) -> Row:
    g = {name: tensor.values for name, tensor in given.items()}
    x = rows(g["x"], 32)
    normed = norm(x, g["ln1_w"], g["ln1_b"])
    q, k, v = (rows(linear(normed, g[f"w{name}"], g[f"b{name}"]), 32) for name in "qkv")
    mixed = [[0.0] * 32 for _ in range(16)]
    for token in range(16):
        others = range(token // 8 * 8, token // 8 * 8 + 8)
        for head in range(0, 32, 8):
            part = range(head, head + 8)
            powers = [math.exp(math.fsum(q[token][c] * k[other][c] for c in part) / scale) for other in others]
            total = math.fsum(powers)
            for c in part:
                mixed[token][c] = math.fsum(p / total * v[other][c] for p, other in zip(powers, others, strict=True))
    attended = linear(mixed, g["wo"], g["bo"])
    h = rows([a + b for a, b in zip(g["x"], attended, strict=True)], 32)
    gelu = tanh_gelu if tanh else erf_gelu
    inner = [gelu(value) for value in linear(norm(h, g["ln2_w"], g["ln2_b"]), g["w1"], g["b1"])]
    out = linear(rows(inner, 64), g["w2"], g["b2"])
    return [a + b for a, b in zip((value for row in h for value in row), out, strict=True)]


COMPUTE = {
    "matmul": matmul,
    "convolution": convolution,
    "cnn": cnn,
    "transformer": transformer,
    "matmul-fp8": matmul,
    "matmul-int8": matmul,
}
