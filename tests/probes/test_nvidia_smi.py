"""nvidia-smi's output, as real drivers print it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import recorded

from envcheck.core.snapshot import Absent, Unknown
from envcheck.probes import nvidia_smi
from envcheck.probes.log import Log

OLD = """\
Wed Nov 17 10:11:12 2021
+-----------------------------------------------------------------------------+
| NVIDIA-SMI 470.82.01    Driver Version: 470.82.01    CUDA Version: 11.4     |
|-------------------------------+----------------------+----------------------+
| GPU  Name        Persistence-M| Bus-Id        Disp.A | Volatile Uncorr. ECC |
| Fan  Temp  Perf  Pwr:Usage/Cap|         Memory-Usage | GPU-Util  Compute M. |
|                               |                      |               MIG M. |
|===============================+======================+======================|
|   0  Tesla V100-SXM2...  On   | 00000000:00:1E.0 Off |                    0 |
| N/A   41C    P0    38W / 300W |    450MiB / 16160MiB |      0%   E. Process |
|                               |                      |                  N/A |
+-------------------------------+----------------------+----------------------+
|   1  Tesla T4            Off  | 00000000:00:1F.0 Off |                    0 |
| N/A   41C    P0    38W /  70W |      0MiB / 15109MiB |      0%      Default |
|                               |                      |                  N/A |
+-------------------------------+----------------------+----------------------+

