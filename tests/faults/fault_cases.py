"""The fault matrix, generated: every call, command, file and module that the probes touch x every way to fail.

A case says what is broken and which facts rest on it (:mod:`depends`); :mod:`fault_run` runs it and judges.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from depends import CALLS, FILES, INIT, LIBCUDA, NVIDIA, PROBE_OF, SILENT

sys.path.insert(0, str(Path(__file__).parents[1] / "standin"))
from standin_driver import (
    CUDA_ERRORS,
    CUDA_NAMES,
    FATAL,
    FUNCTIONS,
    LOADS,
    NVML_ERRORS,
    VERBS,
    fault,
    is_cuda,
)

LIES = ("garbage", "garbage-text", "silent")
"""The call says that it succeeded: what it answers may be believed, but nothing else may suffer."""
ENDS = {
    "hang": "no answer|timeout|in time", "ignore-term-and-hang": "no answer|timeout|in time",
    "block-every-signal-and-hang": "no answer|timeout|in time",
    "abort": "SIGABRT|signal 6", "segv": "SIGSEGV|signal 11",
    "exit": "exit 0|exit code 0", "exit-1": "exit 1|exit code 1",
}  # fmt: skip
"""What a reason says of the end of a process, as a regular expression."""
HANGS = ("hang", "ignore-term-and-hang", "block-every-signal-and-hang")


class Case(NamedTuple):
    group: str
    name: str
    answers: dict[str, str | int]
    """Lines for the stand-in driver's description."""
    lost: tuple[str, ...] = ()
    """Patterns of the facts that rest on what is broken."""
    why: str = ""
    """What the reason of a lost fact, or the log, must match; empty where the answer may be believed."""
    smi: bool = True
    """nvidia-smi works and must stand in."""
    unusable: bool = False
    """No CUDA program can run: the verdict of a CUDA build must not be ``ok``."""
    damage: tuple[str, str] = ("", "")
    """A file and how it is spoilt."""
    nvcc: str = "answer"
    module: str = ""
    """How the framework that is imported behaves; empty: no import test."""
    seconds: float = 10.0
    """The deadline."""

    def __str__(self) -> str:
        return f"{self.group}-{self.name}"


def step(function: str) -> str:
    """The name under which the child process speaks of a function."""
    stem = function.partition("_v")[0]
    return {"nvmlInitWithFlags": "nvmlInit", "libnvidia-ml.load": "nvmlInit|libnvidia-ml"}.get(function, stem)


def call(function: str, what: str | int, at_call: int = 0) -> Case:
    cuda, lost, smi = is_cuda(function), CALLS.get(function, ()), True
    why = step(function)
    if what == "missing":
        why += "|Function Not Found|undefined symbol"
    elif isinstance(what, int):
        why = rf"\b{what} {CUDA_NAMES.get(what, '')}" if cuda else rf"\b{what} "
        if cuda and what not in CUDA_NAMES:
            why = rf"CUDA error {what}|\b{what}\b"
    elif what in LIES:
        why, lost = "", (*lost, *SILENT.get(function, ()))
    else:
        why = ENDS.get(what, "") or why
    if not cuda and what in FATAL:
        lost = (*lost, NVIDIA + "nvml_error")  # a short account of what became of NVML
    if (function, what) == ("nvmlDeviceGetMigDeviceHandleByIndex", 6):
        why, smi = "", False  # it is how NVML says that there is no instance
    if what in (3, 13, "missing") and function != "nvmlDeviceGetHandleByIndex_v2":
        smi = False  # so a healthy driver answers when it does not know: nvidia-smi would know no more
    broken = what == "missing" or isinstance(what, int) or what in FATAL
    return Case(
        "call",
        f"{function}-{what}" + (f"-from-call-{at_call + 1}" if at_call else ""),
        fault(function, what, at_call),
        lost if what != "noise" else (),
        why,
        smi=smi and broken and not (function == "nvmlInitWithFlags" and isinstance(what, int)),
        unusable=broken and not at_call and function in ("cuInit", "libcuda.load"),
        seconds=6.0 if what in HANGS else 10.0,
    )


def calls() -> Iterator[Case]:
    """Every function of the two libraries, and the loading of these."""
    for function in FUNCTIONS:
        codes = CUDA_ERRORS if is_cuda(function) else NVML_ERRORS
        for what in (*codes, *VERBS, "missing"):
            yield call(function, what)
    for library, what in product(LOADS, VERBS):
        if what not in LIES:
            yield call(library, what)


def later() -> Iterator[Case]:
    """It answers at first, and fails for the second GPU."""
    for function, what in product(FUNCTIONS, (*FATAL, *LIES, 3, 15, 999)):
        if function.startswith("nvmlDevice") or function == "cuDeviceGet":
            yield call(function, what, at_call=1)


def pairs(count: int = 240) -> Iterator[Case]:
    """Two things at a time, chosen by a fixed seed."""
    chance = random.Random(20261121)
    whats: tuple[str | int, ...] = (*FATAL, "noise", 3, 15, 100, 999, "missing")
    for _ in range(count):
        one, two = chance.sample(FUNCTIONS, 2)
        first, second = call(one, chance.choice(whats)), call(two, chance.choice(whats))
        answers = {**first.answers, **second.answers}
        if "missing" in first.answers and "missing" in second.answers:
            answers["missing"] = f"{one} {two}"
        yield first._replace(
            group="pair",
            name=f"{first.name}+{second.name}",
            answers=answers,
            lost=first.lost + second.lost,
            why=f"{first.why}|{second.why}",
            smi=first.smi and second.smi,
            unusable=first.unusable or second.unusable,
            seconds=12.0,
        )


