"""Checks the tables in `matrices/`: ``python -m envcheck.matrix.lint [--fix] [DIRECTORY]``.

Faults (exit code 1): unknown columns, wrong types, unknown sources, doubled ids, rows out of order, overlapping
ranges, values that must rise and fall, dates in the future, files that are not in canonical form (``--fix`` rewrites
them), tables that are more than 90 days past their `stale_after`. Warnings: tables past their `stale_after`, sources
that no table uses.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any, NamedTuple

from .canonical import canonical, row_order
from .check import header_faults, row_faults
from .model import MatrixError, Row, TableMeta, row_id
from .ordering import release, sort_key
from .source import SourceStore

KINDS = ("vendor-doc", "measured", "package-metadata", "repository", "community")
SOURCE_FIELDS = ("title", "url", "publisher", "kind", "as_of")


PATIENCE = 90
"""Days after `stale_after` from which on a table that nobody has looked at is a fault."""


class Fault(NamedTuple):
    """One thing that is wrong: where, what, and whether it only deserves a warning."""

    where: str
    what: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {'warning: ' if self.warning else ''}{self.what}"


def lint(directory: str, *, fix: bool = False, today: str | None = None) -> list[Fault]:
    """Check every table in `directory`; return what is wrong.

    `fix` rewrites files in canonical form first. `today` is the date (ISO 8601) to judge staleness by.
    """
    today = today or _today()
    store = SourceStore(directory)
    try:
        sources = store.sources()
    except (MatrixError, AttributeError) as error:
        return [Fault("sources.toml", str(error))]
    faults = _source_faults(sources, today)
    used: set[str] = set()
    for table in store.tables():
        try:
            meta = store.meta(table)
            wrong = header_faults(meta) + [f"unknown source {name!r}" for name in meta.also if name not in sources]
            faults += [Fault(f"{table}.toml", fault) for fault in wrong]
            if wrong:
                continue
            if fix:
                _rewrite(directory, store, meta, set(sources))
            faults += _table_faults(directory, store, meta, set(sources), today)
            used |= _used_sources(store, meta)
        except MatrixError as error:
            faults += [Fault(table, line.removeprefix(directory).lstrip("/\\")) for line in error.errors]
    faults += [Fault("sources.toml", f"no table uses {name}", warning=True) for name in sorted(set(sources) - used)]
    return faults


def _days(date: str) -> int:
    import datetime

    return datetime.date.fromisoformat(date).toordinal()


def _today() -> str:
    import datetime

    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def _source_faults(sources: dict[str, dict[str, str]], today: str) -> list[Fault]:
    faults = []
    if list(sources) != sorted(sources):
        faults.append(Fault("sources.toml", "not sorted by id"))
    for name, fields in sources.items():
        where = f"sources.toml: {name}"
        faults += [Fault(where, f"no {field}") for field in SOURCE_FIELDS if not fields.get(field)]
        unknown = sorted(set(fields) - set(SOURCE_FIELDS))
        faults += [Fault(where, f"unknown field {field}") for field in unknown]
        if fields.get("kind") not in KINDS:
            faults.append(Fault(where, f"kind is not one of {', '.join(KINDS)}"))
        if fields.get("as_of", "") > today:
            faults.append(Fault(where, "as_of is in the future"))
    return faults


def _used_sources(store: SourceStore, meta: TableMeta) -> set[str]:
    data = store.data(meta.id, None)
    at = data.columns.index("source")
    return {row[at] for row in data.rows if row[at]} | set(meta.also) | ({meta.source} if meta.source else set())


def _table_faults(directory: str, store: SourceStore, meta: TableMeta, sources: set[str], today: str) -> list[Fault]:
    data = store.data(meta.id, None)
    rows = [
        {name: value for name, value in zip(data.columns, values, strict=True) if value is not None}
        for values in data.rows
    ]
    faults = []
    ids: set[str] = set()
    for row in rows:
        name = row_id(meta.id, meta.key, row)
        faults += [Fault(name, fault) for fault in row_faults(meta, row, sources)]
        if name in ids:
            faults.append(Fault(name, "the id occurs twice"))
        ids.add(name)
        if str(row.get("as_of", "")) > today:
            faults.append(Fault(name, "as_of is in the future"))
    if meta.as_of > today:
        faults.append(Fault(f"{meta.id}.toml", "as_of is in the future"))
    if not rows:
        faults.append(Fault(f"{meta.id}.toml", "no rows"))
    compared = {column.name for column in meta.columns if column.type in ("version", "int")}
    if any(fault.what.partition(":")[0] in compared for fault in faults):
        return faults  # what follows compares these columns
    live = [row for row in rows if "withdrawn" not in row]
    faults += _order_faults(meta, rows)
    faults += _rising_faults(meta, live)
    faults += overlap_faults(meta, live)
    if meta.stale_after and today > meta.stale_after:
        late = _days(today) - _days(meta.stale_after)
        what = f"not looked at since {meta.as_of}"
        if late > PATIENCE:
            what += f", {late} days past its stale_after"
        faults.append(Fault(f"{meta.id}.toml", what, warning=late <= PATIENCE))
    path, text = canonical(directory, store, meta)
    with open(path, encoding="utf-8", newline="") as file:
        if file.read() != text:
            faults.append(Fault(os.path.basename(path), "not in canonical form; run the linter with --fix"))
    return faults


def _order_faults(meta: TableMeta, rows: list[Row]) -> list[Fault]:
    keys = [row_order(meta, row) for row in rows]
    return [
        Fault(row_id(meta.id, meta.key, row), "out of order: rows are sorted by key, versions as numbers")
        for before, after, row in zip(keys, keys[1:], rows[1:], strict=False)
        if after < before
    ]


def _comparable(meta: TableMeta, column: str, row: Row) -> Any:
    value = row[column]
    return sort_key(value)[:2] if meta.type_of(column) == "version" else value


def _rising_faults(meta: TableMeta, rows: list[Row]) -> list[Fault]:
    """Check the header's `rising`: within one value of `within`, `column` never falls while `by` rises."""
    faults = []
    for rule in meta.rising:
        column, by, within = rule["column"], rule["by"], rule.get("within")
        newest: dict[Any, Row] = {}
        usable = [row for row in rows if column in row and by in row]
        for row in sorted(usable, key=lambda row: (_comparable(meta, by, row), _comparable(meta, column, row))):
            group = row.get(within) if within else None
            before = newest.get(group)
            if before is not None and _comparable(meta, column, row) < _comparable(meta, column, before):
                what = f"{column} {row[column]} is lower than {before[column]} of {by} {before[by]}"
                faults.append(Fault(row_id(meta.id, meta.key, row), what))
            else:
                newest[group] = row
    return faults


