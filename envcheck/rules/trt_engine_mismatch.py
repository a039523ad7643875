"""A serialised TensorRT engine was built by another TensorRT or for another GPU.

What it does
    Compares the TensorRT release and the compute capability that an engine (plan file) was built with against the
    installed TensorRT and the visible GPUs.

Why it fails
    An engine is compiled for one TensorRT release, one GPU and one operating system. Semantic versioning does not cover
    plan files: even another patch release refuses them.

How it shows
    `The engine plan file is not compatible with this version of TensorRT, expecting library version 8.2.4 got 8.2.3,
    please rebuild`; `The engine plan file is generated on an incompatible device, expecting compute 7.5 got compute
    6.1, please rebuild`; `Serialization assertion ... Version tag does not match`.

How to fix
    Build the engine again from the ONNX file with the TensorRT and on the GPU that will run it; cache engines under a
    name that holds both. Or install the TensorRT release that built it.

Exceptions
    Engines built with VERSION_COMPATIBLE (8.6 and newer) run on newer releases of the same major, from 8.6 on 9 and
    10, from 9 on 10 and from 10 on 11; those built with AMPERE_PLUS run on every GPU from 8.0 on. Facts do not tell
    these options: where they could help, the confidence is medium.

Sources
    TensorRT documentation, "Engine Compatibility".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Model, known
from envcheck.rules._tensorrt import TensorRT, installed
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix

FORMATS = ("engine", "plan", "trt", "tensorrt")
"""Words of a format that mean a serialised engine."""
VERSION_COMPATIBLE_SINCE = (8, 6)
BRIDGED = ((8, 9), (8, 10), (9, 10), (10, 11))
"""Majors that version-compatible engines cross."""


def check(
    model: Model,
    *,
    packages: Packages | None = None,
    libraries: Libraries | None = None,
    has_gpu: bool | None = None,
    visible_gpus: Sequence[GpuView] = (),
    matrix: Matrix,
) -> Iterator[Result]:
    words = (known(model.format) or "").lower().replace("-", " ").replace("_", " ").split()
    if not set(words) & set(FORMATS):
        return
    built = _built_with(known(model.saved_with))
    trt = installed(packages, libraries, matrix)
    if built is None:
        yield Undecided("engine", "model.saved_with", "the TensorRT release that built it is not known")
    elif trt is None or trt.version is None:
        yield Undecided(
            "engine", "packages.tensorrt", f"it was built with TensorRT {built}; the installed release is not known"
        )
    else:
        yield _release(built, trt, trt.version, matrix)
    wanted = known(model.built_for_gpu)
    if wanted is None or has_gpu is False:
        return
    if has_gpu is None:
        yield Undecided("engine", "gpus", f"it was built for compute capability {wanted}; the GPU is not known")
    for gpu in visible_gpus:
        if gpu.cc is not None:
            yield _device(wanted, gpu, built, matrix)


def _built_with(text: str | None) -> str | None:
    """``TensorRT 8.2.3`` -> ``8.2.3``."""
    for word in (text or "").replace("=", " ").split():
        if numbers(word) and word[0].isdigit():
            return word
    return None


def _release(built: str, trt: TensorRT, version: str, matrix: Matrix) -> Result:
    made, have = numbers(built), numbers(version)
    width = min(len(made), len(have), 4)
    subject = f"engine of TensorRT {built} on {trt.label}"
    if made[:width] == have[:width]:
        if width < 3:
            return Undecided(subject, "model.saved_with", "both releases are only known in part")
        return Pass(subject, "the same release built it")
    newer = have[:width] > made[:width]
    crossable = made[0] == have[0] or (made[0], have[0]) in BRIDGED
    might = newer and crossable and made[:2] >= VERSION_COMPATIBLE_SINCE
    message = f"The engine was built with TensorRT {built}, and {trt.label} runs only engines of its own release"
    if might:
        message += ", unless it was built with VERSION_COMPATIBLE"
    row = matrix.row("tensorrt-engine-rules", id="other-version")
    evidence = [Evidence(f"the engine was built with TensorRT {built}", "model"), trt.evidence]
    more = []
    if made[:2] >= (8, 5) and len(made) > 2:  # the index has no older ones
        more.append(
            Fix(command=f'pip install "tensorrt=={built}"', note="or the release that built it", safety="review")
        )
    return _finding(subject, message, "medium" if might else "high", evidence, row, matrix, *more)


def _device(wanted: str, gpu: GpuView, built: str | None, matrix: Matrix) -> Result:
    subject = f"engine for compute capability {wanted} on {gpu.name}"
    cc = gpu.cc or ""
    if compare_numbers(cc, wanted) == 0:
        return Pass(subject, f"it was built for compute capability {wanted}")
    ampere = compare_numbers(cc, "8.0") >= 0 and compare_numbers(wanted, "8.0") >= 0
    might = ampere and (built is None or numbers(built)[:2] >= VERSION_COMPATIBLE_SINCE)
    message = f"The engine was built for compute capability {wanted}, and {gpu.name} has {cc}"
    if might:
        message += "; only one built with AMPERE_PLUS runs on both"
    return _finding(
        subject,
        message,
        "medium" if might else "high",
        [Evidence(f"the engine was built for compute capability {wanted}", "model"), gpu.evidence],
        matrix.row("tensorrt-engine-rules", id="other-capability"),
        matrix,
    )


def _finding(
    subject: str,
    message: str,
    confidence: str,
    evidence: list[Evidence],
    row: dict[str, object] | None,
    matrix: Matrix,
    *more: Fix,
) -> Finding:
    if row is not None:
        title, url, as_of = matrix.cite(row)
        evidence.append(Evidence(f"{row['situation']}: {row['verdict']}", title, url, as_of))
    rebuild = Fix(
        command="trtexec --onnx=model.onnx --saveEngine=model.engine",
        note="build it again here, from the ONNX file, with the options it was built with",
        safety="safe",
        verify="trtexec --loadEngine=model.engine",
    )
    return Finding(
        severity="error",
        confidence=confidence,
        subject=subject,
        message=message + ".",
        evidence=evidence,
        fixes=[rebuild, *more],
    )
