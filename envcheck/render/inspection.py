"""An inspection as text: what it is, its GPU code with coverage, what it needs and where that comes from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.render.terminal import Paint, clean, columns, encodable, wants_color, wrap

if TYPE_CHECKING:
    from envcheck.inspection.model import ChangedFile, Coverage, CudaCode, Inspection, Library, Need, Wheel

MOST_TABLES = 3
"""Libraries whose coverage is shown in full."""
MOST_NAMES = 24
MOST_GPUS = 5
MOST_FILES = 6
_STATES = {"missing": "missing", "size": "changed in size", "hash": "changed", "unreadable": "can't be read"}
NOT_THERE = "No such file or directory"
"""How the loader's message of a library ends that is nowhere."""
_SYSTEMS = {"Darwin": "macOS"}
_ARCHES = {"x86_64": "x86-64"}
_FORMATS = {"elf": "ELF", "pe": "PE", "mach-o": "Mach-O", "fatbin": "CUDA fat binary",
            "cubin": "CUDA machine code"}  # fmt: skip


def render_inspection(
    found: Inspection,
    *,
    width: int | None = None,
    color: bool | None = None,
    encoding: str | None = None,
    verbose: bool = False,
) -> str:
    """The inspection for people, without the report on a machine; ends with a newline. Options as for reports."""
    page = _Page(
        columns(sys.stdout) if width is None else width,
        wants_color(sys.stdout) if color is None else color,
        verbose,
    )
    page.title(found)
    page.installed(found)
    page.gpu_code(found)
    page.needs(found)
    page.undefined(found)
    page.symbols(found)
    page.cpu(found)
    page.versions(found)
    page.problems(found)
    if verbose:
        page.files(found)
    return encodable("\n".join(page.lines) + "\n", encoding or getattr(sys.stdout, "encoding", None) or "utf-8")


