"""Signals that end the process are taken only while a run lasts, and only where nobody else has taken them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from envcheck.probes.runner import Job, Runner
from envcheck.probes.signals import Ended, Guard

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_taken_for_a_run_and_given_back() -> None:
    seen: list[object] = []

    def work() -> Callable[[], None]:
        seen.append(signal.getsignal(signal.SIGHUP))
        return lambda: None

    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    Runner([[Job("one", work, lambda *_: None, lambda _: None)]]).run()
    assert seen != [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_handlers_of_others_stay() -> None:
    def mine(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        guard = Guard()
        assert signal.getsignal(signal.SIGUSR1) is mine
        guard.lift()
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_becomes_an_exception() -> None:
    guard = Guard()
    try:
        with pytest.raises(Ended) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.number == signal.SIGTERM
    finally:
        guard.lift()


def test_another_thread_takes_none() -> None:
    taken: list[list[int]] = []
    thread = threading.Thread(target=lambda: taken.append(Guard().taken))
    thread.start()
    thread.join()
    assert taken == [[]]
