"""Facts from reports that people paste: one file for each kind of report.

Each has ``read(text) -> dict | None``: sparse facts, as :meth:`envcheck.Snapshot.from_facts` takes them, or None when
the text holds no such report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot

READERS: tuple[str, ...] = ()
"""Modules of this package, the most telling first: what one states counts before what a later one does."""


def snapshot_from_text(text: str) -> Snapshot | None:
    """What the reports in a text state; None when it holds none. Never raises."""
    found: dict[str, object] = {}
    for name in READERS:
        module = __import__(f"{__name__}.{name}", fromlist=("read",))
        stated = module.read(text)
        for key, value in (stated or {}).items():
            if isinstance(value, dict) and isinstance(found.get(key), dict):
                found[key] = {**value, **found[key]}  # type: ignore[dict-item]
            else:
                found.setdefault(key, value)
    if not found:
        return None
    from envcheck.core.snapshot import Snapshot, SnapshotError

    try:
        return Snapshot.from_facts(found)
    except SnapshotError:
        return None
