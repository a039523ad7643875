"""A need is a name, alone or with a version specifier: `gpu`, `cuda>=12.1`, `torch>=2.1,<2.6`.

| need | is met when |
|---|---|
| `gpu` | CUDA programs see an NVIDIA GPU (CUDA_VISIBLE_DEVICES counts) |
| `gpus>=2` | they see so many |
| `sm>=8.0` | one that they see has this compute capability |
| `memory>=15GiB` | one that they see has so much memory in all (MiB, GiB, MB, GB; a "16 GB" card has below 16 GiB) |
| `cuda>=12.1` | the driver in use serves this CUDA, unless no GPU is to be seen |
| `driver>=535` | the NVIDIA driver has this version |
| `toolkit>=12` | the CUDA toolkit on the path (nvcc) has this version |
| `python>=3.10` | this Python has this version |
| `glibc>=2.28` | the C library is glibc of this version |
| `avx2`, `avx512f`, `amx_tile`, `asimd` ... | the CPU executes these instructions (names of /proc/cpuinfo) |
| `x86-64-v3` | the CPU has at least this level |
| `linux`, `windows`, `macos`, `x86_64`, `aarch64` | it is this platform |
| `torch>=2.1`, any other name | this distribution is installed, in this version |

A need whose fact is not known counts as not met, and says what is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from envcheck.core.snapshot import Absent, Snapshot, Unknown, known
from envcheck.versions import canonical, check_specifier, satisfies, satisfies_prefix

if TYPE_CHECKING:
    from envcheck.facts import Facts
    from envcheck.matrix import Matrix

MET, UNMET, UNKNOWN = "met", "unmet", "unknown"

VERSIONED = ("cuda", "driver", "glibc", "gpus", "python", "sm", "toolkit")
PLATFORMS = {"linux": "Linux", "windows": "Windows", "macos": "Darwin"}
ARCHES = ("aarch64", "x86_64")
CPU_FLAGS = frozenset(
    (
        *("ssse3", "sse4_1", "sse4_2", "popcnt", "avx", "avx2", "avx_vnni", "fma", "f16c", "bmi1", "bmi2", "movbe"),
        *("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
        *("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2"),
    )
)
"""Instruction sets that can be asked for, by the names of /proc/cpuinfo."""

_UNITS = {"MiB": 1.0, "GiB": 1024.0, "MB": 1e6 / 2**20, "GB": 1e9 / 2**20}
_ELSEWHERE = {
    "cudnn": "nvidia-cudnn-cu12>=9 asks for the wheel",
    "nccl": "nvidia-nccl-cu12>=2.20 asks for the wheel",
    "nvcc": "toolkit>=12 asks for nvcc",
    "vram": "memory>=15GiB asks for GPU memory",
}
"""Names that look like needs, are not, and would otherwise be taken for distributions."""


class NeedError(ValueError):
    """Not a need; its text is one sentence."""


class Need(NamedTuple):
    """One need."""

    name: str
    """As in the table; a distribution's name is canonical."""
    specifier: str
    """Empty when only presence counts."""
    kind: str
    """``version``, ``gpu``, ``memory``, ``flag``, ``level``, ``platform`` or ``package``."""

    def __str__(self) -> str:
        return self.name + self.specifier


class Answer(NamedTuple):
    """Whether a need is met."""

    status: str
    """``met``, ``unmet`` or ``unknown``."""
    reason: str
    """One sentence; of a need that is met, what meets it."""
    lacks: str
    """What is missing, for comparison with what a job declared: ``sm>=8.0`` lacks ``gpu`` where there is no GPU."""


def parse(text: str) -> Need:
    """Read a need. Raises :class:`NeedError`.

    >>> parse("Torch>=2.1,<3")
    Need(name='torch', specifier='>=2.1,<3', kind='package')
    """
    if not isinstance(text, str):
        raise NeedError(f"a need is a text such as 'cuda>=12.1', not {text!r}")
    stripped = text.strip()
    end = 0
    while end < len(stripped) and (stripped[end].isalnum() or stripped[end] in "._-"):
        end += 1
    written, specifier = stripped[:end], stripped[end:].replace(" ", "")
    if not written or not written.isascii() or not written[0].isalnum() or not written[-1].isalnum():
        raise NeedError(f"{text!r} is no need: it must begin with a name, as in 'cuda>=12.1'")
    name = written.lower()
    if name in _ELSEWHERE:
        raise NeedError(f"{text!r} is no need: {_ELSEWHERE[name]}")
    if name == "memory":
        _bounds(text, specifier)
        return Need(name, specifier, "memory")
    kind = _kind(name)
    if kind in ("gpu", "flag", "level", "platform") and specifier:
        raise NeedError(f"{text!r} is no need: {name} takes no version")
    if kind == "version" and name in ("sm", "gpus") and not specifier:
        raise NeedError(f"{text!r} is no need: {name} takes a number, as in '{name}>={'8.0' if name == 'sm' else '2'}'")
    try:
        check_specifier(specifier)
    except ValueError:
        raise NeedError(f"{text!r} is no need: {specifier!r} is no version specifier such as '>=12.1'") from None
    return Need(canonical(name) if kind == "package" else name, specifier, kind)


