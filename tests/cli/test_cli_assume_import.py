"""``--assume`` and ``--import``: from the command line, from the configuration, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import SERVER

from envcheck import api
from envcheck.__main__ import main
from envcheck.core.snapshot import ImportTest, Snapshot


@pytest.fixture
def facts(tmp_path: Path) -> str:
    (tmp_path / "server.json").write_text(json.dumps(SERVER))
    return "server.json"


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    captured = capsys.readouterr()
    assert captured.err == ""
    report: dict[str, Any] = json.loads(captured.out)
    return report


def check(facts: str, *arguments: str) -> int:
    return main(["check", "--stack", facts, "--machine", facts, "--format", "json", *arguments])


def test_another_driver_changes_the_verdict(facts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(facts) == 1
    assert said(capsys)["findings"][0]["rule"] == "driver-too-old"
    assert check(facts, "--assume", "driver=550.54.14") == 0
    report = said(capsys)
    assert report["findings"] == []
    assert report["snapshot"]["assumed"] == [{"fact": "driver.version", "value": "550.54.14", "by": "--assume"}]


def test_two_gpus(facts: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(facts, "--assume=gpu=Tesla T4", "--assume", "gpu=NVIDIA A100-SXM4-40GB", "--assume", "driver=550.54.14")
    gpus = said(capsys)["snapshot"]["machine"]["gpus"]
    assert [gpu["compute_capability"] for gpu in gpus] == ["7.5", "8.0"]


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("drivr=550", "there is no key 'drivr'; did you mean 'driver'?"),
        ("driver", "--assume takes KEY=VALUE, such as driver=535.104.05, not 'driver'"),
        ("gpu=Tesla T44", "no GPU of our tables is called 'Tesla T44'; did you mean 'Tesla T4'?"),
        ("driver=newest", "driver must be a version such as 535.104.05, not 'newest'"),
    ],
)
def test_what_is_refused(facts: str, stated: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(facts, "--assume", stated) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1


def test_the_command_line_wins_over_the_file(facts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "envcheck.toml").write_text('[assume]\ndriver = "470.82.01"\ngpu = "Tesla T4"\n')
    assert check(facts) == 1
    assert {one["by"] for one in said(capsys)["snapshot"]["assumed"]} == {"envcheck.toml"}
    assert check(facts, "--assume", "driver=550.54.14") == 0
    found = said(capsys)["snapshot"]["assumed"]
    assert [(one["fact"], one["value"]) for one in found] == [("driver.version", "550.54.14"), ("gpus", "Tesla T4")]
    assert check(facts, "--no-config") == 1
    assert "assumed" not in said(capsys)["snapshot"]
    (tmp_path / "envcheck.toml").write_text('[assume]\ndrivr = "470.82.01"\n')
    assert check(facts) == 2
    assert "assume must be a table of facts: there is no key 'drivr'" in capsys.readouterr().err


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What :func:`envcheck.probes.collect` was asked for."""
    from envcheck import probes

    calls: list[dict[str, Any]] = []

    def collect(*_: object, **options: Any) -> Snapshot:
        calls.append(options)
        snapshot = Snapshot.from_facts(SERVER)
        if options["imports"]:
            snapshot.stack.imports = [ImportTest(package="torch", module="torch", outcome="crash", error="SIGSEGV")]
        return snapshot

    monkeypatch.setattr(probes, "collect", collect)
    for name in ("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "UV_CUDA_DRIVER_VERSION"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_imports_are_asked_for(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--import", "--format", "json"]) == 1
    assert asked[0]["imports"] is True
    rules = [finding["rule"] for finding in said(capsys)["findings"]]
    assert "import-failure" in rules
    main(["check", "--format", "json"])
    assert asked[1]["imports"] is False
    assert asked[0]["deadline"] - asked[1]["deadline"] > api.IMPORT_TIMEOUT - api.TIMEOUT - 10
    main(["check", "--import", "--timeout", "3"])
    assert asked[2]["deadline"] < asked[1]["deadline"]
    capsys.readouterr()
    assert main(["snapshot", "--import"]) == 0
    assert asked[3]["imports"] is True
    assert json.loads(capsys.readouterr().out)["stack"]["imports"][0]["error"] == "SIGSEGV"


def test_imports_from_the_configuration(asked: list[dict[str, Any]], tmp_path: Path, facts: str) -> None:
    (tmp_path / "envcheck.toml").write_text('import = true\n[assume]\ndriver = "550.54.14"\n')
    main(["check"])
    assert [call["imports"] for call in asked] == [True]
    assert check(facts) == 0  # of a stack from elsewhere nothing is imported


def test_imports_of_what_is_elsewhere(facts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--import", "--stack", facts]) == 2
    assert "--import tests this Python environment on this machine" in capsys.readouterr().err
    with pytest.raises(ValueError, match="only of the stack of here"):
        api.check(SERVER, imports=True)


def test_variables_of_others(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UV_CUDA_DRIVER_VERSION", "550.54.14")
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.4")
    assert main(["check"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "assumed driver.version 550.54.14 (UV_CUDA_DRIVER_VERSION); driver.cuda 12.4 (CONDA_OVERRIDE_CUDA)" in text
