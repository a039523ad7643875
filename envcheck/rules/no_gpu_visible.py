"""CUDA programs see no GPU here.

What it does
    Looks for reasons why a CUDA build would find no device: CUDA_VISIBLE_DEVICES or NVIDIA_VISIBLE_DEVICES that leave
    none, a container that was started without GPU access, a GPU that belongs to nouveau or vfio-pci, no driver, NVML
    errors, missing device nodes, MIG without an instance, WSL without its libcuda or with a Linux driver before it.

Why it fails
    CUDA asks libcuda, libcuda asks the kernel module through /dev/nvidia*. When one link is missing the count of
    devices is zero, or cuInit fails. CUDA_VISIBLE_DEVICES is read from left to right and ends at the first entry that
    names no device.

How it shows
    "Found no NVIDIA driver on your system", "No CUDA GPUs are available", "no CUDA-capable device is detected"
    (error 100), "torch.cuda.is_available() False", "Failed to initialize NVML: Driver Not Loaded", "Failed to
    initialize NVML: Unknown Error" in a container.

How to fix
    Start the container with GPU access (docker run --gpus all; the NVIDIA Container Toolkit must be installed on the
    host), mend the variable, install or load the driver, make a MIG instance.

Exceptions
    The index's default torch on a machine without a GPU is normal and only mentioned. A CUDA build that was asked for
    by name or label is a warning there. CUDA_VISIBLE_DEVICES that is empty or -1 may be meant: an error only for a
    CUDA build that was asked for by name or label. NVIDIA_VISIBLE_DEVICES is void in containers that get their GPUs
    by CDI: it counts only where no device node is seen.

Sources
    CUDA C++ Programming Guide (environment variables); NVIDIA Container Toolkit documentation; NVML API reference;
    CUDA on WSL user guide; MIG user guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import UNKNOWN_WHY, Absent, Unknown, known
from envcheck.rules._gpu_access import Scene, broken, mig_without_instance, unbound

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot, Toolkit
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix


def check(
    cuda_builds: list[FrameworkBuild],
    *,
    gpus: Sequence[GpuView] | None = None,
    visible_gpus: Sequence[GpuView] | None = None,
    driver: Driver | None = None,
    env: dict[str, str] | None = None,
    in_container: bool = False,
    wsl: bool = False,
    packages: Packages | None = None,
    toolkit: Toolkit | None = None,
    snapshot: Snapshot,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge whether the CUDA builds will see a GPU."""
    scene = Scene(cuda_builds, driver, env or {}, in_container, wsl, packages, snapshot, matrix)
    found: list[Finding] = []
    if gpus:
        found += _hidden(gpus, visible_gpus, scene)
        found += _not_given(gpus, scene)
        found += unbound(gpus, scene)
        found += mig_without_instance(gpus if visible_gpus is None else visible_gpus, scene)
        found += broken(gpus, scene) if not found else []
        yield from found
        if not any(finding.severity == "error" for finding in found):
            yield Pass(scene.subject, f"{len(gpus if visible_gpus is None else visible_gpus)} GPU(s) visible")
        return
    value = scene.env.get("CUDA_VISIBLE_DEVICES")
    if value is not None and value.strip() in ("", "-1"):
        yield _by_intent(value, scene)
    elif isinstance(snapshot.machine.gpus, Unknown) and driver is not None:
        if value is not None and value.strip() != "0":
            yield Undecided(scene.subject, "gpus", f"whether CUDA_VISIBLE_DEVICES={value} names GPUs that are there")
        else:
            yield Pass(scene.subject, f"{driver} is there")
    else:
        yield from _nothing(scene, toolkit)


def _by_intent(value: str, scene: Scene) -> Finding:
    return scene.finding(
        f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU, so that {scene.subject} runs on the CPU",
        [Evidence(f"CUDA_VISIBLE_DEVICES={value!r}", "environment")],
        [Fix("unset CUDA_VISIBLE_DEVICES", "unless the CPU is meant", "safe")],
        "error" if scene.wish else "warning",
        "medium",
    )


