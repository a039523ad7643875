"""The GPU lacks a feature that the model or a package needs.

What it does
    Compares the compute capability of the visible GPUs with what the model's data type (bf16, fp8, ...) and installed
    packages (flash-attn, vllm, ...) need, by the table gpu-features. Where smoke tests were made, reports data types
    that are claimed and fail, and those that work and are slower than float32.

Why it fails
    Some arithmetic exists in hardware from a certain generation on only: bfloat16 from Ampere (8.0), FP8 from Ada and
    Hopper (8.9), FP4 from Blackwell. Packages with kernels for it have no other ones.

How it shows
    "Bfloat16 is only supported on GPUs with compute capability of at least 8.0", "FlashAttention only supports Ampere
    GPUs or newer", "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9", "Found
    ... which is too old to be supported by the triton GPU compiler".

How to fix
    Choose a data type that the GPU has (float16 instead of bfloat16), another implementation (PyTorch's own attention
    instead of flash-attn), or another GPU.

Exceptions
    PyTorch emulates bfloat16 on older GPUs, slowly: a warning where nothing else is installed that refuses it. vLLM
    runs FP8 weights on older GPUs by other kernels: a warning. Packages of which only a part needs the feature are
    warnings, torch.compile's compiler is only mentioned. A smoke test that fails in FP8 or INT8 is a warning, one that
    is slow in a type is only mentioned, unless the model computes in it.

Sources
    The smoke tests; Transformer Engine's support matrix; CUDA C++ Programming Guide; the packages' own documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import Unknown, known
from envcheck.rules._coverage import distinct
from envcheck.rules._floors import cite
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Model, Snapshot
    from envcheck.facts.basics import Packages
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.smoke import Smoked
    from envcheck.matrix import Matrix, Row

SPELLINGS = {
    **dict.fromkeys(("bfloat16", "bf16", "torch.bfloat16"), "bf16"),
    **dict.fromkeys(("float16", "fp16", "half", "torch.float16"), "fp16"),
    **dict.fromkeys(("fp8", "float8", "e4m3", "e5m2", "float8_e4m3fn", "float8_e5m2"), "fp8"),
    **dict.fromkeys(("fp4", "float4", "mxfp4"), "fp4"),
}
REFUSES_BF16 = ("vllm", "tensorrt", "sglang", "tensorrt-llm", "onnxruntime-gpu")
"""Runtimes that do not emulate bfloat16."""

INSTEAD = {
    "bf16": "compute in float16 (vLLM: --dtype half; transformers: torch_dtype=torch.float16) or float32",
    "fp8": "use 16-bit weights, or int8 or int4 quantization",
    "triton": "run without torch.compile (TORCHDYNAMO_DISABLE=1)",
    "bitsandbytes": "use load_in_4bit instead of load_in_8bit",
}


def check(
    *,
    model: Model | None = None,
    packages: Packages | None = None,
    visible_gpus: Sequence[GpuView] | None = None,
    smoked: Sequence[Smoked] = (),
    snapshot: Snapshot,
    matrix: Matrix,
) -> Iterator[Result]:
    """Compare the GPUs with what model and packages need, and with what was tried."""
    stated = known(model.dtype) if model is not None else None
    dtype = SPELLINGS.get(stated.lower(), stated.lower()) if stated else None
    if smoked:
        from envcheck.rules._smoke_types import tried

        yield from tried(smoked, dtype)
    wanted = [row for row in matrix.rows("gpu-features") if _applies(row, dtype, packages)]
    of_all = {row["subject"] for row in wanted if not row["from_version"]}
    if packages is not None:
        # Where the release is not stated, what every release needs is all that can be said.
        wanted = [
            row
            for row in wanted
            if not row["from_version"] or row["subject"] not in of_all or packages.version(row["subject"]) is not None
        ]
    if not wanted:
        yield Skip("nothing that needs a special feature of the GPU")
    elif visible_gpus is not None:
        for row in wanted:
            yield from _judge(row, visible_gpus, packages, matrix)
    elif isinstance(snapshot.machine.gpus, Unknown):
        needs = [row for row in wanted if row["effect"] == "fails"]
        for row in needs:
            why = f"{row['subject']} needs {row['needs']}, and the machine's GPU is not known"
            yield Undecided(row["subject"], "gpus", why)


def _applies(row: Row, dtype: str | None, packages: Packages | None) -> bool:
    if row["kind"] == "dtype":
        return bool(row["subject"] == dtype)
    if packages is None or row["subject"] not in packages:
        return False
    version = packages.version(row["subject"])
    low, high = row["from_version"], row["to_version"]
    if version is None:
        return not high  # the newest line, which most have
    return not (low and compare_numbers(version, low) < 0) and not (high and compare_numbers(version, high) >= 0)


def _judge(row: Row, gpus: Sequence[GpuView], packages: Packages | None, matrix: Matrix) -> Iterator[Result]:
    need = numbers(row["min_cc"])[:2]
    name = (
        f"{row['subject']} {packages.version(row['subject']) or ''}".strip() if packages is not None else row["subject"]
    )
    subject = name if row["kind"] == "package" else f"a model in {row['subject']}"
    lacking = [(gpu, count) for gpu, count in distinct(gpus) if gpu.sm is not None and gpu.sm < need]
    unknown = [gpu for gpu in gpus if gpu.sm is None]
    if not lacking:
        if unknown:
            why = f"{subject} needs compute capability {row['min_cc']}, and that of {unknown[0].name} is not known"
            yield Undecided(subject, "gpus.compute_capability", why)
        elif gpus:
            yield Pass(subject, f"{gpus[0]} has {row['needs']}")
        return
    gpu = lacking[0][0]
    some = any(one.sm is not None and one.sm >= need for one in gpus)
    severity, confidence, why = _weight(row, packages, some)
    yield Finding(
        severity=severity,
        confidence=confidence,
        subject=f"{subject} on {gpu.name}",
        message=f"{subject} needs {row['needs']} (compute capability {row['min_cc']}), but the machine has {gpu}{why}",
        evidence=[gpu.evidence, cite(matrix, row, f"{row['subject']} needs compute capability {row['min_cc']}")],
        fixes=[_fix(row), Fix("", f"use a GPU of compute capability {row['min_cc']} or higher", "manual")],
    )


def _weight(row: Row, packages: Packages | None, some: bool) -> tuple[str, str, str]:
    """Severity, confidence, and what softens it."""
    subject = row["subject"]
    if row["effect"] == "slow":
        return "warning", "medium", ": it runs without the hardware's help, slower"
    if row["effect"] == "part":
        if subject == "triton":
            return "info", "high", ": torch.compile does not work there"
        return "warning", "medium", ": that part of it fails"
    if some:
        return "warning", "medium", "; other GPUs of this machine have it"
    if subject == "bf16" and packages is not None and not any(name in packages for name in REFUSES_BF16):
        return "warning", "medium", ": PyTorch emulates it there, several times slower"
    if subject == "fp8" and packages is not None and "vllm" in packages:
        return "warning", "medium", ": vLLM can only use FP8 for weights there"
    return "error", "medium", ""


def _fix(row: Row) -> Fix:
    text = INSTEAD.get(row["subject"], "")
    if row["subject"] == "flash-attn":
        return Fix(
            "pip uninstall -y flash-attn", 'and use attn_implementation="sdpa" (PyTorch\'s own attention)', "review"
        )
    return Fix("", text or f"run it without {row['subject']}", "review")
