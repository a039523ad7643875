"""What ``nvidia-smi`` prints: the second source, asked only when NVML itself gave no answer.

Pure parsers of its table (all headers up to R610's) and of its CSV, and :func:`ask`, which runs it with a deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from envcheck.core.snapshot import Absent, Gpu, Text, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.probes.pci import normal_bus

TIMEOUT = 5.0
"""Seconds. On a broken driver nvidia-smi may hang for good."""

OLD_FIELDS = "index,name,memory.total,memory.free,pci.bus_id,uuid,mig.mode.current,compute_mode"
FIELDS = (
    "index,name,compute_cap,memory.total,memory.free,pci.bus_id,uuid,mig.mode.current,compute_mode,ecc.mode.current,"
    "persistence_mode,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,pcie.link.width.max"
)
"""``compute_cap`` is known from about R510 on; one field that is not known costs the whole answer."""
LINK = ("generation", "generation_max", "width", "width_max")

PLACES = ("/usr/bin/nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")

FAILURES = (
    "Failed to initialize NVML",
    "NVIDIA-SMI has failed",
    "couldn't communicate with the NVIDIA driver",
    "Unable to determine the device handle",
    "NVML library version",
)


class Smi(NamedTuple):
    """What one run of nvidia-smi told."""

    driver: Text
    cuda: Text
    library: Text
    """Version of libnvidia-ml, as far as the error text tells it: its last part is cut off (``560.35``)."""
    gpus: list[Gpu] | Absent | Unknown
    error: str


def parse_table(text: str) -> Smi:
    """Read the table that ``nvidia-smi`` prints, or its error text."""
    import re

    error = next((line.strip() for line in text.splitlines() if any(mark in line for mark in FAILURES)), "")
    library = re.search(r"NVML library version:\s*(\d+(?:\.\d+)+)", text)
    header = re.search(r"\b(?:Driver|KMD) Version:\s*(\S+)", text)
    cuda = re.search(r"\bCUDA (?:UMD )?Version:\s*(\S+)", text)
    none = Unknown("nvidia-smi: " + (error or "its output has no such field"))
    gpus: list[Gpu] | Absent | Unknown = _rows(text) or none
    if not isinstance(gpus, list) and "No devices were found" in text:
        gpus = Absent("nvidia-smi: No devices were found")
    return Smi(
        _version(header[1]) if header else none,
        _version(cuda[1]) if cuda else none,
        library[1] if library else Unknown("nvidia-smi does not tell it"),
        gpus,
        error,
    )


def _version(word: str) -> Text:
    if word[:1].isdigit():
        return word.rstrip("|")
    if word.startswith("N/A"):
        return Absent("nvidia-smi prints N/A: it found no libcuda")
    return Unknown(f"nvidia-smi prints {word}")


def _rows(text: str) -> list[Gpu]:
    """The GPUs of the table; each has two or three lines: index, name, bus; memory, compute mode; from R450 on MIG."""
    import re

    gpus: list[Gpu] = []
    slices: dict[int, int] = {}
    part = "gpus"
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("| MIG devices:"):
            part = "mig"
        elif line.startswith("| Processes:"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if part == "mig":
            numbers = cells[0].split() if cells else []
            if len(numbers) == 4 and all(number.isdigit() for number in numbers):
                slices[int(numbers[0])] = slices.get(int(numbers[0]), 0) + 1
            continue
        if len(cells) != 3 or "Memory-Usage" in cells[1]:
            continue
        # The name ends at the last column, which is Persistence-M: On, Off or N/A; on Windows TCC, WDDM or MCDM.
        first = re.match(r"(\d{1,4})\s+(.+?)\s+(?:On|Off|N/A|ERR!|TCC|WDDM|MCDM)$", cells[0])
        if first:
            gpu = Gpu(index=int(first[1]), vendor="nvidia", name=_name(first[2]))
            bus = re.match(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d", cells[1])
            gpu.pci_bus = normal_bus(bus[0]) if bus else Unknown("nvidia-smi prints none")
            gpus.append(gpu)
        elif gpus and (memory := re.search(r"(\d{1,9})MiB\s*/\s*(\d{1,9})MiB", cells[1])):
            gpus[-1].memory_mib = int(memory[2])
            gpus[-1].memory_free_mib = max(0, int(memory[2]) - int(memory[1]))
            gpus[-1].compute_mode = _compute_mode(cells[2])
        elif gpus and not cells[0] and not cells[1] and cells[2]:
            gpus[-1].mig = mig_state(cells[2])
    for gpu in gpus:
        if isinstance(gpu.mig, str):
            gpu.mig_instances = slices.get(gpu.index, 0) if gpu.mig == "enabled" else 0
    return gpus


def _name(name: str) -> Text:
    """The table cuts long names: the rest is not known, so the name is not."""
    if name.endswith("..."):
        return Unknown(f"nvidia-smi cuts it off: {name}")
    if name.startswith(("ERR!", "N/A", "[")):
        return Unknown(f"nvidia-smi prints {name}")
    return name.removesuffix(" (nvgpu)")


def _compute_mode(cell: str) -> Text:
    """The last column: ``0%      Default``; the table shortens the modes."""
    word = cell.split("  ")[-1].strip() if cell else ""
    full = {"E. Thread": "Exclusive_Thread", "E. Process": "Exclusive_Process", "E.Process": "Exclusive_Process"}
    word = full.get(word, word)
    known_words = ("Default", "Exclusive_Thread", "Exclusive_Process", "Prohibited")
    return word if word in known_words else Unknown(f"nvidia-smi prints {word or 'none'}")


def mig_state(text: str) -> Text:
    """``Enabled``, ``Disabled``, ``Disabled*`` (a change is pending) or ``N/A`` -> the words of the snapshot."""
    word = text.strip().strip("[]*").lower()
    if word in ("enabled", "disabled"):
        return word
    if word in ("n/a", "not supported"):
        return Absent("this GPU has no MIG")
    return Unknown(f"nvidia-smi prints {text.strip()}")


def parse_csv(text: str, fields: str = FIELDS, wanted: Sequence[str] = ()) -> list[Gpu]:
    """Read the rows of ``--query-gpu=FIELDS --format=csv,noheader,nounits``; lines of another shape are passed over.

    ``wanted``: beginnings of UUIDs that the environment names.
    """
    names = fields.split(",")
    gpus: list[Gpu] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(names) or not (cells[0].isascii() and cells[0].isdigit()) or len(cells[0]) > 4:
            continue
        row = dict(zip(names, cells, strict=True))
        gpu = Gpu(index=int(row["index"]), vendor="nvidia")
        gpu.name = _value(row["name"])
        if isinstance(gpu.name, str):
            gpu.name = gpu.name.removesuffix(" (nvgpu)")
        if "compute_cap" in row:
            gpu.compute_capability = _value(row["compute_cap"])
        gpu.memory_mib = _number(row["memory.total"])
        gpu.memory_free_mib = _number(row["memory.free"])
        bus = _value(row["pci.bus_id"])
        gpu.pci_bus = normal_bus(bus) if isinstance(bus, str) else bus
        uuid = _value(row["uuid"])
        if isinstance(uuid, str) and uuid.startswith("GPU-"):
            from envcheck.probes.redact import redact

            gpu.uuid = redact(uuid)
            gpu.uuid_prefixes = [redact(one) for one in wanted if uuid.lower().startswith(one.lower())]
        gpu.mig = mig_state(row["mig.mode.current"])
        gpu.compute_mode = _value(row["compute_mode"])
        if "ecc.mode.current" in row:
            state = mig_state(row["ecc.mode.current"])
            gpu.ecc = Absent("its memory has no ECC") if isinstance(state, Absent) else state
            state = mig_state(row["persistence_mode"])
            gpu.persistence = Unknown("nvidia-smi prints N/A") if isinstance(state, Absent) else state
            for place, name in enumerate(LINK, start=len(names) - len(LINK)):
                setattr(gpu.pcie, name, _number(cells[place]))
        gpus.append(gpu)
    return gpus


def _value(cell: str) -> Text:
    if cell.startswith(("[", "N/A", "ERR!")) or not cell:
        return Unknown(f"nvidia-smi prints {cell or 'nothing'}")
    return cell


def _number(cell: str) -> int | Unknown:
    if cell.isascii() and cell.isdigit() and len(cell) < 12:
        return int(cell)
    return Unknown(f"nvidia-smi prints {cell[:40]}")


def ask(host: Host, log: Log) -> Smi | None:
    """Run nvidia-smi: its table, and when that works its CSV for what the table cuts off. None where there is none."""
    path = host.which("nvidia-smi") or next((place for place in PLACES if host.exists(place)), None)
    if host.platform == "win32" and path is None:
        system = host.env.get("SystemRoot", r"C:\Windows") + r"\System32\nvidia-smi.exe"
        path = system if host.exists(system) else None
    if path is None:
        log.add("nvidia-smi", "absent", "not on PATH", "nvidia-smi")
        return None
    with log.attempt("nvidia-smi", path) as attempt:
        ran = host.run([path], timeout=TIMEOUT)
        if ran.status != "done":
            attempt.failed(ran.trouble, _status(ran.status))
            why = Unknown(f"nvidia-smi: {ran.trouble}")
            return Smi(why, why, why, why, f"nvidia-smi: {ran.trouble}")
        smi = parse_table(ran.stdout + "\n" + ran.stderr)
        rows = smi.gpus
        if smi.error or not isinstance(rows, list):
            if isinstance(smi.gpus, Absent):
                attempt.absent("No devices were found")
            else:
                attempt.failed(smi.error or f"exit {ran.code}, and no table")
            return smi
        attempt.found(f"driver {smi.driver}, {len(rows)} GPU")
        return smi._replace(gpus=_detail(host, log, path, rows))
    return None


def _status(status: str) -> str:
    """Status of a command in the words of the log."""
    return {"not-found": "absent", "timeout": "timeout", "abandoned": "timeout"}.get(status, "failed")


def _detail(host: Host, log: Log, path: str, table: list[Gpu]) -> list[Gpu]:
    """The same GPUs from the CSV, which knows whole names and compute capabilities."""
    from envcheck.probes.nvml import wanted_uuids

    for fields in (FIELDS, OLD_FIELDS):
        with log.attempt("nvidia-smi", f"{path} --query-gpu={fields}") as attempt:
            ran = host.run([path, f"--query-gpu={fields}", "--format=csv,noheader,nounits"], timeout=TIMEOUT)
            gpus = parse_csv(ran.stdout, fields, wanted_uuids(host)) if ran.status == "done" else []
            if gpus:
                attempt.found(f"{len(gpus)} GPU")
                slices = {gpu.index: gpu.mig_instances for gpu in table}
                for gpu in gpus:
                    gpu.mig_instances = slices.get(gpu.index, gpu.mig_instances)
                return gpus
            attempt.failed((ran.stdout + ran.stderr).strip()[:200] or ran.trouble)
            if ran.status != "done":
                break
    return table
