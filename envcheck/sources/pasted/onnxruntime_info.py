"""``onnxruntime.print_debug_info()``."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.statements import Statements


def read(text: str) -> dict[str, Any] | None:
    if "Python package, version and location:" not in text:
        return None
    facts = Statements()
    platform = ""
    for line in text.split("\n"):
        line = line.strip()
        if found := re.match(r"([\w.-]{1,80})==([\w.+!-]{1,60}) at (\S.{0,300})", line):
            facts.package(found[1], found[2])
            if folder := re.search(r"[/\\][Pp]ython(\d\.\d{1,2})[/\\]site-packages", found[3]):
                facts.python(folder[1])
        elif found := re.match(r"(onnxruntime[\w-]{0,40}|ort-[\w-]{1,40}) version: ([\w.+-]{1,60})$", line):
            facts.package(found[1], found[2])
        elif line.startswith("platform:"):
            platform = line[9:]
        else:
            facts.variable(line)
    places.platform(facts, platform)
    return facts.done()
