"""Helpers over the tables: GPUs by name, GPU targets of a build, rows of a release."""

from __future__ import annotations

import pytest

from envcheck.matrix import Matrix
from envcheck.matrix.gpus import find_gpu, find_gpu_by_pci
from envcheck.matrix.lookup import cpu_requirements, cudnn_gpus, ort_gpu, ort_opset, tensorrt
from envcheck.matrix.torch import torch_archs


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "8.0"),
        ("NVIDIA A100-SXM4-80GB", "8.0"),
        ("NVIDIA A100 80GB PCIe", "8.0"),
        ("A100", "8.0"),
        ("Tesla A100", "8.0"),
        ("GRID A100-40C", "8.0"),
        ("NVIDIA A40-48Q", "8.6"),
        ("Tesla T4", "7.5"),
        ("T4", "7.5"),
        ("GRID T4-16Q", "7.5"),
        ("Tesla V100-SXM2-32GB-LS", "7.0"),
        ("Tesla P100-PCIE-16GB", "6.0"),
        ("Tesla K80", "3.7"),
        ("NVIDIA H100 80GB HBM3", "9.0"),
        ("NVIDIA GH200 480GB", "9.0"),
        ("NVIDIA B200", "10.0"),
        ("NVIDIA GB10", "12.1"),
        ("NVIDIA GeForce RTX 3050 Ti Laptop GPU", "8.6"),
        ("NVIDIA GeForce RTX 3050 A Laptop GPU", "8.9"),
        ("NVIDIA GeForce RTX 5090", "12.0"),
        ("rtx 4060ti", "8.9"),
        ("GeForce GTX 1660Ti", "7.5"),
        ("NVIDIA GeForce GTX 1080 Ti", "6.1"),
        ("NVIDIA GeForce MX570", "8.6"),
        ("NVIDIA TITAN V", "7.0"),
        ("Quadro RTX 6000", "7.5"),
        ("NVIDIA RTX 6000 Ada Generation", "8.9"),
        ("NVIDIA RTX A6000", "8.6"),
        ("RTX PRO 6000", "12.0"),
        ("Orin", "8.7"),
        ("Orin (nvgpu)", "8.7"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "8.7"),
        ("Jetson Orin", "8.7"),
        ("NVIDIA Thor", "11.0"),
        ("NVIDIA Tegra X1", "5.3"),
    ],
)
def test_names_that_nvidia_smi_prints(matrix: Matrix, compiled: Matrix, name: str, capability: str) -> None:
    for tables in (matrix, compiled):
        row = find_gpu(tables, name)
        assert row is not None
        assert row["compute_capability"] == capability


@pytest.mark.parametrize("name", ["", "NVIDIA", "RTX 6000", "AMD Radeon RX 7900 XTX", "GeForce GT 730", "RTX 9999"])
def test_names_that_decide_nothing(matrix: Matrix, name: str) -> None:
    assert find_gpu(matrix, name) is None


def test_a_shortened_name_does_not_state_the_memory(matrix: Matrix) -> None:
    exact, short = find_gpu(matrix, "NVIDIA A100-SXM4-40GB"), find_gpu(matrix, "A100")
    assert exact is not None
    assert short is not None
    assert (exact["memory_mib"], short["memory_mib"]) == (40960, None)
    assert exact["data_center"] is short["data_center"] is True


def test_by_pci_id(matrix: Matrix) -> None:
    for text in ("2684", "0x2684", "10DE:2684"):
        row = find_gpu_by_pci(matrix, text)
        assert row is not None
        assert row["name"] == "GeForce RTX 4090"
    assert find_gpu_by_pci(matrix, "ffff") is None


def test_every_gpu_has_a_listed_capability(matrix: Matrix) -> None:
    known = {row["cc"] for row in matrix.rows("compute-capabilities")}
    assert {row["compute_capability"] for row in matrix.rows("gpus")} <= known


@pytest.mark.parametrize(
    ("version", "cuda", "row", "first"),
    [
        ("2.5.1", "12.4", "2.5.1", "5.0"),
        ("2.5.0+cu124", "12.4.1", "2.5.1", "5.0"),
        ("2.5.1", "11.8", "2.5", "3.7"),
        ("2.12.0", "13.0", "2.12.1", "7.5"),
        ("1.7.1", "11.0", "1.7.1", "3.7"),
    ],
)
def test_torch_archs(matrix: Matrix, version: str, cuda: str, row: str, first: str) -> None:
    found = torch_archs(matrix, version, cuda)
    assert found is not None
    assert found["torch"] == row
    assert found["sass"][0] == first