DOWN: dict[str, dict[str, str | int]] = {
    "mismatch": {"nvmlInitWithFlags.error": 18},
    "not-loaded": {"nvmlInitWithFlags.error": 9},
    "unknown-error": {"nvmlInitWithFlags.error": 999},
    "crashes": {"nvmlInitWithFlags.do": "segv"},
    "hangs": {"nvmlInitWithFlags.do": "ignore-term-and-hang"},
    "one-gpu-lost": {"nvmlDeviceGetHandleByIndex_v2.error": 15, "nvmlDeviceGetHandleByIndex_v2.on": 1},
}
"""Ways in which NVML can be down, so that nvidia-smi is asked."""


def commands() -> Iterator[Case]:
    """nvidia-smi, asked because NVML is down."""
    codes = (1, 2, 6, 9, 12, 14, 15, 255)
    for (way, answers), what in product(DOWN.items(), (*VERBS, *codes, "absent")):
        more: dict[str, str | int] = {"smi": 0} if what == "absent" else fault("nvidia-smi", what)
        why = r"nvmlInit|\b18 |\b9 |\b999 |\b15 |no answer|SIGSEGV"
        yield Case("nvidia-smi", f"{way}-{what}", {**answers, **more}, INIT, why,
                   smi=what == "noise" and way not in ("mismatch", "not-loaded", "unknown-error"),
                   seconds=6.0 if what in HANGS or way == "hangs" else 10.0)  # fmt: skip


DAMAGES = ("empty", "short", "half", "text", "folder", "dangling", "foreign", "32-bit", "zeros", "gone")


def libraries() -> Iterator[Case]:
    """The files of the driver."""
    for library, damage in product(("libcuda.so.1", "libnvidia-ml.so.1"), DAMAGES):
        cuda = library.startswith("libcuda")
        lost = LIBCUDA if cuda else INIT
        lost += (NVIDIA + "libcuda", NVIDIA + "user_mode") if cuda else ()
        lost += (NVIDIA + "sources[TMP/driver/libcuda*",) if cuda else (NVIDIA + "sources[TMP/driver/libnvidia-ml*",)
        lost += ("stack.libraries*",)
        yield Case("library", f"{library}-{damage}", {}, lost, "lib|NVML|nvml|SIGBUS|SIGSEGV",
                   damage=(library, damage), unusable=cuda)  # fmt: skip


NVCC = ("answer", "hang", "ignore-term-and-hang", "abort", "segv", "exit", "exit-1", "noise", "garbage", "silent",
        "flood", "no-interpreter", "not-executable", "child-stays", "child-stays-in-a-session")  # fmt: skip


def compilers() -> Iterator[Case]:
    """nvcc on PATH, in a toolkit that tells its version nowhere else."""
    for way in NVCC:
        lost = ("stack.toolkits*",) if way not in ("answer", "noise") and not way.startswith("child") else ()
        yield Case(
            "nvcc",
            way,
            {},
            lost,
            "" if way == "not-executable" else r"nvcc|version\.json",
            nvcc=way,
            seconds=3.0 if way in HANGS else 10.0,
        )


FILE_DAMAGES = ("gone", "denied", "input-output-error", "empty", "half", "bytes", "zeros", "folder")


def files() -> Iterator[Case]:
    """Files of the system: the loader's cache (what ldconfig makes), /proc, /sys."""
    for (path, lost), damage in product(FILES.items(), FILE_DAMAGES):
        yield Case("file", f"{path.strip('/').replace('/', '-')}-{damage}", {}, lost, "", damage=(path, damage))
    for path, lost in PROBE_OF.items():
        name = f"{path.strip('/').replace('/', '-')}-hang"
        yield Case("file", name, {}, lost, "gave no answer", smi=False, damage=(path, "hang"), seconds=4.0)


MODULES = ("fine", "hang", "ignore-term-and-hang", "block-every-signal-and-hang", "abort", "segv", "exit", "exit-1",
           "noise", "error-3", "error-999", "no-library", "no-symbol", "no-file", "text", "half", "raises", "exits",
           "loops", "child-stays", "writes-files")  # fmt: skip


def frameworks() -> Iterator[Case]:
    """A framework with a compiled module, imported in its own process, beside one that works."""
    for way in MODULES:
        yield Case(
            "import",
            way,
            {},
            ("stack.imports[torch]*",),
            "",
            module=way,
            seconds=4.0 if way in (*HANGS, "loops") else 15.0,
        )


def matrix() -> list[Case]:
    makers = (calls, later, pairs, commands, libraries, compilers, files, frameworks)
    return [case for make in makers for case in make()]


HANGS_IN_SAMPLE = 7


def sample(cases: list[Case], count: int) -> list[Case]:
    """A fixed choice: at least one of every function, command or file, and every way to fail, then others by chance."""
    chance = random.Random(4)
    mixed = chance.sample(cases, len(cases))
    chosen: dict[str, Case] = {}
    seen: set[tuple[str, str]] = set()
    hangs = 0
    for case in mixed:
        function, _, way = case.name.partition("-")
        slow = "hang" in case.name
        marks = {
            "call": {("function", function), ("way", way)},
            "nvidia-smi": {("nvidia-smi", case.name.rpartition("-")[2])},
            "file": {("file", case.damage[0]), ("file", case.damage[1])},
            "pair": set(),
        }.get(case.group, {(case.group, case.name)})
        if marks - seen and not (slow and hangs >= HANGS_IN_SAMPLE):
            seen |= marks
            chosen[str(case)] = case
            hangs += slow
    quick = [case for case in mixed if "hang" not in case.name and case.group != "import"]
    for case in quick:
        if len(chosen) >= count:
            break
        chosen.setdefault(str(case), case)
    return [case for case in cases if str(case) in chosen]
