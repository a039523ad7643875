"""AMD, Intel and Apple: a first look, which costs next to nothing where none of their parts is there.

Only where a file of a driver or of a runtime exists are :mod:`envcheck.probes.amd` and
:mod:`envcheck.probes.intel` imported; on Macs :mod:`envcheck.probes.apple`.
"""

from __future__ import annotations

from envcheck.core.snapshot import Absent, AmdDriver, IntelDriver, Text, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log

KFD = "/dev/kfd"
AMDGPU = "/sys/module/amdgpu"
OPT = "/opt"
INTEL_MODULES = ("xe", "i915")
"""Kernel modules of Intel's GPUs; the newer one first."""


def amd(host: Host, log: Log) -> AmdDriver:
    """The AMD driver and ROCm."""
    if host.platform != "linux":
        fact = Unknown(f"not looked for on {host.platform}")
        return AmdDriver(kernel=fact, rocm=fact, nodes=fact)
    folders = rocm_folders(host)
    if not (folders or host.exists(KFD) or host.exists(AMDGPU)):
        log.add("amd", "absent", "no /dev/kfd, no amdgpu kernel module, no /opt/rocm")
        return AmdDriver(
            kernel=Absent("the amdgpu kernel module is not loaded"),
            rocm=Absent("neither ROCM_PATH nor /opt has a ROCm"),
            nodes=Absent("there is no /dev/kfd"),
        )
    from envcheck.probes.amd import probe

    return probe(host, log, folders)


def rocm_folders(host: Host) -> list[str]:
    """Where a ROCm may lie: ROCM_PATH, /opt/rocm, /opt/rocm-6.4.1 ...; the last ones newest first."""
    from envcheck.versions import numbers

    found = [path] if (path := host.env.get("ROCM_PATH", "").rstrip("/")).startswith("/") else []
    try:
        names = [name for name in host.listdir(OPT) if name == "rocm" or name.startswith("rocm-")]
    except OSError:
        names = []
    names.sort(key=lambda name: (name == "rocm", numbers(name.partition("-")[2])), reverse=True)
    return list(dict.fromkeys([*found, *(f"{OPT}/{name}" for name in names)]))


def intel(host: Host, log: Log) -> IntelDriver:
    """The kernel module of Intel's GPUs, Level Zero and oneAPI."""
    if host.platform != "linux":
        fact = Unknown(f"not looked for on {host.platform}")
        return IntelDriver(kernel=fact, level_zero=fact, compute_runtime=fact, oneapi=fact)
    modules = [name for name in INTEL_MODULES if host.exists(f"/sys/module/{name}")]
    if not modules and not host.exists("/dev/dxg"):
        log.add("intel", "absent", "neither i915 nor xe is loaded")
        why = Absent("neither the kernel module i915 nor xe is loaded")
        none = Unknown("not looked for: there is no Intel GPU driver")
        return IntelDriver(kernel=why, level_zero=none, compute_runtime=none, oneapi=none)
    from envcheck.probes.intel import probe

    return probe(host, log, modules)


def apple(host: Host, log: Log) -> tuple[Text, Text]:
    """Release of macOS or Windows, and the Metal family of a Mac's GPU."""
    if host.platform == "darwin":
        from envcheck.probes.apple import probe

        return probe(host, log)
    metal = Absent("only Macs have Metal")
    if host.platform != "win32":
        return Absent("Linux has no other release than its kernel's and its distribution's"), metal
    try:
        release = host.query("uname").get("release")
    except (OSError, ValueError, AttributeError):
        release = None
    return release if isinstance(release, str) and release else Unknown("Windows told no build number"), metal


def render_nodes(host: Host, vendor: str) -> list[str]:
    """The /dev/dri/renderD* nodes of a maker's GPUs; a node whose maker cannot be read is listed too."""
    try:
        names = [name for name in host.listdir("/dev/dri") if name.startswith("renderD")]
    except OSError:
        return []
    found = []
    for name in names:
        try:
            owner = host.read(f"/sys/class/drm/{name}/device/vendor", 64).strip()
        except OSError:
            owner = ""
        if owner in ("", vendor):
            found.append(f"/dev/dri/{name}")
    return found


def denied(host: Host, log: Log, nodes: list[str], probe: str) -> list[str]:
    """Those of the nodes that this process may not open for reading and writing."""
    with log.attempt(probe, "permissions of device nodes") as attempt:
        answer = host.query("denied", *nodes)
        refused = [node for node in nodes if isinstance(answer, list) and node in answer]
        attempt.found(f"may not open {' '.join(refused)}" if refused else "may open all")
        return refused
    return []