class _Page:
    def __init__(self, width: int, color: bool, verbose: bool) -> None:
        self.width, self.paint, self.verbose = width, Paint(color), verbose
        self.lines: list[str] = []

    def say(self, text: str, first: str = "  ", rest: str | None = None, *styles: str) -> None:
        """``text`` may hold names of files from anywhere: :func:`_name` keeps each of them short."""
        for line in wrap(clean(text, 6000), self.width, first, rest):
            self.lines.append(self.paint(line, *styles))

    def heading(self, text: str) -> None:
        self.lines.append("")
        self.lines.append(self.paint(text, "bold"))

    def title(self, found: Inspection) -> None:
        self.say(found.subject, "", "", "bold")
        distribution = found.distribution
        if distribution is None:
            self.say(_what(found.libraries[0]))
            return
        kind = "wheel" if found.kind == "wheel" else "installed package"
        self.say(f"{kind} {distribution.name} {distribution.version}")
        if distribution.tags:
            self.say(f"for {_tags(distribution)}")
        if distribution.requires_python:
            self.say(f"requires Python {distribution.requires_python}")
        kinds: dict[str, int] = {}
        for library in found.libraries:
            if library.format:
                label = _what(library, short=True)
                kinds[label] = kinds.get(label, 0) + 1
        shown = ", ".join(f"{count} {label}" for label, count in kinds.items())
        self.say(f"compiled files: {shown or 'none'}")
        for note in found.notes:
            self.say(note)

    def installed(self, found: Inspection) -> None:
        """Nothing where all files are there, of the right content, and nobody else's."""
        files = found.files
        if files is None or not (files.changed or files.shared or files.not_hashed or self.verbose):
            return
        self.heading(f"files, compared with {files.source}")
        for state, words in _STATES.items():
            alike = [one for one in files.changed if one.state == state]
            most = len(alike) if self.verbose else MOST_FILES
            for one in alike[:most]:
                self.say(f"{words}: {_name(one.path)}{_change(one)}", "  ", "      ", "red")
            if len(alike) > most:
                self.say(f"{words}: {len(alike) - most} more (-v)", "  ", "      ", "red")
        for other, count in files.shared.items():
            self.say(f"{other} lists {count} of these files too", "  ", "      ", "yellow")
        unchanged = files.hashed - sum(one.state == "hash" for one in files.changed)
        text = f"{unchanged} of {files.number} files have the content that was installed"
        self.say(text + (f"; not hashed: {files.not_hashed} files, {files.why}" if files.not_hashed else ""))

    def gpu_code(self, found: Inspection) -> None:
        coded = [library for library in found.libraries if library.cuda is not None]
        amd = [library for library in found.libraries if library.amd_targets]
        if not coded and not amd:
            return
        self.heading("GPU code")
        coded.sort(key=lambda library: -library.cuda.fat_binaries if library.cuda else 0)
        alike: dict[str, list[Library]] = {}
        for library in coded:
            if library.cuda is not None:
                alike.setdefault(repr((library.cuda.targets, library.cuda.coverage)), []).append(library)
        groups = list(alike.values())
        most = len(groups) if self.verbose else MOST_TABLES
        for place, group in enumerate(groups):
            shown = _name(group[0].path) + (f" and {len(group) - 1} more files, each" if len(group) > 1 else "")
            if self.verbose and len(group) > 1:
                shown = ", ".join(_name(library.path) for library in group) + ": each"
            if (code := group[0].cuda) is None:
                continue
            if place < most:
                self.cuda(shown, code)
            else:
                self.say(f"{shown}: {', '.join(_targets(code))}", "  ", "      ")
        for library in amd:
            targets = ", ".join(f"{target} ({count})" for target, count in sorted(library.amd_targets.items()))
            self.say(f"{_name(library.path)}: AMD {targets}", "  ", "      ")

    def cuda(self, path: str, code: CudaCode) -> None:
        self.say(
            f"{path}: {code.fat_binaries} fat binar{'y' if code.fat_binaries == 1 else 'ies'} with "
            f"{', '.join(_targets(code))}",
            "  ",
            "      ",
        )
        if code.damaged or not code.complete:
            self.say(f"{code.damaged} of them are damaged" if code.damaged else "not all of it was read", "      ")
        nothing = []
        for group in _groups(code.coverage):
            first = group[0]
            if not first.machine_code and not first.ptx:
                if first.none:
                    nothing.append(_span(group))
                continue
            # The newest ones: people know them.
            names = [name for row in group for name in row.gpus[: 1 if len(group) > 2 else 2]][-MOST_GPUS:]
            columns = f"    {_span(group):<13}{_percent(first.percent):>5}  "
            self.say(_how(first) + (f": {', '.join(names)}" if names else ""), columns, " " * len(columns))
        if nothing:
            self.say(f"no code for {', '.join(nothing)}", "    ", "      ")

    def needs(self, found: Inspection) -> None:
        groups: dict[str, dict[str, Need]] = {}
        for library in found.libraries:
            for need in library.needs:
                groups.setdefault(need.where, {}).setdefault(need.name, need)
        if not groups:
            return
        self.heading("needs")
        single = found.kind == "library"
        titles = {
            "wheel": "in the wheel",
            "package": "from other packages",
            "driver": "from the NVIDIA driver",
            "python": "from Python",
            "system": "from the system",
            "file": "found here",
        }
        for where, words in titles.items():
            named = groups.get(where)
            if not named:
                continue
            if where == "file":
                for need in named.values():
                    if need.problem:
                        text = f"{_name(need.name)} comes from {_name(need.path)}; {clean(need.problem, 300)}"
                        self.say(text, "  ", "      ", "yellow")
                    elif single or self.verbose:
                        self.say(f"{_name(need.name)}: {_name(need.path)}", "  ", "      ")
                named = {name: need for name, need in named.items() if not need.problem}
                if single or self.verbose or not named:
                    continue
            if where == "wheel":
                named, loose = _apart(named)
                if loose:
                    why = "in the wheel, but on no search path (something must load them first)"
                    self.say(f"{why}: {', '.join(loose)}", "  ", "      ")
                if not named:
                    continue
            # Windows' own parts, a dozen for each library.
            texts = list(dict.fromkeys(_need(need) for need in named.values()))
            more = len(texts) - MOST_NAMES
            shown = texts if self.verbose else texts[:MOST_NAMES]
            tail = f" and {more} more (-v)" if more > 0 and not self.verbose else ""
            self.say(f"{words}: {', '.join(shown)}{tail}", "  ", "      ")
        unknown: dict[str, list[str]] = {}
        for need in groups.get("unknown", {}).values():
            unknown.setdefault(need.problem, []).append(_name(need.name))
        for problem, open_ones in unknown.items():
            more = len(open_ones) - MOST_NAMES if not self.verbose else 0
            told = ", ".join(open_ones[: None if self.verbose else MOST_NAMES]) + (
                f" and {more} more" if more > 0 else ""
            )
            self.say(f"it can't be told: {told}: {problem}", "  ", "      ", "yellow")
        self.missing(list(groups.get("missing", {}).values()))

    def missing(self, needs: list[Need]) -> None:
        """What is simply not there, by the package that brings it; other troubles each by itself."""
        absent: dict[str, list[str]] = {}
        lost: dict[tuple[str, str], list[str]] = {}
        for need in needs:
            by = f" (for {_name(need.by)})" if need.by else ""
            if need.problem.endswith(NOT_THERE):
                absent.setdefault(need.package, []).append(_name(need.name) + by)
            else:
                lost.setdefault((need.problem, need.package), []).append(_name(need.name) + by)
        for (problem, package), names in lost.items():
            brings = f"; {package} brings {'them' if len(names) > 1 else 'it'}" if package else ""
            self.say(f"missing: {', '.join(names)}: {problem}{brings}", "  ", "      ", "red")
        for package, names in absent.items():
            brings = f"; {package} brings {'them' if len(names) > 1 else 'it'}" if package else ""
            self.say(f"missing here: {', '.join(names)}{brings}", "  ", "      ", "red")

    def undefined(self, found: Inspection) -> None:
        """Symbols of torch; a list that is empty was looked up, one that is missing was not."""
        extensions = [
            library for library in found.libraries if library.undefined is not None or library.cxx11_abi is not None
        ]
        if not extensions:
            return
        self.heading("symbols of torch")
        alike: dict[str, list[str]] = {}
        for library in extensions:
            name = _name(library.path.rpartition("/")[2] if found.kind == "library" else library.path)
            ages = {True: "built for the new C++ ABI", False: "built for the old C++ ABI", None: ""}
            abi = ages[library.cxx11_abi]
            if library.undefined:
                lost = library.undefined if self.verbose else library.undefined[:2]
                told = ", ".join(f"{one.name} ({one.symbol})" if one.name != one.symbol else one.name for one in lost)
                left = len(library.undefined) - len(lost)
                told += f" and {left} more" if left else ""
                text = "; ".join(filter(None, (f"{name}: not defined by torch here: {told}", abi)))
                self.say(text, "  ", "      ", "red")
                continue
            state = "" if library.undefined is None else "torch here has all that it needs"
            alike.setdefault("; ".join(filter(None, (state, abi))), []).append(name)
        for text, names in alike.items():
            shown = names if self.verbose else names[:MOST_TABLES]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            self.say(f"{', '.join(shown)}{more}: {text}", "  ", "      ")

    def symbols(self, found: Inspection) -> None:
        if not found.symbols:
            return
        self.heading("lowest system")
        for family, floor in found.symbols.items():
            file = f" ({_name(floor.file)})" if found.kind != "library" else ""
            self.say(f"{family}_{floor.version}{file}", "  ", "      ")
        if found.distributions:
            self.say(f"on {', '.join(found.distributions)} and newer", "  ", "     ")
        elif any(library.arch in (["x86_64"], ["aarch64"]) for library in found.libraries):
            self.say("no distribution that we list has these")

    def cpu(self, found: Inspection) -> None:
        if found.cpu:
            self.heading("CPU")
            for why, flags in found.cpu.items():
                self.say(f"{why}: {', '.join(flags)}", "  ", "      ")

    def versions(self, found: Inspection) -> None:
        told = [library for library in found.libraries if library.version is not None]
        if told:
            self.heading("versions, from the bytes")
            for library in told:
                if library.version is not None:
                    self.say(
                        f"{_name(library.path)}: {library.version.library} {library.version.version}", "  ", "      "
                    )

    def problems(self, found: Inspection) -> None:
        broken = [library for library in found.libraries if library.problem]
        if broken:
            self.heading("not read, or not in full")
            for library in broken[: len(broken) if self.verbose else MOST_NAMES]:
                self.say(f"{_name(library.path)}: {library.problem}", "  ", "      ")

    def files(self, found: Inspection) -> None:
        self.heading("files")
        for library in found.libraries:
            symbols = ", ".join(f"{family}_{version}" for family, version in library.symbols.items())
            self.say(", ".join(filter(None, (f"{_name(library.path)}: {_what(library)}", symbols))), "  ", "      ")
            if library.search:
                self.say(f"searches {':'.join(library.search)}", "      ")


