"""Which process of a job failed first: as its launcher tells, and by the order of the messages.

What the other processes say then is mostly a consequence: peers that are gone, collectives that time out, and the
launcher's own SIGTERM and SIGKILL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from envcheck.diagnosis.model import Match
from envcheck.diagnosis.prefixes import several

_ENDED_BY_LAUNCHER = ("forcefully exiting via", "closing signal SIG")
"""What launchers write when they end the processes that are left."""
_TOLD = (
    # literal, launcher, what names the process, pattern
    (
        "Root Cause (first observed failure)",
        "torchrun",
        "rank",
        r"Root Cause \(first observed failure\):[^\0]{0,600}?"
        r"\n\s{0,8}rank\s{0,8}: (?P<who>\d{1,6}) \([^\n]{0,40}\)\s{1,8}"
        r"exitcode\s{0,8}: (?P<code>-?\d{1,5}) \(pid: \d{1,10}\)(?: {0,4}\((?P<signal>\w{1,20})\))?",
    ),
    (
        "The first process to do so was",
        "mpirun",
        "rank",
        r"The first process to do so was:\s{1,8}Process name: (?:[^\n]{0,80}[,\[])?(?P<who>\d{1,6})\]?\s{1,8}"
        r"Exit code:\s{1,8}(?P<code>-?\d{1,5})",
    ),
    (
        "noticed that process rank",
        "mpirun",
        "rank",
        r"noticed that process rank (?P<who>\d{1,6}) with PID \d{1,10} on node \S{1,80}\s{1,4}"
        r"exited on signal (?P<number>\d{1,3})(?: \((?P<signal>[^)\n]{1,40})\))?",
    ),
    (
        "srun: error: ",
        "srun",
        "task",
        r"srun: error: \S{1,80}: tasks? (?P<who>\d{1,6}(?:[-,]\d{1,6}){0,9}): (?P<how>(?!Terminated)[A-Z][^\n]{2,60})",
    ),
    (
        "terminated with",
        "torch.multiprocessing",
        "process",
        r"(?:^|\s)process (?P<who>\d{1,6}) terminated with "
        r"(?:signal (?P<signal>SIG\w{2,10})|exit code (?P<code>\d{1,5})|the following error)",
    ),
    (
        "Child process with PID",
        "Lightning",
        "rank",
        r"\[rank: (?P<who>\d{1,6})\] Child process with PID \d{1,10} terminated with code (?P<code>-?\d{1,5})",
    ),
)
"""Sources: torch/distributed/elastic/multiprocessing/errors, torch/multiprocessing/spawn.py, the help texts of Open MPI
and PRRTE (Horovod's launcher says the same), lightning.fabric.strategies.launchers.subprocess_script, srun."""
_SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


class Failure(NamedTuple):
    """The process that a launcher saw fail first."""

    launcher: str
    process: str
    """``rank 3``."""
    how: str
    """``exit code -9 (SIGKILL)``; empty when it does not say."""
    start: int
    end: int
    """Where it says so."""
    by_signal: bool | None
    """Whether a signal ended it; None when it does not say."""


def announced(text: str) -> Failure | None:
    """What the launcher tells of the first failure.

    >>> found = announced("-- Process 3 terminated with the following error:")
    >>> found.launcher, found.process
    ('torch.multiprocessing', 'process 3')
    """
    for literal, launcher, kind, pattern in _TOLD:
        place = text.find(literal)
        if place < 0:
            continue
        found = re.compile(pattern, re.IGNORECASE).search(text, max(0, place - 60))
        if found is not None:
            who = found["who"]
            how, by_signal = _how(found.groupdict())
            kind = "tasks" if launcher == "srun" and not who.isdecimal() else kind
            return Failure(launcher, f"{kind} {who}", how, found.start(), found.end() + 200, by_signal)
    return None


def _how(groups: dict[str, str | None]) -> tuple[str, bool | None]:
    signal, code, number = groups.get("signal"), groups.get("code"), groups.get("number")
    if said := groups.get("how"):
        return said.strip(), not said.startswith("Exited")
    if code is None:
        return (
            (f"signal {number or signal}" + (f" ({signal})" if number and signal else ""), True)
            if signal
            else ("", None)
        )
    signal = signal or (_SIGNALS.get(-int(code)) if int(code) < 0 else None)
    return f"exit code {code}" + (f" ({signal})" if signal else ""), int(code) < 0


def without_consequences(matches: list[Match], failure: Failure | None) -> list[Match]:
    """Without the processes that the launcher killed because another one had failed."""
    if not any(match.signature["kind"] == "limit" for match in matches):
        return matches
    kept = [
        match
        for match in matches
        if match.signature["kind"] != "limit" or not any(words in match.line for words in _ENDED_BY_LAUNCHER)
    ]
    if failure is not None and failure.launcher == "torchrun" and failure.by_signal is False:
        # The list of the other failures stands before the first one, which ended by itself.
        kept = [
            match
            for match in kept
            if match.signature["kind"] != "limit"
            or not (failure.start - 4000 < match.position < failure.start and "exitcode" in match.line)
        ]
    return kept


def note_on(matches: Sequence[Match], failure: Failure | None) -> str:
    """One sentence on who failed first, where that can be told; else nothing.

    A launcher's own words count first. Else it is the process with the first cause in the text, where others have
    only messages that can follow from it.
    """
    if failure is not None:
        how = f" ({failure.how})" if failure.how else ""
        return (
            f"{failure.process} failed first, as {failure.launcher} tells{how}; what others report can follow from it"
        )
    firsts = [match for match in matches if match.processes and match.signature["kind"] in ("cause", "limit")]
    if not firsts:
        return ""
    leading = firsts[0]
    told = {name for match in firsts for name in match.processes}
    others = [match for match in matches if set(match.processes) - told]
    if not others or told - set(leading.processes):
        return ""
    who = several(leading.processes)
    if leading.position < min(match.position for match in others):
        return f"{who} failed first; the others followed"
    return f"the cause is in what {who} wrote; what the others report can follow from it"
