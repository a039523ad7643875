"""The operations of :mod:`envcheck.smoke_tests.reference` in PyTorch: as functions, and as modules to be compiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from envcheck.smoke_tests.reference import Tensor, inputs

HEADS, HEAD = 4, 8
"""Heads, and the width of one."""


def tensor(torch: Any, given: Tensor) -> Any:
    """The values on the CPU, in float32."""
    if hasattr(torch, "frombuffer"):  # since 1.10
        flat = torch.frombuffer(bytearray(given.values.tobytes()), dtype=torch.float32)
    else:
        flat = torch.tensor(given.values.tolist(), dtype=torch.float32)
    return flat.reshape(given.shape)


def module(torch: Any, operation: str) -> tuple[Any, Any]:
    """A ``torch.nn.Module`` of the operation, with its weights as buffers, and the tensor that it is called with."""
    given = {name: tensor(torch, value) for name, value in inputs(operation).items()}
    first, *names = given
    compute = COMPUTE[operation]

    class Operation(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for name in names:
                self.register_buffer(name, given[name])

        def forward(self, x: Any) -> Any:
            return compute(torch, {first: x, **{name: getattr(self, name) for name in names}})

    return Operation().eval(), given[first]


def matmul(torch: Any, given: dict[str, Any]) -> Any:
    return given["a"] @ given["b"]


def convolution(torch: Any, given: dict[str, Any]) -> Any:
    return torch.nn.functional.conv2d(given["x"], given["w"], given["b"], stride=1, padding=1)


def cnn(torch: Any, given: dict[str, Any]) -> Any:
    function = torch.nn.functional
    x = function.relu(function.conv2d(given["x"], given["w1"], given["b1"], padding=1))
    x = function.relu(function.conv2d(function.max_pool2d(x, 2), given["w2"], given["b2"], padding=1))
    return function.linear(x.mean(dim=(2, 3)), given["w3"], given["b3"])


def transformer(torch: Any, given: dict[str, Any]) -> Any:
    function = torch.nn.functional
    x = given["x"]
    batch, length, width = x.shape[0], x.shape[1], HEADS * HEAD  # numbers that tracing keeps as they are

    def linear(x: Any, name: str) -> Any:
        return function.linear(x, given[f"w{name}"], given[f"b{name}"])

    def norm(x: Any, name: str) -> Any:
        return function.layer_norm(x, (width,), given[f"{name}_w"], given[f"{name}_b"], 1e-5)

    def split(x: Any, name: str) -> Any:
        return linear(x, name).reshape(batch, length, HEADS, HEAD).transpose(1, 2)

    normed = norm(x, "ln1")
    q, k, v = split(normed, "q"), split(normed, "k"), split(normed, "v")
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(HEAD), dim=-1)
    x = x + linear((weights @ v).transpose(1, 2).reshape(batch, length, width), "o")
    return x + linear(function.gelu(linear(norm(x, "ln2"), "1")), "2")


COMPUTE: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "matmul": matmul,
    "convolution": convolution,
    "cnn": cnn,
    "transformer": transformer,
}


def flat(torch: Any, result: Any) -> list[float]:
    """The values of a result; converted on the CPU, for not every device has float64."""
    values: list[float] = result.detach().to("cpu").to(torch.float64).contiguous().flatten().tolist()
    return values


def must_be_right(torch: Any, operation: str, dtype: str, result: Any) -> None:
    """Raises RuntimeError, with the figures, for a result that is not the reference's."""
    from envcheck.smoke_tests.reference import compare

    found = compare(operation, dtype, flat(torch, result), tuple(result.shape))
    if found.status != "ok":
        raise RuntimeError(f"{operation}: {found.text}")


def must_agree(torch: Any, result: Any, other: Any, rtol: float = 1e-5) -> None:
    """Raises RuntimeError for results further apart than ``rtol`` of the largest value."""
    from envcheck.smoke_tests.reference import compare_values

    if tuple(result.shape) != tuple(other.shape):
        raise RuntimeError(f"the shape is {tuple(result.shape)}, not {tuple(other.shape)}")
    right = flat(torch, other)
    found = compare_values(flat(torch, result), right, 0.0, rtol * max(map(abs, right), default=0.0))
    if found.status != "ok":
        raise RuntimeError(found.text)


def refused(error: BaseException, words: Iterable[str]) -> bool:
    """Whether one of the words stands in the text of an error, or of one that led to it."""
    from envcheck.probes.import_child import chain

    text = "\n".join(chain(error))
    return any(word in text for word in words)
