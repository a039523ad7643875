"""The chain torch -> ONNX -> ONNX Runtime: models of PyTorch exported, loaded and run where they would be deployed.

The results are compared with the reference and with what torch computes. The exporter that this torch uses unless told
otherwise exports all models; where there is another one, it has a step of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Worker
from envcheck.smoke_tests.backends.onnxruntime import KINDS
from envcheck.smoke_tests.backends.torch_operations import module, must_agree, must_be_right
from envcheck.smoke_tests.reference import SHAPES

T = TypeVar("T")

CHAIN = "torch>onnxruntime"
TORCHSCRIPT, DYNAMO = "TorchScript", "torch.export"
"""The exporters of torch.onnx, by what they capture a model with."""
EXACT = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Provider -> options with which float32 is float32."""
SAME = 2e-5
"""How far ONNX Runtime and torch may be apart, of the largest value: sums in another order."""


def backend() -> Backend:
    return Export()


class Export(Backend):
    def load(self) -> dict[str, str]:
        if not present("onnxruntime"):
            raise Missing("ONNX Runtime is not installed: nothing to run what torch exports")
        import onnxruntime
        import torch

        self.torch, self.runtime = torch, onnxruntime
        self.exporters = exporters(torch)
        return {
            "version": str(torch.__version__),
            "onnxruntime": str(onnxruntime.__version__),
            "exporters": ", ".join(self.exporters),
        }

    def devices(self) -> list[Device]:
        found = [Device(CHAIN, "cpu")]
        for provider in map(str, self.runtime.get_available_providers()):
            kind = KINDS.get(provider, "cpu")
            if kind != "cpu":
                found.append(Device(f"{CHAIN}:{provider}", kind, "", 0 if kind == "cuda" else None))
        return found

    def open(self, device: Device) -> Worker:
        return Chain(self, device)


def present(name: str) -> bool:
    """Whether a package can be imported; a folder that is left of one can not."""
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def exporters(torch: Any) -> list[str]:
    """Those that this torch has and whose packages are here, its default first. Raises Missing for none."""
    import inspect

    exporter = getattr(getattr(torch, "onnx", None), "export", None)
    if exporter is None:
        raise Missing(f"torch {torch.__version__} has no torch.onnx.export")
    choice = inspect.signature(exporter).parameters.get("dynamo")
    order = [TORCHSCRIPT] if choice is None else [TORCHSCRIPT, DYNAMO]
    if choice is not None and choice.default is True:  # since 2.9
        order.reverse()
    needs = {TORCHSCRIPT: ["onnx"] if release(torch) >= 2 else [], DYNAMO: ["onnx", "onnxscript"]}
    missing = {name: [package for package in needs[name] if not present(package)] for name in order}
    found = [name for name in order if not missing[name]]
    if not found:
        packages = " and ".join(missing[order[0]])
        raise Missing(f"torch.onnx.export of torch {torch.__version__} needs {packages}, not installed")
    return found


def release(torch: Any) -> int:
    """The first number of its version."""
    first = str(torch.__version__).partition(".")[0]
    return int(first) if first.isdigit() else 0


