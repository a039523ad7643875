"""A user's own rows: TOML files in the format of the tables that replace or add rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    from .source import read_toml

    found = _Found(matrix)
    for path in paths:
        try:
            document = read_toml(path)
        except MatrixError as error:
            found.errors += error.errors
            continue
        found.take(path, document)
    errors = found.errors + _overlaps(matrix, found.rows, found.places, found.spoilt)
    if errors:
        raise MatrixError(errors)
    return found.rows, found.sources


class _Found:
    """What the files say so far, and what is wrong with it."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.ours = set(matrix._read_sources())
        self.rows: dict[str, list[Row]] = {}
        self.sources: dict[str, Source] = {}
        self.errors: list[str] = []
        self.places: dict[str, str] = {}
        """Id of a row -> file and row."""
        self.spoilt: set[str] = set()
        """Tables of which a row is wrong: their ranges cannot be compared."""

    def take(self, path: str, document: dict[str, Any]) -> None:
        """Take in one file."""
        self.errors += [
            f"{path}: unknown section {name}" for name in document if name not in ("table", "row", "source")
        ]
        own = Source("overlay:" + path, path, path, "you", "overlay", "")
        self.sources[own.id] = own
        given = self._section(path, document, "source")
        for name, fields in given.items():
            self._source(path, name, fields)
        header = self._section(path, document, "table")
        # A table of ours may be copied as a whole: what else its header says is ours to say.
        self.errors += [
            f"{path}: [table]: unknown field {name}" for name in header if name not in (*TableMeta.__slots__, "format")
        ]
        default = header.get("id")
        if default is not None and default not in self.matrix.tables():
            self.errors.append(f"{path}: [table] id: unknown table {default!r}")
            default = ""
        entries = document.get("row", [])
        if not isinstance(entries, list):
            self.errors.append(f"{path}: write rows as [[row]]")
            return
        known = self.ours | set(given) | {own.id}
        for number, entry in enumerate(entries, 1):
            self._row(f"{path}: row {number}", entry, default, known, own.id)

    def _section(self, path: str, document: dict[str, Any], name: str) -> dict[str, Any]:
        section = document.get(name, {})
        if isinstance(section, dict):
            return section
        self.errors.append(f"{path}: {name} is not a table: write [{'source.ID' if name == 'source' else name}]")
        return {}

    def _source(self, path: str, name: str, fields: Any) -> None:
        from .source import plain

        where = f"{path}: source {name}"
        if not isinstance(fields, dict):
            self.errors.append(f"{where}: not a table")
            return
        if name in self.ours or name in self.sources:
            self.errors.append(f"{where}: there is a source of this name already; choose another")
            return
        text = {field: str(plain(fields.get(field, ""))) for field in Source.__slots__ if field != "id"}
        self.errors += [f"{where}: unknown field {field}" for field in fields if field not in text]
        self.errors += [f"{where}: no {field}" for field in ("title", "as_of") if not text[field]]
        self.sources[name] = Source(id=name, **text)

    def _row(self, where: str, entry: Any, default: Any, known: set[str], own: str) -> None:
        from .source import plain

        if not isinstance(entry, dict):
            self.errors.append(f"{where}: not a table")
            return
        row: Row = {name: plain(value) for name, value in entry.items()}
        table = row.pop("table", default)
        try:
            meta = self.matrix.meta(str(table))
        except KeyError:
            if table != "":  # the file's own [table] id was named as wrong
                self.errors.append(f"{where}: unknown table {table!r}" if table else f"{where}: names no table")
            return
        row.setdefault("source", own)
        faults = row_faults(meta, row, known)
        name = row_id(meta.id, meta.key, row)
        if name in self.places:
            faults.append(f"the same row as {self.places[name]}")
        self.places.setdefault(name, where)
        self.errors += [f"{where}: {fault}" for fault in faults]
        if faults:
            self.spoilt.add(meta.id)
        self.rows.setdefault(meta.id, []).append(row)


def _overlaps(matrix: Matrix, rows: dict[str, list[Row]], places: dict[str, str], spoilt: Collection[str]) -> list[str]:
    """Return where a range of an overlay, put among ours, shares a release with another."""
    errors = []
    for table, own in rows.items():
        meta = matrix.meta(table)
        if not meta.ranges or table in spoilt:
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
