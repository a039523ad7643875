"""The vendor's rules on GPU targets; families as ptxas 13.5.37 accepts PTX of each family for each GPU."""

from __future__ import annotations

import pytest

from envcheck.targets import FAMILIES, parse_target, ptx_serves, runs_on

BY_PTXAS = {
    "100f": "100 103 107",
    "103f": "103 107",
    "107f": "107",
    "110f": "110",
    "120f": "120 121",
    "121f": "121",
}
GPUS = ["75", "80", "90", "100", "103", "107", "110", "120", "121"]


@pytest.mark.parametrize("target", sorted(BY_PTXAS))
def test_families(target: str) -> None:
    served = [gpu for gpu in GPUS if ptx_serves(target, parse_target(gpu)[0])]
    assert served == BY_PTXAS[target].split()
    assert served == [gpu for gpu in GPUS if runs_on(target, parse_target(gpu)[0])]


def test_every_family_is_checked() -> None:
    assert {f"{major}{minor}f" for major, minor in FAMILIES} == set(BY_PTXAS)
