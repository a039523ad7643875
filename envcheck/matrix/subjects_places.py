"""Answers about places where a stack runs: images, cloud instances, hosted notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from . import Matrix
from .model import QueryError
from .query import Answer, Sheet, alike

LISTS = {"image": "ngc-images", "instance": "cloud-instances", "notebook": "hosted-notebooks"}
"""Tables of places where a stack runs, by the word that people use."""


def listed(matrix: Matrix, kind: str, words: list[str]) -> Answer:
    """An NGC image, a cloud instance type or a hosted notebook: the rows whose key holds all the words.

    ``p4d`` and ``NC6s_v3`` are parts of names; of more than a dozen rows only the newest (last) are told in full.
    """
    table = LISTS[kind]
    if table not in matrix.tables():
        raise QueryError(f"this release of the tables has none of {kind}s")
    meta = matrix.meta(table)
    texts = {row["_id"].partition("/")[2]: row for row in matrix.rows(table)}
    if not words:
        raise QueryError(f"name one: {', '.join(list(texts)[:4])}, ...")
    labels = labels_like(matrix, kind, words)
    sheet = Sheet(matrix, f"{kind} {' '.join(words)}")
    told = labels[-3:] if len(labels) > MANY else labels
    for label in told:
        several = f"{label.replace('/', ' ')}: " if len(labels) > 1 else ""
        sheet.columns(texts[label], prefix=several)
    if told != labels:
        others = [label.replace("/", " ") for label in labels if label not in told]
        sheet.say("also listed", others, {**texts[labels[0]], "note": None})
    if labels:
        return sheet.answer
    words = _label_words(words)
    version = next((column for column in meta.key if meta.type_of(column) == "version"), None)
    if version is not None and len(meta.key) == 2 and len(words) == 2:
        other = next(column for column in meta.key if column != version)
        if matrix.rows(table, **{other: words[0]}):
            return sheet.miss(table, version, words[1], words[0], **{other: words[0]})
    close = alike(" ".join(words), [label.replace("/", " ") for label in texts])
    raise QueryError(
        f"our tables have no {kind} {' '.join(words)!r}{'; did you mean ' + ', '.join(close) + '?' if close else ''}"
    )


MANY = 12


def labels_like(matrix: Matrix, kind: str, words: Sequence[str]) -> list[str]:
    """The ids of rows that hold all the words, else of those where every word begins or ends a part of the name."""
    wanted = _label_words(words)
    held = {}
    for row in matrix.rows(LISTS[kind]):
        label = row["_id"].partition("/")[2]
        held[label] = label.lower().replace(":", "/").split("/")
    found = [label for label, parts in held.items() if all(word in parts for word in wanted)]
    if found or kind != "instance" or any(len(word) < 2 for word in wanted):
        return found

    def part(word: str, name: str) -> bool:
        return name.startswith((f"{word}.", f"{word}-", f"standard_{word}")) or name == word

    return [label for label, parts in held.items() if all(any(part(w, p) for p in parts) for w in wanted)]


def _label_words(words: Sequence[str]) -> list[str]:
    """``nvcr.io/nvidia/pytorch:24.05-py3`` is the image ``pytorch 24.05``."""
    found = [part for word in words for part in word.lower().replace(":", "/").split("/")]
    return [part.removesuffix("-py3") for part in found if part and part not in ("nvcr.io", "nvidia")]
