"""Rows of the tables from what package metadata says: pure functions, for refreshing the tables only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envcheck.versions import canonical, minor, numbers

from .model import Row
from .pip_client import File, Metadata

_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""glibc of the tags that do not state it: PEP 513, 571 and 599."""
PLATFORMS = (
    ("linux_x86_64", r"(many)?linux.*_x86_64"),
    ("linux_aarch64", r"(many)?linux.*_aarch64"),
    ("win_amd64", "win_amd64"),
    ("win_arm64", "win_arm64"),
    ("macos_x86_64", "macosx_.*_(x86_64|universal2|intel)"),
    ("macos_arm64", "macosx_.*_(arm64|universal2)"),
    ("musllinux", "musllinux.*"),
)


def wheels_row(package: str, version: str, files: Iterable[File]) -> Row:
    """Return the row of `wheels` for one release from the names of its files."""
    files = list(files)
    tags = {tag for file in files for tag in file.tags}
    platforms = [name for name, pattern in PLATFORMS if any(re.fullmatch(pattern, tag[2]) for tag in tags)]
    if any(tag[2] == "any" for tag in tags):
        platforms.insert(0, "any")
    stated = Counter(file.requires_python for file in files)
    return {
        "package": canonical(package),
        "version": version,
        "python_tags": sorted({text for tag in tags if (text := python_tag(tag[0], tag[1]))}, key=_tag_key) or None,
        "requires_python": (stated.most_common(1)[0][0] or None) if stated else None,
        "glibc_x86_64": _glibc(files, "x86_64"),
        "glibc_aarch64": _glibc(files, "aarch64"),
        "platforms": platforms or None,
        "sdist": any(not file.tags for file in files),
        "yanked": bool(files) and all(file.yanked for file in files),
    }


def python_tag(interpreter: str, abi: str) -> str | None:
    """Return how `wheels` writes a tag: ``cp312, cp312`` -> ``3.12``, ``cp313, cp313t`` -> ``3.13t``.

    None for interpreters other than CPython.
    """
    if re.fullmatch(r"py\d", interpreter):
        return interpreter
    match = re.fullmatch(r"(?:cp|py)(\d)(\d+)", interpreter)
    if match is None:
        return None
    release = f"{match[1]}.{match[2]}"
    if abi == "abi3":
        return release + "+abi3"
    return release + "t" if abi == interpreter + "t" else release


def _tag_key(text: str) -> tuple[bool, tuple[int, ...], bool]:
    return text[0] == "p", numbers(text), text[-1] != "t"


def _glibc(files: Iterable[File], arch: str) -> str | None:
    """Return the lowest glibc that a wheel for `arch` asks for by its tag."""
    found = []
    for file in files:
        for _, _, platform in file.tags:
            match = re.fullmatch(rf"manylinux_(\d+)_(\d+)_{arch}", platform)
            if match:
                found.append((int(match[1]), int(match[2])))
            elif platform.removesuffix("_" + arch) in _LEGACY:
                found.append(_LEGACY[platform.removesuffix("_" + arch)])
    return ".".join(map(str, min(found))) if found else None


def requires_rows(package: str, version: str, told: Metadata) -> list[Row]:
    """Return the rows of `requires` for one release: its requirements, of extras only those that bring CUDA."""
    rows = []
    for line in told.requires:
        try:
            found = Requirement(line)
        except InvalidRequirement:
            continue  # pip refuses such a release as well
        marker, extra = split_marker(str(found.marker or ""))
        if extra is not None and not (extra == "and-cuda" or extra.startswith("cuda")):
            continue
        rows.append(
            {
                "package": canonical(package),
                "version": version,
                "requires": canonical(found.name),
                # The tables leave local labels out of pins.
                "specifier": re.sub(r"\+[\w.]+", "", str(found.specifier)) or None,
                "marker": usual_marker(marker) or None,
                "extra": extra,
            }
        )
    return list({tuple(row.values()): row for row in rows}.values())


def split_marker(marker: str) -> tuple[str, str | None]:
    """Return a marker without its extra, and the extra: ``a and extra == "x"`` -> ``a``, ``x``."""
    match = re.search(r"""extra == (["'])([^"']+)\1""", marker)
    if match is None:
        return marker, None
    rest = re.sub(r"^ and | and $", "", (marker[: match.start()] + marker[match.end() :]).replace("()", ""))
    rest = rest.replace(" and  and ", " and ").strip()
    inner = rest[1:-1] if rest.startswith("(") and rest.endswith(")") else ""
    return (inner if inner and "(" not in inner else rest), canonical(match[2])


