"""GPU code against every compute capability that the tables list, with examples of GPUs that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.binaries.coverage import coverage, serves
from envcheck.binaries.fatbin import FatBinaries
from envcheck.inspection.model import Coverage
from envcheck.targets import ptx_serves
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

SEGMENTS = ("data-center", "geforce", "workstation", "tegra")
"""One example of each."""
EXAMPLES = 3


def table(code: FatBinaries, matrix: Matrix) -> list[Coverage]:
    """One entry for each listed capability, in rising order."""
    found = []
    for row in sorted(matrix.rows("compute-capabilities"), key=lambda row: numbers(row["cc"])):
        parts = numbers(row["cc"])
        sm = parts[0], parts[1]
        judged = coverage(code, sm)
        isa = _isa(code, sm) if judged.ptx else None
        found.append(
            Coverage(
                capability=row["cc"],
                architecture=row["architecture"] or "",
                gpus=examples(matrix, row["cc"]),
                machine_code=judged.machine_code,
                ptx=judged.ptx,
                none=judged.none,
                driver_cuda=None if isa is None else cuda_of_ptx(matrix, isa),
            )
        )
    return found


def _isa(code: FatBinaries, sm: tuple[int, int]) -> tuple[int, int] | None:
    """The PTX ISA with which everything that has PTX alone can be compiled; None where nothing has."""
    for part in (code.linked, code.relocatable):
        # With separable compilation the PTX lies with the parts, from which the runtime links again.
        needed = []
        for targets, _ in part.sets:
            if serves(targets, sm) == "ptx":
                fitting = [one.isa for one in targets if one.kind == "ptx" and one.isa and ptx_serves(one.number, sm)]
                if fitting:
                    needed.append(min(fitting))
        if needed:
            return max(needed)
    return None


def cuda_of_ptx(matrix: Matrix, isa: tuple[int, int]) -> str | None:
    """The first CUDA release whose driver compiles this PTX ISA; None for one that is newer than the table."""
    text = f"{isa[0]}.{isa[1]}"
    releases = [row["cuda"] for row in matrix.rows("ptx-isa") if compare_numbers(row["ptx"], text) >= 0]
    return str(min(releases, key=numbers)) if releases else None


def examples(matrix: Matrix, cc: str) -> list[str]:
    """The GPU with the most memory of each market segment: mostly the one that people know."""
    by_capability: dict[str, list[str]] | None = matrix.memo.get("inspection: examples")
    if by_capability is None:
        best: dict[tuple[str, str], tuple[int, int, str]] = {}
        for row in matrix.rows("gpus"):
            key = (row["compute_capability"], row["segment"] or "")
            rank = (-(row["memory_mib"] or 0), len(row["name"]), row["name"])
            if key[1] in SEGMENTS and (key not in best or rank < best[key]):
                best[key] = rank
        by_capability = {}
        for (capability, _), rank in sorted(best.items(), key=lambda item: SEGMENTS.index(item[0][1])):
            by_capability.setdefault(capability, []).append(rank[2])
        matrix.memo["inspection: examples"] = by_capability
    return by_capability.get(cc, [])[:EXAMPLES]
