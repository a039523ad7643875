"""Every rule on small cases: tests/cases/<rule-id>.toml, run through the engine with the real tables.

A case has ``name``, ``expect`` (``fire``, ``silent``, ``unknown`` or ``skip``), and ``facts`` in the sparse form or
a whole ``snapshot``; it may have ``severity``, ``confidence``, ``subject`` and ``message`` (parts of the text, or lists
of parts), ``fix`` (part of a fix's command or note) and ``missing`` (the fact that an unknown case names). ``silent``
means that nothing worse than an information is found and nothing is left open: the outcome is a pass or a skip.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from envcheck.core.report import Finding, Outcome
from envcheck.core.snapshot import Snapshot
from envcheck.engine import run_rule
from envcheck.facts import Facts
from envcheck.matrix import Matrix
from envcheck.rules import RULES, module_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CASES = Path(__file__).parent / "cases"
RULE_FILES = Path(__file__).parent.parent / "envcheck" / "rules"
SECTIONS = ("What it does", "Why it fails", "How it shows", "How to fix", "Exceptions", "Sources")
KEYS = {"name", "expect", "facts", "snapshot", "severity", "confidence", "subject", "message", "fix", "missing"}


def load(rule: str) -> list[dict[str, Any]]:
    path = CASES / f"{rule}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")).get("case", []) if path.is_file() else []


ALL = [(rule, case) for rule in RULES for case in load(rule)]


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    return Matrix.load()


_MATRIX = Matrix.load()


def run(rule: str, case: dict[str, Any], matrix: Matrix = _MATRIX) -> tuple[Outcome, list[Finding]]:
    if "snapshot" in case:
        import json

        snapshot = Snapshot.from_json(json.dumps({"schema": 1, **case["snapshot"]}))
    else:
        snapshot = Snapshot.from_facts(case["facts"])
    outcome, findings, _ = run_rule(rule, Facts(snapshot, matrix))
    assert outcome.status != "crash", outcome.why
    return outcome, findings


def parts(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


@pytest.mark.parametrize(("rule", "case"), ALL, ids=[f"{rule}: {case['name']}" for rule, case in ALL])
def test_case(rule: str, case: dict[str, Any], matrix: Matrix) -> None:
    assert set(case) <= KEYS, f"unknown keys {set(case) - KEYS}"
    outcome, findings = run(rule, case, matrix)
    told = f"{outcome.status}: {outcome.why}; {[(f.severity, f.confidence, f.message) for f in findings]}"
    if case["expect"] == "fire":
        wanted = [
            finding
            for finding in findings
            if case.get("severity", finding.severity) == finding.severity
            and case.get("confidence", finding.confidence) == finding.confidence
            and all(part in finding.subject for part in parts(case.get("subject")))
            and all(part in finding.message for part in parts(case.get("message")))
            and all(
                any(part in fix.command or part in fix.note for fix in finding.fixes) for part in parts(case.get("fix"))
            )
        ]
        assert wanted, told
    elif case["expect"] == "silent":
        assert not [finding for finding in findings if finding.severity != "info"], told
        assert not outcome.missing, told
    elif case["expect"] == "unknown":
        assert not [finding for finding in findings if finding.severity != "info"], told
        assert outcome.missing, told
        assert case.get("missing") in (None, *outcome.missing), told
    else:
        assert case["expect"] == "skip", f"expect = {case['expect']!r}"
        assert outcome.status == "skip", told


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_its_file_sections_and_cases(rule: str) -> None:
    name = module_of(rule)
    __import__(name)
    module = sys.modules[name]
    lines = (module.__doc__ or "").splitlines()
    assert lines, "no docstring"
    assert lines[0].endswith("."), "the first line is the title"
    assert tuple(line for line in lines[1:] if line and not line.startswith(" ")) == SECTIONS
    for known in getattr(module, "EXPLAINS", ()):
        assert known in RULES
    expects = {case["expect"] for case in load(rule)}
    assert "fire" in expects
    assert expects & {"silent", "skip"}
    assert "unknown" in expects


def test_every_case_file_is_named_after_a_rule() -> None:
    assert {path.stem for path in CASES.glob("*.toml")} <= set(RULES)


def test_rules_do_not_touch_the_machine() -> None:
    import ast

    for path in RULE_FILES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] not in ("os", "subprocess", "ctypes", "pathlib", "socket"), path.name


@pytest.mark.parametrize(("rule", "case"), ALL, ids=[f"{rule}: {case['name']}" for rule, case in ALL])
def test_findings_are_whole(rule: str, case: dict[str, Any], matrix: Matrix) -> None:
    for finding in run(rule, case, matrix)[1]:
        assert finding.rule == rule
        assert finding.severity in ("error", "warning", "info")
        assert finding.confidence in ("high", "medium", "low")
        assert finding.subject.strip() == finding.subject != ""
        assert finding.message.strip()
        assert "None" not in finding.message, finding.message
        assert "  " not in finding.message, finding.message
        assert finding.evidence, "a finding needs evidence"
        assert all(item.fact for item in finding.evidence)
        assert finding.fixes, "a finding needs a fix"
        for fix in finding.fixes:
            assert fix.command or fix.note
            assert fix.safety in ("safe", "review", "manual")
            assert "None" not in fix.command, fix.command
            assert "None" not in fix.note, fix.note


# Removing a fact

ASSUMED = {
    # A toolkit alone is what programs are built with; beside a framework it hardly matters. PyTorch emulates bf16.
    # A library that is said to be missing is missed by something, unless what is installed can do without.
    "packages": {
        *("driver-too-old", "gpu-arch-too-new", "gpu-arch-too-old", "hardware-feature-missing"),
        "missing-shared-library",
    },
    # Variables that nobody states are not set.
    "env": {
        *("driver-too-old", "gpu-arch-too-new", "gpu-arch-too-old", "hardware-feature-missing", "cpu-only-build"),
        "rocm-target-missing",
    },
    # Who names a GPU's model has a driver for it, and the other way round.
    "driver": {"cpu-only-build", "gpu-vendor-mismatch"},
    # A GPU build is there to use a GPU, unless it is stated that there is none.
    "gpus": {"cpu-only-build", "cuda-major-mismatch", "cudnn-mismatch", "missing-shared-library"},
    # A GPU of unknown size is no mere display card.
    "gpus.memory_mib": {"gpu-arch-too-old"},
}
"""Facts whose absence is read as a statement, by the rules that do so: see the rules' Exceptions."""