def _hidden(gpus: Sequence[GpuView], visible: Sequence[GpuView] | None, scene: Scene) -> list[Finding]:
    """CUDA_VISIBLE_DEVICES: the list ends at the first entry that names no device."""
    value = scene.env.get("CUDA_VISIBLE_DEVICES")
    if value is None or visible is None:
        return []
    if value.strip() in ("", "-1"):
        return [_by_intent(value, scene)]
    entries = [entry.strip() for entry in value.split(",")]
    if len(visible) >= len(entries):
        return []
    bad = entries[len(visible)]
    have = f"{len(gpus)} GPU" + (f"s (0 to {len(gpus) - 1})" if len(gpus) > 1 else " (index 0)")
    shown = "no GPU is left" if not visible else f"only the first {len(visible)} can be used"
    everything = ",".join(str(gpu.index) for gpu in gpus)
    return [
        scene.finding(
            f"CUDA_VISIBLE_DEVICES={value} names {bad!r}, but the machine has {have}: the list ends there, and {shown}",
            [Evidence(f"CUDA_VISIBLE_DEVICES={value}", "environment"), gpus[0].evidence],
            [Fix(f"export CUDA_VISIBLE_DEVICES={everything}", "all GPUs of this machine", "safe", "nvidia-smi -L")],
            "warning" if visible else "error",
            "medium" if visible else "high",
        )
    ]


def _not_given(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
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


def _nothing(scene: Scene, toolkit: Toolkit | None) -> Iterator[Result]:
    """No GPU is known: there is none, or nobody said."""
    gpus, version = scene.snapshot.machine.gpus, scene.nvidia.version
    # A list without a GPU of NVIDIA's says that there is none, unless its driver is there.
    others = [known(gpu.name) or "a GPU of another maker" for gpu in gpus] if isinstance(gpus, list) else []
    none_found = isinstance(gpus, Absent) or (isinstance(gpus, Unknown) and isinstance(version, Absent))
    none_found = none_found or bool(others and scene.driver is None)
    if not none_found and not _bare_container(scene, toolkit):
        yield Undecided(scene.subject, "gpus", "whether the machine has an NVIDIA GPU and a driver is not known")
        return
    why = next((fact.why for fact in (gpus, version) if isinstance(fact, Absent)), "no driver and no GPU are named")
    if others:
        why = f"there is {others[0]}"
    evidence = [Evidence(why, "GPU query")]
    hidden = scene.env.get("NVIDIA_VISIBLE_DEVICES")
    if hidden is not None and hidden.lower() in ("", "void", "none"):
        evidence.append(Evidence(f"NVIDIA_VISIBLE_DEVICES={hidden!r} offers none", "environment"))
    if scene.wish and (scene.container or scene.wsl):
        where = "this container" if scene.container else "WSL"
        fixes = scene.start_container()
        if not scene.container:
            fixes = [
                Fix("wsl --update && wsl --shutdown", "and install NVIDIA's Windows driver", "manual", "nvidia-smi")
            ]
        message = f"{scene.subject} is a GPU build, but {where} has no access to an NVIDIA GPU: {why}"
        yield scene.finding(message, evidence, fixes, "error", "medium")
        return
    cpu = Fix(
        "pip install torch --index-url https://download.pytorch.org/whl/cpu", "much smaller, if no GPU is meant", "safe"
    )
    fixes = [cpu] if any(build.package == "torch" for build in scene.builds) else []
    fixes.append(Fix("", "run it on a machine with an NVIDIA GPU and driver", "manual", "nvidia-smi"))
    message = f"{scene.subject} is a GPU build, but the machine has no NVIDIA GPU that can be used ({why})"
    yield scene.finding(message, evidence, fixes, "warning" if scene.wish else "info", "medium")


def _bare_container(scene: Scene, toolkit: Toolkit | None) -> bool:
    """Facts that state a container and a labelled CUDA build, and have no word of a driver, a GPU or any part of CUDA.

    Who describes a container so fully and names no driver has none in it. A report that names other parts of CUDA, or
    how GPUs are chosen, was written where there is one.
    """
    machine, stack = scene.snapshot.machine, scene.snapshot.stack
    facts = (machine.gpus, scene.nvidia.version, scene.nvidia.cuda)
    if not scene.container or not all(isinstance(fact, Unknown) and fact.why == UNKNOWN_WHY for fact in facts):
        return False
    parts = (toolkit, known(stack.cudnn), known(stack.libraries), stack.missing_libraries or None, scene.env or None)
    labels = [scene.packages.label(build.package) for build in scene.builds] if scene.packages is not None else []
    return all(part is None for part in parts) and any(label and label.startswith("cu") for label in labels)
