"""What a message states, as sparse facts (the form of :meth:`envcheck.Snapshot.from_facts`).

A signature's ``sets`` name where captured values go: ``driver.cuda = found:cuda-int``. On the left stands a fact, on
the right the name of a group of the pattern and, after a colon, how its text is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from envcheck.diagnosis.model import Match

BY = "the error message"

LISTS = ("libraries.missing", "libraries.found", "cpu.missing_flags", "model.missing_operators")
TEXTS = (
    "driver.cuda", "driver.version", "cudnn.system", "toolkit.nvcc", "python", "python.environment",
    "python.managed_by", "os.system", "os.distro", "os.glibc",
    "cpu.arch", "gpu.compute_capability", "gpu.name", "gpu.memory_mib", "model.opset", "model.ir_version",
    "model.format", "model.saved_with", "model.compute_capability", "model.runtime",
)  # fmt: skip
NUMBERS = ("gpu.memory_mib", "model.opset", "model.ir_version")


def cuda_int(text: str) -> str:
    """``11040`` -> ``11.4``, as the driver and the runtime count."""
    number = int(text)
    return f"{number // 1000}.{number % 1000 // 10}"


def cudnn_int(text: str) -> str:
    """``8902`` -> ``8.9.2``, ``90100`` -> ``9.1.0``."""
    number = int(text)
    if number >= 90000:
        return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"
    return f"{number // 1000}.{number % 1000 // 100}.{number % 100}"


def capability(text: str) -> str:
    """``sm_86``, ``compute_86``, ``86``, ``8.6``, ``0x806`` or ``sm_90a`` -> ``8.6``."""
    text = text.strip().lower()
    if text.startswith("0x"):
        number = int(text, 16)
        return f"{number >> 8}.{number & 255}"
    digits = re.sub(r"^(?:sm|compute|lto|arch)[_ ]?", "", text).rstrip("af")
    found = digits if "." in digits else f"{digits[:-1]}.{digits[-1]}"
    return _matched(found, r"[0-9]{1,2}\.[0-9]{1,2}")


def _matched(text: str, pattern: str) -> str:
    """Raises ValueError for what is not of this form."""
    if not re.fullmatch(pattern, text):
        raise ValueError(text)
    return text


def label(text: str) -> str:
    """``11.7`` -> ``+cu117``: the local label of a wheel."""
    major, _, minor = text.partition(".")
    return f"+cu{major}{minor.partition('.')[0]}"


def flags(text: str) -> list[str]:
    """Names of instruction sets in any spelling, as /proc/cpuinfo writes them."""
    names = re.split(r"[\s,;/()+]+", text.strip().lower())
    return [FLAGS.get(name, name.replace(".", "_")) for name in names if name and name not in ("and", "or")]


FLAGS = {
    "sse4.1": "sse4_1", "sse4.2": "sse4_2", "avx512": "avx512f", "avx512_vnni": "avx512_vnni", "lzcnt": "abm",
    "avx-512": "avx512f", "x86_v2": "sse4_2", "x86_v3": "avx2", "x86_v4": "avx512f", "sse3": "pni",
}  # fmt: skip


def python_tag(text: str) -> str:
    """``cp36`` -> ``3.6``, ``cp311`` -> ``3.11``."""
    digits = text.lstrip("cpyi")
    return _matched(f"{digits[0]}.{digits[1:]}", r"[0-9]\.[0-9]{1,2}")


def mib(text: str) -> str:
    """``15.90 GiB``, ``11441 MiB``, ``16 GB`` -> MiB."""
    number, unit = re.match(r"([\d.]+)\s*([KMGT]?i?B)?(?![\w.])", text).groups()  # type: ignore[union-attr]
    factor = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}.get((unit or "M")[0].upper(), 1)
    size = float(number) * factor
    if size > 1e12:
        raise ValueError(text)
    return str(round(size))


def arch(text: str) -> str:
    """The architecture in a platform tag: ``manylinux_2_28_x86_64`` -> ``x86_64``."""
    for name in ("x86_64", "aarch64", "armv7l", "armv6l", "i686", "ppc64le", "s390x", "riscv64"):
        if name in text:
            return name
    return {"win_amd64": "x86_64", "win32": "i686", "win_arm64": "aarch64"}.get(text) or (
        "aarch64" if "arm64" in text else text
    )


def exact(text: str) -> str:
    """``==2.12.0`` -> ``2.12.0``; empty for a specifier that leaves a choice."""
    text = text.strip()
    return text[2:].strip() if text.startswith("==") and not set("*,<>~!") & set(text) else ""


READERS: dict[str, Callable[[str], Any]] = {
    "": str.strip,
    "cuda-int": cuda_int,
    "cudnn-int": cudnn_int,
    "sm": capability,
    "label": label,
    "flags": flags,
    "python-tag": python_tag,
    "mib": mib,
    "arch": arch,
    "exact": exact,
    "lower": str.lower,
    "digits": lambda text: ".".join(re.findall(r"\d+", text)),
    "base": lambda text: text.replace("\\", "/").rpartition("/")[2].strip(),
}
"""How a captured text is read. A reader may raise ValueError, IndexError or AttributeError: the fact is left out."""


def facts_of(matches: list[Match]) -> dict[str, Any]:
    """Sparse facts that the messages state; the first statement of a fact counts."""
    facts: dict[str, Any] = {}
    for match in matches:
        for assignment in match.signature.get("sets") or ():
            place, value = parsed(assignment, match.values)
            if value:
                put(facts, place, value)
    return facts


def parsed(assignment: str, values: Mapping[str, str]) -> tuple[str, Any]:
    """The fact and its value; an empty one where it was not captured or cannot be read."""
    left, _, right = (part.strip() for part in assignment.partition("="))
    for name, value in values.items():
        left = left.replace("{" + name + "}", value.strip())
    if right.startswith('"'):
        return left, right.strip('"')
    name, _, reader = right.partition(":")
    text = values.get(name)
    if text is None:
        return left, None
    try:
        return left, READERS[reader](text)
    except (ValueError, IndexError, AttributeError):
        return left, None


def put(facts: dict[str, Any], place: str, value: Any) -> None:
    """Set one fact, unless it is there; lists grow."""
    section, _, name = place.partition(".")
    if section == "python":
        facts.setdefault("python", {}).setdefault(name or "version", value)
    elif section == "package":
        facts.setdefault("packages", {}).setdefault(name, value)
    elif section == "gpu":
        gpu = facts.setdefault("gpus", [{}])[0]
        gpu.setdefault(name, _number(place, value))
    elif place in LISTS:
        there = facts.setdefault(section, {}).setdefault(name, [])
        there.extend(item for item in (value if isinstance(value, list) else [value]) if item not in there)
    else:
        facts.setdefault(section, {}).setdefault(name, _number(place, value))


def _number(place: str, value: Any) -> Any:
    number = place in NUMBERS and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 13
    return int(value) if number else value
