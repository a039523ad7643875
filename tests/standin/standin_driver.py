"""Builds the stand-in driver (standin.c, nvml.c, cuda.c, smi.c) and says how it is to answer.

Use::

    driver = StandIn(folder, machine("550.54.15", gpu(0), gpu(1, name="Tesla T4", cc="7 5")))
    snapshot = envcheck.probes.collect(driver.host())        # with /proc, /sys and /dev of that machine
    snapshot = envcheck.probes.collect(Host(env=driver.env)) # this machine's own files, the driver on the loader's path
    driver.answer({**driver.description, **fault("nvmlDeviceGetName", "segv")})

For a matrix of faults: ``FUNCTIONS`` (each name of a function), ``VERBS`` (what it can do instead of answering),
``NVML_ERRORS`` and ``CUDA_ERRORS`` (codes that it can give back), ``is_cuda(name)``, ``COMMANDS`` and ``LOADS``.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envcheck.probes.host import Host

HERE = Path(__file__).parent
Answers = Mapping[str, str | int]

FUNCTIONS: tuple[str, ...] = tuple(
    name
    for source in ("nvml.c", "cuda.c")
    for name in re.findall(r"^(?:int |const char \*)((?:nvml|cu)[A-Z]\w+)\(", (HERE / source).read_text("utf-8"), re.M)
)
"""Every function of the two libraries, as the sources define them."""

COMMANDS = ("nvidia-smi",)
LOADS = ("libnvidia-ml.load", "libcuda.load")
"""Names that VERBS apply to as well: the command, and the moment when a library is loaded."""

VERBS = (
    "hang", "ignore-term-and-hang", "block-every-signal-and-hang", "abort", "segv", "exit", "exit-1", "noise",
    "garbage", "garbage-text", "silent",
)  # fmt: skip
"""``exit``: ends the process with 0; ``noise``: prints text that is none, then answers; ``garbage``: strings without
an end that are no UTF-8, numbers with every bit set; ``garbage-text``: control characters, INT_MAX; ``silent``: says
that it succeeded and answers nothing."""

FATAL = ("hang", "ignore-term-and-hang", "block-every-signal-and-hang", "abort", "segv", "exit", "exit-1")
"""The verbs after which the process says nothing more."""

NVML_ERRORS = (*range(1, 30), 999)
CUDA_ERRORS = (1, 2, 3, 4, 34, 35, 36, 46, 100, 101, 200, 201, 304, 500, 800, 801, 802, 803, 804, 805, 999)
CUDA_NAMES = {
    1: "CUDA_ERROR_INVALID_VALUE", 2: "CUDA_ERROR_OUT_OF_MEMORY", 3: "CUDA_ERROR_NOT_INITIALIZED",
    4: "CUDA_ERROR_DEINITIALIZED", 34: "CUDA_ERROR_STUB_LIBRARY", 46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    100: "CUDA_ERROR_NO_DEVICE", 101: "CUDA_ERROR_INVALID_DEVICE", 200: "CUDA_ERROR_INVALID_IMAGE",
    201: "CUDA_ERROR_INVALID_CONTEXT", 304: "CUDA_ERROR_OPERATING_SYSTEM", 500: "CUDA_ERROR_NOT_FOUND",
    800: "CUDA_ERROR_NOT_PERMITTED", 801: "CUDA_ERROR_NOT_SUPPORTED", 802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", 804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    805: "CUDA_ERROR_MPS_CONNECTION_FAILED", 999: "CUDA_ERROR_UNKNOWN",
}  # fmt: skip
"""What cuGetErrorName says; the others are unknown to it."""


def is_cuda(function: str) -> bool:
    """Its errors are CUDA's, not NVML's."""
    return function.startswith(("cu", "libcuda"))


def fault(function: str, what: str | int, at_call: int = 0) -> dict[str, str | int]:
    """Lines for a description: a code to give back, a verb, or ``missing``; from this call on (0: every one)."""
    if what == "missing":
        return {"missing": function}
    kind = "error" if isinstance(what, int) else "do"
    return {f"{function}.{kind}": what, **({f"{function}.on": at_call} if at_call else {})}


@functools.cache
def build() -> Path:
    """A folder with the two compiled libraries and nvidia-smi, made once a test run."""
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    assert compiler, "the stand-in driver needs a C compiler: install gcc"
    folder = Path(tempfile.mkdtemp(prefix="envcheck-standin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    common = [compiler, "-O1", "-Wall", "-Wextra", "-I", str(HERE), str(HERE / "standin.c")]
    for name, source in (("libnvidia-ml.so.1", "nvml.c"), ("libcuda.so.1", "cuda.c")):
        shared = ["-shared", "-fPIC", "-fvisibility=default", f"-Wl,-soname,{name}", "-Wl,-Bsymbolic"]
        subprocess.run([*common, *shared, str(HERE / source), "-o", str(folder / name)], check=True)
    subprocess.run([*common, str(HERE / "smi.c"), "-o", str(folder / "nvidia-smi")], check=True)
    return folder


class StandIn:
    """One driver, installed into a folder as a distribution would: real files with a version, links for the loader.

    ``description``: the answers, and these keys of ours: ``library`` and ``libcuda.file`` (versions in the names of
    the files; without them that of ``driver``), ``place`` (their folder below ``folder``), ``missing`` (functions that
    this driver does not have, separated by blanks), ``module`` (/proc/driver/nvidia/version; without it ``driver``;
    ``none``: not loaded), ``open`` (1: the open kernel module), ``nodes`` (names in /dev), ``wsl`` (1),
    ``smi`` (0: without nvidia-smi), ``denied`` (names in /dev that this process may not use), ``bound`` (kernel driver
    of the GPUs on the PCI bus; ``none``), ``switch`` (1: an NVSwitch on the bus).
    """

    def __init__(self, folder: Path, description: Answers) -> None:
        self.description: dict[str, str | int] = dict(description)
        self.root = folder / "root"
        self.folder = folder / str(description.get("place", "driver"))
        self.bin = folder / "bin"
        self.file = folder / "answers.txt"
        for path in (self.root, self.folder, self.bin):
            path.mkdir(parents=True, exist_ok=True)
        release = str(description.get("driver", "550.54.15"))
        nvml = str(description.get("library", release))
        self._install("libnvidia-ml.so.1", nvml)
        self._install("libcuda.so.1", str(description.get("libcuda.file", nvml)))
        if description.get("smi", 1):
            shutil.copy(build() / "nvidia-smi", self.bin / "nvidia-smi")
        self._files(release)
        self.answer(description)

    def _install(self, name: str, version: str) -> None:
        data = (build() / name).read_bytes()
        for function in str(self.description.get("missing", "")).split():
            # The symbol's name is changed in place: the loader's hash table no longer leads to it.
            data = data.replace(b"\0" + function.encode() + b"\0", b"\0X" + function[1:].encode() + b"\0")
        real = self.folder / name.replace(".so.1", f".so.{version}")
        real.write_bytes(data)
        real.chmod(0o755)
        link = self.folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(real.name)

    def _files(self, release: str) -> None:
        """What the kernel module shows of itself: /proc, /sys and /dev."""
        told = self.description
        gpus = [index for index in range(64) if f"gpu.{index}.name" in told]
        module = str(told.get("module", release))
        if told.get("wsl"):
            self._write("/dev/dxg", "")
        elif module != "none":
            kind = "Open Kernel Module for x86_64" if told.get("open") else "x86_64 Kernel Module"
            text = f"NVRM version: NVIDIA UNIX {kind}  {module}  Release Build  (builder@host)  Tue Jan  6 2026\n"
            self._write("/proc/driver/nvidia/version", text + "GCC version:  gcc version 13.3.0\n")
            self._write("/sys/module/nvidia/version", f"{module}\n")
            every = ["nvidiactl", "nvidia-uvm", *(f"nvidia{index}" for index in gpus)]
            for name in str(told.get("nodes", " ".join(every))).split():
                self._write(f"/dev/{name}", "")
        for index in gpus:
            bus, pci = str(told.get(f"gpu.{index}.bus", "")), str(told.get(f"gpu.{index}.pci", ""))
            if len(bus) == 16 and len(pci) == 8 and not told.get("wsl"):
                device = f"/sys/bus/pci/devices/{bus[4:].lower()}"
                self._write(f"{device}/class", "0x030200\n")
                self._write(f"{device}/vendor", "0x10de\n")
                self._write(f"{device}/device", f"0x{pci[:4].lower()}\n")
                bound = self.root / f"{device}/driver".lstrip("/")
                kind = str(told.get("bound", "none" if module == "none" else "nvidia"))
                if kind != "none" and not bound.is_symlink():
                    bound.symlink_to(f"../../../../bus/pci/drivers/{kind}")
        if told.get("switch"):
            self._write("/sys/bus/pci/drivers/nvidia-nvswitch/0000:c0:00.0", "")

    def _write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def answer(self, answers: Answers) -> None:
        """Other answers from now on; the files stay as they were made."""
        self.file.write_text("".join(f"{key} {value}\n" for key, value in answers.items()), encoding="utf-8")

    def called(self, env: Mapping[str, str] | None = None) -> list[str]:
        """The functions that envcheck calls on this machine, in order, each as often as it is called."""
        from envcheck.probes import nvidia
        from envcheck.probes.log import Log

        trace = self.file.with_suffix(".trace")
        trace.unlink(missing_ok=True)
        kept = self.file.read_text(encoding="utf-8")
        self.file.write_text(f"{kept}trace {trace}\n", encoding="utf-8")
        nvidia.probe(StandInHost(self.root, {**self.env, **(env or {})}), Log())
        self.file.write_text(kept, encoding="utf-8")
        return trace.read_text(encoding="utf-8").split() if trace.exists() else []

    @property
    def env(self) -> dict[str, str]:
        """The environment in which a process finds this driver."""
        return {
            "PATH": f"{self.bin}:{os.environ.get('PATH', '')}",
            "LD_LIBRARY_PATH": str(self.folder),
            "ENVCHECK_STANDIN": str(self.file),
        }

    def host(self, deadline: float | None = None, **env: str) -> StandInHost:
        """The live system with this machine's kernel module, device nodes and PCI bus in the place of its own."""
        host = StandInHost(self.root, {**self.env, **env}, deadline)
        host.denied = tuple(str(self.description.get("denied", "")).split())
        return host


