"""Facts that somebody states in place of what is here: ``--assume``, and variables that people set for conda and uv.

An assumption replaces what was found, as it does for conda and uv, and is shown with the result (`Snapshot.assumed`).
What only follows from a replaced fact is not known any more: an assumed driver takes libcuda's version with it, an
assumed GPU on a machine without one takes "there is no driver" with it. `none`, or an empty text, says that there is
none.

| key | value | example |
|---|---|---|
| `driver` | version of the NVIDIA driver | `535.104.05` |
| `cuda` | newest CUDA that the driver serves | `12.2` |
| `gpu` | name of a GPU of our tables; several for several GPUs | `Tesla T4` |
| `glibc` | version of the C library | `2.28` |
| `distro` | distribution and release | `ubuntu 20.04` |
| `cpu` | flags with + or -, commas between them, or an x86-64 level | `-avx2,-fma` |
| `python` | version of the interpreter | `3.12` |

Variables, for what is judged on this machine: `CONDA_OVERRIDE_CUDA` (as `cuda`) and `CONDA_OVERRIDE_GLIBC` (as
`glibc`), where an empty value says that there is none, and `UV_CUDA_DRIVER_VERSION` (as `driver`). One whose value
is no version is not used, and the log of the probes says so. `--assume` wins over the configuration file, both over the
variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from envcheck.core.snapshot import (
    Absent,
    Assumption,
    DriverSource,
    Gpu,
    NvidiaDriver,
    ProbeRun,
    Snapshot,
    Unknown,
    Userland,
    known,
)

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

FACTS = {
    "driver": "driver.version",
    "cuda": "driver.cuda",
    "gpu": "gpus",
    "distro": "os.distro",
    "glibc": "os.glibc",
    "cpu": "cpu.flags",
    "python": "python.version",
}
"""Key -> the fact that it states."""

VARIABLES = {
    # uv: "the CUDA driver version to assume when inferring the PyTorch backend", before all that uv detects.
    "UV_CUDA_DRIVER_VERSION": "driver",
    # conda: replaces the version of the virtual package; set but empty, the package is not there.
    "CONDA_OVERRIDE_CUDA": "cuda",
    "CONDA_OVERRIDE_GLIBC": "glibc",
}

NONE = ("", "none")


class AssumptionError(ValueError):
    """An assumption that can't be used; its text is one sentence."""


