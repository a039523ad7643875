"""Answers about systems and formats: distributions, symbols, tags, ONNX, JetPack, CPU flags."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from envcheck.cli.matrix import HELP
from envcheck.matrix import Matrix
from envcheck.matrix.model import QueryError
from envcheck.matrix.query import FURTHER, Answer, ask, further


def value(answer: Answer, name: str) -> object:
    found = [fact.value for fact in answer.facts if fact.name == name]
    assert found, [fact.name for fact in answer.facts]
    return found[0]


def values(answer: Answer, start: str) -> list[str]:
    found = [each for fact in answer.facts if fact.name.startswith(start) for each in fact.value]
    assert found, [fact.name for fact in answer.facts]
    return found


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        ("ubuntu 22.04", "distribution ubuntu 22.04"),
        ("Ubuntu 22.04.3 LTS", "distribution ubuntu 22.04"),
        ("ubuntu:22.04", "distribution ubuntu 22.04"),
        ("ubuntu22.04", "distribution ubuntu 22.04"),
        ("ubuntu 22", "distribution ubuntu 22.04"),
        ("jammy", "distribution ubuntu 22.04"),
        ("debian bookworm", "distribution debian 12"),
        ("debian", "distribution debian"),
        ("rhel9", "distribution rhel 9"),
        ("Red Hat Enterprise Linux 9.4", "distribution rhel 9"),
        ("rockylinux:9", "distribution rocky 9"),
        ("CentOS Stream 9", "distribution centos 9"),
        ("Amazon Linux 2", "distribution amzn 2"),
        ("amazonlinux:2023", "distribution amzn 2023"),
        ("opensuse/leap:15.6", "distribution opensuse-leap 15.6"),
        ("altlinux p10", "distribution altlinux p10"),
        ("GLIBC_2.34", "glibc 2.34"),
        ("glibc-2.28-225.el8", "glibc 2.28"),
        ("version `GLIBCXX_3.4.30' not found", "GLIBCXX_3.4.30"),
        ("cxxabi 1.3.13", "CXXABI_1.3.13"),
        ("gcc-12", "GCC 12"),
        ("manylinux2014", "manylinux_2_17"),
        ("manylinux1", "manylinux_2_5"),
        ("manylinux2010_x86_64", "manylinux_2_12 (x86_64)"),
        ("manylinux 2.28", "manylinux_2_28"),
        ("musllinux_1_2_x86_64", "musllinux_1_2"),
        ("opset21", "opset 21 of ai.onnx"),
        ("opset ai.onnx.ml 5", "opset 5 of ai.onnx.ml"),
        ("IR 10", "ONNX IR version 10"),
        ("PTX 8.4", "PTX 8.4"),
        ("jetpack6.1", "JetPack 6.1"),
        ("R36.4", "L4T 36.4"),
        ("l4t R36 (release), REVISION: 4.3", "L4T 36.4.3"),
        ("x86_64-v3", "x86-64-v3"),
        ("cpu x86-64-v2", "x86-64-v2"),
        ("AVX512F", "CPU flag avx512f"),
        ("sse4.2", "CPU flag sse4_2"),
        ("cpu lzcnt", "CPU flag abm"),
        ("gpu-features", "table gpu-features"),
    ],
)
def test_what_people_type(matrix: Matrix, words: str, subject: str) -> None:
    answer = ask(matrix, words.split())
    assert answer.subject == subject
    assert answer.facts
    for fact in answer.facts:
        assert fact.value not in (None, "", [])
        assert answer.sources[fact.source].title


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("distro ubuntu 21.04", "near it: 18.04, 20.04, 22.04, 23.10"),
        ("ubuntu 24", "24.04, 24.10"),
        ("ubntu 22.04", "did you mean ubuntu"),
        ("alpine 3.20", "those with musl"),
        ("distro debian sid", "they have 8, 9"),
        ("glibc two", "no version of glibc"),
        ("gcc x", "no version of GCC"),
        ("glibcxx x", "no symbol version"),
        ("manylinux_3_1", "manylinux_2_28"),
        ("musllinux_2_0", "musllinux_1_2"),
        ("opset x", "envcheck matrix opset 21"),
        ("opset", "envcheck matrix opset 21"),
        ("ptx 8.9", "near it: 8.7, 8.8, 9.0, 9.1"),
        ("jetpack 6.3", "near it"),
        ("l4t 36.1", "near it"),
        ("jetpack x", "envcheck matrix jetpack"),
        ("x86-64-v5", "x86-64-v4"),
        ("cpu avx7", "did you mean avx"),
    ],
)
def test_what_does_not_exist_names_what_is_near(matrix: Matrix, words: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        ask(matrix, words.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "debian 99",
        "glibc 2.99",
        "gcc 99",
        "GLIBCXX_3.4.99",
        "GLIBCXX_4.0",
        "opset 99",
        "ir 99",
        "ptx 99.0",
        "jetpack 99.0",
    ],
)
def test_newer_than_our_data(matrix: Matrix, words: str) -> None:
    assert any("newer than our data" in gap for gap in ask(matrix, words.split()).gaps)


def test_distribution(matrix: Matrix) -> None:
    answer = ask(matrix, ["ubuntu", "22.04"])
    assert value(answer, "release of glibc") == "2.35"
    assert value(answer, "highest GLIBCXX") == "3.4.30"
    assert values(answer, "manylinux tags")[-1] == "manylinux_2_35"
    old = ask(matrix, ["centos", "7"])
    assert values(old, "manylinux tags")[-1] == "manylinux_2_17 (manylinux2014)"
    torch = [fact.value for fact in old.facts if fact.name.startswith("newest torch ")]
    assert torch == ["2.6.0"]  # 2.7 needs GLIBC 2.28
    gpu = [fact.value for fact in old.facts if fact.name.startswith("newest onnxruntime-gpu ")]
    assert gpu == ["1.16.3"]


def test_a_library_that_is_not_listed_proves_nothing(matrix: Matrix) -> None:
    row = matrix.row("distros", distro="openeuler", version="20.03")
    assert row is not None
    assert row["glibcxx"] is None
    answer = ask(matrix, ["openeuler", "20.03"])
    assert any("glibc alone" in gap for gap in answer.gaps)
    assert not any("newer symbols" in fact.name or "GCC" in fact.name for fact in answer.facts)
    symbol = ask(matrix, ["GLIBCXX_3.4.30"])
    assert "openeuler 20.03" not in values(symbol, "listed releases without")
    assert "rhel 9" in values(symbol, "listed releases without")
    assert "ubuntu 22.04" in values(symbol, "oldest listed release with it")


def test_tags_whose_wheels_may_use_newer_symbols_are_told(matrix: Matrix) -> None:
    for row in matrix.rows("distros", arch="x86_64"):
        answer = ask(matrix, ["distro", row["distro"], row["version"]])
        over = [fact.value for fact in answer.facts if fact.name.startswith("of these")]
        for tag in over[0] if over else ():
            policy = matrix.row("manylinux", tag=tag, arch="x86_64")
            assert policy is not None
            assert policy["glibcxx"] is not None


def test_compiler(matrix: Matrix) -> None:
    assert value(ask(matrix, ["gcc", "12"]), "highest GLIBCXX (from 12.1.0 on)") == "3.4.30"
    assert value(ask(matrix, ["gcc", "11.4"]), "highest GLIBCXX (from 11.1.0 on)") == "3.4.29"
    two = ask(matrix, ["gcc", "13"])
    assert value(two, "highest GLIBCXX (from 13.1.0 on)") == "3.4.31"
    assert value(two, "highest GLIBCXX (from 13.2.0 on)") == "3.4.32"
    assert value(ask(matrix, ["CXXABI_1.3.13"]), "first GCC release whose libstdc++ defines it") == "11.1.0"


def test_tags(matrix: Matrix) -> None:
    answer = ask(matrix, ["manylinux2014"])
    assert value(answer, "highest GLIBC that its wheels may use (x86_64)") == "2.17"
    assert "centos 7" in values(answer, "oldest listed release with glibc 2.17")
    unknown = ask(matrix, ["manylinux_2_29"])
    assert any("not in auditwheel's policy" in gap for gap in unknown.gaps)
    assert "debian 10" in values(unknown, "listed releases without")
    musl = ask(matrix, ["musllinux_1_2"])
    assert value(musl, "lowest musl") == "1.2"
    assert "numpy" in values(musl, "packages with")


def test_onnx(matrix: Matrix) -> None:
    answer = ask(matrix, ["opset", "21"])
    assert value(answer, "first onnx release that defines it") == "1.16.0"
    assert value(answer, "first ONNX Runtime release that loads it") == "1.18.0"
    assert value(ask(matrix, ["opset", "9"]), "first ONNX Runtime release that loads it") == "1.4.0 (the oldest listed)"
    assert any("loads up to" in gap for gap in ask(matrix, ["opset", "99"]).gaps)
    assert value(ask(matrix, ["ir", "10"]), "first onnx release that writes it") == "1.16.0"
    assert any("oldest writes" in gap for gap in ask(matrix, ["ir", "1"]).gaps)


def test_jetson(matrix: Matrix) -> None:
    answer = ask(matrix, ["jetpack", "6.1"])
    assert value(answer, "L4T release") == "36.4.0"
    assert value(answer, "CUDA release") == "12.6"
    assert "12.9" in value(answer, "L4T 36: CUDA releases with a compat package")  # type: ignore[operator]
    several = ask(matrix, ["l4t", "36.4"])
    assert {fact.name.partition(":")[0] for fact in several.facts} >= {
        "JetPack 6.1, L4T 36.4.0",
        "JetPack 6.2, L4T 36.4.3",
    }
    assert value(ask(matrix, ["l4t", "36.4.7"]), "JetPack release") == "6.2.1"


def test_processors(matrix: Matrix) -> None:
    assert "ssse3" in value(ask(matrix, ["x86-64-v2"]), "flags it adds (as /proc/cpuinfo has them)")  # type: ignore[operator]
    assert "numpy from 2.4.0 on" in values(ask(matrix, ["x86-64-v2"]), "packages that need")
    assert "jaxlib from 0.12.0 on" in values(ask(matrix, ["cpu", "avx2"]), "packages that do not run")
    assert ask(matrix, ["cpu", "avx512vl"]).gaps


def test_ptx(matrix: Matrix) -> None:
    answer = ask(matrix, ["ptx", "8.4"])
    assert value(answer, "CUDA releases whose compilers write it") == ["12.4"]
    assert value(answer, "drivers whose compiler reads it (and all older PTX)") == "branch 550 and newer"


def test_every_subject_answers_its_own_example(matrix: Matrix) -> None:
    for kind, (_, example) in FURTHER.items():
        assert further(kind)(matrix, example).facts, kind


def test_compiled_tables_answer_alike(matrix: Matrix, compiled: Matrix) -> None:
    for words in (["ubuntu", "22.04"], ["GLIBCXX_3.4.30"], ["musllinux_1_2"], ["jetpack", "6.1"], ["cpu", "avx2"]):
        assert ask(compiled, words) == ask(matrix, words)


def test_the_commands_of_the_page_and_of_the_help_answer(matrix: Matrix) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "ask-the-tables.md"
    asked = re.findall(r"`(envcheck matrix [^`]+)`", page.read_text(encoding="utf-8"))
    asked += [re.split(r" {2,}|;", line)[0] for line in HELP.splitlines() if line.startswith("envcheck matrix ")]
    assert len(asked) > 40
    for command in asked:
        words = shlex.split(command)[2:]
        if words == ["package", "NAME"]:
            continue
        windows = "--windows" in words
        assert ask(matrix, [word for word in words if word != "--windows"], windows=windows).facts, command


def test_every_table_can_be_read(matrix: Matrix) -> None:
    listed = {fact.name for fact in ask(matrix, ["tables"]).facts}
    assert listed == set(matrix.tables())
    for name in matrix.tables():
        if matrix.meta(name).partition:
            first = matrix._store.partitions(name)[0]
            answer = ask(matrix, ["table", name, f"{matrix.meta(name).partition}={first}"])
        else:
            answer = ask(matrix, ["table", name])
        assert answer.facts, name
        assert {fact.row.partition("/")[0] for fact in answer.facts} == {name}
