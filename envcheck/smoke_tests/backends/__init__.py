"""What a backend is. A file in this package, or a module that an entry point of ``envcheck.smoke_backends`` names.

It has a function ``backend()`` that gives an object like :class:`Backend`. It runs in a child process: it may crash,
hang or print. The framework is imported in :meth:`Backend.load` only, so that a failure is told as one of the import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Device(NamedTuple):
    """One place where a backend computes."""

    id: str
    """As the framework calls it: ``cpu``, ``cuda:0``, ``CUDAExecutionProvider``."""
    kind: str
    """``cpu``, ``cuda``, ``rocm``, ``xpu``, ``mps``, ``directml``, ``openvino``, ``coreml`` or another word."""
    name: str = ""
    """What the framework calls the device."""
    gpu: int | None = None
    """Index among the GPUs that are visible."""


class Unsupported(Exception):
    """The framework or the device says itself that it does not have this; its text says who says so."""


class Missing(Exception):
    """There is nothing to test: the framework is there in part only, or no device was asked for."""


class Answer(NamedTuple):
    """A result, on the host."""

    values: Any
    """A flat sequence of floats."""
    shape: tuple[int, ...]
    ran_on: str
    """The device that computed it, by its id; empty when it is not told."""


class Speed(NamedTuple):
    """Something to measure."""

    measure: str
    dtype: str
    work: float
    """FLOP, or bytes, of one call; 0: the time itself is wanted."""
    call: Callable[[], Any]
    """Comes back when the work is done."""


class Backend:
    """One framework. Every method may raise; the step in which it did so is told."""

    request: dict[str, Any]
    """What is asked for; see :func:`envcheck.smoke_tests.steps.run`."""
    tell: Any
    """A :class:`envcheck.smoke_tests.steps.Teller`, for a backend with steps within the usual ones."""

    def load(self) -> dict[str, str]:
        """Import the framework; what it says of itself (``version`` is known to readers, all else is shown)."""
        raise NotImplementedError

    def devices(self) -> list[Device]:
        """Where it can compute, or should be able to: a device of the build that is not there is not listed."""
        raise NotImplementedError

    def open(self, device: Device) -> Worker:
        """Make the device ready: its context, the first allocation by the framework itself."""
        raise NotImplementedError


class Worker:
    """A device that is ready."""

    def memory(self) -> tuple[float | None, float | None]:
        """Free and total MiB of the device; None where it is not told."""
        return None, None

    def allocate(self, size: int) -> None:
        """Take ``size`` bytes on the device, write to them, give them back."""

    def dtypes(self) -> dict[str, bool]:
        """Data types besides float32 to try -> whether the framework or the hardware claims to have it."""
        return {}

    def prepare(self, operation: str, dtype: str) -> Callable[[], Any]:
        """A function that computes the operation and gives the result, still on the device. Raises Unsupported.

        What the operations are is told in :mod:`envcheck.smoke_tests.reference`.
        """
        raise NotImplementedError

    def wait(self) -> None:
        """Come back when everything that was asked of the device is done."""

    def fetch(self, result: Any) -> Answer:
        """Bring a result to the host."""
        raise NotImplementedError

    def extras(self, thorough: bool) -> Iterable[tuple[str, Callable[[], Any]]]:
        """More steps, each a name and a function that raises when it fails; a text that it gives is kept."""
        return ()

    def speeds(self) -> Iterable[Speed]:
        """What to measure."""
        return ()

    def told(self) -> dict[str, Any]:
        """At the end: ``ran_on`` (text), ``providers`` (list), ``kernels`` (dict), ``peak_mib``, ``facts`` (dict)."""
        return {}
