"""PyTorch: the CPU, every CUDA or ROCm device, XPU and MPS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from envcheck.smoke_tests.backends import Answer, Backend, Device, Speed, Unsupported, Worker
from envcheck.smoke_tests.reference import Tensor, inputs

HEADS = 4
CPU_SIZE, GPU_SIZE = 512, 4096
"""Rows of the matrices that are multiplied to see how fast a device is."""
COPIED = 64 << 20
"""Bytes copied to see the bandwidth of a device's memory."""


def backend() -> Backend:
    return Torch()


class Torch(Backend):
    def load(self) -> dict[str, str]:
        import torch

        self.torch = torch
        said = {
            "version": str(torch.__version__),
            "threads": str(torch.get_num_threads()),
            "cuda": str(torch.version.cuda or ""),
            "hip": str(getattr(torch.version, "hip", None) or ""),
            "debug": str(bool(getattr(torch.version, "debug", False))).lower(),
        }
        for name in ("mkl", "mkldnn", "openmp"):
            module = getattr(torch.backends, name, None)
            if module is not None:
                said["onednn" if name == "mkldnn" else name] = str(bool(module.is_available())).lower()
        capability = getattr(torch.backends.cpu, "get_cpu_capability", None) if hasattr(torch.backends, "cpu") else None
        if capability is not None:
            said["cpu_capability"] = str(capability())
        return {name: value for name, value in said.items() if value}

    def devices(self) -> list[Device]:
        torch = self.torch
        found = [Device("cpu", "cpu")]
        if torch.version.cuda or getattr(torch.version, "hip", None):
            kind = "cuda" if torch.version.cuda else "rocm"
            # It counts by NVML where it can: devices that no context was made on yet.
            found += [Device(f"cuda:{index}", kind, "", index) for index in range(torch.cuda.device_count())]
        xpu = getattr(torch, "xpu", None)
        if xpu is not None and xpu.is_available():
            found += [Device(f"xpu:{index}", "xpu", "", index) for index in range(xpu.device_count())]
        mps = getattr(torch.backends, "mps", None)
        if mps is not None and mps.is_available():
            found.append(Device("mps", "mps"))
        return found

    def open(self, device: Device) -> Worker:
        return TorchWorker(self.torch, device)


