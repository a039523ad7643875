"""Two OpenMP runtimes may be loaded into one process.

What it does
    Looks for combinations of OpenMP runtimes that are known to abort or hang: two copies of Intel's libiomp5md.dll on
    Windows (conda's MKL and torch's own), two of libomp or libiomp5 on macOS, and on Linux two of them that the files
    of two installed frameworks load.

Why it fails
    Each copy starts its own pool of threads and keeps its own state. Intel's runtime notices the other one and aborts;
    on macOS the two corrupt each other and the process crashes or hangs in a worker thread.

How it shows
    `OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized.`; on macOS a
    `SIGSEGV` or `EXC_BAD_ACCESS` in `__kmp_suspend_64`, or a hang in the first parallel region.

How to fix
    Keep one: take both packages from the same channel (conda-forge), or a BLAS that does not use Intel's runtime
    (`nomkl`). `KMP_DUPLICATE_LIB_OK=TRUE` only silences the message: results can be wrong.

Exceptions
    Several OpenMP libraries merely on disk are normal on Linux (libgomp beside libiomp5) and no finding. Two copies
    hurt only when one process loads both, which files alone do not tell: the finding is a warning.

Sources
    Message of Intel's OpenMP runtime; threadpoolctl, "Multiple OpenMP runtimes".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Stack

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Found, Libraries

RUNTIMES = ("iomp5md", "iomp5", "omp", "omp140")
"""Stems of LLVM's and Intel's OpenMP runtimes; libgomp is another one and not meant."""


BRINGERS = {
    "Windows": ("torch", "intel-openmp", "mkl"),
    "Darwin": ("torch", "intel-openmp", "llvm-openmp", "lightgbm", "xgboost"),
}
"""Packages that bring or load one of these runtimes each."""


def check(
    stack: Stack,
    *,
    system: str | None = None,
    libraries: Libraries | None = None,
    packages: Packages | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Result]:
    if system == "Linux" and stack.binaries:
        yield from _brought(stack)
    if system not in BRINGERS or libraries is None:
        return
    if not libraries.listed:
        users = [name for name in BRINGERS[system] if packages is not None and name in packages]
        if len(users) > 1:
            yield Undecided(
                " and ".join(users), "libraries", "each can bring an OpenMP runtime, and nobody looked for them"
            )
        return
    copies = [item for item in libraries.found if item.name.stem in RUNTIMES]
    if system == "Windows":
        copies = [item for item in copies if item.name.stem == "iomp5md"]
    places = {(item.path or item.file).replace("\\", "/").lower(): item for item in copies}
    if len(places) > 1:
        yield _finding(list(places.values()), system, packages, env or {})
    elif places:
        yield Pass(copies[0].file, "the only OpenMP runtime of its kind")


def _brought(stack: Stack) -> Iterator[Result]:
    """Linux: what the files that are loaded by imports bring themselves. Copies of libgomp live together."""
    found: dict[str, str] = {}
    for binary in stack.binaries:
        for need in binary.loads if binary.role == "import" else ():
            if need.name.startswith(("libiomp5", "libomp.", "libomp-")):
                found.setdefault(need.path, binary.package)
    if len(found) < 2 or len(set(found.values())) < 2:
        return
    (first, one), (second, other) = list(found.items())[:2]
    yield Finding(
        severity="warning",
        confidence="medium",
        subject=f"{one} and {other}",
        message=f"{one} loads {first} and {other} loads {second}: a process that imports both has two OpenMP runtimes "
        "of LLVM's kind, and aborts with OMP: Error #15 or computes with twice the threads.",
        evidence=[
            Evidence(f"{package} loads {file}", "the loader's search, re-enacted") for file, package in found.items()
        ],
        fixes=[
            Fix(
                command="conda install -c conda-forge --override-channels pytorch numpy scipy scikit-learn",
                note="packages of one channel share one OpenMP runtime; or keep the two in separate processes",
                safety="review",
            )
        ],
    )


def _finding(copies: list[Found], system: str, packages: Packages | None, env: dict[str, str]) -> Finding:
    shown = " and ".join(item.path or item.file for item in copies[:3])
    silenced = env.get("KMP_DUPLICATE_LIB_OK", "").lower() in ("1", "true")
    evidence = [item.evidence for item in copies]
    names = [name for name in ("intel-openmp", "llvm-openmp", "mkl") if packages is not None and name in packages]
    evidence += [Evidence(f"{name} is installed", "package list") for name in names]
    what = "aborts with OMP: Error #15" if system == "Windows" else "can crash or hang"
    ends = (
        "KMP_DUPLICATE_LIB_OK is set, which hides the message but not the danger"
        if silenced
        else f"a process that loads both {what}"
    )
    return Finding(
        severity="warning",
        confidence="medium",
        subject=copies[0].file,
        message=f"There are {len(copies)} OpenMP runtimes, {shown}, and one process can use only one of them: {ends}.",
        evidence=evidence,
        fixes=_fixes(copies, system),
    )


def _fixes(copies: list[Found], system: str) -> list[Fix]:
    one_channel = Fix(
        command="conda install -c conda-forge --override-channels pytorch numpy scipy scikit-learn",
        note="packages of one channel share one OpenMP runtime",
        safety="review",
    )
    if system == "Windows":
        without = (
            "conda install nomkl"
            if any(item.origin == "conda" for item in copies)
            else "pip install --force-reinstall numpy"
        )
        return [
            Fix(command=without, note="NumPy then uses OpenBLAS and leaves the runtime to torch", safety="review"),
            one_channel,
        ]
    first = Fix(
        command="conda install nomkl",
        note="a BLAS without Intel's runtime; then only libomp is left",
        safety="review",
    )
    alone = Fix(
        command="OMP_NUM_THREADS=1 python your_program.py",
        note="a work-around: without worker threads the two cannot meet",
        safety="safe",
    )
    return [first if any(item.name.stem.startswith("iomp5") for item in copies) else one_channel, alone]
