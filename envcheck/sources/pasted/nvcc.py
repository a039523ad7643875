"""``nvcc --version``: the CUDA toolkit that compiles."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted.statements import Statements


def read(text: str) -> dict[str, Any] | None:
    at = text.find("Cuda compilation tools, release")
    if at < 0:
        return None
    found = re.match(
        r"Cuda compilation tools, release (\d{1,2}\.\d{1,2})(?:, V(\d{1,2}\.\d{1,2}\.\d{1,4}))?", text[at : at + 120]
    )
    facts = Statements()
    if found:
        facts.nvcc(found[2] or found[1])
    return facts.done()
