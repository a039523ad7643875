"""What people type: odd spelling, no subject, parts of names, and errors by number or name."""

from __future__ import annotations

import pytest

from envcheck.matrix import Matrix
from envcheck.matrix.gpu_names import fitting
from envcheck.matrix.guess import cuda_version, driver_version
from envcheck.matrix.model import QueryError
from envcheck.matrix.query import Answer, ask


def value(answer: Answer, name: str) -> object:
    found = [fact.value for fact in answer.facts if fact.name == name]
    assert found, [fact.name for fact in answer.facts]
    return found[0]


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        ("rtx4090", "gpu GeForce RTX 4090"),
        ("4090", "gpu GeForce RTX 4090"),
        ("RTX 4090 laptop", "gpu GeForce RTX 4090 Laptop GPU"),
        ("DGX Spark", "gpu GB10"),
        ("sm_89", "compute capability 8.9"),
        ("8.9", "compute capability 8.9"),
        ("12.4", "CUDA 12.4"),
        ("cu124", "CUDA 12.4"),
        ("550", "Linux driver 550"),
        ("R550", "Linux driver 550"),
        ("550.54.14", "Linux driver 550.54.14"),
        ("p4d.24xlarge", "instance p4d.24xlarge"),
        ("CUDA_ERROR_NO_DEVICE", "error CUDA_ERROR_NO_DEVICE"),
        ("pytorch:24.05-py3", "image pytorch:24.05-py3"),
    ],
)
def test_without_a_subject(matrix: Matrix, words: str, subject: str) -> None:
    assert ask(matrix, words.split()).subject == subject


def test_a_package_is_never_taken_for_something_else(matrix: Matrix) -> None:
    assert ask(matrix, ["nccl", "2.21.5"]).subject == "nccl 2.21.5"
    with pytest.raises(QueryError, match="did you mean torchvision"):
        ask(matrix, ["torchvison"])
    with pytest.raises(QueryError, match="no table has anything"):
        ask(matrix, ["package", "rtx4090"])


@pytest.mark.parametrize(
    ("typed", "version"),
    [
        ("12.4 update 1", "12.4.1"),
        ("12.4U1", "12.4.1"),
        ("12.4 Update 1", "12.4.1"),
        ("v12.1.1", "12.1.1"),
        ("cu121", "12.1"),
        ("cu92", "9.2"),
        ("cu12", "12"),
        ("CUDA 12.4", "12.4"),
        ("12,4", "12.4"),
        ("x", "x"),
    ],
)
def test_versions_of_cuda(typed: str, version: str) -> None:
    assert cuda_version(typed) == version


@pytest.mark.parametrize(
    ("typed", "version"), [("R550", "550"), ("r535 branch", "535"), ("v550.54", "550.54"), ("470", "470"), ("x", "x")]
)
def test_versions_of_drivers(typed: str, version: str) -> None:
    assert driver_version(typed) == version


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("3080ti", ["GeForce RTX 3080 Ti"]),
        ("4070tisuper", ["GeForce RTX 4070 Ti SUPER"]),
        ("GTX1080Ti", ["GeForce GTX 1080 Ti"]),
        ("H100 PCIe", ["H100 PCIe"]),
        ("A100-SXM4-40GB MIG 1g.5gb", ["A100-SXM4-40GB"]),
        ("K80", ["Tesla K80"]),
        ("A100 80GB", ["A100 80GB PCIe", "A100-SXM-80GB", "A100-SXM4-80GB"]),
        ("H100 SXM5 80GB", ["H100 80GB HBM2e", "H100 80GB HBM3"]),
        ("H100 SXM", ["H100", "H100 80GB HBM2e", "H100 80GB HBM3", "H100 PCIe"]),
        ("K40", ["Tesla K40c", "Tesla K40m", "Tesla K40s"]),
        ("Quadro RTX 6000", ["Quadro RTX 6000"]),
        ("MI300X", []),
        ("geforce", []),
        ("", []),
    ],
)
def test_gpus_as_people_name_them(matrix: Matrix, typed: str, names: list[str]) -> None:
    assert [row["name"] for row in fitting(matrix, typed)] == names


@pytest.mark.parametrize(("typed", "cc"), [("sm_89", "8.9"), ("10", "10.0"), ("9", "9.0"), ("120", "12.0")])
def test_capabilities_as_people_write_them(matrix: Matrix, typed: str, cc: str) -> None:
    assert ask(matrix, ["cc", typed]).subject == f"compute capability {cc}"


