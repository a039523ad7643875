"""How versions that stand in tables are read, ordered and compared; PEP 440 proper is in `envcheck.versions`."""

from __future__ import annotations

from typing import Any

from envcheck.versions import canonical, numbers, version_key
from envcheck.versions import public as without_label

Release = tuple[int, ...]

canonical_package = canonical


def public(version: str) -> str:
    """Return the version as the tables write it: no blanks, no leading ``v``, no local label.

    >>> public(" v2.5.1+cu124")
    '2.5.1'
    """
    text = without_label(version).lower()
    return text[1:] if text[:1] == "v" and text[1:2].isdigit() else text


def release(version: str) -> Release | None:
    """Return the release numbers without trailing zeros, or None when `version` does not start with a number.

    >>> release("12.4.0"), release("470.82.01"), release("R615")
    ((12, 4), (470, 82, 1), None)
    """
    found = list(numbers(version))
    while len(found) > 1 and found[-1] == 0:
        found.pop()
    return tuple(found) or None


def sort_key(version: str) -> tuple[int, Any, str]:
    """Return a key that sorts versions as PEP 440 does, and texts that are no version before them.

    Two spellings of one number (``2.0``, ``2.0.0``) differ only in the last part, so that sorting is total.
    """
    text = public(version)
    try:
        return (1, version_key(text), text)
    except ValueError:
        return (0, (), text)


def within(version: str, specifier: str) -> bool | None:
    """Say whether the release numbers of `version` fit `specifier`, e.g. ``>=10.0,<=13.5``.

    For the `covers` of a table: a bound speaks of all that begins with it, so ``<=13.5`` includes 13.5.2. Returns
    None when one of the two cannot be read.
    """
    mine = numbers(version)
    if not mine:
        return None
    for part in specifier.split(","):
        part = part.strip()
        sign = part[:2] if part[:2] in (">=", "<=", "==", "!=") else part[:1]
        bound = numbers(part[len(sign) :])
        if sign not in (">=", "<=", "==", "!=", "<", ">") or not bound:
            return None
        full = (*mine, *(0,) * len(bound))[: len(bound)]
        holds = {
            ">=": full >= bound,
            "<=": full <= bound,
            "==": full == bound,
            "!=": full != bound,
            "<": full < bound,
            ">": full > bound,
        }[sign]
        if not holds:
            return False
    return True
