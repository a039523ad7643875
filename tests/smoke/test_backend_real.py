"""JAX, OpenVINO and CuPy as they are: real wheels, run on this machine's CPU. CuPy's operations run on NumPy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envcheck.core.snapshot import SmokeTest, known
from envcheck.probes import collect
from envcheck.probes.host import Host
from envcheck.probes.smoke_options import SmokeOptions

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info < (3, 11) or sys.platform != "linux",
        reason="the wheels are for Python 3.11 on Linux and newer",
    ),
]
Run = Callable[..., list[SmokeTest]]
NO_GPU = pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="it is about machines without a GPU")


def install(folder: str, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    ran = subprocess.run([*pip, "--target", folder, *arguments], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A folder with OpenVINO, JAX and NumPy; removed at once: it takes most of a gigabyte."""
    with tempfile.TemporaryDirectory(prefix="envcheck-site-") as folder:
        install(folder, "openvino==2026.4.1", "jax==0.10.2")
        yield folder


@pytest.fixture(scope="module")
def plugins() -> Iterator[str]:
    """A folder with what is for GPUs only: JAX's plugin for CUDA, and CuPy; none of CUDA's libraries."""
    with tempfile.TemporaryDirectory(prefix="envcheck-site-") as folder:
        install(folder, "--no-deps", "jax-cuda12-plugin==0.10.2", "jax-cuda12-pjrt==0.10.2")
        install(folder, "--no-deps", "cupy-cuda12x==14.2.0", "cuda-pathfinder")
        yield folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def smoke(backend: str, *folders: str, env: dict[str, str] | None = None, **options: object) -> list[SmokeTest]:
        for folder in reversed(folders):
            monkeypatch.syspath_prepend(folder)
        given = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), **(env or {})}
        host = Host(env=given, deadline=time.monotonic() + 120)
        host.smoke = SmokeOptions(backends=[backend], **options)  # type: ignore[arg-type]
        return list(collect(host, parts=["smoke"]).smoke)

    return smoke


def statuses(test: SmokeTest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for check in test.checks:
        found.setdefault(check.dtype, set()).add(check.status)
    return found


def test_openvino(run: Run, site: str) -> None:
    (test,) = run("openvino", site, thorough=True)
    assert (test.outcome, known(test.error), known(test.version)) == ("ok", None, "2026.4.1")
    assert (test.device, test.kind, known(test.ran_on)) == ("CPU", "cpu", "CPU")
    found = statuses(test)
    assert found.pop("float32") == {"ok"}
    assert len([check for check in test.checks if check.dtype == "float32"]) == 4
    # What a CPU claims is in its instructions; what it does not claim it computes in another type, and that is said.
    for dtype, word in (("float16", "FP16"), ("bfloat16", "BF16"), ("int8", "INT8")):
        claimed = word in test.facts["capabilities"].split(", ")
        assert found[dtype] == {"ok"} or (not claimed and found[dtype] == {"unsupported"})
    assert test.facts["default_precision"] in ("float32", "bfloat16", "float16")
    assert "Convolution: " in test.facts["primitives"]
    assert [speed.unit for speed in test.speeds] == ["TFLOPS"]


def test_jax(run: Run, site: str) -> None:
    (test,) = run("jax", site, thorough=True)
    assert (test.outcome, known(test.error), known(test.version)) == ("ok", None, "0.10.2")
    assert (test.device, test.kind, known(test.ran_on)) == ("cpu:0", "cpu", "cpu:0")
    assert statuses(test) == {dtype: {"ok"} for dtype in ("float32", "bfloat16", "float16", "int8", "float8_e4m3")}
    assert len(test.checks) == 3 * 4 + 2
    claimed = {check.dtype: known(check.claimed) for check in test.checks if check.dtype != "float32"}
    assert claimed == {"bfloat16": True, "float16": True, "int8": True, "float8_e4m3": False}


def test_jax_on_a_cpu_that_is_taken_for_a_gpu(run: Run, site: str, tmp_path: Path) -> None:
    info = tmp_path / "jax_as_gpu-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jax-as-gpu\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[envcheck.smoke_backends]\njax-as-gpu = jax_as_gpu\n")
    shutil.copy(HERE / "jax_as_gpu.py", tmp_path)
    (test,) = run("jax-as-gpu", str(tmp_path), site)
    assert (test.outcome, known(test.error), test.device, test.kind) == ("ok", None, "cuda:0", "cuda")
    claimed = {check.dtype: known(check.claimed) for check in test.checks if check.dtype != "float32"}
    assert claimed == dict.fromkeys(("tf32", "bfloat16", "float16", "int8", "float8_e4m3"), True)
    assert {(speed.measure, speed.dtype) for speed in test.speeds} == {
        *(("matmul", dtype) for dtype in ("float32", "tf32", "float16", "bfloat16")),
        ("copy", "uint8"),
        ("to-device", "uint8"),
    }
    assert test.facts["capability"] == "9.0"