@pytest.mark.parametrize(
    ("version", "cuda", "system", "arch", "first"),
    [
        ("2.8.0", "12.8", "windows", "x86_64", "6.1"),
        ("2.8.0", "12.8", "linux", "x86_64", "7.0"),
        ("2.11.0", "12.8", "windows", "x86_64", "7.5"),
        ("2.13.0", "13.0", "linux", "aarch64", "8.0"),
        ("1.13.1", "11.7", "windows", "x86_64", "3.7"),
    ],
)
def test_torch_archs_of_a_platform(matrix: Matrix, version: str, cuda: str, system: str, arch: str, first: str) -> None:
    found = torch_archs(matrix, version, cuda, system, arch)
    assert found is not None
    assert found["sass"][0] == first


def test_builds_for_windows_and_linux_differ_in_ptx(matrix: Matrix) -> None:
    windows, linux = torch_archs(matrix, "2.0.1", "11.8", "windows"), torch_archs(matrix, "2.0.1", "11.8")
    assert windows is not None
    assert linux is not None
    assert windows["ptx"] == ["3.7"]
    assert not linux["ptx"]
    assert torch_archs(matrix, "2.13.0", "13.0", "windows", "aarch64") is None


@pytest.mark.parametrize(
    ("version", "cuda"),
    [("2.5.1", "9.0"), ("99.0", "12.4"), ("x", "12.4"), ("2.5.1", "x"), ("2", "12.4"), ("2.5.1", "12")],
)
def test_torch_archs_that_are_not_listed(matrix: Matrix, version: str, cuda: str) -> None:
    assert torch_archs(matrix, version, cuda) is None


def test_rows_of_a_release(matrix: Matrix) -> None:
    gpu, opset = ort_gpu(matrix, "1.19.1"), ort_opset(matrix, "1.17.0")
    assert gpu is not None
    assert (gpu["cuda_major"], gpu["cudnn_major"]) == ("12", "9")
    assert opset is not None
    assert opset["opset_max"] == 20
    assert ort_gpu(matrix, "0.1.0") is None
    first, patch = tensorrt(matrix, "10.13.0.35"), tensorrt(matrix, "10.13.2.6")
    assert first is not None
    assert patch is not None
    assert ("11" in first["cuda_majors"], "11" in patch["cuda_majors"]) == (True, False)
    assert [tensorrt(matrix, version) for version in ("10", "x", "", "9.9")] == [None] * 4
    assert [ort_gpu(matrix, version) for version in ("1", "x", "")] == [None] * 3


@pytest.mark.parametrize(
    ("version", "cuda", "lowest", "highest"),
    [
        ("8.9.2.26", "12", "5.0", "9.0"),
        ("9.1.0.70", "12", "5.0", "9.0"),
        ("9.10.2.21", "12", "5.0", "12.0"),
        ("9.11.0", "12", "7.5", "12.1"),
        ("9.28.0.42", "13", "7.5", "12.1"),
    ],
)
def test_cudnn_gpus(matrix: Matrix, version: str, cuda: str, lowest: str, highest: str) -> None:
    row = cudnn_gpus(matrix, version, cuda)
    assert row is not None
    assert (row["cc_min"], row["cc_max"]) == (lowest, highest)


def test_cudnn_that_is_not_listed(matrix: Matrix) -> None:
    assert cudnn_gpus(matrix, "9.11.0", "11") is None
    assert cudnn_gpus(matrix, "x", "12") is None


@pytest.mark.parametrize(
    ("package", "version", "flags"),
    [
        ("numpy", "2.3.5", []),
        ("numpy", "2.4.0", ["cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"]),
        ("tensorflow", "1.5.0", []),
        ("tensorflow", "2.4.0", ["avx", "avx2"]),
        ("tensorflow", "2.4.1", ["avx"]),
        ("jaxlib", "0.4.38", ["avx"]),
        ("jaxlib", "0.12.0", ["avx", "avx2", "fma"]),
        ("requests", "2.0", []),
    ],
)
def test_cpu_requirements(matrix: Matrix, package: str, version: str, flags: list[str]) -> None:
    assert [flag for row in cpu_requirements(matrix, package, version) for flag in row["requires_flags"]] == flags
