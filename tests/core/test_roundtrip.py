"""Every snapshot survives JSON, and reads the same however it is written."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.core.snapshot import SCHEMA, Absent, Machine, ProbeRun, Snapshot, SnapshotError, Unknown

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
whys = texts | st.sampled_from(["not stated", ""])
INTEGERS = st.integers(-(2**53), 2**53)


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field, from its type: a new part or field is generated as soon as it exists."""
    if kind in (Absent, Unknown):
        return st.builds(kind, whys)
    if kind is str:
        return texts
    if kind is bool:
        return st.booleans()
    if kind is int:
        return INTEGERS
    if kind is float:
        return st.floats(0, 1e6)
    if kind is type(None):
        return st.none()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct(kind)
    arguments = get_args(kind)
    if getattr(kind, "__origin__", None) is list:
        return st.lists(strategy(arguments[0]), max_size=2)
    if getattr(kind, "__origin__", None) is dict:
        return st.dictionaries(strategy(arguments[0]), strategy(arguments[1]), max_size=2)
    return st.one_of([strategy(argument) for argument in arguments])


def struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    fields = {name: strategy(hints[name]) for name in kind.__struct_fields__ if name != "schema"}
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    return st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name in required},
        optional={name: value for name, value in fields.items() if name not in required},
    ).map(lambda values: kind(**values))


snapshots = st.deferred(lambda: struct(Snapshot))


@settings(max_examples=200, deadline=None)
@given(snapshots, st.sampled_from([0, 1, 2]))
def test_json_round_trip(snapshot: Snapshot, indent: int) -> None:
    text = snapshot.to_json(indent=indent)
    assert Snapshot.from_json(text) == snapshot
    assert Snapshot.from_json(text.encode()) == snapshot
    assert Snapshot.from_json(text).to_json(indent=indent) == text


@settings(max_examples=100, deadline=None)
@given(snapshots)
def test_the_plain_objects_are_those_of_the_json(snapshot: Snapshot) -> None:
    assert snapshot.to_dict() == msgspec.json.decode(snapshot.to_json())


@settings(max_examples=200, deadline=None)
@given(snapshots, st.data())
def test_a_cut_snapshot_is_refused(snapshot: Snapshot, data: st.DataObject) -> None:
    text = snapshot.to_json(indent=0)
    with pytest.raises(SnapshotError, match="not a snapshot"):
        Snapshot.from_json(text[: data.draw(st.integers(0, len(text) - 1))])


def test_absent_and_unknown_stay_apart() -> None:
    for gpus in (Absent("none"), Unknown("no answer"), []):
        assert Snapshot.from_json(Snapshot(machine=Machine(gpus=gpus)).to_json()).machine.gpus == gpus


def test_the_schema_comes_first_and_is_always_there() -> None:
    assert Snapshot().to_json(indent=0).startswith(f'{{"schema":{SCHEMA},')
    assert Snapshot().to_dict()["schema"] == SCHEMA
    assert Snapshot(probes=[ProbeRun("a", "ok")]).to_json().startswith('{\n  "schema": 1,\n')
