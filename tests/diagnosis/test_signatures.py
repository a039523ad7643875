"""Every row of the tables of signatures: its examples, its near misses, its causes, and that no pattern is slow."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from envcheck.core.snapshot import Snapshot
from envcheck.diagnosis.conditions import holds
from envcheck.diagnosis.ranking import WEIGHT, causes_of
from envcheck.diagnosis.signatures import AFTER, BEFORE, KINDS, ONLY_TOLD, Signatures
from envcheck.diagnosis.text import reduce
from envcheck.diagnosis.values import LISTS, READERS, TEXTS
from envcheck.facts import Facts
from envcheck.matrix import Matrix
from envcheck.remedies.commands import Pip, name_of, parts
from envcheck.remedies.prescribed import LOOKED_UP, NOTE
from envcheck.rules import RULES

MATRIX = Matrix.load()
NOTHING = Facts(Snapshot(), MATRIX)
SIGNATURES = Signatures.load(MATRIX)
ROWS = SIGNATURES.rows
NAMES = [row["id"] for row in ROWS]
SLOWEST = 0.020
"""Seconds that one pattern may take on one text made to hold it up."""

each = pytest.mark.parametrize("row", ROWS, ids=NAMES)


def alone(row: dict[str, Any]) -> Signatures:
    return Signatures([row], SIGNATURES.codes)


def test_ids_are_distinct() -> None:
    assert sorted(NAMES) == sorted(set(NAMES))


@each
def test_examples_match(row: dict[str, Any]) -> None:
    assert row["examples"], "a signature needs an example"
    for example in row["examples"]:
        assert alone(row).match(reduce([example]).text), example


@each
def test_near_misses_do_not_match(row: dict[str, Any]) -> None:
    for text in row.get("never") or ():
        assert not alone(row).match(reduce([text]).text), text


@each
def test_what_is_said_can_be_filled(row: dict[str, Any]) -> None:
    groups = set(re.compile(row["pattern"]).groupindex) if row.get("pattern") else set()
    for column in ("means", "cure"):
        used = set(re.findall(r"\{(\w+)\}", row.get(column) or ""))
        assert used <= groups, f"{column} names {used - groups}, which the pattern does not capture"
    assert row["kind"] in KINDS
    assert row.get("means") or row.get("table"), "a signature says what the message means"


@each
def test_fixes_can_be_filled_and_read(row: dict[str, Any]) -> None:
    groups = set(re.compile(row["pattern"]).groupindex) if row.get("pattern") else set()
    for text in row.get("fixes") or ():
        command, _, note = text.partition(NOTE)
        assert command.strip() == command
        assert command, "a fix is a command; words stand in cure"
        for name in re.findall(r"\{([^{}]*)\}", command):
            assert name in groups or LOOKED_UP.fullmatch(name), f"{name} is not captured and not looked up"
        assert set(re.findall(r"\{([^{}]*)\}", note)) <= groups
        for part in parts(command):
            if isinstance(part, Pip):
                assert part.names, f"what does {command} install?"
                assert "<" not in "".join(name_of(name) for name in part.names), "a place to fill in is no command"


@each
def test_causes_are_rules_and_conditions_parse(row: dict[str, Any]) -> None:
    for signature in [row, *((SIGNATURES.codes[row["table"]].signatures) if row.get("table") else ())]:
        causes = causes_of(signature)
        if signature["kind"] in ("cause", "symptom") and not row.get("table"):
            assert causes, "a cause or symptom names causes"
        for rule, confidence, conditions, against in causes:
            assert rule in RULES or rule in ONLY_TOLD, rule
            assert confidence in WEIGHT, confidence
            for condition in (*conditions, *against):
                holds(condition, NOTHING, {})


@each
def test_sets_parse(row: dict[str, Any]) -> None:
    groups = set(re.compile(row["pattern"]).groupindex) if row.get("pattern") else set()
    for assignment in row.get("sets") or ():
        left, equals, right = (part.strip() for part in assignment.partition("="))
        assert equals, assignment
        section = left.partition(".")[0]
        assert section == "package" or left in (*LISTS, *TEXTS), left
        assert set(re.findall(r"\{(\w+)\}", left)) <= groups
        if not right.startswith('"'):
            name, _, reader = right.partition(":")
            assert name in groups, assignment
            assert reader in READERS, assignment


def hostile(row: dict[str, Any]) -> list[str]:
    """Texts made to hold up a pattern: a literal amid repetitions of everything."""
    literal = max(row["literals"], key=len)
    example = row["examples"][0]
    filling = [
        example,
        example[: len(example) // 2],
        *("a", "(", "0", " ", ".", "\n", "/x", "a b", "cuda ", "x.y.", '"', ","),
    ]
    size = BEFORE + AFTER
    texts = []
    for piece in filling:
        many = piece * (size // len(piece) + 1)
        texts += [many[:BEFORE] + literal + many[:AFTER], literal + many[:AFTER] + "\0", (literal + piece) * 40]
    return texts


@each
def test_no_pattern_is_slow(row: dict[str, Any]) -> None:
    if not row.get("pattern"):
        return
    pattern = SIGNATURES.pattern(row)
    for text in hostile(row):
        place = text.lower().find(max(row["literals"], key=len).lower())
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            pattern.search(text, max(0, place - BEFORE), place + AFTER)
            taken.append(time.perf_counter() - begun)
            if taken[-1] < SLOWEST:
                break
        assert min(taken) < SLOWEST, f"{min(taken):.3f} s on {text[:60]!r}"


@pytest.mark.parametrize("letter", ["a", "(", "0", " ", "cuda ", "error: ", "\n", "1.2.3 ", "x.so: "])
def test_all_signatures_on_a_long_text(letter: str) -> None:
    text = reduce([letter * (100_000 // len(letter))]).text
    begun = time.perf_counter()
    SIGNATURES.match(text)
    assert time.perf_counter() - begun < 2.0
