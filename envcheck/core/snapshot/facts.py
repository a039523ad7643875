"""A snapshot from sparse facts that people write by hand, or that were collected from bug reports.

What is not named is unknown; ``false`` (and an empty list of GPUs) says that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envcheck.core.snapshot import (
    NOT_STATED,
    Absent,
    Cpu,
    DriverSource,
    Gpu,
    Machine,
    NvidiaDriver,
    ProbeRun,
    Snapshot,
    SnapshotError,
    Stack,
    Text,
    Unknown,
    Userland,
    known,
)
from envcheck.core.snapshot.facts_stack import read_stack
from envcheck.core.snapshot.stated import NONE_STATED, Section, hash_uuids, kind, read_compute_capability, sequence

KEYS = (
    *("os", "cpu", "gpus", "driver", "toolkit", "cudnn", "python", "packages", "env", "libraries", "model"),
    "built_on",
)
"""Top-level keys; ``built_on`` holds the machine keys of the machine on which the stack was built and tested."""

_SYSTEMS = {"linux": "Linux", "windows": "Windows", "win32": "Windows", "nt": "Windows"} | dict.fromkeys(
    ("darwin", "macos", "osx", "mac os x"), "Darwin"
)
_ARCHES = {"arm64": "aarch64", "armv8": "aarch64", "amd64": "x86_64", "x64": "x86_64", "x86-64": "x86_64"}
_DISTROS = {
    **dict.fromkeys(("amazon linux", "amazonlinux", "amazon"), "amzn"),
    **dict.fromkeys(("red hat enterprise linux", "redhat", "red hat"), "rhel"),
    **dict.fromkeys(("rocky linux", "rockylinux"), "rocky"),
    **dict.fromkeys(("alma linux", "alma"), "almalinux"),
    **dict.fromkeys(("oracle linux", "oracle"), "ol"),
    **dict.fromkeys(("jetson linux", "jetpack"), "l4t"),
    **dict.fromkeys(("arch linux", "archlinux"), "arch"),
    **dict.fromkeys(("centos linux",), "centos"),
}
"""What people write for the ID of /etc/os-release."""


def snapshot_from_facts(facts: Mapping[str, Any]) -> Snapshot:
    """Build a snapshot from facts in the sparse form.

    Versions are texts. A package's version may be empty or null: installed, version not stated; ``+cu118`` states the
    local label alone. Keys that are not understood are kept as a note in ``probes``. Raises :class:`SnapshotError`
    with one sentence that names the key whose value has a wrong shape.
    """
    notes: list[str] = []
    top = Section(facts, "", notes) if isinstance(facts, Mapping) else None
    if top is None:
        raise SnapshotError(f"facts must be a mapping, not {kind(facts)}")
    snapshot = Snapshot()
    if (built_on := top.take("built_on")) is not None:
        section = Section(built_on, "built_on", notes)
        snapshot.built_on = Machine()
        _read_machine(section, snapshot.built_on, Stack())
        section.finish(("os", "cpu", "gpus", "driver"))
    _read_machine(top, snapshot.machine, snapshot.stack)
    read_stack(top, snapshot.stack, snapshot.machine)
    top.finish(KEYS)
    snapshot.probes = [ProbeRun("facts", "skipped", note) for note in notes]
    return snapshot


def _read_machine(top: Section, machine: Machine, stack: Stack) -> None:
    _read_os(Section(top.take("os"), top.path("os"), top.notes, "system"), machine, stack)
    machine.cpu, machine.arch = _read_cpu(Section(top.take("cpu"), top.path("cpu"), top.notes, "arch"))
    machine.nvidia = _read_driver(top.take("driver"), top.path("driver"), top.notes)
    machine.gpus = _read_gpus(top.take("gpus"), top.path("gpus"), top.notes)


def _read_os(section: Section, machine: Machine, stack: Stack) -> None:
    system = section.text("system")
    machine.system = _SYSTEMS.get(system.lower(), system) if isinstance(system, str) else system
    machine.kernel = section.text("kernel")
    wsl = section.data.get("wsl")
    if isinstance(wsl, str) and wsl.lower().startswith("wsl"):
        section.data["wsl"] = True
    machine.wsl = section.flag("wsl")
    container = section.take("container")
    if container is True:
        stack.container = "container"
    elif container is False:
        stack.container = Absent("stated: not in a container")
    else:
        section.data["container"] = container
        stack.container = section.text("container")
    userland = Userland(
        distro=section.text("distro"),
        distro_version=section.version("distro_version"),
        libc_version=section.version("glibc"),
        glibcxx=section.version("glibcxx"),
        cxxabi=section.version("cxxabi"),
    )
    libc = section.text("libc")
    userland.libc = "glibc" if isinstance(userland.libc_version, str) and isinstance(libc, Unknown) else libc
    if isinstance(userland.distro, str):
        name = userland.distro.lower()
        head, _, tail = name.rpartition(" ")
        if head and tail[:1].isdigit() and isinstance(userland.distro_version, Unknown):
            name, userland.distro_version = head, tail
        userland.distro = _DISTROS.get(name, name)
    if machine.system in ("Darwin", "Windows"):
        machine.system_version = userland.distro_version
    # Inside a container, the distribution and its C library are the image's; only L4T tells the board below it.
    if isinstance(stack.container, str):
        stack.userland = userland
        if userland.distro == "l4t":
            machine.userland = Userland(distro="l4t", distro_version=userland.distro_version)
    else:
        machine.userland = userland
    section.finish(("system", "distro", "distro_version", "wsl", "container", "glibc", "kernel"))


def _read_cpu(section: Section) -> tuple[Cpu, Text]:
    arch = section.text("arch")
    if isinstance(arch, str):
        arch = _ARCHES.get(arch.lower(), arch.lower())
    cpu = Cpu(
        vendor=section.text("vendor"),
        brand=section.text("model", "brand"),
        level=section.text("level"),
        logical_cores=section.integer("cores"),
        emulated=section.text("emulated"),
    )
    flags, missing = section.names("flags"), section.names("missing_flags")
    if flags is not None:
        cpu.flags = [_flag(name) for name in flags]
    cpu.missing_flags = [_flag(name) for name in missing or ()]
    section.finish(("arch", "model", "flags", "missing_flags"))
    return cpu, arch


def _flag(name: str) -> str:
    """The spelling of /proc/cpuinfo: ``SSE4.2`` is ``sse4_2``."""
    return name.lower().replace(".", "_").replace("-", "_")


def _read_driver(value: Any, where: str, notes: list[str]) -> NvidiaDriver:
    if value is False:
        return NvidiaDriver(version=NONE_STATED, cuda=NONE_STATED, user_mode=NONE_STATED, libcuda=NONE_STATED)
    section = Section(value, where, notes, "version")
    found = NvidiaDriver(
        version=section.version("version"),
        cuda=section.version("cuda", tenths=True),
        user_mode=section.version("user_mode"),
        libcuda=section.text("libcuda"),
        nvml_error=section.text("nvml_error"),
    )
    for name, stated in (("kernel", found.version), ("user", found.user_mode), ("cuda", found.cuda)):
        if isinstance(stated, str):
            found.sources.append(DriverSource(source="facts", kind=name, value=stated))
    section.finish(("version", "cuda"))
    return found


def _read_gpus(value: Any, where: str, notes: list[str]) -> list[Gpu] | Absent | Unknown:
    if value is None:
        return NOT_STATED
    if value is False or value == []:
        return NONE_STATED
    found: list[Gpu] = []
    for position, entry in enumerate(sequence(value, where)):
        section = Section(entry, f"{where}[{position}]", notes, "name")
        name, uuid, count = section.text("name"), section.text("uuid"), known(section.integer("count"))
        gpu: dict[str, Any] = {
            "vendor": section.text("vendor"),
            "name": name,
            "compute_capability": read_compute_capability(section),
            "memory_mib": section.integer("memory_mib"),
            "memory_free_mib": section.integer("memory_free_mib"),
            "uuid": hash_uuids(uuid) if isinstance(uuid, str) else uuid,
            "mig": section.text("mig"),
            "pci_id": section.text("pci_id"),
            "target": section.text("target"),
        }
        if count is not None and not 1 <= count <= 4096:
            raise SnapshotError(f"{section.path('count')} must be between 1 and 4096, not {count}")
        index = known(section.integer("index"))
        section.finish(("name", "compute_capability", "memory_mib", "count", "uuid"))
        for _ in range(count or 1):
            found.append(Gpu(index=len(found) if index is None else index, **gpu))
    return found
