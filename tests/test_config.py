"""The configuration: where it is found, what it may say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envcheck.config import FAIL_ON, KEYS, ConfigError, Settings, describe, load


def settings(folder: Path) -> dict[str, object]:
    found = load(str(folder))
    return {name: getattr(found, name) for name in Settings.__slots__ if name != "file"}


EMPTY = {name: getattr(Settings(), name) for name in Settings.__slots__ if name != "file"}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_nothing(top: Path) -> None:
    assert settings(top) == EMPTY


def test_everything(top: Path) -> None:
    (top / "pyproject.toml").write_text(
        """
        [tool.envcheck]
        select = ["driver-too-old", "numpy-abi"]
        fail-on = "warning"
        strict = true
        matrix-path = ["a.toml", "/b.toml"]
        timeout = 5
        declare = ["gpu", "Torch"]
        import = true
        [tool.envcheck.assume]
        driver = "535.104.05"
        gpu = ["Tesla T4", "Tesla T4"]
        [tool.envcheck.ignore]
        numpy-abi = "ticket 7"
        """
    )
    assert settings(top) == {
        "select": ("driver-too-old", "numpy-abi"),
        "ignore": {"numpy-abi": "ticket 7"},
        "fail_on": "warning",
        "strict": True,
        "matrix_path": (os.path.join(top, "a.toml"), "/b.toml"),
        "timeout": 5.0,
        "declare": ("gpu", "torch"),
        "imports": True,
        "assume": {"driver": ("535.104.05",), "gpu": ("Tesla T4", "Tesla T4")},
        "assumed_by": "pyproject.toml",
        "smoke": False,
    }
    assert load(str(top)).file == str(top / "pyproject.toml")


def test_the_nearest_file_counts(top: Path) -> None:
    below = top / "a" / "b"
    below.mkdir(parents=True)
    (top / "envcheck.toml").write_text("strict = true")
    assert load(str(below)).strict
    (top / "a" / "pyproject.toml").write_text("[project]\nname = 'envcheck-user'\n")  # no table of ours
    assert load(str(below)).strict
    (top / "a" / "pyproject.toml").write_text("[tool.envcheck]\ntimeout = 3\n")
    assert not load(str(below)).strict
    assert load(str(below)).timeout == 3
    (top / "a" / "envcheck.toml").write_text("[envcheck]\ntimeout = 4\n")
    assert load(str(below)).timeout == 4
    (below / ".git").mkdir()
    assert settings(below) == EMPTY


def test_a_pyproject_that_says_nothing_of_us_is_not_read(top: Path) -> None:
    (top / "pyproject.toml").write_text("this is no TOML")
    assert settings(top) == EMPTY


def test_a_folder_with_the_name(top: Path) -> None:
    (top / "envcheck.toml").mkdir()
    assert settings(top) == EMPTY


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_with_the_name_holds_nothing_up(top: Path) -> None:
    os.mkfifo(top / "pyproject.toml")
    assert settings(top) == EMPTY
    os.mkfifo(top / "envcheck.toml")
    with pytest.raises(ConfigError, match=r"envcheck\.toml: can't be read: this is not a file"):
        load(str(top))


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load().file == ""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fail-on = 3", "fail-on must be one of error, warning, info, never"),
        ("fail_on = 'error'", "there is no key 'fail_on'; did you mean 'fail-on'?"),
        ("zzz = 1", "there is no key 'zzz'"),
        ("select = 'numpy-abi'", "select must be a list of rule ids"),
        (
            "select = ['numpy-abj']",
            "select must be rule ids, and there is no rule 'numpy-abj'; did you mean 'numpy-abi'?",
        ),
        ("ignore = 5", "ignore must be a list of rule ids, or a table"),
        ("ignore = {numpy-abi = 5}", "ignore must be a list of rule ids, or a table"),
        ("ignore = {nope = 'x'}", "ignore must be rule ids, and there is no rule 'nope'"),
        ("strict = 1", "strict must be true or false"),
        ("matrix-path = 1", "matrix-path must be a text or a list of texts"),
        ("matrix-path = ['']", "matrix-path must be a text or a list of texts"),
        ("timeout = true", "timeout must be a number of seconds above 0"),
        ("timeout = 0", "timeout must be a number of seconds above 0"),
        ("timeout = nan", "timeout must be a number of seconds above 0"),
        ("timeout = '5'", "timeout must be a number of seconds above 0"),
        ("declare = ['torch>=2']", "declare must be"),
        ("= 5", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
        ("[envcheck]\nstrict = 1", "strict must be true or false"),
        ("envcheck = 1", "envcheck must be a table"),
        ("x = " + "[" * 5000, "not TOML"),
    ],
)
def test_faults_name_file_and_key(top: Path, text: str, said: str) -> None:
    (top / "envcheck.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(top))
    assert str(caught.value).startswith(f"{top / 'envcheck.toml'}: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"# " + b"x" * (5 * 1024 * 1024)])
def test_no_text(top: Path, data: bytes) -> None:
    (top / "envcheck.toml").write_bytes(data)
    with pytest.raises(ConfigError):
        load(str(top))


def test_a_table_in_pyproject_must_be_one(top: Path) -> None:
    (top / "pyproject.toml").write_text("[tool]\nenvcheck = 5\n")
    with pytest.raises(ConfigError, match="envcheck must be a table"):
        load(str(top))
    (top / "pyproject.toml").write_text("tool = 'envcheck'\n")
    assert settings(top) == EMPTY


def test_every_key_has_a_setting_and_a_row() -> None:
    assert {name.replace("-", "_").replace("import", "imports") for name in KEYS} | {"file", "assumed_by"} == set(
        Settings.__slots__
    )
    assert describe().count("\n") == len(KEYS) + 2
    assert "error" in FAIL_ON