class Chain(Worker):
    """One provider of ONNX Runtime, fed with what torch exports."""

    def __init__(self, backend: Export, device: Device) -> None:
        self.backend, self.device = backend, device
        self.torch, self.runtime = backend.torch, backend.runtime
        self.provider = device.id.partition(":")[2] or "CPUExecutionProvider"
        self.folder = str(getattr(backend, "request", {}).get("folder") or "")
        if not self.folder:
            raise Missing("there is no folder to export to")
        self.providers: list[str] = []
        self.stamps: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        self.torch.set_grad_enabled(False)

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        return self._through(operation, self.backend.exporters[0])

    def _through(self, operation: str, exporter: str) -> Callable[[], Any]:
        """Export and load; a function that runs."""
        model, x = module(self.torch, operation)
        path = os.path.join(self.folder, f"{operation}.{exporter}.{self.provider}.onnx")
        name = operation if exporter == self.backend.exporters[0] else f"{operation} by {exporter}"
        self._step(f"{name}: export", lambda: export(self.torch, model, x, path, exporter))
        session = self._step(f"{name}: load", lambda: self._load(path, exporter))

        def run() -> Any:
            values = self._step(f"{name}: run", lambda: session.run(None, {"x": x.numpy()})[0])
            return operation, values, [str(name) for name in session.get_providers()]

        return run

    def _step(self, name: str, work: Callable[[], T]) -> T:
        tell = getattr(self.backend, "tell", None)
        return work() if tell is None else tell.step(name, work, self.device.id)

    def _load(self, path: str, exporter: str) -> Any:
        """A session. Raises RuntimeError, with what the exporter wrote and who does not take it."""
        opset, version = stamped(path)
        self.stamps[exporter] = f"opset {opset}, IR version {version}"
        options = self.runtime.SessionOptions()
        options.log_severity_level = 3
        asked: list[Any] = [self.provider] if self.device.kind == "cpu" else [self.provider, "CPUExecutionProvider"]
        exact = EXACT.get(self.provider)
        try:
            if exact:
                try:
                    return self.runtime.InferenceSession(path, options, providers=[(self.provider, exact), *asked[1:]])
                except Exception as error:
                    if not any(name in str(error) for name in exact):  # an older one does not know the option
                        raise
            return self.runtime.InferenceSession(path, options, providers=asked)
        except Exception as error:
            who = f"onnxruntime {self.runtime.__version__} does not load what torch {self.torch.__version__} exported"
            raise RuntimeError(f"{who} ({exporter} exporter, {self.stamps[exporter]}): {error}") from None

    def fetch(self, result: Any) -> Answer:
        operation, values, used = result
        self.results[operation] = values
        self.providers = used
        where = self.device.id if self.provider in used else f"{CHAIN}:{used[0]}" if used else ""
        return Answer(values.astype("float64").ravel().tolist(), tuple(values.shape), where)

    def extras(self, thorough: bool) -> Iterable[tuple[str, Callable[[], Any]]]:
        yield "as torch", self._as_torch
        for exporter in self.backend.exporters[1:]:
            yield f"{exporter} exporter", partial(self._other, exporter)

    def _as_torch(self) -> None:
        """Raises RuntimeError where ONNX Runtime and torch differ."""
        for operation, values in self.results.items():
            self._compare(operation, values)

    def _compare(self, operation: str, values: Any) -> None:
        model, x = module(self.torch, operation)
        try:
            must_agree(self.torch, self.torch.from_numpy(values), model(x), SAME)
        except RuntimeError as error:
            raise RuntimeError(f"{operation} of ONNX Runtime is not as torch computes it: {error}") from None

    def _other(self, exporter: str) -> str:
        for operation in SHAPES:
            if operation in self.results:
                _, values, _ = self._through(operation, exporter)()
                must_be_right(self.torch, operation, "float32", self.torch.from_numpy(values))
                self._compare(operation, values)
        return self.stamps[exporter]

    def told(self) -> dict[str, Any]:
        where = self.device.id if self.provider in self.providers else f"{CHAIN}:{(self.providers or [''])[0]}"
        first = self.backend.exporters[0]
        return {"ran_on": where, "providers": self.providers,
                "facts": {"exporter": first, "exported": self.stamps.get(first, "")}}  # fmt: skip


def export(torch: Any, model: Any, x: Any, path: str, exporter: str) -> None:
    """Raises what torch raises."""
    import warnings

    which = {"dynamo": exporter == DYNAMO} if "dynamo" in _parameters(torch) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old exporter, that there is a new one
        torch.onnx.export(model, (x,), path, input_names=["x"], output_names=["y"], **which)


def _parameters(torch: Any) -> list[str]:
    import inspect

    return list(inspect.signature(torch.onnx.export).parameters)


def stamped(path: str) -> tuple[int, int]:
    """Opset of the default domain and IR version of an ONNX model, 0 where there is none.

    Read without the package onnx: ``ModelProto`` has ``ir_version = 1`` and ``opset_import = 8``, that one's entries
    ``domain = 1`` and ``version = 2`` (onnx.proto).
    """
    with open(path, "rb") as file:
        data = file.read()
    version = opset = 0
    for field, value in fields(data):
        if field == 1 and isinstance(value, int):
            version = value
        elif field == 8 and isinstance(value, bytes):
            entry = dict(fields(value))
            if entry.get(1, b"") in (b"", b"ai.onnx") and isinstance(entry.get(2), int):
                opset = entry[2]
    return opset, version


def fields(data: bytes) -> Iterable[tuple[int, Any]]:
    """Fields of a protocol buffer message: number and value, bytes where it has a length."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        kind = key & 7
        if kind == 0:
            value: Any
            value, place = varint(data, place)
        elif kind == 2:
            length, place = varint(data, place)
            value, place = data[place : place + length], place + length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, place = data[place : place + length], place + length
        else:
            return
        yield key >> 3, value


def varint(data: bytes, place: int) -> tuple[int, int]:
    """The number that begins at a place, and where it ends; cut short at the end of the data."""
    value = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return value, place
