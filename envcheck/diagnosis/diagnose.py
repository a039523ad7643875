"""Error text, with what is known of the environment -> the causes, ranked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from envcheck.core.snapshot import Snapshot
from envcheck.diagnosis.model import Cause, Diagnosis, Match, Recognised
from envcheck.diagnosis.signatures import Signatures
from envcheck.diagnosis.text import Reduced, reduce

if TYPE_CHECKING:
    from envcheck.core.report import Report
    from envcheck.facts import Facts
    from envcheck.matrix import Matrix


def signatures(matrix: Matrix) -> Signatures:
    """The signatures of a matrix, read once."""
    found = matrix.memo.get("signatures")
    if found is None:
        found = matrix.memo["signatures"] = Signatures.load(matrix)
    return found


def diagnose(parts: Iterable[str] | Reduced, snapshot: Snapshot | None, matrix: Matrix) -> Diagnosis:
    """What a text, in parts of any size, says of its causes; ``snapshot``: what is known of the environment."""
    from envcheck.diagnosis.ranking import rank

    reduced = parts if isinstance(parts, Reduced) else reduce(parts)
    matches, notes = _matched(reduced, matrix)
    named = [match for match in matches if match.signature["kind"] in ("cause", "symptom")]
    base = snapshot if snapshot is not None else Snapshot()
    known, report = _judged(base, named, matrix, snapshot is not None)
    causes = rank(named, report, known)
    if named:
        from envcheck.diagnosis.copies import name_copies

        name_copies(causes, named, reduced.text, base, matrix)
    if reduced.processes is not None:
        from envcheck.diagnosis.processes import name_writers

        name_writers(causes, named)
    program, harmless, limits = (
        [match for match in matches if match.signature["kind"] == kind] for kind in ("program", "harmless", "limit")
    )
    causes = _quiet(causes, named, program + limits, harmless)
    loud = any(cause.confidence != "low" for cause in causes)
    verdict = "environment" if loud else "not-environment" if program or harmless or limits else "unknown"
    return Diagnosis(
        verdict=verdict,
        causes=causes,
        harmless=[_recognised(match, matrix) for match in harmless],
        program=[_recognised(match, matrix) for match in program],
        limits=[_recognised(match, matrix) for match in limits],
        notes=[*reduced.notes, *notes],
        report=report,
    )


def _matched(reduced: Reduced, matrix: Matrix) -> tuple[list[Match], list[str]]:
    """What the text says, and notes on the process that said it."""
    from envcheck.diagnosis.failures import announced, note_on, without_consequences
    from envcheck.diagnosis.own_files import named

    found = signatures(matrix)
    matches = found.match(reduced.text) if reduced.processes is None else reduced.processes.match(found)
    matches = named(reduced.text, matches, found)
    failure = announced(reduced.text)
    matches = without_consequences(matches, failure)
    note = note_on(matches, failure)
    return matches, [note] if note else []


def recognises(text: str, matrix: Matrix) -> bool:
    """Whether a text has a message of the environment, before anything is looked at."""
    matches, _ = _matched(reduce((text,)), matrix)
    return any(match.signature["kind"] in ("cause", "symptom") for match in matches)


def _judged(base: Snapshot, matches: list[Match], matrix: Matrix, given: bool) -> tuple[Facts, Report | None]:
    """What is known, with what the messages state, and the rules' verdict on it; none when nothing is known at all."""
    from envcheck.diagnosis.values import BY, facts_of
    from envcheck.facts import Facts

    facts = facts_of(matches)
    if facts:
        from envcheck.core.snapshot import SnapshotError
        from envcheck.diagnosis.merge import merged

        try:
            base = merged(base, Snapshot.from_facts(facts), BY)
        except SnapshotError:
            facts = {}
    if not facts and not given:
        return Facts(base, matrix), None
    from envcheck.diagnosis.judged import judged

    return judged(base, matrix)


def _quiet(causes: list[Cause], named: list[Match], program: list[Match], harmless: list[Match]) -> list[Cause]:
    """Where the message is one of the program's own, or harmless, facts alone are no cause of it.

    What the check of the facts finds is still told, with low confidence.
    """
    if named or not (program or harmless):
        return causes
    for cause in causes:
        if not cause.signatures:
            cause.confidence = "low"
    return causes


def _recognised(match: Match, matrix: Matrix) -> Recognised:
    _, url, _ = matrix.cite(match.signature)
    return Recognised(
        signature=match.signature["id"],
        line=match.line,
        means=match.sentence(match.signature.get("means")),
        cure=match.sentence(match.signature.get("cure")),
        url=url,
        processes=match.processes,
    )
