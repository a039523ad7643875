"""A device is far slower than its kind.

What it does
    Holds the short measurements of smoke tests against what the GPU or the CPU can do at most, with a wide margin: a
    tenth of its peak, a twentieth on a CPU. Looks at the number of threads too. Smoke tests run only where they are
    asked for: `envcheck smoke`, `envcheck --smoke`.

Why it fails
    Clocks are held down by heat or a power cap, the card sits in a slot with one lane, another process uses the GPU,
    the framework is a debug build, or has no optimised library for matrices. OpenMP counts the CPUs of the host, not
    those that a container's quota grants: its threads wait for each other.

How it shows
    A benchmark that reaches a small part of what others report; `nvidia-smi` shows P8 or a "HW Slowdown"; `top` shows
    one CPU in use, or the container's `cpu.stat` counts `nr_throttled`.

How to fix
    Look at what holds the device back (nvidia-smi -q -d PERFORMANCE), end other programs, mend cooling or slot. In
    containers set OMP_NUM_THREADS to the CPUs that are granted.

Exceptions
    Measurements of a few milliseconds on a machine in use say little: findings are warnings, of low confidence where
    nothing explains them. MIG instances count by their share; there is no verdict on vGPUs and on cards that are not
    in the table, such as those for notebooks, but that they are slower than the CPU beside them.

Sources
    The smoke test itself; the tables gpu-speed and cpu-speed; NVML.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import SmokeSpeed, known
from envcheck.rules.smoke_failure import again

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.smoke import Smoked
    from envcheck.matrix import Matrix, Row

ON_DEVICE = ("torch", "cupy", "jax", "tensorflow")
"""Backends whose matrices lie on the GPU while they are multiplied; those of others are copied, which takes longer."""
FAR, FAR_ON_CPU = 0.1, 0.05
SLOW_LINK = 1.0
"""GB/s. A memory that is not pinned is copied at 2 to 12 GB/s over 8 or 16 lanes."""
SHORT = {"float32": "fp32", "tf32": "tf32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3": "fp8", "int8": "int8"}
LOW_CLOCK = 1e9
"""Hz: no CPU on which models are deployed runs slower under load."""
MOST_CORES = 16
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MANY = 8
"""From so many CPUs on one thread is a waste."""


def check(
    smoked: list[Smoked], *, env: dict[str, str] | None = None, snapshot: Snapshot, matrix: Matrix
) -> Iterator[Result]:
    """Judge how fast each device was."""
    share = (env or {}).get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "100")
    for one in smoked:
        if not one.passed or (one.on_gpu and not one.test.speeds):
            continue
        if not one.on_gpu:
            yield from _cpu(one, env or {}, snapshot, matrix)
        elif _is_share(one) or (one.test.kind == "cuda" and share not in ("100", "100.0")):
            yield Pass(str(one), "it is a share of a GPU, of a size that is not known")
        elif one.test.backend in ON_DEVICE:
            yield from _gpu(one, _cpu_speed(one, smoked), matrix)


def _is_share(one: Smoked) -> bool:
    virtual = known(one.gpu.raw.virtual) if one.gpu is not None else None
    return virtual == "vgpu" or "grid" in _name(one).lower().split()


def _name(one: Smoked) -> str:
    return known(one.test.name) or (one.gpu.name if one.gpu is not None else "")


def _cpu_speed(one: Smoked, tests: Sequence[Smoked]) -> SmokeSpeed | None:
    """How fast the same framework multiplies on the CPU."""
    same = (each.test for each in tests if each.test.backend == one.test.backend and each.test.kind == "cpu")
    found = (speed for test in same for speed in test.speeds if (speed.measure, speed.dtype) == ("matmul", "float32"))
    return next(found, None)


def _gpu(one: Smoked, on_cpu: SmokeSpeed | None, matrix: Matrix) -> Iterator[Result]:
    from envcheck.matrix.speed import gpu_speed

    name = _name(one)
    if not name:
        yield Undecided(str(one), f"smoke.{one.test.backend}.name", "which GPU it is was not told")
        return
    whole, _, instance = name.partition(" MIG ")
    row, share = gpu_speed(matrix, whole), _slices(instance)
    found = list(_against_table(one.test.speeds, row, share)) if row is not None and share else []
    if not found and row is None and on_cpu is not None:
        found = list(_against_cpu(one.test.speeds, on_cpu))
    found += _link(one, row)
    if not found:
        listed = f"what {whole} can do" if row is not None else "its CPU"
        yield Pass(str(one), f"its speed fits {listed}")
        return
    reasons = list(_reasons(one))
    yield _finding(one, found, reasons, [_cite(matrix, row)] if row is not None else [], GPU_FIXES)


def _slices(instance: str) -> float:
    """The share of a MIG instance, ``3g.20gb``, at the least: there are at most eight slices; 0: it can't be told."""
    if not instance:
        return 1.0
    count = instance.partition("g.")[0]
    return int(count) / 8 if count.isdigit() and len(count) == 1 else 0.0


