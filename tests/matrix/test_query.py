"""What the tables answer to people."""

from __future__ import annotations

import pytest

from envcheck.matrix import Matrix
from envcheck.matrix.model import QueryError
from envcheck.matrix.query import Answer, ask
from envcheck.matrix.subjects import names_of_packages


def value(answer: Answer, name: str) -> object:
    found = [fact.value for fact in answer.facts if fact.name == name]
    assert found, [fact.name for fact in answer.facts]
    return found[0]


def test_torch(matrix: Matrix) -> None:
    answer = ask(matrix, ["torch", "2.5.1"])
    assert value(answer, "CUDA variants") == ["cu118", "cu121", "cu124"]
    assert value(answer, "default (Linux x86-64, package index)") == "CUDA 12.4"
    assert value(answer, "cuDNN it requires") == "9.1.0.70"
    assert value(answer, "goes with torchvision") == ["0.20.1"]
    assert "2.5.1" in value(answer, "goes with torchaudio")  # type: ignore[operator]
    assert value(answer, "CUDA 12.4: lowest Linux driver") == "525.60.13"
    assert "9.0" in value(answer, "CUDA 12.4: GPU machine code (measured)")  # type: ignore[operator]


@pytest.mark.parametrize("words", [["torch", "2.5.1+cu121"], ["torch==2.5.1"], ["package", "Torch", "v2.5.1"]])
def test_other_ways_to_ask(matrix: Matrix, words: list[str]) -> None:
    assert ask(matrix, words).facts == ask(matrix, ["torch", "2.5.1"]).facts


def test_gpu(matrix: Matrix) -> None:
    answer = ask(matrix, ["gpu", "RTX 4090"])
    assert value(answer, "compute capability") == "8.9"
    toolkits = value(answer, "CUDA toolkits that know it")
    assert isinstance(toolkits, list)
    assert (toolkits[0], "11.7" in toolkits) == ("11.8", False)
    builds = [build for fact in answer.facts if fact.name.startswith("torch builds") for build in fact.value]
    assert "2.5.1 CUDA 12.4" in builds
    old = ask(matrix, ["gpu", "Tesla K80"])
    builds = [build for fact in old.facts if fact.name.startswith("torch builds") for build in fact.value]
    assert "2.5.1 CUDA 12.4" not in builds


def test_no_torch_build_runs_where_it_has_no_code(matrix: Matrix) -> None:
    builds = [
        build
        for fact in ask(matrix, ["cc", "sm_120"]).facts
        if fact.name.startswith("torch builds")
        for build in fact.value
    ]
    assert "2.6.0 CUDA 12.4" not in builds
    assert "2.7 CUDA 12.8" in builds or "2.8.0 CUDA 12.8" in builds


def test_driver(matrix: Matrix) -> None:
    answer = ask(matrix, ["driver", "470.82.01"])
    assert value(answer, "newest CUDA release it prints") == "11.4"
    assert value(answer, "meets the floor of CUDA 11.x") == "yes (450.80.02 or newer)"
    assert value(answer, "meets the floor of CUDA 12.x") == "no (525.60.13 or newer)"
    assert value(answer, "newest toolkit with all features") == "11.4"
    assert value(answer, "drives Kepler") == ["3.0", "3.5", "3.7"]
    assert value(answer, "newest torch for CUDA 11.8 (variant runs)") == "2.7"
    assert not any("Hopper" in fact.name or "CUDA 12.4" in fact.name for fact in answer.facts)
    branch = ask(matrix, ["driver", "525"])
    assert value(branch, "meets the floor of CUDA 12.x") == "525 does not tell (525.60.13 or newer)"
    on_windows = ask(matrix, ["driver", "528.33"], windows=True)
    assert value(on_windows, "newest CUDA release it prints") == "12.0"
    assert value(on_windows, "meets the floor of CUDA 12.x") == "yes (527.41 or newer)"


def test_cuda(matrix: Matrix) -> None:
    for version in ("12.4", "12.4.1"):
        answer = ask(matrix, ["cuda", version])
        assert value(answer, "lowest Linux driver that runs it") == "525.60.13"
        assert value(answer, "PTX version that its compilers write") == "8.4"
        known = value(answer, "compute capabilities it knows")
        assert isinstance(known, list)
        assert "9.0" in known
        assert not {"3.5", "10.0"} & set(known)
        assert "2.5" in value(answer, "torch releases with a variant for it")  # type: ignore[operator]


