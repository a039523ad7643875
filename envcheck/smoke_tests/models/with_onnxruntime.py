"""ONNX and ORT models run by ONNX Runtime, each provider asked for by itself."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.made import Slot
from envcheck.smoke_tests.models.onnx_file import STANDARD
from envcheck.smoke_tests.models.running import Output, Runner
from envcheck.smoke_tests.models.tree import MOST, leaves

if TYPE_CHECKING:
    from envcheck.smoke_tests.backends import Device
    from envcheck.smoke_tests.models.running import State

TYPES = {f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
TYPES |= {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool", "string": "str"}
EXACT = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options with which float32 is float32, so that results of two machines can be compared."""
DAMAGED = ("INVALID_PROTOBUF", "Protobuf parsing failed", "InvalidProtobuf")


def load(backend: Any, worker: Any, device: Device, state: State) -> OnnxRunner:
    """A session. Raises ModelError, and what ONNX Runtime raises."""
    return OnnxRunner(backend.runtime, worker, device, state)


class OnnxRunner(Runner):
    def __init__(self, runtime: Any, worker: Any, device: Device, state: State) -> None:
        self.worker, self.device = worker, device
        self.profiled = device.kind != "cpu" and bool(worker.folder)
        self.session = _session(runtime, device, state, worker.folder if self.profiled else "")
        self.providers = [str(name) for name in self.session.get_providers()]
        self.kernels: dict[str, int] = {}
        self.names = [output.name for output in self.session.get_outputs()]
        self.slots = [_slot(one) for one in self.session.get_inputs()]

    def run(self, fed: Any) -> Any:
        return self.session.run(None, fed)

    def fetch(self, result: Any) -> dict[str, Output]:
        import numpy

        if self.profiled:
            self.kernels = self.worker._profiled(self.session)
        found: dict[str, Output] = {}
        for name, value in zip(self.names, result, strict=True):
            for part, leaf in leaves(value, lambda leaf: isinstance(leaf, numpy.ndarray), name):
                array = numpy.asarray(leaf)
                if array.dtype == object:
                    array = array.astype(str)
                if len(found) < MOST:
                    found[part] = Output(array, str(array.dtype))
        return found

    def told(self) -> dict[str, Any]:
        where = self.device.id if self.device.id in self.providers else self.providers[0]
        if self.kernels and self.device.id not in self.kernels:
            where = max(self.kernels, key=lambda provider: self.kernels[provider])
        return {"ran_on": where, "providers": self.providers, "kernels": self.kernels}


def _session(runtime: Any, device: Device, state: State, profile: str) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 2
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(profile, "model")
    own = (device.id, EXACT[device.id]) if device.id in EXACT else device.id
    asked = [own] if device.kind == "cpu" else [own, "CPUExecutionProvider"]
    name = state.file.name
    try:
        return runtime.InferenceSession(state.file.path, options, providers=asked)
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        if any(sign in text for sign in DAMAGED):
            raise ModelError(f"{name} is damaged: {text}") from None
        lacking = re.search(r"(\S+):(\S+?)\(-?\d+\) is not a registered function/op", text)
        if lacking and lacking[1] not in STANDARD:
            raise ModelError(
                f"{name} uses the operator {lacking[2]} of {lacking[1]}, which this ONNX Runtime does not have; "
                "operators of your own come with a library that has to be registered, which envcheck does not do"
            ) from None
        raise


def _slot(one: Any) -> Slot:
    kind = str(one.type)
    inner = kind[len("tensor(") : -1] if kind.startswith("tensor(") else ""
    if inner not in TYPES:
        raise ModelError(f"input {one.name!r} is {kind}, which Python can't give to ONNX Runtime here")
    shape = tuple(length if isinstance(length, int) and length >= 0 else str(length or "?") for length in one.shape)
    return Slot(one.name, TYPES[inner], shape)
