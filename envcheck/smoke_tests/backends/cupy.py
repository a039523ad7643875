"""CuPy: every GPU. It has arrays, cuBLAS and kernels of its own, and no neural networks: those are made of arrays.

A convolution is one multiplication by cuBLAS of all windows of the images (im2col). What else CuPy does, it compiles
with NVRTC on this machine: that is a step of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Speed, Unsupported, Worker
from envcheck.smoke_tests.cuda import gpu_nodes, no_driver
from envcheck.smoke_tests.reference import Tensor, inputs

HEADS = 4
SIZE = 4096
"""Rows of the matrices that are multiplied to see how fast a device is."""
COPIED = 64 << 20
"""Bytes copied to see the bandwidth of a device's memory."""

KERNEL = """
extern "C" __global__ void scale_and_add(const float* x, float* y, float a, int n) {
    int i = blockDim.x * blockIdx.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
"""


def backend() -> Backend:
    return CuPy()


class CuPy(Backend):
    def load(self) -> dict[str, str]:
        # float32 is to be float32: TF32 is tried by itself.
        os.environ["CUPY_TF32"] = "0"
        # Kernels are compiled anew, and nothing is left in the user's cache.
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        import cupy

        self.cupy = cupy
        self.hip = bool(getattr(cupy.cuda.runtime, "is_hip", False))
        said = {"version": str(cupy.__version__), "hip" if self.hip else "cuda": self._built_for()}
        return {name: value for name, value in said.items() if value}

    def _built_for(self) -> str:
        build = 0 if self.hip else int(self.cupy.cuda.driver.get_build_version())
        return f"{build // 1000}.{build % 1000 // 10}" if build else ""

    def devices(self) -> list[Device]:
        runtime = self.cupy.cuda.runtime
        lacking = ""
        try:
            count = int(runtime.getDeviceCount())
        except runtime.CUDARuntimeError as error:
            text = str(error)
            if "NoDevice" in text:
                raise Missing(f"CuPy computes on GPUs only and there is none: {text}") from None
            # Without any driver it complains of one that is too old.
            lacking = "" if self.hip else no_driver()
            if not lacking:
                raise
            if not gpu_nodes():
                raise Missing(f"CuPy computes on GPUs only and there is no NVIDIA driver: {lacking}") from None
        if lacking:
            raise OSError(lacking)
        kind = "rocm" if self.hip else "cuda"
        return [Device(f"cuda:{index}", kind, "", index) for index in range(count)]

    def open(self, device: Device) -> Worker:
        return CuPyWorker(self.cupy, device)


