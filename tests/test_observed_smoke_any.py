"""Whatever smoke tests tell, no rule crashes on it, findings are whole, and none is lost or told twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envcheck.core.report import Finding
from envcheck.core.snapshot import Absent, SmokeCheck, SmokeSpeed, SmokeStage, SmokeTest, Snapshot, Unknown
from envcheck.engine import evaluate
from envcheck.matrix import Matrix

MATRIX = Matrix.load()
STATEMENTS: list[dict[str, Any]] = [
    {},
    {"os": {"system": "Linux", "glibc": "2.35"}, "gpus": [], "packages": {"torch": "2.6.0+cpu"}},
    {
        "os": {"system": "Linux", "glibc": "2.17"},
        "cpu": {"arch": "x86_64", "flags": ["sse", "sse2"]},
        "gpus": [{"name": "NVIDIA GeForce RTX 5090"}, {"name": "Tesla T4", "compute_capability": "7.5"}],
        "driver": {"version": "470.82.01"},
        "packages": {"torch": "2.5.1+cu124", "onnxruntime": "1.20.1", "onnxruntime-gpu": "1.20.1", "numpy": "2.1.0",
                     "tensorflow": "2.15.1", "jaxlib": "0.4.30", "tensorrt": "8.6.1"},
        "libraries": {"found": ["libcudnn.so.8"], "missing": ["libcublasLt.so.12"]},
        "model": {"format": "onnx", "opset": 30, "dtype": "bf16", "memory_mib": 99999},
    },
    {"gpus": [{"name": "AMD Instinct MI300X", "vendor": "amd"}], "packages": {"torch": "2.5.1+rocm6.2"}},
]  # fmt: skip
TEXTS = (
    "",
    " ",
    "%s {} \x1b[31m \x00 \n\n",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "libcublasLt.so.12: cannot open shared object file: No such file or directory",
    "/s/x.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
    "CUDA driver version is insufficient for CUDA runtime version",
    "SIGILL",
    "SIGABRT: terminate called",
    "no answer in 3.0 s",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "3 of 4 values are wrong; the error is that of tf32",
    "No module named 'torch'",
    "x" * 1000,
)
DEVICES = (
    ("", ""),
    ("cpu", "cpu"),
    ("cuda:0", "cuda"),
    ("cuda:1", "cuda"),
    ("cuda:", "rocm"),
    ("CUDAExecutionProvider", "cuda"),
    ("TensorrtExecutionProvider", "cuda"),
    ("GPU:0", "gpu"),
    ("mps", "mps"),
    ("xpu:0", "xpu"),
    ("odd device", "odd"),
)
TEXT = st.sampled_from(TEXTS)
FACT = st.one_of(TEXT, st.just(Absent("none")), st.just(Unknown("not told")))
COUNT = st.one_of(st.integers(0, 10**6), st.just(Unknown("not told")))
FIGURE = st.sampled_from([0.0, -1.0, 1e-9, 0.3, 1.0, 30.0, 1e14])
DTYPE = st.sampled_from(["float32", "tf32", "float16", "bfloat16", "float8_e4m3", "int8", "odd", ""])
WHERE = st.sampled_from(["cpu", "cuda:0", "CPUExecutionProvider", "CUDAExecutionProvider", ""])


@st.composite
def any_smoke(draw: st.DrawFn) -> SmokeTest:
    device, kind = draw(st.sampled_from(DEVICES))
    stage = st.builds(
        SmokeStage,
        name=st.sampled_from(["import", "context", "matmul", "library", "x"]),
        status=st.sampled_from(["ok", "failed", "skipped", "crash", "hang"]),
        error=FACT,
    )
    check = st.builds(
        SmokeCheck,
        operation=st.sampled_from(["matmul", "convolution", "x"]),
        dtype=DTYPE,
        status=st.sampled_from(["ok", "wrong", "nan", "zeros", "shape", "failed", "unsupported"]),
        claimed=st.sampled_from([True, False, Unknown("not told")]),
        difference=FIGURE,
        tolerance=FIGURE,
        against=st.sampled_from(["reference", "cpu", "golden.npz", "NaN"]),
        ran_on=st.one_of(WHERE, st.just(Unknown("not told"))),
        said=FACT,
    )
    speed = st.builds(
        SmokeSpeed,
        measure=st.sampled_from(["matmul", "copy", "to-device", "from-device", "model"]),
        dtype=DTYPE,
        value=FIGURE,
        unit=st.sampled_from(["TFLOPS", "GB/s", "ms"]),
    )
    test: SmokeTest = draw(
        st.builds(
            SmokeTest,
            backend=st.sampled_from(["torch", "onnxruntime", "jax", "tensorflow", "tensorrt", "fake"]),
            device=st.just(device),
            kind=st.just(kind),
            asked=st.sampled_from([[], ["gpu"]]),
            gpu=COUNT,
            name=st.one_of(FACT, st.sampled_from(["Tesla T4", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "X MIG odd"])),
            version=FACT,
            outcome=st.sampled_from(["ok", "failed", "wrong", "crash", "hang", "exit", "memory", "untested"]),
            stage=st.one_of(FACT, st.just("matmul")),
            error=FACT,
            library=FACT,
            ran_on=st.one_of(WHERE, st.just(Unknown("not told"))),
            providers=st.lists(WHERE, max_size=2),
            kernels=st.dictionaries(WHERE, st.integers(-1, 99), max_size=2),
            model=st.one_of(FACT, st.just("model.onnx")),
            stages=st.lists(stage, max_size=3),
            checks=st.lists(check, max_size=4),
            speeds=st.lists(speed, max_size=3),
            facts=st.dictionaries(
                st.sampled_from(["threads", "debug", "mkl", "fallback", "bfloat16"]), TEXT, max_size=3
            ),
            said=st.lists(TEXT, max_size=3),
            free_mib=COUNT,
            milliseconds=FIGURE,
        )
    )
    return test


def every(findings: list[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        yield from every(finding.consequences)


@given(st.sampled_from(STATEMENTS), st.lists(any_smoke(), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_test_is_judged(statement: dict[str, Any], smoke: list[SmokeTest]) -> None:
    snapshot = Snapshot.from_facts(statement)
    snapshot.smoke = smoke
    report = evaluate(snapshot, MATRIX)
    crashed = [outcome.why for outcome in report.outcomes if outcome.status == "crash"]
    assert not crashed, crashed[0]
    found = list(every(report.findings))
    assert len({id(finding) for finding in found}) == len(found) == sum(one.findings for one in report.outcomes)
    for finding in found:
        assert finding.severity in ("error", "warning", "info")
        assert finding.confidence in ("high", "medium", "low")
        assert finding.subject.strip()
        assert "None" not in finding.message, finding.message
        assert finding.evidence
        assert finding.fixes
    str(report)
    Snapshot.from_json(snapshot.to_json())


@given(st.lists(any_smoke(), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_did_not_pass_takes_nothing_back(smoke: list[SmokeTest]) -> None:
    """Only a test that came through, on the device that it was made for, contradicts."""
    snapshot = Snapshot.from_facts(STATEMENTS[2])
    snapshot.smoke = [test for test in smoke if test.outcome not in ("ok", "wrong")]
    for finding in every(evaluate(snapshot, MATRIX).findings):
        assert "Contradicted" not in finding.message
