"""The machine and the stack in a line each, and what was left open: shared by text, HTML and the pytest header."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from envcheck.core.report import Outcome, Report
from envcheck.core.snapshot import Absent, Gpu, Machine, Snapshot, Stack, Text, Unknown, known
from envcheck.render.terminal import clean, join

FRAMEWORKS = (
    "torch",
    "tensorflow",
    "tensorflow-cpu",
    "tf-nightly",
    "jax",
    "jaxlib",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-training",
    "tensorrt",
    "tensorrt-cu11",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "paddlepaddle",
    "paddlepaddle-gpu",
    "mxnet",
    "cupy",
    "cupy-cuda11x",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
"""Distributions that are named in the summary, in this order."""

_DISTROS = {
    "rhel": "RHEL",
    "l4t": "L4T",
    "macos": "macOS",
    "centos": "CentOS",
    "opensuse-leap": "openSUSE Leap",
    "amzn": "Amazon Linux",
}
_SYSTEMS = {"Darwin": "macOS"}


def verdict_words(report: Report) -> str:
    """The verdict in one line of plain words."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    warnings = [finding for finding in report.findings if finding.severity == "warning"]
    found = join((count(len(errors), "error"), count(len(warnings), "warning")))
    if report.verdict == "problem":
        return f"problem: {found}"
    if report.verdict == "ok":
        return "ok: nothing found that stops this stack on this machine" + (f" ({found})" if found else "")
    undecided = count(sum(1 for outcome in report.outcomes if left_open(outcome)), "rule")
    crashed = count(sum(1 for outcome in report.outcomes if outcome.status == "crash"), "rule")
    reasons = join((found, undecided and f"{undecided} could not decide", crashed and f"{crashed} crashed"))
    return f"inconclusive: no sure error, but not everything could be checked ({reasons or 'facts are missing'})"


def count(number: int, noun: str) -> str:
    """``2 errors``; empty for none."""
    return "" if not number else f"{number} {noun}" + ("s" if number > 1 else "")


def left_open(outcome: Outcome) -> bool:
    """Whether a rule lacked a fact, for all it judges or for a part of it."""
    return outcome.status == "unknown" or (bool(outcome.missing) and outcome.status not in ("ignored", "crash"))


class Open(Struct, frozen=True):
    """A missing fact and the rules that wait for it."""

    missing: str
    why: str
    rules: list[str]


def not_checked(outcomes: Iterable[Outcome]) -> list[Open]:
    """Rules that could not decide, grouped by what they lack."""
    groups: dict[tuple[str, str], Open] = {}
    for outcome in outcomes:
        if left_open(outcome):
            key = (", ".join(outcome.missing), "" if outcome.status == "fail" else outcome.why)
            groups.setdefault(key, Open(*key, [])).rules.append(outcome.rule)
    return list(groups.values())


def counts(report: Report) -> str:
    """How many rules said what, and which tables they rest on."""
    number: dict[str, int] = {}
    for outcome in report.outcomes:
        number[outcome.status] = number.get(outcome.status, 0) + 1
    words = {
        "fail": "with findings",
        "pass": "passed",
        "unknown": "undecided",
        "skip": "not applicable",
        "crash": "crashed",
        "ignored": "ignored",
    }
    said = join(f"{number[status]} {word}" for status, word in words.items() if status in number)
    tables = f"tables of {report.matrix.date}" if report.matrix.date else "tables without a date"
    if report.matrix.digest:
        tables += f" ({report.matrix.digest.removeprefix('sha256:')[:8]})"
    return f"{count(len(report.outcomes), 'rule') or 'no rules'}{': ' * bool(said)}{said}; {tables}"


def machine_words(snapshot: Snapshot) -> str:
    """Operating system, driver and GPUs; facts that nobody stated are left out."""
    machine = snapshot.machine
    parts = (_system(machine, snapshot.stack), driver_words(machine), gpu_words(machine))
    return join(parts, "; ") or "nothing is known"


def assumed_words(snapshot: Snapshot) -> str:
    """What was stated in place of what is here; empty when nothing was."""
    return join((clean(f"{one.fact} {one.value} ({one.by})") for one in snapshot.assumed), "; ")


