"""Libraries on this machine: compiled ones, installed packages, and wheels from the index (slow)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import made_library, made_wheel

from envcheck.core.snapshot import Snapshot
from envcheck.inspection import Inspection, inspect
from envcheck.inspection.disk import resolve_here
from envcheck.inspection.judge import judge
from envcheck.inspection.model import Library, Need
from envcheck.inspection.stack import missing
from envcheck.inspection.subject import open_wheel
from envcheck.matrix import Matrix
from envcheck.render.inspection import render_inspection

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="re-enacts the loader of Linux")
GCC = shutil.which("gcc")


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


def compiled(folder: Path, name: str, *options: str, code: str = "int f(void) { return 1; }") -> Path:
    path = folder / name
    (folder / "f.c").write_text(code)
    command = [GCC or "", "-shared", "-fPIC", "-o", str(path), str(folder / "f.c"), "-Wl,--no-as-needed", *options]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.mark.skipif(GCC is None, reason="no compiler")
def test_where_a_compiled_library_finds_what_it_needs(tmp_path: Path, matrix: Matrix) -> None:
    (tmp_path / "lib").mkdir()
    gone = compiled(tmp_path, "libgone.so.3", "-Wl,-soname,libgone.so.3")
    inner = compiled(tmp_path / "lib", "libinner.so", "-Wl,-soname,libinner.so", str(gone))
    outer = compiled(tmp_path, "outer.so", str(inner), "-Wl,-rpath,$ORIGIN/lib", "-lm")
    (found,) = inspect(str(outer), matrix).libraries
    assert [need.name for need in found.needs if need.where == "missing"] == ["libgone.so.3"]
    gone.unlink()
    (found,) = inspect(str(outer), matrix).libraries
    needs = {need.name: need for need in found.needs}
    assert Path(needs["libinner.so"].path).samefile(inner)
    assert needs["libm.so.6"].where == "file"
    assert needs["libgone.so.3"].where == "missing"
    assert Path(needs["libgone.so.3"].by).samefile(inner)
    assert found.symbols["GLIBC"]


@pytest.mark.skipif(GCC is None, reason="no compiler")
def test_a_library_that_gets_in_the_way(tmp_path: Path, matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("lib", "decoy"):
        (tmp_path / folder).mkdir()
        compiled(tmp_path / folder, "libinner.so", "-Wl,-soname,libinner.so")
    path = compiled(
        tmp_path, "outer.so", str(tmp_path / "lib" / "libinner.so"), "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib"
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "decoy"))
    found = inspect(str(path), matrix)
    need = next(one for one in found.libraries[0].needs if one.name == "libinner.so")
    assert need.path.startswith(str(tmp_path / "decoy"))
    assert "lib/libinner.so is meant, by runpath" in need.problem
    assert "comes from" in render_inspection(found, width=100, color=False, encoding="utf-8")
    assert found.missing == []


@pytest.mark.skipif(GCC is None, reason="no compiler")
@pytest.mark.parametrize("level", [2, 3, 4])
def test_the_mark_that_the_linker_writes(tmp_path: Path, matrix: Matrix, level: int) -> None:
    if subprocess.run([GCC or "", "-dumpmachine"], capture_output=True, text=True).stdout.partition("-")[0] != "x86_64":
        pytest.skip("another architecture")
    path = compiled(tmp_path, "marked.so", f"-Wl,-z,x86-64-v{level}")
    assert inspect(str(path), matrix).libraries[0].cpu_level == f"x86-64-v{level}"
    plain = compiled(tmp_path, "plain.so")
    assert inspect(str(plain), matrix).libraries[0].cpu_level is None


def test_programs_are_read_as_programs(matrix: Matrix) -> None:
    (found,) = inspect(str(Path(sys.executable).resolve()), matrix).libraries
    assert found.problem == ""
    assert {need.where for need in found.needs} <= {"file", "python"}


def test_what_the_system_lacks_is_missing_here(tmp_path: Path, matrix: Matrix) -> None:
    members = {"kernels/_C.abi3.so": made_library(needed=("libc.so.6", "libnowhere-at-all.so.7"))}
    path = made_wheel(tmp_path, "kernels-1.0-py3-none-any.whl", members)
    found = inspect(str(path), matrix)
    resolve_here(found, matrix)
    where = {need.name: need.where for need in found.libraries[0].needs}
    if found.libraries[0].arch == [__import__("os").uname().machine]:
        assert where == {"libc.so.6": "file", "libnowhere-at-all.so.7": "missing"}
        source, wheel = open_wheel(str(path))
        with source:
            report = judge(found, wheel, Snapshot.from_facts({"os": "linux", "python": "3.11"}), matrix)
        assert report.verdict == "problem"
        assert "libnowhere-at-all.so.7" in report.findings[0].message


def test_what_only_one_of_many_modules_lacks_is_a_warning() -> None:
    gone = Need(name="libgone.so", where="missing")
    inside = Need(name="libx.so", where="wheel", path="p/libx.so")
    parts = [
        Library(path="p/a.abi3.so", python_abi="abi3", needs=[inside]),
        Library(path="p/b.abi3.so", python_abi="abi3"),
        Library(path="p/libx.so", needs=[gone]),
    ]
    assert missing(Inspection(subject="p", kind="wheel", libraries=parts)) == {"libgone.so": False}
    parts[1].needs = [inside]
    assert missing(Inspection(subject="p", kind="wheel", libraries=parts)) == {"libgone.so": True}


def test_installed_packages_of_this_environment_miss_nothing(matrix: Matrix) -> None:
    from importlib.metadata import distributions

    read = 0
    for distribution in list(distributions())[:80]:
        name = distribution.metadata["Name"]
        if not any(str(file).endswith(".so") for file in distribution.files or ()):
            continue
        found = inspect(name, matrix)
        read += 1
        assert found.missing == [], name
        assert not [library.path for library in found.libraries if library.problem], name
    assert read


WHEELS = [
    (("msgspec==0.20.0",), "manylinux2014_x86_64", "Linux", "x86_64"),
    (("msgspec==0.20.0",), "win_amd64", "Windows", "x86_64"),
    (("msgspec==0.20.0",), "macosx_11_0_arm64", "Darwin", "aarch64"),
    (("xformers==0.0.35",), "manylinux_2_28_x86_64", "Linux", "x86_64"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "platform", "system", "arch"), WHEELS)
def test_wheels_from_the_index(
    tmp_path: Path, matrix: Matrix, what: tuple[str, ...], platform: str, system: str, arch: str
) -> None:
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
    command += ["--platform", platform, "--python-version", "3.12", *what]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode:
        pytest.skip(f"no index: {ran.stderr[-200:]}")
    (path,) = tmp_path.glob("*.whl")
    found = inspect(str(path), matrix)
    (library,) = found.libraries
    assert (library.system, library.arch, library.problem) == (system, [arch], "")
    assert library.needs
    if what[0].startswith("xformers"):
        assert library.cuda is not None
        assert library.cuda.fat_binaries == 11
        rows = {row.capability: row.percent for row in library.cuda.coverage}
        assert (rows["7.0"], rows["8.0"], rows["9.0"], rows["12.0"]) == (0, 100, 100, 100)


@pytest.mark.slow
def test_gpu_code_in_a_windows_wheel(tmp_path: Path, matrix: Matrix) -> None:
    """19 MB; a DLL with machine code up to 8.6 and PTX 8.7, which CUDA 12.8 brought."""
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
    command += ["--platform", "win_amd64", "--python-version", "3.11", "ctranslate2==4.8.0"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode:
        pytest.skip(f"no index: {ran.stderr[-200:]}")
    (path,) = tmp_path.glob("*.whl")
    found = inspect(str(path), matrix)
    (coded,) = [library for library in found.libraries if library.cuda is not None]
    assert coded.cuda is not None
    assert (coded.system, coded.cuda.fat_binaries, coded.cuda.damaged) == ("Windows", 25, 0)
    rows = {row.capability: row for row in coded.cuda.coverage}
    assert (rows["8.9"].machine_code, rows["9.0"].ptx, rows["9.0"].driver_cuda) == (25, 25, "12.8")
    source, wheel = open_wheel(str(path))
    facts = {"os": "windows", "cpu": "x86_64", "python": "3.11", "gpus": [{"name": "NVIDIA H100 PCIe"}]}
    with source:
        old = judge(found, wheel, Snapshot.from_facts({**facts, "driver": {"cuda": "12.2"}}), matrix)
        new = judge(found, wheel, Snapshot.from_facts({**facts, "driver": {"cuda": "12.8"}}), matrix)
    assert "lives on PTX alone" in old.findings[0].message
    assert not new.findings


@pytest.mark.slow
def test_needs_are_those_that_ldd_finds(tmp_path: Path, matrix: Matrix) -> None:
    """Of every extension module of this environment."""
    ldd = shutil.which("ldd")
    if ldd is None:
        pytest.skip("no ldd")
    program = "import json, sys, sysconfig; print(json.dumps(sysconfig.get_paths()['platlib']))"
    folder = Path(json.loads(subprocess.check_output([sys.executable, "-c", program], timeout=60)))
    compared = 0
    for path in sorted(folder.rglob("*.so"))[:40]:
        (library,) = inspect(str(path), matrix).libraries
        said = subprocess.run([ldd, str(path)], capture_output=True, text=True, timeout=60, check=False).stdout
        places = {line.split()[0]: line.split()[2] for line in said.splitlines() if " => /" in line}
        for need in library.needs:
            if need.where == "file" and need.name in places:
                assert Path(need.path).samefile(places[need.name])
                compared += 1
    assert compared
