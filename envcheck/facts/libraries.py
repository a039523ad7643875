"""The shared libraries of the CUDA world that the stack has, and those that were found missing.

The number in a file name is not the CUDA release: CUDA 12 has libcufft.so.11 and libcurand.so.10. Which CUDA a name
belongs to is asked of the table `sonames`; a name can belong to several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Library, Unknown, known
from envcheck.facts import Facts
from envcheck.versions import numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.matrix import Matrix

LOADABLE = ("LD_LIBRARY_PATH", "conda", "loader-cache", "default-folder", "stated")
"""Origins from which the loader takes a library without help."""

_CUDA_IN_NAME = ("cudart", "cublas", "cublaslt", "nvrtc", "nvblas", "nvjitlink")
"""Libraries whose number is the CUDA major release; decides where the table has no row (CUDA 9, 10)."""

_MINOR_IN_NAME = (("cudart", 9), ("cudart", 10), ("nvrtc", 9), ("nvrtc", 10), ("nvrtc", 11))
"""Libraries whose soname carries the minor release too: libcudart.so.10.1 does not serve a program built with 10.2."""

_TORCH_BRINGS = ("cudart", "cublas", "cublaslt", "cufft", "curand", "cusolver", "cusparse", "nvrtc")


class LibraryName(Struct, frozen=True):
    """What a file name says: ``libcudnn_ops_infer.so.8`` is (``cudnn_ops_infer``, 8)."""

    stem: str
    """Lower case, without ``lib`` and what wheels add (a hash, ``64``)."""
    number: int | None
    """First number of the soname or DLL; in DLLs of CUDA 9 to 11 ``110`` means 11."""

    @property
    def family(self) -> str:
        """``cudnn`` and ``nvinfer`` for all parts of cuDNN and TensorRT, else the stem."""
        for family in ("cudnn", "nvinfer"):
            if self.stem.startswith(family):
                return family
        return self.stem


def parse_name(text: str) -> LibraryName | None:
    """The name of a shared library (Linux, Windows or macOS; a path may stand before it); None for other text."""
    file = text.replace("\\", "/").rpartition("/")[2].strip()
    lower = file.lower()
    if lower.endswith(".dll"):
        return _dll(lower[:-4])
    if lower.endswith(".dylib"):
        stem, _, number = lower[:-6].partition(".")
        return LibraryName(stem.removeprefix("lib"), _first(number))
    stem, so, number = lower.partition(".so")
    if not so or (number and not number.startswith(".")):
        return None
    stem = stem.removeprefix("lib").partition(".")[0]
    head, dash, tail = stem.rpartition("-")
    if dash and len(tail) == 8 and all(c in "0123456789abcdef" for c in tail):
        stem = head  # auditwheel's hash: libcudart-80664282.so.10.2
    return LibraryName(stem, _first(number[1:]))


def _first(text: str) -> int | None:
    parts = numbers(text)
    return int(parts[0]) if parts and text[:1].isdigit() else None


def _dll(name: str) -> LibraryName:
    parts = name.split("_")
    tail: list[str] = []
    while len(parts) > 1 and parts[-1].isdigit():
        tail.insert(0, parts.pop())
    stem = "_".join(parts).removeprefix("lib").removesuffix("64").removesuffix("32")
    if not tail:
        return LibraryName(stem, None)
    number = int(tail[0])
    return LibraryName(stem, number // 10 if number > 20 else number)


class Found(Struct, frozen=True):
    """One library that is there."""

    name: LibraryName
    file: str
    path: str | None
    version: str | None
    origin: str
    """As in :class:`~envcheck.core.snapshot.Library`; ``torch`` when it brings it, ``stated`` when it was told."""
    package: str | None
    cuda: frozenset[int]
    """CUDA majors that have a library of this name; empty when it has none."""

    @property
    def loadable(self) -> bool:
        """The loader finds it without anybody's help."""
        return self.origin in LOADABLE

    @property
    def evidence(self) -> Evidence:
        where = self.path or (f"package {self.package}" if self.package else "")
        if where and self.origin not in ("stated", "wheel", "torch"):
            where += f" ({self.origin})"
        return Evidence(f"{self.file} is there", where or "facts")


