"""``lscpu`` in any language, ``/proc/cpuinfo``, and the processor as Windows' collect_env gives it."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import LONGEST_LINE
from envcheck.sources.pasted.statements import Statements, given

_ARCH = (
    "architecture",
    "architektur",
    "架构",
    "アーキテクチャ",
    "arquitectura",
    "arquitetura",
    "архитектура",
    "architettura",
)
_MODEL = (
    *("model name", "modellname", "型号名称", "モデル名", "nom de modèle", "nom du modèle", "nombre del modelo"),
    *("nome do modelo", "имя модели", "nome del modello", "name", "cpu model"),
)
_FLAGS = ("fpu vme", "fpu de", "fp asimd", "half thumb")
"""How a list of x86 or Arm flags begins; the label before it has a word of its own in each language."""
_LAST = (
    *("arat", "xsaves", "xsaveopt", "spec_ctrl", "md_clear", "flush_l1d", "arch_capabilities", "fsrm", "dtherm", "pts"),
    *("smca", "succor", "overflow_recov", "debug_swap", "ospke", "stibp", "ibpb", "v_spec_ctrl", "invpcid", "cpuid"),
)
"""Words with which the kernel's list of flags ends; of a list that was cut off they are not the last ones."""


def read(text: str) -> dict[str, Any] | None:
    low = text.lower()
    if not any(word in low for word in (*_ARCH[:2], *_ARCH[2:6], "nom de modèle", "model name", "fpu vme", *_ARCH[6:])):
        return None
    facts = Statements()
    lines = text.split("\n")
    arch = model = ""
    labelled = 0
    for number, line in enumerate(lines):
        pair = re.match(r"\s{0,12}([^:：=]{1,60}?)\s{0,60}[:：=]\s{0,60}(\S.*)$", line)
        if pair is None:
            continue
        key, value = pair[1].strip().lower(), pair[2].strip()
        if key in _ARCH and not arch:
            arch = {"9": "x86_64", "12": "aarch64"}.get(value, value)
        elif (
            key in _MODEL
            and not model
            and (key != "name" or re.search(r"\b(?:CPU|Ryzen|Core|Xeon|EPYC|Processor)\b", value))
        ):
            model = " ".join(given(value).split())
        elif key.startswith(
            ("cpu op-mode", "byte order", "cpu family", "vendor id", "vendor_id", "cpu mhz", "stepping", "bogomips")
        ):
            labelled += 1
        elif value.startswith(_FLAGS):
            labelled += 2
            if flags := _flags(lines, number, value):
                facts.put("cpu", "flags", flags)
    if not arch and "flags" not in facts.data.get("cpu", {}) and not (model and labelled):
        return None
    places.arch(facts, arch[:40])
    facts.put("cpu", "model", model)
    return facts.done() if "cpu" in facts.data and (model or labelled or "flags" in facts.data["cpu"]) else None


def _flags(lines: list[str], number: int, value: str) -> list[str]:
    """Flags with their continuation lines; none when the list may be cut off, as a missing flag would be a finding."""
    if len(lines[number]) >= LONGEST_LINE or "..." in value:
        return []
    names = value.split()
    whole = False
    for line in lines[number + 1 : number + 40]:
        if ":" in line or "\uff1a" in line:
            whole = True
            break
        if not line.startswith("          "):
            break
        names += line.split()
    # Old releases of lscpu print them last.
    if not whole and names[-1] not in _LAST:
        return []
    return list(dict.fromkeys(name for name in names if re.fullmatch(r"[a-z0-9_]{1,30}", name)))[:400]
