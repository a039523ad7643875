"""Why there is no row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.matrix import Matrix
from envcheck.matrix.model import Gap
from envcheck.matrix.ordering import public, release, sort_key, within
from envcheck.matrix.source import SourceStore

from .conftest import MATRICES


@pytest.mark.parametrize(
    ("value", "kind", "sentence"),
    [
        ("13.0", "newer", "CUDA toolkit 13.0 is newer than our data of 2026-01-02 (newest known 12.8)"),
        ("12.10", "newer", "CUDA toolkit 12.10 is newer than our data of 2026-01-02 (newest known 12.8)"),
        ("9.2", "older", "CUDA toolkit 9.2 is older than what our data covers (oldest known 10.0)"),
        ("12.5", "not-listed", "CUDA toolkit 12.5 is not listed in our data of 2026-01-02 (nearest: 12.4 and 12.8)"),
        ("12.8.2", "not-listed", "CUDA toolkit 12.8.2 is not listed in our data of 2026-01-02 (nearest: 12.8)"),
        ("10", "not-covered", "our data of 2026-01-02 lists CUDA toolkit 10 (as 10.0), but not what was asked"),
        ("unknown", "not-covered", "CUDA toolkit unknown: not a version that our table 'Toolkits' could be asked for"),
        ("", "not-covered", "CUDA toolkit (empty): not a version that our table 'Toolkits' could be asked for"),
    ],
)
def test_versions(small: Matrix, value: str, kind: str, sentence: str) -> None:
    assert small.gap("toolkits", "toolkit", value) == Gap(kind, sentence)


def test_within_a_package(small: Matrix) -> None:
    gap = small.gap("wheels", "version", "2.11.0+cu130", package="Torch")
    assert gap == Gap("newer", "torch 2.11.0 is newer than our data of 2026-01-02 (newest known 2.10.0)")
    gap = small.gap("wheels", "version", "1.0", package="absent")
    assert gap.kind == "not-covered"
    assert "says nothing about package absent" in gap.sentence


def test_incomplete_tables_do_not_deny(small: Matrix) -> None:
    gap = small.gap("needs", "first", "8.5", package="cudnn")
    assert gap == Gap("not-covered", "our data of 2026-01-02 does not cover first 8.5 (nearest: 8.0 and 9.0)")


def test_texts_are_not_ordered(small: Matrix) -> None:
    assert small.gap("toolkits", "kind", "none").kind == "not-listed"
    assert small.gap("needs", "package", "zzz").kind == "not-covered"


def test_unknown_names_are_key_errors(small: Matrix) -> None:
    with pytest.raises(KeyError):
        small.gap("absent", "toolkit", "1")
    with pytest.raises(KeyError):
        small.gap("toolkits", "colour", "1")


MATRIX = Matrix(SourceStore(str(MATRICES)))
TOOLKITS = [row["toolkit"] for row in MATRIX.rows("cuda-toolkits")]
numbers = st.lists(st.integers(0, 99), min_size=1, max_size=4)
versions = numbers.map(lambda parts: ".".join(map(str, parts)))


@given(versions)
def test_a_gap_agrees_with_the_numbers(version: str) -> None:
    mine = release(version)
    assert mine is not None
    kind = MATRIX.gap("cuda-toolkits", "toolkit", version).kind
    known = [release(toolkit) or () for toolkit in TOOLKITS]
    if kind == "newer":
        assert mine > max(known)
    elif kind == "older":
        assert mine < min(known)
    else:
        assert min(known) <= mine[:2] <= max(known) or mine in known


@given(versions, versions)
def test_versions_sort_as_numbers(first: str, second: str) -> None:
    one, two = release(first) or (), release(second) or ()
    if one != two:
        assert (one < two) == (sort_key(first) < sort_key(second))
    assert (sort_key(first) == sort_key(second)) == (public(first) == public(second))


@given(versions, versions)
def test_bounds_cover_what_they_name(version: str, bound: str) -> None:
    assert within(f"{bound}.7", f"<={bound}") is True
    assert within(f"{bound}.7", f">={bound},<={bound}") is True
    assert within(version, f"<{bound}") is not within(version, f">={bound}")


def test_bounds_that_cannot_be_read() -> None:
    assert within("x", ">=1") is None
    assert within("1", "~=1") is None
    assert within("1", ">=x") is None
