"""The command ``envcheck``; its commands are imported when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from envcheck.cli import check
from envcheck.cli.options import CHECK

COMMANDS = ("check", "smoke", "diagnose", "run", "snapshot", "diff", "inspect", "rules", "explain", "matrix")

HELP = """Will this deep-learning stack run on this machine? If not: what is wrong, how do we know, what mends it?

Without a command: `envcheck check`, this Python environment on this machine.

Exit codes: 0 nothing at or above --fail-on was found; 1 something was; 2 wrong usage or unreadable input; 3 with
--strict, nothing is known to be wrong but not everything could be checked.
"""


class Group(click.Group):
    """Imports ``envcheck.cli.NAME`` for the command NAME."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = f"envcheck.cli.{cmd_name}"
        __import__(name)
        command: click.Command = sys.modules[name].command()
        return with_help(command)


def with_help(command: click.Command) -> click.Command:
    """The command with ``--help`` written as all else is; click's own can't tell of a full disk."""

    def show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            from envcheck.cli.output import write

            write(context.get_help() + "\n")
            context.exit()

    command.add_help_option = False
    command.params.append(
        click.Option(
            ["--help", "-h"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=show,
            help="Show this message and exit.",
        )
    )
    return command


def _callback(**values: Any) -> int | None:
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        return check.run(values)
    _pass_on(context, context.invoked_subcommand)
    return None


def _pass_on(context: click.Context, name: str) -> None:
    """Options before a command count for the command: ``envcheck --format json diff A B``."""
    assert isinstance(context.command, click.Group)
    command = context.command.get_command(context, name)
    taken = {parameter.name for parameter in command.params} if command is not None else set()
    given: dict[str, Any] = {}
    for option in CHECK:
        source = context.get_parameter_source(option.name)
        if source is click.core.ParameterSource.COMMANDLINE:
            if option.name not in taken:
                raise click.UsageError(f"{option.flag} is no option of '{name}'", context)
            given[option.name] = context.params[option.name]
    context.default_map = {name: given}


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from envcheck._version import __version__
        from envcheck.cli.output import write

        write(f"envcheck {__version__}\n")
        context.exit()


main = Group(
    "envcheck",
    help=HELP,
    callback=_callback,
    invoke_without_command=True,
    params=[
        *(option.click() for option in CHECK),
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
        ),
    ],
    context_settings={"max_content_width": 100},
)
with_help(main)
"""click's command; call :func:`envcheck.__main__.main` for exit codes and errors as documented."""


def run(arguments: Sequence[str]) -> int:
    """Run with click. Raises what :mod:`envcheck.cli.errors` turns into a sentence."""
    import os

    if "_ENVCHECK_COMPLETE" in os.environ:
        main.main(list(arguments), prog_name="envcheck")
    try:
        # Not through main.main(), which writes to stderr when it is interrupted.
        with main.make_context("envcheck", list(arguments)) as context:
            result = main.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else 0
