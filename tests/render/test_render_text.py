"""The text of a report: golden files, widths, colours, encodings, hostile facts."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import sample_reports as reports
from hypothesis import given
from hypothesis import strategies as st

from envcheck.probes import collect
from envcheck.probes.host import RecordedHost
from envcheck.render import terminal
from envcheck.render.summary import machine_words
from envcheck.render.text import render_finding, render_text

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [30, 80])
@pytest.mark.parametrize("name", sorted(reports.ALL))
def test_golden(name: str, width: int, encoding: str) -> None:
    """Run with UPDATE_GOLDEN=1 to write the files anew, then read the diff."""
    text = render_text(reports.ALL[name](), width=width, color=False, encoding=encoding, verbose=width == 30)
    golden = GOLDEN / f"report_{name}_{width}_{encoding}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(reports.ALL))
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437", "koi8-r", "no-such-encoding"])
def test_every_encoding_takes_it(name: str, encoding: str) -> None:
    text = render_text(reports.ALL[name](), width=60, color=True, encoding=encoding)
    text.encode("ascii" if encoding == "no-such-encoding" else encoding)


@pytest.mark.parametrize("name", sorted(reports.ALL))
def test_nothing_but_our_own_escapes_reaches_the_terminal(name: str) -> None:
    plain = render_text(reports.ALL[name](), width=80, color=False, encoding="utf-8", verbose=True)
    assert all(line.isprintable() for line in plain.split("\n"))
    coloured = render_text(reports.ALL[name](), width=80, color=True, encoding="utf-8", verbose=True)
    for sequence in ("0", "1", "1;31", "1;32", "1;33", "1;34"):
        coloured = coloured.replace(f"\x1b[{sequence}m", "")
    assert coloured == plain


@pytest.mark.parametrize("width", [1, 30, 41, 80])
@pytest.mark.parametrize("name", sorted(reports.ALL))
def test_lines_fit(name: str, width: int) -> None:
    """Prose fits; commands and URLs are never broken, and headings of sections are short."""
    for line in render_text(reports.ALL[name](), width=width, color=False, encoding="utf-8").split("\n"):
        whole = ("$ ", "then check:", "rules that crashed", "not understood", "how we know", "to mend it")
        assert len(line) <= max(width, 30) or line.strip().startswith(whole) or "problem: none" in line


def test_the_verdict_comes_first() -> None:
    first = [render_text(make(), color=False).splitlines()[0] for make in reports.ALL.values()]
    assert [line.split(":")[0].split()[-1] for line in first] == ["problem", "ok", "inconclusive", "problem"]


def test_a_command_can_be_copied() -> None:
    command = reports.driver_too_old().fixes[0].command
    assert command in render_text(reports.problem(), width=30, color=False)


def test_much_evidence_is_cut_unless_verbose() -> None:
    report = reports.problem()
    report.findings[0].evidence *= 10
    short = render_text(report, color=False)
    assert "14 more, shown with -v" in short
    assert render_text(report, color=False, verbose=True).count("kernel module 470.82.01") == 10


def test_a_fact_as_long_as_a_book_is_cut() -> None:
    report = reports.problem()
    report.findings[0].message = "word " * 100_000
    assert len(render_text(report, color=False)) < 10_000


def test_one_finding() -> None:
    text = render_finding(reports.driver_too_old())
    assert text.startswith("✗ error: torch 2.5.1+cu124 on driver 470.82.01 [driver-too-old]\n")
    assert text.endswith("run on the CPU.\n")


def test_str_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert str(reports.ok()).endswith("tables of 2026-11-01 (01234567)\n")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "screen", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour(environ: dict[str, str], screen: bool, wanted: bool) -> None:
    assert terminal.wants_color(Screen() if screen else io.StringIO(), environ) is wanted


def test_a_closed_or_missing_stream_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    assert not terminal.is_terminal(closed)
    assert not terminal.is_terminal(None)
    assert terminal.columns(None) == 80


@pytest.mark.parametrize(("columns", "width"), [("10", 30), ("55", 55), ("4000", 100), ("wide", 80), ("0", 80)])
def test_columns(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.columns(io.StringIO()) == width


@given(st.text(), st.integers(30, 100), st.sampled_from(["", "- ", "    - "]))
def test_wrapping_loses_no_word(text: str, width: int, first: str) -> None:
    lines = terminal.wrap(text, width, first)
    assert all(len(line) <= width for line in lines)
    assert "".join("".join(line.removeprefix(first) for line in lines).split()) == "".join(text.split()) or first
    assert lines[0].startswith(first)
    assert "".join("".join(line[len(first) :] for line in lines).split()) == "".join(text.split())


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    shown = terminal.clean(text)
    assert shown.isprintable()
    assert terminal.clean(shown) == shown


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ("mi300x-server-torch-rocm6.2--ok", "amdgpu 6.8.5, ROCm 6.2.4; 8 x AMD Instinct MI300X OAM (gfx942, 192 GiB)"),
        ("arc-a770-desktop-torch-xpu--ok", "i915, Level Zero 1.17.6; Intel UHD Graphics 770, Intel Arc A770"),
        ("macbook-m2-macos-14.5-torch--ok", "macOS 14.5 aarch64; Metal 3; Apple M2 (16 GiB)"),
    ],
)
def test_machines_of_other_makers(machine: str, words: str) -> None:
    folder = Path(__file__).parent.parent / "machines" / machine
    assert machine_words(collect(RecordedHost(str(folder)))).endswith(words)
