"""An environment as conda lays it out, with this interpreter copied into it, through the real command.

conda's channels can't be reached from everywhere, so the environment is made here: conda-meta as the enhancement
proposal "Management and structure of conda environments" has it, libraries in PREFIX/lib with links as conda-forge's
packages have them, PyTorch with its libraries moved to PREFIX/lib as the recipe of conda-forge does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a layout of Linux"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler"),
    pytest.mark.slow,
]

PACKAGES = {
    "cuda-cudart": ("12.4.127", "libcudart.so.12", "libcudart.so.12.4.127"),
    "libcublas": ("12.4.5.8", "libcublas.so.12", "libcublas.so.12.4.5.8"),
    "cudnn": ("9.1.0.70", "libcudnn.so.9", "libcudnn.so.9.1.0"),
    "libcufft": ("11.2.1.3", "libcufft.so.11", "libcufft.so.11.2.1.3"),
}
CODE = "import sys; sys.path += {paths!r}; from envcheck.__main__ import main; sys.exit(main({arguments!r}))"


def library(path: Path, soname: str, *needs: str, lib: str = ".") -> None:
    """conda-build gives every library an RPATH to PREFIX/lib (``lib``), relative to where it lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = [f"-l:{need}" for need in needs]
    search = [f"-L{path.parent / lib}", "-Wl,--no-as-needed", "-Wl,--disable-new-dtags", f"-Wl,-rpath,$ORIGIN/{lib}"]
    command = ["gcc", "-shared", "-nostdlib", "-x", "c", "/dev/null", "-x", "none", "-o", path, f"-Wl,-soname,{soname}"]
    subprocess.run([*command, *search, *named], check=True, timeout=60)


def distribution(site: Path, name: str, version: str, installer: str = "conda") -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n")
    (info / "INSTALLER").write_text(f"{installer}\n")
    (info / "RECORD").write_text("")


def meta(prefix: Path, name: str, version: str, *files: str) -> None:
    paths = []
    for file in files:
        path = prefix / file
        if path.is_symlink():
            paths.append({"_path": file, "path_type": "softlink"})
            continue
        written = hashlib.sha256(path.read_bytes()).hexdigest()
        paths.append({"_path": file, "path_type": "hardlink", "sha256": written, "sha256_in_prefix": written,
                      "size_in_bytes": path.stat().st_size})  # fmt: skip
    record = {"name": name, "version": version, "build": "h0_0", "files": list(files),
              "paths_data": {"paths": paths, "paths_version": 1}}  # fmt: skip
    (prefix / f"conda-meta/{name}-{version}-h0_0.json").write_text(json.dumps(record, indent=2))


class Conda:
    """PREFIX with a Python of its own."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        standard = Path(sysconfig.get_path("stdlib"))
        self.site = prefix / "lib" / minor / "site-packages"
        self.site.mkdir(parents=True)
        for entry in standard.iterdir():
            if entry.name not in ("site-packages", "__pycache__"):
                (prefix / "lib" / minor / entry.name).symlink_to(entry)
        (prefix / "bin").mkdir()
        self.python = prefix / "bin/python"
        shutil.copy(os.path.realpath(sys.executable), self.python)
        (prefix / "conda-meta").mkdir()
        (prefix / "conda-meta/history").touch()
        self.pytorch()

    def pytorch(self) -> None:
        lib = self.prefix / "lib"
        for name, (version, soname, real) in PACKAGES.items():
            library(lib / real, soname)
            (lib / soname).symlink_to(real)
            meta(self.prefix, name, version, f"lib/{real}", f"lib/{soname}")
        needs = [soname for _, soname, _ in PACKAGES.values()]
        library(lib / "libtorch_cuda.so", "libtorch_cuda.so", *needs)
        torch = self.site / "torch"
        library(torch / "lib/libtorch_python.so", "libtorch_python.so", "libtorch_cuda.so", lib="../../../..")
        (torch / "__init__.py").write_text("from torch.version import __version__\n")
        (torch / "version.py").write_text("__version__ = '2.6.0'\ndebug = False\ncuda = '12.4'\nhip = None\n")
        distribution(self.site, "torch", "2.6.0")
        below = self.site.relative_to(self.prefix)
        files = [str(below / file) for file in ("torch/version.py", "torch-2.6.0.dist-info/METADATA")]
        meta(self.prefix, "pytorch", "2.6.0", "lib/libtorch_cuda.so", *files)
        meta(self.prefix, "cuda-version", "12.4")

    def run(self, *arguments: str, **env: str) -> dict[str, Any]:
        paths = [str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("site-packages"))]
        code = CODE.format(paths=paths, arguments=[*arguments, "--format", "json"])
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CONDA", "LD_"))}
        command = [self.python, "-c", code]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.prefix, env={**clean, **env})
        assert ran.stdout, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer


@pytest.fixture
def conda(tmp_path: Path) -> Conda:
    return Conda(tmp_path / "envs/dl")


def serious(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in report["findings"] if one["severity"] != "info" and one["rule"] != "no-gpu-visible"]


def test_a_healthy_environment(conda: Conda, tmp_path: Path) -> None:
    for env in ({"CONDA_PREFIX": str(conda.prefix)}, {}, {"CONDA_PREFIX": str(tmp_path / "envs/other")}):
        report = conda.run("check", **env)
        assert serious(report) == []
        stack = report["snapshot"]["stack"]
        assert stack["python"]["environment"] == "conda"
        mine = {one["name"]: (one["package"], one["version"]) for one in stack["libraries"] if one["origin"] == "conda"}
        assert mine == {
            "libcudart.so.12": ("cuda-cudart", "12.4.127"),
            "libcublas.so.12": ("libcublas", "12.4.5.8"),
            "libcudnn.so.9": ("cudnn", "9.1.0"),
            "libcufft.so.11": ("libcufft", "11.2.1.3"),
        }
        (torch,) = [one for one in stack["binaries"] if one["package"] == "torch"]
        assert not torch.get("missing")


def test_a_library_that_is_gone(conda: Conda) -> None:
    (conda.prefix / "lib/libcufft.so.11").unlink()
    (conda.prefix / "lib/libcufft.so.11.2.1.3").unlink()
    (found,) = [one for one in conda.run("check")["findings"] if one["rule"] == "missing-shared-library"]
    assert found["severity"] == "error"
    assert "libcufft.so.11 will not be found" in found["message"]
    assert "is there" not in found["message"]
    # It is not the active environment.
    assert found["fixes"][0]["command"] == f"conda install -p {conda.prefix} -c conda-forge libcufft"


def test_pip_over_conda(conda: Conda) -> None:
    """numpy by both: conda's list is stale, and pip's is what counts."""
    distribution(conda.site, "numpy", "2.4.6", "pip")
    meta(conda.prefix, "numpy", "1.26.4")
    report = conda.run("check")
    (found,) = [one for one in report["findings"] if one["rule"] == "package-conflict"]
    assert (found["severity"], found["subject"]) == ("info", "numpy 2.4.6, listed twice")
    assert serious(report) == []


def test_inspect_compares_with_conda_meta(conda: Conda) -> None:
    files = conda.run("inspect", "torch")["files"]
    assert (files["source"], files["number"], files["changed"]) == ("conda-meta", 3, [])
    (conda.site / "torch/version.py").write_text("__version__ = '2.6.1'\n")
    (changed,) = conda.run("inspect", "torch")["files"]["changed"]
    assert (changed["path"].rpartition("/")[2], changed["state"]) == ("version.py", "size")
