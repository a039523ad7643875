"""What packages load on Windows when they are imported or used, re-enacted by :mod:`envcheck.binaries.pe_search`.

>>> process = DllProcess(Windows("/mnt/c/venv", drives={"c": "/mnt/c"}))
>>> imported = import_package(process, "torch")
>>> imported.error              # None: the DLLs load

No Python code of a package runs. The table says, per package, which folders it gives to os.add_dll_directory and which
files it opens, read in the packages' own sources in November 2026; each row says where. A package that is not in it
adds the folder that delvewheel put beside it (``numpy.libs``), and its extension modules are opened by the caller.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from envcheck.binaries.pe_search import ALTERED, DEFAULT, NOT_FOUND, STANDARD, DllLoad, DllProcess

MAX_TEXT = 1 << 16


class Added(NamedTuple):
    """A folder that is given to os.add_dll_directory, where it exists."""

    path: str
    """Below ``{site}`` (a folder of sys.path), ``{prefix}``, ``{base}``, or that of an environment variable; ``*`` in
    its last part but one as in a shell."""
    unless: str = ""
    """Only where no folder so far holds such a file."""


class Opened(NamedTuple):
    """Files that are opened, one after the other."""

    file: str
    """Below a folder of sys.path, ``*`` in the last part as in a shell; with ``named`` the name alone."""
    named: bool = False
    search: str = DEFAULT
    again: bool = False
    """After error 126 tried once more with the old search, the added folders in front of PATH."""
    optional: bool = False
    """The package goes on without it."""


class DllImporter(NamedTuple):
    """What ``import`` of a package does."""

    first: tuple[str, ...]
    """Packages that it imports before."""
    adds: tuple[Added, ...]
    opens: tuple[Opened, ...]
    uses: Mapping[str, tuple[Opened, ...]]
    """What is loaded later, by what is used."""
    source: str


class ImportedDlls(NamedTuple):
    """The outcome."""

    package: str
    loads: list[DllLoad]
    """In order, those of packages imported before included."""
    absent: list[str]
    """Files that the package would open and that are not there."""
    error: str | None
    """Why the import ends; None: it does not, as far as DLLs go."""


def _named(*names: str) -> tuple[Opened, ...]:
    return tuple(Opened(name, named=True, optional=True) for name in names)


def _ort(name: str) -> tuple[Opened, ...]:
    return tuple(
        Opened(f"onnxruntime/capi/onnxruntime_providers_{part}.dll", search=ALTERED) for part in ("shared", name)
    )


RUNTIME = _named("vcruntime140.dll", "msvcp140.dll", "vcruntime140_1.dll")
ORT_CUDA = tuple(
    Opened(f"nvidia/{folder}/bin/{file}", optional=True)
    for folder, file in (
        ("cublas", "cublasLt64_12.dll"),
        ("cublas", "cublas64_12.dll"),
        ("cufft", "cufft64_11.dll"),
        ("cuda_runtime", "cudart64_12.dll"),
        ("cu13", "x86_64/cublasLt64_13.dll"),
        ("cu13", "x86_64/cublas64_13.dll"),
        ("cu13", "x86_64/cufft64_12.dll"),
        ("cu13", "x86_64/cudart64_13.dll"),
        ("cudnn", "cudnn_engines_runtime_compiled64_9.dll"),
        ("cudnn", "cudnn_engines_precompiled64_9.dll"),
        ("cudnn", "cudnn_heuristic64_9.dll"),
        ("cudnn", "cudnn_ops64_9.dll"),
        ("cudnn", "cudnn_adv64_9.dll"),
        ("cudnn", "cudnn_graph64_9.dll"),
        ("cudnn", "cudnn64_9.dll"),
        ("cudnn", "cudnn_engines_tensor_ir64_9.dll"),
    )
)
"""One of the two groups, by the major CUDA version of the build."""

DLL_IMPORTERS: dict[str, DllImporter] = {
    "torch": DllImporter(
        (),
        (
            Added("{site}/torch/lib"),
            Added("{prefix}/Library/bin"),
            Added("{base}/Library/bin"),
            Added("{prefix}/bin"),
            Added("{TORCH_CUDA}/bin", unless="cudart64*.dll"),
        ),
        (*RUNTIME, Opened("torch/lib/*.dll", again=True), Opened("torch/_C.*.pyd")),
        {},
        "torch 2.13.0, torch/__init__.py, _load_dll_libraries: flags 0x1100, then LoadLibraryW with PATH; a missing "
        "Visual C++ runtime only prints a hint",
    ),
    "torchvision": DllImporter(
        ("torch",),
        (Added("{site}/torchvision"),),
        (Opened("torchvision/_C*.pyd", optional=True), Opened("torchvision/image*.pyd", optional=True)),
        {},
        "pytorch/vision, torchvision/_internally_replaced_utils.py, _get_extension_path; failures only warn",
    ),
    "onnxruntime": DllImporter(
        (),
        (),
        (Opened("onnxruntime/capi/onnxruntime_pybind11_state*.pyd"),),
        {
            "cuda": _ort("cuda"),
            "tensorrt": _ort("tensorrt"),
            "openvino": _ort("openvino"),
            "preload_dlls": (*RUNTIME, *ORT_CUDA),
        },
        "onnxruntime 1.31.1, onnxruntime/__init__.py, preload_dlls (only when called); providers are opened with "
        "LOAD_WITH_ALTERED_SEARCH_PATH (onnxruntime/core/platform/windows/env.cc, LoadDynamicLibrary), which searches "
        "PATH and not the folders of os.add_dll_directory",
    ),
    "tensorflow": DllImporter(
        (),
        (),
        (Opened("tensorflow/python/_pywrap_tensorflow_internal.pyd"),),
        {},
        "tensorflow, tensorflow/python/platform/self_check.py: nothing is added; it only looks on PATH for the DLLs "
        "that build_info names",
    ),
    "paddle": DllImporter(
        (),
        (Added("{site}/paddle/libs"),),
        (Opened("paddle/base/libpaddle.pyd"),),
        {},
        "PaddlePaddle, python/paddle/base/core.py",
    ),
    "cupy": DllImporter(
        (),
        (Added("{CUDA_PATH}/bin"), Added("{CUDA_PATH}/bin/x64"), Added("{site}/cupy/.data/lib")),
        (Opened("cupy/_core/core.*.pyd"),),
        {},
        "cupy 15.0.0a1, cupy/_environment.py, _setup_win32_dll_directory; without CUDA_PATH it looks for nvcc on PATH",
    ),
    "ctranslate2": DllImporter(
        (),
        (
            Added("{site}/ctranslate2"),
            Added("{site}/_rocm_sdk_core/bin"),
            Added("{site}/_rocm_sdk_libraries*/bin"),
        ),
        (Opened("ctranslate2/*.dll"), Opened("ctranslate2/_ext.*.pyd")),
        {},
        "ctranslate2 4.8.5, ctranslate2/__init__.py",
    ),
}


def import_package(
    process: DllProcess, package: str, folders: Sequence[str] | None = None, use: str | None = None
) -> ImportedDlls:
    """Import a package from ``folders`` (of sys.path; by default the environment's own), and use a part of it.

    Raises KeyError for a use that the table does not have.
    """
    folders = [process.windows.site_packages] if folders is None else folders
    result = ImportedDlls(package, [], [], None)
    importer = DLL_IMPORTERS.get(package)
    if importer is None:
        if use is not None:
            raise KeyError(use)
        add_bundled(process, package, folders)
        return result
    error = _prepare(process, importer, package, folders, result)
    if error:
        return result._replace(error=error)
    for step in (*importer.opens, *(importer.uses[use] if use is not None else ())):
        error = _open(process, step, folders, result)
        if error and not step.optional:
            return result._replace(error=error)
    return result


def prepare(process: DllProcess, package: str, folders: Sequence[str]) -> str | None:
    """What comes before a package opens its own files: packages imported first, and the folders that it adds.

    None, or why it does not come to that.
    """
    importer = DLL_IMPORTERS.get(package)
    if importer is None:
        add_bundled(process, package, folders)
        return None
    return _prepare(process, importer, package, folders, ImportedDlls(package, [], [], None))


def _prepare(
    process: DllProcess, importer: DllImporter, package: str, folders: Sequence[str], result: ImportedDlls
) -> str | None:
    for other in importer.first:
        before = import_package(process, other, folders)
        result.loads.extend(before.loads)
        result.absent.extend(before.absent)
        if before.error:
            return before.error
    for added in importer.adds:
        _add(process, added, folders)
    add_bundled(process, package, folders)
    return None


def add_bundled(process: DllProcess, package: str, folders: Sequence[str]) -> str | None:
    """Add the folder of DLLs that delvewheel bundled with a package, as the patch in its ``__init__.py`` does."""
    tree = process.windows.folders
    for folder in folders:
        init = tree.path(folder, f"{package.replace('.', '/')}/__init__.py")
        if init is None:
            continue
        try:
            with open(init, "rb") as file:
                text = file.read(MAX_TEXT).decode("utf-8", "replace")
        except OSError:
            return None
        _, patch, rest = text.partition("def _delvewheel_")
        start = rest.partition(".libs")[0]
        name = start[max(start.rfind("'"), start.rfind('"')) + 1 :] if patch and ".libs" in rest else ""
        path = tree.path(folder, f"{name}.libs") if name and len(name) < 200 else None
        return path if path and process.add_folder(path) else None
    return None


def _add(process: DllProcess, added: Added, folders: Sequence[str]) -> None:
    tree = process.windows.folders
    if added.unless and any(tree.match(folder, added.unless) for folder in process.added):
        return
    root, _, below = added.path.partition("/")
    for base in _roots(process, root.strip("{}"), folders):
        first, star, last = below.partition("*/")
        if not star:
            process.add_folder(tree.path(base, below) or "")
            continue
        parent, _, start = first.rpartition("/")
        for found in tree.match(tree.path(base, parent) or "", f"{start}*"):
            process.add_folder(tree.path(found, last) or "")


def _roots(process: DllProcess, name: str, folders: Sequence[str]) -> list[str]:
    windows = process.windows
    if name == "site":
        return list(folders)
    if name == "TORCH_CUDA":
        path = _torch_cuda(process, folders)
    else:
        path = {"prefix": windows.prefix, "base": windows.base}.get(name) or windows.local(windows.env.get(name, ""))
    return [path] if path else []


def _torch_cuda(process: DllProcess, folders: Sequence[str]) -> str:
    """The toolkit of the CUDA that torch was built with: ``CUDA_PATH_V12_6``, or where NVIDIA installs it."""
    windows = process.windows
    for folder in folders:
        path = windows.folders.path(folder, "torch/version.py")
        if path is None:
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read(MAX_TEXT).splitlines()
        except OSError:
            return ""
        text = next((line.partition("=")[2].strip().strip("'\"") for line in lines if line.startswith("cuda")), "")
        if not text[:1].isdigit():
            return ""
        programs = windows.env.get("PROGRAMFILES", "C:\\Program Files")
        default = f"{programs}\\NVIDIA GPU Computing Toolkit\\CUDA\\v{text}"
        return windows.local(windows.env.get(f"CUDA_PATH_V{text.replace('.', '_')}", default))
    return ""


def _open(process: DllProcess, step: Opened, folders: Sequence[str], result: ImportedDlls) -> str | None:
    """None, or why the first of its files does not load."""
    if step.named:
        load = process.load_name(step.file, step.search)
        result.loads.append(load)
        return load.error or None
    below, _, name = step.file.rpartition("/")
    tree = process.windows.folders
    paths = next((found for one in folders if (found := tree.match(tree.path(one, below) or "", name))), [])
    if not paths:
        result.absent.append(step.file)
        return None if step.optional else f"{step.file}: no such file"
    for path in paths:
        load = process.load(path, step.search)
        result.loads.append(load)
        if load.code == NOT_FOUND and step.again:
            process.path = [*process.added, *(one for one in process.path if one not in process.added)]
            load = process.load(path, STANDARD)
            result.loads.append(load)
        if load.code:
            return f"{os.path.basename(path)}: {load.error}"
    return None
