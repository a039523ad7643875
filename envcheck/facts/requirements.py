"""What installed packages ask of other installed packages, and which of it is not met.

The order of trust: a package's own metadata; the row of its release in the tables; what all neighbouring releases of
the same minor release ask. What is checked only when the program runs stands in the table `runtime-requirements`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Package, Unknown, known
from envcheck.facts import Facts
from envcheck.facts.wheels import is_foreign, is_installed
from envcheck.requirements import marker_environment, marker_holds, parse
from envcheck.versions import canonical, numbers, public, satisfies_prefix, version_key

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.matrix import Row

STAND_INS = {
    "onnxruntime": ("onnxruntime-",),
    "opencv-python": ("opencv-",),
    "opencv-python-headless": ("opencv-",),
    "tensorflow": ("tensorflow-", "intel-tensorflow"),
    "tensorflow-intel": ("tensorflow",),
    "tensorflow-cpu": ("tensorflow",),
    "triton": ("pytorch-triton", "triton-"),
    "torch": ("torch-cpu", "pytorch"),
    "tensorrt": ("tensorrt-cu", "tensorrt-lean", "tensorrt-dispatch"),
    "pynvml": ("nvidia-ml-py",),
    "faiss-cpu": ("faiss",),
    "cupy": ("cupy-cuda", "cupy-rocm"),
}
"""Distributions that bring the module of another one: beginnings of their names."""


class Need(Struct, frozen=True):
    """One package asks for another."""

    package: str
    version: str | None
    """Of the package that asks."""
    name: str
    """What it asks for (canonical)."""
    specifier: str
    """PEP 440, without local labels: which CUDA a pin names is not a question of versions."""
    applies: bool | None
    """Whether the line's environment marker holds; None when that depends on what is not known."""
    origin: str
    """``metadata``, ``table`` (this release), ``sibling`` (another patch release) or ``runtime`` (checked when run)."""
    evidence: Evidence
    effect: str = ""
    """For ``runtime``: what happens when it is not met."""
    severity: str = ""
    """For ``runtime``: how bad that is."""
    certainty: str = ""
    """For ``runtime``: how sure the table is."""

    @property
    def asker(self) -> str:
        return f"{self.package} {self.version}" if self.version else self.package

    @property
    def confidence(self) -> str:
        return "medium" if self.origin == "sibling" or self.applies is None else self.certainty or "high"


class Unmet(Struct, frozen=True):
    """A need that an installed package does not meet."""

    need: Need
    installed: str | None
    """Version that is installed, with its local label; None when the package is not installed."""
    certain: bool
    """False when it depends on something unknown: see ``missing``."""
    missing: str
    """Name of the fact that would decide; empty when certain."""


def requirements(facts: Facts) -> list[Need] | Absent | Unknown:
    """Needs of installed packages that name a version and concern an installed package, and, from own metadata, those
    that concern a package that is not installed."""
    packages: Packages | Absent | Unknown = facts.get("packages")
    if isinstance(packages, (Absent, Unknown)):
        return packages
    reader = _Reader(facts, packages, open_only=False)
    return [need for package in packages for need in reader.of(package)]


def unmet(facts: Facts) -> list[Unmet] | Absent | Unknown:
    """Needs that are not met, or of which it can't be told."""
    packages: Packages | Absent | Unknown = facts.get("packages")
    if isinstance(packages, (Absent, Unknown)):
        return packages
    # On the path of every check: what is met is dropped before it is fully read.
    reader = _Reader(facts, packages, open_only=True)
    found: dict[tuple[str, str, str | None], list[tuple[Need, bool | None]]] = {}
    for package in packages:
        for need in reader.of(package):
            installed = packages.get(need.name)
            version = known(installed.version) if installed else None
            met = False if installed is None else None if version is None else is_met(version, need.specifier)
            if met is not True or need.applies is None:
                found.setdefault((need.package, need.name, version), []).append((need, met))
    return [
        judged
        for (_, name, version), group in found.items()
        for judged in _judge(group, version, reader.marker_needs, name)
    ]


def is_met(version: str, specifier: str) -> bool | None:
    """Whether an installed version meets a specifier; None when the version is too imprecise to tell.

    A pre-release or a vendor's build (``2.2.0a0+81ea7a4``) meets also what its final release would meet.
    """
    try:
        met = satisfies_prefix(public(version), specifier)
        if met is not True and is_foreign(version):
            release = ".".join(map(str, numbers(version)))
            met = met or satisfies_prefix(release, specifier)
    except ValueError:
        return None
    return met


