"""OpenVINO: every device that its plugins find, each with a precision that is asked for and read back.

Left to itself OpenVINO takes the precision that is fastest on the device: bfloat16 on a CPU with AVX512_BF16 or AMX,
float16 on GPUs. So each model is compiled with a hint, and a device that takes another precision is told to lack it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Speed, Unsupported, Worker
from envcheck.smoke_tests.reference import inputs, model

HINTS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "f32"}
"""Data type -> the precision hint: of an int8 model the layers say themselves what they are in."""
CAPABILITIES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "int8": "INT8"}
"""Data type -> how a device names it among its capabilities."""
WORDS = {"f32": ("f32", "float32"), "f16": ("f16", "float16"), "bf16": ("bf16", "bfloat16")}
"""Precision hint -> how releases print it."""
REFUSALS = (
    *("not supported", "unsupported", "Unsupported", "NotImplemented", "OpConversionFailure", "No translator"),
    "INFERENCE_PRECISION_HINT",
)
"""How OpenVINO says that it, or a device, has no layer for a model, or not this precision."""

SIZE, GPU_SIZE = 512, 2048
"""Rows of the matrix that is multiplied to see how fast a device is."""


def backend() -> Backend:
    return OpenVino()


class OpenVino(Backend):
    def load(self) -> dict[str, str]:
        import openvino

        self.module = openvino
        if not hasattr(openvino, "Core"):  # until 2023.0
            import openvino.runtime as openvino_runtime

            self.module = openvino_runtime
        self.core = self.module.Core()
        build = self.module.get_version() if hasattr(self.module, "get_version") else openvino.__version__
        # 2026.4.1-22982-e213a147257-releases/2026/4: the release, the build, the commit, the branch.
        self.version = str(build).partition("-")[0]
        return {"version": self.version, "build": str(build)}

    def devices(self) -> list[Device]:
        found = [str(name) for name in self.core.available_devices]
        if not found:
            raise Missing("none of the plugins of OpenVINO finds a device")
        found.sort(key=lambda name: name != "CPU")
        return [Device(name, _kind(name), _text(self.core, name, "FULL_DEVICE_NAME")) for name in found]

    def open(self, device: Device) -> Worker:
        return OpenVinoWorker(self.module, self.core, device, self.version)


class OpenVinoWorker(Worker):
    def __init__(self, module: Any, core: Any, device: Device, version: str) -> None:
        self.module, self.core, self.device = module, core, device
        capabilities = _property(core, device.id, "OPTIMIZATION_CAPABILITIES")
        self.capabilities = [str(word) for word in capabilities] if isinstance(capabilities, list | tuple) else []
        if device.kind == "cpu" and version < "2024" and "FP16" in self.capabilities:
            # Until 2023.3 it means of a CPU that models in float16 can be read; they are computed in another type.
            self.capabilities.remove("FP16")
        self.primitives: set[str] = set()
        self.first: Any = None
        if self._has("float32"):
            # The first model that is compiled makes the context of the device.
            self.first = self._compile("matmul", "float32")

    def _has(self, dtype: str) -> bool:
        """Whether the device has a data type; float32 it has where it tells of no capabilities."""
        return CAPABILITIES[dtype] in self.capabilities or (dtype == "float32" and not self.capabilities)

    def memory(self) -> tuple[float | None, float | None]:
        total = _property(self.core, self.device.id, "GPU_DEVICE_TOTAL_MEM_SIZE")
        return None, total / 2**20 if isinstance(total, int) else None

    def allocate(self, size: int) -> None:
        import numpy

        block = numpy.full(size, 1, dtype=numpy.uint8)
        if self.device.kind == "gpu" and hasattr(self.core, "get_default_context"):
            kind, shape = self.module.Type.u8, self.module.Shape([size])
            there = self.core.get_default_context(self.device.id).create_tensor(kind, shape, {})
            if hasattr(there, "copy_from"):
                there.copy_from(self.module.Tensor(block))
        elif int(block[-1]) != 1:
            raise RuntimeError("memory that was written to reads otherwise")

    def dtypes(self) -> dict[str, bool]:
        return {dtype: self._has(dtype) for dtype in ("float16", "bfloat16", "int8")}

    def _compile(self, operation: str, dtype: str) -> Any:
        hint = HINTS[dtype]
        # Latency is what one small inference is about; with it no further streams are started.
        asked = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        compiled = self.core.compile_model(model(operation, dtype), self.device.id, asked)
        if dtype != "int8":
            used = _text(compiled, "", "INFERENCE_PRECISION_HINT")
            if used and used not in WORDS[hint]:
                raise Unsupported(f"OpenVINO was asked for {hint} on {self.device.id} and took {used}")
        return compiled

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        if dtype == "float32" and not self._has(dtype):
            raise Unsupported(f"{self.device.id} has no float32, only {', '.join(self.capabilities)}")
        import numpy

        try:
            again = self.first is not None and (operation, dtype) == ("matmul", "float32")
            compiled = self.first if again else self._compile(operation, dtype)
        except Unsupported:
            raise
        except Exception as error:
            if dtype != "float32" and any(word in str(error) for word in REFUSALS):
                raise Unsupported(str(error)) from None
            raise
        self._note_primitives(compiled)
        tensor = next(iter(inputs(operation).values()))
        x = numpy.frombuffer(tensor.values, dtype=numpy.float32).reshape(tensor.shape)
        request = compiled.create_infer_request()
        return lambda: (next(iter(request.infer([x]).values())), compiled)

    def _note_primitives(self, compiled: Any) -> None:
        """Keep which kernels a model was compiled to, ``Convolution: brgconv_avx512_f32``. Not every plugin tells."""
        try:
            for node in compiled.get_runtime_model().get_ordered_ops():
                told = node.get_rt_info()
                layer, primitive = (_plain(told[name]) for name in ("layerType", "primitiveType"))
                if layer in ("Convolution", "FullyConnected", "MatMul"):
                    self.primitives.add(f"{layer}: {primitive}")
        except Exception:
            return

    def fetch(self, result: Any) -> Answer:
        values, compiled = result
        return Answer(values.astype("float64").ravel().tolist(), tuple(values.shape), self._ran_on(compiled))

    def _ran_on(self, compiled: Any) -> str:
        """The device that executes a model; ``GPU`` and its only one, ``GPU.0``, are the same."""
        told = _property(compiled, "", "EXECUTION_DEVICES")
        used = [str(name).strip("()") for name in told] if isinstance(told, list | tuple) else []
        if not used:
            return ""
        here = self.device.id
        same = all(name == here or name == f"{here}.0" for name in used)
        return here if same else ",".join(used)

    def speeds(self) -> Iterable[Speed]:
        if not self._has("float32"):
            return
        import numpy

        compiled = self._compile("speed", "float32")
        size = SIZE if self.device.kind == "cpu" else GPU_SIZE
        given = [numpy.full((size, size), 0.5, dtype=numpy.float32)]
        request = compiled.create_infer_request()
        yield Speed("matmul", "float32", 2.0 * size**3, lambda: request.infer(given))

    def told(self) -> dict[str, Any]:
        facts = {
            "capabilities": ", ".join(self.capabilities),
            # What a model gets that asks for nothing.
            "default_precision": _text(self.core, self.device.id, "INFERENCE_PRECISION_HINT"),
            "threads": _text(self.core, self.device.id, "INFERENCE_NUM_THREADS"),
            "primitives": "; ".join(sorted(self.primitives)),
        }
        facts = {name: value for name, value in facts.items() if value and (name, value) != ("threads", "0")}
        said: dict[str, Any] = {"facts": facts}
        if self.first is not None:
            said["ran_on"] = self._ran_on(self.first)
            said["providers"] = [said["ran_on"]] if said["ran_on"] else []
        return said


def _kind(name: str) -> str:
    """``GPU.1`` -> ``gpu``: a GPU of any maker that OpenVINO's plugin runs on."""
    return name.partition(".")[0].lower()


def _property(of: Any, device: str, name: str) -> Any:
    """A property of a device, or of a compiled model where ``device`` is empty; None where it is not told."""
    try:
        return of.get_property(device, name) if device else of.get_property(name)
    except Exception:
        return None  # each plugin has properties of its own


def _text(of: Any, device: str, name: str) -> str:
    """A property as a text; ``<Type: 'bfloat16'>`` is ``bfloat16``."""
    value = _property(of, device, name)
    text = "" if value is None else str(value)
    return text[len("<Type: '") : -len("'>")] if text.startswith("<Type: '") and text.endswith("'>") else text


def _plain(value: Any) -> str:
    """What an information of a node says: a text, or an object that holds one."""
    return value if isinstance(value, str) else str(value.astype(str))
