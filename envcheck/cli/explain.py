"""``envcheck explain``: the documentation of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcheck.cli.options import FORMAT

if TYPE_CHECKING:
    import click

HELP = """Show what a rule looks for, and why.

What it does, why the cause breaks things, how it shows, how to mend it, and the sources.
"""


class Documentation(NamedTuple):
    """A rule's docstring."""

    rule: str
    title: str
    sections: tuple[tuple[str, str], ...]
    """Heading and text."""
    explains: tuple[str, ...]
    """Rules whose findings are folded under this one's."""

    @classmethod
    def of(cls, rule: str) -> Documentation:
        """Of one of the rules that exist; a rule that cannot be imported says so in its title."""
        import sys

        from envcheck.rules import module_of

        try:
            __import__(module_of(rule))
        except Exception as error:
            return cls(rule, f"(this rule can't be loaded: {type(error).__name__}: {error})", (), ())
        module = sys.modules[module_of(rule)]
        title, sections = split(module.__doc__ or "(no documentation: Python runs without docstrings)")
        return cls(rule, title, sections, tuple(getattr(module, "EXPLAINS", ())))


def split(doc: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Title and sections of a docstring: a heading stands at the margin, its text below it is indented."""
    from inspect import cleandoc
    from textwrap import dedent

    title, *lines = cleandoc(doc).split("\n")
    sections: list[tuple[str, list[str]]] = []
    for line in lines:
        if line and not line[0].isspace():
            sections.append((line.rstrip(":"), []))
        elif sections:
            sections[-1][1].append(line)
    return title, tuple((heading, dedent("\n".join(text)).strip("\n")) for heading, text in sections)


def command() -> click.Command:
    import click

    return click.Command("explain", help=HELP, params=[click.Argument(["rule"]), FORMAT.click()], callback=run)


def run(rule: str, format: str) -> int:
    """Raises UsageError for a rule that does not exist, and OutputError."""
    from envcheck.cli.check import UsageError
    from envcheck.cli.output import encoding, write
    from envcheck.core.snapshot.stated import similar
    from envcheck.render.terminal import encodable
    from envcheck.rules import RULES

    if rule not in RULES:
        raise UsageError(f"there is no rule {rule!r}{similar(rule, tuple(RULES)) or '; see envcheck rules'}")
    found = Documentation.of(rule)
    if format == "json":
        import json

        listed = {"schema": 1, **found._asdict(), "sections": [{"title": t, "text": s} for t, s in found.sections]}
        write(json.dumps(listed, indent=2) + "\n")
    else:
        write(encodable(text(found), encoding()))
    return 0


def text(found: Documentation) -> str:
    """For people: paragraphs are filled to the width of the terminal, lists and code are left alone."""
    import sys

    from envcheck.render.terminal import Paint, columns, wants_color, wrap

    width, paint = columns(sys.stdout), Paint(wants_color(sys.stdout))
    lines = [paint(line, "bold") for line in wrap(f"{found.rule}: {found.title}", width)]
    for heading, body in found.sections:
        lines += ["", paint(heading, "bold")]
        for paragraph in body.split("\n\n"):
            if lines[-1] != paint(heading, "bold"):
                lines.append("")
            rows = paragraph.split("\n")
            if any(row[:1] in (" ", "-", "*", "|", "$", ">") or row[:1].isdigit() for row in rows):
                lines += ["  " + row if row else "" for row in rows]
            else:
                lines += wrap(paragraph, width, "  ")
    if found.explains:
        lines += ["", paint("Explains", "bold"), *wrap(", ".join(found.explains), width, "  ")]
    return "\n".join(lines) + "\n"
