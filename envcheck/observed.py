"""What import tests saw, held against what the rules say: the one place where an observation meets a judgement.

A failed import makes the finding that explains it sure, and is shown under it. An import that worked takes a finding
back that says it fails: it stays as a warning, and says so. Findings on what happens later, when a program runs on a
GPU, are not touched: an import proves nothing of them.
"""

from __future__ import annotations

from envcheck.core.report import CONFIDENCES, SEVERITIES, Evidence, Finding
from envcheck.core.snapshot import ImportTest, Snapshot, known
from envcheck.facts.imports import Fault, fault_of
from envcheck.versions import canonical

IMPORT_FAILS = {
    "platform-unsupported": False,
    "python-unsupported": False,
    "glibc-too-old": True,
    "libstdcxx-too-old": True,
    "cpu-isa-missing": True,
    "extension-abi-mismatch": True,
    "numpy-abi": True,
}
"""Rules whose findings of severity error say that the import fails -> whether it takes compiled code of the package
itself, loaded, to prove the contrary. ``missing-shared-library`` is not among them: what it looks for is loaded when a
GPU is used, and what an import misses it is told by the test.
"""

CATCHES = {
    # They catch what fails when their compiled code is loaded, and go on without, or with another file.
    "extension-abi-mismatch": ("bitsandbytes", "vllm", "xformers"),
    # It meets NumPy when the first tensor is made from an array.
    "numpy-abi": ("torch",),
}
"""Packages whose import works all the same: it proves nothing."""

EXPLAINED_BY = {
    "library": ("missing-shared-library", "cudnn-mismatch", "cuda-major-mismatch", "trt-cuda-mismatch",
                "framework-pair-mismatch", "extension-abi-mismatch", "package-conflict", "platform-unsupported"),
    "version": ("glibc-too-old", "libstdcxx-too-old", "platform-unsupported"),
    "symbol": ("extension-abi-mismatch", "framework-pair-mismatch", "cudnn-mismatch", "cuda-major-mismatch",
               "numpy-abi", "libstdcxx-too-old", "glibc-too-old", "package-conflict", "python-unsupported"),
    "format": ("platform-unsupported", "python-unsupported"),
    "instruction": ("cpu-isa-missing",),
    "module": ("package-conflict", "python-unsupported", "platform-unsupported", "framework-pair-mismatch",
               "ort-packages-shadow"),
    "numpy": ("numpy-abi", "package-conflict"),
    "openmp": ("duplicate-openmp",),
    "": ("platform-unsupported", "python-unsupported", "numpy-abi", "framework-pair-mismatch",
         "extension-abi-mismatch", "duplicate-openmp", "package-conflict", "cpu-isa-missing", "ort-packages-shadow"),
}  # fmt: skip
"""What an import failed of -> the rules that can explain it, the likeliest first."""


def reconcile(findings: list[Finding], snapshot: Snapshot) -> list[Finding]:
    """The findings after the tests were heard; those that others explain are among their consequences."""
    kept = list(findings)
    for test in snapshot.stack.imports:
        if test.outcome == "ok" and known(test.error) is None:
            for finding in kept:
                _take_back(finding, test)
                _took(finding, test)
            continue
        own = next((f for f in kept if f.rule == "import-failure" and package_of(f) == canonical(test.package)), None)
        cause = _cause(kept, test)
        if cause is None:
            continue
        _confirm(cause, test)
        if own is not None and _weighs(cause, own):
            kept.remove(own)
            if not any(fix.command for fix in cause.fixes):
                cause.fixes = [*own.fixes, *cause.fixes]
            cause.consequences.append(own)
    return kept


def package_of(finding: Finding) -> str:
    """The package that a finding is about, by the first word of its subject."""
    return canonical(finding.subject.partition(" ")[0].rstrip(","))


def _take_back(finding: Finding, test: ImportTest) -> None:
    compiled = IMPORT_FAILS.get(finding.rule)
    if compiled is None or finding.severity != "error" or package_of(finding) != canonical(test.package):
        return
    if (compiled and test.compiled is not True) or canonical(test.package) in CATCHES.get(finding.rule, ()):
        return
    finding.severity, finding.confidence = "warning", "low"
    finding.message += f" All the same, importing {test.module} worked here."
    seconds = f" in {test.milliseconds / 1000:.1f} s" if test.milliseconds else ""
    finding.evidence = [Evidence(f"import {test.module} worked{seconds}", "import test"), *finding.evidence]


def _took(finding: Finding, test: ImportTest) -> None:
    """An import that worked, but took the file of which the finding says that it hides the package."""
    _, hidden, path = finding.subject.partition(" hidden by ")
    file = known(test.file)
    if hidden and file and (file == path or file.startswith((path + "/", path + "\\"))):
        finding.evidence = [Evidence(f"import {test.module} took {file}", "import test"), *finding.evidence]
        finding.confidence = "high"


def _cause(findings: list[Finding], test: ImportTest) -> Finding | None:
    """The error that explains what happened: one that names what is at fault, else one about the same package."""
    fault = fault_of(test)
    if test.outcome in ("hang", "untested"):
        return None
    allowed = EXPLAINED_BY[fault.kind]
    candidates = [f for f in findings if f.rule in allowed and f.severity == "error"]
    if fault.kind == "openmp":
        return candidates[0] if candidates else None
    candidates += [f for f in findings if f.severity == "warning" and names_hidden(f, known(test.error) or "")]
    named = [f for f in candidates if _names(f, fault) or names_hidden(f, known(test.error) or "")]
    about = [finding for finding in candidates if package_of(finding) == canonical(test.package)]
    found = named or about
    return min(found, key=lambda finding: allowed.index(finding.rule)) if found else None


def _names(finding: Finding, fault: Fault) -> bool:
    name = fault.name.replace("\\", "/").rpartition("/")[2]
    if fault.kind not in ("library", "version") or not name:
        return False
    words = f"{finding.subject} {finding.message} {' '.join(item.fact for item in finding.evidence)}"
    return name in words.replace(",", " ").replace(":", " ").split()


def names_hidden(finding: Finding, error: str) -> bool:
    """Whether an error comes from the file of which a finding says that it hides a package: ``torch hidden by ...``."""
    _, hidden, path = finding.subject.partition(" hidden by ")
    name = path.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    said = (path, f"'{name}' is not a package", f"module '{name}' has no attribute", f"from '{name}'")
    return bool(hidden) and any(text in error for text in said)


def _confirm(finding: Finding, test: ImportTest) -> None:
    said = known(test.error)
    where = known(test.library)
    text = f"import {test.module}: {said or test.outcome}"
    if where and where not in text:
        text += f" ({where})"
    finding.evidence = [Evidence(text, "import test"), *finding.evidence]
    finding.severity, finding.confidence = "error", "high"


def _weighs(cause: Finding, consequence: Finding) -> bool:
    severe = SEVERITIES.index(cause.severity) >= SEVERITIES.index(consequence.severity)
    return severe and CONFIDENCES.index(cause.confidence) >= CONFIDENCES.index(consequence.confidence)
