"""Reads the tables as people write them (TOML, CSV), for source trees, editable installs and the compiler."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from .model import COMMON, Data, MatrixError, TableMeta, meta_from_header

MAX_CSV = 16 * 1024 * 1024
"""Most bytes that are read of a CSV file; our longest has 1 MiB."""
MAX_TOML = 2 * 1024 * 1024
"""Most bytes that are read of a TOML file, of which a MiB takes half a second to parse; our longest has 40 KiB."""


def read_file(path: str, limit: int) -> bytes:
    """Return what a regular file of at most `limit` bytes holds; a FIFO or a device is not waited for.

    Raises MatrixError with one sentence when it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            kind = os.fstat(handle).st_mode & 0o170000  # stat.S_IFMT, without the import
            if kind != 0o100000:
                what = "a directory; name a file in it" if kind == 0o040000 else "a pipe or a device, not a file"
                raise MatrixError([f"{path}: this is {what}"])
            parts, left = [], limit + 1
            while left > 0 and (part := os.read(handle, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        finally:
            os.close(handle)
    except OSError as error:
        raise MatrixError([f"{path or repr(path)}: {error.strerror or error}"]) from error
    except ValueError as error:  # a null character in the path
        raise MatrixError([f"{path!r}: no file can have this name"]) from error
    if left <= 0:
        raise MatrixError([f"{path}: larger than {limit >> 20} MiB, which is more than is read"])
    return b"".join(parts)


def read_toml(path: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises MatrixError with file and position when it cannot be read.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    data = read_file(path, MAX_TOML)
    try:
        document: dict[str, Any] = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MatrixError([f"{path}: this is no text in UTF-8 (byte {error.start})"]) from error
    except RecursionError as error:
        raise MatrixError([f"{path}: nested too deeply"]) from error
    except tomllib.TOMLDecodeError as error:
        raise MatrixError([f"{path}: not TOML: {error}"]) from error
    except ValueError as error:
        raise MatrixError([f"{path}: not TOML: a number has thousands of digits"]) from error
    return document


def plain(value: Any) -> Any:
    """Return a TOML value as the tables hold it: dates become text."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def from_text(text: str, kind: str) -> Any:
    """Return the value of a CSV cell of a column of type `kind`; an empty cell is None.

    Raises ValueError when the text is no such value.
    """
    if text == "":
        return None
    if kind == "int":
        return int(text)
    if kind == "bool":
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    if kind == "list":
        return text.split()
    return text


class SourceStore:
    """The tables of a directory of TOML and CSV files. Reads only the file that is asked for."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._toml: dict[str, dict[str, Any]] = {}
        self._csv: dict[str, list[str]] = {}
        self._asked: dict[str, int] = {}
        self._groups: dict[str, dict[str, list[tuple[int, str]]]] = {}
        self._date = ""

    def tables(self) -> list[str]:
        """Return the ids of all tables."""
        names = (name[:-5] for name in os.listdir(self.directory) if name.endswith(".toml"))
        return sorted(name for name in names if name != "sources")

    def meta(self, table: str) -> TableMeta:
        """Return what `table` says about itself; KeyError when there is no such table."""
        header = self._document(table).get("table")
        if not isinstance(header, dict) or header.get("id") != table:
            raise MatrixError([f"{self._path(table)}: [table] id must be {table!r}"])
        return meta_from_header({name: plain(value) for name, value in header.items()})

    def data(self, table: str, partition: str | None) -> Data:
        """Return the rows of `table`, of one partition if given."""
        meta = self.meta(table)
        document = self._document(table)
        columns = [column.name for column in meta.columns] + list(COMMON)
        if document["table"].get("format") == "csv":
            return self._read_csv(meta, columns, partition)
        rows = document.get("row", [])
        known = set(columns)
        for number, row in enumerate(rows, 1):
            unknown = sorted(set(row) - known)
            if unknown:
                raise MatrixError([f"{self._path(table)}: row {number}: unknown column {name}" for name in unknown])
        if partition is not None:
            rows = [row for row in rows if row.get(meta.partition) == partition]
        return Data(columns, [[plain(row.get(name)) for name in columns] for row in rows])

    def partitions(self, table: str) -> list[str]:
        """Return the values of the partition column of `table`, sorted."""
        meta = self.meta(table)
        data = self.data(table, None)
        at = data.columns.index(meta.partition or "")
        return sorted({row[at] for row in data.rows})

    def sources(self) -> dict[str, dict[str, str]]:
        """Return the sources: id -> fields."""
        document = read_toml(os.path.join(self.directory, "sources.toml"))
        return {
            name: {field: str(plain(value)) for field, value in fields.items()} for name, fields in document.items()
        }

    def digest(self) -> str:
        """Return the SHA-256 over all files, names included."""
        import hashlib

        sums = hashlib.sha256()
        for name in sorted(os.listdir(self.directory)):
            if name.endswith((".toml", ".csv")):
                with open(os.path.join(self.directory, name), "rb") as file:
                    # Line ends must not matter: a Windows checkout holds the same facts.
                    content = file.read().replace(b"\r\n", b"\n")
                sums.update(f"{name}\0{len(content)}\0".encode())
                sums.update(content)
        return sums.hexdigest()

    def date(self) -> str:
        """Return the newest date in any header or row, read from the text because parsing all of it is slow."""
        # Every driver update that a rule proposes asks for it.
        if not self._date:
            for table in self.tables():
                with open(self._path(table), encoding="utf-8") as file:
                    dates = re.findall(r'^as_of = "?(\d{4}-\d\d-\d\d)', file.read(), re.MULTILINE)
                self._date = max([self._date, *dates])
        return self._date

    def forget(self, table: str) -> None:
        """Drop what was read of `table`, because its files changed."""
        self._toml.pop(table, None)
        self._csv.pop(table, None)
        self._groups.pop(table, None)
        self._date = ""

    def _path(self, table: str, suffix: str = ".toml") -> str:
        return os.path.join(self.directory, table + suffix)

    def _document(self, table: str) -> dict[str, Any]:
        if table not in self._toml:
            path = self._path(table)
            # An id is never a path: this keeps "../x" out as well as a mistyped name.
            if not re.fullmatch(r"[a-z0-9-]+", table) or table == "sources" or not os.path.isfile(path):
                raise KeyError(f"no table {table}")
            self._toml[table] = read_toml(path)
        return self._toml[table]

    def _lines(self, table: str) -> list[str]:
        if table not in self._csv:
            path = self._path(table, ".csv")
            try:
                self._csv[table] = read_file(path, MAX_CSV).decode().splitlines()
            except UnicodeDecodeError as error:
                raise MatrixError([f"{path}: this is no text in UTF-8 (byte {error.start})"]) from error
        return self._csv[table]

    def _beginning(self, table: str, first: str) -> list[tuple[int, str]]:
        """Numbers and texts of the lines of a table whose first cell is ``first``."""
        asked = self._asked[table] = self._asked.get(table, 0) + 1
        if "," in first:
            return []
        if asked <= 3:
            start = first + ","
            return [(number, line) for number, line in enumerate(self._lines(table)[1:], 2) if line.startswith(start)]
        if table not in self._groups:  # pays off only for many questions
            groups: dict[str, list[tuple[int, str]]] = {}
            for number, line in enumerate(self._lines(table)[1:], 2):
                groups.setdefault(line.partition(",")[0], []).append((number, line))
            self._groups[table] = groups
        return self._groups[table].get(first, [])

    def _read_csv(self, meta: TableMeta, columns: list[str], partition: str | None) -> Data:
        import csv

        lines = self._lines(meta.id)
        path = self._path(meta.id, ".csv")
        if not lines:
            raise MatrixError([f"{path}: empty"])
        names = next(csv.reader(lines[:1]))
        unknown = [name for name in names if name not in columns]
        if unknown or len(set(names)) != len(names):
            raise MatrixError([f"{path}: unknown or doubled column in the first line: {' '.join(unknown or names)}"])
        numbered: Iterable[tuple[int, str]] = enumerate(lines[1:], 2)
        if partition is not None and names[0] == meta.partition:
            # Parsing 20,000 lines takes 100 ms; one package's lines are found by how they begin.
            numbered = self._beginning(meta.id, partition)
        else:
            numbered = list(numbered)
        kinds = [meta.type_of(name) for name in names]
        places = [columns.index(name) for name in names]
        rows, errors = [], []
        for (number, _), cells in zip(numbered, csv.reader(line for _, line in numbered), strict=True):
            row: list[Any] = [None] * len(columns)
            try:
                for place, kind, cell in zip(places, kinds, cells, strict=True):
                    row[place] = from_text(cell, kind)
            except ValueError as error:
                errors.append(f"{path}: line {number}: {error}")
                continue
            rows.append(row)
        if errors:
            raise MatrixError(errors)
        if partition is not None and names[0] != meta.partition:
            at = columns.index(meta.partition or "")
            rows = [row for row in rows if row[at] == partition]
        return Data(columns, rows)
