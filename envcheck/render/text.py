"""A report as text: the verdict, what causes it and what mends it, what was not checked, what was looked at."""

from __future__ import annotations

import sys

from envcheck.core.report import Evidence, Finding, Fix, Outcome, Report
from envcheck.core.snapshot import SmokeTest
from envcheck.render import IGNORED_BY
from envcheck.render.summary import assumed_words, counts, machine_words, not_checked, stack_words, verdict_words
from envcheck.render.terminal import Paint, clamp, clean, columns, encodable, join, marks, wants_color, wrap

MOST_EVIDENCE = 6
"""Lines of evidence for a finding; more are shown when ``verbose``."""

SAFETY = {
    "safe": "changes only this environment",
    "manual": "needs root, a reboot or other hardware",
}
"""What is said of a fix, besides ``review``, which is the usual."""

_COLORS = {
    "error": "red",
    "warning": "yellow",
    "info": "blue",
    "problem": "red",
    "inconclusive": "yellow",
    "ok": "green",
}
_MARK_COLORS = {"ok": "green", "error": "red"}
_VERDICT_MARKS = {"problem": "error", "inconclusive": "unknown", "ok": "ok"}


def render_text(
    report: Report,
    *,
    width: int | None = None,
    color: bool | None = None,
    encoding: str | None = None,
    verbose: bool = False,
) -> str:
    """The report for people; ends with a newline.

    What is None is taken from stdout: its width (30 to 100 columns are used), whether it takes colour (a terminal;
    NO_COLOR, FORCE_COLOR and TERM=dumb are honoured), its encoding. Commands and URLs are never broken into lines.
    """
    page = Page(
        width=columns(sys.stdout) if width is None else clamp(width),
        color=wants_color(sys.stdout) if color is None else color,
        encoding=encoding or getattr(sys.stdout, "encoding", None) or "utf-8",
        verbose=verbose,
    )
    page.verdict(report)
    for finding in report.findings:
        page.finding(finding)
    if report.snapshot.smoke:
        page.smoke(report.snapshot.smoke)
    page.open_questions(report.outcomes)
    page.crashes(report.outcomes)
    page.ignored(report.ignored)
    page.notes(report)
    page.surroundings(report)
    return page.text()


def render_finding(finding: Finding, *, width: int = 80, verbose: bool = True) -> str:
    """One finding, plain; for test reports."""
    page = Page(width=width, color=False, encoding="utf-8", verbose=verbose)
    page.finding(finding)
    return page.text().strip("\n") + "\n"