def stand_in(name: str, packages: Packages) -> Package | None:
    """An installed distribution that brings the module of ``name``, which is not installed itself."""
    starts = STAND_INS.get(name)
    if not starts:
        return None
    return next((package for package in packages if canonical(package.name).startswith(starts)), None)


def _judge(group: list[tuple[Need, bool | None]], version: str | None, marker_needs: str, name: str) -> Iterator[Unmet]:
    """What one package asks of another, often in several lines with different markers.

    ``marker_needs``: the fact that is missed where a marker can't be evaluated.
    """
    for need, met in group:
        if need.applies and met is False:
            yield Unmet(need, version, True, "")
            return
    for need, met in group:
        if need.applies and met is None:
            yield Unmet(need, version, False, f"packages.{name}")
            return
    open_lines = [(need, met) for need, met in group if need.applies is None]
    broken = [need for need, met in open_lines if met is False]
    if not broken:
        return
    if broken[0].origin == "runtime":
        # Rows for different releases of the package that asks: certain when every one of them is broken.
        certain = len(broken) == len(open_lines) > 1
        yield Unmet(broken[-1], version, certain, "" if certain else f"packages.{broken[-1].package}")
    elif len(broken) == len(open_lines):
        # Lines whose markers can't be evaluated. Of one alone it is not said that it applies.
        certain = len(broken) > 1
        yield Unmet(broken[-1], version, certain, "" if certain else marker_needs)


