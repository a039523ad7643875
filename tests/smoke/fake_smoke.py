"""A backend that computes right results with plain Python, or does what FAKE_SMOKE says: ``{"step": "behaviour"}``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from envcheck.smoke_tests.backends import Answer, Backend, Device, Missing, Speed, Unsupported, Worker
from envcheck.smoke_tests.reference import expected, inputs

WANTED = json.loads(os.environ.get("FAKE_SMOKE", "{}"))


def behave(step: str) -> object:
    how = WANTED.get(step, "")
    if not how:
        return None
    if how in ("SIGSEGV", "SIGILL", "SIGBUS", "SIGKILL", "SIGTERM", "SIGABRT"):
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(5)
    if how == "null":
        import ctypes

        ctypes.string_at(0)
    if how == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if how == "spin":
        while True:
            pass
    if how == "raise":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if how == "raise-odd":

        class Odd(BaseException):
            def __str__(self) -> str:
                raise ValueError("no text")

        raise Odd
    if how == "exit":
        sys.exit(3)
    if how == "_exit":
        os._exit(0)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "recursion":
        behave(step)
    if how == "memory":
        kept = []
        while True:
            kept.append(bytearray(b"\1" * (64 << 20)))
            time.sleep(0.005)
    if how == "garbage":
        os.write(1, b"\x00\xff\xfe{]\n" * 1000)
        print('{"done": true}')
        print('{"check": {"status": "ok"}}', flush=True)
        sys.stderr.write("\x1b[31mcolours\x1b[0m and \x07 bells\n" * 100)
    if how == "flood":
        for _ in range(3000):
            os.write(2, b"flood " * 1000 + b"\n")
    if how == "fork" and os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    if how == "daemon":
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
            os._exit(0)
        os._exit(0)
    if how == "none":
        return "none"
    if how == "missing":
        raise Missing("there is nothing to test")
    if how == "unsupported":
        raise Unsupported("this device cannot do it")
    if how == "close":
        os.closerange(0, 64)
    return how


def backend() -> Backend:
    behave("backend")
    return Fake()


class Fake(Backend):
    def load(self) -> dict[str, str]:
        return None if behave("load") == "none" else {"version": "1.2.3", "colour": "blue"}  # type: ignore[return-value]

    def devices(self) -> list[Device]:
        if self.request.get("only") == ["cpu"]:
            return [Device("cpu", "cpu")]
        if behave("devices") == "none":
            return None  # type: ignore[return-value]
        return [
            Device("cpu", "cpu"),
            *(Device(f"fake:{number}", "fake", f"Fake {number}", number) for number in (0, 1)),
        ]

    def open(self, device: Device) -> Worker:
        if device.id != "fake:1":
            behave("open" if device.id == "fake:0" else "open-cpu")
        return FakeWorker(device)


class FakeWorker(Worker):
    def __init__(self, device: Device) -> None:
        self.device = device
        self.hostile = device.id == "fake:0"

    def _behave(self, step: str) -> object:
        return behave(step) if self.hostile else None

    def memory(self) -> tuple[float | None, float | None]:
        return ("much", [1]) if self._behave("memory") == "none" else (1000.0, 2000.0)  # type: ignore[return-value]

    def allocate(self, size: int) -> None:
        self._behave("allocate")

    def dtypes(self) -> dict[str, bool]:
        return None if self._behave("dtypes") == "none" else {"float16": True}  # type: ignore[return-value]

    def prepare(self, operation: str, dtype: str):  # type: ignore[no-untyped-def]
        self._behave("prepare")
        self._behave(f"prepare {operation} {dtype}")
        assert inputs(operation)

        def compute() -> object:
            self._behave("compute")
            return operation

        return compute

    def wait(self) -> None:
        self._behave("wait")

    def fetch(self, result: object) -> Answer:
        how = self._behave("fetch")
        if how == "none":
            return None  # type: ignore[return-value]
        tensor = expected(str(result))
        values = list(tensor.values)
        if how == "wrong":
            values = values[::-1]
        if how == "nan":
            values[7] = float("nan")
        if how == "zeros":
            values = [0.0] * len(values)
        shape = tensor.shape[::-1] if how == "shape" else tensor.shape
        return Answer(values, shape, "cpu" if how == "elsewhere" else self.device.id)

    def extras(self, thorough: bool):  # type: ignore[no-untyped-def]
        how = self._behave("extras")
        return None if how == "none" else [("extra step", lambda: self._behave("extra") or "it is fine")]

    def speeds(self):  # type: ignore[no-untyped-def]
        self._behave("speeds")
        return [Speed("matmul", "float32", 1e6, lambda: self._behave("speed"))]

    def told(self) -> dict[str, object]:
        how = self._behave("told")
        return None if how == "none" else {"ran_on": self.device.id}  # type: ignore[return-value]
