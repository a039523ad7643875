"""``nvidia-smi``: the table of all releases, ``-L``, ``-q`` and ``--query-gpu``. Its "CUDA Version" is the driver's."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted.lines import has
from envcheck.sources.pasted.statements import Statements

_COLUMNS = ("name", "gpu_name", "driver_version", "compute_cap", "memory.total", "uuid", "index", "count")


def read(text: str) -> dict[str, Any] | None:
    facts = Statements()
    if has(text, "NVIDIA-SMI"):
        _table(facts, text.split("\n"))
    if has(text, "NVSMI LOG", "Product Name", "Product Brand"):
        _query(facts, text.split("\n"))
    if "gpus" not in facts.data and has(text, "UUID: GPU-"):
        for found in re.finditer(r"^[ |]*GPU (\d{1,3}): ([^\n(]{1,100}) \(UUID: GPU-", text, re.M):
            if int(found[1]) != len(facts.data.get("gpus", ())):
                break
            facts.gpu(found[2])
    if has(text, "driver_version", "compute_cap"):
        _values(facts, text.split("\n"))
    return facts.done()


def _table(facts: Statements, lines: list[str]) -> None:
    rows = False
    for line in lines:
        if "NVIDIA-SMI" in line and (found := re.search(r"(?:Driver|KMD) Version\s{0,20}:\s{0,20}([\d.]{1,20})", line)):
            if rows:
                return  # a second table
            rows = True
            facts.driver(found[1])
            if found := re.search(r"CUDA (?:UMD )?Version\s{0,20}:\s{0,20}([\d.]{1,20})", line):
                facts.driver_cuda(found[1])
        elif not rows or len(line) > 400:
            continue
        elif "Processes:" in line or "MIG devices:" in line:
            return
        elif found := re.match(
            r"[|\s]{0,12}(\d{1,3})\s{1,4}(\S.{0,60}?)\s{1,30}(?:On|Off|N/A|TCC|WDDM|WDM|MCDM|ERR!)\s{0,8}\|?\s{1,8}"
            r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]",
            line,
        ):
            facts.gpu(found[2])
        elif facts.data.get("gpus") and (found := re.search(r"(\d{1,8}) ?MiB {0,8}/ {0,8}(\d{1,8}) ?MiB", line)):
            facts.data["gpus"][-1].setdefault("memory_mib", int(found[2]))


def _query(facts: Statements, lines: list[str]) -> None:
    framebuffer = logs = 0
    listed = "gpus" in facts.data
    for number, line in enumerate(lines):
        key, colon, value = line.partition(":")
        key, value = key.strip(" |-*"), value.strip()
        logs += "NVSMI LOG" in line
        if logs > 1:
            return
        if key == "FB Memory Usage":
            framebuffer = number
        if not colon or not value:
            continue
        if key == "Driver Version":
            facts.driver(value)
        elif key == "CUDA Version":
            facts.driver_cuda(value)
        elif listed:
            continue
        elif key == "Product Name":
            facts.gpu(value)
        elif key == "Total" and framebuffer and number - framebuffer < 3 and facts.data.get("gpus"):
            found = re.match(r"(\d{1,8}) MiB", value)
            if found:
                facts.data["gpus"][-1].setdefault("memory_mib", int(found[1]))


def _values(facts: Statements, lines: list[str]) -> None:
    """``--format=csv``: a line of columns, then a line for each GPU."""
    for number, line in enumerate(lines):
        columns = [column.split(" [")[0].strip() for column in line.strip().split(",")]
        if len(columns) < 2 or len(columns) > 40 or not set(columns) & set(_COLUMNS[:4]):
            continue
        if not all(re.fullmatch(r"[a-z_.]{2,60}", column) for column in columns):
            continue
        new = "gpus" not in facts.data
        for row in lines[number + 1 : number + 65]:
            values = [value.strip() for value in row.split(",")]
            if len(values) != len(columns):
                break
            entry = dict(zip(columns, values, strict=True))
            facts.driver(entry.get("driver_version", ""))
            memory = re.match(r"(\d{1,8})(?: MiB)?$", entry.get("memory.total", ""))
            capability = re.fullmatch(r"\d{1,2}\.\d", entry.get("compute_cap", ""))
            if new:
                facts.gpu(
                    entry.get("name") or entry.get("gpu_name") or "",
                    memory_mib=int(memory[1]) if memory else None,
                    compute_capability=capability[0] if capability else None,
                )
        return
