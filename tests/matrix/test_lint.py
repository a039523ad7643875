"""The linter: the repository's tables pass, and every kind of fault is found."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.matrix import Matrix
from envcheck.matrix.canonical import canonical_csv, canonical_toml
from envcheck.matrix.lint import _order_faults, _rising_faults, lint, main
from envcheck.matrix.model import COMMON, Data, meta_from_header
from envcheck.matrix.source import SourceStore

from .conftest import MATRICES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Spoil = Callable[[str, str, str], Path]
TODAY = "2026-02-01"


def test_the_tables_of_this_repository_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(MATRICES)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 faults")


def test_small_tables_pass(tables: Path) -> None:
    assert lint(str(tables), today=TODAY) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("toolkits.toml", 'driver = "410.48"', "driver = 410.48", "toolkits/10.0: driver: 410.48 is not a text"),
        ("toolkits.toml", 'driver = "410.48"', 'driver = "R410"', "toolkits/10.0: driver: 'R410' is not a version"),
        ("toolkits.toml", "full = true", 'full = "yes"', "toolkits/10.0: full: 'yes' is not true or false"),
        ("toolkits.toml", "count = 3", "count = true", "toolkits/10.0: count: True is not a whole number"),
        ("toolkits.toml", '"3.5", "7.0"', '"7.0", "7.0"', "toolkits/10.0: archs: the list names something twice"),
        ("toolkits.toml", '["3.5", "7.0"]', "[3.5]", "toolkits/10.0: archs: [3.5] is not a list of texts"),
        ("toolkits.toml", 'kind = "old"', 'kind = "odd"', "toolkits/10.0: kind: 'odd' is not one of old, new"),
        ("toolkits.toml", "count = 3", "weight = 3", "toolkits.toml: row 1: unknown column weight"),
        ("toolkits.toml", 'source = "vendor"', 'source = "gone"', "toolkits/10.0: unknown source 'gone'"),
        ("toolkits.toml", 'source = "vendor"\n', "", "toolkits/10.0: no source"),
        ("toolkits.toml", '"a note"', '" a note "', None),
        ("toolkits.toml", '"medium"', '"sure"', "toolkits/12.4: confidence is not one of high, medium, low"),
        ("toolkits.toml", "as_of = 2026-01-01", 'as_of = "soon"', "toolkits/12.4: as_of is not a date"),
        ("toolkits.toml", "as_of = 2026-01-01", "as_of = 2027-01-01", "toolkits/12.4: as_of is in the future"),
        ("toolkits.toml", "as_of = 2026-01-02\nst", "as_of = 2027-01-02\nst", "toolkits.toml: as_of is in the future"),
        ("toolkits.toml", 'toolkit = "12.8"', 'toolkit = "12.4"', "toolkits/12.4: the id occurs twice"),
        ("toolkits.toml", 'toolkit = "10.0"', 'toolkit = "13.0"', "toolkits/12.4: out of order"),
        ("toolkits.toml", '"570.26"', '"540.1"', "toolkits/12.8: driver 540.1 is lower than 550.54.14 of toolkit 12.4"),
        ("toolkits.toml", 'toolkit = "version"', 'toolkit = "number"', "toolkits.toml: column toolkit: unknown type"),
        ("toolkits.toml", 'key = ["toolkit"]', "key = []", "toolkits.toml: [table] has no key"),
        ("toolkits.toml", 'key = ["toolkit"]', 'key = ["tool"]', "toolkits.toml: key column tool is not among"),
        ("toolkits.toml", 'about = "A test."', 'about = ""', "toolkits.toml: [table] has no about"),
        ("toolkits.toml", 'by = "toolkit"', 'by = "kit"', "toolkits.toml: [table] names a column 'kit'"),
        ("toolkits.toml", "stale_after = 2099-07-02", 'stale_after = "x"', "toolkits.toml: [table] stale_after is not"),
        ("toolkits.toml", 'count = "int"', 'note = "int"', "toolkits.toml: column note: the name is reserved"),
        ("toolkits.toml", 'id = "toolkits"', 'id = "kits"', "toolkits.toml: [table] id must be 'toolkits'"),
        ("toolkits.toml", "labels = { ", 'also = ["gone"]\nlabels = { ', "toolkits.toml: unknown source 'gone'"),
        ("wheels.csv", "torch,2.5.1", "Torch,2.5.1", "wheels/Torch/2.5.1: package: 'Torch' is not in normal form"),
        ("wheels.csv", "torch,2.5.1", "torch,2.11.0", "wheels.csv: not in canonical form"),
        ("wheels.csv", "torch,2.5.1", ",2.5.1", "wheels//2.5.1: package is part of the key and is missing"),
        ("wheels.csv", "numpy", '"numpy"', "wheels.csv: not in canonical form"),
        ("wheels.csv", "true", "True", "wheels.csv: line 4: 'True' is neither true nor false"),
        ("wheels.toml", 'partition = "package"', 'partition = "tags"', "wheels.toml: partition column tags is not"),
        ("needs.toml", 'last = "8.9"', 'last = "9.0"', "needs/cudnn/9.0: overlaps the range of needs/cudnn/8.0"),
        ("needs.toml", 'last = "8.9"', "", "needs/cudnn/9.0: overlaps the range of needs/cudnn/8.0"),
        ("needs.toml", 'last = "9.10"', 'last = "8.10"', "needs/cudnn/9.0: last lies before first"),
        ("sources.toml", 'kind = "vendor-doc"', 'kind = "rumour"', "sources.toml: vendor: kind is not one of"),
        ("sources.toml", 'publisher = "Vendor"\n', "", "sources.toml: vendor: no publisher"),
        ("sources.toml", 'publisher = "Vendor"', 'publisher = "V"\nx = "y"', "sources.toml: vendor: unknown field x"),
        ("sources.toml", "as_of = 2026-01-02", "as_of = 2027-01-02", "sources.toml: vendor: as_of is in the future"),
        ("sources.toml", "[vendor]", "[vendor", "sources.toml"),
    ],
)
def test_faults(spoil: Spoil, name: str, old: str, new: str, fault: str | None) -> None:
    directory = spoil(name, old, new)
    found = [str(each) for each in lint(str(directory), today=TODAY) if not each.warning]
    if fault is None:
        assert found == []
    else:
        assert any(each.startswith(fault) for each in found) or any(fault in each for each in found), found
        assert main([str(directory)]) == 1


def test_stale_tables_and_idle_sources_are_warnings(tables: Path) -> None:
    with (tables / "sources.toml").open("a", encoding="utf-8") as file:
        file.write('[zzz]\ntitle = "t"\nurl = "u"\npublisher = "p"\nkind = "measured"\nas_of = 2026-01-02\n')
    found = lint(str(tables), today="2099-09-30")
    assert [str(fault) for fault in found] == [
        "toolkits.toml: warning: not looked at since 2026-01-02",
        "sources.toml: warning: no table uses zzz",
    ]
    assert main([str(tables)]) == 0


def test_a_table_left_alone_for_long_is_a_fault(spoil: Spoil) -> None:
    directory = spoil("toolkits.toml", "stale_after = 2099-07-02", "stale_after = 2026-02-01")
    assert [fault.warning for fault in lint(str(directory), today="2026-05-02")] == [True]
    late = lint(str(directory), today="2026-05-03")
    assert [str(fault) for fault in late] == [
        "toolkits.toml: not looked at since 2026-01-02, 91 days past its stale_after"
    ]
    assert main([str(directory)]) == 1


def test_sources_out_of_order(tables: Path) -> None:
    with (tables / "sources.toml").open("a", encoding="utf-8") as file:
        file.write('[aaa]\ntitle = "t"\nurl = "u"\npublisher = "p"\nkind = "measured"\nas_of = 2026-01-02\n')
    assert "sources.toml: not sorted by id" in [str(fault) for fault in lint(str(tables), today=TODAY)]


def test_no_rows(spoil: Spoil) -> None:
    directory = spoil(
        "wheels.csv", "numpy,1.26.4,3.9 3.12,false\ntorch,2.5.1,3.9 3.13,false\ntorch,2.10.0,3.10,true\n", ""
    )
    assert "wheels.toml: no rows" in [str(fault) for fault in lint(str(directory), today=TODAY)]


def test_ranges_whose_end_is_excluded(spoil: Spoil) -> None:
    directory = spoil("needs.toml", "last", "to_version")
    assert lint(str(directory), today=TODAY) == []
    path = directory / "needs.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"8.9"', '"9.0"'), encoding="utf-8")
    assert lint(str(directory), today=TODAY) == []
    path.write_text(path.read_text(encoding="utf-8").replace('"9.0"\n\n', '"9.0.1"\n\n'), encoding="utf-8")
    assert any("overlaps" in fault.what for fault in lint(str(directory), today=TODAY))


def test_fix_sorts_and_rewrites(tables: Path) -> None:
    good = (tables / "wheels.csv").read_text(encoding="utf-8")
    header, first, second, third = good.splitlines()
    (tables / "wheels.csv").write_text(
        "\n".join([header, third, f'"{first[:5]}"{first[5:]}', second]), encoding="utf-8"
    )
    assert main([str(tables)]) == 1
    assert main(["--fix", str(tables)]) == 0
    assert (tables / "wheels.csv").read_text(encoding="utf-8") == good


def test_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--polish"]) == 2
    assert main([str(tmp_path), str(tmp_path)]) == 2
    assert main([str(tmp_path / "absent")]) == 2
    assert main([str(tmp_path)]) == 1
    assert "usage" in capsys.readouterr().err


@pytest.fixture
def real(tmp_path: Path) -> Callable[..., list[str]]:
    """Spoil a copy of one of the repository's tables; return its faults."""

    def faults(table: str, old: str, new: str) -> list[str]:
        for name in ("sources.toml", f"{table}.toml", f"{table}.csv"):
            if (MATRICES / name).is_file():
                shutil.copy(MATRICES / name, tmp_path / name)
        assert [str(fault) for fault in lint(str(tmp_path)) if not fault.warning] == []
        path = tmp_path / (f"{table}.csv" if (tmp_path / f"{table}.csv").is_file() else f"{table}.toml")
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return [str(fault) for fault in lint(str(tmp_path)) if not fault.warning]

    return faults


