"""``conda list`` (also mamba's and micromamba's) and ``conda info``.

What conda calls ``pytorch`` is the package ``torch``; the build string names its CUDA: ``py3.9_cuda11.3_cudnn8.2.0_0``.
"""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has, labels
from envcheck.sources.pasted.statements import Statements, given

LEAST = 3
_BUILD = re.compile(
    r"(?:pypi_\d+|py_\d+|\S{0,80}_\d{1,5}|\d{1,4}|main|mkl|cuda|cpu|<pip>|<develop>|openblas|py\d{2,3}(?:_\w{1,40})?)$"
)
_CHANNELS = ("pypi", "conda-forge", "pytorch", "nvidia", "defaults", "anaconda", "fvcore", "iopath", "pyg", "main")


def read(text: str) -> dict[str, Any] | None:
    facts = Statements()
    if has(
        text, "# packages in environment", "List of packages in environment", "conda list", "mamba list", "pypi_0"
    ) or (re.search(r"^ {0,8}Name +Version +Build| (?:h[0-9a-f]{7}_\d|py\d[\w.]{0,40}_\d)", text, re.MULTILINE)):
        _list(facts, text.split("\n"))
    if has(text, "conda version :", "virtual packages :", "active environment :"):
        _info(facts, text)
    if facts.data:
        facts.put("python", "environment", "conda")
    return facts.done()


def _list(facts: Statements, lines: list[str]) -> None:
    inside = False
    run: list[str] = []
    for line in [*lines, "\0"]:
        words = line.split()
        if line.lstrip().startswith("# ") and ("packages in environment" in line or words[1:2] == ["Name"]):
            inside = True
        elif line.strip() in ("#", "") or words[:1] == ["List"] or (words and set(line.strip()) <= set("─━- ")):
            pass
        elif words[:2] == ["Name", "Version"] or re.search(r"\b(?:conda|mamba) list\b", line[:300]):
            inside = True
        elif _is_row(words):
            run.append(line)
        else:
            if inside or len(run) >= LEAST or any(entry.split()[-1] == "pypi" for entry in run):
                for entry in run:
                    row(facts, entry)
                if inside and run:
                    inside = False
            run = []


def _is_row(words: list[str]) -> bool:
    if not 2 < len(words) < 6 or not words[1][:1].isdigit():
        return False
    return _BUILD.match(words[2]) is not None and (
        len(words) == 3 or words[3] in _CHANNELS or "/" in words[3] or words[3].isidentifier()
    )


def row(facts: Statements, line: str) -> None:
    """One line of ``conda list``."""
    words = line.split()
    if len(words) < 2 or not words[1][:1].isdigit():
        return
    name, stated, build = words[0], words[1], words[2] if len(words) > 2 else ""
    pip = "pypi" in words[2:] or build.startswith(("pypi", "<pip>"))
    if name == "python" and not pip:
        facts.python(stated)
    elif name.startswith("_") or len(stated) > 80:
        return
    elif name in ("pytorch", "pytorch-cpu", "pytorch-gpu") and not pip:
        facts.package("torch", stated)
        if found := re.search(r"cuda(\d{1,2})\.(\d)|cuda_?(\d{2})(\d)", build):
            facts.built("torch", f"+cu{found[1] or found[3]}{found[2] or found[4]}")
        elif "cpu" in build:
            facts.built("torch", "+cpu")
    else:
        facts.package(name, stated)
        if name in ("torchvision", "torchaudio") and not pip and (found := re.search(r"_(cu\d{2,3}|cpu)$", build)):
            facts.built(name, f"+{found[1]}")


def _info(facts: Statements, text: str) -> None:
    for found in re.finditer(r"__(cuda|glibc|osx|win|archspec)=([\w.]{1,40})", text):
        if found[1] == "cuda":
            facts.driver_cuda(found[2])
        elif found[1] == "glibc":
            facts.put("os", "system", "Linux")
            facts.put("os", "glibc", found[2])
        elif found[1] == "osx":
            facts.put("os", "system", "Darwin")
            facts.put("os", "distro_version", found[2])
    for key, value in labels(text):
        if key == "platform" and (name := re.match(r"(linux|osx|win)-(64|aarch64|arm64|ppc64le)$", given(value))):
            facts.put("os", "system", {"linux": "Linux", "osx": "Darwin", "win": "Windows"}[name[1]])
            places.arch(facts, "x86_64" if name[2] == "64" else name[2])
