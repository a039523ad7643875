"""What needs a GPU, and of which maker: the reason for which rules on drivers and GPUs apply.

Asked for on every machine: nothing is imported here but where a build for AMD or Intel is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.facts import Facts

if TYPE_CHECKING:
    from envcheck.facts.builds import FrameworkBuild


def cuda_users(facts: Facts) -> list[str] | Absent | Unknown:
    """Names of what uses CUDA: CUDA builds, the toolkit, an image's demand (NVIDIA_REQUIRE_CUDA).

    Absent when the packages are known and none of all this is there.
    """
    builds, toolkit = facts.get("cuda_builds"), facts.get("toolkit")
    found = [] if isinstance(builds, (Absent, Unknown)) else [str(build) for build in builds]
    if not isinstance(toolkit, (Absent, Unknown)):
        found.append(f"CUDA toolkit {known(toolkit.version) or ''}".strip())
    found += [name for name in known(facts.get("env")) or {} if name.startswith("NVIDIA_REQUIRE_")]
    if found:
        return found
    if isinstance(builds, Unknown):
        return Unknown(f"the installed packages are {builds.why}")
    unclear = [build for build in known(facts.get("builds")) or [] if build.variant is None]
    if unclear:
        return Unknown(f"whether {', '.join(map(str, unclear))} uses CUDA: {unclear[0].evidence[0].fact}")
    return Absent("nothing that uses CUDA is installed")


def rocm_builds(facts: Facts) -> list[FrameworkBuild] | Absent | Unknown:
    """The builds that use ROCm."""
    found = facts.get("builds")
    if isinstance(found, (Absent, Unknown)):
        return found
    return [build for build in found if build.variant == "rocm"] or Absent("no ROCm build is installed")


def xpu_builds(facts: Facts) -> list[FrameworkBuild] | Absent | Unknown:
    """The builds for Intel GPUs."""
    found = facts.get("builds")
    if isinstance(found, (Absent, Unknown)):
        return found
    return [build for build in found if build.variant == "xpu"] or Absent("no build for Intel GPUs is installed")


def unserved_builds(facts: Facts) -> list[FrameworkBuild] | Absent | Unknown:
    """Builds for the GPUs of one maker where none of that maker is listed.

    A CUDA build on a machine without any GPU is not among them: whether a GPU is missing is asked elsewhere.
    """
    builds, gpus = facts.get("builds"), facts.snapshot.machine.gpus
    if isinstance(builds, (Absent, Unknown)):
        return builds
    found = []
    for build in builds:
        if build.variant == "cuda":
            if isinstance(gpus, list) and isinstance(facts.get("gpus"), Absent):
                found.append(build)
        elif build.variant in ("rocm", "xpu"):
            from envcheck.facts.makers import vendor_of

            maker = "amd" if build.variant == "rocm" else "intel"
            if not isinstance(gpus, list) or all(vendor_of(gpu) != maker for gpu in gpus):
                found.append(build)
    return found or Absent("no build is for GPUs of another maker")
