"""The rules' verdict on a snapshot, kept: a program that diagnoses many texts does so in one environment.

A snapshot can be changed by its owner, so that it is known again by all that it says, not by which object it is. What
is kept rests on a copy, and each caller gets a report of his own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.engine import evaluate
from envcheck.facts import Facts

if TYPE_CHECKING:
    from envcheck.core.report import Report
    from envcheck.core.snapshot import Snapshot
    from envcheck.matrix import Matrix

MOST_KEPT, MOST_BYTES = 32, 4 << 20
"""Snapshots of which the verdict is kept, and their size in all."""


class _Kept:
    __slots__ = ("facts", "report")

    def __init__(self, facts: Facts, report: bytes) -> None:
        self.facts = facts
        self.report = report
        """JSON, without the snapshot."""


def judged(snapshot: Snapshot, matrix: Matrix) -> tuple[Facts, Report]:
    """Facts of a snapshot, only to be read, and the report on it."""
    import time

    import msgspec

    from envcheck.core.report import Report
    from envcheck.core.snapshot import Snapshot

    said = _said(snapshot)
    if said is None:
        return Facts(snapshot, matrix), evaluate(snapshot, matrix)
    kept: dict[tuple[bytes, str], _Kept] = matrix.memo.setdefault("judged", {})
    # Which tables are stale depends on the day.
    key = said, time.strftime("%Y-%m-%d", time.gmtime())
    one = kept.pop(key, None)
    if one is None:
        try:
            mine = msgspec.json.decode(said, type=Snapshot)
        except msgspec.MsgspecError:  # made by hand, with a value of another type
            return Facts(snapshot, matrix), evaluate(snapshot, matrix)
        report = evaluate(mine, matrix)
        report.snapshot = Snapshot()
        one = _Kept(Facts(mine, matrix), msgspec.json.encode(report))
    kept[key] = one
    while len(kept) > MOST_KEPT or (len(kept) > 1 and sum(len(text) for text, _ in kept) > MOST_BYTES):
        del kept[next(iter(kept))]
    found = msgspec.json.decode(one.report, type=Report)
    found.snapshot = snapshot
    return one.facts, found


def _said(snapshot: Snapshot) -> bytes | None:
    """The snapshot as JSON; None where it has none: a file name that is no UTF-8, an object of another kind."""
    import msgspec

    try:
        return msgspec.json.encode(snapshot)
    except (UnicodeEncodeError, TypeError):
        return None