@NO_GPU
def test_jax_falls_back_to_the_cpu(run: Run, site: str, plugins: str) -> None:
    cpu, gpu = run("jax", site, plugins, env={"CUDA_VISIBLE_DEVICES": "0"})
    assert (cpu.device, cpu.outcome, known(cpu.ran_on)) == ("cpu:0", "ok", "cpu:0")
    assert (gpu.device, gpu.kind, known(gpu.ran_on)) == ("cuda:0", "cuda", "cpu:0")
    assert [check.operation for check in gpu.checks] == ["matmul"]
    assert not gpu.speeds
    assert "Error loading CUDA libraries" in gpu.facts["fallback"]
    assert any("Unable to load CUDA" in line for line in gpu.said)


@NO_GPU
def test_jax_where_the_gpus_are_hidden(run: Run, site: str, plugins: str) -> None:
    (test,) = run("jax", site, plugins, env={"CUDA_VISIBLE_DEVICES": ""})
    assert (test.device, test.outcome) == ("cpu:0", "ok")
    assert test.facts["plugins"] == "xla_cuda12"


@NO_GPU
def test_jax_that_may_not_fall_back(run: Run, site: str, plugins: str) -> None:
    (test,) = run("jax", site, plugins, env={"JAX_PLATFORMS": "cuda"})
    assert (test.outcome, known(test.stage)) == ("failed", "devices")
    assert "Error loading CUDA libraries" in (known(test.error) or "")


@NO_GPU
def test_cupy_without_a_gpu(run: Run, site: str, plugins: str) -> None:
    (test,) = run("cupy", plugins, site)
    assert test.outcome == "untested"
    assert "no NVIDIA driver: libcuda.so.1: cannot open shared object file" in (known(test.error) or "")


@pytest.fixture
def fake_cupy(tmp_path: Path, site: str, run: Run) -> Run:
    package = tmp_path / "fake" / "cupy"
    package.mkdir(parents=True)
    shutil.copy(HERE / "fake_cupy.py", package / "__init__.py")

    def smoke(thorough: bool = False, **told: object) -> list[SmokeTest]:
        return run("cupy", str(package.parent), site, env={"FAKE_CUPY": json.dumps(told)}, thorough=thorough)

    return smoke


def test_the_operations_of_cupy(fake_cupy: Run) -> None:
    tests = fake_cupy(devices=2, thorough=True)
    assert [(test.device, known(test.ran_on), known(test.gpu)) for test in tests] == [
        ("cuda:0", "cuda:0", 0),
        ("cuda:1", "cuda:1", 1),
    ]
    for test in tests:
        assert (test.outcome, known(test.error), known(test.name)) == ("ok", None, f"Fake GPU {known(test.gpu)}")
        assert statuses(test) == {"float32": {"ok"}, "tf32": {"ok"}, "float16": {"ok"}}
        assert [stage.name for stage in test.stages if stage.name in ("nvrtc", "solve", "fft", "random")] == [
            "nvrtc",
            "solve",
            "fft",
            "random",
        ]
        assert {speed.measure for speed in test.speeds} == {"matmul", "copy", "to-device", "from-device"}
        assert (test.facts["cuda"], test.facts["capability"]) == ("12.9", "9.0")


def test_a_cupy_that_cannot_be_switched_to_tf32(fake_cupy: Run) -> None:
    (test,) = fake_cupy(tf32=False)
    assert test.outcome == "ok"
    assert statuses(test) == {"float32": {"ok"}, "tf32": {"unsupported"}, "float16": {"ok"}}


def test_a_kernel_that_is_compiled_wrongly(fake_cupy: Run) -> None:
    (test,) = fake_cupy(kernel="wrong")
    assert (test.outcome, known(test.stage)) == ("failed", "nvrtc")


def test_cupy_with_a_driver_and_no_gpu(fake_cupy: Run) -> None:
    (test,) = fake_cupy(error="cudaErrorNoDevice: no CUDA-capable device is detected")
    assert test.outcome == "untested"
    assert "there is none: cudaErrorNoDevice" in (known(test.error) or "")
