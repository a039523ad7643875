"""The shipped ONNX models in real releases of ONNX Runtime, and the tool that writes them with the real onnx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from envcheck.smoke_tests import reference

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "tests" / "tools"
NEW = (
    "onnxruntime==1.31.1",
    "numpy==2.4.6",
    "onnx==1.23.2",
    "protobuf==7.36.2",
    "ml-dtypes==0.6.0",
    "typing-extensions==4.16.0",
)
OLD = ("onnxruntime==1.15.1", "numpy==1.26.4")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info[:2] != (3, 11) or sys.platform != "linux", reason="the wheels are for CPython 3.11 on Linux"
    ),
]

RUN = """
import json, sys
import numpy, onnxruntime, reference
session = onnxruntime.InferenceSession(reference.model(*sys.argv[1:]), providers=["CPUExecutionProvider"])
tensor = next(iter(reference.inputs(sys.argv[1]).values()))
y = session.run(None, {"x": numpy.array(tensor.values, dtype=numpy.float32).reshape(tensor.shape)})[0]
print(json.dumps(reference.compare(*sys.argv[1:], y.ravel().tolist(), y.shape)))
"""


def install(folder: Path, requirements: tuple[str, ...]) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    ran = subprocess.run(
        [*pip, "--only-binary=:all:", "--target", str(site), *requirements], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("new") / "venv", NEW)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("old") / "venv", OLD)


@pytest.mark.parametrize("release", ["new", "old"])
@pytest.mark.parametrize(
    ("operation", "dtype"),
    [
        *((operation, dtype) for operation in reference.OPERATIONS[:4] for dtype in ("float32", "float16")),
        ("matmul-int8", "int8"),
    ],
)
def test_models_in_onnxruntime(request: pytest.FixtureRequest, release: str, operation: str, dtype: str) -> None:
    python = request.getfixturevalue(release)
    ran = subprocess.run(
        [str(python), "-c", RUN, operation, dtype],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.path.dirname(reference.__file__)},
    )
    assert ran.returncode == 0, ran.stderr
    status, error, tolerance, text = json.loads(ran.stdout)
    assert status == "ok", text
    assert error <= tolerance / 4


def test_what_is_shipped_is_what_the_tool_writes(new: Path) -> None:
    ran = subprocess.run(
        [str(new), str(TOOLS / "make_smoke_data.py"), "--check"], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "20 files are as they would be written\n", "")


def test_tolerances_are_above_the_simulated_errors(new: Path) -> None:
    """But for sums kept in bfloat16, every way to compute an operation is allowed, with room."""
    ran = subprocess.run(
        [str(new), str(TOOLS / "simulate_smoke_errors.py")], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    ways = [line.split() for line in ran.stdout.splitlines() if "allowed" in line]
    assert len(ways) >= 30
    for operation, dtype, way, *_, margin, unit in ways:
        assert unit == "x"
        if (dtype, way) != ("bfloat16", "narrow"):
            assert float(margin) >= 4, (operation, dtype, way)
