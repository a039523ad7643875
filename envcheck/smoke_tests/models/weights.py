"""Files that hold weights and nothing to run: what is in them, whether it is numbers, whether a device has room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.backends import Backend, Device, Worker
from envcheck.smoke_tests.models import ModelError, safetensors

if TYPE_CHECKING:
    from envcheck.smoke_tests.models.running import State
    from envcheck.smoke_tests.steps import Teller

BLOCK = 1 << 22
"""Values that are looked at in one go."""
BITS = {"BF16": ("<u2", 0x7F80, 0x7F), "F8_E5M2": ("u1", 0x7C, 0x3)}
"""Types that NumPy does not have -> how they are read, the bits of the exponent, those of the fraction."""
NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"}


class Tally:
    """What was counted."""

    def __init__(self) -> None:
        self.tensors = self.values = self.size = 0
        self.dtypes: dict[str, int] = {}
        self.nan: dict[str, int] = {}
        self.infinite: dict[str, int] = {}
        self.unread: set[str] = set()

    def add(self, name: str, dtype: str, values: int, size: int, odd: tuple[int, int] | None) -> None:
        """``odd``: NaN and infinities; None when they could not be looked for."""
        self.tensors += 1
        self.values += values
        self.size += size
        self.dtypes[dtype] = self.dtypes.get(dtype, 0) + 1
        if odd is None:
            self.unread.add(dtype)
            return
        if odd[0]:
            self.nan[name] = odd[0]
        if odd[1]:
            self.infinite[name] = odd[1]

    def notes(self) -> Iterator[tuple[str, str]]:
        yield "tensors", str(self.tensors)
        yield "values", str(self.values)
        yield "dtypes", ", ".join(f"{count} {dtype}" for dtype, count in self.dtypes.items())
        yield "size", f"{self.size / 2**20:.1f} MiB"
        if self.infinite:
            yield "infinite", f"{_several(self.infinite)} hold infinite values"
        if self.unread:
            yield "not looked into", f"tensors of {', '.join(sorted(self.unread))}"

    def check(self, device: str) -> dict[str, Any]:
        """The record of the check for NaN."""
        dtype = max(self.dtypes, key=lambda name: self.dtypes[name], default="")
        record = {"device": device, "operation": "weights", "dtype": dtype, "against": "NaN", "status": "ok"}
        if self.nan:
            record |= {"status": "nan", "said": f"{_several(self.nan)} hold NaN"}
        return record


def _several(names: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(names.items())[:4])
    return shown + (f" and {len(names) - 4} more tensors" if len(names) > 4 else "")


def load(backend: Any, worker: Worker, device: Device, state: State) -> Callable[[Teller], None]:
    """Of a safetensors file: what tells of it."""

    def tell_of(tell: Teller) -> None:
        tally = Tally()
        if device.kind == "cpu":
            tell.step("weights", lambda: _count(state, tally), device.id)
            told(tally, device.id, tell)

    return tell_of


def told(tally: Tally, device: str, tell: Teller) -> None:
    tell({"check": tally.check(device)})
    for name, text in tally.notes():
        tell({"note": {"device": device, "name": name, "text": text}})


def _count(state: State, tally: Tally) -> None:
    entries = safetensors.read(state.file.path, state.file.name)
    try:
        import numpy
    except ImportError:
        numpy = None
    whole = numpy.memmap(state.file.path, dtype="u1", mode="r") if numpy is not None else None
    for entry in entries:
        count = 1
        for length in entry.shape:
            count *= length
        odd = odd_values(numpy, whole[entry.begin : entry.end], entry.dtype) if whole is not None else None
        tally.add(entry.name, entry.dtype, count, entry.end - entry.begin, odd)


def odd_values(numpy: Any, raw: Any, dtype: str) -> tuple[int, int] | None:
    """NaN and infinities among the bytes of a tensor; None for a type that can't be read."""
    if dtype[0] in "UIB" and dtype != "BF16":
        return 0, 0
    nan = infinite = 0
    for start in range(0, raw.size, BLOCK * 8):
        block = raw[start : start + BLOCK * 8]
        if dtype in NUMPY:
            values = numpy.frombuffer(block.tobytes(), dtype=NUMPY[dtype])
            nan += int(numpy.isnan(values).sum())
            infinite += int(numpy.isinf(values).sum())
        elif dtype in BITS:
            kind, exponent, fraction = BITS[dtype]
            values = numpy.frombuffer(block.tobytes(), dtype=kind)
            special = values[(values & exponent) == exponent]
            nan += int(((special & fraction) != 0).sum())
            infinite += int(((special & fraction) == 0).sum())
        elif dtype == "F8_E4M3":
            nan += int(((block & 0x7F) == 0x7F).sum())
        else:
            return None
    return nan, infinite


class TorchWeights:
    """What torch loaded with ``weights_only``: tensors in tables and lists, with numbers and texts between."""

    def __init__(self, torch: Any, worker: Any, device: Device, held: Any, state: State) -> None:
        self.torch, self.device, self.held = torch, device, held
        given = next((name for name in ("inputs", "golden", "record", "shapes") if state.model.get(name)), "")
        if given:
            option = "shape" if given == "shapes" else given
            raise ModelError(f"{state.file.name} holds weights and nothing to run: --{option} has no use")

    def __call__(self, tell: Teller) -> None:
        from envcheck.smoke_tests.models.tree import leaves

        torch = self.torch
        tensors = [
            (name, value)
            for name, value in leaves(self.held, lambda value: isinstance(value, torch.Tensor))
            if isinstance(value, torch.Tensor)
        ]
        if not tensors:
            tell({"note": {"device": self.device.id, "name": "tensors", "text": "none is in the file"}})
            return
        if self.device.kind != "cpu":
            return
        tally = Tally()

        def count() -> None:
            for name, tensor in tensors:
                dtype = str(tensor.dtype).removeprefix("torch.")
                tally.add(name, dtype, tensor.numel(), tensor.numel() * tensor.element_size(), self._odd(tensor))

        tell.step("weights", count, self.device.id)
        told(tally, self.device.id, tell)

    def _odd(self, tensor: Any) -> tuple[int, int] | None:
        torch = self.torch
        if tensor.layout != torch.strided or tensor.is_quantized:
            return None
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return 0, 0
        nan = infinite = 0
        flat = tensor.detach().reshape(-1)
        try:
            for start in range(0, flat.numel(), BLOCK):
                part = flat[start : start + BLOCK]
                if part.element_size() < 2:
                    part = part.to(torch.float32)
                nan += int(torch.isnan(part).sum())
                infinite += int(torch.isinf(part).sum())
        except (RuntimeError, NotImplementedError):
            return None
        return nan, infinite


class OnlyWeights(Backend):
    """For safetensors where there is no torch."""

    def load(self) -> dict[str, str]:
        return {}

    def devices(self) -> list[Device]:
        return [Device("cpu", "cpu")]

    def open(self, device: Device) -> Worker:
        return Worker()


def backend() -> Backend:
    return OnlyWeights()
