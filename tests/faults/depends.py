"""Which facts of a snapshot rest on which call, file or command: what may be lost when that is broken, and no more.

A pattern is a path in the snapshot; ``*`` stands for any text (``machine.gpus[*].name``). A function that is not named
here bears no fact: its failure may cost nothing.
"""

from __future__ import annotations

NVIDIA, GPU = "machine.nvidia.", "machine.gpus[*]."

OF_NVML = tuple(
    GPU + name
    for name in (
        "name", "compute_capability", "memory_mib", "memory_free_mib", "uuid", "mig", "mig_instances", "mig_devices*",
        "virtual", "compute_mode", "ecc", "persistence", "driver_model", "pcie.*", "throttled", "used_by",
        "used_by_mib", "fabric",
    )
)  # fmt: skip
"""Of a GPU only NVML tells these. Its index, maker, place on the bus and kernel driver the bus tells too."""

INSTANCES = (GPU + "mig_instances", GPU + "mig_devices*")
FABRIC = (GPU + "fabric", NVIDIA + "fabric_manager")
INIT = (*OF_NVML, NVIDIA + "nvml_error", NVIDIA + "sources[NVML *", NVIDIA + "fabric_manager")
LIBCUDA = (NVIDIA + "sources[cuDriverGetVersion]*", NVIDIA + "cu_init", NVIDIA + "cuda_devices")

CALLS: dict[str, tuple[str, ...]] = {
    "libnvidia-ml.load": INIT,
    "nvmlInitWithFlags": INIT,
    "nvmlSystemGetDriverVersion": (NVIDIA + "sources[NVML driver]*",),
    "nvmlSystemGetNVMLVersion": (NVIDIA + "sources[NVML library]*",),
    "nvmlSystemGetCudaDriverVersion_v2": (NVIDIA + "sources[NVML CUDA]*",),
    "nvmlDeviceGetHandleByIndex_v2": (*OF_NVML, NVIDIA + "fabric_manager"),
    "nvmlDeviceGetName": (GPU + "name",),
    "nvmlDeviceGetUUID": (GPU + "uuid", GPU + "mig_devices[*].uuid"),
    "nvmlDeviceGetPciInfo_v3": (GPU + "pci_bus", GPU + "pci_id", GPU + "kernel_driver"),
    "nvmlDeviceGetCudaComputeCapability": (GPU + "compute_capability",),
    "nvmlDeviceGetMemoryInfo": (GPU + "memory_mib", GPU + "memory_free_mib", GPU + "mig_devices[*].memory_mib"),
    "nvmlDeviceGetComputeMode": (GPU + "compute_mode",),
    "nvmlDeviceGetEccMode": (GPU + "ecc",),
    "nvmlDeviceGetPersistenceMode": (GPU + "persistence",),
    "nvmlDeviceGetCurrPcieLinkGeneration": (GPU + "pcie.generation",),
    "nvmlDeviceGetMaxPcieLinkGeneration": (GPU + "pcie.generation_max",),
    "nvmlDeviceGetCurrPcieLinkWidth": (GPU + "pcie.width",),
    "nvmlDeviceGetMaxPcieLinkWidth": (GPU + "pcie.width_max",),
    "nvmlDeviceGetCurrentClocksEventReasons": (GPU + "throttled",),
    "nvmlDeviceGetDriverModel_v2": (GPU + "driver_model",),
    "nvmlDeviceGetVirtualizationMode": (GPU + "virtual",),
    "nvmlDeviceGetComputeRunningProcesses_v3": (GPU + "used_by", GPU + "used_by_mib"),
    "nvmlDeviceGetGpuFabricInfoV": FABRIC,
    "nvmlDeviceGetMigMode": (GPU + "mig", *INSTANCES),
    "nvmlDeviceGetMaxMigDeviceCount": INSTANCES,
    "nvmlDeviceGetMigDeviceHandleByIndex": INSTANCES,
    "libcuda.load": LIBCUDA,
    "cuDriverGetVersion": (NVIDIA + "sources[cuDriverGetVersion]*",),
    "cuInit": (NVIDIA + "cu_init", NVIDIA + "cuda_devices"),
    "cuDeviceGetCount": (NVIDIA + "cuda_devices",),
}

SILENT: dict[str, tuple[str, ...]] = {
    "nvmlDeviceGetCount_v2": OF_NVML,
    "nvmlDeviceGetMigMode": (*CALLS["nvmlDeviceGetMigMode"],),
}
"""Where a call that says that it succeeded and answers nothing, or nonsense, is believed: it says "none"."""

SMI_TELLS = tuple(
    GPU + name
    for name in (
        "name", "compute_capability", "memory_mib", "memory_free_mib", "uuid", "mig", "mig_instances", "compute_mode",
        "ecc", "persistence", "pcie.*", "pci_bus", "pci_id", "kernel_driver",
    )
)  # fmt: skip
"""Where nvidia-smi works, it must stand in for these (the last two by way of the PCI bus)."""

FILES: dict[str, tuple[str, ...]] = {
    "/etc/ld.so.cache": ("stack.libraries*", "stack.cudnn"),
    "/proc/driver/nvidia/version": (NVIDIA + "sources[/proc/driver/nvidia/version]*", NVIDIA + "module"),
    "/sys/module/nvidia/version": (NVIDIA + "sources[/sys/module/nvidia/version]*",),
    "/proc/cpuinfo": ("machine.cpu.*",),
    "/proc/meminfo": ("machine.memory.*",),
    "/proc/self/cgroup": ("machine.memory.limit_mib", "machine.memory.cpu_limit", "stack.container"),
    "/etc/os-release": ("stack.userland.distro*", "machine.userland.distro*"),
}
"""What rests on a file of the system."""

PROBE_OF: dict[str, tuple[str, ...]] = {
    "/etc/os-release": ("machine.userland*", "stack.userland*"),
    "/proc/cpuinfo": ("machine.cpu*",),
    "/proc/meminfo": ("machine.memory*",),
    "/proc/driver/nvidia/version": ("machine.nvidia*", "machine.gpus*"),
}
"""A read that sleeps in the kernel holds up its whole probe, and all that this would have told is lost."""

VOLATILE = ("created", "probes*", "machine.memory.available_mib", "stack.imports[*].milliseconds")
"""Facts that differ from one moment to the next."""
