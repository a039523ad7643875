"""The NVIDIA GPUs, with what the tables know of them, and which of them a CUDA program would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Gpu, SmokeTest, Unknown, known
from envcheck.facts import Facts
from envcheck.versions import numbers, readable

if TYPE_CHECKING:
    from envcheck.facts.visible import Visible
    from envcheck.matrix import Row


class GpuView(Struct, frozen=True):
    """One NVIDIA GPU."""

    index: int
    name: str
    cc: str | None
    """Compute capability ``8.6``; None when neither read nor in the table."""
    memory_mib: int | None
    memory_free_mib: int | None
    data_center: bool | None
    """May use forward compatibility: True for Tesla, A, H, B, L parts, False for GeForce and TITAN, None for others."""
    raw: Gpu
    evidence: Evidence

    @property
    def sm(self) -> tuple[int, int] | None:
        """Compute capability as numbers."""
        parts = numbers(self.cc or "")
        return (parts[0], parts[1]) if len(parts) >= 2 else None

    def __str__(self) -> str:
        return self.name + (f" (compute capability {self.cc})" if self.cc else "")


def gpus(facts: Facts) -> list[GpuView] | Absent | Unknown:
    """All NVIDIA GPUs of the machine; absent when there is none."""
    found = facts.snapshot.machine.gpus
    if isinstance(found, (Absent, Unknown)):
        return found
    views = [_view(facts, gpu) for gpu in found if _is_nvidia(gpu)]
    return views or Absent("no NVIDIA GPU was found" if found else "no GPU was found")


def gpus_or_smoke(facts: Facts) -> list[GpuView] | list[SmokeTest] | Absent | Unknown:
    """For rules on GPUs that smoke tests tell of too; absent when neither is there."""
    return facts.snapshot.smoke or facts.get("gpus")


def has_gpu(facts: Facts) -> bool | Unknown:
    """Whether the machine has an NVIDIA GPU; for rules on GPU programs that need no fact of the GPU itself."""
    found = facts.get("gpus")
    return found if isinstance(found, Unknown) else not isinstance(found, Absent)


def _is_nvidia(gpu: Gpu) -> bool:
    vendor = known(gpu.vendor)
    if vendor is not None:
        return vendor == "nvidia"
    if known(gpu.compute_capability) is not None:
        return True
    name = (known(gpu.name) or "").lower()
    if any(word in name for word in ("intel", "amd", "radeon", "apple")):
        return False
    return any(
        word in name
        for word in ("nvidia", "geforce", "tesla", "quadro", "titan", "rtx", "gtx", "a100", "h100", "jetson", "orin")
    )


def _view(facts: Facts, gpu: Gpu) -> GpuView:
    name, cc = known(gpu.name) or "NVIDIA GPU", readable(known(gpu.compute_capability))
    memory = known(gpu.memory_mib)
    evidence = Evidence(f"{name}: compute capability {cc}", "GPU query") if cc else Evidence(name, "GPU query")
    if cc is None and (row := _listed(facts, gpu)) is not None:
        cc = str(row["compute_capability"])
        name = known(gpu.name) or str(row["name"])
        title, url, as_of = facts.matrix.cite(row)
        evidence = Evidence(f"{name} has compute capability {cc}", title, url, as_of)
    return GpuView(gpu.index, name, cc, memory, known(gpu.memory_free_mib), _data_center(name), gpu, evidence)


def _listed(facts: Facts, gpu: Gpu) -> Row | None:
    """The table's row, by the product name or, where no driver told one, by the PCI id."""
    from envcheck.matrix.gpus import find_gpu, find_gpu_by_pci

    name, pci = known(gpu.name), known(gpu.pci_id)
    row = find_gpu(facts.matrix, name) if name else None
    return row if row is not None or not pci else find_gpu_by_pci(facts.matrix, pci)


def _data_center(name: str) -> bool | None:
    """By the product name; the vendor lists no other property that can be read."""
    words = name.lower().replace("nvidia", " ").split()
    if "geforce" in words or "titan" in words:
        return False
    if "tesla" in words or "grid" in words:
        return True
    first = words[0].partition("-")[0] if words else ""
    letters = first.rstrip("0123456789")
    if len(first) > (3 if letters == "t" else 4) and letters in ("p", "k", "t"):
        return None  # P2200, K2200, T400: workstation boards
    if first != letters and letters in ("a", "h", "b", "l", "gh", "gb", "t", "v", "p", "k", "m") and "rtx" not in words:
        return True
    return True if first in ("l40s", "b300", "gh200", "gb200", "gb300") else None


def visibility(facts: Facts) -> Visible | Absent | Unknown:
    """What CUDA_VISIBLE_DEVICES leaves, and where its list ended."""
    from envcheck.facts.visible import evaluate

    found = facts.get("gpus")
    if isinstance(found, (Absent, Unknown)):
        return found
    variables = known(facts.get("env")) or {}
    # The log tells that the variables were there when the GPUs were asked.
    compared = bool(facts.snapshot.probes)
    return evaluate(variables.get("CUDA_VISIBLE_DEVICES"), found, uuids_compared=compared)


def visible_gpus(facts: Facts) -> list[GpuView] | Absent | Unknown:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, as a CUDA program sees them: of one with MIG, an instance."""
    found = facts.get("visibility")
    return found if isinstance(found, (Absent, Unknown)) else list(found.gpus)
