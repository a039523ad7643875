"""What the text of a failed import says is at fault: the loader's messages, of glibc, musl, macOS and Windows."""

from __future__ import annotations

import re

from msgspec import Struct

from envcheck.core.snapshot import ImportTest, Stack, known


class Fault(Struct, frozen=True):
    """The cause that a message names."""

    kind: str
    """``library`` (not found), ``version`` (of a symbol), ``symbol``, ``format`` (no library for this system),
    ``instruction``, ``module`` (a Python package that is not there), ``numpy`` (compiled for another one), ``openmp``
    (two of them) or empty."""
    name: str = ""
    """The missing library, symbol version, symbol or module."""
    file: str = ""
    """The library that asked for it."""


MOST = 3000
"""Characters of a message that are looked at: a loader's message is a line or two."""

_PATTERNS = (
    ("version", r"version [`'](?P<name>[\w.]+)' not found \(required by (?P<file>[^)\n]+)\)"),
    ("version", r"(?<![^\s:])(?P<file>[^\s:]+): version [`'](?P<name>[\w.]+)' not found"),
    ("library", r"(?<![^\s:'\"])(?P<name>[^\s:'\"]+): cannot open shared object file"),
    ("library", r"Error loading shared library (?P<name>[^\s:]+): .*?\(needed by (?P<file>[^)\n]+)\)"),
    ("library", r"Error loading shared library (?P<name>[^\s:]+):"),
    ("library", r"Library not loaded: (?P<name>\S+)(?:\s+Referenced from: (?:<[^>]*> )?(?P<file>[^\s,]+))?"),
    ("library", r"Could not load dynamic library '(?P<name>[^']+)'"),
    ("library", r"[Ee]rror loading \"(?P<name>[^\"\n]+)\" or one of its dependencies"),
    ("library", r"DLL load failed while importing (?P<file>\w+): The specified module"),
    ("symbol", r"(?<![^\s:])(?P<file>[^\s:]+): undefined symbol: (?P<name>[^\s,)]+)"),
    ("symbol", r"Error relocating (?P<file>[^\s:]+): (?P<name>\S+): symbol not found"),
    ("symbol", r"dlopen\((?P<file>[^,\s)]+)[^)]*\): [Ss]ymbol not found[^'_]*'?(?P<name>\w+)"),
    ("symbol", r"DLL load failed while importing (?P<file>\w+): The specified procedure"),
    ("format", r"(?<![^\s:])(?P<file>[^\s:]+): (?:wrong ELF class|invalid ELF header|cannot enable executable stack|"
               r"file too short|ELF load command|failed to map segment)"),
    ("format", r"dlopen\((?P<file>[^,\s)]+)[^)]*\): .*?(?:incompatible architecture|mach-o)"),
    ("numpy", r"compiled using NumPy 1|compiled against API version|_ARRAY_API not found|numpy\.dtype size changed|"
              r"numpy\.core\.multiarray failed to import"),
    ("instruction", r"SIGILL|[Ii]llegal instruction|baseline optimizations|"
                    r"built using \w+ instructions, which your CPU|"
                    r"compiled to use [\w. ]+ instructions|Missing required CPU features"),
    ("openmp", r"OMP: Error #15"),
    ("module", r"No module named '(?P<name>[^']+)'"),
)  # fmt: skip


def fault_in(text: str) -> Fault:
    """The first cause that a message names, the loader's before others; an empty kind when it names none.

    >>> fault_in("ImportError: libcudnn.so.8: cannot open shared object file: No such file or directory")
    Fault(kind='library', name='libcudnn.so.8', file='')
    """
    text = text[:MOST]
    for kind, pattern in _PATTERNS:  # a word is tried from its start only, so that long ones take no time
        if found := re.search(pattern, text):
            groups = found.groupdict()
            return Fault(kind, (groups.get("name") or "")[:300], (groups.get("file") or "")[:500])
    return Fault("")


def fault_of(test: ImportTest) -> Fault:
    """What is at fault in a test, by its error."""
    return fault_in(known(test.error) or "")


def asker_of(stack: Stack, files: list[str]) -> str | None:
    """The package whose import asked for one of these libraries."""
    for test in stack.imports:
        fault = fault_of(test)
        if test.outcome != "ok" and fault.kind == "library" and _file_name(fault.name) in files:
            return test.package
    return None


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def found_missing(stack: Stack) -> list[str]:
    """Libraries and symbol versions that import tests did not find, with those that were stated."""
    missing = list(stack.missing_libraries)
    for test in stack.imports:
        if test.outcome in ("ok", "untested"):
            continue
        fault = fault_of(test)
        if fault.name and fault.kind in ("library", "version"):
            missing.append(_file_name(fault.name))
    return list(dict.fromkeys(missing))
