"""conda's own list of an environment: ``conda-meta/NAME-VERSION-BUILD.json`` names the files of each package.

Only the names of these files are read; of a package that is likely to bring a library, its list of files too.
"""

from __future__ import annotations

from envcheck.probes.host import Host

META_LIMIT = 1 << 22
BRINGS = {
    "cudart": ("cuda-cudart", "cudatoolkit"),
    "cublas": ("libcublas", "cudatoolkit"),
    "cublasLt": ("libcublas", "cudatoolkit"),
    "cufft": ("libcufft", "cudatoolkit"),
    "curand": ("libcurand", "cudatoolkit"),
    "cusolver": ("libcusolver", "cudatoolkit"),
    "cusparse": ("libcusparse", "cudatoolkit"),
    "cusparseLt": ("cusparselt", "libcusparse_lt"),
    "cudnn": ("libcudnn", "cudnn", "cudnn-jit", "libcudnn-jit"),
    "nccl": ("nccl",),
    "nvrtc": ("cuda-nvrtc", "cudatoolkit"),
    "nvJitLink": ("libnvjitlink",),
    "cupti": ("cuda-cupti", "cudatoolkit"),
    "cufile": ("libcufile",),
    "nvshmem_host": ("libnvshmem3", "libnvshmem"),
    "nvinfer": ("libnvinfer", "tensorrt"),
    "nvinfer_plugin": ("libnvinfer", "tensorrt"),
    "nvonnxparser": ("libnvonnxparser", "tensorrt"),
    "iomp5": ("intel-openmp",),
    "omp": ("llvm-openmp",),
    "gomp": ("libgomp",),
}
"""Stem of a library -> conda packages that may bring it; whether one does is read from its list of files."""


def split(entry: str) -> tuple[str, str] | None:
    """``cuda-cudart-12.4.127-h3f2d84a_0.json`` -> (``cuda-cudart``, ``12.4.127``); None for other files."""
    parts = entry.removesuffix(".json").rsplit("-", 2)
    return (parts[0], parts[1]) if entry.endswith(".json") and len(parts) == 3 else None


class CondaPrefix:
    """One conda environment."""

    def __init__(self, host: Host, prefix: str) -> None:
        self.host, self.prefix = host, prefix
        self.entries: dict[str, tuple[str, str]] = {}
        """Package -> (its file in conda-meta, its version)."""
        try:
            names = host.listdir(f"{prefix}/conda-meta")
        except OSError:
            names = []
        for entry in names:
            if (package := split(entry)) is not None:
                self.entries[package[0]] = entry, package[1]
        self._texts: dict[str, str] = {}

    def owner(self, stem: str, file: str) -> tuple[str, str] | None:
        """(package, version) that brings ``lib/FILE``; None: none of the likely ones lists it."""
        for name in BRINGS.get(stem, ()):
            if name not in self.entries:
                continue
            entry, version = self.entries[name]
            if name not in self._texts:
                try:
                    self._texts[name] = self.host.read(f"{self.prefix}/conda-meta/{entry}", META_LIMIT)
                except OSError:
                    self._texts[name] = ""
            if f'/{file}"' in self._texts[name]:
                return name, version
        return None


def own_prefixes(host: Host, info: dict[str, object]) -> list[str]:
    """The conda environments whose libraries this interpreter takes: its own, and the one below a venv.

    conda's interpreter has an RPATH to its own lib folder. CONDA_PREFIX names what was activated last, which may be
    another environment; it counts only where the interpreter does not tell its prefix.
    """
    named = [value for key in ("prefix", "base_prefix") if isinstance(value := info.get(key), str) and value]
    named = named or [host.env.get("CONDA_PREFIX", "")]
    return [prefix for prefix in dict.fromkeys(named) if prefix and host.isdir(f"{prefix}/conda-meta")]