def _change(one: ChangedFile) -> str:
    sizes = f", {one.size_there} bytes, not {one.size}" if one.state == "size" else ""
    whose = f", the file of {one.owner} is there" if one.owner else ""
    return f"{sizes}{whose}{f', {one.why}' if one.why else ''}"


def _name(path: str) -> str:
    return clean(path, 200)


def _what(library: Library, short: bool = False) -> str:
    """``ELF for Linux x86-64, extension module for cp311``."""
    arches = ", ".join(_ARCHES.get(arch, arch) for arch in library.arch)
    system = _SYSTEMS.get(library.system, library.system)
    if short:
        return " ".join(filter(None, (system, arches))) or _FORMATS.get(library.format, library.format)
    parts = [_FORMATS.get(library.format, library.format or "not read")]
    if system:
        parts[0] += f" for {system} {arches}".rstrip()
    if library.system_version:
        parts.append(f"{system} {library.system_version} or newer")
    if library.python_abi:
        parts.append(f"extension module for {library.python_abi}")
    if library.soname:
        parts.append(f"soname {library.soname}")
    return ", ".join(parts)


def _tags(distribution: Wheel) -> str:
    """``cp311-cp311-manylinux_2_17_x86_64``, at most four."""
    shown = ", ".join(distribution.tags[:4])
    return shown + (f" and {len(distribution.tags) - 4} more tags" if len(distribution.tags) > 4 else "")


