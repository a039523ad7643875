"""What is known of a machine and of a stack: plain data, safe to share, no I/O.

Every fact is *known* (a value), :class:`Absent` (we looked and it is not there) or :class:`Unknown` (we could not
look, and why). The last two are never merged: "no GPU" is an answer, "NVML did not reply" is not.

All parts are in this one file because every check needs all of them, and each file more costs it 0.1 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct, field

SCHEMA = 1


class Absent(Struct, frozen=True, tag_field="fact", tag="absent"):
    """We looked, and it is not there."""

    why: str


class Unknown(Struct, frozen=True, tag_field="fact", tag="unknown"):
    """We could not look, or nobody said."""

    why: str


NOT_STATED = Unknown("not stated")
UNKNOWN_WHY = "not stated"

Text = str | Absent | Unknown
Number = int | Absent | Unknown
Flag = bool | Absent | Unknown

T = TypeVar("T")


def known(fact: T | Absent | Unknown) -> T | None:
    """The value of a fact, or None when it is absent or unknown."""
    return None if isinstance(fact, (Absent, Unknown)) else fact


class _Part(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every part: strict when read, short when written."""


class Userland(_Part):
    """The C library side of a system: of the host (in :class:`Machine`) or of what is shipped (in :class:`Stack`)."""

    distro: Text = NOT_STATED
    """Identifier as in /etc/os-release: ``ubuntu``, ``rhel``, ``l4t`` ..."""
    distro_version: Text = NOT_STATED
    libc: Text = NOT_STATED
    """``glibc`` or ``musl``."""
    libc_version: Text = NOT_STATED
    glibcxx: Text = NOT_STATED
    """Highest GLIBCXX_ version that the default libstdc++.so.6 defines, e.g. ``3.4.30``."""
    cxxabi: Text = NOT_STATED
    """Highest CXXABI_ version that the default libstdc++.so.6 defines, e.g. ``1.3.13``."""


class Cpu(_Part):
    vendor: Text = NOT_STATED
    brand: Text = NOT_STATED
    flags: list[str] | Absent | Unknown = NOT_STATED
    """What this process can execute, by the names of /proc/cpuinfo (``sse4_2``, ``avx2``, ``asimd``)."""
    missing_flags: list[str] = field(default_factory=list)
    """Flags known not to be there; used where the whole list is not known."""
    level: Text = NOT_STATED
    """x86-64 psABI level: ``x86-64-v1`` .. ``x86-64-v4``."""
    logical_cores: Number = NOT_STATED
    emulated: Text = NOT_STATED
    """Absent: native. A text: which sources disagree, e.g. qemu-user or Rosetta."""


class Memory(_Part):
    """All in MiB."""

    total_mib: Number = NOT_STATED
    available_mib: Number = NOT_STATED
    shm_mib: Number = NOT_STATED
    """Size of /dev/shm."""
    limit_mib: Number = NOT_STATED
    """The cgroup's limit; absent when there is none."""
    cpu_limit: Text = NOT_STATED
    """CPUs the cgroup grants, as a decimal number; absent when there is no limit."""


class MigDevice(_Part):
    """One MIG instance, which CUDA sees as a device of its own."""

    uuid: Text = NOT_STATED
    """A hash, as for a GPU."""
    uuid_prefixes: list[str] = field(default_factory=list)
    profile: Text = NOT_STATED
    """``3g.20gb``."""
    memory_mib: Number = NOT_STATED


class PcieLink(_Part):
    """The link to the CPU, now and at most."""

    generation: Number = NOT_STATED
    generation_max: Number = NOT_STATED
    width: Number = NOT_STATED
    width_max: Number = NOT_STATED


