"""GPUs without asking a driver: the third source, and the only one where the driver is missing or broken.

Places: /sys/bus/pci/devices (what is plugged in and which kernel module is bound to it),
/proc/driver/nvidia/gpus (names, as the loaded kernel module knows them), /proc/device-tree (Jetson),
sysctl (Apple).
"""

from __future__ import annotations

from msgspec import Struct

from envcheck.core.snapshot import Absent, Gpu, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log

DEVICES = "/sys/bus/pci/devices"
PROC_GPUS = "/proc/driver/nvidia/gpus"
DEVICE_TREE = "/proc/device-tree"
MAX_DEVICES = 4096

VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
DISPLAY = "0x03"
"""PCI base class of display controllers: VGA (0300), 3D (0302, the data-centre parts), other (0380)."""
ACCELERATOR = "0x12"
"""PCI base class of processing accelerators: newer AMD Instinct."""


class Tegra(Struct, frozen=True):
    """A Jetson's GPU, which is no PCI device."""

    name: str
    compute_capability: str


TEGRA = {
    "nvidia,tegra210": Tegra("Tegra X1", "5.3"),
    "nvidia,tegra186": Tegra("Tegra X2", "6.2"),
    "nvidia,tegra194": Tegra("Xavier", "7.2"),
    "nvidia,tegra234": Tegra("Orin", "8.7"),
    "nvidia,tegra264": Tegra("NVIDIA Thor", "11.0"),
}
"""The last entry of /proc/device-tree/compatible names the chip. The names are what the CUDA runtime reports; Thor is
11.0 from CUDA 13.0 on (10.1 before)."""


def normal_bus(bus: str) -> str:
    """The address as sysfs writes it, ``0000:01:00.0`` (NVML: ``00000000:01:00.0``); another text stays as it is."""
    domain, _, rest = bus.strip().lower().partition(":")
    try:
        number = int(domain, 16)
    except ValueError:
        return bus
    # On Azure NVML tells a domain of 32 bits, sysfs its lower 16; Intel's VMD has domains of 17 bits in both.
    return f"{number if number < 0x100000 else number & 0xFFFF:04x}:{rest}"


def display_controllers(host: Host, log: Log) -> list[Gpu] | Absent | Unknown:
    """The GPUs of NVIDIA, AMD and Intel on the PCI bus, in the order of their addresses."""
    with log.attempt("gpus", DEVICES) as attempt:
        try:
            names = host.listdir(DEVICES)
        except FileNotFoundError:
            if host.isdir("/sys/bus"):
                attempt.absent("no PCI bus")
                return Absent("this system has no PCI bus")
            attempt.failed("/sys is not there")
            return Unknown("/sys is not there")
        gpus: list[Gpu] = []
        for name in names[:MAX_DEVICES]:
            gpu = _device(host, name)
            if gpu is not None:
                gpu.index = sum(other.vendor == gpu.vendor for other in gpus)
                gpus.append(gpu)
        if not gpus:
            attempt.absent(f"no GPU among {len(names)} devices")
            return Absent("no GPU of NVIDIA, AMD or Intel on the PCI bus")
        attempt.found(", ".join(f"{gpu.pci_bus} {gpu.pci_id}" for gpu in gpus))
        return gpus
    return Unknown(f"{DEVICES} could not be read")


def _device(host: Host, name: str) -> Gpu | None:
    folder = f"{DEVICES}/{name}"
    try:
        kind = host.read(f"{folder}/class", 16)
        if not kind.startswith((DISPLAY, ACCELERATOR)):
            return None
        vendor_id = host.read(f"{folder}/vendor", 16).strip().lower()
        device_id = host.read(f"{folder}/device", 16).strip().lower()
    except OSError:
        return None
    vendor = VENDORS.get(vendor_id)
    if vendor is None or (kind.startswith(ACCELERATOR) and vendor != "amd"):
        return None
    driver = host.realpath(f"{folder}/driver").rpartition("/")[2]
    return Gpu(
        vendor=vendor,
        pci_id=f"{vendor_id.removeprefix('0x')}:{device_id.removeprefix('0x')}",
        pci_bus=normal_bus(name),
        kernel_driver=Absent("no kernel driver is bound to it") if driver == "driver" else driver,
    )


def names_of_module(host: Host, log: Log) -> dict[str, str]:
    """PCI bus -> product name, as /proc/driver/nvidia/gpus/BUS/information tells; works where NVML does not."""
    names: dict[str, str] = {}
    with log.attempt("gpus", PROC_GPUS) as attempt:
        for bus in host.listdir(PROC_GPUS)[:MAX_DEVICES]:
            for line in host.read(f"{PROC_GPUS}/{bus}/information", 4096).splitlines():
                key, _, value = line.partition(":")
                if key == "Model" and value.strip() and not value.strip().startswith("Unknown"):
                    names[normal_bus(bus)] = value.strip()
        attempt.found(f"{len(names)} named")
    return names


def tegra(host: Host, log: Log) -> Gpu | None:
    """The GPU of a Jetson; None elsewhere. Its memory is the system's: what is free there is free for it."""
    with log.attempt("gpus", DEVICE_TREE) as attempt:
        compatible = host.read(f"{DEVICE_TREE}/compatible", 4096).split("\0")
        chip = next((TEGRA[entry] for entry in reversed(compatible) if entry in TEGRA), None)
        if chip is None:
            attempt.absent("no Tegra")
            return None
        try:
            model = host.read(f"{DEVICE_TREE}/model", 4096).strip("\0\n ")
        except OSError:
            model = "Tegra"
        attempt.found(f"{model}: {chip.name}")
        gpu = Gpu(vendor="nvidia", name=chip.name, compute_capability=chip.compute_capability)
        if chip.compute_capability != "11.0":  # Thor's GPU is on the PCI bus and has the driver of all others
            gpu.kernel_driver = "nvgpu"
            gpu.pci_bus = gpu.pci_id = Absent("it is no PCI device")
        gpu.mig = Absent("this GPU has no MIG")
        fill_unified_memory(host, gpu)
        return gpu
    return None


def fill_unified_memory(host: Host, gpu: Gpu) -> None:
    """CPU and GPU share one memory: /proc/meminfo."""
    try:
        lines = host.read("/proc/meminfo", 4096).splitlines()
    except OSError:
        return
    values = {}
    for line in lines:
        key, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isascii() and number[0].isdigit() and len(number[0]) < 19:
            values[key] = int(number[0]) // 1024
    if "MemTotal" in values:
        gpu.memory_mib = values["MemTotal"]
    if "MemAvailable" in values:
        gpu.memory_free_mib = values["MemAvailable"]


def apple(host: Host, log: Log) -> list[Gpu] | Unknown:
    """A Mac's GPUs: those that system_profiler names, else the one in Apple's own chip."""
    from envcheck.probes.apple import gpus

    if isinstance(told := gpus(host, log), list):
        return told
    with log.attempt("gpus", "sysctl machdep.cpu.brand_string") as attempt:
        ran = host.run(["sysctl", "-n", "machdep.cpu.brand_string"], timeout=2.0)
        brand = ran.stdout.strip()
        if ran.status == "done" and brand.startswith("Apple"):
            attempt.found(brand)
            return [Gpu(vendor="apple", name=brand)]
        attempt.absent(brand or ran.status)
    return told
