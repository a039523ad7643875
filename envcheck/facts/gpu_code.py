"""Which GPU code each CUDA build carries, and whether it runs on a given GPU, by the vendor's rules.

Machine code for X.y runs on X.z with z >= y, never across majors. PTX for N runs on every capability >= N, when the
driver's compiler knows its PTX ISA. Suffix ``a``: exactly that capability, PTX too. Suffix ``f``: the same family.
Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, CodeSet, Unknown, known
from envcheck.facts import Facts
from envcheck.facts.builds import FrameworkBuild
from envcheck.targets import parse_target, ptx_serves, runs_on
from envcheck.versions import canonical, minor, numbers

if TYPE_CHECKING:
    from envcheck.matrix import Row


_Set = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""Machine code, and PTX with its ISA, of one fat binary."""


class GpuCode(Struct, frozen=True):
    """Targets in one build."""

    build: FrameworkBuild
    sass: tuple[str, ...]
    ptx: tuple[str, ...]
    measured: bool
    """Read from the binary (here, or when the table was made), not from a build script."""
    evidence: Evidence
    sets: tuple[tuple[tuple[str, ...], tuple[tuple[str, str], ...], int], ...] = ()
    """Fat binaries of the installed files, condensed: machine code, PTX with its ISA, how many. Empty where only the
    union is known."""

    def machine_code_for(self, sm: tuple[int, int]) -> str | None:
        """The nearest target whose machine code runs on this compute capability; None when there is none."""
        return max((target for target in self.sass if runs_on(target, sm)), key=parse_target, default=None)

    def ptx_for(self, sm: tuple[int, int]) -> str | None:
        """The nearest PTX target that can be compiled for this compute capability; None when there is none."""
        return max((target for target in self.ptx if ptx_serves(target, sm)), key=parse_target, default=None)

    def isa_for(self, sm: tuple[int, int]) -> str | None:
        """The lowest PTX ISA by which some code serves this compute capability; None where it was not read."""
        found = [isa for _, ptx, _ in self.sets for target, isa in ptx if isa and ptx_serves(target, sm)]
        return min(found, key=numbers) if found else None

    def coverage(self, sm: tuple[int, int]) -> tuple[int, int, int]:
        """Fat binaries with machine code for it, those with PTX alone, and all. What has nothing but code for one
        architecture (sm_90a) is there for that one by design: where it does not fit, it is not counted."""
        sass = ptx = total = 0
        for codes, texts, count in self.sets:
            if any(runs_on(target, sm) for target in codes):
                sass, total = sass + count, total + count
            elif any(ptx_serves(target, sm) for target, _ in texts):
                ptx, total = ptx + count, total + count
            elif not all(target.endswith("a") for target in (*codes, *(one for one, _ in texts))):
                total += count
        return sass, ptx, total

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
    return _from_binaries(facts, build) or _listed(facts, build)


def _from_binaries(facts: Facts, build: FrameworkBuild) -> GpuCode | None:
    """What was read in the installed files goes before everything else."""
    read = [binary for binary in facts.snapshot.stack.binaries if canonical(binary.package) == build.package]
    parts: dict[str, list[CodeSet]] = {}
    for binary in read:
        mine: dict[str, list[CodeSet]] = {}
        for part in binary.code:
            mine.setdefault(part.file, []).append(part)
        for file, found in mine.items():
            parts.setdefault(file, found)  # of two roots that share a library, the first one counts it
    sets: dict[_Set, int] = {}
    files: dict[str, int] = {}
    for file, found in parts.items():
        for (sass, ptx), count in _launched(found):
            if sass or ptx:
                sets[sass, ptx] = sets.get((sass, ptx), 0) + count
                files[file] = files.get(file, 0) + count
    if not sets:
        return None
    codes = tuple(sorted({target for each, _ in sets for target in each}, key=parse_target))
    texts = tuple(sorted({target for _, pairs in sets for target, _ in pairs}, key=parse_target))
    largest = max(files, key=lambda file: files[file])
    text = f"{build} carries machine code for {', '.join(codes) or 'no GPU'}"
    text += f" and PTX for {', '.join(texts)}" if texts else " and no PTX"
    text += f" in {sum(files.values())} fat binaries"
    listed = _listed(facts, build)
    # The table lists what the kernels have in common; a few often have more.
    if listed is not None and {one.rstrip("af") for one in listed.sass} - {one.rstrip("af") for one in codes}:
        text += f" (the table has {', '.join(listed.sass) or 'none'}: the installed file decides)"
    counted = tuple((*parts, count) for parts, count in sets.items())
    return GpuCode(build, codes, texts, True, Evidence(text, largest), counted)


def _launched(parts: list[CodeSet]) -> Iterator[tuple[_Set, int]]:
    """What one file can launch. PTX that separable compilation left in it is linked again where nothing else fits."""
    left = [_parts(part.targets)[1] for part in parts if part.relocatable]
    again = tuple(one for one in left[0] if all(one in other for other in left)) if left else ()
    whole = all(part.relocatable for part in parts)
    for part in parts:
        if whole or not part.relocatable:
            sass, ptx = _parts(part.targets)
            yield (sass, ptx if whole else tuple(dict.fromkeys((*ptx, *again)))), part.count


def _parts(targets: Iterable[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """``sm_90a`` and ``compute_90 (PTX 8.4)`` -> machine code, and PTX with its ISA."""
    sass: list[str] = []
    ptx: list[tuple[str, str]] = []
    for text in targets:
        name, _, isa = text.partition(" (PTX ")
        digits = name.rpartition("_")[2]
        if not digits.rstrip("af").isdigit() or len(digits.rstrip("af")) < 2:
            continue
        (major, low), suffix = parse_target(digits)
        if name.startswith("sm_"):
            sass.append(f"{major}.{low}{suffix}")
        elif name.startswith("compute_"):
            ptx.append((f"{major}.{low}{suffix}", isa.rstrip(")")))
    return tuple(sass), tuple(ptx)


def _listed(facts: Facts, build: FrameworkBuild) -> GpuCode | None:
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
