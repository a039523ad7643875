"""PyTorch: the CPU, every CUDA or ROCm device, XPU and MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from envcheck.smoke_tests import asked_for
from envcheck.smoke_tests.backends import Answer, Backend, Device, Speed, Unsupported, Worker
from envcheck.smoke_tests.backends.torch_gloo import Gloo
from envcheck.smoke_tests.backends.torch_operations import COMPUTE, flat, refused, tensor
from envcheck.smoke_tests.cuda import shown
from envcheck.smoke_tests.reference import inputs

CPU_SIZE, GPU_SIZE = 512, 4096
"""Rows of the matrices that are multiplied to see how fast a device is."""
COPIED = 64 << 20
"""Bytes copied to see the bandwidth of a device's memory."""
REFUSALS = (
    "not implemented for",  # "addmm_impl_cpu_" not implemented for 'Half'
    "not compiled for this platform",  # _scaled_mm, _int_mm in builds for an older CUDA, or for Windows
    "is only supported on",  # torch._scaled_mm is only supported on CUDA devices with compute capability ...
    "is only supported for",
    "not supported on MPS",
)
"""How torch says that a data type is not there for an operation."""
FP8_ROCM = {"gfx94": "float8_e4m3fnuz", "gfx950": "float8_e4m3fn", "gfx120": "float8_e4m3fn"}
"""Beginning of an architecture -> the float8 that it multiplies (ATen/native/cuda/Blas.cpp)."""


def backend() -> Backend:
    return Torch()


class Torch(Backend):
    def load(self) -> dict[str, str]:
        import torch

        self.torch = torch
        self.gloo = Gloo(torch, self.request)
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
        if self.request.get("only") == ["cpu"]:
            return found  # counting GPUs asks the driver, which may crash or hang
        if torch.version.cuda or getattr(torch.version, "hip", None):
            kind = "cuda" if torch.version.cuda else "rocm"
            # It counts by NVML where it can: devices that no context was made on yet.
            # One that is here and is not offered is asked for all the same: then torch says what it lacks.
            count = torch.cuda.device_count() or int(shown(kind))
            found += [Device(f"cuda:{index}", kind, "", index) for index in range(count)]
        xpu = getattr(torch, "xpu", None)
        if xpu is not None and xpu.is_available():
            found += [Device(f"xpu:{index}", "xpu", "", index) for index in range(xpu.device_count())]
        mps = getattr(torch.backends, "mps", None)
        if mps is not None and mps.is_available():
            found.append(Device("mps", "mps"))
        return found

    def open(self, device: Device) -> Worker:
        only = self.request.get("only") or []
        gpus = [one.gpu for one in self.devices() if one.gpu is not None and one.kind in ("cuda", "rocm")
                and asked_for(one.id, one.kind, one.gpu, only)]  # fmt: skip
        return TorchWorker(self.torch, device, self.request, self.gloo, gpus)


