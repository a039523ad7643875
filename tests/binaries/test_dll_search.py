"""The DLL search of Windows, re-enacted on made environments."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from made_pe import dll

from envcheck.binaries.dll_importers import DLL_IMPORTERS, import_package
from envcheck.binaries.pe_search import ALTERED, BAD_FORMAT, NOT_FOUND, STANDARD, DllProcess, Import, Windows
from envcheck.binaries.windows_dlls import always_there, is_api_set, is_runtime, sometimes_there

SITE = "venv/Lib/site-packages"
EXTENSION = ("python312.dll", "VCRUNTIME140.dll", "KERNEL32.dll", "api-ms-win-crt-heap-l1-1-0.dll")


def disk(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def machine(root: Path, files: Mapping[str, bytes | str], env: Mapping[str, str] | None = None) -> DllProcess:
    """A whole drive C: Windows, Python 3.12 and a venv."""
    system = {f"Windows/System32/{name}": dll() for name in ("kernel32.dll", "Dbghelp.dll", "VERSION.dll")}
    names = ("python.exe", "python312.dll", "python3.dll", "vcruntime140.dll")
    python = {f"Python312/{name}": dll() for name in names}
    config = {"venv/pyvenv.cfg": "home = C:\\Python312\nversion = 3.12.4\n", "venv/Scripts/python.exe": dll()}
    disk(root, {**system, **python, **config, f"{SITE}/readme.txt": "", **files})
    return DllProcess(Windows(str(root / "venv"), drives={"C": str(root)}, env=env))


def places(found: list[Import], root: Path) -> dict[str, tuple[str, str]]:
    return {one.name: (one.where, one.path.removeprefix(f"{root}/")) for one in found}


def test_an_extension_of_a_whole_machine(tmp_path: Path) -> None:
    process = machine(tmp_path, {f"{SITE}/pkg/_C.pyd": dll((*EXTENSION, "Helper.DLL", "DBGHELP.dll"), ("later.dll",)),
                                 f"{SITE}/pkg/helper.dll": dll(("version.dll",))})  # fmt: skip
    load = process.load(str(tmp_path / SITE / "pkg/_C.pyd"))
    assert (load.code, load.error, load.missing, load.unknown) == (0, "", [], [])
    assert places(load.imports, tmp_path) == {
        "python312.dll": ("loaded", "Python312/python312.dll"),
        "VCRUNTIME140.dll": ("loaded", "Python312/vcruntime140.dll"),
        "KERNEL32.dll": ("system", "Windows/System32/kernel32.dll"),
        "api-ms-win-crt-heap-l1-1-0.dll": ("api-set", ""),
        "Helper.DLL": ("file", f"{SITE}/pkg/helper.dll"),
        "DBGHELP.dll": ("system", "Windows/System32/Dbghelp.dll"),
        "version.dll": ("system", "Windows/System32/VERSION.dll"),
    }
    assert [(one.name, one.where) for one in load.delayed] == [("later.dll", "missing")]


def test_every_missing_dll_is_found_at_once(tmp_path: Path) -> None:
    process = machine(tmp_path, {f"{SITE}/pkg/_C.pyd": dll(("a.dll", "gone.dll", "MSVCP140.dll")),
                                 f"{SITE}/pkg/a.dll": dll(("nvcuda.dll", "gone.dll", "VCRUNTIME140_1.dll"))},
    )  # fmt: skip
    load = process.load(str(tmp_path / SITE / "pkg/_C.pyd"))
    assert load.code == NOT_FOUND
    assert load.error == "gone.dll, imported by _C.pyd: not found"
    assert [(one.name, Path(one.by).name) for one in load.missing] == [
        ("gone.dll", "_C.pyd"), ("MSVCP140.dll", "_C.pyd"), ("nvcuda.dll", "a.dll"), ("gone.dll", "a.dll"),
        ("VCRUNTIME140_1.dll", "a.dll"),
    ]  # fmt: skip
    told = {one.name: one.problem for one in load.missing}
    assert "Microsoft Visual C++ Redistributable" in told["MSVCP140.dll"]
    assert "driver" in told["nvcuda.dll"]
    # What was loaded on the way is let go.
    assert "a.dll" not in process.loaded


def test_path_is_not_searched_and_added_folders_are(tmp_path: Path) -> None:
    files = {f"{SITE}/pkg/_C.pyd": dll(("a.dll",)), "tools/a.dll": dll(),
             "x/b.dll": dll(("c.dll",)), "tools/c.dll": dll()}  # fmt: skip
    process = machine(tmp_path, files, env={"Path": "C:\\Windows;C:\\tools"})
    path = str(tmp_path / SITE / "pkg/_C.pyd")
    assert process.load(path).code == NOT_FOUND
    assert process.load(path, ALTERED).code == process.load(path, STANDARD).code == 0
    process = machine(tmp_path, files)
    assert process.add_folder(process.windows.local("C:\\TOOLS"))
    assert not process.add_folder(process.windows.local("C:\\nowhere"))
    assert process.load(path).imports[0].path == str(tmp_path / "tools/a.dll")
    # ... but not by onnxruntime's providers.
    assert process.load(str(tmp_path / "x/b.dll")).code == 0
    process = machine(tmp_path, {})
    process.add_folder(str(tmp_path / "tools"))
    assert process.load(str(tmp_path / "x/b.dll"), ALTERED).code == NOT_FOUND


def test_the_folder_of_the_opened_file_counts_for_all(tmp_path: Path) -> None:
    """That of a DLL on the way does not: ``added/a.dll`` does not find ``added/b.dll`` by itself."""
    files = {f"{SITE}/pkg/_C.pyd": dll(("a.dll",)), f"{SITE}/pkg/b.dll": dll(), "added/a.dll": dll(("b.dll", "c.dll")),
             "added/b.dll": dll(), f"{SITE}/pkg/sub/c.dll": dll()}  # fmt: skip
    process = machine(tmp_path, files)
    process.add_folder(str(tmp_path / "added"))
    load = process.load(str(tmp_path / SITE / "pkg/_C.pyd"))
    assert [one.name for one in load.missing] == ["c.dll"]
    assert {one.name: one.path for one in load.imports}["b.dll"] == str(tmp_path / SITE / "pkg/b.dll")


def test_what_is_loaded_already_serves(tmp_path: Path) -> None:
    process = machine(tmp_path, {"one/a.dll": dll(), "two/a.dll": dll(), "two/b.dll": dll(("A.DLL",))})
    assert process.load(str(tmp_path / "one/a.dll")).code == 0
    [found] = process.load(str(tmp_path / "two/b.dll")).imports
    assert (found.where, found.path) == ("loaded", str(tmp_path / "one/a.dll"))


def test_decoys_of_known_dlls_and_of_other_architectures(tmp_path: Path) -> None:
    files = {f"{SITE}/pkg/_C.pyd": dll(("kernel32.dll", "a.dll")), f"{SITE}/pkg/kernel32.dll": dll(),
             f"{SITE}/pkg/a.dll": dll(machine=0x14C), "x/text.dll": "text", "x/_D.pyd": dll(("text.dll",))}  # fmt: skip
    process = machine(tmp_path, files)
    load = process.load(str(tmp_path / SITE / "pkg/_C.pyd"))
    assert load.imports[0].path == str(tmp_path / "Windows/System32/kernel32.dll")
    assert (load.code, load.imports[1].problem) == (BAD_FORMAT, "it is for i686, not x86_64")
    assert "no DLL" in process.load(str(tmp_path / "x/_D.pyd")).error
    assert process.load(str(tmp_path / SITE / "pkg/a.dll")).code == BAD_FORMAT
    assert process.load(str(tmp_path / "nowhere.dll")).code == BAD_FORMAT


def test_needs_in_a_circle(tmp_path: Path) -> None:
    process = machine(tmp_path, {"x/a.dll": dll(("b.dll",)), "x/b.dll": dll(("a.dll", "b.dll"))})
    assert process.load(str(tmp_path / "x/a.dll")).code == 0


def test_without_the_system_and_the_interpreter(tmp_path: Path) -> None:
    """An environment's folder alone: what lies elsewhere is not called missing."""
    names = (*EXTENSION, "vcruntime140_1.dll", "MSVCP140.dll", "dxgi.dll", "dxcore.dll", "nvcuda.dll", "mine.dll")
    disk(tmp_path, {f"{SITE}/pkg/_C.pyd": dll(names), "venv/pyvenv.cfg": "home = C:\\Python312\n"})
    process = DllProcess(Windows(str(tmp_path / "venv")))
    load = process.load(str(tmp_path / SITE / "pkg/_C.pyd"))
    assert {one.name: one.where for one in load.imports} == {
        "python312.dll": "python", "VCRUNTIME140.dll": "python", "vcruntime140_1.dll": "python",
        "KERNEL32.dll": "system", "dxgi.dll": "system", "dxcore.dll": "system",
        "api-ms-win-crt-heap-l1-1-0.dll": "api-set",
        "MSVCP140.dll": "redistributable", "nvcuda.dll": "driver", "mine.dll": "missing",
    }  # fmt: skip
    assert [one.name for one in load.unknown] == ["MSVCP140.dll", "nvcuda.dll"]


