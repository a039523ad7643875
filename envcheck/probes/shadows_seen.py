"""What of the names before the installed modules really hides one: looked at only where there is such a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envcheck.core.snapshot import Absent, Package, Shadow, Unknown, known
from envcheck.probes.host import Host
from envcheck.probes.shadows import MODULES

COMPILED = (".so", ".pyd")
PARTS = ("_core", "core", "capi", "_C", "_libs", "lib", "python", "linalg", "_lib", "base")
"""Folders of frameworks in which their compiled modules lie."""


def seen(host: Host, answer: dict[str, Any], installed: list[Package]) -> list[Shadow]:
    """What is taken in the place of something installed, by the answer to ``earlier-modules``."""
    found: dict[str, Shadow] = {}
    for row in answer.get("rows", ()):
        for name in row["names"]:
            if (shadow := _hidden(host, row, name, installed)) is not None:
                found.setdefault(shadow.name, shadow)
    return [*found.values(), *_copies(host, answer, installed)]


def _hidden(host: Host, row: dict[str, Any], entry: str, installed: list[Package]) -> Shadow | None:
    """What an entry hides; None where it is no module, or where nothing of that name comes later."""
    path = f"{row['folder']}/{entry}"
    name = entry.partition(".")[0]
    if entry == name and not host.exists(f"{path}/__init__.py"):
        return None  # a folder of another kind: a regular package is taken, wherever it stands
    shadow = Shadow(name=name, path=path, via=row["via"], compiled=_compiled(host, path, entry))
    if name not in MODULES:
        shadow.hides = shadow.package = Absent("of the standard library")
        return shadow
    for site in row["then"]:
        for later in (f"{site}/{name}", f"{site}/{name}.py"):
            there = later if later.endswith(".py") else f"{later}/__init__.py"
            if not host.exists(there):
                continue
            if host.realpath(later) == host.realpath(path):
                return None
            shadow.hides = later
            if shadow.compiled is False and "." not in entry and not _compiled(host, later, name):
                shadow.compiled = Absent("nor has the one that is meant")
            owner = _owner(name, site, installed)
            shadow.package = owner.name if owner else Unknown("no list of files was read")
            shadow.hidden_version = owner.version if owner else Unknown("no list of files was read")
            return shadow
    return None


def _owner(name: str, site: str, installed: list[Package]) -> Package | None:
    start = MODULES[name]
    mine = [one for one in installed if known(one.location) == site and one.name.startswith(start)]
    return min(mine, key=lambda one: len(one.name), default=None)


def _compiled(host: Host, path: str, entry: str) -> bool:
    """Whether it holds compiled modules, as a whole build of a framework does, and its sources do not."""
    if "." in entry:
        return entry.endswith(COMPILED)
    for folder in (path, *(f"{path}/{part}" for part in PARTS)):
        try:
            if any(name.endswith(COMPILED) for name in host.listdir(folder)):
                return True
        except OSError:
            continue
    return False


def _copies(host: Host, answer: dict[str, Any], installed: list[Package]) -> Iterator[Shadow]:
    """Distributions of another version than the environment's own, which they stand before."""
    first: dict[str, Package] = {}
    kinds = {host.realpath(folder): "PYTHONPATH" for folder in answer.get("named", ())}
    if answer.get("user"):
        kinds[host.realpath(answer["user"])] = "the user's site folder"
    starts = tuple(MODULES.values())
    for package in installed:
        if not package.name.startswith(starts):
            continue
        mine = first.setdefault(package.name, package)
        here, there = known(mine.location), known(package.location)
        via = kinds.get(host.realpath(here or ""))
        if mine is package or here == there or via is None or None in (known(mine.version), known(package.version)):
            continue
        if mine.version != package.version:
            yield Shadow(
                name=package.name,
                path=here or "",
                via=via,
                hides=package.location,
                package=package.name,
                version=mine.version,
                hidden_version=package.version,
            )
