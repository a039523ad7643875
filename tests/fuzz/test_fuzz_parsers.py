"""Every parser of foreign text takes any text: it gives an answer of its own type and raises nothing.

Texts are arbitrary, or real ones with parts replaced. ENVCHECK_FUZZ_EXAMPLES=5000 makes a long run: that many for each
parser.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envcheck.binaries import elf, ldcache
from envcheck.probes import (
    amd,
    apple,
    build_files,
    cpu,
    cpu_foreign,
    gpu_names,
    libraries,
    memory,
    nvidia,
    nvidia_smi,
    nvml,
    pci,
    redact,
    system,
    toolkits,
    userland,
)
from envcheck.probes.host import Ran
from envcheck.versions import numbers, readable

EXAMPLES = int(os.environ.get("ENVCHECK_FUZZ_EXAMPLES", "100"))

PARSERS: dict[str, Callable[[str], Any]] = {
    "/proc/driver/nvidia/version": nvidia.parse_proc_version,
    "nvidia-smi": nvidia_smi.parse_table,
    "nvidia-smi --query-gpu": nvidia_smi.parse_csv,
    "nvidia-smi MIG": nvidia_smi.mig_state,
    "file name of libcuda": nvidia.file_version,
    "answer of the NVML child": lambda text: nvml.collect(Ran("done", 0, text, "")),
    "PCI address": pci.normal_bus,
    "/proc/cpuinfo": cpu.first_processor,
    "sysctl": lambda text: cpu_foreign.macos_cpu(cpu_foreign.sysctl_values(text)),
    "/proc/meminfo": memory.meminfo,
    "/proc/self/cgroup": memory.cgroup_folders,
    "cpu.max": memory.cpu_max,
    "nvcc --version": toolkits.parse_nvcc,
    "version.json": toolkits.parse_version_json,
    "version.txt": toolkits.parse_version_txt,
    "cuda.h": toolkits.parse_cuda_h,
    "cudnn_version.h": libraries.parse_cudnn_header,
    "/etc/os-release": userland.os_release,
    "/etc/nv_tegra_release": userland.l4t_release,
    "ldd of musl": userland.musl_version,
    "container's paths": system.container_of_paths,
    "version.py": build_files.assignments,
    "numbers in a DLL": build_files.windows_number,
    ".info/version": amd.rocm_version,
    "topology properties": amd.properties,
    "amdgpu.ids": lambda text: gpu_names.amd_name(text, "740f", "02"),
    "pci.ids": lambda text: gpu_names.pci_name(text, "1002", "740f"),
    "SystemVersion.plist": apple.plist_version,
    "system_profiler": apple.parse_displays,
    "redaction": lambda text: redact.redact(text, "/home/ann", "server1", "ann"),
    "version": lambda text: (numbers(text), readable(text)),
}

SAMPLES = [
    path.read_text(encoding="utf-8", errors="replace")[:4000]
    for path in sorted((Path(__file__).parents[1] / "machines").glob("*/files/**/*"))
    if path.is_file()
]
TOKENS = (
    *(
        "0",
        "-1",
        "99999999999999999999",
        "1e400",
        "NaN",
        "12.4",
        ".",
        "..",
        "...",
        ":",
        "::",
        "=",
        "==",
        "|",
        "||",
        ",",
    ),
    *(";;", '"', "'", "\\", "{", "}", "[", "]", "[[[[", "<", ">", "<plist>", "</string>", "\t", "#define CUDNN_MAJOR"),
    *(
        "NVRM version:",
        "CUDA Version",
        "MIG",
        "No devices were found",
        "[N/A]",
        "%",
        "MiB",
        "kB",
        "release",
        "V12.4.131",
    ),
    *("\u0663", "\u00b2", "\u00e9", "\ud7ff", "\x00", "\x1b[31m"),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A text that resembles something real, by a seed: hypothesis draws little, so that many can be tried."""
    if draw(st.booleans()):
        return draw(st.text(max_size=300))
    chance = random.Random(draw(st.integers(0, 2**32)))
    parts = chance.choice(SAMPLES).splitlines(keepends=True)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(parts) + 1)
        what = chance.randrange(4)
        token = chance.choice(TOKENS) * chance.choice((1, 1, 1, 40))
        if what == 0:
            parts.insert(at, token + chance.choice(("\n", " ", "")))
        elif parts and what == 1:
            del parts[at % len(parts)]
        elif parts:
            line = parts[at % len(parts)]
            cut = chance.randrange(len(line) + 1)
            parts[at % len(parts)] = line[:cut] + token + line[cut if what == 2 else cut + 3 :]
    return "".join(parts)


@pytest.mark.parametrize("name", PARSERS)
def test_any_text(name: str) -> None:
    parse = PARSERS[name]
    kinds: set[type] = set()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(texts())
    def any_text(text: str) -> None:
        kinds.add(type(parse(text)))

    any_text()
    assert kinds


PROPERTIES = sorted(name for name, value in vars(elf.ElfFile).items() if isinstance(value, property))


def real_library() -> bytes:
    """The first 64 KiB of a real shared library, whose tables are then spoilt."""
    import msgspec

    (path,) = Path(msgspec.__file__).parent.glob("_core*.so")
    return path.read_bytes()


@settings(max_examples=EXAMPLES * 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    head=st.sampled_from((b"", b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x01", b"glibc-ld.so.cache1.1")),
    rest=st.binary(max_size=600),
)
def test_any_bytes(head: bytes, rest: bytes) -> None:
    """Binary files: ELF and the loader's cache."""
    assert isinstance(ldcache.lookup(head + rest, ["libcuda.so.1"]), dict)
    read_elf(head + rest)


@pytest.mark.skipif(os.name != "posix", reason="a real ELF library is needed")
@settings(max_examples=EXAMPLES * 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_a_damaged_library(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(REAL)
    for _ in range(chance.randrange(1, 30)):
        # Headers first: that is where the tables are found.
        at = chance.choice((chance.randrange(64), chance.randrange(4096), chance.randrange(len(data))))
        data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    read_elf(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))


REAL = real_library() if os.name == "posix" else b""


def read_elf(data: bytes) -> None:
    """Ask for all that can be asked; only ElfError may come."""
    try:
        file = elf.ElfFile(data)
    except elf.ElfError:
        return
    for name in PROPERTIES:
        try:
            getattr(file, name)
        except elf.ElfError:
            pass
