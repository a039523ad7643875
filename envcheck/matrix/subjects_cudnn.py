"""Answers about cuDNN: a release, or all of a major."""

from __future__ import annotations

from envcheck.versions import numbers

from . import Matrix
from .lookup import _in_range
from .model import QueryError
from .ordering import release, sort_key
from .query import Answer, Sheet, grouped


def cudnn(matrix: Matrix, version: str) -> Answer:
    """A cuDNN release: for each CUDA major its toolkits, drivers and GPUs; the libraries it consists of."""
    if release(version) is None:
        raise QueryError(f"{version!r} is no version of cuDNN")
    sheet = Sheet(matrix, f"cuDNN {version}")
    majors = sorted({row["cuda"] for row in matrix.rows("cudnn")}, key=sort_key)
    found = False
    if len(numbers(version)) == 1 and _cudnn_major(sheet, numbers(version), majors):
        return sheet.answer
    for major in majors:
        for table in ("cudnn", "cudnn-gpus"):
            row = _in_range(matrix.rows(table, cuda=major), version, "first", "last")
            if row is not None:
                found = True
                names = [column.name for column in matrix.meta(table).columns if column.name not in ("first", "cuda")]
                taken = {"capabilities", "last"} if table == "cudnn-gpus" else {"last"}
                sheet.columns(row, *(name for name in names if name not in taken), prefix=f"for CUDA {major}: ")
    parts = _in_range(matrix.rows("cudnn-sublibraries"), version, "first", "last")
    if parts is not None:
        sheet.columns(parts, "soname", "sublibraries")
    if not found:
        return sheet.miss("cudnn", "last", version, "cuDNN")
    return sheet.answer


def _cudnn_major(sheet: Sheet, major: tuple[int, ...], cudas: list[str]) -> bool:
    """For ``cudnn 9``: its releases for each CUDA major, instead of those of 9.0."""
    for cuda in cudas:
        rows = [row for row in sheet.matrix.rows("cudnn", cuda=cuda) if numbers(row["first"])[:1] == major]
        ranges = []
        for row in rows:
            last = row["last"] if len(numbers(row["last"])) > 2 else f"{row['last']}.x"
            ranges.append((f"{row['first']} to {last} (CUDA {row['cuda_low']} to {row['cuda_high']})", row))
        grouped(sheet, f"for CUDA {cuda}: releases, with their toolkits", ranges)
    if sheet.answer.facts:
        sheet.answer.gaps.append(f"cuDNN {major[0]} is any of these: ask for a release to see its drivers and GPUs")
    return bool(sheet.answer.facts)
