"""Would this wheel, or library, work on that machine? Its tags, symbols and GPU code; then the rules of a check.

The stack that is judged is what pip would leave there: the wheel, what it pins, and what it requires and finds
installed already; of a library, nothing but the library. What the files say wins over the
tables' row for the release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envcheck.core.report import SEVERITIES, Finding, Report, Result, Undecided
from envcheck.core.snapshot import Snapshot, Stack
from envcheck.engine import evaluate, fold, outcome_of, verdict_of
from envcheck.facts import Facts
from envcheck.inspection.findings import results
from envcheck.inspection.fit import label
from envcheck.inspection.resolve import resolve_names
from envcheck.inspection.stack import stack_of, stack_of_library
from envcheck.inspection.there import resolve_there
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
    """The report on an inspected wheel or library, which is kept in it too. ``here``: the place is this machine, now.

    Raises :class:`envcheck.inspection.InspectError` for an installed package, and when the wheel is gone.
    """
    from envcheck.inspection.subject import InspectError, called, open_wheel

    if found.kind == "library":
        found.report = judge_library(found, place, matrix, here=here, select=select, ignore=ignore)
        return found.report
    if found.kind != "wheel":
        raise InspectError(
            f"{called(found.subject)}: wheels and libraries are judged on a machine, and this is installed: see "
            "envcheck check --machine"
        )
    source, wheel = open_wheel(found.subject)
    with source:
        if here:
            from envcheck.inspection.disk import resolve_here

            resolve_here(found, matrix, wheel.open)
        else:
            resolve_there(found, place, matrix)
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
    return _judged(found, place, stack_of(found, wheel, place), matrix, select, ignore)


def judge_library(
    found: Inspection,
    place: Snapshot,
    matrix: Matrix,
    *,
    here: bool = False,
    select: Sequence[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """Would this one compiled file work there? Nothing else that is installed there is judged."""
    if not here:
        for library in found.libraries:
            library.undefined = None
            resolve_names(library, found, matrix)
        resolve_there(found, place, matrix)
    return _judged(found, place, stack_of_library(found, place), matrix, select, ignore)


def _judged(
    found: Inspection, place: Snapshot, stack: Stack, matrix: Matrix, select: Sequence[str], ignore: Iterable[str]
) -> Report:
    snapshot = Snapshot(machine=place.machine, stack=stack, assumed=place.assumed, probes=place.probes)
    ignored = set(ignore)
    report = evaluate(snapshot, matrix, select=select, ignore=ignored)
    facts = Facts(snapshot, matrix)
    own: dict[str, list[Result]] = {}
    for rule, result in results(found if found.kind != "library" else _by_name(found), facts):
        if not select or rule in select:
            own.setdefault(rule, []).append(result)
    return _merge(report, own, label(found), ignored)


def _by_name(found: Inspection) -> Inspection:
    """One file by itself is called by its name in sentences about another machine, where it lies elsewhere."""
    name = label(found)
    return replace(
        found,
        libraries=[replace(library, path=name) for library in found.libraries],
        symbols={family: replace(floor, file=name) for family, floor in found.symbols.items()},
    )


def _merge(report: Report, own: dict[str, list[Result]], who: str, ignored: set[str]) -> Report:
    """What was judged on the wheel's files takes the place of what the same rule says of that package."""
    flat = [one for root in report.findings for one in (root, *root.consequences)]
    for one in flat:
        one.consequences = []
    explains = {one.rule: _explains(one.rule) for one in flat}
    for rule, said in own.items():
        same = [one for one in flat if one.rule == rule and one.subject.startswith(who)]
        if same and all(isinstance(result, Undecided) for result in said):
            continue  # the rule knows more
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