class Libraries:
    """What is there and what is missing."""

    def __init__(self, found: list[Found], missing: list[str], *, listed: bool, complete: bool, names: _Names) -> None:
        self.found = found
        self.missing = [name for name in missing if parse_name(name) is not None]
        """Shared libraries that something could not find, as stated."""
        self.symbols = [name for name in missing if name.upper().startswith(("GLIBC_", "GLIBCXX_", "CXXABI_"))]
        """Symbol versions that something could not find."""
        self.listed = listed
        """Somebody looked for libraries, or named some."""
        self.complete = complete
        """What is not found is not there."""
        self._names = names

    def find(self, stem: str, number: int | None = None) -> list[Found]:
        """Libraries of this stem or family (``cudart``, ``cudnn``), of this number where one is given."""
        return [
            item
            for item in self.found
            if stem in (item.name.stem, item.name.family) and number in (None, item.name.number)
        ]

    def satisfying(self, soname: str) -> list[Found]:
        """Libraries that a need for this name would take, whether the loader finds them or not."""
        wanted = parse_name(soname)
        if wanted is None:
            return []
        same = [item for item in self.found if item.name == wanted]
        if (wanted.stem, wanted.number) not in _MINOR_IN_NAME or soname.lower().endswith(".dll"):
            return same
        return [item for item in same if item.file.startswith(soname) or soname.startswith(item.file)]

    def cuda_of(self, soname: str) -> frozenset[int]:
        """CUDA majors that have a library of this name."""
        name = parse_name(soname)
        return frozenset() if name is None else self._names.cuda_of(name)

    def wheel_of(self, soname: str, cuda: int | None) -> str | None:
        """Name of the wheel that brings this library, for a CUDA major where several do."""
        name = parse_name(soname)
        return None if name is None else self._names.wheel_of(name, cuda)

    def file_of(self, library: str, cuda: int, *, windows: bool) -> str | None:
        """File name of a library (as in the table: ``cudart``, ``cublasLt``) in a CUDA major release."""
        return self._names.file_of(library, cuda, windows)

    def cuda_majors(self, *, stated: bool = False) -> dict[int, list[Found]]:
        """CUDA majors that are certainly there: those with a library whose name only they have.

        ``stated`` leaves out what is only inferred from packages.
        """
        majors: dict[int, list[Found]] = {}
        for item in self.found:
            inferred = item.path is None and item.origin in ("torch", "wheel", "conda")
            if item.name.family not in ("cudnn", "nvinfer") and len(item.cuda) == 1 and not (stated and inferred):
                majors.setdefault(next(iter(item.cuda)), []).append(item)
        return majors


class _Names:
    """The table `sonames` by name."""

    def __init__(self, matrix: Matrix) -> None:
        self._by_name: dict[LibraryName, dict[int, str | None]] = {}
        self._files: dict[tuple[str, int], tuple[str, str | None]] = {}
        columns = ("library", "cuda", "soname", "dll", "wheel_package")
        for library, of_cuda, soname, dll, wheel in matrix.values("sonames", *columns):
            cuda = int(of_cuda)
            self._files[library.lower(), cuda] = (soname, dll)
            for file in (soname, dll):
                if file and (name := parse_name(file)) is not None:
                    wheels = self._by_name.setdefault(LibraryName(name.family, name.number), {})
                    wheels[cuda] = wheels.get(cuda) or wheel

    def _wheels(self, name: LibraryName) -> dict[int, str | None]:
        return self._by_name.get(LibraryName(name.family, name.number), {})

    def cuda_of(self, name: LibraryName) -> frozenset[int]:
        if (majors := self._wheels(name)) or name.number is None:
            return frozenset(majors)
        return frozenset((name.number,)) if name.stem in _CUDA_IN_NAME else frozenset()

    def wheel_of(self, name: LibraryName, cuda: int | None) -> str | None:
        wheels = self._wheels(name)
        if cuda in wheels:
            return wheels[cuda] if cuda is not None else None
        return next((wheel for major, wheel in sorted(wheels.items(), reverse=True) if wheel), None)

    def file_of(self, library: str, cuda: int, windows: bool) -> str | None:
        soname, dll = self._files.get((library.lower(), cuda), (None, None))
        return dll if windows else soname


def names_of(matrix: Matrix) -> _Names:
    """The index over `sonames`, made once a matrix."""
    if "sonames" not in matrix.memo:
        matrix.memo["sonames"] = _Names(matrix)
    index: _Names = matrix.memo["sonames"]
    return index


def libraries(facts: Facts) -> Libraries | Unknown:
    """Libraries on disk, those that wheels and conda packages bring, and those that were found missing.

    Unknown when neither libraries nor packages are known.
    """
    stack = facts.snapshot.stack
    stated, packages = stack.libraries, facts.get("packages")
    missing = stack.missing_libraries
    if stack.imports:
        from envcheck.facts.imports import found_missing

        missing = found_missing(stack)
    if isinstance(stated, Unknown) and not missing and isinstance(packages, Unknown):
        return stated
    names = names_of(facts.matrix)
    found = [item for library in known(stated) or () if (item := _on_disk(library, names)) is not None]
    if not isinstance(packages, (Absent, Unknown)):
        on_disk = {item.package for item in found if item.package}
        found += _from_wheels(facts.matrix, packages, on_disk, names)
        found += _from_conda(packages, on_disk, names)
        found += _from_torch(facts, names)
    return Libraries(
        found,
        missing,
        listed=not isinstance(stated, Unknown),
        complete=_complete(facts),
        names=names,
    )