class CuPyWorker(Worker):
    def __init__(self, cupy: Any, device: Device) -> None:
        import numpy

        self.cupy, self.device = cupy, device
        self.index = device.gpu or 0
        cupy.cuda.Device(self.index).use()
        # Memory and a copy only: to compute something a kernel would be compiled first.
        cupy.asarray(numpy.zeros(1, dtype=numpy.uint8))
        self.wait()

    def memory(self) -> tuple[float | None, float | None]:
        free, total = self.cupy.cuda.runtime.memGetInfo()
        return free / 2**20, total / 2**20

    def allocate(self, size: int) -> None:
        import numpy

        block = self.cupy.asarray(numpy.full(size, 1, dtype=numpy.uint8))
        if int(self.cupy.asnumpy(block)[-1]) != 1:
            raise RuntimeError("memory that was written to reads otherwise")

    def dtypes(self) -> dict[str, bool]:
        if self.device.kind != "cuda":
            return {"float16": True}
        return {"tf32": self._capability() >= (8, 0), "float16": self._capability() >= (5, 3)}

    def _capability(self) -> tuple[int, ...]:
        told = str(self.cupy.cuda.Device(self.index).compute_capability)  # "90": the last digit is the minor one
        return (int(told[:-1]), int(told[-1])) if told.isdigit() and len(told) > 1 else ()

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        if operation not in OPERATIONS:
            raise Unsupported(f"CuPy {self.cupy.__version__} has no {operation}")
        kind = getattr(self.cupy, "float32" if dtype == "tf32" else dtype)
        given = {name: self._tensor(tensor).astype(kind) for name, tensor in inputs(operation).items()}
        compute = OPERATIONS[operation]
        if dtype != "tf32":
            return lambda: compute(self.cupy, given)

        def call() -> Any:
            self.tf32(True)
            try:
                return compute(self.cupy, given)
            finally:
                self.tf32(False)

        return call

    def tf32(self, on: bool) -> None:
        """Let cuBLAS round float32 to TF32. CuPy has no public switch for it but an environment variable that is read
        once; Unsupported where this release has no other.
        """
        try:
            from cupy._core import _routines_linalg as linalg

            kind = linalg.COMPUTE_TYPE_TF32 if on else linalg.COMPUTE_TYPE_DEFAULT
            linalg.set_compute_type(self.cupy.float32, kind)
        except (ImportError, AttributeError):
            raise Unsupported(f"CuPy {self.cupy.__version__} cannot be switched to TF32 while it runs") from None

    def _tensor(self, tensor: Tensor) -> Any:
        import numpy

        return self.cupy.asarray(numpy.frombuffer(tensor.values, dtype=numpy.float32).reshape(tensor.shape))

    def wait(self) -> None:
        self.cupy.cuda.Device(self.index).synchronize()

    def fetch(self, result: Any) -> Answer:
        values = self.cupy.asnumpy(result).astype("float64")
        return Answer(values.ravel().tolist(), tuple(result.shape), f"cuda:{int(result.device.id)}")

    def extras(self, thorough: bool) -> Iterable[tuple[str, Callable[[], Any]]]:
        yield ("hiprtc" if self.device.kind == "rocm" else "nvrtc"), self._compile
        if thorough:
            yield "solve", self._solve
            yield "fft", self._transform
            yield "random", self._random

    def _compile(self) -> str:
        """Compile a kernel of our own and run it."""
        cupy = self.cupy
        count = 1000
        x, y = cupy.arange(count, dtype=cupy.float32), cupy.ones(count, dtype=cupy.float32)
        kernel = cupy.RawKernel(KERNEL, "scale_and_add")
        kernel(((count + 127) // 128,), (128,), (x, y, cupy.float32(2), cupy.int32(count)))
        values = cupy.asnumpy(y).tolist()
        if values != [2.0 * index + 1.0 for index in range(count)]:
            raise RuntimeError("a kernel that was compiled here computes something else")
        return "a kernel was compiled and ran"

    def _solve(self) -> None:
        """cuSOLVER."""
        cupy = self.cupy
        found = cupy.asnumpy(cupy.linalg.solve(cupy.eye(8, dtype=cupy.float32) * 4, cupy.ones(8, dtype=cupy.float32)))
        if max(abs(float(value) - 0.25) for value in found) > 1e-6:
            raise RuntimeError("cuSOLVER solves a linear system wrongly")

    def _transform(self) -> None:
        """cuFFT."""
        cupy = self.cupy
        found = cupy.asnumpy(cupy.fft.fft(cupy.ones(16, dtype=cupy.complex64)))
        if abs(found[0] - 16) > 1e-5 or max(abs(value) for value in found[1:]) > 1e-5:
            raise RuntimeError("cuFFT transforms a constant wrongly")

    def _random(self) -> None:
        """cuRAND."""
        found = self.cupy.asnumpy(self.cupy.random.RandomState(1).random_sample(64, dtype=self.cupy.float32))
        if not all(0 <= float(value) <= 1 for value in found) or len(set(found.tolist())) < 2:
            raise RuntimeError("cuRAND gives numbers that are not random")

    def speeds(self) -> Iterable[Speed]:
        cupy = self.cupy
        for dtype in ("float32", "tf32", "float16"):
            if dtype == "tf32" and not self.dtypes().get("tf32"):
                continue
            a = cupy.full((SIZE, SIZE), 0.5, dtype=cupy.float16 if dtype == "float16" else cupy.float32)

            def multiply(a: Any = a, dtype: str = dtype) -> None:
                if dtype == "tf32":
                    self.tf32(True)
                cupy.matmul(a, a)
                self.wait()
                if dtype == "tf32":
                    self.tf32(False)

            yield Speed("matmul", dtype, 2.0 * SIZE**3, multiply)
        import numpy

        here = numpy.zeros(COPIED, dtype=numpy.uint8)
        block = cupy.asarray(here)
        target = cupy.empty_like(block)

        def copy() -> None:
            target[...] = block
            self.wait()

        def send() -> None:
            block.set(here)
            self.wait()

        # A copy on the device reads and writes each byte.
        yield Speed("copy", "uint8", 2.0 * COPIED, copy)
        yield Speed("to-device", "uint8", float(COPIED), send)
        yield Speed("from-device", "uint8", float(COPIED), lambda: block.get(out=here))

    def told(self) -> dict[str, Any]:
        cupy = self.cupy
        name = cupy.cuda.runtime.getDeviceProperties(self.index)["name"]
        facts = {"capability": ".".join(map(str, self._capability()))}
        for key, ask in (("runtime", "runtimeGetVersion"), ("driver", "driverGetVersion")):
            facts[key] = str(getattr(cupy.cuda.runtime, ask)())
        return {
            "name": name.decode(errors="replace") if isinstance(name, bytes) else str(name),
            "peak_mib": cupy.get_default_memory_pool().total_bytes() / 2**20,
            "facts": facts,
        }


def _matmul(cupy: Any, given: dict[str, Any]) -> Any:
    return cupy.matmul(given["a"], given["b"])


def _conv(cupy: Any, x: Any, w: Any, bias: Any) -> Any:
    """3x3, stride 1, padding 1, as one matrix multiplication."""
    batch, channels, height, width = x.shape
    padded = cupy.zeros((batch, channels, height + 2, width + 2), dtype=x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    down, right = padded.strides[2:]
    windows = cupy.lib.stride_tricks.as_strided(
        padded, (batch, channels, height, width, 3, 3), (*padded.strides, down, right)
    )
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch * height * width, channels * 9)
    found = cupy.matmul(rows, w.reshape(len(w), -1).T) + bias
    return found.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)


def _convolution(cupy: Any, given: dict[str, Any]) -> Any:
    return _conv(cupy, given["x"], given["w"], given["b"])


def _linear(cupy: Any, x: Any, weight: Any, bias: Any) -> Any:
    rows = cupy.matmul(x.reshape(-1, x.shape[-1]), weight.T) + bias
    return rows.reshape(*x.shape[:-1], -1)


def _cnn(cupy: Any, given: dict[str, Any]) -> Any:
    x = cupy.maximum(_conv(cupy, given["x"], given["w1"], given["b1"]), 0)
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
    x = cupy.maximum(_conv(cupy, x, given["w2"], given["b2"]), 0)
    return _linear(cupy, x.mean(axis=(2, 3)), given["w3"], given["b3"])


def _transformer(cupy: Any, given: dict[str, Any]) -> Any:
    from cupyx.scipy.special import erf

    x = given["x"]
    batch, length, width = x.shape

    def norm(x: Any, name: str) -> Any:
        away = x - x.mean(axis=-1, keepdims=True)
        variance = (away * away).mean(axis=-1, keepdims=True)
        return away / cupy.sqrt(variance + x.dtype.type(1e-5)) * given[f"{name}_w"] + given[f"{name}_b"]

    def linear(x: Any, weight: str, bias: str) -> Any:
        return _linear(cupy, x, given[weight], given[bias])

    def split(letter: str) -> Any:
        found = linear(normed, f"w{letter}", f"b{letter}")
        return found.reshape(batch, length, HEADS, width // HEADS).transpose(0, 2, 1, 3)

    normed = norm(x, "ln1")
    q, k, v = (split(letter) for letter in "qkv")
    scores = cupy.matmul(q, k.swapaxes(-1, -2)) / x.dtype.type((width // HEADS) ** 0.5)
    weights = cupy.exp(scores - scores.max(axis=-1, keepdims=True))
    merged = cupy.matmul(weights / weights.sum(axis=-1, keepdims=True), v)
    h = x + linear(merged.transpose(0, 2, 1, 3).reshape(batch, length, width), "wo", "bo")
    middle = linear(norm(h, "ln2"), "w1", "b1")
    half, root = x.dtype.type(0.5), x.dtype.type(2**0.5)
    gelu = half * middle * (1 + erf(middle / root).astype(x.dtype))
    return h + linear(gelu, "w2", "b2")


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "matmul": _matmul,
    "convolution": _convolution,
    "cnn": _cnn,
    "transformer": _transformer,
}
