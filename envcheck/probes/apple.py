"""A Mac: release of macOS, and the Metal family of its GPU.

1. SystemVersion.plist; it reads 10.16 to programs built for macOS before 11, then ``sysctl kern.osproductversion``.
2. ``system_profiler SPDisplaysDataType``: chip, cores, memory of a discrete GPU, Metal.
"""

from __future__ import annotations

import re

from envcheck.core.snapshot import Absent, Gpu, Text, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import is_dotted

PLIST = "/System/Library/CoreServices/SystemVersion.plist"
COMPATIBLE = "10.16"
"""What macOS 11 and newer call themselves where an old program asks."""
PROFILER = ["system_profiler", "SPDisplaysDataType"]


def probe(host: Host, log: Log) -> tuple[Text, Text]:
    """Release of macOS; the Metal family, absent where the GPU has none."""
    return release(host, log), _metal(displays(host, log))


def release(host: Host, log: Log) -> Text:
    with log.attempt("macos", PLIST) as attempt:
        version = plist_version(host.read(PLIST, 1 << 16))
        if version and version != COMPATIBLE:
            attempt.found(version)
            return version
        attempt.failed(f"it says {version}")
    for argv in (["sysctl", "-n", "kern.osproductversion"], ["sw_vers", "-productVersion"]):
        with log.attempt("macos", " ".join(argv)) as attempt:
            ran = host.run(argv, timeout=2.0)
            version = ran.stdout.strip()
            if ran.status == "done" and ran.code == 0 and _is_version(version) and version != COMPATIBLE:
                attempt.found(version)
                return version
            attempt.failed(version[:40] or ran.status)
    return Unknown("neither SystemVersion.plist nor sysctl tells it")


def plist_version(text: str) -> str | None:
    """``ProductVersion`` of SystemVersion.plist."""
    found = re.search(r"<key>ProductVersion</key>\s*<string>([^<]{1,20})</string>", text)
    return found[1].strip() if found and _is_version(found[1].strip()) else None


def _is_version(text: str) -> bool:
    return is_dotted(text, digits=4)


def displays(host: Host, log: Log) -> list[dict[str, str]] | Unknown:
    """One mapping for each GPU that ``system_profiler`` names; asked once for each host."""
    memo = host.__dict__
    if "_displays" not in memo:
        memo["_displays"] = _ask(host, log)
    found: list[dict[str, str]] | Unknown = memo["_displays"]
    return found


def _ask(host: Host, log: Log) -> list[dict[str, str]] | Unknown:
    with log.attempt("gpus", " ".join(PROFILER)) as attempt:
        ran = host.run(PROFILER, timeout=8.0)
        if ran.status != "done" or ran.code != 0:
            attempt.failed(ran.status if ran.status != "done" else f"exit code {ran.code}")
            return Unknown(f"system_profiler told nothing: {ran.status}")
        found = parse_displays(ran.stdout)
        if found:
            attempt.found(", ".join(gpu["Chipset Model"] for gpu in found))
        else:
            attempt.absent("no GPU")
        return found
    return Unknown("system_profiler failed")


def parse_displays(text: str) -> list[dict[str, str]]:
    """The ``key: value`` lines of each GPU; displays that hang on it are left out."""
    found: list[dict[str, str]] = []
    depth = 0
    for line in text.splitlines():
        key, colon, value = line.strip().partition(":")
        indent = len(line) - len(line.lstrip())
        if colon and key == "Chipset Model" and value.strip():
            found.append({})
            depth = indent
        if found and colon and value.strip() and indent == depth:
            found[-1].setdefault(key, value.strip())
    return found


def _metal(gpus: list[dict[str, str]] | Unknown) -> Text:
    """The best family of any GPU: ``Metal 3``, or of older systems ``Metal GPUFamily macOS 2``."""
    if isinstance(gpus, Unknown):
        return gpus
    told = [value for gpu in gpus for key in ("Metal Support", "Metal Family", "Metal") if (value := gpu.get(key))]
    families = [value.removeprefix("Supported, ") for value in told if "not supported" not in value.lower()]
    if families:
        return max(families)
    return Absent("no GPU here has Metal") if gpus else Unknown("system_profiler names no GPU")


def _unified(host: Host) -> int | Unknown:
    """Apple's chips share the machine's memory between CPU and GPU."""
    ran = host.run(["sysctl", "-n", "hw.memsize"], timeout=2.0)
    text = ran.stdout.strip()
    if ran.status == "done" and text.isascii() and text.isdigit() and len(text) < 17:
        return int(text) >> 20
    return Unknown("sysctl hw.memsize told nothing")


VENDORS = (("apple", "apple"), ("amd", "amd"), ("ati", "amd"), ("intel", "intel"), ("nvidia", "nvidia"))


def gpus(host: Host, log: Log) -> list[Gpu] | Unknown:
    """The GPUs of a Mac; of Apple's own chips the memory is the machine's."""
    told = displays(host, log)
    if isinstance(told, Unknown) or not told:
        return told if isinstance(told, Unknown) else Unknown("system_profiler names no GPU")
    found = []
    for index, values in enumerate(told):
        words = f"{values.get('Vendor', '')} {values['Chipset Model']}".lower().split()
        vendor = next((name for word, name in VENDORS if any(part.startswith(word) for part in words)), None)
        gpu = Gpu(index=index, name=values["Chipset Model"])
        if vendor is not None:
            gpu.vendor = vendor
        memory = values.get("VRAM (Total)") or values.get("VRAM (Dynamic, Max)") or ""
        if vendor == "apple" and not memory:
            gpu.memory_mib = _unified(host)
        number, _, unit = memory.partition(" ")
        if number.isascii() and number.isdigit() and len(number) < 7 and unit in ("MB", "GB"):
            gpu.memory_mib = int(number) * (1024 if unit == "GB" else 1)
        found.append(gpu)
    return found
