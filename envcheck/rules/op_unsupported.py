"""The model uses an operator that its runtime does not have.

What it does
    Reports the operators that a runtime, converter or compiler named when it refused the model. They are known from an
    error message or from a stated fact: the operators of a model file are not read.

Why it fails
    A runtime has kernels for certain operators, versions of them and data types. Newer opsets, custom operators,
    operators of a training framework and rare data types are outside of them. An execution provider without a kernel
    leaves the operator to another one; the last one in the row refuses the model.

How it shows
    `NOT_IMPLEMENTED : Could not find an implementation for Resize(19) node with name ''`; `No Op registered for
    LayerNormalization with domain_version of 11`; `Didn't find op for builtin opcode 'MUL' version '5'`; `Exporting the
    operator 'aten::roll' to ONNX opset version 12 is not supported`; `getPluginCreator could not find plugin:
    NonZero version: 1`.

How to fix
    Install a newer release of the runtime; or convert or export the model again with an opset that the runtime knows,
    or with operators it has; or register the library with the custom operators before the model is loaded.

Exceptions
    Where nothing was refused, nothing is said: whether a kernel exists depends on the data types in the model too.
    Operators that fall back to the CPU are no fault.

Sources
    The message of the runtime itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Result, Undecided
from envcheck.core.snapshot import NOT_STATED, Model, Unknown, known
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages

MOST_NAMED = 5
"""Operators that are named in a message; the rest is counted."""

PACKAGES = {
    "onnx runtime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime"),
    "tflite": ("ai-edge-litert", "tflite-runtime", "tensorflow"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt-cu13", "tensorrt-cu12", "tensorrt"),
    "torch.onnx": ("torch",),
    "core ml": ("coremltools",),
    "tf2onnx": ("tf2onnx",),
    "opencv": ("opencv-python", "opencv-contrib-python", "opencv-python-headless"),
}
"""The distributions that bring a runtime; the first that is installed is the one to update."""

WAYS = {
    "onnx runtime": (
        "or convert the model to another opset with onnx.version_converter, change the data type of the node, or "
        "register the library with the custom operator (SessionOptions.register_custom_ops_library)"
    ),
    "tflite": (
        "or convert the model again with the TensorFlow release of this runtime; operators of TensorFlow need "
        "converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS] and the "
        "Flex delegate"
    ),
    "tensorrt": (
        "or fold constants (polygraphy surgeon sanitize model.onnx --fold-constants -o folded.onnx), load the plugin "
        "library before the model, or let another execution provider run these nodes"
    ),
    "torch.onnx": (
        "or export with a higher opset_version, with dynamo=True, or write the operation with others that can be "
        "exported"
    ),
}
"""What else helps, by runtime."""

ELSEWHERE = "or convert or export the model again with operators and an opset that the runtime has"


def check(model: Model, *, packages: Packages | None = None) -> Iterator[Result]:
    runtime = known(model.runtime) or "the runtime"
    subject = f"{runtime} with the operators of the model"
    if isinstance(model.missing_operators, Unknown) and model.missing_operators != NOT_STATED:
        yield Undecided(subject, "model.missing_operators", model.missing_operators.why)
    missing = known(model.missing_operators)
    if not missing:
        return
    yield Finding(
        severity="error",
        confidence="high",
        subject=subject,
        message=f"The model uses {_listed(missing)}, and {runtime} has no implementation of {_it(missing)}.",
        evidence=[Evidence(f"{runtime} refuses {_listed(missing)}", "what the runtime said")],
        fixes=list(_fixes(runtime, packages)),
    )


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names[:MOST_NAMED])
    return text + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _fixes(runtime: str, packages: Packages | None) -> Iterator[Fix]:
    kind = runtime.lower()
    there = {canonical(package.name) for package in packages or ()}
    name = next((name for name in PACKAGES.get(kind, ()) if name in there), "")
    if name:
        yield Fix(
            f'pip install --upgrade "{name}"',
            "a newer release has more operators; see first whether the newest still fits this Python, driver and CUDA "
            f"(envcheck inspect {name})",
            "review",
        )
    else:
        yield Fix("", f"install a newer release of {runtime}", "manual")
    yield Fix("", WAYS.get(kind, ELSEWHERE), "manual")
