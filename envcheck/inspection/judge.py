"""Would this wheel work on that machine? Its tags, symbols and GPU code against the machine; then the rules of a check.

The stack that is judged is what pip would leave there: the wheel, what it pins, and what it requires and finds
installed already. What the wheel's own files say wins over the tables' row for its release.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Report, Result, Undecided
from envcheck.core.snapshot import Snapshot, known
from envcheck.engine import evaluate, fold, outcome_of, verdict_of
from envcheck.facts import Facts
from envcheck.inspection.stack import missing, stack_of
from envcheck.inspection.tags import Place
from envcheck.inspection.tags import judge as judge_tags
from envcheck.rules import module_of
from envcheck.versions import compare_numbers, numbers, satisfies_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envcheck.core.snapshot import Userland
    from envcheck.inspection.model import Inspection, Library, Wheel
    from envcheck.inspection.wheel import WheelFile
    from envcheck.matrix import Matrix

GPU_RULES = ("gpu-arch-too-new", "gpu-arch-too-old")
IMAGES = ("amzn ", "debian ", "fedora ", "rocky ", "sles ", "ubuntu ")
"""Distributions that a fix names."""
TABLE = "its own files"
"""Where evidence comes from that was read in the wheel."""


def judge_there(
    found: Inspection,
    place: Snapshot,
    matrix: Matrix,
    *,
    here: bool = False,
    select: Sequence[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """The report on an inspected wheel, which is kept in it too. ``here``: the place is this machine, now.

    Raises :class:`envcheck.inspection.InspectError` for what is no wheel, and when the wheel is gone.
    """
    from envcheck.inspection.resolve import resolve_here
    from envcheck.inspection.subject import InspectError, called, open_wheel

    if found.kind != "wheel":
        what = "a library" if found.kind == "library" else "installed: see envcheck check --machine"
        raise InspectError(f"{called(found.subject)}: only wheels are judged on a machine, and this is {what}")
    if here:
        resolve_here(found, matrix)
    source, wheel = open_wheel(found.subject)
    with source:
        found.report = judge(found, wheel, place, matrix, select=select, ignore=ignore)
    return found.report


def judge(
    found: Inspection,
    wheel: WheelFile,
    place: Snapshot,
    matrix: Matrix,
    *,
    select: Sequence[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """The report; findings about the wheel itself bear the ids of the rules whose causes they are."""
    assert found.distribution is not None
    snapshot = Snapshot(
        machine=place.machine,
        stack=stack_of(found, wheel, place),
        assumed=place.assumed,
        probes=place.probes,
    )
    ignored = set(ignore)
    report = evaluate(snapshot, matrix, select=select, ignore=ignored)
    facts = Facts(snapshot, matrix)
    own: dict[str, list[Result]] = {}
    for rule, result in _judge(found, facts):
        if not select or rule in select:
            own.setdefault(rule, []).append(result)
    label = f"{found.distribution.name} {found.distribution.version}"
    return _merge(report, own, label, ignored)


def _merge(report: Report, own: dict[str, list[Result]], label: str, ignored: set[str]) -> Report:
    """What was judged on the wheel's files takes the place of what the same rule says of that package."""
    flat = [one for root in report.findings for one in (root, *root.consequences)]
    for one in flat:
        one.consequences = []
    explains = {one.rule: _explains(one.rule) for one in flat}
    for rule, results in own.items():
        findings = _distinct([result for result in results if isinstance(result, Finding)])
        same = [one for one in flat if one.rule == rule and one.subject.startswith(label)]
        flat = [one for one in flat if one not in same]
        others = [one for one in flat if one.rule == rule]
        outcome = outcome_of(rule, [*results, *others])
        outcome.findings = len(others) + len(findings)
        if rule in ignored and outcome.status in ("fail", "unknown"):
            outcome.status = "ignored"
        for finding in findings:
            finding.rule = rule
            # The rule knows releases and commands.
            known_fixes = dict.fromkeys(fix for one in same for fix in one.fixes)
            finding.fixes = list(known_fixes) or finding.fixes
            explains[rule] = _explains(rule)
            (report.ignored if rule in ignored else flat).append(finding)
        report.outcomes = [outcome if one.rule == rule else one for one in report.outcomes]
    report.findings = fold(flat, explains)
    report.verdict = verdict_of(report.findings, report.outcomes)
    return report


