"""Needs on a machine whose files are not here: what its snapshot says of packages and libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.facts import Facts
from envcheck.inspection.model import Need
from envcheck.inspection.resolve import FRAMEWORKS, NO_WAY, notes_of, replacements, required
from envcheck.probes.libraries import stem_of
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.libraries import Libraries
    from envcheck.inspection.model import Inspection
    from envcheck.matrix import Matrix

CUDA_TORCH = ("libtorch_cuda", "libc10_cuda")
"""Libraries that only torch's CUDA builds have."""


def resolve_there(found: Inspection, place: Snapshot, matrix: Matrix) -> None:
    """Settle what other packages and the system are to bring."""
    if known(place.machine.system) not in (None, "Linux"):
        return
    there = _There(found, place, matrix)
    replaced = replacements(found, there.versions)
    found.notes += notes_of(replaced)
    there.cpu_torch = there.cpu_torch and "torch" not in replaced
    there.versions = {name: version for name, version in there.versions.items() if name not in replaced}
    for library in found.libraries:
        if library.format == "elf":
            library.needs = [there.settle(need) for need in library.needs]


class _There:
    def __init__(self, found: Inspection, place: Snapshot, matrix: Matrix) -> None:
        self.required, self.single = required(found), found.kind == "library"
        self.packages_known = not isinstance(place.stack.packages, (Absent, Unknown))
        self.versions = {canonical(one.name): known(one.version) for one in known(place.stack.packages) or ()}
        builds = [one for one in place.stack.builds if canonical(one.package) == "torch"]
        self.cpu_torch = any(isinstance(one.cuda, Absent) and isinstance(one.hip, Absent) for one in builds)
        libraries = Facts(place, matrix).get("libraries")
        self.libraries: Libraries | None = None if isinstance(libraries, (Absent, Unknown)) else libraries

    def settle(self, need: Need) -> Need:
        if need.where not in ("package", "system", "unknown") or need.problem == NO_WAY:
            return need
        if self.cpu_torch and need.name.startswith(CUDA_TORCH):
            return replace(need, where="missing", problem="the torch that is there is a build for the CPU")
        if need.where == "package" and need.package in self.required:
            return need
        if need.where == "package" and need.package in self.versions:
            version = self.versions[need.package]
            problem = f"{version + ', ' if version else ''}installed there"
            asked_for = self.single or self.required & FRAMEWORKS
            return replace(need, problem=problem + ("" if asked_for else " but not required"))
        name = need.name
        if self.libraries is not None:
            if name in self.libraries.missing:
                return replace(need, where="missing", problem="the machine's record says that it is missing")
            for item in self.libraries.satisfying(name):
                if item.path and item.loadable:
                    return Need(name=name, where="file", path=item.path)
                if item.path or item.package:
                    where = item.path or f"in {item.package}"
                    return Need(
                        name=name, where="unknown", problem=f"it is there ({where}), where not all programs look"
                    )
        if need.where != "package":
            return need
        if self.required & FRAMEWORKS and not self.required & FRAMEWORKS & set(self.versions):
            return need  # pip brings the framework, and the framework its libraries
        if not self.packages_known:
            return replace(need, where="unknown", problem="which packages are installed there is not known")
        looked_for = self.libraries is not None and self.libraries.complete and stem_of(name) is not None
        if need.package == "torch" or looked_for:
            return replace(need, where="missing", problem="it is not there")
        return replace(need, where="unknown", problem=f"{need.package} is not installed there; the system may have it")