def test_targets_with_a_suffix(matrix: Matrix) -> None:
    assert value(ask(matrix, ["sm_100f"]), "compute capabilities that run it") == ["10.0", "10.3"]
    with pytest.raises(QueryError, match=r"no target 8\.0a"):
        ask(matrix, ["cc", "sm_80a"])


def test_several_products_of_one_name(matrix: Matrix) -> None:
    answer = ask(matrix, ["gpu", "V100"])
    assert answer.subject == "gpu V100"
    assert "Tesla V100-SXM2-16GB" in value(answer, "products of that name")  # type: ignore[operator]
    assert value(answer, "compute capability") == "7.0"
    assert any(gap.startswith("memory") for gap in answer.gaps)
    assert value(ask(matrix, ["gpu", "A100 80GB"]), "memory in MiB, nominal") == 81920


def test_a_branch_says_what_depends_on_the_release(matrix: Matrix) -> None:
    answer = ask(matrix, ["driver", "550"])
    assert value(answer, "newest toolkit with all features") == "12.3"
    assert value(answer, "CUDA 12.4 with all features") == "from 550.54.14 on"
    with pytest.raises(QueryError, match="--windows"):
        ask(matrix, ["driver", "537.13"])


def test_a_release_of_cuda_that_only_drivers_print(matrix: Matrix) -> None:
    answer = ask(matrix, ["cuda", "12.7"])
    assert value(answer, "driver branches that print it") == ["565"]
    assert any("not listed" in gap for gap in answer.gaps)


def test_errors(matrix: Matrix) -> None:
    answer = ask(matrix, ["error", "803"])
    assert "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" in value(answer, "CUDA 803: name")  # type: ignore[operator]
    assert "reboot" in str(value(answer, "CUDA 803: what usually helps"))
    for name in ("cudaErrorSystemDriverMismatch", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "803,"):
        assert ask(matrix, ["error", name]).facts == answer.facts
    both = {fact.name.partition(":")[0] for fact in ask(matrix, ["error", "18"]).facts}
    assert both == {"CUDA 18", "NVML 18"}
    assert {fact.name.partition(":")[0] for fact in ask(matrix, ["error", "nvml", "18"]).facts} == {"NVML 18"}
    assert ask(matrix, ["error", "NVMLError_LibRmVersionMismatch"]).facts
    old = ask(matrix, ["error", "48"])
    assert "cudaErrorNoKernelImageForDevice" in value(old, "CUDA 209: name")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["error"], "name one error"),
        (["error", "12345"], "no error of CUDA"),
        (["error", "CUDA_ERROR_NO_DEVCE"], "did you mean CUDA_ERROR_NO_DEVICE"),
        (["error", "nvml", "803"], "no error of CUDA"),
        (["RTX", "4091"], "did you mean"),
        (["gpu", "Arc A770"], "which list NVIDIA's and AMD's"),
    ],
)
def test_nothing_fits(matrix: Matrix, words: list[str], said: str) -> None:
    with pytest.raises(QueryError) as caught:
        ask(matrix, words)
    assert said in str(caught.value)


def test_every_code_has_a_meaning(matrix: Matrix) -> None:
    for table in ("cuda-errors", "nvml-errors"):
        assert [row["code"] for row in matrix.rows(table) if not row["meaning"]] == []


def test_parts_of_names(matrix: Matrix) -> None:
    assert value(ask(matrix, ["instance", "p4d"]), "number of GPUs") == 8
    assert value(ask(matrix, ["instance", "NC6s_v3"]), "number of GPUs") == 1
    assert (
        ask(matrix, ["image", "nvcr.io/nvidia/pytorch:24.05-py3"]).facts
        == ask(matrix, ["image", "pytorch", "24.05"]).facts
    )
    notebooks = ask(matrix, ["notebook", "colab"])
    assert len(notebooks.facts) < 60
    assert value(notebooks, "also listed")


def test_updates_of_a_toolkit(matrix: Matrix) -> None:
    answer = ask(matrix, ["cuda", "12.4 update 1"])
    assert value(answer, "name of the release") == "12.4 Update 1"
    assert value(answer, "Linux driver of this update") == "550.54.15"
    assert value(ask(matrix, ["cuda", "12.4"]), "releases") == ["12.4.0", "12.4.1"]
