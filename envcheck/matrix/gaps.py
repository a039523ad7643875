"""Says why a table has no row: too new, too old, not listed, not covered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import Gap, TableMeta
from .ordering import canonical_package, public, release, sort_key, within

if TYPE_CHECKING:
    from . import Matrix


def explain(matrix: Matrix, table: str, column: str, value: str, key: dict[str, Any]) -> Gap:
    """Return why `table` has no row with `value` in `column` among the rows that fit `key`.

    Versions are compared as numbers. Raises KeyError for an unknown table or column.
    """
    meta = matrix.meta(table)
    kind = meta.type_of(column)
    rows = matrix.rows(table, **key)
    name = _subject(meta, column, key)
    known = sorted({cell for row in rows for cell in _cells(row[column])}, key=sort_key)
    if not known:
        about = " ".join(_subject(meta, given, {}) + " " + str(wanted) for given, wanted in key.items())
        return Gap("not-covered", f"our table '{meta.title}' of {meta.as_of} says nothing about {about or name}")
    shown = (canonical_package(value) if kind == "package" else public(value)) or "(empty)"
    if kind != "version":
        ending = "does not list it" if meta.complete else "does not speak of it"
        return Gap(
            "not-listed" if meta.complete else "not-covered",
            f"{name} {shown}: our table '{meta.title}' of {meta.as_of} {ending}",
        )
    mine = release(value)
    numbered = [version for version in known if release(version) is not None]
    if mine is None or not numbered:
        return Gap("not-covered", f"{name} {shown}: not a version that our table '{meta.title}' could be asked for")
    same = [version for version in numbered if release(version) == mine]
    if same:
        return Gap(
            "not-covered", f"our data of {meta.as_of} lists {name} {shown} (as {same[0]}), but not what was asked"
        )
    lowest, highest = numbered[0], numbered[-1]
    if mine > (release(highest) or ()) and not _inside_last(mine, highest):
        return Gap("newer", f"{name} {shown} is newer than our data of {meta.as_of} (newest known {highest})")
    if mine < (release(lowest) or ()):
        return Gap("older", f"{name} {shown} is older than what our data covers (oldest known {lowest})")
    covered = True
    if isinstance(meta.covers, dict) and column in meta.covers:
        covered = bool(within(value, meta.covers[column]))
    below = [version for version in numbered if (release(version) or ()) <= mine]
    above = [version for version in numbered if (release(version) or ()) > mine]
    near = " and ".join([*below[-1:], *above[:1]])
    if meta.complete and covered:
        return Gap("not-listed", f"{name} {shown} is not listed in our data of {meta.as_of} (nearest: {near})")
    return Gap("not-covered", f"our data of {meta.as_of} does not cover {name} {shown} (nearest: {near})")


def _inside_last(mine: tuple[int, ...], highest: str) -> bool:
    """Tell whether the newest entry names a line (``13.5``) that the version (13.5.2) belongs to."""
    parts = [int(part) for part in highest.split(".") if part.isdigit()]
    return len(parts) < 3 and list(mine[: len(parts)]) == parts


def _cells(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _subject(meta: TableMeta, column: str, key: dict[str, Any]) -> str:
    """Return what is being asked about: the package when its version is, else the label of the column."""
    if column == "version":
        for given, value in key.items():
            if meta.type_of(given) == "package":
                return canonical_package(str(value))
    return meta.label(column)
