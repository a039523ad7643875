"""TensorRT: engines built of the shipped ONNX models on every GPU, run, serialised, loaded again and run again.

Written for the Python API of TensorRT 8 to 11: what changed among them is looked for by its name. Memory on the device
is had from the driver, so neither PyTorch nor cuda-python is needed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Speed, Unsupported, Worker
from envcheck.smoke_tests.cuda import NO_DEVICE, Cuda, CudaError, gpu_nodes
from envcheck.smoke_tests.reference import Tensor, compare_values, inputs, model, size

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
"""What the bindings need, the one that the others need first."""
NO_LAYER = ("No importer registered", "nsupported", "not supported", "Plugin not found", "opset", "UNSUPPORTED_NODE")
"""How TensorRT says that this release has no layer for a model."""
WORKSPACE_MIB = 256
"""Memory that the layers of an engine may take while they work, unless the budget is less."""
QUICK = 1
"""Optimisation level: the least one that still tries kernels. TensorRT's own is 3 and takes several times as long."""
ROWS = 2048
"""Of the matrix that is multiplied to see how fast a device is."""


def backend() -> Backend:
    return TensorRt()


class TensorRt(Backend):
    def load(self) -> dict[str, str]:
        self.trt, lacking = _import()
        if self.trt is None:
            raise ImportError(lacking)
        return {"version": str(self.trt.__version__)}

    def devices(self) -> list[Device]:
        try:
            self.cuda = Cuda()
        except OSError as error:
            if gpu_nodes():
                raise
            raise Missing(f"TensorRT computes on GPUs only and there is no NVIDIA driver: {error}") from None
        except CudaError as error:
            if error.code == NO_DEVICE:
                raise Missing(f"TensorRT computes on GPUs only and there is none: {error}") from None
            raise
        cuda = self.cuda
        return [Device(f"cuda:{index}", "cuda", cuda.name(index), index) for index in range(cuda.count())]

    def open(self, device: Device) -> Worker:
        return TensorRtWorker(self.trt, self.cuda, device, getattr(self, "request", {}))


class Loaded(NamedTuple):
    """An engine that can be run."""

    engine: Any
    context: Any
    given: dict[str, int]
    """Name of an input -> the address of its memory on the device."""
    results: dict[str, int]
    shapes: dict[str, tuple[int, ...]]


