"""The verbs: report, check, smoke, snapshot, diff, inspect. The command line and the pytest plugin work by these."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envcheck.core.report import Report
from envcheck.core.snapshot import Snapshot

if TYPE_CHECKING:
    from envcheck.diagnosis.model import Diagnosis
    from envcheck.differences import Difference
    from envcheck.inspection.model import Inspection
    from envcheck.matrix import Matrix
    from envcheck.probes.smoke_options import SmokeOptions

Source = Snapshot | Mapping[str, Any] | str | os.PathLike[str]
"""Where a machine or a stack comes from: a snapshot, sparse facts, ``"here"``, or the path of a file with either."""

TIMEOUT = 20.0
"""Seconds after which a snapshot of this machine is given with what is known by then."""

IMPORT_TIMEOUT = 120.0
"""The same with import tests: a framework may take half a minute to import from a slow disk."""

SMOKE_TIMEOUT = 300.0
"""The same with smoke tests: besides the import a new GPU may have its kernels compiled."""


def snapshot(
    *,
    imports: bool = False,
    smoke: bool | SmokeOptions = False,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
    gpu_code: bool = False,
    meanwhile: Callable[[Snapshot], object] | None = None,
) -> Snapshot:
    """This machine and the stack of this interpreter. Never raises for what is broken here: that becomes facts.

    ``imports``: import each installed framework, in a process of its own; ``smoke``: run the smoke tests, see
    :func:`smoke`; ``timeout`` in seconds, by default 20, with imports 120, with smoke tests 300. ``gpu_code``: read
    the GPU code of the frameworks also where no NVIDIA GPU is (for another machine).
    ``meanwhile`` is called with what is found by then, while smoke tests may still run.
    ``CONDA_OVERRIDE_CUDA``, ``CONDA_OVERRIDE_GLIBC`` and ``UV_CUDA_DRIVER_VERSION`` are honoured; see
    ``assumed`` of the snapshot.
    """
    import time

    from envcheck.probes import collect
    from envcheck.probes.host import Host

    if timeout is None:
        timeout = SMOKE_TIMEOUT if smoke else IMPORT_TIMEOUT if imports else TIMEOUT
    deadline = time.monotonic() + timeout
    host = Host(deadline=deadline)
    host.thorough = gpu_code
    host.smoke = None if isinstance(smoke, bool) else smoke
    found = collect(host, deadline=deadline, imports=imports, smoke=bool(smoke), progress=progress, meanwhile=meanwhile)
    if any(name in os.environ for name in ("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "UV_CUDA_DRIVER_VERSION")):
        from envcheck.assume import from_environment

        found = from_environment(found, os.environ)
    return found


def report(
    *,
    imports: bool = False,
    smoke: bool | SmokeOptions = False,
    assume: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Report:
    """Judge this stack on this machine; print the result or show it in a notebook. Options as for :func:`check`."""
    return check(imports=imports, smoke=smoke, assume=assume, timeout=timeout)


def smoke(
    *backends: str,
    devices: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    thorough: bool = False,
    memory_mib: int | None = None,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    golden: str | os.PathLike[str] | None = None,
    record: str | os.PathLike[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    trust_pickle: bool = False,
    select: str | Sequence[str] = (),
    ignore: str | Iterable[str] = (),
    matrix: Matrix | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Run small inferences on the hardware that is here, each framework in a process of its own, and judge.

    ``backends``: ``torch``, ``onnxruntime`` ..., all that are installed when none is named; ``devices``: ``cpu``,
    ``gpu``, ``cuda:1``, ``CUDAExecutionProvider`` ...; ``dtypes``: of :data:`envcheck.smoke_tests.DTYPES`;
    ``thorough``: also what takes long (compilers, exports, all operations in all data types); ``memory_mib``: what the
    tests may take on the host and on each device (default: 4096).

    ``model``: a model file of the user's, which is run in place of our own small ones, with ``inputs`` (``.npz``; made
    from the model's signature when it is not given, with ``shapes`` for what is dynamic), compared with ``golden``
    (``.npz``) within ``rtol`` and ``atol``, or written to ``record``. ``trust_pickle``: load also files that can run
    any code when they are loaded.

    Raises :class:`envcheck.SmokeError` for files and options that can't be used, and ValueError as :func:`check` does.
    """
    from envcheck.probes.smoke_options import options

    wanted = options(
        backends=backends,
        devices=devices,
        dtypes=dtypes,
        thorough=thorough,
        memory_mib=memory_mib,
        model=model,
        inputs=inputs,
        golden=golden,
        record=record,
        shapes=shapes,
        rtol=rtol,
        atol=atol,
        trust_pickle=trust_pickle,
    )
    report = check(smoke=wanted, select=select, ignore=ignore, matrix=matrix, timeout=timeout, progress=progress)
    if wanted.model:
        from envcheck.probes.smoke_model import unusable_model
        from envcheck.probes.smoke_options import SmokeError

        if why := unusable_model(report):
            raise SmokeError(why)
    return report