def _explains(rule: str) -> tuple[str, ...]:
    import sys

    __import__(module_of(rule))
    found: tuple[str, ...] = getattr(sys.modules[module_of(rule)], "EXPLAINS", ())
    return found


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One cause, one finding: the last says most (symbols after tags), the others are evidence for it."""
    by_gpu: dict[str, list[Finding]] = {}
    for one in findings:
        separate = one.subject.partition(" on ")[2] or (one.subject if one.severity == "warning" else "")
        by_gpu.setdefault(separate, []).append(one)
    for group in by_gpu.values():
        group[-1].evidence = list(dict.fromkeys(item for one in group for item in one.evidence))
    return [group[-1] for group in by_gpu.values()]


def _judge(found: Inspection, facts: Facts) -> Iterator[tuple[str, Result]]:
    """(rule, result)."""
    wheel = found.distribution
    assert wheel is not None
    unread = [library for library in found.libraries if library.problem]
    if unread:
        why = f"{unread[0].path[:200]} can't be read: {unread[0].problem}"
        yield "missing-shared-library", Undecided(f"{wheel.name} {wheel.version}", "the wheel's files", why)
    yield from _missing(found, wheel)
    yield from _tags(wheel, facts)
    yield from _requires_python(wheel, facts)
    yield from _symbols(found, wheel, facts)
    yield from _cpu(found, wheel, facts)
    yield from _gpus(found, wheel, facts)


def _missing(found: Inspection, wheel: Wheel) -> Iterator[tuple[str, Result]]:
    """What only a part of the package needs; the rule itself tells of what all of it needs."""
    for name, all_fail in missing(found).items():
        if all_fail:
            continue
        files = [library.path for library in found.libraries for need in library.needs if need.name == name]
        yield (
            "missing-shared-library",
            Finding(
                severity="warning",
                confidence="medium",
                subject=f"{wheel.name} {wheel.version}: {name}",
                message=f"{name} is not found here, which {files[0]} needs: that part of it fails.",
                evidence=[Evidence(f"{file} needs {name}", TABLE) for file in files[:4]],
                fixes=[Fix("", f"install the library {name}, where that part is to be used", "review")],
            ),
        )


def _tags(wheel: Wheel, facts: Facts) -> Iterator[tuple[str, Result]]:
    machine, python = facts.snapshot.machine, facts.snapshot.stack.python
    land: Userland = facts.get("userland")
    glibc = facts.get("glibc")
    place = Place(
        python=known(python.version) or "",
        abi=known(python.abi) or "",
        implementation=known(python.implementation) or "",
        system=known(machine.system) or "",
        system_version=known(machine.system_version) or "",
        arch=known(machine.arch) or "",
        libc=known(land.libc) or ("musl" if known(land.distro) in ("alpine", "postmarketos") else ""),
        libc_version=glibc if isinstance(glibc, str) else known(land.libc_version) or "",
    )
    subject = f"{wheel.name} {wheel.version}"
    for answer, rule in zip(
        judge_tags(wheel.tags, place), ("python-unsupported", "platform-unsupported"), strict=False
    ):
        if answer.fits is None:
            yield answer.rule or rule, Undecided(subject, answer.missing, answer.why)
        elif answer.fits:
            yield rule, Pass(subject, "its tags fit")
        else:
            yield (
                answer.rule,
                Finding(
                    severity="error",
                    confidence="high",
                    subject=f"{subject}: its tags",
                    message=f"pip refuses this wheel there: {answer.why}.",
                    evidence=[Evidence(f"tagged {', '.join(wheel.tags[:4])}", "the wheel's file name")],
                    fixes=[_other_wheel(wheel, answer.rule)],
                ),
            )


def _other_wheel(wheel: Wheel, rule: str) -> Fix:
    if rule == "python-unsupported":
        return Fix("", "take the wheel of this release for that Python, or run that Python release there", "review")
    if rule == "glibc-too-old":
        return Fix("", "take a wheel for an older glibc, or run it in an image of a newer distribution", "review")
    return Fix(
        f"pip download --no-deps {wheel.name}=={wheel.version}",
        "run there, it fetches the wheel for that platform, if there is one",
        "safe",
    )


def _requires_python(wheel: Wheel, facts: Facts) -> Iterator[tuple[str, Result]]:
    python = facts.get("python_version")
    if not wheel.requires_python or not isinstance(python, str):
        return
    try:
        accepted = satisfies_prefix(python, wheel.requires_python)
    except ValueError:
        return
    if accepted is False:
        yield (
            "python-unsupported",
            Finding(
                severity="error",
                confidence="high",
                subject=f"{wheel.name} {wheel.version}: Requires-Python",
                message=f"pip refuses this wheel there: it requires Python {wheel.requires_python}, not {python}.",
                evidence=[Evidence(f"Requires-Python: {wheel.requires_python}", "its own metadata")],
                fixes=[_other_wheel(wheel, "python-unsupported")],
            ),
        )


def _symbols(found: Inspection, wheel: Wheel, facts: Facts) -> Iterator[tuple[str, Result]]:
    if known(facts.snapshot.machine.system) not in (None, "Linux"):
        return
    land: Userland = facts.get("userland")
    glibc = facts.get("glibc")
    subject = f"{wheel.name} {wheel.version}"
    for family, floor in found.symbols.items():
        column = {"GLIBC": "glibc_symbol", "GLIBCXX": "glibcxx", "CXXABI": "cxxabi"}[family]
        rule = "glibc-too-old" if family == "GLIBC" else "libstdcxx-too-old"
        read = {"GLIBC": glibc, "GLIBCXX": land.glibcxx, "CXXABI": land.cxxabi}[family]
        have = read if isinstance(read, str) else _of_distribution(land, column, facts)
        need = f"{family}_{floor.version}"
        if have is None:
            # What the oldest system has that runs today's Python is not worth an open question.
            if compare_numbers(floor.version, {"GLIBC": "2.17", "GLIBCXX": "3.4.19", "CXXABI": "1.3.7"}[family]) > 0:
                why = f"it needs {need}, and what the system has is not known"
                yield rule, Undecided(subject, f"os.{family.lower()}", why)
        elif compare_numbers(have, floor.version) >= 0:
            yield rule, Pass(subject, f"it needs {need}, the system has {have}")
        else:
            names = " ".join(part for part in (known(land.distro), known(land.distro_version)) if part)
            yield (
                rule,
                Finding(
                    severity="error",
                    confidence="high",
                    subject=f"{subject}: {need}",
                    message=f"{floor.file} needs {need}, and the system{f' ({names})' if names else ''} has "
                    f"{family}_{have} at most.",
                    evidence=[
                        Evidence(f"{floor.file} asks for {need}", TABLE),
                        Evidence(f"the system's C library is {have}", "C library")
                        if family == "GLIBC"
                        else Evidence(f"the system's libstdc++ has {family}_{have} at most", "libstdc++"),
                    ],
                    fixes=[_newer(found)],
                ),
            )


def _newer(found: Inspection) -> Fix:
    note = "run it in an image of a newer distribution"
    return Fix(
        "", note + (f": {', '.join(found.distributions[:12])} and newer" if found.distributions else ""), "manual"
    )


def _of_distribution(land: Userland, column: str, facts: Facts) -> str | None:
    """From the distribution's release, where the library itself was not read."""
    name, release = known(land.distro), known(land.distro_version)
    for version in (release, release.partition(".")[0]) if name and release else ():
        arch = known(facts.snapshot.machine.arch) or "x86_64"
        row = facts.matrix.row("distros", distro=(name or "").lower(), version=version, arch=arch)
        if row is not None and row[column]:
            return str(row[column])
    return None