class Gpu(_Part):
    index: int = 0
    vendor: Text = NOT_STATED
    """``nvidia``, ``amd``, ``intel``, ``apple``."""
    name: Text = NOT_STATED
    compute_capability: Text = NOT_STATED
    """``major.minor``, e.g. ``8.6``."""
    memory_mib: Number = NOT_STATED
    memory_free_mib: Number = NOT_STATED
    uuid: Text = NOT_STATED
    """A hash of the UUID, for telling devices apart; never the UUID."""
    uuid_prefixes: list[str] = field(default_factory=list)
    """Hashes of the UUID's prefixes that the environment names, so that CUDA_VISIBLE_DEVICES can be evaluated."""
    pci_id: Text = NOT_STATED
    """``vendor:device`` in hexadecimal, e.g. ``10de:2204``."""
    pci_bus: Text = NOT_STATED
    mig: Text = NOT_STATED
    """``enabled``, ``disabled`` or absent where the GPU has no MIG."""
    mig_instances: Number = NOT_STATED
    mig_devices: list[MigDevice] = field(default_factory=list)
    virtual: Text = NOT_STATED
    """``passthrough`` or ``vgpu``; absent for a GPU that no hypervisor stands before."""
    compute_mode: Text = NOT_STATED
    ecc: Text = NOT_STATED
    """``enabled``, ``disabled`` or absent where the memory has no ECC."""
    persistence: Text = NOT_STATED
    """``enabled`` or ``disabled``: whether the driver stays loaded when nobody uses the GPU."""
    driver_model: Text = NOT_STATED
    """Windows: ``WDDM``, ``TCC`` or ``MCDM``."""
    pcie: PcieLink = field(default_factory=PcieLink)
    throttled: list[str] | Absent | Unknown = NOT_STATED
    """Why its clocks are held down now, in the words of nvidia-smi; an idle GPU is not throttled."""
    used_by: Number = NOT_STATED
    """Processes other than ours that hold memory on it."""
    used_by_mib: Number = NOT_STATED
    """Memory that they hold."""
    fabric: Text = NOT_STATED
    """State of its registration with the NVSwitch fabric: ``completed``, ``in progress`` ...; absent: it has none."""
    target: Text = NOT_STATED
    """AMD: the code-object target, e.g. ``gfx90a``."""
    kernel_driver: Text = NOT_STATED
    """The kernel module bound to the device: ``nvidia``, ``nouveau``, ``vfio-pci`` ..."""


class DriverSource(_Part):
    """One place that tells a version of the NVIDIA driver, and what it said."""

    source: str
    kind: str
    """``kernel`` (the loaded module), ``user`` (libcuda, libnvidia-ml on disk) or ``cuda`` (the CUDA served)."""
    value: Text


class NvidiaDriver(_Part):
    version: Text = NOT_STATED
    """Version of the loaded kernel module (on WSL and Windows: of the Windows driver)."""
    cuda: Text = NOT_STATED
    """Newest CUDA that the libcuda in use serves: what nvidia-smi prints as "CUDA Version"."""
    user_mode: Text = NOT_STATED
    """Version of the libcuda that a process would load, from its file name."""
    libcuda: Text = NOT_STATED
    """Path of that libcuda."""
    sources: list[DriverSource] = field(default_factory=list)
    nvml_error: Text = NOT_STATED
    """Absent: NVML answered. A text: the error, e.g. ``18 Driver/library version mismatch``."""
    nodes: list[str] | Absent | Unknown = NOT_STATED
    """The /dev/nvidia* nodes of this system."""
    nodes_denied: list[str] = field(default_factory=list)
    """Those of them that this process may not open for reading and writing."""
    module: Text = NOT_STATED
    """The loaded kernel module: ``open`` or ``proprietary``."""
    cu_init: Text = NOT_STATED
    """Absent: cuInit succeeded. A text: what it gave, e.g. ``803 CUDA_ERROR_SYSTEM_DRIVER_MISMATCH``."""
    cuda_devices: Number = NOT_STATED
    """Devices that CUDA offers to this process, as cuDeviceGetCount tells."""
    fabric_manager: Text = NOT_STATED
    """``running``, ``stopped`` (installed) or absent (there is no NVSwitch here, or it is not installed)."""


class AmdDriver(_Part):
    """The AMD side of a machine."""

    kernel: Text = NOT_STATED
    """Version of the loaded amdgpu kernel module; ``in-tree`` when it is the kernel's own."""
    rocm: Text = NOT_STATED
    """Version of the ROCm installation on disk."""
    nodes: list[str] | Absent | Unknown = NOT_STATED
    """/dev/kfd and the /dev/dri/renderD* nodes."""
    nodes_denied: list[str] = field(default_factory=list)


class IntelDriver(_Part):
    """The Intel side of a machine."""

    kernel: Text = NOT_STATED
    """The kernel module of the GPU: ``i915`` or ``xe``."""
    level_zero: Text = NOT_STATED
    """Version of the Level Zero loader, libze_loader.so.1."""
    compute_runtime: Text = NOT_STATED
    """Version or path of the GPU driver of Level Zero, libze_intel_gpu.so.1."""
    oneapi: Text = NOT_STATED
    """Version of the oneAPI compiler runtime on disk."""
    nodes: list[str] | Absent | Unknown = NOT_STATED
    """The /dev/dri/renderD* nodes of Intel GPUs."""
    nodes_denied: list[str] = field(default_factory=list)