def test_the_lists() -> None:
    assert len(always_there()) > 2500
    assert {"kernel32.dll", "ucrtbase.dll", "dxgi.dll", "bcrypt.dll", "dbghelp.dll"} <= always_there()
    assert not {"msvcp140.dll", "vcruntime140.dll", "nvcuda.dll", "onnxruntime.dll"} & (
        always_there() | sometimes_there()
    )
    assert is_api_set("API-MS-Win-Core-Path-L1-1-0.dll")
    assert not is_runtime("msvcp_win.dll")
    assert is_runtime("vcruntime140_threads.dll")


# Packages


def torch(**more: bytes | str) -> dict[str, bytes | str]:
    return {f"{SITE}/torch/version.py": "__version__ = '2.6.0+cu126'\ncuda: Optional[str] = '12.6'\n",
            f"{SITE}/torch/_C.cp312-win_amd64.pyd": dll((*EXTENSION, "torch_python.dll")),
            f"{SITE}/torch/lib/torch_python.dll": dll(("torch_cpu.dll",)),
            f"{SITE}/torch/lib/torch_cpu.dll": dll(("c10.dll", "cudart64_12.dll")),
            f"{SITE}/torch/lib/c10.dll": dll(("KERNEL32.dll",)), **more}  # fmt: skip


