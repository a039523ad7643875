"""``collect_env`` of mmcv, mmengine and their family, and of detectron2 (a table of two columns)."""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted.lines import has
from envcheck.sources.pasted.statements import Statements, version

_PACKAGES = {
    "pytorch": "torch", "torchvision": "torchvision", "opencv": "opencv-python", "mmcv": "mmcv", "mmdetection": "mmdet",
    "mmengine": "mmengine", "mmsegmentation": "mmsegmentation", "mmdetection3d": "mmdet3d", "mmpose": "mmpose",
    "mmdet": "mmdet", "numpy": "numpy", "detectron2": "detectron2", "pillow": "pillow", "fvcore": "fvcore",
}  # fmt: skip


def read(text: str) -> dict[str, Any] | None:
    if not has(text, "sys.platform"):
        return None
    text = _as_lines(text)
    found: dict[str, str] = {}
    for line in text.split("\n"):
        # "key: value" of mmcv, which a log may prefix; two columns of detectron2
        pair = re.match(r"[ |]{0,40}([A-Za-z][\w. ,:/()]{0,40}?)(?:\s{0,4}:\s|\s{2,60})(\S.{0,400})$", line)
        if pair:
            key = " ".join(pair[1].lower().split())
            found.setdefault(key, pair[2])
            if indices := re.match(r"gpu ([\d, ]{1,60})$", key):
                found.setdefault("gpu", indices[1] + "|" + pair[2])
    if "sys.platform" not in found or not {"pytorch", "python", "cuda available"} & set(found):
        return None
    facts = Statements()
    system = found["sys.platform"].strip()
    facts.put("os", "system", {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}.get(system, ""))
    facts.python(found.get("python", ""))
    for key, name in _PACKAGES.items():
        if stated := version(found.get(key, "").partition("@")[0]):
            facts.package(name, stated)
    gpus, _, name = found.get("gpu", "").partition("|")
    capability = re.search(r"\(arch=(\d{1,2}\.\d)\)", name)
    for _ in range(min(len(re.findall(r"\d+", gpus)), 64)):
        facts.gpu(name.partition("(")[0], compute_capability=capability[1] if capability else None)
    facts.driver(found.get("driver version", ""))
    nvcc = found.get("nvcc", "") or found.get("cuda compiler", "")
    release = re.search(r"release (\d{1,2}\.\d{1,2})|V(\d{1,2}\.\d{1,2}\.\d{1,4})", nvcc)
    if release:
        facts.nvcc(release[1] or release[2])
    _runtime(facts, text)
    return facts.done()


def _as_lines(text: str) -> str:
    """A printed ``OrderedDict([('sys.platform', 'linux'), ...])`` as lines."""
    if "('sys.platform'" not in text and "{'sys.platform'" not in text:
        return text
    pairs = re.findall(r"'([A-Za-z][^'\n]{0,60})'[,:] (?:'([^'\n]{0,400})'|(True|False)\b)", text)
    return "\n".join(f"{key}: {value or flag}" for key, value, flag in pairs)


def _runtime(facts: Statements, text: str) -> None:
    """PyTorch's build: ``- CUDA Runtime 11.3`` in its compiling details."""
    if "torch" not in facts.data.get("packages", {}) or "PyTorch built with" not in text:
        return
    if found := re.search(r"- CUDA Runtime (\d{1,2})\.(\d)", text):
        facts.built("torch", f"+cu{found[1]}{found[2]}")
