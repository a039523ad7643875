"""Users' models in the real torch, on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch_site import site

import envcheck
from envcheck.core.report import Report
from envcheck.core.snapshot import SmokeTest, known
from envcheck.probes.smoke_model import unusable_model
from envcheck.probes.smoke_options import options

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the wheel is for Linux")]
Run = Callable[..., Report]


def judged(**given: Any) -> Report:
    """As envcheck.smoke, which raises for a model that can't be used."""
    return envcheck.check(smoke=options(**given))


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    for folders in site():
        yield folders[0]


@pytest.fixture(scope="module")
def made(folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("make_torch_models.py")
    env = {**os.environ, "PYTHONPATH": folder}
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=models, env=env, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return models


@pytest.fixture
def run(folder: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    monkeypatch.chdir(tmp_path)
    return lambda name, **options: judged(model=made / name, devices=["cpu"], **options)


def only(report: Report) -> SmokeTest:
    (test,) = report.snapshot.smoke
    return test


@pytest.mark.parametrize("name", ["net.pt2", "batch.pt2", "net.ts", "scripted.pt"])
def test_models_run(run: Run, name: str) -> None:
    given = {"shapes": {"x": [1, 3, 8, 8]}} if not name.endswith(".pt2") else {}
    test = only(run(name, **given))
    assert (test.backend, test.device, test.outcome, known(test.ran_on)) == ("torch", "cpu", "ok", "cpu"), test.error
    assert (known(test.model), test.speeds[0].measure) == (name, "model")


def test_lab_and_server_in_two_formats(run: Run) -> None:
    assert only(run("free.pt2", shapes={"x": [2, 3, 9, 9]}, record="g.npz")).outcome == "ok"
    for name in ("free.pt2", "net.ts"):
        test = only(run(name, golden="g.npz"))
        assert test.outcome == "ok", test.error
        assert [(check.against, check.status) for check in test.checks] == [("g.npz", "ok")]


def test_outputs_by_name_and_in_bfloat16(run: Run) -> None:
    said = unusable_model(run("text.pt2"))
    assert "give --shape input_ids=2,7 --shape attention_mask=2,7" in said
    test = only(run("text.pt2", shapes={"input_ids": [2, 5]}, record="g.npz"))
    assert [(check.operation, check.dtype) for check in test.checks] == [("logits", "float32"), ("pooled", "bfloat16")]
    assert only(run("text.pt2", golden="g.npz")).outcome == "ok"


@pytest.mark.parametrize("name", ["state.pt", "checkpoint.pth", "legacy.pth"])
def test_weights(run: Run, name: str) -> None:
    test = only(run(name))
    assert (test.outcome, test.facts["tensors"], test.facts["dtypes"]) == ("ok", "9", "8 float32, 1 int64"), test.error


def test_weights_that_are_no_numbers(run: Run) -> None:
    test = only(run("nan.pt"))
    assert (test.outcome, known(test.error)) == ("wrong", "linear.bias (1) hold NaN")


def test_a_pickled_module_runs_when_it_is_trusted(run: Run) -> None:
    said = unusable_model(run("module.pt"))
    assert said.startswith("module.pt holds pickled Python objects (torch.nn.modules.linear.Linear")
    assert "--trust-pickle" in said
    assert only(run("module.pt", trust_pickle=True, shapes={"input": [1, 4]})).outcome == "ok"


@pytest.mark.parametrize("name", ["evil.pt", "evil.pth", "evil-inputs.pt2", "evil-shape.pt2"])
def test_nothing_hostile_runs(run: Run, made: Path, name: str) -> None:
    assert "--trust-pickle" in unusable_model(run(name))
    assert not (made / "RAN").exists()


@pytest.mark.parametrize("name", ["evil-inputs.pt2", "evil-shape.pt2"])
def test_it_would_have_run(run: Run, made: Path, name: str) -> None:
    """torch.export.load itself runs what is in these files."""
    try:
        run(name, trust_pickle=True)
        assert (made / "RAN").exists()
    finally:
        (made / "RAN").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["net.pt2", "net.ts", "state.pt", "legacy.pth"])
def test_what_was_cut_off(run: Run, made: Path, name: str) -> None:
    data = (made / name).read_bytes()
    (made / f"cut-{name}").write_bytes(data[: len(data) * 2 // 3])
    assert "is damaged" in unusable_model(run(f"cut-{name}")).replace("is a damaged", "is damaged")
