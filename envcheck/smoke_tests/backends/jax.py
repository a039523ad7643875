"""JAX: every device of every platform; and the one that a plugin was installed for, where JAX fell back to the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from envcheck.probes.import_child import chain
from envcheck.smoke_tests.backends import Answer, Backend, Device, Speed, Unsupported, Worker
from envcheck.smoke_tests.reference import Tensor, inputs

HEADS = 4
MEANT = {"cuda": "cuda", "rocm": "rocm", "oneapi": "xpu"}
"""Part of the name of a plugin's module -> the kind of device that it is installed for."""
PLATFORMS = ("gpu", "tpu", "METAL", "xpu")
"""What JAX is asked for besides its default and the CPU."""
CPU_SIZE, GPU_SIZE = 512, 4096
"""Rows of the matrices that are multiplied to see how fast a device is."""
COPIED = 64 << 20
"""Bytes copied to see the bandwidth of a device's memory."""


def backend() -> Backend:
    return Jax()


class Jax(Backend):
    def load(self) -> dict[str, str]:
        # JAX takes three quarters of a GPU's memory at its first use unless it is told not to; only this process is.
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        import jax
        import jaxlib.version

        self.jax = jax
        said = {"version": str(jax.__version__), "jaxlib": str(jaxlib.version.__version__)}
        said["plugins"] = ", ".join(plugins())
        said["platforms"] = os.environ.get("JAX_PLATFORMS", "")
        return {name: value for name, value in said.items() if value}

    def devices(self) -> list[Device]:
        self.found: dict[str, Any] = {}
        self.heard: list[str] = []
        counts: dict[str, int] = {}
        listed: list[Device] = []
        with listening(self.heard):
            # The first call starts all platforms. It raises when the environment names one that cannot be started, as
            # it does in any program.
            try:
                found = list(self.jax.devices())
            except Exception as error:
                if not self.heard:
                    raise
                raise RuntimeError(f"{type(error).__name__}: {error} {self.heard[0]}") from error
        for platform in ("cpu", *PLATFORMS):
            found += self._devices(platform)
        for place in found:
            kind = kind_of(place)
            name = f"{kind}:{place.id}"
            # More than one CPU is the same CPU, made by a flag of XLA.
            if name in self.found or (kind == "cpu" and kind in counts):
                continue
            counts[kind] = counts.get(kind, 0) + 1
            self.found[name] = place
            gpu = counts[kind] - 1 if kind in ("cuda", "rocm") else None
            listed.append(Device(name, kind, str(getattr(place, "device_kind", "")), gpu))
        listed.sort(key=lambda device: device.kind != "cpu")
        # A plugin that found nothing, or could not start: programs run on the CPU then, and are told on stderr at most.
        listed += [Device(f"{kind}:0", kind, "", 0) for kind in meant() if kind not in counts]
        return listed

    def _devices(self, platform: str) -> list[Any]:
        try:
            return list(self.jax.devices(platform))
        except RuntimeError:
            return []  # it is not there

    def open(self, device: Device) -> Worker:
        place = self.found.get(device.id)
        # Without the device that was meant: where JAX computes for a program that asks for nothing.
        return JaxWorker(self.jax, device, place or self.jax.devices()[0], self.heard)


