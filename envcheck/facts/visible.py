"""Which GPUs CUDA_VISIBLE_DEVICES leaves to a program, as libcuda reads it.

The list is read from left to right and ends at its first entry that names no device. An entry is an index (read as
C's strtoul does: ``1gpu`` is 1, a minus or a word ends the list), the beginning of a GPU's UUID that fits one GPU only,
or the UUID of a MIG instance. The first entry decides whether the list is one of indexes or of UUIDs. A device that is
named twice makes the whole list void. Empty hides all.

Sources: CUDA programming guide, environment variables; torch.cuda._parse_visible_devices, which mimics libcuda.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from envcheck.core.report import Evidence
from envcheck.core.snapshot import known

if TYPE_CHECKING:
    from envcheck.core.snapshot import MigDevice
    from envcheck.facts.gpus import GpuView


class Visible(Struct, frozen=True):
    """What is left, and where the list ended."""

    gpus: list[GpuView]
    value: str | None = None
    """The variable; None: it is not set."""
    bad: str | None = None
    """The entry that ended the list before its end, or that is named twice."""
    why: str = ""
    """What is wrong with that entry, in words."""
    sure: bool = True
    """False: an entry is a UUID that could not be compared with those of the GPUs."""
    by_index: bool = False
    """Entries are indexes, whose order CUDA_DEVICE_ORDER decides."""


def evaluate(value: str | None, gpus: list[GpuView], *, uuids_compared: bool) -> Visible:
    """``uuids_compared``: the UUIDs of the variable were compared with those of the GPUs when the machine was probed;
    otherwise only a whole UUID can be told to be one's.
    """
    if value is None:
        return Visible([_as_cuda_sees(gpu) for gpu in gpus])
    entries = value.split(",")
    while len(entries) > 1 and not entries[-1].strip():
        entries.pop()  # a comma at the end ends the list, where it ends anyway
    first = entries[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return _by_uuid(value, [entry.strip() for entry in entries], gpus, uuids_compared)
    chosen: list[GpuView] = []
    seen: set[int] = set()
    for entry in entries:
        index = leading_number(entry)
        match = [gpu for gpu in gpus if gpu.index == index]
        if index in seen:
            return Visible([], value, entry.strip(), "is named twice, which makes the whole list void", by_index=True)
        if not match:
            return Visible(chosen, value, entry.strip(), _unnamed(entry, gpus), by_index=True)
        seen.add(match[0].index)
        chosen.append(_as_cuda_sees(match[0]))
    return Visible(chosen, value, by_index=True)


def leading_number(text: str) -> int:
    """The number that a text begins with, as strtoul reads it; -1 where it begins with none, or with one below 0."""
    text = text.strip()
    digits = text[1:] if text[:1] in ("+", "-") else text
    length = next((place for place, letter in enumerate(digits) if letter not in "0123456789"), len(digits))
    number = int(digits[: min(length, 9)]) if length else -1
    return -1 if number > 0 and text[0] == "-" else number


def _unnamed(entry: str, gpus: list[GpuView]) -> str:
    if entry.strip().startswith(("GPU-", "MIG-")):
        return "is a UUID in a list of indexes"
    if leading_number(entry) < 0:
        return "is no index"
    have = f"indexes 0 to {len(gpus) - 1}" if len(gpus) > 1 else "index 0 only"
    return f"names no device: there is {have}"


def _by_uuid(value: str, entries: list[str], gpus: list[GpuView], compared: bool) -> Visible:
    kind = entries[0][:4]
    chosen: list[GpuView] = []
    sure = True
    for place, entry in enumerate(entries):
        if entry in entries[:place]:
            return Visible([], value, entry, "is named twice, which makes the whole list void")
        if not entry.startswith(kind):
            return Visible(chosen, value, entry, f"is no UUID that begins with {kind}", sure)
        named = _named(entry, gpus)
        if len(named) > 1:
            return Visible(chosen, value, entry, f"is the beginning of the UUIDs of {len(named)} GPUs", sure)
        if named:
            chosen.append(named[0])
        elif compared and _all_told(kind, gpus):
            return Visible(
                chosen, value, entry, f"is the UUID of no {'MIG instance' if kind == 'MIG-' else 'GPU'}", sure
            )
        else:
            # UUIDs that nobody read, or only as a hash, cannot be told to be wrong.
            sure = False
            guess = next((gpu for gpu in gpus if gpu not in chosen and _may_be(kind, gpu)), None)
            if guess is not None:
                chosen.append(guess)
        if kind == "MIG-" and chosen:
            break  # a process uses one instance
    return Visible(chosen, value, sure=sure)


def _named(entry: str, gpus: list[GpuView]) -> list[GpuView]:
    if entry.startswith("MIG-"):
        return [
            with_slice(gpu, device)
            for gpu in gpus
            for device in gpu.raw.mig_devices
            if entry in device.uuid_prefixes or known(device.uuid) == entry
        ]
    return [_as_cuda_sees(gpu) for gpu in gpus if entry in gpu.raw.uuid_prefixes or known(gpu.raw.uuid) == entry]


def _all_told(kind: str, gpus: list[GpuView]) -> bool:
    """Every UUID that this entry could be was read."""
    if kind == "GPU-":
        return all(known(gpu.raw.uuid) is not None for gpu in gpus)
    return all(
        known(gpu.raw.mig) in (None, "disabled")
        or (gpu.raw.mig_devices and all(known(device.uuid) for device in gpu.raw.mig_devices))
        or known(gpu.raw.mig_instances) == 0
        for gpu in gpus
    ) and not any(" MIG " in gpu.name for gpu in gpus)


def _may_be(kind: str, gpu: GpuView) -> bool:
    return kind == "GPU-" or " MIG " in gpu.name or known(gpu.raw.mig) == "enabled"


def _as_cuda_sees(gpu: GpuView) -> GpuView:
    """With MIG enabled, CUDA sees the first instance in the place of the GPU."""
    if known(gpu.raw.mig) == "enabled" and gpu.raw.mig_devices:
        return with_slice(gpu, gpu.raw.mig_devices[0])
    return gpu


def with_slice(gpu: GpuView, device: MigDevice) -> GpuView:
    """The GPU as one of its MIG instances: its name, and the memory of the slice."""
    profile, memory = known(device.profile), known(device.memory_mib)
    name = f"{gpu.name} MIG {profile}" if profile and " MIG " not in gpu.name else gpu.name
    return replace(
        gpu, name=name, memory_mib=memory, memory_free_mib=None, evidence=Evidence(f"{name}, {memory} MiB", "NVML")
    )
