"""A small inference fails.

What it does
    Reports each smoke test that did not come to its end: a step that raised an error, a crash, a hang, an end of the
    process. Smoke tests run only where they are asked for: `envcheck smoke`, `envcheck --smoke`.

Why it fails
    An import loads libraries; a computation uses them. Kernels that were not built for this GPU, a cuDNN of another
    release, a driver that is too old and broken memory show when the first matrix is multiplied.

How it shows
    `CUDA error: no kernel image is available for execution on the device`; `cuDNN error: CUDNN_STATUS_NOT_INITIALIZED`;
    `CUDA driver version is insufficient for CUDA runtime version`; `Illegal instruction (core dumped)`; `Segmentation
    fault`; a program that does nothing.

How to fix
    Where another rule knows the cause, the fix stands there and this finding is shown under it. Otherwise repeat the
    step by itself, with `CUDA_LAUNCH_BLOCKING=1` on a GPU so that the error names the call, and reinstall the
    framework in a build for this machine.

Exceptions
    A test that was given less than a minute may only have met a slow disk, or kernels that are compiled for a new GPU:
    an error of low confidence, which makes no verdict; so is one that took more memory than tests may. What fails on a
    device that the machine does not have is a warning, unless the device was asked for. Too little GPU memory, and data
    types that can't be computed, have rules of their own.

Sources
    The smoke test itself, in a process of its own. For several GPUs: Troubleshooting, in the User Guide of NCCL 2.26.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import known
from envcheck.facts.smoke import FAMILIES, cause_of, lacks_memory, lines, place
from envcheck.rules.import_failure import DRIVER, SIGNALS

if TYPE_CHECKING:
    from envcheck.core.snapshot import SmokeTest
    from envcheck.facts.smoke import Smoked

ENDS = {"hang": "gives no answer", "exit": "ends the process", "memory": "takes too much memory"}
BEFORE = ("backend", "library", "import", "start")
"""Steps before any device."""
PATIENCE = 60_000.0
"""Milliseconds after which a test that is not done is more than slow."""

GLOO = "gloo all-reduce"
"""A step of torch that only programs of several processes need to go well."""

SNIPPETS = {
    ("torch", "context"): "import torch; print(torch.zeros(1, device='{d}'))",
    ("torch", "matmul"): "import torch; a = torch.ones(64, 64, device='{d}'); print((a @ a).sum())",
    ("torch", "convolution"): "import torch; x = torch.ones(1, 8, 16, 16, device='{d}'); "
    "print(torch.conv2d(x, torch.ones(16, 8, 3, 3, device='{d}')).sum())",
}
"""Backend and step -> the same in one line."""


def check(smoked: list[Smoked], *, has_gpu: bool | None = None) -> Iterator[Result]:
    """Judge how each test ended."""
    for one in smoked:
        test = one.test
        if test.outcome == "untested":
            said = known(test.error) or "it is not known why"
            if test.stages:  # it was tried, and says itself that there is nothing to test
                yield Pass(str(one), f"nothing to test: {said}")
            else:
                yield Undecided(str(one), f"smoke.{test.backend}", f"it was not tested: {said}")
        elif one.own_failure and not lacks_memory(one):
            yield _failed(one, has_gpu)
        elif test.outcome == "ok":
            yield Pass(str(one), f"{len(test.stages)} steps went through")


def _failed(one: Smoked, has_gpu: bool | None) -> Finding:
    test, cause = one.test, cause_of(one.test)
    no_driver = has_gpu is False and cause.kind == "library" and cause.name.startswith(DRIVER)
    not_there = (no_driver or one.there is False) and not test.asked
    slow = test.outcome == "hang" and test.milliseconds < PATIENCE
    return Finding(
        severity="warning" if not_there or known(test.stage) == GLOO else "error",
        confidence="low" if slow or test.outcome == "memory" else "medium" if test.outcome == "hang" else "high",
        subject=str(one),
        message=_message(one),
        evidence=evidence(test),
        fixes=_fixes(one),
    )


def _message(one: Smoked) -> str:
    test = one.test
    stage, error, file = known(test.stage) or "start", known(test.error) or "it is not known why", known(test.library)
    step = {"import": "while it is imported", "library": "while its libraries are loaded"}.get(
        stage, f"in step {stage}"
    )
    where = f" ({file})" if file and file not in error else ""
    if test.outcome == "crash":
        signal, _, said = error.partition(": ")
        words = said.rstrip(".") or SIGNALS.get(signal)
        return f"{one} crashes {step} with {signal}{f' ({words})' if words else ''}{where}."
    return f"{one} {ENDS.get(test.outcome, 'fails')} {step}: {error.rstrip('.')}{where}."


def evidence(test: SmokeTest) -> list[Evidence]:
    """What a smoke test saw: how it ended, and what else it wrote about that."""
    step = f" at {stage}" if (stage := known(test.stage)) else ""
    said = f": {error}" if (error := known(test.error)) else ""
    where = f"{test.backend} on {place(test.device)}" if test.device else test.backend
    found = [Evidence(f"{where}: {test.outcome}{step}{said}", "smoke test")]
    found += [Evidence(line, "stderr of the smoke test") for line in lines(test)[:3] if line not in said]
    passed = [stage.name for stage in test.stages if stage.status == "ok" and stage.name not in BEFORE]
    if passed and test.outcome not in ("ok", "untested"):
        found.append(Evidence(f"before it went well: {', '.join(dict.fromkeys(passed))}", "smoke test"))
    return found


def again(test: SmokeTest) -> str:
    """The command that makes the test again."""
    model = f" --model {name}" if (name := known(test.model)) else ""
    return f"envcheck smoke {test.backend}{model}" + (f" --device {test.device}" if test.device else "")


def _fixes(one: Smoked) -> list[Fix]:
    test, stage = one.test, known(one.test.stage) or ""
    if test.outcome == "memory":
        return [Fix(f"{again(test)} --memory-budget 16384", "the budget of the tests may be too small", "safe")]
    if test.outcome == "hang":
        return [Fix(f"{again(test)} --timeout 900", "if it only needs longer, e.g. for kernels of a new GPU", "safe")]
    for begin, (variable, why, note) in _TOGETHER.items():
        if stage.startswith(begin):
            # Several GPUs are needed to see it again.
            repeat = again(test) if begin == GLOO else f"envcheck smoke {test.backend}"
            repeat += " --thorough" if stage.endswith("by processes") else ""
            return [Fix(f"{variable} {repeat} --verbose".lstrip(), why, "safe"), Fix("", note, "review", repeat)]
    if stage == "device":
        # No framework has it; `--device` is taken off so that all that they have are told.
        note = _NOTES["device"] + "; and that {p} is a build for it"
        return [
            Fix(f"envcheck smoke {test.backend}", "shows the devices that it has", "safe"),
            Fix("", note.format(p=one.package), "review", again(test)),
        ]
    model = known(test.model)
    if stage == "load" and model:
        return [Fix("", _NOTES["model"].format(p=one.package), "review", again(test))]
    if test.backend in FAMILIES and (not test.device or stage in BEFORE):
        code = f"import {test.backend}"
    else:
        code = SNIPPETS.get((test.backend, stage), "").format(d=test.device)
    blocking = "CUDA_LAUNCH_BLOCKING=1 " if test.kind == "cuda" else ""
    command = f'{blocking}python -X faulthandler -c "{code}"' if code else f"{blocking}{again(test)} --verbose"
    return [
        Fix(command, "shows it by itself", "safe"),
        Fix("", _NOTES.get(cause_of(test).kind, _NOTES[""]).format(p=one.package), "review", again(test)),
    ]


_NOTES = {
    "": "if it fails there too, reinstall {p} in a release and a build that fit driver, GPU and CPU",
    "library": "install what brings the library that is named, or reinstall {p} if it is one of its own",
    "version": "take a release of {p} for an older system, or a newer system (an image) with this library version",
    "symbol": "reinstall {p} and the libraries it loads in releases that fit each other",
    "format": "reinstall {p} in the build for this system: the file that is named is damaged or of another one",
    "instruction": "take a build of {p} for older CPUs, or another CPU (in a virtual machine: -cpu host)",
    "driver": "take a build of {p} for an older CUDA, or a newer driver",
    "arch": "take a build of {p} that has code for this GPU",
    "device": "see that the GPU is there for this process: nvidia-smi, CUDA_VISIBLE_DEVICES, docker run --gpus all",
    "cudnn": "reinstall {p} with the cuDNN that it was built with, and take other ones off LD_LIBRARY_PATH",
    "memory": "free memory of this machine, or raise the limit of the container",
    "build": "reinstall {p} in the build for this GPU",
    "openmp": "keep one OpenMP library: packages of one origin (all of conda, or all of pip)",
    "numpy": "take the NumPy that {p} was built for",
    "model": "see that this release of {p} takes the model: its format, opset and operators; then take a newer "
    "release, or export the model for an older one",
    "module": "install the module that is missing",
}
"""What to do, by what the error is about."""

_TOGETHER = {
    GLOO: (
        "GLOO_SOCKET_IFNAME=lo",
        "tells whether it is the network interface",
        "programs of several processes need it: see the loopback interface, this machine's name in /etc/hosts, and "
        "GLOO_SOCKET_IFNAME, which names an interface of ip addr",
    ),
    "nccl all-reduce": (
        "NCCL_DEBUG=INFO NCCL_P2P_DISABLE=1",
        "tells whether it is the direct copies between GPUs",
        "if it then goes well, turn off PCIe ACS and the IOMMU, or keep NCCL_P2P_DISABLE=1; if not, see what NCCL logs "
        "and, in a container, --shm-size",
    ),
    "peer copy": (
        "",
        "shows it by itself",
        "turn off PCIe ACS and the IOMMU, or use only one of the two GPUs (CUDA_VISIBLE_DEVICES); "
        "NCCL_P2P_DISABLE=1 keeps NCCL from such copies",
    ),
}
"""Steps of several processes or GPUs -> a variable that tells more, why, and what to do."""
