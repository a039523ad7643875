"""What the rules on GPUs of AMD, Intel and Apple share: builds for them, and the variables of ROCm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Fix
from envcheck.versions import minor, numbers, public

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.makers import MakerGpu
    from envcheck.matrix import Matrix

OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
SEEN = 'python -c "import torch; print(torch.cuda.is_available(), torch.cuda.get_arch_list())"'
XPU_SEEN = 'python -c "import torch; print(torch.xpu.is_available())"'


def override_target(env: Mapping[str, str]) -> str | None:
    """The target that HSA_OVERRIDE_GFX_VERSION makes ROCm see: ``10.3.0`` is ``gfx1030``, ``9.0.10`` is ``gfx90a``."""
    parts = env.get(OVERRIDE, "").strip().split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 3 for part in parts):
        return None
    major, low, step = map(int, parts)
    return f"gfx{major}{low:x}{step:x}" if major > 0 and low < 16 and step < 16 else None


def generation(target: str) -> str:
    """What targets with alike instructions share: ``gfx10`` of ``gfx1031``, ``gfx9`` of ``gfx90a``."""
    return target[:-2]


def torch_for_amd(
    matrix: Matrix,
    target: str,
    version: str | None,
    packages: Packages | None,
    python: str | None,
    rocm: Sequence[str] = (),
) -> Fix | None:
    """A PyTorch of its own index with code for an AMD target: of the installed release, else the nearest to it.

    ``rocm``: only builds for these releases (major.minor) of ROCm.
    """
    from envcheck.rules._fixes import TORCH_INDEX, pip_install

    pythons = {row["torch"]: row["python"] or [] for row in matrix.rows("torch-variants")}
    rows = [
        row
        for row in matrix.rows("torch-rocm")
        if target in (row["targets"] or [])
        and (not rocm or minor(row["rocm"]) in rocm)
        and (not python or minor(python) in pythons.get(row["torch"], [minor(python)]))
    ]
    if not rows:
        return None
    mine = numbers(version)[:2] if version else ()
    newer = [row for row in rows if numbers(row["torch"]) >= mine] if mine else []
    chosen = numbers((newer[0] if newer else rows[-1])["torch"])
    row = max((row for row in rows if numbers(row["torch"]) == chosen), key=lambda one: numbers(one["rocm"]))
    release = f"{row['torch']}.0"
    for one in matrix.rows("torch-builds"):
        if minor(one["torch"]) == row["torch"]:
            release = one["torch"]  # in the order of releases
    if version and chosen == mine and len(numbers(version)) > 2:
        release = public(version)
    label = f"rocm{row['rocm']}"
    others = [name for name in ("torchvision", "torchaudio") if packages is not None and name in packages]
    note = f"the build for ROCm {row['rocm']} has code for {target}"
    return pip_install(f"torch=={release}+{label}", *others, index=TORCH_INDEX + label, note=note, verify=SEEN)


def torch_for_intel(packages: Packages | None) -> Fix:
    """PyTorch's build for Intel GPUs."""
    from envcheck.rules._fixes import TORCH_INDEX, pip_install

    others = [name for name in ("torchvision", "torchaudio") if packages is not None and name in packages]
    return pip_install("torch", *others, index=TORCH_INDEX + "xpu", note="the build for Intel GPUs", verify=XPU_SEEN)


def usable_amd(matrix: Matrix, gpu: MakerGpu) -> bool:
    """A GPU that some ROCm build of PyTorch has code for; one inside a CPU is there for the display."""
    if gpu.discrete is False or gpu.target is None:
        return False
    return any(gpu.target in (row["targets"] or []) for row in matrix.rows("torch-rocm"))
