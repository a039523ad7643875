"""What models use besides plain operations, each compared with the reference: attention kernels, autocast,
channels-last convolutions, gradients. Only in a thorough test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from envcheck.smoke_tests.backends import Unsupported
from envcheck.smoke_tests.backends.torch_operations import (
    COMPUTE,
    flat,
    must_agree,
    must_be_right,
    refused,
    tensor,
)
from envcheck.smoke_tests.reference import inputs

ATTENTION = {
    "flash": "FLASH_ATTENTION",
    "mem_efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
    "cudnn": "CUDNN_ATTENTION",
}
"""As ``torch.backends.cuda.NAME_sdp_enabled`` calls it -> as ``torch.nn.attention.SDPBackend`` does."""
NO_KERNEL = ("No available kernel", "No viable backend", "No valid execution plans")
"""How torch says that a kernel is not for this device, or not in this build."""
NO_AUTOCAST = ("unsupported autocast device_type", "only support", "not implemented for", "does not support bfloat16")
"""How torch says that it has no autocast for a device, or none to this data type."""


def steps(torch: Any, device: Any, kind: str, dtypes: dict[str, bool]) -> Iterable[tuple[str, Callable[[], Any]]]:
    """``kind`` as torch names it: ``cuda`` for ROCm, too. ``dtypes``: what the device claims to have."""
    for name in ATTENTION:
        if enabled(torch, name) and (kind == "cuda" or name in ("flash", "math")):
            yield f"attention {name}", partial(attention, torch, device, kind, name)
    for dtype in ("bfloat16", "float16"):
        if dtypes.get(dtype) or (kind == "cpu" and dtype in dtypes):
            yield f"autocast {dtype}", partial(autocast, torch, device, kind, dtype)
    yield "channels-last convolution", partial(channels_last, torch, device)
    yield "gradient", partial(gradient, torch, device)


def enabled(torch: Any, name: str) -> bool:
    """Whether torch has this attention kernel and would choose it."""
    if not hasattr(torch.nn.functional, "scaled_dot_product_attention"):  # since 2.0
        return False
    ask = getattr(getattr(torch.backends, "cuda", None), f"{name}_sdp_enabled", None)
    return ask is not None and bool(ask())


def only(torch: Any, name: str) -> AbstractContextManager[Any]:
    """While it is held no other attention kernel is chosen. Raises Unsupported where torch cannot do that."""
    chosen = getattr(torch.nn, "attention", None)
    if chosen is not None and hasattr(chosen, "sdpa_kernel"):  # since 2.3
        return chosen.sdpa_kernel([getattr(chosen.SDPBackend, ATTENTION[name])])  # type: ignore[no-any-return]
    flags = {f"enable_{each}": each == name for each in ("flash", "math", "mem_efficient")}
    return torch.backends.cuda.sdp_kernel(**flags)  # type: ignore[no-any-return]


def attention(torch: Any, device: Any, kind: str, name: str) -> None:
    """One attention kernel against the formula. Raises RuntimeError."""
    # flash and cuDNN have no float32 on GPUs; 64 is a head size that each kernel takes.
    dtype = torch.float16 if kind != "cpu" and name != "math" else torch.float32
    shape = (2, 4, 32, 64)
    values = torch.arange(2 * 4 * 32 * 64, dtype=torch.float32).reshape(shape)
    q, k, v = (torch.sin(values * step).to(dtype).to(device) for step in (0.7, 1.3, 1.9))
    try:
        with only(torch, name):
            result = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    except RuntimeError as error:
        if refused(error, NO_KERNEL):
            raise Unsupported(f"torch has no {name} attention for this device: {error}") from None
        raise
    q, k, v = (each.cpu().double() for each in (q, k, v))
    right = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(shape[-1]), dim=-1) @ v
    must_agree(torch, result, right, 1e-5 if dtype == torch.float32 else 5e-3)


def autocast(torch: Any, device: Any, kind: str, dtype: str) -> None:
    """A small CNN whose weights are float32. Raises Unsupported where torch has no autocast for the device."""
    if not hasattr(torch, "autocast"):  # since 1.10
        raise Unsupported(f"torch {torch.__version__} has no torch.autocast")
    given = {name: tensor(torch, value).to(device) for name, value in inputs("cnn").items()}
    try:
        with torch.autocast(kind, dtype=getattr(torch, dtype)):
            result = COMPUTE["cnn"](torch, given)
    except RuntimeError as error:
        if refused(error, NO_AUTOCAST):
            raise Unsupported(str(error)) from None
        raise
    if result.dtype != getattr(torch, dtype):
        raise Unsupported(f"torch {torch.__version__} leaves {result.dtype} as it is under autocast on {kind}")
    must_be_right(torch, "cnn", dtype, result)


def channels_last(torch: Any, device: Any) -> None:
    """A convolution whose tensors lie in memory with the channels last. Raises RuntimeError."""
    given = {name: tensor(torch, value).to(device) for name, value in inputs("convolution").items()}
    for name in ("x", "w"):
        given[name] = given[name].to(memory_format=torch.channels_last)
    must_be_right(torch, "convolution", "float32", COMPUTE["convolution"](torch, given))


def gradient(torch: Any, device: Any) -> None:
    """The gradient of a small function against its finite differences in float64. Raises RuntimeError."""

    def function(x: Any, weight: Any) -> Any:
        return (torch.nn.functional.gelu(x @ weight) ** 2).sum()

    x = torch.sin(torch.arange(24, dtype=torch.float64)).reshape(4, 6)
    weight = torch.cos(torch.arange(18, dtype=torch.float64) * 0.7).reshape(6, 3)
    with torch.enable_grad():
        leaf = weight.to(torch.float32).to(device).requires_grad_(True)
        function(x.to(torch.float32).to(device), leaf).backward()
    right = torch.zeros_like(weight)
    step = 1e-5
    for index in range(weight.numel()):
        moved = torch.zeros_like(weight).flatten()
        moved[index] = step
        moved = moved.reshape(weight.shape)
        right.view(-1)[index] = (function(x, weight + moved) - function(x, weight - moved)) / (2 * step)
    if not any(flat(torch, leaf.grad)):
        raise RuntimeError("all values of the gradient are 0")
    must_agree(torch, leaf.grad, right, 1e-5)
