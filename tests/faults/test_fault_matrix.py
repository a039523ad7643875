"""The fault matrix: whatever fails, the report is whole, in time and honest, and nothing is left behind.

    ENVCHECK_FAULTS=all python -m pytest tests/faults -n 8

runs all of it; without the variable a fixed sample runs that has every call and every way to fail.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_cases import Case, matrix, sample
from fault_run import healthy, judge, run, tables, with_torch

from envcheck.api import check

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc") or not Path(sysconfig.get_path("include"), "Python.h").is_file(),
    reason="the stand-in driver needs Linux, a C compiler and Python.h",
)

EVERY = matrix()
CHOSEN = EVERY if os.environ.get("ENVCHECK_FAULTS") == "all" else sample(EVERY, 190)


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_fault(case: Case) -> None:
    faults = judge(case, run(case), healthy(bool(case.module)))
    assert not faults, "\n".join(faults)


def test_all_is_well_without_a_fault() -> None:
    """What the matrix compares with knows everything, and a CUDA build works there."""
    result = run(Case("healthy", "healthy", {}))
    assert not judge(Case("healthy", "healthy", {}), result, healthy())
    gpus = [path for path in result.facts if path.startswith("machine.gpus")]
    unknown = [path for path in gpus if str(result.facts[path]).startswith("{'fact': 'unknown'")]
    assert len(gpus) > 50
    assert not unknown
    assert check(with_torch(result.snapshot), matrix=tables()).verdict == "ok"


def test_the_size(record_property: Callable[[str, object], None]) -> None:
    record_property("fault matrix", len(EVERY))
    assert len({str(case) for case in EVERY}) == len(EVERY) > 2000
