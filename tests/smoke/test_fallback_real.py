"""onnxruntime-gpu as it is, without the libraries of CUDA: a real session falls back, and the check says so and why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "standin"))
from standin_driver import StandIn, gpu, machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)), reason="there is no wheel for it"),
    pytest.mark.skipif(sys.platform != "linux", reason="the wheel is for Linux"),
    pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="it is about machines without a GPU"),
]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A folder with the wheel and what it imports; it takes most of a gigabyte, and is removed at once."""
    with tempfile.TemporaryDirectory(prefix="envcheck-site-") as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        wanted = ["onnxruntime-gpu==1.22.0", "numpy==2.2.6", "flatbuffers", "protobuf", "packaging"]
        ran = subprocess.run([*pip, "--no-deps", "--target", folder, *wanted], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        yield folder


def checked(site: str, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "envcheck", "smoke", "onnxruntime", *arguments, "--format", "json", "--no-config"]
    given = {**os.environ, **(env or {}), "PYTHONPATH": site}
    ran = subprocess.run(command, capture_output=True, text=True, env=given, cwd=tempfile.gettempdir(), timeout=120)
    assert ran.returncode in (0, 1), ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def of(found: list[dict[str, Any]], rule: str, device: str) -> dict[str, Any]:
    return next(one for one in found if one["rule"] == rule and device in one["subject"])


def test_without_a_gpu_it_is_a_warning_with_the_library_that_is_missing(site: str) -> None:
    _, report = checked(site)
    finding = of(report["findings"], "silent-cpu-fallback", "CUDAExecutionProvider")
    assert finding["severity"] == "warning"
    assert "libcublasLt.so.12: cannot open shared object file" in finding["message"]
    assert any("nvidia-cublas-cu12" in fix["command"] for fix in finding["fixes"])
    tensorrt = of(report["findings"], "silent-cpu-fallback", "TensorrtExecutionProvider")
    assert tensorrt["severity"] == "info"
    tests = {test["device"]: test for test in report["snapshot"]["smoke"]}
    assert tests["CPUExecutionProvider"]["ran_on"] == "CPUExecutionProvider"
    assert tests["CUDAExecutionProvider"]["providers"] == ["CPUExecutionProvider"]
    assert set(tests["CUDAExecutionProvider"]["kernels"]) == {"CPUExecutionProvider"}


def test_a_gpu_that_is_asked_for_is_an_error(site: str) -> None:
    code, report = checked(site, "--device", "gpu")
    assert code == 1
    assert report["verdict"] == "problem"
    assert of(report["findings"], "silent-cpu-fallback", "CUDAExecutionProvider")["severity"] == "error"


@pytest.mark.skipif(not shutil.which("cc"), reason="the stand-in driver is compiled")
def test_with_a_gpu_it_is_under_its_cause(site: str, tmp_path: Path) -> None:
    driver = StandIn(tmp_path, machine("550.54.15", gpu(0)))
    code, report = checked(site, env=dict(driver.env))
    assert code == 1
    for root in report["findings"]:
        for cause, below in chains(root):
            if below["rule"] == "silent-cpu-fallback" and "CUDAExecutionProvider" in below["subject"]:
                assert cause["rule"] in ("missing-shared-library", "cuda-major-mismatch")  # by the CUDA that is here
                assert (cause["severity"], cause["confidence"], below["severity"]) == ("error", "high", "error")
                assert "libcublasLt.so.12" in cause["evidence"][0]["fact"]
                return
    raise AssertionError(report["findings"])


def chains(finding: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for below in finding.get("consequences", []):
        yield finding, below
        yield from chains(below)
