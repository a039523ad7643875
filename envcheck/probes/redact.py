"""What must not leave the machine is replaced before it enters a snapshot."""

from __future__ import annotations

import os
import re
from typing import Any

from msgspec import Struct

from envcheck.core.snapshot import Absent, EnvVar, Machine, ProbeRun, Snapshot, Stack, Unknown

ENV_ALLOWED = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDNN_PATH",
    "CUDA_MODULE_LOADING", "CUDA_FORCE_PTX_JIT", "CUDA_DISABLE_PTX_JIT", "CUDA_CACHE_DISABLE",
    "CUDA_LAUNCH_BLOCKING", "CUDA_VERSION", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_REQUIRE_CUDA", "NVIDIA_REQUIRE_DRIVER", "NVIDIA_REQUIRE_ARCH", "NVIDIA_REQUIRE_BRAND",
    "NVIDIA_DISABLE_REQUIRE", "CUDA_MPS_PIPE_DIRECTORY", "NVIDIA_TF32_OVERRIDE", "NVIDIA_PRODUCT_NAME",
    "NVIDIA_PYTORCH_VERSION", "NVIDIA_TENSORRT_VERSION", "NV_CUDNN_VERSION", "NV_CUDA_LIB_VERSION",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE",
    "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "UV_CUDA_DRIVER_VERSION",
    "VIRTUAL_ENV", "TORCH_CUDA_ARCH_LIST", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF",
    "PYTORCH_ENABLE_MPS_FALLBACK", "TORCH_HOME", "TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS", "XLA_PYTHON_CLIENT_MEM_FRACTION", "JAX_PLATFORMS", "JAX_PLATFORM_NAME",
    "ORT_DYLIB_PATH", "HSA_OVERRIDE_GFX_VERSION", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ROCM_PATH",
    "ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "KMP_DUPLICATE_LIB_OK", "KMP_AFFINITY", "MKL_THREADING_LAYER", "MKL_SERVICE_FORCE_INTEL", "NCCL_DEBUG",
    "NCCL_P2P_DISABLE", "NCCL_IB_DISABLE", "NCCL_SOCKET_IFNAME", "GLIBC_TUNABLES", "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "LANG", "LC_ALL", "WSL_DISTRO_NAME",
    "container",
)  # fmt: skip
"""Environment variables that may enter a snapshot; the value of every other one stays where it is."""


COMMON_NAMES = {
    "localhost", "root", "admin", "user", "ubuntu", "debian", "fedora", "centos", "rocky", "alpine", "nvidia",
    "jetson", "tegra", "docker", "podman", "container", "runner", "jovyan", "colab", "app", "apps", "bin", "lib",
    "lib32", "lib64", "usr", "opt", "etc", "var", "tmp", "srv", "dev", "run", "sys", "proc", "home", "local",
    "share", "data", "work", "workspace", "cuda", "python", "python3", "conda", "miniconda", "anaconda", "venv",
    "torch", "server", "worker", "node", "host", "linux", "windows", "desktop", "laptop", "build", "test", "tests",
    "ci", "site-packages", "dist-packages", "default", "base", "main",
}  # fmt: skip
"""Host and user names that tell nothing, and that are parts of paths which rules read."""

SHARED_HOMES = {
    "", "/root", "/tmp", "/usr", "/usr/local", "/opt", "/var", "/srv", "/home", "/nonexistent", "/app",
    "/workspace",
}  # fmt: skip
"""Home folders of services; they name nobody, and replacing them would damage other paths."""