def test_libraries(matrix: Matrix) -> None:
    ort = ask(matrix, ["onnxruntime-gpu", "1.20.1"])
    assert value(ort, "highest opset") == 21
    assert value(ort, "CUDA major release of the libraries it needs (as in 1.20.0)") == "12"
    trt = ask(matrix, ["tensorrt", "10.5"])
    assert value(trt, "lowest compute capability") == "7.5"
    dnn = ask(matrix, ["cudnn", "9.8"])
    assert value(dnn, "for CUDA 12: lowest Linux driver") == "525.60.13"
    assert value(ask(matrix, ["numpy", "1.26.4"]), "Requires-Python") == ">=3.9"


@pytest.mark.parametrize(
    ("name", "version", "label", "told"),
    [
        ("cupy-cuda12x", "13.6.0", "NumPy releases", "2.3"),
        ("onnxruntime-directml", "1.20.0", "highest opset", "21"),
        ("tensorflow-gpu", "2.10.0", "linux: cuDNN release", "8.1"),
        ("paddlepaddle-gpu", "2.5.0", "CUDA 11.2: cuDNN that the guide names", "8.2.1"),
        ("mxnet-cu112", "1.9.1", "cuDNN of the build", "8.1.1"),
        ("openvino", "2023.3.0", "operating systems", "CentOS 7"),
    ],
)
def test_packages_whose_releases_stand_in_another_table(
    matrix: Matrix, name: str, version: str, label: str, told: str
) -> None:
    assert told in str(value(ask(matrix, [name, version]), label))


def test_openvino_is_no_onnx_runtime(matrix: Matrix) -> None:
    assert not any("opset" in fact.name for fact in ask(matrix, ["openvino"]).facts)


def test_packages_with_a_table_of_their_own(matrix: Matrix) -> None:
    answer = ask(matrix, ["tensorflow", "2.15"])
    assert value(answer, "linux: cuDNN release") == "8.9"
    assert "2.15.0" in value(ask(matrix, ["tensorflow"]), f"{matrix.meta('tensorflow').title}: releases listed")  # type: ignore[operator]


def test_images_and_machines(matrix: Matrix) -> None:
    for words in (["image", "pytorch", "24.05"], ["instance", "g5.xlarge"]):
        answer = ask(matrix, words)
        assert answer.facts
        assert answer.sources
    with pytest.raises(QueryError, match=r"g5\.xlarge"):
        ask(matrix, ["instance", "g5.xlrge"])


def test_tables_that_are_not_there(small: Matrix) -> None:
    with pytest.raises(QueryError, match="has none of instances"):
        ask(small, ["instance", "g5.xlarge"])


@pytest.mark.parametrize(
    "words",
    [
        ["torch", "99.0"],
        ["driver", "9999.1"],
        ["cuda", "99.0"],
        ["cudnn", "99.0"],
        ["tensorrt", "99.0"],
        ["onnxruntime-gpu", "99.0"],
        ["numpy", "99.0"],
    ],
)
def test_newer_than_our_data(matrix: Matrix, words: list[str]) -> None:
    assert any("newer than our data" in gap for gap in ask(matrix, words).gaps)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["torchvison"], "did you mean torchvision"),
        (["torch", "2.5.7"], "nearest: 2.5.1 and 2.6.0"),
        (["torch", "two"], "no version"),
        (["torch", "2.5.1", "2.6.0"], "takes one version"),
        (["gpu", "RTX 4091"], "did you mean"),
        (["gpu"], "envcheck matrix gpu"),
        (["driver", "x"], "no version"),
        (["cuda", "11.9"], "11.8"),
        (["cc", "8.8.8"], "near it"),
        (["table", "gpuz"], "gpus"),
        (["table", "gpus", "nme=x"], "name"),
        (["table", "gpus", "x"], "COLUMN=VALUE"),
        (["table", "gpus", "name=RTX 4091"], "no row"),
        (["table"], "name a table"),
        (["package"], "name a package"),
        ([""], "say what to look up"),
    ],
)
def test_what_does_not_exist_names_what_is_near(matrix: Matrix, words: list[str], said: str) -> None:
    with pytest.raises(QueryError) as caught:
        ask(matrix, words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables(matrix: Matrix) -> None:
    names = [fact.name for fact in ask(matrix, ["tables"]).facts]
    assert {"gpus", "torch-builds"} <= set(names)
    rows = ask(matrix, ["table", "torch-builds", "torch=2.5.1"])
    assert value(rows, "2.5.1: cuda") == "12.4"
    assert ask(matrix, ["table", "gpus", "tegra=true"]).facts
    assert ask(matrix, ["table", "cuda-toolkits", "toolkit=99.0"]).gaps


def test_every_fact_has_its_source(matrix: Matrix) -> None:
    for words in (["torch", "2.5.1"], ["gpu", "T4"], ["driver", "550.54.14"], ["cudnn", "9.8"], ["vllm"], ["tables"]):
        answer = ask(matrix, words)
        for fact in answer.facts:
            assert fact.value not in (None, "", [])
            assert fact.as_of
            assert answer.sources[fact.source].title


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["torch", "2"], "2.15.0"),
        (["numpy", "2"], "2.0.0"),
        (["tensorrt", "10"], "10.5.0"),
        (["nccl", "2"], "2.21.5"),
        (["cudnn", "9"], "9.11.0 to 9.28"),
    ],
)
def test_a_major_release_is_not_taken_for_its_first(matrix: Matrix, words: list[str], some: str) -> None:
    answer = ask(matrix, words)
    told = [each for fact in answer.facts for each in fact.value]
    assert any(each.startswith(some) for each in told)
    assert all("releases" in fact.name for fact in answer.facts)
    assert any("is any of these" in gap for gap in answer.gaps)


