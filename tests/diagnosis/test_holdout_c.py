"""A third hold-out of public threads, collected without a look at the signatures or at the other hold-outs' texts.

First score, before any change was made for it: top1 0.9048, top3 0.9286, controls silent 0.8077 (84 threads and 26
controls). No thread stands in another set. The floors guard against falling back; once the misses have been read, they
do not measure what unseen threads get.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import envcheck

THREADS = Path(__file__).with_name("holdout_threads_c.jsonl")
TOP1, TOP3, SILENT = 0.94, 0.95, 0.84
"""Shares that must be reached; a little below what was."""


@pytest.fixture(scope="module")
def judged() -> list[tuple[dict[str, Any], list[tuple[str, str]]]]:
    found = []
    for line in THREADS.read_bytes().splitlines():
        if line.strip():
            thread = msgspec.json.decode(line)
            told = envcheck.diagnose("\n".join(thread["error"]), envcheck.Snapshot.from_facts(thread["facts"]))
            found.append((thread, [(cause.rule, cause.confidence) for cause in told.causes]))
    return found


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def accepted(thread: dict[str, Any]) -> set[str]:
    return {thread["cause"], *thread.get("also", ()), *thread.get("also_accept", ())}


@pytest.mark.parametrize(("places", "floor"), [(1, TOP1), (3, TOP3)])
def test_causes_are_named(
    judged: list[tuple[dict[str, Any], list[tuple[str, str]]]], places: int, floor: float
) -> None:
    hits = [
        bool(accepted(thread) & {rule for rule, _ in causes[:places]})
        for thread, causes in judged
        if thread["cause"] != "not-environment"
    ]
    assert share(hits) >= floor


def test_controls_stay_silent(judged: list[tuple[dict[str, Any], list[tuple[str, str]]]]) -> None:
    silent = [
        all(confidence == "low" for _, confidence in causes)
        for thread, causes in judged
        if thread["cause"] == "not-environment"
    ]
    assert share(silent) >= SILENT
