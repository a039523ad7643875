"""``envcheck check``, and ``envcheck`` alone: judge a stack on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from envcheck.cli.options import CHECK
from envcheck.config import Settings, failing, judge, known_rule, load

if TYPE_CHECKING:
    import click

    from envcheck.core.report import Report

HELP = """Will this stack run on this machine?

Without options: the packages of this Python environment on this machine. STACK and MACHINE can be anywhere: a snapshot
that `envcheck snapshot` wrote, or a facts file written by hand (JSON, TOML or YAML).

Exit codes: 0 nothing at or above --fail-on was found; 1 something was; 2 wrong usage or unreadable input; 3 with
--strict, nothing is known to be wrong but not everything could be checked.
"""


class UsageError(Exception):
    """Options that do not fit; its text is one sentence."""


def command() -> click.Command:
    import click

    def callback(**values: Any) -> int:
        return run(values)

    return click.Command("check", help=HELP, params=[option.click() for option in CHECK], callback=callback)


def run(values: Mapping[str, Any]) -> int:
    """Check, print, and give the exit code. Raises what :mod:`envcheck.cli.errors` turns into a sentence."""
    if values["stack"] == values["machine"] == "-":
        raise UsageError("standard input can be the stack or the machine, not both")
    stack, machine = values["stack"], values["machine"]
    if values["import"] and not {stack, machine} <= {None, "here"}:
        raise UsageError(
            "--import tests this Python environment on this machine, not a STACK or MACHINE from elsewhere"
        )
    if values["smoke"] and not {stack, machine} <= {None, "here"}:
        raise UsageError("--smoke runs this Python environment on this machine, not a STACK or MACHINE from elsewhere")
    settings = settings_of(values)
    if "here" in (stack or "here", machine or "here"):
        from envcheck.cli.progress import Progress

        with Progress() as progress:
            report = judge(settings, stack=stack, machine=machine, progress=progress)
    else:
        report = judge(settings, stack=stack, machine=machine)
    show(report, values["format"], values["verbose"])
    return exit_code(report, settings)


def settings_of(values: Mapping[str, Any]) -> Settings:
    """The configuration, with what the command line says in its place. Raises UsageError and ConfigError."""
    settings = Settings() if values["no_config"] else load()
    given: dict[str, Any] = {}
    select = rules_of(values["select"], "--select")
    ignore = rules_of(values["ignore"], "--ignore")
    if select:
        given["select"] = select
    if select or ignore:
        # Asked for by name here: then what the file says of it does not count.
        kept = {rule: reason for rule, reason in settings.ignore.items() if rule not in select}
        given["ignore"] = kept | dict.fromkeys(ignore, "given with --ignore")
    if values["fail_on"] is not None:
        given["fail_on"] = values["fail_on"]
    if values["timeout"] is not None:
        given["timeout"] = seconds(values["timeout"])
    if values["matrix_path"]:
        given["matrix_path"] = values["matrix_path"]
    if values["import"]:
        given["imports"] = True
    if values["smoke"]:
        given["smoke"] = True
    if values["assume"]:
        from envcheck.assume import parse

        given["assume"] = {**settings.assume, **parse(values["assume"])}
        given["assumed_by"] = "--assume" + (f" and {settings.assumed_by}" if settings.assume else "")
    if values["strict"]:
        given["strict"] = True
    return settings.replace(**given)


def seconds(value: float) -> float:
    """The value of --timeout. Raises UsageError for one that is no time."""
    if not 0 < value < 1e6:
        raise UsageError(f"--timeout takes a number of seconds above 0, not {value:g}")
    return value


def rules_of(texts: tuple[str, ...], option: str) -> tuple[str, ...]:
    """Rule ids from options with commas. Raises UsageError for one that does not exist, and for an empty text."""
    found = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if texts and not found:
        raise UsageError(f"{option} takes rule ids, not an empty text")
    try:
        return tuple(known_rule(rule) for rule in found)
    except ValueError as error:
        raise UsageError(f"{option} takes {error}") from None


def show(report: Report, form: str, verbose: bool) -> None:
    """Write a report to stdout."""
    from envcheck.cli.output import encoding, write

    if form == "json":
        from envcheck.render.json import escape, render_json

        write(escape(render_json(report)))
    else:
        from envcheck.render.text import render_text

        write(render_text(report, encoding=encoding(), verbose=verbose))


def exit_code(report: Report, settings: Settings) -> int:
    """0, 1 or 3, as in the help."""
    if failing(report, settings.fail_on):
        return 1
    return 3 if settings.strict and report.verdict == "inconclusive" else 0
