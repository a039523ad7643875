"""The stack that pip would leave on a machine after it installed a wheel there."""

from __future__ import annotations

from msgspec.structs import replace

from envcheck.core.snapshot import (
    Absent,
    Binary,
    Build,
    CodeSet,
    Library,
    LibraryNeed,
    Package,
    Snapshot,
    Stack,
    Unknown,
    known,
)
from envcheck.inspection.model import Inspection
from envcheck.inspection.reading import extends_torch
from envcheck.inspection.wheel import WheelFile, WheelHost
from envcheck.requirements import Requirement, marker_environment, marker_holds, parse
from envcheck.versions import canonical, local_label, public, satisfies_prefix

MAX_PACKAGES = 500
REQUIRED = "what the wheel requires"
"""The "location" of a package that pip would install with the wheel."""


def stack_of(found: Inspection, wheel: WheelFile, place: Snapshot) -> Stack:
    """``place``: of its stack the Python, the C library, the variables and the system's libraries stay."""
    assert found.distribution is not None
    there = place.stack
    name = found.distribution.name
    packages = _packages(found, place)
    # What is known of an installed release says nothing of the one that pip would put in its place.
    kept = {canonical(package.name) for package in packages if known(package.location) != REQUIRED} - {name}
    return replace(
        there,
        packages=packages,
        clashes=Absent("a wheel that is not installed yet"),
        builds=[*_builds(found, wheel, packages[0]), *(one for one in there.builds if canonical(one.package) in kept)],
        binaries=[*_binaries(found), *(one for one in there.binaries if canonical(one.package) in kept)],
        libraries=_libraries(found, there.libraries, kept),
        missing_libraries=[],
        imports=[],
    )


def stack_of_library(found: Inspection, place: Snapshot) -> Stack:
    """For one file that is looked at by itself: only the torch that it stands on is of interest among the packages."""
    there = place.stack
    kept = {"torch"} if any(map(extends_torch, found.libraries)) else set()
    # What torch itself requires is no question of this file.
    packages = [replace(one, requires=[]) for one in known(there.packages) or () if canonical(one.name) in kept]
    return replace(
        there,
        packages=packages,
        clashes=Absent("one file is looked at"),
        builds=[one for one in there.builds if canonical(one.package) in kept],
        binaries=[],
        missing_libraries=[],
        imports=[],
    )


def missing(found: Inspection) -> dict[str, bool]:
    """What is not on the machine -> whether all extension modules need it; else only a part of the package fails."""
    return needed(found, "missing")


def needed(found: Inspection, where: str) -> dict[str, bool]:
    """Names of needs of that kind -> whether all extension modules need them, themselves or by a file of the wheel."""
    by_path = {library.path: library for library in found.libraries}
    modules = [library for library in found.libraries if library.python_abi] or found.libraries
    counts: dict[str, int] = {}
    for module in modules:
        seen, queue = {module.path}, [module]
        names: set[str] = set()
        for library in queue:
            names |= {need.name for need in library.needs if need.where == where}
            for need in library.needs:
                if need.where == "wheel" and need.path not in seen and need.path in by_path:
                    seen.add(need.path)
                    queue.append(by_path[need.path])
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    every = {need.name for library in found.libraries for need in library.needs if need.where == where}
    return {name: counts.get(name) == len(modules) for name in sorted(every)}


def _packages(found: Inspection, place: Snapshot) -> list[Package]:
    """The wheel first; then what it requires, as far as it is installed already or pinned exactly."""
    distribution, there = found.distribution, place.stack
    assert distribution is not None
    # "Installed": the files are here to be asked, so the index is not.
    package = Package(
        name=distribution.name, version=distribution.version, location="the wheel", requires=list(distribution.requires)
    )
    if label := local_label(distribution.version):
        package.local = label
    installed = {canonical(one.name): one for one in known(there.packages) or ()}
    environment = marker_environment(
        known(there.python.version), known(place.machine.system), known(place.machine.arch)
    )
    result = {distribution.name: package}
    queue = list(distribution.requires)
    for line in queue:
        try:
            wanted = parse(line)
            if wanted.marker is not None and marker_holds(wanted.marker, environment) is False:
                continue
        except ValueError:
            continue
        if wanted.name in result or len(result) > MAX_PACKAGES:
            continue
        other = installed.get(wanted.name)
        version = known(other.version) if other else None
        if other is not None and version and _accepts(version, wanted.specifier):
            result[wanted.name] = other
            queue += known(other.requires) or []
        elif pin := _pin(wanted):
            result[wanted.name] = Package(name=wanted.name, version=pin, location=REQUIRED)
    if "torch" in installed and any(map(extends_torch, found.libraries)):
        result.setdefault("torch", installed["torch"])  # many extensions do not say that they need it
    package.requires = [line for line in distribution.requires if _name(line) in result]
    return list(result.values())


