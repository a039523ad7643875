"""What the compiled files of the installed frameworks say, as the rules need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Binary, LibraryNeed, Stack
from envcheck.versions import canonical, compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Found, Libraries
    from envcheck.rules._symbols import Floor

DRIVER = ("libcuda.so", "libnvidia-ml.so", "libnvcuvid.so", "libnvidia-")
"""They come with the driver: without one no GPU is there either, and the rules on drivers speak of it."""

CUDA = (
    "libcublas",
    "libcufft",
    "libcurand",
    "libcusolver",
    "libcusparse",
    "libcudart",
    "libnvrtc",
    "libnvJitLink",
    "libnccl",
)
"""Beginnings of the names of CUDA's libraries; cuDNN has a rule of its own."""


def of(stack: Stack, package: str, *roles: str) -> list[Binary]:
    """The files of a package that were read, of these roles (of none: of all)."""
    return [one for one in stack.binaries if canonical(one.package) == package and (not roles or one.role in roles)]


def missing(stack: Stack, package: str, *roles: str) -> list[LibraryNeed]:
    """Libraries that these files will not get, the driver's left out; each name once."""
    found: dict[str, LibraryNeed] = {}
    for binary in of(stack, package, *roles):
        for need in binary.missing:
            if not need.name.startswith(DRIVER):
                found.setdefault(need.name, need)
    return list(found.values())


def cuda_needs(stack: Stack, package: str, libraries: Libraries) -> list[str] | None:
    """CUDA and cuDNN libraries that its files ask of something outside of the environment; None where none was read."""
    read = [one for one in of(stack, package, "import", "plugin") if not isinstance(one.error, str)]
    if not read:
        return None
    names = dict.fromkeys(name for one in read for name in one.needs if not name.startswith(DRIVER))
    return [name for name in names if libraries.cuda_of(name) or name.startswith("libcudnn")]


def lacks(stack: Stack, *families: str) -> Iterator[tuple[Binary, LibraryNeed]]:
    """Symbol versions of these families that the libraries found on this machine do not define."""
    for binary in stack.binaries:
        if binary.role != "optional":
            yield from ((binary, need) for need in binary.lacking if need.name.startswith(families))


def read_floors(stack: Stack, family: str, packages: Packages | None) -> dict[str, Floor]:
    """Package -> the highest version of a family (``GLIBC``) that its installed files need, with the file."""
    from envcheck.rules._symbols import Floor

    found: dict[str, Floor] = {}
    for binary in stack.binaries:
        for need in binary.versions if binary.role != "optional" else ():
            head, _, version = need.name.partition("_")
            name = canonical(binary.package)
            if head != family or not numbers(version):
                continue
            if name not in found or numbers(version) > numbers(found[name].need):
                release = packages.version(name) if packages is not None else None
                asks = Evidence(f"{need.by} asks for {need.name}", "the installed file")
                found[name] = Floor(name, release or "", version, need.by.rpartition("/")[2], True, False, asks)
    return found


def evidence(binary: Binary, need: LibraryNeed) -> Evidence:
    """One need that is not met."""
    if need.why:
        return Evidence(f"{need.name}: {need.why}", need.by or binary.path)
    return Evidence(f"{need.by or binary.path} asks for {need.name}", need.path or binary.path)


def at(libraries: Libraries, file: str) -> Found | None:
    """The library of this path, which may be relative to site-packages."""
    for item in libraries.found:
        if item.path is not None and (item.path == file or item.path.endswith("/" + file)):
            return item
    return None


def loaded(stack: Stack, package: str, start: str) -> list[str]:
    """Files that this package would load for libraries whose names begin so."""
    return list(
        dict.fromkeys(
            need.path
            for one in of(stack, package, "import", "plugin")
            for need in one.loads
            if need.name.startswith(start)
        )
    )


def finds_all(stack: Stack, package: str) -> bool:
    """Its GPU files were looked at on this machine, and the loader finds everything."""
    read = of(stack, package, "plugin") or of(stack, package, "import")
    return any(one.loads for one in read) and not any(one.missing or isinstance(one.error, str) for one in read)


def displaced(stack: Stack, libraries: Libraries) -> Iterator[Finding]:
    """CUDA libraries of another place that come before those which a package was shipped with."""
    said = set()
    for binary in stack.binaries:
        for need in binary.elsewhere if binary.role != "optional" else ():
            got, meant = at(libraries, need.path), at(libraries, need.why)
            if not need.name.startswith(CUDA) or need.name in said or need.step != "library-path":
                continue
            said.add(need.name)
            versions = [item.version if item is not None else None for item in (got, meant)]
            older = bool(versions[0] and versions[1] and compare_numbers(versions[0], versions[1]) < 0)
            have, own = (f" ({version})" if version else "" for version in versions)
            yield Finding(
                severity="warning" if older else "info",
                confidence="medium",
                subject=f"{binary.package}: {need.name}",
                message=f"{binary.package} will load {need.path}{have}, because LD_LIBRARY_PATH names its folder, "
                f"and not {need.why}{own}, which came with it.",
                evidence=[Evidence(f"{need.by} needs {need.name}", "the loader's search, re-enacted")],
                fixes=[Fix("unset LD_LIBRARY_PATH", f"{binary.package} finds its own libraries without it", "review")],
            )
