"""ONNX models run by OpenVINO, in float32 where the device has it, so that results of two machines can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.made import Slot
from envcheck.smoke_tests.models.running import Output, Runner

if TYPE_CHECKING:
    from envcheck.smoke_tests.backends import Device
    from envcheck.smoke_tests.models.running import State

SIGNS = (("i", "int"), ("u", "uint"))
TYPES = {f"{short}{bits}": f"{full}{bits}" for short, full in SIGNS for bits in (8, 16, 32, 64)}
TYPES |= {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "boolean": "bool", "string": "str"}


def load(backend: Any, worker: Any, device: Device, state: State) -> OpenVinoRunner:
    """Raises ModelError, and what OpenVINO raises."""
    try:
        network = backend.core.read_model(state.file.path)
    except Exception as error:
        text = " ".join(str(error).split())
        if "No translator" in text or "not supported" in text or "OpConversionFailure" in text:
            raise
        raise ModelError(f"{state.file.name} can't be read by OpenVINO: {text[-400:]}") from None
    return OpenVinoRunner(backend, worker, network, device)


class OpenVinoRunner(Runner):
    def __init__(self, backend: Any, worker: Any, network: Any, device: Device) -> None:
        self.worker, self.device = worker, device
        options = {"PERFORMANCE_HINT": "LATENCY"}
        if worker._has("float32"):
            options["INFERENCE_PRECISION_HINT"] = "f32"
        self.compiled = backend.core.compile_model(network, device.id, options)
        self.request = self.compiled.create_infer_request()
        # A compiled model may call them by names of nodes within.
        names = [_name(one, number) for number, one in enumerate(network.inputs)]
        self.slots = [_slot(one, name) for one, name in zip(self.compiled.inputs, names, strict=True)]
        names = [_name(one, number) for number, one in enumerate(network.outputs)]
        self.outputs = list(zip(names, self.compiled.outputs, strict=True))

    def feed(self, arrays: dict[str, Any]) -> Any:
        return [arrays[slot.name] for slot in self.slots]

    def run(self, fed: Any) -> Any:
        return self.request.infer(fed)

    def fetch(self, result: Any) -> dict[str, Output]:
        import numpy

        found = {}
        for name, one in self.outputs:
            array = numpy.array(result[one])
            dtype = _type(one, name)
            if dtype == "bfloat16" and array.dtype != numpy.float32:
                array = array.astype(numpy.float32)
            found[name] = Output(array, dtype if dtype != "str" else str(array.dtype))
        return found

    def told(self) -> dict[str, Any]:
        return {"ran_on": self.worker._ran_on(self.compiled)}


def _name(one: Any, number: int) -> str:
    try:
        return str(one.get_any_name())
    except RuntimeError:
        return str(number)


def _type(one: Any, name: str) -> str:
    element = one.get_element_type()
    word = str(element.get_type_name()) if hasattr(element, "get_type_name") else str(element)
    found = TYPES.get(word)
    if found is None:
        raise ModelError(f"{name!r} is {word}, which NumPy does not have")
    return found


def _slot(one: Any, name: str) -> Slot:
    shape: tuple[int | str, ...] | None = None
    partial = one.get_partial_shape()
    if not partial.rank.is_dynamic:
        shape = tuple(int(length.get_length()) if length.is_static else "?" for length in partial)
    dtype = _type(one, name)
    if dtype == "bfloat16":
        raise ModelError(f"input {name!r} is bfloat16, which NumPy does not have")
    return Slot(name, dtype, shape)
