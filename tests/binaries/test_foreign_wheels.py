"""The searches of Windows and macOS over real wheels, unpacked into a folder."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
sys.path.insert(0, str(Path(__file__).parent))
from test_foreign_bytes import read_macho, read_pe, read_version
from test_fuzz_loading import mutated

from envcheck.binaries.dll_importers import import_package
from envcheck.binaries.dylib_search import DylibProcess
from envcheck.binaries.library_version import library_version
from envcheck.binaries.pe_search import DllProcess, Windows
from envcheck.inspection.subject import inspect
from envcheck.matrix import Matrix

WINDOWS = ["--platform", "win_amd64"]
MACOS = [part for number in (11, 12, 13, 14) for part in ("--platform", f"macosx_{number}_0_arm64")]


def unpacked(folder: Path, package: str, platforms: list[str]) -> Path:
    """The wheel's files in ``Lib/site-packages`` of ``folder``."""
    site = folder / "Lib/site-packages"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    done = subprocess.run(
        [*command, "--python-version", "3.12", *platforms, package], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot download {package}: {done.stderr[-200:]}")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as whole:
            whole.extractall(site)
        wheel.unlink()
    return site


@pytest.mark.slow
def test_numpy_for_windows(tmp_path: Path) -> None:
    """Its OpenBLAS and C++ runtime lie in numpy.libs, which only the patch of delvewheel adds to the search."""
    site = unpacked(tmp_path, "numpy==2.3.5", WINDOWS)
    files = sorted(site.glob("numpy/**/*.pyd"))
    bare = [DllProcess(Windows(str(tmp_path))).load(str(file)) for file in files]
    needy = {Path(load.path).name.partition(".")[0] for load in bare if load.code}
    assert {"_multiarray_umath", "_umath_linalg"} <= needy
    process = DllProcess(Windows(str(tmp_path)))
    import_package(process, "numpy")
    assert [load.error for load in map(process.load, map(str, files)) if load.code or load.unknown] == []
    shown = inspect(str(site / "numpy/linalg/_umath_linalg.cp312-win_amd64.pyd"), Matrix.load())
    assert not shown.missing
    assert any(need.where == "file" and "openblas" in need.path for need in shown.libraries[0].needs)


@pytest.mark.slow
def test_onnxruntime_for_windows(tmp_path: Path) -> None:
    """It brings no C++ runtime: whether that is installed can't be told without System32."""
    site = unpacked(tmp_path, "onnxruntime==1.23.2", WINDOWS)
    process = DllProcess(Windows(str(tmp_path)))
    done = import_package(process, "onnxruntime")
    assert done.error is None
    names = {one.name.lower() for load in done.loads for one in load.unknown}
    assert {"msvcp140.dll"} <= names <= {"msvcp140.dll", "msvcp140_1.dll", "vcruntime140_1.dll"}
    told = library_version(str(site / "onnxruntime/capi/onnxruntime.dll"))
    assert told is not None
    assert (told.name, told.version) == ("onnxruntime", "1.23")
    # With a System32 that has none, it is missing.
    (tmp_path / "Windows/System32").mkdir(parents=True)
    (tmp_path / "python.exe").write_bytes(b"")
    process = DllProcess(Windows(str(tmp_path), drives={"c": str(tmp_path)}))
    assert "msvcp140.dll" in {
        one.name.lower() for load in import_package(process, "onnxruntime").loads for one in load.missing
    }


@pytest.mark.slow
def test_cuda_runtime_for_windows(tmp_path: Path) -> None:
    site = unpacked(tmp_path, "nvidia-cuda-runtime-cu12==12.9.79", WINDOWS)
    told = library_version(str(site / "nvidia/cuda_runtime/bin/cudart64_12.dll"))
    assert told is not None
    assert (told.name, told.version, told.symbol) == ("cudart", "12.9", "version resource")


@pytest.mark.slow
def test_scikit_learn_for_macos(tmp_path: Path) -> None:
    """Its libomp lies in sklearn/.dylibs, whose files the extensions name by @loader_path."""
    site = unpacked(tmp_path, "scikit-learn==1.7.2", MACOS)
    files = sorted(site.glob("sklearn/**/*.so"))
    loads = [DylibProcess().load(str(file)) for file in files]
    assert len(loads) > 50
    assert [load.error for load in loads if load.error] == []
    openmp = {one.path for load in loads for one in load.needs if one.where == "file"}
    assert {Path(path).resolve() for path in openmp} == {site / "sklearn/.dylibs/libomp.dylib"}
    (site / "sklearn/.dylibs/libomp.dylib").unlink()
    load = DylibProcess().load(str(site / "sklearn/utils/_openmp_helpers.cpython-312-darwin.so"))
    assert [one.name for one in load.missing] == ["@loader_path/../.dylibs/libomp.dylib"]
    shown = inspect(str(site / "sklearn/utils/_openmp_helpers.cpython-312-darwin.so"), Matrix.load())
    assert [need.name for need in shown.missing] == ["@loader_path/../.dylibs/libomp.dylib"]


@pytest.mark.slow
@pytest.mark.parametrize(("platforms", "suffix", "read"), [(WINDOWS, ".pyd", read_pe), (MACOS, ".so", read_macho)])
def test_mutations_of_real_files(
    tmp_path: Path, platforms: list[str], suffix: str, read: Callable[[bytes], None]
) -> None:
    site = unpacked(tmp_path, "msgspec==0.19.0", platforms)
    [file] = site.glob(f"msgspec/_core*{suffix}")
    data, slowest = file.read_bytes(), 0.0
    for seed in range(2000):
        mutant = mutated(random.Random(seed), data)
        begun = time.process_time()
        read(mutant)
        read_version(mutant)
        slowest = max(slowest, time.process_time() - begun)
    assert slowest < 2, "a hang"
