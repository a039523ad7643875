"""What importers load, on made wheels; and the loader's answers that no listing shows: elsewhere, versions, symbols."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import made_elf
import pytest

from envcheck.binaries.files import Files
from envcheck.binaries.importers import IMPORTERS, TORCH_PRELOADS
from envcheck.binaries.importing import import_package
from envcheck.binaries.loading import Process
from envcheck.binaries.symbols import undefined_symbols

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="paths of Linux")
CUDA = {
    "cublas": ("libcublas.so.12", "libcublasLt.so.12"), "cudnn": ("libcudnn.so.9",), "cufft": ("libcufft.so.11",),
    "cuda_nvrtc": ("libnvrtc.so.12", "libnvrtc-builtins.so.12.8"), "cuda_runtime": ("libcudart.so.12",),
    "cuda_cupti": ("libcupti.so.12",), "curand": ("libcurand.so.10",), "nvjitlink": ("libnvJitLink.so.12",),
    "cusparse": ("libcusparse.so.12",), "cusparselt": ("libcusparseLt.so.0",), "cusolver": ("libcusolver.so.11",),
    "nccl": ("libnccl.so.2",), "nvshmem": ("libnvshmem_host.so.3",), "cufile": ("libcufile.so.0",),
}  # fmt: skip


def put(path: Path, *needed: str, soname: str | None = "", **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made_elf.library(path.name if soname == "" else soname, needed, **more))  # type: ignore[arg-type]
    return path


def cuda_wheels(site: Path) -> None:
    for folder, files in CUDA.items():
        for file in files:
            put(site / "nvidia" / folder / "lib" / file)


def torch(site: Path, runpath: str | None = None) -> None:
    put(site / "torch/lib/libtorch_global_deps.so", "libcudart.so.12", "libcudnn.so.9", runpath=runpath)
    put(site / "torch/lib/libtorch_cuda.so", "libcublas.so.12", "libcudnn.so.9", runpath="$ORIGIN")
    put(site / "torch/_C.cpython-311-x86_64-linux-gnu.so", "libtorch_cuda.so", soname=None, runpath="$ORIGIN/lib")
    (site / "torch/version.py").write_text("__version__ = '2.8.0'\ncuda: Optional[str] = '12.8'\n")


def process(root: Path, **env: str) -> Process:
    return Process(Files(str(root)), env=env, machine="x86_64")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return tmp_path


def test_torch_preloads_what_its_runpath_does_not_reach(root: Path) -> None:
    torch(root / "site")
    cuda_wheels(root / "site")
    imported = import_package(process(root), "torch", ["/site"])
    assert imported.error is None
    first, *rest = imported.loads
    assert [need.name for need in first.missing] == ["libcudart.so.12", "libcudnn.so.9"]
    assert len(rest) == len(TORCH_PRELOADS) - 1 + 2  # no NVTX; the second try; _C
    assert {need.step for need in rest[-1].needs if need.by} == {"loaded", "runpath"}


def test_torch_without_one_preload_fails_by_its_name(root: Path) -> None:
    torch(root / "site")
    cuda_wheels(root / "site")
    (root / "site/nvidia/nccl/lib/libnccl.so.2").unlink()
    assert import_package(process(root), "torch", ["/site"]).error == "libnccl.so.*[0-9] not found in the system path"


def test_torch_after_success_preloads_too_but_does_not_mind(root: Path) -> None:
    torch(root / "site", "$ORIGIN/../../nvidia/cuda_runtime/lib:$ORIGIN/../../nvidia/cudnn/lib")
    cuda_wheels(root / "site")
    (root / "site/nvidia/cufft/lib/libcufft.so.11").unlink()
    running = process(root)
    imported = import_package(running, "torch", ["/site"])
    assert imported.error is None
    assert running.find("libcublas.so.12") is not None
    assert running.find("libcurand.so.10") is None  # the preloads end at the first one that is not there


def test_an_unrelated_error_of_torch_is_its_own(root: Path) -> None:
    torch(root / "site")
    put(root / "site/torch/lib/libtorch_global_deps.so", "libgomp-0.so.1")
    assert (import_package(process(root), "torch", ["/site"]).error or "").startswith("libgomp-0.so.1: cannot open")


def test_onnxruntime_finds_what_torch_loaded(root: Path) -> None:
    torch(root / "site")
    cuda_wheels(root / "site")
    capi = root / "site/onnxruntime/capi"
    put(capi / "onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so", soname=None, runpath="$ORIGIN")
    put(capi / "libonnxruntime_providers_shared.so")
    put(capi / "libonnxruntime_providers_cuda.so", "libcublas.so.12", "libcudnn.so.9", soname=None)
    alone = import_package(process(root), "onnxruntime", ["/site"], use="cuda")
    assert (alone.error or "").startswith("libcublas.so.12: cannot open")
    assert [need.name for load in alone.failed for need in load.missing] == ["libcublas.so.12", "libcudnn.so.9"]
    running = process(root)
    import_package(running, "torch", ["/site"])
    assert import_package(running, "onnxruntime", ["/site"], use="cuda").error is None
    running = process(root)
    assert import_package(running, "onnxruntime", ["/site"], use="preload_dlls").error is None
    assert import_package(running, "onnxruntime", ["/site"], use="cuda").error is None


def test_tensorflow_searches_from_its_framework_library(root: Path) -> None:
    cuda_wheels(root / "site")
    put(
        root / "site/tensorflow/libtensorflow_framework.so.2",
        runpath="$ORIGIN/../nvidia/cudnn/lib:$ORIGIN/../nvidia/cublas/lib",
    )
    put(
        root / "site/tensorflow/python/_pywrap_tensorflow_internal.so",
        "libtensorflow_framework.so.2",
        soname=None,
        runpath="$ORIGIN/..",
    )
    imported = import_package(process(root), "tensorflow", ["/site"], use="cuda")
    assert imported.error is None
    assert [load.name for load in imported.failed] == [
        "libcudart.so.12", "libcufft.so.11", "libcusolver.so.11", "libcusparse.so.12",
    ]  # fmt: skip


def test_every_row_has_a_source() -> None:
    for name, importer in IMPORTERS.items():
        assert importer.source, name
        assert set(importer.first) <= set(IMPORTERS)


def test_elsewhere(root: Path) -> None:
    put(root / "w/libs/libomp-1.so", soname="libomp-1.so")
    put(root / "other/libomp-1.so")
    put(root / "w/a.so", "libomp-1.so", soname=None, runpath="$ORIGIN/libs")
    load = process(root, LD_LIBRARY_PATH="/other").dlopen("/w/a.so")
    assert [(e.need.path, e.need.step, e.meant, e.by) for e in load.elsewhere] == [
        ("/other/libomp-1.so", "library-path", "/w/libs/libomp-1.so", "runpath")
    ]
    assert process(root).dlopen("/w/a.so").elsewhere == []
    running = process(root)
    running.dlopen("/other/libomp-1.so")
    [found] = running.dlopen("/w/a.so").elsewhere
    assert (found.need.step, found.meant) == ("loaded", "/w/libs/libomp-1.so")


def test_a_failed_load_leaves_nothing_behind(root: Path) -> None:
    put(root / "a/libx.so", "liby.so", "libgone.so", runpath="$ORIGIN")
    put(root / "a/liby.so")
    running = process(root)
    before = list(running.loaded)
    load = running.dlopen("/a/libx.so")
    assert load.failed
    assert running.loaded == before
    assert running.find("liby.so") is None


def test_versions(root: Path) -> None:
    put(root / "a/libv.so.1", defines=("V_1",))
    put(root / "a/x.so", "libv.so.1", runpath="$ORIGIN", needs={"libv.so.1": ("V_1", "V_2", "V_3")}, weak=("V_2",))
    load = process(root).dlopen("/a/x.so")
    assert [(lack.version, lack.weak) for lack in load.lacking_versions] == [("V_2", True), ("V_3", False)]
    assert load.error == "/a/libv.so.1: version `V_3' not found (required by /a/x.so)"


def test_a_cut_off_library(root: Path) -> None:
    path = put(root / "a/x.so")
    path.write_bytes(path.read_bytes()[:-8])
    assert "cut off" in (process(root).dlopen("/a/x.so").error or "") or "damaged" in (
        process(root).dlopen("/a/x.so").error or ""
    )


@pytest.mark.skipif(not shutil.which("g++"), reason="no compiler here")
def test_undefined_symbols_of_another_abi(tmp_path: Path) -> None:
    """An extension built with the old C++ ABI against a library with the new one, and against another release of it."""
    (tmp_path / "lib.cc").write_text("#include <string>\nstd::string name(std::string s) { return s; }\n")
    (tmp_path / "ext.cc").write_text(
        "#include <string>\nstd::string name(std::string); int gone(int);\n"
        'extern "C" int go() { return name("x").size() + gone(1); }\n'
    )
    for source, target, more in (
        ("lib.cc", "libbase.so", []),
        ("ext.cc", "ext.so", ["-D_GLIBCXX_USE_CXX11_ABI=0", f"-L{tmp_path}", "-lbase", "-Wl,-rpath,$ORIGIN"]),
    ):
        subprocess.run(
            ["g++", "-shared", "-fPIC", "-O1", "-o", target, source, *more], cwd=tmp_path, check=True, env=os.environ
        )
    load = Process(Files(), sys.executable).dlopen(str(tmp_path / "ext.so"))
    assert load.error is None
    names = {found.symbol.name for found in undefined_symbols(load)}
    assert names == {"_Z4nameSs", "_Z4gonei"}