class TensorRtWorker(Worker):
    def __init__(self, trt: Any, cuda: Cuda, device: Device, request: dict[str, Any]) -> None:
        self.trt, self.cuda, self.device = trt, cuda, device
        self.index = device.gpu or 0
        self.budget = min(int(request.get("budget_mib") or WORKSPACE_MIB), WORKSPACE_MIB)
        cuda.use(self.index)
        self.stream = cuda.stream()
        self.logger = listener(trt)
        self.runtime = trt.Runtime(self.logger)
        self.builder = trt.Builder(self.logger)
        self.plans: dict[tuple[str, str], bytes] = {}

    def memory(self) -> tuple[float | None, float | None]:
        free, total = self.cuda.memory()
        return free / 2**20, total / 2**20

    def allocate(self, size: int) -> None:
        address = self.cuda.allocate(size)
        self.cuda.write(address, b"\x01" * size)
        if self.cuda.read(address, size)[-1] != 1:
            raise RuntimeError("memory that was written to reads otherwise")
        self.cuda.free(address)

    def dtypes(self) -> dict[str, bool]:
        capability = self.cuda.capability(self.index)
        found = {"tf32": capability >= (8, 0), "float16": capability >= (5, 3)}
        if hasattr(self.trt.DataType, "BF16"):  # from 9.0 on
            found["bfloat16"] = capability >= (8, 0)
        return found

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        tensor = next(iter(inputs(operation).values()))
        plan = self.plans[operation, dtype] = self._build(operation, dtype)
        loaded = self._load(plan)
        return lambda: self._run(loaded, tensor)

    def _build(self, operation: str, dtype: str, level: int | None = QUICK, rows: int = 0) -> bytes:
        """The plan of an engine, from an ONNX model. ``rows``: the size of what is dynamic."""
        trt = self.trt
        network = self.builder.create_network(self._flags(dtype))
        parser = trt.OnnxParser(network, self.logger)
        with open(model(operation, "float32" if dtype == "tf32" else dtype), "rb") as file:
            parsed = parser.parse(file.read())
        if not parsed:
            said = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
            text = f"TensorRT's parser refuses {operation} in {dtype}: {said or self.said()}"
            raise (Unsupported if any(word in text for word in NO_LAYER) else RuntimeError)(text)
        config = self.builder.create_builder_config()
        self._set(config, dtype, level)
        if rows:
            profile = self.builder.create_optimization_profile()
            profile.set_shape(network.get_input(0).name, (rows, rows), (rows, rows), (rows, rows))
            config.add_optimization_profile(profile)
        plan = self.builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeError(f"TensorRT built no engine of {operation} in {dtype}: {self.said()}")
        return bytes(plan)

    def _flags(self, dtype: str) -> int:
        """How the network is made: with the types that the model says, where this release can (from 9.0 on)."""
        known = self.trt.NetworkDefinitionCreationFlag
        names = ["EXPLICIT_BATCH"] if hasattr(known, "EXPLICIT_BATCH") else []  # has no meaning from 10.0, none in 11
        # In float32 the types of layers are free in no release, unless a flag lets them be others.
        if dtype in ("float16", "bfloat16") and hasattr(known, "STRONGLY_TYPED"):
            names.append("STRONGLY_TYPED")
        flags = 0
        for name in names:
            flags |= 1 << int(getattr(known, name))
        return flags

    def _set(self, config: Any, dtype: str, level: int | None) -> None:
        trt = self.trt
        limit = self.budget << 20
        if hasattr(config, "set_memory_pool_limit"):  # from 8.4 on
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
        else:
            config.max_workspace_size = limit
        if level is not None and hasattr(config, "builder_optimization_level"):  # from 8.6 on
            config.builder_optimization_level = level
        # TensorRT takes TF32 for float32 unless it is told not to.
        (config.set_flag if dtype == "tf32" else config.clear_flag)(trt.BuilderFlag.TF32)
        weak = not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
        if dtype == "float16" and weak:
            config.set_flag(trt.BuilderFlag.FP16)

    def _load(self, plan: bytes, rows: int = 0) -> Loaded:
        """An engine with its context, and memory for what goes in and comes out."""
        engine = self.runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise RuntimeError(f"TensorRT cannot load the engine that it built: {self.said()}")
        context = engine.create_execution_context()
        if context is None:
            raise RuntimeError(f"TensorRT makes no context for an engine: {self.said()}")
        given: dict[str, int] = {}
        results: dict[str, int] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for name, goes_in in self._tensors(engine):
            shapes[name] = (rows, rows) if rows else self._shape(engine, name)
            if rows and goes_in:
                context.set_input_shape(name, (rows, rows))
            address = self.cuda.allocate(4 * size(shapes[name]))  # in and out are float32 in every model
            (given if goes_in else results)[name] = address
        return Loaded(engine, context, given, results, shapes)

    def _tensors(self, engine: Any) -> list[tuple[str, bool]]:
        """Names of what goes in and comes out, in the engine's order, and whether it goes in."""
        if hasattr(engine, "num_io_tensors"):  # from 8.5 on
            names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
            return [(name, engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT) for name in names]
        return [(engine.get_binding_name(i), bool(engine.binding_is_input(i))) for i in range(engine.num_bindings)]

    def _shape(self, engine: Any, name: str) -> tuple[int, ...]:
        told = engine.get_tensor_shape(name) if hasattr(engine, "get_tensor_shape") else engine.get_binding_shape(name)
        return tuple(int(length) for length in told)

    def _run(self, loaded: Loaded, tensor: Tensor) -> Loaded:
        for address in loaded.given.values():
            self.cuda.write(address, tensor.values.tobytes())
        for name, address in loaded.results.items():  # what was there before must not be taken for a result
            self.cuda.write(address, b"\xff" * (4 * size(loaded.shapes[name])))
        self._enqueue(loaded)
        return loaded

    def _enqueue(self, loaded: Loaded) -> None:
        places = loaded.given | loaded.results
        if hasattr(loaded.context, "execute_async_v3"):  # from 8.5 on
            for name, address in places.items():
                loaded.context.set_tensor_address(name, address)
            done = loaded.context.execute_async_v3(self.stream)
        else:
            ordered = [places[name] for name, _ in self._tensors(loaded.engine)]
            done = loaded.context.execute_async_v2(ordered, self.stream)
        if not done:
            raise RuntimeError(f"TensorRT did not run an engine: {self.said()}")

    def wait(self) -> None:
        self.cuda.wait(self.stream)

    def fetch(self, result: Any) -> Answer:
        ((name, address),) = result.results.items()
        shape = result.shapes[name]
        values = array("f")
        values.frombytes(self.cuda.read(address, 4 * size(shape)))
        answer = Answer(values, shape, f"cuda:{self.cuda.where(address)}")
        for place in (*result.given.values(), *result.results.values()):
            self.cuda.free(place)
        return answer

    def extras(self, thorough: bool) -> Iterable[tuple[str, Callable[[], Any]]]:
        for dtype in ("float32", "float16"):
            if ("cnn", dtype) in self.plans:
                yield f"reload {dtype}", lambda dtype=dtype: self._reload(dtype)  # type: ignore[misc]

    def _reload(self, dtype: str) -> str:
        """Run an engine, serialise it, load it with another runtime and run it again."""
        given = inputs("cnn")["x"]
        first = self._run(self._load(self.plans["cnn", dtype]), given)
        self.wait()
        golden = self.fetch(first).values
        plan = first.engine.serialize()
        if plan is None:
            raise RuntimeError(f"TensorRT does not serialise an engine: {self.said()}")
        self.runtime = self.trt.Runtime(self.logger)
        again = self._run(self._load(bytes(plan)), given)
        self.wait()
        found = compare_values(self.fetch(again).values, golden, rtol=1e-3, atol=1e-4)
        if found.status != "ok":
            raise RuntimeError(f"an engine that was serialised and loaded again computes otherwise: {found.text}")
        return f"an engine of {len(bytes(plan))} bytes was serialised, loaded again and ran"

    def speeds(self) -> Iterable[Speed]:
        claimed = self.dtypes()
        for dtype in ("float32", "tf32"):
            if dtype == "tf32" and not claimed["tf32"]:
                continue
            loaded = self._load(self._build("speed", dtype, None, ROWS), ROWS)

            def call(loaded: Loaded = loaded) -> None:
                self._enqueue(loaded)
                self.wait()

            yield Speed("matmul", dtype, 2.0 * ROWS**3, call)

    def said(self) -> str:
        """What TensorRT logged as wrong since the last time."""
        lines = list(self.logger.errors)
        self.logger.errors.clear()
        return "; ".join(lines[-3:]) or "it logged no error"

    def told(self) -> dict[str, Any]:
        return {
            "name": self.cuda.name(self.index),
            "facts": {"capability": ".".join(map(str, self.cuda.capability(self.index)))},
        }