def _on_disk(library: Library, names: _Names) -> Found | None:
    """A library that a probe or a person named; None for what no other program would load."""
    name = parse_name(library.name)
    path, version, package = known(library.path), known(library.version), known(library.package)
    origin = known(library.origin) or "stated"
    if name is None or "/stubs/" in (path or ""):
        return None
    if origin == "wheel" and package == "torch":
        origin = "torch"
    elif origin == "wheel" and package and name.family in _SHARED and not package.startswith(("nvidia-", "tensorrt")):
        return None  # a private copy inside another wheel
    return Found(name, library.name, path, version, origin, package, names.cuda_of(name))


_SHARED = (*_TORCH_BRINGS, "cudnn", "nccl", "nvinfer", "nvjitlink", "nvshmem", "nvshmem_host", "cusparselt", "cupti")


def _complete(facts: Facts) -> bool:
    """A probe looked everywhere and got to its end; hand-written lists name only what their author saw."""
    stack = facts.snapshot.stack
    if isinstance(stack.libraries, Unknown) or known(facts.snapshot.machine.system) != "Linux":
        return False  # on Windows a DLL can be in any folder of PATH, which is not searched
    runs = [run for run in facts.snapshot.probes if run.probe == "libraries"]
    lost = [
        run for run in runs if run.status in ("timeout", "skipped") or (run.status == "failed" and "/" not in run.where)
    ]
    return bool(runs) and not lost


def _from_wheels(matrix: Matrix, packages: Packages, on_disk: set[str], names: _Names) -> list[Found]:
    """Libraries of NVIDIA's wheels, where no probe saw the files."""
    found = []
    wanted = {p.name for p in packages if p.name.startswith(("nvidia-", "tensorrt")) and p.name not in on_disk}
    if not wanted:
        return []
    for package, soname in matrix.values("sonames", "wheel_package", "soname"):
        if package in wanted and (name := parse_name(soname)) is not None:
            version = packages.version(package)
            if name.family in ("cudnn", "nvinfer") and version and numbers(version)[:1] != (name.number,):
                continue  # nvidia-cudnn-cu12 brings libcudnn.so.8 or .9, by its version
            if version and version.startswith("0.0."):
                continue  # an empty wheel that only keeps the name
            found.append(Found(name, soname, None, version, "wheel", package, names.cuda_of(name)))
    return found


_CONDA = {
    "cudatoolkit": ("cudart", "cublas", "cublasLt", "cufft", "curand", "cusolver", "cusparse", "nvrtc"),
    "cuda-cudart": ("cudart",),
    "libcublas": ("cublas", "cublasLt"),
    "cuda-nvrtc": ("nvrtc",),
}
"""Conda packages whose version begins with the CUDA major, and what they bring."""


def _from_conda(packages: Packages, on_disk: set[str], names: _Names) -> list[Found]:
    found = []
    for package, brings in _CONDA.items():
        version = packages.version(package)
        if not version or package in on_disk:
            continue
        cuda = int(numbers(version)[0])
        for library in brings:
            file = names.file_of(library, cuda, False) or f"lib{library}.so.{cuda}"
            name = parse_name(file)
            if name is not None:
                found.append(Found(name, file, None, version, "conda", package, names.cuda_of(name)))
    version = packages.version("cudnn")
    if version and "cudnn" not in on_disk and (name := parse_name(f"libcudnn.so.{numbers(version)[0]}")) is not None:
        found.append(Found(name, f"libcudnn.so.{name.number}", None, version, "conda", "cudnn", names.cuda_of(name)))
    return found


def _from_torch(facts: Facts, names: _Names) -> list[Found]:
    """What torch brings and loads for everybody in its process, once it is imported."""
    builds = facts.get("cuda_builds")
    torch = None if isinstance(builds, (Absent, Unknown)) else next((b for b in builds if b.package == "torch"), None)
    if torch is None or not torch.brings_cuda or torch.cuda_major is None:
        return []
    found = []
    for library in _TORCH_BRINGS:
        file = names.file_of(library, torch.cuda_major, False) or f"lib{library}.so.{torch.cuda_major}"
        if (name := parse_name(file)) is not None:
            found.append(_of_torch(name, file, None, torch, names))
    if torch.cudnn and numbers(torch.cudnn):
        name = LibraryName("cudnn", numbers(torch.cudnn)[0])
        version = torch.cudnn if len(numbers(torch.cudnn)) > 1 else None
        found.append(_of_torch(name, f"libcudnn.so.{name.number}", version, torch, names))
    return found


def _of_torch(name: LibraryName, file: str, version: str | None, torch: FrameworkBuild, names: _Names) -> Found:
    return Found(name, file, None, version, "torch", str(torch), names.cuda_of(name))
