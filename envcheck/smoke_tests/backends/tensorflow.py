"""TensorFlow: the CPU, every GPU, and the GPU that a build for CUDA or ROCm does not list though there is one.

Each operation is placed on its device by name and TensorFlow may place it nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Speed, Unsupported, Worker
from envcheck.smoke_tests.cuda import shown
from envcheck.smoke_tests.reference import Tensor, inputs

HEADS = 4
CPU_SIZE, GPU_SIZE = 512, 4096
"""Rows of the matrices that are multiplied to see how fast a device is."""
COPIED = 64 << 20
"""Bytes copied to see the bandwidth of a device's memory."""


def backend() -> Backend:
    return TensorFlow()


class TensorFlow(Backend):
    def load(self) -> dict[str, str]:
        import tensorflow

        self.tf = tensorflow
        self.build = dict(tensorflow.sysconfig.get_build_info()) if hasattr(tensorflow, "sysconfig") else {}
        said = {"version": str(tensorflow.__version__), "built_for": self._built_for() or "cpu"}
        for name in ("cuda_version", "cudnn_version"):
            said[name.partition("_")[0]] = str(self.build.get(name, ""))
        return {name: value for name, value in said.items() if value}

    def _built_for(self) -> str:
        test = self.tf.test
        if test.is_built_with_cuda():
            return "cuda"
        return "rocm" if getattr(test, "is_built_with_rocm", lambda: False)() else ""

    def devices(self) -> list[Device]:
        config = self.tf.config
        built = self._built_for()
        found = []
        for place in config.list_physical_devices():
            name = str(place.name).rpartition("physical_device:")[2]
            family, _, number = name.partition(":")
            if family.endswith("_SYSTEM"):
                continue  # what manages the cores of a TPU
            if family == "GPU":
                # Without it TensorFlow takes nearly all memory of every GPU at its first use.
                config.experimental.set_memory_growth(place, True)
                found.append(Device(name, built or "gpu", details(self.tf, name).get("device_name", ""), int(number)))
            else:
                found.append(Device(name, family.lower()))
        if not found:
            raise Missing("TensorFlow lists no device")
        found.sort(key=lambda device: device.kind != "cpu")
        if built and not any(device.id.startswith("GPU") for device in found) and shown(built):
            found.append(Device("GPU:0", built, "", 0))
        return found

    def open(self, device: Device) -> Worker:
        there = {str(place.name).rpartition("device:")[2] for place in self.tf.config.list_logical_devices()}
        return TensorFlowWorker(self.tf, device, device.id not in there)


