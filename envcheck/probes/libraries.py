"""Shared libraries of the CUDA world, TensorRT and OpenMP on disk, with versions.

Places, in this order (a file that was found is not listed twice):

1. Wheels: site-packages/nvidia/*/lib, tensorrt_libs, torch/lib, paddle/libs and the ``*.libs`` folders of repaired
   wheels. Only these are listed, site-packages is not walked.
2. The folders of LD_LIBRARY_PATH.
3. The lib folder of the conda environment that this interpreter is of, or that its venv stands on.
4. The loader's cache; without one its default folders.
5. The lib folders of CUDA toolkits.

A version comes from the real file's name, else from the distribution that brings the library; the number of a soname
is not taken for a version (libcudart.so.11.0 is that of every CUDA 11).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envcheck.core.snapshot import Absent, Library, Package, Text, Unknown, known
from envcheck.probes import loader
from envcheck.probes.conda import CondaPrefix, own_prefixes
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import canonical

DISTRIBUTIONS = {
    "cudart": "nvidia-cuda-runtime",
    "cublas": "nvidia-cublas",
    "cublasLt": "nvidia-cublas",
    "cufft": "nvidia-cufft",
    "curand": "nvidia-curand",
    "cusolver": "nvidia-cusolver",
    "cusparse": "nvidia-cusparse",
    "cusparseLt": "nvidia-cusparselt",
    "cudnn": "nvidia-cudnn",
    "nccl": "nvidia-nccl",
    "nvshmem_host": "nvidia-nvshmem",
    "nvrtc": "nvidia-cuda-nvrtc",
    "nvJitLink": "nvidia-nvjitlink",
    "cupti": "nvidia-cuda-cupti",
    "cufile": "nvidia-cufile",
    "nvinfer": "tensorrt",
    "nvinfer_plugin": "tensorrt",
    "nvinfer_lean": "tensorrt-lean",
    "nvinfer_dispatch": "tensorrt-dispatch",
    "nvonnxparser": "tensorrt",
    "cuda": "",
    "iomp5": "",
    "iomp5md": "",
    "omp": "",
    "gomp": "",
}
"""Stem of a file name -> name of the wheel that brings it, which ends in ``-cu11``, ``-cu12`` or nothing more."""

OPENMP = ("iomp5", "iomp5md", "omp", "gomp")
DLL_PREFIXES = ("cu", "nv", "libiomp5", "libomp")

HEADER_FOLDERS = ("/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu")
MAX_FOLDERS = 64
"""No more folders of LD_LIBRARY_PATH are listed."""


def probe(
    host: Host, log: Log, packages: list[Package] | Absent | Unknown
) -> tuple[list[Library] | Absent | Unknown, Text]:
    """The libraries, and the version of the cuDNN outside of wheels; never raises for what it finds."""
    info = _python_info(host, log)
    search = _Search(host, log, {package.name: package.version for package in known(packages) or ()})
    sites = _texts(info.get("site"))
    for site in sites:
        search.wheels(site)
    search.folders(loader.library_path(host)[:MAX_FOLDERS], "LD_LIBRARY_PATH")
    own = own_prefixes(host, info)
    for prefix in own:
        search.conda = CondaPrefix(host, prefix)
        search.folders([f"{prefix}/lib"] if host.platform != "win32" else [rf"{prefix}\Library\bin"], "conda")
    search.conda = None
    for prefix in _texts([info.get("prefix")]):
        if prefix not in own and not search.packages.keys().isdisjoint(("intel-openmp", "mkl")):
            search.folders([f"{prefix}/lib"] if host.platform != "win32" else [rf"{prefix}\Library\bin"], "wheel")
    if host.platform == "linux":
        search.loader()
    search.folders(_toolkit_folders(host), "toolkit")
    if search.found:
        return search.found, _system_cudnn(host, log, search.found)
    if not sites:
        return Unknown("the folders of site-packages are not known"), _system_cudnn(host, log, [])
    return Absent("no CUDA, TensorRT or OpenMP library was found"), _system_cudnn(host, log, [])


def _python_info(host: Host, log: Log) -> dict[str, Any]:
    with log.attempt("libraries", "python-info") as attempt:
        try:
            info = host.query("python-info")
        except ValueError as error:
            attempt.failed(str(error))
            return {}
        if isinstance(info, dict):
            attempt.found()
            return info
        attempt.failed("not an object")
    return {}


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str) and text] if isinstance(value, list) else []


def stem_of(file: str) -> str | None:
    """``libcudart-d0da41ae.so.11.0`` -> ``cudart``, ``cublas64_12.dll`` -> ``cublas``; None for every other library."""
    if file.startswith(loader.PREFIXES) and (".so" in file or file.endswith(".dylib")):
        stem = file[3:].partition(".")[0]
        name, dash, tail = stem.rpartition("-")
        # auditwheel and PyTorch put eight digits of a hash behind the names of their copies.
        stem = name if dash and len(tail) == 8 and not tail.strip("0123456789abcdef") else stem
    elif file.endswith(".dll") and file.startswith(DLL_PREFIXES):
        stem = file[:-4].removeprefix("lib").partition(".")[0]
        stem = "cuda" if stem == "nvcuda" else stem.partition("64_")[0].rstrip("0123456789_")
        stem = "iomp5md" if stem.startswith("iomp5") else stem
    else:
        return None
    if stem.startswith("cudnn_") and "static" not in stem:
        return "cudnn"
    return stem if stem in DISTRIBUTIONS else None


def version_of(file: str, stem: str) -> str | None:
    """The version in a file's name; a soname alone tells none."""
    if stem in OPENMP:
        return None
    version = loader.version_in_name(file)
    if version is None or (version.count(".") < 2 and not (stem == "cuda" and len(version.partition(".")[0]) == 3)):
        return None
    return version


