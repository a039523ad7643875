"""GPUs of AMD and Intel, and the AMD targets that the ROCm builds carry code for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Build, Gpu, Unknown, known
from envcheck.facts import Facts
from envcheck.facts.builds import FrameworkBuild
from envcheck.versions import canonical, local_label, minor, numbers

if TYPE_CHECKING:
    from envcheck.matrix import Row


class MakerGpu(Struct, frozen=True):
    """One GPU of AMD or Intel."""

    vendor: str
    index: int
    name: str
    target: str | None
    """AMD: ``gfx90a``; None when neither read nor in the table."""
    memory_mib: int | None
    discrete: bool | None
    """A card of its own: True, False for one inside the CPU, None where nothing tells."""
    raw: Gpu
    evidence: Evidence

    def __str__(self) -> str:
        return self.name + (f" ({self.target})" if self.target else "")


AMD_WORDS = ("amd", "radeon", "instinct", "firepro")
INTEL_WORDS = ("intel", "arc", "iris", "uhd")
DISCRETE = ("instinct", "radeon rx", "radeon pro", "radeon ai pro", "radeon vii", "data center gpu")
INTEGRATED = ("uhd", "iris xe graphics", "hd graphics", "radeon graphics", "radeon(tm) graphics", "vega 8", "vega 7")
APU_TARGETS = (
    *("gfx902", "gfx909", "gfx90c", "gfx1033", "gfx1035", "gfx1036", "gfx1037", "gfx1103"),
    *("gfx1150", "gfx1151", "gfx1152", "gfx1153"),
)
"""Targets of GPUs inside AMD's CPUs (LLVM's user guide for AMDGPU, column dGPU/APU)."""
_FIRST_INTEL = "0000:00:02.0"
"""Where a GPU inside an Intel CPU sits on the bus."""


def amd_gpus(facts: Facts) -> list[MakerGpu] | Absent | Unknown:
    """The AMD GPUs; absent when there is none."""
    return _of(facts, "amd")


def intel_gpus(facts: Facts) -> list[MakerGpu] | Absent | Unknown:
    """The Intel GPUs; absent when there is none."""
    return _of(facts, "intel")


def _of(facts: Facts, vendor: str) -> list[MakerGpu] | Absent | Unknown:
    found = facts.snapshot.machine.gpus
    if isinstance(found, (Absent, Unknown)):
        return found
    views = [_view(facts, gpu, vendor) for gpu in found if vendor_of(gpu) == vendor]
    return views or Absent(f"no {vendor.upper() if vendor == 'amd' else 'Intel'} GPU was found")


def vendor_of(gpu: Gpu) -> str | None:
    """``nvidia``, ``amd``, ``intel``, ``apple``; None when nothing tells."""
    if (stated := known(gpu.vendor)) is not None:
        return stated.lower()
    if known(gpu.target) is not None:
        return "amd"
    words = (known(gpu.name) or "").lower().replace("(r)", " ").split()
    for vendor, signs in (("amd", AMD_WORDS), ("intel", INTEL_WORDS), ("apple", ("apple",))):
        if any(word in signs for word in words):
            return vendor
    return None


def _view(facts: Facts, gpu: Gpu, vendor: str) -> MakerGpu:
    name = known(gpu.name) or ("AMD GPU" if vendor == "amd" else "Intel GPU")
    target, memory = known(gpu.target), known(gpu.memory_mib)
    evidence = Evidence(f"{name}: {target}" if target else name, "GPU query")
    if vendor == "amd" and target is None and (row := _listed(facts, name)) is not None:
        target = str(row["target"])
        title, url, as_of = facts.matrix.cite(row)
        evidence = Evidence(f"{name} is {target}", title, url, as_of)
    return MakerGpu(vendor, gpu.index, name, target, memory, _discrete(gpu, name), gpu, evidence)


def _discrete(gpu: Gpu, name: str) -> bool | None:
    text = " ".join(name.lower().replace("(tm)", " ").replace("(r)", " ").split())
    if known(gpu.pci_bus) == _FIRST_INTEL and vendor_of(gpu) == "intel":
        return False
    if known(gpu.target) in APU_TARGETS or any(sign in text for sign in INTEGRATED) or text.endswith("m graphics"):
        return False
    words = text.split()
    if "arc" in words:
        # Arc A770 and B580 are cards; Arc Graphics and Arc 140V are in CPUs.
        return any(word[0] in "ab" and word[1:3].isdigit() for word in words)
    return True if any(sign in text for sign in DISCRETE) else None


def _listed(facts: Facts, name: str) -> Row | None:
    """The row of a product name; pci.ids may name several products, ``Radeon RX 7900 XT/7900 XTX/7900M``: then none."""
    wanted = " ".join(name.lower().replace("(tm)", " ").replace("amd ", " ").split())
    for row in facts.matrix.rows("amd-gpus"):
        if row["name"].lower() == wanted or row["name"].lower().removeprefix("instinct ") == wanted:
            return row
    return None


class RocmCode(Struct, frozen=True):
    """The AMD targets of one ROCm build."""

    build: FrameworkBuild
    rocm: str | None
    """ROCm that it was built with: ``6.2.4``; None when not known."""
    targets: tuple[str, ...]
    """Empty when not known."""
    measured: bool
    """Read from the installed files, not listed for the release."""
    missing: str
    """Why the targets are not known; empty when they are."""
    evidence: Evidence
    promised: tuple[str, ...] = ()
    """Targets that the table lists for this build, where its files were read."""

    @property
    def listed(self) -> str:
        return " ".join(self.targets)


def rocm_code(facts: Facts) -> list[RocmCode] | Absent | Unknown:
    """Of every ROCm build of PyTorch; other packages' targets are in no table."""
    builds = facts.get("rocm_builds")
    if isinstance(builds, (Absent, Unknown)):
        return builds
    read = {canonical(build.package): build for build in facts.snapshot.stack.builds}
    found = [_code(facts, build, read.get("torch")) for build in builds if build.package == "torch"]
    return found or Absent("no ROCm build of PyTorch is installed")


