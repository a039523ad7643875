"""``tf_env_collect.sh`` of TensorFlow: sections ``== check python ==``."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.statements import Statements


def read(text: str) -> dict[str, Any] | None:
    if not re.search(r"^\s{0,8}== (?:check|tensorflow import|cuda libs|env ==)", text, re.M):
        return None
    facts = Statements()
    section = ""
    for line in text.split("\n"):
        line = line.strip()
        if found := re.match(r"== ([\w +/-]{2,40}?) =", line):
            section = found[1].lower()
        elif "python" in section and (found := re.match(r"python version: (\S{1,40})", line)):
            facts.python(found[1])
        elif section.startswith(("check os", "cat /etc")):
            key, _, value = line.partition(":" if ":" in line else "=")
            if key.strip() in ("linux distribution", "os platform", "PRETTY_NAME"):
                places.system(facts, re.sub(r"[('),\"]+", " ", value))
            elif key.strip() == "os":
                facts.put("os", "system", value.strip() if value.strip() in ("Linux", "Windows", "Darwin") else "")
        elif "pips" in section and (found := re.match(r"([\w.-]{1,80}?) {1,80}\(?(\d[\w.+-]{0,40})\)?$", line)):
            facts.package(found[1], found[2])
        elif "tensorflow import" in section and (
            found := re.match(r"tf\.(?:version\.)?VERSION = (\d[\w.+-]{0,40})", line)
        ):
            facts.package("tensorflow", found[1])
        elif section == "env" and not line.endswith("unset"):
            name, _, value = line.partition(" ")
            facts.variable(f"{name}={value}" if "=" not in line else line)
    return facts.done()
