"""A file with a pasted report is a source like a snapshot or a facts file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import envcheck
from envcheck.core.snapshot import Package, SnapshotError
from envcheck.sources import load

SAMPLES = Path(__file__).parent / "pasted"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_report_of_nvidia_smi(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "server.txt"
    path.write_text((SAMPLES / "nvidia-smi-520-mig.txt").read_text(encoding="utf-8"), encoding=encoding)
    snapshot = load(path)
    assert snapshot.machine.nvidia.version == "520.61.05"
    assert snapshot.machine.nvidia.cuda == "11.8"
    assert [(run.status, run.detail, run.where) for run in snapshot.probes] == [
        ("ok", "read from a pasted report", str(path))
    ]


def test_a_list_of_packages(tmp_path: Path) -> None:
    path = tmp_path / "requirements.out"
    path.write_text("Package Version\n------- -----------\ntorch   2.7.0+cu128\n")
    assert load(path).stack.packages == [Package(name="torch", version="2.7.0+cu128", local="cu128")]
    report = envcheck.check(stack=str(path), machine=str(SAMPLES / "nvidia-smi-470-cut-names.txt"))
    assert [finding.rule for finding in report.findings][:1] == ["driver-too-old"]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_sample(path: Path) -> None:
    if json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) is None:
        with pytest.raises(SnapshotError, match=path.stem):
            load(path)
    else:
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        'python: "3.10"\ndriver: {version: 535.54.03}\n',
        'python = "3.10"\n[driver]\nversion = "535.54.03"\n',
        '# pip list says torch 2.0\n[driver]\nversion = "535.54.03"\n[[gpus]]\nname = "Tesla T4"\n',
        '{"driver": {"version": "535.54.03"}}',
    ],
)
def test_facts_by_hand_stay_facts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.txt"
    path.write_text(text)
    snapshot = load(path)
    assert snapshot.machine.nvidia.version == "535.54.03"
    assert snapshot.probes[0].detail == "stated by hand"


@pytest.mark.parametrize("text", ["hello", "Traceback (most recent call last):\n  File x\nKeyError: 1\n"])
def test_a_text_without_a_report_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(SnapshotError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
