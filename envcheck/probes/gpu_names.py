"""Names of AMD and Intel GPUs by their PCI numbers, from the lists that lie on the machine.

1. amdgpu.ids of libdrm (device, revision, product). 2. pci.ids (vendor, device). Both are public data that
distributions install; where there is none, a GPU keeps its number.
"""

from __future__ import annotations

from envcheck.core.snapshot import Gpu, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log

AMDGPU_IDS = ("/usr/share/libdrm/amdgpu.ids", "/opt/amdgpu/share/libdrm/amdgpu.ids")
PCI_IDS = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids")
PCI = "/sys/bus/pci/devices"


def describe(host: Host, log: Log, listed: list[Gpu]) -> None:
    """Fill in what files tell of the AMD and Intel GPUs on the bus; ``listed`` are changed in place."""
    if any(gpu.vendor == "amd" for gpu in listed):
        from envcheck.probes.amd import describe as describe_amd

        describe_amd(host, log, listed)
    for gpu in listed:
        if gpu.vendor not in ("amd", "intel") or not isinstance(gpu.name, Unknown):
            continue
        gpu.name = _name(host, log, gpu) or Unknown("no list on this machine names its PCI number")
        if gpu.vendor == "intel":
            gpu.memory_mib = gpu.memory_free_mib = Unknown("no file tells it; Level Zero would")


def _name(host: Host, log: Log, gpu: Gpu) -> str | None:
    vendor, _, device = gpu.pci_id.partition(":") if isinstance(gpu.pci_id, str) else ("", "", "")
    if not device:
        return None
    if vendor == "1002":
        revision = _read(host, f"{PCI}/{gpu.pci_bus}/revision", 32).strip().lower().removeprefix("0x")
        for path in AMDGPU_IDS:
            if name := amd_name(_read(host, path), device, revision):
                log.add("gpus", "ok", f"{gpu.pci_bus}: {name}", path)
                return name
    for path in PCI_IDS:
        if name := pci_name(_read(host, path), vendor, device):
            log.add("gpus", "ok", f"{gpu.pci_bus}: {name}", path)
            return name
    return None


def _read(host: Host, path: str, limit: int = 1 << 22) -> str:
    try:
        return host.read(path, limit)
    except OSError:
        return ""


def amd_name(text: str, device: str, revision: str) -> str | None:
    """The product of ``744C, C8, AMD Radeon RX 7900 XTX`` lines."""
    if not device or not revision:
        return None
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) == 3 and parts[0].lower() == device and parts[1].lower() == revision:
            return parts[2] or None
    return None


def pci_name(text: str, vendor: str, device: str) -> str | None:
    """The device of a vendor in pci.ids; what stands in brackets is the name that it is sold under."""
    start = text.find(f"\n{vendor}  ")
    if not vendor or not device or start < 0:
        return None
    for line in text[start + 1 :].split("\n")[1:]:
        if line[:1] not in ("\t", "#", ""):
            return None  # the next vendor
        if line.startswith(f"\t{device}  "):
            name = line[len(device) + 3 :].strip()
            inner = name.partition("[")[2].rpartition("]")[0].strip()
            maker = {"1002": "AMD ", "8086": "Intel "}.get(vendor, "")
            return f"{maker}{inner or name}" if inner or name else None
    return None
