"""ROCm programs can't reach the AMD GPU.

What it does
    Looks for reasons why a ROCm build would find no device on a Linux machine that has an AMD GPU: no /dev/kfd or no
    render node, nodes that this process may not open, an amdgpu kernel module that is not loaded, a GPU that is given
    to a virtual machine, ROCR_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES that names none.

Why it fails
    ROCm talks to the kernel through /dev/kfd and /dev/dri/renderD*. They belong to the group render (video on older
    systems), and a container has them only when it was started with them.

How it shows
    "torch.cuda.is_available() False", "No HIP GPUs are available", "hipErrorNoDevice", "Unable to open /dev/kfd
    read-write: Permission denied", "ROCk module is NOT loaded, possibly no GPU devices".

How to fix
    Add the user to the groups render and video, and log in again. Start the container with --device=/dev/kfd
    --device=/dev/dri and the numbers of these groups. Load the module amdgpu.

Exceptions
    In WSL the GPU is reached through /dev/dxg: nothing is said there. Nodes that nobody looked at are taken to be
    there.

Sources
    ROCm installation guide for Linux (prerequisites, containers); HIP environment variables.
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

KFD = "/dev/kfd"
HIDING = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
GROUPS = "sudo usermod -aG render,video $USER"
VERIFY = "rocminfo"


def check(
    rocm_builds: list[FrameworkBuild],
    amd_gpus: list[MakerGpu],
    *,
    env: dict[str, str] | None = None,
    in_container: bool = False,
    wsl: bool = False,
    snapshot: Snapshot,
) -> Iterator[Result]:
    """Judge whether the ROCm builds will reach a GPU."""
    if wsl or known(snapshot.machine.system) not in (None, "Linux"):
        yield Skip("only Linux outside WSL has /dev/kfd")
        return
    subject = ", ".join(map(str, rocm_builds[:3]))
    found = [*_hidden(env or {}, subject), *_unreachable(amd_gpus, subject, in_container, snapshot)]
    yield from found
    nodes = snapshot.machine.amd.nodes
    if isinstance(nodes, Unknown) and nodes != NOT_STATED:
        yield Undecided(subject, "machine.amd.nodes", f"whether {KFD} can be opened: {nodes.why}")
    elif not found:
        yield Pass(subject, f"{amd_gpus[0].name} can be reached")


def _finding(subject: str, message: str, fact: str, where: str, fix: Fix, confidence: str = "high") -> Finding:
    return Finding(
        severity="error",
        confidence=confidence,
        subject=subject,
        message=message,
        evidence=[Evidence(fact, where)],
        fixes=[fix],
    )


def _hidden(env: dict[str, str], subject: str) -> Iterator[Finding]:
    for name in HIDING:
        if env.get(name, "").strip() == "-1":
            message = f"{name}=-1 hides every GPU, so that {subject} runs on the CPU"
            fix = Fix(f"unset {name}", "unless the CPU is meant", "safe", VERIFY)
            yield _finding(subject, message, f"{name}=-1", "environment", fix, "medium")
            return


def _unreachable(gpus: list[MakerGpu], subject: str, container: bool, snapshot: Snapshot) -> Iterator[Finding]:
    """The first link of the way to the GPU that is missing."""
    amd, gpu = snapshot.machine.amd, gpus[0]
    bound = [known(one.raw.kernel_driver) for one in gpus]
    if all(driver == "vfio-pci" for driver in bound):
        fix = Fix("", "give the GPU back to the host, or run inside the virtual machine that has it", "manual", VERIFY)
        message = f"{gpu.name} is bound to the kernel driver vfio-pci, and ROCm needs amdgpu"
        yield _finding(subject, message, "kernel driver vfio-pci", "PCI bus", fix)
        return
    nodes = known(amd.nodes) or []
    if isinstance(amd.nodes, Unknown):
        return
    lacking = [
        name for name, there in ((KFD, KFD in nodes), ("/dev/dri/renderD*", len(nodes) > (KFD in nodes))) if not there
    ]
    if lacking:
        yield _without_nodes(lacking, gpu, subject, container, snapshot)
    elif refused := _refused(nodes, amd.nodes_denied):
        note = "then log in again" if not container else "or start the container with --group-add of their groups"
        message = f"this process may not open {' and '.join(refused)}, which {subject} needs to reach {gpu.name}"
        yield _finding(
            subject, message, f"no access to {' '.join(refused)}", "/dev", Fix(GROUPS, note, "manual", VERIFY)
        )


def _refused(nodes: list[str], denied: list[str]) -> list[str]:
    """Nodes without which there is no GPU: /dev/kfd, or all render nodes."""
    render = [node for node in nodes if node != KFD]
    return [*([KFD] if KFD in denied else []), *(render if all(node in denied for node in render) else [])]


def _without_nodes(lacking: list[str], gpu: MakerGpu, subject: str, container: bool, snapshot: Snapshot) -> Finding:
    names, kernel = " and ".join(lacking), snapshot.machine.amd.kernel
    if container:
        command = (
            "docker run --device=/dev/kfd --device=/dev/dri --group-add video --security-opt seccomp=unconfined IMAGE"
        )
        fix = Fix(command, "", "review", VERIFY)
        message = f"the host has {gpu.name}, but this container lacks {names}: it was started without GPU access"
        return _finding(subject, message, f"there is no {names}", "/dev", fix, "medium")
    if isinstance(kernel, Absent):
        fix = Fix("sudo modprobe amdgpu", "when that fails: dmesg says why", "manual", VERIFY)
        message = f"the kernel module amdgpu is not loaded, so that {subject} gets no access to {gpu.name}"
        return _finding(subject, message, kernel.why, "/sys/module", fix)
    fix = Fix("", "a kernel with CONFIG_HSA_AMD and an amdgpu driver that supports this GPU", "manual", VERIFY)
    message = f"the driver of {gpu.name} offers no {names}, which {subject} needs"
    return _finding(subject, message, f"there is no {names}", "/dev", fix, "medium")
