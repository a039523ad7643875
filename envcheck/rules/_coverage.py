"""Does a build run on a GPU: shared by the rules on GPU architectures, the driver's PTX limit and drift.

Best evidence first: the targets in the installed binary, the targets in the table's row of this release, what the
CUDA release can compile for at all. Machine code and PTX follow the rules in :mod:`envcheck.facts.gpu_code`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.rules._floors import cite
from envcheck.versions import compare_numbers, minor, numbers

if TYPE_CHECKING:
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.gpu_code import GpuCode
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix, Row

ELSEWHERE = ("tensorrt", "tensorrt-cu11", "tensorrt-cu12", "tensorrt-cu13")
"""Packages whose GPUs another rule judges."""


MOST = 0.5
"""Without machine code, at least this share of the fat binaries must have PTX for a build to run by it."""


class Coverage(Struct, frozen=True):
    """The answer for one build on one GPU."""

    kind: str
    """``runs``, ``jit`` (by PTX), ``tegra`` (desktop code on a Jetson), ``newer``, ``older`` or ``unknown``."""
    why: str
    evidence: list[Evidence]
    severity: str = "error"
    confidence: str = "high"
    missing: str = ""
    """Name of the fact that is missing, when unknown."""
    share: float = 1.0
    """Of a build that runs: how much of its GPU code does, from 0 to 1."""


def coverage(build: FrameworkBuild, gpu: GpuView, codes: Sequence[GpuCode], matrix: Matrix) -> Coverage:
    """Judge one build on one GPU."""
    sm = gpu.sm
    if sm is None:
        return Coverage(
            "unknown", f"the compute capability of {gpu.name} is not known", [], missing="gpus.compute_capability"
        )
    row = matrix.row("compute-capabilities", cc=f"{sm[0]}.{sm[1]}")
    code = next((one for one in codes if one.build.package == build.package), None)
    if code is not None:
        return _by_targets(build, gpu, sm, code, row, matrix)
    return _by_toolkit(build, gpu, sm, row, matrix)


def _by_targets(
    build: FrameworkBuild, gpu: GpuView, sm: tuple[int, int], code: GpuCode, row: Row | None, matrix: Matrix
) -> Coverage:
    evidence = [code.evidence, gpu.evidence]
    confidence = "high" if code.measured and build.confidence == "high" else build.confidence
    if confidence == "high" and not code.measured:
        confidence = "medium"
    target = code.machine_code_for(sm)
    if target is not None:
        if row is not None and row["tegra"] and numbers(target)[:2] != sm:
            why = f"its machine code for {target} is for discrete GPUs, which is not promised to run on a Jetson"
            return Coverage("tegra", why, evidence, "warning", "medium")
        sass, by_ptx, total = code.coverage(sm)
        share = (sass + by_ptx) / total if total else 1.0
        figure = f" in {100 * sass // total} % of its {total} fat binaries" if 0 < sass < total else ""
        return Coverage("runs", f"has machine code for {target}{figure}", evidence, share=share)
    ptx = code.ptx_for(sm)
    _, by_ptx, total = code.coverage(sm)
    if ptx is not None and by_ptx < total * MOST:
        # Some library inside carries PTX; the kernels of the framework itself are without.
        why = f"has no machine code for it, and PTX in only {by_ptx} of its {total} fat binaries"
        return Coverage(_side(sm, code.sass), why, evidence, "error", "medium")
    if ptx is not None:
        first = row["first_toolkit"] if row is not None else None
        if first and build.cuda_major is not None and numbers(first)[0] > build.cuda_major and row is not None:
            evidence.append(cite(matrix, row, f"compute capability {gpu.cc} is known from CUDA {first} on"))
            why = f"has only PTX for {ptx} that could run on it; no library of CUDA {build.cuda_major} knows this GPU"
            return Coverage("newer", why, evidence, "error", "medium")
        if first and len(numbers(build.cuda or "")) > 1 and compare_numbers(first, build.cuda or "") > 0:
            why = f"has only PTX for {ptx} that runs on it, compiled at the first start CUDA {build.cuda} is older"
            return Coverage("newer", why, evidence, "warning", "medium")
        return Coverage("jit", f"serves it by PTX for {ptx}, which the driver compiles", evidence)
    have = ", ".join((*code.sass, *(f"{one} (PTX)" for one in code.ptx))) or "no GPU"
    none = f" (0 of its {sum(count for _, _, count in code.sets)} fat binaries)" if code.sets else ""
    why = f"has code for {have} only{none}"
    return Coverage(_side(sm, (*code.sass, *code.ptx)), why, evidence, "error", confidence)


def _side(sm: tuple[int, int], targets: Iterable[str]) -> str:
    """Which side of the targets the GPU is on. Between two majors it is newer: builds leave out young, rare ones."""
    have = [numbers(target)[:2] for target in targets]
    if not have or sm < min(have):
        return "older"
    # A target of the same major, but higher: the build left this GPU out while keeping its successors.
    return "older" if any(one[0] == sm[0] and one > sm for one in have) else "newer"


def _by_toolkit(build: FrameworkBuild, gpu: GpuView, sm: tuple[int, int], row: Row | None, matrix: Matrix) -> Coverage:
    if build.cuda is None:
        return Coverage(
            "unknown", f"which CUDA {build} is built with is not known", [], missing=f"packages.{build.package}"
        )
    if row is None:
        gap = matrix.gap("compute-capabilities", "cc", gpu.cc or "")
        return Coverage("unknown", gap.sentence, [], missing="matrix compute-capabilities")
    side = toolkit_side(build.cuda, sm, matrix)
    evidence = [*build.evidence, gpu.evidence]
    if side is None and row["tegra"] and numbers(gpu.cc or "") < (11,) and "+cu" in (build.version or ""):
        why = "comes from an index whose builds are for discrete GPUs, which is not promised to run on a Jetson"
        return Coverage("tegra", why, evidence, "warning", "medium")
    if side == "older":
        last = row["last_toolkit"]
        evidence.append(cite(matrix, row, f"CUDA {last} is the last release for compute capability {gpu.cc}"))
        confidence = "low" if build.confidence == "low" else "medium"
        return Coverage(
            "older",
            f"is built with CUDA {build.cuda}, whose last release for it was {last}",
            evidence,
            "error",
            confidence,
        )
    if side == "newer":
        first = row["first_toolkit"]
        evidence.append(cite(matrix, row, f"compute capability {gpu.cc} is known from CUDA {first} on"))
        certain = build.package == "torch" or numbers(first)[:1] > numbers(build.cuda)[:1]
        why = f"is built with CUDA {build.cuda}, which does not know this GPU (CUDA {first} is the first that does)"
        confidence = "low" if build.confidence == "low" else "medium"
        return Coverage("newer", why, evidence, "error" if certain else "warning", confidence)
    if build.package == "torch":
        return _like_other_releases(build, gpu, sm, evidence, matrix)
    return Coverage("runs", f"is built with CUDA {build.cuda}, which knows this GPU", evidence)


def _like_other_releases(
    build: FrameworkBuild, gpu: GpuView, sm: tuple[int, int], evidence: list[Evidence], matrix: Matrix
) -> Coverage:
    """A torch build that is not listed: what all listed builds with this CUDA have in common."""
    from envcheck.targets import parse_target, runs_on

    some = len(numbers(build.cuda or "")) > 1
    rows = matrix.rows("torch-archs", cuda=minor(build.cuda or ""), arch="x86_64") if some else []
    covered = [any(runs_on(target, sm) for target in row["sass"] or ()) for row in rows]
    if rows and not any(covered):
        have = sorted({parse_target(target)[0] for row in rows for target in row["sass"] or ()})
        shown = ", ".join(f"{one[0]}.{one[1]}" for one in have)
        evidence.append(cite(matrix, rows[-1], f"all torch builds with CUDA {build.cuda} have code for {shown} only"))
        side = _side(sm, [f"{one[0]}.{one[1]}" for one in have])
        return Coverage(
            side, f"is a CUDA {build.cuda} build, and those have code for {shown} only", evidence, "error", "medium"
        )
    if rows and all(covered):
        return Coverage("runs", f"is a CUDA {build.cuda} build, and all listed ones have code for it", evidence)
    gap = matrix.gap("torch-archs", "torch", build.version or "", cuda=minor(build.cuda or ""))
    why = f"its GPU targets are not known: {gap.sentence}"
    return Coverage("unknown", why, evidence, missing=f"gpu code of {build.package}")


def toolkit_side(cuda: str, sm: tuple[int, int], matrix: Matrix) -> str | None:
    """``older``: this CUDA release dropped the GPU; ``newer``: it has no code that could run on it; None: neither.

    ``cuda`` may be a major alone; then only what holds for all its releases is said.
    """
    row = matrix.row("compute-capabilities", cc=f"{sm[0]}.{sm[1]}")
    mine = numbers(cuda)
    if row is None or not mine:
        return None
    if row["last_toolkit"]:
        last = numbers(row["last_toolkit"])
        if mine[: len(last)] > last[: len(mine)]:
            return "older"
    if _knows(mine, row["first_toolkit"]):
        return None
    # Code for a lower capability of the same major runs on it.
    for other in matrix.rows("compute-capabilities"):
        have = numbers(other["cc"])
        if have[0] == sm[0] and have[1] < sm[1] and not other["tegra"] and _knows(mine, other["first_toolkit"]):
            return None
    return "newer"


def _knows(cuda: tuple[int, ...], first: str | None) -> bool:
    """Whether a CUDA release (or, of a major alone, its last release) is at or after the first that knows a GPU."""
    need = numbers(first or "0")
    return cuda[:1] >= need[:1] if len(cuda) == 1 else cuda[:2] >= need[:2]


def distinct(gpus: Sequence[GpuView]) -> list[tuple[GpuView, int]]:
    """GPUs that differ in name or capability, with their number."""
    found: dict[tuple[str, str | None], tuple[GpuView, int]] = {}
    for gpu in gpus:
        first, count = found.get((gpu.name, gpu.cc), (gpu, 0))
        found[gpu.name, gpu.cc] = first, count + 1
    return list(found.values())
