"""Smoke tests as rules see them: of which package, on which GPU, where they ran, what they died of.

Imported only where smoke tests were made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.snapshot import Absent, SmokeCheck, SmokeTest, Unknown, known
from envcheck.facts import Facts
from envcheck.facts.imports import fault_in
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.facts.gpus import GpuView

FAMILIES = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnxruntime-*", "ort-nightly*"),
    "tensorflow": ("tensorflow", "tensorflow-cpu*", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos",
                   "tensorflow-rocm", "tensorflow-aarch64", "intel-tensorflow*", "tf-nightly*"),
    "jax": ("jax", "jaxlib", "jax-cuda*", "jax-rocm*"),
    "cupy": ("cupy", "cupy-*"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu*", "nvidia-tensorrt"),
}  # fmt: skip
"""Backend -> its distributions; a star stands for any ending."""

OTHERS = ("onnxruntime-extensions", "onnxruntime-genai", "onnxruntime-tools")
"""Distributions whose names begin so and that are something else."""

FUSES = ("Tensorrt", "NvTensorRTRTX", "OpenVINO", "CoreML", "MIGraphX", "QNN")
"""Providers of ONNX Runtime that make one kernel of many nodes: its kernels can't be held against others' by number."""

PROVIDER_WORDS = {
    "CUDAExecutionProvider": ("providers_cuda", "CUDAExecutionProvider"),
    "TensorrtExecutionProvider": ("providers_tensorrt", "TensorRT", "Tensorrt"),
    "NvTensorRTRTXExecutionProvider": ("providers_nv_tensorrt", "NvTensorRTRTX"),
    "ROCMExecutionProvider": ("providers_rocm",),
    "MIGraphXExecutionProvider": ("providers_migraphx", "MIGraphX"),
    "OpenVINOExecutionProvider": ("providers_openvino", "OpenVINO"),
}
"""Provider -> how ONNX Runtime's messages name it."""

TOPICS = (
    ("memory", ("out of memory", "OUT_OF_MEMORY", "RESOURCE_EXHAUSTED", "CUBLAS_STATUS_ALLOC_FAILED",
                "CUDNN_STATUS_ALLOC_FAILED", "Failed to allocate memory")),
    ("driver", ("driver version is insufficient", "INSUFFICIENT_DRIVER", "driver on your system is too old",
                "SYSTEM_DRIVER_MISMATCH", "unsupported display driver", "library version mismatch",
                "unsupported toolchain", "UNSUPPORTED_PTX_VERSION")),
    ("arch", ("no kernel image", "NO_BINARY_FOR_GPU", "invalid device function", "hipErrorNoBinaryForGpu",
              "not compatible with the current PyTorch", "ARCH_MISMATCH", "not supported by this GPU")),
    ("device", ("no CUDA-capable device", "No CUDA GPUs", "NVIDIA driver on your system", "ERROR_NO_DEVICE",
                "no ROCm-capable", "No HIP GPUs", "not yet initialized", "devices are busy or unavailable",
                "CUDA_ERROR_NOT_INITIALIZED", "No devices found", "failed call to cuInit", "CUDA initialization",
                "cudaGetDeviceCount")),
    ("build", ("not compiled with CUDA", "CUDA-enabled jaxlib is not installed", "not built with")),
    ("cudnn", ("CUDNN_STATUS", "cuDNN", "cudnn")),
)  # fmt: skip
"""What a message is about -> its words, the clearest first."""


class Cause(Struct, frozen=True):
    """What a test says itself about why it failed, or ran elsewhere."""

    kind: str = ""
    """As :class:`envcheck.facts.imports.Fault` has them, or one of :data:`TOPICS`; empty: nothing is named."""
    name: str = ""
    """The file name of the library, or the symbol."""
    text: str = ""
    """The message, without its time and its colours."""


