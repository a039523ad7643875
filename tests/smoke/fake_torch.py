"""A small part of PyTorch in plain Python: tensors of one dimension on devices that are not there, and collectives.

Faults are asked for in FAKE_TORCH: ``{"init": "hang"}``; see ``fault``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

__version__ = "9.9.0"
float32 = "float32"
GPUS = 4


def fault(place: str) -> str:
    how = json.loads(os.environ.get("FAKE_TORCH", "{}")).get(place, "")
    if how == "hang":
        time.sleep(600)
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        os._exit(7)
    if how == "refuse":
        raise RuntimeError("connect [127.0.1.1]:4711: Connection refused")
    if how == "unresolved":
        sys.stderr.write("[W ProcessGroupGloo.cpp:715] Warning: Unable to resolve hostname to a (local) address.\n")
    if str(how).startswith("write "):
        os.write(int(how[6:]), b"x")
    return str(how)


class device:
    def __init__(self, name: Any) -> None:
        self.type, _, index = str(name).partition(":")
        self.index = int(index) if index else None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


class Tensor:
    def __init__(self, values: list[float], where: Any = "cpu") -> None:
        self.values, self.device = list(values), device(where)

    def to(self, where: Any) -> Tensor:
        return Tensor(self.values, where)

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def copy_(self, other: Tensor) -> Tensor:
        self.values = list(other.values)
        both_gpus = self.device.type == other.device.type == "cuda"
        if both_gpus and fault("copy") == f"{other.device.index}->{self.device.index}":
            self.values[10:20] = [0.0] * 10
        return self

    def _with(self, other: Any, how: Any) -> Tensor:
        if isinstance(other, Tensor):
            assert str(other.device) == str(self.device), "expected all tensors to be on the same device"
            return Tensor([how(a, b) for a, b in zip(self.values, other.values, strict=True)], self.device)
        return Tensor([how(a, other) for a in self.values], self.device)

    def __add__(self, other: Any) -> Tensor:
        return self._with(other, lambda a, b: a + b)

    def __mul__(self, other: Any) -> Tensor:
        return self._with(other, lambda a, b: a * b)

    def __mod__(self, other: Any) -> Tensor:
        return self._with(other, lambda a, b: a % b)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._with(other, lambda a, b: float(a != b))

    def sum(self) -> float:
        return sum(self.values)


def arange(count: int, dtype: Any = None) -> Tensor:
    return Tensor([float(value) for value in range(count)])


def full_like(other: Tensor, value: float, device: Any) -> Tensor:
    return Tensor([value] * len(other.values), device)


def set_num_threads(count: int) -> None:
    assert count == 1


def peers(one: int, other: int) -> bool:
    return one != other and fault("peers") != "none"


def reduced(tensors: list[Tensor]) -> None:
    fault("nccl")
    total = [sum(values) for values in zip(*(tensor.values for tensor in tensors), strict=True)]
    for tensor in tensors:
        tensor.values = list(total)
    if fault("nccl") == "wrong":
        tensors[-1].values[0] += 1


cuda = SimpleNamespace(
    can_device_access_peer=peers,
    synchronize=lambda where=None: None,
    set_device=lambda where: None,
    nccl=SimpleNamespace(is_available=lambda tensors: True, all_reduce=reduced, version=lambda: (2, 29, 3)),
)


class Meeting:
    """A process group whose processes meet in files."""

    def init_process_group(self, name: str, *, init_method: str, rank: int, world_size: int, timeout: Any) -> None:
        assert init_method.startswith("file:///")
        assert timeout.total_seconds() > 0
        self.path, self.rank, self.size = init_method[len("file://") :], rank, world_size
        fault("init")
        fault(f"init {rank}")

    def all_reduce(self, tensor: Tensor) -> None:
        with open(f"{self.path}.{self.rank}.part", "w") as file:
            json.dump(tensor.values, file)
        os.rename(f"{self.path}.{self.rank}.part", f"{self.path}.{self.rank}.values")
        parts = [f"{self.path}.{rank}.values" for rank in range(self.size)]
        while not all(map(os.path.exists, parts)):
            time.sleep(0.001)
        all_values = []
        for part in parts:
            with open(part) as file:
                all_values.append(json.load(file))
        tensor.values = [sum(values) for values in zip(*all_values, strict=True)]
        if fault("reduce") == "wrong":
            tensor.values[5] = 0.5

    def is_available(self) -> bool:
        return fault("distributed") != "none"

    def is_gloo_available(self) -> bool:
        return fault("gloo") != "none"

    def is_nccl_available(self) -> bool:
        return fault("nccl is") != "none"


distributed = Meeting()
