"""Which GPUs the variables leave: CUDA_VISIBLE_DEVICES for a program, NVIDIA_* for a container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.rules._cu_init import succeeded

if TYPE_CHECKING:
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.visible import Visible
    from envcheck.rules._gpu_access import Scene

HIDES_ALL = ("", "-1", "nodevfiles")
"""Values that are set to hide every GPU; the last is Slurm's for a job that was given none."""


def by_intent(value: str, scene: Scene) -> Finding:
    """A value that is written to hide every GPU."""
    fixes = [Fix("unset CUDA_VISIBLE_DEVICES", "unless the CPU is meant", "safe")]
    if value.strip().lower() == "nodevfiles":
        fixes = [Fix("srun --gres=gpu:1 COMMAND", "Slurm gave this job no GPU: ask for one", "review", "nvidia-smi -L")]
    return scene.finding(
        f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU, so that {scene.subject} runs on the CPU",
        [Evidence(f"CUDA_VISIBLE_DEVICES={value!r}", "environment")],
        fixes,
        "error" if scene.wish else "warning",
        "medium",
    )


def hidden(gpus: Sequence[GpuView], visible: Visible | None, scene: Scene) -> list[Finding]:
    """CUDA_VISIBLE_DEVICES: the list ends at the first entry that names no device."""
    if visible is None or visible.value is None:
        return []
    value = visible.value
    if value.strip().lower() in HIDES_ALL:
        return [by_intent(value, scene)]
    if visible.bad is None:
        return _order(gpus, visible, scene)
    if succeeded(scene) and (known(scene.nvidia.cuda_devices) or 0) > len(visible.gpus):
        return []  # CUDA itself said that more are left
    left = len(visible.gpus)
    if left:
        shown = f"the list ends there, and only the first {left} can be used"
    else:
        shown = "the list ends there, and no GPU is left" if "twice" not in visible.why else "no GPU is left"
    everything = ",".join(str(gpu.index) for gpu in gpus)
    return [
        scene.finding(
            f"CUDA_VISIBLE_DEVICES={value}: {visible.bad!r} {visible.why}; {shown}",
            [Evidence(f"CUDA_VISIBLE_DEVICES={value}", "environment"), gpus[0].evidence],
            [Fix(f"export CUDA_VISIBLE_DEVICES={everything}", "all GPUs of this machine", "safe", "nvidia-smi -L")],
            "warning" if left else "error",
            "medium" if left or not visible.sure or "twice" in visible.why else "high",
        )
    ]


def _order(gpus: Sequence[GpuView], visible: Visible, scene: Scene) -> list[Finding]:
    """Of GPUs of several kinds, an index may mean another one than nvidia-smi's."""
    order = scene.env.get("CUDA_DEVICE_ORDER", "")
    mixed = len({gpu.raw.name for gpu in gpus if isinstance(gpu.raw.name, str)}) > 1
    if not (visible.by_index and mixed and len(visible.gpus) < len(gpus)) or order == "PCI_BUS_ID":
        return []
    return [
        scene.finding(
            f"CUDA_VISIBLE_DEVICES={visible.value} counts the GPUs from the fastest on, nvidia-smi by their PCI "
            "address: on this machine with GPUs of several kinds it may choose another one than meant",
            [Evidence(f"CUDA_VISIBLE_DEVICES={visible.value}", "environment"), *(gpu.evidence for gpu in gpus[:2])],
            [Fix("export CUDA_DEVICE_ORDER=PCI_BUS_ID", "the numbers of nvidia-smi", "safe", "nvidia-smi -L")],
            "info",
            "medium",
        )
    ]


def not_given(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """NVIDIA_VISIBLE_DEVICES: which GPUs the container engine gives to the container."""
    value = scene.env.get("NVIDIA_VISIBLE_DEVICES")
    if value is None or not scene.container or value.strip().lower() not in ("none", "void", ""):
        return []
    if known(scene.nvidia.nodes) or any(isinstance(gpu.raw.uuid, str) for gpu in gpus):
        return []
    message = f"NVIDIA_VISIBLE_DEVICES={value!r} gives no GPU to the container, and the host has {gpus[0].name}"
    fix = Fix("docker run --gpus all -e NVIDIA_VISIBLE_DEVICES=all IMAGE", "all GPUs", "review", "nvidia-smi")
    severity = "error" if value.strip().lower() == "none" else "warning"
    return [
        scene.finding(
            message, [Evidence(f"NVIDIA_VISIBLE_DEVICES={value!r}", "environment")], [fix], severity, "medium"
        )
    ]


def without_compute(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """NVIDIA_DRIVER_CAPABILITIES: without "compute" the container gets no libcuda.

    Containers that get their GPUs by CDI are given everything: a libcuda that is there settles it.
    """
    value = scene.env.get("NVIDIA_DRIVER_CAPABILITIES", "")
    asked = {part.strip() for part in value.split(",")} - {""}
    libcuda = scene.nvidia.libcuda
    if not scene.container or not asked or asked & {"all", "compute"} or isinstance(libcuda, str):
        return []
    if scene.snapshot.built_on is None and isinstance(libcuda, Unknown) and known(scene.nvidia.cuda) is not None:
        return []
    seen = isinstance(libcuda, Absent) and scene.snapshot.built_on is None
    wanted = ",".join(sorted({"compute", "utility", *asked}))
    evidence = [Evidence(f"NVIDIA_DRIVER_CAPABILITIES={value}", "environment")]
    if isinstance(libcuda, Absent):
        evidence.append(Evidence(libcuda.why, "loader"))
    message = (
        f"NVIDIA_DRIVER_CAPABILITIES={value} lacks compute, so that the container gets no libcuda.so.1 and "
        f"{scene.subject} cannot use {gpus[0].name}"
    )
    fix = Fix(f"docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES={wanted} IMAGE", "", "review", "nvidia-smi")
    return [scene.finding(message, evidence, [fix], "error" if seen else "warning", "high" if seen else "medium")]
