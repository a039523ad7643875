"""NVIDIA's driver through ctypes, for backends that have no memory of their own; and whether there is a GPU at all.

Names, numbers and signatures: the CUDA Driver API, docs.nvidia.com/cuda/cuda-driver-api. The library comes with the
driver, so nothing else need be installed. The context that is used is the primary one, that of the CUDA runtime.
"""

from __future__ import annotations

import os
import sys
from typing import Any

NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE."""
COMPUTE_CAPABILITY = (75, 76)
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
DEVICE_ORDINAL = 9
"""CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL."""


class CudaError(RuntimeError):
    """The driver refused a call. ``code``: its CUresult."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def library() -> str:
    """The file name of the driver's library on this system."""
    return "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def no_driver() -> str:
    """Why the driver's library cannot be loaded; empty when it can."""
    import ctypes

    try:
        ctypes.CDLL(library())
    except OSError as error:
        return str(error)
    return ""


def gpu_nodes() -> bool:
    """Whether this system shows programs an NVIDIA GPU; False too where CUDA_VISIBLE_DEVICES hides them all."""
    import glob

    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    # /dev/dxg: the Windows Subsystem for Linux; /dev/nvhost-gpu: Jetson.
    return bool(glob.glob("/dev/nvidia[0-9]*")) or any(map(os.path.exists, ("/dev/dxg", "/dev/nvhost-gpu")))


def shown(kind: str) -> bool:
    """Whether this system shows programs a GPU of the kind that a build is for."""
    if kind == "cuda":
        return gpu_nodes()
    hidden = [os.environ.get(name, "0").strip() for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")]
    return os.path.exists("/dev/kfd") and not any(value in ("", "-1") for value in hidden)


class Cuda:
    """The driver, started. Raises OSError without its library, CudaError when it does not start."""

    def __init__(self) -> None:
        import ctypes

        self.c = ctypes
        self.driver = ctypes.CDLL(library())
        self.call("cuInit", 0)

    def call(self, name: str, *given: Any) -> None:
        """Call a function; integers are C ints, what is longer is given as a ctypes object. Raises CudaError."""
        code = getattr(self.driver, name)(*given)
        if code:
            raise CudaError(f"{name}: {self._error(code)}", code)

    def _error(self, code: int) -> str:
        text = self.c.c_char_p()
        found = []
        for ask in ("cuGetErrorName", "cuGetErrorString"):
            function = getattr(self.driver, ask, None)
            if function is not None and not function(code, self.c.byref(text)) and text.value:
                found.append(text.value.decode(errors="replace"))
        return ": ".join(found) or f"CUDA error {code}"

    def count(self) -> int:
        number = self.c.c_int()
        self.call("cuDeviceGetCount", self.c.byref(number))
        return number.value

    def name(self, index: int) -> str:
        text = self.c.create_string_buffer(256)
        self.call("cuDeviceGetName", text, 256, self._device(index))
        return text.value.decode(errors="replace")

    def capability(self, index: int) -> tuple[int, int]:
        device = self._device(index)
        number = self.c.c_int()
        found = []
        for attribute in COMPUTE_CAPABILITY:
            self.call("cuDeviceGetAttribute", self.c.byref(number), attribute, device)
            found.append(number.value)
        return found[0], found[1]

    def _device(self, index: int) -> int:
        device = self.c.c_int()
        self.call("cuDeviceGet", self.c.byref(device), index)
        return device.value

    def use(self, index: int) -> None:
        """Make the primary context of a device, and make it the one of this thread."""
        context = self.c.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", self.c.byref(context), self._device(index))
        self.call("cuCtxSetCurrent", context)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the device in use."""
        free, total = self.c.c_size_t(), self.c.c_size_t()
        self.call("cuMemGetInfo_v2", self.c.byref(free), self.c.byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        """The address of new memory on the device in use."""
        address = self.c.c_uint64()
        self.call("cuMemAlloc_v2", self.c.byref(address), self.c.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self.call("cuMemFree_v2", self.c.c_uint64(address))

    def write(self, address: int, data: bytes) -> None:
        """Copy to the device."""
        self.call("cuMemcpyHtoD_v2", self.c.c_uint64(address), data, self.c.c_size_t(len(data)))

    def read(self, address: int, size: int) -> bytes:
        """Copy from the device."""
        data = self.c.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", data, self.c.c_uint64(address), self.c.c_size_t(size))
        return data.raw

    def where(self, address: int) -> int:
        """The index of the device that memory is on."""
        number = self.c.c_int(-1)
        self.call("cuPointerGetAttribute", self.c.byref(number), DEVICE_ORDINAL, self.c.c_uint64(address))
        return number.value

    def stream(self) -> int:
        """A new stream, as an address."""
        stream = self.c.c_void_p()
        self.call("cuStreamCreate", self.c.byref(stream), 0)
        return stream.value or 0

    def wait(self, stream: int) -> None:
        """Come back when all that was asked of a stream is done."""
        self.call("cuStreamSynchronize", self.c.c_void_p(stream))
