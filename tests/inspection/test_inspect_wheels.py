"""Wheels made by hand: what is read of them, what the text shows, and the verdict on machines."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import KERNELS, METADATA, fat_binary, made_library, made_wheel

from envcheck.core.report import Report
from envcheck.core.snapshot import Snapshot
from envcheck.inspection import Inspection, inspect
from envcheck.inspection.judge import judge
from envcheck.inspection.subject import open_wheel
from envcheck.matrix import Matrix
from envcheck.render.inspection import render_inspection

GOLDEN = Path(__file__).parent.parent / "golden"

SERVER: dict[str, Any] = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "22.04"},
    "cpu": {"arch": "x86_64", "flags": "cmov cx8 fpu fxsr mmx syscall sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 "
            "ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"},
    "driver": {"version": "550.54.15", "cuda": "12.4"},
    "gpus": [{"name": "NVIDIA A100-SXM4-80GB", "compute_capability": "8.0"}],
    "python": "3.11.7",
}  # fmt: skip


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_wheel(tmp_path_factory.mktemp("wheels"), members=KERNELS, metadata=METADATA)


def verdict(path: Path, matrix: Matrix, **changes: Any) -> Report:
    found = inspect(str(path), matrix)
    source, wheel = open_wheel(str(path))
    with source:
        return judge(found, wheel, Snapshot.from_facts({**SERVER, **changes}), matrix)


def said(report: Report) -> dict[str, str]:
    """Rule -> messages about the wheel itself."""
    mine = [finding for finding in report.findings if not finding.subject.startswith("torch 2.6.0")]
    return {finding.rule: finding.message for finding in mine}


def test_what_it_is(kernels: Path, matrix: Matrix) -> None:
    found = inspect(str(kernels), matrix)
    assert found.kind == "wheel"
    assert found.distribution is not None
    assert (found.distribution.name, found.distribution.version) == ("kernels", "1.0")
    assert found.distribution.tags == ["cp311-cp311-manylinux_2_28_x86_64"]
    assert found.distribution.requires == ["torch==2.6.0", "nvidia-cublas-cu12 (>=12)"]
    module, library = found.libraries
    assert (module.format, module.system, module.arch) == ("elf", "Linux", ["x86_64"])
    assert (module.python_abi, module.search, library.soname) == ("cp311", ["$ORIGIN/lib"], "libkernels.so")
    assert library.cpu_level == "x86-64-v3"
    assert module.cpu_level is None
    assert "named like a library" in found.notes[0]


def test_needs(kernels: Path, matrix: Matrix) -> None:
    module, library = inspect(str(kernels), matrix).libraries
    assert {need.name: (need.where, need.path or need.package) for need in module.needs} == {
        "libkernels.so": ("wheel", "kernels/lib/libkernels.so"),
        "libcudart.so.12": ("package", "nvidia-cuda-runtime-cu12"),
        "libcuda.so.1": ("driver", ""),
        "libc10.so": ("package", "torch"),
        "libc.so.6": ("system", ""),
        "libX11.so.6": ("system", ""),
    }
    assert library.needs[0].package == "nvidia-cublas-cu12"


def test_gpu_code_is_counted_by_fat_binaries(kernels: Path, matrix: Matrix) -> None:
    code = inspect(str(kernels), matrix).libraries[1].cuda
    assert code is not None
    assert code.fat_binaries == 3
    assert code.targets == {"compute_80 (PTX 8.4)": 1, "sm_75": 1, "sm_80": 3, "sm_90a": 1}
    rows = {row.capability: row for row in code.coverage}
    assert (rows["7.5"].machine_code, rows["7.5"].ptx, rows["7.5"].none) == (1, 0, 2)
    assert (rows["8.9"].machine_code, rows["8.9"].percent) == (3, 100.0)
    assert (rows["9.0"].machine_code, rows["9.0"].ptx, rows["9.0"].none) == (1, 1, 1)
    assert (rows["12.0"].machine_code, rows["12.0"].ptx, rows["12.0"].driver_cuda) == (0, 1, "12.4")
    assert rows["7.0"].none == 3
    assert rows["8.0"].gpus
    assert next((one.targets, one.count) for one in code.sets)[1] == 1


def test_what_an_extra_asks_for(tmp_path: Path, matrix: Matrix) -> None:
    lines = "Requires-Dist: numpy\nRequires-Dist: nvidia-cudnn-cu12~=9.0; extra == 'cudnn'"
    members = {"k/_C.abi3.so": made_library(needed=("libcudnn.so.9", "libcufft.so.11"))}
    found = inspect(str(made_wheel(tmp_path, members=members, metadata=lines)), matrix)
    assert found.distribution is not None
    assert found.distribution.optional == {"nvidia-cudnn-cu12": "cudnn"}
    told = [(need.package, need.problem) for need in found.libraries[0].needs]
    assert told == [
        ("nvidia-cudnn-cu12", "only with the extra cudnn"),
        ("nvidia-cufft-cu12", "the wheel does not require it"),
    ]


def test_a_level_that_is_stated_is_enough(kernels: Path, matrix: Matrix) -> None:
    report = verdict(kernels, matrix, cpu={"arch": "x86_64", "level": "x86-64-v3"})
    assert next(one for one in report.outcomes if one.rule == "cpu-isa-missing").status == "pass"


def test_floors_leave_weak_versions_out(kernels: Path, matrix: Matrix) -> None:
    found = inspect(str(kernels), matrix)
    assert {family: floor.version for family, floor in found.symbols.items()} == {"GLIBC": "2.28", "GLIBCXX": "3.4.30"}
    assert "ubuntu 22.04" in found.distributions
    assert not any(name.startswith(("debian 11", "rocky 8")) for name in found.distributions)


def test_a_bundled_libstdcxx_serves_itself(tmp_path: Path, matrix: Matrix) -> None:
    members = {
        "kernels/_C.abi3.so": made_library(needs={"libstdc++.so.6": ("GLIBCXX_3.4.32",)}, needed=("libstdc++.so.6",)),
        "kernels/lib/libstdc++.so.6": made_library(soname="libstdc++.so.6", defines=("GLIBCXX_3.4.32",)),
    }
    assert inspect(str(made_wheel(tmp_path, members=members)), matrix).symbols == {}


@pytest.mark.parametrize(("width", "encoding", "verbose"), [(80, "utf-8", False), (40, "ascii", True)])
def test_golden_text(
    kernels: Path, matrix: Matrix, monkeypatch: pytest.MonkeyPatch, width: int, encoding: str, verbose: bool
) -> None:
    """Run with UPDATE_GOLDEN=1 to write the files anew, then read the diff."""
    monkeypatch.chdir(kernels.parent)
    text = render_inspection(
        inspect(kernels.name, matrix), width=width, color=False, encoding=encoding, verbose=verbose
    )
    golden = GOLDEN / f"inspect_wheel_{width}_{encoding}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_json_and_back(kernels: Path, matrix: Matrix) -> None:
    found = inspect(str(kernels), matrix)
    found.report = verdict(kernels, matrix)
    again = msgspec.json.decode(msgspec.json.encode(found), type=Inspection)
    assert again.libraries == found.libraries
    assert again.report is not None
    assert again.report.verdict == found.report.verdict
    assert again.schema == 1


def test_stored_members_read_the_same(tmp_path: Path, kernels: Path, matrix: Matrix) -> None:
    stored = inspect(str(made_wheel(tmp_path, members=KERNELS, metadata=METADATA, packed=False)), matrix)
    assert stored.libraries == inspect(str(kernels), matrix).libraries


# Verdicts


def test_it_works_there(kernels: Path, matrix: Matrix) -> None:
    report = verdict(kernels, matrix)
    assert said(report) == {}
    assert report.verdict == "ok", [one for one in report.outcomes if one.missing]


@pytest.mark.parametrize(
    ("changes", "rule", "words"),
    [
        ({"python": "3.12.1"}, "python-unsupported", "it is for Python 3.11, and this is Python 3.12"),
        ({"python": "3.10.1"}, "python-unsupported", "requires Python >=3.11"),
        ({"os": {"system": "Windows"}}, "platform-unsupported", "for Linux x86_64, and the machine is Windows x86_64"),
        ({"cpu": {"arch": "aarch64"}}, "platform-unsupported", "the machine is Linux aarch64"),
        ({"os": {"system": "Linux", "distro": "alpine"}}, "platform-unsupported", "the C library is musl"),
        (
            {"os": {"system": "Linux", "distro": "centos", "distro_version": "7"}},
            "glibc-too-old",
            "_C.cpython-311-x86_64-linux-gnu.so needs GLIBC_2.28, and the system (centos 7) has GLIBC_2.17",
        ),
        (
            {"os": {"system": "Linux", "distro": "debian", "distro_version": "11"}},
            "libstdcxx-too-old",
            "needs GLIBCXX_3.4.30, and the system (debian 11) has GLIBCXX_3.4.28",
        ),
        ({"cpu": {"arch": "x86_64", "flags": "sse2 sse4_2"}}, "cpu-isa-missing", "x86-64-v3, and the CPU lacks"),
        (
            {"gpus": [{"name": "Tesla V100", "compute_capability": "7.0"}]},
            "gpu-arch-too-old",
            "None of its 3 fat binaries has code that runs on Tesla V100",
        ),
        (
            {
                "gpus": [{"name": "NVIDIA B200", "compute_capability": "10.0"}],
                "driver": {"version": "535.1", "cuda": "12.2"},
            },
            "gpu-arch-too-new",
            "PTX alone, which needs a driver for CUDA 12.4; this one serves 12.2",
        ),
    ],
)
def test_it_does_not_work_there(kernels: Path, matrix: Matrix, changes: dict[str, Any], rule: str, words: str) -> None:
    report = verdict(kernels, matrix, **changes)
    assert report.verdict == "problem"
    assert words in said(report)[rule]
    outcome = next(one for one in report.outcomes if one.rule == rule)
    assert outcome.status == "fail"
    assert outcome.findings >= 1


def test_without_a_driver_and_a_gpu(kernels: Path, tmp_path: Path, matrix: Matrix) -> None:
    report = verdict(kernels, matrix, gpus=False, driver=False)
    assert "needs libcuda.so.1, which only the NVIDIA driver brings" in said(report)["missing-shared-library"]
    assert "no-gpu-visible" in said(report)
    members = {**KERNELS, "kernels/_cpu.cpython-311-x86_64-linux-gnu.so": made_library()}
    part = verdict(made_wheel(tmp_path, members=members, metadata=METADATA), matrix, gpus=False, driver=False)
    assert "missing-shared-library" not in said(part)


def test_ptx_serves_a_newer_gpu_with_a_newer_driver(kernels: Path, matrix: Matrix) -> None:
    report = verdict(
        kernels,
        matrix,
        gpus=[{"name": "NVIDIA B200", "compute_capability": "10.0"}],
        driver={"version": "570.1", "cuda": "12.8"},
    )
    assert "gpu-arch-too-new" not in [one.rule for one in report.findings if one.subject.startswith("kernels")]


def test_unknown_facts_leave_it_open(kernels: Path, matrix: Matrix) -> None:
    report = verdict(kernels, matrix, python=None, os={"system": "Linux"})
    assert report.verdict == "inconclusive"
    missing = {fact for outcome in report.outcomes for fact in outcome.missing}
    assert {"python.version", "os.glibc", "os.glibcxx"} <= missing


def test_what_is_installed_there_and_satisfies_it_is_judged_too(kernels: Path, matrix: Matrix) -> None:
    """The wheel pins torch 2.6.0, which has no code for a B200."""
    b200 = [{"name": "NVIDIA B200", "compute_capability": "10.0"}]
    new = {"version": "580.65.06", "cuda": "13.0"}
    there = verdict(kernels, matrix, gpus=b200, driver=new, packages={"torch": "2.6.0+cu124", "numpy": "1.20"})
    packages = there.snapshot.stack.packages
    assert isinstance(packages, list)
    assert {one.name for one in packages} == {"kernels", "torch"}
    assert any(one.subject.startswith("torch 2.6.0+cu124") for one in there.findings)
    pinned = verdict(kernels, matrix, packages={"torch": "2.1.0"}).snapshot.stack.packages
    assert isinstance(pinned, list)
    assert [one.version for one in pinned if one.name == "torch"] == ["2.6.0"]


def test_ignored_findings_do_not_count(kernels: Path, matrix: Matrix) -> None:
    found = inspect(str(kernels), matrix)
    source, wheel = open_wheel(str(kernels))
    place = Snapshot.from_facts({**SERVER, "python": "3.12"})
    with source:
        report = judge(found, wheel, place, matrix, ignore=("python-unsupported",))
    assert report.verdict == "ok"
    assert [one.rule for one in report.ignored] == ["python-unsupported"]


def test_what_can_not_be_read_leaves_it_open(tmp_path: Path, matrix: Matrix) -> None:
    members = {**KERNELS, "kernels/lib/libcut.so": KERNELS["kernels/lib/libkernels.so"][:100]}
    report = verdict(made_wheel(tmp_path, members=members, metadata=METADATA), matrix)
    assert report.verdict == "inconclusive"


def test_pure_python_works_everywhere(tmp_path: Path, matrix: Matrix) -> None:
    path = made_wheel(tmp_path, "pure-1.0-py3-none-any.whl", {"pure.py": b""})
    for changes in ({}, {"os": {"system": "Windows"}}, {"python": "3.14"}, {"gpus": False, "driver": False}):
        assert verdict(path, matrix, **changes).verdict == "ok"


def test_a_known_framework_is_recognised_by_its_own_files(tmp_path: Path, matrix: Matrix) -> None:
    version = b"__version__ = '9.9.9+cu118'\ndebug = False\ncuda = '11.8'\ngit_version = 'x'\nhip = None\n"
    members = {
        "torch/version.py": version,
        "torch/lib/libtorch_cuda.so": made_library(soname="libtorch_cuda.so", fat=(fat_binary("sm_80"),)),
    }
    path = made_wheel(tmp_path, "torch-9.9.9+cu118-cp311-cp311-linux_x86_64.whl", members)
    report = verdict(path, matrix)
    build = report.snapshot.stack.builds[0]
    assert (build.package, build.cuda, build.sass) == ("torch", "11.8", ["8.0"])
    assert "gpu-arch-too-new" not in said(report)
    h100 = verdict(path, matrix, gpus=[{"name": "NVIDIA H100", "compute_capability": "9.0"}])
    assert "gpu-arch-too-new" in said(h100)


def test_a_wheel_whose_file_name_says_nothing(tmp_path: Path, matrix: Matrix) -> None:
    path = made_wheel(tmp_path, members=KERNELS).rename(tmp_path / "download")
    found = inspect(str(path), matrix)
    assert found.distribution is not None
    assert found.distribution.tags == ["cp311-cp311-manylinux_2_28_x86_64"]


def test_members_of_other_systems(tmp_path: Path, matrix: Matrix) -> None:
    """A Mach-O header without load commands, and a name that only looks like one."""
    thin = bytes.fromhex("cffaedfe0c000001000000000600000000000000000000000000000000000000")
    path = made_wheel(tmp_path, "mac-1.0-cp311-cp311-macosx_11_0_arm64.whl", {"mac/x.dylib": thin, "mac/y.so": b"text"})
    library = inspect(str(path), matrix).libraries[0]
    assert (library.format, library.system, library.arch) == ("mach-o", "Darwin", ["aarch64"])


def test_zip64_and_nested_names(tmp_path: Path, matrix: Matrix) -> None:
    path = made_wheel(tmp_path, members={})
    with zipfile.ZipFile(path, "a") as archive, archive.open("kernels/a/b/x.so", "w", force_zip64=True) as file:
        file.write(KERNELS["kernels/lib/libkernels.so"])
    assert inspect(str(path), matrix).libraries[0].cuda is not None
