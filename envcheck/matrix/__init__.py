"""The compatibility tables: loading and asking.

Tables are written by people in `matrices/` and compiled to JSON when a wheel is built. Nothing is read before it is
asked for; a partitioned table (one file a package) is read only for the package asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from .model import Data, Gap, MatrixError, Row, Source, TableMeta, meta_from_header, row_id
from .ordering import canonical_package, public, release, sort_key

__all__ = [
    "Gap",
    "Matrix",
    "MatrixError",
    "Row",
    "Source",
    "TableMeta",
    "canonical_package",
    "release",
    "sort_key",
]


MOST_ASKED = 4096
"""Questions of which the answers are kept: rules ask the same ones again for each snapshot."""


class Store(Protocol):
    """Where tables are read from."""

    def tables(self) -> list[str]: ...
    def meta(self, table: str) -> TableMeta: ...
    def data(self, table: str, partition: str | None) -> Data: ...
    def partitions(self, table: str) -> list[str]: ...
    def sources(self) -> dict[str, dict[str, str]]: ...
    def digest(self) -> str: ...
    def date(self) -> str: ...


class CompiledStore:
    """The tables of a wheel: JSON written by `envcheck.matrix.compiler`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._index_read: dict[str, Any] | None = None
        self._headers: dict[str, dict[str, Any]] = {}

    def tables(self) -> list[str]:
        return sorted(self._index()["tables"])

    def meta(self, table: str) -> TableMeta:
        return meta_from_header(self._header(table))

    def data(self, table: str, partition: str | None) -> Data:
        header = self._header(table)
        if header["partition"] is None:
            read = self._read(table + ".json")
            return Data(read["columns"], read["rows"])
        names = header["partitions"] if partition is None else [partition] if partition in header["partitions"] else []
        rows: list[list[Any]] = []
        for name in names:
            rows += self._read(f"{table}/{name}.json")
        return Data(header["data_columns"], rows)

    def partitions(self, table: str) -> list[str]:
        names: list[str] = self._header(table)["partitions"]
        return names

    def sources(self) -> dict[str, dict[str, str]]:
        read: dict[str, dict[str, str]] = self._read("sources.json")
        return read

    def digest(self) -> str:
        return str(self._index()["digest"])

    def date(self) -> str:
        return str(self._index()["date"])

    def _header(self, table: str) -> dict[str, Any]:
        if table not in self._headers:
            import msgspec

            try:
                text = self._index()["tables"][table]
            except KeyError:
                raise KeyError(f"no table {table}") from None
            self._headers[table] = msgspec.json.decode(text)
        return self._headers[table]

    def _index(self) -> dict[str, Any]:
        """Return the index. The headers stay JSON: a check asks for few of them, and decoding all takes longest."""
        if self._index_read is None:
            import msgspec

            index: dict[str, Any] = self._read("index.json", dict[str, msgspec.Raw])
            try:
                tables = msgspec.json.decode(index["tables"], type=dict[str, msgspec.Raw])
                self._index_read = {
                    "digest": msgspec.json.decode(index["digest"]),
                    "date": msgspec.json.decode(index["date"]),
                    "tables": tables,
                }
            except (KeyError, msgspec.DecodeError) as error:
                raise MatrixError([f"{os.path.join(self.directory, 'index.json')}: {error!r}"]) from error
        return self._index_read

    def _read(self, name: str, kind: Any = Any) -> Any:
        # msgspec is loaded on every path that asks a table, and decodes three times as fast as json.
        import msgspec

        path = os.path.join(self.directory, name)
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=kind)
        except (OSError, msgspec.DecodeError) as error:
            raise MatrixError([f"{path}: {error}"]) from error


