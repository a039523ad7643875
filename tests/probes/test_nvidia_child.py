"""The child process against a stand-in driver: the real loader, the real nvidia-ml-py, real crashes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from envcheck.core.snapshot import Absent, Unknown
from envcheck.probes import libraries, nvidia, nvml, toolkits
from envcheck.probes.host import Host, Ran, RecordedHost, RecordingHost
from envcheck.probes.log import Log
from envcheck.probes.redact import redact

sys.path.insert(0, str(Path(__file__).parents[1] / "standin"))
from standin_driver import StandIn, fault, full_gpu, gpu, machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in driver is found through LD_LIBRARY_PATH")

HEALTHY = machine("550.54.15", smi=0)


@pytest.fixture
def driver(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path, {**HEALTHY, **gpu(0), **gpu(1, name="NVIDIA A100-SXM4-40GB", cc="8 0", mig=0)})


def probe(driver: StandIn, **env: str) -> tuple[nvidia.NvidiaDriver, object, Log]:
    log = Log()
    found, gpus = nvidia.probe(Host(env={**driver.env, **env}), log)
    return found, gpus, log


def value_of(found: nvidia.NvidiaDriver, source: str) -> object:
    return next(item.value for item in found.sources if item.source == source)


def test_a_healthy_machine(driver: StandIn) -> None:
    found, gpus, _ = probe(driver)
    assert (found.version, found.cuda, found.user_mode) == ("550.54.15", "12.4", "550.54.15")
    assert found.libcuda == str(driver.folder / "libcuda.so.550.54.15")
    assert found.nvml_error == Absent("NVML answered")
    assert value_of(found, "NVML library") == "550.54.15"
    assert value_of(found, "cuDriverGetVersion") == "12.4"
    assert isinstance(gpus, list)
    first, second = gpus
    assert (first.name, first.compute_capability, first.memory_mib) == ("NVIDIA GeForce RTX 3090", "8.6", 24576)
    assert (first.memory_free_mib, first.pci_bus, first.pci_id) == (24000, "0000:01:00.0", "10de:2204")
    assert (first.mig, first.compute_mode) == (Absent("this GPU has no MIG"), "Default")
    assert (second.index, second.mig, second.mig_instances) == (1, "disabled", 0)


def test_zero_gpus_is_an_answer(driver: StandIn) -> None:
    driver.answer(HEALTHY)
    found, gpus, _ = probe(driver)
    assert found.cuda == "12.4"
    assert isinstance(gpus, Absent)
    assert gpus.why.startswith("NVML: 0 devices")


def test_uuids_are_hashed_and_prefixes_of_the_environment_kept(driver: StandIn) -> None:
    driver.answer({**HEALTHY, **gpu(0), **gpu(1, mig=1, **{"mig.0": "MIG-aaaa1234-0000", "mig.3": "MIG-bbbb"})})
    token = "GPU-5ebe9f43-ac33-420b-aaaa-000000000000"
    env = {"CUDA_VISIBLE_DEVICES": f"{token[:12]}, MIG-aaaa1234,1,GPU-ffffffff", "NVIDIA_VISIBLE_DEVICES": token}
    answer = nvml.query_nvml(Host(env={**driver.env, **env}))
    assert "5ebe9f43" not in str(answer)
    first, second = answer["gpus"]
    assert first["uuid"] == redact(token)
    assert first["uuid_prefixes"] == [redact("GPU-5ebe9f43"), redact(token)]
    assert second["uuid_prefixes"] == [redact("GPU-5ebe9f43")]
    assert second["mig_instances"] == 2
    assert [one.get("uuid_prefixes") for one in second["mig_devices"]] == [[redact("MIG-aaaa1234")], None]


def test_mismatch_is_told_in_the_drivers_words(driver: StandIn) -> None:
    driver.answer({**HEALTHY, **gpu(0), "nvmlInitWithFlags.error": 18})
    found, gpus, _ = probe(driver)
    assert found.nvml_error == "18 Driver/library version mismatch"
    assert found.cuda == "12.4", "cuDriverGetVersion needs no NVML"
    assert value_of(found, "NVML library") == "550.54.15"
    assert not isinstance(gpus, list)


def test_what_one_gpu_does_not_tell_is_unknown(driver: StandIn) -> None:
    driver.answer({**HEALTHY, **gpu(0), "nvmlDeviceGetMemoryInfo.error": 3, "nvmlDeviceGetName.error": 15})
    _, gpus, _ = probe(driver)
    assert isinstance(gpus, list)
    assert gpus[0].memory_mib == Unknown("NVML: 3 Not Supported")
    assert gpus[0].name == Unknown("NVML: 15 GPU is lost")
    assert gpus[0].compute_capability == "8.6"


def test_an_old_driver_lacks_functions(driver: StandIn) -> None:
    missing = ("nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetMigMode", "nvmlDeviceGetCudaComputeCapability")
    driver.answer({**HEALTHY, **gpu(0), **{f"{name}.error": 13 for name in missing}})
    found, gpus, _ = probe(driver)
    assert found.nvml_error == Absent("NVML answered")
    assert isinstance(value_of(found, "NVML CUDA"), Unknown)
    assert isinstance(gpus, list)
    assert isinstance(gpus[0].compute_capability, Unknown)
    assert isinstance(gpus[0].mig, Unknown)
    assert gpus[0].memory_mib == 24576


@pytest.mark.parametrize(
    ("what", "ended"),
    [("abort", "signal 6 (SIGABRT)"), ("segv", "signal 11 (SIGSEGV)"), ("exit", "exit 0 before it was done")],
)
def test_what_was_told_before_a_crash_is_kept(driver: StandIn, what: str, ended: str) -> None:
    driver.answer({**HEALTHY, **gpu(0), "nvmlDeviceGetMemoryInfo.do": what})
    found, gpus, log = probe(driver)
    assert found.nvml_error == Unknown(f"the child process ended with {ended} during nvmlDeviceGetMemoryInfo 0")
    assert (found.version, found.cuda) == ("550.54.15", "12.4")
    assert isinstance(gpus, list)
    assert gpus[0].compute_capability == "8.6"
    assert gpus[0].compute_mode == "Default", "a second process went past the crash"
    assert gpus[0].memory_mib == Unknown(f"NVML: asked, it ended the process: {ended}")
    assert found.cu_init == Absent("cuInit succeeded")
    assert any(run.status == "failed" and ended in run.detail for run in log.runs)


@pytest.mark.parametrize("what", ["abort", "segv", "exit", "hang"])
def test_a_crash_for_one_gpu_costs_one_fact(driver: StandIn, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "TIMEOUT", 2.0)
    driver.answer({**HEALTHY, **full_gpu(0), **full_gpu(1), **fault("nvmlDeviceGetEccMode", what, at_call=1)})
    _, gpus, _ = probe(driver)
    assert isinstance(gpus, list)
    assert [isinstance(gpu.ecc, Unknown) for gpu in gpus] == [False, True]
    assert [gpu.persistence for gpu in gpus] == ["enabled", "enabled"]


@pytest.mark.parametrize("what", ["hang", "ignore-term-and-hang"])
def test_a_hang_ends_at_the_deadline(driver: StandIn, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "TIMEOUT", 2.0)
    driver.answer({**HEALTHY, **gpu(0), "nvmlInitWithFlags.do": what})
    started = time.monotonic()
    found, gpus, log = probe(driver)
    assert time.monotonic() - started < 5
    assert found.nvml_error == Unknown("the child process ended with no answer in time during nvmlInit")
    assert (found.cuda, found.cuda_devices) == ("12.4", 1), "cuInit is asked all the same"
    assert not isinstance(gpus, list)
    assert any(run.status == "timeout" for run in log.runs)


def test_a_stub_libcuda_is_named(driver: StandIn) -> None:
    driver.answer({**HEALTHY, **gpu(0), "cuDriverGetVersion.error": 34})
    found, _, _ = probe(driver)
    assert value_of(found, "cuDriverGetVersion") == Unknown(
        "CUDA error 34 CUDA_ERROR_STUB_LIBRARY: it is a stub library"
    )
    assert found.cuda == "12.4", "NVML told it"


def test_the_deprecated_distribution_shadows_nvidia_ml_py(driver: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = driver.folder.parent / "site"
    (folder / "pynvml").mkdir(parents=True)
    (folder / "pynvml" / "__init__.py").write_text("def nvmlInit(): pass\n")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    found, gpus, _ = probe(driver)
    assert isinstance(found.nvml_error, Unknown)
    assert 'the deprecated distribution "pynvml" shadows it' in found.nvml_error.why
    assert found.cuda == "12.4"
    assert isinstance(gpus, (Unknown, Absent))


def test_without_nvidia_ml_py(driver: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    found, _, _ = probe(driver)
    assert isinstance(found.nvml_error, Unknown)
    assert found.nvml_error.why.startswith("nvidia-ml-py could not be imported: ModuleNotFoundError")


def test_no_child_where_no_driver_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: Host) -> dict[str, object]:
        raise AssertionError("a child was started")

    monkeypatch.setattr(nvml, "query_nvml", refuse)
    if any(os.path.exists(path) for path in ("/proc/driver/nvidia", "/usr/lib/wsl/lib/libcuda.so.1")):
        pytest.skip("this machine has a driver")
    found, _ = nvidia.probe(Host(env={}), Log())
    assert isinstance(found.version, Absent)
    assert isinstance(found.nvml_error, Unknown)


def test_a_recording_of_it_replays_and_holds_no_uuid(driver: StandIn, tmp_path: Path) -> None:
    token = "GPU-5ebe9f43-ac33-420b-aaaa-000000000000"
    env = {**driver.env, "CUDA_VISIBLE_DEVICES": token}
    recording = RecordingHost(env=env)
    live = (nvidia.probe(recording, Log()), toolkits.probe(recording, Log()), libraries.probe(recording, Log(), []))
    folder = tmp_path / "recorded"
    recording.save(
        str(folder), redact, {name: env[name] for name in ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")}
    )
    replay = RecordedHost(str(folder))
    again = (nvidia.probe(replay, Log()), toolkits.probe(replay, Log()), libraries.probe(replay, Log(), []))
    assert again == live
    gpus = again[0][1]
    assert isinstance(gpus, list)
    assert gpus[0].uuid_prefixes == [redact(token)] == [replay.env["CUDA_VISIBLE_DEVICES"]]
    assert not any(b"5ebe9f43" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_lines_that_are_no_records_are_passed_over() -> None:
    out = 'WARNING: libfoo says hello\n[1, 2]\n"x"\n{"libcuda": 3}\n{"gpu x": {}}\n'
    out += '{"libcuda": {"version": 12040}}\n{"gpu 0"'
    answer = nvml.collect(Ran("done", 0, out, ""))
    assert answer == {"ended": "exit 0 before it was done", "during": "", "libcuda": {"version": 12040}}
    assert nvml.collect(Ran("not-found", 127, "", "python was not found"))["ended"].startswith("not started")
    assert nvml.collect(Ran("done", 1, "", "Traceback\nKeyError: 1\n"))["ended"] == "exit 1: KeyError: 1"
