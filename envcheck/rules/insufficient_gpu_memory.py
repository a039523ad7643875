"""The model needs more GPU memory than there is.

What it does
    Compares the GPU memory that the model is said to need with the memory of the visible GPUs, and with what is free
    where that is known. Reports smoke tests that ran out of GPU memory, and who holds it.

Why it fails
    A single GPU can't hold more than its memory; driver and CUDA context take some hundred MiB of it. Several GPUs help
    only programs that split the model.

How it shows
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB", "CUDA error: out of memory"
    (error 2), "Failed to allocate memory for requested buffer of size".

How to fix
    Use a GPU with more memory, a smaller batch, lower precision or quantization, or split the model over GPUs.

Exceptions
    A MIG instance has its slice of the memory only. Integrated GPUs share the system's memory.

Sources
    The model's stated need; NVML; the smoke tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import Absent, Unknown, known

if TYPE_CHECKING:
    from envcheck.core.snapshot import Model, Snapshot
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.smoke import Smoked

SPARE = 0.95
"""Share of a GPU's memory that a program can hope for: driver, context and fragments take the rest."""


def check(
    *,
    model: Model | None = None,
    visible_gpus: Sequence[GpuView] | None = None,
    smoked: Sequence[Smoked] = (),
    snapshot: Snapshot,
) -> Iterator[Result]:
    """Compare the model's need with each visible GPU; tell which tests ran out of memory."""
    if smoked:
        yield from _tried(smoked)
    if model is not None:
        yield from _stated(model, visible_gpus, snapshot)


def _stated(model: Model, visible_gpus: Sequence[GpuView] | None, snapshot: Snapshot) -> Iterator[Result]:
    need = known(model.memory_mib)
    if need is None:
        yield Skip(model.memory_mib.why if isinstance(model.memory_mib, Absent) else "the model's need is not stated")
        return
    if not visible_gpus and not isinstance(snapshot.machine.gpus, Unknown):
        yield Skip("no GPU is visible")
        return
    sized = [gpu for gpu in visible_gpus or () if gpu.memory_mib is not None]
    if not sized:
        yield Undecided("model", "gpus.memory_mib", f"the model needs {need} MiB, and the GPU's memory is not known")
        return
    largest = max(sized, key=lambda gpu: gpu.memory_mib or 0)
    total = largest.memory_mib or 0
    together = sum(gpu.memory_mib or 0 for gpu in sized)
    have = f"{largest.name} has {total} MiB"
    if need > total:
        if need <= together:
            message = f"the model needs {need} MiB and {have}: it fits only when it is split over {len(sized)} GPUs"
            yield _finding(message, "warning", "medium", need, largest)
        else:
            all_of = f" ({together} MiB on all {len(sized)} GPUs)" if len(sized) > 1 else ""
            yield _finding(f"the model needs {need} MiB, but {have}{all_of}", "error", "high", need, largest)
    elif need > total * SPARE:
        message = (
            f"the model needs {need} MiB of the {total} MiB of {largest.name}, and driver and context take some of it"
        )
        yield _finding(message, "warning", "medium", need, largest)
    else:
        free = [gpu.memory_free_mib for gpu in sized if gpu.memory_free_mib is not None]
        if len(free) == len(sized) and need > max(free):
            message = f"the model needs {need} MiB, and only {max(free)} MiB are free now; {have} in all"
            yield _finding(message, "warning", "medium", need, largest)
        else:
            yield Pass("model", f"it needs {need} MiB, and {have}")


def _tried(smoked: Sequence[Smoked]) -> Iterator[Result]:
    from envcheck.facts.smoke import lacks_memory
    from envcheck.rules.smoke_failure import again, evidence

    for one in smoked:
        if lacks_memory(one):
            yield _ran_out(one, evidence(one.test), again(one.test))
        elif one.on_gpu and (free := known(one.test.free_mib)) is not None:
            yield Pass(str(one), f"{free} MiB were free")


def _ran_out(one: Smoked, evidence: list[Evidence], verify: str) -> Finding:
    test, gpu = one.test, one.gpu
    total = gpu.memory_mib if gpu is not None else None
    free = known(test.free_mib)
    told = [] if free is None else [f"{free} MiB{f' of {total} MiB' if total else ''} were free before"]
    others = known(gpu.raw.used_by) if gpu is not None else None
    if gpu is not None and others:
        held = known(gpu.raw.used_by_mib)
        told.append(
            f"{others} other process(es) hold {held} MiB of it" if held else f"{others} other process(es) use it"
        )
    said = (known(test.error) or "").rstrip(".")
    return Finding(
        severity="error",
        confidence="high",
        subject=str(one),
        message=f"{one} ran out of GPU memory at {known(test.stage) or 'its start'}: {'; '.join(told) or said}.",
        evidence=[*evidence, *(Evidence(text, "smoke test, GPU query") for text in told)],
        fixes=[
            Fix(
                "nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv",
                "shows what holds memory: stop it, or choose another GPU by CUDA_VISIBLE_DEVICES",
                "review",
                verify,
            ),
            Fix("", "a larger GPU, or instance of one, a smaller batch or model, lower precision", "manual"),
        ],
    )


def _finding(message: str, severity: str, confidence: str, need: int, gpu: GpuView) -> Finding:
    return Finding(
        severity=severity,
        confidence=confidence,
        subject=f"model on {gpu.name}",
        message=message,
        evidence=[
            Evidence(f"the model needs {need} MiB", "facts"),
            Evidence(f"{gpu.name}: {gpu.memory_mib} MiB", "GPU query"),
        ],
        fixes=[
            Fix(
                "nvidia-smi",
                "shows what else holds memory: stop it, or choose another GPU by CUDA_VISIBLE_DEVICES",
                "review",
            ),
            Fix(
                "",
                "reduce batch size or sequence length, compute in half precision, quantize, or split the model",
                "review",
            ),
        ],
    )
