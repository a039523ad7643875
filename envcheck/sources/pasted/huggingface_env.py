"""``transformers env``, ``accelerate env``, ``diffusers-cli env``, ``datasets-cli env``: a list of bullets."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has, labels
from envcheck.sources.pasted.statements import Statements, given, version

_PACKAGES = {
    "transformers version": "transformers", "accelerate version": "accelerate", "diffusers version": "diffusers",
    "\U0001f917 diffusers version": "diffusers", "huggingface_hub version": "huggingface-hub", "peft version": "peft",
    "safetensors version": "safetensors", "numpy version": "numpy", "bitsandbytes version": "bitsandbytes",
    "xformers version": "xformers", "deepspeed version": "deepspeed", "jax version": "jax", "jaxlib version": "jaxlib",
    "datasets version": "datasets", "pyarrow version": "pyarrow", "pandas version": "pandas",
    "optimum version": "optimum",
    "pytorch version (gpu?)": "torch", "pytorch version (accelerator?)": "torch", "pytorch version": "torch",
    "tensorflow version (gpu?)": "tensorflow", "sentence transformers version": "sentence-transformers",
    "tokenizers version": "tokenizers", "trl version": "trl", "vllm version": "vllm",
}  # fmt: skip


def read(text: str) -> dict[str, Any] | None:
    if not has(
        text,
        "Huggingface_hub version",
        "(GPU?)",
        "` version",
        "transformers version",
        "(accelerator?)",
        "default config",
        "huggingface_hub` version",
        "PyTorch version",
    ):
        return None
    found: dict[str, str] = {}
    for key, value in labels(text):
        key = key + "?)" if key.endswith(("(gpu", "(accelerator")) else key.replace("(gpu?)", "(gpu?)")
        found.setdefault(key, value)
    own = sum(key in found for key, name in _PACKAGES.items() if name not in ("torch", "numpy", ""))
    if own < 1 or own + ("platform" in found) + any(key.startswith("pytorch version") for key in found) < 2:
        return None
    facts = Statements()
    facts.python(found.get("python version", ""))
    for key, name in _PACKAGES.items():
        if name and (stated := version(given(found.get(key, "")))):
            facts.package(name, stated)
    places.platform(facts, found.get("platform", ""))
    for key in ("gpu type", "accelerator"):
        stated = re.sub(r",? ?\d+ ?MiB.*$| VRAM.*$", "", given(found.get(key, "")))
        if stated and not stated.lower().startswith(("yes", "no ", "cuda")):
            memory = re.search(r"(\d{3,7}) ?MiB", found.get(key, ""))
            facts.gpu(stated, memory_mib=int(memory[1]) if memory else None)
    return facts.done()