def _targets(code: CudaCode) -> list[str]:
    """``sm_80 (51 %)`` for targets that not all fat binaries have."""
    shown = []
    for target, count in code.targets.items():
        share = 100 * count / code.fat_binaries if code.fat_binaries else 100
        shown.append(target if share >= 99.95 else f"{target} ({_percent(share)})")
    return shown


def _groups(rows: Sequence[Coverage]) -> list[list[Coverage]]:
    """Neighbours that are served alike."""
    groups: list[list[Coverage]] = []
    for row in rows:
        last = groups[-1][0] if groups else None
        if last is not None and _served(last) == _served(row):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _served(row: Coverage) -> tuple[int, int, str | None]:
    return row.machine_code, row.ptx, row.driver_cuda


def _span(group: Sequence[Coverage]) -> str:
    first, last = group[0].capability, group[-1].capability
    return first if first == last else f"{first} to {last}"


def _percent(value: float) -> str:
    """No share of something is written 0 %, and none but all 100 %."""
    if 0 < value < 0.5:
        return "<1 %"
    return f"{min(round(value), 99) if value < 100 else 100} %"


def _how(row: Coverage) -> str:
    driver = f" (driver for CUDA {row.driver_cuda} or newer)" if row.driver_cuda else ""
    if not row.ptx:
        return "machine code"
    return f"PTX{driver}" if not row.machine_code else f"machine code, partly PTX{driver}"


def _apart(named: dict[str, Need]) -> tuple[dict[str, Need], list[str]]:
    """Files of the wheel that the loader finds, and names of those that it does not find by itself."""
    loose = [_name(name) for name, need in named.items() if need.problem]
    return {name: need for name, need in named.items() if not need.problem}, loose


def _need(need: Need) -> str:
    if need.name.lower().startswith("api-ms-win-"):
        return "api-ms-win-*.dll"
    detail = ", ".join(filter(None, (need.package, need.problem)))
    return f"{_name(need.name)} ({detail})" if detail else need.name
