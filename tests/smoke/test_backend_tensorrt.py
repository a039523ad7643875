"""The TensorRT backend with a fake TensorRT of several releases, and a driver whose devices keep memory on the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envcheck.core.snapshot import SmokeTest, known
from envcheck.probes import collect
from envcheck.probes.host import Host
from envcheck.probes.smoke_options import SmokeOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the driver's stand-in is built for Linux")
HERE = Path(__file__).parent
Run = Callable[..., list[SmokeTest]]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda.so.1."""
    folder = tmp_path_factory.mktemp("driver")
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    subprocess.run(
        [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Werror",
            "-o",
            folder / "libcuda.so.1",
            HERE / "cuda_memory.c",
        ],
        check=True,
    )
    return folder


@pytest.fixture
def run(tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    package = tmp_path / "site" / "tensorrt"
    package.mkdir(parents=True)
    shutil.copy(HERE / "fake_tensorrt.py", package / "__init__.py")
    monkeypatch.syspath_prepend(str(package.parent))

    def smoke(version: str = "10.7.0", env: dict[str, str] | None = None, **behaviours: str) -> list[SmokeTest]:
        told = json.dumps({"version": version, **behaviours})
        paths = {"PYTHONPATH": str(package.parent), "LD_LIBRARY_PATH": str(driver)}
        host = Host(env={**os.environ, **paths, "FAKE_TENSORRT": told, **(env or {})}, deadline=time.monotonic() + 30)
        host.smoke = SmokeOptions(backends=["tensorrt"])
        return list(collect(host, parts=["smoke"]).smoke)

    return smoke


def dtypes(test: SmokeTest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for check in test.checks:
        found.setdefault(check.dtype, set()).add(check.status)
    return found


RELEASES = {
    "8.0.3": {"float32", "tf32", "float16"},
    "8.4.3": {"float32", "tf32", "float16"},
    "8.6.1": {"float32", "tf32", "float16"},
    "9.3.0": {"float32", "tf32", "float16", "bfloat16"},
    "10.7.0": {"float32", "tf32", "float16", "bfloat16"},
    "11.4.0": {"float32", "tf32", "float16", "bfloat16"},
}


@pytest.mark.parametrize("version", RELEASES)
def test_release(run: Run, version: str) -> None:
    (test,) = run(version)
    assert (test.outcome, known(test.error)) == ("ok", None)
    assert (known(test.version), test.device, test.kind, known(test.name)) == (version, "cuda:0", "cuda", "Fake GPU 0")
    assert known(test.ran_on) == "cuda:0"
    assert dtypes(test) == {dtype: {"ok"} for dtype in RELEASES[version]}
    assert test.facts["capability"] == "9.0"
    assert "was serialised, loaded again and ran" in test.facts["reload float32"]
    assert "was serialised, loaded again and ran" in test.facts["reload float16"]
    assert [speed.dtype for speed in test.speeds] == ["float32", "tf32"]
    # The types are really those that were asked for: each rounds as it does.
    errors = {check.dtype: known(check.difference) for check in test.checks if check.operation == "matmul"}
    assert errors["float32"] < 1e-7 < errors["tf32"] < 1e-3
    assert errors["float16"] > 1e-5


def test_every_gpu(run: Run) -> None:
    tests = run(env={"FAKE_CUDA_DEVICES": "2"})
    assert [(test.device, known(test.ran_on), known(test.gpu)) for test in tests] == [
        ("cuda:0", "cuda:0", 0),
        ("cuda:1", "cuda:1", 1),
    ]
    assert {test.outcome for test in tests} == {"ok"}


def test_what_an_old_gpu_does_not_claim(run: Run) -> None:
    (test,) = run(env={"FAKE_CUDA_CAPABILITY": "61"})
    claimed = {check.dtype: known(check.claimed) for check in test.checks if check.dtype != "float32"}
    assert claimed == {"tf32": False, "float16": True, "bfloat16": False}


@pytest.mark.parametrize(
    ("behaviours", "stage", "words"),
    [
        ({"build": "fail"}, "matmul", "TensorRT built no engine of matmul in float32: Error Code 2: OutOfMemory"),
        ({"load": "fail"}, "matmul", "cannot load the engine that it built: Error Code 1: Serialization"),
        ({"run": "fail"}, "matmul", "TensorRT did not run an engine"),
    ],
)
def test_failure(run: Run, behaviours: dict[str, str], stage: str, words: str) -> None:
    (test,) = run(**behaviours)
    assert (test.outcome, known(test.stage)) == ("failed", stage)
    assert words in (known(test.error) or "")
    assert "a warning that is no error" not in (known(test.error) or "")


def test_wrong_results(run: Run) -> None:
    (test,) = run(run="wrong")
    assert test.outcome == "wrong"
    assert {check.status for check in test.checks} == {"wrong"}


def test_a_layer_that_this_release_has_not(run: Run) -> None:
    (test,) = run(parse="refuse")
    assert {check.status for check in test.checks} == {"unsupported"}
    assert any("No importer registered" in (known(check.said) or "") for check in test.checks)


def test_no_gpu(run: Run) -> None:
    (test,) = run(env={"FAKE_CUDA_INIT": "100"})
    assert test.outcome == "untested"
    assert "there is none: cuInit: CUDA_ERROR_NO_DEVICE" in (known(test.error) or "")


def test_a_driver_that_does_not_start(run: Run) -> None:
    (test,) = run(env={"FAKE_CUDA_INIT": "803"})
    assert (test.outcome, known(test.stage)) == ("failed", "devices")
    assert "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" in (known(test.error) or "")


def test_no_driver(run: Run) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU: its driver is found")
    (test,) = run(env={"LD_LIBRARY_PATH": ""})
    assert test.outcome == "untested"
    assert "no NVIDIA driver: libcuda.so.1" in (known(test.error) or "")
