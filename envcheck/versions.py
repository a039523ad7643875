"""Comparing versions without importing ``packaging``, whose import costs more than the whole check may.

Two kinds of version must not be confused:

* *dotted numbers* of drivers, toolkits and libraries (``470.82.01``, ``12.4``): :func:`numbers`,
  :func:`compare_numbers`;
* *PEP 440 versions* of Python distributions (``2.5.1+cu124``, ``1.0rc1``): :func:`version_key`, :func:`satisfies`.

The common forms are read here; whatever else is written is handed to ``packaging``, imported at that moment.
Semantics are those of ``packaging`` 26 (``SpecifierSet.contains(version, prereleases=True)``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_DIGITS = "0123456789"
_INFINITE = float("inf")
_STAGES = {"a": 0, "b": 1, "rc": 2}
_OPERATORS = ("~=", "==", "!=", ">=", "<=")


@lru_cache(maxsize=8192)
def numbers(text: str) -> tuple[int, ...]:
    """The leading dotted integers; empty when there are none.

    >>> numbers("470.82.01"), numbers("v11.8.89"), numbers("12.8.93~rc1"), numbers("R470")
    ((470, 82, 1), (11, 8, 89), (12, 8, 93), ())
    """
    text = text.strip()
    if text[:1] in ("v", "V"):
        text = text[1:]
    found: list[int] = []
    for part in text.split("."):
        whole = part.isdigit() and part.isascii()
        digits = part if whole else _leading_digits(part)
        if not digits or len(digits) > 18:
            break
        found.append(int(digits))
        if not whole:
            break
    return tuple(found)


def _leading_digits(text: str) -> str:
    return text[: len(text) - len(text.lstrip(_DIGITS))]


def compare_numbers(a: str, b: str) -> int:
    """-1, 0 or 1: compare two dotted numbers part by part; a missing part counts as 0.

    >>> compare_numbers("470.82.01", "470.82.1"), compare_numbers("12.4", "12.10")
    (0, -1)
    """
    left, right = numbers(a), numbers(b)
    width = max(len(left), len(right))
    left += (0,) * (width - len(left))
    right += (0,) * (width - len(right))
    return (left > right) - (left < right)


def major(text: str) -> int:
    """The first number. Raises ValueError when there is none.

    >>> major("12.4.127")
    12
    """
    found = numbers(text)
    if not found:
        raise ValueError(f"no version number: {text!r}")
    return found[0]


def readable(text: str | None) -> str | None:
    """The text if it begins with a number; what a broken driver or file gives for a version may be anything.

    >>> readable("12.4"), readable("::.4"), readable(None)
    ('12.4', None, None)
    """
    return text if text and numbers(text) else None


def is_dotted(text: str, least: int = 2, most: int = 4, digits: int = 9) -> bool:
    """Whether the text is dotted numbers and nothing else: ``least`` to ``most``, of so many digits at most.

    For words in files and answers of programs, where a date or a number without a dot is no version.

    >>> is_dotted("535.104.05"), is_dotted("535"), is_dotted("12.4-rc1"), is_dotted("12..4")
    (True, False, False, False)
    """
    parts = text.split(".")
    return least <= len(parts) <= most and all(
        part.isascii() and part.isdigit() and len(part) <= digits for part in parts
    )


def minor(text: str) -> str:
    """The first two numbers; of a version that has only one, that one. Raises ValueError when there is none.

    >>> minor("12.4.127"), minor("12")
    ('12.4', '12')
    """
    found = numbers(text)
    if not found:
        raise ValueError(f"no version number: {text!r}")
    return ".".join(map(str, found[:2]))


@lru_cache(maxsize=8192)
def canonical(name: str) -> str:
    """The normalised name of a distribution (PEP 503).

    >>> canonical("Nvidia_cuDNN.cu12")
    'nvidia-cudnn-cu12'
    """
    name = name.strip().lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def public(text: str) -> str:
    """The version without its local label.

    >>> public("2.5.1+cu124")
    '2.5.1'
    """
    return text.strip().partition("+")[0]


def local_label(text: str) -> str | None:
    """The local label, or None.

    >>> local_label("2.5.1+cu124"), local_label("+cu118"), local_label("2.5.1")
    ('cu124', 'cu118', None)
    """
    return text.strip().partition("+")[2] or None


_Key = tuple[Any, ...]


class _Version:
    """The parts of a version, and its place in the order. A named tuple's class would cost 0.2 ms at each start."""

    __slots__ = ("dev", "epoch", "key", "local", "post", "pre", "release")

    def __init__(
        self,
        epoch: int,
        release: tuple[int, ...],
        pre: tuple[int, int] | None,
        post: int | None,
        dev: int | None,
        local: tuple[tuple[int, int, str], ...],
    ) -> None:
        self.epoch = epoch
        self.release = release
        """As written, with trailing zeros."""
        self.pre = pre
        """Stage (0 alpha, 1 beta, 2 candidate) and number."""
        self.post = post
        self.dev = dev
        self.local = local
        if pre is None:
            pre = (-1, 0) if post is None and dev is not None else (3, 0)
        self.key: _Key = (
            epoch,
            _trim(release),
            pre,
            -1 if post is None else post,
            _INFINITE if dev is None else dev,
        )
        """Order of PEP 440 without the local label: dev < alpha < beta < candidate < final < post."""

    def key_with(self, *, post: int | None, dev: int) -> _Key:
        """The key of another post- and development release of the same release and stage."""
        return _Version(self.epoch, self.release, self.pre, post, dev, ()).key


