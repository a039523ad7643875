"""Reports from public threads, shortened, and what each of them states (``NAME.json`` beside ``NAME.txt``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envcheck.core.snapshot import Snapshot
from envcheck.sources.pasted import facts_from_text, snapshot_from_text

SAMPLES = sorted((Path(__file__).parent / "pasted").glob("*.txt"))


def stated(path: Path) -> object:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_report_states_its_facts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert facts_from_text(text) == stated(path)
    snapshot = snapshot_from_text(text)
    assert (snapshot is None) == (stated(path) is None)
    if snapshot is not None:
        assert not [run.detail for run in snapshot.probes if "not understood" in run.detail]
        assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("how", ["crlf", "quoted", "fenced", "indented", "ansi", "twice"])
def test_how_it_was_pasted_does_not_matter(path: Path, how: str) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    changed = {
        "crlf": "\r\n".join(lines) + "\r\n",
        "quoted": "\n".join(f"> {line}" for line in lines),
        "fenced": f"Here it is:\n```text\n{text}\n```\nThanks!",
        "indented": "\n".join(f"    {line}" if line else "" for line in lines),
        "ansi": "\n".join(f"\x1b[32m{line}\x1b[0m" for line in lines),
        "twice": f"{text}\n\n{text}",
    }[how]
    if how == "twice" and path.stem == "lscpu-cut-off":
        pytest.skip("what follows the cut makes the list of flags look whole")
    assert facts_from_text(changed) == stated(path)
