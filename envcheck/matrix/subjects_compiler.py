"""Answers about libstdc++: the releases of GCC and the symbol versions that they brought."""

from __future__ import annotations

from envcheck.versions import compare_numbers, numbers

from . import Matrix
from .model import QueryError
from .query import Answer, Sheet, near
from .subjects_systems import ARCH, SYMBOLS, newer_than, say_holders, serves, tag_numbers, version_in


def gcc(matrix: Matrix, text: str) -> Answer:
    """A release of GCC: the symbol versions of its libstdc++, and the distributions that have them."""
    version = version_in(text, "gcc", "g++")
    mine = numbers(version)
    if not mine:
        raise QueryError(f"{text!r} is no version of GCC: envcheck matrix gcc 12")
    rows = matrix.rows("libstdcxx")
    same = [row for row in rows if numbers(row["gcc"])[: len(mine)] == mine]
    if not same:
        if mine[0] > numbers(rows[-1]["gcc"])[0]:
            sheet = Sheet(matrix, f"GCC {version}")
            sheet.answer.gaps.append(newer_than(matrix, "libstdcxx", "gcc", version, "GCC", rows))
            return sheet.answer
        before = [row for row in rows if compare_numbers(row["gcc"], version) <= 0]
        if not before or (mine[0] != numbers(before[-1]["gcc"])[0] and mine[0] >= 5):
            raise QueryError(f"GCC {version} is not in our tables{near(version, [row['gcc'] for row in rows])}")
        same = before[-1:]
    sheet = Sheet(matrix, f"GCC {version}")
    for row in same:
        suffix = f" (from {row['gcc']} on)" if len(same) > 1 or row["gcc"] != version else ""
        sheet.columns(row, suffix=suffix)
    say_holders(
        sheet, f"a libstdc++ as new as that of {same[-1]['gcc']}", tuple(SYMBOLS), lambda row: serves(row, same[-1])
    )
    return sheet.answer


def glibcxx(matrix: Matrix, text: str) -> Answer:
    """A symbol version of libstdc++, ``GLIBCXX_3.4.30``: the first GCC, the distributions, the lowest tag."""
    return _symbol_of(matrix, "glibcxx", text)


def cxxabi(matrix: Matrix, text: str) -> Answer:
    """The same for ``CXXABI_1.3.13``."""
    return _symbol_of(matrix, "cxxabi", text)


def _symbol_of(matrix: Matrix, column: str, text: str) -> Answer:
    name, version = SYMBOLS[column], version_in(text, column)
    if not numbers(version):
        raise QueryError(f"{text!r} is no symbol version: envcheck matrix GLIBCXX_3.4.30")
    sheet = Sheet(matrix, f"{name}_{version}")
    rows = matrix.rows("libstdcxx")
    first = next((row for row in rows if compare_numbers(row[column], version) >= 0), None)
    if first is None or numbers(version)[0] != numbers(first[column])[0]:
        sheet.answer.gaps.append(newer_than(matrix, "libstdcxx", column, version, name, rows))
        return sheet.answer
    sheet.say("first GCC release whose libstdc++ defines it", first["gcc"], first)
    say_holders(sheet, "it", (column,), lambda row: compare_numbers(row[column], version) >= 0)
    tags = [row for row in matrix.rows("manylinux", arch=ARCH) if compare_numbers(row[column], version) >= 0]
    if tags:
        lowest = min(tags, key=lambda row: tag_numbers(row["tag"]))
        sheet.say("lowest manylinux tag whose wheels may use it", lowest["tag"], lowest)
    return sheet.answer
