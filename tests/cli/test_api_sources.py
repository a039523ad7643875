"""What the verbs take, and what they say of anything else."""

from __future__ import annotations

from typing import Any

import pytest

import envcheck
from envcheck.rules import RULES

FACTS = {"os": {"system": "Linux"}, "packages": {"numpy": "2.0.0"}}


def test_one_rule_as_a_text() -> None:
    report = envcheck.check(FACTS, select="numpy-abi", ignore="glibc-too-old")
    assert {outcome.rule for outcome in report.outcomes} <= set(RULES)
    assert [outcome.rule for outcome in report.outcomes if outcome.status != "ignored"] == ["numpy-abi"]


@pytest.mark.parametrize("source", [3, 2.5, ["a"], b"bytes", object()])
def test_what_is_no_source(source: Any) -> None:
    for call in (lambda: envcheck.check(source), lambda: envcheck.diff(source, FACTS)):
        with pytest.raises(TypeError, match="a source is a Snapshot, a mapping of facts, a path or 'here', not "):
            call()