def test_torch_finds_its_own_folder_and_the_toolkit(tmp_path: Path) -> None:
    toolkit = "Program Files/NVIDIA GPU Computing Toolkit/CUDA/v12.6/bin/cudart64_12.dll"
    process = machine(tmp_path, torch(**{toolkit: dll()}))
    result = import_package(process, "torch")
    assert result.error is None
    assert [Path(one).name for one in process.added] == ["lib", "bin"]
    assert process.loaded["cudart64_12.dll"] == str(tmp_path / toolkit)
    # With a copy of its own, the toolkit is not added.
    process = machine(tmp_path, {f"{SITE}/torch/lib/cudart64_12.dll": dll()})
    assert import_package(process, "torch").error is None
    assert len(process.added) == 1
    assert process.loaded["cudart64_12.dll"] == str(tmp_path / SITE / "torch/lib/cudart64_12.dll")


def test_torch_falls_back_to_path(tmp_path: Path) -> None:
    process = machine(tmp_path, torch(**{"tools/cudart64_12.dll": dll()}), env={"PATH": "C:\\tools"})
    result = import_package(process, "torch")
    assert result.error is None
    assert [load.code for load in result.loads if load.path.endswith("torch_cpu.dll")] == [NOT_FOUND, 0]


def test_torch_without_a_library(tmp_path: Path) -> None:
    result = import_package(machine(tmp_path, torch()), "torch")
    assert result.error == "torch_cpu.dll: cudart64_12.dll, imported by torch_cpu.dll: not found"
    result = import_package(machine(tmp_path / "none", {}), "torch")
    assert (result.error, result.absent) == ("torch/lib/*.dll: no such file", ["torch/lib/*.dll"])


