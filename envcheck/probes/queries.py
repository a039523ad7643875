"""The live answers to ``host.query``: facts that are neither a file nor a command's output, as plain JSON.

``host.query("statvfs", "/dev/shm")`` calls ``query_statvfs(host, "/dev/shm")``. A recording keeps the answers, so a
probe that asks here can be replayed. A query may raise OSError or ValueError; the probe says what that means.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from envcheck.probes.host import Host


def query_uname(host: Host) -> dict[str, Any]:
    """System, release and machine as the kernel names them, and the width of this process in bits."""
    bits = 64 if sys.maxsize > 2**32 else 32
    if hasattr(os, "uname"):
        name = os.uname()
        return {
            "system": name.sysname,
            "release": name.release,
            "version": name.version,
            "machine": name.machine,
            "bits": bits,
        }
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        # A 32-bit process is told the real architecture only by PROCESSOR_ARCHITEW6432.
        machine = host.env.get("PROCESSOR_ARCHITEW6432") or host.env.get("PROCESSOR_ARCHITECTURE", "")
        release = f"{version.major}.{version.minor}.{version.build}"
        return {"system": "Windows", "release": release, "version": "", "machine": machine, "bits": bits}
    raise OSError(38, "this system has no uname")


def query_confstr_libc(host: Host) -> str:
    """``glibc 2.36``: the C library that this process uses. Raises OSError or ValueError where that is not glibc."""
    if not hasattr(os, "confstr"):
        raise OSError(38, "this system has no confstr")
    text = os.confstr("CS_GNU_LIBC_VERSION")
    if not text:
        raise OSError(22, "the C library of this process is not glibc")
    return text


def query_dll_version(host: Host, path: str) -> list[str]:
    """[library, version] as the version resource of a Windows DLL states them; empty where it states none."""
    from envcheck.binaries.library_version import library_version

    told = library_version(path)
    return [told.name, told.version] if told else []


def query_statvfs(host: Host, path: str) -> dict[str, int]:
    """Sizes of a file system in bytes."""
    if not hasattr(os, "statvfs"):
        raise OSError(38, "this system has no statvfs")
    status = os.statvfs(path)
    return {"total": status.f_blocks * status.f_frsize, "available": status.f_bavail * status.f_frsize}


def query_sizes(host: Host, *paths: str) -> dict[str, int]:
    """Sizes in bytes of those of these files that are there."""
    found = {}
    for path in paths:
        try:
            found[path] = os.stat(path).st_size
        except OSError:
            continue
    return found


def query_hashes(host: Host, algorithm: str, *paths: str) -> dict[str, str]:
    """``sha256=...`` as RECORD writes it, for those of these files that can be read before the deadline.

    Raises ValueError: no such algorithm.
    """
    from envcheck.probes.hashing import file_hash

    found = {}
    for path in paths:
        try:
            digest = file_hash(path, algorithm, host.deadline)
        except OSError:
            continue
        if digest is None:
            break
        found[path] = digest
    return found


def query_denied(host: Host, *paths: str) -> list[str]:
    """Those of the paths that this process may not open for reading and writing."""
    return [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]


def query_cpu_count(host: Host) -> int:
    """Logical CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def query_auxv(host: Host) -> dict[str, int]:
    """The auxiliary vector that the kernel gave to this process: ``{"16": AT_HWCAP, "26": AT_HWCAP2, ...}``."""
    from struct import iter_unpack

    # Not through the host: most entries are addresses, which must not enter a recording; only their presence tells.
    with open("/proc/self/auxv", "rb") as file:
        data = file.read(4096)
    size = 16 if sys.maxsize > 2**32 else 8
    pairs = iter_unpack("@LL", data[: len(data) // size * size])
    return {str(key): value if key in (16, 26) else 1 for key, value in pairs if key}


def query_cpuid(host: Host) -> dict[str, Any]:
    """What the cpuid instruction says when this process executes it; see :mod:`envcheck.probes.cpuid`."""
    from envcheck.probes.cpuid import execute

    return execute()


def query_cpuinfo(host: Host) -> dict[str, Any]:
    """py-cpuinfo, in a child: it starts processes of its own and takes up to seconds. Raises OSError."""
    ran = host.run([sys.executable, "-I", "-m", "cpuinfo", "--json"], timeout=10.0)
    if ran.status != "done" or ran.code != 0:
        raise OSError(5, f"py-cpuinfo gave nothing: {ran.trouble or f'exit code {ran.code}'}")
    import json

    info = json.loads(ran.stdout)
    if not isinstance(info, dict):
        raise ValueError("py-cpuinfo gave no object")
    keys = ("arch", "vendor_id_raw", "brand_raw", "count", "flags")
    return {key: info[key] for key in keys if key in info}


def query_memory(host: Host) -> dict[str, int]:
    """Total and available memory in bytes, by psutil."""
    import psutil

    memory = psutil.virtual_memory()
    return {"total": int(memory.total), "available": int(memory.available)}


def query_elf_versions(host: Host, path: str) -> dict[str, str]:
    """Architecture of a shared library and the highest GLIBC_, GLIBCXX_ and CXXABI_ that it defines."""
    from envcheck.binaries.elf import ElfFile

    with ElfFile.open(path) as file:
        found = {"machine": file.machine}
        highest: dict[str, tuple[int, ...]] = {}
        for name in file.version_definitions:
            family, _, version = name.partition("_")
            if family in ("GLIBC", "GLIBCXX", "CXXABI"):
                try:
                    parts = tuple(map(int, version.split(".")))
                except ValueError:  # GLIBC_PRIVATE, CXXABI_TM_1, CXXABI_FLOAT128 are not versions
                    continue
                highest[family] = max(highest.get(family, ()), parts)
    return found | {family.lower(): ".".join(map(str, version)) for family, version in highest.items()}


def query_python_info(host: Host) -> dict[str, Any]:
    """This interpreter; see :func:`envcheck.probes.python.live`."""
    from envcheck.probes.python import live

    return live()


def query_earlier_modules(host: Host) -> dict[str, Any]:
    """What stands before the installed modules on sys.path; see :func:`envcheck.probes.shadows.live`."""
    from envcheck.probes.shadows import live

    return live(host)


def query_platform_tags(host: Host) -> list[str]:
    """Wheel platform tags that this interpreter accepts; see :func:`envcheck.probes.python.live_tags`."""
    from envcheck.probes.python import live_tags

    return live_tags()


def query_access(host: Host, *paths: str) -> list[str]:
    """Those of these files that this process may not both read and write."""
    return [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]


def query_nvml(host: Host) -> dict[str, Any]:
    """NVML and cuDriverGetVersion, in a child; see :mod:`envcheck.probes.nvml`."""
    from envcheck.probes import nvml

    return nvml.query_nvml(host)


def query_import(host: Host, module: str, seconds: str) -> dict[str, Any]:
    """What happens when a module is imported, in a child; see :mod:`envcheck.probes.imports`."""
    from envcheck.probes import imports

    return imports.query_import(host, module, seconds)


def query_binaries(host: Host, code: str, site: str, *packages: str) -> list[dict[str, Any]]:
    """What the compiled files of these packages say; see :mod:`envcheck.probes.binaries`."""
    from envcheck.probes import binaries

    return binaries.query_binaries(host, code, site, *packages)


def query_smoke_backends(host: Host, kind: str) -> dict[str, str]:
    """The smoke tests whose framework is here; see :mod:`envcheck.probes.smoke`."""
    from envcheck.probes import smoke

    return smoke.query_backends(host, kind)


def query_smoke_model(host: Host, request: str) -> dict[str, Any]:
    """What a model file is and which installed frameworks run it; see :mod:`envcheck.probes.smoke_model`."""
    from envcheck.probes import smoke_model

    return smoke_model.query_model(host, request)


def query_smoke(host: Host, name: str, module: str, request: str, *had: str) -> dict[str, Any]:
    """What the smoke tests of one framework tell, in a child; see :mod:`envcheck.probes.smoke`."""
    from envcheck.probes import smoke

    return smoke.query_smoke(host, name, module, request, *had)
