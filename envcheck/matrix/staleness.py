"""Says when a verdict rests on tables that are old, or speaks of releases that are newer than they are."""

from __future__ import annotations

from collections.abc import Iterable

from envcheck.versions import numbers

from . import Matrix

NEWEST = {
    "torch": ("torch-builds", "torch"),
    "onnxruntime": ("ort-opset", "onnxruntime"),
    "onnxruntime-gpu": ("ort-gpu", "onnxruntime_gpu"),
    "tensorrt": ("tensorrt", "tensorrt"),
    "tensorflow": ("tensorflow", "tensorflow"),
}
"""Frameworks, and the column that lists their releases."""


def stale_notes(
    matrix: Matrix, installed: Iterable[tuple[str, str]], today: str, *, asked_only: bool = False
) -> list[str]:
    """Return a sentence for each table asked so far that is stale, and each framework newer than its table.

    `installed`: names in normal form, and versions. Call it after the rules: only what they asked counts, of
    the tables of frameworks too with `asked_only`.
    """
    notes = [f"our table '{meta.title}' was not looked at since {meta.as_of}" for meta in matrix.stale(today)]
    for name, version in installed:
        if name in NEWEST:
            table, column = NEWEST[name]
            if asked_only and (table, None) not in matrix._data:
                continue  # nothing rests on it, and opening it costs time
            # A line such as 11.4 holds 11.4.1: as many numbers are compared as the table has.
            newest = matrix.memo.get(f"newest {table}")
            if newest is None:
                data = matrix._read(matrix.meta(table), None)
                at = data.columns.index(column)
                newest = max((numbers(row[at]) for row in data.rows), default=())
                matrix.memo[f"newest {table}"] = newest
            if newest and numbers(version)[: len(newest)] > newest:
                listed = ".".join(map(str, newest))
                notes.append(f"{name} {version} is newer than our data of {matrix.meta(table).as_of} (up to {listed})")
    return notes