def test_providers_of_onnxruntime_need_path_or_preloading(tmp_path: Path) -> None:
    capi, nvidia = f"{SITE}/onnxruntime/capi", f"{SITE}/nvidia"
    files = {f"{capi}/onnxruntime_pybind11_state.pyd": dll(EXTENSION),
             f"{capi}/onnxruntime_providers_shared.dll": dll(("KERNEL32.dll",)),
             f"{capi}/onnxruntime_providers_cuda.dll": dll(("cublas64_12.dll", "onnxruntime_providers_shared.dll")),
             f"{nvidia}/cublas/bin/cublas64_12.dll": dll(("cublasLt64_12.dll",)),
             f"{nvidia}/cublas/bin/cublasLt64_12.dll": dll()}  # fmt: skip
    process = machine(tmp_path, files)
    assert import_package(process, "onnxruntime").error is None
    error = import_package(process, "onnxruntime", use="cuda").error or ""
    assert error.startswith("onnxruntime_providers_cuda.dll: cublas64_12.dll")
    process = machine(tmp_path, {})
    assert import_package(process, "onnxruntime", use="preload_dlls").error is None
    assert import_package(process, "onnxruntime", use="cuda").error is None
    process = machine(tmp_path, {}, env={"PATH": "C:\\venv\\Lib\\site-packages\\nvidia\\cublas\\bin"})
    assert import_package(process, "onnxruntime", use="cuda").error is None
    with pytest.raises(KeyError):
        import_package(process, "onnxruntime", use="nothing")


PATCH = """\"\"\"A package.\"\"\"
# start delvewheel patch
def _delvewheel_patch_1_11_2():
    import os
    if os.path.isdir(libs_dir := os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, 'pkg.libs'))):
        os.add_dll_directory(libs_dir)
"""


@pytest.mark.parametrize(("init", "code"), [(PATCH, 0), ("import os\n", NOT_FOUND)])
def test_dlls_that_delvewheel_bundled(tmp_path: Path, init: str, code: int) -> None:
    process = machine(tmp_path, {f"{SITE}/pkg/__init__.py": init, f"{SITE}/pkg.libs/msvcp140-a4c2.dll": dll(),
                                 f"{SITE}/pkg/_x.pyd": dll(("msvcp140-a4c2.dll",))})  # fmt: skip
    import_package(process, "pkg")
    assert process.load(str(tmp_path / SITE / "pkg/_x.pyd")).code == code


def test_conda_adds_its_folders_by_itself(tmp_path: Path) -> None:
    disk(tmp_path, {"env/python.exe": dll(), "env/conda-meta/history": "", "env/Library/bin/mkl_rt.2.dll": dll(),
                    "env/Lib/site-packages/numpy/_x.pyd": dll(("mkl_rt.2.dll",)), "env/msvcp140.dll": dll()},
    )  # fmt: skip
    process = DllProcess(Windows(str(tmp_path / "env")))
    assert process.load(str(tmp_path / "env/Lib/site-packages/numpy/_x.pyd")).code == 0
    assert process.load_name("MSVCP140").imports[0].path == str(tmp_path / "env/msvcp140.dll")


def test_other_packages_of_the_table(tmp_path: Path) -> None:
    files = {f"{SITE}/paddle/libs/common.dll": dll(), f"{SITE}/paddle/base/libpaddle.pyd": dll(("common.dll",)),
             f"{SITE}/ctranslate2/ctranslate2.dll": dll(), f"{SITE}/ctranslate2/_ext.cp312-win_amd64.pyd": dll(),
             f"{SITE}/_rocm_sdk_libraries_gfx1100/bin/x.dll": dll(), "cuda/bin/cublas64_12.dll": dll(),
             f"{SITE}/cupy/_core/core.cp312-win_amd64.pyd": dll(("cublas64_12.dll",))}  # fmt: skip
    process = machine(tmp_path, files, env={"CUDA_PATH": "C:\\cuda"})
    for package in ("paddle", "ctranslate2", "cupy"):
        assert import_package(process, package).error is None, package
    assert str(tmp_path / SITE / "_rocm_sdk_libraries_gfx1100/bin") in process.added
    assert all(importer.source for importer in DLL_IMPORTERS.values())