def _against_table(speeds: Sequence[SmokeSpeed], row: Row, share: float) -> Iterator[str]:
    from envcheck.matrix.speed import peak

    for speed in speeds:
        if speed.measure == "matmul" and speed.dtype in SHORT:
            limit, unit, value = peak(row, SHORT[speed.dtype]), 1e12, speed.value * 1e12
        elif speed.measure == "copy":
            limit, unit, value = (row["bandwidth_gbs"] or 0) * 10**9, 1e9, speed.value * 1e9
        else:
            continue
        if limit and value < FAR * share * limit:
            of = f"{limit * share / unit:.3g} {speed.unit} that {'its share' if share < 1 else 'such a card'} can do"
            what = f"matmul in {speed.dtype}" if speed.measure == "matmul" else "its memory"
            yield f"{what} reaches {speed.value:.3g} of the {of}"


def _against_cpu(speeds: Sequence[SmokeSpeed], on_cpu: SmokeSpeed) -> Iterator[str]:
    for speed in speeds:
        if (speed.measure, speed.dtype, speed.unit) == (
            "matmul",
            "float32",
            on_cpu.unit,
        ) and speed.value < on_cpu.value:
            yield f"matmul in float32 reaches {speed.value:.3g} {speed.unit}, the CPU beside it {on_cpu.value:.3g}"


def _link(one: Smoked, row: Row | None) -> list[str]:
    """Copies between host and GPU that are slower than any slot of a server."""
    copies = [speed for speed in one.test.speeds if speed.measure in ("to-device", "from-device")]
    pcie = one.gpu.raw.pcie if one.gpu is not None else None
    told = known(pcie.width_max) if pcie is not None else None
    lanes = told or (row["pcie_width"] if row is not None else None)
    if not copies or not lanes or lanes < 8 or max(speed.value for speed in copies) >= SLOW_LINK:
        return []
    return [f"copies between host and GPU reach {max(speed.value for speed in copies):.2g} GB/s"]


def _reasons(one: Smoked) -> Iterator[str]:
    """What the facts suggest."""
    if one.gpu is not None:
        raw = one.gpu.raw
        if throttled := known(raw.throttled):
            yield f"its clocks are held down ({', '.join(throttled)})"
        if used_by := known(raw.used_by):
            held = f", which hold {mib} MiB" if (mib := known(raw.used_by_mib)) else ""
            yield f"{used_by} other process(es) use it{held}"
        width, most = known(raw.pcie.width), known(raw.pcie.width_max)
        if width and most and width < most:
            yield f"its link has {width} of {most} lanes"
    if one.test.facts.get("debug") == "true":
        yield "the framework is a debug build"


