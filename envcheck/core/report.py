"""What a check says: outcomes of rules, findings, the verdict. Plain data; no I/O, no judgement on facts."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from envcheck.core.snapshot import Snapshot

REPORT_SCHEMA = 1

SEVERITIES = ("info", "warning", "error")
CONFIDENCES = ("low", "medium", "high")
SAFETIES = ("safe", "review", "manual")
"""By side effects: this environment only, more than it, root or hardware."""


class Evidence(Struct, frozen=True, omit_defaults=True):
    """One thing that was read, and where."""

    fact: str
    """What it says, in a few words with the value."""
    source: str = ""
    """Where it was read: a probe's place, or the title of a table's source."""
    url: str = ""
    as_of: str = ""
    """Date of the source, ISO 8601; empty for what was read just now."""


class Fix(Struct, frozen=True, omit_defaults=True):
    """One way to mend it."""

    command: str
    """The exact command; empty when there is none (then ``note`` says what to do)."""
    note: str = ""
    safety: str = "review"
    """``safe`` (changes this environment only), ``review`` (look first) or ``manual`` (root, reboot, hardware)."""
    verify: str = ""
    """The command that shows that it worked."""


class Finding(Struct, omit_defaults=True, kw_only=True):
    """A problem. Severity is how bad it is if true; confidence is how sure we are."""

    rule: str = ""
    """Filled in by the engine: the id of the rule."""
    severity: str
    confidence: str
    subject: str
    """What it is about: ``torch 2.6.0+cu124 on NVIDIA B200``."""
    message: str
    """One sentence with what is and what is needed."""
    evidence: list[Evidence] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)
    consequences: list[Finding] = field(default_factory=list)
    """Findings of other rules that this one explains."""


class Pass(Struct, frozen=True):
    """A subject was judged and is fine."""

    subject: str
    why: str


class Undecided(Struct, frozen=True):
    """A rule applies to a subject but a fact is missing."""

    subject: str
    missing: str
    """Name of the fact: ``driver.version``."""
    why: str


class Skip(Struct, frozen=True):
    """The rule does not apply."""

    why: str


Result = Finding | Pass | Undecided | Skip
"""What a rule yields."""


class Outcome(Struct, omit_defaults=True, kw_only=True):
    """What one rule said."""

    rule: str
    status: str
    """``fail``, ``pass``, ``unknown``, ``skip``, ``crash`` or ``ignored``."""
    why: str = ""
    missing: list[str] = field(default_factory=list)
    """Facts that a status of ``unknown`` (or partly so) lacks."""
    subjects: list[str] = field(default_factory=list)
    """What was judged fine."""
    findings: int = 0


class MatrixInfo(Struct, kw_only=True):
    """Which data the verdict rests on."""

    digest: str = ""
    date: str = ""
    stale: list[str] = field(default_factory=list)
    """Tables that are old, frameworks that are newer than them: a sentence each. They change no verdict."""


class Report(Struct, kw_only=True):
    """Snapshot, outcomes, findings and verdict."""

    verdict: str
    """``ok``, ``problem`` or ``inconclusive``."""
    findings: list[Finding]
    outcomes: list[Outcome]
    snapshot: Snapshot
    matrix: MatrixInfo
    ignored: list[Finding] = field(default_factory=list)
    """Findings that the user's configuration ignores, with the reason in ``evidence``."""
    schema: int = REPORT_SCHEMA

    @property
    def ok(self) -> bool:
        """True when the verdict is ``ok``: nothing is wrong and nothing was left open."""
        return self.verdict == "ok"

    def at_least(self, severity: str) -> list[Finding]:
        """Findings of this severity or a worse one, folded consequences not counted. Raises ValueError for others."""
        least = SEVERITIES.index(severity)
        return [finding for finding in self.findings if SEVERITIES.index(finding.severity) >= least]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python objects, as in the JSON output."""
        import msgspec

        result: dict[str, Any] = {"schema": self.schema, **msgspec.to_builtins(self)}
        result["snapshot"] = self.snapshot.to_dict()
        return result

    def to_json(self, *, indent: int = 2) -> str:
        import msgspec

        data = msgspec.json.encode(self)
        return (msgspec.json.format(data, indent=indent) if indent else data).decode()

    def raise_for_problems(self) -> None:
        """Raise :class:`EnvironmentProblem` when the verdict is ``problem``; otherwise do nothing."""
        if self.verdict == "problem":
            raise EnvironmentProblem(self)

    def __str__(self) -> str:
        from envcheck.render.text import render_text

        return render_text(self)

    def __repr__(self) -> str:
        """The same text: what an interactive session shows for ``envcheck.report()``."""
        return str(self)

    def _repr_html_(self) -> str:
        from envcheck.render.html import render_html

        return render_html(self)


class EnvironmentProblem(RuntimeError):
    """This stack will not run on this machine; ``.report`` says why."""

    def __init__(self, report: Report) -> None:
        self.report = report
        lines = [f"{finding.rule}: {finding.message}" for finding in report.at_least("error")]
        super().__init__("; ".join(lines) or "the environment has a problem")


def worst_confident_error(findings: list[Finding]) -> bool:
    """True when some finding of severity error has confidence medium or high."""
    return any(f.severity == "error" and f.confidence in ("medium", "high") for f in findings)
