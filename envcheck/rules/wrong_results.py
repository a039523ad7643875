"""A small inference gives wrong results.

What it does
    Compares the results of smoke tests with what they must be, computed in float64 and shipped, or with a file that was
    recorded elsewhere. NaN, results that are all zero and results of another shape are wrong too. Smoke tests run only
    where they are asked for: `envcheck smoke`, `envcheck --smoke`.

Why it fails
    Kernels that were compiled for another GPU, a library of another release behind the right name, broken memory, a
    GPU that is pushed too far, a bug of a framework. Smaller differences come from arithmetic in fewer bits: TF32 on
    GPUs from Ampere on, bfloat16 in place of float32 on CPUs.

How it shows
    A model that was right in the lab and is not on the server; `nan` in the outputs; a test that compares with `rtol`
    fails; the same model gives other classes on the CPU and on the GPU.

How to fix
    Where float32 is computed in TF32, switch that off: `NVIDIA_TF32_OVERRIDE=0`, or
    `torch.backends.cuda.matmul.allow_tf32 = False` and `torch.backends.cudnn.allow_tf32 = False`. Otherwise repeat it
    on another device, reinstall the framework in another release, test the memory of the GPU (`dcgmi diag -r 3`).

Exceptions
    float32 with the error of a narrower type, and differences of less than ten times the tolerance, are warnings: the
    program runs, less precise. ONNX Runtime, TensorFlow and TensorRT take TF32 by default: that is only mentioned. What
    a data type gives that nobody claims to have says nothing. NaN from inputs that were made up is a warning.

Sources
    The smoke test itself; NVIDIA's CUDA documentation on TF32; PyTorch's notes on numerical accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import SmokeCheck, known
from envcheck.facts.smoke import narrow_type, place, strayed
from envcheck.rules.smoke_failure import again

if TYPE_CHECKING:
    from envcheck.facts.smoke import Smoked

WRONG = ("wrong", "nan", "zeros", "shape")
SLIGHT = 10.0
"""Up to so many times the tolerance it is a lack of precision, not a failure."""
BY_DEFAULT = ("onnxruntime", "tensorflow", "tensorrt")
"""Backends that take TF32 for float32 where nobody forbids it: there it is no sign of anything."""

_NARROW_FIXES = {
    "tf32": Fix(
        "export NVIDIA_TF32_OVERRIDE=0",
        "or torch.backends.cuda.matmul.allow_tf32 = False and torch.backends.cudnn.allow_tf32 = False in the program",
        "safe",
    ),
    "bfloat16": Fix(
        "export ONEDNN_DEFAULT_FPMATH_MODE=strict",
        'or torch.set_float32_matmul_precision("highest") in the program',
        "safe",
    ),
}


def check(smoked: list[Smoked]) -> Iterator[Result]:
    """Judge the results of each test."""
    for one in smoked:
        wrong = [check for check in one.test.checks if check.status in WRONG and known(check.claimed) is not False]
        compared = [check for check in one.test.checks if check.status in ("ok", *WRONG)]
        if wrong:
            yield _finding(one, wrong, smoked)
        elif compared:
            yield Pass(str(one), f"{len(compared)} results are right")
        elif one.test.outcome == "ok" and known(one.test.model) is None:
            yield Undecided(str(one), f"smoke.{one.test.backend}.checks", "none of its results was compared")


def _finding(one: Smoked, wrong: list[SmokeCheck], tests: Sequence[Smoked]) -> Finding:
    worst = max(wrong, key=_weight)
    narrow = [narrow_type(check) for check in wrong]
    slight = all(type_ or _slight(check) for check, type_ in zip(wrong, narrow, strict=True))
    as_type = next(filter(None, narrow), "")
    meant = one.test.backend in BY_DEFAULT and all(type_ == "tf32" for type_ in narrow)
    more = f" ({len(wrong)} of {len(one.test.checks)} results are off)" if len(wrong) > 1 else ""
    how = "is not precise" if slight else "gives wrong results"
    return Finding(
        severity="info" if meant else "warning" if slight else "error",
        confidence="medium" if slight or known(worst.claimed) is not None else "high",
        subject=str(one),
        message=f"{one} {how}: {_said(worst, as_type if slight else '')}{more}.",
        evidence=[*(_evidence(check) for check in wrong[:6]), *_others(one, worst, tests)],
        fixes=_fixes(one, as_type if slight else "", slight),
    )


def _weight(check: SmokeCheck) -> float:
    if check.status != "wrong":
        return float("inf")
    return check.difference / check.tolerance if check.tolerance else check.difference


def _slight(check: SmokeCheck) -> bool:
    """Not against a file: there the tolerance is the user's. What made-up inputs give may be NaN of right."""
    if check.status == "nan":
        return "made from the signature" in (known(check.said) or "")
    near = 0 < check.difference <= SLIGHT * check.tolerance
    return check.status == "wrong" and near and not check.against.endswith(".npz")


def _against(check: SmokeCheck) -> str:
    return "" if check.against in ("reference", "NaN") else f" against {check.against}"


def _figures(check: SmokeCheck) -> str:
    if check.status == "wrong" and check.difference:
        return f"off by {check.difference:.2g} of the largest value, {check.tolerance:.2g} allowed"
    words = {"nan": "NaN or infinite values", "zeros": "nothing but zeros", "shape": "another shape"}
    return words.get(check.status, "other values")


def _said(check: SmokeCheck, as_type: str) -> str:
    as_in = f"; float32 is computed as in {as_type}" if as_type else ""
    return f"{check.operation} in {check.dtype}{_against(check)} is {_figures(check)}{as_in}".replace(
        "is NaN", "has NaN"
    ).replace("is another", "has another")


def _evidence(check: SmokeCheck) -> Evidence:
    said = known(check.said) or _figures(check)
    return Evidence(f"{check.operation} in {check.dtype}{_against(check)}: {check.status}, {said}", "smoke test")


def _others(one: Smoked, wrong: SmokeCheck, tests: Sequence[Smoked]) -> list[Evidence]:
    """Who computes the same thing right on this machine."""
    found = []
    for other in tests:
        if other.test is one.test or strayed(other.test) or known(other.test.model) != known(one.test.model):
            continue
        for check in other.test.checks:
            if (check.operation, check.dtype, check.against) == (wrong.operation, wrong.dtype, wrong.against):
                if check.status == "ok":
                    where = f"{other.package} on {place(other.test.device)}"
                    found.append(Evidence(f"{where} computes it right, off by {check.difference:.2g}", "smoke test"))
                break
    return found[:3]


def _fixes(one: Smoked, as_type: str, slight: bool) -> list[Fix]:
    verify = again(one.test)
    found = []
    if (fix := _NARROW_FIXES.get(as_type)) is not None:
        found.append(Fix(fix.command, fix.note, fix.safety, verify))
    if slight:
        found.append(Fix("", "compare with tolerances that fit the arithmetic, if this precision is enough", "review"))
        return found
    release = f"in another release than {one.version}" if one.version else "in another release"
    note = f"reinstall {one.package} {release}, in a build for this device"
    found.append(Fix("", note, "review", verify))
    if one.test.kind == "cuda":
        found.append(
            Fix("dcgmi diag -r 3", "tests the GPU and its memory; nvidia-smi -q -d ECC,ROW_REMAPPER too", "manual")
        )
    return found
