"""The types that the tables are made of."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
"""One row: column name -> value (str, int, bool, list[str]; None when the table leaves it open).

Always present: `source`, `as_of`, `confidence`, `note`, and `_table` and `_id`, which name the row.
"""

#: Columns that every table has besides its own.
COMMON = ("source", "as_of", "confidence", "note", "withdrawn")
#: What a column may hold. `version` and `package` are strings that are compared after normalisation.
TYPES = ("version", "package", "str", "int", "bool", "list", "date")
CONFIDENCE = ("high", "medium", "low")


class MatrixError(Exception):
    """The tables or an overlay cannot be read; `errors` lists every fault with file and row."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class QueryError(Exception):
    """What was asked of the tables does not exist; its text is one sentence, with what is near."""


class _Plain:
    """Equality and text by fields. A NamedTuple's class would cost 0.2 ms at each import, and every check pays it."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class Column(_Plain):
    """One column of a table."""

    __slots__ = ("about", "name", "type", "values")

    def __init__(self, name: str, type: str, about: str, values: tuple[str, ...]) -> None:
        self.name = name
        self.type = type
        self.about = about
        self.values = values
        """The only values allowed; empty when any value of the type is."""


class TableMeta(_Plain):
    """What a table says about itself.

    `covers` limits what the table speaks about: a sentence, or column -> version specifier. `complete` means that
    inside `covers` a combination that is not listed does not exist.
    """

    __slots__ = (
        "about",
        "also",
        "as_of",
        "columns",
        "complete",
        "covers",
        "id",
        "key",
        "labels",
        "partition",
        "ranges",
        "rising",
        "source",
        "stale_after",
        "title",
    )

    def __init__(
        self,
        *,
        id: str,
        title: str,
        about: str,
        key: tuple[str, ...],
        columns: tuple[Column, ...],
        covers: str | dict[str, str],
        complete: bool,
        as_of: str,
        stale_after: str | None,
        partition: str | None,
        source: str | None,
        also: tuple[str, ...],
        labels: dict[str, str],
        rising: tuple[dict[str, str], ...],
        ranges: dict[str, Any],
    ) -> None:
        self.id = id
        self.title = title
        self.about = about
        self.key = key
        self.columns = columns
        self.covers = covers
        self.complete = complete
        self.as_of = as_of
        self.stale_after = stale_after
        self.partition = partition
        self.source = source
        self.also = also
        """Further sources that columns of the table come from."""
        self.labels = labels
        self.rising = rising
        self.ranges = ranges

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def type_of(self, column: str) -> str:
        """Return the type of `column`; raise KeyError when the table has no such column."""
        for each in self.columns:
            if each.name == column:
                return each.type
        if column in COMMON:
            return "date" if column == "as_of" else "str"
        raise KeyError(f"table {self.id} has no column {column}")

    def label(self, column: str) -> str:
        """Return what the values of `column` are called in a sentence, e.g. ``CUDA toolkit``."""
        return self.labels.get(column, column.replace("_", " "))


class Source(_Plain):
    """Where facts come from."""

    __slots__ = ("as_of", "id", "kind", "publisher", "title", "url")

    def __init__(self, id: str, title: str, url: str, publisher: str, kind: str, as_of: str) -> None:
        self.id = id
        self.title = title
        self.url = url
        self.publisher = publisher
        self.kind = kind
        self.as_of = as_of


class Gap(_Plain):
    """Why the tables do not answer.

    `kind`: ``newer`` or ``older`` than everything listed; ``not-listed``: inside the range of a complete table, so
    the release or combination does not exist or was not published; ``not-covered``: the table does not speak of it.
    """

    __slots__ = ("kind", "sentence")

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        self.sentence = sentence


class Data(_Plain):
    """The rows of a table (or of one partition) as arrays, in the order of `columns`."""

    __slots__ = ("columns", "rows")

    def __init__(self, columns: list[str], rows: list[list[Any]]) -> None:
        self.columns = columns
        self.rows = rows


def meta_from_header(header: dict[str, Any]) -> TableMeta:
    """Build the description of a table from its header (as written in TOML or compiled to JSON)."""
    columns = []
    for name, spec in header.get("columns", {}).items():
        if isinstance(spec, str):
            spec = {"type": spec}
        columns.append(Column(name, spec.get("type", ""), spec.get("about", ""), tuple(spec.get("values", ()))))
    stale = header.get("stale_after")
    return TableMeta(
        id=header["id"],
        title=header.get("title", ""),
        about=header.get("about", "").strip(),
        key=tuple(header.get("key", ())),
        columns=tuple(columns),
        covers=header.get("covers", ""),
        complete=bool(header.get("complete", False)),
        as_of=str(header.get("as_of", "")),
        stale_after=None if stale is None else str(stale),
        partition=header.get("partition"),
        source=header.get("source"),
        also=tuple(header.get("also", ())),
        labels=dict(header.get("labels", {})),
        rising=tuple(header.get("rising", ())),
        ranges=dict(header.get("ranges", {})),
    )


def row_id(table: str, key: tuple[str, ...], row: Row) -> str:
    """Return the id of a row: the table and the values of its key columns."""
    parts = [table]
    for column in key:
        value = row.get(column)
        parts.append(" ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value))
    return "/".join(parts)
