"""All-reduce over a group of processes: two on the CPU by Gloo, one for each GPU by NCCL.

Also a script, run as ``python torch_distributed.py JOB``: one process of a group that is not forked.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

VALUES = 4096
FORKED, SPAWNED = 10.0, 60.0
"""Seconds for a group; a spawned one imports torch anew in each process."""
MARK = "envcheck: "
"""Begins the line in a log that says what was raised."""


class Group:
    """The processes of one all-reduce, in ranks. Their files are ``NAME.*`` in the folder."""

    def __init__(self, backend: str, name: str, devices: list[str], folder: str, seconds: float) -> None:
        self.backend, self.devices, self.seconds = backend, devices, seconds
        self.path = os.path.join(folder, name)
        self.until = time.monotonic() + seconds
        self.processes: list[Any] = []
        if os.path.exists(self.meeting(self.path)):  # where an earlier group met, no other one can
            os.unlink(self.meeting(self.path))

    @staticmethod
    def meeting(path: str) -> str:
        """The file by which the processes find each other."""
        return path + ".meeting"

    def _job(self, rank: int) -> dict[str, Any]:
        return {"backend": self.backend, "path": self.path, "rank": rank, "size": len(self.devices),
                "device": self.devices[rank], "seconds": self.seconds}  # fmt: skip

    def fork(self) -> Group:
        """Start it from this process, which must not have computed anything yet: threads do not survive a fork.

        Raises OSError where there may be no more processes.
        """
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of threads; importing NumPy has started some
            for rank in range(len(self.devices)):
                try:
                    pid = os.fork()
                except OSError:
                    self.end()
                    raise
                if pid == 0:
                    in_fork(self._job(rank))
                self.processes.append(Forked(pid))
        return self

    def spawn(self) -> Group:
        """Start each process anew."""
        import json
        import subprocess

        for rank in range(len(self.devices)):
            with open(f"{self.path}.{rank}.log", "wb") as log:
                command = [sys.executable, os.path.abspath(__file__), json.dumps(self._job(rank))]
                self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self

    def wait(self) -> str:
        """What the processes wrote, when all came to a good end. Raises RuntimeError when one did not."""
        try:
            while True:
                codes = [process.poll() for process in self.processes]
                if None not in codes:
                    break
                if any(codes):
                    # Those that wait for one that failed get a moment to say so themselves.
                    self.until = min(self.until, time.monotonic() + 1.0)
                if time.monotonic() > self.until:
                    break
                time.sleep(0.002)
        finally:
            self.end()
        errors = [self._error(rank, code) for rank, code in enumerate(codes)]
        for error in errors:
            if error:
                raise RuntimeError(error)
        if None in codes:
            late = f"{codes.count(None)} of {len(codes)} processes"
            raise RuntimeError(f"no answer of {late} in {self.seconds:.0f} s")
        return "\n".join(self._log(rank) for rank in range(len(codes)))

    def end(self) -> None:
        """Kill those that are still there."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _log(self, rank: int) -> str:
        try:
            with open(f"{self.path}.{rank}.log", encoding="utf-8", errors="replace") as file:
                return file.read(1 << 16)
        except OSError:
            return ""

    def _error(self, rank: int, code: int | None) -> str:
        """Why a process came to no good end; empty for one that did, and for one that was ended here."""
        lines = [line.strip() for line in self._log(rank).splitlines() if line.strip()]
        told = [line[len(MARK) :] for line in lines if line.startswith(MARK)]
        if told or not code:
            return told[-1] if told else ""
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"process {rank}: {how}{': ' + lines[-1][:300] if lines else ''}"


class Forked:
    """A forked process, with the methods of ``subprocess.Popen`` that are needed."""

    def __init__(self, pid: int) -> None:
        self.pid, self.code = pid, -1
        self.here = True

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG) if self.here else self.code

    def wait(self) -> None:
        if self.here:
            self._wait(0)

    def _wait(self, how: int) -> int | None:
        try:
            ended, status = os.waitpid(self.pid, how)
        except ChildProcessError:  # somebody else waited for it
            ended, status = self.pid, 0
        if not ended:
            return None
        self.here = False
        self.code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.code

    def kill(self) -> None:
        import signal

        os.kill(self.pid, signal.SIGKILL)


def in_fork(job: dict[str, Any]) -> None:
    """Be one process of a group, in a fork; never returns."""
    code = 1
    try:
        log = os.open(f"{job['path']}.{job['rank']}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # Whatever is written, to stderr or to what the parent has open, is this process's own and goes to its log.
        for name in os.listdir("/proc/self/fd"):
            if int(name) != log:
                os.dup2(log, int(name))
        code = work(job)
    finally:
        os._exit(code)


def work(job: dict[str, Any]) -> int:
    """The exit code of one process; what was raised is written to its stderr."""
    try:
        end_after(float(job["seconds"]) + 2.0)
        all_reduce(job)
    except BaseException as error:
        kind = "" if type(error) is RuntimeError else f"{type(error).__name__}: "
        text = " ".join(f"{kind}{error}".split())
        os.write(2, f"\n{MARK}{text[:800]}\n".encode(errors="replace"))
        return 1
    return 0


def end_after(seconds: float) -> None:
    """No process is left should nobody be there to end it."""
    import signal

    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(seconds))


def all_reduce(job: dict[str, Any]) -> None:
    """Join the group, add up the values of all its processes, and compare. Raises what torch does, and RuntimeError
    for wrong sums.
    """
    from datetime import timedelta

    import torch
    from torch import distributed

    rank, size, device = job["rank"], job["size"], torch.device(job["device"])
    if device.type == "cpu":
        torch.set_num_threads(1)  # in a fork there are no others
    else:
        torch.cuda.set_device(device)
    path = Group.meeting(job["path"]).replace(os.sep, "/")
    distributed.init_process_group(
        job["backend"],
        init_method=f"file://{'' if path.startswith('/') else '/'}{path}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=job["seconds"]),
    )
    values = torch.arange(VALUES, dtype=torch.float32).to(device) + float(rank)
    distributed.all_reduce(values)
    if device.type != "cpu":
        torch.cuda.synchronize(device)
    # Integers below 2^24: the sum is exact in any order.
    right = torch.arange(VALUES, dtype=torch.float32) * size + size * (size - 1) / 2
    wrong = int((values.cpu() != right).sum())
    if wrong:
        raise RuntimeError(f"{wrong} of {VALUES} sums over {size} processes are wrong")


if __name__ == "__main__":
    # Python puts the folder of this script first, where a file is called torch.
    if os.path.realpath(sys.path[0] or ".") == os.path.dirname(os.path.realpath(__file__)):
        del sys.path[0]
    import json

    os._exit(work(json.loads(sys.argv[1])))
