"""Models run by torch: exported programs, TorchScript, and pickled modules where pickles are trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.formats import zipped
from envcheck.smoke_tests.models.made import Slot
from envcheck.smoke_tests.models.running import Output, Runner
from envcheck.smoke_tests.models.tree import MOST, leaves

if TYPE_CHECKING:
    from envcheck.smoke_tests.backends import Device
    from envcheck.smoke_tests.models.running import State
    from envcheck.smoke_tests.steps import Teller

WHOLE = ("ids", "token", "index", "indices", "mask", "labels", "position", "length", "lengths")
"""Words in the name of an input, of a file that tells no data types, which mean that it takes integers."""


def load(backend: Any, worker: Any, device: Device, state: State) -> Runner | Callable[[Teller], None]:
    """The model on the device. Raises ModelError, and what torch raises."""
    torch = backend.torch
    if not state.model.get("trust_pickle"):
        # Wherever torch would unpickle without a guard, it takes one then (torch/serialization.py).
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    if state.file.kind == "pt2":
        return exported(torch, worker, state)
    if state.file.kind == "torchscript":
        return Scripted(torch, worker, _read(lambda: torch.jit.load(state.file.path, map_location="cpu"), state))
    if state.file.kind != "pickled":
        raise ModelError(f"{state.file.name} is not a file for torch")
    found: Runner | Callable[[Teller], None] = _pickled(torch, worker, device, state)
    return found


def _read(work: Callable[[], Any], state: State) -> Any:
    """What torch read; a file that it can't make sense of is no fault of torch. Raises ModelError."""
    try:
        return work()
    except (EOFError, RuntimeError, ValueError, KeyError) as error:
        text = str(error)
        for sign in ("PytorchStreamReader", "central directory", "corrupted", "Ran out of input", "unexpected EOF"):
            if sign in text or isinstance(error, EOFError):
                raise ModelError(f"{state.file.name} is damaged: {text.splitlines()[0][:300]}") from None
        if "Unknown builtin op" in text or "Could not find any similar ops" in text:
            first = text.strip().splitlines()[0][:200]
            raise ModelError(f"{state.file.name} uses an operator that is not registered here: {first}") from None
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if "failed to resolve" in text or "Unsupported target type" in text:
            at = max(text.find("Unsupported target type"), 0)
            raise ModelError(
                f"{state.file.name} uses an operator that is not registered here; the package that brings it would "
                f"have to be imported first, which envcheck does not do: {text[at : at + 300]}"
            ) from None
        raise


class TorchRunner(Runner):
    """``call`` takes the tensors in the order of ``slots``."""

    def __init__(self, torch: Any, worker: Any, call: Callable[[list[Any]], Any], slots: list[Slot]) -> None:
        self.torch, self.worker, self.call, self.slots = torch, worker, call, slots

    def feed(self, arrays: dict[str, Any]) -> Any:
        return [self._tensor(arrays[slot.name], slot.dtype) for slot in self.slots]

    def _tensor(self, array: Any, dtype: str) -> Any:
        torch = self.torch
        # Not torch.from_numpy: a torch that was built for another NumPy can't do that.
        kind = getattr(torch, str(array.dtype), None)
        if kind is None:
            raise ModelError(f"torch {torch.__version__} has no data type {array.dtype}")
        if array.size:
            tensor = torch.frombuffer(bytearray(array.tobytes()), dtype=kind).reshape(array.shape)
        else:
            tensor = torch.empty(array.shape, dtype=kind)
        if dtype == "bfloat16":
            tensor = tensor.to(torch.bfloat16)
        return tensor.to(self.worker.device)

    def run(self, fed: Any) -> Any:
        with self.torch.no_grad():
            result = self.call(fed)
        self.worker.wait()
        return result

    def fetch(self, result: Any) -> dict[str, Output]:
        torch = self.torch
        found: dict[str, Output] = {}
        self.where: set[str] = set()
        for name, value in leaves(result, lambda value: isinstance(value, torch.Tensor)):
            if len(found) < MOST:
                found[name] = self._output(value)
        if not found:
            raise ModelError(f"the model gave no tensor, but {type(result).__name__}")
        return found

    def _output(self, value: Any) -> Output:
        import ctypes

        import numpy

        torch = self.torch
        if not isinstance(value, torch.Tensor):
            array = numpy.array(value)
            return Output(array, str(array.dtype))
        self.where.add(str(value.device))
        dtype = str(value.dtype).removeprefix("torch.")
        if value.is_quantized:
            value = value.dequantize()
        value = value.detach().to("cpu")
        if value.layout != torch.strided:
            value = value.to_dense()
        value = value.resolve_conj().resolve_neg()
        if not hasattr(numpy, str(value.dtype).removeprefix("torch.")):
            value = value.to(torch.float32)  # bfloat16, float8
        value = value.contiguous()
        data = ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()) if value.numel() else b""
        kind = str(value.dtype).removeprefix("torch.")
        return Output(numpy.frombuffer(data, dtype=kind).reshape(tuple(value.shape)), dtype)

    def told(self) -> dict[str, Any]:
        where = next(iter(self.where)) if len(self.where) == 1 else ""
        return {"ran_on": where} if where else {}


