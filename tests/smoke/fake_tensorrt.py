"""TensorRT's Python API as it is documented, of the release that FAKE_TENSORRT names; it "runs" on memory of the host.

``{"version": "10.7.0", "STEP": "behaviour"}``. It knows the models that envcheck ships and nothing else: an engine
reads its input from the address that it was given and writes what the model must give for it, rounded as the types of
the engine are. What a release has not is not here, what it refuses is refused.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import struct
from array import array

from envcheck.smoke_tests.reference import DATA, expected, inputs

WANTED = json.loads(os.environ.get("FAKE_TENSORRT", "{}"))
__version__ = WANTED.get("version", "10.7.0")
RELEASE = tuple(int(part) for part in __version__.split(".")[:2])
STRONG = RELEASE >= (9, 0)
STREAM = 0x5000

MODELS = {}
for _file in sorted(os.listdir(DATA)):
    if _file.endswith(".onnx"):
        with open(os.path.join(DATA, _file), "rb") as _opened:
            MODELS[_opened.read()] = tuple(_file.split(".")[:2])


def _enum(name, *members):
    return enum.IntEnum(name, {member: number for number, member in enumerate(members)})


BuilderFlag = _enum("BuilderFlag", "DEBUG", "TF32", *(["FP16", "INT8"] if RELEASE < (11, 0) else []))
NetworkDefinitionCreationFlag = _enum(
    "NetworkDefinitionCreationFlag",
    *(["EXPLICIT_BATCH"] if RELEASE < (11, 0) else []),
    *(["STRONGLY_TYPED"] if STRONG else []),
)
MemoryPoolType = _enum("MemoryPoolType", "WORKSPACE")
TensorIOMode = _enum("TensorIOMode", "NONE", "INPUT", "OUTPUT")
DataType = _enum("DataType", "FLOAT", "HALF", "INT8", "INT32", *(["BF16"] if STRONG else []))


class ILogger:
    Severity = _enum("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")

    def __init__(self):
        self.made = True

    def log(self, severity, msg):
        raise NotImplementedError


def _complain(logger, text):
    assert logger.made, "ILogger.__init__ must be called"
    logger.log(ILogger.Severity.WARNING, "a warning that is no error")
    logger.log(ILogger.Severity.ERROR, text)


class _Tensor:
    def __init__(self, name, shape):
        self.name, self.shape = name, shape


class INetworkDefinition:
    def __init__(self, flags):
        self.flags = flags
        self.model = None

    def has(self, name):
        number = getattr(NetworkDefinitionCreationFlag, name, None)
        return number is not None and bool(self.flags >> int(number) & 1)

    def get_input(self, index):
        return _Tensor("x", (-1, -1)) if index == 0 else None


class _ParserError:
    def __init__(self, text):
        self.text = text

    def desc(self):
        return self.text


class OnnxParser:
    def __init__(self, network, logger):
        self.network, self.logger, self.errors = network, logger, []

    num_errors = property(lambda self: len(self.errors))

    def get_error(self, index):
        return _ParserError(self.errors[index])

    def parse(self, model):
        if RELEASE < (10, 0) and not self.network.has("EXPLICIT_BATCH"):
            self.errors.append("Assertion failed: network must have an explicit batch dimension")
        elif model not in MODELS or WANTED.get("parse") == "refuse":
            self.errors.append("In node 3 (importLayerNormalization): UNSUPPORTED_NODE: No importer registered for op")
        self.network.model = MODELS.get(model)
        return not self.errors


class IOptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        assert len(min) == len(opt) == len(max)
        self.shapes[input] = tuple(opt)


class IBuilderConfig:
    def __init__(self):
        self.flags = {BuilderFlag.TF32}
        self.profiles = []
        self.limits = {}
        if RELEASE >= (8, 6):
            self.builder_optimization_level = 3
        if RELEASE < (8, 4):
            self.max_workspace_size = 0

    def set_flag(self, flag):
        self.flags.add(BuilderFlag(flag))

    def clear_flag(self, flag):
        self.flags.discard(BuilderFlag(flag))

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    if RELEASE >= (8, 4):

        def set_memory_pool_limit(self, pool, pool_size):
            self.limits[MemoryPoolType(pool)] = pool_size


class Builder:
    def __init__(self, logger):
        self.logger = logger

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        operation, dtype = network.model
        weak = BuilderFlag.__members__.get("FP16") in config.flags
        assert config.limits or config.max_workspace_size
        if WANTED.get("build") == "fail":
            return _complain(self.logger, "Error Code 2: OutOfMemory (no further information)")
        if weak and network.has("STRONGLY_TYPED"):
            return _complain(self.logger, "Error Code 3: API Usage Error (FP16 of a strongly typed network)")
        if operation == "speed" and not config.profiles:
            return _complain(self.logger, "Error Code 4: Network has dynamic inputs, but no profile has been defined")
        narrow = weak or RELEASE >= (11, 0) or network.has("STRONGLY_TYPED")
        rounded = dtype if narrow or dtype == "float32" else "float32"
        if dtype == "float32" and BuilderFlag.TF32 in config.flags:
            rounded = "tf32"
        return memoryview(b"plan" + json.dumps([operation, dtype, rounded, RELEASE]).encode())


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        data = bytes(serialized_engine)
        if not data.startswith(b"plan") or WANTED.get("load") == "fail":
            return _complain(self.logger, "Error Code 1: Serialization (Version tag does not match)")
        return ICudaEngine(data)


class _Tensors:
    """From 8.5 on: tensors by their names."""

    num_io_tensors = 2

    def get_tensor_name(self, index):
        return ("x", "y")[index]

    def get_tensor_mode(self, name):
        return {"x": TensorIOMode.INPUT, "y": TensorIOMode.OUTPUT}[name]

    def get_tensor_shape(self, name):
        return self.shape(name)


class _Bindings:
    """Until 9: bindings by their numbers."""

    num_bindings = 2

    def get_binding_name(self, index):
        return ("x", "y")[index]

    def binding_is_input(self, index):
        return index == 0

    def get_binding_shape(self, name):
        return self.shape(name)


class ICudaEngine(*([_Tensors] if RELEASE >= (8, 5) else []), *([_Bindings] if RELEASE < (10, 0) else [])):
    def __init__(self, data):
        self.data = data
        self.operation, self.dtype, self.rounded, _ = json.loads(data[4:])

    def shape(self, name):
        if self.operation == "speed":
            return (-1, -1)
        given = next(iter(inputs(self.operation).values()))
        return given.shape if name == "x" else expected(self.operation).shape

    def serialize(self):
        return memoryview(self.data)

    def create_execution_context(self):
        return (_Named if RELEASE >= (8, 5) else _Numbered)(self)


class IExecutionContext:
    def __init__(self, engine):
        self.engine = engine

    def run(self, places, stream):
        if WANTED.get("run") == "fail" or stream != STREAM:
            return False
        if self.engine.operation == "speed":
            return True
        given = next(iter(inputs(self.engine.operation).values()))
        right = expected(self.engine.operation)
        values = array("d", right.values)
        here = ctypes.string_at(places["x"], 4 * len(given.values))
        if here != given.values.tobytes() or WANTED.get("run") == "wrong":
            values.reverse()
        out = array("f", [_round(value, self.engine.rounded) for value in values])
        ctypes.memmove(places["y"], out.tobytes(), 4 * len(out))
        return True


class _Numbered(IExecutionContext):
    """Until 9: addresses in the order of the bindings."""

    def set_input_shape(self, name, shape):
        return self.engine.shape(name) == (-1, -1) and len(shape) == 2

    def execute_async_v2(self, bindings, stream_handle):
        return self.run(dict(zip(("x", "y"), bindings, strict=True)), stream_handle)


class _Named(_Numbered if RELEASE < (10, 0) else IExecutionContext):
    """From 8.5 on: an address for each name."""

    def __init__(self, engine):
        super().__init__(engine)
        self.places = {}

    def set_tensor_address(self, name, memory):
        self.places[name] = memory
        return True

    def set_input_shape(self, name, shape):
        return self.engine.shape(name) == (-1, -1) and len(shape) == 2

    def execute_async_v3(self, stream_handle):
        return self.run(self.places, stream_handle)


def _round(value, dtype):
    """To the nearest value that the type holds, or to the one towards zero."""
    if dtype == "float16":
        return struct.unpack("e", struct.pack("e", value))[0]
    lost = {"bfloat16": 16, "tf32": 13}.get(dtype, 0)
    (bits,) = struct.unpack("I", struct.pack("f", value))
    return struct.unpack("f", struct.pack("I", bits >> lost << lost))[0]
