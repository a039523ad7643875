"""``envcheck inspect`` as a command: output, exit codes, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "inspection"))

from made_wheel import KERNELS, METADATA, made_wheel

from envcheck.__main__ import main
from envcheck.inspection import Inspection

WHEEL = "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
A100 = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "22.04"},
    "cpu": {"arch": "x86_64", "level": "x86-64-v3"},
    "driver": {"version": "550.54.15", "cuda": "12.4"},
    "gpus": [{"name": "NVIDIA A100-SXM4-80GB", "compute_capability": "8.0"}],
    "python": "3.11.7",
}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    (tmp_path / "a100.json").write_text(json.dumps(A100))
    (tmp_path / "v100.json").write_text(
        json.dumps({**A100, "gpus": [{"name": "Tesla V100", "compute_capability": "7.0"}]})
    )
    (tmp_path / "gpu.json").write_text(json.dumps({"gpus": A100["gpus"]}))
    return made_wheel(tmp_path, WHEEL, KERNELS, METADATA)


def test_text(wheel: Path, capsys: Any) -> None:
    assert main(["inspect", wheel.name]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{WHEEL}\n  wheel kernels 1.0\n")
    assert "GPU code" in shown.out
    assert shown.err == ""


def test_json_follows_its_schema(wheel: Path, capsys: Any) -> None:
    assert main(["inspect", wheel.name, "--format", "json", "--machine", "v100.json"]) == 1
    shown = capsys.readouterr().out
    found = msgspec.json.decode(shown, type=Inspection)
    assert found.report is not None
    assert [finding.rule for finding in found.report.findings] == ["gpu-arch-too-old"]
    jsonschema = pytest.importorskip("jsonschema")
    import envcheck

    schema = Path(envcheck.__file__).parent / "schemas" / "inspection.schema.json"
    jsonschema.validate(json.loads(shown), json.loads(schema.read_text()))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--machine", "a100.json"], 0),
        (["--machine", "v100.json"], 1),
        (["--machine", "v100.json", "--fail-on", "never"], 0),
        (["--machine", "v100.json", "--ignore", "gpu-arch-too-old"], 0),
        (["--machine", "a100.json", "--assume", "gpu=Tesla V100"], 1),
        (["--machine", "a100.json", "--assume", "python=3.12"], 1),
        (["--machine", "a100.json", "--strict"], 0),
        (["--machine", "gpu.json"], 0),
        (["--machine", "gpu.json", "--strict"], 3),
        (["--machine", "nosuch.json"], 2),
        (["--format", "xml"], 2),
        (["--select", "driver-too-old"], 2),
    ],
)
def test_exit_codes(wheel: Path, capsys: Any, arguments: list[str], code: int) -> None:
    assert main(["inspect", wheel.name, *arguments]) == code, capsys.readouterr()


def test_a_machine_is_for_wheels_and_libraries(wheel: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "x.so").write_bytes(KERNELS["kernels/lib/libkernels.so"])
    assert main(["inspect", "x.so", "--machine", "a100.json"]) == 0
    assert "it can't be told: libcublas.so.12" in capsys.readouterr().out
    assert main(["inspect", "msgspec", "--machine", "a100.json"]) == 2
    assert "wheels and libraries are judged on a machine" in capsys.readouterr().err


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "nosuch", ".", "x\ny"):
        assert main(["inspect", name]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert said.err.startswith("envcheck: ")


def test_a_library_that_is_cut_off_is_shown_and_is_an_error(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "cut.so").write_bytes(KERNELS["kernels/lib/libkernels.so"][:200])
    assert main(["inspect", "cut.so"]) == 2
    assert "not read, or not in full" in capsys.readouterr().out


def test_an_installed_package(capsys: Any) -> None:
    assert main(["inspect", "msgspec"]) == 0
    shown = capsys.readouterr().out
    assert "installed package msgspec" in shown
    if sys.platform.startswith("linux"):
        assert "libc." in shown
        assert "missing" not in shown


def test_in_a_process_of_its_own(wheel: Path, envcheck: Callable[..., Any]) -> None:
    ran = envcheck("inspect", wheel.name, "--machine", "v100.json")
    assert ran.returncode == 1
    assert b"gpu-arch-too-old" in ran.stdout
    assert ran.stderr == b""


def test_help(capsys: Any) -> None:
    assert main(["inspect", "--help"]) == 0
    assert "FILE|PACKAGE" in capsys.readouterr().out
