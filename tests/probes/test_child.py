"""Commands that misbehave, run for real."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from envcheck.probes import child
from envcheck.probes.host import LEFT_BEHIND

pytestmark = pytest.mark.skipif(os.name != "posix", reason="process groups and signals of POSIX")

ENV = dict(os.environ)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_output_and_exit_code() -> None:
    ran = child.run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), 10, ENV)
    assert (ran.status, ran.code, ran.stdout, ran.stderr, ran.trouble) == ("done", 3, "out\n", "err\n", "")


def test_a_command_that_is_not_there() -> None:
    ran = child.run(["/nowhere/command"], 10, ENV)
    assert ran.status == "not-found"
    assert "/nowhere/command" in ran.trouble


def test_what_was_said_before_a_hang_is_kept() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('said', flush=True); time.sleep(60)"
    )
    begun = time.monotonic()
    ran = child.run(python(code), 0.5, ENV)
    assert (ran.status, ran.stdout) == ("timeout", "said\n")
    assert ran.trouble == "no answer in time"
    assert time.monotonic() - begun < 3


def test_grandchildren_die_with_it() -> None:
    code = "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\ntime.sleep(60)"
    ran = child.run(python(code), 0.5, ENV)
    assert ran.status == "timeout"
    time.sleep(0.1)
    assert not alive(int(ran.stdout))


def test_a_grandchild_in_a_session_of_its_own_is_not_waited_for() -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(4)\nelse: print('said', flush=True)"
    begun = time.monotonic()
    ran = child.run(python(code), 10, ENV)
    assert (ran.status, ran.stdout) == ("done", "said\n")
    assert time.monotonic() - begun < 3


def test_a_grandchild_in_a_session_of_its_own_is_ended() -> None:
    code = "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\nelse: os.setsid(); time.sleep(60)"
    ran = child.run(python(code), 10, ENV)
    time.sleep(0.1)
    assert ran.status == "done"
    assert not alive(int(ran.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_crash_leaves_no_core() -> None:
    code = "import resource, time; time.sleep(0.3); print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    assert child.run(python(code), 10, ENV).stdout.strip() in ("0", "1")


def test_a_flood_is_cut() -> None:
    ran = child.run(python("import os\nwhile True: os.write(1, b'x' * 65536)"), 1, ENV)
    assert ran.status == "timeout"
    assert len(ran.stdout) == child.OUTPUT_LIMIT


def test_what_cannot_be_killed_is_left_behind_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in uninterruptible sleep cannot be made here: one that no signal is sent to behaves the same."""
    kill = child.kill_group
    spared: list[int] = []
    monkeypatch.setattr(child, "kill_group", spared.append)
    monkeypatch.setattr(child, "end_marked", lambda mark: None)
    ran = child.run(python("import time; time.sleep(60)"), 0.2, ENV)
    assert len(spared) == 1
    assert alive(spared[0])
    kill(spared[0])
    child.left_behind.pop().wait(5)
    assert ran.status == "abandoned"
    assert ran.trouble.endswith(LEFT_BEHIND)