class TorchWorker(Worker):
    def __init__(self, torch: Any, device: Device, request: dict[str, Any], gloo: Gloo, gpus: list[int]) -> None:
        self.torch, self.device = torch, torch.device(device.id)
        self.kind, self.index = device.kind, device.gpu
        self.request, self.gloo, self.gpus = request, gloo, gpus
        self.stuck = False
        self.threads = int(torch.get_num_threads())
        self.module = {"cuda": torch.cuda, "rocm": torch.cuda, "xpu": getattr(torch, "xpu", None)}.get(device.kind)
        torch.set_grad_enabled(False)
        if self.module is not None:
            self.module.set_device(self.device)
        torch.zeros(1, device=self.device)
        self.wait()
        self.exact()

    def threads_for(self, work: str) -> None:
        """One thread for small operations on the CPU, all for what is large.

        Threads that wait for one that has no core take up to a time slice each: 16 ms for what one does in 0.2 ms, as
        soon as something else runs on the machine. And the tests of other frameworks do.
        """
        if self.kind == "cpu":
            self.torch.set_num_threads(1 if work == "small" else self.threads)

    def exact(self) -> None:
        """float32 is to be float32: TF32 is tried by itself."""
        self.tf32(False)

    def tf32(self, on: bool) -> None:
        if self.kind != "cuda":
            return
        import warnings

        # torch 2.9 warns of these in favour of fp32_precision; whoever sets that one breaks what still reads these.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
        if self.kind == "mps":
            newer = getattr(torch.backends.mps, "is_macos_or_newer", None)
            return {"float16": True, "bfloat16": bool(newer and newer(14, 0))}
        if self.kind == "xpu":
            return {"float16": True, "bfloat16": self._bfloat16_of_xpu()}
        if self.kind == "rocm":
            return {"float16": True, "bfloat16": True, **({"float8_e4m3": True} if self._float8() else {})}
        capability = torch.cuda.get_device_capability(self.device)
        toolkit = int(str(torch.version.cuda).partition(".")[0])
        # torch.cuda.is_bf16_supported() says yes for what is emulated, too, and in some releases cannot be asked for
        # less; cuBLAS has bfloat16 and TF32 for compute capability 8.0, since CUDA 11.
        ampere = capability >= (8, 0) and toolkit >= 11
        found = {"tf32": ampere, "float16": capability >= (5, 3), "bfloat16": ampere, "int8": capability >= (7, 5)}
        if hasattr(torch, "float8_e4m3fn"):
            found["float8_e4m3"] = capability >= (8, 9) and toolkit >= 12
        return found

    def _bfloat16_of_xpu(self) -> bool:
        ask = getattr(self.torch.xpu, "is_bf16_supported", None)
        if ask is None:
            return True
        try:
            return bool(ask(including_emulation=False))
        except TypeError:
            return bool(ask())

    def _float8(self) -> str:
        """Name of the float8 type that the device multiplies, when it is known to."""
        if self.kind != "rocm":
            return "float8_e4m3fn"
        name = str(getattr(self.torch.cuda.get_device_properties(self.device), "gcnArchName", ""))
        found = [dtype for begin, dtype in FP8_ROCM.items() if name.startswith(begin)]
        return found[0] if found and hasattr(self.torch, found[0]) else ""

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        try:
            compute = self._prepare(operation, dtype)
        except (RuntimeError, TypeError) as error:
            self._refuse(dtype, error)
            raise

        def call() -> Any:
            try:
                return compute()
            except (RuntimeError, TypeError) as error:
                self._refuse(dtype, error)
                raise

        return call

    def _refuse(self, dtype: str, error: Exception) -> None:
        """Raises Unsupported for an error by which torch says that it does not have the data type."""
        if dtype != "float32" and refused(error, REFUSALS):
            raise Unsupported(str(error)) from None

    def _prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        torch = self.torch
        if operation == "matmul-fp8":
            return self._fp8()
        if operation == "matmul-int8":
            return self._int8()
        self.threads_for("small")
        kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
        given = {name: value.to(kind) for name, value in self._inputs(operation).items()}
        compute = COMPUTE[operation]

        def call() -> Any:
            self.tf32(dtype == "tf32")
            result = compute(torch, given)
            self.tf32(False)
            return result

        return call

    def _inputs(self, operation: str) -> dict[str, Any]:
        return {name: tensor(self.torch, value).to(self.device) for name, value in inputs(operation).items()}

    def _fp8(self) -> Callable[[], Any]:
        torch = self.torch
        if not hasattr(torch, "_scaled_mm") or not self._float8():
            raise Unsupported(f"torch {torch.__version__} has no float8 matrix multiplication")
        kind = getattr(torch, self._float8())
        given = self._inputs("matmul-fp8")
        a = given["a"].to(kind)
        # The hardware wants the second matrix by columns; all lengths are multiples of 16, as it must be.
        b = given["b"].to(kind).t().contiguous().t()
        one = torch.ones((), device=self.device)

        def call() -> Any:
            result = torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.float32)
            return result[0] if isinstance(result, tuple) else result  # with the largest value, before 2.5

        return call

    def _int8(self) -> Callable[[], Any]:
        torch = self.torch
        if not hasattr(torch, "_int_mm"):
            raise Unsupported(f"torch {torch.__version__} has no int8 matrix multiplication")
        # On CUDA the rows must be more than 16 and the other lengths multiples of 8: (64, 96) @ (96, 48) are.
        given = self._inputs("matmul-int8")
        a, b = given["a"].to(torch.int8), given["b"].to(torch.int8)
        return lambda: torch._int_mm(a, b)

    def wait(self) -> None:
        if self.module is not None:
            self.module.synchronize(self.device)
        elif self.kind == "mps" and hasattr(self.torch, "mps"):  # since 2.0; a copy to the host waits, too
            self.torch.mps.synchronize()

    def fetch(self, result: Any) -> Answer:
        where = str(result.device)
        return Answer(flat(self.torch, result), tuple(result.shape), "mps" if where.startswith("mps") else where)

    def extras(self, thorough: bool) -> Iterable[tuple[str, Callable[[], Any]]]:
        if self.kind == "cpu":
            yield "gloo all-reduce", self.gloo.step
        if thorough:
            self.threads_for("large")
            from envcheck.smoke_tests.backends import torch_compilers, torch_features

            place = "cuda" if self.kind == "rocm" else self.kind
            yield from torch_features.steps(self.torch, self.device, place, self.dtypes())
            yield from torch_compilers.steps(self.torch, self.device, self.request)
        if self.index in self.gpus:
            from envcheck.smoke_tests.backends import torch_gpus

            for name, work in torch_gpus.steps(self.torch, self.index, self.gpus, self.request):
                yield name, partial(self._unless_stuck, work, torch_gpus.Stuck)

    def _unless_stuck(self, work: Callable[[], Any], stuck: type[Exception]) -> Any:
        try:
            return work()
        except stuck:
            self.stuck = True
            raise

    def speeds(self) -> Iterable[Speed]:
        if self.stuck:
            return
        self.threads_for("large")
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
            if hasattr(self.module, "max_memory_reserved"):
                said["peak_mib"] = self.module.max_memory_reserved(self.device) / 2**20
        if self.kind == "cuda" and not self.dtypes()["bfloat16"]:
            facts["bfloat16"] = "emulated"
        if self.kind in ("cuda", "rocm"):
            facts["capability"] = ".".join(map(str, self.torch.cuda.get_device_capability(self.device)))
            if self.torch.backends.cudnn.is_available():
                facts["cudnn"] = str(self.torch.backends.cudnn.version())
        return {**said, "facts": facts}
