"""What the readers of pasted reports take for a fact, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.core.snapshot import Absent, Unknown
from envcheck.sources.pasted import facts_from_text, snapshot_from_text

TRACEBACK = """Traceback (most recent call last):
  File "/app/train.py", line 3, in <module>
    import torch
  File "/opt/venv/lib/python3.10/site-packages/torch/__init__.py", line 229, in <module>
    from torch._C import *
OSError: libcudnn.so.9: cannot open shared object file: No such file or directory
"""

LOGS = [
    "",
    TRACEBACK,
    "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
    "ERROR: pip's dependency resolver does not currently take into account all the packages that are installed.\n"
    "torchvision 0.15.2 requires torch==2.0.1, but you have torch 2.1.0 which is incompatible.",
    "ERROR: Could not find a version that satisfies the requirement torch==1.7.1 (from versions: 2.0.0, 2.0.1)",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161",
    "2024-05-01 10:00:00 INFO: loss: 0.5 lr: 0.001 Version: 2\nepoch: 1\nPlatform: cuda\n",
    "Python 3.10.12 (main, Nov 20 2023, 15:14:05) [GCC 11.4.0] on linux\n>>> import torch\n" + TRACEBACK,
    "pip install torch==2.0.1 torchvision==0.15.2",
    "torch==2.0.1\n",
    "Microsoft Windows [Version 10.0.22631.3447]\nC:\\>python app.py\n" + TRACEBACK,
    "## Describe the bug\n\nIt crashes.\n\n## To reproduce\n\nrun it\n",
    "WARNING: CUDA SETUP failed\nPyTorch version: unknown",
]


@pytest.mark.parametrize("text", LOGS)
def test_an_ordinary_log_is_no_report(text: str) -> None:
    assert facts_from_text(text) is None
    assert snapshot_from_text(text) is None


COLLECTED = "Is debug build: False\nIs CUDA available: {available}\nPython version: 3.10.2 (64-bit runtime)\n"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("CUDA runtime version: 11.8.89", "toolkit", {"nvcc": "11.8.89"}),
        ("CUDA runtime version: Could not collect", "toolkit", None),
        ("CUDA runtime version: No CUDA", "toolkit", None),
        ("PyTorch version: 2.0.1+cu118\nCUDA used to build PyTorch: 11.7", "packages", {"torch": "2.0.1+cu118"}),
        ("PyTorch version: 2.0.1\nCUDA used to build PyTorch: 11.7", "packages", {"torch": "2.0.1+cu117"}),
        ("PyTorch version: 2.0.1\nCUDA used to build PyTorch: None", "packages", {"torch": "2.0.1+cpu"}),
        ("PyTorch version: 2.0.1\nCUDA used to build PyTorch: Could not collect", "packages", {"torch": "2.0.1"}),
        (
            "PyTorch version: 2.1.0\nCUDA used to build PyTorch: N/A\nROCM used to build PyTorch: 5.6.31061-8c743ae5d",
            "packages",
            {"torch": "2.1.0+rocm5.6"},
        ),
        (
            "PyTorch version: 2.0.1\n[pip3] torch==1.9.0\n[pip3] numpy==1.2.3",
            "packages",
            {"torch": "2.0.1", "numpy": "1.2.3"},
        ),
        ("GPU models and configuration: No CUDA", "gpus", None),
        ("GPU models and configuration: Could not collect", "gpus", None),
        (
            "GPU models and configuration: GPU 0: AMD Instinct MI210",
            "gpus",
            [{"name": "AMD Instinct MI210", "vendor": "amd"}],
        ),
        ("GPU models and configuration: GPU 0: A (UUID: GPU-1)\nGPU 1: B", "gpus", [{"name": "A"}, {"name": "B"}]),
        ("Nvidia driver version: 535.104.05\n535.104.05", "driver", {"version": "535.104.05"}),
        ("Nvidia driver version: Could not collect", "driver", None),
        ("cuDNN version: Probably one of the following:\n/a/libcudnn.so.8.9.2\n/b/libcudnn.so.9.1.0", "cudnn", None),
        ("cuDNN version: /usr/lib64/libcudnn.so.7.6.5", "cudnn", {"system": "7.6.5"}),
        (
            "cuDNN version: Probably one of the following:\nC:\\Program Files\\bin\\cudnn_ops_train64_8.dll",
            "cudnn",
            {"system": "8"},
        ),
        ("OS: Microsoft Windows 11 专业版 (10.0.22631 64-bit)", "os", {"system": "Windows", "distro_version": "11"}),
        (
            "OS: CentOS Linux release 7.9.2009 (Core)",
            "os",
            {"system": "Linux", "distro": "centos", "distro_version": "7.9.2009"},
        ),
        (
            "OS: Red Hat Enterprise Linux release 8.4 (Ootpa)",
            "os",
            {"system": "Linux", "distro": "rhel", "distro_version": "8.4"},
        ),
        ("Python platform: Windows-10-10.0.22631-SP0", "os", {"system": "Windows", "distro_version": "11"}),
    ],
)
@pytest.mark.parametrize("available", ["True", "False"])
def test_lines_of_collect_env(line: str, key: str, value: Any, available: str) -> None:
    found = facts_from_text(COLLECTED.format(available=available) + line + "\n") or {}
    assert found.get(key) == value
    assert found["python"] == {"version": "3.10.2", "bits": 64}


def test_a_c_library_is_believed_from_the_python_that_measures_it() -> None:
    old = facts_from_text("Is debug build: No\nIs CUDA available: Yes\nPython version: 3.7\nLibc version: glibc-2.10")
    new = facts_from_text("Is debug build: No\nIs CUDA available: Yes\nPython version: 3.8\nLibc version: glibc-2.31")
    assert "os" not in (old or {"os": 1})
    assert (new or {})["os"] == {"glibc": "2.31"}
    text = "- `transformers` version: 4.1\n- Platform: Linux-5.4.0-1-x86_64-with-glibc2.29\n- Python version: {}\n"
    assert "glibc" not in (facts_from_text(text.format("3.8.10")) or {})["os"]
    assert (facts_from_text(text.format("3.9.2")) or {})["os"]["glibc"] == "2.29"


def test_no_cuda_is_no_absent_gpu() -> None:
    snapshot = snapshot_from_text(COLLECTED.format(available="False") + "GPU models and configuration: No CUDA\n")
    assert snapshot is not None
    assert isinstance(snapshot.machine.gpus, Unknown)
    assert not isinstance(snapshot.machine.nvidia.version, Absent)


@pytest.mark.parametrize(
    ("header", "driver"),
    [
        (
            "| NVIDIA-SMI 535.54   Driver Version: 535.54.03   CUDA Version: 12.2 |",
            {"version": "535.54.03", "cuda": "12.2"},
        ),
        ("| NVIDIA-SMI 525.60   Driver Version: 525.60.13   CUDA Version: ERR! |", {"version": "525.60.13"}),
        ("| NVIDIA-SMI 390.48                 Driver Version: 390.48   |", {"version": "390.48"}),
        ("| NVIDIA-SMI 610.1  KMD Version: 610.10  CUDA UMD Version: 13.3 |", {"version": "610.10", "cuda": "13.3"}),
        ("| NVIDIA-SMI 550.76.01  Driver Version: 552.22  CUDA Version: 12.4 |", {"version": "552.22", "cuda": "12.4"}),
    ],
)
def test_the_head_of_nvidia_smi(header: str, driver: dict[str, str]) -> None:
    assert facts_from_text(header) == {"driver": driver}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("|   0  NVIDIA GeForce RTX 3060 ...  WDDM | 00000000:01:00.0  On |  N/A |", "NVIDIA GeForce RTX 3060"),
        ("|   0  GeForce RTX 208...  Off  | 00000000:01:00.0 Off |   N/A |", "GeForce RTX 208..."),
        ("|   0  Tesla V100-SXM2...  On   | 00000000:00:1E.0 Off |     0 |", "Tesla V100"),
        ("|   0  GeForce GTX 1080    Off  | 0000:01:00.0      On |   N/A |", "GeForce GTX 1080"),
        ("| 0 Tesla T4 Off | 00000000:00:04.0 Off | 0 |", "Tesla T4"),
        ("|   0  NVIDIA GeForce RTX 4090      TCC  |   00000000:01:00.0 Off |    Off |", "NVIDIA GeForce RTX 4090"),
    ],
)
def test_a_row_of_nvidia_smi(row: str, name: str) -> None:
    found = facts_from_text(f"| NVIDIA-SMI 470.1  Driver Version: 470.57.02  CUDA Version: 11.4 |\n{row}\n")
    assert found is not None
    assert found["gpus"] == [{"name": name}]


def test_queries_of_nvidia_smi() -> None:
    text = "name, driver_version, memory.total [MiB], compute_cap\nNVIDIA L4, 550.54.15, 23034 MiB, 8.9\n"
    assert facts_from_text(text) == {
        "driver": {"version": "550.54.15"},
        "gpus": [{"name": "NVIDIA L4", "memory_mib": 23034, "compute_capability": "8.9"}],
    }


def test_a_full_name_completes_a_cut_one() -> None:
    text = (
        "| NVIDIA-SMI 470.1  Driver Version: 470.57.02  CUDA Version: 11.4 |\n"
        "|   0  NVIDIA GeForce ...  Off  | 00000000:01:00.0 Off |   N/A |\n"
        "| 30%   57C    P2   126W / 350W |  22712MiB / 24265MiB |      0%      Default |\n"
        "Is debug build: False\nROCM used to build PyTorch: N/A\n"
        "GPU models and configuration: GPU 0: NVIDIA GeForce RTX 3090\n"
    )
    found = facts_from_text(text)
    assert found is not None
    assert found["gpus"] == [{"name": "NVIDIA GeForce RTX 3090", "memory_mib": 24265}]


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ("Package Version\n------- -------\ntorch   2.0.1\n", {"torch": "2.0.1"}),
        (
            "$ pip list | grep torch\ntorch          2.0.1+cu118\ntorchvision    0.15.2\n$ ",
            {"torch": "2.0.1+cu118", "torchvision": "0.15.2"},
        ),
        ("C:\\> pip freeze\ntorch==2.0.1\n", {"torch": "2.0.1"}),
        ("numpy==1.2.3\ntorch==2.0.1\nfoo==1\n", {"numpy": "1.2.3", "torch": "2.0.1", "foo": "1"}),
        (
            "$ pip freeze\ntorch @ https://x.y/whl/cu118/torch-2.0.1%2Bcu118-cp310-cp310-linux_x86_64.whl\n",
            {"torch": "2.0.1+cu118"},
        ),
        ("Name: torch\nVersion: 2.0.1\nSummary: Tensors\n", {"torch": "2.0.1"}),
        ("$ pip list\nnumpy (1.13.1)\ntorch (0.4.1, /src/torch)\n", {"numpy": "1.13.1", "torch": "0.4.1"}),
        (
            "$ poetry show\nnumpy (!)   1.26.4  Fundamental package\ntorch       2.1.0   Tensors\n",
            {"numpy": "1.26.4", "torch": "2.1.0"},
        ),
        ("Package Version Editable project location\n--- --- ---\nvllm 0.6.3 /src/vllm\n", {"vllm": "0.6.3"}),
        (
            "  Name        Version  Build                          Channel\n────────────\n"
            "  pytorch     2.1.0    cuda112py39hed2ef5d_200        conda-forge\n",
            {"torch": "2.1.0+cu112"},
        ),
        ("torch==2.0.1\n\nPackage Version\n---- ----\ntorch 2.0.0\ntorch 1.0.0\n", {"torch": "2.0.0"}),
    ],
)
def test_lists_of_packages(text: str, packages: dict[str, str]) -> None:
    found = facts_from_text(text)
    assert found is not None
    assert found["packages"] == packages


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 11.8, V11.8.89\n",
            {"toolkit": {"nvcc": "11.8.89"}},
        ),
        ("Cuda compilation tools, release 9.0", {"toolkit": {"nvcc": "9.0"}}),
        ("ldd (Ubuntu GLIBC 2.35-0ubuntu3.1) 2.35\n", {"os": {"system": "Linux", "glibc": "2.35"}}),
        ("ldd (GNU libc) 2.17\n", {"os": {"system": "Linux", "glibc": "2.17"}}),
        (
            "Distributor ID: Ubuntu\nDescription:    Ubuntu 20.04.6 LTS\nRelease:        20.04\n",
            {"os": {"system": "Linux", "distro": "ubuntu", "distro_version": "20.04"}},
        ),
        (
            "ProductName:    macOS\nProductVersion: 14.4.1\nBuildVersion:   23E224\n",
            {"os": {"system": "Darwin", "distro_version": "14.4.1"}},
        ),
        (
            "Linux host 5.15.153.1-microsoft-standard-WSL2 #1 SMP Fri Mar 29 23:14:13 UTC 2024 x86_64 GNU/Linux\n",
            {
                "os": {"system": "Linux", "kernel": "5.15.153.1-microsoft-standard-WSL2", "wsl": True},
                "cpu": {"arch": "x86_64"},
            },
        ),
    ],
)
def test_output_of_system_commands(text: str, facts: dict[str, Any]) -> None:
    assert facts_from_text(text) == facts


def test_paddle() -> None:
    text = (
        "Paddle version: 2.4.1\nPaddle With CUDA: True\n\nOS: ubuntu 18.04\nPython version: 3.7.13\n\n"
        "CUDA version: 11.2.152\nBuild cuda_11.2.r11.2/compiler.0\ncuDNN version: 8.1.1\n"
        "Nvidia driver version: 510.47.03\n"
        "Nvidia driver List:\nGPU 0: Tesla V100-SXM2-32GB\nGPU 1: Tesla V100-SXM2-32GB\n"
    )
    assert facts_from_text(text) == {
        "python": {"version": "3.7.13"},
        "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "18.04"},
        "toolkit": {"nvcc": "11.2.152"},
        "driver": {"version": "510.47.03"},
        "packages": {"paddlepaddle-gpu": "2.4.1"},
        "gpus": [{"name": "Tesla V100-SXM2-32GB"}, {"name": "Tesla V100-SXM2-32GB"}],
        "cudnn": {"system": "8.1.1"},
    }


def test_tensorflow_environment_script() -> None:
    text = (
        "\n== check python ==========\npython version: 3.6.8\npython branch: \n"
        "\n== check os platform ==========\nos: Linux\n"
        "linux distribution: ('Ubuntu', '18.04', 'bionic')\n"
        "\n== check pips ==========\nnumpy                1.16.4 \ntensorflow-gpu (1.14.0)\n"
        "\n== tensorflow import ==========\ntf.version.VERSION = 1.14.0\n"
        "\n== env ==========\nLD_LIBRARY_PATH /usr/local/cuda-10.0/lib64\n"
        "DYLD_LIBRARY_PATH is unset\n"
    )
    assert facts_from_text(text) == {
        "python": {"version": "3.6.8"},
        "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "18.04"},
        "packages": {"numpy": "1.16.4", "tensorflow-gpu": "1.14.0", "tensorflow": "1.14.0"},
        "env": {"LD_LIBRARY_PATH": "/usr/local/cuda-10.0/lib64"},
    }


def test_detectron2() -> None:
    text = (
        "sys.platform            linux\nPython                  3.8.10 (default) [GCC 9.4.0]\n"
        "numpy                   1.21.2\nPyTorch                 1.10.0+cu113 @/opt/torch\n"
        "GPU 0,1                 NVIDIA A100-SXM4-40GB (arch=8.0)\nDriver version          470.57.02\n"
    )
    found = facts_from_text(text)
    assert found is not None
    assert found["gpus"] == [{"name": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0"}] * 2
    assert found["packages"] == {"torch": "1.10.0+cu113", "numpy": "1.21.2"}
    assert found["driver"] == {"version": "470.57.02"}


def test_a_report_with_its_error() -> None:
    found = facts_from_text(TRACEBACK + "\nPython 3.10.12 (main) \n\nPackage Version\n---- ---\ntorch 2.4.0\n")
    assert found == {"packages": {"torch": "2.4.0"}, "python": {"version": "3.10.12"}}
