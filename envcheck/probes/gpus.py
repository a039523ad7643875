"""The GPUs of a machine, merged from all sources by PCI address; facts of the better source win.

Sources, best first: NVML, nvidia-smi (when NVML did not answer), the device tree of a Jetson,
/proc/driver/nvidia/gpus, the PCI bus.
"""

from __future__ import annotations

from envcheck.core.snapshot import Absent, Gpu, PcieLink, Unknown
from envcheck.probes import pci
from envcheck.probes.host import Host
from envcheck.probes.log import Log


def merge(
    host: Host, log: Log, answered: list[Gpu] | Absent | Unknown, why: str, *, driver_here: bool
) -> list[Gpu] | Absent | Unknown:
    """All GPUs. ``answered``: what NVML or nvidia-smi told; ``why``: in words, why not, or which one it was;
    ``driver_here``: there is a file of an NVIDIA driver or its kernel module.

    A driver that lists GPUs lists those that this process may use: further NVIDIA devices on the bus (of a container's
    host, or given to a virtual machine) are in the log only. Where no driver answers, the bus is what we know.
    """
    if host.platform == "darwin":
        return pci.apple(host, log)
    if host.platform == "win32":
        if isinstance(answered, list):
            return answered
        # Display adapters without an NVIDIA driver are not looked for there.
        return answered if isinstance(answered, Absent) else Unknown(why)
    bus = pci.display_controllers(host, log)
    listed = bus if isinstance(bus, list) else []
    if any(gpu.vendor != "nvidia" for gpu in listed):
        from envcheck.probes.gpu_names import describe

        describe(host, log, listed)
    board = pci.tegra(host, log)
    names = pci.names_of_module(host, log) if driver_here else {}
    for gpu in listed:
        if gpu.vendor == "nvidia" and isinstance(gpu.pci_bus, str) and gpu.pci_bus in names:
            gpu.name = names[gpu.pci_bus]
    if isinstance(answered, list):
        others = [gpu for gpu in listed if gpu.vendor != "nvidia"]
        rest = [gpu for gpu in listed if gpu.vendor == "nvidia" and not _same_as_any(gpu, answered)]
        unplaced = [gpu for gpu in answered if not isinstance(gpu.pci_bus, str)]
        if len(rest) == len(unplaced) == 1:
            fill(unplaced[0], rest.pop())  # the only one whose address the driver did not tell
        if rest:
            log.add("gpus", "ok", f"{len(rest)} more on the bus that the driver does not offer", pci.DEVICES)
        for gpu in answered:
            twins = [other for other in listed if _same_as_any(gpu, [other])]
            fill(gpu, twins[0] if twins else board if board is not None and len(answered) == 1 else None)
        return answered + others
    if board is not None:
        return [board, *listed]
    if listed:
        # Only the bus is known: nothing is said of names and memory, but for what the kernel module told.
        for gpu in listed:
            if gpu.vendor == "nvidia":
                fill(gpu, _unknowns(why))
        return listed
    return _nothing(host, answered, bus, why, driver_here)


def _nothing(
    host: Host, answered: Absent | Unknown, bus: list[Gpu] | Absent | Unknown, why: str, driver_here: bool
) -> list[Gpu] | Absent | Unknown:
    """No source showed a GPU: is there none, or could nobody look?"""
    if driver_here and host.exists("/dev/dxg"):
        # WSL passes the GPU through /dev/dxg and shows nothing on the PCI bus.
        return answered if isinstance(answered, Absent) else Unknown(f"WSL shows GPUs to NVML only: {why}")
    if isinstance(answered, Absent) and isinstance(bus, Absent):
        return Absent(f"{answered.why}; {bus.why}")
    if isinstance(bus, Absent):
        return bus
    if isinstance(answered, Absent):
        return answered
    if not driver_here and not any(name.startswith("nvidia") for name in _names(host, "/dev")):
        return Absent(f"{why} and no /dev/nvidia* node; the PCI bus could not be read")
    return Unknown(f"{why}; {bus.why}" if isinstance(bus, Unknown) else why)


def _names(host: Host, folder: str) -> list[str]:
    try:
        return host.listdir(folder)
    except OSError:
        return []


def _same_as_any(gpu: Gpu, others: list[Gpu]) -> bool:
    return isinstance(gpu.pci_bus, str) and any(gpu.pci_bus == other.pci_bus for other in others)


OF_DRIVER = (
    "name", "compute_capability", "memory_mib", "memory_free_mib", "uuid", "mig", "mig_instances", "compute_mode",
    "ecc", "persistence", "throttled", "used_by", "used_by_mib",
)  # fmt: skip
"""Facts that only an NVIDIA driver tells."""
OTHERS = ("pci_id", "pci_bus", "virtual", "driver_model", "fabric", "kernel_driver", "target")


def _unknowns(why: str) -> Gpu:
    gpu, unknown = Gpu(), Unknown(why)
    for name in (*OF_DRIVER, "virtual", "driver_model", "fabric"):
        setattr(gpu, name, unknown)
    for name in gpu.pcie.__struct_fields__:
        setattr(gpu.pcie, name, unknown)
    return gpu


def fill(gpu: Gpu, other: Gpu | None) -> None:
    """Facts that ``gpu`` lacks, from ``other``; a stated reason is better than "not stated"."""
    if other is None:
        return
    for name in (*OF_DRIVER, *OTHERS):
        _fill_one(gpu, other, name)
    for name in gpu.pcie.__struct_fields__:
        _fill_one(gpu.pcie, other.pcie, name)
    gpu.mig_devices = gpu.mig_devices or other.mig_devices
    gpu.uuid_prefixes = gpu.uuid_prefixes or other.uuid_prefixes


def _fill_one(mine: Gpu | PcieLink, theirs: Gpu | PcieLink, name: str) -> None:
    have, other = getattr(mine, name), getattr(theirs, name)
    if isinstance(have, Unknown) and (not isinstance(other, Unknown) or (have.why == "not stated" != other.why)):
        setattr(mine, name, other)
