"""How much of a library's GPU code runs on a compute capability, fat binary by fat binary.

The union of a library's targets misleads: a kernel lives in one fat binary and needs a target there. Only a share of
nothing is a certain failure; some fat binaries are for one architecture by design (sm_90a).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from envcheck.binaries.fatbin import FatBinaries, Target
from envcheck.targets import ptx_serves, runs_on


class Coverage(NamedTuple):
    """Numbers of fat binaries; those with nothing but code for link-time optimisation are left out."""

    total: int
    machine_code: int
    """With machine code that runs as it is."""
    ptx: int
    """Without, but with PTX that the driver can compile (if its PTX ISA is not known: that some driver can)."""
    ptx_too_new: int
    """With PTX alone, all of an ISA that the driver does not know."""
    none: int

    @property
    def share(self) -> float:
        """What runs, from 0 to 1; 1 when there is no GPU code."""
        return (self.machine_code + self.ptx) / self.total if self.total else 1.0


def serves(targets: Iterable[Target], sm: tuple[int, int], isa: tuple[int, int] | None = None) -> str:
    """``sass``, ``ptx``, ``ptx-too-new``, ``none``, or ``lto`` when there is nothing else.

    ``isa`` is the newest PTX ISA of the driver; None when it is not known.
    """
    answer = "lto"
    for target in targets:
        if target.kind == "sass":
            if runs_on(target.number, sm):
                return "sass"
        elif target.kind != "ptx":
            continue
        elif ptx_serves(target.number, sm):
            if isa is None or target.isa is None or target.isa <= isa:
                answer = "ptx"
            elif answer != "ptx":
                answer = "ptx-too-new"
            continue
        if answer == "lto":
            answer = "none"
    return answer


def coverage(found: FatBinaries, sm: tuple[int, int], isa: tuple[int, int] | None = None) -> Coverage:
    """Judge a library. With separable compilation the runtime links the PTX parts again where no linked code fits."""
    parts = {serves(targets, sm, isa) for targets, _ in found.relocatable.sets} - {"lto", "sass"}
    again = parts.pop() if len(parts) == 1 else None
    counts: dict[str, int] = {}
    for targets, count in (found.linked if found.linked.sets else found.relocatable).sets:
        answer = serves(targets, sm, isa)
        if answer == "none" and again and found.linked.sets:
            answer = again
        counts[answer] = counts.get(answer, 0) + count
    total = sum(counts.values()) - counts.get("lto", 0)
    return Coverage(total, *(counts.get(name, 0) for name in ("sass", "ptx", "ptx-too-new", "none")))
