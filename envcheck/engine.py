"""Runs the rules: injects facts by parameter name, isolates crashes, folds consequences, gives the verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from envcheck.core.report import (
    CONFIDENCES,
    SEVERITIES,
    Finding,
    MatrixInfo,
    Outcome,
    Pass,
    Report,
    Skip,
    Undecided,
    worst_confident_error,
)
from envcheck.core.snapshot import Absent, Snapshot, Unknown
from envcheck.facts import Facts
from envcheck.rules import RULES, module_of

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

REQUIRED = object()


def evaluate(
    snapshot: Snapshot,
    matrix: Matrix,
    *,
    select: Sequence[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """Judge a snapshot.

    ``select`` limits the rules to these ids, ``ignore`` sets findings of these ids apart (they are still reported, as
    ignored). Raises ValueError for an id that does not exist.
    """
    ignored_ids = set(ignore)
    for rule in (*select, *ignored_ids):
        if rule not in RULES:
            raise ValueError(f"there is no rule {rule!r}")
    facts = Facts(snapshot, matrix)
    outcomes, findings, explains = [], [], {}
    for rule in RULES:
        if select and rule not in select:
            continue
        outcome, found, explained = run_rule(rule, facts)
        if rule in ignored_ids and outcome.status in ("fail", "unknown"):
            outcome.status = "ignored"
        outcomes.append(outcome)
        findings.extend(found)
        explains[rule] = explained
    set_aside = [finding for finding in findings if finding.rule in ignored_ids]
    counted = [finding for finding in findings if finding.rule not in ignored_ids]
    if snapshot.stack.imports:
        from envcheck.observed import reconcile

        counted = reconcile(counted, snapshot)
    if snapshot.smoke:
        from envcheck.observed_smoke import reconcile_smoke

        counted = reconcile_smoke(counted, facts)
    kept = fold(counted, explains)
    if kept or set_aside:
        from envcheck.remedies import fit_findings

        fit_findings([*kept, *set_aside], facts)
    return Report(
        verdict=verdict_of(kept, outcomes),
        findings=kept,
        outcomes=outcomes,
        snapshot=snapshot,
        matrix=MatrixInfo(digest=matrix.digest, date=matrix.date, stale=_stale(snapshot, matrix)),
        ignored=set_aside,
    )


def _stale(snapshot: Snapshot, matrix: Matrix) -> list[str]:
    import time

    from envcheck.core.snapshot import known
    from envcheck.matrix.staleness import NEWEST, stale_notes
    from envcheck.versions import canonical

    installed: dict[str, str] = {}
    for package in known(snapshot.stack.packages) or ():
        name, version = canonical(package.name), known(package.version)
        if name in NEWEST and version:
            installed.setdefault(name, version)
    return stale_notes(matrix, installed.items(), time.strftime("%Y-%m-%d", time.gmtime()), asked_only=True)


def run_rule(rule: str, facts: Facts) -> tuple[Outcome, list[Finding], tuple[str, ...]]:
    """One rule's outcome, its findings, and the ids it explains. Never raises: a crash is an outcome."""
    try:
        if (reason := _nothing_to_say(rule, facts)) is not None:
            return Outcome(rule=rule, status="skip", why=reason), [], ()
        name = module_of(rule)
        __import__(name)
        module = sys.modules[name]
        explained: tuple[str, ...] = getattr(module, "EXPLAINS", ())
        arguments, early = inject(module.check, facts)
        if early is not None:
            return outcome_of(rule, [early]), [], explained
        results = list(module.check(**arguments))
    except Exception:
        import traceback

        return Outcome(rule=rule, status="crash", why=traceback.format_exc(limit=-4)), [], ()
    findings = [result for result in results if isinstance(result, Finding)]
    for finding in findings:
        finding.rule = rule
    return outcome_of(rule, results), findings, explained


def _nothing_to_say(rule: str, facts: Facts) -> str | None:
    """Why a fact that the rule can't do without is absent or empty; None when the rule has to be asked."""
    for name in RULES[rule]:
        value = facts.get(name)
        if isinstance(value, Absent):
            return value.why
        if isinstance(value, (list, tuple, dict)) and not value:
            return f"no {name.replace('_', ' ')}"
    return None