class Machine(_Part):
    """What a container cannot change."""

    system: Text = NOT_STATED
    """``Linux``, ``Windows`` or ``Darwin``."""
    system_version: Text = NOT_STATED
    """Release of macOS (``14.5``) or Windows (``10.0.22631``); of Linux the kernel's is in ``kernel``."""
    arch: Text = NOT_STATED
    """``x86_64``, ``aarch64`` ... normalised: arm64 is aarch64, AMD64 is x86_64."""
    kernel: Text = NOT_STATED
    wsl: Flag = NOT_STATED
    userland: Userland = field(default_factory=Userland)
    """The host's own C library and distribution; unknown from inside a container."""
    cpu: Cpu = field(default_factory=Cpu)
    memory: Memory = field(default_factory=Memory)
    nvidia: NvidiaDriver = field(default_factory=NvidiaDriver)
    amd: AmdDriver = field(default_factory=AmdDriver)
    intel: IntelDriver = field(default_factory=IntelDriver)
    metal: Text = NOT_STATED
    """macOS: the Metal GPU family that MPS needs, e.g. ``Metal 3``; absent where there is none."""
    gpus: list[Gpu] | Absent | Unknown = NOT_STATED


class Python(_Part):
    version: Text = NOT_STATED
    implementation: Text = NOT_STATED
    """``cpython``, ``pypy`` ..."""
    abi: Text = NOT_STATED
    """ABI tag of extension modules, e.g. ``cp311`` or ``cp313t``."""
    bits: Number = NOT_STATED
    environment: Text = NOT_STATED
    """``venv``, ``conda`` or ``system``."""
    managed_by: Text = NOT_STATED
    """What changes this environment in place of its own pip or conda: ``uv``, ``uv-project`` (with a lock file of
    uv's beside it), ``pipx``, ``pixi``, or ``distribution`` (PEP 668: pip refuses to install into it)."""
    prefix: Text = NOT_STATED
    platform_tags: list[str] | Absent | Unknown = NOT_STATED
    """Wheel platform tags that this interpreter accepts, best first (packaging.tags)."""


class Package(_Part):
    """One installed distribution."""

    name: str
    """Canonical name (PEP 503)."""
    version: Text = NOT_STATED
    """PEP 440 version with its local label, e.g. ``2.5.1+cu124``; unknown when only its presence is known."""
    local: Text = NOT_STATED
    """The local label alone (``cu124``, ``cpu``), also where nothing else of the version is known."""
    requires: list[str] | Absent | Unknown = NOT_STATED
    """Requires-Dist lines of its own metadata (extras left out)."""
    requires_python: Text = NOT_STATED
    location: Text = NOT_STATED
    installer: Text = NOT_STATED
    doubles: list[str] | Absent | Unknown = NOT_STATED
    """Other versions of it that are still listed in the same environment, and where: ``1.26.4 in conda-meta``."""
    missing: list[str] | Absent | Unknown = NOT_STATED
    """Files that it installed and that are gone, the first of them; stated only where its module can't be imported."""


class FileClash(_Part):
    """One file that several distributions claim to own (RECORD)."""

    path: str
    owners: list[str]
    kept: Text = NOT_STATED
    """The owner whose file is there, by its size or its hash; absent when it is nobody's: gone, or changed."""


class Shadow(_Part):
    """What an import takes in the place of something installed, for it stands before it on sys.path."""

    name: str
    """The module; of a second copy the distribution."""
    path: str
    """The file or folder that is taken; of a second copy its site folder."""
    via: str
    """``PYTHONPATH``, ``sys.path``, ``the user's site folder``or ``the current folder``."""
    hides: Text = NOT_STATED
    """What is hidden; absent: a module of the standard library."""
    package: Text = NOT_STATED
    """Canonical name of the distribution that is hidden."""
    version: Text = NOT_STATED
    """Of a second copy that is taken."""
    hidden_version: Text = NOT_STATED
    compiled: Flag = NOT_STATED
    """Whether it has compiled modules of its own, as a whole build has; absent: neither has what is hidden."""


