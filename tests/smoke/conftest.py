"""Smoke tests with a fake framework in place of real ones, through the real children."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envcheck.core.snapshot import Snapshot
from envcheck.probes import collect
from envcheck.probes.host import Host
from envcheck.probes.smoke_options import SmokeOptions

Smoke = Callable[..., Snapshot]


@pytest.fixture
def fake_smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smoke:
    """Runs the fake backend, which an entry point adds, with the behaviours that are given."""
    place = tmp_path / "site"
    info = place / "fake_smoke-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-smoke\nVersion: 1.2.3\n")
    (info / "entry_points.txt").write_text("[envcheck.smoke_backends]\nfake = fake_smoke\n")
    shutil.copy(Path(__file__).with_name("fake_smoke.py"), place)
    monkeypatch.syspath_prepend(str(place))

    def run(behaviours: dict[str, str] | None = None, seconds: float = 20.0, **options: object) -> Snapshot:
        env = {**os.environ, "PYTHONPATH": str(place), "FAKE_SMOKE": json.dumps(behaviours or {})}
        host = Host(env=env, deadline=time.monotonic() + seconds)
        options.setdefault("backends", ["fake"])
        host.smoke = SmokeOptions(**options)  # type: ignore[arg-type]
        return collect(host, parts=["smoke"])

    return run