@pytest.mark.parametrize(
    ("table", "old", "new", "fault"),
    [
        (
            "cuda-toolkits",
            'linux_driver_full = "550.54.14"',
            'linux_driver_full = "540.54.14"',
            "linux_driver_full 540.54.14 is lower than",
        ),
        (
            "cuda-toolkits",
            'windows_driver_min = "418.96"',
            'windows_driver_min = "410.96"',
            "windows_driver_min 410.96 is",
        ),
        ("cuda-floors", 'linux_min = "580.65.06"', 'linux_min = "520.65.06"', "linux_min 520.65.06 is lower than"),
        ("ort-opset", "1.30.0,26,13", "1.30.0,20,13", "opset_max 20 is lower than"),
        ("ort-opset", "1.30.0,26,13", "1.30.0,26,9", "ir_max 9 is lower than"),
        (
            "onnx-versions",
            'onnx = "1.2"\nir_version = 3\nopset = 7',
            'onnx = "1.2"\nir_version = 3\nopset = 0',
            "opset ",
        ),
        ("ptx-isa", 'cuda = "10.1"\nptx = "6.4"', 'cuda = "10.1"\nptx = "6.2"', "ptx 6.2 is lower than"),
    ],
)
def test_the_rules_of_our_own_tables(
    real: Callable[..., list[str]], table: str, old: str, new: str, fault: str
) -> None:
    assert any(fault in each for each in real(table, old, new))


