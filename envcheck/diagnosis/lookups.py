"""Conditions that look what a message names up: libraries in the facts, wheels in the tables.

Each is true only where that is known; what is not known is no reason to name a cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.versions import canonical, numbers, satisfies, satisfies_prefix

if TYPE_CHECKING:
    from envcheck.facts import Facts


def under_wsl(facts: Facts, _: str = "") -> bool:
    """Tell whether this is Linux under Windows (WSL)."""
    return known(facts.snapshot.machine.wsl) is True


def another_number(facts: Facts, file: str) -> bool:
    """Tell whether the library ``file`` is there under another number: another major release of it."""
    from envcheck.facts.libraries import names_of, parse_name

    wanted = parse_name(file)
    found = facts.get("libraries")
    if wanted is None:
        return False
    libraries = None if isinstance(found, (Absent, Unknown)) else found
    same = libraries.find(wanted.family) if libraries else []
    if wanted.family in ("cudnn", "nvinfer"):
        there = {item.name.number for item in same} - {None}
        if wanted.family == "cudnn":
            there |= _first(known(facts.snapshot.stack.cudnn))
        else:
            there |= _first(_version(facts, "tensorrt"))
        number = wanted.number or _cudnn_of_part(wanted.stem)
        return bool(there) and number is not None and number not in there
    toolkit = facts.get("toolkit")
    there = set(libraries.cuda_majors()) if libraries else set()
    if not isinstance(toolkit, (Absent, Unknown)):
        there |= _first(known(toolkit.version))
    majors = names_of(facts.matrix).cuda_of(wanted)
    if not majors:
        return any(item.name.number not in (None, wanted.number) for item in same) and wanted.number is not None
    return bool(there) and not there & majors


def _cudnn_of_part(stem: str) -> int | None:
    """cuDNN 8 alone has libraries whose names end in ``_infer`` and ``_train``."""
    return 8 if stem.endswith(("_infer", "_train")) else None


def _first(version: str | None) -> set[int]:
    found = numbers(version or "")
    return {int(found[0])} if found else set()


def _version(facts: Facts, package: str) -> str | None:
    packages = facts.get("packages")
    return None if isinstance(packages, (Absent, Unknown)) else packages.version(package)


def no_wheel_for(facts: Facts, what: str, name: str, spec: str = "") -> bool:
    """Tell whether the index has no build of the asked releases for this ``python``, or none for this ``platform``."""
    from envcheck.facts.wheels import COLUMNS, is_pure, offers_platform, offers_python

    rows = [row for row in facts.matrix.rows("wheels", package=canonical(name)) if _meets(row["version"], spec)]
    python = known(facts.snapshot.stack.python.version)
    columns = facts.get("wheel_platforms")
    if isinstance(columns, (Absent, Unknown)):
        columns = tuple(COLUMNS.values())
    fitting = [
        row for row in rows if is_pure(row) or row["sdist"] or any(offers_platform(row, column) for column in columns)
    ]
    if what == "platform":
        return bool(rows) and not fitting
    if python is None or len(numbers(python)) < 2:
        return False
    return bool(fitting) and not any(
        _accepts(row["requires_python"], python)
        and (row["sdist"] or offers_python(row, python, known(facts.snapshot.stack.python.abi)))
        for row in fitting
    )


def _meets(version: str, spec: str) -> bool:
    wanted = spec.partition("+")[0].partition(";")[0]
    try:
        return not wanted or satisfies(version, wanted)
    except ValueError:
        return False


def _accepts(requires_python: str | None, python: str) -> bool:
    try:
        return not requires_python or satisfies_prefix(python, requires_python) is not False
    except ValueError:
        return True


def is_build(facts: Facts, package: str, variant: str) -> bool:
    """Tell whether the installed build of a framework is certainly of this variant: ``cpu``, ``cuda`` or ``rocm``."""

    builds = facts.get("cuda_builds")
    if isinstance(builds, (Absent, Unknown)):
        return False
    return any(one.package == package and one.variant == variant for one in builds)


def wheel_refused(facts: Facts, what: str, python: str, abi: str, platform: str) -> bool:
    """Tell whether a wheel with these tags is refused for its ``python``, its ``platform`` or the ``glibc`` it needs.

    ``python-fits`` and ``platform-fits`` tell that it is certainly not for that.
    """
    system = {"manyli": "Linux", "linux_": "Linux", "muslli": "Linux", "win_am": "Windows", "win32": "Windows"}
    system |= {"win_ar": "Windows", "macosx": "Darwin"}
    names = platform.split(".")
    if what.startswith("python"):
        fits = _python_fits(known(facts.snapshot.stack.python.version), python, abi)
        return fits is (what == "python-fits")
    machine = facts.snapshot.machine
    fitting = [
        name
        for name in names
        if name == "any"
        or (
            system.get(name[:6]) in (known(machine.system), None)
            and (known(machine.arch) is None or _arch_fits(name, known(machine.arch) or ""))
        )
    ]
    if what == "glibc":
        needed = [number for name in fitting if (number := _glibc_of_tag(name)) is not None]

        mine = facts.get("glibc")
        return bool(needed) and isinstance(mine, str) and numbers(mine)[:2] < (2, min(needed))
    if what == "platform-fits":
        return bool(fitting) and known(machine.system) is not None and known(machine.arch) is not None
    return not fitting


def _glibc_of_tag(name: str) -> int | None:
    """The minor number of the glibc 2 that a platform tag asks for."""
    old = {"manylinux1_": 5, "manylinux2010_": 12, "manylinux2014_": 17}
    minor = name.removeprefix("manylinux_2_").partition("_")[0]
    if name.startswith("manylinux_2_") and minor.isdigit():
        return int(minor)
    return next((number for start, number in old.items() if name.startswith(start)), None)


def _python_fits(version: str | None, tags: str, abi: str) -> bool | None:
    mine = numbers(version or "")[:2]
    if len(mine) < 2:
        return None
    for tag in tags.split("."):
        digits = tag.lstrip("cpy")
        wanted = (int(digits[0]), int(digits[1:] or 0)) if digits.isdigit() else None
        if wanted is None:
            continue
        if tag.startswith("py") and (len(digits) == 1 or mine >= wanted) and mine[0] == wanted[0]:
            return True
        if mine == wanted or (abi == "abi3" and mine >= wanted):
            return True
    return False


def _arch_fits(platform: str, arch: str) -> bool:
    others = {"x86_64": ("x86_64", "amd64", "universal2", "intel"), "aarch64": ("aarch64", "arm64", "universal2")}
    return any(platform.endswith(name) for name in others.get(arch, (arch,)))


def newer_glibc(facts: Facts, mine: str, offered: str) -> bool:
    """Tell whether a list of platform tags has this machine's own, but for a newer glibc: an answer of uv's."""
    head, _, tail = mine.removeprefix("manylinux_").partition("_")
    minor, _, arch = tail.partition("_")
    if not mine.startswith("manylinux_") or not minor.isdigit():
        return False
    tags = [tag.strip("` \n") for tag in offered.replace("\n", " ").split(",")]
    same = [tag for tag in tags if tag.startswith(f"manylinux_{head}_") and tag.endswith("_" + arch)]
    return bool(same) and all(int(tag.split("_")[2]) > int(minor) for tag in same)


def no_release(facts: Facts, name: str, spec: str = "") -> bool:
    """Tell whether the tables know the package and no release of it that meets the specifier."""

    rows = facts.matrix.rows("wheels", package=canonical(name))
    newest = max((numbers(row["version"]) for row in rows), default=())
    wanted = numbers(spec.lstrip("=<>!~ "))
    return (
        bool(rows) and spec.startswith("==") and wanted < newest and not any(_meets(r["version"], spec) for r in rows)
    )


def old_glibc_hides(facts: Facts, spec: str, listed: str) -> bool:
    """Tell whether a release newer than all in pip's list was asked for, on a glibc below 2.28."""

    glibc = facts.get("glibc")
    wanted = numbers(spec.lstrip("=<>!~ "))
    offered = [numbers(part) for part in listed.split(",")]
    newer = spec.startswith(("==", ">=", "~=")) and bool(wanted) and wanted > max(offered, default=())
    return newer and isinstance(glibc, str) and numbers(glibc)[:2] < (2, 28)
