"""The steps of a smoke test, the same for every backend: context, memory, operations, data types, speed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from envcheck.probes.import_child import chain
from envcheck.smoke_tests import ON_DEVICE, OPERATIONS, asked_for
from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Unsupported, Worker

T = TypeVar("T")

FIRST_BYTES = 16 << 20
"""What is allocated first, to see whether there is memory at all; less on a CPU, where each page takes microseconds."""
RUNS, ENOUGH = 5, 0.02
"""Timed runs at most; fewer when they took this many seconds already."""
LONGEST = 1000
"""Characters of an error that are kept."""


class Failed(Exception):
    """A step failed and was told; the device has nothing more to say."""


class Teller:
    """Writes records to whoever started this process."""

    def __init__(self, channel: int) -> None:
        self.channel = channel

    def __call__(self, record: dict[str, Any]) -> None:
        import json

        os.write(self.channel, json.dumps(record).encode() + b"\n")

    def step(self, name: str, work: Callable[[], T], device: str = "", *, quiet: bool = False) -> T:
        """Do the work between two records. Raises Failed when it raises; Missing and Unsupported pass.

        ``quiet``: that it went well need not be shown.
        """
        self({"begin": name, "device": device})
        since = time.perf_counter()
        try:
            result = work()
        except Failed:  # a step within this one, and it is told
            raise
        except (Missing, Unsupported) as error:
            self.end(name, device, since, "skipped", [str(error)])
            raise
        except SystemExit as error:
            self.end(name, device, since, "failed", [f"SystemExit: {error.code}"])
            raise Failed from None
        except BaseException as error:
            self.end(name, device, since, "failed", chain(error))
            raise Failed from None
        self.end(name, device, since, "ok", [], quiet)
        return result

    def end(self, name: str, device: str, since: float, status: str, errors: list[str], quiet: bool = False) -> None:
        spent = round((time.perf_counter() - since) * 1000, 3)
        record: dict[str, Any] = {"end": name, "device": device, "status": status, "ms": spent, "rss": peak_mib()}
        if quiet:
            record["quiet"] = True
        if errors:
            record["errors"] = [error[:LONGEST] for error in errors]
        self(record)


def peak_mib() -> int:
    """Largest resident memory of this process until now; 0 where it is not told."""
    try:
        import resource
        import sys
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10


def run(request: dict[str, Any], tell: Teller) -> None:
    """All steps of one backend. ``request`` holds:

    ``module``: of the backend; ``skip``: devices that had their turn; ``only``: devices that are asked for, all when
    empty; ``dtypes``: data types that are asked for, all when empty; ``thorough``; ``budget_mib``; ``folder``: to write
    to, removed at the end; ``model``: see :mod:`envcheck.smoke_tests.models`.
    """
    if request.get("model"):
        from envcheck.smoke_tests.models.running import run as run_model

        run_model(request, tell)
        return
    try:
        backend = tell.step("backend", lambda: made(request), quiet=True)
        backend.tell = tell
        said = tell.step("import", lambda: loaded(backend))
        tell({"says": said})
        devices = tell.step("devices", lambda: [Device(*device) for device in backend.devices()])
    except (Failed, Missing, Unsupported):
        return
    wanted = [one for one in devices if asked_for(one.id, one.kind, one.gpu, request.get("only") or [])]
    tell({"devices": [device._asdict() for device in wanted], "all": [device.id for device in devices]})
    for device in wanted:
        if device.id in request.get("skip", ()):
            continue
        os.write(2, f"\n{ON_DEVICE}{device.id}\n".encode())
        try:
            whole = on_device(backend, device, request, tell)
        except (Failed, Missing, Unsupported):
            whole = False
        tell({"over": device.id})
        if not whole and device.kind != "cpu":
            # What went wrong on a GPU can spoil everything that this process does on it later.
            tell({"again": True})
            return


def made(request: dict[str, Any]) -> Backend:
    """The backend of a request."""
    backend: Backend = __import__(request["module"], fromlist=("backend",)).backend()
    backend.request = request
    return backend


def loaded(backend: Backend) -> dict[str, str]:
    """Import the framework; what it says of itself."""
    import gc

    # What an import makes stays: looking for garbage in it costs a twentieth of the time.
    gc.disable()
    try:
        return {str(name): str(value) for name, value in backend.load().items()}
    finally:
        gc.enable()


def on_device(backend: Backend, device: Device, request: dict[str, Any], tell: Teller) -> bool:
    """The steps on one device; whether none of them failed."""
    place = device.id
    worker = tell.step("context", lambda: backend.open(device), place)
    tell({"memory": {"device": place, "free": tell.step("memory", lambda: free_mib(worker), place, quiet=True)}})
    tell.step("allocate", lambda: worker.allocate(FIRST_BYTES if device.kind != "cpu" else FIRST_BYTES >> 4), place)
    whole = operations(worker, device, tell)
    for dtype, claimed in tell.step("types", lambda: dict(worker.dtypes()), place, quiet=True).items():
        if not request.get("dtypes") or dtype in request["dtypes"]:
            whole &= data_type(worker, device, dtype, claimed, bool(request.get("thorough")), tell)
    extras = tell.step("extras", lambda: list(worker.extras(bool(request.get("thorough")))), place, quiet=True)
    for name, work in extras:
        try:
            said = tell.step(name, work, place)
        except Failed:
            whole = False
        except (Missing, Unsupported):
            continue
        else:
            if said:
                tell({"note": {"device": place, "name": name, "text": str(said)[:LONGEST]}})
    measure(worker, device, tell)
    tell({"told": tell.step("report", lambda: {**worker.told(), "device": place}, place, quiet=True)})
    return whole


def free_mib(worker: Worker) -> float | None:
    """Free memory of the device."""
    free, _ = worker.memory()
    return None if free is None else float(free)


def operations(worker: Worker, device: Device, tell: Teller) -> bool:
    """All operations in float32, the results brought back and compared; whether they are right.

    Raises Failed when one could not be computed at all.
    """
    results = []
    for operation in OPERATIONS:

        def compute(operation: str = operation) -> Any:
            result = worker.prepare(operation, "float32")()
            worker.wait()
            return result

        since = time.perf_counter()
        try:
            results.append((operation, tell.step(operation, compute, device.id), time.perf_counter() - since))
        except Unsupported:
            continue
    answers = tell.step("copy", lambda: [worker.fetch(result) for _, result, _ in results], device.id)

    def compare() -> bool:
        right = True
        for (operation, _, seconds), answer in zip(results, answers, strict=True):
            right &= told_check(tell, device, operation, "float32", answer, seconds)
        return right

    return tell.step("compare", compare, device.id)


def told_check(
    tell: Teller,
    device: Device,
    operation: str,
    dtype: str,
    answer: Answer,
    seconds: float,
    claimed: bool | None = None,
) -> bool:
    """Compare with the reference and tell; whether it is right, and was computed where it should."""
    from envcheck.smoke_tests.reference import compare

    found = compare(operation, dtype, answer.values, answer.shape)
    tell(
        {
            "check": {
                "device": device.id,
                "operation": operation,
                "dtype": dtype,
                "status": found.status,
                "difference": found.error,
                "tolerance": found.tolerance,
                "ran_on": answer.ran_on,
                "claimed": claimed,
                "ms": round(seconds * 1000, 3),
                "said": found.text if found.status != "ok" else "",
            }
        }
    )
    return found.status == "ok" and answer.ran_on in ("", device.id)


def data_type(worker: Worker, device: Device, dtype: str, claimed: bool, thorough: bool, tell: Teller) -> bool:
    """Some operations in one data type; whether all that is claimed works. What fails does not end the tests."""
    whole = True
    tell({"begin": dtype, "device": device.id})
    for operation in by_dtype(dtype, thorough):
        since = time.perf_counter()
        status, said = "failed", ""
        try:
            result = worker.prepare(operation, dtype)()
            worker.wait()
            spent = time.perf_counter() - since
            whole &= told_check(tell, device, operation, dtype, worker.fetch(result), spent, claimed)
            continue
        except Unsupported as error:
            status, said = "unsupported", str(error)
        except BaseException as error:
            said = chain(error)[0]
            whole &= not claimed
            if isinstance(error, SystemExit):
                said = f"SystemExit: {error.code}"
        record = {"device": device.id, "operation": operation, "dtype": dtype, "status": status, "claimed": claimed}
        tell({"check": {**record, "said": said[:LONGEST]}})
    tell({"end": dtype, "device": device.id, "status": "ok", "quiet": True})
    return whole


def by_dtype(dtype: str, thorough: bool) -> tuple[str, ...]:
    """The operations to try in a data type."""
    special = {"float8_e4m3": ("matmul-fp8",), "int8": ("matmul-int8",), "tf32": ("matmul", "convolution")}
    return special.get(dtype) or (OPERATIONS if thorough else ("matmul", "cnn"))


def measure(worker: Worker, device: Device, tell: Teller) -> None:
    """A few short measurements; one that fails is left out, with a note."""
    with Alone():
        tell({"begin": "speed", "device": device.id})
        for speed in tell.step("speeds", lambda: list(worker.speeds()), device.id, quiet=True):
            try:
                seconds = best_of(speed.call)
            except BaseException as error:
                tell({"note": {"device": device.id, "name": f"speed of {speed.measure}", "text": chain(error)[0]}})
                continue
            record: dict[str, Any] = {"device": device.id, "measure": speed.measure, "dtype": speed.dtype}
            copied = speed.measure != "matmul" and speed.work
            unit = "GB/s" if copied else "TFLOPS" if speed.work else "ms"
            value = speed.work / seconds / (1e9 if copied else 1e12) if speed.work else seconds * 1000
            tell({"speed": {**record, "unit": unit, "value": float(f"{value:.4g}")}})
        tell({"end": "speed", "device": device.id, "status": "ok", "quiet": True})


def best_of(call: Callable[[], Any]) -> float:
    """Seconds of the fastest run after one that warms up."""
    call()
    best, spent = float("inf"), 0.0
    for _ in range(RUNS):
        since = time.perf_counter()
        call()
        seconds = time.perf_counter() - since
        best, spent = min(best, seconds), spent + seconds
        if spent > ENOUGH:
            break
    return max(best, 1e-9)


class Alone:
    """While it is held no other smoke test measures speed; given up after some seconds, and where there is no flock."""

    def __init__(self, patience: float = 3.0) -> None:
        self.patience, self.handle = patience, -1

    def __enter__(self) -> None:
        try:
            import fcntl

            # A lock on a file that is there anyway: nothing need be made, and it ends with the process.
            self.handle = os.open(__file__, os.O_RDONLY)
        except (ImportError, OSError):
            return
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(0.005)

    def __exit__(self, *error: object) -> None:
        if self.handle >= 0:
            os.close(self.handle)
