"""A framework may do what it likes in its child: the others' results, and what it had said before, are kept."""

from __future__ import annotations

import os
import time

import pytest

from envcheck.core.snapshot import SmokeTest, Snapshot, known

DEADLY = {
    "SIGSEGV": ("crash", "SIGSEGV"),
    "null": ("crash", "SIGSEGV"),
    "SIGILL": ("crash", "SIGILL"),
    "SIGABRT": ("crash", "SIGABRT"),
    "SIGBUS": ("crash", "SIGBUS"),
    "SIGKILL": ("crash", "SIGKILL"),
    "_exit": ("exit", "before the tests were done"),
    "daemon": ("exit", "before the tests were done"),
}
RAISED = {
    "raise": "illegal memory access",
    "raise-odd": "Odd",
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt",
    "recursion": "RecursionError",
}
STEPS = {
    "open": "context",
    "allocate": "allocate",
    "prepare": "matmul",
    "compute": "matmul",
    "wait": "matmul",
    "fetch": "copy",
}
"""What the fake backend does -> the step in which that shows."""


def by_device(snapshot: Snapshot) -> dict[str, SmokeTest]:
    tests = {test.device: test for test in snapshot.smoke}
    assert len(tests) == len(snapshot.smoke)
    return tests


def test_healthy(fake_smoke):
    tests = by_device(fake_smoke())
    assert list(tests) == ["cpu", "fake:0", "fake:1"]
    for test in tests.values():
        assert (test.outcome, known(test.version), known(test.ran_on)) == ("ok", "1.2.3", test.device)
        assert [check.status for check in test.checks] == ["ok"] * 6
        assert [stage.status for stage in test.stages].count("ok") == len(test.stages)
        assert test.facts["colour"] == "blue"
        assert test.facts["extra step"] == "it is fine"
        assert test.speeds[0].unit == "TFLOPS"


@pytest.mark.parametrize("how", DEADLY)
@pytest.mark.parametrize("step", STEPS)
def test_death_on_a_device(fake_smoke, step, how):
    outcome, words = DEADLY[how]
    tests = by_device(fake_smoke({step: how}))
    assert list(tests) == ["cpu", "fake:0", "fake:1"]
    assert tests["cpu"].outcome == tests["fake:1"].outcome == "ok"
    bad = tests["fake:0"]
    assert (bad.outcome, known(bad.stage)) == (outcome, STEPS[step])
    assert words in str(bad.error)


@pytest.mark.parametrize("how", RAISED)
@pytest.mark.parametrize("step", STEPS)
def test_errors_on_a_device(fake_smoke, step, how):
    tests = by_device(fake_smoke({step: how}))
    assert tests["cpu"].outcome == tests["fake:1"].outcome == "ok"
    bad = tests["fake:0"]
    assert (bad.outcome, known(bad.stage)) == ("failed", STEPS[step])
    assert RAISED[how] in str(bad.error)


@pytest.mark.parametrize("how", [*DEADLY, *RAISED])
@pytest.mark.parametrize("step", ["backend", "load", "devices"])
def test_death_before_any_device(fake_smoke, step, how):
    test, *rest = fake_smoke({step: how}).smoke
    # Looking for GPUs can be the end of it; then it is asked what it does on the CPU.
    assert [(one.device, one.outcome) for one in rest] == ([("cpu", "ok")] if step == "devices" else [])
    outcome, words = DEADLY.get(how) or ("failed", RAISED[how])
    assert test.outcome == outcome
    assert words in str(test.error)
    stage = {"load": "import"}.get(step, step)
    # A crash while ctypes, or the import machinery, loads a library is one of that library.
    assert known(test.stage) == ("library" if (step, how) == ("load", "null") else stage)


@pytest.mark.parametrize("how", [*DEADLY, *RAISED])
@pytest.mark.parametrize("step", ["memory", "dtypes", "extras", "extra", "speeds", "speed", "told"])
def test_later_steps(fake_smoke, step, how):
    """What was computed before stays; the other devices have their turn."""
    tests = by_device(fake_smoke({step: how}))
    assert list(tests) == ["cpu", "fake:0", "fake:1"]
    assert tests["cpu"].outcome == tests["fake:1"].outcome == "ok"
    bad = tests["fake:0"]
    if how in DEADLY:
        assert bad.outcome == DEADLY[how][0]
    if step not in ("memory", "dtypes"):
        assert [check.status for check in bad.checks[:4]] == ["ok"] * 4


