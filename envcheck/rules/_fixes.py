"""Building the commands of fixes. Imported only when something is wrong.

Prefer another wheel over another driver: it needs no root, no reboot, and can be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Fix
from envcheck.versions import canonical, compare_numbers, minor, numbers, public

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix

TORCH_INDEX = "https://download.pytorch.org/whl/"
CUDA_SEEN = {
    "torch": 'python -c "import torch; print(torch.cuda.is_available())"',
    "onnxruntime-gpu": 'python -c "import onnxruntime; print(onnxruntime.get_available_providers())"',
    "tensorflow": "python -c \"import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))\"",
    "jax": 'python -c "import jax; print(jax.devices())"',
}
"""Commands that show whether a framework sees a GPU."""

_COMPANIONS = ("torchvision", "torchaudio")


def pip_install(*requirements: str, index: str = "", note: str = "", verify: str = "") -> Fix:
    """Install into this environment."""
    quoted = " ".join(f'"{one}"' if any(sign in one for sign in "=<>[ ") else one for one in requirements)
    return Fix(f"pip install {quoted}" + (f" --index-url {index}" if index else ""), note, "safe", verify)


def torch_label(cuda: str) -> str:
    """``12.4`` -> ``cu124``."""
    return "cu" + "".join(map(str, numbers(cuda)[:2]))


def torch_install(version: str, cuda: str, packages: Packages | None = None, note: str = "") -> Fix:
    """Install a torch build from PyTorch's index, with the vision and audio packages that are there.

    The local label is part of the requirement: without it pip keeps an installed build of the same version.
    """
    label = torch_label(cuda)
    wanted = [f"torch=={version}+{label}"]
    installed = packages.version("torch") if packages is not None else None
    for name in _COMPANIONS:
        if packages is None or name not in packages:
            continue
        theirs = packages.version(name)
        same = installed is not None and public(installed) == version and theirs is not None
        wanted.append(f"{name}=={public(theirs)}+{label}" if same and theirs is not None else name)
    return pip_install(*wanted, index=TORCH_INDEX + label, note=note, verify=CUDA_SEEN["torch"])


def best_torch(
    matrix: Matrix,
    version: str | None,
    serves: Callable[[str], bool | None],
    gpus: Sequence[GpuView] = (),
    python: str | None = None,
) -> tuple[str, str] | None:
    """A torch release and the CUDA of its build that fit this machine: the installed release, or the nearest to it.

    Newer releases come before older ones; without an installed release, the newest is taken.

    ``serves`` tells whether the driver serves a CUDA release. With GPUs, only builds that are listed to cover all of
    them are taken.
    """
    rows = sorted(matrix.rows("torch-variants"), key=lambda row: numbers(row["torch"]), reverse=True)
    mine = minor(version) if version and len(numbers(version)) > 1 else None
    newest: dict[str, str] = {}
    for one in matrix.rows("torch-builds"):  # in the order of releases
        newest[minor(one["torch"])] = one["torch"]
    if mine:
        place = next((at for at, row in enumerate(rows) if row["torch"] == mine), None)
        if place is not None:
            rows = [*rows[place::-1], *rows[place + 1 :]]
    for row in rows:
        if python and row["python"] and minor(python) not in row["python"]:
            continue
        for cuda in sorted(row["cuda"] or [], key=numbers, reverse=True):
            release = newest.get(row["torch"], f"{row['torch']}.0")
            if serves(cuda) and _covers(matrix, release, cuda, gpus):
                exact = public(version) if version and row["torch"] == mine and len(numbers(version)) > 2 else release
                return exact, cuda
    return None


def _covers(matrix: Matrix, release: str, cuda: str, gpus: Sequence[GpuView]) -> bool:
    """Whether a torch build is listed to have machine code for all GPUs."""
    from envcheck.matrix.torch import torch_archs
    from envcheck.targets import runs_on

    if not gpus:
        return True
    row = torch_archs(matrix, release, cuda)
    targets = row["sass"] or [] if row is not None else []
    return bool(targets) and all(gpu.sm is None or any(runs_on(target, gpu.sm) for target in targets) for gpu in gpus)


def best_ort(matrix: Matrix, majors: Iterable[int], gpus: Sequence[GpuView] = ()) -> tuple[str, str] | None:
    """The newest onnxruntime-gpu whose CUDA major is among ``majors`` and that covers all GPUs; with that major."""
    from envcheck.targets import ptx_serves, runs_on

    wanted = set(majors)
    rows = sorted(matrix.rows("ort-gpu"), key=lambda row: numbers(row["onnxruntime_gpu"]), reverse=True)
    for row in rows:
        if not row["cuda_major"] or int(row["cuda_major"]) not in wanted or row["onnxruntime_gpu"].count(".") < 2:
            continue
        targets, ptx = row["sass"] or [], row["ptx"] or []
        fits = all(
            gpu.sm is None
            or any(runs_on(target, gpu.sm) for target in targets)
            or any(ptx_serves(target, gpu.sm) and numbers(target)[0] >= gpu.sm[0] - 1 for target in ptx)
            for gpu in gpus
        )
        if fits and (targets or not gpus):
            return str(row["onnxruntime_gpu"]), str(row["cuda_major"])
    return None


def framework_fix(
    package: str,
    matrix: Matrix,
    driver: Driver | None,
    gpus: Sequence[GpuView],
    packages: Packages | None,
    python: str | None = None,
) -> Fix | None:
    """Another build of this package that fits driver and GPUs; None when none is known."""
    from envcheck.rules._floors import judge

    def serves(cuda: str) -> bool | None:
        return True if driver is None else judge(driver, cuda, matrix).ok

    if driver is not None and driver.tegra:
        return Fix("", f"install the build of {package} that NVIDIA makes for this JetPack", "review")
    installed = packages.version(package) if packages is not None else None
    gpu_names = " and ".join(dict.fromkeys(gpu.name for gpu in gpus))
    for_whom = ", ".join(filter(None, (str(driver) if driver else "", gpu_names))) or "this machine"
    if package == "torch":
        best = best_torch(matrix, installed, serves, gpus, python)
        return torch_install(*best, packages, f"the build for CUDA {best[1]} fits {for_whom}") if best else None
    from envcheck.rules._coverage import toolkit_side

    shown = [gpu.sm for gpu in gpus if gpu.sm is not None]
    majors = [
        major
        for major in (13, 12, 11)
        if serves(f"{major}.1") and not any(toolkit_side(str(major), sm, matrix) for sm in shown)
    ]
    if package == "onnxruntime-gpu":
        found = best_ort(matrix, majors, gpus)
        if found is None:
            return None
        note = f"the newest one for CUDA {found[1]}, which fits {for_whom}"
        return pip_install(f"onnxruntime-gpu=={found[0]}", note=note, verify=CUDA_SEEN["onnxruntime-gpu"])
    if package.startswith(("jax-cuda", "jaxlib")) and majors and majors[0] >= 12:
        note = f"CUDA {majors[0]} is what {for_whom} takes"
        return pip_install(f"jax[cuda{majors[0]}]", note=note, verify=CUDA_SEEN["jax"])
    if package.startswith("tensorrt") and majors:
        return pip_install(f"tensorrt-cu{majors[0]}", note=f"the build for CUDA {majors[0]} fits {for_whom}")
    if package.startswith("cupy") and majors:
        return pip_install(f"cupy-cuda{majors[0]}x", note=f"remove {package} first: pip uninstall -y {package}")
    if package in ("tensorflow", "tensorflow-gpu"):
        return _tensorflow_fix(matrix, serves, for_whom, python)
    return None


def _tensorflow_fix(
    matrix: Matrix, serves: Callable[[str], bool | None], for_whom: str, python: str | None
) -> Fix | None:
    rows = [row for row in matrix.rows("tensorflow", os="linux") if row["cuda"] and serves(row["cuda"])]
    if python:
        rows = [row for row in rows if minor(python) in (row["python"] or [])]
    if not rows:
        return None
    row = max(rows, key=lambda one: numbers(one["tensorflow"]))
    release = row["tensorflow"]
    extra = "[and-cuda]" if row["extra_cuda"] else ""
    note = f"built with CUDA {row['cuda']}, which fits {for_whom}"
    return pip_install(f"tensorflow{extra}=={release}", note=note, verify=CUDA_SEEN["tensorflow"])


def driver_update(
    matrix: Matrix,
    driver: Driver | None,
    floor: str | None,
    gpus: Sequence[GpuView] = (),
    *,
    cuda: str | None = None,
    container: bool = False,
    wsl: bool = False,
    system: str | None = None,
    distro: str | None = None,
) -> Fix | None:
    """Install a driver at or above ``floor``; None when no such driver supports all the GPUs."""
    windows = (driver is not None and driver.windows) or wsl or system == "Windows"
    where = "on the host (a container brings no driver): " if container else ""
    if driver is not None and driver.tegra:
        from envcheck.rules._floors import jetson_compat

        best = jetson_compat(driver, cuda, matrix) if cuda else None
        if best is None or cuda is None or compare_numbers(best, cuda) < 0:
            return Fix("", f"install a JetPack whose driver serves CUDA {cuda or floor}", "manual", "nvidia-smi")
        command = f"sudo apt-get install cuda-compat-{minor(best).replace('.', '-')}"
        return Fix(command, "the user-mode driver for this CUDA on Jetson", "manual", "nvidia-smi")
    if floor is None:
        return None
    if windows:
        place = "on Windows, not inside WSL: " if wsl else ""
        text = f"{place}install NVIDIA's Windows driver {floor} or newer"
        return Fix("", text, "manual", "nvidia-smi")
    branch = branch_for(matrix, floor, gpus)
    if branch is None:
        return None
    command = f"sudo apt-get install {driver_package(branch, gpus)}" if distro in (None, "ubuntu", "debian") else ""
    if distro == "debian":
        command = "sudo apt-get install nvidia-driver"
    note = f"{where}the driver of branch {branch} (at least {floor}), then reboot"
    return Fix(command, note, "manual", "nvidia-smi")


def branch_for(matrix: Matrix, floor: str, gpus: Sequence[GpuView] = ()) -> int | None:
    """A maintained driver branch at or above ``floor`` that drives all GPUs: a long-term one before the others."""
    lowest, last = numbers(floor)[0], 9999
    for gpu in gpus:
        row = matrix.row("compute-capabilities", cc=gpu.cc) if gpu.cc else None
        if row is not None and row["last_driver_branch"]:
            last = min(last, numbers(row["last_driver_branch"])[0])
        if row is not None and row["first_driver_branch"]:
            lowest = max(lowest, numbers(row["first_driver_branch"])[0])
    fitting = [row for row in matrix.rows("driver-branches") if lowest <= numbers(row["branch"])[0] <= last]
    if not fitting:
        return None
    alive = [row for row in fitting if row["eol"] is None or str(row["eol"]) >= matrix.date] or fitting[-1:]
    alive.sort(key=lambda row: (row["type"] != "long-term", row["type"] != "production", numbers(row["branch"])))
    return numbers(alive[0]["branch"])[0]


def driver_package(branch: int | str, gpus: Sequence[GpuView] = ()) -> str:
    """Ubuntu's package of a driver branch, with the open kernel module where a GPU (Blackwell and newer) needs it.

    Source: NVIDIA Transitions Fully Towards Open-Source GPU Kernel Modules (developer blog).
    """
    return f"nvidia-driver-{branch}" + (
        "-open" if any(gpu.sm is not None and gpu.sm >= (10, 0) for gpu in gpus) else ""
    )


def compat_package(cuda: str, gpus: Sequence[GpuView]) -> Fix | None:
    """cuda-compat, where all GPUs are data-centre GPUs; else None."""
    if not gpus or not all(gpu.data_center for gpu in gpus) or len(numbers(cuda)) < 2:
        return None
    dashed = minor(cuda).replace(".", "-")
    command = (
        f"sudo apt-get install cuda-compat-{dashed} && "
        f"export LD_LIBRARY_PATH=/usr/local/cuda-{minor(cuda)}/compat:$LD_LIBRARY_PATH"
    )
    note = (
        "forward compatibility: a newer user-mode driver on the kernel driver that is there (data-centre GPUs, Linux)"
    )
    return Fix(command, note, "review", "nvidia-smi")


def toolkit_install(cuda: str, note: str = "") -> Fix:
    """Another CUDA toolkit beside the installed ones."""
    dashed = minor(cuda).replace(".", "-")
    command = f"sudo apt-get install cuda-toolkit-{dashed} && export CUDA_HOME=/usr/local/cuda-{minor(cuda)}"
    return Fix(command, note, "manual", "nvcc --version")


def uninstall(*names: str) -> str:
    """The command that removes distributions."""
    return "pip uninstall -y " + " ".join(canonical(name) for name in names)
