"""ONNX Runtime: every provider of the build, each asked for by itself.

The available providers are those that were compiled in; where a session really runs is told by the session, and kernel
by kernel by its profile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from envcheck.smoke_tests.backends import Answer, Backend, Device, Speed, Unsupported, Worker
from envcheck.smoke_tests.reference import inputs

KINDS = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "NvTensorRTRTXExecutionProvider": "cuda",
    "ROCMExecutionProvider": "rocm",
    "MIGraphXExecutionProvider": "rocm",
    "DmlExecutionProvider": "directml",
    "OpenVINOExecutionProvider": "openvino",
    "CoreMLExecutionProvider": "coreml",
    "QNNExecutionProvider": "qnn",
}
"""Provider -> kind of device. A provider that is not named here computes on the CPU, or needs options of its own."""

NO_KERNEL = (
    "NOT_IMPLEMENTED",
    "NotImplemented",
    "Could not find an implementation",
    "opset",
    "Type Error",
    "INVALID_GRAPH",
    "No Op registered",
    "Unknown model file format version",
    "Load model from",
)
"""How ONNX Runtime, from 1.4 on, says that this release or this provider has no kernel for a model."""

SIZE, GPU_SIZE = 256, 2048
"""Rows of the matrix that is multiplied to see how fast a device is."""


def backend() -> Backend:
    return OnnxRuntime()


class OnnxRuntime(Backend):
    def load(self) -> dict[str, str]:
        # float32 is to be float32: the providers for CUDA and TensorRT take TF32 unless they are told. By the
        # environment, since TensorRT's has no option for it, and CUDA's from 1.18 on only.
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
        import onnxruntime

        self.runtime = onnxruntime
        return {"version": str(onnxruntime.__version__), "device": str(onnxruntime.get_device())}

    def devices(self) -> list[Device]:
        available = [str(name) for name in self.runtime.get_available_providers()]
        found = [name for name in available if name in KINDS]
        # The CPU first: what fails there fails everywhere.
        found.sort(key=lambda name: KINDS[name] != "cpu")
        return [Device(name, KINDS[name], "", 0 if KINDS[name] == "cuda" else None) for name in found]

    def open(self, device: Device) -> Worker:
        return OnnxWorker(self.runtime, device, getattr(self, "request", {}))


class OnnxWorker(Worker):
    def __init__(self, runtime: Any, device: Device, request: dict[str, Any]) -> None:
        self.runtime, self.device = runtime, device
        self.folder = str(request.get("folder") or "")
        self.all_types = bool(request.get("thorough") or request.get("dtypes"))
        self.providers: list[str] = []
        self.kernels: dict[str, int] = {}
        self.first = self._session("matmul", "float32")

    def _session(self, operation: str, dtype: str) -> Any:
        from envcheck.smoke_tests.reference import model

        options = self.runtime.SessionOptions()
        options.log_severity_level = 2
        # Threads of several sessions that wait for work in a loop take the time of the one that has some.
        if hasattr(options, "add_session_config_entry"):  # from 1.6 on
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if operation not in ("transformer", "speed"):
            options.intra_op_num_threads = 1
        asked = [self.device.id] if self.device.kind == "cpu" else [self.device.id, "CPUExecutionProvider"]
        if self.device.kind != "cpu" and self.folder:
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(self.folder, f"{operation}.{dtype}")
        session = self.runtime.InferenceSession(model(operation, dtype), options, providers=asked)
        used = [str(name) for name in session.get_providers()]
        if not self.providers or self.device.id not in used:
            self.providers = used
        return session

    def dtypes(self) -> dict[str, bool]:
        if self.device.kind == "cpu":
            # Its kernels for float16 are those for float32 between two casts: that shows nothing new.
            return {"int8": True, **({"float16": False} if self.all_types else {})}
        return {"float16": True, "bfloat16": False, "int8": False}

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        import numpy

        try:
            session = self.first if (operation, dtype) == ("matmul", "float32") else self._session(operation, dtype)
        except Exception as error:
            if dtype != "float32" and any(word in str(error) for word in NO_KERNEL):
                raise Unsupported(str(error)) from None
            raise
        tensor = next(iter(inputs(operation).values()))
        x = numpy.frombuffer(tensor.values, dtype=numpy.float32).reshape(tensor.shape)
        given = {"x": x}
        return lambda: (session.run(None, given)[0], session)

    def fetch(self, result: Any) -> Answer:
        value, session = result
        where = self.device.id if self.device.id in session.get_providers() else str(session.get_providers()[0])
        if self.device.kind != "cpu" and self.folder:
            ran = self._profiled(session)
            for provider, count in ran.items():
                self.kernels[provider] = self.kernels.get(provider, 0) + count
            if ran and self.device.id not in ran:
                where = max(ran, key=lambda provider: ran[provider])
        return Answer(value.astype("float64").ravel().tolist(), tuple(value.shape), where)

    def _profiled(self, session: Any) -> dict[str, int]:
        """Provider -> kernels that it ran, from the profile of a session."""
        import json

        try:
            path = session.end_profiling()
            with open(path, encoding="utf-8") as file:
                events = json.load(file)
        except (OSError, ValueError):
            return {}
        found: dict[str, int] = {}
        for event in events if isinstance(events, list) else []:
            provider = event.get("args", {}).get("provider") if isinstance(event, dict) else None
            if provider and str(event.get("name", "")).endswith("_kernel_time"):
                found[str(provider)] = found.get(str(provider), 0) + 1
        return found

    def speeds(self) -> Iterable[Speed]:
        import numpy

        if self.device.id not in self.providers:
            return  # it would measure the CPU once more
        if self.device.kind == "cpu" and not self.all_types:
            return  # most of the time goes into copies, and it takes as long as all else together
        session = self._session("speed", "float32")
        size = SIZE if self.device.kind == "cpu" else GPU_SIZE
        given = {"x": numpy.full((size, size), 0.5, dtype=numpy.float32)}
        yield Speed("matmul", "float32", 2.0 * size**3, lambda: session.run(None, given))

    def told(self) -> dict[str, Any]:
        where = self.device.id if self.device.id in self.providers else (self.providers or [""])[0]
        if self.kernels and self.device.id not in self.kernels:
            where = max(self.kernels, key=lambda provider: self.kernels[provider])
        return {"ran_on": where, "providers": self.providers, "kernels": self.kernels}
