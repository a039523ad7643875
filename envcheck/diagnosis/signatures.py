"""The tables of signatures, and what of a text matches them.

A signature is found by its ``literals``: plain texts, compared without case, one of which must occur. Its ``pattern``,
a regular expression, then has to be found near it; named groups are the values that the message states. Literals keep
this fast, and a pattern that is looked for in a bounded window cannot take long.

A blank in either stands for any run of blanks and line ends: programs wrap their messages, and installers indent them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from envcheck.diagnosis.codes import Codes
from envcheck.diagnosis.model import Match

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

BEFORE, AFTER = 800, 1600
"""Characters around a literal in which its pattern is looked for."""
MOST_HITS = 8
"""Places of one signature that are looked at; a message that repeats says nothing new."""

KINDS = ("cause", "symptom", "harmless", "program", "limit")
ONLY_TOLD = ("op-unsupported", "serialization-mismatch")
"""Causes that only a message shows: no rule finds them in facts."""


_BLANKS = re.compile(r"\s+")
_WRAPPED = r"\s{1,24}"
"""What a blank of a pattern stands for: a line end and the indentation of the next line at most."""


class Flat:
    """A text in which every run of blanks and line ends is one blank, and where its characters stood before."""

    __slots__ = ("_shifts", "_starts", "text")

    def __init__(self, text: str) -> None:
        parts: list[str] = []
        self._starts, self._shifts = [0], [0]
        end = shift = 0
        for run in re.finditer(r"\s{2,}|[^\S ]", text):
            parts.append(text[end : run.start()])
            end = run.end()
            begin = run.start() - shift
            shift += end - run.start() - 1
            self._starts.append(begin + 1)
            self._shifts.append(shift)
        parts.append(text[end:])
        self.text = " ".join(parts)

    def original(self, place: int) -> int:
        """The place in the text as it was.

        >>> Flat("to compile\\n      PyTorch").original(11)
        17
        """
        from bisect import bisect_right

        return place + self._shifts[bisect_right(self._starts, place) - 1]


def wrappable(pattern: str) -> str:
    """A pattern whose blanks stand for line ends and indentation too; those in brackets or repeated stay.

    >>> print(wrappable("used to [a b] {2}"))
    used\\s{1,24}to\\s{1,24}[a b] {2}
    """
    result: list[str] = []
    inside = escaped = False
    behind = 0  # open brackets of a look-behind, which must have a fixed width
    for place, letter in enumerate(pattern):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif inside:
            inside = letter != "]" or pattern[place - 1] == "[" or pattern[place - 2 : place] == "[^"
        elif letter == "[":
            inside = True
        elif letter == "(" and (behind or pattern[place : place + 4] in ("(?<=", "(?<!")):
            behind += 1
        elif letter == ")" and behind:
            behind -= 1
        elif letter == " " and not behind and pattern[place + 1 : place + 2] not in ("?", "*", "+", "{"):
            letter = _WRAPPED
        result.append(letter)
    return "".join(result)


class Signatures:
    """All signatures, ready to be matched."""

    def __init__(self, rows: list[dict[str, Any]], codes: dict[str, Codes] | None = None) -> None:
        self.rows = rows
        self.codes = codes or {}
        self.literals = [tuple(_BLANKS.sub(" ", text.lower()) for text in row["literals"]) for row in rows]
        self._patterns: dict[str, re.Pattern[str]] = {}

    @classmethod
    def load(cls, matrix: Matrix) -> Signatures:
        """Those of the tables ``signatures-*``."""
        rows: list[dict[str, Any]] = []
        for table in matrix.tables():
            if table.startswith("signatures-"):
                rows.extend(matrix.rows(table))
        return cls(rows, {name: Codes.load(matrix, name) for name in {row.get("table") for row in rows} if name})

    def pattern(self, row: dict[str, Any]) -> re.Pattern[str]:
        """The compiled pattern of a signature."""
        text = row["pattern"]
        found = self._patterns.get(text)
        if found is None:
            found = self._patterns[text] = re.compile(wrappable(text), re.IGNORECASE | re.MULTILINE)
        return found

    def match(self, text: str) -> list[Match]:
        """What is found in a text, by its place in it; each signature once for each set of values."""
        return distinct(self.hits(text))

    def hits(self, text: str, most: int = MOST_HITS) -> list[Match]:
        """What is found in a text, by its place in it; ``most``: places of one signature that are looked at."""
        low = text.lower()
        if len(low) != len(text):  # a letter whose lower case has another length would move every place
            low = "".join(letter if len(letter.lower()) != 1 else letter.lower() for letter in text)
        flat = Flat(low)
        found: list[Match] = []
        for row, literals in zip(self.rows, self.literals, strict=True):
            for literal in literals:
                if literal in flat.text:
                    found.extend(self._at(row, literal, text, flat, most))
        found.sort(key=lambda match: match.position)
        return found

    def _at(self, row: dict[str, Any], literal: str, text: str, flat: Flat, most: int) -> list[Match]:
        found = []
        flat_place = -1
        for _ in range(most):
            flat_place = flat.text.find(literal, flat_place + 1)
            if flat_place < 0:
                break
            place = flat.original(flat_place)
            values: dict[str, str] = {}
            start, end = place, flat.original(flat_place + len(literal))
            if row.get("pattern"):
                hit = self._nearest(row, text, place)
                if hit is None:
                    continue
                start, end = min(start, hit.start()), max(end, hit.end())
                values = {name: value for name, value in hit.groupdict().items() if value is not None}
            signature: dict[str, Any] | None = row
            if row.get("table"):
                signature = self.codes[row["table"]].find(values or {"text": literal})
                values = {}
            if signature is not None:
                line = line_at(text, place)
                span = (start, end)
                found.append(Match(signature=signature, line=line, position=place, span=span, values=values))
        return found

    def _nearest(self, row: dict[str, Any], text: str, place: int) -> re.Match[str] | None:
        """The first hit that does not end before the literal; else the last of those that do."""
        hit = None
        for hit in self.pattern(row).finditer(text, max(0, place - BEFORE), place + AFTER):
            if hit.end() > place:
                break
        return hit


def distinct(matches: list[Match]) -> list[Match]:
    """Each signature once for each set of values."""
    seen = set()
    kept = []
    for match in matches:
        key = (match.signature["id"], *sorted(match.values.items()))
        if key not in seen:
            seen.add(key)
            kept.append(match)
    return kept


def line_at(text: str, place: int) -> str:
    """The line around a place, shortened."""
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line = text[start : len(text) if end < 0 else end].strip()
    return line if len(line) <= 300 else line[:297] + "..."
