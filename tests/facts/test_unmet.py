"""What packages ask of each other, and what of it is not met."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.core.snapshot import Absent, Machine, Package, Python, Snapshot, Stack, Unknown
from envcheck.facts import Facts
from envcheck.facts.requirements import Unmet, is_met, without_labels
from envcheck.matrix import Matrix

MATRIX = Matrix.load()


def unmet_of(**facts: Any) -> list[Unmet]:
    found: list[Unmet] = Facts(Snapshot.from_facts(facts), MATRIX).get("unmet")
    return found


def installed(*packages: Package, python: str | None = "3.11.9") -> Facts:
    for package in packages:
        package.location = "/site-packages"
    stack = Stack(packages=list(packages), python=Python(version=python) if python else Python())
    return Facts(Snapshot(machine=Machine(system="Linux", arch="x86_64"), stack=stack), MATRIX)


@pytest.mark.parametrize(
    ("version", "specifier", "met"),
    [
        ("2.1.2+cu121", "==2.1.2", True),
        ("2.1", "==2.1.2", None),
        ("2", ">=3", False),
        ("2.2.0a0+81ea7a4", ">=2.2", True),
        ("2.2.0a0+81ea7a4", "==2.2.0", True),
        ("2.2.0a0", ">=2.3", False),
        ("8.0.0b1", "<8", False),
        ("garbage", ">=1", None),
    ],
)
def test_is_met(version: str, specifier: str, met: bool | None) -> None:
    assert is_met(version, specifier) is met


def test_labels_do_not_count() -> None:
    assert without_labels("<3,==2.0.0+cu117") == "==2.0.0,<3"


def test_own_metadata_come_before_the_table() -> None:
    facts = installed(
        Package(name="torchvision", version="0.18.1", requires=["torch==2.5.1"]), Package(name="torch", version="2.5.1")
    )
    assert facts.get("unmet") == []
    assert [need.origin for need in facts.get("requirements") if need.package == "torchvision"] == ["metadata"]


def test_metadata_that_ask_for_nothing_are_an_answer() -> None:
    nothing = Absent("its metadata ask for none")
    facts = installed(
        Package(name="torchvision", version="0.18.1", requires=nothing), Package(name="torch", version="2.5.1")
    )
    assert facts.get("unmet") == []


def test_metadata_that_were_not_read_are_none() -> None:
    unread = Unknown("not read: the environment is large")
    facts = installed(
        Package(name="torchvision", version="0.18.1", requires=unread), Package(name="torch", version="2.5.1")
    )
    assert [one.need.specifier for one in facts.get("unmet")] == ["==2.3.1"]


@pytest.mark.parametrize(
    "line", ["torch @ https://example.org/torch.whl", "torch[extra", "torch >= not-a-version", ";;"]
)
def test_lines_that_cannot_be_read_are_left_out(line: str) -> None:
    facts = installed(Package(name="a", version="1.0", requires=[line]), Package(name="torch", version="2.5.1"))
    assert [one for one in facts.get("unmet") if one.need.package == "a"] == []


def test_extras_and_parentheses() -> None:
    facts = installed(
        Package(name="a", version="1.0", requires=["jax [cuda12-local] (<0.4)", "Torch_Vision (>=0.1)"]),
        Package(name="jax", version="0.6.2", requires=[]),
        Package(name="torch-vision", version="0.2", requires=[]),
    )
    assert [(one.need.name, one.need.specifier) for one in facts.get("unmet")] == [("jax", "<0.4")]


def test_what_is_missing_is_known_only_of_installations() -> None:
    facts = installed(Package(name="jax", version="0.6.2", requires=["jaxlib>=0.6"]))
    assert [(one.need.name, one.installed) for one in facts.get("unmet")] == [("jaxlib", None)]
    assert unmet_of(packages={"jax": "0.6.2"}) == []


def test_beside_listed_releases_only_what_they_imply_holds() -> None:
    # 2.16.1 is listed, 2.16.0 was never released: the cap of a later release holds, its floors do not.
    assert [
        one.need.specifier for one in unmet_of(python="3.11", packages={"tensorflow": "2.16.0", "protobuf": "5.28.3"})
    ]
    assert not unmet_of(python="3.11", packages={"tensorflow": "2.16.0", "protobuf": "3.20.0"})


def test_a_pin_says_nothing_of_another_release() -> None:
    # No such release: 0.5.3 pins torch 2.3.1 and 0.5.4 pins 2.4.0.
    assert not unmet_of(packages={"vllm": "0.5.3.post99", "torch": "2.3.0"})


def test_requirements_checked_at_run_time() -> None:
    (one,) = unmet_of(packages={"jax": "0.4.20", "jaxlib": "0.4.26"})
    assert (one.need.origin, one.need.specifier) == ("runtime", ">=0.4.14,<=0.4.20")
    assert "RuntimeError" in one.need.effect
    assert one.need.evidence.url


_VERSIONS = st.sampled_from(["1.0", "1.5.2", "2.0.0", "2.5.1+cu124", "3.0rc1", ""])
_LINES = st.sampled_from(
    [
        "b>=1.5",
        "b (<2,>=1)",
        "b[x]>=2",
        "b==2.5.1",
        "b~=1.5",
        "b!=2.0.0; python_version >= '3.8'",
        "b<1; sys_platform == 'win32'",
        "b<1; python_version < '3.8'",
        "b",
        "c>=1",
    ]
)


@given(_VERSIONS, st.lists(_LINES, max_size=4), st.sampled_from(["3.11.9", None]))
def test_the_short_way_finds_what_the_long_way_finds(version: str, lines: list[str], python: str | None) -> None:
    other = Package(name="b", version=version or Unknown("not stated"), requires=[])
    facts = installed(Package(name="a", version="1.0", requires=lines), other, python=python)
    named = {(one.need.name, one.need.specifier) for one in facts.get("unmet")}
    needs = [need for need in facts.get("requirements") if need.package == "a"]
    for need in needs:
        if need.name == "b" and need.applies and version and is_met(version, need.specifier) is False:
            assert any(name == "b" for name, _ in named)
    assert named <= {(need.name, need.specifier) for need in needs}


def test_a_marker_that_cannot_be_judged_asks_for_the_fact_that_is_not_known() -> None:
    stack = {"vllm": "0.10.1.1", "xformers": "0.0.29.post2"}
    (one,) = unmet_of(packages=stack, python="3.11.5")
    assert (one.certain, one.missing) == (False, "os.system")
    (one,) = unmet_of(packages=stack)
    assert one.missing == "python.version"
    (one,) = unmet_of(packages=stack, python="3.11.5", os={"system": "Linux"}, cpu={"arch": "x86_64"})
    assert one.certain
