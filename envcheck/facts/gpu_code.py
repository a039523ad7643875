"""Which GPU code each CUDA build carries, and whether it runs on a given GPU, by the vendor's rules.

Machine code for X.y runs on X.z with z >= y, never across majors. PTX for N runs on every capability >= N, when the
driver's compiler knows its PTX ISA. Suffix ``a``: exactly that capability, PTX too. Suffix ``f``: the same family.
Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.facts import Facts
from envcheck.facts.builds import FrameworkBuild
from envcheck.targets import parse_target as parse_target
from envcheck.targets import ptx_serves as ptx_serves
from envcheck.targets import runs_on as runs_on
from envcheck.versions import canonical, minor, numbers

if TYPE_CHECKING:
    from envcheck.matrix import Row


class GpuCode(Struct, frozen=True):
    """Targets in one build."""

    build: FrameworkBuild
    sass: tuple[str, ...]
    ptx: tuple[str, ...]
    measured: bool
    """Read from the binary (here, or when the table was made), not from a build script."""
    evidence: Evidence

    def machine_code_for(self, sm: tuple[int, int]) -> str | None:
        """The nearest target whose machine code runs on this compute capability; None when there is none."""
        return max((target for target in self.sass if runs_on(target, sm)), key=parse_target, default=None)

    def ptx_for(self, sm: tuple[int, int]) -> str | None:
        """The nearest PTX target that can be compiled for this compute capability; None when there is none."""
        return max((target for target in self.ptx if ptx_serves(target, sm)), key=parse_target, default=None)

    @property
    def lowest(self) -> tuple[int, int] | None:
        found = [parse_target(target)[0] for target in (*self.sass, *self.ptx)]
        return min(found) if found else None

    @property
    def highest(self) -> tuple[int, int] | None:
        found = [parse_target(target)[0] for target in (*self.sass, *self.ptx)]
        return max(found) if found else None


def gpu_code(facts: Facts) -> list[GpuCode] | Absent | Unknown:
    """Of every CUDA build whose targets are known."""
    builds = facts.get("cuda_builds")
    if isinstance(builds, (Absent, Unknown)):
        return builds
    return [code for build in builds if (code := _code(facts, build)) is not None]


def _code(facts: Facts, build: FrameworkBuild) -> GpuCode | None:
    for read in facts.snapshot.stack.builds:
        if canonical(read.package) == build.package and (sass := known(read.sass)) is not None:
            text = f"{build.package} carries machine code for {' '.join(sass) or 'no GPU'}"
            return GpuCode(build, tuple(sass), tuple(known(read.ptx) or ()), True, Evidence(text, read.source))
    if build.version is None:
        return None
    if build.package == "torch":
        return _from_row(facts, build, _torch_row(facts, build))
    if known(facts.snapshot.machine.arch) not in (None, "x86_64"):
        return None  # of the others the tables list x86-64 builds only, and builds for aarch64 have other targets
    public = build.version.partition("+")[0]
    if build.package == "onnxruntime-gpu":
        from envcheck.matrix.lookup import ort_gpu

        return _from_row(facts, build, ort_gpu(facts.matrix, public))
    row = _symbols_row(facts, build.package, public)
    return _from_row(facts, build, row, "" if row is None or row["version"] == public else row["version"])


def _symbols_row(facts: Facts, package: str, version: str) -> Row | None:
    """What was read from this release; else from one of its minor release, or what both its neighbours have alike."""
    if exact := facts.matrix.rows("wheel-symbols", package=package, version=version):
        return exact[0]
    wanted = numbers(version)
    if len(wanted) < 2 or not version.replace(".", "").isdigit():
        return None
    rows = [row for row in facts.matrix.rows("wheel-symbols", package=package) if row["sass"] or row["ptx"]]
    rows.sort(key=lambda row: numbers(row["version"]))
    if siblings := [row for row in rows if numbers(row["version"])[:2] == wanted[:2]]:
        return {**siblings[0], "measured": False}
    below = [row for row in rows if numbers(row["version"]) < wanted]
    above = [row for row in rows if numbers(row["version"]) > wanted]
    if not (below and above) or any(below[-1][side] != above[0][side] for side in ("sass", "ptx")):
        return None
    return {**above[0], "measured": False}


def _torch_row(facts: Facts, build: FrameworkBuild) -> Row | None:
    from envcheck.facts.driver import is_tegra
    from envcheck.matrix.torch import torch_archs

    if build.cuda is None or build.version is None or len(numbers(build.cuda)) < 2:
        return None
    machine = facts.snapshot.machine
    arch, (public, _, label) = known(machine.arch) or "x86_64", build.version.partition("+")
    if arch != "x86_64" and (is_tegra(facts) or not public.replace(".", "").isdigit() or label[:2] not in ("", "cu")):
        return None  # a build by NVIDIA, for a Jetson or from its containers, which the table does not list
    cuda, system = minor(build.cuda), known(machine.system)
    row = torch_archs(facts.matrix, public, cuda, "windows" if system == "Windows" else "linux", arch)
    other = torch_archs(facts.matrix, public, cuda, "windows") if system is None and arch == "x86_64" else None
    if row is None or other is None or not (extra := [each for each in other["sass"] if each not in row["sass"]]):
        return row
    # It may be either; what only one of them has is given the benefit of the doubt.
    return {**row, "sass": sorted([*row["sass"], *extra], key=numbers), "measured": False}


def _from_row(facts: Facts, build: FrameworkBuild, row: Row | None, read: str = "") -> GpuCode | None:
    """``read``: the release of the same package that was read, where it is not this one."""
    if row is None or not (row.get("sass") or row.get("ptx")):
        return None
    sass, ptx = _targets(row.get("sass")), _targets(row.get("ptx"))
    title, url, as_of = facts.matrix.cite(row)
    text = f"{build} carries machine code for {', '.join(sass) or 'no GPU'}"
    text += f" and PTX for {', '.join(ptx)}" if ptx else " and no PTX"
    text += f" (read from its neighbour {read})" if read else ""
    return GpuCode(build, sass, ptx, bool(row.get("measured", True)), Evidence(text, title, url, as_of))


def _targets(value: Iterable[str] | None) -> tuple[str, ...]:
    targets = []
    for text in value or ():
        (major, low), suffix = parse_target(text)
        targets.append(f"{major}.{low}{suffix}")
    return tuple(targets)
