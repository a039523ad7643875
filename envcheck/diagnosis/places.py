"""Where the files of a message lie: folders of packages in a traceback, and the libstdc++ that was loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.core.report import Evidence, Fix
from envcheck.core.snapshot import Snapshot, known
from envcheck.diagnosis.model import Match
from envcheck.diagnosis.own_files import OF_PACKAGES
from envcheck.probes.shadows import MODULES
from envcheck.versions import minor

Told = tuple[Match, Evidence, Fix]
TRACEBACK = "Traceback (most recent call last)"
MOST_TRACEBACKS = 8
READ = 40_000
"""Characters of a traceback that are read."""
LAYERED = ("/uv/", "/nix/", "spack", "/software/", "/cvmfs/", ".runfiles", "bazel", "/pants/")
"""Where each package has a folder of its own, or one environment lies over another by intent."""

_FRAME = r'File "([^"\n]{1,300}?[/\\](?:site|dist)-packages)[/\\]([A-Za-z]\w{0,40})'
_USER = re.compile(r"/\.local/lib/python|/roaming/python/|/library/python/\d", re.IGNORECASE)
_SYSTEM = re.compile(r"^/usr/(?:local/)?lib|/dist-packages$|/programs/python/|^[a-z]:/python\d", re.IGNORECASE)
_PYTHON = re.compile(r"/python-?(\d)\.?(\d{1,2})/", re.IGNORECASE)
_LIBRARY = r"(/[^\s:'\"`]{1,300}/lib(?:stdc\+\+|gcc_s)\.so[.\d]*): version"
_CONDA = re.compile(r"(/[^\s:]{0,280}?(?:conda|mamba|miniforge)[^\s:]{0,100}?)/lib/", re.IGNORECASE)


def loaded_from(matches: list[Match], text: str, base: Snapshot) -> Iterator[Told]:
    """Matches, what of their paths tells that something comes from an unexpected place, and how that is looked at."""
    if "-packages" in text and TRACEBACK in text:
        yield from _tracebacks(matches, text, base)
    for match in matches:
        if match.signature["id"] == "libstdcxx-version-not-found":
            yield from _libstdcxx(match, text, base)
        elif "(/" in match.line or ":\\" in match.line:
            yield from _outside(match)


def _tracebacks(matches: list[Match], text: str, base: Snapshot) -> Iterator[Told]:
    starts = [found.start() for found in re.finditer(re.escape(TRACEBACK), text)][:MOST_TRACEBACKS]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        match = next((one for one in matches if start <= one.position < end and _on_packages(one)), None)
        if match is None:
            continue
        sites: dict[str, str] = {}
        for site, module in re.findall(_FRAME, text[start : min(end, match.position, start + READ)]):
            sites.setdefault(site.replace("\\", "/").replace("/lib64/", "/lib/"), module)
        if sites and not any(word in site for site in sites for word in LAYERED):
            yield from ((match, *told) for told in _sites(sites, base))


def _on_packages(match: Match) -> bool:
    return any(cause.partition(" ")[0] in OF_PACKAGES for cause in match.signature.get("causes") or ())


def _sites(sites: dict[str, str], base: Snapshot) -> Iterator[tuple[Evidence, Fix]]:
    """Folders of one traceback, with the first module of each."""
    pythons = {f"{found[1]}.{found[2]}": site for site in sites if (found := _PYTHON.search(site + "/"))}
    mine = known(base.stack.python.version)
    if len(pythons) > 1:
        listed = " and ".join(f"{site} (Python {version})" for version, site in pythons.items())
        yield (
            Evidence(f"one process imports from folders of two Pythons: {listed}", "the traceback"),
            Fix("unset PYTHONPATH", "where it names one of them; each Python has packages of its own", "safe"),
        )
    elif pythons and mine and minor(mine) not in pythons:
        version, site = next(iter(pythons.items()))
        yield (
            Evidence(
                f"the traceback is of Python {version} ({site}), what is listed of Python {mine}", "the traceback"
            ),
            Fix(
                'python -c "import sys; print(sys.version, sys.executable)"',
                "the Python that the program runs with; its packages are what has to be mended",
                "safe",
            ),
        )
    user = [site for site in sites if _USER.search(site)]
    system = [site for site in sites if site not in user and _SYSTEM.search(site)]
    own = [site for site in sites if site not in user and site not in system]
    if not own or len(own) > 1:
        return
    for site in user[:1]:
        yield (
            Evidence(f"{sites[site]} is loaded from the user's site folder {site}, beside {own[0]}", "the traceback"),
            Fix(
                "export PYTHONNOUSERSITE=1",
                "so that the environment's own packages are taken (Windows: set PYTHONNOUSERSITE=1)",
                "safe",
                _print_file(sites[site]),
            ),
        )
    for site in system[:1] if not user else ():
        yield (
            Evidence(f"{sites[site]} is loaded from the system's {site}, not from {own[0]}", "the traceback"),
            Fix(
                _print_file(sites[site]),
                "the file that is loaded: PYTHONPATH, or an environment made with --system-site-packages, lets the "
                "system's packages in",
                "safe",
            ),
        )


def _print_file(module: str) -> str:
    return f'python -c "import {module}; print({module}.__file__)"'


def _outside(match: Match) -> Iterator[Told]:
    """A package of which the message names a file that lies in no folder of installed packages."""
    from envcheck.diagnosis.own_files import is_own

    found = re.search(
        r"from '(\w{2,40})(?:\.[\w.]{1,120})?' \(([^\n]{1,280}?[/\\]\1)[/\\][^\n]{0,200}?\.pyc?\)", match.line
    )
    if found is None or found[1] not in MODULES or not is_own(found[2] + "/__init__.py") or not _on_packages(match):
        return
    module, folder = found[1], found[2]
    yield (
        match,
        Evidence(
            f"{module} was loaded from {folder}, no folder of installed packages: sources of it, or the program's own",
            "the message",
        ),
        Fix(_print_file(module), f"the file that is imported; {folder} was taken before the installed one", "safe"),
    )


def _libstdcxx(match: Match, text: str, base: Snapshot) -> Iterator[Told]:
    """Which copy of the C++ library was loaded: the loader names it."""
    said = text[max(0, match.position - 300) : match.position + 500]
    found = re.search(_LIBRARY, said)
    if found is None or found[1] not in match.line:
        return
    path = found[1]
    name = path.rpartition("/")[2]
    asker = re.search(r"required by ([^\s)]{1,300})", match.line)
    conda = _CONDA.match(path)
    theirs = _CONDA.match(asker[1]) if asker else None
    note = "the newest version that the loaded copy defines"
    look = Fix(f'strings "{path}" | grep -E "^(GLIBCXX|CXXABI)_" | sort -V | tail -2', note, "safe")
    if conda is not None:
        yield match, Evidence(f"the {name} that was loaded is conda's: {path}", "the message"), look
        return
    if re.match(r"/(?:usr/)?lib(?:32|64)?/", path):
        fact = f"the {name} that was loaded is the system's: {path}"
        if theirs is None and known(base.stack.python.environment) != "conda":
            yield match, Evidence(fact, "the message"), look
            return
        folder = f"{theirs[1]}/lib" if theirs is not None else "$CONDA_PREFIX/lib"
        yield (
            match,
            Evidence(f"{fact}, not conda's in {folder}", "the message"),
            Fix(
                f'export LD_LIBRARY_PATH="{folder}:$LD_LIBRARY_PATH"',
                f"conda's {name} comes first then; the system's was loaded before it",
                "safe",
                f'strings "{folder}/{name}" | grep -E "^(GLIBCXX|CXXABI)_" | sort -V | tail -2',
            ),
        )
        return
    folder = path.rpartition("/")[0]
    yield (
        match,
        Evidence(f"the {name} that was loaded is neither the system's nor conda's: {path}", "the message"),
        Fix("", f"take {folder} out of LD_LIBRARY_PATH: its {name} is loaded in place of the system's", "safe"),
    )
