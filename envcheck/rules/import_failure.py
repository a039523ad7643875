"""A framework cannot be imported.

What it does
    Reports each import test that did not come to its end: an error, a crash, a hang, an end of the process. Import
    tests run only where they are asked for: `envcheck --import`.

Why it fails
    An import loads the compiled libraries of a package and runs its start-up code. Whatever does not fit shows there
    first: a library that is missing, a symbol of another release, an instruction that the CPU does not know.

How it shows
    `ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory`; `undefined symbol:
    _ZN3c104cuda9SetDeviceEi`; `Illegal instruction (core dumped)`; `Segmentation fault`; a program that does nothing.

How to fix
    Where another rule knows the cause, the fix stands there and this finding is shown under it. Otherwise reinstall the
    package, in the build that fits the others, and import it alone with `python -X faulthandler -c "import ..."`.

Exceptions
    An import that took too long may only have met a slow disk: that is an error of low confidence, which makes no
    verdict. A library of the NVIDIA driver that is missing on a machine without an NVIDIA GPU is a warning.

Sources
    The import itself, in a process of its own; messages of the loaders of glibc, musl, macOS and Windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import ImportTest, known
from envcheck.facts.imports import Fault, fault_of

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages

SIGNALS = {
    "SIGILL": "an instruction that this CPU does not have",
    "SIGSEGV": "a segmentation fault",
    "SIGBUS": "a bus error",
    "SIGABRT": "an abort",
    "SIGFPE": "an arithmetic error",
    "SIGKILL": "somebody, perhaps the system for want of memory, killed it",
}
DRIVER = ("libcuda.so", "libnvidia-ml.so", "nvcuda.dll", "libnvidia-")
_TORCH_SYMBOLS = ("_ZN2at", "_ZNK2at", "_ZN3c10", "_ZNK3c10", "_ZN5torch", "_ZNK5torch", "_ZTIN3c10", "THP")


def check(
    imports: list[ImportTest], *, packages: Packages | None = None, has_gpu: bool | None = None
) -> Iterator[Result]:
    for test in imports:
        version = packages.version(test.package) if packages is not None else None
        label = f"{test.package} {version}" if version else test.package
        if test.outcome == "untested":
            yield Undecided(label, f"imports.{test.package}", f"its import was not tested: {known(test.error)}")
        elif test.outcome != "ok":
            yield _failed(test, label, version, has_gpu)
        elif (complaint := known(test.error)) is not None:
            yield _complaint(test, label, complaint, version, packages)
        else:
            yield Pass(label, f"import {test.module} worked")


def _failed(test: ImportTest, label: str, version: str | None, has_gpu: bool | None) -> Finding:
    fault = fault_of(test)
    no_driver = has_gpu is False and fault.kind == "library" and fault.name.startswith(DRIVER)
    own = fault.kind == "module" and fault.name == test.module.partition(".")[0]
    return Finding(
        severity="warning" if no_driver else "error",
        confidence="low" if test.outcome == "hang" else "medium" if own else "high",
        subject=label,
        message=_message(test, label),
        evidence=[evidence(test)],
        fixes=_fixes(test, fault, version),
    )


def _message(test: ImportTest, label: str) -> str:
    error, file = known(test.error) or "it is not known why", known(test.library)
    while_loading = f" while {file} is loaded" if file else ""
    if test.outcome == "crash":
        signal, _, said = error.partition(": ")
        words = said.rstrip(".") or SIGNALS.get(signal)
        return f"Importing {label} crashes with {signal}{f' ({words})' if words else ''}{while_loading}."
    if test.outcome == "hang":
        return f"Importing {label} gave {error}{while_loading}."
    if test.outcome == "exit":
        return f"Importing {label} ends the process: {error.rstrip('.')}{while_loading}."
    asker = f" ({file})" if file and file not in error else ""
    return f"{label} cannot be imported: {error.rstrip('.')}{asker}."


def evidence(test: ImportTest) -> Evidence:
    """What an import test saw."""
    said = known(test.error)
    return Evidence(f"import {test.module}: {test.outcome}" + (f", {said}" if said else ""), "import test")


def _complaint(test: ImportTest, label: str, complaint: str, version: str | None, packages: Packages | None) -> Finding:
    fault = fault_of(test)
    numpy = packages.version("numpy") if packages is not None and fault.kind == "numpy" else None
    beside = f" with numpy {numpy}" if numpy else ""
    fixes = _fixes(test, fault, version)
    if fault.kind == "numpy":
        fixes = [Fix('pip install "numpy<2"', "the NumPy that it was compiled for", "safe", _again(test))]
    return Finding(
        severity="warning",
        confidence="high",
        subject=label + beside,
        message=f"{label} can be imported{beside}, but complains: {complaint.rstrip('.')}.",
        evidence=[evidence(test)],
        fixes=fixes,
    )


def _again(test: ImportTest) -> str:
    return f'python -X faulthandler -c "import {test.module}"'


def _fixes(test: ImportTest, fault: Fault, version: str | None) -> list[Fix]:
    verify = _again(test)
    if test.outcome == "hang":
        note = "shows where it stops; if it only needs longer, give it more time: envcheck --import --timeout 300"
        return [Fix(f'python -X importtime -X faulthandler -c "import {test.module}"', note, "safe")]
    if fault.kind == "module" and fault.name != test.module.partition(".")[0]:
        name = fault.name.partition(".")[0]
        return [Fix(f"pip install {name}", "the module that is missing; its package may be called otherwise", "review")]
    notes = {
        "library": "if it lacks a library of its own; else install what brings the library that is named",
        "symbol": "or the release that was built for the packages it loads"
        if not fault.name.startswith(_TORCH_SYMBOLS)
        else "in the build for the installed torch: the symbol is one of torch",
        "version": "in a release for an older system, or use a newer system (an image) with this library version",
        "instruction": "in a release or a build for older CPUs, or use another CPU (in a virtual machine: -cpu host)",
        "format": "in the build for this system: the file that is named is damaged or of another architecture",
        "numpy": "in a release that was built for the installed NumPy",
    }
    note = notes.get(fault.kind, "so that its files are whole, in the release that fits the other packages")
    return [Fix(_reinstall(test.package, version), note, "review", verify)]


def _reinstall(package: str, version: str | None) -> str:
    public, plus, label = (version or "").partition("+")
    wanted = f'"{package}=={public}"' if public else package
    index = ""
    if plus and package in ("torch", "torchvision", "torchaudio") and label.startswith(("cu", "cpu", "rocm")):
        wanted = f'"{package}=={version}"'
        index = f" --index-url https://download.pytorch.org/whl/{label}"
    return f"pip install --force-reinstall --no-deps {wanted}{index}"
