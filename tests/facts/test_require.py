"""NVIDIA_REQUIRE_*: the cases of the container toolkit's own tests and sources, without a container."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.core.snapshot import Snapshot
from envcheck.facts import Facts
from envcheck.matrix import Matrix
from envcheck.rules._require import OPERATORS, demands, disabled, met

MATRIX = Matrix.load()
T4, A100, RTX = (
    {"name": "Tesla T4", "compute_capability": "7.5"},
    {"name": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0"},
    {"name": "NVIDIA GeForce RTX 3090", "compute_capability": "8.6"},
)


def answer(demand: str, driver: str = "535.104.05", cuda: str = "12.2", *gpus: dict[str, str]) -> bool | None:
    stated = {"driver": {"version": driver, "cuda": cuda}, "os": {"system": "Linux"}, "gpus": list(gpus or (T4,))}
    facts = Facts(Snapshot.from_facts(stated), MATRIX)
    return met(demand, facts.get("driver"), facts.get("gpus"))


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        ("cuda>=12.2", True),
        ("cuda>=12.3", False),
        ("cuda>=12", True),
        ("cuda=12.2", True),
        ("cuda!=12.2", False),
        ("cuda>12.1", True),
        ("cuda<12.2", False),
        ("driver>=535", True),
        ("driver<536", True),
        ("driver>=535.104.05", True),
        ("driver>=535.104.06", False),
        ("cuda>=12.6 brand=tesla,driver>=535,driver<536", True),
        ("cuda>=12.6 brand=tesla,driver>=550,driver<551", False),
        ("cuda>=12.6  brand=Tesla,driver>=535", True),
        ("brand=geforce", False),
        ("brand!=geforce", True),
        ("arch>=7.5", True),
        ("arch>=8.0", False),
        ("cuda>=12.3,unknown=1", False),
        ("cuda>=12.2,unknown=1", None),
        ("cuda==12.2", None),
        ("cuda>=", None),
        ("nonsense", None),
        ("", True),
    ],
)
def test_one_gpu(demand: str, expected: bool | None) -> None:
    assert answer(demand) is expected


def test_every_gpu_on_its_own() -> None:
    either = "brand=tesla,arch>=7.5 brand=geforce,arch>=8.6"
    assert answer(either, "535.104.05", "12.2", T4, RTX) is True, "each meets another alternative"
    assert answer("arch>=8.0", "535.104.05", "12.2", A100, T4) is False


def test_what_counts_as_a_demand() -> None:
    env = {"NVIDIA_REQUIRE_CUDA": "cuda>=12.2", "NVIDIA_REQUIRE_JETPACK": "csv", "NVIDIA_REQUIRE_DRIVER": " "}
    assert demands(env) == [("NVIDIA_REQUIRE_CUDA", "cuda>=12.2")]


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("T", True), ("yes", False), ("", False)])
def test_disabled(value: str, expected: bool) -> None:
    assert disabled({"NVIDIA_DISABLE_REQUIRE": value}) is expected


@given(
    st.lists(
        st.tuples(st.sampled_from(["cuda", "driver", "arch", "brand", "x"]), st.sampled_from(OPERATORS), st.text()),
        max_size=6,
    ),
    st.lists(st.sampled_from([" ", ","]), min_size=6, max_size=6),
)
def test_any_demand_has_an_answer(parts: list[tuple[str, str, str]], joints: list[str]) -> None:
    text = "".join("".join(part) + joint for part, joint in zip(parts, joints, strict=False))
    assert answer(text) in (True, False, None)
