"""Engines run by TensorRT: compiled for one release of it and one kind of GPU, which TensorRT checks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.made import Slot, shown
from envcheck.smoke_tests.models.running import Output, Runner

if TYPE_CHECKING:
    from envcheck.smoke_tests.backends import Device
    from envcheck.smoke_tests.models.running import State

TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""Names of TensorRT's data types -> NumPy's, and bfloat16."""


def load(backend: Any, worker: Any, device: Device, state: State) -> EngineRunner:
    """The engine with its context. Raises RuntimeError with what TensorRT logged."""
    with open(state.file.path, "rb") as file:
        plan = file.read()
    engine = worker.runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError(
            f"TensorRT {backend.trt.__version__} refuses {state.file.name}: {worker.said()} (an engine runs with the "
            "release of TensorRT and on the kind of GPU that it was built for)"
        )
    context = engine.create_execution_context()
    if context is None:
        raise RuntimeError(f"TensorRT makes no context for {state.file.name}: {worker.said()}")
    return EngineRunner(worker, engine, context, device)


class EngineRunner(Runner):
    def __init__(self, worker: Any, engine: Any, context: Any, device: Device) -> None:
        self.worker, self.engine, self.context, self.device = worker, engine, context, device
        names = worker._tensors(engine)
        self.names = [name for name, _ in names]
        self.types = {name: self._type(name) for name in self.names}
        self.results = [name for name, goes_in in names if not goes_in]
        self.slots = [Slot(name, self.types[name], self._declared(name)) for name, goes_in in names if goes_in]
        self.places: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def _type(self, name: str) -> str:
        engine = self.engine
        new = hasattr(engine, "get_tensor_dtype")  # from 8.5 on
        told = engine.get_tensor_dtype(name) if new else engine.get_binding_dtype(self.names.index(name))
        word = str(getattr(told, "name", told)).rpartition(".")[2]
        if word not in TYPES:
            raise ModelError(f"{name!r} has type {word}, which can't be given or read here")
        return TYPES[word]

    def _declared(self, name: str) -> tuple[int | str, ...]:
        return tuple(length if length >= 0 else "?" for length in self.worker._shape(self.engine, name))

    def feed(self, arrays: dict[str, Any]) -> Any:
        cuda, context = self.worker.cuda, self.context
        for slot in self.slots:
            array = arrays[slot.name]
            data = _to_bfloat16(array) if slot.dtype == "bfloat16" else array.tobytes()
            self.shapes[slot.name] = tuple(array.shape)
            if slot.shape is not None and any(isinstance(axis, str) for axis in slot.shape):
                set_shape = getattr(context, "set_input_shape", None)
                if set_shape is None:
                    ok = context.set_binding_shape(self.names.index(slot.name), array.shape)
                else:
                    ok = set_shape(slot.name, tuple(array.shape))
                if ok is False:
                    said = self.worker.said()
                    raise ModelError(f"the engine was not built for {slot.name} of shape {shown(array.shape)}: {said}")
            self.places[slot.name] = cuda.allocate(max(len(data), 1))
            cuda.write(self.places[slot.name], data)
        for name in self.results:
            shape = self._shape(name)
            if any(length < 0 for length in shape):
                raise ModelError(f"the shape of output {name!r} depends on values, which is not supported here")
            self.shapes[name] = shape
            self.places[name] = cuda.allocate(max(self._size(name), 1))
        return None

    def _shape(self, name: str) -> tuple[int, ...]:
        context = self.context
        if hasattr(context, "get_tensor_shape"):
            told = context.get_tensor_shape(name)
        elif hasattr(context, "get_binding_shape"):
            told = context.get_binding_shape(self.names.index(name))
        else:
            return tuple(self.worker._shape(self.engine, name))
        return tuple(int(length) for length in told)

    def _size(self, name: str) -> int:
        import numpy

        count = 1
        for length in self.shapes[name]:
            count *= length
        return count * (2 if self.types[name] == "bfloat16" else int(numpy.dtype(self.types[name]).itemsize))

    def run(self, fed: Any) -> Any:
        worker = self.worker
        if hasattr(self.context, "execute_async_v3"):  # from 8.5 on
            for name, address in self.places.items():
                self.context.set_tensor_address(name, address)
            done = self.context.execute_async_v3(worker.stream)
        else:
            done = self.context.execute_async_v2([self.places[name] for name in self.names], worker.stream)
        if not done:
            raise RuntimeError(f"TensorRT did not run the engine: {worker.said()}")
        worker.wait()
        return None

    def fetch(self, result: Any) -> dict[str, Output]:
        import numpy

        found = {}
        for name in self.results:
            data, dtype = self.worker.cuda.read(self.places[name], self._size(name)), self.types[name]
            if dtype == "bfloat16":
                array = (numpy.frombuffer(data, dtype=numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)
            else:
                array = numpy.frombuffer(data, dtype=dtype)
            found[name] = Output(array.reshape(self.shapes[name]), dtype)
        return found

    def told(self) -> dict[str, Any]:
        if not self.results:
            return {}
        return {"ran_on": f"cuda:{self.worker.cuda.where(self.places[self.results[0]])}"}


def _to_bfloat16(array: Any) -> bytes:
    """The upper halves of float32. What is made has no more bits; of what was given the rest is rounded."""
    import numpy

    bits = array.astype(numpy.float32).view(numpy.uint32)
    rounded: bytes = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16).tobytes()
    return rounded
