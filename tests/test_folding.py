"""Consequences are folded under their causes as by asking every other finding, and in time for tens of thousands."""

from __future__ import annotations

import random
import time

from envcheck.core.report import CONFIDENCES, SEVERITIES, Finding
from envcheck.engine import fold
from envcheck.rules import RULES

SOME = list(RULES)[:5]


def finding(rule: str, severity: str = "error", confidence: str = "high", subject: str = "") -> Finding:
    return Finding(rule=rule, severity=severity, confidence=confidence, subject=subject, message="")


def explains_it(other: Finding, one: Finding, explains: dict[str, tuple[str, ...]]) -> bool:
    mutual = other.rule in explains.get(one.rule, ())
    return (
        one.rule in explains.get(other.rule, ())
        and SEVERITIES.index(other.severity) >= SEVERITIES.index(one.severity)
        and CONFIDENCES.index(other.confidence) >= CONFIDENCES.index(one.confidence)
        and not (mutual and SOME.index(other.rule) > SOME.index(one.rule))
    )


def root_of(one: Finding, findings: list[Finding], explains: dict[str, tuple[str, ...]]) -> Finding | None:
    """The end of the chain, by asking all; None for a root and for a cycle."""
    chain = [one]
    while True:
        cause = next((other for other in findings if explains_it(other, chain[-1], explains)), None)
        if cause is None:
            return None if chain[-1] is one else chain[-1]
        if any(cause is known for known in chain):
            return None
        chain.append(cause)


def test_as_by_asking_every_other_finding() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        explains = {rule: tuple(rng.sample(SOME, rng.randrange(3))) for rule in SOME}
        findings = [
            finding(rng.choice(SOME), rng.choice(SEVERITIES), rng.choice(CONFIDENCES), str(number))
            for number in range(rng.randrange(12))
        ]
        findings.sort(key=lambda one: SOME.index(one.rule))
        wanted = {one.subject: root.subject for one in findings if (root := root_of(one, findings, explains))}
        roots = fold(findings, explains)
        got = {below.subject: root.subject for root in findings for below in root.consequences}
        assert got == wanted, seed
        assert sorted(root.subject for root in roots) == sorted({one.subject for one in findings} - wanted.keys())


def test_tens_of_thousands() -> None:
    many = [finding("package-conflict", "warning", subject=str(number)) for number in range(30_000)]
    cause = finding("framework-pair-mismatch")
    started = time.perf_counter()
    assert fold([cause, *many], {"framework-pair-mismatch": ("package-conflict",), "package-conflict": ()}) == [cause]
    assert len(cause.consequences) == len(many)
    assert len(fold(many, {"package-conflict": ("package-conflict",)})) == len(many)
    assert time.perf_counter() - started < 5