def check(
    snapshot: Source | None = None,
    *,
    stack: Source | None = None,
    machine: Source | None = None,
    select: str | Sequence[str] = (),
    ignore: str | Iterable[str] = (),
    imports: bool = False,
    smoke: bool | SmokeOptions = False,
    assume: Mapping[str, Any] | None = None,
    matrix: Matrix | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judge a snapshot, or any stack against any machine; what is not given is taken from here.

    ``imports``: import each installed framework, in a process of its own; ``smoke``: run the smoke tests; both for the
    stack of here on the machine of here. ``assume``: facts in place of those that were found, such as
    ``{"driver": "535.104.05", "gpu": "Tesla T4"}``; see :mod:`envcheck.assume`. ``timeout``: as for :func:`snapshot`.

    Raises :class:`envcheck.SnapshotError` when a source can't be read, ValueError for an unknown rule id, for an
    assumption that can't be used, when ``snapshot`` is given together with ``stack`` or ``machine``, and for
    ``imports`` or ``smoke`` of what is not here.
    """
    if snapshot is not None and (stack is not None or machine is not None):
        raise ValueError("give either a snapshot or a stack and a machine, not both")
    if imports and not all(source is None or source == "here" for source in (snapshot, stack, machine)):
        raise ValueError("imports can be tested only of the stack of here on the machine of here")
    if smoke and not all(source is None or source == "here" for source in (snapshot, stack, machine)):
        raise ValueError("smoke tests run only with the stack of here on the machine of here")
    tables = matrix

    def judge(found: Snapshot) -> Report:
        nonlocal tables
        from envcheck.engine import evaluate
        from envcheck.matrix import Matrix

        if tables is None:
            tables = Matrix.load()
        return evaluate(found, tables, select=select, ignore=ignore)

    if isinstance(select, str):
        select = (select,)
    if isinstance(ignore, str):
        ignore = (ignore,)

    def prepare(found: Snapshot) -> None:
        judge(found)
        import envcheck.render.smoke
        import envcheck.render.text  # noqa: F401

    # Judged once without the smoke tests while they run, for nothing but that all is read and imported when they end.
    meanwhile = prepare if smoke else None
    if snapshot is None:
        snapshot = combine(
            resolve(
                stack,
                imports=imports,
                smoke=smoke,
                timeout=timeout,
                progress=progress,
                gpu_code=bool(assume or machine),
                meanwhile=meanwhile,
            ),
            resolve(machine, timeout=timeout, progress=progress) if machine != stack else None,
        )
    judged = resolve(snapshot, imports=imports, smoke=smoke, timeout=timeout, progress=progress, meanwhile=meanwhile)
    if assume:
        from envcheck.assume import assume as replace
        from envcheck.matrix import Matrix

        tables = tables or Matrix.load()
        judged = replace(judged, assume, tables)
    return judge(judged)


def inspect(
    subject: str | os.PathLike[str],
    *,
    machine: Source | None = None,
    select: str | Sequence[str] = (),
    ignore: str | Iterable[str] = (),
    assume: Mapping[str, Any] | None = None,
    matrix: Matrix | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Inspection:
    """What a compiled library, a wheel or an installed package says of itself; nothing is unpacked, imported or run.

    ``machine``: would the wheel, or the library, work there? Then ``report`` of the result says so. The other options
    are as for :func:`check`.

    Raises :class:`envcheck.InspectError` when the subject can't be read, or is installed and a machine is given,
    :class:`envcheck.SnapshotError` when the machine can't be read, and ValueError as :func:`check` does.
    """
    from envcheck.inspection import inspect as read

    if matrix is None:
        from envcheck.matrix import Matrix

        matrix = Matrix.load()
    place = None if machine is None else resolve(machine, timeout=timeout, progress=progress)
    found = read(os.fspath(subject), matrix, progress=progress)
    if place is not None:
        from envcheck.inspection.judge import judge_there

        if assume:
            from envcheck.assume import assume as replace

            place = replace(place, assume, matrix)
        judge_there(
            found,
            place,
            matrix,
            here=machine == "here",
            select=(select,) if isinstance(select, str) else select,
            ignore=(ignore,) if isinstance(ignore, str) else ignore,
        )
    return found


_kept: dict[str, Matrix] = {}


def diagnose(
    text: str | bytes | Iterable[str], snapshot: Source | None = None, *, matrix: Matrix | None = None
) -> Diagnosis:
    """The causes of an error message, ranked; none when the environment is not to blame.

    ``text``: the output of a program, whole or in parts; ``snapshot``: what is known of the environment in which it
    ran, ``"here"`` for this one; without it, or with ``"none"``, only what the message states counts.

    Raises :class:`envcheck.SnapshotError` when the snapshot can't be read, and
    :class:`envcheck.DiagnosisError` for a text that is none.
    """
    from envcheck.diagnosis.diagnose import diagnose as run
    from envcheck.diagnosis.text import decoded

    if matrix is None:
        from envcheck.matrix import Matrix

        # Kept: a program that diagnoses one text mostly diagnoses more, and reading the signatures takes longer.
        matrix = _kept.get("matrix") or _kept.setdefault("matrix", Matrix.load())
    if isinstance(text, (bytes, bytearray)):
        text = decoded(bytes(text))
    parts = (text,) if isinstance(text, str) else text
    return run(parts, None if snapshot is None or snapshot == "none" else resolve(snapshot), matrix)


def resolve(
    source: Source | None,
    *,
    imports: bool = False,
    smoke: bool | SmokeOptions = False,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
    gpu_code: bool = False,
    meanwhile: Callable[[Snapshot], object] | None = None,
) -> Snapshot:
    """A snapshot from any source; None and ``"here"`` are this machine. Options as for :func:`snapshot`.

    Raises :class:`envcheck.SnapshotError`, and TypeError for what is no source.
    """
    if isinstance(source, Snapshot):
        return source
    if source is None or source == "here":
        return _here(
            imports=imports,
            smoke=smoke,
            timeout=timeout,
            progress=progress,
            gpu_code=gpu_code,
            meanwhile=meanwhile,
        )
    if isinstance(source, Mapping):
        return Snapshot.from_facts(source)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"a source is a Snapshot, a mapping of facts, a path or 'here', not {type(source).__name__}")
    from envcheck.sources import load

    return load(os.fspath(source))


_here = snapshot


def combine(stack: Snapshot, machine: Snapshot | None) -> Snapshot:
    """The stack of one snapshot on the machine of another."""
    if machine is None or machine is stack:
        return stack
    from envcheck.sources.combine import combine as join

    return join(stack, machine)


def diff(a: Source, b: Source) -> list[Difference]:
    """What differs between two snapshots, most important first. Raises :class:`envcheck.SnapshotError`."""
    from envcheck.differences import compare

    return compare(resolve(a), resolve(b))
