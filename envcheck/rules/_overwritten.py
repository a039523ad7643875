"""Files that several packages own: whose content is on disk, file by file; and files that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Absent, FileClash, known
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.core.snapshot import Package
    from envcheck.facts.basics import Packages

ELSEWHERE = ("onnxruntime/", "nvidia/", "pynvml")
"""Beginnings of files of which another rule, or another part of this one, speaks."""
NAMED = 3
"""Files that one sentence names."""


def between(clashes: Iterable[FileClash], packages: Iterable[str]) -> list[FileClash]:
    """Those that only these packages own."""
    wanted = set(packages)
    return [clash for clash in clashes if {canonical(owner) for owner in clash.owners} <= wanted]


def kept_by(clashes: Iterable[FileClash]) -> dict[str, list[str]]:
    """Owner -> its files that are on disk. Where nobody's file is there, the owner is called ``""``."""
    found: dict[str, list[str]] = {}
    for clash in clashes:
        owner = known(clash.kept)
        if owner is not None:
            found.setdefault(canonical(owner), []).append(clash.path)
        elif isinstance(clash.kept, Absent):
            found.setdefault("", []).append(clash.path)
    return found


def whose_files(clashes: Sequence[FileClash], packages: Iterable[str]) -> list[Evidence]:
    """One sentence for each owner whose files are there."""
    shared = between(clashes, packages)
    if not shared:
        return []
    kept = kept_by(shared)
    if not kept:
        owners = "two owners" if len(shared[0].owners) == 2 else f"{len(shared[0].owners)} owners"
        return [Evidence(f"{listed([clash.path for clash in shared])} with {owners}", "RECORD of the packages")]
    return [
        Evidence(
            f"the content of {owner}: {listed(paths)}"
            if owner
            else f"of no owner, gone or changed since: {listed(paths)}",
            "sizes and hashes of the files, RECORD of the packages",
        )
        for owner, paths in kept.items()
    ]


def owners_there(clashes: Sequence[FileClash], packages: Iterable[str]) -> list[str]:
    """The owners of what is on disk; several: a mixture."""
    return [owner for owner in kept_by(between(clashes, packages)) if owner]


def outcome(clashes: Sequence[FileClash], packages: Iterable[str]) -> str:
    """What became of the files that these packages share, as the end of a sentence."""
    owners = owners_there(clashes, packages)
    if len(owners) > 1:
        return f"what is on disk is a mixture of {', '.join(owners[:-1])} and {owners[-1]}"
    if owners:
        return f"what is on disk is that of {owners[0]}"
    return "the one installed last has overwritten the other"


def listed(paths: Sequence[str]) -> str:
    """``2 files (a, b)``."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''} ({', '.join(paths[:NAMED])}{more})"


def overwritten(packages: Packages, clashes: Sequence[FileClash]) -> Iterator[Finding]:
    """Packages of one module whose files are a mixture, and packages that lost their files."""
    groups: dict[tuple[str, ...], list[FileClash]] = {}
    for clash in clashes:
        if not clash.path.startswith(ELSEWHERE):
            groups.setdefault(tuple(canonical(owner) for owner in clash.owners), []).append(clash)
    for owners, shared in groups.items():
        yield _shared(packages, owners, shared)
    lost = [package for package in packages if known(package.missing)]
    if lost:
        yield _lost(lost)
    for package in packages:
        if doubles := known(package.doubles):
            yield _double(package, doubles)


def _shared(packages: Packages, owners: tuple[str, ...], shared: list[FileClash]) -> Finding:
    labels = [_label(name, packages.version(name)) for name in owners]
    there = owners_there(shared, owners)
    keep = there[0] if len(there) == 1 else owners[0]
    version = packages.version(keep)
    # One of them whole on disk works: which one is then a matter of taste (with windows or without, in OpenCV).
    broken = len(there) > 1 or any(isinstance(clash.kept, Absent) for clash in shared)
    module = shared[0].path.partition("/")[0]
    return Finding(
        severity="warning" if broken else "info",
        confidence="high" if there else "medium",
        subject=" and ".join(labels),
        message=f"{', '.join(labels[:-1])} and {labels[-1]} install the same module {module}; "
        f"{outcome(shared, owners)}.",
        evidence=whose_files(shared, owners),
        fixes=[
            Fix(
                command=f"pip uninstall -y {' '.join(owners)} && pip install {_pin(keep, version)}",
                note="keep only one of them",
                safety="review",
                verify=f'python -c "import {module}"',
            )
        ],
    )


def _double(package: Package, doubles: list[str]) -> Finding:
    """Two lists of one package: a mixture of releases, or versions that are told wrongly."""
    label = _label(package.name, known(package.version))
    by_conda = all(double.endswith("conda-meta") for double in doubles)
    message = f"{label} is installed, and another version of it is still listed: {', '.join(doubles)}; "
    if by_conda:
        message += "pip put its own in the place of conda's, and the next change by conda mixes the two."
        fix = Fix(
            command=f"pip uninstall -y {package.name} && conda install --force-reinstall {package.name}",
            note="so that one of the two owns it; packages of conda were built for the version that conda lists",
            safety="review",
        )
    else:
        message += "what asks for its version may be told the wrong one."
        fix = Fix(
            command=f"pip install --force-reinstall --no-deps {_pin(package.name, known(package.version))}",
            note=f"and remove the *.dist-info folder that is not of {known(package.version)}",
            safety="review",
            verify=f"pip show {package.name}",
        )
    return Finding(
        severity="info" if by_conda else "warning",
        confidence="high",
        subject=f"{label}, listed twice",
        message=message,
        evidence=[
            Evidence(f"the files of {label} are there", known(package.location) or "the site folder"),
            *(Evidence(double, "metadata of installed packages") for double in doubles),
        ],
        fixes=[fix],
    )


def _lost(packages: list[Package]) -> Finding:
    """One finding for all of them: a cleaned cache takes every package away."""
    labels = [_label(package.name, known(package.version)) for package in packages]
    package, lost = packages[0], known(packages[0].missing) or []
    module = next((path.partition("/")[0] for path in lost if path.endswith("/__init__.py")), lost[0].partition("/")[0])
    pins = " ".join(_pin(one.name, known(one.version)) for one in packages)
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    whose = "its files are" if len(packages) == 1 else "their files are"
    return Finding(
        severity="error",
        confidence="high",
        subject=labels[0] + (f" and {len(labels) - 1} more" if len(labels) > 1 else ""),
        message=f"{', '.join(labels[:NAMED])}{more} {'is' if len(labels) == 1 else 'are'} installed, but {whose} gone, "
        "as when another package with the same files was uninstalled, or a cache that they are links to was cleaned.",
        evidence=[
            Evidence(
                f"not there: {', '.join(lost[:NAMED])}{' and others' if len(lost) > NAMED else ''}",
                f"RECORD of {labels[0]} in {known(package.location) or 'the site folder'}",
            )
        ],
        fixes=[
            Fix(
                command=f"pip install --force-reinstall --no-deps {pins}",
                note="brings the files back",
                safety="safe",
                verify=f'python -c "import {module.removesuffix(".py")}"',
            )
        ],
    )


def _label(name: str, version: str | None) -> str:
    return f"{name} {version}" if version else name


def _pin(name: str, version: str | None) -> str:
    return f'"{name}=={version}"' if version else name
