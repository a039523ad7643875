"""Real environments: real wheels installed by the real pip, judged by envcheck, and what Python itself says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PYTHON_311 = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.platform != "linux", reason="the old wheels are for CPython 3.11 on Linux"
)


def make(folder: Path, *requirements: str) -> Path:
    """A virtual environment with these packages alone; envcheck and its dependencies come last on its path."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    ran = subprocess.run(
        [*pip, "--only-binary=:all:", "--target", str(site), *requirements], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    here = [sysconfig.get_path("purelib"), str(Path(__file__).resolve().parent.parent)]
    (site / "zz_outer.pth").write_text("\n".join(here) + "\n")
    return folder / "bin" / "python"


def check(python: Path, *arguments: str) -> dict[str, object]:
    ran = subprocess.run(
        [str(python), "-m", "envcheck", "--format", "json", "--no-config", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=python.parent,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert ran.stderr == ""
    report: dict[str, object] = json.loads(ran.stdout)
    assert (ran.returncode == 1) == (report["verdict"] == "problem")
    return report


def rules(report: dict[str, object], severity: str = "error") -> set[str]:
    findings = report["findings"]
    assert isinstance(findings, list)
    return {finding["rule"] for finding in findings if finding["severity"] == severity}


@pytest.mark.slow
@PYTHON_311
def test_a_wheel_built_for_numpy_1_with_numpy_2(tmp_path: Path) -> None:
    python = make(tmp_path / "venv", "onnxruntime==1.16.3", "numpy==2.0.2")
    assert "numpy-abi" in rules(check(python))
    # It is true: this is what the interpreter says.
    ran = subprocess.run(
        [str(python), "-c", "import onnxruntime"], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert "compiled using NumPy 1.x cannot be run in" in ran.stderr


@pytest.mark.slow
@PYTHON_311
def test_the_same_wheel_with_numpy_1(tmp_path: Path) -> None:
    python = make(tmp_path / "venv", "onnxruntime==1.16.3", "numpy==1.26.4")
    report = check(python, "--select", "numpy-abi")
    assert report["verdict"] == "ok"
    builds = report["snapshot"]["stack"]["builds"]  # type: ignore[index]
    assert [(build["package"], build["variant"]) for build in builds if build["package"] == "onnxruntime"] == [
        ("onnxruntime", "cpu")
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the layout of the virtual environment is that of POSIX")
def test_the_deprecated_pynvml_hides_the_real_one(tmp_path: Path) -> None:
    python = make(tmp_path / "venv", "pynvml==11.5.3", "nvidia-ml-py==12.560.30")
    assert "package-conflict" in rules(check(python), "warning")
    ran = subprocess.run(
        [str(python), "-c", "import pynvml; print(pynvml.__file__)"], capture_output=True, text=True, timeout=60
    )
    assert Path(ran.stdout.strip()).name == "__init__.py"


@pytest.mark.slow
@PYTHON_311
def test_the_import_confirms_what_the_tables_say(tmp_path: Path) -> None:
    python = make(tmp_path / "venv", "onnxruntime==1.16.3", "numpy==2.0.2")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    report = check(python, "--import")
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before, "an import test must write nothing"
    tests = {test["package"]: test for test in report["snapshot"]["stack"]["imports"]}  # type: ignore[index]
    assert (tests["numpy"]["outcome"], tests["numpy"]["compiled"]) == ("ok", True)
    findings = report["findings"]
    assert isinstance(findings, list)
    finding = next(finding for finding in findings if finding["rule"] == "numpy-abi")
    assert finding["confidence"] == "high"
    assert finding["evidence"][0]["source"] == "import test"
    assert [other["rule"] for other in finding["consequences"]] == ["import-failure"]
    # A library of NumPy's is taken away: no rule knows why, but the import shows it.
    for path in python.parent.parent.rglob("_multiarray_umath*.so"):
        path.unlink()
    assert "import-failure" in rules(check(python, "--import", "--ignore", "numpy-abi"))


@pytest.mark.slow
@PYTHON_311
def test_undefined_symbols_are_read_in_a_wheel_of_another_torch(tmp_path: Path) -> None:
    """torchtext 0.18 was compiled for torch 2.3 with the old C++ ABI. The torch beside it is a file with no symbols."""
    python = make(tmp_path, "torchtext==0.18.0")
    site = next((tmp_path / "lib").glob("python3*")) / "site-packages"
    (site / "torch/lib").mkdir(parents=True)
    names = ("torch", "torch_cpu", "c10", "torch_python", "torch_global_deps")
    links = [f"-L{site}/torch/lib", "-Wl,--no-as-needed", *(f"-l{name}" for name in names), "-Wl,-rpath,$ORIGIN/lib"]
    for name in (*names, "_C"):
        path = f"lib/lib{name}.so" if name != "_C" else f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
        command = ["cc", "-shared", "-x", "c", os.devnull, "-o", str(site / "torch" / path)]
        command += links if name == "_C" else [f"-Wl,-soname,lib{name}.so"]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no C compiler")
    (site / "torch/version.py").write_text("__version__ = '2.13.0+cpu'\ncuda = None\nhip = None\n")
    info = site / "torch-2.13.0+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n\n")
    report = check(python)
    findings = {finding["rule"]: finding for finding in report["findings"]}  # type: ignore[attr-defined]
    assert "libtorchtext.so" in findings["extension-abi-mismatch"]["message"]
    assert "the old C++ ABI" in findings["extension-abi-mismatch"]["message"]


@pytest.mark.slow
@PYTHON_311
def test_the_provider_of_onnxruntime_gpu_names_what_it_will_not_find(tmp_path: Path) -> None:
    """On a machine with or without a GPU: the facts are in the snapshot, only with a GPU they are a finding."""
    python = make(tmp_path, "onnxruntime-gpu==1.22.0")
    report = check(python)
    read = report["snapshot"]["stack"]["binaries"]  # type: ignore[index]
    cuda = next(one for one in read if one["path"].endswith("libonnxruntime_providers_cuda.so"))
    site = next((tmp_path / "lib").glob("python3*")) / "site-packages"
    ran = subprocess.run(["ldd", str(site / cuda["path"])], capture_output=True, text=True)
    absent = {line.split()[0] for line in ran.stdout.splitlines() if line.endswith("=> not found")}
    assert {need["name"] for need in cuda.get("missing", ())} == absent
    rules = {finding["rule"] for finding in report["findings"]}  # type: ignore[attr-defined]
    assert "gpu-arch-too-new" not in rules
