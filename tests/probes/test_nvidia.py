"""Driver and GPUs of recorded machines: every source, none believed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recording import LIBS, V100, answer, bound, driver_files, pci_device, recorded

from envcheck.core.snapshot import Absent, DriverSource, Gpu, NvidiaDriver, Unknown
from envcheck.probes import nvidia, nvml_facts
from envcheck.probes.log import Log

OLD_MODULE = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 21:21:55 UTC 2021
GCC version:  gcc version 9.4.0 (Ubuntu 9.4.0-1ubuntu1~20.04.1)
"""
OPEN_MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22)  Sun Jul 27 2025
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04.1)
"""
JETPACK5_MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  35.3.1  Release Build  (buildbrain@mobile-u64-6289-d7000)
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (OLD_MODULE, "470.82.01"),
        (OPEN_MODULE, "580.65.06"),
        (JETPACK5_MODULE, "35.3.1"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.142  Release Build  (builder)\n", "580.142"),
        ("GCC version:  gcc version 9.4.0\n", None),
        ("", None),
    ],
)
def test_proc_version(text: str, version: str | None) -> None:
    assert nvidia.parse_proc_version(text) == version


@pytest.mark.parametrize(
    ("number", "text"), [(12040, "12.4"), (11080, "11.8"), (13000, "13.0"), (0, None), ("x", None)]
)
def test_cuda_version(number: object, text: str | None) -> None:
    assert nvml_facts.cuda_version(number) == text


def without_state(gpu: Gpu) -> Gpu:
    """What the recordings of these tests do not hold, left out."""
    state = ("ecc", "persistence", "virtual", "driver_model", "pcie", "throttled", "used_by", "used_by_mib", "fabric")
    rest = {name: getattr(gpu, name) for name in gpu.__struct_fields__ if name not in state}
    return Gpu(**rest)


def test_all_sources_of_a_server(tmp_path: Path) -> None:
    parts = driver_files("470.82.01")
    host = recorded(
        tmp_path,
        {
            nvidia.PROC_VERSION: OLD_MODULE,
            nvidia.SYS_VERSION: "470.82.01\n",
            **pci_device("0000:00:1e.0", "0x10de", "0x1db1"),
            **pci_device("0000:00:02.0", "0x1013", "0x00b8", "0x030000"),
        },
        links={**parts["links"], **bound("0000:00:1e.0", "nvidia")},
        others=[*parts["others"], "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/null"],
        queries={"nvml": answer("470.82.01", 11040, V100)},
    )
    log = Log()
    driver, gpus = nvidia.probe(host, log)
    assert (driver.version, driver.user_mode, driver.cuda) == ("470.82.01", "470.82.01", "11.4")
    assert driver.libcuda == f"{LIBS}/libcuda.so.470.82.01"
    assert driver.nodes == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"]
    assert driver.nvml_error == Absent("NVML answered")
    assert driver.sources == [
        DriverSource(source=nvidia.PROC_VERSION, kind="kernel", value="470.82.01"),
        DriverSource(source=nvidia.SYS_VERSION, kind="kernel", value="470.82.01"),
        DriverSource(source=f"{LIBS}/libcuda.so.470.82.01", kind="user", value="470.82.01"),
        DriverSource(source=f"{LIBS}/libnvidia-ml.so.470.82.01", kind="user", value="470.82.01"),
        DriverSource(source="cuDriverGetVersion", kind="cuda", value="11.4"),
        DriverSource(source="NVML driver", kind="kernel", value="470.82.01"),
        DriverSource(source="NVML library", kind="user", value="470.82.01"),
        DriverSource(source="NVML CUDA", kind="cuda", value="11.4"),
    ]
    assert isinstance(gpus, list)
    assert [without_state(gpu) for gpu in gpus] == [
        Gpu(
            index=0,
            vendor="nvidia",
            name="Tesla V100-SXM2-16GB",
            compute_capability="7.0",
            memory_mib=16160,
            memory_free_mib=15710,
            uuid="GPU-0123456789ab",
            pci_bus="0000:00:1e.0",
            pci_id="10de:1db1",
            mig=Absent("this GPU has no MIG"),
            compute_mode="Default",
            kernel_driver="nvidia",
        )
    ]
    assert {run.where for run in log.runs} >= {nvidia.PROC_VERSION, nvidia.SYS_VERSION, "/sys/bus/pci/devices"}


def test_kernel_module_and_libraries_of_different_versions(tmp_path: Path) -> None:
    parts = driver_files("560.35.05")
    information = (
        "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 77\nGPU UUID: \t GPU-5ebe9f43-ac33\n"
        "Bus Location: \t 0000:01:00.0\n"
    )
    smi = "/usr/bin/nvidia-smi"
    mismatch = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 560.35\n"
    host = recorded(
        tmp_path,
        {
            nvidia.PROC_VERSION: OLD_MODULE.replace("470.82.01", "560.35.03"),
            "/proc/driver/nvidia/gpus/0000:01:00.0/information": information,
            **pci_device("0000:01:00.0", "0x10de", "0x2684", "0x030000"),
        },
        env={"PATH": "/usr/bin"},
        links={**parts["links"], **bound("0000:01:00.0", "nvidia")},
        others=[*parts["others"], smi],
        commands={smi: ["done", 18, mismatch, ""]},
        queries={"nvml": answer("560.35.05", 12060, init={"code": 18, "text": "Driver/library version mismatch"})},
    )
    driver, gpus = nvidia.probe(host, Log())
    assert (driver.version, driver.user_mode) == ("560.35.03", "560.35.05")
    assert driver.nvml_error == "18 Driver/library version mismatch"
    assert DriverSource(source="nvidia-smi NVML library", kind="user", value="560.35") in driver.sources
    assert isinstance(gpus, list)
    (gpu,) = gpus
    assert (gpu.name, gpu.pci_id, gpu.kernel_driver) == ("NVIDIA GeForce RTX 4090", "10de:2684", "nvidia")
    assert isinstance(gpu.memory_mib, Unknown)
    assert "18 Driver/library version mismatch" in gpu.memory_mib.why


def test_cuda_compat_on_the_loaders_path(tmp_path: Path) -> None:
    compat = "/usr/local/cuda-11.8/compat"
    parts = driver_files("470.82.01")
    host = recorded(
        tmp_path,
        {nvidia.PROC_VERSION: OLD_MODULE},
        env={"LD_LIBRARY_PATH": "/usr/local/cuda/compat:/usr/local/nvidia/lib64"},
        links={
            **parts["links"],
            "/usr/local/cuda": "cuda-11.8",
            f"{compat}/libcuda.so.1": "libcuda.so.520.61.05",
        },
        others=[*parts["others"], f"{compat}/libcuda.so.520.61.05"],
        queries={"nvml": answer("470.82.01", 11080, {**V100, "name": "Tesla T4", "cc": "7.5"})},
    )
    driver, _ = nvidia.probe(host, Log())
    assert (driver.version, driver.user_mode, driver.cuda) == ("470.82.01", "520.61.05", "11.8")
    assert driver.libcuda == f"{compat}/libcuda.so.520.61.05"
    users = [source.value for source in driver.sources if source.kind == "user" and "libcuda" in source.source]
    assert users == ["520.61.05", "470.82.01"]


def test_compat_that_the_loader_does_not_look_at_is_not_in_use(tmp_path: Path) -> None:
    parts = driver_files("470.82.01", "/usr/local/cuda/compat")
    host = recorded(tmp_path, {nvidia.PROC_VERSION: OLD_MODULE}, **parts)
    driver, gpus = nvidia.probe(host, Log())
    assert isinstance(driver.libcuda, Absent)
    assert "/usr/local/cuda/compat/libcuda.so.1" in driver.libcuda.why
    assert isinstance(driver.cuda, Absent)
    assert isinstance(gpus, Unknown), "no /sys: nobody could look"


def test_a_stub_is_no_driver(tmp_path: Path) -> None:
    stubs = "/usr/local/cuda/lib64/stubs"
    queries = {"nvml": {"ended": "done", "libcuda": {"error": "CUDA error 34", "code": 34}, "module": {}, "nvml": {}}}
    host = recorded(
        tmp_path,
        env={"LD_LIBRARY_PATH": stubs},
        others=[f"{stubs}/libcuda.so.1"],
        folders={"/sys/bus": []},
        queries=queries,
    )
    driver, gpus = nvidia.probe(host, Log())
    assert isinstance(driver.user_mode, Absent)
    assert "stub" in driver.user_mode.why
    assert driver.cuda == Unknown("CUDA error 34: it is a stub library")
    assert gpus == Absent("this system has no PCI bus")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["ended", "during", "libcuda", "module", "nvml", "gpus", "init", "version", "path", "error", "code"]
            )
            | st.sampled_from(
                ["index", "name", "uuid", "pci", "cc", "memory", "mig", "mig_instances", "errors", "count", "cuda"]
            )
            | st.sampled_from(["crashes", "cuda", "mig_devices", "slices", "throttle", "processes", "fabric", "ecc"])
            | st.sampled_from(["persistence", "virtual", "model", "pcie_width", "pcie_generation_max", "buses"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=400, deadline=None)
@given(JSON)
@example({"ended": "done", "crashes": [[]], "nvml": {"init": None}, "gpus": [{"processes": [-1, []]}]})
def test_any_answer_is_read_without_an_exception(value: object) -> None:
    if isinstance(value, dict):
        gpus, why = nvml_facts.take(value, NvidiaDriver(), Log())
        assert isinstance(why, str)
        assert not isinstance(gpus, list) or all(isinstance(gpu, Gpu) for gpu in gpus)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_in_any_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    device = "/sys/bus/pci/devices/0000:01:00.0"
    paths = (
        nvidia.PROC_VERSION,
        nvidia.SYS_VERSION,
        "/etc/ld.so.cache",
        "/proc/meminfo",
        "/proc/device-tree/compatible",
    )
    host = recorded(
        tmp_path_factory.mktemp("bytes"),
        {
            **dict.fromkeys(paths, data),
            f"{device}/class": b"0x0300" + data,
            f"{device}/vendor": "0x10de",
            f"{device}/device": data,
            "/proc/driver/nvidia/gpus/0000:01:00.0/information": b"Model:" + data,
        },
    )
    driver, gpus = nvidia.probe(host, Log())
    assert isinstance(driver, NvidiaDriver)
    assert gpus
