"""CUDA programs see no GPU here.

What it does
    Looks for reasons why a CUDA build would find no device: CUDA_VISIBLE_DEVICES or NVIDIA_VISIBLE_DEVICES that leave
    none, a container that was started without GPU access or without the `compute` capability, a GPU that belongs to
    nouveau or vfio-pci, no driver, a kernel module of the kind that does not drive this GPU, NVML errors, missing or
    forbidden device nodes, MIG without an instance, a compute mode that lets nobody in, an NVSwitch fabric that is not
    ready, WSL without its libcuda or with a Linux driver before it, and any other error of cuInit.

Why it fails
    CUDA asks libcuda, libcuda asks the kernel module through /dev/nvidia*. When one link is missing the count of
    devices is zero, or cuInit fails. CUDA_VISIBLE_DEVICES is read from left to right and ends at the first entry that
    names no device; a device that is named twice makes the whole list void. GPUs from Blackwell on need the open
    kernel module, those before Turing the proprietary one.

How it shows
    "Found no NVIDIA driver on your system", "No CUDA GPUs are available", "no CUDA-capable device is detected"
    (error 100), "torch.cuda.is_available() False", "Failed to initialize NVML: Driver Not Loaded", "Failed to
    initialize NVML: Unknown Error" in a container, "system not yet initialized" (error 802), "unknown error" (999),
    "all CUDA-capable devices are busy or unavailable" (46).

How to fix
    Start the container with GPU access (docker run --gpus all; the NVIDIA Container Toolkit must be installed on the
    host), mend the variable, install or load the driver, make a MIG instance.

Exceptions
    The index's default torch on a machine without a GPU is normal and only mentioned. A CUDA build that was asked for
    by name or label is a warning there. CUDA_VISIBLE_DEVICES that is empty or -1 may be meant: an error only for a
    CUDA build that was asked for by name or label. NVIDIA_VISIBLE_DEVICES is void in containers that get their GPUs
    by CDI: it counts only where no device node is seen. Where cuInit was seen to succeed, nothing but the variables
    and MIG is held against the machine.

Sources
    CUDA C++ Programming Guide (environment variables); NVIDIA Container Toolkit documentation; NVML API reference;
    CUDA on WSL user guide; MIG user guide; NVIDIA driver installation guide, kernel modules; NVIDIA Transitions Fully
    Towards Open-Source GPU Kernel Modules (blog); Fabric Manager user guide; torch.cuda._parse_visible_devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import UNKNOWN_WHY, Absent, Unknown, known
from envcheck.rules._cu_init import fewer, lost, refused, succeeded
from envcheck.rules._gpu_access import Scene, broken, closed_mode, denied, mig_without_instance, unbound, wrong_module
from envcheck.rules._visibility import HIDES_ALL, by_intent, hidden, not_given, without_compute

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot, Toolkit
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.visible import Visible
    from envcheck.matrix import Matrix


def check(
    cuda_builds: list[FrameworkBuild],
    *,
    gpus: Sequence[GpuView] | None = None,
    visibility: Visible | None = None,
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
    if gpus:
        yield from _with_gpus(gpus, visibility, scene)
        return
    value = scene.env.get("CUDA_VISIBLE_DEVICES")
    if value is not None and value.strip().lower() in HIDES_ALL:
        yield by_intent(value, scene)
    elif isinstance(snapshot.machine.gpus, Unknown) and driver is not None:
        if refusal := refused([], scene):
            yield from refusal
        elif value is not None and value.strip() != "0":
            yield Undecided(scene.subject, "gpus", f"whether CUDA_VISIBLE_DEVICES={value} names GPUs that are there")
        else:
            yield Pass(scene.subject, f"{driver} is there")
    else:
        yield from _nothing(scene, toolkit)


def _with_gpus(gpus: Sequence[GpuView], visible: Visible | None, scene: Scene) -> Iterator[Result]:
    """There are GPUs: what stands between them and the program?"""
    left = gpus if visible is None else visible.gpus
    found = hidden(gpus, visible, scene) + not_given(gpus, scene)
    found += mig_without_instance(left, scene) + closed_mode(left, scene) + lost(left, scene)
    if not succeeded(scene):
        found += unbound(gpus, scene) + wrong_module(gpus, scene)
        for look in (without_compute, denied, broken, refused):
            # Where the variable hides every GPU, that CUDA finds none is no news.
            if not any(finding.severity == "error" for finding in found) and (left or look is not refused):
                found += look(gpus, scene)
    found += [] if found else fewer(gpus, visible, scene)
    yield from found
    told, here = scene.nvidia.cu_init, scene.snapshot.built_on is None
    if any(finding.severity == "error" for finding in found):
        return
    if here and isinstance(told, Unknown) and told.why.startswith(("cuInit: ", "libcuda")):
        # It was asked and gave no answer: nothing may be concluded from that.
        yield Undecided(scene.subject, "cu_init", told.why)
    else:
        seen = "; cuInit succeeded" if succeeded(scene) else ""
        yield Pass(scene.subject, f"{len(left)} GPU(s) visible{seen}")


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
