"""A second copy of a package or library: what a message says was loaded, against what is listed.

Versions that a message states and that differ from the listed ones, files that it names, and folders of packages in
its traceback. Causes that rest on such a message get the contradiction as evidence, and a command that shows which copy
is loaded. Nothing is added where message and facts agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Fix
from envcheck.core.snapshot import Snapshot, known
from envcheck.diagnosis.model import Cause, Match
from envcheck.versions import canonical, minor, numbers

if TYPE_CHECKING:
    from envcheck.matrix import Matrix

AT_INSTALLATION = ("exact", "but you have")
"""What an installer asks for or met is not what a program loaded: the reader, and words of pip's line."""
MODULES = {"protobuf": "google.protobuf", "scikit-learn": "sklearn", "opencv-python": "cv2", "pillow": "PIL"}
"""Modules that are called otherwise than their distributions."""
TAKES = {"ort-ir-version": ("ir_max", "IR version"), "ort-opset": ("opset_max", "opset")}
"""Signatures that state what ONNX Runtime takes, the column of the table, and how that is called."""
CONDA_FIRST = 'export LD_LIBRARY_PATH="$CONDA_PREFIX/lib:'
HERE = "the message"

Told = tuple[Evidence, Fix]


def name_copies(causes: list[Cause], matches: list[Match], text: str, base: Snapshot, matrix: Matrix) -> None:
    """Add to causes what their messages say of another copy; ``base``: what is known without the messages."""
    from envcheck.diagnosis.places import loaded_from

    for match in matches:
        mine = [cause for cause in causes if match.signature["id"] in cause.signatures]
        for evidence, fix in _contradictions(match, text, base, matrix) if mine else ():
            _add(mine[:1], evidence, fix)
    for match, evidence, fix in loaded_from(matches, text, base):
        mine = [cause for cause in causes if match.signature["id"] in cause.signatures][:1]
        for cause in mine:
            if "conda's" in evidence.fact:  # it is loaded already, or the fix names its folder
                cause.fixes = [one for one in cause.fixes if not one.command.startswith(CONDA_FIRST)]
        _add(mine, evidence, fix)


def _add(causes: list[Cause], evidence: Evidence, fix: Fix) -> None:
    for cause in causes:
        if evidence not in cause.evidence:
            cause.evidence.append(evidence)
        if not any(fix.command == one.command and fix.note == one.note for one in cause.fixes):
            # Which copy is loaded comes before what is changed.
            cause.fixes.insert(0, fix)


def _contradictions(match: Match, text: str, base: Snapshot, matrix: Matrix) -> Iterator[Told]:
    from envcheck.diagnosis.values import parsed

    told = set()
    for assignment in match.signature.get("sets") or ():
        if assignment.endswith(":" + AT_INSTALLATION[0]) or AT_INSTALLATION[1] in match.line:
            continue
        place, value = parsed(assignment, match.values)
        if isinstance(value, str) and value and place not in told:
            told.add(place)
            yield from _stated(place, value, base)
    if match.signature["id"] == "numpy-api-version":
        yield from _numpy_api(text[match.position : match.position + 400], base, matrix)
    elif match.signature["id"] == "numpy-array-api":
        yield from _numpy_2(base)
    elif highest := match.values.get("highest"):
        yield from _onnxruntime(match.signature["id"], int(highest), base, matrix)


def _stated(place: str, value: str, base: Snapshot) -> Iterator[Told]:
    """A fact of a message, against the same fact of what is known."""
    section, _, name = place.partition(".")
    if section == "package":
        yield from _package(name, value, base)
    elif place == "cudnn.system":
        yield from _cudnn(value, base)
    elif place == "python" and (listed := known(base.stack.python.version)) and _differ(value, listed):
        yield (
            Evidence(f"the Python that ran is {value}, the one of this environment is {listed}", HERE),
            Fix("python -m pip -V", "the pip and the Python that the shell finds first", "safe"),
        )
    elif place == "toolkit.nvcc":
        there = [version for one in known(base.stack.toolkits) or () if (version := known(one.version))]
        if not there or not all(_differ(minor(value), minor(version)) for version in there):
            return
        listed = ", ".join(there)
        yield (
            Evidence(f"the CUDA toolkit that was used is {value}, the one that is listed {listed}", HERE),
            Fix(
                'python -c "from torch.utils.cpp_extension import CUDA_HOME; print(CUDA_HOME)"',
                "the toolkit that extensions are built with; CUDA_HOME and the first nvcc on PATH decide",
                "safe",
            ),
        )


def _package(name: str, value: str, base: Snapshot) -> Iterator[Told]:
    name = canonical(name)
    listed = _listed(name, base)
    if not listed:
        return
    if value.startswith("+"):
        labels = [version.partition("+")[2] for version in listed]
        other = all(label.startswith("cu") and label != value[1:] for label in labels)
    else:
        other = all(_differ(value, version) for version in listed)
    if other:
        yield _copy(name, f"is {value.lstrip('+')}", listed)


def _copy(name: str, what: str, listed: list[str]) -> Told:
    fact = f"the {name} that was loaded {what}, listed is {', '.join(listed)}: another copy comes first, or another"
    fix = shown(name, "version and file of the one that is loaded; run it with the Python of the program")
    return Evidence(f"{fact} environment runs", HERE), fix


