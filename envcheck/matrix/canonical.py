"""The canonical form of the tables' files, so that a change shows as the rows that it changes and nothing else."""

from __future__ import annotations

import csv
import io
import os
from typing import Any

from .model import COMMON, MatrixError, Row, TableMeta
from .ordering import sort_key
from .source import SourceStore


def row_order(meta: TableMeta, row: Row) -> list[Any]:
    """Return the sort key of a row: its key columns, versions and whole numbers by value."""
    key: list[Any] = []
    for column in meta.key:
        value = row.get(column)
        kind = meta.type_of(column)
        if kind == "version":
            key.append(sort_key(value or ""))
        elif kind == "int":
            key.append((value is not None, value or 0))
        else:
            key.append(" ".join(value) if isinstance(value, list) else str(value or ""))
    return key


def canonical(directory: str, store: SourceStore, meta: TableMeta) -> tuple[str, str]:
    """Return the path of the file that holds the rows of a table, and the text that it should have.

    Raises MatrixError when the rows cannot be read, or when comments among them would be lost.
    """
    path = os.path.join(directory, meta.id + ".csv")
    if os.path.isfile(path):
        return path, canonical_csv(store, meta)
    path = os.path.join(directory, meta.id + ".toml")
    with open(path, encoding="utf-8", newline="") as file:
        return path, canonical_toml(store, meta, file.read())


def canonical_csv(store: SourceStore, meta: TableMeta) -> str:
    """Return the text of a CSV table in canonical form: columns and rows in order, few quotes, ``\\n``."""
    data = store.data(meta.id, None)
    own = [column.name for column in meta.columns]
    filled = [name for name in COMMON if any(row[data.columns.index(name)] is not None for row in data.rows)]
    names = own + filled
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in _sorted(store, meta):
        writer.writerow([_cell(row[name]) for name in names])
    return text.getvalue()


def canonical_toml(store: SourceStore, meta: TableMeta, text: str) -> str:
    """Return the text of a TOML table in canonical form: the header as it is, rows and their columns in order.

    Raises MatrixError when there are comments among the rows: what they say belongs into `note`.
    """
    head, _, rest = text.replace("\r\n", "\n").partition("\n[[row]]\n")
    if any(line.lstrip().startswith("#") for line in rest.split("\n")):
        raise MatrixError([f"{meta.id}.toml: a comment among the rows; write it as the note of a row"])
    parts = [head.rstrip() + "\n"]
    for row in _sorted(store, meta):
        parts.append("\n[[row]]\n")
        parts += [f"{name} = {_value(name, value)}\n" for name, value in row.items() if value is not None]
    return "".join(parts)


def _sorted(store: SourceStore, meta: TableMeta) -> list[Row]:
    data = store.data(meta.id, None)
    rows = [dict(zip(data.columns, values, strict=True)) for values in data.rows]
    return sorted(rows, key=lambda row: row_order(meta, row))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)


def _value(name: str, value: Any) -> str:
    """Return a value as TOML; texts are written alike in JSON."""
    import json

    if isinstance(value, list):
        return "[" + ", ".join(_value("", each) for each in value) + "]"
    # JSON may hold DEL as it is, TOML may not.
    return str(value) if name == "as_of" else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
