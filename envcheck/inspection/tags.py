"""Does a wheel's tag fit a Python and a machine, as pip would see it: PEP 425, 600, 656, 703; for a machine elsewhere.

``packaging.tags`` knows only the interpreter that runs it; what is asked here is another one, of which some facts may
be missing. Three answers: fits, does not (and why), cannot be told (which fact is missing).
"""

from __future__ import annotations

from typing import NamedTuple

from envcheck.versions import compare_numbers, numbers

OLD = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
LINUX = ("x86_64", "aarch64", "i686", "ppc64le", "s390x", "armv7l", "riscv64")
WINDOWS = {"win_amd64": "x86_64", "win_arm64": "aarch64", "win32": "i686"}
UNIVERSAL = {"universal2": ("x86_64", "aarch64"), "universal": ("x86_64", "i686"), "intel": ("x86_64", "i686")}


class Answer(NamedTuple):
    """``fits`` is None when a fact is missing, which ``missing`` names."""

    fits: bool | None
    why: str = ""
    missing: str = ""
    rule: str = ""
    """Which rule the cause belongs to."""


class Place(NamedTuple):
    """What is known of where a wheel is to go; empty: not known."""

    python: str
    """``3.11.4``, or ``3.11``."""
    abi: str
    """``cp313t`` for a free-threaded build."""
    implementation: str
    system: str
    system_version: str
    arch: str
    libc: str
    libc_version: str


FITS = Answer(True)


def judge(tags: list[str], place: Place) -> list[Answer]:
    """One answer for the Python side and one for the platform side of all tags; a wheel fits when one tag does."""
    pairs = [(tag, tag.split("-")) for tag in tags]
    whole = [parts for _, parts in pairs if len(parts) == 3]
    if not whole:
        return []
    python = best([_python(first, abi, place) for first, abi, _ in whole])
    platform = best([_platform(last, place) for _, _, last in whole])
    return [python, platform]


def best(answers: list[Answer]) -> Answer:
    """Fits before unknown before the last that does not fit; of several the one nearest to fitting."""
    for wanted in (True, None):
        for answer in answers:
            if answer.fits is wanted:
                return answer
    # "another glibc" says more than "another system" where both are tags of one wheel.
    return next((one for one in answers if one.rule == "glibc-too-old"), answers[-1])


def _python(tag: str, abi: str, place: Place) -> Answer:
    name, digits = tag.rstrip("0123456789"), tag[len(tag.rstrip("0123456789")) :]
    wanted = (int(digits[0]), int(digits[1:])) if len(digits) > 1 else (int(digits),) if digits else ()
    if name == "py" and abi == "none" and wanted == (3,):
        return FITS
    mine = numbers(place.python)[:2]
    if len(mine) < 2:
        return Answer(None, "it is not known for which Python it is", "python.version", "python-unsupported")
    have = f"Python {mine[0]}.{mine[1]}"
    if name == "py":
        fits = bool(wanted) and wanted[:1] == mine[:1] and wanted <= mine
        return Answer(fits, f"it is tagged {tag}, and this is {have}", "", "python-unsupported")
    implementation = {"cp": "cpython", "pp": "pypy"}.get(name, name)
    if place.implementation and place.implementation != implementation:
        return Answer(False, f"it is for {implementation}, not for {place.implementation}", "", "python-unsupported")
    threaded = place.abi.startswith("cp") and place.abi.endswith("t")
    build = "free-threaded " if threaded else ""
    if abi == "abi3":
        fits = wanted <= mine and wanted[:1] == mine[:1] and not threaded
        return Answer(
            fits,
            f"it is for Python {'.'.join(map(str, wanted))} and newer (not free-threaded), and this is {build}{have}",
            "",
            "python-unsupported",
        )
    free = abi.endswith("t")
    fits = wanted == mine and (abi == "none" or free == threaded)
    need = f"{'free-threaded ' if free else ''}Python {'.'.join(map(str, wanted))}"
    return Answer(fits, f"it is for {need}, and this is {build}{have}", "", "python-unsupported")


def _platform(tag: str, place: Place) -> Answer:
    if tag == "any":
        return FITS
    system, arches = _system_and_arches(tag)
    words = {"Darwin": "macOS"}.get(system, system)
    label = f"{words} {', '.join(arches)}" if arches else words
    rule = "platform-unsupported"
    if not system:
        return Answer(None, f"its platform tag {tag} is not known", "wheel tags", rule)
    if not place.system:
        return Answer(None, f"it is for {label}, and the operating system is not known", "os.system", rule)
    here = f"{ {'Darwin': 'macOS'}.get(place.system, place.system) } {place.arch}".strip()
    if system != place.system or (place.arch and arches and place.arch not in arches):
        return Answer(False, f"it is for {label}, and the machine is {here}", "", rule)
    if not place.arch:
        return Answer(None, f"it is for {label}, and the architecture is not known", "cpu.arch", rule)
    if tag.startswith("musllinux_"):
        return _musl(tag, place)
    if tag.startswith("manylinux"):
        return _glibc(tag, place)
    if system == "Darwin":
        least = ".".join(tag.split("_")[1:3])
        if not place.system_version:
            return Answer(None, f"it needs macOS {least}, and the release is not known", "os.distro_version", rule)
        fits = compare_numbers(place.system_version, least) >= 0
        return Answer(fits, f"it needs macOS {least} or newer, and this is macOS {place.system_version}", "", rule)
    return FITS


def _system_and_arches(tag: str) -> tuple[str, tuple[str, ...]]:
    if tag in WINDOWS:
        return "Windows", (WINDOWS[tag],)
    if tag.startswith("macosx_"):
        name = "_".join(tag.split("_")[3:])
        return "Darwin", UNIVERSAL.get(name, ({"arm64": "aarch64"}.get(name, name),))
    if tag.startswith(("manylinux", "musllinux", "linux_")):
        return "Linux", tuple(arch for arch in LINUX if tag.endswith("_" + arch))
    return "", ()


def _glibc(tag: str, place: Place) -> Answer:
    need = tag_glibc(tag)
    if place.libc == "musl":
        return Answer(False, "it is for systems with glibc, and the C library is musl", "", "platform-unsupported")
    if not place.libc_version:
        return Answer(None, f"it is tagged for glibc {need}, and the glibc is not known", "os.glibc", "glibc-too-old")
    fits = compare_numbers(place.libc_version, need) >= 0
    return Answer(
        fits, f"it is tagged for glibc {need} or newer, and the system has {place.libc_version}", "", "glibc-too-old"
    )


def tag_glibc(tag: str) -> str:
    """``manylinux_2_28_x86_64`` -> ``2.28``."""
    first = tag.partition("_")[0]
    return OLD.get(first) or ".".join(tag.split("_")[1:3])


def _musl(tag: str, place: Place) -> Answer:
    need = ".".join(tag.split("_")[1:3])
    if place.libc == "glibc" or (place.libc_version and not place.libc):
        return Answer(False, "it is for systems with musl, and the C library is glibc", "", "platform-unsupported")
    if place.libc != "musl":
        return Answer(None, "it is for musl, and the C library is not known", "os.libc", "platform-unsupported")
    if place.libc_version and compare_numbers(place.libc_version, need) < 0:
        why = f"it is tagged for musl {need} or newer, and the system has {place.libc_version}"
        return Answer(False, why, "", "platform-unsupported")
    return FITS
