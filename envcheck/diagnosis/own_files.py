"""A file of the program that is called like a package, and is imported in its place.

Python takes the folder of the program first, so that a file ``torch.py`` there hides torch. What messages then say of
the package is not true of the one that is installed: such messages name no cause, and the file is named instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envcheck.diagnosis.model import Match
from envcheck.diagnosis.signatures import line_at
from envcheck.probes.shadows import MODULES, STANDARD

if TYPE_CHECKING:
    from envcheck.diagnosis.signatures import Signatures

OF_PACKAGES = frozenset((
    "package-conflict", "framework-pair-mismatch", "numpy-abi", "ort-packages-shadow", "extension-abi-mismatch",
    "python-unsupported", "cpu-only-build", "missing-shared-library",
))  # fmt: skip
"""Causes that say something of what is installed."""
SIGNATURES = ("shadowed-by-own-file", "shadowed-module")
"""What says the same without the name of the file."""
SINGLE_FILES = ("typing_extensions",)
"""Distributions that are one file: it may lie in any folder that somebody installed into."""

_SAID = ("consider renaming", "from '", "partially initialized", "is not a package", "ImportError: cannot import name")
_LOADED = (
    r"cannot import name [^\n]{1,80} from (?:partially initialized module )?'(\w{2,40})'"
    r"(?: \(most likely due to a circular import\))? \(([^\n]{1,400}?\.pyc?)\)",
    r"<module '(\w{2,40})' from '([^'\n]{1,400}\.pyc?)'>",
)
"""The module, and the file that it was loaded from."""
_RENAME = r"\(consider renaming '([^'\n]{1,400}\.py)'"
"""CPython 3.13 names the file itself."""
_HALF = (r"partially initialized module '(\w{2,40})'", r"'(\w{2,40})' is not a package")
"""The module alone; the file is in the traceback."""
_FRAME = r'File (?:"((?:[^"\n]{0,400}[/\\])?%s\.py)", line|((?:[^"\n]{0,400}[/\\])%s\.py):\d)'


def named(text: str, matches: list[Match], signatures: Signatures) -> list[Match]:
    """The matches, without what such a file makes untrue, and with one of kind ``program`` that names the file."""
    if ".py" not in text or not any(said in text for said in _SAID):
        return matches
    found = dict(_files(text))
    for match in matches:
        # Before CPython 3.7 the message has neither module nor file.
        if match.signature["id"] == SIGNATURES[0] and (name := match.values.get("name")) not in found and name:
            path = _framed(text, name)
            if path is not None:
                found[name] = path
    row = next((row for row in signatures.rows if row["id"] == SIGNATURES[0]), None)
    if row is None:
        return matches
    for name, path in found.items():
        about = [match for match in matches if _is_about(match, name, path)]
        gone = {id(match) for match in about if _is_package_only(match) or match.signature["id"] in SIGNATURES}
        matches = [match for match in matches if id(match) not in gone]
        matches.append(_told(name, path, row, about, text))
    matches = [one for match in matches if (one := _of_the_package(match, matches, found, text)) is not None]
    return sorted(matches, key=lambda match: match.position) if found else matches


def _of_the_package(match: Match, matches: list[Match], found: dict[str, str], text: str) -> Match | None:
    """A half-loaded module that lies where packages are installed is hidden by no file of the program."""
    if match.signature["id"] != SIGNATURES[1] or (name := re.search(_HALF[0], match.line)) is None:
        return match
    module = name[1]
    if module in found or not _is_installed(text, module):
        return match
    if any(other.signature["kind"] == "cause" and f"'{module}'" in other.line for other in matches):
        return None
    means = f"a file of the package {module} asks for a name of it before it is loaded: a circular import"
    return replace(match, signature={**match.signature, "means": means, "cure": ""})


def _is_installed(text: str, name: str) -> bool:
    """Whether a path in the text is that of the package or of the module of the standard library itself."""
    if re.search(rf"-packages[/\\]{name}[/\\]", text):
        return True
    return re.search(rf"[/\\]python3[\d.]*[/\\]{name}(?:\.py|[/\\])", text) is not None


def _files(text: str) -> Iterator[tuple[str, str]]:
    """Modules, and the files of the program that were imported as them."""
    for pattern in _LOADED:
        for name, path in re.findall(pattern, text)[:20]:
            if _stem(path) == name and is_own(path) and _is_known(name):
                yield name, path
    for path in re.findall(_RENAME, text)[:20]:
        if is_own(path) and _is_known(_stem(path)):
            yield _stem(path), path
    for pattern in _HALF:
        for name in dict.fromkeys(re.findall(pattern, text)[:20]):
            if _is_known(name) and (path := _framed(text, name)) is not None:
                yield name, path


def _is_known(name: str) -> bool:
    return (name in MODULES or name in STANDARD) and name not in SINGLE_FILES


def _framed(text: str, name: str) -> str | None:
    """The program's file of this name in a traceback; none where the package itself is in it."""
    if _is_installed(text, name):
        return None
    for found in re.finditer(_FRAME % (name, name), text):
        path = found[1] or found[2]
        if is_own(path):
            return path.strip()
    return None


def _stem(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].partition(".")[0]


def is_own(path: str) -> bool:
    """Whether a file lies neither where packages are installed nor in the standard library."""
    low = "/" + path.replace("\\", "/").lower().lstrip("/")
    if re.search(r"-packages/|/lib(?:64)?/(?:python|pypy)|/lib-python/|\.egg/|\.zip/|\.whl/|\.runfiles/|/_mei|<", low):
        return False
    # C:\Python311\Lib\random.py
    return low.split("/")[-2] != "lib"


def _is_about(match: Match, name: str, path: str) -> bool:
    return f"'{name}'" in match.line or f"'{name}." in match.line or path in match.line


def _is_package_only(match: Match) -> bool:
    if match.signature["kind"] not in ("cause", "symptom"):
        return False
    return all(cause.partition(" ")[0] in OF_PACKAGES for cause in match.signature.get("causes") or ())


def _told(name: str, path: str, row: dict[str, object], about: list[Match], text: str) -> Match:
    if "{" in path:  # a template's folder: a sentence with braces is not said
        path = _stem(path) + ".py"
    folder, slash, file = path.replace("\\", "/").rpartition("/")
    meant = "the package" if name in MODULES else "the module of the standard library"
    cached = f"{folder}{slash}__pycache__"
    first = min(about, key=lambda match: match.position, default=None)
    place = first.position if first is not None else max(text.find(path), 0)
    means = f"the file {path} of the program has the name of {meant} {name}, and is imported in its place"
    cure = (
        f"Rename {path} to a name that no package has (my_{file}), with the imports of it, and delete {cached}. "
        f'`python -c "import {name}; print({name}.__file__)"` in that folder shows which file is imported.'
    )
    processes = list(dict.fromkeys(process for match in about for process in match.processes))
    signature = {**row, "means": means, "cure": cure}
    spot = first.span if first is not None else (place, place)
    said = first.line if first is not None else line_at(text, place)
    return Match(signature=signature, line=said, position=place, values={}, span=spot, processes=processes)