def _cpu(found: Inspection, wheel: Wheel, facts: Facts) -> Iterator[tuple[str, Result]]:
    from envcheck.facts.basics import CpuFlags

    marked = [library for library in found.libraries if library.cpu_level]
    if not marked or known(facts.snapshot.machine.arch) not in (None, "x86_64"):
        return
    library = max(marked, key=lambda one: one.cpu_level or "")
    row = facts.matrix.row("x86-levels", level=(library.cpu_level or "").removeprefix("x86-64-v"))
    flags = facts.get("cpu_flags")
    subject = f"{wheel.name} {wheel.version}"
    if row is None or row["level"] == "1":
        return
    level = known(facts.snapshot.machine.cpu.level)
    if level and (library.cpu_level or "") <= level:
        yield "cpu-isa-missing", Pass(subject, f"the CPU has {level}")
        return
    if not isinstance(flags, CpuFlags):
        why = f"{library.path} is marked {library.cpu_level}, and the CPU's instructions are not known"
        yield "cpu-isa-missing", Undecided(subject, "cpu.flags", why)
        return
    lacking = [flag for flag in row["all_flags"] if flags.has(flag) is False]
    if not lacking:
        yield "cpu-isa-missing", Pass(subject, f"the CPU has {library.cpu_level}")
        return
    yield (
        "cpu-isa-missing",
        Finding(
            severity="error",
            confidence="medium",
            subject=f"{subject}: {library.cpu_level}",
            message=f"{library.path} is marked to need {library.cpu_level}, and the CPU lacks {', '.join(lacking)}.",
            evidence=[Evidence(f"{library.path} is marked {library.cpu_level} (.note.gnu.property)", TABLE)],
            fixes=[Fix("", "take a build for older CPUs, or another CPU", "manual")],
        ),
    )


