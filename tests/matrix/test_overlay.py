"""A user's own rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.matrix import Matrix, MatrixError
from envcheck.matrix.lint import overlap_faults
from envcheck.matrix.model import meta_from_header

from .conftest import MATRICES

GOOD = """
[table]
id = "cuda-toolkits"

[source.lab]
title = "The lab's notes"
url = "https://lab.example/notes"
publisher = "Lab"
kind = "measured"
as_of = 2026-11-01

[[row]]
toolkit = "12.4"
linux_driver_full = "1.2.3"
source = "lab"

[[row]]
toolkit = "99.0"
linux_driver_min = "999.1"

[[row]]
toolkit = "10.0"
withdrawn = "we never use it"

[[row]]
table = "wheels"
package = "torch"
version = "99.0"
python_tags = ["3.20"]
"""


def write(tmp_path: Path, text: str, name: str = "own.toml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_rows_replace_and_are_added(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    matrix = Matrix.load([path])
    row = matrix.row("cuda-toolkits", toolkit="12.4")
    assert row is not None
    assert (row["linux_driver_full"], row["linux_driver_min"]) == ("1.2.3", None)
    assert matrix.cite(row)[0] == "The lab's notes"
    added = matrix.row("cuda-toolkits", toolkit="99.0")
    assert added is not None
    assert matrix.cite(added)[:2] == (path, path)
    assert matrix.row("cuda-toolkits", toolkit="10.0") is None
    assert matrix.gap("cuda-toolkits", "toolkit", "99.1").kind == "newer"
    assert len(matrix.rows("wheels", package="torch")) == len(Matrix.load().rows("wheels", package="torch")) + 1
    assert matrix.row("wheels", package="numpy", version="99.0") is None
    assert matrix.row("cuda-floors", major="12") == Matrix.load().row("cuda-floors", major="12")


def test_every_fault_is_listed_with_file_and_row(tmp_path: Path) -> None:
    first = write(
        tmp_path,
        '[table]\nid = "cuda-toolkits"\n'
        '[[row]]\ntoolkit = 12\n[[row]]\ntoolkit = "12.4"\ncolour = "red"\nsource = "absent"\n'
        '[[row]]\ntable = "absent"\n',
    )
    second = write(tmp_path, '[[row]]\ntoolkit = "12.4"\n[strange]\n', "two.toml")
    third = write(tmp_path, "row = [1", "three.toml")
    fourth = write(tmp_path, "row = [1]\ntable = 3\nsource = {a = 1}\n", "four.toml")
    fifth = write(tmp_path, "row = 1\n", "five.toml")
    absent = str(tmp_path / "six.toml")
    with pytest.raises(MatrixError) as caught:
        Matrix.load([first, second, third, fourth, fifth, absent])
    errors = caught.value.errors
    assert f"{first}: row 1: toolkit: 12 is not a text" in errors
    assert f"{first}: row 2: unknown column colour" in errors
    assert f"{first}: row 2: unknown source 'absent'" in errors
    assert f"{first}: row 3: unknown table 'absent'" in errors
    assert f"{second}: unknown section strange" in errors
    assert f"{second}: row 1: names no table" in errors
    assert any(error.startswith(third) for error in errors)
    assert f"{fourth}: row 1: not a table" in errors
    assert f"{fourth}: source a: not a table" in errors
    assert f"{fifth}: write rows as [[row]]" in errors
    assert any(error.startswith(absent) for error in errors)
    assert str(caught.value).count("\n") == len(errors) - 1


@pytest.mark.parametrize("text", ["", "[table]\n", '[table]\nid = "wheels"\n', "row = []\n"])
def test_an_empty_overlay_changes_nothing(tmp_path: Path, text: str) -> None:
    matrix = Matrix.load([write(tmp_path, text)])
    assert matrix.rows("cuda-floors") == Matrix.load().rows("cuda-floors")


def test_overlaps_are_listed_beside_other_faults(tmp_path: Path) -> None:
    row = '[[row]]\ntable = "cpu-requirements"\npackage = "own"\nfrom_version = "{}"\nrequires_flags = ["avx"]\n'
    path = write(tmp_path, row.format("1.0") + row.format("2.0") + '[[row]]\ntable = "cuda-floors"\nmajor = 12\n')
    with pytest.raises(MatrixError) as caught:
        Matrix.load([path])
    one, two = caught.value.errors
    assert one == f"{path}: row 3: major: 12 is not a text"
    assert two.startswith(f"{path}: row 2: from_version, to_version: cpu-requirements/own/2.0 overlaps the range of")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("table = 3\n", "table is not a table: write [table]"),
        ("source = [1]\n", "source is not a table: write [source.ID]"),
        ('[table]\nid = "wheels"\nname = "x"\n', "[table]: unknown field name"),
        ('[table]\nid = "nothing"\n[[row]]\na = 1\n', "[table] id: unknown table 'nothing'"),
        (
            '[source.pypi-index]\ntitle = "a"\nas_of = "b"\n',
            "source pypi-index: there is a source of this name already",
        ),
        ("x = " + "[" * 3000, ""),  # Python releases differ in what they say
        ("x = " + "9" * 5000, ""),
        ("x = '''", "not TOML: "),
        (
            '[[row]]\ntable = "wheels"\npackage = "a"\nversion = "1"\npython_tags = [1]\n',
            "row 1: python_tags: [1] is not",
        ),
    ],
)
def test_one_fault_each(tmp_path: Path, text: str, fault: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(MatrixError) as caught:
        Matrix.load([path])
    assert len(caught.value.errors) == 1
    assert caught.value.errors[0].startswith(f"{path}: {fault}")


def test_a_source_is_defined_once(tmp_path: Path) -> None:
    text = '[source.lab]\ntitle = "a"\nas_of = "2026-01-01"\n'
    paths = [write(tmp_path, text), write(tmp_path, text, "two.toml")]
    with pytest.raises(MatrixError, match=r"two\.toml: source lab: there is a source of this name already"):
        Matrix.load(paths)


def test_a_header_of_ours_may_be_copied(tmp_path: Path) -> None:
    ours = (MATRICES / "cuda-floors.toml").read_text(encoding="utf-8")
    matrix = Matrix.load([write(tmp_path, ours.replace("525.60.13", "600.1"))])
    row = matrix.row("cuda-floors", major="12")
    assert row is not None
    assert row["linux_min"] == "600.1"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6))
def test_ranges_overlap_when_they_share_a_release(pairs: list[tuple[int, int]]) -> None:
    # from_version is included, to_version is not: compared with the releases that each range holds.
    firsts = [first for first, _ in pairs]
    if len(set(firsts)) < len(firsts):
        return
    meta = Matrix.load().meta("cpu-requirements")
    rows = [
        {"package": "x", "from_version": f"1.{first}", "to_version": f"1.{first + 1 + more}"} for first, more in pairs
    ]
    held = [set(range(first, first + 1 + more)) for first, more in pairs]
    shared = any(held[a] & held[b] for a in range(len(held)) for b in range(a))
    assert bool(overlap_faults(meta, rows)) is shared


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=6, unique_by=lambda pair: pair[0]))
def test_ranges_with_an_included_end(pairs: list[tuple[int, int]]) -> None:
    meta = meta_from_header(
        {"id": "t", "key": ["first"], "ranges": {"from": "first", "to": "last"}, "columns": {"first": "version"}}
    )
    rows = [{"first": f"1.{first}", "last": f"1.{first + more}"} for first, more in pairs]
    held = [set(range(first, first + more + 1)) for first, more in pairs]
    shared = any(held[a] & held[b] for a in range(len(held)) for b in range(a))
    assert bool(overlap_faults(meta, rows)) is shared


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    page = (MATRICES.parent / "docs" / "how-to" / "add-a-row.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    row = Matrix.load([write(tmp_path, example)]).row("torch-builds", torch="2.9.1")
    assert row is not None
    assert (row["cuda"], row["source"]) == ("12.9", "lab")