def listener(trt: Any) -> Any:
    """A logger that keeps errors: many functions of TensorRT say no more than None or False."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(str(msg)[:500])

    return Listener()


def _import() -> tuple[Any, str]:
    """The module; or None, and the sentence that says which of TensorRT's libraries are missing.

    The loader names only the first library that it does not find, and that is seldom the one to install.
    """
    try:
        import tensorrt
    except ImportError as error:
        text = str(error)
    else:
        return tensorrt, ""
    lacking = _lacking(text)
    if not lacking:
        return None, text
    also = f" (nor {', '.join(lacking[1:])})" if lacking[1:] else ""
    return None, f"{lacking[0]}: cannot open shared object file: No such file or directory{also}"


def _lacking(text: str) -> list[str]:
    """Which of the libraries cannot be loaded, when the loader's message is of one of them."""
    import ctypes
    import re

    found = re.match(r"lib(?:nvinfer|nvonnxparser)\w*\.so\.(\d+): cannot open", text)
    if found is None:
        return []
    missing = []
    for name in (f"lib{library}.so.{found[1]}" for library in LIBRARIES):
        try:
            ctypes.CDLL(name)
        except OSError as error:
            if "cannot open" not in str(error) or name not in str(error):
                return []  # it is there and needs something else: then the loader's own words are better
            missing.append(name)
    return missing
