"""The causes in order.

What a message proves stands first, then what message and facts together imply, then facts alone. A cause that the facts
exclude falls back. Consequences stand below their cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from envcheck.core.report import Evidence, Finding, Fix, Outcome, Report
from envcheck.diagnosis.conditions import holds
from envcheck.diagnosis.model import Cause, Match

if TYPE_CHECKING:
    from envcheck.facts import Facts
    from envcheck.matrix import Matrix
    from envcheck.remedies.place import Place

WEIGHT = {"high": 90, "medium": 62, "low": 35}
"""What a signature gives to a cause that it names with this confidence."""
CONFIRMED = 25
"""A rule found the same in the facts."""
EXCLUDED, DOUBTED = 30, 5
"""The rule looked at it and the facts are fine: for what a message only suggests, and for what it proves. What a
program met counts before what is known of it: there may be a second copy of a package."""
MET, OPEN = 8, -8
"""A condition of the cause that holds, and one that cannot be decided."""
LATER = 4
"""Each place further down in a signature's list of causes."""
ALONE = {("error", "high"): 58, ("error", "medium"): 52, ("error", "low"): 30, ("warning", "high"): 26}
"""A finding that no message names, where there is a message; other findings count for little."""
LITTLE = 18
SURE, LIKELY = 84, 48
"""From these on a cause has high and medium confidence."""

CAUSE = {"high", "medium", "low"}


class Candidate:
    """A cause while it is being weighed."""

    __slots__ = ("findings", "matches", "place", "proven", "rule", "score", "told")

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.score = 0.0
        self.matches: list[Match] = []
        self.findings: list[Finding] = []
        self.place = 1 << 60
        """Where in the text it was first named."""
        self.proven = False
        """A message that is no mere symptom names it with high confidence."""
        self.told = False
        """A message names it, and not only what follows from it."""


def causes_of(signature: dict[str, Any]) -> list[tuple[str, str, list[str], list[str]]]:
    """(rule, confidence, conditions that must hold, conditions that must not) of a signature's causes.

    >>> causes_of({"causes": ["driver-too-old high if gpu, sm>=8.0 unless wsl"]})
    [('driver-too-old', 'high', ['gpu', 'sm>=8.0'], ['wsl'])]
    """
    found = []
    for text in signature.get("causes") or ():
        rest, _, unless = text.partition(" unless ")
        head, _, conditions = rest.partition(" if ")
        rule, _, confidence = head.strip().partition(" ")
        found.append((rule, confidence.strip() or "medium", _listed(conditions), _listed(unless)))
    return found


def _listed(text: str) -> list[str]:
    """Conditions are separated by ``, ``: a specifier has commas too, without a blank."""
    return [part.strip() for part in text.split(", ") if part.strip()]


def rank(matches: Sequence[Match], report: Report | None, facts: Facts) -> list[Cause]:
    """The causes, the likeliest first; ``facts``: what is known, with what the messages state."""
    found: dict[str, Candidate] = {}
    for match in matches:
        _propose(found, match, facts)
    _weigh_findings(found, report, bool(matches))
    ordered = sorted(found.values(), key=lambda one: (-one.score, one.place))
    ordered = _consequences_below(ordered)
    from envcheck.remedies.place import Place

    place = Place.of(facts)
    return [_cause(one, place) for one in ordered if one.score > 0]


def _propose(found: dict[str, Candidate], match: Match, facts: Facts) -> None:
    symptom = match.signature["kind"] == "symptom"
    for place, (rule, confidence, conditions, against) in enumerate(causes_of(match.signature)):
        score = WEIGHT[confidence] - LATER * place
        verdicts = [holds(condition, facts, match.values) for condition in conditions]
        contrary = [holds(condition, facts, match.values) for condition in against]
        if False in verdicts or True in contrary:
            continue
        score += MET * verdicts.count(True) + OPEN * (verdicts.count(None) + contrary.count(None))
        one = found.setdefault(rule, Candidate(rule))
        # The best statement counts, a second one only a little: a log says the same many times. A signature that names
        # a cause twice, with other conditions, is one statement.
        again = bool(one.matches) and one.matches[-1] is not match
        one.score = max(one.score, score) + (2 if again else 0)
        if again or not one.matches:
            one.matches.append(match)
        one.place = min(one.place, match.position)
        one.told = one.told or not symptom
        one.proven = one.proven or (confidence == "high" and not symptom)