def overlap_faults(meta: TableMeta, rows: list[Row]) -> list[Fault]:
    """Check the header's `ranges`: within equal values of `within`, no two ranges share a release.

    A column named `to_version` excludes its bound; any other last column includes all that begins with its value.
    """
    if not meta.ranges:
        return []
    first, last, within = meta.ranges["from"], meta.ranges["to"], meta.ranges.get("within", [])
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(column)) for column in within), []).append(row)
    faults = []
    for group in groups.values():
        group.sort(key=lambda row: sort_key(row[first]))
        for before, row in itertools.pairwise(group):
            end = before.get(last)
            start = release(row[first]) or ()
            if end is None or (_ends_after(end, start) if last != "to_version" else (release(end) or ()) > start):
                what = f"overlaps the range of {row_id(meta.id, meta.key, before)}"
                faults.append(Fault(row_id(meta.id, meta.key, row), what))
        for row in group:
            end = row.get(last)
            if end is not None and not _ends_after(end, release(row[first]) or ()):
                faults.append(Fault(row_id(meta.id, meta.key, row), f"{last} lies before {first}"))
    return faults


def _ends_after(end: str, start: tuple[int, ...]) -> bool:
    """Tell whether a range that ends with `end`, all that begins so included, holds or passes `start`."""
    bound = [int(part) for part in end.split(".")]
    return bound >= [*start, *[0] * len(bound)][: len(bound)]


def _rewrite(directory: str, store: SourceStore, meta: TableMeta, sources: set[str]) -> None:
    """Write a table in canonical form; one with faulty rows is left as it is."""
    data = store.data(meta.id, None)
    rows = [
        {name: value for name, value in zip(data.columns, values, strict=True) if value is not None}
        for values in data.rows
    ]
    path, text = (
        canonical(directory, store, meta) if not any(row_faults(meta, row, sources) for row in rows) else ("", "")
    )
    if path:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        store.forget(meta.id)


def main(arguments: list[str] | None = None) -> int:
    """Run the linter; return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    unknown = [word for word in given if word.startswith("-") and word != "--fix"]
    places = [word for word in given if not word.startswith("-")]
    if unknown or len(places) > 1:
        print("usage: python -m envcheck.matrix.lint [--fix] [DIRECTORY]", file=sys.stderr)
        return 2
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    directory = places[0] if places else os.path.join(root, "matrices")
    if not os.path.isdir(directory):
        print(f"{directory}: no such directory", file=sys.stderr)
        return 2
    faults = lint(directory, fix="--fix" in given)
    for fault in faults:
        print(fault)
    errors = sum(not fault.warning for fault in faults)
    print(f"{errors} faults, {len(faults) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
