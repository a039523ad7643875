"""Data types in smoke tests: claimed and failing, working and slow. For the rule hardware-feature-missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result
from envcheck.core.snapshot import SmokeCheck, known
from envcheck.facts.smoke import broken_types, lines, strayed
from envcheck.rules.smoke_failure import again

if TYPE_CHECKING:
    from envcheck.facts.smoke import Smoked

NAMES = {"float16": "fp16", "bfloat16": "bf16", "float8_e4m3": "fp8", "float8_e5m2": "fp8"}
"""Data types of the tests -> as models and the table gpu-features name them."""
COMMON = ("float16", "bfloat16", "tf32")
"""What frameworks and models take without being told to."""
SLOW = 0.5
"""A type of half the bits that is slower than this, by the speed of float32, is computed by way of float32."""


def tried(tests: Sequence[Smoked], stated: str | None) -> Iterator[Result]:
    """What the tests showed; ``stated``: the type of the model, as in the table."""
    for one in tests:
        if strayed(one.test) or not one.test.checks:
            continue
        broken = broken_types(one.test)
        for check in broken.values():
            yield _broken(one, check, stated)
        slow = [] if broken else list(_slow(one, stated))
        yield from slow
        if not broken and not slow:
            fine = dict.fromkeys(check.dtype for check in one.test.checks if check.status == "ok")
            if fine:
                yield Pass(str(one), f"it computes in {', '.join(fine)}")


def _broken(one: Smoked, check: SmokeCheck, stated: str | None) -> Finding:
    wanted = check.dtype in COMMON or NAMES.get(check.dtype, check.dtype) == stated
    said = (known(check.said) or "it did not say why").rstrip(".")
    return Finding(
        severity="error" if wanted else "warning",
        confidence="medium",
        subject=str(one),
        message=f"{one} claims to compute in {check.dtype} and fails in {check.operation}: {said}.",
        evidence=[
            Evidence(f"{check.operation} in {check.dtype}, which is claimed, failed: {said}", "smoke test"),
            *(Evidence(line, "stderr of the smoke test") for line in lines(one.test)[:2]),
        ],
        fixes=[
            Fix("", f"compute in another data type than {check.dtype}: float16 or float32", "review", again(one.test)),
            Fix("", f"or take {one.package} in a release and a build that fit this device", "review", again(one.test)),
        ],
    )


def _slow(one: Smoked, stated: str | None) -> Iterator[Finding]:
    found = {speed.dtype: speed for speed in one.test.speeds if speed.measure == "matmul" and speed.unit == "TFLOPS"}
    base = found.pop("float32", None)
    for dtype, speed in found.items():
        if base is None or dtype not in NAMES:
            continue
        if speed.value >= SLOW * base.value and one.test.facts.get(dtype) != "emulated":
            continue
        figures = f"{speed.value:.3g} {speed.unit} against {base.value:.3g} in float32"
        yield Finding(
            severity="warning" if NAMES[dtype] == stated else "info",
            confidence="medium",
            subject=str(one),
            message=f"{one} computes in {dtype} without the hardware's help: {figures}.",
            evidence=[Evidence(f"matmul in {dtype}: {figures}", "smoke test")],
            fixes=[
                Fix("", f"compute in another data type than {dtype}: float16 or float32", "review", again(one.test))
            ],
        )
