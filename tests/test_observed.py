"""Import tests against what the rules say: confirmed, explained, taken back."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.core.report import Report
from envcheck.core.snapshot import Absent, ImportTest, Snapshot
from envcheck.engine import evaluate
from envcheck.matrix import Matrix
from envcheck.sources.combine import combine

MATRIX = Matrix.load()


def judged(facts: dict[str, Any], *tests: ImportTest, **options: Any) -> Report:
    snapshot = Snapshot.from_facts(facts)
    snapshot.stack.imports = list(tests)
    return evaluate(snapshot, MATRIX, **options)


def ok(package: str, module: str = "", *, compiled: bool = True) -> ImportTest:
    none = Absent("none")
    return ImportTest(package, module or package, "ok", error=none, library=none, compiled=compiled, milliseconds=1200)


def failed(package: str, outcome: str, error: str, library: str = "") -> ImportTest:
    return ImportTest(package, package, outcome, error=error, library=library or Absent("none"))


OLD_CPU = {
    "os": {"system": "Linux", "glibc": "2.36"},
    "cpu": {"arch": "x86_64", "flags": ["sse", "sse2"]},
    "python": "3.12",
    "packages": {"numpy": "2.4.0"},
}
OLD_SYSTEM = {
    "os": {"system": "Linux", "glibc": "2.17"},
    "cpu": {"arch": "x86_64"},
    "python": "3.11",
    "packages": {"torch": "2.9.1"},
}


def test_without_tests_nothing_changes() -> None:
    report = judged(OLD_CPU)
    assert [(f.rule, f.severity) for f in report.findings] == [("cpu-isa-missing", "error")]
    assert report.verdict == "problem"


def test_an_import_that_worked_takes_the_finding_back() -> None:
    report = judged(OLD_CPU, ok("numpy"))
    assert [(f.rule, f.severity, f.confidence) for f in report.findings] == [("cpu-isa-missing", "warning", "low")]
    assert "All the same, importing numpy worked here." in report.findings[0].message
    assert report.findings[0].evidence[0].fact == "import numpy worked in 1.2 s"
    assert report.verdict == "ok"


@pytest.mark.parametrize("test", [ok("numpy", compiled=False), ok("scipy")], ids=["its Python files alone", "another"])
def test_what_proves_nothing_takes_nothing_back(test: ImportTest) -> None:
    assert judged(OLD_CPU, test).verdict == "problem"


def test_what_happens_at_run_time_is_not_taken_back() -> None:
    facts = {
        "os": {"system": "Linux", "glibc": "2.36"},
        "cpu": {"arch": "x86_64"},
        "gpus": [{"name": "NVIDIA GeForce RTX 5090"}],
        "driver": {"version": "570.86.10"},
        "python": "3.11",
        "packages": {"torch": "2.5.1+cu124"},
    }
    without, with_test = judged(facts), judged(facts, ok("torch"))
    assert without.verdict == with_test.verdict == "problem"
    assert [f.rule for f in without.findings] == [f.rule for f in with_test.findings]


def test_a_crash_makes_its_explanation_sure() -> None:
    report = judged(OLD_CPU, failed("numpy", "crash", "SIGILL", "/s/numpy/_core/_multiarray_umath.so"))
    assert [(f.rule, f.severity, f.confidence) for f in report.findings] == [("cpu-isa-missing", "error", "high")]
    finding = report.findings[0]
    assert finding.evidence[0].fact == "import numpy: SIGILL (/s/numpy/_core/_multiarray_umath.so)"
    assert [f.rule for f in finding.consequences] == ["import-failure"]


def test_a_crash_that_no_rule_explains_stands_alone() -> None:
    facts = {**OLD_CPU, "cpu": {"arch": "x86_64", "level": "x86-64-v3"}}
    report = judged(facts, failed("numpy", "crash", "SIGILL", "/s/numpy/x.so"))
    assert [(f.rule, f.severity, f.confidence) for f in report.findings] == [("import-failure", "error", "high")]
    assert report.verdict == "problem"


def test_an_error_of_another_kind_is_not_explained() -> None:
    """The CPU lacks flags, but the import failed of a missing Python package."""
    report = judged(OLD_CPU, failed("numpy", "error", "ModuleNotFoundError: No module named 'mkl'"))
    assert {f.rule for f in report.findings} == {"cpu-isa-missing", "import-failure"}
    assert not any(f.consequences for f in report.findings)


def test_symbols_of_the_c_library() -> None:
    error = "ImportError: /lib64/libc.so.6: version `GLIBC_2.28' not found (required by /s/torch/lib/libtorch_cpu.so)"
    report = judged(OLD_SYSTEM, failed("torch", "error", error, "/s/torch/lib/libtorch_cpu.so"))
    found = {f.subject: f for f in report.findings if f.rule == "glibc-too-old"}
    assert "GLIBC_2.28" in found
    assert [f.rule for f in found["GLIBC_2.28"].consequences] == ["import-failure"]
    assert "import-failure" not in {f.rule for f in report.findings}


def test_a_missing_library_is_found_by_its_rule() -> None:
    facts = {"os": {"system": "Linux"}, "packages": {"opencv-python": "4.10.0.84"}}
    error = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    report = judged(facts, failed("opencv-python", "error", error, "libGL.so.1"))
    assert [f.rule for f in report.findings] == ["missing-shared-library"]
    finding = report.findings[0]
    assert finding.confidence == "high"
    assert [f.rule for f in finding.consequences] == ["import-failure"]
    assert any("apt-get install libgl1" in fix.command for fix in finding.fixes)


def test_a_hang_is_no_verdict() -> None:
    facts = {"os": {"system": "Linux", "glibc": "2.36"}, "packages": {"pandas": "2.2.3"}, "python": "3.11"}
    report = judged(facts, failed("pandas", "hang", "no answer in 20.0 s"))
    assert report.verdict == "inconclusive"


def test_an_ignored_cause_leaves_the_failure_alone() -> None:
    report = judged(OLD_CPU, failed("numpy", "crash", "SIGILL"), ignore=["cpu-isa-missing"])
    assert [f.rule for f in report.findings] == ["import-failure"]


def test_numpy_complaints_confirm() -> None:
    facts = {"os": {"system": "Linux"}, "python": "3.11", "packages": {"torch": "2.2.0", "numpy": "2.1.0"}}
    complaint = "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.1.0 as it may crash."
    test = ImportTest("torch", "torch", "ok", error=complaint, compiled=True)
    report = judged(facts, test)
    found = {f.rule: f for f in report.findings}
    assert found["numpy-abi"].severity == "error"
    assert found["numpy-abi"].confidence == "high"
    assert [f.rule for f in found["numpy-abi"].consequences] == ["import-failure"]


def test_tests_stay_where_they_were_made() -> None:
    lab = Snapshot.from_facts(OLD_CPU)
    lab.stack.imports = [ok("numpy")]
    joined = combine(lab, Snapshot.from_facts(OLD_CPU))
    assert joined.stack.imports == []
    assert lab.stack.imports


def test_a_private_library_of_a_wheel() -> None:
    facts = {"os": {"system": "Linux"}, "packages": {"scipy": "1.14.1"}}
    error = "ImportError: libscipy_openblas-c128ec02.so: cannot open shared object file: No such file or directory"
    report = judged(facts, failed("scipy", "error", error))
    assert [f.rule for f in report.findings] == ["missing-shared-library"]
    assert "which scipy needs" in report.findings[0].message
    assert report.findings[0].fixes[0].command == 'pip install --force-reinstall --no-deps "scipy==1.14.1"'


def test_differences_between_tests() -> None:
    from envcheck.differences import compare

    a, b, none = (Snapshot.from_facts(OLD_CPU) for _ in range(3))
    a.stack.imports, b.stack.imports = [ok("numpy")], [failed("numpy", "crash", "SIGILL")]
    a.stack.imports[0].milliseconds = 1.0
    assert {d.path: (d.a, d.b) for d in compare(a, b)}["stack.imports[numpy].outcome"] == ("ok", "crash")
    assert [d.path for d in compare(a, none)] == []
    b.stack.imports = [ok("numpy")]
    assert [d.path for d in compare(a, b)] == []


def test_a_complaint_about_the_cpu_confirms() -> None:
    facts = {**OLD_CPU, "packages": {"polars": "1.12.0"}}
    complaint = ImportTest(
        "polars", "polars", "ok", error="RuntimeWarning: Missing required CPU features.", compiled=True
    )
    assert [(f.rule, f.severity, f.confidence) for f in judged(facts, complaint).findings] == [
        ("cpu-isa-missing", "error", "high")
    ]
    assert judged(facts, ok("polars")).verdict == "ok"


def test_packages_that_go_on_without_their_compiled_code_prove_nothing() -> None:
    facts = {
        "os": {"system": "Linux", "glibc": "2.35"},
        "python": "3.11",
        "packages": {"torch": "2.2.0", "numpy": "2.1.0"},
    }
    assert [f.severity for f in judged(facts, ok("torch")).findings if f.rule == "numpy-abi"] == ["error"]
    facts["packages"] = {"scikit-learn": "1.3.0", "numpy": "2.1.0"}
    assert [f.severity for f in judged(facts).findings if f.rule == "numpy-abi"] == ["error"]
    assert [f.severity for f in judged(facts, ok("scikit-learn", "sklearn")).findings if f.rule == "numpy-abi"] == [
        "warning"
    ]
