"""The verbs: report, check, snapshot, diff, inspect. The command line and the pytest plugin do all through these."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envcheck.core.report import Report
from envcheck.core.snapshot import Snapshot

if TYPE_CHECKING:
    from envcheck.differences import Difference
    from envcheck.inspection.model import Inspection
    from envcheck.matrix import Matrix

Source = Snapshot | Mapping[str, Any] | str | os.PathLike[str]
"""Where a machine or a stack comes from: a snapshot, sparse facts, ``"here"``, or the path of a file with either."""

TIMEOUT = 20.0
"""Seconds after which a snapshot of this machine is given with what is known by then."""

IMPORT_TIMEOUT = 120.0
"""The same with import tests: a framework may take half a minute to import from a slow disk."""


def snapshot(
    *,
    imports: bool = False,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
    gpu_code: bool = False,
) -> Snapshot:
    """This machine and the stack of this interpreter. Never raises for what is broken here: that becomes facts.

    ``imports``: import each installed framework, in a process of its own; ``timeout`` in seconds, by default 20, with
    imports 120. ``gpu_code``: read the GPU code of the frameworks also where no NVIDIA GPU is (for another machine).
    ``CONDA_OVERRIDE_CUDA``, ``CONDA_OVERRIDE_GLIBC`` and ``UV_CUDA_DRIVER_VERSION`` are honoured; see
    ``assumed`` of the snapshot.
    """
    import time

    from envcheck.probes import collect
    from envcheck.probes.host import Host

    if timeout is None:
        timeout = IMPORT_TIMEOUT if imports else TIMEOUT
    deadline = time.monotonic() + timeout
    host = Host(deadline=deadline)
    host.thorough = gpu_code
    found = collect(host, deadline=deadline, imports=imports, progress=progress)
    if any(name in os.environ for name in ("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "UV_CUDA_DRIVER_VERSION")):
        from envcheck.assume import from_environment

        found = from_environment(found, os.environ)
    return found


def report(*, imports: bool = False, assume: Mapping[str, Any] | None = None, timeout: float | None = None) -> Report:
    """Judge this stack on this machine; print the result or show it in a notebook. Options as for :func:`check`."""
    return check(imports=imports, assume=assume, timeout=timeout)


def check(
    snapshot: Source | None = None,
    *,
    stack: Source | None = None,
    machine: Source | None = None,
    select: str | Sequence[str] = (),
    ignore: str | Iterable[str] = (),
    imports: bool = False,
    assume: Mapping[str, Any] | None = None,
    matrix: Matrix | None = None,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judge a snapshot, or any stack against any machine; what is not given is taken from here.

    ``imports``: import each installed framework, in a process of its own; for the stack of here on the machine of
    here. ``assume``: facts in place of those that were found, such as ``{"driver": "535.104.05", "gpu": "Tesla T4"}``;
    see :mod:`envcheck.assume`. ``timeout``: as for :func:`snapshot`.

    Raises :class:`envcheck.SnapshotError` when a source can't be read, ValueError for an unknown rule id, for an
    assumption that can't be used, when ``snapshot`` is given together with ``stack`` or ``machine``, and for
    ``imports`` of what is not here.
    """
    from envcheck.engine import evaluate

    if snapshot is not None and (stack is not None or machine is not None):
        raise ValueError("give either a snapshot or a stack and a machine, not both")
    if imports and not all(source is None or source == "here" for source in (snapshot, stack, machine)):
        raise ValueError("imports can be tested only of the stack of here on the machine of here")
    if matrix is None:
        from envcheck.matrix import Matrix

        matrix = Matrix.load()
    if snapshot is None:
        snapshot = combine(
            resolve(stack, imports=imports, timeout=timeout, progress=progress, gpu_code=bool(assume or machine)),
            resolve(machine, timeout=timeout, progress=progress) if machine != stack else None,
        )
    if isinstance(select, str):
        select = (select,)
    if isinstance(ignore, str):
        ignore = (ignore,)
    judged = resolve(snapshot, imports=imports, timeout=timeout, progress=progress)
    if assume:
        from envcheck.assume import assume as replace

        judged = replace(judged, assume, matrix)
    return evaluate(judged, matrix, select=select, ignore=ignore)


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

    ``machine``: would the wheel work there? Then ``report`` of the result says so. The other options are as for
    :func:`check`.

    Raises :class:`envcheck.InspectError` when the subject can't be read, or is no wheel and a machine is given,
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


def resolve(
    source: Source | None,
    *,
    imports: bool = False,
    timeout: float | None = None,
    progress: Callable[[str], None] | None = None,
    gpu_code: bool = False,
) -> Snapshot:
    """A snapshot from any source; None and ``"here"`` are this machine. Options as for :func:`snapshot`.

    Raises :class:`envcheck.SnapshotError`, and TypeError for what is no source.
    """
    if isinstance(source, Snapshot):
        return source
    if source is None or source == "here":
        return _here(imports=imports, timeout=timeout, progress=progress, gpu_code=gpu_code)
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
