"""Which dynamic loader a program asks for, and what is built into it: default folders, version, subfolders by CPU.

The default folders of glibc are fixed when it is built and differ by distribution (Debian: ``/lib/x86_64-linux-gnu``;
Fedora: ``/lib64``; Nix: its own store): they are read from the loader's own file, where they stand as one run of texts
that end in "/" (``elf/dl-load.c``, ``system_dirs``; ``ld.so --list-diagnostics`` prints the same). musl has a text
file, ``/etc/ld-musl-ARCH.path``, else ``/lib:/usr/local/lib:/usr/lib`` (``ldso/dynlink.c``).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from envcheck.binaries.files import Files

INTERPRETERS = {
    "x86_64": "/lib64/ld-linux-x86-64.so.2",
    "aarch64": "/lib/ld-linux-aarch64.so.1",
    "i686": "/lib/ld-linux.so.2",
    "armv7l": "/lib/ld-linux-armhf.so.3",
    "ppc64le": "/lib64/ld64.so.2",
    "s390x": "/lib/ld64.so.1",
    "riscv64": "/lib/ld-linux-riscv64-lp64d.so.1",
    "loongarch64": "/lib64/ld-linux-loongarch-lp64d.so.1",
}
"""Where the ABI of each architecture puts glibc's loader: for a library that is looked at without a program."""

FOLDERS_64 = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
MUSL_FOLDERS = ("/lib", "/usr/local/lib", "/usr/lib")

HWCAPS = {
    "x86_64": ("x86-64-v4", "x86-64-v3", "x86-64-v2"),
    "ppc64le": ("power10", "power9"),
    "s390x": ("z17", "z16", "z15", "z14", "z13"),
}
"""Subfolders of glibc-hwcaps, best first (glibc 2.42, ``sysdeps/*/dl-hwcaps-subdirs.c``; other machines have none)."""