def inject(check: Callable[..., Any], facts: Facts) -> tuple[dict[str, Any], Undecided | Skip | None]:
    """Arguments for ``check``, or why it cannot run. See :mod:`envcheck.rules` for the order of the parameters."""
    code = check.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    defaults = dict(check.__kwdefaults__ or {})
    positional = names[: code.co_argcount]
    defaults.update(zip(reversed(positional), reversed(check.__defaults__ or ()), strict=False))
    arguments: dict[str, Any] = {}
    for name in names:
        value = facts.get(name)
        default = defaults.get(name, REQUIRED)
        if isinstance(value, (Absent, Unknown)):
            if default is not REQUIRED:
                value = default
            elif isinstance(value, Absent):
                return {}, Skip(value.why)
            else:
                return {}, Undecided("", name, value.why)
        elif default is REQUIRED and isinstance(value, (list, tuple, dict)) and not value:
            return {}, Skip(f"no {name.replace('_', ' ')}")
        arguments[name] = value
    return arguments, None


def outcome_of(rule: str, results: Sequence[Finding | Pass | Undecided | Skip]) -> Outcome:
    failed = [r for r in results if isinstance(r, Finding)]
    undecided = [r for r in results if isinstance(r, Undecided)]
    passed = [r for r in results if isinstance(r, Pass)]
    skipped = [r for r in results if isinstance(r, Skip)]
    if failed:
        status, why = "fail", ""
    elif undecided:
        status = "unknown"
        why = "; ".join(dict.fromkeys(f"{u.subject}: {u.why}" if u.subject else u.why for u in undecided))
    elif passed:
        status, why = "pass", "; ".join(dict.fromkeys(p.why for p in passed if p.why))
    else:
        status, why = "skip", "; ".join(dict.fromkeys(s.why for s in skipped)) or "does not apply"
    return Outcome(
        rule=rule,
        status=status,
        why=why,
        missing=list(dict.fromkeys(u.missing for u in undecided)),
        subjects=[p.subject for p in passed],
        findings=len(failed),
    )


def fold(findings: list[Finding], explains: dict[str, tuple[str, ...]]) -> list[Finding]:
    """Put findings under the finding that explains them; worst first, then in the order of the rules.

    Only a finding that is at least as sure as its consequence may take it in, and only an error may take in an error.
    """
    parents: dict[_Kind, Finding | None] = {}
    roots: list[Finding] = []
    for finding in findings:
        cause = _root(finding, findings, explains, parents)
        if cause is None:
            roots.append(finding)
        else:
            cause.consequences.append(finding)
    places = {rule: place for place, rule in enumerate(RULES)}
    roots.sort(key=lambda f: (-SEVERITIES.index(f.severity), -CONFIDENCES.index(f.confidence), places[f.rule]))
    return roots


_Kind = tuple[str, str, str]
"""Rule, severity and confidence of a finding. Its cause depends on nothing else, so it is looked for once a kind: of
one rule there can be tens of thousands of findings."""


def _kind(finding: Finding) -> _Kind:
    return finding.rule, finding.severity, finding.confidence


def _parent(
    finding: Finding,
    findings: list[Finding],
    explains: dict[str, tuple[str, ...]],
    parents: dict[_Kind, Finding | None],
) -> Finding | None:
    """The first finding, in the order of the rules, that explains this one."""
    kind = _kind(finding)
    if kind not in parents:
        order = list(RULES)
        causes = {
            rule
            for rule, explained in explains.items()
            if finding.rule in explained
            # Two rules may explain each other: then the one that comes first in RULES is the cause.
            and not (rule in explains.get(finding.rule, ()) and order.index(rule) > order.index(finding.rule))
        }
        severity, confidence = SEVERITIES.index(finding.severity), CONFIDENCES.index(finding.confidence)
        parents[kind] = next(
            (
                other
                for other in findings
                if other.rule in causes
                and SEVERITIES.index(other.severity) >= severity
                and CONFIDENCES.index(other.confidence) >= confidence
            ),
            None,
        )
    return parents[kind]


def _root(
    finding: Finding,
    findings: list[Finding],
    explains: dict[str, tuple[str, ...]],
    parents: dict[_Kind, Finding | None],
) -> Finding | None:
    """The end of the chain of causes; None when the finding is a root itself (a cycle counts as none)."""
    current, seen = finding, {id(finding)}
    while (parent := _parent(current, findings, explains, parents)) is not None:
        if id(parent) in seen:
            return None
        seen.add(id(parent))
        current = parent
    return None if current is finding else current


def verdict_of(findings: list[Finding], outcomes: list[Outcome]) -> str:
    """``problem``: a sure enough error. ``inconclusive``: none, but an unsure error or an open question."""
    if worst_confident_error(findings):
        return "problem"
    if any(finding.severity == "error" for finding in findings):
        return "inconclusive"
    if any(
        outcome.status in ("unknown", "crash") or outcome.missing for outcome in outcomes if outcome.status != "ignored"
    ):
        return "inconclusive"
    return "ok"