def parse(texts: Sequence[str], by: str = "--assume") -> dict[str, tuple[str, ...]]:
    """``["driver=535.104.05", "gpu=Tesla T4"]`` as a mapping. Raises AssumptionError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise AssumptionError(f"{by} takes KEY=VALUE, such as driver=535.104.05, not {text!r}")
        found.setdefault(key.strip(), []).append(value.strip())
    return normal(found, by)


def normal(assumed: Mapping[str, Any], by: str = "assume") -> dict[str, tuple[str, ...]]:
    """The same with a tuple of texts for each key. Raises AssumptionError for keys and values of a wrong kind."""
    if not isinstance(assumed, Mapping):
        raise AssumptionError(f"{by} takes a mapping such as {{'driver': '535.104.05'}}")
    found = {}
    for key, value in assumed.items():
        if key not in FACTS:
            from envcheck.core.snapshot.stated import similar

            hint = similar(str(key), tuple(FACTS)) or f"; there are {', '.join(FACTS)}"
            raise AssumptionError(f"{by}: there is no key {key!r}{hint}")
        values = (value,) if isinstance(value, str) else value
        if not isinstance(values, Sequence) or not values or not all(isinstance(one, str) for one in values):
            raise AssumptionError(f'{by}: {key} must be a text, such as "{_EXAMPLES[key]}"')
        if len(values) > 1 and key not in ("gpu", "cpu"):
            raise AssumptionError(f"{by}: {key} is stated {len(values)} times")
        found[key] = tuple(one.strip() for one in values)
    return found


_EXAMPLES = {"driver": "535.104.05", "cuda": "12.2", "gpu": "Tesla T4", "glibc": "2.28", "distro": "ubuntu 20.04",
             "cpu": "-avx2", "python": "3.12"}  # fmt: skip


def assume(snapshot: Snapshot, assumed: Mapping[str, Any], matrix: Matrix, by: str = "assume") -> Snapshot:
    """A copy of the snapshot in which these facts are as stated. Raises :class:`AssumptionError`."""
    stated = normal(assumed, by)
    if not stated:
        return snapshot
    made = _copy(snapshot)
    for key in FACTS:  # a driver before its CUDA, a distribution before the C library
        if key in stated:
            _state(made, key, stated[key], by, matrix)
    return made


def from_environment(snapshot: Snapshot, env: Mapping[str, str]) -> Snapshot:
    """The same for the variables of conda and uv; never raises."""
    named = [name for name in VARIABLES if name in env]
    if known(snapshot.machine.system) not in (None, "Linux"):
        named = [name for name in named if VARIABLES[name] != "glibc"]
    if not named:
        return snapshot
    made = _copy(snapshot)
    for name in named:
        value = env[name].strip()
        try:
            if name.startswith("UV_") and not value:
                raise AssumptionError("it is empty")
            _state(made, VARIABLES[name], (value,), name, None)
        except AssumptionError as error:
            made.probes.append(ProbeRun("assume", "failed", f"not used: {error}", name))
    return made


def _copy(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        machine=replace(snapshot.machine),
        stack=replace(snapshot.stack),
        assumed=list(snapshot.assumed),
        probes=list(snapshot.probes),
    )


def _state(made: Snapshot, key: str, values: tuple[str, ...], by: str, matrix: Matrix | None) -> None:
    fact = FACTS[key]
    if key in ("gpu", "cpu"):
        assert matrix is not None
        before = _gpus(made, values, by, matrix) if key == "gpu" else _cpu(made, ",".join(values), by, matrix)
    else:
        before = _SETTERS[key](made, ",".join(values), by)
    value = ", ".join("none" if one.lower() in NONE else one for one in values)
    replaced = {fact, "driver.cuda"} if key == "driver" else {fact}
    made.assumed = [*(one for one in made.assumed if one.fact not in replaced), Assumption(fact, value, by)]
    made.probes.append(ProbeRun("assume", "ok", f"{fact} {value}" + (f" in place of {before}" if before else ""), by))
    made.smoke = []  # they were made with what is here
    if key in ("glibc", "distro", "cpu", "python"):
        made.stack.imports = []


def _version(value: str, key: str, by: str) -> str:
    parts = value.split(".")
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts) or len(parts) > 4:
        raise AssumptionError(f"{by}: {key} must be a version such as {_EXAMPLES[key]}, not {value!r}")
    return value


def _driver(made: Snapshot, value: str, by: str) -> str:
    machine = made.machine
    before = known(machine.nvidia.version) or ""
    if value.lower() in NONE:
        gone = Absent(f"stated by {by}: there is no NVIDIA driver")
        machine.nvidia = NvidiaDriver(version=gone, cuda=gone, user_mode=gone, libcuda=gone)
        return before
    version = _version(value, "driver", by)
    if before != version or any(one.fact == "driver.cuda" for one in made.assumed):
        why = Unknown(f"the driver is assumed ({by})")
        machine.nvidia = _unknown(NvidiaDriver(version=version, sources=[DriverSource(by, "kernel", version)]), why)
    _no_longer_without_gpu(made, by)
    return before


def _cuda(made: Snapshot, value: str, by: str) -> str:
    machine = made.machine
    before = known(machine.nvidia.cuda) or ""
    if value.lower() in NONE:
        # As for conda: without __cuda there is nothing that CUDA programs could use.
        _driver(made, value, by)
        if isinstance(machine.gpus, list):
            rest = [gpu for gpu in machine.gpus if known(gpu.vendor) not in (None, "nvidia")]
            machine.gpus = rest or Absent(f"stated by {by}: there is no CUDA")
        return before
    version = _version(value, "cuda", by)
    version = version if "." in version else f"{version}.0"
    if before != version:
        stated = any(one.fact == "driver.version" for one in made.assumed)
        kernel = machine.nvidia.version if stated else Unknown(f"the CUDA that the driver serves is assumed ({by})")
        sources = [source for source in machine.nvidia.sources if stated and source.kind == "kernel"]
        fresh = NvidiaDriver(version=kernel, cuda=version, sources=[*sources, DriverSource(by, "cuda", version)])
        machine.nvidia = _unknown(fresh, Unknown(f"the driver is assumed ({by})"))
    _no_longer_without_gpu(made, by)
    return before


def _unknown(driver: NvidiaDriver, why: Unknown) -> NvidiaDriver:
    """What nobody stated of a driver is unknown for this reason."""
    for name in NvidiaDriver.__struct_fields__:
        value = getattr(driver, name)
        if isinstance(value, Unknown) and value.why == "not stated" and name != "cuda":
            setattr(driver, name, why)
    return driver


def _no_longer_without_gpu(made: Snapshot, by: str) -> None:
    if isinstance(made.machine.gpus, Absent):
        made.machine.gpus = Unknown(f"a driver is assumed ({by}), and its GPU is not stated")


def _gpus(made: Snapshot, values: tuple[str, ...], by: str, matrix: Matrix) -> str:
    machine = made.machine
    before = ", ".join(known(gpu.name) or "GPU" for gpu in known(machine.gpus) or ())
    if all(value.lower() in NONE for value in values):
        machine.gpus = Absent(f"stated by {by}: there is no GPU")
        return before
    machine.gpus = [_gpu(index, name, by, matrix) for index, name in enumerate(values)]
    why = Unknown(f"the GPU is assumed ({by})")
    nvidia = machine.nvidia
    if isinstance(nvidia.version, Absent):
        machine.nvidia = _unknown(NvidiaDriver(version=Unknown(f"{why.why}, and its driver is not stated")), why)
    else:
        machine.nvidia = replace(
            nvidia, nodes=why, nodes_denied=[], cu_init=why, cuda_devices=why, fabric_manager=why, nvml_error=why
        )
    return before


def _gpu(index: int, name: str, by: str, matrix: Matrix) -> Gpu:
    from envcheck.matrix.gpus import find_gpu

    row = find_gpu(matrix, name)
    if row is None:
        from difflib import get_close_matches

        names = {each["name"].lower(): str(each["name"]) for each in matrix.rows("gpus")}
        wanted = name.lower().removeprefix("nvidia ")
        close = get_close_matches(wanted, list(names), n=1, cutoff=0.5)
        several = [each for lower, each in names.items() if wanted and wanted in lower.split()]
        if several:
            hint = f"; it can be {' or '.join(several[:3])}"
        else:
            hint = f"; did you mean {names[close[0]]!r}?" if close else ""
        raise AssumptionError(f"{by}: no GPU of our tables is called {name!r}{hint}")
    memory = row["memory_mib"]
    return Gpu(
        index=index,
        vendor="nvidia",
        name=name,
        compute_capability=str(row["compute_capability"]),
        memory_mib=Unknown("the name does not tell its memory") if memory is None else int(memory),
    )


def _userlands(made: Snapshot) -> list[Userland]:
    """Copies of the C libraries that the stack meets, in their places."""
    made.stack.userland = replace(made.stack.userland)
    if isinstance(made.stack.container, str):
        return [made.stack.userland]
    made.machine.userland = replace(made.machine.userland)
    return [made.machine.userland, made.stack.userland]


def _glibc(made: Snapshot, value: str, by: str) -> str:
    lands = _userlands(made)
    before = known(lands[-1].libc_version) or ""
    for land in lands:
        if value.lower() in NONE:
            gone = Absent(f"stated by {by}: there is no glibc")
            land.libc = land.libc_version = gone
        else:
            land.libc, land.libc_version = "glibc", _version(value, "glibc", by)
    _no_tags(made, by)
    return before


def _distro(made: Snapshot, value: str, by: str) -> str:
    stated = Snapshot.from_facts({"os": {"distro": value}}).machine.userland
    if not known(stated.distro) or not known(stated.distro_version):
        example = _EXAMPLES["distro"]
        raise AssumptionError(f"{by}: distro must be a name with a release, such as {example}, not {value!r}")
    lands = _userlands(made)
    before = " ".join(filter(None, (known(lands[-1].distro), known(lands[-1].distro_version))))
    why = Unknown(f"the distribution is assumed ({by})")
    for land in lands:
        land.distro, land.distro_version = stated.distro, stated.distro_version
        land.libc = land.libc_version = land.glibcxx = land.cxxabi = why
    _no_tags(made, by)
    return before


def _no_tags(made: Snapshot, by: str) -> None:
    made.stack.python = replace(made.stack.python, platform_tags=Unknown(f"the system is assumed ({by})"))


def _cpu(made: Snapshot, value: str, by: str, matrix: Matrix) -> str:
    cpu = made.machine.cpu = replace(made.machine.cpu, brand=Unknown(f"the CPU is assumed ({by})"))
    words = value.lower().replace(",", " ").split()
    flags = known(cpu.flags)
    have, lacks = set(flags or ()), list(cpu.missing_flags)
    levels = {f"x86-64-v{row['level']}": frozenset(row["all_flags"]) for row in matrix.rows("x86-levels")}
    if len(words) == 1 and words[0] in levels:
        before = known(cpu.level) or ""
        cpu.level, cpu.flags = words[0], Unknown(f"the CPU's level is assumed ({by})")
        cpu.missing_flags = sorted(frozenset().union(*levels.values()) - levels[words[0]])
        return before
    for word in words:
        name = word[1:].replace(".", "_").replace("-", "_")
        if word[0] not in "+-" or not name.isidentifier() or not name.isascii():
            raise AssumptionError(
                f"{by}: cpu takes flags with + or -, such as -avx2, or a level such as x86-64-v2, not {word!r}"
            )
        if word[0] == "-":
            have.discard(name)
            lacks.append(name)
        elif flags is None:
            raise AssumptionError(f"{by}: cpu={word} adds to the CPU's flags, which are not known here")
        else:
            have.add(name)
            lacks = [flag for flag in lacks if flag != name]
    if not words:
        raise AssumptionError(f"{by}: cpu must be flags with + or -, such as -avx2, not an empty text")
    cpu.flags = cpu.flags if flags is None else sorted(have)
    cpu.missing_flags = list(dict.fromkeys(lacks))
    cpu.level = Unknown(f"the CPU's flags are assumed ({by})")
    return ""


def _python(made: Snapshot, value: str, by: str) -> str:
    version = _version(value.removesuffix("t"), "python", by)
    stated = Snapshot.from_facts({"python": version + "t" * value.endswith("t")}).stack.python
    before = known(made.stack.python.version) or ""
    abi = stated.abi if isinstance(stated.abi, str) else "cp" + "".join(version.split(".")[:2])
    made.stack.python = replace(made.stack.python, version=stated.version, abi=abi)
    return before


_SETTERS: dict[str, Callable[[Snapshot, str, str], str]] = {
    "driver": _driver,
    "cuda": _cuda,
    "glibc": _glibc,
    "distro": _distro,
    "python": _python,
}
