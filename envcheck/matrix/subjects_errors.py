"""Answers about error codes of CUDA and NVML, by number or by name."""

from __future__ import annotations

from collections.abc import Sequence

from . import Matrix, Row
from .model import QueryError
from .query import Answer, Sheet, alike

TABLES = {"cuda": "cuda-errors", "nvml": "nvml-errors"}
_NAMES = ("runtime_name", "driver_name", "name")


def error(matrix: Matrix, words: Sequence[str]) -> Answer:
    """An error: ``803``, ``nvml 18``, ``CUDA_ERROR_NO_DEVICE``, ``cudaErrorNoDevice``, ``NVMLError_Timeout``.

    A bare number is looked up in both APIs, and among the numbers that the CUDA runtime used before 10.1. Raises
    QueryError when no code or name fits.
    """
    asked = list(words)
    apis = list(TABLES)
    if asked and asked[0].lower() in TABLES:
        apis = [asked.pop(0).lower()]
    asked = [word for word in asked if word.lower() not in ("error", "code")]
    if len(asked) != 1:
        raise QueryError("name one error: envcheck matrix error 803, or envcheck matrix error CUDA_ERROR_NO_DEVICE")
    text = asked[0].strip("()[],:;.")
    sheet = Sheet(matrix, f"error {' '.join(words)}")
    names: list[str] = []
    for api in apis:
        if TABLES[api] not in matrix.tables():
            continue
        rows = matrix.rows(TABLES[api])
        names += [str(row[column]) for row in rows for column in _NAMES if row.get(column)]
        for row in rows:
            if _is(row, text):
                _say(sheet, row, api)
    if not sheet.answer.facts:
        close = alike(text, names) if not text.isdigit() else []
        ending = f"; did you mean {', '.join(close)}?" if close else ""
        raise QueryError(f"no error of CUDA or NVML in our tables is {text}{ending}")
    return sheet.answer


def is_error_name(word: str) -> bool:
    """Whether a word looks like the name of an error: ``CUDA_ERROR_X``, ``cudaErrorX``, ``NVMLError_X``."""
    return _plain(word).startswith(("cudaerror", "nvmlerror"))


def _is(row: Row, text: str) -> bool:
    if text.isdigit():
        return text in (str(row["code"]), str(row.get("old_code")))
    return _plain(text) in [_plain(str(row[column])) for column in _NAMES if row.get(column)]


def _plain(name: str) -> str:
    """A name without case, underscores and ``::`` in front: NVMLError_Timeout is NVML_ERROR_TIMEOUT."""
    return name.rpartition("::")[2].replace("_", "").replace("-", "").lower()


def _say(sheet: Sheet, row: Row, api: str) -> None:
    names = list(dict.fromkeys(str(row[column]) for column in _NAMES if row.get(column)))
    prefix = f"{api.upper()} {row['code']}: "
    sheet.say(prefix + "name", names, row)
    sheet.columns(row, "meaning", "cure", "causes", "old_code", prefix=prefix)