class StandInHost(Host):
    """The live system, but for what a kernel module shows: that lies below ``root``."""

    OURS = ("/proc/driver/nvidia", "/sys/module/nvidia", "/sys/bus/pci", "/dev")

    def __init__(self, root: Path, env: Mapping[str, str], deadline: float | None = None) -> None:
        super().__init__(env, deadline)
        self.root = root
        self.denied: tuple[str, ...] = ()
        """Names in /dev that this process may not use."""

    def _ours(self, path: str) -> str:
        is_ours = any(path == place or path.startswith((place + "/", place + "_")) for place in self.OURS)
        return f"{self.root}{path}" if is_ours else path

    def _bytes(self, path: str, limit: int) -> bytes:
        return super()._bytes(self._ours(path), limit)

    def listdir(self, path: str) -> list[str]:
        return super().listdir(self._ours(path))

    def exists(self, path: str) -> bool:
        return super().exists(self._ours(path))

    def isdir(self, path: str) -> bool:
        return super().isdir(self._ours(path))

    def query(self, name: str, *arguments: str) -> Any:
        if name == "access":
            return [path for path in arguments if path.removeprefix("/dev/") in self.denied]
        answer = super().query(name, *arguments)
        if name == "uname" and os.path.exists(f"{self.root}/dev/dxg"):
            answer["release"] = "5.15.167.4-microsoft-standard-WSL2"
        return answer

    def realpath(self, path: str) -> str:
        return super().realpath(self._ours(path)).removeprefix(os.path.realpath(self.root))


