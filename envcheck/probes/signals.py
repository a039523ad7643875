"""Signals that end the process: while commands run, what they leave must be cleared away first.

A batch system, a CI runner and ``timeout`` end a process with SIGTERM, a closed terminal with SIGHUP. Commands have
sessions of their own, so neither reaches them. For the time of a run these signals raise :class:`Ended` in the main
thread, and :meth:`Guard.end` then lets the signal do what it would have done at once. Only signals that nobody has
set are taken, and only in the main thread: a program that imports envcheck keeps its own handlers.

``_signal`` is the built-in module behind ``signal``, whose own import costs 1 ms for its enumerations.
"""

from __future__ import annotations

import os
from typing import Any

NAMES = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM")


class Ended(BaseException):
    """A signal has come whose default is to end the process."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def _raise(number: int, _: Any) -> None:
    raise Ended(number)


def _module() -> Any:
    import _signal  # type: ignore[import-not-found]

    return _signal


class Guard:
    """The handlers, from now on until :meth:`lift`."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        if os.name != "posix":
            return
        module = _module()
        for name in NAMES:
            number = getattr(module, name, None)
            if number is None or module.getsignal(number) != module.SIG_DFL:
                continue
            try:
                module.signal(number, _raise)
            except (ValueError, OSError):  # not the main thread
                return
            self.taken.append(number)

    def lift(self) -> None:
        """Give the signals back."""
        while self.taken:
            _module().signal(self.taken.pop(), _module().SIG_DFL)

    def end(self, ended: Ended) -> None:
        """Let the signal do its work now."""
        self.lift()
        os.kill(os.getpid(), ended.number)
