"""CuPy with NumPy in place of a GPU: arrays that know their device, and what a backend asks of the runtime.

FAKE_CUPY: ``{"devices": 2, "error": "cudaErrorInsufficientDriver: ...", "tf32": false, "kernel": "wrong"}``.
"""

from __future__ import annotations

import json
import math
import os
import sys
from types import ModuleType, SimpleNamespace

import numpy
from numpy import *  # noqa: F403 - CuPy has NumPy's names
from numpy import float32

WANTED = json.loads(os.environ.get("FAKE_CUPY", "{}"))
__version__ = "13.0.0"
LARGE = 1024
in_use = 0


class ndarray(numpy.ndarray):
    """An array on a fake GPU."""

    def __array_finalize__(self, other):
        self.place = getattr(other, "place", in_use)

    @property
    def device(self):
        return SimpleNamespace(id=self.place)

    def get(self, out=None):
        if out is None:
            return numpy.array(self)
        out[...] = self
        return out

    def set(self, values):
        self[...] = values


def asarray(values):
    return numpy.array(values).view(ndarray)


def asnumpy(values):
    return numpy.array(values)


def _made(function):
    return lambda *given, **named: function(*given, **named).view(ndarray)


zeros, ones, full, arange, eye, empty_like = map(
    _made, (numpy.zeros, numpy.ones, numpy.full, numpy.arange, numpy.eye, numpy.empty_like)
)


def matmul(a, b):
    if len(a) >= LARGE:
        return a  # what is only measured need not be computed: NumPy takes minutes for float16
    rounded = linalg_switch.kinds.get("float32") == 7 and a.dtype == float32
    if not rounded:
        return numpy.matmul(a, b)
    return numpy.matmul(*(_tf32(each) for each in (a, b)))


def _tf32(values):
    bits = numpy.ascontiguousarray(values).view(numpy.uint32) >> 13 << 13
    return bits.view(float32).reshape(values.shape).view(ndarray)


class RawKernel:
    def __init__(self, source, name):
        assert f"void {name}(" in source

    def __call__(self, grid, block, given):
        x, y, a, n = given
        assert grid[0] * block[0] >= int(n)
        y[: int(n)] += a * x[: int(n)] + (1 if WANTED.get("kernel") == "wrong" else 0)


class CUDARuntimeError(RuntimeError):
    pass


def getDeviceCount():
    if "error" in WANTED:
        raise CUDARuntimeError(WANTED["error"])
    return WANTED.get("devices", 1)


class Device:
    compute_capability = "90"

    def __init__(self, index):
        self.id = index

    def use(self):
        global in_use
        in_use = self.id

    def synchronize(self):
        pass


def get_default_memory_pool():
    return SimpleNamespace(total_bytes=lambda: 64 << 20)


cuda = SimpleNamespace(
    Device=Device,
    driver=SimpleNamespace(get_build_version=lambda: 12090),
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        is_hip=False,
        getDeviceCount=getDeviceCount,
        memGetInfo=lambda: (70 << 30, 80 << 30),
        getDeviceProperties=lambda index: {"name": f"Fake GPU {index}".encode()},
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 13000,
    ),
)
lib = SimpleNamespace(stride_tricks=numpy.lib.stride_tricks)
random = SimpleNamespace(
    RandomState=lambda seed: SimpleNamespace(random_sample=lambda size, dtype: numpy.linspace(0, 1, size, dtype=dtype))
)

linalg_switch = ModuleType("cupy._core._routines_linalg")
linalg_switch.kinds = {}
if WANTED.get("tf32", True):
    linalg_switch.COMPUTE_TYPE_DEFAULT, linalg_switch.COMPUTE_TYPE_TF32 = 1, 7
    linalg_switch.set_compute_type = lambda dtype, kind: linalg_switch.kinds.update({numpy.dtype(dtype).name: kind})
_core = ModuleType("cupy._core")
_core._routines_linalg = linalg_switch
sys.modules["cupy._core"], sys.modules["cupy._core._routines_linalg"] = _core, linalg_switch

special = ModuleType("cupyx.scipy.special")
special.erf = numpy.vectorize(math.erf, otypes=[float32])
for _name in ("cupyx", "cupyx.scipy"):
    sys.modules[_name] = ModuleType(_name)
    sys.modules[_name].__path__ = []
sys.modules["cupyx.scipy.special"] = special