class Build(_Part):
    """What an installed framework says of its own build, read from its files without importing it."""

    package: str
    """Canonical name of the distribution."""
    version: Text = NOT_STATED
    cuda: Text = NOT_STATED
    """CUDA it was compiled with; absent for a CPU build."""
    cudnn: Text = NOT_STATED
    hip: Text = NOT_STATED
    cxx11_abi: Flag = NOT_STATED
    torch: Text = NOT_STATED
    """PyTorch that an extension says it was compiled for, e.g. ``2.1.0+cu121``."""
    variant: Text = NOT_STATED
    """``cpu``, ``cuda``, ``rocm``, ``xpu``, ``directml``, ``openvino`` ..."""
    sass: list[str] | Absent | Unknown = NOT_STATED
    """Machine-code targets in its largest library: ``8.6``, ``9.0a``; of a ROCm build ``gfx90a``."""
    ptx: list[str] | Absent | Unknown = NOT_STATED
    source: str = ""
    """The file that said so, relative to site-packages."""


class CodeSet(_Part):
    """Fat binaries of one file that carry the same GPU targets."""

    file: str
    """Relative to site-packages."""
    targets: list[str]
    """``sm_90a`` (machine code), ``compute_90 (PTX 8.4)``, ``lto_90``."""
    count: int
    relocatable: bool = False
    """Separable compilation: what the others were linked from."""


class LibraryNeed(_Part):
    """Something that one compiled file asks of others."""

    name: str
    """A soname, a symbol version (``GLIBC_2.34``) or a symbol."""
    by: str = ""
    """The file that asks."""
    path: str = ""
    """The library that was found for it."""
    why: str = ""
    """Why it cannot be used, or the file that was meant."""
    step: str = ""
    """How the loader came to ``path``: ``library-path``, ``rpath``, ``loaded`` ..."""


class Binary(_Part):
    """A compiled file that an installed framework stands on: what its headers say, and what the loader makes of it.

    Nothing was loaded. Files in site-packages are named relative to it.
    """

    package: str
    """Canonical name of the distribution."""
    path: str
    role: str = "import"
    """``import``: loaded when the package is imported; ``plugin``: when the GPU is asked for; ``optional``."""
    needs: list[str] = field(default_factory=list)
    """Sonames that it, or what it brings, asks of the system."""
    versions: list[LibraryNeed] = field(default_factory=list)
    """The highest GLIBC_, GLIBCXX_ and CXXABI_ that must be defined, each with the file that asks for it."""
    missing: list[LibraryNeed] = field(default_factory=list)
    """Libraries that the loader will not find."""
    elsewhere: list[LibraryNeed] = field(default_factory=list)
    """Libraries that come from another place than the file's own search path means."""
    lacking: list[LibraryNeed] = field(default_factory=list)
    """Symbol versions that a found library does not define."""
    undefined: list[LibraryNeed] = field(default_factory=list)
    """Symbols of the framework it extends that nothing defines; the first 20."""
    loads: list[LibraryNeed] = field(default_factory=list)
    """Libraries of which an environment may have several, each with the file that is loaded for it."""
    code: list[CodeSet] = field(default_factory=list)
    """GPU code, condensed; empty too where it was not read (no NVIDIA GPU, and nobody asked)."""
    error: Text = NOT_STATED
    """Why it could not be read."""


class Toolkit(_Part):
    """A CUDA toolkit on disk."""

    version: Text = NOT_STATED
    path: Text = NOT_STATED
    found_via: str = ""
    """``PATH``, ``CUDA_HOME``, ``/usr/local``, ``conda`` ..."""
    nvcc: Flag = NOT_STATED
    active: bool = False
    """It is the one that a build of an extension would use."""


class Library(_Part):
    """A shared library of the CUDA world that is on disk."""

    name: str
    """File name or soname: ``libcudnn.so.9``, ``cudart64_12.dll``."""
    version: Text = NOT_STATED
    path: Text = NOT_STATED
    origin: Text = NOT_STATED
    """``wheel``, ``conda``, ``loader-cache``, ``LD_LIBRARY_PATH``, ``toolkit``."""
    package: Text = NOT_STATED


class EnvVar(_Part):
    name: str
    value: str