class Smoked(Struct, frozen=True):
    """One smoke test."""

    test: SmokeTest
    package: str
    """Canonical name of the distribution; the backend's where none of its is known."""
    version: str | None
    gpu: GpuView | None
    """The NVIDIA GPU that it was on."""
    there: bool | None
    """Whether the machine has a device of this kind for programs to use; None: not known."""

    @property
    def on_gpu(self) -> bool:
        """Whether something else than the CPU was asked for."""
        return self.test.kind not in ("", "cpu")

    @property
    def own_failure(self) -> bool:
        """A step of it failed, or its process ended; not a result alone."""
        ended = any(stage.status not in ("ok", "skipped") for stage in self.test.stages)
        return self.test.outcome in ("crash", "hang", "exit", "memory") or (self.test.outcome == "failed" and ended)

    @property
    def passed(self) -> bool:
        """It ran where it should, and right, if perhaps with fewer bits."""
        wrong = [check for check in self.test.checks if check.status not in ("ok", "unsupported")]
        fine = all(narrow_type(check) or known(check.claimed) is False for check in wrong)
        right = any(check.status == "ok" or narrow_type(check) for check in self.test.checks)
        return self.test.outcome in ("ok", "wrong") and fine and right and not strayed(self.test)

    def __str__(self) -> str:
        text = f"{self.package} {self.version}" if self.version else self.package
        if model := known(self.test.model):
            text += f" with {model}"
        if not self.test.device:
            return text
        name = known(self.test.name) or (self.gpu.name if self.gpu is not None else "")
        return f"{text} on {place(self.test.device)}" + (f" ({name})" if name and self.on_gpu else "")


def views(facts: Facts) -> list[Smoked]:
    """All smoke tests, in their order."""
    return [_view(facts, test) for test in facts.snapshot.smoke]


def of_family(package: str, backend: str) -> bool:
    """Whether a distribution is the backend, or a part of it.

    >>> of_family("onnxruntime-gpu", "onnxruntime"), of_family("torchvision", "torch")
    (True, False)
    """
    name = canonical(package)
    if name in OTHERS:
        return False
    family = FAMILIES.get(backend, (canonical(backend),))
    return any(name == one or (one[-1] == "*" and name.startswith(one[:-1])) for one in family)


def _view(facts: Facts, test: SmokeTest) -> Smoked:
    package, version = _package(facts, test)
    visible = known(facts.get("visible_gpus")) if test.kind == "cuda" else None
    gpu, index = None, known(test.gpu)
    if visible:
        gpu = visible[index] if index is not None and 0 <= index < len(visible) else None
        if gpu is None and len(visible) == 1:
            gpu = visible[0]
    return Smoked(test, package, version, gpu, _there(facts, test.kind))


def _package(facts: Facts, test: SmokeTest) -> tuple[str, str | None]:
    """The distribution: the one that is told, else the one of the family that fits the kind of device."""
    packages, told = known(facts.get("packages")), known(test.package)
    if packages is None:
        return told or test.backend, known(test.version)
    names = [canonical(one.name) for one in packages if of_family(one.name, test.backend)]
    marked = [name for name in names if "gpu" in name or "cuda" in name] if test.kind == "cuda" else []
    exact = [name for name in names if name == test.backend]
    package = told or next(iter([*marked, *exact, *names]), test.backend)
    installed = packages.version(package)
    # The distribution's version has the label (+cu124), the module's often not.
    running = known(test.version)
    same = installed is not None and running is not None and installed.startswith(running)
    return package, installed if same or running is None else running


def _there(facts: Facts, kind: str) -> bool | None:
    if kind in ("", "cpu"):
        return True
    name = {"cuda": "visible_gpus", "rocm": "amd_gpus", "xpu": "intel_gpus"}.get(kind)
    if name is None:
        return None
    found = facts.get(name)
    return None if isinstance(found, Unknown) else not isinstance(found, Absent) and bool(found)


def place(device: str) -> str:
    """A device in words: ``cpu`` and ``CPUExecutionProvider`` are the CPU."""
    return "the CPU" if device.lower() in ("cpu", "cpu:0", "cpuexecutionprovider") else device


def is_cpu(where: str) -> bool:
    """Whether a framework's word for a device, or a provider, means the CPU."""
    return "cpu" in where.lower() and "gpu" not in where.lower()


