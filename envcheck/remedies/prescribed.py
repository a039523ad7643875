"""Fixes of causes that a message names and no rule judged: those of the signatures, and builds that fit this machine.

A signature's ``fixes`` are commands, each with a note behind `` # ``. What stands in braces is filled in:

* ``{name}``: a value that the message states;
* ``{version of NAME}``: the installed release of a distribution;
* ``{cuda major}``: the CUDA major of what is installed, else of what the driver serves;
* ``{torch index}``: the index with the builds of PyTorch for the CUDA of the installed one, or that fits this machine;
* ``{build of NAME}``, alone: the command that installs a build of this framework which fits driver and GPUs.

A command of which something is not known is left out; the signature's ``cure`` says in words what helps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Fix
from envcheck.core.snapshot import Absent, Unknown
from envcheck.versions import minor, numbers, public

if TYPE_CHECKING:
    from envcheck.diagnosis.model import Match
    from envcheck.remedies.place import Place

BY_BUILD = ("driver-too-old", "gpu-arch-too-new", "gpu-arch-too-old", "cpu-only-build")
"""Causes that another build of the framework mends."""
FRAMEWORKS = ("torch", "onnxruntime-gpu", "tensorflow", "jaxlib", "tensorrt")
NOTE = " # "
LOOKED_UP = re.compile(r"(?:version|build) of [a-z0-9][a-z0-9-]*|cuda major|torch index")
"""Names in braces that are no captured values."""


def prescribed(rule: str, matches: Sequence[Match], place: Place) -> list[Fix]:
    """What helps against a cause that these messages name."""
    found: list[Fix] = []
    for match in matches:
        found += [fix for text in match.signature.get("fixes") or () for fix in read(text, match, place)]
    if not found and rule in BY_BUILD and place.packages is not None:
        named = [name for name in FRAMEWORKS if name in place.packages]
        found += [fix for name in named[:1] for fix in _build(name, place)]
    for match in matches:
        cure = match.sentence(match.signature.get("cure"))
        if cure and not any(fix.note == cure for fix in found):
            found.append(Fix("", cure))
    return found


def read(text: str, match: Match, place: Place) -> Iterator[Fix]:
    """One entry of a signature's ``fixes``; nothing where a value in it is not known."""
    command, _, note = text.partition(NOTE)
    if command.startswith("{build of ") and command.endswith("}"):
        yield from _build(command[10:-1], place)
        return
    command, note = match.filled(command), match.sentence(note)
    for name in dict.fromkeys(re.findall(r"\{([^{}]*)\}", command)):
        command = command.replace("{" + name + "}", value) if (value := _looked_up(name, place)) else ""
    if command:
        yield Fix(command, note, _safety(command))


def _safety(command: str) -> str:
    if "sudo " in command or command.startswith(("wsl ", "reboot")):
        return "manual"
    return "safe" if re.match(r"(?:[A-Z_]+=\S+ )*(?:python -m )?(?:pip|conda|export|unset)\b", command) else "review"


def _looked_up(name: str, place: Place) -> str:
    """Empty where it is not known."""
    if name.startswith("version of "):
        version = place.packages.version(name.removeprefix("version of ")) if place.packages is not None else None
        return public(version) if version else ""
    if name == "cuda major":
        return _cuda_major(place)
    if name == "torch index":
        return _torch_index(place)
    return ""


def _cuda_major(place: Place) -> str:
    builds = place.facts.get("cuda_builds")
    if not isinstance(builds, (Absent, Unknown)):
        for build in builds:
            if build.cuda:
                return str(numbers(build.cuda)[0])
    driver = place.facts.get("driver")
    if isinstance(driver, (Absent, Unknown)) or not driver.cuda:
        return ""
    return str(min(numbers(driver.cuda)[0], 13))


def _torch_index(place: Place) -> str:
    from envcheck.rules._fixes import TORCH_INDEX, torch_label

    label = place.packages.label("torch") if place.packages is not None else None
    if label:
        return TORCH_INDEX + label
    builds = place.facts.get("cuda_builds")
    if not isinstance(builds, (Absent, Unknown)):
        for build in builds:
            if build.package == "torch" and build.cuda and len(numbers(build.cuda)) > 1:
                return TORCH_INDEX + torch_label(minor(build.cuda))
    return ""


def _build(framework: str, place: Place) -> Iterator[Fix]:
    """A build that fits; nothing where neither driver nor GPU is known, for then any would."""
    from envcheck.rules._fixes import framework_fix

    driver, gpus, python = (place.facts.get(name) for name in ("driver", "gpus", "python_version"))
    driver = None if isinstance(driver, (Absent, Unknown)) else driver
    gpus = () if isinstance(gpus, (Absent, Unknown)) else gpus
    if driver is None and not gpus:
        return
    known_python = python if isinstance(python, str) else None
    fix = framework_fix(framework, place.facts.matrix, driver, gpus, place.packages, known_python)
    if fix is not None:
        yield fix
