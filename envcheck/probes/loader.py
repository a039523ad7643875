"""Where the dynamic loader of a Linux system looks for a library, and what lies in the other known folders."""

from __future__ import annotations

from msgspec import Struct

from envcheck.binaries.ldcache import lookup
from envcheck.probes.host import Host
from envcheck.versions import is_dotted

CACHE = "/etc/ld.so.cache"

DEFAULT_FOLDERS = (
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
)

CONFIGURED_FOLDERS = (
    "/usr/lib/wsl/lib",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
)
"""Folders that /etc/ld.so.conf.d names on WSL, Jetson and in images of NVIDIA: the loader knows them by its cache."""

COMPAT_FOLDERS = ("/usr/local/cuda/compat", "/usr/local/cuda/compat/lib", "/usr/local/cuda/compat/lib.real")
"""Where the cuda-compat packages put a newer libcuda; used only when something names the folder."""


class Found(Struct, frozen=True):
    """A file of the wanted name."""

    path: str
    real: str
    via: str
    """``LD_LIBRARY_PATH``, ``loader-cache``, ``default-folder``, or ``unused`` (the loader does not look there)."""

    @property
    def file(self) -> str:
        """Name of the real file."""
        return self.real.rpartition("/")[2]


PREFIXES = ("libcu", "libnccl", "libnv", "libze_", "libiomp5", "libomp", "libgomp")
"""Beginnings of the names of the libraries of CUDA, of the drivers, of TensorRT and of OpenMP."""

C_LIBRARIES = ("libstdc++.so", "libc.so")
"""Also kept of the cache, for :mod:`envcheck.probes.userland`."""


def cached(host: Host) -> dict[str, list[str]] | None:
    """Soname -> paths in the loader's cache, for names with :data:`PREFIXES` and the C libraries; None where there is
    no readable cache (musl, a recording without it). Several probes ask: it is decoded once for each host.
    """
    memo: dict[str, dict[str, list[str]] | None] = host.__dict__
    if "_loader_cache" not in memo:
        try:
            data = host.read_bytes(CACHE)
        except OSError:
            memo["_loader_cache"] = None
        else:
            memo["_loader_cache"] = lookup(data, prefixes=PREFIXES + C_LIBRARIES, arch=architecture(host))
    return memo["_loader_cache"]


def library_path(host: Host) -> list[str]:
    """The absolute folders of LD_LIBRARY_PATH, without doubles (ld.so splits at colons and semicolons)."""
    parts = host.env.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")
    return list(dict.fromkeys(part.rstrip("/") for part in parts if part.startswith("/")))


def architecture(host: Host) -> str | None:
    """``x86_64``, ``aarch64`` ... of the libraries that a process here loads; None where nobody tells."""
    try:
        info = host.query("uname")
    except (OSError, ValueError):
        return None
    if not isinstance(info, dict) or not isinstance(info.get("machine"), str):
        return None
    machine: str = info["machine"]
    return "i686" if machine == "x86_64" and info.get("bits") == 32 else machine


def find(host: Host, names: tuple[str, ...]) -> dict[str, list[Found]]:
    """For each soname the files, in the order in which the loader takes them; then those it does not look at."""
    by_cache = cached(host)
    # Without a cache the folders that ld.so.conf would name are taken for such.
    configured = "unused" if by_cache is not None else "default-folder"
    found: dict[str, list[Found]] = {}
    for name in names:
        places = [(f"{folder}/{name}", "LD_LIBRARY_PATH") for folder in library_path(host)]
        places += [(path, "loader-cache") for path in (by_cache or {}).get(name, ())]
        places += [(f"{folder}/{name}", "default-folder") for folder in DEFAULT_FOLDERS]
        places += [(f"{folder}/{name}", configured) for folder in CONFIGURED_FOLDERS]
        places += [(f"{folder}/{name}", "unused") for folder in COMPAT_FOLDERS]
        files: dict[str, Found] = {}
        for path, via in places:
            if host.exists(path):
                real = host.realpath(path)
                if real not in files and not _is_32bit(host, real):
                    files[real] = Found(path, real, via)
        found[name] = list(files.values())
    return found


def _is_32bit(host: Host, path: str) -> bool:
    """The loader passes over files of another ELF class."""
    try:
        head = host.read_bytes(path, 5)
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and head[4:5] == b"\x01"


def version_in_name(file: str) -> str | None:
    """``libcuda.so.535.104.05`` -> ``535.104.05``; None when the name tells no more than a soname (one number)."""
    _, dot, version = file.partition(".so.")
    return version if dot and is_dotted(version, most=6, digits=18) else None
