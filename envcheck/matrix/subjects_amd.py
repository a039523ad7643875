"""Answers about AMD GPUs, by product name (``MI300X``) or target (``gfx942``)."""

from __future__ import annotations

from . import Matrix, Row
from .model import QueryError
from .query import Answer, Sheet, grouped
from .subjects_speed import speed

_FILL = ("amd", "ati", "gpu", "graphics", "instinct", "radeon", "pro", "rx", "ai")


def amd_fitting(matrix: Matrix, name: str) -> list[Row]:
    """The rows of `amd-gpus` that a name stands for: the product, else those that begin so; ``MI300`` is two.

    A target, ``gfx942``, stands for all its products. Empty when nothing fits.
    """
    rows = matrix.rows("amd-gpus")
    wanted = _flat(name)
    if name.strip().lower().startswith("gfx"):
        return [row for row in rows if row["target"] == name.strip().lower()]
    if len(wanted) < 3:
        return []
    exact = [row for row in rows if _flat(row["name"]) == wanted]
    return exact or [row for row in rows if _flat(row["name"]).startswith(wanted)]


def _flat(name: str) -> str:
    """``Radeon RX 7900 XTX`` and ``rx7900xtx`` are ``7900xtx``."""
    words = [word for word in name.lower().replace("-", " ").replace("(tm)", " ").split() if word not in _FILL]
    return "".join(words).removeprefix("rx")


def amd_gpu(matrix: Matrix, name: str) -> Answer | None:
    """An AMD GPU: its target, the ROCm releases that support it, the torch builds with code for it.

    None when no name fits; raises QueryError when the name fits GPUs of different targets.
    """
    rows = amd_fitting(matrix, name)
    if not rows:
        return None
    target = rows[0]["target"]
    if any(row["target"] != target for row in rows):
        each = ", ".join(f"{row['name']} ({row['target']})" for row in rows[:8])
        raise QueryError(f"{name!r} fits GPUs that differ in their target: {each}")
    sheet = Sheet(matrix, f"gpu AMD {rows[0]['name'] if len(rows) == 1 else name}")
    if len(rows) > 1:
        grouped(sheet, "products of that name", [(row["name"], row) for row in rows])
    sheet.columns(rows[0], "target", "architecture", *(["memory_mib"] if len(rows) == 1 else []))
    speed(sheet, [row["name"] for row in rows])
    rocm = [(row["rocm"], row) for row in matrix.rows("rocm-gpus", targets=target)]
    grouped(sheet, "ROCm releases that support it officially (Linux)", rocm)
    if not rocm:
        sheet.answer.gaps.append(f"no ROCm release in our tables supports {target} officially; others may still run")
    builds = [(f"{row['torch']} ROCm {row['rocm']}", row) for row in matrix.rows("torch-rocm", targets=target)]
    grouped(sheet, "torch builds with code for it", builds)
    if not builds:
        sheet.answer.gaps.append(f"no torch build in our tables has code for {target}")
    return sheet.answer