+-----------------------------------------------------------------------------+
| Processes:                                                                  |
|  GPU   GI   CI        PID   Type   Process name                  GPU Memory |
|=============================================================================|
|    0   N/A  N/A      1234      C   python                           447MiB  |
+-----------------------------------------------------------------------------+
"""

NEW = """\
Fri Jun 19 05:53:08 2026
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 610.43.02              KMD Version: 610.43.02     CUDA UMD Version: 13.3     |
+-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
|   0  NVIDIA GeForce RTX 4090 ...    Off |   00000000:01:00.0  On |                  N/A |
| N/A   46C    P8              8W /  150W |    1070MiB /  16376MiB |     17%      Default |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+
|   1  NVIDIA B300 SXM6 AC            On  |   00000000:1A:00.0 Off |                    0 |
| N/A   28C    P0            181W / 1100W |       0MiB / 275040MiB |      0%      Default |
|                                         |                        |             Disabled |
+-----------------------------------------+------------------------+----------------------+
"""

MIG = """\
| NVIDIA-SMI 535.161.08             Driver Version: 535.161.08   CUDA Version: 12.2     |
|   0  NVIDIA A100-PCIE-40GB          Off | 00000000:18:00.0 Off |                   On |
| N/A   51C    P0              71W / 250W |     38MiB / 40960MiB |     N/A      Default |
|                                         |                      |              Enabled |
+-----------------------------------------+----------------------+----------------------+
+---------------------------------------------------------------------------------------+
| MIG devices:                                                                          |
+------------------+--------------------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |                   Memory-Usage |        Vol|      Shared           |
|      ID  ID  Dev |                     BAR1-Usage | SM     Unc| CE ENC DEC OFA JPG    |
|                  |                                |        ECC|                       |
|==================+================================+===========+=======================|
|  0    7   0   0  |               5MiB /  4864MiB  | 14      0 |  1   0    0    0    0 |
|                  |               0MiB /  8191MiB  |           |                       |
+------------------+--------------------------------+-----------+-----------------------+
|  0    8   0   1  |               5MiB /  4864MiB  | 14      0 |  1   0    0    0    0 |
|                  |               0MiB /  8191MiB  |           |                       |
+------------------+--------------------------------+-----------+-----------------------+
"""

JETSON = """\
| NVIDIA-SMI 540.4.0                Driver Version: 540.4.0      CUDA Version: 12.6     |
|   0  Orin (nvgpu)                  N/A  | N/A              N/A |                  N/A |
| N/A   N/A  N/A               N/A /  N/A | Not Supported        |     N/A          N/A |
|                                         |                      |                  N/A |
"""

WINDOWS = """\
| NVIDIA-SMI 517.48       Driver Version: 517.48       CUDA Version: 11.7     |
| GPU  Name            TCC/WDDM | Bus-Id        Disp.A | Volatile Uncorr. ECC |
|   0  NVIDIA GeForce RTX 2080  WDDM  | 00000000:0A:00.0  On |                  N/A |
|  0%   31C    P8    16W / 250W |    576MiB / 11264MiB |      0%      Default |
|                               |                      |                  N/A |
"""

MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 560.35\n"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)


def test_old_header() -> None:
    smi = nvidia_smi.parse_table(OLD)
    assert (smi.driver, smi.cuda, smi.error) == ("470.82.01", "11.4", "")
    assert isinstance(smi.gpus, list)
    first, second = smi.gpus
    assert first.name == Unknown("nvidia-smi cuts it off: Tesla V100-SXM2...")
    assert (first.memory_mib, first.memory_free_mib, first.compute_mode) == (16160, 15710, "Exclusive_Process")
    assert first.mig == Absent("this GPU has no MIG")
    assert (second.index, second.name, second.pci_bus) == (1, "Tesla T4", "0000:00:1f.0")


def test_new_header() -> None:
    smi = nvidia_smi.parse_table(NEW)
    assert (smi.driver, smi.cuda) == ("610.43.02", "13.3")
    assert isinstance(smi.gpus, list)
    assert [gpu.memory_mib for gpu in smi.gpus] == [16376, 275040]
    assert (smi.gpus[1].name, smi.gpus[1].mig, smi.gpus[1].compute_mode) == (
        "NVIDIA B300 SXM6 AC",
        "disabled",
        "Default",
    )


def test_mig_instances_are_counted() -> None:
    smi = nvidia_smi.parse_table(MIG)
    assert isinstance(smi.gpus, list)
    (gpu,) = smi.gpus
    assert (gpu.mig, gpu.mig_instances, gpu.memory_mib) == ("enabled", 2, 40960)


def test_jetson_tells_little_and_invents_nothing() -> None:
    smi = nvidia_smi.parse_table(JETSON)
    assert isinstance(smi.gpus, list)
    (gpu,) = smi.gpus
    assert (gpu.name, smi.driver, smi.cuda) == ("Orin", "540.4.0", "12.6")
    assert isinstance(gpu.memory_mib, Unknown)
    assert isinstance(gpu.pci_bus, Unknown)


def test_windows_names_the_driver_model() -> None:
    smi = nvidia_smi.parse_table(WINDOWS)
    assert isinstance(smi.gpus, list)
    assert smi.gpus[0].name == "NVIDIA GeForce RTX 2080"


def test_mismatch() -> None:
    smi = nvidia_smi.parse_table(MISMATCH)
    assert smi.library == "560.35"
    assert smi.error == "Failed to initialize NVML: Driver/library version mismatch"
    assert isinstance(smi.driver, Unknown)
    assert isinstance(smi.gpus, Unknown)


def test_no_driver_is_unknown_and_no_devices_is_absent() -> None:
    assert isinstance(nvidia_smi.parse_table(NO_DRIVER).gpus, Unknown)
    assert "communicate" in nvidia_smi.parse_table(NO_DRIVER).error
    assert nvidia_smi.parse_table("No devices were found\n").gpus == Absent("nvidia-smi: No devices were found")


@pytest.mark.parametrize(
    ("word", "kind"), [("N/A", Absent), ("ERR!", Unknown)], ids=["no libcuda", "libcuda of another driver"]
)
def test_cuda_version_that_is_none(word: str, kind: type) -> None:
    line = f"| NVIDIA-SMI 535.183.06             Driver Version: 535.183.06   CUDA Version: {word}      |"
    smi = nvidia_smi.parse_table(line)
    assert smi.driver == "535.183.06"
    assert isinstance(smi.cuda, kind)


CSV = (
    "0, NVIDIA A100-SXM4-40GB, 8.0, 40960, 40338, 00000000:07:00.0, GPU-5ebe9f43-ac33-420b-aaaa-01, Enabled, Default, "
    "Enabled, Disabled, 4, 4, 8, 16\n"
    "1, NVIDIA GeForce GTX 1080, 6.1, 8192, 8000, 00000000:08:00.0, GPU-5ebe9f43-ac33-420b-aaaa-02, [N/A], Prohibited, "
    "[N/A], [N/A], 1, 3, 16, 16\n"
    "2, [Unknown Error], [N/A], [Not Supported], [N/A], 00000000:09:00.0, [N/A], [Not Supported], [N/A], "
    "[N/A], [N/A], [N/A], [N/A], [N/A], [N/A]\n"
    'Field "compute_cap" is not a valid field to query.\n'
)


def test_csv() -> None:
    first, second, third = nvidia_smi.parse_csv(CSV)
    assert (first.compute_capability, first.memory_mib, first.memory_free_mib) == ("8.0", 40960, 40338)
    assert (first.mig, first.pci_bus) == ("enabled", "0000:07:00.0")
    assert isinstance(first.uuid, str)
    assert "5ebe9f43" not in first.uuid
    assert (second.mig, second.compute_mode) == (Absent("this GPU has no MIG"), "Prohibited")
    assert isinstance(third.name, Unknown)
    assert isinstance(third.memory_mib, Unknown)
    assert (first.ecc, first.persistence) == ("enabled", "disabled")
    assert (first.pcie.generation, first.pcie.width, first.pcie.width_max) == (4, 8, 16)
    assert second.ecc == Absent("its memory has no ECC")
    assert isinstance(second.persistence, Unknown)
    assert isinstance(third.pcie.width, Unknown)


def test_ask_retries_without_compute_cap(tmp_path: Path) -> None:
    path = "/usr/bin/nvidia-smi"
    csv = f"{path} --query-gpu={nvidia_smi.OLD_FIELDS} --format=csv,noheader,nounits"
    refused = f"{path} --query-gpu={nvidia_smi.FIELDS} --format=csv,noheader,nounits"
    row = "0, Tesla V100-SXM2-16GB, 16160, 15710, 00000000:00:1E.0, GPU-5ebe9f43-aaaa, [N/A], Default\n"
    host = recorded(
        tmp_path,
        env={"PATH": "/usr/bin"},
        others=[path],
        commands={
            path: ["done", 0, OLD, ""],
            refused: ["done", 2, 'Field "compute_cap" is not a valid field to query.\n', ""],
            csv: ["done", 0, row, ""],
        },
    )
    log = Log()
    smi = nvidia_smi.ask(host, log)
    assert smi is not None
    assert isinstance(smi.gpus, list)
    assert smi.gpus[0].name == "Tesla V100-SXM2-16GB"
    assert smi.driver == "470.82.01"
    assert sorted(run.status for run in log.runs) == ["failed", "ok", "ok"]


def test_ask_without_nvidia_smi_and_with_one_that_hangs(tmp_path: Path) -> None:
    assert nvidia_smi.ask(recorded(tmp_path / "a", env={"PATH": "/usr/bin"}), Log()) is None
    commands = {"/usr/bin/nvidia-smi": ["timeout", -9, "", ""]}
    host = recorded(tmp_path / "b", env={"PATH": "/usr/bin"}, others=["/usr/bin/nvidia-smi"], commands=commands)
    log = Log()
    smi = nvidia_smi.ask(host, log)
    assert smi is not None
    assert isinstance(smi.driver, Unknown)
    assert log.runs[0].status == "timeout"


LINES = st.sampled_from([*OLD.splitlines(), *NEW.splitlines(), *MIG.splitlines(), *JETSON.splitlines(), MISMATCH])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(LINES, st.text(max_size=80)), max_size=25), st.text(max_size=200))
def test_any_text_is_read_without_an_exception(lines: list[str], noise: str) -> None:
    for text in ("\n".join(lines), "\n".join(lines)[len(noise) :] + noise):
        smi = nvidia_smi.parse_table(text)
        assert not isinstance(smi.gpus, list) or smi.gpus
        nvidia_smi.parse_csv(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="0123456789,. []N/A\n", max_size=200))
def test_any_csv_is_read_without_an_exception(text: str) -> None:
    for fields in (nvidia_smi.FIELDS, nvidia_smi.OLD_FIELDS):
        nvidia_smi.parse_csv(text, fields)