def _kind(name: str) -> str:
    if name in VERSIONED:
        return "version"
    if name in CPU_FLAGS:
        return "flag"
    if name in PLATFORMS or name in ARCHES:
        return "platform"
    if name.startswith("x86-64-v") and name[8:] in ("1", "2", "3", "4"):
        return "level"
    return "gpu" if name == "gpu" else "package"


def declared(texts: Iterable[str]) -> tuple[str, ...]:
    """Names that a job declares to have, separated by blanks or commas. Raises :class:`NeedError`."""
    found = []
    for text in texts:
        for word in text.replace(",", " ").split():
            name = word.lower()
            if name != "memory" and name not in VERSIONED:
                need = parse(word)
                if need.specifier:
                    raise NeedError(f"{word!r}: declare a name without a version, such as {need.name!r}")
                name = need.name
            found.append(name)
    return tuple(dict.fromkeys(found))


def evaluate(need: Need, snapshot: Snapshot, matrix: Matrix | None = None) -> Answer:
    """Whether a snapshot meets a need. GPUs whose compute capability was not read are looked up in the tables."""
    from envcheck.facts import Facts

    if matrix is None:
        from envcheck.matrix import Matrix

        matrix = Matrix.load()
    return answer(need, Facts(snapshot, matrix))


def answer(need: Need, facts: Facts) -> Answer:
    """The same as :func:`evaluate`, where the facts of a snapshot are at hand."""
    return _ANSWERS[need.name if need.kind == "version" else need.kind](need, facts)


def _met(reason: str) -> Answer:
    return Answer(MET, reason, "")


def _visible(facts: Facts) -> list[Any] | Absent | Unknown:
    """The GPUs that a CUDA program sees; absent when there is none."""
    found: list[Any] | Absent | Unknown = facts.get("visible_gpus")
    return found or Absent("CUDA_VISIBLE_DEVICES hides every GPU")


def _gpu(need: Need, facts: Facts) -> Answer:
    found = _visible(facts)
    if isinstance(found, Unknown):
        return Answer(UNKNOWN, f"{need}: the GPUs are not known: {found.why}", "gpu")
    if isinstance(found, Absent):
        return Answer(UNMET, f"{need}: {found.why}", "gpu")
    return _met(f"{found[0]}")


def _of_gpus(need: Need, facts: Facts) -> list[Any] | Answer:
    """The visible GPUs, or why there are none."""
    there = _gpu(need, facts)
    found = _visible(facts)
    return found if isinstance(found, list) else there


def _gpus(need: Need, facts: Facts) -> Answer:
    found = _visible(facts)
    if isinstance(found, Unknown):
        return _gpu(need, facts)
    number = len(found) if isinstance(found, list) else 0
    if satisfies(str(number), need.specifier):
        return _met(f"{number} visible")
    return Answer(UNMET, f"{need}: {number} visible", "gpus" if number else "gpu")


def _sm(need: Need, facts: Facts) -> Answer:
    found = _of_gpus(need, facts)
    if isinstance(found, Answer):
        return found
    for gpu in found:
        if gpu.cc and satisfies(gpu.cc, need.specifier):
            return _met(str(gpu))
    unread = [gpu.name for gpu in found if not gpu.cc]
    if unread:
        return Answer(UNKNOWN, f"{need}: the compute capability of {unread[0]} is not known", "sm")
    return Answer(UNMET, f"{need}: {', '.join(dict.fromkeys(map(str, found)))}", "sm")


def _memory(need: Need, facts: Facts) -> Answer:
    found = _of_gpus(need, facts)
    if isinstance(found, Answer):
        return found
    bounds = _bounds(str(need), need.specifier)
    sizes = [gpu.memory_mib for gpu in found]
    for size in sizes:
        if size is not None and all(_COMPARE[operator](size, bound) for operator, bound in bounds):
            return _met(f"{size} MiB")
    if None in sizes:
        return Answer(UNKNOWN, f"{need}: the memory of {found[sizes.index(None)].name} is not known", "memory")
    return Answer(UNMET, f"{need}: {', '.join(f'{gpu.name} has {gpu.memory_mib} MiB' for gpu in found)}", "memory")


_COMPARE = {
    ">=": lambda size, bound: size >= bound,
    "<=": lambda size, bound: size <= bound,
    ">": lambda size, bound: size > bound,
    "<": lambda size, bound: size < bound,
}


def _bounds(text: str, specifier: str) -> list[tuple[str, float]]:
    """Operators and sizes in MiB. Raises NeedError."""
    found = []
    for clause in specifier.split(","):
        operator = next((each for each in _COMPARE if clause.startswith(each)), "")
        size = clause[len(operator) :]
        unit = next((each for each in _UNITS if size.endswith(each)), "")
        number = size[: len(size) - len(unit)]
        if not operator or not unit or not number.replace(".", "", 1).isdigit() or not number.isascii():
            raise NeedError(f"{text!r} is no need: memory takes a size, as in 'memory>=15GiB'")
        found.append((operator, float(number) * _UNITS[unit]))
    return found


