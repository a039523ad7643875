"""Run a command that may hang, crash or flood: own session, deadline, capped output, the group killed at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

from envcheck.probes.host import Ran

if TYPE_CHECKING:
    from subprocess import Popen

OUTPUT_LIMIT = 4 * 1024 * 1024
MEMORY_EVERY = 0.1
"""Seconds between two looks at how much memory a command takes."""
GRACE = 0.5
"""Seconds after the kill in which a process may still be reaped; one in uninterruptible sleep is left behind."""
MARK = "ENVCHECK_CHILD"
"""Environment variable by which what a command has started is found again."""
_running: set[int] = set()
"""Process groups of commands that were started and not yet ended."""
_starting: set[str] = set()
"""Marks of commands that are being started, of which no process group is known yet."""
interrupted = False
"""The run was ended early: nothing more is started. To be looked at by who has put a mark into ``_starting``."""
folders: set[str] = set()
"""Temporary folders of commands that run."""
left_behind: list[Popen[bytes]] = []
"""What could not be killed."""
_BEGUN = time.monotonic_ns()
"""Sets this process apart from an earlier one with the same number."""


def run(
    argv: Sequence[str],
    timeout: float,
    env: Mapping[str, str],
    *,
    heard: Callable[[bytes], None] | None = None,
    started: Callable[[], None] | None = None,
    memory_mib: int = 0,
) -> Ran:
    """Never raises for what the command does; a command that could not be started is a result too.

    ``heard`` is called, in another thread, with each part of stdout as it comes; ``started`` once, when the command
    runs. ``memory_mib``: a command whose own
    memory grows above it (Linux) is ended, with status ``memory``.
    """
    import subprocess
    import threading

    if timeout <= 0:
        return Ran("timeout", -1, "", "no time was left to start it")
    mark = f"{_session()}{time.monotonic_ns()}"
    _starting.add(mark)
    try:
        if interrupted:
            return Ran("timeout", -1, "", "the run was interrupted")
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**env, MARK: mark},
            start_new_session=True,
            cwd="/" if os.name == "posix" else None,
        )
        _running.add(process.pid)
    except (FileNotFoundError, NotADirectoryError):
        return Ran("not-found", 127, "", f"{argv[0]} was not found")
    except (OSError, ValueError) as error:
        return Ran("failed", 126, "", f"{argv[0]} could not be started: {error}")
    finally:
        _starting.discard(mark)
    if started is not None:
        started()
    no_core(process.pid)
    parts: dict[str, bytes] = {}

    def drain(name: str, pipe: IO[bytes]) -> None:
        kept = b""
        with pipe:
            while part := os.read(pipe.fileno(), 1 << 16):
                kept = parts[name] = (kept + part)[:OUTPUT_LIMIT]
                if heard is not None and name == "out":
                    heard(part)

    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=drain, args=(name, pipe), daemon=True)
        for name, pipe in (("out", process.stdout), ("err", process.stderr))
    ]
    for reader in readers:
        reader.start()
    status = "done"
    try:
        code = _wait_within(process, timeout, memory_mib) if memory_mib else wait(process, timeout)
    except subprocess.TimeoutExpired:
        status, code = "timeout", -9
    except MemoryError:
        status, code = "memory", -9
    kill_group(process.pid)
    _running.discard(process.pid)
    if status != "done":
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            status = "abandoned"
            left_behind.append(process)
    for reader in readers:
        # A grandchild that left the group can hold the pipe open: do not wait for it. The reader closes the pipe then.
        reader.join(GRACE)
    if status != "done" or any(reader.is_alive() for reader in readers):
        end_marked(mark)
    text = {name: parts.get(name, b"").decode("utf-8", "replace") for name in ("out", "err")}
    return Ran(status, code, text["out"], text["err"])


def wait(process: Popen[bytes], timeout: float) -> int:
    """``process.wait(timeout)``, which looks only every 50 ms; on Linux (5.3) the kernel wakes us up."""
    import select

    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return process.wait(timeout)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        ended = poll.poll(timeout * 1000)
    finally:
        os.close(handle)
    return process.wait() if ended else process.wait(0)


def _wait_within(process: Popen[bytes], timeout: float, memory_mib: int) -> int:
    """:func:`wait` for a process that may not take more memory; raises MemoryError when it does."""
    import subprocess

    until = time.monotonic() + timeout
    while True:
        left = until - time.monotonic()
        try:
            return wait(process, min(MEMORY_EVERY, max(0.0, left)))
        except subprocess.TimeoutExpired:
            if left <= MEMORY_EVERY:
                raise
            if own_memory_mib(process.pid) > memory_mib:
                raise MemoryError from None


def own_memory_mib(pid: int) -> int:
    """Resident memory of a process without what it shares or has mapped from files, in MiB; 0 where it is not told."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = file.read(200).split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") >> 20
    except (OSError, ValueError, IndexError, AttributeError):
        return 0


