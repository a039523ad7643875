"""Memory bandwidth, peak throughput, power limit and bus of a GPU, in the answer about it."""

from __future__ import annotations

from collections.abc import Callable

from . import Row
from .query import Sheet
from .speed import PEAK_COLUMNS

_NAMES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("memory bandwidth", lambda row: _unit(row["bandwidth_gbs"], "GB/s")),
    ("peak throughput (boost clock, without sparsity)", lambda row: _peaks(row)),
    ("power limit", lambda row: _unit(row["power_w"], "W")),
    ("PCIe", lambda row: f"{row['pcie_generation']}.0 x{row['pcie_width']}" if row["pcie_width"] else ""),
)


def speed(sheet: Sheet, names: list[str]) -> None:
    """Add what `gpu-speed` knows of these products: those that agree together."""
    rows = [row for name in names if (row := sheet.matrix.row("gpu-speed", name=name)) is not None]
    if not rows:
        sheet.answer.gaps.append("memory bandwidth and peak throughput: not in our tables")
        return
    for words, text in _NAMES:
        same: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            if value := text(row):
                same.setdefault((value, row["source"], row["confidence"]), []).append(row)
        for (value, _, _), members in same.items():
            one = len(names) == 1
            products = "" if len(members) == len(names) else f" ({', '.join(row['name'] for row in members)})"
            sheet.say(words, value + products, members[0] if one else {**members[0], "note": None})


def _unit(value: int | None, unit: str) -> str:
    return "" if value is None else f"{value} {unit}"


def _peaks(row: Row) -> str:
    known = [(dtype, row[column]) for dtype, column in PEAK_COLUMNS.items() if row[column] is not None]
    # Cards of before tensor cores reach less than one TFLOPS in some types: 0.8, not 1.
    texts = [f"{dtype} {value / 1000:.4g} {'TOPS' if dtype == 'int8' else 'TFLOPS'}" for dtype, value in known]
    return ", ".join(texts)
