"""Which DLLs every Windows has, for environments whose System32 is not there to be read.

Source: delvewheel 1.13.2, ``dll_lists`` (listings of System32 of fresh installations; there they decide what a wheel
need not bring), read in November 2026: what both the first Windows 10 and Windows 11 for x64 have. Server Core and the
N editions lack some of them (Media Foundation); Windows on ARM lacks some 200 of the less common ones.
"""

from __future__ import annotations

from functools import cache

from envcheck.binaries.windows_names import NAMES, NEWER

API_SETS = ("api-ms-", "ext-ms-")
"""Beginnings of names that are no files: Windows maps them to its own DLLs ("Windows API sets", Microsoft)."""
DRIVER = ("nvcuda.dll", "nvml.dll", "nvcuvid.dll", "nvencodeapi64.dll", "nvencodeapi.dll", "nvapi64.dll", "nvapi.dll",
          "nvoptix.dll", "nvofapi64.dll", "amdhip64.dll", "amdhip64_6.dll", "amdhip64_7.dll", "opencl.dll",
          "vulkan-1.dll")  # fmt: skip
"""In System32 only because a driver of a graphics card put them there."""
CPYTHON = ("vcruntime140.dll", "vcruntime140_1.dll")
"""Parts of the Visual C++ runtime that lie beside python.exe (delvewheel 1.13.2, ``ignore_by_abi_platform``: CPython
from 3.9 on, x64 and ARM64). msvcp140.dll is none of them."""
RUNTIME = ("vcruntime140", "msvcp140", "concrt140", "vccorlib140", "vcomp140", "vcamp140", "mfc140", "mfcm140")
"""Beginnings of the names of all DLLs of the Visual C++ 2015-2022 Redistributable (delvewheel, ``vc_redist``)."""
REDISTRIBUTABLE = "Microsoft Visual C++ Redistributable"
"""What brings those."""


@cache
def always_there() -> frozenset[str]:
    """Lower-case names, with ``.dll``."""
    return frozenset(f"{name}.dll" for name in NAMES.split())


@cache
def sometimes_there() -> frozenset[str]:
    """Of Windows 11 that the first Windows 10 had not. Its onnxruntime.dll is not among them: it is an old one, for
    Windows' own use, and no one means it."""
    return frozenset(f"{name}.dll" for name in NEWER.split()) - {"onnxruntime.dll"}


def is_api_set(name: str) -> bool:
    """Is it the name of an API set?"""
    return name.lower().startswith(API_SETS)


def is_runtime(name: str) -> bool:
    """Is it a part of the Visual C++ runtime, under its own name?

    >>> is_runtime("MSVCP140_1.dll"), is_runtime("msvcp140-a4c2229bdc2a.dll"), is_runtime("msvcrt.dll")
    (True, False, False)
    """
    low = name.lower()
    start = next((start for start in RUNTIME if low.startswith(start)), None)
    return start is not None and low[len(start) : len(start) + 1] in ("_", ".", "u", "d") and low.endswith(".dll")
