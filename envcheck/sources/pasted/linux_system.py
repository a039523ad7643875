"""``/etc/os-release``, ``lsb_release -a``, ``hostnamectl``, ``uname -a``, ``ldd --version`` and macOS' ``sw_vers``."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has
from envcheck.sources.pasted.statements import Statements


def read(text: str) -> dict[str, Any] | None:
    facts = Statements()
    if has(text, "VERSION_ID=", "PRETTY_NAME="):
        _os_release(facts, text)
    if has(text, "Distributor ID:", "Operating System:", "ProductVersion:"):
        _labelled(facts, text)
    for found in re.finditer(r"^\s{0,8}Linux \S{1,80} (\d\S{2,80}) (#\d[^\n]{1,200})", text, re.M):
        facts.put("os", "system", "Linux")
        facts.put("os", "kernel", found[1])
        if "microsoft" in found[1].lower():
            facts.put("os", "wsl", True)
        places.arch(facts, found[2])
        break
    if libc := re.search(r"^\s{0,8}ldd \((?:[^)\n]{0,60}G(?:LIBC|NU libc)[^)\n]{0,60})\) (2\.\d{1,2})$", text, re.M):
        facts.put("os", "system", "Linux")
        facts.put("os", "glibc", libc[1])
    return facts.done()


def _os_release(facts: Statements, text: str) -> None:
    found = dict(reversed(re.findall(r"^\s{0,8}([A-Z_]{2,40})=\"?([^\"\n]{1,200})\"?$", text, re.M)))
    if "ID" in found and "NAME" in found:
        facts.put("os", "system", "Linux")
        facts.put("os", "distro", found["ID"].strip())
        facts.put("os", "distro_version", found.get("VERSION_ID", "").strip())
    elif "PRETTY_NAME" in found:
        places.system(facts, found["PRETTY_NAME"])


def _labelled(facts: Statements, text: str) -> None:
    found = dict(reversed(re.findall(r"^\s{0,30}([A-Z][A-Za-z ]{2,30}):\s{1,30}(\S[^\n]{0,200})$", text, re.M)))
    if "Distributor ID" in found:
        places.system(facts, found["Distributor ID"] + " " + found.get("Release", ""))
        places.system(facts, found.get("Description", ""))
    if "Operating System" in found and "Kernel" in found:
        places.system(facts, found["Operating System"])
        places.arch(facts, found.get("Architecture", "").replace("-", "_"))
    if "macOS" in found.get("ProductName", "") or "Mac OS" in found.get("ProductName", ""):
        facts.put("os", "system", "Darwin")
        facts.put("os", "distro_version", found.get("ProductVersion", "").strip())
