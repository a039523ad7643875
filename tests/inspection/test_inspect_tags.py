"""Does a wheel's tag fit a Python and a machine: by PEP 425, 600, 656 and 703, against packaging where that can say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.inspection.tags import Place, judge

LINUX = Place("3.11.4", "cp311", "cpython", "Linux", "", "x86_64", "glibc", "2.31")
MAC = Place("3.12", "cp312", "cpython", "Darwin", "13.2", "aarch64", "", "")


def fits(tags: str | list[str], place: Place) -> bool | None:
    answers = judge([tags] if isinstance(tags, str) else tags, place)
    if any(answer.fits is False for answer in answers):
        return False
    return None if any(answer.fits is None for answer in answers) else True


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("cp311-cp311-manylinux_2_28_x86_64", True),
        ("cp311-cp311-manylinux_2_31_x86_64", True),
        ("cp311-cp311-manylinux_2_34_x86_64", False),
        ("cp311-cp311-manylinux1_x86_64", True),
        ("cp311-cp311-manylinux2014_x86_64", True),
        ("cp311-cp311-linux_x86_64", True),
        ("cp311-cp311-manylinux_2_17_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-win_amd64", False),
        ("cp311-cp311-macosx_11_0_x86_64", False),
        ("cp312-cp312-manylinux_2_28_x86_64", False),
        ("cp311-cp311d-manylinux_2_28_x86_64", True),
        ("cp38-abi3-manylinux_2_17_x86_64", True),
        ("cp312-abi3-manylinux_2_17_x86_64", False),
        ("cp311-none-any", True),
        ("cp310-none-any", False),
        ("py3-none-any", True),
        ("py2-none-any", False),
        ("py39-none-manylinux_2_28_x86_64", True),
        ("py312-none-any", False),
        ("pp310-pypy310_pp73-manylinux_2_17_x86_64", False),
        ("py3-none-solaris_2_11_sparc", None),
    ],
)
def test_on_linux(tag: str, wanted: bool | None) -> None:
    assert fits(tag, LINUX) is wanted


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("cp312-cp312-macosx_11_0_arm64", True),
        ("cp312-cp312-macosx_14_0_arm64", False),
        ("cp312-cp312-macosx_10_9_universal2", True),
        ("cp312-cp312-macosx_10_9_x86_64", False),
    ],
)
def test_on_a_mac(tag: str, wanted: bool) -> None:
    assert fits(tag, MAC) is wanted


def test_free_threaded_builds_are_another_abi() -> None:
    free = LINUX._replace(python="3.13.1", abi="cp313t")
    plain = LINUX._replace(python="3.13.1", abi="cp313")
    assert fits("cp313-cp313t-manylinux_2_28_x86_64", free) is True
    assert fits("cp313-cp313t-manylinux_2_28_x86_64", plain) is False
    assert fits("cp313-cp313-manylinux_2_28_x86_64", free) is False
    assert fits("cp38-abi3-manylinux_2_17_x86_64", free) is False


def test_musl() -> None:
    alpine = LINUX._replace(libc="musl", libc_version="1.2.5")
    assert fits("cp311-cp311-musllinux_1_2_x86_64", alpine) is True
    assert fits("cp311-cp311-musllinux_1_2_x86_64", alpine._replace(libc_version="1.1.24")) is False
    assert fits("cp311-cp311-manylinux_2_17_x86_64", alpine) is False


@pytest.mark.parametrize(
    ("field", "missing"),
    [("python", "python.version"), ("system", "os.system"), ("arch", "cpu.arch"), ("libc_version", "os.glibc")],
)
def test_a_missing_fact_is_named(field: str, missing: str) -> None:
    place = LINUX._replace(**{field: ""})
    answers = judge(["cp311-cp311-manylinux_2_28_x86_64"], place)
    assert [answer.missing for answer in answers if answer.fits is None] == [missing]


def test_one_tag_that_fits_is_enough() -> None:
    assert fits(["cp311-cp311-manylinux_2_39_x86_64", "cp311-cp311-manylinux_2_17_x86_64"], LINUX) is True


def test_the_nearest_cause_is_told() -> None:
    tags = ["cp311-cp311-win_amd64", "cp311-cp311-manylinux_2_39_x86_64"]
    assert [answer.rule for answer in judge(tags, LINUX) if answer.fits is False] == ["glibc-too-old"]


@pytest.mark.parametrize("version", [(3, 9), (3, 11), (3, 14)])
def test_the_python_side_agrees_with_packaging(version: tuple[int, int]) -> None:
    packaging = pytest.importorskip("packaging.tags")
    abi = f"cp{version[0]}{version[1]}"
    platforms = ["manylinux_2_31_x86_64", "manylinux_2_17_x86_64", "linux_x86_64"]
    accepted = {str(tag) for tag in packaging.cpython_tags(version, [abi], platforms)}
    accepted |= {str(tag) for tag in packaging.compatible_tags(version, abi, platforms)}
    place = LINUX._replace(python=f"{version[0]}.{version[1]}", abi=abi)
    offered = {
        f"{python}-{kind}-{platform}"
        for python in [f"cp3{minor}" for minor in range(6, 16)]
        + [f"py3{minor}" for minor in range(16)]
        + ["py3", "py2"]
        for kind in ("none", "abi3", abi)
        for platform in ("any", *platforms)
    }
    for tag in offered:
        python, kind, platform = tag.split("-")
        if python.startswith("py") and kind != "none":
            continue  # nobody makes these
        if kind != "none" and platform == "any":
            continue
        assert fits(tag, place) is (tag in accepted), tag


@given(st.text(max_size=40), st.tuples(*[st.text(max_size=8)] * 8))
def test_any_text_gets_an_answer(tag: str, facts: tuple[str, ...]) -> None:
    judge([tag, f"{tag}-{tag}-{tag}", "cp3-none-" + tag, "cp311-cp311-manylinux_" + tag], Place(*facts))
