"""Broken machines end to end: the stand-in driver, the live probes, the rules, the cause that is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envcheck.api import check
from envcheck.core.report import Report
from envcheck.core.snapshot import Absent, Package
from envcheck.probes import collect

sys.path.insert(0, str(Path(__file__).parents[1] / "standin"))
from standin_driver import StandIn, full_gpu, gpu, machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in driver is found through LD_LIBRARY_PATH")

PARTS = ("system", "python", "environment", "nvidia")
MIG = {"mig__0": "MIG-aaaa1111-0000-0000-0000-000000000000", "mig__0__slices": "1 1 4864"}


def report(folder: Path, description: dict[str, str | int], container: str | None = None, **env: str) -> Report:
    snapshot = collect(StandIn(folder, description).host(**env), parts=PARTS)
    snapshot.stack.container = container or Absent("no container")
    snapshot.stack.packages = [Package(name="torch", version="2.5.1+cu124", local="cu124")]
    return check(snapshot)


def errors(found: Report) -> list[str]:
    return [f"{one.rule}: {one.message}" for one in found.findings if one.severity == "error"]


HEALTHY = [
    (machine("550.54.15", gpu(0)), {}),
    (machine("550.54.15", full_gpu(0), full_gpu(1)), {"CUDA_VISIBLE_DEVICES": "1,0"}),
    (machine("550.54.15", full_gpu(0)), {"CUDA_VISIBLE_DEVICES": "GPU-5ebe9f43"}),
    (
        machine("550.54.15", full_gpu(0, mig=1, **MIG)),
        {"CUDA_VISIBLE_DEVICES": "MIG-aaaa1111-0000-0000-0000-000000000000"},
    ),
    (machine("550.54.15", gpu(0), nodes="nvidia0 nvidiactl"), {}),
    (machine("550.54.15", full_gpu(0, fabric="3 0"), switch=1), {}),
    (machine("550.54.15", gpu(0), denied="nvidia0"), {}),
    (machine("560.94", gpu(0), wsl=1, place="usr/lib/wsl/lib", **{"libcuda.file": "1.1"}), {}),
    (machine("550.54.15", gpu(0), missing="nvmlDeviceGetMigMode nvmlDeviceGetGpuFabricInfoV"), {}),
]


@pytest.mark.parametrize(("description", "env"), HEALTHY)
def test_healthy_machines_are_silent(tmp_path: Path, description: dict[str, str | int], env: dict[str, str]) -> None:
    found = report(tmp_path, description, **env)
    assert errors(found) == []
    assert found.verdict == "ok", [str(one) for one in found.outcomes if one.missing]


H100 = full_gpu(0, fabric="2 0")
BROKEN: list[tuple[str, dict[str, str | int], dict[str, str], str | None, str, str]] = [
    (
        "a list that ends early",
        machine("550.54.15", gpu(0), cuInit=100),
        {"CUDA_VISIBLE_DEVICES": "7"},
        None,
        "no-gpu-visible",
        "'7'",
    ),
    (
        "a UUID of another machine",
        machine("550.54.15", gpu(0), cuInit=100),
        {"CUDA_VISIBLE_DEVICES": "GPU-00ff00ff"},
        None,
        "no-gpu-visible",
        "UUID of no GPU",
    ),
    (
        "a MIG instance of yesterday",
        machine("550.54.15", full_gpu(0, mig=1, **MIG), cuInit=100),
        {"CUDA_VISIBLE_DEVICES": "MIG-bbbb1111-0000-0000-0000-000000000000"},
        None,
        "no-gpu-visible",
        "no MIG instance",
    ),
    (
        "MIG without an instance",
        machine("550.54.15", full_gpu(0, mig=1), cuInit=100),
        {},
        None,
        "no-gpu-visible",
        "MIG",
    ),
    ("no fabric manager", machine("550.54.15", H100, cuInit=802), {}, None, "no-gpu-visible", "NVSwitch fabric"),
    (
        "uvm is not loaded",
        machine("550.54.15", gpu(0), cuInit=999, nodes="nvidia0 nvidiactl"),
        {},
        None,
        "no-gpu-visible",
        "/dev/nvidia-uvm",
    ),
    ("cuInit crashes", machine("550.54.15", gpu(0), **{"cuInit.do": "segv"}), {}, None, "no-gpu-visible", "SIGSEGV"),
    (
        "no permission",
        machine("550.54.15", gpu(0), cuInit=999, denied="nvidiactl"),
        {},
        None,
        "no-gpu-visible",
        "may not use",
    ),
    (
        "a Linux driver inside WSL",
        machine("560.94", gpu(0), wsl=1, library="550.120", cuInit=100),
        {},
        None,
        "no-gpu-visible",
        "shadows",
    ),
    (
        "every GPU is lost",
        machine("550.54.15", gpu(0), cuInit=999, smi=0, **{"nvmlDeviceGetHandleByIndex_v2.error": 15}),
        {},
        None,
        "no-gpu-visible",
        "GPU is lost",
    ),
    (
        "library and module differ",
        machine("570.124.06", gpu(0), module="570.124.04", **{"nvmlInitWithFlags.error": 18}),
        {},
        None,
        "nvml-driver-mismatch",
        "570.124.04",
    ),
    (
        "a driver that was upgraded without a reboot",
        machine("550.54.15", gpu(0), library="560.35.03", cuInit=804),
        {},
        None,
        "nvml-driver-mismatch",
        "560.35.03",
    ),
    (
        "an old cuda-compat",
        machine(
            "550.54.15", full_gpu(0), cuInit=803, cuda=11080, place="cuda-11.8/compat", **{"libcuda.file": "520.61.05"}
        ),
        {},
        "docker",
        "nvml-driver-mismatch",
        "cuda-compat",
    ),
    (
        "a compute mode that lets nobody in",
        machine("550.54.15", gpu(0, mode=2)),
        {},
        None,
        "no-gpu-visible",
        "Prohibited",
    ),
    (
        "nouveau",
        machine("550.54.15", gpu(0), module="none", bound="nouveau", cuInit=100, **{"nvmlInitWithFlags.error": 9}),
        {},
        None,
        "no-gpu-visible",
        "nouveau",
    ),
]


@pytest.mark.parametrize(
    ("description", "env", "container", "rule", "words"),
    [row[1:] for row in BROKEN],
    ids=[row[0] for row in BROKEN],
)
def test_the_cause_is_named(
    tmp_path: Path,
    description: dict[str, str | int],
    env: dict[str, str],
    container: str | None,
    rule: str,
    words: str,
) -> None:
    found = report(tmp_path, description, container, **env)
    told = errors(found)
    assert found.verdict == "problem", told
    assert told[0].startswith(rule), told
    assert words in told[0], told
    assert all(one.fixes for one in found.findings if one.severity == "error")


def test_a_gpu_that_is_hidden_on_purpose_is_no_error(tmp_path: Path) -> None:
    snapshot = collect(
        StandIn(tmp_path, machine("550.54.15", gpu(0), cuInit=100)).host(CUDA_VISIBLE_DEVICES=""), parts=PARTS
    )
    snapshot.stack.container = Absent("no container")
    snapshot.stack.packages = [Package(name="torch", version="2.5.1")]
    found = check(snapshot)
    assert errors(found) == []
    assert [one.severity for one in found.findings if one.rule == "no-gpu-visible"] == ["warning"]