def default_store() -> Store:
    """Return the compiled tables of an installed wheel, else the source files of the tree.

    Raises MatrixError when neither is there.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    compiled = os.path.join(package, "_data", "matrix")
    if os.path.isfile(os.path.join(compiled, "index.json")):
        return CompiledStore(compiled)
    tree = os.path.join(os.path.dirname(package), "matrices")
    if os.path.isdir(tree):
        from .source import SourceStore

        return SourceStore(tree)
    raise MatrixError([f"{compiled}: the compatibility tables are missing; install envcheck again"])


class Matrix:
    """The compatibility tables. Make one with `Matrix.load()`."""

    __slots__ = ("_asked", "_data", "_metas", "_overlay", "_sources", "_store", "memo")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._metas: dict[str, TableMeta] = {}
        self._data: dict[tuple[str, str | None], Data] = {}
        self._asked: dict[tuple[object, ...], list[Row]] = {}
        self._sources: dict[str, Source] | None = None
        self._overlay: dict[str, list[Row]] = {}
        self.memo: dict[str, Any] = {}
        """Indexes that helpers build over the rows, kept as long as the matrix."""

    @classmethod
    def load(cls, overlays: Sequence[str] = ()) -> Matrix:
        """Open the tables; nothing is read before it is asked for.

        `overlays` are paths of TOML files in the format of the tables; their rows replace rows of the same id or are
        added. Raises MatrixError, listing every fault with file and row, when an overlay is bad.
        """
        matrix = cls(default_store())
        if overlays:
            from .overlay import read_overlays

            rows, sources = read_overlays(matrix, overlays)
            matrix._overlay = rows
            matrix._sources = {**matrix._read_sources(), **sources}
        return matrix

    @property
    def digest(self) -> str:
        """SHA-256 of the files that the tables were made from (overlays not included)."""
        found = self.memo.get("digest")
        if found is None:
            found = self.memo["digest"] = self._store.digest()
        return str(found)

    @property
    def date(self) -> str:
        """Date of the newest fact (ISO 8601)."""
        return self._store.date()

    def tables(self) -> list[str]:
        """Return the ids of all tables."""
        return self._store.tables()

    def meta(self, table: str) -> TableMeta:
        """Return what `table` says about itself; KeyError when there is no such table."""
        if table not in self._metas:
            self._metas[table] = self._store.meta(table)
        return self._metas[table]

    def rows(self, table: str, **key: object) -> list[Row]:
        """Return the rows whose columns equal the given values, in the order of the table.

        Versions are compared without local label (``2.5.1+cu124`` is ``2.5.1``), names of packages in their normal
        form, other text without surrounding blanks. A column that holds a list matches when it contains the value.
        Raises KeyError for an unknown table or column.
        """
        asked = (table, *key.items())
        try:
            kept = self._asked.get(asked)
        except TypeError:  # a value that is no key, such as a list
            return self._found(table, key)
        if kept is None:
            kept = self._found(table, key)
            if len(self._asked) >= MOST_ASKED:
                self._asked.clear()
            self._asked[asked] = kept
        # The rows are the caller's own: what is kept stays as it was read.
        return [row.copy() for row in kept]

    def _found(self, table: str, key: dict[str, object]) -> list[Row]:
        meta = self.meta(table)
        wanted = {column: _normal(meta.type_of(column), value) for column, value in key.items()}
        part = wanted.get(meta.partition) if meta.partition else None
        data = self._read(meta, None if part is None else str(part))
        tests = [(data.columns.index(column), value) for column, value in wanted.items() if column in data.columns]
        if len(tests) < len(wanted):  # a column that no row of the compiled table fills
            return []
        found = []
        for values in data.rows:
            for at, value in tests:
                cell = values[at]
                if cell != value and not (type(cell) is list and value in cell):
                    break
            else:
                found.append(values)
        return rows_of(meta, data.columns, found)

    def values(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return these columns of all rows: cheaper than `rows` where a whole table is gone through.

        Only columns of the table's own. Raises KeyError for an unknown table or column.
        """
        meta = self.meta(table)
        for column in columns:
            meta.type_of(column)
        data = self._read(meta, None)
        filled = {column: data.columns.index(column) for column in columns if column in data.columns}
        cells = [[row[filled[c]] if c in filled else None for row in data.rows] for c in columns]
        return list(zip(*cells, strict=True))

    def row(self, table: str, **key: object) -> Row | None:
        """Return the first row whose columns equal the given values, None when there is none."""
        found = self.rows(table, **key)
        return found[0] if found else None

    def gap(self, table: str, column: str, value: str, **key: object) -> Gap:
        """Say why `table` has no row with this `value` in `column` (among the rows that fit `key`)."""
        from .gaps import explain

        return explain(self, table, column, value, key)

    def source(self, id: str) -> Source:
        """Return a source; KeyError when there is none of this id."""
        if self._sources is None:
            self._sources = self._read_sources()
        return self._sources[id]

    def cite(self, row: Row) -> tuple[str, str, str]:
        """Return where a row comes from: title and URL of the source, and the date of the row."""
        source = self.source(row["source"])
        return source.title, source.url, row["as_of"]

    def stale(self, today: str) -> list[TableMeta]:
        """Return the tables asked so far that nobody has looked at since their `stale_after` (dates in ISO 8601)."""
        asked = [meta for _, meta in sorted(self._metas.items())]
        return [meta for meta in asked if meta.stale_after is not None and today > meta.stale_after]

    def _read_sources(self) -> dict[str, Source]:
        return {name: Source(id=name, **fields) for name, fields in self._store.sources().items()}

    def _read(self, meta: TableMeta, part: str | None) -> Data:
        place = (meta.id, part)
        if place not in self._data:
            data = self._store.data(meta.id, part)
            if "withdrawn" in data.columns:
                at = data.columns.index("withdrawn")
                data = Data(data.columns, [row for row in data.rows if row[at] is None])
            if meta.id in self._overlay:
                from .overlay import apply

                data = apply(meta, data, self._overlay[meta.id], part)
            self._data[place] = data
        return self._data[place]


_NOTHING = object()
"""Equal to no cell."""


def _normal(kind: str, value: object) -> object:
    """Return a value asked for as the tables hold it."""
    if kind == "version":
        return public(str(value))
    if kind == "package":
        return canonical_package(str(value))
    if kind == "int" and isinstance(value, str):
        return int(value) if value.strip().isdigit() else _NOTHING
    return value.strip() if isinstance(value, str) else value


def rows_of(meta: TableMeta, columns: list[str], found: list[list[Any]]) -> list[Row]:
    """Return rows as people ask for them, from cells in the order of `columns`."""
    blank: Row = dict.fromkeys(meta.names)
    defaults = (("source", meta.source), ("as_of", meta.as_of), ("confidence", "high"))
    rows = []
    for values in found:
        row = blank.copy()
        row.update(zip(columns, values, strict=False))
        row.pop("withdrawn", None)
        for name, default in defaults:
            if row.get(name) is None:
                row[name] = default
        row.setdefault("note", None)
        row["_table"] = meta.id
        row["_id"] = row_id(meta.id, meta.key, row)
        rows.append(row)
    return rows