class _Reader:
    """Collects what packages ask for."""

    def __init__(self, facts: Facts, packages: Packages, *, open_only: bool) -> None:
        self.facts = facts
        self.packages = packages
        self.open_only = open_only
        """Leave out lines that are met whether their marker holds or not."""
        self.versions = {canonical(package.name): known(package.version) for package in packages}
        python, machine = facts.snapshot.stack.python, facts.snapshot.machine
        self.checked_at_run_time = {name for (name,) in facts.matrix.values("runtime-requirements", "package")}
        self.environment: Mapping[str, str] = marker_environment(
            known(python.version), known(machine.system), known(machine.arch), known(python.implementation) or "cpython"
        )
        asked = (("python.version", python.version), ("os.system", machine.system), ("cpu.arch", machine.arch))
        self.marker_needs = next((name for name, fact in asked if known(fact) is None), "python.version")

    def of(self, package: Package) -> Iterator[Need]:
        yield from self._at_run_time(package)
        lines = () if isinstance(package.requires, Absent) else known(package.requires)
        if lines is not None:
            complete = is_installed(package)
            for line in lines:
                if (need := self._own(package, line, complete)) is not None:
                    yield need
            return
        version = known(package.version)
        if version is not None and not is_foreign(version):
            yield from self._tabled(canonical(package.name), version)

    def _own(self, package: Package, line: str, complete: bool) -> Need | None:
        """From a line of Requires-Dist."""
        end = 0
        for letter in line:
            if not (letter.isalnum() or letter in "-_."):
                break
            end += 1
        name = canonical(line[:end])
        if name not in self.versions:
            if not complete:
                return None
        else:
            specifier = line[end:].partition(";")[0].rpartition("]")[2].strip(" ()")
            if not specifier:
                return None
            installed = self.versions[name]
            if self.open_only and installed is not None and "@" not in specifier and is_met(installed, specifier):
                return None
        try:
            wanted = parse(line)
            applies = True if wanted.marker is None else marker_holds(wanted.marker, self.environment)
        except ValueError:
            return None
        if applies is False or wanted.url:
            return None
        version = known(package.version)
        text = f"{package.name} {version or ''} requires {wanted.name}{_spaced(wanted.specifier)}".replace("  ", " ")
        evidence = Evidence(text, "its own metadata")
        specifier = without_labels(wanted.specifier)
        return Need(canonical(package.name), version, name, specifier, applies, "metadata", evidence)

    def _tabled(self, name: str, version: str) -> Iterator[Need]:
        """From the row of this release, else from its neighbours."""
        if len(numbers(version)) >= 3:
            # torch has 550 rows of which a release has 20: most checks need no others.
            exact = self.facts.matrix.rows("requires", package=name, version=version)
            if any(not row["extra"] for row in exact):
                for row in exact:
                    wanted = not row["extra"] and row["requires"] in self.versions and row["specifier"]
                    if wanted and (need := self._need(name, version, row, "table")):
                        yield need
                return
        rows = [row for row in self.facts.matrix.rows("requires", package=name) if not row["extra"]]
        mine = [row for row in rows if row["requires"] in self.versions and row["specifier"]]
        if not mine:
            return
        try:
            key = version_key(public(version))
        except ValueError:
            return
        if len(numbers(version)) < 3:
            yield from self._of_line(name, version, rows, mine)
        elif any(version_key(row["version"]) == key for row in rows):
            for row in mine:
                if version_key(row["version"]) == key and (need := self._need(name, version, row, "table")):
                    yield need
        else:
            for row in _of_neighbours(rows, mine, version):
                if need := self._need(name, version, row, "sibling"):
                    yield need

    def _of_line(self, name: str, version: str, rows: list[Row], mine: list[Row]) -> Iterator[Need]:
        """For a version like "2.11": what no listed release that begins so would be content with."""
        parts = numbers(version)
        family = sorted(
            {row["version"] for row in rows if numbers(row["version"])[: len(parts)] == parts}, key=version_key
        )
        if family == [version]:  # a package that numbers its releases so
            for row in mine:
                if row["version"] == version and (need := self._need(name, version, row, "table")):
                    yield need
            return
        broken: dict[str, dict[str, Need]] = {}
        for row in mine:
            if row["version"] in family and (need := self._need(name, version, row, "sibling")):
                installed = self.packages.version(need.name)
                if need.applies and installed is not None and is_met(installed, need.specifier) is False:
                    broken.setdefault(need.name, {})[row["version"]] = need
        for needs in broken.values():
            if len(needs) == len(family):
                yield needs[family[-1]]

    def _need(self, name: str, version: str, row: Row, origin: str) -> Need | None:
        applies = marker_holds(row["marker"], self.environment) if row["marker"] else True
        if applies is False:
            return None
        text = f"{name} {row['version']} requires {row['requires']} {row['specifier']}"
        title, url, as_of = self.facts.matrix.cite(row)
        evidence = Evidence(text, title, url, as_of)
        return Need(name, version, row["requires"], without_labels(row["specifier"]), applies, origin, evidence)

    def _at_run_time(self, package: Package) -> Iterator[Need]:
        name, version = canonical(package.name), known(package.version)
        if version is None:
            return
        if name not in self.checked_at_run_time:
            return
        for row in self.facts.matrix.rows("runtime-requirements", package=name):
            wanted: str = row["needs"]
            if wanted not in self.versions:
                other = stand_in(wanted, self.packages)
                if other is None:
                    continue
                wanted = canonical(other.name)
            applies = is_met(version, row["versions"])
            if applies is not False:
                title, url, as_of = self.facts.matrix.cite(row)
                specifier = row["specifier"].replace("{version}", public(version))
                evidence = Evidence(f"{name} {row['versions']} needs {wanted} {specifier}", title, url, as_of)
                yield Need(
                    name,
                    version,
                    wanted,
                    specifier,
                    applies,
                    "runtime",
                    evidence,
                    row["effect"] or "",
                    row["severity"],
                    row["confidence"],
                )


def without_labels(specifier: str) -> str:
    """Without local labels, floors first: ``<3,==2.0.0+cu117`` -> ``==2.0.0,<3``."""
    clauses = [clause.partition("+")[0].strip() for clause in specifier.split(",")]
    return ",".join(sorted(clauses, key=lambda clause: (clause[:1] in "<!", clause)))


def _spaced(specifier: str) -> str:
    return f" {specifier}" if specifier else ""


def _of_neighbours(rows: list[Row], mine: list[Row], version: str) -> Iterator[Row]:
    """Lines that hold for a release that is not listed, between those of its minor release that are.

    They are the floors of an earlier one (floors rise) and the caps of a later one (caps are added when something
    breaks). Exact pins go with their release and say nothing of another.
    """
    key = version_key(public(version))
    family = {row["version"] for row in rows if numbers(row["version"])[:2] == numbers(version)[:2]}
    earlier = max((each for each in family if version_key(each) < key), key=version_key, default=None)
    later = min((each for each in family if version_key(each) > key), key=version_key, default=None)
    for row in mine:
        sign = ">" if row["version"] == earlier else "<" if row["version"] == later else None
        if sign:
            kept = [clause.strip() for clause in row["specifier"].split(",") if clause.strip().startswith(sign)]
            if kept:
                yield {**row, "specifier": ",".join(kept)}
