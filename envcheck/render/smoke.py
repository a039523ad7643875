"""Results of smoke tests in words."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.core.snapshot import SmokeCheck, SmokeSpeed, SmokeTest, known

OUTCOMES = {
    "crash": "crashed",
    "hang": "did not answer",
    "exit": "ended early",
    "memory": "took too much memory",
    "failed": "failed",
    "wrong": "gave wrong results",
}


def mark_of(test: SmokeTest) -> str:
    """``ok``, ``warning``, ``error`` or ``unknown``."""
    if test.outcome == "untested":
        return "unknown"
    if test.outcome != "ok":
        return "error"
    return "warning" if elsewhere(test) else "ok"


def elsewhere(test: SmokeTest) -> str:
    """The device that it ran on, where that is not the one that was asked for."""
    where = known(test.ran_on)
    return where if where and where != test.device else ""


def subject(test: SmokeTest) -> str:
    """``torch 2.6.0 on cuda:0 (NVIDIA A100)``."""
    words = " ".join(filter(None, (test.backend, known(test.version))))
    if model := known(test.model):
        words += f", {model}"
    if test.device:
        words += f" on {test.device}"
    if name := known(test.name):
        words += f" ({name})"
    return words


def sentence(test: SmokeTest) -> str:
    """What became of it, in one line."""
    error, stage = known(test.error), known(test.stage)
    if test.outcome == "untested":
        return f"not tested: {error or 'no reason is known'}"
    if test.outcome != "ok":
        return f"{OUTCOMES.get(test.outcome, test.outcome)}{f' at {stage}' if stage else ''}: {error or ''}".rstrip(
            ": "
        )
    parts = []
    if where := elsewhere(test):
        parts.append(f"ran on {where}")
    right = [check for check in test.checks if check.status == "ok"]
    if right:
        parts.append(f"{len(right)} result{'s' if len(right) != 1 else ''} right ({', '.join(accuracies(right))})")
    if test.speeds:
        parts.append(", ".join(map(speed, test.speeds)))
    if known(test.memory_mib):
        parts.append(f"{test.memory_mib} MiB on the device")
    return "; ".join(parts) or "ran"


def accuracies(checks: list[SmokeCheck]) -> Iterator[str]:
    """Data type with the largest difference among its results."""
    worst: dict[str, float] = {}
    for check in checks:
        worst[check.dtype] = max(worst.get(check.dtype, 0.0), check.difference)
    for dtype, difference in worst.items():
        yield f"{dtype} {difference:.1e}" if difference else f"{dtype} exact"


def speed(found: SmokeSpeed) -> str:
    """``matmul float32 1.2 TFLOPS``."""
    dtype = f" {found.dtype}" if found.measure in ("matmul", "model") and found.dtype else ""
    return f"{found.measure}{dtype} {found.value:.3g} {found.unit}"


def details(test: SmokeTest) -> Iterator[str]:
    """Every step, every check that is not right, what else was told."""
    for stage in test.stages:
        memory = f", {stage.memory_mib} MiB" if known(stage.memory_mib) else ""
        error = f": {known(stage.error)}" if known(stage.error) else ""
        yield f"{stage.name} {stage.status} in {stage.milliseconds:.1f} ms{memory}{error}"
    for check in test.checks:
        said = f": {known(check.said)}" if known(check.said) else ""
        figures = f", off by {check.difference:.1e} of {check.tolerance:.0e}" if check.tolerance else ""
        against = f" against {check.against}" if check.against != "reference" else ""
        yield f"{check.operation} in {check.dtype}{against}: {check.status}{figures}{said}"
    if test.kernels:
        yield "kernels: " + ", ".join(f"{count} by {provider}" for provider, count in test.kernels.items())
    if test.facts:
        yield ", ".join(f"{name} {value}" for name, value in test.facts.items())
    yield from (f"stderr: {line}" for line in test.said)
