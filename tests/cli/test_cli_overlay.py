"""A user's own tables through the command line: paths that are no files, what they count from, how rows are cited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envcheck.__main__ import main

FLOOR = '[table]\nid = "cuda-floors"\n[[row]]\nmajor = "12"\nlinux_min = "600.1"\nwindows_min = "601.1"\n'
LAB = '[source.lab]\ntitle = "What the lab measured"\nurl = "https://lab.example/1"\nas_of = 2026-11-01\n'
STACK = {
    "os": {"system": "Linux"},
    "driver": {"version": "550.54.14"},
    "gpus": [{"name": "Tesla V100-SXM2-32GB", "compute_capability": "7.0", "memory_mib": 32768}],
    "packages": {"torch": "2.5.1+cu124"},
}


def make(name: str) -> None:
    if name == "fifo.toml":
        os.mkfifo(name)
    elif name == "folder":
        Path(name).mkdir()
        Path(name, "own.toml").write_text(FLOOR)
    elif name == "loop.toml":
        Path(name).symlink_to(name)
    elif name == "binary.toml":
        Path(name).write_bytes(b"\x7fELF\x02\x01\x00\xff\xfe" * 100)
    elif name == "nulls.toml":
        Path(name).write_bytes(b"\0" * 100)
    elif name == "huge.toml":
        with Path(name).open("wb") as file:
            file.truncate(1 << 33)  # takes no space on the disk
    elif name == "secret.toml":
        Path(name).write_text(FLOOR)
        Path(name).chmod(0)


@pytest.mark.skipif(sys.platform == "win32", reason="these kinds of file are POSIX's")
@pytest.mark.parametrize("command", [["matrix", "cuda", "12"], ["check", "--stack", "server.json", "--no-config"]])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fifo.toml", "this is a pipe or a device, not a file"),
        ("/dev/zero", "this is a pipe or a device, not a file"),
        ("folder", "this is a directory; name a file in it"),
        ("loop.toml", "symbolic links"),
        ("binary.toml", "this is no text in UTF-8 (byte 7)"),
        ("nulls.toml", "not TOML: "),
        ("huge.toml", "larger than 2 MiB"),
        ("secret.toml", "Permission denied"),
        ("absent.toml", "No such file"),
        ("server.json/own.toml", "Not a directory"),
        ("", "'': No such file"),
    ],
)
def test_one_sentence_and_no_hang(
    name: str, says: str, command: list[str], server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(name)
    if name == "secret.toml" and os.access(name, os.R_OK):
        pytest.skip("this user may read everything")
    assert main([*command, "--matrix-path", name]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    (line,) = caught.err.splitlines()
    assert line.startswith(f"envcheck: {name}")
    assert says in line


def test_a_path_in_pyproject_counts_from_there(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.envcheck]\nmatrix-path = "ci/own.toml"\n')
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "own.toml").write_text(FLOOR)
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / "s.json").write_text(json.dumps(STACK))
    done = subprocess.run(
        [sys.executable, "-m", "envcheck", "check", "--stack", "s.json", "--machine", "s.json", "--format", "json"],
        cwd=tmp_path / "src" / "deep",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    (finding,) = [each for each in json.loads(done.stdout)["findings"] if each["rule"] == "driver-too-old"]
    assert "600.1" in finding["message"]
    assert any("own.toml" in str(each["source"]) for each in finding["evidence"])


def test_rows_that_replace_ours_are_cited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.json").write_text(json.dumps(STACK))
    (tmp_path / "own.toml").write_text(LAB + FLOOR + 'source = "lab"\nas_of = 2026-11-02\n')
    command = ["check", "--stack", "s.json", "--machine", "s.json", "--format", "json"]
    assert main(command) == 0
    assert not json.loads(capsys.readouterr().out)["findings"]
    assert main([*command, "--matrix-path", "own.toml"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    (cited,) = [each for each in finding["evidence"] if each["source"] == "What the lab measured"]
    assert cited["url"] == "https://lab.example/1"
    assert cited["as_of"] == "2026-11-02"
    # One broken file, and the good one is not used either.
    (tmp_path / "bad.toml").write_text('[[row]]\ntable = "cuda-floors"\nmajor = "13"\ncolour = "red"\n')
    assert main([*command, "--matrix-path", "own.toml", "--matrix-path", "bad.toml"]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err == "envcheck: bad.toml: row 1: unknown column colour\n"