def shown(name: str, note: str) -> Fix:
    """A command that shows which copy of a distribution's module is imported."""
    family = name.partition("-")[0]
    module = family if family in ("onnxruntime", "tensorflow") else MODULES.get(name, name.replace("-", "_"))
    imported = f"import {module} as m" if "." in module else f"import {module}"
    alias = "m" if "." in module else module
    return Fix(f'python -c "{imported}; print({alias}.__version__, {alias}.__file__)"', note, "safe")


def _listed(name: str, base: Snapshot) -> list[str]:
    """Versions of a distribution that are listed; none where one of them is not stated in full."""
    found = [known(one.version) for one in known(base.stack.packages) or () if canonical(one.name) == name]
    return [version for version in found if version] if all(found) else []


def _differ(one: str, other: str) -> bool:
    """Whether two versions differ in the numbers that both state: 2.1 and 2.1.0 do not."""
    left, right = numbers(one), numbers(other)
    most = min(len(left), len(right))
    return most > 0 and left[:most] != right[:most]


def _cudnn(value: str, base: Snapshot) -> Iterator[Told]:
    """The cuDNN of a wheel, or the system's: which of them a process loads is decided by the loader's path."""
    wheels = {
        f"{one.name} {version}": version
        for one in known(base.stack.packages) or ()
        if canonical(one.name).startswith("nvidia-cudnn-cu") and (version := known(one.version))
    }
    system = known(base.stack.cudnn)
    same = system is not None and not _differ(value, system)
    if any(not _differ(value, version) for version in wheels.values()) or (same and not wheels):
        return
    listed = [*wheels, *([f"the system's {system}"] if system and not same else [])]
    if not listed:
        return
    fact = f"the cuDNN that was loaded is {value}{' (the system has it)' if same else ''}, listed is "
    module = next((name for name in ("torch", "jax", "tensorflow") if _listed(name, base)), "torch")
    yield (
        Evidence(f"{fact}{', '.join(listed)}: another copy comes first", HERE),
        Fix(
            f'LD_DEBUG=libs python -c "import {module}" 2>&1 | grep "calling init.*libcudnn"',
            "the files of cuDNN that are loaded (Linux); LD_LIBRARY_PATH names the folders that come first",
            "safe",
        ),
    )


def _numpy_api(said: str, base: Snapshot, matrix: Matrix) -> Iterator[Told]:
    """The C API of the NumPy that runs gives its releases."""
    found = re.search(
        r"(?:version of numpy is|running NumPy has C-A[PB]I version)\s{1,24}(0x[0-9a-f]{1,8})", said, re.I
    )
    listed = _listed("numpy", base)
    if found is None or not listed:
        return
    number = int(found[1], 16)
    rows = matrix.rows("numpy-abi")
    column = "abi" if number >= 1 << 24 else "api"
    releases = [row["numpy"] for row in rows if int(row[column], 16) == number]
    if releases and not any(minor(version) in releases for version in listed):
        span = releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"
        kind = "C ABI" if column == "abi" else "C API"
        evidence, fix = _copy("numpy", f"has {kind} {found[1]}, that of NumPy {span}", listed)
        title, url, as_of = matrix.cite(next(row for row in rows if row["numpy"] == releases[0]))
        yield Evidence(evidence.fact, f"{HERE}; {title}", url, as_of), fix


def _numpy_2(base: Snapshot) -> Iterator[Told]:
    listed = _listed("numpy", base)
    if listed and all(numbers(version)[:1] < (2,) for version in listed):
        yield _copy("numpy", "is NumPy 2, which alone says this", listed)


def _onnxruntime(signature: str, highest: int, base: Snapshot, matrix: Matrix) -> Iterator[Told]:
    """What the ONNX Runtime that runs takes at most gives its releases."""
    names = [one.name for one in known(base.stack.packages) or () if one.name.startswith("onnxruntime")]
    listed = [version for name in names for version in _listed(name, base)]
    if not listed or len(listed) < len(names) or any("dev" in version for version in listed):
        return
    if signature == "ort-api-version":
        # The number of the C API is the minor number of the release.
        other, what = all(numbers(version)[:2] != (1, highest) for version in listed), f"is 1.{highest}"
    elif signature in TAKES:
        column, label = TAKES[signature]
        rows = [row for row in matrix.rows("ort-opset") if row["measured"]]
        mine = [[row[column] for row in rows if not _differ(version, minor(row["onnxruntime"]))] for version in listed]
        like = list(dict.fromkeys(minor(row["onnxruntime"]) for row in rows if row[column] == highest))
        other = bool(like) and all(values and highest not in values for values in mine)
        span = " to ".join(dict.fromkeys((like[0], like[-1]))) if like else ""
        what = f"takes {label} {highest} at most, as ONNX Runtime {span}"
    else:
        return
    if other:
        evidence, _ = _copy(names[0], what, listed)
        note = "what the loader finds first; Windows 10 and 11 have an onnxruntime.dll in System32"
        windows = known(base.machine.system) == "Windows"
        yield evidence, Fix("where onnxruntime.dll", note, "safe") if windows else shown(names[0], note)
