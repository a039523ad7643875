"""What smoke tests saw, held against what the rules say.

A test that failed, or ran elsewhere, makes the finding that explains it sure, and its own finding is shown under it.
A test that passed takes a finding back that says it fails, where it exercised the very thing: the same framework, the
same GPU, the same kind of work. What smoke tests do not exercise is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence

from envcheck.core.report import CONFIDENCES, SEVERITIES, Evidence, Finding
from envcheck.core.snapshot import Gpu, known
from envcheck.facts import Facts
from envcheck.facts.smoke import Cause, Smoked, cause_of, of_family, strayed
from envcheck.observed import CATCHES, EXPLAINED_BY, names_hidden, package_of

OWN = ("smoke-failure", "silent-cpu-fallback", "hardware-feature-missing")
"""Rules whose findings say how a test ended."""

DISPROVED_BY = {
    "platform-unsupported": "import",
    "python-unsupported": "import",
    "glibc-too-old": "import",
    "libstdcxx-too-old": "import",
    "cpu-isa-missing": "import",
    "extension-abi-mismatch": "import",
    "numpy-abi": "import",
    "nvml-driver-mismatch": "device",
    "no-gpu-visible": "device",
    "amd-gpu-inaccessible": "device",
    "intel-gpu-inaccessible": "device",
    "driver-too-old": "device",
    "gpu-vendor-mismatch": "device",
    "gpu-arch-too-new": "device",
    "gpu-arch-too-old": "device",
    "rocm-target-missing": "device",
    "mps-unavailable": "device",
    "cpu-only-build": "device",
    "ort-packages-shadow": "device",
    "trt-unsupported-gpu": "device",
    "trt-cuda-mismatch": "device",
    "cuda-major-mismatch": "convolution",
    "cudnn-mismatch": "convolution",
    "missing-shared-library": "convolution",
    "opset-unsupported": "model",
    "ir-version-unsupported": "model",
    "trt-engine-mismatch": "model",
    "insufficient-gpu-memory": "model",
}
"""Rule -> the observation that proves an error of it wrong.

