"""Does a compiled file fit a machine: its platform and Python, and the C++ functions that it takes from torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import known
from envcheck.inspection.model import Inspection, Library, Wheel
from envcheck.inspection.reading import extends_torch
from envcheck.inspection.stack import REQUIRED
from envcheck.inspection.tags import Place, best
from envcheck.inspection.tags import judge as judge_tags
from envcheck.requirements import parse
from envcheck.versions import canonical, minor, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Package
    from envcheck.facts import Facts

RULE = "extension-abi-mismatch"
OURS = "its own files"
WIDTHS = {"i686": 32, "armv7l": 32, "ppc": 32}
WINDOWS_TAGS = {"x86_64": "win_amd64", "aarch64": "win_arm64", "i686": "win32"}


def label(found: Inspection) -> str:
    """How the subject is called in results."""
    if found.distribution is None:
        return found.subject.replace("\\", "/").rpartition("/")[2]
    return f"{found.distribution.name} {found.distribution.version}"


def platform(library: Library, who: str, place: Place) -> Iterator[tuple[str, Result]]:
    """Operating system, architecture, word size and Python of one file."""
    if not library.arch:
        return
    tags = [tag for arch in library.arch if (tag := _platform_tag(library, arch))]
    if tags:
        answer = best([judge_tags([f"py3-none-{tag}"], place)[1] for tag in tags])
        if answer.fits is None:
            yield "platform-unsupported", Undecided(who, answer.missing, answer.why)
        elif answer.fits:
            yield "platform-unsupported", Pass(who, "it is for this system and architecture")
        else:
            yield "platform-unsupported", _no(who, "It can't be loaded there", answer.why + _width(library, place))
            return
    if place.libc == "musl" and "GLIBC" in library.symbols:
        why = f"it needs glibc (GLIBC_{library.symbols['GLIBC']}), and the C library is musl"
        yield "platform-unsupported", _no(who, "It can't be loaded there", why)
    if library.python_abi and library.python_abi != "abi3":
        name = library.python_abi
        answer = judge_tags([f"{name.rstrip('tdmu')}-{name}-any"], place)[0]
        if answer.fits is None:
            yield "python-unsupported", Undecided(who, answer.missing, answer.why)
        elif answer.fits:
            yield "python-unsupported", Pass(who, "it is for this Python")
        else:
            yield "python-unsupported", _no(who, "That Python does not import it", answer.why)


def _platform_tag(library: Library, arch: str) -> str:
    if library.system == "Windows":
        return WINDOWS_TAGS.get(arch, "")
    if library.system == "Darwin":
        least, _, rest = (library.system_version or "10.0").partition(".")
        return f"macosx_{least}_{rest.partition('.')[0] or 0}_{'arm64' if arch == 'aarch64' else arch}"
    musl = any(need.name.startswith("libc.musl-") for need in library.needs)
    return f"musllinux_1_0_{arch}" if musl else f"linux_{arch}"


def _width(library: Library, place: Place) -> str:
    mine, theirs = WIDTHS.get(library.arch[0], 64), WIDTHS.get(place.arch, 64)
    return f" (a {mine}-bit file, and a {theirs}-bit process)" if place.arch and mine != theirs else ""


def _no(who: str, what: str, why: str) -> Finding:
    return Finding(
        severity="error",
        confidence="high",
        subject=who,
        message=f"{what}: {why.replace('it is tagged', 'it is')}.",
        evidence=[Evidence(why, OURS)],
        fixes=[Fix("", "take the build of this library for that machine", "review")],
    )


def torch_symbols(found: Inspection, who: str, facts: Facts) -> Iterator[tuple[str, Result]]:
    """C++ functions of torch: looked up where its files are here, else what the names tell of the C++ ABI."""
    extensions = [library for library in found.libraries if extends_torch(library)]
    packages = facts.snapshot.stack.packages
    torch = next((one for one in known(packages) or () if canonical(one.name) == "torch"), None)
    if not extensions or torch is None or (found.distribution and found.distribution.name == "torch"):
        return  # what is not there at all is told by its missing libraries
    version = known(torch.version)
    beside = f"torch {version}" if version else "torch"
    if known(torch.location) == REQUIRED:
        return  # the torch that the wheel pins: its makers know it
    looked_up = [library for library in extensions if library.undefined is not None]
    lacking = [library for library in looked_up if library.undefined]
    abi, evidence = _abi_there(version, facts)
    for library in lacking[:1]:
        yield RULE, _undefined(library, found, who, beside, torch, abi, evidence)
    if looked_up:
        if not lacking and len(looked_up) == len(extensions):
            yield RULE, Pass(who, f"{beside} defines every function that it takes from it")
        return
    for library in extensions:
        if abi is not None and library.cxx11_abi is not None and library.cxx11_abi != abi:
            yield RULE, _other_abi(library, found, who, beside, torch, abi, evidence)
            return
    if found.distribution is not None and (_pins_torch(found.distribution) or _labelled(found.distribution)):
        return  # its makers say for which torch it is; the rule judges a label
    why = f"whether {beside} there has the C++ functions that {extensions[0].path} takes from it is seen in its files"
    yield RULE, Undecided(f"{who} with {beside}", "the files of torch", why)


def _pins_torch(wheel: Wheel) -> bool:
    for line in wheel.requires:
        try:
            wanted = parse(line)
        except ValueError:
            continue
        if wanted.name == "torch" and wanted.specifier.strip().startswith("=="):
            return True
    return False


def _labelled(wheel: Wheel) -> bool:
    from envcheck.rules.extension_abi_mismatch import read_label
    from envcheck.versions import local_label

    target = read_label(wheel.name, local_label(wheel.version))
    return target is not None and target.torch is not None


def _abi_there(version: str | None, facts: Facts) -> tuple[bool | None, list[Evidence]]:
    from envcheck.rules.extension_abi_mismatch import torch_abi

    abi, _, evidence = torch_abi(version, facts.snapshot.stack, facts.matrix)
    return abi, evidence


def _undefined(
    library: Library, found: Inspection, who: str, beside: str, torch: Package, abi: bool | None, told: list[Evidence]
) -> Finding:
    from envcheck.binaries.mangled import new_texts

    lost = library.undefined or []
    first = lost[0]
    more = f" and {'at least ' * (len(lost) > 19)}{len(lost) - 1} more functions of torch" if len(lost) > 1 else ""
    made = new_texts(one.symbol for one in lost)
    if made is not None and abi is not None and made != abi:
        tells = f"it was built for the {_age(made)} C++ ABI, and this torch has the {_age(abi)} one"
    else:
        told = []
        tells = "it was built for another release of torch" + (" with the old C++ ABI" if made is False else "")
    return Finding(
        severity="error",
        confidence="high",
        subject=f"{who} with {beside}",
        message=f"{library.path} needs {first.name}{more}, which no library of {beside} defines: {tells}.",
        evidence=[*(Evidence(f"undefined symbol: {one.symbol}", library.path) for one in lost[:3]), *told],
        fixes=_fixes(found, torch),
    )


def _other_abi(
    library: Library, found: Inspection, who: str, beside: str, torch: Package, abi: bool, told: list[Evidence]
) -> Finding:
    made = _age(library.cxx11_abi is True)
    return Finding(
        severity="error",
        confidence="high",
        subject=f"{who} with {beside}",
        message=f"{library.path} is built for the {made} C++ ABI, and {beside} has the {_age(abi)} one: functions that "
        "take texts are not found.",
        evidence=[Evidence(f"the symbols that it takes from torch have std::string of the {made} ABI", library.path),
                  *told],
        fixes=_fixes(found, torch),
    )  # fmt: skip


def _age(new: bool) -> str:
    return "new" if new else "old"


def _fixes(found: Inspection, torch: Package) -> list[Fix]:
    version = known(torch.version)
    one = f"torch {minor(version)}" if version and len(numbers(version)) > 1 else "that torch"
    if found.distribution is None:
        return [Fix("", f"build it against {one}, or take the build for it", "review")]
    from envcheck.rules.extension_abi_mismatch import rebuild

    return [rebuild(found.distribution.name, found.distribution.version), Fix("", f"or its wheel for {one}", "review")]
