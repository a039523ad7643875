"""The total deadline of the command line: everything hangs, and the report still comes with what could be reached."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest
from fault_run import MARK, make_framework, make_nvcc, processes
from standin_driver import StandIn, full_gpu, machine

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc") or not Path(sysconfig.get_path("include"), "Python.h").is_file(),
    reason="the stand-in driver needs Linux, a C compiler and Python.h",
)

GRACE = 1.5 + 2.0 * bool(os.environ.get("CI"))
"""Seconds: what is killed is reaped, and the interpreter must start, on a machine that may be busy."""
HANGS = ("libcuda.load", "cuDriverGetVersion", "cuInit", "nvmlInitWithFlags", "nvidia-smi", "framework.load")


def everything_hangs(folder: Path, verb: str) -> tuple[StandIn, dict[str, str]]:
    """A driver, nvidia-smi, nvcc and a framework that all hang, and the environment that leads to them."""
    driver = StandIn(folder, machine("550.54.15", full_gpu(0), full_gpu(1)))
    site, _ = make_framework(folder, "fine")
    for name, version in (("torch", "2.5.1+cu124"), ("numpy", "1.26.4")):
        info = Path(site) / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    driver.answer({**driver.description, **{f"{name}.do": verb for name in HANGS}})
    path = f"{driver.bin}:{make_nvcc(folder, 'ignore-term-and-hang')}:/usr/bin:/bin"
    root = str(Path(__file__).parents[2])
    return driver, {**driver.env, "PATH": path, "PYTHONPATH": f"{site}:{root}", "HOME": str(folder)}


def envcheck(env: dict[str, str], folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    argv = [sys.executable, "-m", "envcheck", *arguments]
    started = time.monotonic()
    ran = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return ran, time.monotonic() - started


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that the command needs when there is nothing to wait for: this machine may be slow or busy."""
    return min(envcheck({"PATH": "/nowhere"}, tmp_path_factory.mktemp("bare"), "--version")[1] for _ in range(3))


@pytest.mark.parametrize("verb", ["hang", "ignore-term-and-hang", "block-every-signal-and-hang"])
@pytest.mark.parametrize("imports", [False, True])
def test_one_second(tmp_path: Path, verb: str, imports: bool, start: float) -> None:
    driver, env = everything_hangs(tmp_path, verb)
    mark = secrets.token_hex(8)
    temporary, here = tmp_path / "tmp", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    env |= {MARK: mark, "TMPDIR": str(temporary)}
    options = ["--import"] if imports else []
    ran, seconds = envcheck(env, here, "snapshot", "--timeout", "1", *options)
    assert ran.returncode == 0, ran.stderr
    assert seconds < 1 + start + GRACE
    found = json.loads(ran.stdout)
    reached(found, driver)
    if imports:
        tests = {test["package"]: test for test in found["stack"]["imports"]}
        assert tests["torch"]["outcome"] in ("hang", "untested")
    assert not processes(mark)
    assert not list(temporary.iterdir())
    assert not list(here.iterdir())


def reached(found: dict[str, Any], driver: StandIn) -> None:
    """What no broken part stands before: the system, Python, packages, the files of the driver."""
    system, stack = found["machine"], found["stack"]
    assert system["arch"]
    assert system["cpu"]["flags"]
    assert system["memory"]["total_mib"] > 0
    assert stack["python"]["version"].startswith("3.")
    assert {"torch", "numpy"} <= {package["name"] for package in stack["packages"]}
    assert system["nvidia"]["user_mode"] == "550.54.15"
    assert system["nvidia"]["libcuda"].endswith("libcuda.so.550.54.15")
    toolkit = next(one for one in stack["toolkits"] if one["path"].endswith("toolkit"))
    assert toolkit["version"]["fact"] == "unknown"
    nvidia = system["nvidia"]
    assert nvidia["nvml_error"]["fact"] == "unknown"
    assert nvidia["cu_init"]["fact"] == "unknown"
    late = [run for run in found["probes"] if run["status"] == "timeout"]
    assert any("nvcc" in run["where"] for run in late)
    assert any("child process" in run["where"] for run in late)


def test_the_verdict_is_not_ok(tmp_path: Path) -> None:
    _, env = everything_hangs(tmp_path, "hang")
    ran, _ = envcheck(env, tmp_path, "--timeout", "1", "--format", "json")
    report = json.loads(ran.stdout)
    assert report["verdict"] in ("inconclusive", "problem")
    assert not [one for one in report["outcomes"] if one["status"] == "crash"]