class Model(_Part):
    """The model file that is to be run."""

    format: Text = NOT_STATED
    """``onnx``, ``engine`` (a TensorRT plan), ``tflite``, ``h5``, ``torchscript``, ``pt2`` ..."""
    opset: Number = NOT_STATED
    ir_version: Number = NOT_STATED
    saved_with: Text = NOT_STATED
    """What wrote it, e.g. ``TensorRT 8.2.3``."""
    built_for_gpu: Text = NOT_STATED
    """Compute capability that a serialized engine was built for."""
    memory_mib: Number = NOT_STATED
    """GPU memory that it needs to run."""
    dtype: Text = NOT_STATED
    """Data type it computes in: ``fp32``, ``fp16``, ``bf16``, ``fp8``, ``int8`` ..."""
    runtime: Text = NOT_STATED
    """What runs or converts it: ``ONNX Runtime``, ``TensorRT``, ``TFLite``, ``OpenVINO`` ..."""
    missing_operators: list[str] | Absent | Unknown = NOT_STATED
    """Operators that this runtime said it does not have: ``Resize(19)``, ``aten::roll`` ..."""


class ImportTest(_Part):
    """What happened when a framework was imported, in a process of its own."""

    package: str
    module: str
    outcome: str
    """``ok``, ``error`` (it raised), ``crash`` (a signal ended it), ``hang`` (it gave no answer), ``exit`` or
    ``untested`` (no time was left)."""
    error: Text = NOT_STATED
    """What was raised, the loader's message before others, or the name of the signal: ``SIGILL``. Of an import that
    worked: what it complained about, absent when it did not."""
    library: Text = NOT_STATED
    """The file that is at fault, where it can be told."""
    compiled: Flag = NOT_STATED
    """Whether compiled code of the package itself was loaded."""
    file: Text = NOT_STATED
    """The file that was imported."""
    milliseconds: float = 0.0


class SmokeStage(_Part):
    """One step of a smoke test on one device."""

    name: str
    """``library``, ``import``, ``device``, ``context``, ``allocate``, ``matmul`` ..."""
    status: str = "ok"
    """``ok``, ``failed``, ``skipped``, or how the process ended in it: ``crash``, ``hang``, ``exit``, ``memory``."""
    milliseconds: float = 0.0
    memory_mib: Number = NOT_STATED
    """Largest resident memory of the process until its end."""
    error: Text = NOT_STATED


class SmokeCheck(_Part):
    """One result of a computation, held against what it must be."""

    operation: str
    dtype: str
    status: str
    """``ok``, ``wrong``, ``nan``, ``zeros``, ``shape``, ``failed`` (it raised), ``unsupported`` (it says so itself)."""
    claimed: Flag = NOT_STATED
    """Whether the framework, or the hardware it names, says that this data type can be computed."""
    difference: float = 0.0
    """Largest difference, relative to the largest value that was expected."""
    tolerance: float = 0.0
    against: str = "reference"
    """What it was compared with: ``reference``, another device, or a file."""
    ran_on: Text = NOT_STATED
    milliseconds: float = 0.0
    said: Text = NOT_STATED
    """What was raised, or why it is not supported."""


class SmokeSpeed(_Part):
    """A short measurement: the best of a few runs after a warm-up."""

    measure: str
    """``matmul``, ``copy`` (on the device), ``to-device``, ``from-device`` or ``model``."""
    dtype: str
    value: float
    unit: str
    """``TFLOPS``, ``GB/s`` or ``ms``."""


class SmokeTest(_Part):
    """Small inferences by one framework on one device, in a process of their own."""

    backend: str
    """``torch``, ``onnxruntime`` ..."""
    device: str = ""
    """The device that was asked for: ``cpu``, ``cuda:0``, ``CUDAExecutionProvider``; empty: none was reached."""
    kind: str = ""
    """``cpu``, ``cuda``, ``rocm``, ``xpu``, ``mps`` or another kind of device."""
    asked: list[str] = field(default_factory=list)
    """The devices that somebody named (``--device``); empty: all that are there."""
    gpu: Number = NOT_STATED
    """Index of the GPU as CUDA counts what is visible."""
    name: Text = NOT_STATED
    """What the framework calls the device."""
    package: Text = NOT_STATED
    """Canonical name of the distribution."""
    version: Text = NOT_STATED
    outcome: str = "ok"
    """``ok``, ``failed``, ``wrong`` (it ran, with wrong results), ``crash``, ``hang``, ``exit``, ``memory`` (it took
    more than it may) or ``untested``."""
    stage: Text = NOT_STATED
    """The step in which it ended; absent when it came through."""
    error: Text = NOT_STATED
    """What was raised, or the name of the signal; absent when nothing was."""
    library: Text = NOT_STATED
    """The file at fault, where it can be told."""
    ran_on: Text = NOT_STATED
    """Where it really ran, in the words of ``device``."""
    providers: list[str] = field(default_factory=list)
    """Providers of the session, of which the first takes what it can."""
    kernels: dict[str, int] = field(default_factory=dict)
    """Provider -> kernels that it ran."""
    model: Text = NOT_STATED
    """Name of the user's model file; absent for our own small models."""
    stages: list[SmokeStage] = field(default_factory=list)
    checks: list[SmokeCheck] = field(default_factory=list)
    speeds: list[SmokeSpeed] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """What the framework says of itself: ``threads``, ``blas``, ``debug`` ..."""
    said: list[str] = field(default_factory=list)
    """Lines that it wrote to stderr which tell of a trouble."""
    memory_mib: Number = NOT_STATED
    """Largest memory taken on the device."""
    free_mib: Number = NOT_STATED
    """Free memory of the device before."""
    milliseconds: float = 0.0