def _weigh_findings(found: dict[str, Candidate], report: Report | None, told: bool) -> None:
    if report is None:
        return
    outcomes = {outcome.rule: outcome for outcome in report.outcomes}
    findings: dict[str, list[Finding]] = {}
    for finding in report.findings:
        findings.setdefault(finding.rule, []).append(finding)
        for other in _below(finding):
            findings.setdefault(other.rule, []).append(other)
    for rule, one in found.items():
        if rule in findings:
            one.findings = findings[rule]
            strong = any(finding.severity == "error" for finding in one.findings)
            one.score += CONFIRMED if strong else CONFIRMED / 3
        elif _fine(outcomes.get(rule)):
            one.score -= DOUBTED if one.proven else EXCLUDED
    for rule, listed in findings.items():
        if rule not in found:
            one = found[rule] = Candidate(rule)
            one.findings = listed
            best = max(ALONE.get((finding.severity, finding.confidence), LITTLE) for finding in listed)
            one.score = best if told else best + 12


def _fine(outcome: Outcome | None) -> bool:
    """A rule that was asked, and found nothing wrong in facts that it knew."""
    return outcome is not None and outcome.status == "pass"


def _below(finding: Finding) -> list[Finding]:
    found = []
    for other in finding.consequences:
        found += [other, *_below(other)]
    return found


def explains(rule: str) -> tuple[str, ...]:
    """Ids of causes that follow from one."""
    import sys

    from envcheck.rules import RULES, module_of

    if rule not in RULES:
        return ()
    __import__(module_of(rule))
    listed: tuple[str, ...] = getattr(sys.modules[module_of(rule)], "EXPLAINS", ())
    return (*listed, "silent-cpu-fallback") if rule not in ("silent-cpu-fallback", *listed) else listed


def _consequences_below(ordered: list[Candidate]) -> list[Candidate]:
    """A consequence comes after its cause, where that is likely itself."""
    result = list(ordered)
    for one in ordered:
        if one.score < LIKELY:
            continue
        for other in ordered:
            if other is one or other.rule not in explains(one.rule) or one.rule in explains(other.rule):
                continue
            mine, theirs = result.index(one), result.index(other)
            # What a message names outright stands before what only the facts say.
            if theirs < mine and (one.told or not other.told):
                result.insert(theirs, result.pop(mine))
                one.score = max(one.score, other.score)
    return result


def _cause(one: Candidate, place: Place) -> Cause:
    evidence = [_quoted(match, place.facts.matrix) for match in one.matches[:4]]
    fixes: list[Fix] = []
    subject = ""
    if one.findings:
        best = one.findings[0]
        subject, message = best.subject, best.message
        evidence += best.evidence
        fixes += best.fixes
    else:
        message = one.matches[0].sentence(one.matches[0].signature.get("means")) or one.rule
    if not any(fix.command for fix in fixes):
        from envcheck.remedies import fitted
        from envcheck.remedies.prescribed import prescribed

        fixes = fitted(one.rule, [*fixes, *prescribed(one.rule, one.matches, place)], place)
    confidence = "high" if one.score >= SURE else "medium" if one.score >= LIKELY else "low"
    return Cause(
        rule=one.rule,
        confidence=confidence,
        subject=subject,
        message=message,
        evidence=evidence,
        fixes=fixes,
        explains=list(explains(one.rule)),
        signatures=[match.signature["id"] for match in one.matches],
    )


def _quoted(match: Match, matrix: Matrix) -> Evidence:
    title, url, as_of = matrix.cite(match.signature)
    return Evidence(fact=f"the message: {match.line}", source=title, url=url, as_of=as_of)
