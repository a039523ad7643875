"""The diagnosis of a failed test, as a section of its report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot

MOST = 30
"""Failures that are diagnosed in a run; where more fail, they mostly fail alike."""


def messages(text: str) -> str:
    """Of a traceback in pytest's own styles the messages: source around it has some that were not raised.

    >>> messages(">       raise ImportError('one')\\nE       ImportError: one")
    'ImportError: one'
    """
    said = [line[2:].strip() for line in text.splitlines() if line.startswith("E  ")]
    return "\n".join(said) if said else text


class Failures:
    """Diagnoses failures; equal ones once."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot
        self.known: dict[str, str] = {}

    def section(self, report: Any) -> None:
        """Add the diagnosis to a report of a failed test or collection, where there is one. Never raises."""
        try:
            text = str(report.longrepr or "")
            captured = "\n".join(said for name, said in report.sections if "stderr" in name)
            words = self.words(f"{captured}\n{messages(text)}")
        except Exception:
            return  # the test's own failure matters
        if words:
            report.sections.append(("envcheck: what the message says", words))

    def words(self, text: str) -> str:
        """The diagnosis of a text; empty when nothing in it is known."""
        key = text[-4000:]
        if key not in self.known:
            self.known[key] = self._diagnosed(text) if len(self.known) < MOST else ""
        return self.known[key]

    def _diagnosed(self, text: str) -> str:
        from envcheck.diagnosis.diagnose import diagnose, recognises
        from envcheck.matrix import Matrix

        matrix = Matrix.load()
        # Most failures are ordinary ones: this machine is looked at only for a message of the environment.
        if not recognises(text, matrix):
            return ""
        diagnosis = diagnose((text,), self.snapshot(), matrix)
        if diagnosis.verdict != "environment":
            return ""
        from envcheck.render.diagnosis import render_diagnosis

        return render_diagnosis(diagnosis, width=100, color=False, encoding="utf-8")
