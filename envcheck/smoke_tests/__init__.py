"""Smoke tests: small inferences on each framework and device, each framework in a child process of its own.

What is in this package runs inside of those children, next to the framework, with any of its versions: so it needs
the standard library only. :mod:`envcheck.probes.smoke` starts the children and reads what they tell.
"""

from __future__ import annotations

BACKENDS = {
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "cupy": "cupy",
    "openvino": "openvino",
    "export": "torch",
}
"""Backend -> the module whose presence makes it run; ``envcheck.smoke_tests.backends.NAME`` is its file."""

ON_DEMAND = ("export",)
"""Backends that run in a thorough test, or when they are named."""

OPERATIONS = ("matmul", "convolution", "cnn", "transformer")
"""What every backend computes, in this order: the simplest one that fails tells most."""

DTYPES = ("float32", "tf32", "float16", "bfloat16", "float8_e4m3", "int8")
"""Data types, by the names that the reference has tolerances for."""

GROUP = "envcheck.smoke_backends"
"""Entry points of this group add backends: ``name = "package.module"``, a module like those in ``backends``."""


def asked_for(device: str, kind: str, number: int | None, words: list[str]) -> bool:
    """Whether a device is meant by one of the words: its id, its kind (``cuda``), both with its number (``cuda:1``), or
    ``gpu`` for everything but the CPU. No word means every device.
    """
    names = {device, kind, f"{kind}:{number or 0}"}
    if kind != "cpu":
        names.add("gpu")
    return not words or not names.isdisjoint(words)


ON_DEVICE = "envcheck smoke test on "
"""Begins a line on stderr: what follows was written while a device had its turn."""
