"""Which of a message's causes are possible: conditions on facts, and on the values that the message states.

A condition is a need (``sm>=8.0``, ``torch<2.1``, ``windows``, ``gpu``; see :mod:`envcheck.needs`), the same after
``no`` (``no gpu``), or a comparison of two captured values, or of one with a version: ``{found} < {needed}``,
``{found} >= 9``; ``{name}`` alone: it was captured. A word before captured values is looked up in the facts:
``other {lib}``, ``no-wheel-for python {name} {spec}``, ``build torch cpu`` (see :mod:`envcheck.diagnosis.lookups`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from envcheck.versions import compare_numbers

if TYPE_CHECKING:
    from envcheck.facts import Facts
    from envcheck.needs import Need

LOOKUPS = {
    "other": "another_number",
    "no-wheel-for": "no_wheel_for",
    "no-release": "no_release",
    "wheel-refused": "wheel_refused",
    "newer-glibc": "newer_glibc",
    "build": "is_build",
    "old-glibc-hides": "old_glibc_hides",
    "wsl": "under_wsl",
}
"""First words of conditions that look something up, and the functions of :mod:`envcheck.diagnosis.lookups`."""
_COMPARISON = re.compile(r"\s*(\{\w+\}|[\w.]+)\s*(<=|>=|==|!=|<|>)\s*(\{\w+\}|[\w.+-]+)\s*")


def holds(condition: str, facts: Facts, values: Mapping[str, str]) -> bool | None:
    """Whether it holds; None when what it is about is not known. Raises ValueError for what is no condition."""
    word, _, rest = condition.partition(" ")
    if word in LOOKUPS:
        from envcheck.diagnosis import lookups

        given = [re.sub(r"\{(\w+)\}", lambda group: values.get(group[1]) or "", part) for part in rest.split(" ")]
        return bool(getattr(lookups, LOOKUPS[word])(facts, *given))
    if "{" in condition:
        return _compared(condition, values)
    from envcheck.needs import MET, UNKNOWN, answer

    said = answer(_need(condition.removeprefix("no ")), facts)
    if said.status == UNKNOWN:
        return None
    return (said.status == MET) != condition.startswith("no ")


@lru_cache(maxsize=1024)
def _need(text: str) -> Need:
    from envcheck.needs import NeedError, parse

    try:
        return parse(text)
    except NeedError as error:
        raise ValueError(str(error)) from None


def _compared(condition: str, values: Mapping[str, str]) -> bool | None:
    found = _COMPARISON.fullmatch(condition)
    if found is None:
        # {name} alone: it was captured.
        name = condition.strip()
        if re.fullmatch(r"\{\w+\}", name):
            return bool(values.get(name[1:-1]))
        raise ValueError(f"{condition!r} is no condition")
    left, operator, right = found.groups()
    one, other = _value(left, values), _value(right, values)
    if one is None or other is None:
        return None
    if not one[:1].isdigit() or not other[:1].isdigit():
        return {"==": one == other, "!=": one != other}.get(operator)
    order = compare_numbers(one, other)
    return {
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
        "==": order == 0,
        "!=": order != 0,
    }[operator]


def _value(text: str, values: Mapping[str, str]) -> str | None:
    return values.get(text[1:-1]) if text.startswith("{") else text
