"""What a wheel's own files say of a machine: results under the ids of the rules whose causes they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Absent, known
from envcheck.facts import Facts
from envcheck.inspection.fit import label, platform, torch_symbols
from envcheck.inspection.model import Inspection, Library, Wheel
from envcheck.inspection.stack import missing, needed
from envcheck.inspection.tags import Place
from envcheck.inspection.tags import judge as judge_tags
from envcheck.versions import compare_numbers, numbers, satisfies_prefix

if TYPE_CHECKING:
    from envcheck.core.snapshot import Userland

LIBCUDA = ("libcuda.so", "nvcuda.dll")
MOST_NAMES = 6
TABLE = "its own files"
"""Where evidence comes from that was read in the wheel."""


def results(found: Inspection, facts: Facts) -> Iterator[tuple[str, Result]]:
    """(rule, result)."""
    wheel, who = found.distribution, label(found)
    unread = [library for library in found.libraries if library.problem]
    if unread:
        why = f"{unread[0].path[:200]} can't be read: {unread[0].problem}"
        yield "missing-shared-library", Undecided(who, "its files", why)
    yield from _missing(found, who)
    yield from _open_needs(found, who)
    yield from _driver(found, who, facts)
    if wheel is not None:
        yield from _tags(wheel, facts)
        yield from _requires_python(wheel, facts)
    else:
        yield from platform(found.libraries[0], who, place_of(facts))
    yield from _symbols(found, who, facts)
    yield from torch_symbols(found, who, facts)
    yield from _cpu(found, who, facts)
    yield from _gpus(found, who, facts)


def _missing(found: Inspection, who: str) -> Iterator[tuple[str, Result]]:
    """What only a part of the package needs; the rule itself tells of what all of it needs."""
    lost = missing(found)
    single = found.kind == "library"
    names = [name for name, all_fail in lost.items() if single or not all_fail]
    if not names:
        return
    asking = [(library.path, need) for library in found.libraries for need in library.needs if need.name in names]
    asking = [(path, need) for path, need in asking if need.where == "missing"]
    files = list(dict.fromkeys(path for path, _ in asking))
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    parts = files[0] + (f" and {len(files) - 1} more of its files" if len(files) > 1 else "")
    packages = sorted({need.package for _, need in asking if need.package})
    what = f"the libraries, or the packages that bring them ({', '.join(packages)})" if packages else "the libraries"
    yield (
        "missing-shared-library",
        Finding(
            severity="error" if single else "warning",
            confidence="high" if single else "medium",
            subject=f"{who}: {names[0]}{others}",
            message=f"{', '.join(names[:MOST_NAMES])}{' and more' if len(names) > MOST_NAMES else ''} "
            f"{'are' if others else 'is'} not found there, which {parts} {'need' if len(files) > 1 else 'needs'}: "
            + ("it can't be loaded." if single else "that part of it fails."),
            evidence=[Evidence(f"{path} needs {need.name}: {need.problem}", TABLE) for path, need in asking[:4]],
            fixes=[Fix("", f"install {what}{'' if single else ', where that part is to be used'}", "review")],
        ),
    )


def _open_needs(found: Inspection, who: str) -> Iterator[tuple[str, Result]]:
    """One open question for all of which nothing is known; what only a part needs is shown, and not asked."""
    names = [name for name, all_need in needed(found, "unknown").items() if all_need]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        why = f"nothing says where {', '.join(names[:3])}{more} would come from there"
        yield "missing-shared-library", Undecided(who, "libraries", why)


def _driver(found: Inspection, who: str, facts: Facts) -> Iterator[tuple[str, Result]]:
    """On a machine without an NVIDIA driver or GPU."""
    subject = who
    names = [name for name, all_need in needed(found, "driver").items() if all_need and name.startswith(LIBCUDA)]
    if names and isinstance(facts.get("driver"), Absent):
        yield (
            "missing-shared-library",
            Finding(
                severity="error",
                confidence="high",
                subject=f"{subject}: {names[0]}",
                message=f"It can't be {'loaded' if found.kind == 'library' else 'imported'} there: it needs "
                f"{names[0]}, which only the NVIDIA driver brings, and there is none.",
                evidence=[
                    Evidence(
                        f"{'it needs' if found.kind == 'library' else 'its extension modules need'} {names[0]}", TABLE
                    )
                ],
                fixes=[Fix("", "install the NVIDIA driver, or take a build for the CPU", "manual")],
            ),
        )
    coded = [library.path for library in found.libraries if library.cuda is not None]
    gpus = facts.get("gpus")
    if coded and isinstance(gpus, Absent):
        yield (
            "no-gpu-visible",
            Finding(
                severity="warning",
                confidence="medium",
                subject=subject,
                message=f"It carries code for NVIDIA GPUs, and there is none: {gpus.why}.",
                evidence=[Evidence(f"{coded[0]} has CUDA fat binaries", TABLE)],
                fixes=[Fix("", "use a machine with an NVIDIA GPU, or a build for the CPU", "review")],
            ),
        )


def place_of(facts: Facts) -> Place:
    """What tags and platforms are compared with."""
    machine, python = facts.snapshot.machine, facts.snapshot.stack.python
    land: Userland = facts.get("userland")
    glibc = facts.get("glibc")
    return Place(
        python=known(python.version) or "",
        abi=known(python.abi) or "",
        implementation=known(python.implementation) or "",
        system=known(machine.system) or "",
        system_version=known(machine.system_version) or "",
        arch=known(machine.arch) or "",
        libc=known(land.libc) or ("musl" if known(land.distro) in ("alpine", "postmarketos") else ""),
        libc_version=glibc if isinstance(glibc, str) else known(land.libc_version) or "",
    )


def _tags(wheel: Wheel, facts: Facts) -> Iterator[tuple[str, Result]]:
    place = place_of(facts)
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


def _symbols(found: Inspection, who: str, facts: Facts) -> Iterator[tuple[str, Result]]:
    if known(facts.snapshot.machine.system) not in (None, "Linux"):
        return
    land: Userland = facts.get("userland")
    glibc = facts.get("glibc")
    subject = who
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


def _cpu(found: Inspection, who: str, facts: Facts) -> Iterator[tuple[str, Result]]:
    from envcheck.facts.basics import CpuFlags

    marked = [library for library in found.libraries if library.cpu_level]
    if not marked or known(facts.snapshot.machine.arch) not in (None, "x86_64"):
        return
    library = max(marked, key=lambda one: one.cpu_level or "")
    row = facts.matrix.row("x86-levels", level=(library.cpu_level or "").removeprefix("x86-64-v"))
    flags = facts.get("cpu_flags")
    subject = who
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


def _gpus(found: Inspection, who: str, facts: Facts) -> Iterator[tuple[str, Result]]:
    """Only GPUs for which no fat binary at all has code are a certain failure."""
    coded = [library for library in found.libraries if library.cuda is not None]
    gpus = facts.get("gpus")
    if not coded or not isinstance(gpus, list):
        return
    driver = facts.get("driver")
    have = getattr(driver, "cuda", None)
    subject, seen = who, set()
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
        fix = Fix("", f"take a build with code for compute capability {cc}, or another GPU", "review")
        needs = max((row.driver_cuda for row in rows if row.driver_cuda), key=numbers, default=None)
        if not machine_code and not ptx:
            message = f"None of its {total} fat binaries has code that runs on {gpu.name} (compute capability {cc})."
        elif not machine_code and needs and have and compare_numbers(have, needs) < 0:
            rule = "gpu-arch-too-new"
            fix = Fix("", f"a driver that serves CUDA {needs}, or a build with machine code for {cc}", "manual")
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
                fixes=[fix],
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