def _gpus(found: Inspection, wheel: Wheel, facts: Facts) -> Iterator[tuple[str, Result]]:
    """Only GPUs for which no fat binary at all has code are a certain failure."""
    coded = [library for library in found.libraries if library.cuda is not None]
    gpus = facts.get("gpus")
    if not coded or not isinstance(gpus, list):
        return
    driver = facts.get("driver")
    have = getattr(driver, "cuda", None)
    subject, seen = f"{wheel.name} {wheel.version}", set()
    for gpu in gpus:
        if gpu.sm is None or (gpu.name, gpu.cc) in seen:
            continue
        seen.add((gpu.name, gpu.cc))
        cc = f"{gpu.sm[0]}.{gpu.sm[1]}"
        rows = [row for library in coded if library.cuda for row in library.cuda.coverage if row.capability == cc]
        if not rows:
            why = f"compute capability {cc} is not in our tables"
            yield "gpu-arch-too-new", Undecided(f"{subject} on {gpu.name}", "matrix compute-capabilities", why)
            continue
        machine_code, ptx = sum(row.machine_code for row in rows), sum(row.ptx for row in rows)
        total = machine_code + ptx + sum(row.none for row in rows)
        if not total:
            continue
        evidence = [
            Evidence(f"{total} fat binaries: {machine_code} with machine code for {cc}, {ptx} by PTX", TABLE),
            gpu.evidence,
        ]
        rule = "gpu-arch-too-old" if _older(gpu.sm, coded) else "gpu-arch-too-new"
        needs = max((row.driver_cuda for row in rows if row.driver_cuda), key=numbers, default=None)
        if not machine_code and not ptx:
            message = f"None of its {total} fat binaries has code that runs on {gpu.name} (compute capability {cc})."
        elif not machine_code and needs and have and compare_numbers(have, needs) < 0:
            rule = "gpu-arch-too-new"
            message = (
                f"On {gpu.name} it lives on PTX alone, which needs a driver for CUDA {needs}; this one serves {have}."
            )
        else:
            why = f"{100 * (machine_code + ptx) / total:.0f} % of its fat binaries have code for it"
            yield "gpu-arch-too-new", Pass(f"{subject} on {gpu.name}", why)
            continue
        yield (
            rule,
            Finding(
                severity="error",
                confidence="high",
                subject=f"{subject} on {gpu.name}",
                message=message,
                evidence=evidence,
                fixes=[Fix("", f"take a build with code for compute capability {cc}, or another GPU", "review")],
            ),
        )


def _older(sm: tuple[int, int], coded: list[Library]) -> bool:
    """The GPU is below all machine code: builds leave out old GPUs."""
    lowest = [
        numbers(row.capability)
        for library in coded
        for row in (library.cuda.coverage if library.cuda else ())
        if row.machine_code or row.ptx
    ]
    return not lowest or sm < min(lowest)