def test_keys_are_told_in_words(matrix: Matrix) -> None:
    assert value(ask(matrix, ["nccl", "2.21.5"]), "CUDA 12: toolkit that the wheel was built with") == "12.4"
    assert any(fact.name.startswith("win_amd64, win_arm64: ") for fact in ask(matrix, ["vllm", "0.6.6"]).facts)


def test_wheels_outside_the_package_index(matrix: Matrix) -> None:
    name = matrix.meta("prebuilt-extensions").title
    assert "linux CUDA 12.1 torch 2.1" in value(ask(matrix, ["mmcv", "2.1.0"]), name)  # type: ignore[operator]
    assert value(ask(matrix, ["detectron2"]), name)


def test_a_component_of_a_toolkit(matrix: Matrix) -> None:
    answer = ask(matrix, ["nvidia-cublas-cu12", "12.4.5.8"])
    assert value(answer, "part of CUDA toolkits") == ["12.4.1"]


def test_what_a_package_asks_of_the_gpu(matrix: Matrix) -> None:
    assert value(ask(matrix, ["flash-attn", "2.7.4"]), "lowest compute capability") == "8.0"
    assert value(ask(matrix, ["flash-attn", "1.0.4"]), "lowest compute capability") == "7.5"


def test_torch_on_other_makers(matrix: Matrix) -> None:
    answer = ask(matrix, ["torch", "2.4.1"])
    assert "gfx942" in value(answer, "ROCm 6.1: GPU targets with code")  # type: ignore[operator]
    assert value(answer, "MPS: oldest macOS (aarch64)") == "12.3"


def test_columns_of_keys_are_no_packages(matrix: Matrix) -> None:
    for name in ("from-version", "level", "toolkit", "branch"):
        with pytest.raises(QueryError):
            ask(matrix, ["package", name])


@pytest.mark.parametrize(
    ("typed", "subject"),
    [
        ("MI300X", "gpu AMD Instinct MI300X"),
        ("AMD Instinct MI210", "gpu AMD Instinct MI210"),
        ("rx7900xtx", "gpu AMD Radeon RX 7900 XTX"),
        ("gfx942", "gpu AMD gfx942"),
    ],
)
def test_amd(matrix: Matrix, typed: str, subject: str) -> None:
    answer = ask(matrix, typed.split())
    assert answer.subject == subject
    assert ask(matrix, ["gpu", typed]).subject == subject
    assert any(fact.name == "torch builds with code for it" for fact in answer.facts)


def test_amd_names_that_differ_in_target(matrix: Matrix) -> None:
    with pytest.raises(QueryError, match="differ in their target"):
        ask(matrix, ["gpu", "MI3"])


def test_library_files(matrix: Matrix) -> None:
    answer = ask(matrix, ["libcudnn.so.8"])
    assert {"11", "12"} <= {each for fact in answer.facts if "belongs to" in fact.name for each in fact.value}
    assert ask(matrix, ["library", "libcublas.so.12.4.5.8"]).facts
    with pytest.raises(QueryError, match="did you mean"):
        ask(matrix, ["libcudnn.so.77"])


def test_a_release_named_in_part_says_which_it_is(matrix: Matrix) -> None:
    answer = ask(matrix, ["tensorrt", "10.13.2"])
    assert value(answer, "source distribution exists (as in 10.13.2.6)")
    assert not answer.gaps


def test_packages_answer(matrix: Matrix) -> None:
    for name in sorted(names_of_packages(matrix)):
        answer = ask(matrix, ["package", name])
        assert answer.facts, name
        releases = [row["version"] for row in matrix.rows("wheels", package=name)]
        if releases:
            assert ask(matrix, ["package", name, releases[-1]]).facts, name


def test_compiled_tables_answer_alike(matrix: Matrix, compiled: Matrix) -> None:
    for words in (["torch", "2.5.1"], ["gpu", "T4"], ["driver", "550.54.14"], ["cudnn", "9.8"], ["vllm", "0.6.6"]):
        assert ask(compiled, words) == ask(matrix, words)
