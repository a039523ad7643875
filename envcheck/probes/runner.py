"""Run jobs so that one that raises or hangs costs only its own result.

Jobs are given in lanes: those of a lane run one after the other, the lanes side by side. A job that hangs inside the
kernel (a dead network file system) cannot be ended, only left behind. So every lane runs in a thread of its own, and
the caller stops waiting for a job that takes more than its share of the time; the next job of the lane then gets a new
thread. ``_thread`` is used because ``threading`` costs an import of 2 ms; a thread made so does not hold up the end of
the process.
"""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Callable, Sequence

PATIENCE = 60.0
"""Seconds that one job may take when there is no deadline."""
GRACE = 1.5
"""Seconds after the deadline that the last job gets: its children are killed at the deadline, and it tells so."""
SLOW = 0.5
"""Seconds after which the caller tells what it waits for."""


class Job:
    """``work`` does the work and gives back a function that stores the result; then ``done`` is called with the
    milliseconds. Otherwise ``fail`` is, with the status (``failed``, ``timeout``, ``skipped``), the reason and the
    milliseconds.
    """

    __slots__ = ("done", "fail", "name", "work")

    def __init__(
        self,
        name: str,
        work: Callable[[], Callable[[], None]],
        fail: Callable[[str, str, float], None],
        done: Callable[[float], None],
    ) -> None:
        self.name, self.work, self.fail, self.done = name, work, fail, done


class Lane:
    """Jobs that run one after the other, and how far they are."""

    __slots__ = ("index", "jobs", "limit", "owner", "started", "told")

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.owner = 0
        """Number of the thread whose results count."""
        self.index = 0
        self.started = 0.0
        self.limit = 0.0
        """When the job at ``index`` has had its share."""
        self.told = -1
        """The job that the caller was last told of as slow."""

    @property
    def over(self) -> bool:
        return self.index >= len(self.jobs)


class Runner:
    """State shared by the waiting caller and the threads whose results still count."""

    def __init__(
        self,
        lanes: Sequence[Sequence[Job]],
        deadline: float | None = None,
        progress: Callable[[str], None] | None = None,
        head_start: tuple[int, float] = (0, 0.0),
    ) -> None:
        """``head_start``: so many lanes begin before the others, which wait until :meth:`go_on`, or so many seconds."""
        self.lanes = [Lane(jobs) for jobs in lanes if jobs]
        self.head_start = head_start
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.deadline = deadline
        self.progress = progress
        self.lock = _thread.allocate_lock()
        self.wake = _thread.allocate_lock()
        """Released by a thread that has done its lane."""

    def go_on(self) -> None:
        """The lanes without a head start may begin."""
        if self.gate.locked():
            self.gate.release()

    def run(self) -> None:
        """Returns when every job is done, failed or given up.

        Interrupted, by an exception or by a signal that ends the process, it leaves no command running.
        """
        from envcheck.probes.signals import Ended, Guard

        guard = Guard()
        child = sys.modules.get("envcheck.probes.child")
        if child is not None:
            child.resume()  # an earlier run may have been interrupted
        try:
            self._run()
        except BaseException as error:
            with self.lock:
                for lane in self.lanes:
                    lane.owner += 1  # its thread starts no further job
            child = sys.modules.get("envcheck.probes.child")
            if child is not None:
                child.kill_all()
            if isinstance(error, Ended):
                guard.end(error)
            raise
        finally:
            guard.lift()

    def _run(self) -> None:
        self.wake.acquire()
        begun = time.monotonic()
        first, seconds = self.head_start
        for number, lane in enumerate(self.lanes):
            if number == first and seconds:
                self.gate.acquire(timeout=seconds)
            self._start(lane)
        while waiting := [lane for lane in self.lanes if not lane.over]:
            now = time.monotonic()
            until = min(lane.limit for lane in waiting)
            if self.progress is not None:
                # A job that becomes slow must be told of; one that was told of may have been followed by another.
                until = min(until, begun + SLOW if now < begun + SLOW else now + 0.1)
            self.wake.acquire(timeout=max(0.001, until - now))
            for lane in waiting:
                self._tell(lane, begun)
                if self._give_up(lane):
                    self._start(lane)

    def _tell(self, lane: Lane, begun: float) -> None:
        if self.progress is None or lane.over or lane.told == lane.index or time.monotonic() - begun < SLOW:
            return
        lane.told = lane.index
        self.progress(lane.jobs[min(lane.told, len(lane.jobs) - 1)].name)

    def _start(self, lane: Lane) -> None:
        """Give the lane a thread, if it has jobs left."""
        with self.lock:
            if lane.over:
                return
            self._next(lane, lane.index)
            owner = lane.owner
        try:
            _thread.start_new_thread(self._work, (lane, owner))
        except RuntimeError:
            # No thread may be started here: then there is no protection against a job that hangs.
            self._work(lane, owner)

    def _next(self, lane: Lane, index: int) -> None:
        """Set the job and its share: half of what is left, so that one that hangs leaves time for the rest."""
        lane.index = index
        lane.started = time.monotonic()
        if self.deadline is None:
            share = PATIENCE
        elif index >= len(lane.jobs) - 1:
            share = self.deadline - lane.started + GRACE
        else:
            share = (self.deadline - lane.started) / 2
        lane.limit = lane.started + max(share, 0.01)

    def _give_up(self, lane: Lane) -> bool:
        """Leave the thread to itself if its job has had its share."""
        with self.lock:
            now = time.monotonic()
            if lane.over or now < lane.limit:
                return False
            lane.owner += 1
            job = lane.jobs[lane.index]
            job.fail("timeout", f"gave no answer in {now - lane.started:.1f} s", (now - lane.started) * 1000)
            lane.index += 1
            return True

    def _work(self, lane: Lane, me: int) -> None:
        while True:
            with self.lock:
                if me != lane.owner:
                    return
                if lane.over:
                    break
                job, started = lane.jobs[lane.index], lane.started
                if self.deadline is not None and started >= self.deadline:
                    job.fail("skipped", "no time was left", 0.0)
                    self._next(lane, lane.index + 1)
                    continue
            store: Callable[[], None] | None = None
            why = ""
            try:
                store = job.work()
            except BaseException as error:  # also SystemExit and MemoryError: nothing a probe does may end the check
                why = f"{type(error).__name__}: {error}"
            with self.lock:
                if me != lane.owner:
                    return
                taken = (time.monotonic() - started) * 1000
                if store is None:
                    job.fail("failed", why, taken)
                else:
                    store()
                    job.done(taken)
                self._next(lane, lane.index + 1)
        with self.lock:
            if self.wake.locked():
                self.wake.release()