class JaxWorker(Worker):
    def __init__(self, jax: Any, device: Device, place: Any, heard: list[str]) -> None:
        import numpy

        self.jax, self.device, self.place, self.heard, self.numpy = jax, device, place, heard, numpy
        self.kind = kind_of(place)
        self.fell_back = self.kind != device.kind
        if self.fell_back:
            print(*heard, sep="\n", file=sys.stderr, flush=True)  # said again where it is about this device
        self.put(numpy.zeros(1, dtype=numpy.float32)).block_until_ready()

    def put(self, values: Any) -> Any:
        return self.jax.device_put(values, self.place)

    def allocate(self, size: int) -> None:
        block = self.put(self.numpy.full(size // 4, 1.0, dtype=self.numpy.float32))
        # Taking one number out of it would be compiled first.
        if self.numpy.asarray(block)[-1] != 1.0:
            raise RuntimeError("memory that was written to reads otherwise")
        block.delete()

    def dtypes(self) -> dict[str, bool]:
        if self.fell_back:
            return {}
        found = {"bfloat16": True, "float16": self.kind in ("cpu", "cuda", "rocm"), "int8": True}
        capability = self._capability()
        if self.kind == "cuda":
            found = {"tf32": capability >= (8, 0), **found, "bfloat16": capability >= (8, 0)}
        if hasattr(self.jax.numpy, "float8_e4m3fn"):
            # Elsewhere XLA computes it in a wider type: there is nothing that a device would claim.
            found["float8_e4m3"] = self.kind == "cuda" and capability >= (8, 9)
        return found

    def _capability(self) -> tuple[int, ...]:
        """The compute capability of a CUDA device; empty where it is not told."""
        told = str(getattr(self.place, "compute_capability", "") or "")
        return tuple(int(part) for part in told.split(".") if part.isdigit())

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        jax = self.jax
        if self.fell_back and operation != "matmul":
            raise Unsupported(f"JAX computes on {self.place}: what that gives is told there")
        name = {"tf32": "float32", "float8_e4m3": "float8_e4m3fn"}.get(dtype, dtype)
        kind = getattr(jax.numpy, name)
        # Left to itself JAX takes TF32 or bfloat16 for the products of float32 on accelerators.
        precision = jax.lax.Precision.HIGH if dtype == "tf32" else jax.lax.Precision.HIGHEST
        compute = {"matmul-fp8": _narrow, "matmul-int8": _narrow}.get(operation) or OPERATIONS[operation]
        given = {key: self._tensor(tensor, kind) for key, tensor in inputs(operation).items()}
        function = jax.jit(lambda tensors: compute(jax, precision, tensors))
        return lambda: function(given)

    def _tensor(self, tensor: Tensor, kind: Any) -> Any:
        values = self.numpy.frombuffer(tensor.values, dtype=self.numpy.float32).reshape(tensor.shape)
        # NumPy converts, with the types that JAX adds to it: every value is exact in every type.
        return self.put(values.astype(kind))

    def wait(self) -> None:
        """JAX waits for a result: :meth:`fetch` does; and what is enqueued before it is done before it."""
        self.put(self.numpy.zeros(1, dtype=self.numpy.float32)).block_until_ready()

    def fetch(self, result: Any) -> Answer:
        result.block_until_ready()
        values = self.numpy.asarray(result).astype("float64")
        return Answer(values.ravel().tolist(), tuple(result.shape), self._where(result))

    def _where(self, result: Any) -> str:
        """The device that holds a result, by its id here."""
        devices = result.devices()
        places = [devices] if not isinstance(devices, set | frozenset | list | tuple) else list(devices)
        return ",".join(sorted(f"{kind_of(place)}:{place.id}" for place in places))

    def speeds(self) -> Iterable[Speed]:
        jax, numpy = self.jax, self.numpy
        if self.fell_back:
            return  # it would measure the CPU once more
        on_gpu = self.kind != "cpu"
        size = GPU_SIZE if on_gpu else CPU_SIZE
        dtypes = ["float32", *(["tf32"] if self.kind == "cuda" else []), *(["float16", "bfloat16"] if on_gpu else [])]
        for dtype in dtypes:
            kind = jax.numpy.float32 if dtype == "tf32" else getattr(jax.numpy, dtype)
            precision = jax.lax.Precision.HIGH if dtype == "tf32" else jax.lax.Precision.HIGHEST
            a = self.put(numpy.full((size, size), 0.5, dtype=numpy.float32).astype(kind))
            multiply = jax.jit(lambda x, precision=precision: jax.numpy.matmul(x, x, precision=precision))
            yield Speed("matmul", dtype, 2.0 * size**3, lambda a=a, f=multiply: f(a).block_until_ready())  # type: ignore[misc]
        if not on_gpu:
            return
        here = numpy.zeros(COPIED, dtype=numpy.uint8)
        block = self.put(here)
        step = jax.jit(lambda x: x + 1)
        # It reads and writes each byte.
        yield Speed("copy", "uint8", 2.0 * COPIED, lambda: step(block).block_until_ready())
        yield Speed("to-device", "uint8", float(COPIED), lambda: self.put(here).block_until_ready())

    def told(self) -> dict[str, Any]:
        facts: dict[str, str] = {}
        said: dict[str, Any] = {"facts": facts}
        if self.fell_back:
            facts["fallback"] = self.heard[0] if self.heard else f"JAX has no device of the kind {self.device.kind}"
            return {**said, "ran_on": f"{self.kind}:{self.place.id}"}
        facts["platform_version"] = str(getattr(self.place.client, "platform_version", "")).replace("\n", " ")
        said["name"] = str(getattr(self.place, "device_kind", ""))
        capability = self._capability()
        if capability:
            facts["capability"] = ".".join(map(str, capability))
        memory = self.place.memory_stats() if hasattr(self.place, "memory_stats") else None
        if memory and "peak_bytes_in_use" in memory:
            said["peak_mib"] = memory["peak_bytes_in_use"] / 2**20
        return said


class listening:
    """While it is held, what JAX logs of plugins that do not start is kept; it is still written to stderr."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def __enter__(self) -> None:
        import logging

        heard = self.heard

        class Keep(logging.StreamHandler):  # type: ignore[type-arg]
            def emit(self, record: logging.LogRecord) -> None:
                error = record.exc_info[1] if record.exc_info else None
                heard.append(": ".join([record.getMessage(), *(chain(error) if error else [])]))
                super().emit(record)

        self.handler = Keep()
        self.handler.setLevel(logging.WARNING)
        # Where plugins are looked for, by its name in all releases that have plugins.
        self.logger = logging.getLogger("jax._src.xla_bridge")
        self.logger.addHandler(self.handler)

    def __exit__(self, *error: object) -> None:
        self.logger.removeHandler(self.handler)


def plugins() -> list[str]:
    """Plugins for accelerators that are installed, by their modules; they are looked for, not imported."""
    from importlib.machinery import PathFinder

    found = []
    spec = PathFinder.find_spec("jax_plugins")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        try:
            found += [name for name in sorted(os.listdir(folder)) if name.isidentifier() and name != "__pycache__"]
        except OSError:
            continue
    return found


def meant() -> list[str]:
    """Kinds of devices that plugins are installed for and that the environment does not hide."""
    kinds = dict.fromkeys(kind for name in plugins() for word, kind in MEANT.items() if word in name)
    asked = os.environ.get("JAX_PLATFORMS", "").lower()
    if asked and not any(word in asked for word in ("gpu", *kinds)):
        return []
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return [kind for kind in kinds if kind != "cuda" or not hidden]


def kind_of(device: Any) -> str:
    """``cuda`` or ``rocm`` for what JAX calls ``gpu``; other platforms by their names."""
    platform = str(device.platform).lower()
    if platform != "gpu":
        return {"metal": "mps"}.get(platform, platform)
    version = str(getattr(device.client, "platform_version", "")).lower()
    return "rocm" if "rocm" in version else "cuda"


def _narrow(jax: Any, precision: Any, given: dict[str, Any]) -> Any:
    """A product of 8-bit matrices, summed up in 32 bits."""
    a, b = given["a"], given["b"]
    wide = jax.numpy.int32 if a.dtype == jax.numpy.int8 else jax.numpy.float32
    return jax.lax.dot_general(a, b, (((1,), (0,)), ((), ())), preferred_element_type=wide)


def _matmul(jax: Any, precision: Any, given: dict[str, Any]) -> Any:
    return jax.numpy.matmul(given["a"], given["b"], precision=precision)


def _conv(jax: Any, precision: Any, x: Any, w: Any, bias: Any) -> Any:
    sides = ("NCHW", "OIHW", "NCHW")
    padding = ((1, 1), (1, 1))
    found = jax.lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=sides, precision=precision)
    return found + bias[None, :, None, None]


def _convolution(jax: Any, precision: Any, given: dict[str, Any]) -> Any:
    return _conv(jax, precision, given["x"], given["w"], given["b"])


def _linear(jax: Any, precision: Any, x: Any, weight: Any, bias: Any) -> Any:
    return jax.numpy.matmul(x, weight.T, precision=precision) + bias


def _cnn(jax: Any, precision: Any, given: dict[str, Any]) -> Any:
    relu = jax.nn.relu
    x = relu(_conv(jax, precision, given["x"], given["w1"], given["b1"]))
    lowest = jax.numpy.array(-jax.numpy.inf, dtype=x.dtype)
    x = jax.lax.reduce_window(x, lowest, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = relu(_conv(jax, precision, x, given["w2"], given["b2"]))
    return _linear(jax, precision, x.mean(axis=(2, 3)), given["w3"], given["b3"])


def _transformer(jax: Any, precision: Any, given: dict[str, Any]) -> Any:
    numpy = jax.numpy
    x = given["x"]
    batch, length, width = x.shape

    def norm(x: Any, name: str) -> Any:
        mean = x.mean(axis=-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * given[f"{name}_w"] + given[f"{name}_b"]

    def linear(x: Any, weight: str, bias: str) -> Any:
        return _linear(jax, precision, x, given[weight], given[bias])

    def split(letter: str) -> Any:
        found = linear(normed, f"w{letter}", f"b{letter}")
        return found.reshape(batch, length, HEADS, width // HEADS).transpose(0, 2, 1, 3)

    normed = norm(x, "ln1")
    q, k, v = (split(letter) for letter in "qkv")
    scores = numpy.matmul(q, k.swapaxes(-1, -2), precision=precision) / (width // HEADS) ** 0.5
    merged = numpy.matmul(jax.nn.softmax(scores, axis=-1), v, precision=precision)
    h = x + linear(merged.transpose(0, 2, 1, 3).reshape(batch, length, width), "wo", "bo")
    gelu = jax.nn.gelu(linear(norm(h, "ln2"), "w1", "b1"), approximate=False)
    return h + linear(gelu, "w2", "b2")


OPERATIONS: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {
    "matmul": _matmul,
    "convolution": _convolution,
    "cnn": _cnn,
    "transformer": _transformer,
}
