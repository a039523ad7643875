"""What cuInit answered to a process of this environment, and the cure for host, container and WSL each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Absent, Unknown, known

if TYPE_CHECKING:
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.visible import Visible
    from envcheck.rules._gpu_access import Scene

HMM = Fix(
    'echo "options nvidia_uvm uvm_disable_hmm=1" | sudo tee /etc/modprobe.d/uvm.conf '
    "&& sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm",
    "when sudo dmesg shows request_free_mem_region() err -34, a fault of some kernels (CUDA release notes)",
    "manual",
    "nvidia-smi",
)
"""On some kernels with KASLR the memory management of the open module fails, and cuInit with it."""

MISMATCHES = ("803", "804")
"""Another rule's: nvml-driver-mismatch."""


def succeeded(scene: Scene) -> bool:
    """CUDA was seen to work here: whatever else looks broken does not keep a program from a GPU."""
    nvidia = scene.nvidia
    return scene.snapshot.built_on is None and isinstance(nvidia.cu_init, Absent) and known(nvidia.cuda_devices) != 0


def refused(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """cuInit failed, and no other finding says why."""
    told = known(scene.nvidia.cu_init)
    code = told.split()[0] if told else ""
    if not told or code in MISMATCHES or (scene.snapshot.built_on is not None and code in ("100", "34")):
        return []
    meaning = ""
    if code.isdigit():
        row = scene.matrix.row("cuda-errors", code=int(code))
        meaning = f" ({row['meaning']})" if row is not None and row["meaning"] else ""
    name = gpus[0].name if gpus else "a GPU"
    evidence = [Evidence(f"cuInit: {told}", "libcuda, in a process of this environment")]
    if code == "802":
        return [_fabric(gpus, scene, told, evidence)]
    if told.startswith("signal"):
        message = f"cuInit ends the process with {told}: the driver's libcuda crashes before {name} can be used"
        return [scene.finding(message, evidence, _reinstall(scene), "error", "high")]
    if code == "100" and gpus:
        message = f"CUDA offers no device (cuInit: {told}), although the driver lists {name}{_why_none(scene)}"
    else:
        message = f"cuInit answers {told}{meaning}, so that {scene.subject} gets no GPU"
    missing = _missing_nodes(scene)
    if missing:
        message += f"; {missing} is missing"
        evidence.append(Evidence(f"no {missing} among {len(known(scene.nvidia.nodes) or [])} device nodes", "/dev"))
    return [scene.finding(message, evidence, _fixes(code, scene), "error", "high")]


def fewer(gpus: Sequence[GpuView], visible: Visible | None, scene: Scene) -> list[Finding]:
    """CUDA works, and offers fewer GPUs than the driver lists and the variables leave."""
    count, left = known(scene.nvidia.cuda_devices), list(gpus) if visible is None else visible.gpus
    if count is None or count >= len(left) or not succeeded(scene) or any(known(g.raw.mig) == "enabled" for g in gpus):
        return []
    if visible is not None and (visible.bad is not None or not visible.sure):
        return []
    return [
        scene.finding(
            f"CUDA offers {count} of the {len(left)} GPUs that the driver lists",
            [Evidence(f"cuDeviceGetCount: {count}", "libcuda, in a process of this environment"), *_lines(left)],
            [Fix("sudo dmesg | grep -E 'NVRM|Xid'", "says which GPU failed; a reboot often brings it back", "review")],
            "warning",
            "medium",
        )
    ]


def lost(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """GPUs that fell off the bus or want a reset: NVML lists them and can tell nothing."""
    gone = [
        (gpu, fact.why)
        for gpu in gpus
        if isinstance(fact := gpu.raw.uuid, Unknown) and fact.why.startswith(("NVML: 15 ", "NVML: 16 "))
    ]
    if not gone:
        return []
    gpu, why = gone[0]
    return [
        scene.finding(
            f"GPU {gpu.index} ({gpu.name}) does not answer ({why})",
            [Evidence(why, "NVML")],
            [
                Fix(f"sudo nvidia-smi --gpu-reset -i {gpu.index}", "with every program on it ended", "manual"),
                Fix("sudo reboot", "when the reset fails; sudo dmesg shows the Xid", "manual", "nvidia-smi -L"),
            ],
            "error" if len(gone) == len(gpus) else "warning",
            "high",
        )
    ]


def _lines(gpus: Sequence[GpuView]) -> list[Evidence]:
    return [gpu.evidence for gpu in gpus[:4]]


def _why_none(scene: Scene) -> str:
    value = scene.env.get("CUDA_VISIBLE_DEVICES")
    return f" and CUDA_VISIBLE_DEVICES is {value!r}" if value is not None else ""


def _missing_nodes(scene: Scene) -> str:
    """The first device node that CUDA needs and that is not there; empty where nothing is known to be missing."""
    nodes = known(scene.nvidia.nodes)
    if scene.wsl or not nodes or not any(path.startswith("/dev/nvidia") for path in nodes):
        return ""
    return next((path for path in ("/dev/nvidiactl", "/dev/nvidia-uvm") if path not in nodes), "")


def _fixes(code: str, scene: Scene) -> list[Fix]:
    if code in ("805", "806", "807", "808", "809"):
        mps = "the control daemon of MPS; or unset CUDA_MPS_PIPE_DIRECTORY to do without it"
        return [Fix("nvidia-cuda-mps-control -d", mps, "review", "echo get_server_list | nvidia-cuda-mps-control")]
    if code == "34":
        return [Fix("unset LD_LIBRARY_PATH", "or take the folder named stubs out of it: it is for linking", "safe")]
    if scene.wsl:
        return [Fix("wsl --shutdown", "in Windows, after updating its NVIDIA driver", "manual", "nvidia-smi")]
    uvm = "sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm && sudo nvidia-modprobe -u -c=0"
    if scene.container:
        return [
            Fix(
                "docker restart CONTAINER", "its device access may be lost, as after systemctl daemon-reload", "review"
            ),
            *scene.start_container()[:1],
            Fix(uvm, "on the host, when CUDA fails there too", "manual", "nvidia-smi"),
        ]
    note = "loads the module anew and makes its device nodes; helps after suspend"
    return [
        *([HMM] if code == "3" else []),
        Fix(uvm, note, "manual", "nvidia-smi"),
        *([HMM] if code == "999" else []),
        Fix("sudo reboot", "when that fails; sudo dmesg shows lines of NVRM and Xid", "manual"),
    ]


def _reinstall(scene: Scene) -> list[Fix]:
    if scene.wsl:
        return [Fix("wsl --shutdown", "in Windows, after updating its NVIDIA driver", "manual", "nvidia-smi")]
    branch = (known(scene.nvidia.version) or "580").partition(".")[0]
    again = f"sudo apt-get install --reinstall libnvidia-compute-{branch}"
    where = "on the host, then make the container anew" if scene.container else "then reboot"
    return [Fix(again, where, "manual", "nvidia-smi")]


def _fabric(gpus: Sequence[GpuView], scene: Scene, told: str, evidence: list[Evidence]) -> Finding:
    """802: the NVSwitch fabric, or confidential computing, is not ready."""
    manager, states = scene.nvidia.fabric_manager, [known(gpu.raw.fabric) for gpu in gpus]
    waiting = next((state for state in states if state and state != "completed"), None)
    version = known(scene.nvidia.version) or ""
    if known(manager) is not None:
        evidence.append(Evidence(f"fabric manager: {known(manager)}", "/proc/*/comm"))
    if waiting:
        evidence.append(Evidence(f"fabric state of a GPU: {waiting}", "NVML"))
    start = Fix(
        "sudo systemctl enable --now nvidia-fabricmanager",
        "on the host; it must be of the driver's own version",
        "manual",
        "nvidia-smi -q | grep -A 2 Fabric",
    )
    install = Fix(
        f"sudo apt-get install nvidia-fabricmanager-{version.partition('.')[0] or '580'} && {start.command}",
        f"on the host, in exactly the driver's version {version}".rstrip(),
        "manual",
        start.verify,
    )
    fixes = [install] if isinstance(manager, Absent) else [start, install]
    no_switch = isinstance(manager, Absent) and not waiting and manager.why.startswith("there is no NVSwitch")
    if no_switch:
        ready = "where confidential computing is on: says that the GPUs may be used, after their attestation"
        fixes = [Fix("sudo nvidia-smi conf-compute -srs 1", ready, "manual", "nvidia-smi conf-compute -grs"), HMM]
    if any(known(gpu.raw.virtual) for gpu in gpus):
        fixes.append(Fix("", "in a virtual machine, the fabric manager of the hypervisor must start it", "manual"))
    why = "the fabric manager does not run" if known(manager) == "stopped" else "the NVSwitch fabric is not ready"
    if no_switch:
        why = "the system is not ready, and there is no NVSwitch here that could be the reason"
    if known(manager) == "running":
        why = "the fabric manager runs, but the NVSwitch fabric is not ready"
    state = f" (state: {waiting})" if waiting else ""
    message = f"cuInit answers {told}: {why}{state}, and until it is no CUDA program can use a GPU of this machine"
    return scene.finding(message, evidence, fixes, "error", "high")
