"""Recorded machines: each folder of tests/machines is replayed; its facts and the causes found must be as it says.

The name of a folder ends with ``--`` and the rules that must report an error or a warning, joined by ``+``; ``ok``
means that nothing may report an error. ``expected.json`` is a part of the snapshot: every value in it must be found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import envcheck
from envcheck.core.snapshot import Snapshot
from envcheck.probes import PROBES, collect
from envcheck.probes.host import RecordedHost

FOLDER = Path(__file__).parent / "machines"
MACHINES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def snapshots() -> dict[Path, Snapshot]:
    """Each machine is replayed once."""
    return {}


def replay(machine: Path, snapshots: dict[Path, Snapshot]) -> Snapshot:
    if machine not in snapshots:
        host = RecordedHost(str(machine))
        smoke = any(query.startswith("smoke") for query in host.queries)
        snapshots[machine] = collect(host, smoke=smoke)
    return snapshots[machine]


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where something expected is not found. Of a list of objects each must match one that is found; what stands
    in another list must be equal to it. An absent or unknown fact may be given without its ``why``.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key, value in expected.items()
            for line in (
                differences(value, found[key], f"{path}.{key}".lstrip("."))
                if key in found
                else [f"{path}.{key} is not stated".lstrip(".")]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list) and any(isinstance(item, dict) for item in expected):
        missing = [item for item in expected if all(differences(item, other) for other in found)]
        return [f"{path}: nothing found matches {item}" for item in missing]
    return [] if expected == found else [f"{path}: expected {expected!r}, found {found!r}"]


def test_there_are_machines() -> None:
    assert MACHINES


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_facts(machine: Path, snapshots: dict[Path, Snapshot]) -> None:
    snapshot = replay(machine, snapshots)
    functions = {f"{row.module}.{row.function}" for row in PROBES}
    broken = [run for run in snapshot.probes if run.status == "failed" and run.where in functions]
    assert not broken
    expected = json.loads((machine / "expected.json").read_text(encoding="utf-8"))
    assert expected, "a recording without expected facts shows nothing"
    assert differences(expected, snapshot.to_dict()) == []
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_causes(machine: Path, snapshots: dict[Path, Snapshot]) -> None:
    report = envcheck.check(replay(machine, snapshots))
    crashed = [outcome for outcome in report.outcomes if outcome.status == "crash"]
    assert not crashed
    _, dashes, named = machine.name.rpartition("--")
    assert dashes, "the name of a recording ends with --ok or --RULE"
    found = {finding.rule for finding in report.findings if finding.severity in ("error", "warning")}
    if named == "ok":
        assert [finding.message for finding in report.findings if finding.severity == "error"] == []
    else:
        assert found == set(named.split("+"))


def test_differences() -> None:
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}) == []
    assert differences({"a": [{"n": 1}]}, {"a": [{"n": 2}, {"n": 1, "m": 3}]}) == []
    assert differences({"a": {"fact": "absent"}}, {"a": {"fact": "absent", "why": "x"}}) == []
    assert differences({"a": [1]}, {"a": [1, 2]}) == ["a: expected [1], found [1, 2]"]
    assert differences({"a": {"b": 1}}, {"a": {}}) == ["a.b is not stated"]
    assert differences({"a": [{"n": 1}]}, {"a": []}) == ["a: nothing found matches {'n': 1}"]