@lru_cache(maxsize=4096)
def _parse(text: str) -> _Version:
    return _parse_plain(text) or _parse_any(text)


@lru_cache(maxsize=4096)
def _parse_plain(text: str) -> _Version | None:
    """``N(.N)*[{a|b|rc}N][.postN][.devN][+label(.label)*]``; None for every other spelling."""
    text = text.strip().lower()
    if not text.isascii():
        return None
    head, plus, label = text.removeprefix("v").partition("+")
    parts = head.split(".")
    if not plus and all(map(str.isdigit, parts)) and len(max(parts, key=len)) <= 18:
        return _Version(0, tuple(map(int, parts)), None, None, None, ())
    release: list[int] = []
    pre: tuple[int, int] | None = None
    post: int | None = None
    dev: int | None = None
    for part in parts:
        core = part.rstrip(_DIGITS)
        number = part[len(core) :]
        if not number or len(number) > 18 or dev is not None:
            return None
        if not core:
            if pre or post is not None:
                return None
            release.append(int(number))
        elif core == "dev":
            dev = int(number)
        elif core == "post" and post is None:
            post = int(number)
        else:
            letters = core.lstrip(_DIGITS)
            last = core[: len(core) - len(letters)]
            if letters not in _STAGES or not last or len(last) > 18 or pre or post is not None:
                return None
            release.append(int(last))
            pre = (_STAGES[letters], int(number))
    if not release:
        return None
    labels: list[tuple[int, int, str]] = []
    if plus:
        for part in label.split("."):
            if not part.isalnum() or len(part) > 4000:
                return None
            labels.append((1, int(part), "") if part.isdigit() else (0, 0, part))
    return _Version(0, tuple(release), pre, post, dev, tuple(labels))


def _parse_any(text: str) -> _Version:
    """Every spelling of PEP 440. Raises ValueError."""
    from packaging.version import Version

    found = Version(text)
    pre = (_STAGES[found.pre[0]], found.pre[1]) if found.pre else None
    labels = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in (found.local or "").split(".") if part]
    return _Version(found.epoch, found.release, pre, found.post, found.dev, tuple(labels))


def _trim(release: tuple[int, ...]) -> tuple[int, ...]:
    end = len(release)
    while end > 1 and release[end - 1] == 0:
        end -= 1
    return release[:end]


def version_key(text: str) -> Any:
    """A key that sorts and compares as PEP 440 demands, local labels included. Raises ValueError for a non-version.

    >>> version_key("2.0") == version_key("2.0.0"), version_key("2.0rc1") < version_key("2.0") < version_key("2.0+cu1")
    (True, True)
    """
    version = _parse(text)
    return (*version.key, version.local)


def satisfies(version: str, specifier: str) -> bool:
    """Whether an installed version meets a PEP 440 specifier set such as ``>=1.2,!=1.3.*,<2``.

    An empty specifier accepts everything; a pre-release that is installed is accepted; a local label counts only
    where the specifier names one. Raises ValueError when one of the two is no PEP 440.

    >>> satisfies("2.5.1+cu124", "==2.5.1"), satisfies("2.6.0rc1", ">=2.5,<2.6")
    (True, False)
    """
    mine = _parse(version)
    # No early return: a specifier that cannot be read must be reported whatever stands before it.
    holds = True
    for operator, text in _clauses(specifier):
        if operator == "===":
            holds &= _identical(version, text)
        else:
            holds &= _meets(mine, operator, text)
    return holds


def check_specifier(specifier: str) -> None:
    """Raises ValueError when the text is no PEP 440 specifier set."""
    _clauses(specifier)