def gpu(index: int = 0, **facts: str | int) -> dict[str, str | int]:
    """Answers for one healthy GPU, with changes; a dot in a key is written as two underscores: ``mig__0="MIG-..."``."""
    own: dict[str, str | int] = {
        "name": "NVIDIA GeForce RTX 3090",
        "uuid": f"GPU-5ebe9f43-ac33-420b-aaaa-{index:012d}",
        "bus": f"00000000:{index + 1:02X}:00.0",
        "pci": "220410DE",
        "cc": "8 6",
        "memory": f"{24576 * 2**20} {24000 * 2**20}",
        "mode": 0,
        **facts,
    }
    return {f"gpu.{index}.{key.replace('__', '.')}": value for key, value in own.items()}


def full_gpu(index: int = 0, **facts: str | int) -> dict[str, str | int]:
    """A data-centre GPU that answers every question."""
    return gpu(
        index,
        **{
            "name": "NVIDIA H100 80GB HBM3", "pci": "233010DE", "cc": "9 0", "ecc": 1, "persistence": 1,
            "memory": f"{81559 * 2**20} {81008 * 2**20}", "mig": 0, "virtual": 0, "fabric": "3 0", "throttle": "0x1",
            "pcie": "5 5 16 16", "process": "none",
            **facts,
        },
    )  # fmt: skip


def machine(release: str, *parts: Answers, cuda: int = 12040, **more: str | int) -> dict[str, str | int]:
    """The description of a machine with this driver."""
    named = {f"cuda.error.{code}": name for code, name in CUDA_NAMES.items()}
    own: dict[str, str | int] = {"driver": release, "nvml": f"{cuda // 1000}.{release}", "cuda": cuda, **named}
    for part in parts:
        own.update(part)
    return {**own, **more}
