"""Needs of a wheel's own files as the loader would meet them once it is installed, and on machines elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import made_library, made_wheel

from envcheck.core.snapshot import Snapshot
from envcheck.inspection import Inspection, inspect
from envcheck.inspection.judge import judge_there
from envcheck.inspection.overlay import Layout
from envcheck.inspection.resolve import NO_WAY
from envcheck.matrix import Matrix
from envcheck.render.inspection import render_inspection

CUBLAS = "Requires-Dist: nvidia-cublas-cu12"
NEEDS = ("libcublas.so.12",)


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


def needs(found: Inspection, file: str) -> dict[str, tuple[str, str, str]]:
    library = next(one for one in found.libraries if one.path.endswith(file))
    return {need.name: (need.where, need.path or need.package, need.problem) for need in library.needs}


def look(
    tmp_path: Path, matrix: Matrix, members: dict[str, bytes], metadata: str = "", tag: str = "manylinux_2_28_x86_64"
) -> Inspection:
    return inspect(str(made_wheel(tmp_path, f"k-1.0-cp311-cp311-{tag}.whl", members, metadata)), matrix)


def test_origin_among_the_members(tmp_path: Path, matrix: Matrix) -> None:
    found = look(
        tmp_path,
        matrix,
        {
            "k/_C.abi3.so": made_library(needed=("liba.so",), runpath="$ORIGIN/../k.libs"),
            "k.libs/liba.so": made_library(soname="liba.so", needed=("libb.so",), runpath="$ORIGIN"),
            "k.libs/libb.so": made_library(soname="libb.so"),
            "k/other.abi3.so": made_library(needed=("liba.so",)),
        },
    )
    assert needs(found, "_C.abi3.so") == {"liba.so": ("wheel", "k.libs/liba.so", "")}
    assert needs(found, "liba.so") == {"libb.so": ("wheel", "k.libs/libb.so", "")}
    assert needs(found, "other.abi3.so") == {"liba.so": ("wheel", "k.libs/liba.so", NO_WAY)}
    text = render_inspection(found, width=100, color=False, encoding="utf-8")
    assert "in the wheel: libb.so, liba.so" in text


def test_an_rpath_counts_for_what_is_loaded_and_a_runpath_does_not(tmp_path: Path, matrix: Matrix) -> None:
    parts = {
        "k/lib/liba.so": made_library(soname="liba.so", needed=("libb.so",)),
        "k/lib/libb.so": made_library(soname="libb.so"),
    }
    old = look(tmp_path, matrix, {"k/_C.abi3.so": made_library(needed=("liba.so",), rpath="$ORIGIN/lib"), **parts})
    assert needs(old, "liba.so")["libb.so"] == ("wheel", "k/lib/libb.so", "")
    new = look(tmp_path, matrix, {"k/_C.abi3.so": made_library(needed=("liba.so",), runpath="$ORIGIN/lib"), **parts})
    assert needs(new, "liba.so")["libb.so"] == ("wheel", "k/lib/libb.so", NO_WAY)


@pytest.mark.parametrize(
    ("runpath", "problem"),
    [("$ORIGIN/../nvidia/cublas/lib", ""), ("$ORIGIN/../nvidia/cudnn/lib", NO_WAY), (None, NO_WAY)],
)
def test_the_way_to_a_required_package(tmp_path: Path, matrix: Matrix, runpath: str | None, problem: str) -> None:
    found = look(tmp_path, matrix, {"k/_C.abi3.so": made_library(needed=NEEDS, runpath=runpath)}, CUBLAS)
    assert needs(found, "_C.abi3.so") == {"libcublas.so.12": ("package", "nvidia-cublas-cu12", problem)}


def test_a_framework_loads_them_first(tmp_path: Path, matrix: Matrix) -> None:
    found = look(tmp_path, matrix, {"k/_C.abi3.so": made_library(needed=NEEDS)}, "Requires-Dist: torch")
    assert needs(found, "_C.abi3.so") == {"libcublas.so.12": ("package", "nvidia-cublas-cu12", "")}


def test_a_search_path_into_a_required_package_that_no_table_has(tmp_path: Path, matrix: Matrix) -> None:
    members = {"k/_C.abi3.so": made_library(needed=("libspecial.so.3",), runpath="$ORIGIN/../special_libs/lib")}
    found = look(tmp_path, matrix, members, "Requires-Dist: special-libs")
    assert needs(found, "_C.abi3.so")["libspecial.so.3"][:2] == ("package", "special-libs")
    found = look(tmp_path, matrix, members)
    assert needs(found, "_C.abi3.so")["libspecial.so.3"][0] == "unknown"
    assert "it can't be told: libspecial.so.3" in render_inspection(found, width=120, color=False, encoding="utf-8")


def test_what_the_policy_lists_is_the_systems(tmp_path: Path, matrix: Matrix) -> None:
    names = ("libc.so.6", "libz.so.1", "ld-linux-x86-64.so.2", "libgomp.so.1", "libGL.so.1")
    found = look(tmp_path, matrix, {"k/_C.abi3.so": made_library(needed=names)})
    where = {name: one[0] for name, one in needs(found, "_C.abi3.so").items()}
    assert where == {**dict.fromkeys(names, "system"), "libgomp.so.1": "unknown"}


def test_data_files_lie_below_the_prefix(tmp_path: Path, matrix: Matrix) -> None:
    assert Layout("/p", "/p/lib/s").place("k-1.0.data/data/lib/libx.so") == "/p/lib/libx.so"
    assert Layout("/p", "/p/lib/s").place("k-1.0.data/platlib/k/x.so") == "/p/lib/s/k/x.so"
    assert Layout.anywhere(["cp311-cp311-any"]).site.endswith("/lib/python3.11/site-packages")
    members = {
        "k/_C.abi3.so": made_library(needed=("liba.so",), runpath="$ORIGIN/../../.."),
        "k-1.0.data/data/lib/liba.so": made_library(soname="liba.so"),
    }
    found = look(tmp_path, matrix, members)
    assert needs(found, "_C.abi3.so") == {"liba.so": ("wheel", "k-1.0.data/data/lib/liba.so", "")}


@pytest.mark.parametrize(
    "runpath",
    ["$ORIGIN/" + "../" * 400, "/" + "x" * 70000, "$ORIGIN:$ORIGIN/a:" * 3000, "${ORIGIN}/\x01", "$LIB:$PLATFORM"],
)
def test_hostile_search_paths(tmp_path: Path, matrix: Matrix, runpath: str) -> None:
    members = {"k/_C.abi3.so": made_library(needed=("liba.so",), runpath=runpath), "liba.so": made_library()}
    assert needs(look(tmp_path, matrix, members), "_C.abi3.so")


def test_libraries_that_need_each_other_in_circles(tmp_path: Path, matrix: Matrix) -> None:
    count = 60
    names = tuple(f"lib{number}.so" for number in range(count))
    members = {f"k/{name}": made_library(soname=name, needed=names, runpath="$ORIGIN") for name in names}
    found = look(tmp_path, matrix, members)
    assert all(need.where == "wheel" for one in found.libraries for need in one.needs)
    # Here too the search is given up in time: 60 files with 60 needs each are 216,000 steps.
    judge_there(found, Snapshot.from_facts({"os": "linux"}), matrix, here=True)
    assert all(need.where == "wheel" for one in found.libraries for need in one.needs)


# On a machine whose files are not here


def there(found: Inspection, matrix: Matrix, **facts: Any) -> dict[str, tuple[str, str, str]]:
    place = Snapshot.from_facts({"os": "linux", "cpu": "x86_64", "python": "3.11", **facts})
    judge_there(found, place, matrix)
    return needs(found, found.libraries[0].path)


def test_a_package_that_is_installed_there_and_one_that_is_not(tmp_path: Path, matrix: Matrix) -> None:
    members = {"k/_C.abi3.so": made_library(needed=("libtorch_cpu.so", "libcublas.so.12"))}
    found = look(tmp_path, matrix, members)
    with_torch = there(found, matrix, packages={"torch": "2.13.0", "nvidia-cublas-cu12": "12.4.5.8"})
    assert with_torch["libtorch_cpu.so"] == ("package", "torch", "2.13.0, installed there but not required")
    assert with_torch["libcublas.so.12"][0] == "package"
    found = look(tmp_path, matrix, members)
    without = there(found, matrix, packages={"numpy": "2.3.4"})
    assert without["libtorch_cpu.so"][0] == "missing"
    assert without["libcublas.so.12"][0] == "unknown"  # nobody looked for it in the system
    assert found.report is not None
    assert found.report.findings[0].rule == "missing-shared-library"
    assert "libtorch_cpu.so" in found.report.findings[0].message
    found = look(tmp_path, matrix, members)
    assert {one[0] for one in there(found, matrix).values()} == {"unknown"}
    assert found.report is not None
    assert found.report.verdict == "inconclusive"


def test_pip_would_replace_what_does_not_fit(tmp_path: Path, matrix: Matrix) -> None:
    found = look(tmp_path, matrix, {"k/_C.abi3.so": made_library(needed=("libc10.so",))}, "Requires-Dist: torch==2.6.0")
    there(found, matrix, packages={"torch": "2.13.0"})
    assert "pip would replace it" in found.notes[-1]
    assert found.report is not None
    assert "extension-abi-mismatch" not in [one.rule for one in found.report.findings]


@pytest.mark.slow
def test_wheels_from_the_index_bring_what_they_need(tmp_path: Path, matrix: Matrix) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(tmp_path),
    ]
    command += [
        "--platform",
        "manylinux_2_28_x86_64",
        "--platform",
        "manylinux_2_27_x86_64",
        "--python-version",
        "3.12",
    ]
    ran = subprocess.run([*command, "numpy==2.3.4"], capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode:
        pytest.skip(f"no index: {ran.stderr[-200:]}")
    (path,) = tmp_path.glob("*.whl")
    found = inspect(str(path), matrix)
    told = [need for library in found.libraries for need in library.needs]
    assert {need.where for need in told} == {"wheel", "system"}
    assert not [need for need in told if need.problem]
