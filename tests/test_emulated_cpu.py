"""Real wheels on CPUs that lack instructions (qemu-user), against what envcheck says there.

The rule is held against reality in both directions: it has an error for a package exactly when importing it dies.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from test_real_venv import PYTHON_311, make

QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
CPUS = ("qemu64", "Penryn", "Nehalem", "SandyBridge", "Haswell")
"""x86-64-v1 with SSE3; with SSSE3 and SSE4.1; x86-64-v2; with AVX; x86-64-v3."""

ENVIRONMENTS = {
    "numpy 2.3": (["numpy==2.3.5"], {"numpy": "numpy"}),
    "numpy 2.4": (["numpy==2.4.0"], {"numpy": "numpy"}),
    "polars": (["polars==1.33.1"], {"polars": "polars"}),
    "polars-lts-cpu": (["polars-lts-cpu==1.33.1"], {"polars-lts-cpu": "polars"}),
    "pyarrow, onnxruntime": (
        ["pyarrow==20.0.0", "onnxruntime==1.22.1", "numpy==2.3.5", "protobuf", "flatbuffers", "packaging"],
        {"pyarrow": "pyarrow", "onnxruntime": "onnxruntime"},
    ),
    "jax": (
        ["jax==0.4.38", "jaxlib==0.4.38", "numpy==2.3.5", "scipy==1.16.3", "ml_dtypes==0.5.1", "opt_einsum"],
        {"jaxlib": "jax"},
    ),
}

pytestmark = [
    pytest.mark.slow,
    PYTHON_311,
    pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 is not installed"),
    pytest.mark.xdist_group("emulated"),
]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> object:
    @cache
    def install(name: str) -> Path:
        return make(tmp_path_factory.mktemp("emulated") / "venv", *ENVIRONMENTS[name][0])

    return install


def emulate(cpu: str, python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """argv[0] stays the venv's python, so that the interpreter finds its prefix."""
    assert QEMU is not None
    argv = [QEMU, "-cpu", cpu, "-0", str(python), str(python.resolve()), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=180, cwd="/")


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_rule_and_reality(interpreter, name: str, cpu: str) -> None:  # type: ignore[no-untyped-def]
    python = interpreter(name)
    ran = emulate(cpu, python, "-m", "envcheck", "--format", "json", "--no-config", "--timeout", "120")
    report = json.loads(ran.stdout)
    accused = {
        finding["subject"].split()[0]
        for finding in report["findings"]
        if finding["rule"] == "cpu-isa-missing" and finding["severity"] == "error"
    }
    modules = ENVIRONMENTS[name][1]
    dies = {package for package, module in modules.items() if emulate(cpu, python, "-c", f"import {module}").returncode}
    assert accused & set(modules) == dies, ran.stdout[-2000:]
    assert "emulated" in report["snapshot"]["machine"]["cpu"]


def test_python_itself_runs_there(interpreter) -> None:  # type: ignore[no-untyped-def]
    """What dies above dies of the package."""
    ran = emulate("qemu64", interpreter("numpy 2.3"), "-c", "import sys; print(sys.prefix)")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith("venv")
    assert sys.version_info[:2] == (3, 11)
