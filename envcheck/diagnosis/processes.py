"""A text in which several processes write, put into one run of lines for each of them.

Within a run the lines of a message stand together again, and without their prefixes. Nothing is lost by it: lines
without a prefix stay a run of their own, and what matches the text only as it was is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envcheck.diagnosis.prefixes import Prefixes, several
from envcheck.diagnosis.text import SOURCE

if TYPE_CHECKING:
    from envcheck.diagnosis.model import Cause, Match
    from envcheck.diagnosis.signatures import Signatures

BETWEEN = "\0"
"""A line between two runs: no blank, and in no text."""
MOST_FOLLOWING = 200
"""Lines without a prefix that are taken to continue a record."""
MOST_RUNS = 8
"""For so many runs more places of one signature are looked at."""
_DIGITS = {ord(digit): None for digit in "0123456789"}


def key_of(line: str) -> int:
    """The same for lines that differ in numbers only."""
    return hash(line.strip().translate(_DIGITS))


class Processes:
    """The runs of a text, and who wrote which line of it."""

    __slots__ = (
        "_heard",
        "_line_owners",
        "_lines",
        "_owners",
        "_places",
        "_source",
        "_starts",
        "prefixes",
        "text",
        "whole",
    )

    def __init__(self, whole: str, prefixes: Prefixes, heard: dict[int, int] | None = None) -> None:
        self.whole = self.text = whole
        """The text as it was."""
        self.prefixes = prefixes
        self._heard = heard if heard is not None else {}
        """Of lines that were left out as repetitions: who wrote them, a bit for each process."""
        self._starts: list[int] = []
        self._places: list[int] = []
        self._owners: list[int] = []
        self._lines: list[int] = []
        self._line_owners: list[int] = []
        self._source: set[int] = set()
        """Lines of source in tracebacks, by their number."""
        self._join(self._runs())

    def _runs(self) -> dict[int, list[tuple[str, int]]]:
        """The lines of each process, with their places in the text as it was."""
        runs: dict[int, list[tuple[str, int]]] = {}
        peel = self.prefixes.peel
        place = following = 0
        record = 0
        for line in self.whole.split("\n"):
            owner, begin = peel(line)
            self._lines.append(place)
            self._line_owners.append(owner)
            if begin:
                record = owner if self.prefixes.record else 0
                following = 0
                body = _without_repetitions(line[begin:])
            else:
                body = line
                if record and following < MOST_FOLLOWING:
                    following += 1
                    runs[record].append((body, place))
            runs.setdefault(owner, []).append((body, place + begin))
            place += len(line) + 1
        return runs

    def _join(self, runs: dict[int, list[tuple[str, int]]]) -> None:
        bodies: list[str] = []
        start = 0
        for owner, run in runs.items():
            kept = self._without_source(run)
            if bodies:
                kept.insert(0, (BETWEEN, kept[0][1]))
            for body, place in kept:
                bodies.append(body)
                self._starts.append(start)
                self._places.append(place)
                self._owners.append(owner if body != BETWEEN else 0)
                start += len(body) + 1
        self.text = "\n".join(bodies)

    def _without_source(self, run: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Lines of source in tracebacks are left out, as :mod:`envcheck.diagnosis.text` does in other texts."""
        text = "\n".join(body for body, _ in run)
        if 'File "' not in text:
            return run
        gone = [(found.end(1) + 1, found.end()) for found in SOURCE.finditer(text)]
        kept = []
        start = number = 0
        for body, place in run:
            while number < len(gone) and gone[number][1] < start:
                number += 1
            if number == len(gone) or start < gone[number][0]:
                kept.append((body, place))
            else:
                self._source.add(bisect_right(self._lines, place))
            start += len(body) + 1
        return kept

    def match(self, signatures: Signatures) -> list[Match]:
        """What is found in the runs, and what only the text as it was has; places are those of the text as it was."""
        from envcheck.diagnosis.signatures import MOST_HITS, distinct

        found = signatures.hits(self.text, MOST_HITS * min(len(self.prefixes.labels), MOST_RUNS))
        wrote: list[tuple[Match, int]] = []
        for match in found:
            line = bisect_right(self._starts, match.position) - 1
            shift = self._places[line] - self._starts[line]
            match.position += shift
            wrote.append((match, self._owners[line]))
        known = {match.signature["id"] for match in found}
        for match in signatures.hits(self.whole):
            if match.signature["id"] not in known and bisect_right(self._lines, match.position) not in self._source:
                owners = self._between(*match.span)
                if len(owners) < 2 or not self.prefixes.certain:
                    wrote.append((match, owners.pop() if len(owners) == 1 else 0))
        # A line without a prefix is nobody's rather than that of the record before it.
        wrote.sort(key=lambda one: (one[0].position, one[1]))
        owners_of = {id(match): owner for match, owner in wrote}
        kept = distinct([match for match, _ in wrote])
        self._attribute([(match, owners_of[id(match)]) for match in kept])
        return kept

    def _between(self, start: int, end: int) -> set[int]:
        """Who wrote the lines of a part of the text as it was; nobody left out."""
        first = bisect_right(self._lines, start) - 1
        last = bisect_right(self._lines, max(start, end - 1)) - 1
        return set(self._line_owners[first : last + 1]) - {0}

    def _attribute(self, matches: list[tuple[Match, int]]) -> None:
        """Name the processes that wrote each message: all that wrote its line, numbers aside.

        Where processes wrote the message with other values, each value is that of the process in which it stands.
        """
        wanted: dict[int, set[int]] = {}
        times: dict[tuple[str, int], int] = {}
        for match, owner in matches:
            if owner:
                key = key_of(self._line_at(match.position))
                wanted[key] = {owner, *_bits(self._heard.get(key, 0))}
                both = match.signature["id"], key
                times[both] = times.get(both, 0) + 1
        if not wanted:
            return
        ends = [*self._starts[1:], len(self.text) + 1]
        for owner, start, end in zip(self._owners, self._starts, ends, strict=True):
            if owner:
                writers = wanted.get(key_of(self.text[start : end - 1]))
                if writers is not None:
                    writers.add(owner)
        for match, owner in matches:
            if owner:
                key = key_of(self._line_at(match.position))
                alone = times[match.signature["id"], key] > 1
                numbers = [owner] if alone else sorted(wanted[key])
                match.processes = list(dict.fromkeys(filter(None, map(self.prefixes.name, numbers))))

    def _line_at(self, position: int) -> str:
        """The own text of the line at a place of the text as it was."""
        line = bisect_right(self._lines, position) - 1
        start = self._lines[line]
        end = self._lines[line + 1] - 1 if line + 1 < len(self._lines) else len(self.whole)
        text = self.whole[start:end]
        return _without_repetitions(text[self.prefixes.peel(text)[1] :])


def _without_repetitions(body: str) -> str:
    """Ray writes a line that several workers have once: ``... [repeated 3x across cluster] (Ray deduplicates ...)``."""
    if "x across cluster]" not in body:
        return body
    place = body.rfind(" [repeated ")
    return body[:place] if place >= 0 and "x across cluster]" in body[place : place + 40] else body


def _bits(mask: int) -> list[int]:
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def by(processes: list[str]) -> str:
    """`` of ranks 0-3``; empty where nobody is named."""
    return f" of {several(processes)}" if processes else ""


def name_writers(causes: list[Cause], matches: list[Match]) -> None:
    """Say of each cause, and in its evidence, which processes wrote the messages."""
    wrote: dict[str, list[str]] = {}
    for match in matches:
        for key in (match.signature["id"], f"the message: {match.line}"):
            wrote[key] = list(dict.fromkeys([*wrote.get(key, ()), *match.processes]))
    for cause in causes:
        cause.processes = list(dict.fromkeys(name for one in cause.signatures for name in wrote.get(one, ())))
        cause.evidence = [
            replace(one, fact=one.fact.replace("the message", f"the message{by(wrote[one.fact])}", 1))
            if wrote.get(one.fact)
            else one
            for one in cause.evidence
        ]
