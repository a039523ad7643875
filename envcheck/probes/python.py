"""This interpreter: version, ABI, environment, and which wheels it accepts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from envcheck.core.snapshot import Absent, Python, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log

LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""glibc 2.N -> the older name of the tag (PEP 600)."""

OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17, "ppc64le": 17, "s390x": 17, "riscv64": 17, "loongarch64": 17}
"""Architecture -> N of the oldest glibc 2.N for which manylinux tags exist, of those without further conditions."""


def probe(host: Host, log: Log) -> Python:
    """1. The interpreter itself (sys). 2. Its platform tags: :func:`live_tags`."""
    silent = Unknown("the interpreter does not say")
    python = Python()
    with log.attempt("python", "sys") as attempt:
        info = host.query("python-info")
        python = Python(
            version=info.get("version") or silent,
            implementation=info.get("implementation") or silent,
            abi=info.get("abi") or silent,
            bits=info.get("bits") or silent,
            environment=info.get("environment") or silent,
            managed_by=info.get("managed_by") or Absent("nothing in it names another tool than its own"),
            prefix=info.get("prefix") or silent,
        )
        attempt.found(f"{info.get('implementation')} {info.get('version')}")
    with log.attempt("platform tags", "packaging.tags, or the same rule") as attempt:
        try:
            tags = [str(tag) for tag in host.query("platform-tags")]
        except (ValueError, ImportError) as error:
            raise OSError(5, str(error)) from None
        python.platform_tags = tags or Absent("packaging.tags names none")
        attempt.found(f"{len(tags)} tags")
    return python


def live() -> dict[str, Any]:
    """What ``python-info`` answers: version, implementation, abi, bits, environment, managed_by, prefix and
    base_prefix, conda (the environment itself is one of conda's), site (:func:`site_folders`).
    """
    numbers = ".".join(map(str, sys.version_info[:3]))
    kind = sys.version_info[3]
    if kind != "final":
        numbers += {"alpha": "a", "beta": "b", "candidate": "rc"}[kind] + str(sys.version_info[4])
    conda = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
    environment = "venv" if sys.prefix != sys.base_prefix else "conda" if conda else "system"
    return {
        "version": numbers,
        "implementation": sys.implementation.name,
        "abi": abi(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "environment": environment,
        "managed_by": managed_by(environment, sys.prefix),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "conda": conda,
        "site": site_folders(),
    }


def managed_by(environment: str, prefix: str) -> str:
    """The tool that keeps this environment, by what it leaves in it; empty where nothing says so.

    Sources: uv writes its version into pyvenv.cfg; pipx keeps pipx_metadata.json in each environment; pixi writes
    conda-meta/pixi; PEP 668 defines EXTERNALLY-MANAGED beside the standard library.
    """
    if environment == "venv":
        try:
            with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as handle:
                text = handle.read(4096)
        except OSError:
            return ""
        if os.path.exists(os.path.join(prefix, "pipx_metadata.json")):
            return "pipx"
        if not text.startswith("uv =") and "\nuv =" not in text:
            return ""
        return "uv-project" if os.path.exists(os.path.join(os.path.dirname(prefix), "uv.lock")) else "uv"
    if environment == "conda":
        return "pixi" if os.path.exists(os.path.join(prefix, "conda-meta", "pixi")) else ""
    return "distribution" if os.path.exists(os.path.join(os.path.dirname(os.__file__), "EXTERNALLY-MANAGED")) else ""


def site_folders() -> list[str]:
    """Folders of sys.path, in its order, where packages are installed: site-packages, Debian's dist-packages, and
    what PYTHONPATH names. The others are the standard library and the folder of the script.
    """
    named = set(absolute(os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    paths = absolute(sys.path)
    sites = [path for path in paths if path.endswith(("site-packages", "dist-packages")) or path in named]
    return [path for path in dict.fromkeys(sites) if os.path.isdir(path)]


def absolute(paths: Iterable[object]) -> list[str]:
    """Those that can name a folder, absolute; whatever else a program puts into sys.path, an import passes over."""
    texts = [path for path in paths if isinstance(path, str) and path and "\0" not in path]
    try:
        return [os.path.abspath(path) for path in texts]
    except OSError:  # the current folder is gone, and what is relative with it
        return [os.path.normpath(path) for path in texts if os.path.isabs(path)]


def abi() -> str:
    """``cp311``, ``cp313t`` (free-threaded), ``cp312d`` (debug); for others as packaging.tags says."""
    if sys.implementation.name != "cpython":
        from packaging.tags import sys_tags

        return next(iter(sys_tags())).abi
    # Only a free-threaded build has "free-threading" in its version text; sys.abiflags is missing on Windows.
    threads = "t" if "free-threading" in sys.version else ""
    debug = "d" if hasattr(sys, "gettotalrefcount") else ""
    return f"cp{sys.version_info[0]}{sys.version_info[1]}{threads}{debug}"


def live_tags() -> list[str]:
    """``list(packaging.tags.platform_tags())``, without its import (8 ms) in the common case."""
    tags = manylinux_tags()
    if tags is None:
        from packaging.tags import platform_tags

        tags = list(platform_tags())
    return tags


def manylinux_tags() -> list[str] | None:
    """The tags of a 64-bit CPython on Linux with glibc; None where packaging must decide.

    PEP 600: every glibc from the one of this process down to the oldest. PEP 656 tags come in only where the
    interpreter is linked against musl; then there is no CS_GNU_LIBC_VERSION.
    """
    if sys.platform != "linux" or sys.implementation.name != "cpython" or sys.maxsize <= 2**32:
        return None
    if "_PYTHON_HOST_PLATFORM" in os.environ:  # cross-compiling: sysconfig names another platform
        return None
    arch = os.uname().machine
    oldest = OLDEST_GLIBC.get(arch)
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return None
    head, _, minor = text.rpartition(".")
    if oldest is None or head != "glibc 2" or not minor.isdecimal() or _has_manylinux_module():
        return None
    tags = [f"linux_{arch}"]
    for number in range(int(minor), oldest - 1, -1):
        tags.append(f"manylinux_2_{number}_{arch}")
        if number in LEGACY:
            tags.append(f"{LEGACY[number]}_{arch}")
    return tags


def _has_manylinux_module() -> bool:
    """A module ``_manylinux`` may forbid tags (PEP 513); some distributions ship one."""
    if "_manylinux" in sys.modules:
        return True
    # As an import asks: importlib.machinery would have to be imported.
    return any(finder.find_spec("_manylinux", None) is not None for finder in sys.meta_path)