@pytest.mark.parametrize("step", ["backend", "load", "devices", *STEPS, "dtypes", "extra", "speed", "told"])
@pytest.mark.parametrize("how", ["hang", "spin"])
def test_hangs(fake_smoke, step, how):
    begun = time.monotonic()
    tests = fake_smoke({step: how}, seconds=2.5).smoke
    assert time.monotonic() - begun < 8
    bad = next(test for test in tests if test.outcome == "hang")
    assert "no answer in" in str(bad.error)
    if step in STEPS:
        assert known(bad.stage) == STEPS[step]
    if bad.device:
        assert (tests[0].device, tests[0].outcome) == ("cpu", "ok")


@pytest.mark.parametrize("step", ["load", "open", "compute", "speed"])
def test_memory(fake_smoke, step):
    bad = next(test for test in fake_smoke({step: "memory"}, budget_mib=512).smoke if test.outcome == "memory")
    assert "more memory" in str(bad.error)


@pytest.mark.parametrize("step", ["backend", "load", "devices", *STEPS, "dtypes", "extra", "speed", "told"])
@pytest.mark.parametrize("how", ["garbage", "flood", "fork"])
def test_noise(fake_smoke, tmp_path, step, how):
    """What is printed, also to look like records, changes nothing; what was started is ended."""
    tests = by_device(fake_smoke({step: how}))
    assert [test.outcome for test in tests.values()] == ["ok"] * 3
    assert [len(test.checks) for test in tests.values()] == [6] * 3
    assert not left_running(str(tmp_path / "site"))


@pytest.mark.parametrize("step", ["load", "devices", "memory", "dtypes", "fetch", "extras", "told"])
def test_answers_of_wrong_types(fake_smoke, step):
    tests = fake_smoke({step: "none"}).smoke
    assert tests
    bad = [test for test in tests if test.outcome not in ("ok", "untested")]
    assert [test.outcome for test in bad] == ["failed"]


@pytest.mark.parametrize("step", ["open", "compute", "fetch"])
def test_closed_files(fake_smoke, step):
    """A framework that closes the channel: that it is not heard any more is told."""
    tests = by_device(fake_smoke({step: "close"}))
    assert tests["cpu"].outcome == "ok"
    assert tests["fake:0"].outcome in ("exit", "crash", "failed")


@pytest.mark.parametrize("how", ["wrong", "nan", "zeros", "shape"])
def test_wrong_results(fake_smoke, how):
    tests = by_device(fake_smoke({"fetch": how}))
    bad = tests["fake:0"]
    assert bad.outcome == "wrong"
    assert {check.status for check in bad.checks} == {how}
    assert tests["fake:1"].outcome == "ok"


def test_results_from_another_device(fake_smoke):
    test = by_device(fake_smoke({"fetch": "elsewhere"}))["fake:0"]
    assert {known(check.ran_on) for check in test.checks} == {"cpu"}


def test_unsupported_is_no_failure(fake_smoke):
    test = by_device(fake_smoke({"prepare matmul float16": "unsupported"}))["fake:0"]
    assert test.outcome == "ok"
    assert [check.status for check in test.checks if check.dtype == "float16"] == ["unsupported", "ok"]


def test_a_claimed_type_that_fails(fake_smoke):
    test = by_device(fake_smoke({"prepare matmul float16": "raise"}))["fake:0"]
    assert (test.outcome, known(test.stage)) == ("failed", "matmul in float16")


def test_nothing_to_test(fake_smoke):
    (test,) = fake_smoke({"devices": "missing"}).smoke
    assert (test.outcome, test.error) == ("untested", "there is nothing to test")


def test_devices_asked_for(fake_smoke):
    assert [test.device for test in fake_smoke(devices=["fake:1"]).smoke] == ["fake:1"]
    assert [test.device for test in fake_smoke(devices=["gpu"]).smoke] == ["fake:0", "fake:1"]
    (left, missing) = fake_smoke(devices=["cuda:3"]).smoke
    assert left.outcome == "untested"
    assert (missing.device, missing.outcome, missing.stage) == ("cuda:3", "failed", "device")


def left_running(site: str) -> list[int]:
    """Processes that the children of smoke tests have left behind: those that know the folder of the fake backend."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            continue
        if f"PYTHONPATH={site}".encode() in entries:
            found.append(int(name))
    return found
