"""What a distribution asks of others (``Requires-Dist``): requirements and markers, also for a foreign machine.

The common forms are read here; ``packaging`` is imported only for the others (its import costs 13 to 20 ms).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from msgspec import Struct

from envcheck.versions import canonical, check_specifier, satisfies, satisfies_prefix

_VERSIONS = ("python_version", "python_full_version", "implementation_version", "platform_release")
"""Variables whose values are compared as versions (PEP 508)."""
_NAMES = {
    "os.name": "os_name",
    "sys.platform": "sys_platform",
    "platform.version": "platform_version",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "python_implementation": "platform_python_implementation",
}
"""Old spellings of variables."""
_VARIABLES = frozenset(
    (
        *_VERSIONS,
        *_NAMES.values(),
        *("implementation_name", "platform_system", "extra", "extras", "dependency_groups"),
    )
)


class Requirement(Struct, frozen=True):
    """One line of ``Requires-Dist``."""

    name: str
    """Canonical (PEP 503)."""
    extras: tuple[str, ...]
    specifier: str
    """A PEP 440 specifier set, valid; empty when every version will do."""
    marker: str | None
    url: str | None


@lru_cache(maxsize=2048)
def parse(line: str) -> Requirement:
    """Read a requirement (PEP 508). Raises ValueError.

    >>> parse("Torch[opt] (>=2.1,<3) ; python_version >= '3.10'")
    Requirement(name='torch', extras=('opt',), specifier='>=2.1,<3', marker="python_version >= '3.10'", url=None)
    """
    return _parse_plain(line.strip()) or _parse_any(line.strip())


def _parse_plain(line: str) -> Requirement | None:
    """None for every form that is not read here. Raises ValueError for a bad specifier or marker."""
    if not line.isascii() or "@" in line or "\n" in line:
        return None
    head, semicolon, marker = line.partition(";")
    end = 0
    while end < len(head) and (head[end].isalnum() or head[end] in "._-"):
        end += 1
    name, rest = head[:end], head[end:].strip()
    if not name or not (name[0].isalnum() and name[-1].isalnum()):
        return None
    extras: list[str] = []
    if rest.startswith("["):
        inside, bracket, rest = rest[1:].partition("]")
        extras = [extra.strip() for extra in inside.split(",")]
        if not bracket or not all(_is_identifier(extra) for extra in extras):
            return None
        rest = rest.strip()
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1].strip()
    if rest:
        if not all(clause.strip() for clause in rest.split(",")) or "(" in rest or ")" in rest:
            return None
        check_specifier(rest)
    if semicolon:
        marker = marker.strip()
        _expression(marker)
    return Requirement(canonical(name), tuple(extras), rest, marker if semicolon else None, None)


def _is_identifier(text: str) -> bool:
    """Letters and digits at both ends, and ``-_.`` between them (PEP 508)."""
    return (
        text[:1].isalnum() and text[-1:].isalnum() and text.replace("-", "").replace("_", "").replace(".", "").isalnum()
    )


def _parse_any(line: str) -> Requirement:
    from packaging.requirements import Requirement as Theirs

    found = Theirs(line)
    marker = str(found.marker) if found.marker else None
    return Requirement(canonical(found.name), tuple(sorted(found.extras)), str(found.specifier), marker, found.url)


def marker_environment(
    python: str | None, system: str | None, arch: str | None, implementation: str | None = "cpython"
) -> dict[str, str]:
    """The variables of PEP 508 for any machine, from what is known of it; what is not known is left out.

    ``python`` is a full version or its first two numbers; ``system`` ``Linux``, ``Windows`` or ``Darwin``; ``arch``
    normalised (``x86_64``, ``aarch64``). No extra is asked for.
    """
    found = {"extra": ""}
    if python:
        if python.endswith("+"):  # CPython built from an untagged source tree
            python += "local"
        parts = python.split(".")
        if len(parts) > 1:
            found["python_version"] = ".".join(parts[:2])
        if len(parts) > 2:
            found["python_full_version"] = python
    if implementation:
        found["implementation_name"] = implementation
        names = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}
        found["platform_python_implementation"] = names.get(implementation, implementation)
        if implementation == "cpython" and "python_full_version" in found:
            found["implementation_version"] = found["python_full_version"]
    if system:
        found["platform_system"] = system
        found["sys_platform"] = {"Windows": "win32"}.get(system, system.lower())
        found["os_name"] = "nt" if system == "Windows" else "posix"
    if system and arch:
        spelt = {("Windows", "x86_64"): "AMD64", ("Windows", "aarch64"): "ARM64", ("Darwin", "aarch64"): "arm64"}
        found["platform_machine"] = spelt.get((system, arch), arch)
    return found


def marker_holds(marker: str, environment: Mapping[str, str]) -> bool | None:
    """Evaluate a marker; None when it depends on a variable that ``environment`` lacks. Raises ValueError for junk.

    >>> marker_holds("sys_platform == 'linux' and python_version < '3.11'", {"sys_platform": "win32"})
    False
    """
    return _evaluate(_expression(marker), environment)


class _Item(Struct, frozen=True):
    """A comparison. A bare variable or literal holds its name or its text."""

    left: str
    left_is_variable: bool
    operator: str
    right: str
    right_is_variable: bool


class _Junction(Struct, frozen=True):
    word: str
    """``and`` or ``or``."""
    parts: tuple[_Node, ...]


_Node = _Item | _Junction


@lru_cache(maxsize=512)
def _expression(marker: str) -> _Node:
    """Read a marker. Raises ValueError."""
    reader = _Reader(list(_tokens(marker)), marker)
    node = reader.junction("or")
    if reader.tokens:
        raise reader.error()
    return node


def _tokens(marker: str) -> Iterator[str]:
    """Texts in their quotes, brackets, operators and words. Raises ValueError. Without a pattern: compiling it took
    longer than reading the markers of an environment."""
    at, end = 0, len(marker)
    while at < end:
        first = marker[at]
        if first.isspace():
            at += 1
            continue
        stop = at + 1
        if first in "\"'":
            stop = marker.find(first, stop) + 1
        elif marker.startswith("===", at):
            stop = at + 3
        elif marker[at : at + 2] in ("==", "~=", "!=", "<=", ">="):
            stop = at + 2
        elif "a" <= first <= "z":
            while stop < end and ("a" <= marker[stop] <= "z" or marker[stop] in "._"):
                stop += 1
        elif first not in "()<>":
            stop = 0
        if not stop:
            raise ValueError(f"not an environment marker: {marker!r}")
        yield marker[at:stop]
        at = stop


class _Reader:
    """Recursive descent over the tokens of a marker; ``and`` binds closer than ``or``."""

    def __init__(self, tokens: list[str], marker: str) -> None:
        self.tokens = tokens[::-1]
        self.marker = marker
        self.depth = 0

    def error(self) -> ValueError:
        return ValueError(f"not an environment marker: {self.marker!r}")

    def take(self) -> str:
        if not self.tokens:
            raise self.error()
        return self.tokens.pop()

    def junction(self, word: str) -> _Node:
        parts = [self.junction("and") if word == "or" else self.atom()]
        while self.tokens and self.tokens[-1] == word:
            self.tokens.pop()
            parts.append(self.junction("and") if word == "or" else self.atom())
        return parts[0] if len(parts) == 1 else _Junction(word, tuple(parts))

    def atom(self) -> _Node:
        if not self.tokens or self.tokens[-1] != "(":
            left, left_is_variable = self.value()
            operator = self.take()
            if operator == "not":
                operator = f"not {self.take()}"
            if operator not in ("in", "not in") and operator[0] not in "=~!<>":
                raise self.error()
            return _Item(left, left_is_variable, operator, *self.value())
        self.depth += 1
        if self.depth > 50:
            raise self.error()
        self.tokens.pop()
        node = self.junction("or")
        if self.take() != ")":
            raise self.error()
        self.depth -= 1
        return node

    def value(self) -> tuple[str, bool]:
        token = self.take()
        if token[0] in "'\"":
            return _unescape(token) if "\\" in token else token[1:-1], False
        token = _NAMES.get(token, token)
        if token not in _VARIABLES:
            raise self.error()
        return token, True


def _unescape(token: str) -> str:
    from ast import literal_eval

    try:
        return str(literal_eval(token))
    except (SyntaxError, ValueError):
        raise ValueError(f"not a text in an environment marker: {token}") from None


def _evaluate(node: _Node, environment: Mapping[str, str]) -> bool | None:
    if isinstance(node, _Item):
        return _compare(node, environment)
    decisive = node.word == "or"
    verdicts = [_evaluate(part, environment) for part in node.parts]
    if decisive in verdicts:
        return decisive
    return None if None in verdicts else not decisive


def _compare(item: _Item, environment: Mapping[str, str]) -> bool | None:
    left, left_is_variable, operator, right = item.left, item.left_is_variable, item.operator, item.right
    if left_is_variable == item.right_is_variable:
        raise ValueError(f"a marker must compare a variable with a text: {left} {operator} {right}")
    variable = left if left_is_variable else right
    value = environment.get(variable)
    if value is None:
        if variable == "python_full_version" and left_is_variable and operator not in ("in", "not in"):
            return _compare_imprecise(environment.get("python_version"), operator + right)
        return None
    if variable == "extra":
        left, right = (value, canonical(right)) if left_is_variable else (canonical(left), value)
    elif left_is_variable:
        left = value
    else:
        right = value
    if operator == "in":
        return left in right
    if operator == "not in":
        return left not in right
    if variable in _VERSIONS:
        try:
            check_specifier(operator + right)
        except ValueError:
            pass  # compared as texts, says the specification
        else:
            return left.lower() == right.lower() if operator == "===" else _satisfies(left, operator + right)
    if operator in ("==", "<=", ">="):
        return left == right
    if operator == "!=":
        return left != right
    if operator in ("<", ">"):
        return False
    raise ValueError(f"undefined comparison in a marker: {left!r} {operator} {right!r}")


def _satisfies(version: str, specifier: str) -> bool:
    """No version meets no specifier, as in packaging 26."""
    try:
        return satisfies(version, specifier)
    except ValueError:
        return False


def _compare_imprecise(version: str | None, specifier: str) -> bool | None:
    try:
        return satisfies_prefix(version, specifier) if version else None
    except ValueError:
        return None
