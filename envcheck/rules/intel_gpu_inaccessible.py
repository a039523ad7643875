"""Builds for Intel GPUs can't reach the Intel GPU.

What it does
    Looks for reasons why PyTorch's XPU build would find no device on a Linux machine that has an Intel GPU: no kernel
    module, no Level Zero loader, no GPU driver of Level Zero, render nodes that are missing or that this process may
    not open.

Why it fails
    The wheels bring the SYCL runtime, but not the driver: libze_loader.so.1 and libze_intel_gpu.so.1 come from the
    system's packages, and they open /dev/dri/renderD*, which belong to the group render.

How it shows
    "libze_loader.so.1: cannot open shared object file: No such file or directory", "torch.xpu.is_available() False",
    "XPU device count is zero!", "No XPU devices are available".

How to fix
    Install Intel's packages libze1 and libze-intel-gpu1. Add the user to the group render, and log in again. Start the
    container with --device=/dev/dri.

Exceptions
    Libraries and nodes that nobody looked for are taken to be there. Inside WSL there are no render nodes.

Sources
    PyTorch: Getting Started on Intel GPU; Intel's page on the prerequisites; level-zero issue 125; PyTorch issue
    148477.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import NOT_STATED, Absent, Unknown, known

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.makers import MakerGpu

VERIFY = 'python -c "import torch; print(torch.xpu.is_available())"'


def check(
    xpu_builds: list[FrameworkBuild],
    intel_gpus: list[MakerGpu],
    *,
    in_container: bool = False,
    wsl: bool = False,
    snapshot: Snapshot,
) -> Iterator[Result]:
    """Judge whether the builds for Intel GPUs will reach one."""
    if known(snapshot.machine.system) not in (None, "Linux"):
        yield Skip("looked at on Linux only")
        return
    subject, gpu = ", ".join(map(str, xpu_builds[:3])), intel_gpus[0]
    found = list(_reasons(subject, gpu, in_container, wsl, snapshot))
    yield from found[:1]  # the first link that is missing
    unread = [
        (name, fact)
        for name, fact in (("level_zero", snapshot.machine.intel.level_zero), ("nodes", snapshot.machine.intel.nodes))
        if isinstance(fact, Unknown) and fact != NOT_STATED
    ]
    if not found and unread:
        name, fact = unread[0]
        yield Undecided(subject, f"machine.intel.{name}", f"whether {gpu.name} can be reached: {fact.why}")
    elif not found:
        yield Pass(subject, f"{gpu.name} can be reached")


def _reasons(subject: str, gpu: MakerGpu, container: bool, wsl: bool, snapshot: Snapshot) -> Iterator[Finding]:
    intel = snapshot.machine.intel
    if isinstance(intel.kernel, Absent) and not wsl:
        fix = Fix("sudo modprobe xe || sudo modprobe i915", "when that fails: dmesg says why", "manual", VERIFY)
        yield _finding(subject, f"no kernel module for {gpu.name} is loaded: {intel.kernel.why}", intel.kernel.why, fix)
    for name, package, fact in (
        ("libze_loader.so.1", "libze1", intel.level_zero),
        ("libze_intel_gpu.so.1", "libze-intel-gpu1", intel.compute_runtime),
    ):
        if isinstance(fact, Absent):
            note = "in the image" if container else "from Intel's package archive for your distribution"
            fix = Fix(f"sudo apt-get install {package}", note, "manual", VERIFY)
            yield _finding(subject, f"{subject} needs {name} to reach {gpu.name}, and {fact.why}", fact.why, fix)
    if isinstance(intel.nodes, Absent) and not wsl:
        fix = Fix("", "load the kernel module of the GPU", "manual", VERIFY)
        if container:
            fix = Fix("docker run --device=/dev/dri --group-add render IMAGE", "", "review", VERIFY)
        yield _finding(subject, f"{subject} has no way to {gpu.name}: {intel.nodes.why}", intel.nodes.why, fix)
    nodes = known(intel.nodes) or []
    if nodes and all(node in intel.nodes_denied for node in nodes):
        note = "then log in again" if not container else "or start the container with --group-add of their group"
        fix = Fix("sudo usermod -aG render $USER", note, "manual", VERIFY)
        message = f"this process may not open {' and '.join(nodes)}, which {subject} needs to reach {gpu.name}"
        yield _finding(subject, message, f"no access to {' '.join(nodes)}", fix, "high")


def _finding(subject: str, message: str, fact: str, fix: Fix, confidence: str = "medium") -> Finding:
    return Finding(
        severity="error",
        confidence=confidence,
        subject=subject,
        message=message,
        evidence=[Evidence(fact, "driver")],
        fixes=[fix],
    )
