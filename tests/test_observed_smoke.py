"""Smoke tests against what the rules say: healthy machines, causes, confirmations, contradictions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from envcheck.core.report import Finding, Report
from envcheck.core.snapshot import Absent, Package, SmokeCheck, SmokeSpeed, SmokeStage, SmokeTest, Snapshot
from envcheck.engine import evaluate
from envcheck.matrix import Matrix
from envcheck.observed_smoke import DISPROVED_BY, KINDS
from envcheck.rules import RULES
from envcheck.sources.combine import combine

MATRIX = Matrix.load()
STEPS = ("import", "devices", "context", "allocate", "matmul", "convolution", "cnn", "transformer", "copy", "compare")
NONE = Absent("none")

A100: dict[str, Any] = {
    "os": {"system": "Linux", "glibc": "2.35", "distro": "ubuntu", "distro_version": "22.04"},
    "cpu": {"arch": "x86_64", "level": "x86-64-v3"},
    "gpus": [{"name": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0", "memory_mib": 40960}],
    "driver": {"version": "550.54.15", "cuda": "12.4"},
    "python": "3.11",
    "packages": {"torch": "2.6.0+cu124"},
}
RTX5090: dict[str, Any] = {
    **A100,
    "gpus": [{"name": "NVIDIA GeForce RTX 5090"}],
    "driver": {"version": "570.86.10"},
    "packages": {"torch": "2.5.1+cu124"},
}
CPU_ONLY: dict[str, Any] = {
    "os": {"system": "Linux", "glibc": "2.36"},
    "cpu": {"arch": "x86_64", "level": "x86-64-v3", "cores": 4},
    "gpus": [],
    "python": "3.11",
    "packages": {"torch": "2.6.0+cpu", "onnxruntime": "1.20.1", "numpy": "1.26.4"},
}


def test_of(backend: str, device: str, kind: str, **more: Any) -> SmokeTest:
    """A test that came through."""
    made = SmokeTest(backend=backend, device=device, kind=kind, stage=NONE, error=NONE, library=NONE, ran_on=device)
    made.model = NONE
    made.stages = [SmokeStage(name=name) for name in STEPS]
    made.checks = [
        SmokeCheck(operation=name, dtype="float32", status="ok", difference=1e-7, tolerance=1e-5, ran_on=device)
        for name in ("matmul", "convolution", "cnn", "transformer")
    ]
    if kind == "cuda":
        made.gpu = 0
    for name, value in more.items():
        setattr(made, name, value)
    return made


test_of.__test__ = False  # type: ignore[attr-defined]


def torch_on(device: str = "cuda:0", **more: Any) -> SmokeTest:
    name = {"name": "NVIDIA A100-SXM4-40GB"} if device != "cpu" else {}
    return test_of("torch", device, "cpu" if device == "cpu" else "cuda", **{**name, "version": "2.6.0", **more})


def ort_on(provider: str, **more: Any) -> SmokeTest:
    kind = "cpu" if provider.startswith("CPU") else "cuda"
    chain = [provider] if kind == "cpu" else [provider, "CPUExecutionProvider"]
    return test_of("onnxruntime", provider, kind, **{"version": "1.20.1", "providers": chain, **more})


def fallen(said: str = "") -> SmokeTest:
    cpu = "CPUExecutionProvider"
    lines = [f"Failed to load library /s/libonnxruntime_providers_cuda.so with error: {said}"] if said else []
    return ort_on("CUDAExecutionProvider", ran_on=cpu, providers=[cpu], kernels={cpu: 71}, said=lines)


def dead(test: SmokeTest, outcome: str, stage: str, error: str) -> SmokeTest:
    done = STEPS.index(stage)
    test.stages = [*test.stages[:done], SmokeStage(name=stage, status=outcome, error=error)]
    test.outcome, test.stage, test.error, test.checks = outcome, stage, error, []
    return test


def judged(facts: dict[str, Any], *tests: SmokeTest, **options: Any) -> Report:
    snapshot = Snapshot.from_facts(facts)
    snapshot.smoke = list(tests)
    return evaluate(snapshot, MATRIX, **options)


def told(report: Report) -> list[tuple[str, str, str]]:
    return [(f.rule, f.severity, f.confidence) for f in report.findings]


def by_rule(report: Report, rule: str) -> Finding:
    return next(f for f in report.findings if f.rule == rule)


def below(finding: Finding) -> list[str]:
    return [one.rule for one in finding.consequences]


# Healthy machines


def test_a_healthy_gpu_machine() -> None:
    speeds = [
        SmokeSpeed(measure="matmul", dtype="float32", value=17.9, unit="TFLOPS"),
        SmokeSpeed(measure="matmul", dtype="bfloat16", value=220.0, unit="TFLOPS"),
        SmokeSpeed(measure="copy", dtype="uint8", value=1200.0, unit="GB/s"),
        SmokeSpeed(measure="to-device", dtype="uint8", value=6.0, unit="GB/s"),
    ]
    facts = {
        **A100,
        "packages": {"torch": "2.6.0+cu124", "onnxruntime-gpu": "1.20.1", "numpy": "1.26.4"},
        "libraries": {"found": ["libcublasLt.so.12", "libcublas.so.12", "libcudart.so.12", "libcufft.so.11",
                                "libcurand.so.10", "libcudnn.so.9"]},
    }  # fmt: skip
    ort = [ort_on("CPUExecutionProvider"), ort_on("CUDAExecutionProvider", kernels={"CUDAExecutionProvider": 60})]
    report = judged(facts, torch_on("cpu"), torch_on(speeds=speeds), *ort)
    assert told(report) == told(judged(facts))
    assert report.verdict == judged(facts).verdict == "ok"
    passed = {outcome.rule: outcome.status for outcome in report.outcomes}
    assert {passed[rule] for rule in ("smoke-failure", "wrong-results", "silent-cpu-fallback", "slow-device")} == {
        "pass"
    }


def test_a_machine_with_a_cpu_only() -> None:
    report = judged(CPU_ONLY, torch_on("cpu", version="2.6.0"), ort_on("CPUExecutionProvider"))
    assert told(report) == []
    assert report.verdict == "ok"


def test_a_cuda_build_of_torch_on_a_cpu_says_no_more_than_without() -> None:
    facts = {**CPU_ONLY, "packages": {"torch": "2.6.0+cu124"}}
    assert told(judged(facts, torch_on("cpu"))) == told(judged(facts))


# Falling back


def test_a_fall_back_under_the_missing_library() -> None:
    facts = {
        **A100,
        "packages": {"onnxruntime-gpu": "1.20.1"},
        "libraries": {"missing": ["libcublasLt.so.12"]},
    }
    report = judged(facts, ort_on("CPUExecutionProvider"), fallen("libcublasLt.so.12: cannot open shared object file"))
    finding = by_rule(report, "missing-shared-library")
    assert (finding.severity, finding.confidence) == ("error", "high")
    assert below(finding) == ["silent-cpu-fallback"]
    assert "libcublasLt.so.12: cannot open" in finding.evidence[0].fact
    assert report.verdict == "problem"


def test_a_fall_back_with_a_clean_static_check_stands_alone() -> None:
    facts = {**A100, "packages": {"onnxruntime-gpu": "1.20.1"}}
    assert judged(facts).verdict != "problem"
    report = judged(facts, fallen("libcudnn.so.9: cannot open shared object file: No such file or directory"))
    finding = by_rule(report, "silent-cpu-fallback")
    assert (finding.severity, finding.confidence) == ("error", "high")
    assert "libcudnn.so.9: cannot open shared object file" in finding.message
    assert any("libonnxruntime_providers_cuda.so" in item.fact for item in finding.evidence)
    assert report.verdict == "problem"


def test_a_fall_back_without_a_gpu_is_a_warning_with_its_cause() -> None:
    facts = {**CPU_ONLY, "packages": {"onnxruntime-gpu": "1.20.1"}}
    report = judged(facts, fallen("libcublasLt.so.12: cannot open shared object file"))
    finding = by_rule(report, "silent-cpu-fallback")
    assert finding.severity == "warning"
    assert "libcublasLt.so.12" in finding.message
    assert "no NVIDIA GPU can be used here" in finding.message
    assert report.verdict == judged(facts).verdict != "problem"


def test_a_fall_back_under_the_driver() -> None:
    facts = {**A100, "driver": {"version": "450.80.02"}, "packages": {"onnxruntime-gpu": "1.20.1"}}
    test = fallen()
    test.said = ["CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"]
    report = judged(facts, test)
    finding = by_rule(report, "driver-too-old")
    assert finding.confidence == "high"
    assert below(finding) == ["silent-cpu-fallback"]


def test_a_shadowed_package_explains_that_no_gpu_is_offered() -> None:
    facts = {**A100, "packages": {"onnxruntime": "1.20.1", "onnxruntime-gpu": "1.20.1"}}
    report = judged(facts, ort_on("CPUExecutionProvider"))
    finding = by_rule(report, "ort-packages-shadow")
    assert "silent-cpu-fallback" in below(finding)


# Failing


def test_a_failure_makes_its_explanation_sure() -> None:
    error = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    report = judged(RTX5090, dead(torch_on(name="NVIDIA GeForce RTX 5090", version="2.5.1"), "failed", "matmul", error))
    assert told(report) == [("gpu-arch-too-new", "error", "high")]
    finding = report.findings[0]
    assert below(finding) == ["smoke-failure"]
    assert finding.evidence[0].source == "smoke test"
    assert "no kernel image" in finding.evidence[0].fact


def test_a_failure_with_a_clean_static_check_is_a_finding_of_its_own() -> None:
    assert judged(A100).verdict == "ok"
    report = judged(
        A100, dead(torch_on(), "failed", "convolution", "RuntimeError: cuDNN error: CUDNN_STATUS_BAD_PARAM")
    )
    assert told(report) == [("smoke-failure", "error", "high")]
    assert "in step convolution" in report.findings[0].message
    assert any("before it went well: context, allocate, matmul" in e.fact or "matmul" in e.fact
               for e in report.findings[0].evidence)  # fmt: skip
    assert report.verdict == "problem"


def test_a_crash_under_the_cpu() -> None:
    facts = {**CPU_ONLY, "cpu": {"arch": "x86_64", "flags": ["sse", "sse2"]}, "packages": {"tensorflow": "2.15.1"}}
    crashed = dead(test_of("tensorflow", "cpu:0", "cpu", version="2.15.1"), "crash", "matmul", "SIGILL")
    report = judged(facts, crashed)
    finding = by_rule(report, "cpu-isa-missing")
    assert finding.confidence == "high"
    assert below(finding) == ["smoke-failure"]


def test_a_hang_is_no_verdict() -> None:
    hung = dead(torch_on(milliseconds=20000.0), "hang", "context", "no answer in 20.0 s")
    report = judged(A100, hung)
    assert told(report) == [("smoke-failure", "error", "low")]
    assert report.verdict == "inconclusive"


def test_too_little_gpu_memory() -> None:
    facts = {**A100, "gpus": [{**A100["gpus"][0], "memory_free_mib": 10}]}
    lacking = dead(torch_on(free_mib=10), "failed", "allocate", "OutOfMemoryError: CUDA out of memory.")
    report = judged(facts, lacking)
    assert told(report) == [("insufficient-gpu-memory", "error", "high")]
    assert "10 MiB of 40960 MiB were free" in report.findings[0].message


def test_wrong_results() -> None:
    checks = [SmokeCheck(operation="convolution", dtype="float32", status="wrong", difference=0.3, tolerance=2e-5)]
    report = judged(A100, torch_on("cpu"), torch_on(outcome="wrong", checks=checks))
    assert told(report) == [("wrong-results", "error", "high")]
    assert any("torch on the CPU computes it right" in item.fact for item in report.findings[0].evidence)


def test_tf32_is_a_warning() -> None:
    said = "3000 of 3072 values are wrong: 1 at [0, 0] where 2 is expected; the error is that of tf32"
    check = SmokeCheck(
        operation="matmul", dtype="float32", status="wrong", difference=4e-4, tolerance=1e-6, said=said, ran_on="cuda:0"
    )
    report = judged(A100, torch_on(outcome="wrong", checks=[check]))
    assert told(report) == [("wrong-results", "warning", "medium")]
    assert report.verdict == "ok"


def test_a_slow_gpu() -> None:
    speeds = [SmokeSpeed(measure="matmul", dtype="float32", value=0.4, unit="TFLOPS")]
    report = judged(A100, torch_on(speeds=speeds))
    assert told(report) == [("slow-device", "warning", "low")]
    assert report.verdict == "ok"


def test_untested_is_inconclusive() -> None:
    report = judged(A100, SmokeTest(backend="torch", outcome="untested", error="no time was left"))
    assert report.verdict == "inconclusive"


# Contradictions


def test_a_run_on_the_gpu_takes_back_what_says_that_it_fails() -> None:
    report = judged(RTX5090, torch_on(name="NVIDIA GeForce RTX 5090", version="2.5.1"))
    assert told(report) == [("gpu-arch-too-new", "warning", "low")]
    finding = report.findings[0]
    assert "Contradicted by observation: torch 2.5.1+cu124 on cuda:0 (NVIDIA GeForce RTX 5090)" in finding.message
    assert finding.evidence[0].fact.startswith("contradicted by observation: ")
    assert report.verdict == "ok"


NOT_EXERCISED = {
    "the CPU": torch_on("cpu", version="2.5.1"),
    "another framework": test_of("cupy", "cuda:0", "cuda", name="NVIDIA GeForce RTX 5090"),
    "another GPU": torch_on(name="NVIDIA GeForce RTX 3090"),
    "a fall-back": torch_on(name="NVIDIA GeForce RTX 5090", ran_on="cpu"),
    "nothing was compared": torch_on(name="NVIDIA GeForce RTX 5090", checks=[]),
}


@pytest.mark.parametrize("test", NOT_EXERCISED.values(), ids=NOT_EXERCISED)
def test_what_was_not_exercised_is_not_taken_back(test: SmokeTest) -> None:
    finding = by_rule(judged(RTX5090, test), "gpu-arch-too-new")
    assert (finding.severity, finding.confidence) == ("error", "high")
    assert "ontradicted" not in finding.message


def test_one_of_two_runs_failed() -> None:
    """On the same kind of GPU one test passed and one did not: nothing is taken back."""
    name = "NVIDIA GeForce RTX 5090"
    error = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    bad = dead(torch_on("cuda:1", name=name, gpu=1), "failed", "matmul", error)
    finding = by_rule(judged(RTX5090, torch_on(name=name), bad), "gpu-arch-too-new")
    assert (finding.severity, finding.confidence) == ("error", "high")
    assert below(finding) == ["smoke-failure"]


def test_a_driver_that_serves_after_all() -> None:
    facts = {**A100, "driver": {"version": "470.82.01"}}
    assert told(judged(facts)) == [("driver-too-old", "error", "high")]
    assert told(judged(facts, torch_on())) == [("driver-too-old", "warning", "low")]
    assert told(judged(facts, torch_on("cpu"))) == [
        ("driver-too-old", "error", "high")
    ]  # with what torch did not offer below it


def test_a_cudnn_that_works_after_all() -> None:
    facts = {**A100, "packages": {"onnxruntime-gpu": "1.19.2"}}
    facts["libraries"] = {"found": ["libcudart.so.12", "libcublasLt.so.12", "libcudnn.so.8"]}
    said = by_rule(judged(facts), "cudnn-mismatch")
    assert said.severity == "error"
    assert said.subject.startswith("onnxruntime-gpu")
    passed = ort_on("CUDAExecutionProvider", version="1.19.2", kernels={"CUDAExecutionProvider": 60})
    assert by_rule(judged(facts, passed), "cudnn-mismatch").severity == "warning"
    without = ort_on("CUDAExecutionProvider", version="1.19.2")
    without.checks = [check for check in without.checks if check.operation != "convolution"]
    assert by_rule(judged(facts, without), "cudnn-mismatch").severity == "error"
    assert by_rule(judged(facts, torch_on()), "cudnn-mismatch").severity == "error"


def test_an_import_is_proved_by_a_run_on_the_cpu() -> None:
    facts = {**CPU_ONLY, "os": {"system": "Linux", "glibc": "2.17"}, "packages": {"torch": "2.9.1"}}
    assert {f.severity for f in judged(facts).findings if f.rule == "glibc-too-old" and "torch" in f.subject} == {
        "error"
    }
    report = judged(facts, torch_on("cpu", version="2.9.1"))
    assert {f.severity for f in report.findings if f.rule == "glibc-too-old" and f.subject.startswith("torch ")} == {
        "warning"
    }


def test_numpy_and_torch_prove_nothing_of_each_other() -> None:
    facts = {**CPU_ONLY, "packages": {"torch": "2.2.0", "numpy": "2.1.0"}}
    before = [f for f in judged(facts).findings if f.rule == "numpy-abi"]
    after = [f for f in judged(facts, torch_on("cpu", version="2.2.0")).findings if f.rule == "numpy-abi"]
    assert [f.severity for f in before] == [f.severity for f in after] == ["error"]


def test_the_own_model_ran() -> None:
    facts = {**CPU_ONLY, "packages": {"onnxruntime": "1.16.3"}, "model": {"format": "onnx", "opset": 22}}
    assert by_rule(judged(facts), "opset-unsupported").severity == "error"
    own = ort_on("CPUExecutionProvider", version="1.16.3", model="model.onnx")
    assert by_rule(judged(facts, own), "opset-unsupported").severity == "warning"
    ours = ort_on("CPUExecutionProvider", version="1.16.3")
    assert by_rule(judged(facts, ours), "opset-unsupported").severity == "error"


def test_what_is_disproved_are_rules_that_are_there() -> None:
    assert set(DISPROVED_BY) <= set(RULES)
    assert set(KINDS) <= set(DISPROVED_BY)
    assert set(DISPROVED_BY.values()) == {"import", "device", "convolution", "model"}


# Where tests count


def test_tests_stay_where_they_were_made() -> None:
    lab = Snapshot.from_facts(A100)
    lab.smoke = [torch_on()]
    assert combine(lab, Snapshot.from_facts(CPU_ONLY)).smoke == []
    assert lab.smoke


def test_an_assumption_ends_what_tests_say() -> None:
    from envcheck.assume import assume

    snapshot = Snapshot.from_facts(A100)
    snapshot.smoke = [torch_on()]
    assert assume(snapshot, {"driver": "470.82.01"}, MATRIX).smoke == []
    assert snapshot.smoke


def test_an_ignored_cause_leaves_the_failure_alone() -> None:
    error = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    test = dead(torch_on(name="NVIDIA GeForce RTX 5090", version="2.5.1"), "failed", "matmul", error)
    assert told(judged(RTX5090, test, ignore=["gpu-arch-too-new"])) == [("smoke-failure", "error", "high")]


def test_the_distribution_is_found() -> None:
    from envcheck.facts import Facts

    snapshot = Snapshot.from_facts(A100)
    snapshot.stack.packages = [
        Package(name="onnxruntime-extensions", version="0.13.0"),
        Package(name="onnxruntime-gpu", version="1.20.1"),
        Package(name="torch", version="2.6.0+cu124"),
        Package(name="torch-scatter", version="2.1.2"),
        Package(name="jaxlib", version="0.5.0"),
        Package(name="jax-cuda12-plugin", version="0.5.0"),
        Package(name="jax", version="0.5.0"),
    ]
    jax = test_of("jax", "cuda:0", "cuda", version="0.5.0")
    snapshot.smoke = [torch_on(), fallen(), jax, test_of("other", "x", "x")]
    assert [(one.package, one.version) for one in Facts(snapshot, MATRIX).get("smoked")] == [
        ("torch", "2.6.0+cu124"),
        ("onnxruntime-gpu", "1.20.1"),
        ("jax-cuda12-plugin", "0.5.0"),
        ("other", None),
    ]


def test_a_plain_check_imports_none_of_it() -> None:
    code = (
        "import sys; from envcheck.core.snapshot import Snapshot; from envcheck.engine import evaluate;"
        "from envcheck.matrix import Matrix;"
        "evaluate(Snapshot.from_facts({'os': {'system': 'Linux'}, 'gpus': [{'name': 'Tesla T4'}],"
        " 'packages': {'torch': '2.6.0+cu124'}}), Matrix.load());"
        "print([name for name in sys.modules if 'smoke' in name or 'slow_device' in name or 'wrong_results' in name"
        " or 'silent_cpu' in name or name.startswith('envcheck.observed')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
