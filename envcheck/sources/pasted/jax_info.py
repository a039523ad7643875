"""``jax.print_environment_info()``."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has, labels
from envcheck.sources.pasted.statements import Statements, version


def read(text: str) -> dict[str, Any] | None:
    if not has(text, "jaxlib:"):
        return None
    found: dict[str, str] = {}
    for key, value in labels(text):
        found.setdefault(key, value)
    stated = {name: version(found.get(name, "")) for name in ("jax", "jaxlib", "numpy")}
    if not (stated["jax"] and stated["jaxlib"]):
        return None
    facts = Statements()
    for name, text_ in stated.items():
        if text_:
            facts.package(name, text_)
    facts.python(found.get("python", ""))
    platform = found.get("platform", "")
    if uname := re.match(r"uname_result\(system='(\w{1,20})'", platform):
        facts.put("os", "system", uname[1])
        if release := re.search(r"release='([\w.+-]{1,80})'", platform):
            facts.put("os", "kernel", release[1])
            if "microsoft" in release[1].lower():
                facts.put("os", "wsl", True)
        places.arch(facts, platform)
    for line in text.split("\n"):
        facts.variable(line)
    return facts.done()
