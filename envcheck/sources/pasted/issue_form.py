"""Forms of issue trackers, filled in by hand: TensorFlow, ONNX Runtime, Keras and others.

``### CUDA/cuDNN version`` with the answer below it, or ``- **CUDA/cuDNN version**: 10.1 / 7.6``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envcheck.sources.pasted import places
from envcheck.sources.pasted.lines import has, label
from envcheck.sources.pasted.statements import Statements, given, version

_OWN = (
    "os platform and distribution", "cuda/cudnn version", "gpu model and memory", "onnx runtime version or commit id",
    "onnx runtime installation", "execution provider", "execution provider library version", "custom code",
    "have i written custom code", "tensorflow version", "tensorflow installed from", "onnx runtime installed from",
    "onnx runtime version", "onnx runtime api", "mobile device", "bazel version", "tensorflow.js version",
)  # fmt: skip
_OTHERS = (
    "python version", "operating system", "os version", "os platform", "platform", "architecture", "pytorch version",
    "nvidia driver version", "driver version", "cuda version", "cudnn version", "gpu model", "gpu", "os",
    "numpy version",
    "keras version", "gcc/compiler version",
)  # fmt: skip
_GPUS = re.compile(
    r"(?:NVIDIA |GeForce |Tesla |Quadro |RTX ?|GTX ?|TITAN ?|[AHVPKLTB]\d{1,3}\b|GT \d)[\w .()-]{0,50}", re.I
)


def read(text: str) -> dict[str, Any] | None:
    if not has(text, "### ", "ersion", "latform"):
        return None
    found: dict[str, str] = {}
    for key, value in _answers(text):
        if key in _OWN or key in _OTHERS:
            found.setdefault(key, value)
    if len(found) < 2 or not any(key in found for key in _OWN):
        return None
    facts = Statements()
    facts.python(found.get("python version", ""))
    for key in ("os platform and distribution", "os platform", "os version", "operating system", "os", "platform"):
        places.system(facts, found.get(key, ""))
    places.arch(facts, found.get("architecture", "").lower().replace("x64", "x86_64"))
    _packages(facts, found)
    both = found.get("cuda/cudnn version", "") or found.get("execution provider library version", "")
    _cuda(facts, both, found.get("cuda version", ""), found.get("cudnn version", ""))
    facts.driver(found.get("nvidia driver version", found.get("driver version", "")))
    for key in ("gpu model and memory", "gpu model", "gpu"):
        _gpu(facts, found.get(key, ""))
    return facts.done()


def _answers(text: str) -> Iterator[tuple[str, str]]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        start = line.lstrip()
        if start.startswith("#") and len(start) < 200:
            for answer in lines[number + 1 : number + 6]:
                if answer.lstrip().startswith("#"):
                    break
                if answer.strip():
                    yield _question(start.lstrip("# ")), answer.strip()
                    break
        elif ":" in line and len(line) < 600:
            # "(e.g., Linux Ubuntu 16.04)" and "(use command below)" may hold colons themselves
            question = re.match(r"([^:(]{2,80}(?:\([^)\n]{0,160}\)[^:(\n]{0,20})?):(.*)$", start)
            if question:
                yield _question(question[1]), question[2].strip(" *_")


def _question(text: str) -> str:
    return label(text.partition("(")[0])


def _packages(facts: Statements, found: dict[str, str]) -> None:
    if stated := given(found.get("tensorflow version", "")):
        every = re.findall(r"(?<![\w.])v?(\d\.\d{1,2}(?:\.\d{1,2})?(?:[.-]?(?:rc|dev)\d{1,8})?)(?![\w.])", stated)
        if every:  # "v2.15.0-rc1-8-g6887368 2.15.0": git's description, then the version
            facts.package("tensorflow", every[-1] if "-g" in stated else every[0])
    for key, name in (("pytorch version", "torch"), ("numpy version", "numpy"), ("keras version", "keras")):
        if stated := version(given(found.get(key, ""))):
            facts.package(name, stated)
    stated = version(given(found.get("onnx runtime version or commit id", found.get("onnx runtime version", ""))))
    if stated and found.get("onnx runtime api", "python").lower() in ("python", ""):
        provider = found.get("execution provider", "").lower()
        name = "onnxruntime"
        if "cuda" in provider or "tensorrt" in provider:
            name = "onnxruntime-gpu"
        elif "directml" in provider:
            name = "onnxruntime-directml"
        elif "openvino" in provider:
            name = "onnxruntime-openvino"
        facts.package(name, stated)


def _cuda(facts: Statements, both: str, cuda: str, cudnn: str) -> None:
    """``CUDA 11.2, cuDNN 8.1``, ``11.2/8.1``. Which CUDA is meant is not said: nobody names nvcc."""
    both = given(both)
    pair = re.search(
        r"(?<![\w.])v?(\d{1,2}\.\d{1,2})(?:\.\d{1,3})?(?:/|,|\s|and|with|&){1,8}v?(\d{1,2}(?:\.\d{1,3}){1,3})(?![\w.])",
        both,
    )
    named = re.search(r"cuda\D{0,20}?(\d{1,2}\.\d{1,2})", both, re.I)
    lib = re.search(r"cudnn\D{0,20}?(\d{1,2}(?:\.\d{1,3}){0,3})", both, re.I)
    if named or lib:
        facts.put("toolkit", "version", named[1] if named else "")
        facts.put("cudnn", "system", lib[1] if lib else "")
    elif pair and "." in pair[1]:
        facts.put("toolkit", "version", pair[1])
        facts.put("cudnn", "system", pair[2])
    elif alone := re.match(r"(?:cuda )?v?(\d{1,2}\.\d{1,2})(?![\w.])", both, re.I):
        facts.put("toolkit", "version", alone[1])
    if alone := re.match(r"(?:cuda )?v?(\d{1,2}\.\d{1,2})(?!\w)", given(cuda), re.I):
        facts.put("toolkit", "version", alone[1])
    if given(cudnn):
        places.cudnn(facts, cudnn)


def _gpu(facts: Statements, text: str) -> None:
    if "gpus" in facts.data or not (found := _GPUS.search(given(text))):
        return
    name = re.split(r"[,;/]|\(? ?\d{1,3} ?(?:GB|GiB|G|MB|MiB)\b| with | and | x ?\d", found[0], maxsplit=1, flags=re.I)[
        0
    ]
    count = re.search(r"(?<![\w.])(\d) ?[x×*] ", text)
    for _ in range(int(count[1]) if count else 1):
        facts.gpu(name.strip(" -("))
