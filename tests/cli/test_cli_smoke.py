"""``envcheck smoke`` and ``--smoke`` as commands, with a fake framework that an entry point adds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envcheck.__main__ import main

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    place = tmp_path / "site"
    info = place / "fake_smoke-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-smoke\nVersion: 1.2.3\n")
    (info / "entry_points.txt").write_text("[envcheck.smoke_backends]\nfake = fake_smoke\n")
    shutil.copy(Path(__file__).parent.parent / "smoke" / "fake_smoke.py", place)
    return place


@pytest.fixture
def envcheck(site: Path) -> Run:
    def run(*arguments: str, **behaviours: str) -> subprocess.CompletedProcess[str]:
        here = str(Path(__import__("envcheck").__file__).parent.parent)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), here)), "FAKE_SMOKE": json.dumps(behaviours)}
        argv = [sys.executable, "-m", "envcheck", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, env=env, cwd=site, timeout=120, check=False)

    return run


def test_healthy(envcheck: Run) -> None:
    ran = envcheck("smoke", "fake")
    assert ran.returncode == 0, ran.stderr
    assert "fake 1.2.3 on fake:1 (Fake 1): 6 results right" in " ".join(ran.stdout.split())


def test_json(envcheck: Run) -> None:
    report = json.loads(envcheck("smoke", "fake", "--format", "json", "--device", "fake:1").stdout)
    (test,) = report["snapshot"]["smoke"]
    assert (test["backend"], test["device"], test["ran_on"]) == ("fake", "fake:1", "fake:1")
    assert {check["status"] for check in test["checks"]} == {"ok"}


@pytest.mark.parametrize(
    ("behaviours", "rule"),
    [
        ({"compute": "SIGSEGV"}, "smoke-failure"),
        ({"compute": "raise"}, "smoke-failure"),
        ({"load": "exit"}, "smoke-failure"),
        ({"fetch": "wrong"}, "wrong-results"),
        ({"fetch": "nan"}, "wrong-results"),
        ({"fetch": "elsewhere"}, "silent-cpu-fallback"),
    ],
)
def test_failures(envcheck: Run, behaviours: dict[str, str], rule: str) -> None:
    ran = envcheck("smoke", "fake", "--device", "gpu", **behaviours)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"[{rule}]" in ran.stdout


def test_hang(envcheck: Run) -> None:
    ran = envcheck("smoke", "fake", "--timeout", "2", compute="hang")
    assert ran.returncode == 1
    assert "no answer in" in " ".join(ran.stdout.split())


def test_as_part_of_a_check(envcheck: Run) -> None:
    ran = envcheck("--smoke", "--select", "smoke-failure", compute="SIGILL")
    assert ran.returncode == 1
    assert "SIGILL" in ran.stdout


def test_a_device_that_nobody_has(envcheck: Run) -> None:
    ran = envcheck("smoke", "fake", "--device", "cuda:7")
    assert ran.returncode == 1
    said = " ".join(ran.stdout.split())
    assert "no framework here offers this device" in said
    assert "shows the devices that it has" in said
    assert "reinstall" not in said


def test_results_are_judged_again_from_a_snapshot(envcheck: Run, tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    assert envcheck("snapshot", "--smoke", "-o", str(file), compute="SIGSEGV").returncode == 0
    ran = envcheck("--stack", str(file), "--machine", str(file))
    assert ran.returncode == 1
    assert "[smoke-failure]" in ran.stdout
    assert "SIGSEGV" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["smoke", "nonesuch"], "nonesuch was not tested: it is not installed"),
        (["smoke", ""], "a backend has a name, not an empty text"),
        (["smoke", "--dtype", "float61"], "there is no data type 'float61'"),
        (["smoke", "--memory-budget", "lots"], "--memory-budget takes a number, not 'lots'"),
        (["smoke", "--memory-budget", "1"], "the memory budget is a number of MiB from 64 on"),
        (["smoke", "--device", ","], "--device takes words, not an empty text"),
        (["smoke", "--golden", "g.npz"], "golden goes with a model"),
        (["smoke", "--model", "/nonesuch.onnx"], "/nonesuch.onnx: the model is not there"),
        (["smoke", "--model", "."], ".: the model is a folder"),
        (["smoke", "--shape", "x=a"], "--shape takes NAME=N,N,..."),
        (["smoke", "--model", __file__, "--dtype", "int8"], "a model is run in its own data types"),
        (["smoke", "--rtol", "0.1"], "rtol goes with a model"),
        (["smoke", "--model", __file__, "--rtol", "nan"], "rtol is a number from 0 on"),
        (["smoke", "--timeout", "-1"], "--timeout takes a number of seconds above 0"),
        (["smoke", "--select", "nonesuch"], "there is no rule 'nonesuch'"),
        (["--smoke", "--stack", "lab.json"], "--smoke runs this Python environment on this machine"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