``import``: the framework computed anything right; ``device``: it did so on the device that the finding is about;
``convolution``: also a convolution there, which takes cuDNN; ``model``: the user's own model ran.
"""

KINDS = {
    "nvml-driver-mismatch": ("cuda",),
    "no-gpu-visible": ("cuda",),
    "driver-too-old": ("cuda",),
    "gpu-arch-too-new": ("cuda",),
    "gpu-arch-too-old": ("cuda",),
    "cpu-only-build": ("cuda",),
    "ort-packages-shadow": ("cuda",),
    "trt-unsupported-gpu": ("cuda",),
    "trt-cuda-mismatch": ("cuda",),
    "cuda-major-mismatch": ("cuda",),
    "cudnn-mismatch": ("cuda",),
    "missing-shared-library": ("cuda",),
    "amd-gpu-inaccessible": ("rocm",),
    "rocm-target-missing": ("rocm",),
    "intel-gpu-inaccessible": ("xpu",),
    "mps-unavailable": ("mps",),
    "gpu-vendor-mismatch": ("cuda", "rocm", "xpu"),
}
"""Rule -> the kinds of device that its findings are about; others are about any."""

OF_THE_MACHINE = ("nvml-driver-mismatch", "no-gpu-visible", "amd-gpu-inaccessible", "intel-gpu-inaccessible")
"""Rules about the machine, whatever package their subject names."""

_FOR_THE_GPU = ("nvml-driver-mismatch", "no-gpu-visible", "amd-gpu-inaccessible", "intel-gpu-inaccessible",
                "gpu-vendor-mismatch", "driver-too-old", "ort-packages-shadow", "cpu-only-build", "gpu-arch-too-new",
                "gpu-arch-too-old", "rocm-target-missing", "trt-unsupported-gpu", "trt-cuda-mismatch",
                "cuda-major-mismatch", "cudnn-mismatch", "missing-shared-library")  # fmt: skip
_BY_TOPIC = {
    **EXPLAINED_BY,
    "driver": ("nvml-driver-mismatch", "driver-too-old", "gpu-arch-too-old", "no-gpu-visible"),
    "device": ("nvml-driver-mismatch", "no-gpu-visible", "amd-gpu-inaccessible", "intel-gpu-inaccessible",
               "gpu-vendor-mismatch", "driver-too-old", "gpu-arch-too-old", "cpu-only-build"),
    "arch": ("gpu-arch-too-new", "gpu-arch-too-old", "rocm-target-missing", "trt-unsupported-gpu", "cudnn-mismatch"),
    "cudnn": ("cudnn-mismatch", "missing-shared-library", "cuda-major-mismatch", "gpu-arch-too-new",
              "gpu-arch-too-old", "nvml-driver-mismatch"),
    "build": ("cpu-only-build", "ort-packages-shadow", "gpu-vendor-mismatch"),
    "memory": ("insufficient-gpu-memory",),
}  # fmt: skip
"""What a test says itself -> the rules that can explain it, the likeliest first."""


def reconcile_smoke(findings: list[Finding], facts: Facts) -> list[Finding]:
    """The findings after the smoke tests were heard; those that others explain are among their consequences."""
    tests: list[Smoked] = facts.get("smoked")
    gpus = known(facts.snapshot.machine.gpus) or []
    kept = list(findings)
    for one in tests:
        if one.test.outcome == "untested" or one.passed:
            continue
        for own in [f for f in kept if f.rule in OWN and f.subject == str(one)]:
            _explain(kept, own, one, gpus)
    subjects = {str(one) for one in tests}
    for own in [f for f in kept if f.rule == "silent-cpu-fallback" and f.subject not in subjects]:
        _explain_missing_offer(kept, own, tests)
    for finding in kept:
        if finding.severity == "error" and finding.rule in DISPROVED_BY:
            _take_back(finding, tests, gpus)
    return kept


def _explain(kept: list[Finding], own: Finding, one: Smoked, gpus: Sequence[Gpu]) -> None:
    """Put a test's own finding under the one that explains it."""
    cause = cause_of(one.test)
    rules = list(_BY_TOPIC.get(cause.kind, ()))
    if strayed(one.test) or (one.on_gpu and one.own_failure and not cause.kind):
        # Where the test names something else, that no GPU can be seen does not explain it.
        machine = cause.kind in ("", "device", "driver")
        rules += [rule for rule in _FOR_THE_GPU if rule not in rules and (machine or rule not in OF_THE_MACHINE)]
    if one.test.outcome == "hang" or own.severity == "info":
        return
    found = []
    for number, finding in enumerate(kept):
        if finding is own or finding.rule not in rules or finding.severity == "info":
            continue
        named = _names(finding, cause) or names_hidden(finding, known(one.test.error) or "")
        if not named and not _is_about(finding, one, gpus):
            continue
        # A warning of what may happen, and it did happen.
        foretold = named or (bool(strayed(one.test)) and finding.rule not in OF_THE_MACHINE)
        if foretold or SEVERITIES.index(finding.severity) >= SEVERITIES.index(own.severity):
            found.append((not named, rules.index(finding.rule), number))
    if found:
        _fold(kept, kept[min(found)[2]], own, cause.text or own.message)


def _explain_missing_offer(kept: list[Finding], own: Finding, tests: Sequence[Smoked]) -> None:
    """A GPU build that told of no GPU: its test ran on the CPU."""
    one = next((one for one in tests if of_family(package_of(own), one.test.backend)), None)
    found = [
        finding
        for rule in _FOR_THE_GPU
        for finding in kept
        if one is not None and finding.rule == rule and finding.severity == "error"
        and (rule in OF_THE_MACHINE or _of_package(finding, one))
    ]  # fmt: skip
    if found:
        _fold(kept, found[0], own, own.message)


