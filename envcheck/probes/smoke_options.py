"""What is asked of the smoke tests, checked before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BUDGET_MIB = 4096
"""Memory of its own that a child may take, and that its tests may take on a device."""

MODELS = (".onnx", ".pt2", ".ts", ".torchscript", ".pt", ".pth", ".plan", ".engine", ".safetensors")
"""Endings of model files."""


class SmokeError(ValueError):
    """Options or files that can't be used; its text is one sentence for the user."""


class SmokeOptions:
    """What is asked for. ``backends`` and ``devices`` empty: all; ``model``: see :mod:`envcheck.smoke_tests.models`."""

    __slots__ = ("backends", "budget_mib", "devices", "dtypes", "model", "recorded", "thorough")

    def __init__(
        self,
        backends: Iterable[str] = (),
        devices: Iterable[str] = (),
        dtypes: Iterable[str] = (),
        thorough: bool = False,
        budget_mib: int = BUDGET_MIB,
        model: dict[str, Any] | None = None,
    ) -> None:
        self.backends, self.devices, self.dtypes = list(backends), list(devices), list(dtypes)
        self.thorough, self.budget_mib, self.model = thorough, budget_mib, model
        self.recorded = False

    def request(self) -> str:
        """What every child is told, as JSON; the same options give the same text."""
        import json

        wanted: dict[str, Any] = {"thorough": self.thorough, "budget_mib": self.budget_mib}
        wanted |= {"only": self.devices, "dtypes": self.dtypes, "model": self.model}
        if self.model:
            wanted["backends"] = self.backends
        return json.dumps({name: value for name, value in wanted.items() if value}, sort_keys=True)


def options(
    *,
    backends: Sequence[str] = (),
    devices: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    thorough: bool = False,
    memory_mib: int | None = None,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    golden: str | os.PathLike[str] | None = None,
    record: str | os.PathLike[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    trust_pickle: bool = False,
) -> SmokeOptions:
    """The options as :func:`envcheck.smoke` takes them. Raises :class:`SmokeError`."""
    from envcheck.smoke_tests import DTYPES

    for dtype in dtypes:
        if dtype not in DTYPES:
            from envcheck.core.snapshot.stated import similar

            raise SmokeError(f"there is no data type {dtype!r}{similar(dtype, DTYPES)}; known are {', '.join(DTYPES)}")
    if memory_mib is not None and not 64 <= memory_mib < 1 << 24:
        raise SmokeError(f"the memory budget is a number of MiB from 64 on, not {memory_mib}")
    found = SmokeOptions(backends, devices, dtypes, thorough, BUDGET_MIB if memory_mib is None else memory_mib)
    files = {"inputs": inputs, "golden": golden, "record": record}
    if model is None:
        given = [name for name, value in files.items() if value is not None]
        given += [name for name, value in {"shapes": shapes, "rtol": rtol, "atol": atol}.items() if value is not None]
        if trust_pickle:
            given.append("trust-pickle")
        if given:
            raise SmokeError(f"{given[0]} goes with a model")
        return found
    if dtypes:
        raise SmokeError("a model is run in its own data types: dtype goes without a model")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance is not None and not 0 <= tolerance < 1e9:
            raise SmokeError(f"{name} is a number from 0 on, not {tolerance}")
    wanted: dict[str, Any] = {"path": _file(model, "the model")}
    for name in ("inputs", "golden"):
        if files[name] is not None:
            wanted[name] = _file(files[name], name)
    if record is not None:
        wanted["record"] = _target(record, wanted)
    if shapes:
        if inputs is not None:
            raise SmokeError("shapes have no use with inputs")
        for name, shape in shapes.items():
            if any(isinstance(length, bool) or not 0 <= length < 1 << 40 for length in shape):
                raise SmokeError(f"the shape of {name} is made of lengths from 0 on, not {list(shape)}")
        wanted["shapes"] = {str(name): [int(length) for length in shape] for name, shape in shapes.items()}
    wanted |= {name: value for name, value in {"rtol": rtol, "atol": atol}.items() if value is not None}
    if trust_pickle:
        wanted["trust_pickle"] = True
    found.model = wanted
    return found


def _target(path: str | os.PathLike[str], given: dict[str, Any]) -> str:
    """The absolute path of a file to write. Raises SmokeError where that can be foreseen to fail, or do harm."""
    text = os.fspath(path)
    target = os.path.abspath(text)
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise SmokeError(f"{text}: what is to be recorded is a folder")
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise SmokeError(f"{text}: its folder is not there or can't be written to")
    for name, what in (("path", "the model"), ("inputs", "the inputs"), ("golden", "the golden file")):
        if name in given and os.path.exists(target) and os.path.samefile(target, given[name]):
            raise SmokeError(f"{text}: what is recorded would replace {what}")
    return target


def _file(path: Any, what: str) -> str:
    """The absolute path of a file that can be read; the children run in another folder."""
    text = str(os.fspath(path))
    try:
        if not os.path.isfile(text):
            kind = "a folder" if os.path.isdir(text) else "no file" if os.path.exists(text) else "not there"
            raise SmokeError(f"{text}: {what} is {kind}")
        if not os.access(text, os.R_OK):
            raise SmokeError(f"{text}: {what} can't be read")
    except ValueError as error:
        if isinstance(error, SmokeError):
            raise
        raise SmokeError(f"{text!r}: {what} has no name that a file can have") from None
    return os.path.abspath(text)