class Page:
    """Collects lines."""

    def __init__(self, *, width: int, color: bool, encoding: str, verbose: bool) -> None:
        self.width = width
        self.paint = Paint(color)
        self.encoding = encoding
        self.marks = marks(encoding)
        self.verbose = verbose
        self.lines: list[str] = []

    def text(self) -> str:
        return encodable("\n".join(self.lines) + "\n", self.encoding)

    def say(self, text: str, first: str = "", rest: str | None = None, *styles: str) -> None:
        """Wrapped prose; ``first`` stands before the first line, ``rest`` before the others."""
        for line in wrap(clean(text, 4000), self.width, first, rest):
            self.lines.append(self.paint(line, *styles))

    def verdict(self, report: Report) -> None:
        mark = self.marks[_VERDICT_MARKS.get(report.verdict, "unknown")]
        color = _COLORS.get(report.verdict, "yellow")
        self.say(verdict_words(report), f"{mark} ", "  ", "bold", color)

    def finding(self, finding: Finding) -> None:
        sure = "" if finding.confidence == "high" else f" ({finding.confidence} confidence)"
        heading = f"{finding.severity}{sure}: {clean(finding.subject)} [{clean(finding.rule)}]"
        color = _COLORS.get(finding.severity, "yellow")
        self.lines.append("")
        self.say(heading, f"{self.marks.get(finding.severity, '?')} ", "  ", "bold", color)
        self.say(finding.message, "  ")
        self.evidence(finding.evidence)
        self.fixes(finding.fixes)
        if finding.consequences:
            self.label("explains")
            for other in finding.consequences:
                self.say(f"{other.rule}: {other.message}", "    - ")

    def label(self, words: str) -> None:
        self.lines.append("  " + self.paint(f"{words}:", "bold"))

    def evidence(self, evidence: list[Evidence]) -> None:
        if not evidence:
            return
        self.label("how we know")
        most = len(evidence) if self.verbose else MOST_EVIDENCE
        for item in evidence[:most]:
            source = join((clean(item.source), clean(item.as_of)))
            self.say(clean(item.fact) + (f" ({source})" if source else ""), "    - ")
            if self.verbose and item.url:
                self.lines.append("      " + clean(item.url))
        if len(evidence) > most:
            self.lines.append(f"    - {len(evidence) - most} more, shown with -v")

    def fixes(self, fixes: list[Fix]) -> None:
        if not fixes:
            return
        self.label("to mend it" if len(fixes) == 1 else "to mend it, one of")
        for fix in fixes:
            safety = SAFETY.get(fix.safety, "")
            note = clean(fix.note)
            if note or not fix.command:
                self.say(join((note, f"({safety})" if safety else ""), " ") or "no command is known", "    - ")
            self.command(fix.command, "      $ " if note else "    $ ", "" if note else safety)
            if fix.verify:
                self.command(fix.verify, "      then check: ", "")

    def command(self, command: str, first: str, about: str) -> None:
        """A command, never broken into lines: it is there to be copied."""
        for number, line in enumerate(command.strip().splitlines()):
            start = first if not number else " " * len(first)
            self.lines.append(start + self.paint(clean(line, 4000), "bold"))
        if about and command.strip():
            self.say(f"({about})", "      ")

    def open_questions(self, outcomes: list[Outcome]) -> None:
        groups = not_checked(outcomes)
        if not groups:
            return
        self.lines.append("")
        self.lines.append(self.paint("not checked:", "bold"))
        for group in groups:
            why = clean(group.why, 4000 if self.verbose else 300)
            missing = clean(group.missing)
            said = why if missing in ("", why) else f"{missing}: {why}" if why else f"{missing} is not known"
            self.say(said, f"  {self.marks['unknown']} ", "    ")
            self.say(join(group.rules), "    rules: ", "           ")

    def crashes(self, outcomes: list[Outcome]) -> None:
        crashed = [outcome for outcome in outcomes if outcome.status == "crash"]
        if not crashed:
            return
        self.lines.append("")
        self.lines.append(self.paint("rules that crashed (an error in envcheck, please report it):", "bold", "red"))
        for outcome in crashed:
            trace = outcome.why.strip().splitlines() or ["no traceback"]
            self.say(f"{outcome.rule}: {trace[-1]}", f"  {self.marks['error']} ", "    ")
            for line in trace if self.verbose else ():
                self.lines.append("      " + clean(line).replace("\\x09", "    "))

    def ignored(self, findings: list[Finding]) -> None:
        if not findings:
            return
        self.lines.append("")
        self.lines.append(self.paint("ignored:", "bold"))
        for finding in findings:
            reasons = [clean(item.fact) for item in finding.evidence if item.source == IGNORED_BY]
            self.say(f"{finding.severity} {finding.rule}: {finding.message}", "  - ")
            self.say(join(reasons) or "no reason is given", "    reason: ")

    def smoke(self, tests: list[SmokeTest]) -> None:
        from envcheck.render.smoke import details, mark_of, sentence, subject

        self.lines.append("")
        self.lines.append(self.paint("smoke tests:", "bold"))
        for test in tests:
            mark = mark_of(test)
            head = f"  {self.paint(self.marks[mark], _MARK_COLORS.get(mark, 'yellow'))} "
            self.say(f"{subject(test)}: {sentence(test)}", head, "    ")
            if self.verbose:
                for line in details(test):
                    self.say(line, "      - ")

    def notes(self, report: Report) -> None:
        """Parts of a facts file that were not understood: a mistyped key must not pass for an unknown fact."""
        noted = [run.detail for run in report.snapshot.probes if run.probe == "facts" and run.status == "skipped"]
        if not noted:
            return
        self.lines.append("")
        self.lines.append(self.paint("not understood in the facts:", "bold"))
        most = len(noted) if self.verbose else MOST_EVIDENCE
        for note in noted[:most]:
            self.say(note, "  - ")
        if len(noted) > most:
            self.lines.append(f"  - {len(noted) - most} more, shown with -v")

    def surroundings(self, report: Report) -> None:
        self.lines.append("")
        self.say(machine_words(report.snapshot), "machine  ")
        self.say(stack_words(report.snapshot), "stack    ")
        if report.snapshot.assumed:
            self.say(assumed_words(report.snapshot), "assumed  ", "         ")
        if self.verbose:
            for run in report.snapshot.probes:
                about = join((clean(run.where), clean(run.detail)), ": ")
                self.say(f"{clean(run.probe)} {run.status} in {run.milliseconds:.1f} ms {about}", "probe    ")
        for note in report.matrix.stale:
            self.say(note, "data     ", "         ")
        self.say(counts(report), "checks   ")