_SYSTEMS = {"Linux": "linux", "Windows": "win32", "Darwin": "darwin"}


def usual_marker(marker: str) -> str:
    """Return a marker as the tables spell it: `sys_platform`, `python_full_version`, clauses in order.

    Only plain conjunctions and disjunctions are put in order; of others each clause is spelt as usual.

    >>> usual_marker('platform_system == "Linux" and python_version <= "3.9"')
    'python_full_version < "3.10" and sys_platform == "linux"'
    """

    def system(match: re.Match[str]) -> str:
        return f'sys_platform {match[1]} "{_SYSTEMS[match[2]]}"'

    def python(match: re.Match[str]) -> str:
        sign, release = match[1], match[2]
        first, _, last = release.partition(".")
        if sign in ("==", "!=") and last:
            return f'python_full_version {sign} "{release}.*"'
        if sign in ("<=", ">") and last:
            return f'python_full_version {"<" if sign == "<=" else ">="} "{first}.{int(last) + 1}"'
        return f'python_full_version {sign} "{release}"'

    text = re.sub(r'platform_system (==|!=) "(Linux|Windows|Darwin)"', system, marker)
    text = re.sub(r'python_version (==|!=|<=|>=|<|>) "(\d+(?:\.\d+)?)"', python, text)
    for word in (" and ", " or "):
        clauses = text.split(word)
        if len(clauses) > 1 and not re.search(r" and | or |[()]", "".join(clauses)):
            return word.join(sorted(clauses, key=_variable_first))
    return text


def _variable_first(clause: str) -> tuple[bool, str]:
    """``"tegra" in platform_release`` is sorted as ``platform_release``; Python comes before the platform."""
    text = re.sub(r'^"[^"]*" (?:not )?in ', "", clause)
    return not text.startswith("python"), text


def torch_row(version: str, told: Metadata) -> Row | None:
    """Return what the pins of a Linux wheel of torch tell of its row in `torch-builds`; None without a CUDA pin.

    C++ ABI, NumPy 2, glibc and the Windows wheel are not in the metadata and stay open.
    """
    cuda = _pin(told, r"nvidia-cuda-runtime(-cu\d+)?") or _pin(told, "cuda-toolkit")
    if cuda is None:
        return None
    triton = [found.specifier for found in _plain(told) if canonical(found.name) == "triton"]
    return {
        "torch": version,
        "cuda": minor(cuda),
        "cudnn": _pin(told, r"nvidia-cudnn(-cu\d+)?"),
        "nccl": _pin(told, r"nvidia-nccl(-cu\d+)?"),
        "triton": str(triton[0]) if triton else None,
    }


def ort_row(version: str, told: Metadata) -> Row | None:
    """Return what the extras ``cuda`` and ``cudnn`` of onnxruntime-gpu tell of its row in `ort-gpu`; None without."""
    majors: dict[str, str] = {}
    for line in told.requires:
        match = re.match(r"nvidia-(cuda-runtime|cudnn)(?:-cu(\d+))?\W*?[~=>]=\s*(\d+)", line)
        if match:
            majors.setdefault(match[1], match[3])
    if "cuda-runtime" not in majors:
        return None
    return {
        "onnxruntime_gpu": version,
        "cuda_major": majors["cuda-runtime"],
        "cudnn_major": majors.get("cudnn"),
        "measured_on": None,
    }


def _plain(told: Metadata) -> list[Requirement]:
    """Return the requirements that belong to no extra."""
    found = []
    for line in told.requires:
        try:
            found.append(Requirement(line))
        except InvalidRequirement:
            continue
    return [each for each in found if split_marker(str(each.marker or ""))[1] is None]


def _pin(told: Metadata, name: str) -> str | None:
    for found in _plain(told):
        if re.fullmatch(name, canonical(found.name)):
            for clause in found.specifier:
                if clause.operator == "==":
                    return clause.version.removesuffix(".*")
    return None


def same(column: str, one: Any, other: Any) -> bool:
    """Say whether two cells mean the same: lists in any order, specifiers in any spelling, open is ``false``."""
    if isinstance(one, list) or isinstance(other, list):
        return set(one or ()) == set(other or ())
    if column in ("requires_python", "specifier", "triton"):
        try:
            return SpecifierSet(one or "") == SpecifierSet(other or "")
        except InvalidSpecifier:
            return bool(one == other)
    return bool((one or None) == (other or None))
