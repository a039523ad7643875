"""``systeminfo`` of Windows, in any language: the values are the same in all of them."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.statements import Statements


def read(text: str) -> dict[str, Any] | None:
    if "Microsoft" not in text:
        return None
    # "Microsoftr Windowsr": what a code page makes of the signs of trademarks
    name = re.search(r"^[^:：\n]{2,60}[:：]\s{1,40}(Microsoft\W?r? Windows[^\n\[]{1,100})$", text, re.M)
    kind = re.search(r"[:：]\s{1,40}(x64|x86|X86|ARM64)[- ][^\n]{0,30}PC\b", text)
    if name is None or not (kind or re.search(r"[:：]\s{1,40}(?:6|10)\.\d\.\d{4,5} ", text)):
        return None
    facts = Statements()
    places.system(facts, name[1])
    if kind:
        facts.put("cpu", "arch", {"x64": "x86_64", "arm64": "aarch64", "x86": "i686"}[kind[1].lower()])
    return facts.done()