def _identical(version: str, text: str) -> bool:
    """``===`` compares text, not meaning (PEP 440, "Arbitrary equality")."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet("===" + text).contains(version, prereleases=True)


@lru_cache(maxsize=2048)
def _clauses(specifier: str) -> tuple[tuple[str, str], ...]:
    """Operator and version of each clause, validated. Raises ValueError."""
    found: list[tuple[str, str]] = []
    for part in specifier.split(","):
        clause = part.strip()
        if not clause:
            continue
        operator = clause[:2]
        if operator not in _OPERATORS:
            operator = clause[:1] if clause[:1] in "<>" else ""
        elif clause[:3] == "===":
            operator = "==="
        text = clause[len(operator) :].strip()
        if not operator or not _clause_is_plain(operator, text):
            from packaging.specifiers import Specifier

            Specifier(clause)
        found.append((operator, text))
    return tuple(found)


def _clause_is_plain(operator: str, text: str) -> bool:
    """Whether the clause is certainly valid; False hands it to ``packaging``."""
    if operator == "===":
        return False
    base = text
    if text.endswith(".*"):
        base = text[:-2]
        if operator not in ("==", "!=") or not all(part.isdigit() for part in base.split(".")):
            return False
    version = _parse_plain(base)
    if version is None:
        return False
    if version.local and operator not in ("==", "!="):
        return False
    return operator != "~=" or len(version.release) > 1


def _meets(mine: _Version, operator: str, text: str) -> bool:
    """One clause other than ``===``."""
    key = mine.key
    if text.endswith(".*"):
        base = _parse(text[:-2])
        inside = base.key_with(post=base.post, dev=0) <= key < _next_prefix(base.epoch, base.release)
        return inside == (operator == "==")
    bound = _parse(text)
    other = bound.key
    if operator in ("==", "!="):
        equal = key == other and (not bound.local or bound.local == mine.local)
        return equal == (operator == "==")
    if operator == ">=":
        return bool(key >= other)
    if operator == "<=":
        return bool(key <= other)
    if operator == "~=":
        return bool(other <= key < _next_prefix(bound.epoch, bound.release[:-1]))
    if operator == "<":
        # "<2.0" leaves out 2.0rc1, "<2.0rc2" does not (PEP 440, "Exclusive ordered comparison").
        if bound.pre is None and bound.dev is None:
            other = bound.key_with(post=bound.post, dev=0)
        return bool(key < other)
    if bound.dev is not None:
        return bool(key >= bound.key_with(post=bound.post, dev=bound.dev + 1))
    if bound.post is not None:
        return bool(key >= bound.key_with(post=bound.post + 1, dev=0))
    # ">2.0" leaves out 2.0.post1 and 2.0+local: same epoch, release and stage.
    return bool(key > other and (key[:2] != other[:2] or mine.pre != bound.pre))


def _next_prefix(epoch: int, release: tuple[int, ...]) -> _Key:
    """Key of the first version behind all those that begin with ``release``: 1.2 -> 1.3.dev0."""
    return _Version(epoch, (*release[:-1], release[-1] + 1), None, None, 0, ()).key


@lru_cache(maxsize=4096)
def satisfies_prefix(version: str, specifier: str) -> bool | None:
    """As :func:`satisfies`, for versions that people state: "2" or "1.10" may mean any release that begins so.

    True when every final release with that prefix meets the specifier, False when none does, None when it depends.
    A version with three or more numbers, or with a pre-, post- or development part, is taken as exact.

    >>> satisfies_prefix("2", ">=2"), satisfies_prefix("1.10", ">=1.10.1"), satisfies_prefix("1", ">=2")
    (True, None, False)
    """
    mine = _parse(version)
    if len(mine.release) > 2 or mine.pre or mine.post is not None or mine.dev is not None:
        return satisfies(version, specifier)
    clauses = _clauses(specifier)
    if any(operator == "===" for operator, _ in clauses):
        return None
    # What a specifier accepts is a union of intervals whose ends are named in it. One release on each end, and one
    # right behind it, meets every interval that the prefix overlaps.
    ends = [mine.release, (*mine.release, 10**9)]
    for _, text in clauses:
        release = _parse(text.removesuffix(".*")).release
        ends += [release, (*release[:-1], release[-1] + 1)]
        if len(release) > 1:
            ends.append((*release[:-2], release[-2] + 1))
    width = max(map(len, ends)) + 1
    verdicts = set()
    for end in ends:
        for behind in (0, 1):
            release = (*end, *(0,) * (width - len(end)), behind)
            if release[: len(mine.release)] == mine.release:
                candidate = _Version(mine.epoch, release, None, None, None, mine.local)
                verdicts.add(all(_meets(candidate, operator, text) for operator, text in clauses))
    return verdicts.pop() if len(verdicts) == 1 else None
