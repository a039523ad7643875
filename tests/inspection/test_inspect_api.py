"""``envcheck.inspect``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import KERNELS, METADATA, made_wheel

import envcheck

V100 = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "22.04"},
    "cpu": {"arch": "x86_64", "level": "x86-64-v3"},
    "driver": {"version": "550.54.15", "cuda": "12.4"},
    "gpus": [{"name": "Tesla V100", "compute_capability": "7.0"}],
    "python": "3.11.7",
}


def test_inspect(tmp_path: Path) -> None:
    path = made_wheel(tmp_path, members=KERNELS, metadata=METADATA)
    found = envcheck.inspect(path)
    assert isinstance(found, envcheck.Inspection)
    assert found.report is None
    judged = envcheck.inspect(path, machine=V100)
    assert judged.report is not None
    assert [one.rule for one in judged.report.findings] == ["gpu-arch-too-old"]
    a100 = envcheck.inspect(path, machine=V100, assume={"gpu": "NVIDIA A100-SXM4-80GB"})
    assert a100.report is not None
    assert a100.report.verdict == "ok"


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(envcheck.InspectError):
        envcheck.inspect(tmp_path / "nosuch.so")
    (tmp_path / "x.so").write_bytes(KERNELS["kernels/lib/libkernels.so"])
    with pytest.raises(ValueError, match="wheels and libraries are judged"):
        envcheck.inspect("msgspec", machine=V100)
    with pytest.raises(envcheck.SnapshotError):
        envcheck.inspect(tmp_path / "x.so", machine=tmp_path / "nosuch.json")
