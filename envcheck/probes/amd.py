"""The AMD side of a Linux machine, from files alone.

1. /sys/module/amdgpu/version: AMD's own (DKMS) kernel module has a version there, the kernel's own has none.
2. /dev/kfd and AMD's /dev/dri/renderD*: which there are, and which this process may not open.
3. ROCM_PATH, /opt/rocm and /opt/rocm-*: ``.info/version``.
4. For each GPU: /sys/class/kfd/kfd/topology/nodes/*/properties (``gfx_target_version``, found by its PCI address), and
   mem_info_vram_total, mem_info_vram_used and product_name in its PCI folder.
"""

from __future__ import annotations

from envcheck.core.snapshot import Absent, AmdDriver, Gpu, Text, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.probes.makers import AMDGPU, KFD, denied, render_nodes
from envcheck.versions import is_dotted

TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"
PCI = "/sys/bus/pci/devices"
MIB = 1 << 20
MAX_NODES = 1024
SMALL = 64 * 1024
AMD_VENDOR = "0x1002"


def probe(host: Host, log: Log, folders: list[str]) -> AmdDriver:
    """The driver and ROCm; ``folders``: where a ROCm may lie, the one in use first."""
    driver = AmdDriver(kernel=_kernel(host, log), rocm=_rocm(host, log, folders))
    nodes = _nodes(host)
    if nodes:
        driver.nodes = nodes
        driver.nodes_denied = denied(host, log, nodes, "amd")
        log.add("amd", "ok", " ".join(nodes), "/dev")
    else:
        driver.nodes = Absent("there is neither /dev/kfd nor a render node of an AMD GPU")
        log.add("amd", "absent", driver.nodes.why, "/dev")
    return driver


def _kernel(host: Host, log: Log) -> Text:
    path = f"{AMDGPU}/version"
    value: Text = Unknown(f"{path} could not be read")
    with log.attempt("amd", path) as attempt:
        if not host.exists(AMDGPU):
            attempt.absent("the module is not loaded")
            return Absent("the amdgpu kernel module is not loaded")
        if not host.exists(path):
            attempt.found("in-tree: it has no version of its own")
            return "in-tree"
        text = host.read(path, 256).strip()
        if is_dotted(text, most=5):
            attempt.found(text)
            value = text
        else:
            attempt.failed(f"reads {text[:40]!r}")
            value = Unknown(f"{path} reads {text[:40]!r}")
    return value


def _rocm(host: Host, log: Log, folders: list[str]) -> Text:
    """The first folder's version that can be read; the others are in the log."""
    found: Text = Absent("neither ROCM_PATH nor /opt has a ROCm")
    for folder in folders:
        path = f"{folder}/.info/version"
        with log.attempt("rocm", path) as attempt:
            try:
                text = host.read(path, 256)
            except FileNotFoundError:
                if isinstance(found, Absent):
                    found = Unknown(f"{folder} has no .info/version") if host.exists(folder) else found
                raise
            version = rocm_version(text)
            if version is None:
                attempt.failed(f"reads {text.strip()[:40]!r}")
                found = Unknown(f"{path} reads {text.strip()[:40]!r}") if not isinstance(found, str) else found
            else:
                attempt.found(version)
                found = version if not isinstance(found, str) else found
    return found


def rocm_version(text: str) -> str | None:
    """``6.2.4-147`` -> ``6.2.4``; None when there is no version in it."""
    word = text.strip().partition("-")[0].partition("+")[0]
    return word if is_dotted(word, most=5) else None


def _nodes(host: Host) -> list[str]:
    """/dev/kfd and the render nodes of AMD GPUs; a node whose maker cannot be read is listed too."""
    return [*([KFD] if host.exists(KFD) else []), *render_nodes(host, AMD_VENDOR)]


def _text(host: Host, path: str) -> str:
    try:
        return host.read(path, SMALL).strip()
    except OSError:
        return ""


def describe(host: Host, log: Log, gpus: list[Gpu]) -> None:
    """Target, memory and name of the AMD GPUs among those on the PCI bus; ``gpus`` are changed in place."""
    targets = _targets(host, log)
    for gpu in gpus:
        if gpu.vendor != "amd" or not isinstance(gpu.pci_bus, str):
            continue
        folder = f"{PCI}/{gpu.pci_bus}"
        gpu.target = targets.get(gpu.pci_bus) or Unknown(
            "the amdgpu driver's compute part (KFD) does not list this GPU"
        )
        total, used = (_number(host, f"{folder}/mem_info_vram_{word}") for word in ("total", "used"))
        if total:
            gpu.memory_mib = total // MIB
            if used is not None and used <= total:
                gpu.memory_free_mib = (total - used) // MIB
        else:
            gpu.memory_mib = gpu.memory_free_mib = Unknown("only a loaded amdgpu driver tells it")
        if name := _text(host, f"{folder}/product_name"):
            gpu.name = name


def _number(host: Host, path: str) -> int | None:
    text = _text(host, path)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _targets(host: Host, log: Log) -> dict[str, str]:
    """PCI address -> code-object target of every compute node."""
    found: dict[str, str] = {}
    with log.attempt("gpus", TOPOLOGY) as attempt:
        for node in host.listdir(TOPOLOGY)[:MAX_NODES]:
            try:
                values = properties(host.read(f"{TOPOLOGY}/{node}/properties", SMALL))
            except OSError:
                continue  # a container may read the nodes of its own GPUs only
            bus, target = pci_address(values), gfx_target(values.get("gfx_target_version", 0))
            if bus and target:
                # A GPU that is split into partitions has a node for each, with one address.
                found.setdefault(bus, target)
        attempt.found(", ".join(f"{bus} {target}" for bus, target in found.items()) or "no GPU")
    return found


def properties(text: str) -> dict[str, int]:
    """``name number`` lines; others are passed over."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if value.isascii() and value.isdigit() and len(value) < 21:
            found[key] = int(value)
    return found


def gfx_target(version: int) -> str | None:
    """The kernel's ``gfx_target_version`` as compilers name it: 90010 -> ``gfx90a``, 110000 -> ``gfx1100``.

    Major, minor and stepping in two decimal digits each; the last two are hexadecimal in the name. None for a CPU (0).
    """
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    if not 0 < major < 100 or minor > 15 or stepping > 15:
        return None
    return f"gfx{major}{minor:x}{stepping:x}"


def pci_address(values: dict[str, int]) -> str | None:
    """``0000:86:00.0`` from a node's ``domain`` and ``location_id``; None where it has none (a CPU).

    The upper bits of ``location_id`` number the partitions of a GPU.
    """
    place, domain = values.get("location_id", 0) & 0xFFFF, values.get("domain", 0)
    if not place or domain > 0xFFFFFFFF:
        return None
    return f"{domain:04x}:{place >> 8:02x}:{place >> 3 & 0x1F:02x}.{place & 7}"
