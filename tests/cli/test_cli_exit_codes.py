"""Exit codes, and that text, JSON and exit code agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample_reports

from envcheck import api
from envcheck.__main__ import main
from envcheck.core.report import Finding, Report


def low_confidence() -> Report:
    """An error that we are not sure of."""
    report = sample_reports.ok()
    report.verdict = "inconclusive"
    report.findings = [Finding(rule="x", severity="error", confidence="low", subject="s", message="m")]
    return report


def with_warning() -> Report:
    report = sample_reports.ok()
    report.findings = [Finding(rule="x", severity="warning", confidence="high", subject="s", message="m")]
    return report


REPORTS = {**sample_reports.ALL, "low": low_confidence, "warning": with_warning}


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("ok", [], 0),
        ("ok", ["--strict"], 0),
        ("problem", [], 1),
        ("problem", ["--strict"], 1),
        ("problem", ["--fail-on", "never"], 0),
        ("problem", ["--fail-on", "never", "--strict"], 0),
        ("problem", ["--fail-on=warning"], 1),
        ("inconclusive", [], 0),
        ("inconclusive", ["--strict"], 3),
        ("inconclusive", ["--strict", "--fail-on=never"], 3),
        ("low", [], 0),
        ("low", ["--strict"], 3),
        ("low", ["--fail-on", "warning"], 1),
        ("warning", [], 0),
        ("warning", ["--fail-on=warning"], 1),
        ("warning", ["--fail-on=info"], 1),
        ("warning", ["--fail-on=error"], 0),
    ],
)
@pytest.mark.parametrize("start", [[], ["check"]])
def test_exit_code(
    name: str, options: list[str], code: int, start: list[str], says: Callable[[Report], None], capsys: Any
) -> None:
    says(REPORTS[name]())
    assert main([*start, *options]) == code
    text = capsys.readouterr()
    assert main([*start, *options, "--format", "json"]) == code
    shown = capsys.readouterr()
    assert text.err == shown.err == ""
    assert json.loads(shown.out)["verdict"] == REPORTS[name]().verdict
    assert text.out.split()[1].rstrip(":") == REPORTS[name]().verdict


def test_a_real_check_of_facts(server: str, capsys: Any) -> None:
    options = ["--stack", server, "--machine", server]
    assert main(["check", *options, "--format=json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert report["findings"][0]["rule"] == "driver-too-old"
    assert main([*options, "--select", "glibc-too-old"]) == 0
    assert main([*options, "--select", "driver-too-old", "--ignore", "driver-too-old"]) == 0
    shown = capsys.readouterr().out
    assert "reason: given with --ignore" in shown
    assert "1 ignored" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fail-on", "sometimes"], "'sometimes' is not one of"),
        (["--select", ""], "--select takes rule ids, not an empty text"),
        (["--ignore", " , "], "--ignore takes rule ids, not an empty text"),
        (["--select", "driver-too-odl"], "there is no rule 'driver-too-odl'; did you mean 'driver-too-old'?"),
        (["check", "--ignore", "driver-too-old,nope"], "there is no rule 'nope'"),
        (["--no-such-option"], "No such option"),
        (["no-such-command"], "No such command"),
        (["--timeout", "0"], "a number of seconds above 0"),
        (["--timeout", "nan"], "a number of seconds above 0"),
        (["--timeout", "soon"], "soon"),
        (["--timeout"], "requires an argument"),
        (["--stack", "-", "--machine", "-"], "not both"),
        (["--stack", "nowhere.json"], "nowhere.json: there is no such file"),
        (["check", "--machine", "."], "folder"),
        (["check", "extra"], "unexpected extra argument"),
        (["diff", "here"], "Missing argument"),
        (["diff", "-", "-"], "not both"),
        (["diff", "nowhere.json", "nowhere.json"], "there is no such file"),
        (["--strict", "diff", "a", "b"], "--strict is no option of 'diff'"),
        (["explain", "driver-to-old"], "did you mean 'driver-too-old'?"),
        (["explain", "qqq"], "see envcheck rules"),
        (["snapshot", "-o", "nowhere/x.json"], "nowhere/x.json: can't be written"),
        (["snapshot", "-o", "."], "this is a folder"),
        (["snapshot", "--timeout", "-1"], "above 0"),
        (["--matrix-path", "nowhere.toml", "--stack", "server.json", "--machine", "server.json"], "nowhere.toml"),
    ],
)
def test_wrong_usage(
    arguments: list[str], said: str, server: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "snapshot", lambda **_: sample_reports.server())
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.startswith("envcheck: ")
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err


def test_an_error_of_ours_is_a_sentence_too(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(api, "check", broken)
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(
        "envcheck: an error inside envcheck, please report it: ZeroDivisionError: by zero at test_cli"
    )
    assert shown.count("\n") == 1
    monkeypatch.setenv("ENVCHECK_TRACEBACK", "1")
    assert main([]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interrupted(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "check", interrupted)
    assert main([]) == 130
    assert main(["--verbose", "check"]) == 130
    assert capsys.readouterr() == ("", "")


def test_configuration(says: Callable[[Report], None], capsys: Any, tmp_path: Path) -> None:
    says(with_warning())
    (tmp_path / "envcheck.toml").write_text('fail-on = "warning"\n')
    assert main([]) == 1
    assert main(["--fail-on", "error"]) == 0
    assert main(["--no-config"]) == 0
    capsys.readouterr()
    (tmp_path / "envcheck.toml").write_text("fail-on = true\n")
    assert main([]) == 2
    assert "envcheck.toml: fail-on must be one of error, warning, info, never" in capsys.readouterr().err


def test_ignored_by_the_configuration(server: str, capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.envcheck.ignore]\ndriver-too-old = "ticket 12"\n')
    options = ["--stack", server, "--machine", server, "--format", "json"]
    main(options)
    report = json.loads(capsys.readouterr().out)
    assert [finding["rule"] for finding in report["ignored"]] == ["driver-too-old"]
    assert report["ignored"][0]["evidence"][-1] == {"fact": "ticket 12", "source": "configuration"}
    assert "driver-too-old" not in [finding["rule"] for finding in report["findings"]]
    # What is asked for by name on the command line is not ignored.
    assert main([*options, "--select", "driver-too-old"]) == 1
    assert json.loads(capsys.readouterr().out)["ignored"] == []
    # Without a reason, it says where it is listed.
    (tmp_path / "pyproject.toml").write_text('[tool.envcheck]\nignore = ["driver-too-old"]\n')
    main(options)
    fact = json.loads(capsys.readouterr().out)["ignored"][0]["evidence"][-1]["fact"]
    assert fact.startswith("listed in ")
    assert fact.endswith("pyproject.toml, without a reason")
