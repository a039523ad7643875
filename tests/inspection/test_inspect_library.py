"""One compiled file on a machine: platform, Python, GPUs, symbol versions and needs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import fat_binary, made_library

from envcheck.core.report import Report
from envcheck.core.snapshot import Snapshot
from envcheck.inspection import InspectError, inspect
from envcheck.inspection.judge import judge_there
from envcheck.matrix import Matrix

SERVER: dict[str, Any] = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "20.04"},
    "cpu": {"arch": "x86_64", "level": "x86-64-v3"},
    "driver": {"version": "535.54.03", "cuda": "12.2"},
    "gpus": [{"name": "NVIDIA A100-SXM4-80GB", "compute_capability": "8.0"}],
    "python": "3.11.7",
    "packages": {"numpy": "2.3.4"},
}
KERNELS = (fat_binary("sm_80", "compute_80@8.4"),)


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


def verdict(tmp_path: Path, matrix: Matrix, name: str, data: bytes, **changes: Any) -> Report:
    (tmp_path / name).write_bytes(data)
    found = inspect(str(tmp_path / name), matrix)
    return judge_there(found, Snapshot.from_facts({**SERVER, **changes}), matrix)


def test_it_works_there(tmp_path: Path, matrix: Matrix) -> None:
    code = made_library(needed=("libc.so.6",), needs={"libc.so.6": ("GLIBC_2.17",)}, fat=KERNELS)
    report = verdict(tmp_path, matrix, "libk.so", code)
    assert (report.verdict, report.findings) == ("ok", [])
    states = {one.rule: one.status for one in report.outcomes}
    assert states["platform-unsupported"] == states["glibc-too-old"] == states["gpu-arch-too-new"] == "pass"


@pytest.mark.parametrize(
    ("options", "changes", "rule", "words"),
    [
        ({"machine": "aarch64"}, {}, "platform-unsupported", "for Linux aarch64, and the machine is Linux x86_64"),
        ({"machine": "i686"}, {}, "platform-unsupported", "a 32-bit file, and a 64-bit process"),
        ({}, {"os": "windows"}, "platform-unsupported", "it is for Linux x86_64, and the machine is Windows"),
        ({"needs": {"libc.so.6": ("GLIBC_2.34",)}}, {}, "glibc-too-old", "libk.so needs GLIBC_2.34"),
        ({"needs": {"libstdc++.so.6": ("GLIBCXX_3.4.32",)}}, {}, "libstdcxx-too-old", "GLIBCXX_3.4.28 at most"),
        (
            {"needs": {"libc.so.6": ("GLIBC_2.17",)}},
            {"os": {"system": "Linux", "distro": "alpine", "distro_version": "3.20"}},
            "platform-unsupported",
            "the C library is musl",
        ),
        ({"fat": (fat_binary("sm_90"),)}, {}, "gpu-arch-too-old", "None of its 1 fat binaries"),
        (
            {"fat": (fat_binary("compute_80@8.4"),)},
            {},
            "gpu-arch-too-new",
            "PTX alone, which needs a driver for CUDA 12.4; this one serves 12.2",
        ),
        ({"isa": 4}, {}, "cpu-isa-missing", "x86-64-v4"),
        ({"needed": ("libc10.so",)}, {}, "missing-shared-library", "libc10.so is not found there, which libk.so needs"),
    ],
)  # fmt: skip
def test_it_does_not(
    tmp_path: Path, matrix: Matrix, options: dict[str, Any], changes: dict[str, Any], rule: str, words: str
) -> None:
    if rule == "cpu-isa-missing":
        changes = {"cpu": {"arch": "x86_64", "flags": "sse sse2 avx avx2"}}
    report = verdict(tmp_path, matrix, "libk.so", made_library(**options), **changes)
    assert report.verdict == "problem"
    assert words in next(one.message for one in report.findings if one.rule == rule)
    assert {one.rule for one in report.findings} == {rule}


def test_the_python_of_an_extension_module(tmp_path: Path, matrix: Matrix) -> None:
    report = verdict(tmp_path, matrix, "_C.cpython-312-x86_64-linux-gnu.so", made_library())
    assert [one.rule for one in report.findings] == ["python-unsupported"]
    assert "it is for Python 3.12, and this is Python 3.11" in report.findings[0].message
    assert verdict(tmp_path, matrix, "_C.cpython-311-x86_64-linux-gnu.so", made_library()).verdict == "ok"
    assert verdict(tmp_path, matrix, "_C.abi3.so", made_library()).verdict == "ok"


def test_what_nobody_knows_stays_open(tmp_path: Path, matrix: Matrix) -> None:
    report = verdict(tmp_path, matrix, "libk.so", made_library(needed=("libspecial.so.3",)))
    assert report.verdict == "inconclusive"
    report = verdict(tmp_path, matrix, "libk.so", made_library(needed=("libcudart.so.12",)), packages={})
    assert report.verdict == "inconclusive"


def test_no_other_package_of_the_machine_is_judged(tmp_path: Path, matrix: Matrix) -> None:
    packages = {"torch": "2.6.0", "torchvision": "0.10.0", "numpy": "2.3.4"}
    assert verdict(tmp_path, matrix, "libk.so", made_library(), packages=packages).verdict == "ok"


def test_a_library_that_is_cut_off(tmp_path: Path, matrix: Matrix) -> None:
    whole = made_library(needed=("libc.so.6",), fat=KERNELS)
    for size in range(64, len(whole), 97):
        with contextlib.suppress(InspectError):
            assert verdict(tmp_path, matrix, "libk.so", whole[:size]).verdict


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "libk.so").write_bytes(made_library(fat=(fat_binary("sm_90"),)))
    (tmp_path / "server.json").write_text(json.dumps(SERVER))
    command = [sys.executable, "-m", "envcheck", "inspect", "libk.so", "--machine", "server.json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "gpu-arch-too-old" in ran.stdout
