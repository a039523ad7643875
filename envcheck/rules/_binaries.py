"""What the compiled files of the installed frameworks say, as the rules need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Binary, LibraryNeed, Stack
from envcheck.versions import canonical, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Libraries
    from envcheck.rules._symbols import Floor

DRIVER = ("libcuda.so", "libnvidia-ml.so", "libnvcuvid.so", "libnvidia-")
"""They come with the driver: without one no GPU is there either, and the rules on drivers speak of it."""


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