def _system(machine: Machine, stack: Stack) -> str:
    land = machine.userland if known(machine.userland.distro) else stack.userland
    distro = known(land.distro)
    system = known(machine.system)
    name = _SYSTEMS.get(system or "", system or "")
    if distro:
        name = join((_DISTROS.get(distro, distro[:1].upper() + distro[1:]), known(land.distro_version) or ""), " ")
    wsl = "(WSL)" if known(machine.wsl) else ""
    return clean(join((name, wsl, known(machine.arch) or ""), " "))


def driver_words(machine: Machine) -> str:
    """``NVIDIA driver 535.104.05 (CUDA 12.2)``, ``amdgpu 6.8.5, ROCm 6.2.4``."""
    driver = machine.nvidia
    version, cuda = known(driver.version), known(driver.cuda)
    if version is None and cuda is None:
        return _other_drivers(machine) or _why("no NVIDIA driver", "NVIDIA driver unknown", driver.version)
    words = f"NVIDIA driver {version or 'of unknown version'}" + (f" (CUDA {cuda})" if cuda else "")
    return clean(words)


def _other_drivers(machine: Machine) -> str:
    """Drivers and runtimes of AMD, Intel and Apple, for the makers whose GPUs are there."""
    gpus = machine.gpus if isinstance(machine.gpus, list) else []
    makers, amd, intel = {known(gpu.vendor) for gpu in gpus}, machine.amd, machine.intel
    words = []
    if "amd" in makers:
        kernel = known(amd.kernel)
        words += [("amdgpu of the kernel" if kernel == "in-tree" else f"amdgpu {kernel}") if kernel else ""]
        words += [f"ROCm {rocm}" if (rocm := known(amd.rocm)) else ""]
    if "intel" in makers:
        words += [known(intel.kernel) or "", f"Level Zero {level}" if (level := known(intel.level_zero)) else ""]
    if "apple" in makers:
        words += [known(machine.metal) or ""]
    return clean(join(words))


def gpu_words(machine: Machine) -> str:
    """``2 x NVIDIA A100-SXM4-40GB (compute capability 8.0, 40 GiB)``."""
    gpus = machine.gpus
    if isinstance(gpus, (Absent, Unknown)):
        return _why("no GPU", "GPUs unknown", gpus)
    if not gpus:
        return "no GPU"
    alike: dict[str, int] = {}
    for gpu in gpus:
        words = _gpu(gpu)
        alike[words] = alike.get(words, 0) + 1
    return join(words if number == 1 else f"{number} x {words}" for words, number in alike.items())


def _gpu(gpu: Gpu) -> str:
    memory = known(gpu.memory_mib)
    capability = known(gpu.compute_capability)
    size = f"{memory / 1024:.0f} GiB" if memory and memory >= 1024 else f"{memory} MiB" if memory else ""
    target = known(gpu.target) or ""
    about = join((f"compute capability {capability}" if capability else target, size))
    return clean((known(gpu.name) or "GPU without a name") + (f" ({about})" if about else ""))


def _why(absent: str, unknown: str, fact: object) -> str:
    if isinstance(fact, Unknown) and fact.why != "not stated":
        return f"{unknown} ({clean(fact.why)})"
    return absent if isinstance(fact, Absent) else ""


def stack_words(snapshot: Snapshot) -> str:
    """Python, frameworks, toolkit and container."""
    stack = snapshot.stack
    python = known(stack.python.version)
    implementation = known(stack.python.implementation) or "python"
    names = {"cpython": "Python", "pypy": "PyPy", "python": "Python"}
    name = names.get(implementation, implementation)
    environment = known(stack.python.environment)
    interpreter = f"{name} {python}" + (f" ({environment})" if environment else "") if python else ""
    container = known(stack.container)
    parts = [interpreter, _frameworks(stack), _toolkit(stack), f"in {container}" if container else ""]
    return clean(join(parts, "; ")) or "nothing is known"


def _frameworks(stack: Stack) -> str:
    packages = stack.packages
    if isinstance(packages, (Absent, Unknown)):
        return _why("no packages", "packages unknown", packages)
    versions: dict[str, Text] = {}
    for package in packages:
        versions.setdefault(package.name, package.version)
    found = [join((name, known(versions[name]) or ""), " ") for name in FRAMEWORKS if name in versions]
    return join(found) or "no known framework"


def _toolkit(stack: Stack) -> str:
    toolkits = stack.toolkits
    if isinstance(toolkits, (Absent, Unknown)):
        return ""
    active = [known(toolkit.version) or "of unknown version" for toolkit in toolkits if toolkit.active]
    return f"CUDA toolkit {active[0]}" if active else ""
