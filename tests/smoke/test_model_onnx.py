"""ONNX models of users in the real ONNX Runtime, on this machine's CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_models
import pytest

import envcheck
from envcheck.core.report import Report
from envcheck.core.snapshot import SmokeTest, known
from envcheck.probes.smoke_model import unusable_model
from envcheck.probes.smoke_options import options
from envcheck.smoke_tests import reference

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info < (3, 11) or sys.platform != "linux",
        reason="the wheels are for Python 3.11 and newer on Linux",
    ),
]
CPU = "CPUExecutionProvider"
Run = Callable[..., Report]


def judged(**given: Any) -> Report:
    """As envcheck.smoke, which raises for a model that can't be used."""
    return envcheck.check(smoke=options(**given))


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="envcheck-site-") as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        ran = subprocess.run(
            [*pip, "--target", folder, "onnxruntime==1.31.1", "numpy==2.4.6"],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ran.returncode == 0, ran.stderr
        yield folder


@pytest.fixture
def run(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", site)
    monkeypatch.chdir(tmp_path)

    def smoke(model: bytes | str, **options: object) -> Report:
        if isinstance(model, bytes):
            (tmp_path / "m.onnx").write_bytes(model)
            model = "m.onnx"
        return judged(model=model, **options)

    return smoke


def only(report: Report) -> SmokeTest:
    (test,) = report.snapshot.smoke
    return test


def arrays(site: str, path: str, **values: object) -> None:
    """Write an .npz with the NumPy of the folder."""
    script = "import json, sys, numpy; numpy.savez(sys.argv[1], **json.loads(sys.argv[2]))"
    env = {**os.environ, "PYTHONPATH": site}
    subprocess.run([sys.executable, "-c", script, path, json.dumps(values)], check=True, env=env, timeout=60)


@pytest.mark.parametrize("name", ["model_numbers.py", "model_engines.py"])
def test_with_numpy(site: str, name: str) -> None:
    env = {**os.environ, "PYTHONPATH": site}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / name)]
    ran = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert ran.returncode == 0, ran.stdout[-4000:]


@pytest.mark.parametrize("operation", reference.OPERATIONS[:4])
def test_our_own_models_as_the_users(run: Run, operation: str) -> None:
    test = only(run(reference.model(operation)))
    assert (test.backend, test.device, test.outcome) == ("onnxruntime", CPU, "ok"), test.error
    assert (known(test.model), known(test.ran_on)) == (f"{operation}.float32.onnx", CPU)
    assert [(check.operation, check.status) for check in test.checks] == [("y", "ok")]
    assert [(speed.measure, speed.unit) for speed in test.speeds] == [("model", "ms")]
    assert test.speeds[0].value > 0


def test_lab_and_server(run: Run, tmp_path: Path) -> None:
    report = run(reference.model("cnn"), record="golden.npz")
    assert only(report).facts["recorded"] == "golden.npz"
    assert os.listdir(tmp_path) == ["golden.npz"]
    test = only(run(reference.model("cnn"), golden="golden.npz"))
    assert test.outcome == "ok"
    assert [(check.against, check.status, check.difference) for check in test.checks] == [("golden.npz", "ok", 0.0)]
    assert "was recorded by onnxruntime 1.31.1 on CPUExecutionProvider" in test.facts["golden"]
    assert "golden-model" not in test.facts
    # The same net with weights of half precision is another file.
    test = only(run(reference.model("cnn", "float16"), golden="golden.npz", rtol=1e-2, atol=1e-2))
    assert test.outcome == "ok"
    assert "golden.npz was recorded with another file" in test.facts["golden-model"]


def test_weights_that_differ(run: Run, tmp_path: Path) -> None:
    import struct

    model = made_models.onnx("Add", external=("w.data", 3))
    (tmp_path / "w.data").write_bytes(struct.pack("<3f", 0, 1, 2))
    assert only(run(model, record="g.npz")).outcome == "ok"
    (tmp_path / "w.data").write_bytes(struct.pack("<3f", 0, 1, 4))
    test = only(run(model, golden="g.npz"))
    assert (test.outcome, known(test.stage)) == ("wrong", "y in float32")
    assert "2 of 6 values of y differ: y[0, 2] is" in str(known(test.error))
    (tmp_path / "w.data").unlink()
    assert "keeps its weights in w.data, which is not beside it" in unusable_model(run(model))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (made_models.onnx(shape=["batch", 3, "H", "W"]), "dynamic shape [batch, 3, H, W]: give --shape x=1,3,224,224"),
        (made_models.onnx("Fancy", "my.company"), "uses the operator Fancy of my.company, which this ONNX Runtime"),
        (made_models.onnx("Identity", kind=8), "input 'x' has type str, for which none can be made: give --inputs"),
        (made_models.onnx()[:-20], "is damaged or no ONNX model"),
    ],
)
def test_models_that_need_something(run: Run, model: bytes, said: str) -> None:
    report = run(model)
    assert said in unusable_model(report)
    assert only(report).outcome == "failed"


def test_dynamic_shapes(run: Run) -> None:
    model = made_models.onnx("Add", shape=["batch", "length"], names=("input_ids", "attention_mask"), kind=7)
    assert "--shape input_ids=1,16 --shape attention_mask=1,16" in unusable_model(run(model))
    test = only(run(model, shapes={"input_ids": [2, 5]}))
    assert test.outcome == "ok"
    assert test.facts["inputs"] == "made: input_ids int64 [2, 5], attention_mask int64 [2, 5]"
    assert "no such input" in unusable_model(run(model, shapes={"y": [2, 5]}))
    test = only(run(made_models.onnx(shape=["batch", 3])))
    assert test.facts["inputs.1"] == "the first axis of x, batch, was taken as 1"


def test_given_inputs(run: Run, site: str) -> None:
    model = made_models.onnx("Sqrt", shape=["n"])
    arrays(site, "in.npz", x=[1.0, 4.0])
    test = only(run(model, inputs="in.npz", record="g.npz"))
    assert test.outcome == "ok"
    arrays(site, "other.npz", x=[1.0, 9.0])
    assert "g.npz was recorded with another x than that of other.npz" in unusable_model(
        run(model, inputs="other.npz", golden="g.npz")
    )
    arrays(site, "negative.npz", x=[-1.0, 4.0])
    test = only(run(model, inputs="negative.npz"))
    assert (test.outcome, known(test.error)) == ("wrong", "1 of 2 values of y are NaN")
    arrays(site, "shape.npz", x=[[1.0]])
    assert "x has shape [1, 1], the model wants [n]" in unusable_model(run(model, inputs="shape.npz"))
    arrays(site, "more.npz", x=[1.0], y=[1.0])
    assert "more.npz has y, the model has no such input, it has x" in unusable_model(run(model, inputs="more.npz"))


def test_what_the_runtime_refuses_is_a_failure_of_its_own(run: Run) -> None:
    """Not an unusable file: another release would load it."""
    report = run(made_models.onnx(opset=99))
    assert (only(report).outcome, known(only(report).stage)) == ("failed", "load")
    assert unusable_model(report) == ""
