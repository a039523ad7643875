"""Would this wheel work on that machine? Its tags, symbols and GPU code against the machine; then the rules of a check.

The stack that is judged is what pip would leave there: the wheel, what it pins, and what it requires and finds
installed already. What the wheel's own files say wins over the tables' row for its release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.report import SEVERITIES, Finding, Report, Result
from envcheck.core.snapshot import Snapshot
from envcheck.engine import evaluate, fold, outcome_of, verdict_of
from envcheck.facts import Facts
from envcheck.inspection.findings import results
from envcheck.inspection.stack import stack_of
from envcheck.rules import module_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envcheck.inspection.model import Inspection
    from envcheck.inspection.wheel import WheelFile
    from envcheck.matrix import Matrix


def judge_there(
    found: Inspection,
    place: Snapshot,
    matrix: Matrix,
    *,
    here: bool = False,
    select: Sequence[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """The report on an inspected wheel, which is kept in it too. ``here``: the place is this machine, now.

    Raises :class:`envcheck.inspection.InspectError` for what is no wheel, and when the wheel is gone.
    """
    from envcheck.inspection.resolve import resolve_here
    from envcheck.inspection.subject import InspectError, called, open_wheel

    if found.kind != "wheel":
        what = "a library" if found.kind == "library" else "installed: see envcheck check --machine"
        raise InspectError(f"{called(found.subject)}: only wheels are judged on a machine, and this is {what}")
    if here:
        resolve_here(found, matrix)
    source, wheel = open_wheel(found.subject)
    with source:
        found.report = judge(found, wheel, place, matrix, select=select, ignore=ignore)
    return found.report


def judge(
    found: Inspection,
    wheel: WheelFile,
    place: Snapshot,
    matrix: Matrix,
    *,
    select: Sequence[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """The report; findings about the wheel itself bear the ids of the rules whose causes they are."""
    assert found.distribution is not None
    snapshot = Snapshot(
        machine=place.machine,
        stack=stack_of(found, wheel, place),
        assumed=place.assumed,
        probes=place.probes,
    )
    ignored = set(ignore)
    report = evaluate(snapshot, matrix, select=select, ignore=ignored)
    facts = Facts(snapshot, matrix)
    own: dict[str, list[Result]] = {}
    for rule, result in results(found, facts):
        if not select or rule in select:
            own.setdefault(rule, []).append(result)
    label = f"{found.distribution.name} {found.distribution.version}"
    return _merge(report, own, label, ignored)


def _merge(report: Report, own: dict[str, list[Result]], label: str, ignored: set[str]) -> Report:
    """What was judged on the wheel's files takes the place of what the same rule says of that package."""
    flat = [one for root in report.findings for one in (root, *root.consequences)]
    for one in flat:
        one.consequences = []
    explains = {one.rule: _explains(one.rule) for one in flat}
    for rule, said in own.items():
        same = [one for one in flat if one.rule == rule and one.subject.startswith(label)]
        worst = max((SEVERITIES.index(one.severity) for one in same), default=-1)
        mine = [result for result in said if isinstance(result, Finding)]
        if same and mine and all(SEVERITIES.index(one.severity) < worst for one in mine):
            continue  # the rule knows more
        findings = _distinct(mine)
        flat = [one for one in flat if one not in same]
        others = [one for one in flat if one.rule == rule]
        outcome = outcome_of(rule, [*said, *others])
        outcome.findings = len(others) + len(findings)
        if rule in ignored and outcome.status in ("fail", "unknown"):
            outcome.status = "ignored"
        for finding in findings:
            finding.rule = rule
            # The rule knows releases and commands.
            known_fixes = dict.fromkeys(fix for one in same for fix in one.fixes)
            finding.fixes = list(known_fixes) or finding.fixes
            explains[rule] = _explains(rule)
            (report.ignored if rule in ignored else flat).append(finding)
        report.outcomes = [outcome if one.rule == rule else one for one in report.outcomes]
    report.findings = fold(flat, explains)
    report.verdict = verdict_of(report.findings, report.outcomes)
    return report


def _explains(rule: str) -> tuple[str, ...]:
    import sys

    __import__(module_of(rule))
    found: tuple[str, ...] = getattr(sys.modules[module_of(rule)], "EXPLAINS", ())
    return found


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One cause, one finding: the last says most (symbols after tags), the others are evidence for it."""
    by_gpu: dict[str, list[Finding]] = {}
    for one in findings:
        separate = one.subject.partition(" on ")[2] or (one.subject if one.severity == "warning" else "")
        by_gpu.setdefault(separate, []).append(one)
    for group in by_gpu.values():
        group[-1].evidence = list(dict.fromkeys(item for one in group for item in one.evidence))
    return [group[-1] for group in by_gpu.values()]
