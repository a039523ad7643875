"""What a GPU or a CPU core can do at most: the tables `gpu-speed` and `cpu-speed`."""

from __future__ import annotations

from collections.abc import Collection

from . import Matrix, Row
from .gpus import _BRANDS, _words

#: Column of `gpu-speed` for each data type.
PEAK_COLUMNS = {
    "fp32": "fp32_gflops",
    "tf32": "tf32_gflops",
    "fp16": "fp16_gflops",
    "bf16": "bf16_gflops",
    "fp8": "fp8_gflops",
    "int8": "int8_gops",
}


def gpu_speed(matrix: Matrix, name: str) -> Row | None:
    """Return the row of `gpu-speed` for the name that a driver or a framework gives a device.

    The whole name must agree but for the vendor, a brand (``Tesla``) and the way it is spelt: bandwidth and peaks
    differ between the products of one chip. A MIG slice or a vGPU has a share that the name does not tell: None, as
    for a card that is not listed. Figures are at the boost clock and without sparsity; None in a cell means not known.
    """
    if " mig " in f"{name.lower()} ":
        return None
    rows: dict[str, Row] | None = matrix.memo.get("gpu-speed: words")
    if rows is None:
        rows = matrix.memo["gpu-speed: words"] = {_key(row["name"]): row for row in matrix.rows("gpu-speed")}
    text = _key(name)
    for candidate in (text, *(f"{brand} {text}" for brand in (*_BRANDS, "radeon", "instinct"))):
        if candidate in rows:
            return rows[candidate]
    return None


def peak(row: Row, dtype: str) -> int | None:
    """Return the peak in operations a second for ``fp32``, ``tf32``, ``fp16``, ``bf16``, ``fp8`` or ``int8``.

    None when the table does not know it. Raises KeyError for another data type.
    """
    value: int | None = row[PEAK_COLUMNS[dtype]]
    return None if value is None else value * 10**9


def cpu_speed(matrix: Matrix, flags: Collection[str]) -> Row | None:
    """Return the row of `cpu-speed` for a CPU with these flags of /proc/cpuinfo: of the widest instruction set.

    Its `flops_low` and `flops_high` are float32 operations per clock and physical core. None when no row fits.
    """
    fitting = [row for row in matrix.rows("cpu-speed") if all(flag in flags for flag in row["requires_flags"])]
    return max(fitting, key=lambda row: (row["flops_high"], row["flops_low"]), default=None)


def _key(name: str) -> str:
    return " ".join(word for word in _words(name) if word not in ("amd", "gpu"))
