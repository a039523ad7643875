"""The collector: isolation, deadlines, places, redaction of the whole."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recording import recorded

from envcheck import probes
from envcheck.core.snapshot import Absent, Cpu, Machine, Memory, Snapshot, Stack, Unknown, Userland
from envcheck.probes import Probe, collect, unknown_part
from envcheck.probes.host import Host, Ran


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Replace probes: ``fake(cpu=function)``; the others that are not named are left out."""

    def replace(**functions: Callable[..., Any]) -> None:
        rows = []
        for row in probes.PROBES:
            if row.name in functions:
                module = types.ModuleType(f"envcheck.probes.fake_{row.name}")
                setattr(module, row.function, functions[row.name])
                monkeypatch.setitem(sys.modules, module.__name__, module)
                rows.append(msgspec.structs.replace(row, module=f"fake_{row.name}"))
        monkeypatch.setattr(probes, "PROBES", tuple(rows))

    return replace


def runs(snapshot: Snapshot) -> dict[str, str]:
    functions = {f"{row.module}.{row.function}" for row in probes.PROBES}
    return {run.probe: run.status for run in snapshot.probes if run.where in functions}


def test_here() -> None:
    snapshot = collect(deadline=time.monotonic() + 30)
    assert runs(snapshot) == {probe.name: "ok" for probe in probes.PROBES if not probe.asked}, snapshot.probes
    assert snapshot.created.endswith("Z")
    assert snapshot.envcheck
    assert isinstance(snapshot.machine.system, str)
    assert isinstance(snapshot.machine.cpu.logical_cores, int)
    assert isinstance(snapshot.stack.python.version, str)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    if isinstance(snapshot.stack.container, str):
        assert snapshot.machine.userland == unknown_part(Userland, probes.INSIDE)
        assert snapshot.stack.userland.distro != snapshot.machine.userland.distro


def test_an_empty_machine(tmp_path: Path) -> None:
    """Nothing is there, nothing answers: facts are absent or unknown, no probe fails."""
    snapshot = collect(recorded(tmp_path))
    assert "failed" not in runs(snapshot).values(), snapshot.probes
    assert snapshot.machine.system == "Linux"
    assert isinstance(snapshot.machine.arch, Unknown)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize("platform", ["win32", "darwin", "freebsd14"])
def test_an_empty_machine_of_another_system(tmp_path: Path, platform: str) -> None:
    snapshot = collect(recorded(tmp_path, platform=platform))
    assert "failed" not in runs(snapshot).values(), snapshot.probes


def test_the_same_userland_outside_of_a_container(tmp_path: Path) -> None:
    snapshot = collect(recorded(tmp_path, {"/etc/os-release": "ID=ubuntu\nVERSION_ID=22.04\n"}))
    assert isinstance(snapshot.stack.container, Absent)
    assert snapshot.machine.userland == snapshot.stack.userland
    assert snapshot.machine.userland.distro == "ubuntu"


def test_parts(tmp_path: Path) -> None:
    snapshot = collect(recorded(tmp_path), parts=["memory"])
    assert runs(snapshot) == {"memory": "ok"}
    with pytest.raises(ValueError, match="no probe named gpu"):
        collect(recorded(tmp_path), parts=["gpu"])


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), MemoryError(), RecursionError()])
def test_a_probe_that_raises(fake: Any, tmp_path: Path, error: BaseException) -> None:
    def broken(host: Host, log: object) -> Cpu:
        raise error

    fake(cpu=broken, memory=lambda host, log: Memory(total_mib=5))
    snapshot = collect(recorded(tmp_path))
    assert runs(snapshot) == {"cpu": "failed", "memory": "ok"}
    assert snapshot.machine.memory.total_mib == 5
    assert isinstance(snapshot.machine.cpu.flags, Unknown)
    assert type(error).__name__ in snapshot.machine.cpu.flags.why
    assert snapshot.machine.cpu.flags.why == snapshot.machine.cpu.brand.why  # type: ignore[union-attr]


def test_a_probe_with_a_wrong_number_of_results(fake: Any, tmp_path: Path) -> None:
    fake(userland=lambda host, log: (Userland(),))
    snapshot = collect(recorded(tmp_path))
    assert runs(snapshot) == {"userland": "failed"}
    assert isinstance(snapshot.stack.userland.libc, Unknown)


def test_a_probe_that_hangs_leaves_time_for_the_rest(fake: Any, tmp_path: Path) -> None:
    released, ended = threading.Event(), threading.Event()

    def hangs(host: Host, log: Any) -> Cpu:
        released.wait(60)
        log.add("cpu", "ok", "too late")
        ended.set()
        return Cpu(brand="too late")

    fake(cpu=hangs, memory=lambda host, log: Memory(total_mib=5))
    started = time.monotonic()
    snapshot = collect(recorded(tmp_path), deadline=started + 0.4)
    assert time.monotonic() - started < 30, "it was not waited for"
    assert runs(snapshot) == {"cpu": "timeout", "memory": "ok"}
    assert isinstance(snapshot.machine.cpu.brand, Unknown)
    assert "gave no answer" in snapshot.machine.cpu.brand.why
    released.set()
    assert ended.wait(30)
    time.sleep(0.1)  # the thread that was left behind hands its result over, or does not
    assert isinstance(snapshot.machine.cpu.brand, Unknown), "a result that comes after its time does not count"
    assert not [run for run in snapshot.probes if run.detail == "too late"]


