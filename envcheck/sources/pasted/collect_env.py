"""``python -m torch.utils.collect_env``, and the reports made after it: vLLM, PaddlePaddle, FastDeploy, ScaleLLM.

"CUDA runtime version" is what nvcc says, the toolkit; "CUDA used to build PyTorch" belongs to the torch package.
That CUDA is not available, or that nothing could be collected, is no statement on the machine.
"""

from __future__ import annotations

import re
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has, labels
from envcheck.sources.pasted.statements import Statements, given, version

_OWN = (
    "is debug build", "cuda used to build pytorch", "rocm used to build pytorch", "is cuda available",
    "cuda runtime version", "gpu models and configuration", "nvidia driver version", "cudnn version", "python platform",
    "libc version", "paddle with cuda", "hip runtime version", "cuda_module_loading set to", "nvidia driver list",
)  # fmt: skip
"""Two of these labels make a report of it; it may begin or end anywhere."""


def read(text: str) -> dict[str, Any] | None:
    if not has(text, "CUDA", "cuDNN", "Nvidia driver"):
        return None
    found: dict[str, str] = {}
    for key, value in labels(text):
        if key.startswith("pytorch version (gpu"):
            key = "pytorch version"
        if key in _OWN or key in _MORE:
            found.setdefault(key, value)
    if sum(key in found for key in _OWN) < 2:
        return None
    facts = Statements()
    paddle = "paddle with cuda" in found
    facts.python(found.get("python version", ""))
    _system(facts, found)
    facts.nvcc(found.get("cuda runtime version", "") or (found.get("cuda version", "") if paddle else ""))
    facts.driver(found.get("nvidia driver version", ""))
    lines = text.split("\n")
    _packages(facts, lines)
    _torch(facts, found)
    if paddle:
        built = given(found["paddle with cuda"]).lower() == "true"
        facts.package("paddlepaddle-gpu" if built else "paddlepaddle", version(found.get("paddle version", "")))
    if name := version(given(found.get("vllm version", ""))):
        facts.package("vllm", name)
    _gpus(facts, found, lines)
    _cudnn(facts, found, lines)
    if has(text, "Environment Variables", "vLLM Info", "vLLM Version"):
        for line in lines:
            facts.variable(line)
    return facts.done()


_MORE = ("pytorch version", "os", "python version", "vllm version", "paddle version", "cuda version")


def _system(facts: Statements, found: dict[str, str]) -> None:
    python = facts.data.get("python", {}).get("version", "")
    # Up to Python 3.7 libc_ver() told the newest symbol that the interpreter needs, not the version of the library.
    if python and not python.startswith(("2.", "3.4", "3.5", "3.6", "3.7")):
        places.glibc(facts, found.get("libc version", ""))
    places.system(facts, found.get("os", ""))
    places.platform(facts, found.get("python platform", ""))


def _torch(facts: Statements, found: dict[str, str]) -> None:
    stated = version(given(found.get("pytorch version", "")))
    if stated:
        facts.data.setdefault("packages", {})["torch"] = stated  # what was imported beats what pip lists
    if "torch" not in facts.data.get("packages", {}):
        return
    cuda, rocm = given(found.get("cuda used to build pytorch", "")), given(found.get("rocm used to build pytorch", ""))
    if built := re.match(r"(\d{1,2})\.(\d)", cuda):
        facts.built("torch", f"+cu{built[1]}{built[2]}")
    elif built := re.match(r"(\d{1,2})\.(\d)", rocm):
        facts.built("torch", f"+rocm{built[1]}.{built[2]}")
    elif found.get("cuda used to build pytorch", "").strip().lower() == "none" and (
        "xpu" not in stated and facts.data.get("os", {}).get("system") != "Darwin"
    ):
        facts.built("torch", "+cpu")


def _packages(facts: Statements, lines: list[str]) -> None:
    for line in lines:
        line = line.strip()
        if not line.startswith("[") or "]" not in line[:9]:
            continue
        kind, _, rest = line.partition("]")
        kind, rest = kind[1:], rest.strip()
        if kind in ("pip", "pip3", "pip2", "uv", "paddle"):
            if pinned := re.match(r"([\w.-]{1,80}?)(?:==| \()([\w.+!-]{1,80})\)?$", rest):
                facts.package(pinned[1], pinned[2])
        elif kind == "conda":
            from envcheck.sources.pasted.conda_list import row

            row(facts, rest)


def _gpus(facts: Statements, found: dict[str, str], lines: list[str]) -> None:
    first = found.get("gpu models and configuration", found.get("nvidia driver list", ""))
    listed = re.match(r"\s*GPU \d{1,3}:", first)
    if first and not listed:
        facts.gpu(first)
        return
    at = next(
        (n for n, line in enumerate(lines) if re.match(r"[\s|*-]*(?:GPU models and|Nvidia driver List)", line)), None
    )
    for line in lines[at:] if at is not None else ():
        if entry := re.search(r"\bGPU (\d{1,3}): ([^\n(]{1,100})", line):
            if int(entry[1]) != len(facts.data.get("gpus", ())):
                break
            facts.gpu(entry[2])
        elif facts.data.get("gpus") and not line.strip().startswith("MIG "):
            break


def _cudnn(facts: Statements, found: dict[str, str], lines: list[str]) -> None:
    stated = found.get("cudnn version", "")
    if not stated.startswith("Probably one of"):
        places.cudnn(facts, stated)
        return
    at = next((n for n, line in enumerate(lines) if "Probably one of the following" in line), len(lines))
    paths: list[str] = []
    for line in lines[at + 1 : at + 60]:
        if "cudnn" not in line.lower():
            break
        paths.append(line)
    if paths:
        places.cudnn(facts, "\n".join(path[:300] for path in paths)[:8000] + "/")