def no_core(pid: int) -> None:
    """A command that crashes is to leave no core file (Linux).

    1 byte and not 0: with 0, a core_pattern that is a pipe (systemd-coredump, apport) still gets the core (core(5)).
    """
    try:
        import resource

        resource.prlimit(pid, resource.RLIMIT_CORE, (1, resource.prlimit(pid, resource.RLIMIT_CORE)[1]))
    except (ImportError, AttributeError, OSError, ValueError):
        pass  # another system, a limit of 0, or it has ended already


def temporary_folder() -> str:
    """A new folder, which :func:`kill_all` removes with the others; empty when none can be made."""
    mark = f"{_session()}{time.monotonic_ns()}"
    _starting.add(mark)
    try:
        folder = "" if interrupted else _new_folder()
        folders.add(folder)
    finally:
        _starting.discard(mark)
    return folder


def _new_folder() -> str:
    # As tempfile.mkdtemp, whose module takes 6 ms to import.
    wanted = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for place in filter(
        None, (*wanted, "/tmp" if os.name == "posix" else "", "/var/tmp" if os.name == "posix" else "")
    ):
        path = os.path.join(os.path.abspath(place), f"envcheck-{os.urandom(8).hex()}")
        try:
            os.mkdir(path, 0o700)
        except OSError:
            continue
        return path
    return ""


def remove_folder(folder: str) -> None:
    """Remove what :func:`temporary_folder` made, with what is in it."""
    try:
        if folder:
            os.rmdir(folder)
    except OSError:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
    folders.discard(folder)


def _session() -> str:
    """How the marks of this process begin."""
    return f"{os.getpid()}-{_BEGUN}-"


def end_marked(mark: str, variable: str = MARK) -> None:
    """End what a command has started in a session of its own (Linux): in its environment ``variable`` is ``mark``.

    A mark that ends with ``-`` stands for all that begin so.
    """
    import signal

    needle = f"{variable}={mark}".encode()
    whole = not mark.endswith("-")
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                data = file.read(1 << 20)
            if needle in data:  # mostly it is not: then there is nothing to split
                entries = data.split(b"\0")
                if needle in entries if whole else any(entry.startswith(needle) for entry in entries):
                    os.kill(pid, signal.SIGKILL)
        except OSError:
            continue  # it has ended, or is somebody else's


def kill_all() -> None:
    """End every command that still runs, and what it has started: their sessions are their own, so that Ctrl-C does
    not reach them.

    Their temporary folders are removed too.
    """
    global interrupted
    interrupted = True
    until = time.monotonic() + GRACE
    while _starting and time.monotonic() < until:
        time.sleep(0.001)
    if running := tuple(_running):
        for pid in running:
            kill_group(pid)
        end_marked(_session())
    for folder in filter(None, tuple(folders)):
        remove_folder(folder)


def resume() -> None:
    """Commands may be started again after :func:`kill_all`."""
    global interrupted
    interrupted = False


def kill_group(pid: int) -> None:
    """Kill what is left of a child's process group."""
    import signal

    try:
        if os.name == "posix":
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
    except OSError:
        pass  # nothing is left of it
