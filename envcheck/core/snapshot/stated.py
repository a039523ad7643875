"""Reading hand-written values: every surprise becomes one sentence that names the key.

Everywhere: a missing key or ``null`` is unknown, ``false`` is "we looked, there is none".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from envcheck.core.snapshot import NOT_STATED, Absent, Flag, Number, SnapshotError, Text

NONE_STATED = Absent("stated: there is none")
_LARGEST = 2**53
"""Integers above are no sizes or counts, and JSON readers disagree on them."""


class Section:
    """One mapping of the facts; keys are taken out one by one, and what is left was not understood."""

    __slots__ = ("data", "notes", "where")

    def __init__(self, value: Any, where: str, notes: list[str], short: str = "") -> None:
        """``short`` names the key that a bare text stands for: ``driver: "535.54.03"`` is ``driver.version``."""
        if value is None:
            value = {}
        elif short and isinstance(value, str):
            value = {short: value}
        if not isinstance(value, Mapping):
            raise SnapshotError(f"{where} must be {'a text or ' if short else ''}a mapping, not {kind(value)}")
        for key in value:
            if not isinstance(key, str):
                raise SnapshotError(f"{where or 'the facts'}: the key {key!r} is no text: put it in quotes")
            _plain(key, f"a key of {where or 'the facts'}")
        self.data = dict(value)
        self.where = where
        self.notes = notes

    def path(self, key: str) -> str:
        if len(key) > 60 or not key.isprintable():
            key = repr(key[:60])
        return f"{self.where}.{key}" if self.where else key

    def take(self, key: str) -> Any:
        return self.data.pop(key, None)

    def text(self, *keys: str) -> Text:
        """The first key that is there."""
        for key in keys:
            if key in self.data:
                return read_text(self.take(key), self.path(key))
        return NOT_STATED

    def version(self, key: str, *, tenths: bool = False) -> Text:
        """A version; ``tenths``: its second number has one digit, so that the number 12.4 can't have been 12.40."""
        return read_version(self.take(key), self.path(key), tenths=tenths)

    def integer(self, key: str) -> Number:
        value, where = self.take(key), self.path(key)
        if value is None or value == "":
            return NOT_STATED
        if value is False:
            return NONE_STATED
        if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise SnapshotError(f"{where} must be a whole number, not {kind(value)}")
        return value

    def flag(self, key: str) -> Flag:
        value, where = self.take(key), self.path(key)
        if value is None or value == "":
            return NOT_STATED
        if isinstance(value, (bool, int)):
            return bool(value)
        raise SnapshotError(f"{where} must be true or false, not {kind(value)}")

    def names(self, key: str) -> list[str] | None:
        """A list of texts, or one text with blanks or commas between them; None when not stated."""
        value, where = self.take(key), self.path(key)
        if value is None:
            return None
        if isinstance(value, str):
            value = value.replace(",", " ").split()
        return [name for name in (_plain(item, where) for item in sequence(value, where)) if name]

    def finish(self, allowed: Iterable[str] = ()) -> None:
        """Note the keys that nobody took."""
        known = sorted(allowed)
        for key, value in self.data.items():
            said = repr(value)[:60] if isinstance(value, (str, int, float, bool)) else kind(value)
            hint = _similar(key, known)
            self.notes.append(f"not understood: {self.path(key)} = {said}" + (f" (is {hint} meant?)" if hint else ""))


def read_text(value: Any, where: str) -> Text:
    if value is None or value == "":
        return NOT_STATED
    if value is False:
        return NONE_STATED
    return _plain(value, where)


def read_version(value: Any, where: str, *, tenths: bool = False) -> Text:
    """A version; a float is taken only where it can't have lost a zero (3.10 is the number 3.1)."""
    if isinstance(value, float):
        text = repr(value)
        if not (text.replace(".", "").isdecimal() and (tenths or len(text.partition(".")[2]) > 1)):
            raise SnapshotError(f'{where} is the number {text}: write versions in quotes, e.g. "{text}"')
        return text
    return read_text(value, where)


def sequence(value: Any, where: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise SnapshotError(f"{where} must be a list, not {kind(value)}")
    return list(value)


def _plain(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise SnapshotError(f"{where} must be a text, not {kind(value)}")
    if isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise SnapshotError(f"{where} must be a text, not so large a number")
        return str(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SnapshotError(f"{where} has half a surrogate pair in it, which is no character") from None
    return value.strip()


def kind(value: Any) -> str:
    """What a value is, for a message."""
    if value is None:
        return "null"
    if isinstance(value, (bytes, bytearray)):
        return "binary data"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, int):
        return f"the number {value}" if abs(value) < _LARGEST else "so large a number"
    return f"the number {value!r}" if isinstance(value, float) else f"a {type(value).__name__}"


def similar(word: str, words: tuple[str, ...]) -> str:
    """``; did you mean ...?`` where one of the words is like this one."""
    from difflib import get_close_matches

    close = get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _similar(key: str, known: list[str]) -> str:
    if not known:
        return ""
    from difflib import get_close_matches

    return next(iter(get_close_matches(key[:40].lower(), known, 1, 0.7)), "")


def read_compute_capability(section: Section) -> Text:
    """``8.6`` in any spelling: 8.6, "8.6", "sm_86", "compute_86", [8, 6]."""
    key = "compute_capability"
    value, where = section.take(key), section.path(key)
    if isinstance(value, (list, tuple)) and len(value) == 2:
        value = f"{value[0]}.{value[1]}"
    stated = read_version(value, where, tenths=True)
    if not isinstance(stated, str):
        return stated
    text = stated.lower().removeprefix("sm").removeprefix("compute").lstrip("_ ").rstrip("af")
    first, dot, last = text.partition(".")
    if not dot and text.isdecimal():
        # "86" is sm_86; "9" is the major alone.
        first, last = (text[:-1], text[-1]) if int(text[:6]) > 20 else (text, "0")
    if not (first.isdecimal() and last.isdecimal() and first.isascii() and last.isascii() and len(first + last) < 6):
        raise SnapshotError(f'{where} must be a compute capability such as "8.6", not {kind(value)}')
    return f"{int(first)}.{int(last)}"


def hash_uuids(text: str) -> str:
    """Replace UUIDs of GPUs by hashes, prefixes of them too: they tell devices apart and name none."""
    if "GPU-" not in text and "MIG-" not in text:
        return text
    from hashlib import sha256

    def replace(found: re.Match[str]) -> str:
        return found[1] + sha256(found[2].lower().encode()).hexdigest()[:12]

    return re.sub(r"\b((?:GPU|MIG)-(?:GPU-)?)([0-9a-fA-F]{4,8}(?:-[0-9a-fA-F]{1,12})*)", replace, text)