def test_no_time_was_left(fake: Any, tmp_path: Path) -> None:
    fake(cpu=lambda host, log: Cpu(brand="x"), builds=lambda host, log, packages: [])
    snapshot = collect(recorded(tmp_path), deadline=time.monotonic() - 1)
    assert runs(snapshot) == {"cpu": "skipped", "builds": "skipped"}
    assert snapshot.machine.cpu.brand == Unknown("no time was left")
    assert snapshot.stack.builds == []


def test_the_deadline_reaches_the_host(fake: Any, tmp_path: Path) -> None:
    seen = []
    fake(cpu=lambda host, log: seen.append(host.deadline) or Cpu())
    host = recorded(tmp_path)
    collect(host, deadline=(until := time.monotonic() + 5))
    host.deadline = 7.0e9
    collect(host)
    assert seen == [until, 7.0e9]


def test_progress_tells_what_is_slow(fake: Any, tmp_path: Path) -> None:
    told: list[str] = []

    def slow(host: Host, log: object) -> Cpu:
        time.sleep(0.9)
        return Cpu()

    fake(system=lambda host, log: ("Linux", "x", "y", False, "z"), cpu=slow, memory=lambda host, log: Memory())
    collect(recorded(tmp_path), progress=told.append)
    assert told[0] == "cpu"
    assert "system" not in told, "what was done in time is not told"
    told.clear()
    collect(recorded(tmp_path), parts=["memory"], progress=told.append)
    assert told == []


def test_packages_reach_the_probes_that_want_them(fake: Any, tmp_path: Path) -> None:
    seen = []
    fake(
        packages=lambda host, log: (Absent("none"), Absent("none")),
        builds=lambda host, log, packages: seen.append(packages) or [],
        libraries=lambda host, log, packages: (seen.append(packages) or Absent("none"), "9.1"),
    )
    snapshot = collect(recorded(tmp_path))
    assert seen == [Absent("none")] * 2
    assert snapshot.stack.cudnn == "9.1"


def test_without_threads(fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import _thread

    def none(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    fake(cpu=lambda host, log: Cpu(brand="x"))
    monkeypatch.setattr(_thread, "start_new_thread", none)
    assert collect(recorded(tmp_path)).machine.cpu.brand == "x"


def test_unknown_part_fills_every_fact() -> None:
    machine = unknown_part(Machine, "why")
    assert machine.system == machine.cpu.brand == machine.userland.libc == machine.nvidia.cuda == Unknown("why")
    assert machine.nvidia.sources == []
    stack = unknown_part(Stack, "why")
    assert stack.builds == []
    assert stack.python.bits == stack.model.opset == Unknown("why")


def test_every_place_exists() -> None:
    snapshot = Snapshot()
    for probe in probes.PROBES:
        assert isinstance(probe, Probe)
        for owner, attribute in probe.places:
            assert hasattr(getattr(snapshot, owner) if owner else snapshot, attribute)


def test_nothing_private_is_left(tmp_path: Path) -> None:
    env = {
        "HOME": "/data/people/alice77",
        "USER": "alice77",
        "PATH": "/data/people/alice77/bin:/home/bob/bin:/scratch/alice77/x:/usr/bin",
        "LD_LIBRARY_PATH": "/root/lib",
        "CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
        "XLA_FLAGS": "--dump_to=https://alice:secret@host.example/x",
        "AWS_SECRET_ACCESS_KEY": "do-not-tell",
    }
    text = collect(recorded(tmp_path, env=env)).to_json()
    for secret in ("alice", "bob", "/root", "8932f937", "secret", "do-not-tell"):
        assert secret not in text


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    host = recorded(tmp_path)
    host.env = {"PATH": "/usr/bin:/opt/caf\udce9"}
    snapshot = collect(host)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_an_interrupt_leaves_no_command_behind(tmp_path: Path) -> None:
    from envcheck.probes.runner import Job, Runner

    mark = tmp_path / "pid"

    def work() -> Callable[[], None]:
        Host().run(["/bin/sh", "-c", f"echo $$ > {mark}.part && mv {mark}.part {mark} && exec sleep 600"], 600)
        return lambda: None

    def interrupt(_: str) -> None:
        for _ in range(500):
            if mark.exists():
                raise KeyboardInterrupt
            time.sleep(0.02)

    job = Job("slow", work, lambda *_: None, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        Runner([[job]], progress=interrupt).run()
    # Threads of the interrupted run start nothing more; the next run does.
    assert Host().run(["/bin/true"], 5).trouble == "the run was interrupted"
    ran: list[Ran] = []
    again = Job("again", lambda: lambda: ran.append(Host().run(["/bin/true"], 5)), lambda *_: None, lambda _: None)
    Runner([[again]]).run()
    assert [one.status for one in ran] == ["done"]
    pid = int(mark.read_text())
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("the command still runs")
