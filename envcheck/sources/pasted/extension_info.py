"""``python -m xformers.info`` and the report of ``python -m bitsandbytes``."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has, labels
from envcheck.sources.pasted.statements import Statements, given, version


def read(text: str) -> dict[str, Any] | None:
    facts = Statements()
    if has(text, "memory_efficient_attention.", "gpu.compute_capability"):
        _xformers(facts, text)
    if has(text, "CUDA SETUP: ", "bitsandbytes v"):
        _bitsandbytes(facts, text)
    return facts.done()


def _xformers(facts: Statements, text: str) -> None:
    if own := re.search(r"^\s{0,8}xFormers (\d[\w.+]{0,60})$", text, re.M):
        facts.package("xformers", own[1])
    found = dict(reversed(list(labels(text))))
    if stated := version(given(found.get("pytorch.version", ""))):
        facts.package("torch", stated)
    capability = re.match(r"\d{1,2}\.\d$", found.get("gpu.compute_capability", ""))
    facts.gpu(found.get("gpu.name", ""), compute_capability=capability[0] if capability else None)


def _bitsandbytes(facts: Statements, text: str) -> None:
    if found := re.search(r"Highest compute capability among GPUs detected: (\d{1,2}\.\d)", text):
        facts.data.setdefault("gpus", [{"compute_capability": found[1], "vendor": "nvidia"}])
    if not (found := re.search(r"bitsandbytes v(\d[\w.]{0,40})", text)):
        return
    facts.package("bitsandbytes", found[1])
    for key, value in labels(text):
        if key == "platform":
            places.platform(facts, value)
        elif key in ("python", "pytorch", "cuda", "hip"):
            if key == "python":
                facts.python(value)
            elif key == "pytorch" and (stated := version(value)):
                facts.package("torch", stated)
