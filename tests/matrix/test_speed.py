"""What cards and cores can do at most: the tables, the look-ups and the answer to a question."""

from __future__ import annotations

import pytest

from envcheck.matrix import Matrix
from envcheck.matrix.query import ask
from envcheck.matrix.speed import PEAK_COLUMNS, cpu_speed, gpu_speed, peak


@pytest.mark.parametrize(
    ("name", "bandwidth", "dtype", "tera"),
    [
        ("NVIDIA A100-SXM4-80GB", 2040, "bf16", 312),
        ("NVIDIA A100-PCIE-40GB", 1560, "tf32", 156),
        ("NVIDIA H100 80GB HBM3", 3350, "fp16", 989),
        ("NVIDIA H100 PCIe", 2000, "fp8", 1513),
        ("NVIDIA H200", 4800, "fp16", 989),
        ("Tesla T4", 320, "fp16", 65),
        ("Tesla V100-SXM2-16GB", 900, "fp16", 125),
        ("NVIDIA L40S", 864, "bf16", 362),
        ("NVIDIA GeForce RTX 4090", 1010, "bf16", 165),
        ("NVIDIA GeForce GTX 1080 Ti", 484, "fp32", 11),
        ("AMD Instinct MI300X", 5300, "fp16", 1300),
        ("AMD Radeon RX 7900 XTX", 960, "fp32", 61),
        ("Radeon RX 7900 XTX", 960, "fp32", 61),
    ],
)
def test_by_the_name_a_driver_gives(
    matrix: Matrix, compiled: Matrix, name: str, bandwidth: int, dtype: str, tera: int
) -> None:
    for tables in (matrix, compiled):
        row = gpu_speed(tables, name)
        assert row is not None
        assert row["bandwidth_gbs"] == bandwidth
        assert (peak(row, dtype) or 0) // 10**12 == tera


@pytest.mark.parametrize(
    "name",
    [
        "",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "GRID A100-40C",
        "NVIDIA A40-48Q",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A100",
        "NVIDIA RTX 9999",
    ],
)
def test_a_share_or_another_card_has_no_figures(matrix: Matrix, name: str) -> None:
    assert gpu_speed(matrix, name) is None


def test_what_is_not_known_is_none(matrix: Matrix) -> None:
    row = gpu_speed(matrix, "Tesla P40")
    assert row is not None
    assert peak(row, "fp16") is None
    with pytest.raises(KeyError):
        peak(row, "fp64")


def test_every_card_is_one_of_the_tables_of_gpus(matrix: Matrix) -> None:
    known = {row["name"] for table in ("gpus", "amd-gpus") for row in matrix.rows(table)}
    assert {row["name"] for row in matrix.rows("gpu-speed")} <= known


def test_figures_hang_together(matrix: Matrix) -> None:
    """A slip of a digit, or a figure with sparsity, breaks a ratio that all generations keep."""
    for row in matrix.rows("gpu-speed"):
        fp32, tf32, fp16, bf16, fp8, int8 = (row[column] for column in PEAK_COLUMNS.values())
        bandwidth = row["bandwidth_gbs"]
        assert 10 <= bandwidth <= 8000, row["name"]
        if tf32 and fp16:
            assert 1.95 <= fp16 / tf32 <= 2.05, row["name"]
        if bf16:
            assert bf16 == fp16, row["name"]
        if fp8:
            assert 1.9 <= fp8 / fp16 <= 2.1, row["name"]
        if int8 and fp16:
            assert 0.99 <= int8 / fp16 <= 4.1, row["name"]
        if fp32 and fp16:
            assert 1.9 <= fp16 / fp32 <= 33, row["name"]
        if fp32:
            assert 5 <= fp32 / bandwidth <= 120, row["name"]
        assert row["power_w"] is None or 15 <= row["power_w"] <= 1400, row["name"]
        assert (row["pcie_generation"] is None) == (row["pcie_width"] is None), row["name"]


def test_no_type_that_the_hardware_lacks(matrix: Matrix) -> None:
    lowest = {row["subject"]: row["min_cc"] for row in matrix.rows("gpu-features", kind="dtype")}
    gpus = {row["name"]: row["compute_capability"] for row in matrix.rows("gpus")}
    for row in matrix.rows("gpu-speed"):
        for dtype in ("bf16", "fp8"):
            if row["name"] in gpus and row[PEAK_COLUMNS[dtype]] is not None:
                assert float(gpus[row["name"]]) >= float(lowest[dtype]), row["name"]


@pytest.mark.parametrize(
    ("flags", "low", "high"),
    [
        ({"sse2"}, 8, 8),
        ({"sse2", "avx"}, 8, 16),
        ({"sse2", "avx", "avx2"}, 8, 16),
        ({"sse2", "avx", "avx2", "fma"}, 16, 32),
        ({"sse2", "avx", "avx2", "fma", "avx512f"}, 32, 64),
        ({"fp", "asimd"}, 8, 16),
        ({"fp", "asimd", "sve"}, 16, 32),
    ],
)
def test_operations_of_a_core(matrix: Matrix, flags: set[str], low: int, high: int) -> None:
    row = cpu_speed(matrix, flags)
    assert row is not None
    assert (row["flops_low"], row["flops_high"]) == (low, high)
    assert cpu_speed(matrix, ()) is None


def test_the_answer_about_a_gpu_gives_its_figures(matrix: Matrix) -> None:
    facts = {fact.name: fact.value for fact in ask(matrix, ["gpu", "RTX 3090"]).facts}
    assert facts["memory bandwidth"] == "936 GB/s"
    assert "fp16 71.2 TFLOPS" in facts["peak throughput (boost clock, without sparsity)"]
    assert facts["power limit"] == "350 W"
    assert facts["PCIe"] == "4.0 x16"


def test_products_of_one_name_are_told_apart(matrix: Matrix) -> None:
    values = [fact.value for fact in ask(matrix, ["gpu", "A100"]).facts if fact.name == "memory bandwidth"]
    assert "1940 GB/s (A100 80GB PCIe)" in values
    assert "1560 GB/s (A100-PCIE-40GB, A100-SXM4-40GB)" in values


def test_a_card_without_figures_says_so(matrix: Matrix) -> None:
    answer = ask(matrix, ["gpu", "RTX 4090 laptop"])
    assert "memory bandwidth and peak throughput: not in our tables" in answer.gaps
