"""Error codes: what a signature found is looked up in a table of codes, by number, name or text.

A signature with `table` stands for all rows of that table (``cuda-errors``, ``nvml-errors``): a group ``code`` of its
pattern is a number, ``name`` a name, ``text`` what the library prints for the code; without a pattern the literal
itself is the text. The match is then one of the code: its causes, meaning and cure come from the table's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

NAMES = ("runtime_name", "driver_name", "name")
CONTROL, HARDWARE = "not-environment", "hardware"
"""What the tables name beside rules: a fault of the program, and of the hardware."""


class Codes:
    """The codes of one table, as signatures."""

    def __init__(self, table: str, rows: list[dict[str, Any]]) -> None:
        self._prefix = table.removesuffix("s")
        self._by: dict[str, dict[str, Any]] = {}
        made = [(row, self._signature(row)) for row in rows if row["code"]]
        self.signatures = [signature for _, signature in made]
        for row, signature in made:
            self._by.setdefault(str(row["code"]), signature)
        for row, signature in made:
            old = row.get("old_code")
            # A number that was given to a new meaning later counts as the old one where the new says nothing.
            if old and not self._by.get(str(old), {}).get("causes"):
                self._by[str(old)] = signature
            for name in NAMES:
                if row.get(name):
                    self._by.setdefault(_plain(row[name]), signature)
            for text in row.get("texts") or ():
                self._by.setdefault(_plain(text), signature)

    @classmethod
    def load(cls, matrix: Matrix, table: str) -> Codes:
        """Those of a table."""
        return cls(table, matrix.rows(table))

    def find(self, values: dict[str, str]) -> dict[str, Any] | None:
        """The signature of what was captured: text and name count before the number, which changed with releases."""
        for group in ("text", "name", "code"):
            found = self._by.get(_plain(values.get(group, "")))
            if found is not None:
                return found
        return None

    def _signature(self, row: dict[str, Any]) -> dict[str, Any]:
        causes = list(row.get("weighed") or ())
        if not causes:
            causes = [f"{rule} medium" for rule in row["causes"] if rule not in (CONTROL, HARDWARE)]
        sure = any(" high" in cause for cause in causes)
        return {
            "id": f"{self._prefix}-{row['code']}",
            "kind": "program" if not causes else "cause" if sure else "symptom",
            "causes": causes,
            "means": f"{name_of(row)} ({row['code']}): {row['meaning']}",
            "cure": row.get("cure"),
            "source": row["source"],
            "as_of": row["as_of"],
        }


def _plain(name: str) -> str:
    """Without case, underscores and a closing dot: NVMLError_Timeout is NVML_ERROR_TIMEOUT."""
    return name.strip().rstrip(".").replace("_", "").lower()


def name_of(row: dict[str, Any]) -> str:
    """The first name that a code has."""
    return next((str(row[name]) for name in NAMES if row.get(name)), "")
