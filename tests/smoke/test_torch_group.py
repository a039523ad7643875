"""All-reduce over processes and GPUs, with a fake torch: what goes wrong is told, and no process is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from envcheck.smoke_tests.backends import Missing, Unsupported, torch_gloo, torch_gpus
from envcheck.smoke_tests.backends.torch_distributed import Group
from envcheck.smoke_tests.backends.torch_gloo import Gloo

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the group is forked on Linux only")


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The fake, as the module ``torch`` of this process and of those that are started."""
    shutil.copy(Path(__file__).with_name("fake_torch.py"), tmp_path / "torch.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    import torch as fake

    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake  # type: ignore[no-any-return]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda **faults: monkeypatch.setenv(
        "FAKE_TORCH", json.dumps({k.replace("_", " "): v for k, v in faults.items()})
    )


def group(folder: Path, seconds: float = 20.0, backend: str = "gloo", device: str = "cpu", size: int = 2) -> Group:
    return Group(backend, "test", [device] * size, str(folder), seconds)


START = [pytest.param(Group.fork, marks=LINUX, id="fork"), pytest.param(Group.spawn, id="spawn")]


def children() -> set[str]:
    """Processes that this one has started, and that still run."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if parent == str(os.getpid()) and state != "Z":
            found.add(name)
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("size", [2, 3])
def test_group(torch: ModuleType, tmp_path: Path, start: Callable[[Group], Group], size: int) -> None:
    assert "Unable" not in start(group(tmp_path, size=size)).wait()


@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ({"init": "refuse"}, "connect [127.0.1.1]:4711: Connection refused"),
        ({"init_1": "refuse"}, "connect [127.0.1.1]:4711: Connection refused"),
        ({"init_0": "crash"}, "process 0: signal 11"),
        ({"init": "exit"}, "process 0: exit code 7"),
        ({"reduce": "wrong"}, "1 of 4096 sums over 2 processes are wrong"),
    ],
)
def test_group_that_fails(
    torch: ModuleType,
    ask: Callable[..., None],
    tmp_path: Path,
    start: Callable[[Group], Group],
    faults: Any,
    error: str,
) -> None:
    ask(**faults)
    since = time.monotonic()
    with pytest.raises(RuntimeError) as raised:
        start(group(tmp_path)).wait()
    assert str(raised.value).startswith(error)
    assert time.monotonic() - since < 10  # the one that waits for the other is not waited for


@pytest.mark.parametrize("start", START)
def test_group_that_hangs(
    torch: ModuleType, ask: Callable[..., None], tmp_path: Path, start: Callable[[Group], Group]
) -> None:
    ask(init_1="hang")
    with pytest.raises(RuntimeError, match=r"^no answer of 2 of 2 processes in 2 s$"):
        start(group(tmp_path, 1.5)).wait()


@LINUX
def test_a_fork_writes_to_its_own_log_only(torch: ModuleType, ask: Callable[..., None], tmp_path: Path) -> None:
    """What the parent has open (the channel of a smoke test's child) gets nothing, whatever a process does."""
    reader, writer = os.pipe()
    ask(init=f"write {writer}")
    assert group(tmp_path).fork().wait() == "x\nx"
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b""


@LINUX
def test_a_process_that_nobody_ends(torch: ModuleType, ask: Callable[..., None], tmp_path: Path) -> None:
    ask(init="hang")
    one = group(tmp_path, 0.5, size=1).spawn()
    since = time.monotonic()
    assert one.processes[0].wait() == -signal.SIGALRM
    assert time.monotonic() - since < 8


def request(folder: Path, **more: Any) -> dict[str, Any]:
    return {"folder": str(folder), "seconds": 60.0, **more}


@LINUX
def test_gloo(torch: ModuleType, tmp_path: Path) -> None:
    assert Gloo(torch, request(tmp_path)).step() is None


@LINUX
def test_a_spawned_group_has_the_last_word(torch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork can fail where two processes of a user's do not."""
    monkeypatch.setattr(torch_gloo, "FORKED", 0.3)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *a, **b: time.sleep(600))
    assert Gloo(torch, request(tmp_path)).step() is None


@LINUX
def test_gloo_that_fails_names_host_and_cure(
    torch: ModuleType, ask: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(init="refuse")
    monkeypatch.setattr("socket.gethostname", lambda: "nowhere.invalid")
    with pytest.raises(RuntimeError) as raised:
        Gloo(torch, request(tmp_path)).step()
    assert "Connection refused; the name of this machine, nowhere.invalid, can't be resolved" in str(raised.value)
    assert "GLOO_SOCKET_IFNAME" in str(raised.value)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    with pytest.raises(RuntimeError, match="GLOO_SOCKET_IFNAME is ib0"):
        Gloo(torch, request(tmp_path)).step()


@LINUX
def test_no_more_processes(torch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forks = iter([os.fork])

    def fork() -> int:
        for real in forks:
            return real()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    gloo = Gloo(torch, request(tmp_path))
    with pytest.raises(RuntimeError, match=r"^no process could be started: Resource temporarily unavailable$"):
        gloo.step()


@LINUX
def test_gloo_on_the_loopback_is_noted(torch: ModuleType, ask: Callable[..., None], tmp_path: Path) -> None:
    ask(init="unresolved")
    assert "fell back to the loopback" in str(Gloo(torch, request(tmp_path)).step())


def test_gloo_that_is_not_there(torch: ModuleType, ask: Callable[..., None], tmp_path: Path) -> None:
    ask(distributed="none")
    with pytest.raises(Unsupported, match=r"9\.9\.0 was built without torch\.distributed"):
        Gloo(torch, request(tmp_path)).step()
    ask(gloo="none")
    with pytest.raises(Unsupported, match="without Gloo"):
        Gloo(torch, request(tmp_path)).step()


def test_gloo_is_not_forked_for_nothing(torch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for more in ({"only": ["cuda"]}, {"skip": ["cpu"]}, {"model": {"path": "m.pt2"}}, {"folder": ""}):
        assert Gloo(torch, {**request(tmp_path), **more}).forked is None
    monkeypatch.setattr(sys, "platform", "darwin")
    gloo = Gloo(torch, request(tmp_path))
    with pytest.raises(Missing, match="thorough"):
        gloo.step()
    assert Gloo(torch, request(tmp_path, thorough=True)).step() is None


# Several GPUs


def run_all(torch: ModuleType, index: int, gpus: list[int], **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, work in torch_gpus.steps(torch, index, gpus, more):
        try:
            found[name] = work()
        except (Missing, Unsupported, RuntimeError) as error:
            found[name] = error
    return found


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_gpus, "VALUES", 5000)
    monkeypatch.setattr(torch_gpus, "SECONDS", 5.0)


def test_gpus_that_work(torch: ModuleType, tmp_path: Path) -> None:
    assert run_all(torch, 0, [0]) == {}
    assert run_all(torch, 0, [0, 2, 3]) == {}
    assert run_all(torch, 2, [0, 2, 3]) == {"peer copy with cuda:0": None}
    found = run_all(torch, 3, [0, 2, 3], thorough=True, folder=str(tmp_path))
    assert found == {
        "peer copy with cuda:0": None,
        "peer copy with cuda:2": None,
        "nccl all-reduce": "NCCL 2.29.3",
        "nccl all-reduce by processes": "3 processes",
    }


def test_peer_copies(torch: ModuleType, ask: Callable[..., None]) -> None:
    ask(peers="none")
    assert run_all(torch, 1, [0, 1, 2]) == {
        "peer copy with cuda:0": "cuda:1 and cuda:0 reach each other through the host only"
    }
    ask(copy="0->1")
    (error,) = run_all(torch, 1, [0, 1, 2]).values()
    assert str(error).startswith(
        "10 of 5000 values copied directly (peer-to-peer) from cuda:0 to cuda:1 arrived changed; an IOMMU"
    )


def test_pairs_are_limited(torch: ModuleType) -> None:
    gpus = list(range(10))
    names = [name for gpu in gpus for name, _ in torch_gpus.steps(torch, gpu, gpus, {})]
    assert sum(name.startswith("peer copy with") for name in names) == torch_gpus.MOST_PAIRS
    steps = dict(torch_gpus.steps(torch, 8, gpus, {}))
    with pytest.raises(Missing, match=r"without cuda:8 and cuda:0, cuda:1, .*cuda:7$"):
        steps["peer copies left out"]()
    assert list(dict(torch_gpus.steps(torch, 9, gpus, {}))) == ["peer copies left out", "nccl all-reduce"]


@pytest.mark.parametrize(
    ("how", "error"),
    [("refuse", "connect [127.0.1.1]:4711"), ("wrong", "1 of 5000 sums over 2 GPUs are wrong on cuda:1")],
)
def test_nccl_that_fails(torch: ModuleType, ask: Callable[..., None], how: str, error: str) -> None:
    ask(nccl=how)
    found = run_all(torch, 1, [0, 1])["nccl all-reduce"]
    assert isinstance(found, RuntimeError)
    assert str(found).startswith(error)
    assert "NCCL_P2P_DISABLE=1" in str(found)


def test_nccl_that_hangs(torch: ModuleType, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., None]) -> None:
    monkeypatch.setattr(torch_gpus, "SECONDS", 0.2)
    monkeypatch.setattr(torch.cuda.nccl, "all_reduce", lambda tensors: time.sleep(3))
    found = run_all(torch, 1, [0, 1])["nccl all-reduce"]
    assert isinstance(found, torch_gpus.Stuck)
    assert "no answer in 0 s" in str(found)


def test_nccl_that_is_not_there(torch: ModuleType, ask: Callable[..., None]) -> None:
    ask(nccl_is="none")
    found = run_all(torch, 1, [0, 1], thorough=True)
    assert isinstance(found["nccl all-reduce"], Unsupported)
    assert isinstance(found["nccl all-reduce by processes"], Unsupported)


def test_nccl_processes_that_fail(torch: ModuleType, ask: Callable[..., None], tmp_path: Path) -> None:
    ask(init_1="refuse")
    found = run_all(torch, 1, [0, 1], thorough=True, folder=str(tmp_path))["nccl all-reduce by processes"]
    assert str(found).startswith("connect [127.0.1.1]:4711: Connection refused; NCCL_P2P_DISABLE=1")
    found = run_all(torch, 1, [0, 1], thorough=True)["nccl all-reduce by processes"]
    assert isinstance(found, Missing)


@LINUX
def test_a_full_disk_is_no_fault_of_the_network(torch: ModuleType, tmp_path: Path) -> None:
    gloo = Gloo(torch, {"folder": str(tmp_path / "gone"), "skip": ["cpu"], "thorough": True})
    with pytest.raises(Missing, match="can't be written to: No such file"):
        gloo.step()
