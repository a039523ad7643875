"""Where a machine or a stack can come from when it is not here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot


def load(path: str | os.PathLike[str]) -> Snapshot:
    """A snapshot from a file: a snapshot's JSON, a report's JSON (its snapshot), facts in JSON, TOML or YAML, or the
    text of a report such as nvidia-smi's, pip's list or torch.utils.collect_env's.

    ``-`` is standard input. Raises :class:`envcheck.core.snapshot.SnapshotError` with one sentence that names the file.
    """
    from envcheck.core.snapshot import ProbeRun, Snapshot, SnapshotError
    from envcheck.core.snapshot.facts import KEYS
    from envcheck.sources.facts_file import name_of, parse_text, read_text

    path = os.fspath(path)
    name = name_of(path)
    text = read_text(path)
    by_content = not path.endswith((".json", ".toml", ".yaml", ".yml"))
    if by_content and (pasted := _pasted(text, name)) is not None:
        return pasted
    data = parse_text(text, path)
    if by_content and data and not any(key in ("schema", *KEYS) for key in data):
        raise SnapshotError(f"{name}: there are no facts in it, and no report that is known")
    try:
        if "schema" in data:
            inner: Any = data.get("snapshot")
            if isinstance(inner, dict) and "verdict" in data:
                import json

                text = json.dumps(inner)
            return Snapshot.from_json(text)
        snapshot = Snapshot.from_facts(data)
    except SnapshotError as error:
        raise SnapshotError(f"{name}: {error}") from None
    snapshot.probes.insert(0, ProbeRun("facts", "ok", "stated by hand", name))
    return snapshot


def _pasted(text: str, name: str) -> Snapshot | None:
    """What a pasted report states; None for JSON, and for facts that are written by hand."""
    from envcheck.core.snapshot.facts import KEYS

    if text.lstrip()[:1] == "{":
        return None
    words = re.findall(r"^\[{0,2}([\w-]+)", text[:100_000], re.MULTILINE)
    if words and all(word in KEYS for word in words):
        return None
    from envcheck.sources.pasted import snapshot_from_text

    snapshot = snapshot_from_text(text)
    if snapshot is not None:
        from envcheck.core.snapshot import ProbeRun

        snapshot.probes.insert(0, ProbeRun("facts", "ok", "read from a pasted report", name))
    return snapshot
