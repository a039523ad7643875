"""Arbitrary bytes in the place of anything that a probe reads: no probe fails, no rule crashes, nothing else is lost.

Every recorded machine is replayed with one file, folder, command or query spoilt. A short run is part of the suite;
ENVCHECK_FUZZ_EXAMPLES=100000 makes it a long one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import envcheck
from envcheck.core.snapshot import Snapshot
from envcheck.probes import PROBES, collect
from envcheck.probes.host import Ran, RecordedHost

MACHINES = sorted(path for path in (Path(__file__).parents[1] / "machines").iterdir() if path.is_dir())
EXAMPLES = int(os.environ.get("ENVCHECK_FUZZ_EXAMPLES", "300"))

Spoil = Callable[[bytes], bytes]


class SpoiltHost(RecordedHost):
    """A recorded machine; what is asked under ``victim`` (``kind name``) comes spoilt. Keeps what was asked."""

    def __init__(self, folder: str, victim: str = "", spoil: Spoil = bytes) -> None:
        super().__init__(folder)
        self.victim, self.spoil = victim, spoil
        self.asked: dict[str, None] = {}

    def _is_victim(self, key: str) -> bool:
        self.asked[key] = None
        return key == self.victim

    def _text(self, text: str) -> str:
        return self.spoil(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _bytes(self, path: str, limit: int) -> bytes:
        data = super()._bytes(path, limit)
        return self.spoil(data)[:limit] if self._is_victim(f"file {path}") else data

    def listdir(self, path: str) -> list[str]:
        names = super().listdir(path)
        if self._is_victim(f"folder {path}"):
            # What no file can be called is not in a folder.
            names = [name for name in self._text("\n".join(names)).split("\n") if name and not set(name) & set("/\0")]
        return names

    def run(self, argv: Sequence[str], timeout: float = 10.0, env: Mapping[str, str] | None = None) -> Ran:
        ran = super().run(argv, timeout, env)
        if ran.status == "done" and self._is_victim("command " + " ".join(argv)):
            return replace(ran, stdout=self._text(ran.stdout), stderr=self._text(ran.stderr))
        return ran

    def query(self, name: str, *arguments: str) -> Any:
        value = super().query(name, *arguments)
        return self._spoil_texts(value) if self._is_victim(" ".join(("query", name, *arguments))) else value

    def _spoil_texts(self, value: Any) -> Any:
        """Foreign text is in the strings of an answer; its shape is our own."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._spoil_texts(item) for item in value]
        if isinstance(value, dict):
            return {key: self._spoil_texts(item) for key, item in value.items()}
        return value


@cache
def asked(machine: Path) -> tuple[str, ...]:
    host = SpoiltHost(str(machine))
    collect(host)
    return tuple(sorted(host.asked))


@st.composite
def spoils(draw: st.DrawFn) -> Spoil:
    """Replace all, cut, insert, repeat, or put odd numbers and signs in the place of what is there."""
    kind = draw(st.sampled_from(("replace", "cut", "insert", "repeat", "numbers", "lines")))
    more = draw(
        st.binary(max_size=200) | st.sampled_from((b"\0", b"\xff\xfe", b":", b"\n\n", b"=", b"," * 50, b"9" * 5000))
    )
    place = draw(st.floats(0, 1))

    def spoil(data: bytes) -> bytes:
        at = int(len(data) * place)
        if kind == "replace":
            return more
        if kind == "cut":
            return data[:at]
        if kind == "insert":
            return data[:at] + more + data[at:]
        if kind == "repeat":
            return data[:at] + data[at : at + 64] * 200 + data[at:]
        if kind == "lines":
            lines = data.split(b"\n")
            return b"\n".join(lines[::-1]) + more
        return b"".join(
            more[:20] or b"-1" if byte in b"0123456789" and place * 7 % 1 < 0.5 else bytes((byte,))
            for byte in data[:2000]
        )

    return spoil


def crashed(snapshot: Snapshot) -> list[str]:
    places = {(probe.name, f"{probe.module}.{probe.function}") for probe in PROBES}
    return [run.detail for run in snapshot.probes if run.status == "failed" and (run.probe, run.where) in places]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_nothing_is_spoilt_at_first(machine: Path) -> None:
    assert len(asked(machine)) > 10
    assert not crashed(collect(SpoiltHost(str(machine))))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), machine=st.sampled_from(MACHINES), spoil=spoils())
def test_what_is_read_may_be_anything(data: st.DataObject, machine: Path, spoil: Spoil) -> None:
    victim = data.draw(st.sampled_from(asked(machine)))
    snapshot = collect(SpoiltHost(str(machine), victim, spoil))
    assert not crashed(snapshot)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    report = envcheck.check(snapshot)
    assert [outcome for outcome in report.outcomes if outcome.status == "crash"] == []
