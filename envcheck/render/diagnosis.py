"""A diagnosis as text."""

from __future__ import annotations

import sys

from envcheck.core.report import Evidence
from envcheck.diagnosis.model import Cause, Diagnosis, Recognised
from envcheck.diagnosis.prefixes import several
from envcheck.render.terminal import clamp, clean, columns, wants_color
from envcheck.render.text import Page

MOST = 3
"""Causes that are shown whole; the others by their names."""


def render_diagnosis(
    diagnosis: Diagnosis,
    *,
    width: int | None = None,
    color: bool | None = None,
    encoding: str | None = None,
    verbose: bool = False,
) -> str:
    """The diagnosis for people; ends with a newline. Options as for :func:`envcheck.render.text.render_text`."""
    page = Page(
        width=columns(sys.stdout) if width is None else clamp(width),
        color=wants_color(sys.stdout) if color is None else color,
        encoding=encoding or getattr(sys.stdout, "encoding", None) or "utf-8",
        verbose=verbose,
    )
    _verdict(page, diagnosis)
    shown = diagnosis.causes if verbose else [one for one in diagnosis.causes if one.confidence != "low"][:MOST]
    if not shown and diagnosis.verdict == "unknown":
        shown = diagnosis.causes[:MOST]
    for number, causes in enumerate(_told_together(shown), 1):
        _cause(page, number, causes)
    rest = [cause for cause in diagnosis.causes if cause not in shown]
    if rest:
        page.lines.append("")
        page.say(", ".join(dict.fromkeys(cause.rule for cause in rest)), "less likely: ", "  ")
    for heading, listed in (
        ("limits of the machine", diagnosis.limits),
        ("the program itself", diagnosis.program),
        ("harmless", diagnosis.harmless),
    ):
        if listed:
            page.lines.append("")
            page.lines.append(page.paint(f"{heading}:", "bold"))
            for one in listed:
                _recognised(page, one)
    if diagnosis.notes:
        page.lines.append("")
        for note in diagnosis.notes:
            page.say(note, "note: ", "  ")
    return page.text()


def _verdict(page: Page, diagnosis: Diagnosis) -> None:
    if diagnosis.verdict == "environment":
        first = diagnosis.causes[0]
        sure = {"high": "the cause is", "medium": "the likely cause is", "low": "a possible cause is"}[first.confidence]
        page.say(f"{sure} {first.rule}", f"{page.marks['error']} ", "  ", "bold", "red")
    elif diagnosis.verdict == "not-environment":
        if diagnosis.limits:
            page.say("the machine ran out of something", f"{page.marks['error']} ", "  ", "bold", "red")
            return
        words = "the environment is not to blame" if diagnosis.program else "this is harmless"
        page.say(words, f"{page.marks['ok']} ", "  ", "bold", "green")
    else:
        if any(cause.signatures for cause in diagnosis.causes):
            words = "the message alone does not tell the cause; it can be"
        else:
            words = "no known message was recognised" + ("" if diagnosis.causes else ", and the facts show no cause")
        page.say(words, f"{page.marks['unknown']} ", "  ", "bold", "yellow")


def _told_together(causes: list[Cause]) -> list[list[Cause]]:
    """Causes of which a message says the same are one entry: what tells them apart is not known."""
    found: list[list[Cause]] = []
    for cause in causes:
        same = (one for one in found if _said(one[0]) == _said(cause))
        if (group := next(same, None)) is not None:
            group.append(cause)
        else:
            found.append([cause])
    return found


def _said(cause: Cause) -> tuple[object, ...]:
    return cause.confidence, cause.subject, cause.message, [(fix.command, fix.note) for fix in cause.fixes]


def _cause(page: Page, number: int, causes: list[Cause]) -> None:
    cause = causes[0]
    page.lines.append("")
    subject = f": {clean(cause.subject)}" if cause.subject else ""
    names = " or ".join(one.rule for one in causes)
    page.say(f"{number}. {names} ({cause.confidence} confidence){subject}", "", "   ", "bold")
    page.say(cause.message, "  ")
    page.evidence(cause.evidence if page.verbose else _once(cause.evidence))
    page.fixes(cause.fixes)


def _once(evidence: list[Evidence]) -> list[Evidence]:
    """Each fact once: several signatures can match one line."""
    found: dict[str, Evidence] = {}
    for one in evidence:
        found.setdefault(one.fact, one)
    return list(found.values())


def _recognised(page: Page, one: Recognised) -> None:
    page.say(f"{several(one.processes)}: {one.line}" if one.processes else one.line, "  - ", "    ")
    if one.means:
        page.say(one.means, "    ", "    ")
    if one.cure:
        page.say(one.cure, "    what helps: ", "      ")
