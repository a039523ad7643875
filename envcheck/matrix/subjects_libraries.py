"""Answers about CUDA's libraries by file name: ``libcublas.so.12``, ``cudnn64_8.dll``."""

from __future__ import annotations

from . import Matrix, Row
from .model import QueryError
from .query import Answer, Sheet, alike, grouped


def library_rows(matrix: Matrix, text: str) -> list[Row]:
    """The rows of `sonames` whose soname or DLL a file name is; ``libcublas.so.12.4.5.8`` is libcublas.so.12."""
    name = text.lower().strip("'\"`:, ").rpartition("/")[2]
    found = []
    for row in matrix.rows("sonames"):
        soname = (row["soname"] or "").lower()
        dll = (row["dll"] or "").lower()
        if name and (name in (soname, dll) or (soname and name.startswith(f"{soname}."))):
            found.append(row)
    return found


def is_library(text: str) -> bool:
    """Whether a text looks like the file name of a shared library."""
    lower = text.lower()
    return (lower.startswith("lib") and ".so" in lower) or lower.endswith(".dll")


def library(matrix: Matrix, text: str) -> Answer:
    """A shared library: the CUDA releases that it belongs to, and the wheel that brings it."""
    rows = library_rows(matrix, text)
    if not rows:
        listed = [row["soname"] for row in matrix.rows("sonames") if row["soname"]]
        close = alike(text, sorted(set(listed)))
        ending = f"; did you mean {', '.join(close)}?" if close else ""
        raise QueryError(f"our tables have no library {text!r}{ending}")
    sheet = Sheet(matrix, f"library {text}")
    grouped(sheet, "CUDA major releases it belongs to", [(row["cuda"], row) for row in rows])
    for row in rows:
        sheet.columns(row, "soname", "wheel_package", "wheel_dir", "dll", prefix=f"CUDA {row['cuda']}: ")
    return sheet.answer