def _fold(kept: list[Finding], cause: Finding, own: Finding, said: str) -> None:
    kept[:] = [finding for finding in kept if finding is not own]
    cause.severity = max(cause.severity, own.severity, key=SEVERITIES.index)
    cause.confidence = max(cause.confidence, own.confidence, key=CONFIDENCES.index)
    cause.evidence = [Evidence(f"{own.subject}: {said}", "smoke test"), *cause.evidence]
    if not any(fix.command for fix in cause.fixes):
        cause.fixes = [*own.fixes, *cause.fixes]
    cause.consequences.append(own)


def _names(finding: Finding, cause: Cause) -> bool:
    """Whether a finding names the very library that the test missed."""
    if cause.kind not in ("library", "version") or not cause.name:
        return False
    words = f"{finding.subject} {finding.message} {' '.join(item.fact for item in finding.evidence)}"
    return cause.name in words.replace(",", " ").replace(":", " ").replace(";", " ").split()


def _of_package(finding: Finding, one: Smoked) -> bool:
    return of_family(package_of(finding), one.test.backend)


def _is_about(finding: Finding, one: Smoked, gpus: Sequence[Gpu]) -> bool:
    """Whether a finding is about what a test did: its kind of device, its framework or its GPU."""
    kinds = KINDS.get(finding.rule)
    # Without a kind the test came to no device: what is loaded for one may be the cause all the same.
    before = ("", "cpu") if finding.rule == "missing-shared-library" else ("",)
    if kinds is not None and one.test.kind not in (*before, *kinds):
        return False
    if not _same_gpu(finding, one, gpus):
        return False
    tensorrt = "tensorrt" in finding.subject.lower() or "nvinfer" in finding.subject.lower()
    if tensorrt and one.test.backend != "tensorrt" and "ensorrt" not in one.test.device:
        return False
    if finding.rule in OF_THE_MACHINE or _of_package(finding, one):
        return True
    return one.gpu is not None and finding.subject.startswith(one.gpu.name)


def _same_gpu(finding: Finding, one: Smoked, gpus: Sequence[Gpu]) -> bool:
    """False where the subject names another GPU than the test's."""
    named = [name for gpu in gpus if (name := known(gpu.name)) and name in finding.subject]
    if not named:
        return True
    own = known(one.test.name) or (one.gpu.name if one.gpu is not None else "")
    return any(name in own for name in named)


def _take_back(finding: Finding, tests: Sequence[Smoked], gpus: Sequence[Gpu]) -> None:
    wanted = DISPROVED_BY[finding.rule]
    if finding.rule == "missing-shared-library" and ": " in finding.subject:
        wanted = "import"  # of a file that the import loads
    elif any(item.source == "smoke test" for item in finding.evidence):
        return  # it explains a test that failed
    right, against = None, False
    for one in tests:
        if one.test.outcome == "untested" or not _exercises(one, finding, wanted, gpus):
            continue
        if one.passed and (wanted != "convolution" or _convolved(one)):
            right = right or one
        else:
            against = True
    if right is None or (against and wanted != "import"):
        return
    finding.severity, finding.confidence = "warning", "low"
    computed = f"{right} computed what it must"
    finding.message = f"{finding.message.rstrip('. ')}. Contradicted by observation: {computed}."
    finding.evidence = [Evidence(f"contradicted by observation: {computed}", "smoke test"), *finding.evidence]


def _exercises(one: Smoked, finding: Finding, wanted: str, gpus: Sequence[Gpu]) -> bool:
    """Whether a test did what the finding says that it fails."""
    if wanted == "import":
        return _of_package(finding, one) and one.test.backend not in CATCHES.get(finding.rule, ())
    if wanted == "model":
        return _model(finding, one)
    return one.on_gpu and _is_about(finding, one, gpus)


def _convolved(one: Smoked) -> bool:
    return any(check.operation == "convolution" and check.status == "ok" for check in one.test.checks)


def _model(finding: Finding, one: Smoked) -> bool:
    """Whether the test ran the user's model, with what the finding says that it fails with."""
    if known(one.test.model) is None:
        return False
    if finding.rule == "insufficient-gpu-memory":
        return one.on_gpu
    return _of_package(finding, one) or (finding.rule == "trt-engine-mismatch" and one.test.backend == "tensorrt")
