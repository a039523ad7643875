"""Proposes rows from package metadata: ``python -m envcheck.matrix.refresh [PACKAGE ...]``.

Asks the package index through pip, as the user has configured it, and compares the answers with the tables `wheels`,
`requires`, `torch-builds` and `ort-gpu`. New rows are listed with ``+``, rows that differ from reviewed ones with
``!`` and both values. ``--write`` adds the new rows; a reviewed row is never changed.
Exit codes: 0 nothing to review, 1 proposals, 2 wrong usage or no answer from the index.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

from envcheck.versions import canonical, numbers

from . import derive, pip_client
from .canonical import canonical_csv
from .model import COMMON, MatrixError, Row, row_id
from .ordering import sort_key
from .pip_client import File, RefreshError
from .source import SourceStore, read_toml

SECONDS = 60
SECONDS_LARGE = 900


class Proposal(NamedTuple):
    """A new row, or what a reviewed row says otherwise."""

    table: str
    id: str
    row: Row
    conflicts: dict[str, tuple[Any, Any]]
    """Column -> reviewed value, value from the metadata; empty for a new row."""

    def __str__(self) -> str:
        if not self.conflicts:
            own = (f"{name}={_cell(value)}" for name, value in self.row.items() if name not in COMMON and value)
            return f"+ {self.id}  {' '.join(own)}"
        parts = (f"{name}: reviewed {_cell(a)!r}, metadata {_cell(b)!r}" for name, (a, b) in self.conflicts.items())
        return f"! {self.id}  {'; '.join(parts)} (kept as reviewed)"


class Reviewed:
    """The rows that the tables have, by table and key."""

    def __init__(self, directory: str) -> None:
        self.store = SourceStore(directory)
        self._rows: dict[str, dict[str, Row]] = {}

    def rows(self, table: str) -> dict[str, Row]:
        """Return the rows of a table by id; empty when there is no such table."""
        if table not in self._rows:
            try:
                data, key = self.store.data(table, None), self.store.meta(table).key
            except KeyError:
                return {}
            rows = [dict(zip(data.columns, values, strict=True)) for values in data.rows]
            self._rows[table] = {row_id(table, key, row): row for row in rows}
        return self._rows[table]

    def releases(self, table: str, package: str) -> set[str]:
        """Return the releases of a package that a table with package and version lists."""
        return {str(row["version"]) for row in self.rows(table).values() if row["package"] == package}

    def compare(self, table: str, row: Row, source: str, confidence: str, today: str) -> list[Proposal]:
        """Return the proposal that a derived row leads to: none when the tables say the same."""
        rows = self.rows(table)
        if not rows:
            return []
        name = row_id(table, self.store.meta(table).key, row)
        before = rows.get(name)
        if before is None:
            common = {"source": source, "as_of": today, "confidence": confidence}
            return [Proposal(table, name, {**row, **common}, {})]
        differs = {
            column: (before[column], value)
            for column, value in row.items()
            if value is not None and not derive.same(column, before[column], value)
        }
        return [Proposal(table, name, row, differs)] if differs else []


def propose(
    package: str,
    reviewed: Reviewed,
    today: str,
    *,
    since: str | None = None,
    read: Callable[[str, File], pip_client.Metadata] | None = None,
) -> list[Proposal]:
    """Return what the index says of a package beyond or against the tables.

    `since`: the first release to look at; without it, all releases for file names, and for requirements those newer
    than what the tables list. `read` gives the metadata of a wheel; None leaves requirements alone.

    Raises RefreshError when pip gives no answer.
    """
    found = pip_client.files(package)
    if not found:
        raise RefreshError(f"{package}: the package index lists no release.")
    releases: dict[Version, list[File]] = {}
    for file in found:
        releases.setdefault(file.version, []).append(file)
    proposals: list[Proposal] = []
    listed = reviewed.releases("requires", package)
    newest = max(map(sort_key, listed), default=None)
    for version in sorted(releases):
        if since is not None and version < Version(since):
            continue
        text, files = str(version), releases[version]
        row = derive.wheels_row(package, text, files)
        if row["python_tags"] or row["sdist"]:
            proposals += reviewed.compare("wheels", row, "pypi-index", "high", today)
        wheel = pip_client.best_wheel(files)
        unlisted = newest is not None and sort_key(text) > newest
        if read is None or wheel is None or row["yanked"] or not (since is not None or unlisted):
            continue
        proposals += _from_metadata(package, text, read(package, wheel), reviewed, today)
    return proposals


def _from_metadata(
    package: str, version: str, told: pip_client.Metadata, reviewed: Reviewed, today: str
) -> list[Proposal]:
    proposals = _requirements(package, version, derive.requires_rows(package, version, told), reviewed, today)
    if package == "torch" and (torch := derive.torch_row(version, told)):
        proposals += reviewed.compare("torch-builds", torch, "pypi-metadata", "medium", today)
    if package == "onnxruntime-gpu" and (ort := derive.ort_row(version, told)):
        minors = {numbers(row["onnxruntime_gpu"])[:2] for row in reviewed.rows("ort-gpu").values()}
        known = f"ort-gpu/{version}" in reviewed.rows("ort-gpu")
        # A patch release is built like its minor release, whose row says more than the metadata does.
        if known or numbers(version)[:2] not in minors:
            proposals += reviewed.compare("ort-gpu", ort, "pypi-metadata", "medium", today)
    return proposals


def _requirements(package: str, version: str, rows: list[Row], reviewed: Reviewed, today: str) -> list[Proposal]:
    """Compare the requirements of a release as a whole; markers may be spelt in more than one way."""
    before = [
        row for row in reviewed.rows("requires").values() if (row["package"], row["version"]) == (package, version)
    ]
    if not before:
        return [each for row in rows for each in reviewed.compare("requires", row, "pypi-metadata", "high", today)]
    proposals = []
    for name in sorted({row["requires"] for row in (*before, *rows)}):
        old, new = (sorted(_line(row) for row in each if row["requires"] == name) for each in (before, rows))
        if old != new:
            told = {"requirement": ("; ".join(old) or "none", "; ".join(new) or "none")}
            proposals.append(Proposal("requires", f"requires/{package}/{version}/{name}", {}, told))
    return proposals


def _line(row: Row) -> str:
    clauses = ",".join(sorted((row["specifier"] or "").replace(" ", "").split(",")))
    return f"{row['requires']}{clauses}" + (f" [{row['extra']}]" if row["extra"] else "")


def write(directory: str, proposals: Sequence[Proposal]) -> list[str]:
    """Add the new rows among `proposals` to the tables, in canonical form; return the files changed."""
    changed = []
    for table in sorted({each.table for each in proposals if not each.conflicts}):
        store = SourceStore(directory)
        meta = store.meta(table)
        path = os.path.join(directory, table + ".csv")
        with open(path, encoding="utf-8", newline="") as file:
            before = file.read()
        old = list(csv.DictReader(io.StringIO(before)))
        names = [column.name for column in meta.columns] + list(COMMON)
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(old)
        writer.writerows(
            {name: _cell(value) for name, value in each.row.items()}
            for each in proposals
            if each.table == table and not each.conflicts
        )
        try:
            _replace(path, text.getvalue())
            _replace(path, canonical_csv(SourceStore(directory), meta))
        except BaseException:
            _replace(path, before)
            raise
        changed.append(path)
    return changed


def _replace(path: str, text: str) -> None:
    with open(path + ".new", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(path + ".new", path)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser = argparse.ArgumentParser(prog="python -m envcheck.matrix.refresh", description=(__doc__ or "").strip())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("package", nargs="*", help="what to ask about; without it, matrices/refresh/packages.toml")
    parser.add_argument("--since", metavar="VERSION", help="look at this release and newer ones only, listed or not")
    parser.add_argument("--write", action="store_true", help="add the new rows to the tables")
    parser.add_argument("--large", action="store_true", help="also read wheels that take minutes to download")
    parser.add_argument("--directory", default=os.path.join(root, "matrices"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        if given.since is not None:
            Version(given.since)
        lists = read_toml(os.path.join(given.directory, "refresh", "packages.toml"))
    except (InvalidVersion, MatrixError) as error:
        print(error, file=sys.stderr)
        return 2
    large = set(lists.get("large", ()))
    today, reviewed = _today(), Reviewed(given.directory)
    proposals: list[Proposal] = []
    failed = False
    for package in dict.fromkeys(map(canonical, given.package or lists.get("packages", ()))):

        def read(name: str, file: File, heavy: bool = package in large) -> pip_client.Metadata:
            return pip_client.metadata(name, file, SECONDS_LARGE if heavy else SECONDS)

        skipped = package in large and not given.large
        try:
            proposals += propose(package, reviewed, today, since=given.since, read=None if skipped else read)
        except RefreshError as error:
            print(error, file=sys.stderr)
            failed = True
        if skipped:
            print(f"{package}: only file names were read; --large reads its requirements.", file=sys.stderr)
    for each in proposals:
        print(each)
    new = sum(not each.conflicts for each in proposals)
    print(f"{new} new rows, {len(proposals) - new} conflicts")
    if given.write:
        for path in write(given.directory, proposals):
            print(f"written: {path}; look at the table's covers and as_of, then run the linter")
    return 2 if failed else 1 if proposals else 0


def _today() -> str:
    import datetime

    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())
