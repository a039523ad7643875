"""How causes are ranked, with signatures made for it."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.core.report import Evidence, Finding, MatrixInfo, Outcome, Report
from envcheck.core.snapshot import Snapshot, known
from envcheck.diagnosis.diagnose import diagnose
from envcheck.diagnosis.merge import merged
from envcheck.diagnosis.model import Cause, Diagnosis, Match
from envcheck.diagnosis.ranking import explains, rank
from envcheck.diagnosis.signatures import Signatures
from envcheck.diagnosis.values import BY
from envcheck.facts import Facts
from envcheck.matrix import Matrix

SOURCE = next(iter(Matrix.load()._read_sources()))
V100 = {
    "os": {"system": "Linux"},
    "gpus": [{"name": "Tesla V100", "compute_capability": "7.0"}],
    "driver": {"version": "535.104.05", "cuda": "12.2"},
    "packages": {"torch": "2.5.1+cu124"},
}


def row(name: str, *causes: str, kind: str = "cause", **more: Any) -> dict[str, Any]:
    base = {"id": name, "literals": [name], "kind": kind, "causes": list(causes), "means": f"{name} was said"}
    return {**base, "source": SOURCE, "as_of": "2026-01-01", **more}


def said(signature: dict[str, Any], position: int = 0, **values: str) -> Match:
    return Match(signature=signature, line=signature["id"], position=position, values=values)


def finding(rule: str, severity: str = "error", confidence: str = "high", **more: Any) -> Finding:
    return Finding(
        rule=rule, severity=severity, confidence=confidence, subject="it", message=f"{rule} by the facts", **more
    )


def report_of(*findings: Finding, passed: tuple[str, ...] = ()) -> Report:
    outcomes = [Outcome(rule=one.rule, status="fail", findings=1) for one in findings]
    outcomes += [Outcome(rule=rule, status="pass") for rule in passed]
    return Report(
        verdict="ok", findings=list(findings), outcomes=outcomes, snapshot=Snapshot(), matrix=MatrixInfo(digest="")
    )


def ranked(*matches: Match, report: Report | None = None, facts: dict[str, Any] | None = None) -> list[Cause]:
    return rank(matches, report, Facts(Snapshot.from_facts(facts or {}), Matrix.load()))


def rules(causes: list[Cause]) -> list[str]:
    return [cause.rule for cause in causes]


def run(text: str, *signatures: dict[str, Any], facts: dict[str, Any] | None = None) -> Diagnosis:
    matrix = Matrix.load()
    matrix.memo["signatures"] = Signatures(list(signatures))
    return diagnose([text], None if facts is None else Snapshot.from_facts(facts), matrix)


def test_what_a_message_proves_stands_before_facts_alone() -> None:
    found = ranked(said(row("a", "glibc-too-old high")), report=report_of(finding("driver-too-old")))
    assert rules(found) == ["glibc-too-old", "driver-too-old"]
    assert [cause.confidence for cause in found] == ["high", "medium"]
    assert found[0].signatures == ["a"]
    assert found[1].signatures == []


def test_what_a_message_suggests_and_a_rule_confirms_stands_first() -> None:
    signature = row("a", "glibc-too-old medium", "driver-too-old medium")
    found = ranked(said(signature), report=report_of(finding("driver-too-old")))
    assert rules(found) == ["driver-too-old", "glibc-too-old"]
    (alone,) = ranked(said(row("a", "driver-too-old medium")), report=report_of(finding("driver-too-old")))
    assert alone.confidence == "high"


def test_the_order_of_a_signature_counts() -> None:
    causes = [f"{rule} medium" for rule in ("numpy-abi", "glibc-too-old", "cudnn-mismatch")]
    assert rules(ranked(said(row("a", *causes)))) == ["numpy-abi", "glibc-too-old", "cudnn-mismatch"]


def test_a_consequence_stands_below_its_cause() -> None:
    assert "silent-cpu-fallback" in explains("driver-too-old")
    matches = (
        said(row("fallback", "silent-cpu-fallback high"), position=0),
        said(row("driver", "driver-too-old medium"), position=500),
    )
    found = ranked(*matches)
    assert rules(found) == ["driver-too-old", "silent-cpu-fallback"]


def test_a_named_consequence_stands_before_a_cause_that_only_the_facts_say() -> None:
    found = ranked(said(row("a", "silent-cpu-fallback high")), report=report_of(finding("driver-too-old")))
    assert rules(found) == ["silent-cpu-fallback", "driver-too-old"]


def test_a_symptom_gives_way_to_the_cause_that_the_facts_say() -> None:
    signature = row("a", "silent-cpu-fallback medium", kind="symptom")
    found = ranked(said(signature), report=report_of(finding("driver-too-old")))
    assert rules(found) == ["driver-too-old", "silent-cpu-fallback"]


@pytest.mark.parametrize(
    ("condition", "there", "confidence"),
    [
        ("if gpu", True, "medium"),
        ("if sm>=8.0", False, ""),
        ("if sm<8.0", True, "medium"),
        ("if torch<2.0", False, ""),
        ("unless torch>=2.0", False, ""),
        ("unless windows", True, "medium"),
        ("if no gpu", False, ""),
        ("if glibc>=2.28", True, "medium"),  # not known
        ("if {found} < {needed}", True, "medium"),
        ("if {found} > {needed}", False, ""),
        ("if {absent}", False, ""),
        ("if {found}", True, "medium"),
    ],
)
def test_conditions(condition: str, there: bool, confidence: str) -> None:
    signature = row("a", f"driver-too-old medium {condition}")
    found = ranked(said(signature, found="11.4", needed="12.1"), facts=V100)
    assert [cause.confidence for cause in found] == ([confidence] if there else [])


def test_a_condition_that_is_not_known_lowers() -> None:
    unknown, plain = row("a", "glibc-too-old medium if glibc<2.28"), row("b", "numpy-abi medium")
    assert rules(ranked(said(unknown), said(plain), facts=V100)) == ["numpy-abi", "glibc-too-old"]
    old = {**V100, "os": {"system": "Linux", "glibc": "2.17"}}
    assert rules(ranked(said(unknown), said(plain), facts=old)) == ["glibc-too-old", "numpy-abi"]


def test_facts_lower_what_is_only_suggested_more_than_what_is_proven() -> None:
    fine = report_of(passed=("driver-too-old",))
    (suggested,) = ranked(said(row("a", "driver-too-old medium")), report=fine)
    (proven,) = ranked(said(row("b", "driver-too-old high")), report=fine)
    assert suggested.confidence == "low"
    assert proven.confidence == "high"


def test_second_hits_count_little() -> None:
    many = [said(row(f"a{n}", "numpy-abi medium"), position=n) for n in range(3)]
    found = ranked(*many, said(row("b", "glibc-too-old high"), position=9))
    assert rules(found) == ["glibc-too-old", "numpy-abi"]
    assert found[1].confidence == "medium"
    assert found[1].signatures == ["a0", "a1", "a2"]


def test_the_same_signature_naming_a_cause_twice_is_one_statement() -> None:
    signature = row("a", "numpy-abi medium if gpu", "numpy-abi medium")
    (found,) = ranked(said(signature), facts=V100)
    assert found.signatures == ["a"]


def test_earlier_of_equals_stands_first() -> None:
    one, other = row("a", "numpy-abi medium"), row("b", "glibc-too-old medium")
    assert rules(ranked(said(one, 50), said(other, 10))) == ["glibc-too-old", "numpy-abi"]


def test_a_folded_finding_confirms_its_cause() -> None:
    root = finding("driver-too-old", consequences=[finding("silent-cpu-fallback")])
    found = ranked(said(row("a", "silent-cpu-fallback medium", kind="symptom")), report=report_of(root))
    assert rules(found)[0] == "driver-too-old"


def test_evidence_is_the_message_and_what_the_rule_saw() -> None:
    told = report_of(finding("numpy-abi", evidence=[Evidence(fact="numpy 2.0")]))
    (found,) = ranked(said(row("a", "numpy-abi high")), report=told)
    assert [one.fact for one in found.evidence] == ["the message: a", "numpy 2.0"]


@pytest.mark.parametrize("kind", ["harmless", "program"])
def test_other_messages_silence_facts(kind: str) -> None:
    wrong = {**V100, "driver": {"version": "390.10", "cuda": "9.1"}}
    loud = run("something else", row("normal", kind=kind), facts=wrong)
    assert any(cause.confidence != "low" for cause in loud.causes)
    quiet = run("normal", row("normal", kind=kind), facts=wrong)
    assert quiet.causes
    assert {cause.confidence for cause in quiet.causes} == {"low"}
    assert quiet.verdict == "not-environment"
    both = run("normal, named", row("normal", kind=kind), row("named", "numpy-abi high"), facts=wrong)
    assert both.verdict == "environment"


def test_nothing_known_is_unknown() -> None:
    assert run("hello", row("a", "numpy-abi high")).verdict == "unknown"


def test_a_message_fills_what_is_not_known_and_says_so() -> None:
    base = Snapshot.from_facts({"driver": {"version": "535.104.05"}, "packages": {"torch": "2.5.1+cu124"}})
    kept = base.to_dict()
    stated = Snapshot.from_facts(
        {
            "driver": {"version": "390.10"},
            "gpus": [{"compute_capability": "12.0"}],
            "packages": {"torch": "1.0", "numpy": "2.0"},
            "cpu": {"missing_flags": ["avx2"]},
        }
    )
    found = merged(base, stated, BY)
    assert base.to_dict() == kept
    assert known(found.machine.nvidia.version) == "535.104.05"
    assert {package.name: known(package.version) for package in known(found.stack.packages) or ()} == {
        "torch": "2.5.1+cu124",
        "numpy": "2.0",
    }
    assert found.machine.cpu.missing_flags == ["avx2"]
    assert {one.by for one in found.assumed} == {BY}
    named = {one.fact: one.value for one in found.assumed}
    assert named["package numpy"] == "2.0"
    assert "package torch" not in named
    assert named["machine.cpu.missing_flags"] == "avx2"
    assert any(fact.startswith("machine.gpus") for fact in named)


def test_what_a_message_states_is_judged_by_the_rules() -> None:
    signature = row(
        "found version", "driver-too-old high", sets=["driver.cuda = found:cuda-int"],
        pattern=r"found version (?P<found>\d+)",
    )  # fmt: skip
    facts = {name: value for name, value in V100.items() if name != "driver"}
    found = run("found version 10020", signature, facts=facts)
    assert found.causes[0].rule == "driver-too-old"
    assert found.report is not None
    stated = {one.fact: (one.value, one.by) for one in found.report.snapshot.assumed}
    assert stated["machine.nvidia.cuda"] == ("10.2", BY)
    assert "driver-too-old" in {one.rule for one in found.report.findings}


def test_a_changed_snapshot_is_judged_anew() -> None:
    matrix = Matrix.load()
    matrix.memo["signatures"] = Signatures([])
    snapshot = Snapshot.from_facts(V100)
    first = diagnose(["x"], snapshot, matrix)
    first.causes.clear()
    assert first.report is not None
    first.report.findings.clear()
    again = diagnose(["x"], snapshot, matrix)
    assert again.report is not None
    assert again.report is not first.report
    assert again.report.outcomes == diagnose(["x"], Snapshot.from_facts(V100), Matrix.load()).report.outcomes
    snapshot.machine.nvidia.version = "390.10"
    snapshot.machine.nvidia.cuda = "9.1"
    assert "driver-too-old" in {cause.rule for cause in diagnose(["x"], snapshot, matrix).causes}