def where_it_ran(test: SmokeTest) -> str:
    """The device that computed, in the framework's words; empty where it was not told."""
    return known(test.ran_on) or next((where for check in test.checks if (where := known(check.ran_on))), "")


def strayed(test: SmokeTest) -> str:
    """How a test left the device that was asked for, when it was not the CPU.

    ``cpu``: all of it ran on the CPU; ``partly``: most of its kernels did; ``other``: on another device; else empty.
    """
    if test.kind in ("", "cpu") or test.outcome == "untested":
        return ""
    provider = test.device.endswith("ExecutionProvider")
    if provider and test.providers and test.device not in test.providers:
        return "cpu" if is_cpu(test.providers[0]) else "other"
    if test.kernels and (provider or test.device in test.kernels):
        here, on_cpu = test.kernels.get(test.device, 0), sum(n for name, n in test.kernels.items() if is_cpu(name))
        if not here:
            return "cpu" if on_cpu else "other"
        if on_cpu > here and not test.device.startswith(FUSES):
            return "partly"
    where = where_it_ran(test)
    if where and is_cpu(where):
        return "cpu"
    kind, colon, number = where.partition(":")
    asked, _, index = test.device.partition(":")
    return "other" if colon and kind == asked and index and number != index else ""


def lines(test: SmokeTest) -> list[str]:
    """What it wrote to stderr about its device, without times and colours; of ONNX Runtime about this provider."""
    fallback = test.facts.get("fallback")  # what JAX logs of a plugin that does not start
    told = [_plain(line) for line in ([fallback] if fallback else []) + test.said]
    words = PROVIDER_WORDS.get(test.device, ())
    own = [line for line in told if any(word in line for word in words)]
    foreign = [word for device, some in PROVIDER_WORDS.items() if device != test.device for word in some]
    return list(dict.fromkeys(own or [line for line in told if not any(word in line for word in foreign)]))


def _plain(line: str) -> str:
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = line.partition("[ONNXRuntimeError] : ")[2].partition(" : ")[2].partition(" : ")[2] or line
    line = re.sub(r"^\S+\.py:\d+: \w*Warning: ", "", line)
    line = re.sub(r"^\d{4}-\d\d-\d\d [\d:.]+ \[[^\]]*\] ", "", line)
    return re.sub(r"(?<![\w.:/])/(?:[^/\s:]+/)+(?=[^/\s:]+)", "", line).strip()  # of paths the file names


def cause_of(test: SmokeTest) -> Cause:
    """What the error, or else stderr, names as the cause: what the loader says before what others say."""
    error = known(test.error)
    texts = [*([error] if error else []), *lines(test)]
    for text in texts:
        fault = fault_in(text)
        if fault.kind not in ("", "module"):
            return Cause(fault.kind, fault.name.replace("\\", "/").rpartition("/")[2], text)
    for text in texts:
        for topic, words in TOPICS:
            if any(word in text for word in words):
                return Cause(topic, "", text)
    if error and (fault := fault_in(error)).kind:
        return Cause(fault.kind, fault.name, error)
    return Cause("", "", error or next((line for line in lines(test) if "ailed" in line or "rror" in line), ""))


def narrow_type(check: SmokeCheck) -> str:
    """The data type whose error a wrong float32 result has: ``tf32``, ``bfloat16`` or ``float16``; else empty."""
    said = known(check.said) or ""
    if check.dtype != "float32" or check.status != "wrong":
        return ""
    return next((name for name in ("tf32", "bfloat16", "float16") if said.endswith(f"the error is that of {name}")), "")


def lacks_memory(one: Smoked) -> bool:
    """Whether a GPU had too little memory for it."""
    return one.on_gpu and one.test.outcome == "failed" and cause_of(one.test).kind == "memory"


def broken_types(test: SmokeTest) -> dict[str, SmokeCheck]:
    """Data types that are claimed and can't be computed: the check that failed."""
    return {
        check.dtype: check
        for check in reversed(test.checks)
        if check.status == "failed" and known(check.claimed) and check.dtype != "float32"
    }