def _code(facts: Facts, build: FrameworkBuild, read: Build | None) -> RocmCode:
    rocm = _rocm_of(facts, build, read)
    if read is not None and (targets := known(read.sass)):
        text = f"{build} has rocBLAS kernels for {' '.join(targets)}"
        listed = _row(facts, build.version, rocm)
        promised = tuple(listed["targets"] or ()) if listed is not None else ()
        return RocmCode(build, rocm, tuple(targets), True, "", Evidence(text, "torch/lib/rocblas/library"), promised)
    evidence = build.evidence[0]
    packages = known(facts.get("packages")) or ()
    if sdk := next((package.name for package in packages if package.name.startswith("rocm-sdk-")), None):
        why = f"its GPU code is in wheels of their own ({sdk})"
        return RocmCode(build, rocm, (), False, why, evidence)
    row = _row(facts, build.version, rocm)
    if row is None:
        return RocmCode(build, rocm, (), False, f"no table lists the targets of {build}", evidence)
    targets = row["targets"] or []
    title, url, as_of = facts.matrix.cite(row)
    text = f"torch {row['torch']} for ROCm {row['rocm']} has code for {' '.join(targets)}"
    return RocmCode(build, rocm, tuple(targets), bool(row["measured"]), "", Evidence(text, title, url, as_of))


def _rocm_of(facts: Facts, build: FrameworkBuild, read: Build | None) -> str | None:
    packages = facts.get("packages")
    label = None if isinstance(packages, (Absent, Unknown)) else packages.label(build.package)
    label = label or local_label(build.version or "")
    if label and label.startswith("rocm") and numbers(label[4:]):
        return label[4:]
    hip = known(read.hip) if read is not None else None
    return minor(hip) if hip and len(numbers(hip)) > 1 else None


def _row(facts: Facts, version: str | None, rocm: str | None) -> Row | None:
    """The row of exactly this label, which PyTorch's own index gives."""
    if version is None or rocm is None or len(numbers(version)) < 2:
        return None
    rows = facts.matrix.rows("torch-rocm", torch=minor(version), rocm=rocm)
    return rows[0] if rows else None
