"""CUDA_VISIBLE_DEVICES: the vendor's examples, and agreement with the parser of PyTorch, which mimics libcuda."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Gpu, MigDevice
from envcheck.facts.gpus import GpuView
from envcheck.facts.visible import Visible, evaluate, leading_number


def view(index: int, name: str = "Tesla T4", **raw: Any) -> GpuView:
    gpu = Gpu(index=index, vendor="nvidia", name=name, uuid=f"GPU-{index:012x}", **raw)
    return GpuView(index, name, "7.5", 15109, 15000, True, gpu, Evidence(name, "test"))


THREE = [view(0), view(1), view(2)]


def left(value: str | None, gpus: list[GpuView] | None = None, *, compared: bool = True) -> Visible:
    return evaluate(value, THREE if gpus is None else gpus, uuids_compared=compared)


@pytest.mark.parametrize(
    ("value", "indexes"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("2,1", [2, 1]),
        ("0,2,-1,1", [0, 2]),
        ("0,5,1", [0]),
        ("3", []),
        ("0,0", []),
        ("0,1,0", []),
        ("0,7,7", [0]),
        ("1gpu2,2ampere", [1, 2]),
        (" 1 , 0 ", [1, 0]),
        ("+2", [2]),
        ("-0", [0]),
        ("-0,-2,1", [0]),
        ("+-0", []),
        ("0,", [0]),
        (",0", []),
        ("0,,1", [0]),
        ("0,GPU-000000000001", [0]),
        ("0x1", [0]),
        ("99999999999999999999", []),
    ],
)
def test_indexes(value: str | None, indexes: list[int]) -> None:
    assert [gpu.index for gpu in left(value).gpus] == indexes


@pytest.mark.parametrize(
    ("value", "indexes", "bad"),
    [
        ("GPU-000000000001", [1], None),
        ("GPU-000000000001,GPU-000000000000", [1, 0], None),
        ("GPU-000000000001,0", [1], "0"),
        ("GPU-000000000001,GPU-000000000001", [], "GPU-000000000001"),
        ("GPU-000000000001,GPU-ffffffffffff,GPU-000000000000", [1], "GPU-ffffffffffff"),
    ],
)
def test_uuids(value: str, indexes: list[int], bad: str | None) -> None:
    found = left(value)
    assert ([gpu.index for gpu in found.gpus], found.bad, found.sure) == (indexes, bad, True)


def test_the_beginning_of_a_uuid_fits_one_gpu_only() -> None:
    gpus = [view(0, uuid_prefixes=["GPU-aaaa"]), view(1, uuid_prefixes=["GPU-aaaa", "GPU-bbbb"])]
    assert [gpu.index for gpu in left("GPU-bbbb", gpus).gpus] == [1]
    both = left("GPU-aaaa", gpus)
    assert (both.gpus, both.bad) == ([], "GPU-aaaa")


def test_a_uuid_that_nobody_compared_is_not_called_wrong() -> None:
    found = left("GPU-ffffffffffff", compared=False)
    assert (len(found.gpus), found.bad, found.sure) == (1, None, False)


def test_mig_instances() -> None:
    devices = [
        MigDevice(uuid="MIG-000000000001", uuid_prefixes=["MIG-aaaa"], profile="3g.20gb", memory_mib=19968),
        MigDevice(uuid="MIG-000000000002", profile="1g.5gb", memory_mib=4864),
    ]
    gpus = [view(0, "NVIDIA A100", mig="enabled", mig_instances=2, mig_devices=devices), view(1)]
    (named,) = left("MIG-000000000002", gpus).gpus
    assert (named.name, named.memory_mib) == ("NVIDIA A100 MIG 1g.5gb", 4864)
    (by_prefix,) = left("MIG-aaaa,MIG-000000000002", gpus).gpus
    assert by_prefix.memory_mib == 19968, "a process uses one instance"
    assert left("MIG-ffffffffffff", gpus).bad == "MIG-ffffffffffff"
    first, second = left(None, gpus).gpus
    assert (first.memory_mib, second.memory_mib) == (19968, 15109)
    (old,) = left("MIG-GPU-0123456789ab/1/0", [view(0, "A100 MIG 1g.5gb")], compared=True).gpus
    assert old.name == "A100 MIG 1g.5gb"


def torch_parse(value: str) -> list[int]:
    """What torch.cuda._parse_visible_devices gives for a list that does not begin with a UUID."""

    def strtoul(text: str) -> int:
        if not text:
            return -1
        stop = 0
        for index, letter in enumerate(text):
            if not (letter.isdigit() or (index == 0 and letter in "+-")):
                break
            stop = index + 1
        try:
            return int(text[:stop]) if stop > 0 else -1
        except ValueError:
            return -1  # a sign alone: PyTorch raises

    found: list[int] = []
    for element in value.split(","):
        number = strtoul(element.strip())
        if number in found:
            return []
        if number < 0:
            break
        found.append(number)
    return found


@given(st.text("0123456789,-+ gx", max_size=12))
def test_the_same_as_pytorch(value: str) -> None:
    numbers = torch_parse(value)
    # PyTorch looks up none of the numbers; libcuda ends the list at the first that is no device.
    wanted: list[int] = []
    for number in numbers:
        if number > 2:
            break
        wanted.append(number)
    if len(set(numbers)) == len(numbers) and numbers:
        assert [gpu.index for gpu in left(value).gpus] == wanted


@given(st.text(max_size=40))
def test_any_text(value: str) -> None:
    assert leading_number(value) >= -1
    for compared in (False, True):
        found = left(value, compared=compared)
        assert len(found.gpus) <= 3
        assert found.bad is None or found.why
