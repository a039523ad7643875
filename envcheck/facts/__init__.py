"""Facts that rules ask for by name: views on the snapshot, joined with the matrix where needed. No I/O, no verdicts.

A provider is a function of :class:`Facts` that returns a value, :class:`~envcheck.core.snapshot.Absent` or
:class:`~envcheck.core.snapshot.Unknown`. Each is computed at most once per check, and only when a rule asks for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from envcheck.core.snapshot import Snapshot

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

PROVIDERS = {
    # name: module below envcheck.facts; the function has the name of the fact
    "system": "basics",
    "arch": "basics",
    "wsl": "basics",
    "on_mac": "basics",
    "platform": "basics",
    "userland": "basics",
    "glibc": "basics",
    "in_container": "basics",
    "python_version": "basics",
    "packages": "basics",
    "unread_folders": "basics",
    "env": "basics",
    "cpu_flags": "basics",
    "driver": "driver",
    "drift_ground": "driver",
    "gpus": "gpus",
    "has_gpu": "gpus",
    "visibility": "gpus",
    "visible_gpus": "gpus",
    "amd_gpus": "makers",
    "intel_gpus": "makers",
    "rocm_builds": "users",
    "unserved_builds": "users",
    "xpu_builds": "users",
    "rocm_code": "makers",
    "builds": "builds",
    "cuda_builds": "builds",
    "gpu_code": "gpu_code",
    "cuda_users": "users",
    "libraries": "libraries",
    "toolkit": "basics",
    "model": "basics",
    "imports": "basics",
    "smoke": "basics",
    "model_or_smoke": "basics",
    "gpus_or_smoke": "gpus",
    "smoked": "basics",
    "wheels": "wheels",
    "wheel_platforms": "wheels",
    "requirements": "requirements",
    "unmet": "requirements",
}
"""Every fact that a rule can name, and the module that provides it."""


class Facts:
    """Lazily computed facts of one snapshot."""

    def __init__(self, snapshot: Snapshot, matrix: Matrix) -> None:
        self.snapshot = snapshot
        self.matrix = matrix
        self._known: dict[str, Any] = {
            "snapshot": snapshot,
            "matrix": matrix,
            "machine": snapshot.machine,
            "stack": snapshot.stack,
            "built_on": snapshot.built_on,
        }

    def get(self, name: str) -> Any:
        """A fact by name. Raises KeyError for a name that nobody provides."""
        if name not in self._known:
            module = "envcheck.facts." + PROVIDERS[name]
            __import__(module)
            self._known[name] = getattr(sys.modules[module], name)(self)
        return self._known[name]