class _Search:
    """What was found so far."""

    def __init__(self, host: Host, log: Log, packages: dict[str, Text]) -> None:
        self.host, self.log, self.packages = host, log, packages
        self.found: list[Library] = []
        self.conda: CondaPrefix | None = None
        """The environment that is being listed."""
        self.seen_folders: set[str] = set()
        self.seen_files: set[str] = set()

    def wheels(self, site: str) -> None:
        with self.log.attempt("libraries", site) as attempt:
            before, windows = len(self.found), self.host.platform == "win32"
            names = self.host.listdir(site)
            if "nvidia" in names:
                for part in self._names(f"{site}/nvidia"):
                    folder = f"{site}/nvidia/{part}"
                    for place in ("bin", "bin/x86_64") if windows else ("lib",):
                        self.folder(f"{folder}/{place}", "wheel", "nvidia")
            for name in names:
                if name in ("tensorrt_libs", "tensorrt_lean_libs", "tensorrt_dispatch_libs"):
                    self.folder(f"{site}/{name}", "wheel", "tensorrt")
                elif name == "torch":
                    self.folder(f"{site}/torch/lib", "wheel", "torch")
                elif name == "paddle":
                    self.folder(f"{site}/paddle/libs", "wheel", "paddle")
                elif name.endswith(".libs"):
                    self.folder(f"{site}/{name}", "wheel", canonical(name[:-5]))
                elif name in ("sklearn", "functorch") and self.host.platform == "darwin":
                    self.folder(f"{site}/{name}/.dylibs", "wheel", name)
            if len(self.found) > before:
                attempt.found(f"{len(self.found) - before} libraries")

    def folders(self, folders: Iterable[str], origin: str) -> None:
        for folder in folders:
            with self.log.attempt("libraries", folder) as attempt:
                before = len(self.found)
                self.folder(folder, origin, "", missing_ok=False)
                if len(self.found) > before:
                    attempt.found(f"{len(self.found) - before} libraries, {origin}")

    def _names(self, folder: str) -> list[str]:
        try:
            return self.host.listdir(folder)
        except OSError:
            return []

    def folder(self, folder: str, origin: str, owner: str, *, missing_ok: bool = True) -> None:
        """List one folder. ``owner``: ``nvidia`` or ``tensorrt`` for their wheels, else the distribution itself."""
        names = self._names(folder) if missing_ok else self.host.listdir(folder)
        groups: dict[str, list[str]] = {}
        for name in names:
            if name.startswith(loader.PREFIXES if not name.endswith(".dll") else DLL_PREFIXES) and stem_of(name):
                groups.setdefault(name.partition(".so")[0], []).append(name)
        if not groups:
            return
        real_folder = self.host.realpath(folder)
        if real_folder in self.seen_folders:
            return
        self.seen_folders.add(real_folder)
        for group in groups.values():
            self._group(folder, group, origin, owner)

    def _group(self, folder: str, names: list[str], origin: str, owner: str) -> None:
        """libx.so, libx.so.1 and libx.so.1.2.3 are mostly one file: follow the sonames, list what no link led to."""
        if len(names) == 1 and origin == "wheel":
            # Wheels hold no links.
            self._add(names[0], f"{folder}/{names[0]}", names[0], origin, owner)
            return
        reached: set[str] = set()
        numbered = [name for name in names if name.partition(".so.")[2]]
        for name in sorted(numbered or names, key=lambda name: (name.count("."), name)):
            path = f"{folder}/{name}"
            real = self.host.realpath(path)
            if real in reached or real in self.seen_files:
                continue
            reached.add(real)
            self.seen_files.add(real)
            self._add(name, path, real.rpartition("/")[2], origin, owner)

    def _add(self, name: str, path: str, real_name: str, origin: str, owner: str) -> None:
        stem = stem_of(name) or ""
        package, told = self._distribution(stem, name, owner)
        if self.conda is not None and (found := self.conda.owner(stem, real_name)) is not None:
            # Of the whole toolkit in one package, the version is not that of its libraries.
            package, told = found[0], None if found[0] == "cudatoolkit" else found[1]
        version: Text
        if "/stubs/" in path:
            version = Absent("a stub: for linking only")
        else:
            version = (
                version_of(real_name, stem)
                or told
                or self._stated(path, stem)
                or Unknown(f"the name {real_name} tells none")
            )
        self.found.append(
            Library(
                name=name, version=version, path=path, origin=origin, package=package or Absent("of no distribution")
            )
        )

    def _stated(self, path: str, stem: str) -> str | None:
        """What the version resource of a DLL says; a release of CUDA alone is not the library's version."""
        if self.host.platform != "win32" or stem in OPENMP:
            return None
        try:
            told = self.host.query("dll-version", path)
        except (OSError, ValueError):
            return None
        if len(parts := _texts(told)) != 2:
            return None
        library, version = parts
        library = "nvinfer" if library == "tensorrt" else library
        return version if stem.lower().startswith(library) and version.count(".") >= 2 else None

    def _distribution(self, stem: str, name: str, owner: str) -> tuple[Text | None, Text | None]:
        """(distribution, its version where that is the library's too)."""
        if owner not in ("nvidia", "tensorrt"):
            return (owner or None), None
        base = DISTRIBUTIONS.get(stem, "")
        if not base or not self.packages:
            return Unknown("the distribution is not known"), None
        if owner == "tensorrt":
            wanted = [name for name in self.packages if name.startswith(base) and name.endswith("-libs")]
            wanted = wanted or [name for name in self.packages if name == base]
        else:
            wanted = [base + suffix for suffix in ("", "-cu11", "-cu12", "-cu13") if base + suffix in self.packages]
            # The -cu13 wheels of most libraries are empty (0.0.1).
            wanted = [name for name in wanted if self.packages[name] != "0.0.1"]
        if len(wanted) == 1:
            return wanted[0], self.packages[wanted[0]]
        if wanted:
            why = Unknown(f"{' and '.join(wanted)} both bring {name}")
            return why, why
        return Unknown(f"no installed distribution is known to bring {name}"), None

    def loader(self) -> None:
        """What the loader finds by itself."""
        with self.log.attempt("libraries", loader.CACHE) as attempt:
            cached = loader.cached(self.host)
            if cached is None:
                attempt.absent("not there")
            else:
                before = len(self.found)
                for name, paths in cached.items():
                    stem = stem_of(name)
                    # The name without a number is the linker's, not the loader's.
                    if stem is None or (name.endswith(".so") and stem not in OPENMP):
                        continue
                    for path in paths:
                        self._cached(name, path)
                attempt.found(f"{len(self.found) - before} libraries")
                return
        for folder in (*loader.DEFAULT_FOLDERS, *loader.CONFIGURED_FOLDERS):
            self.folder(folder, "default-folder", "")

    def _cached(self, name: str, path: str) -> None:
        real = self.host.realpath(path)
        if real in self.seen_files or self.host.realpath(path.rpartition("/")[0]) in self.seen_folders:
            return
        self.seen_files.add(real)
        if self.host.exists(real):
            self._add(name, path, real.rpartition("/")[2], "loader-cache", "")