class TorchWorker(Worker):
    def __init__(self, torch: Any, device: Device) -> None:
        self.torch, self.device = torch, torch.device(device.id)
        self.kind = device.kind
        self.module = {"cuda": torch.cuda, "rocm": torch.cuda, "xpu": getattr(torch, "xpu", None)}.get(device.kind)
        self.made: dict[str, dict[str, Any]] = {}
        torch.set_grad_enabled(False)
        if self.module is not None:
            self.module.set_device(self.device)
        torch.zeros(1, device=self.device)
        self.wait()
        self.exact()

    def exact(self) -> None:
        """float32 is to be float32: TF32 is tried by itself."""
        self.tf32(False)

    def tf32(self, on: bool) -> None:
        if self.kind != "cuda":
            return
        self.torch.backends.cuda.matmul.allow_tf32 = on
        self.torch.backends.cudnn.allow_tf32 = on

    def memory(self) -> tuple[float | None, float | None]:
        if self.module is None or not hasattr(self.module, "mem_get_info"):
            return None, None
        free, total = self.module.mem_get_info(self.device)
        return free / 2**20, total / 2**20

    def allocate(self, size: int) -> None:
        block = self.torch.full((size // 4,), 1.0, dtype=self.torch.float32, device=self.device)
        if float(block[-1]) != 1.0:
            raise RuntimeError("memory that was written to reads otherwise")

    def dtypes(self) -> dict[str, bool]:
        torch = self.torch
        if self.kind == "cpu":
            return {"bfloat16": True, "float16": False, "int8": False}
        found = {"float16": True, "bfloat16": True}
        if self.kind in ("cuda", "rocm"):
            found["bfloat16"] = bool(torch.cuda.is_bf16_supported())
            capability = torch.cuda.get_device_capability(self.device)
            if self.kind == "cuda":
                found = {"tf32": capability >= (8, 0), **found, "int8": capability >= (7, 5)}
                if hasattr(torch, "float8_e4m3fn"):
                    found["float8_e4m3"] = capability >= (8, 9)
        return found

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        torch = self.torch
        if operation == "matmul-fp8":
            return self._fp8()
        if operation == "matmul-int8":
            return self._int8()
        kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
        given = {name: self._tensor(tensor).to(kind) for name, tensor in inputs(operation).items()}
        compute = {"matmul": _matmul, "convolution": _convolution, "cnn": _cnn, "transformer": _transformer}[operation]

        def call() -> Any:
            self.tf32(dtype == "tf32")
            result = compute(torch, given)
            self.tf32(False)
            return result

        return call

    def _tensor(self, tensor: Tensor) -> Any:
        flat = self.torch.frombuffer(bytearray(tensor.values.tobytes()), dtype=self.torch.float32)
        return flat.reshape(tensor.shape).to(self.device)

    def _fp8(self) -> Callable[[], Any]:
        torch = self.torch
        if not hasattr(torch, "_scaled_mm") or not hasattr(torch, "float8_e4m3fn"):
            raise Unsupported(f"torch {torch.__version__} has no float8 matrix multiplication")
        given = inputs("matmul-fp8")
        a = self._tensor(given["a"]).to(torch.float8_e4m3fn)
        # The hardware wants the second matrix by columns.
        b = self._tensor(given["b"]).to(torch.float8_e4m3fn).t().contiguous().t()
        one = torch.ones((), device=self.device)

        def call() -> Any:
            result = torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.float32)
            return result[0] if isinstance(result, tuple) else result

        return call

    def _int8(self) -> Callable[[], Any]:
        torch = self.torch
        if not hasattr(torch, "_int_mm"):
            raise Unsupported(f"torch {torch.__version__} has no int8 matrix multiplication")
        given = inputs("matmul-int8")
        a, b = (self._tensor(given[name]).to(torch.int8) for name in ("a", "b"))
        return lambda: torch._int_mm(a, b)

    def wait(self) -> None:
        if self.module is not None:
            self.module.synchronize(self.device)
        elif self.kind == "mps":
            self.torch.mps.synchronize()

    def fetch(self, result: Any) -> Answer:
        values = result.detach().to("cpu").to(self.torch.float64).contiguous().flatten().tolist()
        where = str(result.device)
        return Answer(values, tuple(result.shape), "mps" if where.startswith("mps") else where)

    def extras(self, thorough: bool) -> Iterable[tuple[str, Callable[[], Any]]]:
        return ()

    def speeds(self) -> Iterable[Speed]:
        torch = self.torch
        on_gpu = self.kind != "cpu"
        size = GPU_SIZE if on_gpu else CPU_SIZE
        dtypes = ["float32", *(["tf32"] if self.kind == "cuda" else []), *(["float16", "bfloat16"] if on_gpu else [])]
        for dtype in dtypes:
            kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
            a = torch.full((size, size), 0.5, dtype=kind, device=self.device)

            def multiply(a: Any = a, dtype: str = dtype) -> None:
                self.tf32(dtype == "tf32")
                torch.mm(a, a)
                self.wait()
                self.tf32(False)

            yield Speed("matmul", dtype, 2.0 * size**3, multiply)
        if not on_gpu:
            return
        block = torch.zeros(COPIED, dtype=torch.uint8, device=self.device)
        here = torch.zeros(COPIED, dtype=torch.uint8)
        target = torch.empty_like(block)

        def copy(to: Any, source: Any) -> Callable[[], None]:
            def call() -> None:
                to.copy_(source)
                self.wait()

            return call

        # A copy on the device reads and writes each byte.
        yield Speed("copy", "uint8", 2.0 * COPIED, copy(target, block))
        yield Speed("to-device", "uint8", float(COPIED), copy(block, here))
        yield Speed("from-device", "uint8", float(COPIED), copy(here, block))

    def told(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        facts: dict[str, str] = {}
        if self.module is not None:
            said["name"] = str(self.module.get_device_name(self.device))
            said["peak_mib"] = self.module.max_memory_reserved(self.device) / 2**20
        if self.kind in ("cuda", "rocm"):
            facts["capability"] = ".".join(map(str, self.torch.cuda.get_device_capability(self.device)))
            if self.torch.backends.cudnn.is_available():
                facts["cudnn"] = str(self.torch.backends.cudnn.version())
        return {**said, "facts": facts}


def _matmul(torch: Any, given: dict[str, Any]) -> Any:
    return given["a"] @ given["b"]


def _convolution(torch: Any, given: dict[str, Any]) -> Any:
    return torch.nn.functional.conv2d(given["x"], given["w"], given["b"], stride=1, padding=1)


def _cnn(torch: Any, given: dict[str, Any]) -> Any:
    function = torch.nn.functional
    x = function.relu(function.conv2d(given["x"], given["w1"], given["b1"], padding=1))
    x = function.relu(function.conv2d(function.max_pool2d(x, 2), given["w2"], given["b2"], padding=1))
    return function.linear(x.mean(dim=(2, 3)), given["w3"], given["b3"])


def _transformer(torch: Any, given: dict[str, Any]) -> Any:
    function = torch.nn.functional
    x = given["x"]
    batch, length, width = x.shape

    def linear(x: Any, name: str) -> Any:
        return function.linear(x, given[f"w{name}"], given[f"b{name}"])

    def norm(x: Any, name: str) -> Any:
        return function.layer_norm(x, (width,), given[f"{name}_w"], given[f"{name}_b"], 1e-5)

    def split(name: str) -> Any:
        return linear(normed, name).reshape(batch, length, HEADS, width // HEADS).transpose(1, 2)

    normed = norm(x, "ln1")
    q, k, v = (split(name) for name in "qkv")
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width // HEADS), dim=-1)
    x = x + linear((weights @ v).transpose(1, 2).reshape(batch, length, width), "o")
    return x + linear(function.gelu(linear(norm(x, "ln2"), "1")), "2")