class TensorFlowWorker(Worker):
    def __init__(self, tf: Any, device: Device, fell_back: bool) -> None:
        self.tf, self.device, self.fell_back = tf, device, fell_back
        # A device that TensorFlow does not list is asked for as programs do it: what it cannot place there, it moves.
        tf.config.set_soft_device_placement(fell_back)
        self.on(lambda: tf.zeros((1,))).numpy()
        self.tf32(False)

    def on(self, work: Callable[[], Any]) -> Any:
        with self.tf.device(f"/device:{self.device.id}"):
            return work()

    def tf32(self, on: bool) -> None:
        """float32 is to be float32, TensorFlow takes TF32 where it can: TF32 is tried by itself."""
        switch = getattr(self.tf.config.experimental, "enable_tensor_float_32_execution", None)
        if switch is not None:
            switch(on)

    def allocate(self, size: int) -> None:
        block = self.on(lambda: self.tf.fill((size // 4,), 1.0))
        if float(block[-1]) != 1.0:
            raise RuntimeError("memory that was written to reads otherwise")

    def dtypes(self) -> dict[str, bool]:
        if self.fell_back:
            return {}
        on_gpu = self.device.kind != "cpu"
        found = {"bfloat16": not on_gpu, "float16": True, "int8": False}
        if self.device.kind == "cuda":
            capability = self._capability()
            found = {"tf32": capability >= (8, 0), **found, "bfloat16": capability >= (8, 0)}
        return found

    def _capability(self) -> tuple[int, ...]:
        """The compute capability of a CUDA device; empty where it is not told."""
        return tuple(int(part) for part in details(self.tf, self.device.id).get("compute_capability", ()))

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        tf = self.tf
        if self.fell_back and operation != "matmul":
            raise Unsupported(f"TensorFlow has no {self.device.id}: what the CPU gives is told there")
        if operation == "matmul-int8":
            compute: Callable[[Any, dict[str, Any]], Any] = _matmul_int8
        elif operation in OPERATIONS:
            compute = OPERATIONS[operation]
        else:
            raise Unsupported(f"TensorFlow {tf.__version__} has no {operation}")
        kind = tf.float32 if dtype == "tf32" else getattr(tf, dtype)
        given = {name: self._tensor(tensor, kind) for name, tensor in inputs(operation).items()}

        def call() -> Any:
            self.tf32(dtype == "tf32")
            try:
                return self.on(lambda: compute(tf, given))
            except tf.errors.NotFoundError as error:
                # No kernel for this type on this device: so TensorFlow says it.
                raise Unsupported(str(error)) from None
            finally:
                self.tf32(False)

        return call

    def _tensor(self, tensor: Tensor, kind: Any) -> Any:
        import numpy

        values = numpy.frombuffer(tensor.values, dtype=numpy.float32).reshape(tensor.shape)
        return self.on(lambda: self.tf.cast(self.tf.constant(values), kind))

    def wait(self) -> None:
        test = getattr(self.tf.test, "experimental", None)
        if test is not None and hasattr(test, "sync_devices"):  # from 2.12 on; else the copy to the host waits
            test.sync_devices()

    def fetch(self, result: Any) -> Answer:
        values = result.numpy().astype("float64")
        where = str(result.device).rpartition("device:")[2]
        return Answer(values.ravel().tolist(), tuple(int(length) for length in result.shape), where)

    def speeds(self) -> Iterable[Speed]:
        tf = self.tf
        if self.fell_back:
            return  # it would measure the CPU once more
        on_gpu = self.device.kind != "cpu"
        size = GPU_SIZE if on_gpu else CPU_SIZE
        cuda = ["tf32"] if self.device.kind == "cuda" else []
        for dtype in ["float32", *cuda, *(["float16", "bfloat16"] if on_gpu else [])]:
            kind = tf.float32 if dtype == "tf32" else getattr(tf, dtype)
            a = self.on(lambda kind=kind: tf.fill((size, size), tf.cast(0.5, kind)))  # type: ignore[misc]

            def multiply(a: Any = a, dtype: str = dtype) -> None:
                self.tf32(dtype == "tf32")
                self.on(lambda: tf.matmul(a, a))
                self.wait()
                self.tf32(False)

            yield Speed("matmul", dtype, 2.0 * size**3, multiply)
        if not on_gpu:
            return
        block = self.on(lambda: tf.zeros((COPIED // 4,), tf.float32))

        def step() -> None:
            self.on(lambda: block + 1.0)
            self.wait()

        # It reads and writes each byte.
        yield Speed("copy", "float32", 2.0 * COPIED, step)

    def told(self) -> dict[str, Any]:
        facts: dict[str, str] = {}
        if self.fell_back:
            return {"facts": {"fallback": f"TensorFlow lists no {self.device.id.partition(':')[0]}"}}
        said: dict[str, Any] = {"facts": facts}
        if self.device.kind == "cpu":
            facts["threads"] = str(self.tf.config.threading.get_intra_op_parallelism_threads() or "as many as cores")
            facts["onednn"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default")
            return said
        capability = self._capability()
        if capability:
            facts["capability"] = ".".join(map(str, capability))
        info = getattr(self.tf.config.experimental, "get_memory_info", None)
        if info is not None:
            said["peak_mib"] = info(self.device.id)["peak"] / 2**20
        return said


def details(tf: Any, name: str) -> dict[str, Any]:
    """What TensorFlow says of a GPU: ``device_name`` and ``compute_capability``, from 2.3 on."""
    ask = getattr(tf.config.experimental, "get_device_details", None)
    places = [place for place in tf.config.list_physical_devices("GPU") if str(place.name).endswith(name)]
    return dict(ask(places[0]) or {}) if places and ask is not None else {}


def _matmul(tf: Any, given: dict[str, Any]) -> Any:
    return tf.matmul(given["a"], given["b"])


def _matmul_int8(tf: Any, given: dict[str, Any]) -> Any:
    return tf.matmul(given["a"], given["b"], output_type=tf.int32)


def _conv(tf: Any, x: Any, w: Any, bias: Any) -> Any:
    """A convolution of images with the channels last: the CPU has no other."""
    return tf.nn.bias_add(tf.nn.conv2d(x, tf.transpose(w, (2, 3, 1, 0)), strides=1, padding="SAME"), bias)


def _convolution(tf: Any, given: dict[str, Any]) -> Any:
    x = tf.transpose(given["x"], (0, 2, 3, 1))
    return tf.transpose(_conv(tf, x, given["w"], given["b"]), (0, 3, 1, 2))


def _linear(tf: Any, x: Any, weight: Any, bias: Any) -> Any:
    return tf.linalg.matmul(x, tf.transpose(weight)) + bias


def _cnn(tf: Any, given: dict[str, Any]) -> Any:
    x = tf.transpose(given["x"], (0, 2, 3, 1))
    x = tf.nn.max_pool2d(tf.nn.relu(_conv(tf, x, given["w1"], given["b1"])), 2, 2, "VALID")
    x = tf.nn.relu(_conv(tf, x, given["w2"], given["b2"]))
    return _linear(tf, tf.reduce_mean(x, (1, 2)), given["w3"], given["b3"])


def _transformer(tf: Any, given: dict[str, Any]) -> Any:
    x = given["x"]
    batch, length, width = (int(number) for number in x.shape)

    def norm(x: Any, name: str) -> Any:
        mean = tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + tf.cast(1e-5, x.dtype)) * given[f"{name}_w"] + given[f"{name}_b"]

    def linear(x: Any, weight: str, bias: str) -> Any:
        # Of a tensor of three axes and a matrix TensorFlow multiplies the matrices one by one: so all rows at once.
        rows = _linear(tf, tf.reshape(x, (batch * length, -1)), given[weight], given[bias])
        return tf.reshape(rows, (batch, length, -1))

    def split(letter: str) -> Any:
        found = linear(normed, f"w{letter}", f"b{letter}")
        return tf.transpose(tf.reshape(found, (batch, length, HEADS, width // HEADS)), (0, 2, 1, 3))

    normed = norm(x, "ln1")
    q, k, v = (split(letter) for letter in "qkv")
    scores = tf.matmul(q, k, transpose_b=True) / tf.cast((width // HEADS) ** 0.5, x.dtype)
    merged = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))
    h = x + linear(tf.reshape(merged, (batch, length, width)), "wo", "bo")
    return h + linear(tf.nn.gelu(linear(norm(h, "ln2"), "w1", "b1"), approximate=False), "w2", "b2")


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "matmul": _matmul,
    "convolution": _convolution,
    "cnn": _cnn,
    "transformer": _transformer,
}
