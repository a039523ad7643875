"""Hypothesis: the same examples at every run in CI, so that a change is judged and not its luck; new ones elsewhere."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The size of the fault matrix (tests/faults), and what of it has run."""
    rows = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    ran = [report for report in rows if report.when == "call" and "test_fault_matrix.py::test_fault[" in report.nodeid]
    if ran:
        size = next((value for report in rows for name, value in report.user_properties if name == "fault matrix"), "?")
        green = sum(report.passed for report in ran)
        terminalreporter.write_line(f"fault matrix: {size} cases; {len(ran)} of them run, {green} as they should be")