def loud(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" and finding.confidence != "low" for finding in findings)


def without(facts: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The facts less one, for each that says something on its own."""
    found = []
    for key, value in facts.items():
        found.append((key, {k: v for k, v in facts.items() if k != key}))
        if isinstance(value, dict) and key in ("os", "driver", "cpu", "model"):
            for inner in value:
                rest = {k: v for k, v in value.items() if k != inner}
                found.append((f"{key}.{inner}", {**facts, key: rest}))
    if isinstance(facts.get("gpus"), list):
        for inner in ("compute_capability", "memory_mib"):
            gpus = [
                {k: v for k, v in gpu.items() if k != inner} if isinstance(gpu, dict) else gpu for gpu in facts["gpus"]
            ]
            found.append((f"gpus.{inner}", {**facts, "gpus": gpus}))
    return found


@pytest.mark.parametrize(
    ("rule", "case"),
    [(rule, case) for rule, case in ALL if "facts" in case],
    ids=[f"{rule}: {case['name']}" for rule, case in ALL if "facts" in case],
)
def test_removing_a_fact_never_makes_an_error(rule: str, case: dict[str, Any], matrix: Matrix) -> None:
    """What was fine stays fine or becomes unknown: an error can't come from knowing less."""
    _, before = run(rule, case, matrix)
    if loud(before):
        return
    for key, facts in without(case["facts"]):
        if rule in ASSUMED.get(key, ()):
            continue
        _, after = run(rule, {"facts": facts}, matrix)
        assert not loud(after), f"without {key}: {[finding.message for finding in after]}"


NVIDIA_RULES = (
    "driver-too-old",
    "gpu-arch-too-new",
    "gpu-arch-too-old",
    "insufficient-gpu-memory",
    "nvml-driver-mismatch",
)
DECISIVE = {
    "driver-too-old": ("driver", "driver.version"),
    "gpu-arch-too-new": ("gpus", "packages"),
    "gpu-arch-too-old": ("gpus", "packages"),
    "insufficient-gpu-memory": ("gpus", "model", "gpus.memory_mib"),
    "nvml-driver-mismatch": ("driver.version",),
}
"""Facts without which the rule cannot know."""


@pytest.mark.parametrize(
    ("rule", "case"),
    [(rule, case) for rule, case in ALL if rule in NVIDIA_RULES and case["expect"] == "fire" and "facts" in case],
    ids=[f"{r}: {c['name']}" for r, c in ALL if r in NVIDIA_RULES and c["expect"] == "fire" and "facts" in c],
)
def test_without_a_decisive_fact_nothing_passes(rule: str, case: dict[str, Any], matrix: Matrix) -> None:
    """A problem becomes unknown, or the rule no longer applies; it never turns into a pass."""
    _, before = run(rule, case, matrix)
    if not loud(before):
        return
    for key, facts in without(case["facts"]):
        if key in DECISIVE[rule]:
            outcome, after = run(rule, {"facts": facts}, matrix)
            assert after or outcome.missing or outcome.status == "skip", (
                f"without {key}: {outcome.status} {outcome.why}"
            )


# Drivers

_LINUX = st.tuples(st.integers(384, 620), st.integers(0, 300), st.integers(0, 30))
_BUILDS = st.sampled_from(
    [
        "2.0.1+cu117",
        "2.0.1+cu118",
        "2.3.1+cu121",
        "2.5.1+cu124",
        "2.7.0+cu126",
        "2.8.0+cu128",
        "2.9.0+cu130",
        "1.7.1+cu110",
    ]
)


def _driver_facts(version: tuple[int, ...], torch: str, system: str, gpu: str) -> dict[str, Any]:
    text = f"{version[0]}.{version[1]:02d}" + (f".{version[2]:02d}" if system == "Linux" else "")
    return {
        "os": {"system": system},
        "driver": {"version": text},
        "gpus": [{"name": gpu}],
        "packages": {"torch": torch},
    }


def _errors(facts: dict[str, Any]) -> bool:
    return loud(run("driver-too-old", {"facts": facts})[1])


@given(
    _LINUX,
    _LINUX,
    _BUILDS,
    st.sampled_from(["Linux", "Windows"]),
    st.sampled_from(["Tesla T4", "NVIDIA GeForce RTX 3090"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_newer_driver_never_creates_driver_too_old(
    one: tuple[int, ...], other: tuple[int, ...], torch: str, system: str, gpu: str
) -> None:
    older, newer = sorted((one, other))
    if not _errors(_driver_facts(older, torch, system, gpu)):
        assert not _errors(_driver_facts(newer, torch, system, gpu))


_CUDA = st.tuples(st.sampled_from([9, 10, 11, 12, 13]), st.integers(0, 9))


@given(_CUDA, _CUDA, _BUILDS)
@settings(max_examples=100, deadline=None)
def test_a_driver_that_serves_a_newer_cuda_never_creates_driver_too_old(
    one: tuple[int, int], other: tuple[int, int], torch: str
) -> None:
    older, newer = sorted((one, other))
    facts = {"os": {"system": "Linux"}, "packages": {"torch": torch}}
    if not _errors({**facts, "driver": {"cuda": f"{older[0]}.{older[1]}"}}):
        assert not _errors({**facts, "driver": {"cuda": f"{newer[0]}.{newer[1]}"}})


@given(_LINUX, _BUILDS)
@settings(max_examples=60, deadline=None)
def test_a_less_exact_driver_version_never_contradicts(version: tuple[int, ...], torch: str) -> None:
    """``525`` and ``525.60`` are never judged the other way round than some driver that begins so."""
    # The branch of a floor counts as meeting it: what was issued of it before was no more than a preview.
    assume(version[1:] >= {450: (80, 2), 525: (60, 13), 580: (65, 6)}.get(version[0], (0, 0)))
    exact = _driver_facts(version, torch, "Linux", "Tesla T4")
    for shortened in (f"{version[0]}", f"{version[0]}.{version[1]:02d}"):
        short = {**exact, "driver": {"version": shortened}}
        outcome, findings = run("driver-too-old", {"facts": short})
        if loud(findings):
            assert _errors(exact)
        elif not outcome.missing:
            assert not _errors(exact)
