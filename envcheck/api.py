"""The verbs: report, check, snapshot, diff. What the command line and the pytest plugin do, they do through these."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envcheck.core.report import Report
from envcheck.core.snapshot import Snapshot

if TYPE_CHECKING:
    from envcheck.differences import Difference
    from envcheck.matrix import Matrix

Source = Snapshot | Mapping[str, Any] | str | os.PathLike[str]
"""Where a machine or a stack comes from: a snapshot, sparse facts, ``"here"``, or the path of a file with either."""

TIMEOUT = 20.0
"""Seconds after which a snapshot of this machine is given with what is known by then."""


def snapshot(*, timeout: float = TIMEOUT, progress: Callable[[str], None] | None = None) -> Snapshot:
    """This machine and the stack of this interpreter. Never raises for what is broken here: that becomes facts."""
    import time

    from envcheck.probes import collect
    from envcheck.probes.host import Host

    deadline = time.monotonic() + timeout
    return collect(Host(deadline=deadline), deadline=deadline, progress=progress)


def report(*, timeout: float = TIMEOUT) -> Report:
    """Judge this stack on this machine; print the result or show it in a notebook."""
    return check(timeout=timeout)


def check(
    snapshot: Source | None = None,
    *,
    stack: Source | None = None,
    machine: Source | None = None,
    select: str | Sequence[str] = (),
    ignore: str | Iterable[str] = (),
    matrix: Matrix | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judge a snapshot, or any stack against any machine; what is not given is taken from here.

    Raises :class:`envcheck.SnapshotError` when a source can't be read, ValueError for an unknown rule id or when
    ``snapshot`` is given together with ``stack`` or ``machine``.
    """
    from envcheck.engine import evaluate

    if snapshot is not None and (stack is not None or machine is not None):
        raise ValueError("give either a snapshot or a stack and a machine, not both")
    if matrix is None:
        from envcheck.matrix import Matrix

        matrix = Matrix.load()
    if snapshot is None:
        snapshot = combine(
            resolve(stack, timeout=timeout, progress=progress),
            resolve(machine, timeout=timeout, progress=progress) if machine != stack else None,
        )
    if isinstance(select, str):
        select = (select,)
    if isinstance(ignore, str):
        ignore = (ignore,)
    return evaluate(resolve(snapshot), matrix, select=select, ignore=ignore)


def resolve(
    source: Source | None, *, timeout: float = TIMEOUT, progress: Callable[[str], None] | None = None
) -> Snapshot:
    """A snapshot from any source; None and ``"here"`` are this machine.

    Raises :class:`envcheck.SnapshotError`, and TypeError for what is no source.
    """
    if isinstance(source, Snapshot):
        return source
    if source is None or source == "here":
        return _here(timeout=timeout, progress=progress)
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
