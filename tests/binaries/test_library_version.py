"""Versions of NVIDIA's libraries from their bytes: stand-ins made by a compiler, and real wheels (slow)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envcheck.binaries.archive import Archive
from envcheck.binaries.library_version import LibraryVersion, library_version
from envcheck.binaries.source import BinaryError, File

STANDINS = [
    ("libnccl.so.2", "int ncclGetVersion(int *v) { if (!v) return 4; *v = 23203; return 0; }", "nccl", "2.32.3"),
    ("libnccl.so.2", "int ncclGetVersion(int *v) { if (!v) return 4; *v = 2804; return 0; }", "nccl", "2.8.4"),
    (
        "libnvrtc.so.12",
        "int nvrtcVersion(int *a, int *b) { if (!a || !b) return 3; *a = 12; *b = 9; return 0; }",
        "nvrtc",
        "12.9",
    ),
    (
        "libcudart.so.12",
        '__attribute__((noinline, visibility("hidden"))) int inner(int *v) { *v = 12090; return 0; }\n'
        "int calls; int cudaRuntimeGetVersion(int *v) { int status = inner(v); return calls += status; }",
        "cudart",
        "12.9",
    ),
    ("libcudnn.so.7", "unsigned long cudnnGetVersion(void) { return 7605; }", "cudnn", "7.6.5"),
    ("libcublasLt.so.12", "unsigned long cublasLtGetVersion(void) { return 120903; }", "cublas", "12.9.3"),
    ("libnvinfer.so.8", "int getInferLibVersion(void) { return 8601; }", "tensorrt", "8.6.1"),
    ("libnvinfer.so.10", "int getInferLibVersion(void) { return 101300; }", "tensorrt", "10.13.0"),
    ("libcudnn_graph.so.9", "const unsigned cudnn_graph_version[2] = {0x091c00, 1};", "cudnn", "9.28.0"),
    ("libcudnn_ops_infer.so.8", "const unsigned cudnn_ops_infer_version[2] = {0x080906, 1};", "cudnn", "8.9.6"),
]


@pytest.mark.skipif(not shutil.which("gcc") or sys.platform != "linux", reason="no gcc for ELF files here")
@pytest.mark.parametrize("style", ["gnu", "sysv"])
@pytest.mark.parametrize(("soname", "text", "name", "version"), STANDINS)
def test_standins(tmp_path: Path, style: str, soname: str, text: str, name: str, version: str) -> None:
    (tmp_path / "x.c").write_text(text)
    path = tmp_path / "renamed.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", f"-Wl,-soname,{soname}", f"-Wl,--hash-style={style}"]
    subprocess.run([*command, "-o", str(path), str(tmp_path / "x.c")], check=True)
    found = library_version(str(path))
    assert found is not None
    assert (found.name, found.version) == (name, version)


@pytest.mark.skipif(not shutil.which("gcc") or sys.platform != "linux", reason="no gcc for ELF files here")
def test_no_guess(tmp_path: Path) -> None:
    """Two numbers that could both be the version, a library without one, and another library with such a function."""
    texts = {
        "libcublasLt.so.12": "unsigned long cublasLtGetVersion(int *a, int *b) { *a = 120903; *b = 120904; return 0; }",
        "libcublas.so.12": "int cublasGetVersion_v2(void) { return 120903; }",
        "libmine.so": "int ncclGetVersion(int *v) { *v = 23203; return 0; }",
    }
    for soname, text in texts.items():
        (tmp_path / "x.c").write_text(text)
        path = str(tmp_path / soname)
        subprocess.run(
            ["gcc", "-O2", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", path, str(tmp_path / "x.c")], check=True
        )
        assert library_version(path) is None, soname


def test_other_files() -> None:
    with pytest.raises(BinaryError):
        library_version(b"not ELF")
    with pytest.raises(OSError, match="missing"):
        library_version("/missing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "platform", "version"),
    [
        ("nvidia-cuda-runtime-cu11==11.8.89", "manylinux2014_x86_64", "11.8"),
        ("nvidia-cuda-runtime-cu12==12.9.79", "manylinux2014_x86_64", "12.9"),
        ("nvidia-cuda-runtime-cu12==12.9.79", "manylinux2014_aarch64", "12.9"),
        ("nvidia-cuda-runtime==13.0.96", "manylinux2014_x86_64", "13.0"),
    ],
)
def test_real_wheels(tmp_path: Path, package: str, platform: str, version: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(tmp_path)]
    done = subprocess.run([*command, "--platform", platform, package], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot download {package}: {done.stderr[-200:]}")
    (wheel,) = tmp_path.glob("*.whl")
    expected = LibraryVersion("cudart", version, "cudaRuntimeGetVersion")
    with File(str(wheel)) as file:
        archive = Archive(file)
        (member,) = (name for name in archive.members if "libcudart.so" in name)
        assert library_version(archive.open(member)) == expected
    with zipfile.ZipFile(wheel) as whole:
        whole.extract(member, tmp_path)
    assert library_version(str(tmp_path / member)) == expected
