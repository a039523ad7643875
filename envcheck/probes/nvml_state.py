"""In what state a GPU is, from a row of the query ``nvml`` (see :mod:`envcheck.probes.nvml`).

The row may come from a recording, and the driver may have given garbage: nothing is taken for granted of its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envcheck.core.snapshot import Absent, Gpu, MigDevice, Number, PcieLink, Text, Unknown

Missing = Callable[[str], Unknown]

DRIVER_MODELS = {0: "WDDM", 1: "TCC", 2: "MCDM"}
"""nvmlDriverModel_t; its name for 1, WDM, is what nvidia-smi calls TCC."""

VIRTUAL = {1: "passthrough", 2: "vgpu", 3: "host-vgpu", 4: "host-vsga"}
"""nvmlGpuVirtualizationMode_t: inside a virtual machine (1, 2), or its host (3, 4)."""

FABRIC = {1: "not started", 2: "in progress", 3: "completed"}
"""nvmlGpuFabricState_t."""

REASONS = (
    (0x4, "SW Power Cap"),
    (0x8, "HW Slowdown"),
    (0x20, "SW Thermal Slowdown"),
    (0x40, "HW Thermal Slowdown"),
    (0x80, "HW Power Brake Slowdown"),
    (0x10, "Sync Boost"),
)
"""Bits of nvmlClocksEventReasons that hold the clocks down. Not among them: idle (1), clocks that somebody set (2),
the display's setting (0x100)."""


def take_state(gpu: Gpu, row: dict[str, Any], missing: Missing, left_out: str) -> None:
    """Fill in ECC, persistence, the PCIe link, who uses it, and the MIG devices; ``missing`` tells why not."""
    errors = row.get("errors") if isinstance(row.get("errors"), dict) else {}

    def unsupported(name: str) -> bool:
        error = (errors or {}).get(name)
        return isinstance(error, dict) and error.get("code") == 3

    def switch(name: str, none: str) -> Text:
        if unsupported(name) and none:
            return Absent(none)
        value = row.get(name)
        return ("disabled", "enabled")[value] if value in (0, 1) and not isinstance(value, bool) else missing(name)

    def number(name: str, most: int) -> Number:
        value = row.get(name)
        return value if isinstance(value, int) and 0 < value <= most else missing(name)

    def word(name: str, words: dict[int, str], none: str) -> Text:
        value = row.get(name)
        if (isinstance(value, int) and value == 0 and 0 not in words) or (value is None and unsupported(name)):
            return Absent(none)
        return words.get(value, missing(name)) if isinstance(value, int) else missing(name)

    gpu.ecc = switch("ecc", "its memory has no ECC")
    gpu.persistence = switch("persistence", "")
    gpu.virtual = word("virtual", VIRTUAL, "no hypervisor stands before it")
    gpu.driver_model = word("model", DRIVER_MODELS, "only Windows has driver models")
    gpu.pcie = PcieLink(
        generation=number("pcie_generation", 16),
        generation_max=number("pcie_generation_max", 16),
        width=number("pcie_width", 64),
        width_max=number("pcie_width_max", 64),
    )
    bits = row.get("throttle")
    if isinstance(bits, int) and 0 <= bits < 1 << 32:
        gpu.throttled = [name for bit, name in REASONS if bits & bit] or Absent("nothing holds its clocks down")
    else:
        gpu.throttled = missing("throttle")
    gpu.used_by, gpu.used_by_mib = _users(row.get("processes"), missing)
    gpu.fabric = _fabric(row.get("fabric"), unsupported("fabric"), missing)
    rows = row.get("mig_devices")
    gpu.mig_devices = (
        [_mig_device(one, left_out) for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []
    )


def _users(told: Any, missing: Missing) -> tuple[Number, Number]:
    if not (isinstance(told, list) and len(told) == 2 and isinstance(told[0], int) and 0 <= told[0] <= 1024):
        return missing("processes"), missing("processes")
    size = told[1]
    if isinstance(size, int) and 0 <= size < 1 << 50:
        return told[0], size // (1024 * 1024)
    return told[0], Unknown("NVML does not tell the memory of each")


def _fabric(told: Any, unsupported: bool, missing: Missing) -> Text:
    """The state, and NVML's error where the registration failed: ``completed with error 999``."""
    none = Absent("it is on no NVSwitch fabric")
    if unsupported:
        return none
    if not (isinstance(told, list) and len(told) == 2 and all(isinstance(part, int) for part in told)):
        return missing("fabric")
    state, status = told
    if state == 0:
        return none
    if state == 3 and status != 0:
        return f"completed with error {status}" if status < 2000 else missing("fabric")
    return FABRIC.get(state, missing("fabric"))


def _mig_device(row: dict[str, Any], left_out: str) -> MigDevice:
    from envcheck.probes.nvml_facts import nvml_error, sizes

    errors = row.get("errors") if isinstance(row.get("errors"), dict) else {}

    def missing(name: str) -> Unknown:
        error = (errors or {}).get(name)
        if not error and name in row:
            return Unknown(f"NVML gave {str(row[name])[:40]!a}")
        return Unknown(f"NVML: {nvml_error(error)}" if error else left_out)

    uuid, prefixes, memory = row.get("uuid"), row.get("uuid_prefixes"), sizes(row.get("memory"))
    sound = isinstance(uuid, str) and uuid.startswith("MIG-") and uuid.isprintable()
    device = MigDevice(uuid=str(uuid) if sound else missing("uuid"))
    device.uuid_prefixes = [one for one in prefixes if isinstance(one, str)] if isinstance(prefixes, list) else []
    device.memory_mib = memory[0] if memory else missing("memory")
    device.profile = _profile(row.get("name"), row.get("slices")) or missing("name")
    return device


def _profile(name: Any, slices: Any) -> str:
    """``1c.3g.20gb``: the end of the device's name, or made of its slices where the name has none (older drivers)."""
    if isinstance(name, str) and " MIG " in name:
        told = name.rpartition(" MIG ")[2].strip()[:40]
        if told.isprintable() and "\ufffd" not in told:
            return told
    if (
        isinstance(slices, list)
        and len(slices) == 3
        and all(isinstance(part, int) and part < 1 << 20 for part in slices)
    ):
        gpu, compute, mib = slices
        if gpu > 0 and mib > 0:
            return f"{'' if compute in (0, gpu) else f'{compute}c.'}{gpu}g.{(mib + 1023) // 1024}gb"
    return ""
