"""Holds the fake TensorRT against real bindings, which are imported here; run in a child with libraries that are empty.

What the fake has, the real one must have, by the same names of parameters; what the backend looks for in order to tell
releases apart must be there, or not there, in both. Prints a line for each difference.
"""

from __future__ import annotations

import enum
import inspect
import sys

import fake_tensorrt as fake
import tensorrt_bindings as real

ASKED = {
    "NetworkDefinitionCreationFlag": ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
    "BuilderFlag": ("FP16", "TF32"),
    "DataType": ("BF16",),
    "IBuilderConfig": ("set_memory_pool_limit", "builder_optimization_level", "clear_flag"),
    "ICudaEngine": ("num_io_tensors", "get_tensor_shape", "get_binding_name", "num_bindings", "serialize"),
    "IExecutionContext": ("execute_async_v3", "execute_async_v2", "set_input_shape", "set_tensor_address"),
    "OnnxParser": ("parse", "num_errors", "get_error"),
    "ILogger": ("log", "Severity"),
    "Runtime": ("deserialize_cuda_engine",),
}
OURS = ("shape", "run", "has")
"""Methods of the fake that TensorRT's classes have not."""


def differences() -> list[str]:
    found = []
    for name, attributes in ASKED.items():
        there = getattr(real, name)
        here = getattr(fake, name)
        if name == "IExecutionContext":
            here = type(fake.ICudaEngine.create_execution_context(FakeEngine()))
        if name == "IBuilderConfig":
            here = here()
        for attribute in attributes:
            if hasattr(there, attribute) != hasattr(here, attribute):
                where = "the real one" if hasattr(there, attribute) else "the fake"
                found.append(f"only {where} has {name}.{attribute}")
    for name, here in vars(fake).items():
        if not isinstance(here, type) or name.startswith("_") or here.__module__ not in (fake.__name__, "enum"):
            continue
        there = getattr(real, name, None)
        if there is None:
            found.append(f"only the fake has {name}")
        elif issubclass(here, enum.Enum):
            found += [f"only the fake has {name}.{one}" for one in here.__members__ if not hasattr(there, one)]
        else:
            found += methods(name, here, there)
    return found


class FakeEngine:
    operation, shape = "matmul", None


def methods(name: str, here: type, there: type) -> list[str]:
    found = []
    for base in here.__mro__[:-1]:
        for method, function in vars(base).items():
            if method.startswith("_") or method in OURS or not inspect.isfunction(function):
                continue
            document = getattr(getattr(there, method, None), "__doc__", None)
            if document is None:
                found.append(f"only the fake has {name}.{method}")
                continue
            parameters = list(inspect.signature(function).parameters)[1:]
            lacking = [one for one in parameters if f"{one}: " not in document]
            found += [f"{name}.{method} has no parameter {one}: {document.splitlines()[0]}" for one in lacking]
    return found


print(real.__version__)
print("\n".join(differences()))
sys.exit(0)