def redact(text: str, home: str = "", hostname: str = "", user: str = "") -> str:
    """Home folders, user names in paths, the host name, GPU UUIDs and what looks like a credential are replaced.

    Applying it again changes nothing more: a hash is not hashed again.
    """
    if (home := home.rstrip("/")) not in SHARED_HOMES and home in text:
        text = re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])", "~", text)
    if "/root" in text:
        text = re.sub(r"(?<![\w.-])/root(?=[/:;\s\"']|$)", "~", text)
    if "/home/" in text or "/Users/" in text or "\\Users\\" in text:
        text = re.sub(r"(^|[^\w.~-])(?:/home/|/Users/|[A-Za-z]:\\+Users\\+)[^/\\:;,=<>()\s\"']+", r"\1~", text)
        # Below another folder (/mnt/c/Users/NAME, /nfs/home/NAME) only the name goes.
        text = re.sub(r"([/\\](?:home/|Users/|Users\\+))[^/\\:;,=<>()\s\"']+", r"\1<user>", text)
    if identifies(user) and user in text:
        text = re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\:;\s\"']|$)", "<user>", text)
    if identifies(hostname) and hostname in text:
        text = re.sub(rf"(?<![\w.-]){re.escape(hostname)}(?![\w-])", "<host>", text)
    if "GPU-" in text or "MIG-" in text:
        text = re.sub(
            r"\b((?:GPU|MIG)-(?:GPU-)?)([0-9a-fA-F]{4,8}(?:-[0-9a-fA-F]{1,12})*)(?![0-9A-Za-z])",
            lambda m: m[1] + short_hash(m[2]),
            text,
        )
    if "://" in text:
        text = re.sub(r"://[^/@\s]+@", "://<credentials>@", text)
    return text


def identifies(name: str) -> bool:
    """The name of a host or a user that could tell whose machine it is."""
    return len(name) > 2 and name.lower() not in COMMON_NAMES


def short_hash(text: str) -> str:
    """12 hexadecimal digits that stand for a text."""
    from hashlib import sha256

    return sha256(text.lower().encode()).hexdigest()[:12]


def hostname() -> str:
    """The host name, cheaply; empty where there is none."""
    try:
        return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    except OSError:
        return ""


_WHOLE = (Snapshot, Machine, Stack)
"""Their parts are looked through one by one."""
_MARKS = ("/", "\\", "@", "GPU-", "MIG-")
"""A text without any of these holds no path, no address and no UUID."""


def scrub(snapshot: Snapshot, home: str = "", hostname: str = "", user: str = "") -> None:
    """Redact every text of a snapshot, in place.

    The host name is replaced only in paths, in variables and in the log: elsewhere (``ubuntu``, a package's name) the
    same word is a fact.
    """
    import msgspec

    needles = ["/home/", "/Users/", "\\Users\\", "/root", "GPU-", "MIG-", "://"]
    needles += [name for name in (hostname, user) if identifies(name)]
    if home.rstrip("/") not in SHARED_HOMES:
        needles.append(home.rstrip("/"))
    encoded = [needle.replace("\\", "\\\\").encode("utf-8", "replace") for needle in needles]

    def clear(part: Any) -> bool:
        """Nothing in it is to be replaced: as JSON it is looked through at once."""
        try:
            data = msgspec.json.encode(part)
        except UnicodeEncodeError:  # a variable or a file name that is not UTF-8: every text is looked at
            return False
        return not any(needle in data for needle in encoded)

    done: dict[tuple[str, bool], str] = {}

    def clean(value: Any, free: bool) -> Any:
        kind = type(value)
        if kind is str:
            if not free and value.isascii() and not any(mark in value for mark in _MARKS):
                return value
            known = done.get((value, free))
            if known is None:
                with_host = free or "/" in value or "\\" in value or "@" in value
                text = redact(value, home, hostname if with_host else "", user)
                known = done[value, free] = text.encode("utf-8", "replace").decode()
            return known
        if kind is list:
            if not free and value and type(value[0]) is str:
                text = "\n".join(value)
                if text.isascii() and not any(mark in text for mark in _MARKS):
                    return value
            for place, item in enumerate(value):
                value[place] = clean(item, free)
        elif kind is Absent or kind is Unknown:
            why = clean(value.why, True)
            return value if why == value.why else kind(why)
        elif isinstance(value, Struct):
            inner = free or kind is ProbeRun or kind is EnvVar
            for name in value.__struct_fields__:
                old = getattr(value, name)
                if kind in _WHOLE and type(old) not in _WHOLE and clear(old):
                    continue
                new = clean(old, inner)
                if new is not old:
                    setattr(value, name, new)
        return value

    clean(snapshot, False)
