"""TensorRT engines of users, with the parts of its documented API that are used; run by test_model_onnx.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from envcheck.smoke_tests.backends import Device
from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.with_tensorrt import EngineRunner, load

SHAPES = {"x": (-1, 3), "y": (-1, 3)}
DEVICE = Device("cuda:0", "cuda", "", 0)


class Memory:
    """Device memory, by address."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytearray] = {}

    def allocate(self, size: int) -> int:
        self.blocks[len(self.blocks) + 1] = bytearray(size)
        return len(self.blocks)

    def write(self, address: int, data: bytes) -> None:
        self.blocks[address][: len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.blocks[address][:size])

    def where(self, address: int) -> int:
        return 0


class Worker:
    stream = 1

    def __init__(self, engine: Any) -> None:
        self.cuda = Memory()
        self.runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)

    def said(self) -> str:
        return "Version tag does not match"

    def wait(self) -> None:
        return None

    def _tensors(self, engine: Any) -> list[tuple[str, bool]]:
        return [("x", True), ("y", False)]

    def _shape(self, engine: Any, name: str) -> tuple[int, ...]:
        return SHAPES[name]


class Context:
    """Doubles its input, for as many rows as it was built for."""

    def __init__(self, memory: Memory, dtype: Any) -> None:
        self.memory, self.dtype, self.rows = memory, dtype, 0
        self.places: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.rows = shape[0]
        return shape[0] <= 4

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.rows, 3)

    def set_tensor_address(self, name: str, memory: int) -> None:
        self.places[name] = memory

    def execute_async_v3(self, stream_handle: int) -> bool:
        held = self.memory.blocks
        values = numpy.frombuffer(bytes(held[self.places["x"]]), dtype=self.dtype)
        held[self.places["y"]][:] = (values * 2).astype(self.dtype).tobytes()
        return True


def runner(word: str, dtype: Any) -> EngineRunner:
    engine = SimpleNamespace(get_tensor_dtype=lambda name: SimpleNamespace(name=word))
    worker = Worker(engine)
    return EngineRunner(worker, engine, Context(worker.cuda, dtype), DEVICE)


@pytest.mark.parametrize(("word", "dtype"), [("FLOAT", "float32"), ("HALF", "float16"), ("INT32", "int32")])
def test_an_engine_runs(word: str, dtype: str) -> None:
    engine = runner(word, dtype)
    assert [(slot.name, slot.dtype, slot.shape) for slot in engine.slots] == [("x", dtype, ("?", 3))]
    x = numpy.arange(6).reshape(2, 3).astype(dtype)
    found = engine.fetch(engine.run(engine.feed({"x": x})))
    assert found["y"].dtype == dtype
    assert (found["y"].array == 2 * x).all()
    assert engine.told() == {"ran_on": "cuda:0"}


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    engine = runner("BF16", "uint16")
    x = numpy.array([[1.0, -2.5, 1 / 3]], dtype=numpy.float32)
    engine.feed({"x": x})
    bits = numpy.frombuffer(bytes(engine.worker.cuda.blocks[1]), dtype=numpy.uint16)
    back = (bits.astype(numpy.uint32) << 16).view(numpy.float32)
    assert back[:2].tolist() == [1.0, -2.5]
    assert abs(back[2] - 1 / 3) < 1 / 3 / 256
    engine.worker.cuda.blocks[2][:] = bits.tobytes()
    assert engine.fetch(None)["y"].array.tolist() == [back.tolist()]


def test_what_an_engine_was_not_built_for() -> None:
    with pytest.raises(ModelError, match=r"was not built for x of shape \[5, 3\]: Version tag"):
        runner("FLOAT", "float32").feed({"x": numpy.ones((5, 3), dtype=numpy.float32)})
    with pytest.raises(ModelError, match="has type FP8"):
        runner("FP8", "float32")


def test_an_engine_of_another_release(tmp_path: Any) -> None:
    (tmp_path / "m.plan").write_bytes(b"ftrt")
    file = SimpleNamespace(path=str(tmp_path / "m.plan"), name="m.plan")
    backend = SimpleNamespace(trt=SimpleNamespace(__version__="10.3.0"))
    with pytest.raises(
        RuntimeError, match=r"TensorRT 10\.3\.0 refuses m\.plan: Version tag does not match \(an engine"
    ):
        load(backend, Worker(None), DEVICE, SimpleNamespace(file=file))  # type: ignore[arg-type]