def _cpu(one: Smoked, env: dict[str, str], snapshot: Snapshot, matrix: Matrix) -> Iterator[Result]:
    from envcheck.matrix.speed import cpu_speed

    cores, limit = known(snapshot.machine.cpu.logical_cores), _number(known(snapshot.machine.memory.cpu_limit))
    granted = min(cores or 0, limit or cores or 0)
    threads = int(_number(one.test.facts.get("threads")) or 0)
    if limit and threads >= max(2 * limit, limit + 4):
        told = f"it starts {threads} threads, and the container is granted {limit:g} CPUs: they wait for each other"
        yield _finding(one, [told], ["OpenMP counts the CPUs of the host"], [], [_set_threads(max(1, int(limit)))])
        return
    if threads == 1 and granted >= MANY:
        names = [name for name in THREAD_VARIABLES if env.get(name) == "1"]
        finding = _finding(
            one,
            [f"it computes with 1 thread, and {granted:g} CPUs are there"],
            [f"{names[0]}=1 is set"] if names else [],
            [],
            [_set_threads(int(granted))],
        )
        if names:  # somebody wants it so
            finding.severity = "info"
        yield finding
        return
    value = next(
        (speed.value for speed in one.test.speeds if (speed.measure, speed.unit) == ("matmul", "TFLOPS")), None
    )
    row = cpu_speed(matrix, known(snapshot.machine.cpu.flags) or ())
    if value is None or row is None or not granted:
        return
    # Two logical cores may be one physical one; small matrices keep few of them busy.
    physical = min(max(1.0, min(granted, threads or granted) / 2), MOST_CORES)
    least = row["flops_low"] * physical * LOW_CLOCK
    if value * 1e12 >= FAR_ON_CPU * least:
        yield Pass(str(one), f"its speed fits {granted:g} CPUs with {row['instructions']}")
        return
    could = f"{granted:g} CPUs with {row['instructions']} do {least / 1e9:.3g} at 1 GHz"
    told = f"matmul reaches {value * 1000:.2g} GFLOPS where {could}"
    yield _finding(one, [told], list(_cpu_reasons(one, snapshot)), [_cite(matrix, row)], CPU_FIXES)


def _cpu_reasons(one: Smoked, snapshot: Snapshot) -> Iterator[str]:
    facts = one.test.facts
    if facts.get("debug") == "true":
        yield "the framework is a debug build"
    if facts.get("mkl") == "false" and facts.get("onednn") == "false":
        yield "the framework was built without MKL and oneDNN"
    if emulated := known(snapshot.machine.cpu.emulated):
        yield f"the CPU is emulated ({emulated})"


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _finding(
    one: Smoked, told: list[str], reasons: list[str], evidence: list[Evidence], fixes: Sequence[Fix]
) -> Finding:
    why = f"; {', '.join(reasons)}" if reasons else ""
    return Finding(
        severity="warning",
        confidence="medium" if reasons else "low",
        subject=str(one),
        message=f"{one} is slow: {told[0]}{f' (and {len(told) - 1} more)' if len(told) > 1 else ''}{why}.",
        evidence=[*(Evidence(text, "smoke test") for text in told), *(Evidence(text) for text in reasons), *evidence],
        fixes=[*fixes, Fix(again(one.test), "measures again; end other programs first", "safe")],
    )


def _cite(matrix: Matrix, row: Row) -> Evidence:
    title, url, as_of = matrix.cite(row)
    if "bandwidth_gbs" not in row:
        return Evidence(f"{row['instructions']}: {row['flops_low']} operations a clock and core", title, url, as_of)
    figures = {"GB/s": row["bandwidth_gbs"], "GFLOPS in float32": row["fp32_gflops"]}
    text = ", ".join(f"{value} {unit}" for unit, value in figures.items() if value)
    return Evidence(f"{row['name']}: {text}", title, url, as_of)


def _set_threads(count: int) -> Fix:
    return Fix(f"export OMP_NUM_THREADS={count}", "or torch.set_num_threads in the program", "safe")


GPU_FIXES = (
    Fix("nvidia-smi -q -d PERFORMANCE,CLOCK,POWER,TEMPERATURE", "what holds its clocks down", "safe"),
    Fix("nvidia-smi --query-gpu=pcie.link.gen.current,pcie.link.width.current,utilization.gpu --format=csv",
        "its link, and whether others use it", "safe"),
)  # fmt: skip
CPU_FIXES = (
    Fix('python -c "import torch; print(torch.__config__.parallel_info())"', "threads and libraries of torch", "safe"),
)
