"""What a program says of itself when it starts: Python's first line, Windows' command prompt.

Ordinary logs hold them too. They add to a report, and are none by themselves.
"""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted.lines import has
from envcheck.sources.pasted.statements import Statements


def read(text: str) -> dict[str, Any] | None:
    facts = Statements()
    if has(text, "Python "):
        found = re.search(
            r"^\s{0,8}Python (\d\.\d{1,2}\.\d{1,2}\S{0,4})(?:\s{0,4}\|?[^\n]{0,40}\([^\n]{3,200})?$", text, re.M
        )
        if found:
            facts.python(found[1] + (" 64-bit" if "64 bit (AMD64)" in found[0] else ""))
    if found := re.search(r"Microsoft Windows \[[^\d\]]{1,20}10\.0\.(\d{5})", text):
        facts.put("os", "system", "Windows")
        facts.put("os", "distro_version", "11" if int(found[1]) >= 22000 else "10")
    return facts.done()