def exported(torch: Any, worker: Any, state: State) -> TorchRunner:
    """A program of torch.export.save."""
    if not hasattr(torch, "export") or not hasattr(torch.export, "load"):
        raise ModelError(f"torch {torch.__version__} is too old for exported programs")
    try:
        program = _read(lambda: torch.export.load(state.file.path), state)
    except KeyError as error:
        if "'version'" not in str(error):
            raise
        raise RuntimeError(
            f"{state.file.name} was written by a newer torch, in an archive of a layout that torch {torch.__version__} "
            "does not read"
        ) from None
    if str(worker.device) != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, str(worker.device))
    examples = program.example_inputs
    spec = program.call_spec.in_spec
    from torch.utils import _pytree as pytree

    flat = pytree.tree_leaves(examples) if examples is not None else []
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    names = program.graph_signature.user_inputs
    slots: list[Slot] = []
    places: list[int] = []
    for place, name in enumerate(names):
        value = values.get(name) if isinstance(name, str) else None
        if not isinstance(value, torch.Tensor):
            if place >= len(flat):
                raise ModelError(f"input {name!r} is no tensor, and the file has no example of it")
            continue
        shape = tuple(length if isinstance(length, int) else str(length) for length in value.shape)
        example = flat[place] if place < len(flat) else None
        size = tuple(map(int, example.shape)) if isinstance(example, torch.Tensor) else None
        slots.append(Slot(name, str(value.dtype).removeprefix("torch."), shape, size, _least(program, value)))
        places.append(place)
    module = _module(program)

    def call(tensors: list[Any]) -> Any:
        given = [flat[place] if place < len(flat) else None for place in range(len(names))]
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        arguments, keywords = pytree.tree_unflatten(given, spec)
        return module(*arguments, **keywords)

    return TorchRunner(torch, worker, call, slots)


def _module(program: Any) -> Any:
    """The program as something to call. Its guards are Python made from texts of the file: they are left out."""
    try:
        return program.module(check_guards=False)
    except TypeError:  # torch 2.8 and older: there are none
        return program.module()


def _least(program: Any, value: Any) -> int:
    """The least length of a first axis that is free."""
    try:
        bounds = program.range_constraints[value.shape[0].node.expr]
        return max(1, int(bounds.lower))
    except Exception:
        return 1


class Scripted(TorchRunner):
    """TorchScript: it tells the names of its inputs, neither shapes nor data types."""

    def __init__(self, torch: Any, worker: Any, module: Any) -> None:
        module = module.to(worker.device).eval()
        slots: list[Slot] = []
        for argument in module.forward.schema.arguments[1:]:
            if str(argument.type) == "Tensor":
                slots.append(Slot(argument.name, guessed(argument.name), None))
            elif not argument.has_default_value():
                raise ModelError(
                    f"input {argument.name!r} is {argument.type}: only inputs that are tensors can be made"
                )
        super().__init__(torch, worker, lambda tensors: module(*tensors), slots)

    def feed(self, arrays: dict[str, Any]) -> Any:
        # The type is a guess: what was given counts.
        return [self._tensor(arrays[slot.name], "") for slot in self.slots]


def guessed(name: str) -> str:
    """Data type of an input of which only the name is known; empty dtypes are not converted to."""
    parts = name.lower().replace(".", "_").split("_")
    return "int64" if any(word in parts for word in WHOLE) else "float32"


def _pickled(torch: Any, worker: Any, device: Device, state: State) -> Any:
    from envcheck.smoke_tests.models.pickled import objects_in, refusal

    name, path = state.file.name, state.file.path
    trusted = bool(state.model.get("trust_pickle"))
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": not trusted}
    if zipped(path) and tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 1):
        options["mmap"] = True
    try:
        held = _read(lambda: torch.load(path, **options), state)
    except ModelError:
        raise
    except TypeError as error:
        if "weights_only" not in str(error):
            raise
        raise ModelError(
            f"torch {torch.__version__} can't load {name} without unpickling what could run code: torch 1.13 and newer "
            "can; give --trust-pickle if you trust where it comes from"
        ) from None
    except Exception as error:
        first = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if not trusted:
            objects = objects_in(path, name)
            if objects:
                raise ModelError(refusal(name, "holds pickled Python objects", objects)) from None
        if "on <module '__main__'" in first:
            first = "its class was defined in the script that saved it (__main__), and no other program has it"
        raise ModelError(f"{name} can't be loaded: {first}") from None
    module = held
    if isinstance(held, dict):
        module = next((value for value in held.values() if isinstance(value, torch.nn.Module)), held)
    if isinstance(module, torch.nn.Module):
        return _eager(torch, worker, module)
    from envcheck.smoke_tests.models.weights import TorchWeights

    return TorchWeights(torch, worker, device, held, state)


def _eager(torch: Any, worker: Any, module: Any) -> TorchRunner:
    """A pickled module: the names of its inputs are those of ``forward``."""
    import inspect

    module = module.to(worker.device).eval()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [
        one.name
        for one in inspect.signature(module.forward).parameters.values()
        if one.kind in kinds and one.default is inspect.Parameter.empty
    ]
    first = next(module.parameters(), None)
    dtype = str(first.dtype).removeprefix("torch.") if first is not None else "float32"
    slots = [Slot(name, "int64" if guessed(name) == "int64" else dtype, None) for name in names]
    return TorchRunner(torch, worker, lambda tensors: module(*tensors), slots)
