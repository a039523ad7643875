"""Reads plain argument lists without importing click.

click takes 8 to 10 ms to import, as long as a bare interpreter takes to start. Well-formed arguments of a check are
read here, from the same definitions; help, completion, other commands and everything unusual or wrong is left to click.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envcheck.cli.options import CHECK, Option


def parse(
    arguments: Sequence[str], options: Sequence[Option] = CHECK, words: list[str] | None = None
) -> dict[str, Any] | None:
    """The values of the options as click would give them; None when click must look.

    ``words`` takes what stands between the options, where there may be such.
    """
    flags = {option.flag: option for option in options} | {option.short: option for option in options if option.short}
    values: dict[str, Any] = {option.name: option.unset for option in options}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, text = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        option = flags.get(flag)
        if option is None:
            if words is None or argument.startswith("-"):
                return None
            words.append(argument)
            continue
        if option.kind == "switch":
            if equals:
                return None
            values[option.name] = True
            continue
        if not equals:
            text = next(rest, "")
            if not text or (text.startswith("-") and text != "-"):
                return None
        value = _value(option, text)
        if value is None:
            return None
        values[option.name] = (*values[option.name], value) if option.kind == "list" else value
    return values


def _value(option: Option, text: str) -> str | float | None:
    """A value of the option's type; None when it is not one."""
    if option.kind == "choice":
        return text if text in option.choices else None
    if option.kind == "seconds":
        try:
            return float(text)
        except ValueError:
            return None
    return text
