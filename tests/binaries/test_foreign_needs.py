"""``envcheck inspect`` of single Windows and macOS files: where their needs come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from made_macho import dylib
from made_pe import dll

from envcheck.inspection.model import Need
from envcheck.inspection.resolve_foreign import expected_of_windows
from envcheck.inspection.subject import inspect
from envcheck.matrix import Matrix


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


def written(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def needs(path: Path, matrix: Matrix) -> dict[str, Need]:
    return {need.name: need for need in inspect(str(path), matrix).libraries[0].needs}


def test_an_extension_of_windows(tmp_path: Path, matrix: Matrix) -> None:
    names = ("python312.dll", "KERNEL32.dll", "MSVCP140.dll", "a.dll", "nvcuda.dll", "cudart64_12.dll")
    site = written(tmp_path / "Lib/site-packages", {
        "pkg/_C.cp312-win_amd64.pyd": dll(names, ("Later.dll", "SHELL32.dll")), "pkg/A.dll": dll(("deep.dll",)),
    })  # fmt: skip
    found = needs(site / "pkg/_C.cp312-win_amd64.pyd", matrix)
    assert {name: need.where for name, need in found.items()} == {
        "python312.dll": "python", "KERNEL32.dll": "system", "MSVCP140.dll": "system", "a.dll": "file",
        "nvcuda.dll": "driver", "cudart64_12.dll": "missing", "deep.dll": "missing", "Later.dll": "system",
        "SHELL32.dll": "system",
    }  # fmt: skip
    assert found["a.dll"].path == str(site / "pkg/A.dll")
    assert found["deep.dll"].by == str(site / "pkg/A.dll")
    assert found["MSVCP140.dll"].problem == "of the Microsoft Visual C++ Redistributable"
    assert found["cudart64_12.dll"].package.startswith("nvidia-cuda-runtime")
    assert "first called" in found["Later.dll"].problem


def test_a_mounted_disk_is_looked_into(tmp_path: Path, matrix: Matrix) -> None:
    written(tmp_path, {"Windows/System32/msvcp140.dll": dll(), "Windows/System32/kernel32.dll": dll(),
                       "py/python.exe": dll(), "venv/pyvenv.cfg": "home = C:\\py"})  # fmt: skip
    path = "venv/Lib/site-packages/pkg/_C.pyd"
    written(tmp_path, {path: dll(("MSVCP140.dll", "KERNEL32.dll", "VCRUNTIME140.dll", "nvcuda.dll"))})
    found = needs(tmp_path / path, matrix)
    assert found["MSVCP140.dll"].path == str(tmp_path / "Windows/System32/msvcp140.dll")
    assert (found["VCRUNTIME140.dll"].where, found["nvcuda.dll"].where) == ("missing", "driver")
    assert "Redistributable" in found["VCRUNTIME140.dll"].problem


def test_what_extends_torch_comes_after_it(tmp_path: Path, matrix: Matrix) -> None:
    files: dict[str, bytes | str] = {"x/_C.pyd": dll(("torch_cpu.dll", "c10.dll")), "x-1.dist-info/METADATA": ""}
    found = needs(written(tmp_path, files) / "x/_C.pyd", matrix)
    assert [(need.where, need.package) for need in found.values()] == [("missing", "torch")] * 2
    torch: dict[str, bytes | str] = {"torch/lib/c10.dll": dll(), "torch/lib/torch_cpu.dll": dll(("c10.dll",)),
                                     "torch/_C.cp312-win_amd64.pyd": dll(("torch_cpu.dll",))}  # fmt: skip
    found = needs(written(tmp_path, torch) / "x/_C.pyd", matrix)
    assert [(need.where, need.path) for need in found.values()] == [
        ("file", str(tmp_path / "torch/lib/torch_cpu.dll")), ("file", str(tmp_path / "torch/lib/c10.dll")),
    ]  # fmt: skip


def test_an_extension_of_macos(tmp_path: Path, matrix: Matrix) -> None:
    loads = ("/usr/lib/libSystem.B.dylib", "@loader_path/../.dylibs/libomp.dylib", "@loader_path/gone.dylib",
             "/opt/homebrew/lib/libx.dylib", "@rpath/liby.dylib")  # fmt: skip
    written(tmp_path, {"pkg/sub/_x.so": dylib(loads, rpaths=("/Users/runner/lib",), weak=("@loader_path/w.dylib",)),
                       "pkg/.dylibs/libomp.dylib": dylib(("@loader_path/deep.dylib",))})  # fmt: skip
    found = needs(tmp_path / "pkg/sub/_x.so", matrix)
    assert {name.rpartition("/")[2]: need.where for name, need in found.items()} == {
        "libSystem.B.dylib": "system", "libomp.dylib": "file", "gone.dylib": "missing", "libx.dylib": "unknown",
        "liby.dylib": "unknown", "w.dylib": "system", "deep.dylib": "missing",
    }  # fmt: skip
    assert found["@loader_path/../.dylibs/libomp.dylib"].path == str(tmp_path / "pkg/.dylibs/libomp.dylib")
    assert "not here" in found["/opt/homebrew/lib/libx.dylib"].problem
    # With the disk of a Mac around it, what is not there is missing.
    (tmp_path / "System/Library").mkdir(parents=True)
    found = needs(tmp_path / "pkg/sub/_x.so", matrix)
    assert found["@loader_path/../.dylibs/libomp.dylib"].path == str(tmp_path / "pkg/.dylibs/libomp.dylib")
    assert found["@loader_path/deep.dylib"].by == str(tmp_path / "pkg/sub/../.dylibs/libomp.dylib")
    assert found["/opt/homebrew/lib/libx.dylib"].where == found["@rpath/liby.dylib"].where == "missing"


def test_damaged_ones_say_so(tmp_path: Path, matrix: Matrix) -> None:
    path = tmp_path / "x.dll"
    path.write_bytes(dll(("a.dll",))[:900])
    assert inspect(str(path), matrix).libraries[0].problem


def test_dlls_that_a_wheel_expects() -> None:
    places = {name: expected_of_windows(name) for name in ("VCRUNTIME140.dll", "MSVCP140_1.dll", "KERNEL32.dll")}
    assert [(need.where, need.problem) for need in places.values()] == [
        ("python", ""), ("system", "of the Microsoft Visual C++ Redistributable"), ("system", ""),
    ]  # fmt: skip
