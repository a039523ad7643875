"""A report as HTML for notebooks: one element, no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

from envcheck.core.report import Evidence, Finding, Fix, Report
from envcheck.render import IGNORED_BY
from envcheck.render.summary import assumed_words, counts, machine_words, not_checked, stack_words, verdict_words
from envcheck.render.terminal import MARKS, clean, join
from envcheck.render.text import SAFETY

# Colours with a contrast of at least 4.5:1 on white; the dark ones on #111. JupyterLab has a theme of its own, which
# is not the browser's: its variables are used for the text where they exist.
_STYLE = """
.envcheck{--ec-bad:#b3261e;--ec-warn:#8a5a00;--ec-good:#1b6e3c;--ec-info:#1f5fa8;--ec-line:#8886;--ec-soft:#8881;
color:var(--jp-content-font-color1,inherit);font:14px/1.45 system-ui,sans-serif;max-width:60em;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){.envcheck{--ec-bad:#ff8a80;--ec-warn:#f0b429;--ec-good:#6fd08c;--ec-info:#8ab4f8}}
[data-jp-theme-light="true"] .envcheck{--ec-bad:#b3261e;--ec-warn:#8a5a00;--ec-good:#1b6e3c;--ec-info:#1f5fa8}
[data-jp-theme-light="false"] .envcheck{--ec-bad:#ff8a80;--ec-warn:#f0b429;--ec-good:#6fd08c;--ec-info:#8ab4f8}
.envcheck .ec-problem,.envcheck .ec-error{color:var(--ec-bad)}
.envcheck .ec-inconclusive,.envcheck .ec-warning{color:var(--ec-warn)}
.envcheck .ec-ok{color:var(--ec-good)}
.envcheck .ec-info{color:var(--ec-info)}
.envcheck .ec-verdict{font-size:1.15em;font-weight:600}
.envcheck section{border-left:3px solid var(--ec-line);margin:.8em 0;padding:.1em 0 .1em .8em}
.envcheck h4{font-size:1em;margin:0 0 .2em}
.envcheck p{margin:.2em 0}
.envcheck ul{margin:.2em 0;padding-left:1.4em}
.envcheck code,.envcheck pre{background:var(--ec-soft);font:12.5px/1.4 ui-monospace,monospace}
.envcheck pre{margin:.2em 0;overflow-x:auto;padding:.4em .6em;white-space:pre}
.envcheck small{opacity:.8}
"""


def render_html(report: Report) -> str:
    """The report as one ``div``; everything that comes from facts is escaped."""
    parts = [f'<div class="envcheck"><style>{_STYLE}</style>', _verdict(report)]
    parts += [_finding(finding) for finding in report.findings]
    parts += [_open(report), _crashed(report), _ignored(report), _surroundings(report), "</div>"]
    return "".join(parts)


def _text(text: str, limit: int = 4000) -> str:
    from html import escape

    return escape(clean(text, limit))


def _word(text: str, allowed: tuple[str, ...]) -> str:
    """A class name, only if it is one of ours."""
    return text if text in allowed else "info"


def _verdict(report: Report) -> str:
    kind = _word(report.verdict, ("ok", "problem", "inconclusive"))
    mark = MARKS[{"ok": "ok", "problem": "error"}.get(kind, "unknown")]
    return f'<div class="ec-verdict ec-{kind}">{mark} {_text(verdict_words(report))}</div>'


def _finding(finding: Finding) -> str:
    kind = _word(finding.severity, ("error", "warning", "info"))
    sure = "" if finding.confidence == "high" else f" ({_text(finding.confidence)} confidence)"
    parts = [
        f'<section><h4 class="ec-{kind}">{MARKS[kind]} {_text(finding.severity)}{sure}: {_text(finding.subject)} '
        f"<small>[{_text(finding.rule)}]</small></h4><p>{_text(finding.message)}</p>"
    ]
    if finding.fixes:
        parts.append("<p><b>To mend it:</b></p><ul>" + "".join(map(_fix, finding.fixes)) + "</ul>")
    if finding.consequences:
        items = (f"<li><code>{_text(f.rule)}</code> {_text(f.message)}</li>" for f in finding.consequences)
        parts.append("<p><b>Explains:</b></p><ul>" + "".join(items) + "</ul>")
    if finding.evidence:
        parts.append("<details><summary>How we know</summary><ul>" + "".join(map(_evidence, finding.evidence)))
        parts.append("</ul></details>")
    return "".join((*parts, "</section>"))


def _evidence(evidence: Evidence) -> str:
    source = join((_text(evidence.source), _text(evidence.as_of)))
    if evidence.url.startswith(("https://", "http://")):
        source = f'<a href="{_text(evidence.url)}" rel="noreferrer">{source or _text(evidence.url)}</a>'
    return f"<li>{_text(evidence.fact)}" + (f" <small>({source})</small>" if source else "") + "</li>"


def _fix(fix: Fix) -> str:
    safety = SAFETY.get(fix.safety, "")
    said = join((_text(fix.note), f"<small>({safety})</small>" if safety else ""), " ")
    return f"<li>{said}{_command(fix.command)}" + (f"then check:{_command(fix.verify)}" if fix.verify else "") + "</li>"


def _command(command: str) -> str:
    lines = "\n".join(_text(line) for line in command.strip().splitlines())
    return f"<pre>{lines}</pre>" if lines else ""


def _open(report: Report) -> str:
    groups = not_checked(report.outcomes)
    if not groups:
        return ""
    said = ((join(dict.fromkeys((group.missing, group.why)), ": "), join(group.rules)) for group in groups)
    items = "".join(f"<li>{_text(what)} <small>{_text(rules)}</small></li>" for what, rules in said)
    return f"<details open><summary>Not checked</summary><ul>{items}</ul></details>"


def _crashed(report: Report) -> str:
    items = "".join(
        f"<li>{_text(outcome.rule)}: {_text((outcome.why.strip().splitlines() or [''])[-1])}</li>"
        for outcome in report.outcomes
        if outcome.status == "crash"
    )
    return f"<p>Rules that crashed (an error in envcheck, please report it):</p><ul>{items}</ul>" if items else ""


def _ignored(report: Report) -> str:
    items = []
    for finding in report.ignored:
        reasons = join(item.fact for item in finding.evidence if item.source == IGNORED_BY)
        items.append(
            f"<li>{_text(finding.severity)} {_text(finding.rule)}: {_text(finding.message)} "
            f"<small>reason: {_text(reasons or 'no reason is given')}</small></li>"
        )
    return f"<details><summary>Ignored</summary><ul>{''.join(items)}</ul></details>" if items else ""


def _surroundings(report: Report) -> str:
    rows = [machine_words(report.snapshot), stack_words(report.snapshot), counts(report)]
    if report.snapshot.assumed:
        rows.insert(2, f"assumed: {assumed_words(report.snapshot)}")
    return "".join(f"<p><small>{_text(row)}</small></p>" for row in rows)
