"""The state of GPUs and of their driver, asked of the stand-in: what each fact reads as, and every odd machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from envcheck.core.snapshot import Absent, Gpu, NvidiaDriver, Unknown
from envcheck.probes import nvidia, nvml_facts, nvml_state
from envcheck.probes.log import Log

sys.path.insert(0, str(Path(__file__).parents[1] / "standin"))
from standin_driver import FUNCTIONS, StandIn, fault, full_gpu, gpu, machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in driver is found through LD_LIBRARY_PATH")

Found = tuple[NvidiaDriver, list[Gpu], Log]


def probe(folder: Path, description: dict[str, str | int], **env: str) -> Found:
    log = Log()
    driver, gpus = nvidia.probe(StandIn(folder, description).host(**env), log)
    assert isinstance(gpus, list), gpus
    return driver, gpus, log


def test_everything_of_a_healthy_gpu(tmp_path: Path) -> None:
    driver, (one,), log = probe(tmp_path, machine("550.54.15", full_gpu(0), open=1))
    assert (one.ecc, one.persistence, one.compute_mode) == ("enabled", "enabled", "Default")
    assert (one.pcie.generation, one.pcie.generation_max, one.pcie.width, one.pcie.width_max) == (5, 5, 16, 16)
    assert one.throttled == Absent("nothing holds its clocks down"), "an idle GPU is not throttled"
    assert (one.used_by, one.used_by_mib, one.fabric) == (0, 0, "completed")
    assert one.virtual == Absent("no hypervisor stands before it")
    assert one.driver_model == Absent("only Windows has driver models")
    assert (driver.cu_init, driver.cuda_devices, driver.module) == (Absent("cuInit succeeded"), 1, "open")
    assert driver.nodes == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"]
    assert driver.nodes_denied == []
    assert any(run.where == "cuInit" and run.status == "ok" for run in log.runs)


def test_a_busy_gpu_that_is_slowed_down(tmp_path: Path) -> None:
    busy = full_gpu(0, throttle="0x64", process__0=f"4321 {1000 * 2**20}", process__1=f"{os.getpid()} {2**30}")
    _, (one,), _ = probe(tmp_path, machine("550.54.15", busy))
    assert one.throttled == ["SW Power Cap", "SW Thermal Slowdown", "HW Thermal Slowdown"]
    assert (one.used_by, one.used_by_mib) == (1, 1000), "our own process is not counted"


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_process_takes_another_size_in_some_releases(tmp_path: Path, size: int) -> None:
    users = full_gpu(0, process__0=f"71 {2**30}", process__1=f"72 {2**31}", process__2=f"73 {2**20}")
    _, (one,), _ = probe(tmp_path, machine("535.54.03", users, **{"process.size": size}))
    assert (one.used_by, one.used_by_mib) == (3, 1024 + 2048 + 1)


def test_a_geforce_tells_less(tmp_path: Path) -> None:
    _, (one,), _ = probe(tmp_path, machine("550.54.15", gpu(0)))
    assert one.ecc == Absent("its memory has no ECC")
    assert one.fabric == Absent("it is on no NVSwitch fabric")
    assert isinstance(one.persistence, Unknown)
    assert isinstance(one.pcie.width, Unknown)


def test_windows_shows_the_driver_model_and_no_memory_of_others(tmp_path: Path) -> None:
    _, (one,), _ = probe(tmp_path, machine("560.94", full_gpu(0, model=0, process__0="77 -1")))
    assert (one.driver_model, one.used_by) == ("WDDM", 1)
    assert isinstance(one.used_by_mib, Unknown)


@pytest.mark.parametrize(("mode", "word"), [(1, "passthrough"), (2, "vgpu"), (3, "host-vgpu")])
def test_virtual_machines(tmp_path: Path, mode: int, word: str) -> None:
    _, (one,), _ = probe(tmp_path, machine("550.54.15", full_gpu(0, virtual=mode)))
    assert one.virtual == word


def test_mixed_machine_with_mig(tmp_path: Path) -> None:
    slices = {
        "mig__0": "MIG-aaaa1111-0000-0000-0000-000000000000",
        "mig__0__name": "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "mig__0__memory": f"{19968 * 2**20} {19000 * 2**20}",
        "mig__2": "MIG-bbbb2222-0000-0000-0000-000000000000",
        "mig__2__slices": "2 1 9856",
    }
    a100 = full_gpu(0, name="NVIDIA A100-SXM4-40GB", cc="8 0", mig=1, **slices)
    _, gpus, _ = probe(tmp_path, machine("550.54.15", a100, gpu(1, name="Tesla T4", cc="7 5"), gpu(2)))
    assert [one.compute_capability for one in gpus] == ["8.0", "7.5", "8.6"]
    first, second = gpus[0].mig_devices
    assert (gpus[0].mig_instances, first.profile, first.memory_mib) == (2, "3g.20gb", 19968)
    assert second.profile == "1c.2g.10gb", "made of its slices where an older driver gives no name"
    assert isinstance(second.memory_mib, Unknown)
    assert first.uuid != second.uuid
    assert "aaaa1111" not in str(gpus)


@pytest.mark.parametrize("code", [100, 802, 803, 804, 999, 304, 46, 805])
def test_errors_of_cuinit(tmp_path: Path, code: int) -> None:
    driver, (one,), log = probe(tmp_path, machine("550.54.15", full_gpu(0), cuInit=code))
    assert isinstance(driver.cu_init, str)
    assert driver.cu_init.startswith(f"{code} CUDA_ERROR_")
    assert (driver.cuda_devices, one.ecc) == (0, "enabled")
    assert any(run.where == "cuInit" and run.status == "failed" for run in log.runs)


def test_a_crash_of_cuinit_loses_nothing(tmp_path: Path) -> None:
    driver, (one,), _ = probe(tmp_path, machine("550.54.15", full_gpu(0), fault("cuInit", "segv")))
    assert driver.cu_init == "signal 11 (SIGSEGV)"
    assert driver.nvml_error == Absent("NVML answered"), "NVML was asked before"
    assert (one.ecc, driver.cuda) == ("enabled", "12.4")


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name.startswith("nvml")])
def test_an_old_driver_without_a_function(tmp_path: Path, function: str) -> None:
    log = Log()
    driver, gpus = nvidia.probe(StandIn(tmp_path, machine("450.80.02", full_gpu(0), missing=function)).host(), log)
    assert driver.version == "450.80.02"
    if function not in ("nvmlInitWithFlags", "nvmlDeviceGetHandleByIndex_v2"):
        assert isinstance(gpus, list)
        assert gpus[0].pci_id == "10de:2330"
        assert gpus[0].used_by == 0, "the older function serves as well"
    assert driver.cuda_devices == 1


@pytest.mark.parametrize("what", ["garbage", "garbage-text", "silent"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_garbage_becomes_no_fact(tmp_path: Path, function: str, what: str) -> None:
    log = Log()
    description = machine("550.54.15", full_gpu(0), full_gpu(1, mig=1, mig__0="MIG-aaaa"), fault(function, what))
    driver, gpus = nvidia.probe(StandIn(tmp_path, description).host(), log)
    assert driver.version == "550.54.15"
    assert driver.cuda in ("12.4",) or isinstance(driver.cuda, (Unknown, str))
    assert isinstance(gpus, list)
    assert len(gpus) == 2
    for one in gpus:
        for name in ("memory_mib", "memory_free_mib", "mig_instances", "used_by", "used_by_mib"):
            value = getattr(one, name)
            assert not isinstance(value, int) or 0 <= value < 10**7, f"{name} {value}"
        for name in ("compute_mode", "ecc", "persistence", "mig"):
            value = getattr(one, name)
            assert not isinstance(value, str) or value.isprintable(), f"{name} {value!r}"
        assert isinstance(one.compute_capability, Unknown) or one.compute_capability == "9.0"


def test_forbidden_nodes(tmp_path: Path) -> None:
    driver, _, log = probe(tmp_path, machine("550.54.15", full_gpu(0), denied="nvidiactl nvidia-uvm"))
    assert driver.nodes_denied == ["/dev/nvidia-uvm", "/dev/nvidiactl"]
    assert any(run.status == "failed" and "/dev/nvidiactl" in run.detail for run in log.runs)


def test_the_fabric_manager(tmp_path: Path) -> None:
    missing, _, _ = probe(tmp_path / "a", machine("550.54.15", full_gpu(0, fabric="2 0")))
    assert isinstance(missing.fabric_manager, (Absent, Unknown))
    assert missing.fabric_manager != Absent("there is no NVSwitch here")
    none, _, _ = probe(tmp_path / "b", machine("550.54.15", gpu(0)))
    assert none.fabric_manager == Absent("there is no NVSwitch here")
    on_bus, _, _ = probe(tmp_path / "c", machine("550.54.15", gpu(0), switch=1))
    assert on_bus.fabric_manager != Absent("there is no NVSwitch here")


def test_a_failed_registration_with_the_fabric(tmp_path: Path) -> None:
    _, (one,), _ = probe(tmp_path, machine("550.54.15", full_gpu(0, fabric="3 999")))
    assert one.fabric == "completed with error 999"


def test_wsl_and_a_linux_driver_before_its_own(tmp_path: Path) -> None:
    own = machine("560.94", gpu(0), wsl=1, place="usr/lib/wsl/lib", **{"libcuda.file": "1.1"})
    driver, _, _ = probe(tmp_path, own)
    assert isinstance(driver.libcuda, str)
    assert "/wsl/lib/" in driver.libcuda
    assert (driver.version, driver.nodes) == ("560.94", ["/dev/dxg"])


def test_versions_that_differ_in_the_last_component(tmp_path: Path) -> None:
    description = machine("570.124.06", gpu(0), module="570.124.04", **{"nvmlInitWithFlags.error": 18})
    log = Log()
    driver, _ = nvidia.probe(StandIn(tmp_path, description).host(), log)
    assert (driver.version, driver.user_mode) == ("570.124.04", "570.124.06")
    assert driver.nvml_error == "18 Driver/library version mismatch"


def test_nvidia_smi_fills_what_nvml_did_not_reach(tmp_path: Path) -> None:
    description = machine("610.43.02", full_gpu(0), fault("nvmlDeviceGetMemoryInfo", "abort"), cuda=13030)
    driver, (one,), _ = probe(tmp_path, description)
    assert (one.memory_mib, one.ecc) == (81559, "enabled")
    assert isinstance(driver.nvml_error, Unknown)
    assert any(source.source == "nvidia-smi CUDA" and source.value == "13.3" for source in driver.sources)


def test_nvidia_smi_compares_the_beginnings_of_uuids_too(tmp_path: Path) -> None:
    description = machine("550.54.15", full_gpu(0), full_gpu(1), **{"nvmlInitWithFlags.do": "abort"})
    _, gpus, _ = probe(tmp_path, description, CUDA_VISIBLE_DEVICES="GPU-5ebe9f43-ac33-420b-aaaa-000000000001")
    assert [len(one.uuid_prefixes) for one in gpus] == [0, 1]


def test_a_row_of_any_shape() -> None:
    row = {"index": 0, "mig": 1, "mig_devices": [3, {"name": 5, "slices": ["x"], "memory": [1, 2]}], "throttle": -1,
           "processes": [True], "fabric": [None, 3], "pcie_width": 10**9, "errors": 3}  # fmt: skip
    (one,) = nvml_facts.from_nvml({"ended": "done", "gpus": [row]}) or []
    assert isinstance(one, Gpu)
    assert isinstance(one.mig_devices[0].profile, Unknown)
    assert isinstance(one.pcie.width, Unknown)
    assert nvml_state.FABRIC[3] == "completed"
