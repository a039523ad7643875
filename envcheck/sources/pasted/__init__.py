"""Facts from reports that people paste: one file for each kind of report.

Each has ``read(text) -> dict | None``: sparse facts, as :meth:`envcheck.Snapshot.from_facts` takes them, or None when
the text holds no such report. The text is what :func:`envcheck.sources.pasted.lines.plain` makes of a paste.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot

READERS: tuple[str, ...] = (
    "collect_env", "onnxruntime_info", "jax_info", "openmmlab_env", "huggingface_env", "extension_info",
    "tensorflow_env", "pip_list", "conda_list", "nvidia_smi", "nvcc", "lscpu", "linux_system", "windows_system",
    "issue_form",
)  # fmt: skip
"""Modules of this package, the most telling first: what one states counts before what a later one does."""

ADDED: tuple[str, ...] = ("banners",)
"""Readers of what ordinary logs hold too: they add to a report, and are none by themselves."""


def facts_from_text(text: str) -> dict[str, Any] | None:
    """Sparse facts that the reports in a text state; None when it holds none. Never raises."""
    from envcheck.sources.pasted.lines import plain

    text = plain(text)
    found: dict[str, Any] = {}
    for name in (*READERS, *ADDED):
        if name in ADDED and not found:
            break
        module = __import__(f"{__name__}.{name}", fromlist=("read",))
        for key, value in (module.read(text) or {}).items():
            if key == "gpus":
                found[key] = _same_gpus(found[key], value) if key in found else value
            elif isinstance(value, dict) and isinstance(found.get(key), dict):
                found[key] = {**value, **found[key]}
            else:
                found.setdefault(key, value)
    return found or None


def _same_gpus(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lists of the same GPUs complete each other; nvidia-smi's table cuts names off."""
    if len(first) != len(second):
        return first
    joined = []
    for one, other in zip(first, second, strict=True):
        entry = {**other, **one}
        if str(one.get("name", "...")).endswith("...") and "name" in other:
            entry["name"] = other["name"]
        joined.append(entry)
    return joined


def snapshot_from_text(text: str) -> Snapshot | None:
    """What the reports in a text state; None when it holds none. Never raises."""
    found = facts_from_text(text)
    if not found:
        return None
    from envcheck.core.snapshot import Snapshot, SnapshotError

    try:
        return Snapshot.from_facts(found)
    except SnapshotError:
        return None
