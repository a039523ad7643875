"""A user's own rows: TOML files in the format of the tables that replace or add rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .check import row_faults
from .model import COMMON, Data, MatrixError, Row, Source, TableMeta, row_id

if TYPE_CHECKING:
    from . import Matrix


def read_overlays(matrix: Matrix, paths: Sequence[str]) -> tuple[dict[str, list[Row]], dict[str, Source]]:
    """Read overlay files; return the rows of each table and the sources that the files bring along.

    A file has ``[table]`` with `id` and ``[[row]]`` entries; a row may name another table in `table`. New sources
    stand under ``[source.ID]``; a row without source is attributed to the file itself.

    Raises MatrixError that lists every fault with file and row.
    """
    from .source import plain, read_toml

    rows: dict[str, list[Row]] = {}
    sources: dict[str, Source] = {}
    errors: list[str] = []
    known = set(matrix._read_sources())
    tables = set(matrix.tables())
    places: dict[str, str] = {}
    for path in paths:
        try:
            document = read_toml(path)
        except MatrixError as error:
            errors += error.errors
            continue
        errors += [f"{path}: unknown section {name}" for name in document if name not in ("table", "row", "source")]
        own = Source("overlay:" + path, path, path, "you", "overlay", "")
        sources[own.id] = own
        given = document.get("source", {})
        for name, fields in given.items() if isinstance(given, dict) else ():
            if not isinstance(fields, dict):
                errors.append(f"{path}: source {name}: not a table")
                continue
            text = {field: str(plain(fields.get(field, ""))) for field in Source.__slots__ if field != "id"}
            errors += [f"{path}: source {name}: unknown field {field}" for field in fields if field not in text]
            errors += [f"{path}: source {name}: no {field}" for field in ("title", "as_of") if not text[field]]
            sources[name] = Source(id=name, **text)
        header = document.get("table", {})
        default = header.get("id") if isinstance(header, dict) else None
        entries = document.get("row", [])
        if not isinstance(entries, list):
            errors.append(f"{path}: write rows as [[row]]")
            continue
        for number, entry in enumerate(entries, 1):
            where = f"{path}: row {number}"
            if not isinstance(entry, dict):
                errors.append(f"{where}: not a table")
                continue
            row: Row = {name: plain(value) for name, value in entry.items()}
            table = row.pop("table", default)
            try:
                meta = matrix.meta(str(table))
            except KeyError:
                errors.append(f"{where}: unknown table {table!r}" if table else f"{where}: names no table")
                continue
            row.setdefault("source", own.id)
            faults = row_faults(meta, row, known | set(given if isinstance(given, dict) else ()) | {own.id})
            name = row_id(meta.id, meta.key, row)
            if name in places:
                faults.append(f"the same row as {places[name]}")
            places.setdefault(name, where)
            errors += [f"{where}: {fault}" for fault in faults]
            rows.setdefault(meta.id, []).append(row)
        if default is not None and default not in tables:
            errors.append(f"{path}: [table] id: unknown table {default!r}")
    if not errors:
        errors = _overlaps(matrix, rows, places)
    if errors:
        raise MatrixError(errors)
    return rows, sources


def _overlaps(matrix: Matrix, rows: dict[str, list[Row]], places: dict[str, str]) -> list[str]:
    """Return where a range of an overlay, put among ours, shares a release with another."""
    errors = []
    for table, own in rows.items():
        meta = matrix.meta(table)
        if not meta.ranges:
            continue
        from .lint import overlap_faults

        merged = apply(meta, matrix._store.data(table, None), own, None)
        filled = [
            {name: cell for name, cell in zip(merged.columns, cells, strict=True) if cell is not None}
            for cells in merged.rows
        ]
        for fault in overlap_faults(meta, filled):
            # The later of two ranges is named, which may be ours: then the overlay's is the other one.
            where = places.get(fault.where) or next((at for name, at in places.items() if name in fault.what), table)
            errors.append(f"{where}: {meta.ranges['from']}, {meta.ranges['to']}: {fault.where} {fault.what}")
    return errors


def apply(meta: TableMeta, data: Data, overlay: Sequence[Row], part: str | None) -> Data:
    """Return `data` with the rows of an overlay put in place of those with the same id, or added at the end.

    A row with `withdrawn` removes the one it replaces.
    """
    columns = [column.name for column in meta.columns] + [name for name in COMMON if name != "withdrawn"]
    places = {name: at for at, name in enumerate(data.columns)}

    def arrange(values: list[Any]) -> list[Any]:
        return [values[places[name]] if name in places else None for name in columns]

    merged = {
        row_id(meta.id, meta.key, dict(zip(data.columns, values, strict=True))): arrange(values) for values in data.rows
    }
    for row in overlay:
        if part is not None and row.get(meta.partition or "") != part:
            continue
        name = row_id(meta.id, meta.key, row)
        if row.get("withdrawn"):
            merged.pop(name, None)
        else:
            merged[name] = [row.get(column) for column in columns]
    return Data(columns, list(merged.values()))
