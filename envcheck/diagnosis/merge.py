"""Facts of a message in a snapshot: they fill what is not known; what was found there stays."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct

from envcheck.core.snapshot import Absent, Assumption, Snapshot, Unknown
from envcheck.versions import canonical

_Part = TypeVar("_Part", bound=Struct)


def merged(base: Snapshot, stated: Snapshot, by: str) -> Snapshot:
    """A new snapshot; ``assumed`` names each fact that was taken from ``stated``. Unchanged parts are shared."""
    from msgspec.structs import replace

    taken: list[Assumption] = []
    return replace(
        base,
        machine=_filled(base.machine, stated.machine, "machine", by, taken),
        stack=_filled(base.stack, stated.stack, "stack", by, taken),
        probes=[*base.probes, *stated.probes],
        assumed=[*base.assumed, *taken],
    )


def _filled(mine: _Part, theirs: Struct, path: str, by: str, taken: list[Assumption]) -> _Part:
    """``mine``, or a copy of it in which what was not known is filled."""
    from msgspec.structs import replace

    changed: dict[str, Any] = {}
    for name in mine.__struct_fields__:
        new = getattr(theirs, name)
        if isinstance(new, (Absent, Unknown)) or new in ([], {}, ""):
            continue
        have = getattr(mine, name)
        place = f"{path}.{name}"
        if isinstance(have, Unknown):
            changed[name] = new
            taken.append(Assumption(fact=place, value=_shown(new), by=by))
        elif isinstance(have, list) and isinstance(new, list):
            changed[name] = _extended(have, new, place, by, taken)
        elif isinstance(have, Struct) and not isinstance(have, Absent) and isinstance(new, Struct):
            changed[name] = _filled(have, new, place, by, taken)
    changed = {name: value for name, value in changed.items() if value is not getattr(mine, name)}
    return replace(mine, **changed) if changed else mine


def _extended(have: list[Any], new: list[Any], place: str, by: str, taken: list[Assumption]) -> list[Any]:
    found = list(have)
    if place == "stack.packages":
        there = {canonical(package.name): index for index, package in enumerate(have)}
        for package in new:
            index = there.get(canonical(package.name))
            if index is None:
                found.append(package)
                taken.append(Assumption(fact=f"package {package.name}", value=_shown(package.version), by=by))
            else:
                found[index] = _filled(found[index], package, f"package {package.name}", by, taken)
    elif place == "machine.gpus":
        if not have:
            found.extend(new)
        elif len(new) == 1 and len(have) == 1:
            found[0] = _filled(have[0], new[0], "gpu", by, taken)
    elif all(isinstance(item, str) for item in new):
        for item in new:
            if item not in found:
                found.append(item)
                taken.append(Assumption(fact=place, value=item, by=by))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)[:200]
    name = getattr(value, "name", None)
    return str(name if isinstance(name, str) else value)[:200]