VERSIONS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8, unique=True)


@given(VERSIONS, st.randoms(use_true_random=False))
def test_rows_in_order_are_those_sorted_as_numbers(releases: list[tuple[int, int]], random: Random) -> None:
    meta = meta_from_header({"id": "t", "key": ["release"], "columns": {"release": "version"}})
    ordered = sorted(releases)
    random.shuffle(releases)
    for given_ in (ordered, releases):
        rows = [{"release": f"{first}.{second}"} for first, second in given_]
        assert bool(_order_faults(meta, rows)) is (given_ != ordered)


@given(VERSIONS)
def test_what_the_fixer_writes_is_in_order(releases: list[tuple[int, int]]) -> None:
    meta = meta_from_header({"id": "t", "key": ["release"], "columns": {"release": "version"}})
    rows = [[f"{first}.{second}", None, None, None, None, None] for first, second in releases]
    text = canonical_csv(Rows(rows), meta)  # type: ignore[arg-type]
    header, *lines = text.splitlines()
    assert header == "release"
    assert [tuple(map(int, line.split("."))) for line in lines] == sorted(releases)
    assert _order_faults(meta, [{"release": line} for line in lines]) == []


class Rows:
    """A store of one table."""

    def __init__(self, rows: list[list[Any]], columns: list[str] | None = None) -> None:
        self.rows = rows
        self.columns = columns or ["release", *COMMON]

    def data(self, table: str, partition: str | None) -> Data:
        return Data(self.columns, self.rows)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8, unique_by=lambda pair: pair[0]))
