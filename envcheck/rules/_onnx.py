"""What the installed ONNX Runtime can load: shared by the rules on opsets and IR versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence, Finding, Pass, Result, Undecided
from envcheck.core.snapshot import Package, known
from envcheck.versions import canonical, numbers, public

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.matrix import Matrix, Row


class Limit(Struct, frozen=True):
    """One runtime and the highest number that it loads."""

    subject: str
    highest: int | None
    """None when it is not known for this release."""
    at_least: int | None
    """What it loads for certain, being a newer release than our data or of unknown version."""
    missing: str
    why: str
    evidence: list[Evidence]


def runtimes(packages: Packages, matrix: Matrix) -> list[Package]:
    """The installed packages that bring the module ``onnxruntime``."""
    from envcheck.matrix.lookup import brings_onnxruntime, is_plug_in

    rows = brings_onnxruntime(matrix)
    named = [(package, rows.get(canonical(package.name))) for package in packages]
    return [package for package, row in named if row is not None and not is_plug_in(row, known(package.version))]


def limit(package: Package, column: str, matrix: Matrix) -> Limit:
    """The highest opset (``opset_max``) or IR version (``ir_max``) that this runtime loads."""
    from envcheck.matrix.lookup import ort_opset

    name, version = canonical(package.name), known(package.version)
    lowest = min(row[column] for row in matrix.rows("ort-opset"))
    if version is None:
        why = getattr(package.version, "why", "not stated")
        return Limit(name, None, lowest, f"packages.{name}", f"the version of {name} is {why}", [])
    subject = f"{name} {version}"
    row = ort_opset(matrix, public(version)) if len(numbers(version)) > 1 else None
    if row is not None:
        title, url, as_of = matrix.cite(row)
        kind = "opset" if column == "opset_max" else "IR version"
        text = f"ONNX Runtime {row['onnxruntime']} loads up to {kind} {row[column]}"
        return Limit(subject, row[column], row[column], "", "", [Evidence(text, title, url, as_of)])
    gap = matrix.gap("ort-opset", "onnxruntime", public(version))
    newest = max(row[column] for row in matrix.rows("ort-opset")) if gap.kind == "newer" else lowest
    return Limit(subject, None, None if gap.kind == "older" else newest, f"limits of {subject}", gap.sentence, [])


def judge(
    wanted: int, kind: str, column: str, packages: Packages, matrix: Matrix, finding: Callable[[Limit], Finding]
) -> Iterator[Result]:
    """Hold what a model declares against every installed runtime; the one that loads least is the one to blame."""
    found = [limit(package, column, matrix) for package in runtimes(packages, matrix)]
    certain = sorted((one for one in found if one.highest is not None), key=lambda one: one.highest or 0)
    if certain and (certain[0].highest or 0) < wanted:
        yield finding(certain[0])
        return
    for one in found:
        if one.at_least is not None and wanted <= one.at_least:
            yield Pass(one.subject, f"it loads {kind} {wanted}")
        else:
            why = f"whether it loads {kind} {wanted} is not known: {one.why}"
            yield Undecided(one.subject, one.missing, why)


def first_release(matrix: Matrix, column: str, wanted: int) -> Row | None:
    """The first listed release of ONNX Runtime that loads this; None when none does."""
    rows = [row for row in matrix.rows("ort-opset") if row[column] >= wanted]
    return min(rows, key=lambda row: numbers(row["onnxruntime"]), default=None)
