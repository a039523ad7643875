"""The user's model in envcheck's own process: who runs it, what its records mean, where a recorded file goes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import made_models
import pytest

import envcheck
from envcheck.cli.smoke import nothing_ran
from envcheck.core.report import Report
from envcheck.core.snapshot import known
from envcheck.probes import collect, smoke
from envcheck.probes.host import Host, RecordedHost
from envcheck.probes.smoke_model import keep, query_model, replace, unusable_model
from envcheck.probes.smoke_options import SmokeError, SmokeOptions, options
from envcheck.probes.smoke_records import read


def judged(**given: Any) -> Report:
    """As envcheck.smoke, which raises for a model that can't be used."""
    return envcheck.check(smoke=options(**given))


def put(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def asked(path: str, *backends: str) -> str:
    return SmokeOptions(backends=backends, model={"path": path}).request()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    installed: dict[str, str] = {}
    monkeypatch.setattr(smoke, "query_backends", lambda host, kind: dict(installed))
    return installed


def test_the_first_framework_that_can_run_it_is_taken(tmp_path: Path, here: dict[str, str]) -> None:
    path = put(tmp_path, "a.onnx", made_models.onnx())
    here |= {"openvino": "o", "torch": "t"}
    assert query_model(Host(), asked(path))["backends"] == {"openvino": "o"}
    here |= {"onnxruntime": "n"}
    assert query_model(Host(), asked(path))["backends"] == {"onnxruntime": "n"}
    assert query_model(Host(), asked(path, "openvino", "onnxruntime"))["backends"] == {
        "openvino": "o",
        "onnxruntime": "n",
    }


def test_a_framework_that_can_not_run_it_is_told(tmp_path: Path, here: dict[str, str]) -> None:
    path = put(tmp_path, "a.onnx", made_models.onnx())
    here |= {"torch": "t"}
    said = query_model(Host(), asked(path))
    assert said["untested"] == {
        "onnxruntime": "a.onnx is an ONNX model, and neither onnxruntime nor openvino is installed"
    }
    said = query_model(Host(), asked(path, "torch", "openvino"))
    assert said["backends"] == {}
    assert said["untested"] == {
        "torch": "a.onnx is an ONNX model, which torch does not run: onnxruntime or openvino does",
        "openvino": "a.onnx is an ONNX model; openvino is not installed",
    }


def test_a_file_that_is_no_model_starts_nothing(tmp_path: Path) -> None:
    report = judged(model=put(tmp_path, "a.onnx", b""))
    (test,) = report.snapshot.smoke
    assert (test.outcome, known(test.stage), known(test.model)) == ("failed", "model", "a.onnx")
    assert unusable_model(report) == "a.onnx is empty"
    with pytest.raises(SmokeError, match=r"^a\.onnx is empty$"):
        envcheck.smoke(model=tmp_path / "a.onnx")
    assert nothing_ran(report) == "a.onnx is empty"


def test_a_pickle_is_never_loaded(tmp_path: Path, here: dict[str, str]) -> None:
    """Through the real child: it ends before any framework would be imported."""
    here |= {"torch": "envcheck.smoke_tests.backends.torch"}
    path = put(tmp_path, "a.pt", b"\x80\x02cposix\nsystem\nX\x05\x00\x00\x00false\x85R.")
    report = judged(model=path)
    assert unusable_model(report).startswith("a.pt holds pickled Python objects (posix.system), and loading them can")
    assert [stage.name for stage in report.snapshot.smoke[0].stages] == ["model"]


def test_safetensors_are_looked_into_without_any_framework(tmp_path: Path, here: dict[str, str]) -> None:
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    report = judged(model=put(tmp_path, "a.safetensors", made_models.safetensors(header, bytes(8))))
    (test,) = report.snapshot.smoke
    assert (test.backend, test.device, test.outcome, known(test.model)) == ("safetensors", "cpu", "ok", "a.safetensors")
    assert test.facts["tensors"] == "1"
    assert unusable_model(report) == ""
    report = judged(model=put(tmp_path, "b.safetensors", made_models.safetensors(header, bytes(4))))
    assert (
        unusable_model(report) == "b.safetensors is cut off: tensor a ends at byte 77, the file has 73: fetch it again"
    )


def test_what_is_asked_of_weights_alone(tmp_path: Path, here: dict[str, str]) -> None:
    path = put(tmp_path, "a.safetensors", made_models.safetensors({}))
    report = judged(model=path, record=tmp_path / "g.npz")
    assert unusable_model(report) == "a.safetensors holds weights and nothing to run: --record has no use"
    assert not (tmp_path / "g.npz").exists()


RECORDS: list[dict[str, Any]] = [
    {"model": "a.onnx"},
    {"says": {"version": "1.2"}},
    {"devices": [{"id": "cpu", "kind": "cpu", "name": "", "gpu": None}]},
    {"begin": "run", "device": "cpu"},
    {"end": "run", "device": "cpu", "status": "ok", "ms": 3.0, "rss": 100},
    {"check": {"device": "cpu", "operation": "y", "dtype": "float32", "status": "wrong", "difference": 0.5,
               "tolerance": 1e-3, "against": "golden.npz", "said": "1 of 6 values of y differ"}},
    {"begin": "record", "device": "cpu"},
    {"end": "record", "device": "cpu", "status": "ok", "ms": 1.0, "rss": 100},
    {"note": {"device": "cpu", "name": "golden-model", "text": "recorded with another file"}},
    {"speed": {"device": "cpu", "measure": "model", "dtype": "float32", "unit": "ms", "value": 1.5}},
    {"told": {"device": "cpu", "ran_on": "cpu", "peak_mib": 12}},
    {"done": True},
]  # fmt: skip


def test_records_of_a_model() -> None:
    (test,), left = read("onnxruntime", {"ended": "done", "seconds": 1.0, "records": RECORDS}, [])
    assert not left
    assert (known(test.model), test.outcome, known(test.error)) == ("a.onnx", "wrong", "1 of 6 values of y differ")
    assert test.checks[0].against == "golden.npz"
    assert (test.speeds[0].measure, test.speeds[0].value, test.speeds[0].unit) == ("model", 1.5, "ms")
    assert test.facts["golden-model"] == "recorded with another file"
    assert test.memory_mib == 12


def test_a_recorded_run_replays_without_the_file(tmp_path: Path) -> None:
    """Nothing is read but the recording, and nothing is written."""
    wanted = SmokeOptions(model={"path": "/gone/a.onnx", "record": str(tmp_path / "g.npz")})
    request = wanted.request()
    chosen = {"name": "a.onnx", "backends": {"onnxruntime": "m"}, "untested": {}}
    answer = {"ended": "done", "seconds": 1.0, "records": RECORDS}
    queries = {f"smoke-model {request}": chosen, f"smoke onnxruntime m {request}": answer}
    (tmp_path / "host.json").write_text(json.dumps({"platform": "linux", "env": {}, "queries": queries}))
    host = RecordedHost(str(tmp_path))
    host.smoke = wanted
    (test,) = collect(host, parts=["smoke"]).smoke
    assert (test.outcome, known(test.model)) == ("wrong", "a.onnx")
    assert not (tmp_path / "g.npz").exists()


def recording(target: Path) -> SmokeOptions:
    return SmokeOptions(model={"path": "a.onnx", "record": str(target)})


def test_what_was_recorded_goes_where_it_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "child"
    folder.mkdir()
    (folder / "golden.npz").write_bytes(b"new")
    target = tmp_path / "g.npz"
    target.write_bytes(b"old")
    answer: dict[str, Any] = {"records": [dict(record) for record in RECORDS]}
    wanted = recording(target)
    keep(str(folder), answer, wanted)
    assert target.read_bytes() == b"new"
    assert answer["records"][-1] == {"note": {"device": "cpu", "name": "recorded", "text": "g.npz"}}
    # A second child, for devices that were left, does not replace it.
    (folder / "golden.npz").write_bytes(b"second")
    keep(str(folder), answer, wanted)
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("status", ["failed", "none"])
def test_nothing_is_kept_of_a_run_that_did_not_get_there(tmp_path: Path, status: str) -> None:
    (tmp_path / "golden.npz").write_bytes(b"half")
    records = [] if status == "none" else [{"end": "record", "device": "cpu", "status": status}]
    keep(str(tmp_path), {"records": records}, recording(tmp_path / "g.npz"))
    assert not (tmp_path / "g.npz").exists()


def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "golden.npz").write_bytes(b"new")
    target = tmp_path / "gone" / "g.npz"
    answer: dict[str, Any] = {"ended": "done", "records": [dict(record) for record in RECORDS]}
    keep(str(tmp_path), answer, recording(target))
    (test,), _ = read("onnxruntime", answer, [])
    assert (test.outcome, known(test.stage)) == ("failed", "model")
    assert known(test.error) == f"{target} can't be written: No such file or directory"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "new", tmp_path / "g.npz"
    source.write_bytes(b"new")
    target.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            replace(str(source), str(target))
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["g.npz", "new"]
    replace(str(source), str(target))
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"inputs": "gone.npz"}, "inputs is not there"),
        ({"record": "gone/g.npz"}, "its folder is not there"),
        ({"record": "."}, "is a folder"),
        ({"record": "a.onnx"}, "would replace the model"),
        ({"rtol": -1.0}, "rtol is a number from 0 on"),
        ({"atol": float("nan")}, "atol is a number from 0 on"),
        ({"shapes": {"x": [1, -2]}}, "shape of x"),
        ({"golden": "g.npz", "record": "g.npz"}, "would replace the golden file"),
        ({"inputs": "g.npz", "shapes": {"x": [1]}}, "shapes have no use with inputs"),
    ],
)
def test_options_that_can_not_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "a.onnx", made_models.onnx())
    put(tmp_path, "g.npz", b"")
    with pytest.raises(SmokeError, match=said):
        options(model="a.onnx", **given)


def test_no_model_at_all_is_a_sentence() -> None:
    with pytest.raises(SmokeError, match="inputs goes with a model"):
        options(inputs="a.npz")
    with pytest.raises(SmokeError, match=r"gone\.onnx: the model is not there"):
        options(model="gone.onnx")