X86_LEVELS = {
    "x86-64-v2": ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"),
    "x86-64-v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Flags, as /proc/cpuinfo names them, that each level adds (x86-64 psABI, table 3.1; abm is LZCNT). SSE3 and OSXSAVE
are left out: what has SSSE3 has the one, and the kernel shows avx only with the other."""

MAX_LOADER = 1 << 22


class Loader:
    """A dynamic loader. ``kind`` is ``glibc`` or ``musl``."""

    __slots__ = ("folders", "hwcaps", "kind", "legacy", "lib", "machine", "path", "version")

    def __init__(self, kind: str, path: str, machine: str) -> None:
        self.kind, self.path, self.machine = kind, path, machine
        self.folders: tuple[str, ...] = FOLDERS_64 if kind == "glibc" else MUSL_FOLDERS
        """Searched last."""
        self.version: tuple[int, int] | None = None
        """Of glibc; None: older than 2.33, which does not say."""
        self.hwcaps = False
        """Looks into glibc-hwcaps (glibc 2.33 and newer)."""
        self.legacy = False
        """Looks into tls, haswell and x86_64 subfolders (until glibc 2.36)."""
        self.lib = "lib64"
        """What ``$LIB`` stands for."""

    @classmethod
    def read(cls, files: Files, path: str, machine: str) -> Loader:
        """The loader at ``path``; where it cannot be read: the same with the folders most widely used."""
        if "ld-musl-" in path:
            loader = cls("musl", path, machine)
            architecture = path.rpartition("ld-musl-")[2].partition(".so")[0]
            # The folder of the configuration is beside the loader's own: /lib/ld-musl-x86_64.so.1 -> /etc.
            prefix = path.rpartition("/")[0].rpartition("/")[0]
            try:
                text = files.read(f"{prefix}/etc/ld-musl-{architecture}.path", 1 << 16).decode("utf-8", "replace")
            except (OSError, ValueError):
                return loader
            loader.folders = tuple(folder for folder in text.replace("\n", ":").split(":") if folder)
            return loader
        loader = cls("glibc", path, machine)
        try:
            data = files.read(path, MAX_LOADER)
        except (OSError, ValueError):
            loader.hwcaps = True
            return loader
        folders = system_folders(data)
        if folders:
            loader.folders = folders
        first = loader.folders[0]
        loader.lib = first.removeprefix("/usr").lstrip("/") if first.startswith(("/lib", "/usr/lib")) else "lib"
        at = data.find(b" release version ")
        version = re.match(rb"(\d{1,4})\.(\d{1,4})", data[at + 17 : at + 30]) if at >= 0 else None
        if version:
            loader.version = int(version[1]), int(version[2])
        loader.hwcaps = loader.version is not None and loader.version >= (2, 33)
        loader.legacy = loader.version is None or loader.version < (2, 37)
        return loader

    def subfolders(self, levels: Collection[str], flags: Collection[str], intel: bool) -> list[str]:
        """Subfolders of every folder that are tried before it, each with a "/" at its end."""
        found = []
        if self.hwcaps:
            found = [f"glibc-hwcaps/{name}/" for name in HWCAPS.get(self.machine, ()) if name in levels]
        if self.legacy and self.machine == "x86_64":
            parts = ["tls", "x86_64", "x86_64"]
            if intel and {"avx2", "bmi1", "bmi2", "abm", "movbe", "popcnt", "fma"} <= set(flags):
                parts = ["tls", "haswell", "x86_64"]
            if intel and {"avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= set(flags):
                parts.insert(2, "avx512_1")
            # All combinations, counted down in binary (glibc 2.36, elf/dl-hwcaps.c, _dl_important_hwcaps).
            for bits in range((1 << len(parts)) - 1, 0, -1):
                chosen = [part for at, part in enumerate(parts) if bits >> (len(parts) - 1 - at) & 1]
                name = "/".join(chosen) + "/"
                if name not in found:
                    found.append(name)
        return found


def system_folders(data: bytes) -> tuple[str, ...]:
    """The default folders in the bytes of glibc's loader; empty when they are not found there."""
    at = 0
    best: tuple[str, ...] = ()
    while True:
        at = data.find(b"/lib", at)
        if at < 0:
            return best
        start = data.rfind(b"\0", 0, at) + 1
        match = re.compile(rb"(?:/[\x21-\x7e]{0,255}/\0)+").match(data, start, start + 4096)
        if match:
            found = [part.decode("ascii").rstrip("/") for part in match[0].split(b"\0") if part]
            if len(found) > len(best):
                best = tuple(found)
            at = match.end()
        else:
            at += 4


def x86_levels(flags: Collection[str]) -> list[str]:
    """The levels of x86-64 that a CPU with these flags reaches, by the names of their subfolders."""
    reached: list[str] = []
    for level, needed in X86_LEVELS.items():
        # /proc/cpuinfo has lahf_lm for SAHF/LAHF in 64-bit mode.
        if not all(flag in flags for flag in needed):
            break
        reached.append(level)
    return reached


def expand(text: str, origin: str | None, lib: str, platform: str) -> str | None:
    """A path with ``$ORIGIN``, ``$LIB`` and ``$PLATFORM`` put in; None when one of them is not known."""
    if "$" not in text:
        return text
    values = {"ORIGIN": origin, "LIB": lib, "PLATFORM": platform or None}
    parts, at = [], 0
    for match in re.finditer(r"\$(?:\{(ORIGIN|PLATFORM|LIB)\}|(ORIGIN|PLATFORM|LIB)(?![A-Za-z0-9_]))", text):
        value = values[match[1] or match[2]]
        if value is None:
            return None
        parts += [text[at : match.start()], value]
        at = match.end()
    return "".join(parts) + text[at:]


def search_path(text: str, separators: str, origin: str | None, lib: str, platform: str) -> list[str]:
    """Folders of a search path in order, each ending in "/"; "" is the current folder."""
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    folders: list[str] = []
    for part in text.split(separators[0]):
        if not part:
            folder: str | None = ""
        else:
            folder = expand(part, origin, lib, platform)
            if not folder:
                continue
            folder = folder.rstrip("/") + "/"
        if folder is not None and folder not in folders:
            folders.append(folder)
    return folders
