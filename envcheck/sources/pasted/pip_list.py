"""``pip list``, ``pip freeze``, ``pip show``, ``uv pip list`` and ``poetry show``.

A single ``name==version`` in a log is a wish, not an installed package: lists have a heading, the command above them,
or several lines.
"""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted.lines import has
from envcheck.sources.pasted.statements import Statements

LEAST = 3
"""Lines that make a list where neither a heading nor a command is there."""
_COMMAND = r"(?:pip[\d.]*|conda|uv|poetry|pdm) (?:pip )?(?:list|freeze|show)\b"
_NAME = r"[A-Za-z0-9][\w.-]{0,80}"
_VERSION = r"v?\d[\w.+!-]{0,60}"
_ROW = re.compile(rf"\s{{0,8}}({_NAME})\s{{1,80}}({_VERSION})(?:\s{{1,60}}(\S.{{0,300}}))?$")
_FROZEN = re.compile(
    rf"\s{{0,8}}({_NAME})(?:==({_VERSION})|( @ (?:file|git|https?)\S{{1,400}}))(?:\s*[;#].{{0,200}})?$"
)


def read(text: str) -> dict[str, Any] | None:
    facts = Statements()
    lines = text.split("\n")
    if has(text, "==", " @ "):
        _frozen(facts, lines)
    if has(text, "Version", " list", "poetry show", " (1", " (2", " (0"):
        _columns(facts, lines)
    if has(text, "Name: "):
        for found in re.finditer(rf"^\s{{0,8}}Name: ({_NAME})\n\s{{0,8}}Version: ({_VERSION})$", text, re.M):
            facts.package(found[1], found[2])
    if interpreter := re.search(r"^Using Python (\d\.\d{1,2}\.\d{1,2}) environment at", text, re.M):
        facts.python(interpreter[1])
    if "packages" not in facts.data:
        return None
    return facts.done()


def _frozen(facts: Statements, lines: list[str]) -> None:
    run: list[tuple[str, str]] = []
    asked = False
    for line in [*lines, ""]:
        found = _FROZEN.match(line) if "==" in line or " @ " in line else None
        if found:
            run.append((found[1], found[2] or _of_wheel(found[3])))
            continue
        if line.lstrip().startswith(("-e ", "# Editable", "#")) and run:
            continue
        if run and (asked or len(run) >= LEAST):
            for name, stated in run:
                facts.package(name, stated)
        run = []
        asked = bool(re.search(_COMMAND, line[:300])) or (asked and not line.strip())


def _of_wheel(address: str) -> str:
    """``torch @ https://.../torch-2.0.1%2Bcu118-cp310-...whl`` -> ``2.0.1+cu118``; of a folder nothing."""
    found = re.search(r"/[A-Za-z0-9_.]{1,80}-(\d[\w.!+%]{0,60})-(?:cp|py)\d\w{0,10}-", address)
    return found[1].replace("%2B", "+").replace("%2b", "+") if found else ""


def _columns(facts: Statements, lines: list[str]) -> None:
    inside = poetry = False
    for line in lines:
        words = line.split()
        if (words[:2] == ["Package", "Version"] and len(words) < 7) or words[:3] == ["|", "Package", "|"]:
            inside, poetry = True, False
            continue
        if re.search(_COMMAND, line[:300]) and len(words) < 20:
            inside, poetry = "conda" not in line, "poetry" in line
            if "uv pip" in line:
                facts.put("python", "managed_by", "uv")
            continue
        if not inside or not words:
            inside = inside and bool(words or not facts.data)
            continue
        if set(line) <= set("- |+="):
            continue
        old = re.match(rf"\s{{0,8}}({_NAME}) \(({_VERSION})(?:, [^)]{{1,300}})?\)$", line)
        row = old or _ROW.match(line.replace("(!)", "", 1) if poetry else line)
        if row is None or (not poetry and not old and row[3] and " " in row[3].strip() and not _location(row[3])):
            inside = False
            continue
        facts.package(row[1], row[2])


def _location(text: str) -> bool:
    """The third column of ``pip list``: a folder, and the installer."""
    return "/" in text or "\\" in text or text.strip() in ("pip", "conda", "uv")
