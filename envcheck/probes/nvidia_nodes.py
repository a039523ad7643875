"""What stands between a process and the NVIDIA kernel module: device nodes, their permissions, the fabric manager."""

from __future__ import annotations

from envcheck.core.snapshot import Absent, Gpu, NvidiaDriver, Text, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log

NODES = ("nvidia", "dxg", "nvmap", "nvhost-ctrl-gpu", "nvgpu")
"""Beginnings of the names of device nodes; dxg is WSL's, the last three are Jetson's."""
SWITCH_DRIVER = "/sys/bus/pci/drivers/nvidia-nvswitch"
"""Holds a link for every NVSwitch of the first three generations; later ones are no PCI devices of NVIDIA's."""
FABRIC_MANAGER = "nv-fabricmanager"
PLACES = ("/usr/bin/nv-fabricmanager", "/usr/local/bin/nv-fabricmanager")
MAX_PROCESSES = 65536


def device_nodes(host: Host, log: Log, driver: NvidiaDriver) -> None:
    """``nodes`` and ``nodes_denied``."""
    if host.platform != "linux":
        driver.nodes = Absent("this system has no such nodes")
        return
    driver.nodes = Unknown("/dev could not be read")
    with log.attempt("device nodes", "/dev") as attempt:
        found = [f"/dev/{name}" for name in host.listdir("/dev") if name.startswith(NODES)]
        if not found:
            attempt.absent("no /dev/nvidia*")
            driver.nodes = Absent("no /dev/nvidia*")
            return
        driver.nodes = found
        attempt.found(" ".join(found))
    if not isinstance(driver.nodes, list):
        return
    try:
        # nvidia-caps is a folder; of nvidia-modeset and the like CUDA needs nothing.
        used = [path for path in driver.nodes if not path.endswith(("-modeset", "-caps", "-caps-imex-channels"))]
        denied = host.query("access", *used)
    except (OSError, ValueError):
        return  # a recording made before this was asked
    if isinstance(denied, list) and denied:
        driver.nodes_denied = [str(path) for path in denied]
        log.add(
            "device nodes", "failed", "this process may not read and write " + " ".join(driver.nodes_denied), "/dev"
        )


def module_kind(text: str) -> Text:
    """``open`` or ``proprietary``, by the words of /proc/driver/nvidia/version."""
    for line in text.splitlines():
        if line.startswith("NVRM version:"):
            return "open" if "Open Kernel Module" in line else "proprietary"
    return Unknown("/proc/driver/nvidia/version does not say")


def fabric_manager(host: Host, log: Log, nodes: list[str] | Absent | Unknown, gpus: object) -> Text:
    """Whether the fabric manager runs; looked for only where there is an NVSwitch."""
    if host.platform != "linux":
        return Absent("NVSwitch machines run Linux")
    switch = _switch(host, nodes, gpus)
    if not switch:
        return Absent("there is no NVSwitch here")
    with log.attempt("fabric manager", "/proc/*/comm") as attempt:
        names = [name for name in host.listdir("/proc") if name.isdigit()][:MAX_PROCESSES]
        for name in names:
            try:
                command = host.read(f"/proc/{name}/comm", 64).strip()
            except OSError:
                continue  # it has ended meanwhile
            if len(command) > 10 and FABRIC_MANAGER.startswith(command):  # the kernel keeps 15 characters
                attempt.found("running")
                return "running"
        if any(host.exists(path) for path in ("/.dockerenv", "/run/.containerenv")):
            attempt.failed("a container shows its own processes only")
            return Unknown("a container shows its own processes only")
        if any(host.exists(path) for path in PLACES):
            attempt.failed(f"stopped; {switch}")
            return "stopped"
        attempt.absent(f"not installed; {switch}")
        return Absent(f"nv-fabricmanager is not installed, and {switch}")
    return Unknown("/proc could not be read")


def _switch(host: Host, nodes: list[str] | Absent | Unknown, gpus: object) -> str:
    """How we know that there is an NVSwitch; empty where nothing says so."""
    if isinstance(nodes, list) and any(path.rstrip("0123456789") == "/dev/nvidia-nvswitch" for path in nodes):
        return "there are NVSwitch device nodes"
    if isinstance(gpus, list):
        on_fabric = [gpu for gpu in gpus if isinstance(gpu, Gpu) and isinstance(gpu.fabric, str)]
        if on_fabric:
            return f"GPU {on_fabric[0].index} belongs to an NVSwitch fabric"
    try:
        if any(":" in name for name in host.listdir(SWITCH_DRIVER)):
            return "an NVSwitch is on the PCI bus"
    except OSError:
        pass
    return ""