def _name(line: str) -> str:
    try:
        return parse(line).name
    except ValueError:
        return ""


def _accepts(version: str, specifier: str) -> bool:
    try:
        return not specifier or satisfies_prefix(public(version), specifier) is not False
    except ValueError:
        return False


def _pin(wanted: Requirement) -> str:
    """``==12.1.105`` -> ``12.1.105``; empty for anything looser."""
    clause = wanted.specifier.strip()
    if not clause.startswith("==") or "," in clause or clause.endswith(".*"):
        return ""
    return clause.lstrip("= ")


def _builds(found: Inspection, wheel: WheelFile, package: Package) -> list[Build]:
    """What a known framework's own files say of its build, with the GPU targets of its libraries."""
    from envcheck.probes.builds import probe
    from envcheck.probes.log import Log

    builds = probe(WheelHost(wheel), Log(), [replace(package, location=WheelHost.ROOT)])
    for build in builds:
        coded = [library for library in found.libraries if library.cuda is not None]
        own = [library for library in coded if library.path == build.source] or coded
        sets = [one for library in own if library.cuda for one in library.cuda.sets]
        if sets:
            targets = dict.fromkeys(target for one in sets for target in one.targets)
            build.sass = _numbers(targets, "sm_")
            build.ptx = _numbers(targets, "compute_")
        elif isinstance(build.sass, Unknown):
            amd = dict.fromkeys(
                target.partition(":")[0] for library in found.libraries for target in library.amd_targets
            )
            build.sass = list(amd) or build.sass
        build.source = f"{build.source} in the wheel"
    return builds


def _numbers(targets: dict[str, None], prefix: str) -> list[str]:
    """``sm_90a`` -> ``9.0a``."""
    found: dict[str, None] = {}
    for target in targets:
        if target.startswith(prefix):
            digits = target[len(prefix) :].partition(" ")[0]
            suffix = digits[-1] if digits[-1:] in ("a", "f") else ""
            digits = digits.removesuffix(suffix)
            found[f"{digits[:-1]}.{digits[-1:]}{suffix}"] = None
    return list(found)


def _binaries(found: Inspection) -> list[Binary]:
    """The files that matter: those with GPU code, and those with the highest symbol versions."""
    assert found.distribution is not None
    name = found.distribution.name
    wanted: dict[str, Binary] = {}
    for library in found.libraries:
        if library.cuda is not None:
            wanted[library.path] = Binary(
                package=name,
                path=library.path,
                code=[
                    CodeSet(file=library.path, targets=one.targets, count=one.count, relocatable=one.relocatable)
                    for one in library.cuda.sets
                ],
            )
    for family, floor in found.symbols.items():
        binary = wanted.setdefault(floor.file, Binary(package=name, path=floor.file))
        binary.versions.append(LibraryNeed(name=f"{family}_{floor.version}", by=floor.file))
    lost = {name for name, all_fail in missing(found).items() if all_fail}
    for library in found.libraries:
        needs = [need for need in library.needs if need.where == "missing" and need.name in lost]
        if needs and lost:
            binary = wanted.setdefault(library.path, Binary(package=name, path=library.path))
            binary.missing += [LibraryNeed(name=one.name, by=library.path, why=one.problem) for one in needs]
            lost -= {one.name for one in needs}
    return list(wanted.values())


def _libraries(
    found: Inspection, there: list[Library] | Absent | Unknown, kept: set[str]
) -> list[Library] | Absent | Unknown:
    """Libraries of CUDA that the wheel brings, those of packages that stay, and the system's."""
    from envcheck.probes.libraries import stem_of

    assert found.distribution is not None
    own = [
        Library(
            name=file,
            path=library.path,
            origin="wheel",
            package=found.distribution.name,
            **({"version": library.version.version} if library.version else {}),
        )
        for library in found.libraries
        if stem_of(file := library.soname or library.path.rpartition("/")[2]) is not None
    ]
    if isinstance(there, (Absent, Unknown)):
        return own or there
    return own + [one for one in there if one.origin not in ("wheel", "conda") or (known(one.package) or "") in kept]
