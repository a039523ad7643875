"""Compiles the tables to JSON for a wheel: one file a table, or one a value of its partition column.

Needs nothing but the standard library (and tomli on Python 3.10), because the build hook runs it.
"""

from __future__ import annotations

import os
from typing import Any

from .model import Data, TableMeta
from .source import SourceStore


def compile_tables(matrices: str, target: str) -> list[str]:
    """Write the tables of the directory `matrices` as JSON into `target`; return the paths written, sorted.

    The output depends on the content of the tables alone, so that builds are reproducible.
    Raises MatrixError when a table cannot be read.
    """
    store = SourceStore(matrices)
    written: list[str] = []

    def write(name: str, content: Any) -> None:
        path = os.path.join(target, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(_compact(content))
        written.append(path)

    tables: dict[str, Any] = {}
    for table in store.tables():
        meta = store.meta(table)
        data = _trim(store.data(table, None))
        header = _header(meta)
        if meta.partition is None:
            write(f"{table}.json", {"columns": data.columns, "rows": data.rows})
        else:
            at = data.columns.index(meta.partition)
            parts: dict[str, list[list[Any]]] = {}
            for row in data.rows:
                parts.setdefault(row[at], []).append(row)
            for part, rows in sorted(parts.items()):
                write(f"{table}/{part}.json", rows)
            header["partitions"] = sorted(parts)
            header["data_columns"] = data.columns
        tables[table] = header
    write("sources.json", store.sources())
    write("index.json", {"digest": store.digest(), "date": store.date(), "tables": tables})
    return sorted(written)


def _compact(content: Any) -> str:
    import json

    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


def _header(meta: TableMeta) -> dict[str, Any]:
    header = {name: getattr(meta, name) for name in meta.__slots__}
    header["columns"] = {
        column.name: {"type": column.type, "about": column.about, "values": list(column.values)}
        for column in meta.columns
    }
    return header


def _trim(data: Data) -> Data:
    """Leave out withdrawn rows and columns that no row fills."""
    at = data.columns.index("withdrawn")
    rows = [row for row in data.rows if row[at] is None]
    used = [place for place in range(len(data.columns)) if any(row[place] is not None for row in rows)]
    return Data([data.columns[place] for place in used], [[row[place] for place in used] for row in rows])
