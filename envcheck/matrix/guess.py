"""Understands what people type without saying what it is: ``rtx4090``, ``sm_89``, ``12.4 update 1``, ``R550``."""

from __future__ import annotations

from collections.abc import Sequence

from envcheck.versions import numbers

from . import Matrix
from .subjects_errors import is_error_name

_GPU_WORDS = ("rtx", "gtx", "geforce", "quadro", "tesla", "titan", "jetson", "radeon", "instinct", "gfx")


def cuda_version(text: str) -> str:
    """``12.4 update 1``, ``12.4U1``, ``v12.4.1`` and ``cu124`` as a version (``12.4.1``, ``12.4``); others as given."""
    words = text.lower().replace(",", ".").replace("update", " u").replace("cuda", " ").split()
    flat = "".join(words).removeprefix("v").removeprefix("-")
    digits = flat.removeprefix("cu")
    if flat != digits and digits.isdigit():
        # cu12 is a major release (nvidia-nccl-cu12), cu92 is 9.2.
        return digits if len(digits) < 3 and int(digits) < 50 else f"{digits[:-1]}.{digits[-1]}"
    base, found, update = flat.partition("u")
    if found and numbers(base) and update.isdigit():
        return f"{base}.{update}"
    return flat if numbers(flat) else text


def driver_version(text: str) -> str:
    """``R550``, ``r535 branch`` and ``v550.54`` as a version; others as given."""
    flat = text.lower().replace(",", ".").removesuffix("branch").strip()
    return flat[1:] if flat[:1] in ("r", "v") and flat[1:2].isdigit() else flat


def subject(matrix: Matrix, words: Sequence[str]) -> list[str] | None:
    """The words with the kind of subject in front (``["gpu", "rtx4090"]``), or None when nothing fits.

    Names are tried in the tables; a number alone is a driver when it has the form of one (three digits first), else a
    release of CUDA where there is one, else a compute capability.
    """
    from .gpu_names import fitting
    from .subjects_amd import amd_fitting
    from .subjects_places import LISTS, labels_like

    text = " ".join(words)
    first = words[0].lower()
    found = _system(matrix, first, text, words)
    if found is not None:
        return found
    if is_error_name(first) or (first == "nvml" and len(words) > 1):
        return ["error", *words]
    if first.startswith(("sm_", "compute_")) and len(words) == 1:
        return ["cc", text]
    if first.startswith("cu") and cuda_version(text) != text and numbers(cuda_version(text)):
        return ["cuda", text]
    bare = driver_version(text)
    parts = numbers(bare)
    if parts and bare.replace(".", "").isdigit():
        if 300 <= parts[0] < 1000:
            return ["driver", text]
        if matrix.row("cuda-toolkits", toolkit=".".join(map(str, parts[:2]))) is not None:
            return ["cuda", text]
        if matrix.row("compute-capabilities", cc=bare) is not None:
            return ["cc", text]
    if fitting(matrix, text) or amd_fitting(matrix, text):
        return ["gpu", text]
    for kind in LISTS:
        if LISTS[kind] in matrix.tables() and labels_like(matrix, kind, words):
            return [kind, *words]
    return ["gpu", text] if first.startswith(_GPU_WORDS) else None


def _system(matrix: Matrix, first: str, text: str, words: Sequence[str]) -> list[str] | None:
    """Systems and formats: ``ubuntu:22.04``, ``GLIBC_2.34``, ``manylinux2014``, ``x86_64-v3``, ``opset21``."""
    import re

    from .subjects_formats import flag_named
    from .subjects_libraries import is_library
    from .subjects_systems import is_distro

    lower = text.lower()
    if lower.replace("_", "-").startswith("x86-64-v") or lower.replace("_", "-") == "x86-64":
        return ["x86-64", text]
    for kind in ("glibcxx", "glibc", "cxxabi", "manylinux", "musllinux", "gcc", "opset", "ptx", "jetpack", "l4t", "ir"):
        rest = lower.removeprefix(kind).lstrip(" _-=:r" if kind == "l4t" else " _-=:")
        if lower.startswith(kind) and rest[:1].isdigit():
            return [kind, text]
    if re.fullmatch(r"r[34]\d(\.\d+)*", lower):  # R36.4.3; branches of drivers have three digits
        return ["l4t", text]
    missing = re.search(r"\b(GLIBCXX|GLIBC|CXXABI)_(\d+(?:\.\d+)+)", text)
    if missing:  # version `GLIBCXX_3.4.30' not found
        return [missing[1].lower(), missing[2]]
    if is_library(first) and len(words) == 1:
        return ["library", text]
    if is_distro(matrix, text):
        return ["distro", text]
    if flag_named(matrix, text) is not None:
        return ["cpu", text]
    if words[0] in matrix.tables():
        return ["table", *words]
    return None