class Stack(_Part):
    """What is shipped."""

    container: Text = NOT_STATED
    """``docker``, ``podman``, ``kubernetes``, ``container``; absent when the stack is not in one."""
    userland: Userland = field(default_factory=Userland)
    python: Python = field(default_factory=Python)
    packages: list[Package] | Absent | Unknown = NOT_STATED
    clashes: list[FileClash] | Absent | Unknown = NOT_STATED
    shadows: list[Shadow] | Absent | Unknown = NOT_STATED
    """What stands before installed modules on sys.path."""
    builds: list[Build] = field(default_factory=list)
    binaries: list[Binary] = field(default_factory=list)
    toolkits: list[Toolkit] | Absent | Unknown = NOT_STATED
    libraries: list[Library] | Absent | Unknown = NOT_STATED
    missing_libraries: list[str] = field(default_factory=list)
    """Libraries and symbol versions that were found missing: ``libcudnn.so.8``, ``GLIBCXX_3.4.30``."""
    cudnn: Text = NOT_STATED
    """Version of the system's cuDNN (outside of wheels)."""
    env: list[EnvVar] | Absent | Unknown = NOT_STATED
    imports: list[ImportTest] = field(default_factory=list)
    """Results of the optional import tests."""
    model: Model = field(default_factory=Model)


class ProbeRun(_Part):
    """One attempt to find a fact: how, where, with what result, how long."""

    probe: str
    status: str
    """``ok``, ``absent``, ``failed``, ``timeout``, ``skipped``."""
    detail: str = ""
    where: str = ""
    milliseconds: float = 0.0


class Assumption(_Part):
    """A fact that somebody stated in place of what is here."""

    fact: str
    """``driver.cuda``."""
    value: str
    by: str
    """``--assume`` or the name of an environment variable."""


class Snapshot(_Part):
    """A machine, a stack, and the log of the probes that found them."""

    schema: int = SCHEMA
    envcheck: str = ""
    """Version of envcheck that made it."""
    created: str = ""
    """UTC time, ISO 8601."""
    machine: Machine = field(default_factory=Machine)
    stack: Stack = field(default_factory=Stack)
    smoke: list[SmokeTest] = field(default_factory=list)
    """Results of the optional smoke tests: they hold for this stack on this machine."""
    built_on: Machine | None = None
    """The machine on which the stack was built and tested, when it is not ``machine``."""
    assumed: list[Assumption] = field(default_factory=list)
    probes: list[ProbeRun] = field(default_factory=list)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Snapshot:
        """A snapshot from sparse, hand-written facts; what is not named is unknown.

        Keys: os, cpu, gpus, driver, toolkit, cudnn, python, packages, env, libraries, model.
        Raises :class:`SnapshotError` with one sentence when a value has a wrong shape.
        """
        from envcheck.core.snapshot.facts import snapshot_from_facts

        return snapshot_from_facts(facts)

    @classmethod
    def from_json(cls, data: bytes | str) -> Snapshot:
        """Strictly decode; raises :class:`SnapshotError` with one sentence that names the place."""
        from envcheck.core.snapshot.codec import decode

        return decode(data)

    def to_json(self, *, indent: int = 2) -> str:
        """Plain JSON; facts that nobody stated are left out."""
        from envcheck.core.snapshot.codec import encode

        return encode(self, indent=indent)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python objects."""
        import msgspec

        result: dict[str, Any] = msgspec.to_builtins(self)
        result["schema"] = self.schema
        return result


class SnapshotError(ValueError):
    """Input that is no snapshot; its text is one sentence for the user."""