def _cuda(need: Need, facts: Facts) -> Answer:
    gpus = _visible(facts)
    if isinstance(gpus, Absent):
        return Answer(UNMET, f"{need}: {gpus.why}", "gpu")
    driver = facts.get("driver")
    if isinstance(driver, (Absent, Unknown)):
        return _version(need, driver, "the NVIDIA driver")
    version = driver.cuda or Unknown(f"no source tells which CUDA driver {driver.version} serves")
    return _version(need, version, "the newest CUDA that the driver serves")


def _driver(need: Need, facts: Facts) -> Answer:
    driver = facts.get("driver")
    if not isinstance(driver, (Absent, Unknown)):
        driver = driver.version or Unknown("only the CUDA that it serves is known")
    return _version(need, driver, "the NVIDIA driver")


def _toolkit(need: Need, facts: Facts) -> Answer:
    toolkit = facts.get("toolkit")
    version = toolkit if isinstance(toolkit, (Absent, Unknown)) else toolkit.version
    return _version(need, version, "the CUDA toolkit")


def _python(need: Need, facts: Facts) -> Answer:
    return _version(need, facts.snapshot.stack.python.version, "Python")


def _glibc(need: Need, facts: Facts) -> Answer:
    # What this process runs on: the stack's own C library in a container, the machine's elsewhere.
    return _version(need, facts.get("glibc"), "glibc")


def _version(need: Need, version: object, what: str) -> Answer:
    if isinstance(version, Absent):
        return Answer(UNMET, f"{need}: {what} is not there: {version.why}", need.name)
    if not isinstance(version, str):
        return Answer(UNKNOWN, f"{need}: {what} is not known: {getattr(version, 'why', 'not stated')}", need.name)
    if not need.specifier:
        return _met(f"{what} {version}")
    try:
        # A driver's CUDA is always two numbers; other versions may be stated in short.
        holds = (satisfies if need.name == "cuda" else satisfies_prefix)(version, need.specifier)
    except ValueError:
        return Answer(UNKNOWN, f"{need}: {what} reads {version!r}, which is no version", need.name)
    if holds is None:
        return Answer(UNKNOWN, f"{need}: {what} is {version}, which does not say enough", need.name)
    return _met(f"{what} {version}") if holds else Answer(UNMET, f"{need}: {what} is {version}", need.name)


def _package(need: Need, facts: Facts) -> Answer:
    packages = facts.get("packages")
    if isinstance(packages, (Absent, Unknown)):
        return Answer(UNKNOWN, f"{need}: the installed packages are not known: {packages.why}", need.name)
    found = packages.get(need.name)
    if found is None:
        return Answer(UNMET, f"{need}: {need.name} is not installed", need.name)
    return _version(need, found.version, need.name) if need.specifier else _met(f"{need.name} is installed")


def _flag(need: Need, facts: Facts) -> Answer:
    flags = facts.get("cpu_flags")
    has = None if isinstance(flags, (Absent, Unknown)) else flags.has(need.name)
    if has is None:
        why = getattr(flags, "why", "not all instruction sets of the CPU are known")
        return Answer(UNKNOWN, f"{need}: {why}", need.name)
    return _met("the CPU has it") if has else Answer(UNMET, f"{need}: the CPU does not have it", need.name)


def _level(need: Need, facts: Facts) -> Answer:
    level = facts.snapshot.machine.cpu.level
    arch = known(facts.snapshot.machine.arch)
    if arch not in (None, "x86_64"):
        return Answer(UNMET, f"{need}: the CPU is {arch}", need.name)
    if not isinstance(level, str):
        return Answer(UNKNOWN, f"{need}: the CPU's level is not known: {level.why}", need.name)
    if level[-1:] >= need.name[-1]:
        return _met(f"the CPU has level {level}")
    return Answer(UNMET, f"{need}: the CPU has level {level}", need.name)


def _platform(need: Need, facts: Facts) -> Answer:
    machine = facts.snapshot.machine
    wanted = PLATFORMS.get(need.name, need.name)
    found = machine.system if need.name in PLATFORMS else machine.arch
    if not isinstance(found, str):
        return Answer(UNKNOWN, f"{need}: the platform is not known: {found.why}", need.name)
    return _met(found) if found == wanted else Answer(UNMET, f"{need}: this is {found}", need.name)


_ANSWERS = {
    "gpu": _gpu,
    "memory": _memory,
    "package": _package,
    "flag": _flag,
    "level": _level,
    "platform": _platform,
    "gpus": _gpus,
    "sm": _sm,
    "cuda": _cuda,
    "driver": _driver,
    "toolkit": _toolkit,
    "python": _python,
    "glibc": _glibc,
}
"""By the name of a need of kind ``version``, by kind of the others."""