def test_what_must_rise_never_falls(pairs: list[tuple[int, int]]) -> None:
    header = {"id": "t", "key": ["by"], "columns": {"by": "version", "value": "int"}}
    meta = meta_from_header({**header, "rising": [{"column": "value", "by": "by"}]})
    rows = [{"by": f"1.{by}", "value": value} for by, value in pairs]
    values = [value for _, value in sorted(pairs)]
    assert bool(_rising_faults(meta, rows)) is (values != sorted(values))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("full = true\ncount = 3\n", "count = 3\nfull = true\n"),
        ("count = 3", "count   =   3"),
        ("count = 3", "count = 0x3"),
        ('["3.5", "7.0"]', "['3.5',\n '7.0',]"),
        ('"a note"', '"a \\u006eote"'),
        ("as_of = 2026-01-01\n", 'as_of = "2026-01-01"\n'),
        ("\n\n[[row]]", "\n\n\n[[row]]"),
        ('toolkit = "10.0"', 'toolkit = "12.1"'),
        ('toolkit = "10.0"', 'toolkit = "12.6"'),
    ],
)
def test_the_form_of_toml_is_checked_and_mended(spoil: Spoil, old: str, new: str) -> None:
    if new == 'toolkit = "12.6"':
        spoil("toolkits.toml", 'driver = "410.48"', 'driver = "560.1"')
    directory = spoil("toolkits.toml", old, new)
    before = Matrix(SourceStore(str(directory))).rows("toolkits")
    out_of_order = new == 'toolkit = "12.6"'
    found = [str(fault) for fault in lint(str(directory), today=TODAY)]
    if new != 'toolkit = "12.1"':
        assert "toolkits.toml: not in canonical form; run the linter with --fix" in found
    assert any("out of order" in each for each in found) is out_of_order
    assert lint(str(directory), fix=True, today=TODAY) == []
    after = Matrix(SourceStore(str(directory))).rows("toolkits")
    assert sorted(after, key=str) == sorted(before, key=str)


def test_comments_among_rows_are_not_lost(spoil: Spoil) -> None:
    directory = spoil("toolkits.toml", "count = 3\n", "count = 3\n# measured twice\n")
    text = (directory / "toolkits.toml").read_text(encoding="utf-8")
    for fix in (False, True):
        found = [str(fault) for fault in lint(str(directory), fix=fix, today=TODAY)]
        assert any("a comment among the rows; write it as the note of a row" in each for each in found)
    assert (directory / "toolkits.toml").read_text(encoding="utf-8") == text


@given(st.dictionaries(st.sampled_from(["note", "withdrawn"]), st.text(min_size=1), max_size=2), st.lists(st.text()))
def test_what_is_written_as_toml_reads_the_same(texts: dict[str, str], names: list[str]) -> None:
    columns = {"release": "version", "names": "list", "n": "int", "b": "bool"}
    meta = meta_from_header({"id": "t", "key": ["release"], "columns": columns})
    row = {"release": "1.0", "names": names, "n": -3, "b": False, **texts}
    order = [*columns, *COMMON]
    store = Rows([[row.get(name) for name in order]], order)
    written = canonical_toml(store, meta, "[table]\nid = 1\n\n[[row]]\n")  # type: ignore[arg-type]
    assert tomllib.loads(written)["row"] == [row]