def _toolkit_folders(host: Host) -> list[str]:
    roots = [host.env.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH", "CUDNN_PATH")]
    if host.platform == "win32":
        return [rf"{root}\{place}" for root in dict.fromkeys(roots) if root for place in ("bin", r"bin\x64")]
    try:
        roots += [f"/usr/local/{name}" for name in host.listdir("/usr/local") if name.startswith("cuda")]
    except OSError:
        pass
    reals = dict.fromkeys(host.realpath(root) for root in (*roots, "/opt/cuda") if root)
    places = [f"{root}/{place}" for root in reals for place in ("lib64", "lib", "lib64/stubs")]
    return [place for place in places if host.isdir(place)]


def _system_cudnn(host: Host, log: Log, libraries: list[Library]) -> Text:
    """Version of the cuDNN that the loader finds first outside of wheels."""
    order = {"LD_LIBRARY_PATH": 0, "conda": 1, "loader-cache": 2, "default-folder": 2, "toolkit": 3}
    outside = [library for library in libraries if library.origin in order and _is_main_cudnn(library.name)]
    if not outside:
        return Absent("no cuDNN outside of wheels")
    first = min(outside, key=lambda library: order[str(library.origin)])
    if isinstance(first.version, str):
        return first.version
    near = str(first.path).rpartition("/")[0].rpartition("/")[0]
    for folder in dict.fromkeys((f"{near}/include", *HEADER_FOLDERS)):
        for file in ("cudnn_version.h", "cudnn.h"):
            with log.attempt("cudnn", f"{folder}/{file}") as attempt:
                if version := parse_cudnn_header(host.read(f"{folder}/{file}", 1 << 18)):
                    attempt.found(version)
                    return version
                attempt.failed("no version in it")
    return Unknown(f"{first.path} tells no version, and no cudnn_version.h was found")


def _is_main_cudnn(name: str) -> bool:
    return name.startswith(("libcudnn.so", "cudnn64_"))


def parse_cudnn_header(text: str) -> str | None:
    """``#define CUDNN_MAJOR 9`` ... in cudnn_version.h (cuDNN 7: cudnn.h)."""
    numbers = []
    for part in ("MAJOR", "MINOR", "PATCHLEVEL"):
        _, found, rest = text.partition(f"#define CUDNN_{part} ")
        word = rest.split(None, 1)[0] if found and rest.split(None, 1) else ""
        if not (word.isascii() and word.isdigit() and len(word) < 6):
            return None
        numbers.append(word)
    return ".".join(numbers)
