"""Facts of a message in a snapshot: they fill what is not known; what was found there stays."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from envcheck.core.snapshot import Absent, Assumption, Snapshot, Unknown
from envcheck.versions import canonical


def merged(base: Snapshot, stated: Snapshot, by: str) -> Snapshot:
    """A new snapshot; ``assumed`` names each fact that was taken from ``stated``."""
    import copy

    result = copy.deepcopy(base)
    taken: list[Assumption] = []
    for part in ("machine", "stack"):
        _fill(getattr(result, part), getattr(stated, part), part, by, taken)
    result.assumed = [*result.assumed, *taken]
    result.probes = [*result.probes, *stated.probes]
    return result


def _fill(mine: Struct, theirs: Struct, path: str, by: str, taken: list[Assumption]) -> None:
    for name in mine.__struct_fields__:
        have, new = getattr(mine, name), getattr(theirs, name)
        place = f"{path}.{name}"
        if isinstance(have, Struct) and not isinstance(have, (Absent, Unknown)):
            if isinstance(new, Struct) and not isinstance(new, (Absent, Unknown)):
                _fill(have, new, place, by, taken)
        elif isinstance(new, (Absent, Unknown)) or new in ([], {}, ""):
            continue
        elif isinstance(have, Unknown):
            setattr(mine, name, new)
            taken.append(Assumption(fact=place, value=_shown(new), by=by))
        elif isinstance(have, list) and isinstance(new, list):
            _extend(have, new, place, by, taken)


def _extend(have: list[Any], new: list[Any], place: str, by: str, taken: list[Assumption]) -> None:
    if place == "stack.packages":
        there = {canonical(package.name): package for package in have}
        for package in new:
            mine = there.get(canonical(package.name))
            if mine is None:
                have.append(package)
                taken.append(Assumption(fact=f"package {package.name}", value=_shown(package.version), by=by))
            else:
                _fill(mine, package, f"package {package.name}", by, taken)
    elif place == "machine.gpus":
        if not have:
            have.extend(new)
        elif len(new) == 1 and len(have) == 1:
            _fill(have[0], new[0], "gpu", by, taken)
    elif all(isinstance(item, str) for item in new):
        for item in new:
            if item not in have:
                have.append(item)
                taken.append(Assumption(fact=place, value=item, by=by))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)[:200]
    name = getattr(value, "name", None)
    return str(name if isinstance(name, str) else value)[:200]
