"""Several ONNX Runtime packages overwrite each other.

What it does
    Reports two or more installed distributions that all bring the import package `onnxruntime`: onnxruntime,
    onnxruntime-gpu, -directml, -openvino, -training, -rocm, -migraphx, -qnn and so on.

Why it fails
    They write the same files into the same folder `onnxruntime/`. The one that was installed last wins, file by file;
    uninstalling one of them removes files of the other. Most often the CPU package hides the GPU package.

How it shows
    `get_available_providers()` returns only `['AzureExecutionProvider', 'CPUExecutionProvider']` although
    onnxruntime-gpu is installed; `ValueError: ['CUDAExecutionProvider'] does not contain a subset of available
    providers`; `AttributeError: module 'onnxruntime' has no attribute 'InferenceSession'` after one was uninstalled.

How to fix
    Uninstall all of them, then install the one that is wanted. When another package requires plain onnxruntime, tell
    pip about it (`--no-deps`, or a constraint), else it comes back.

Exceptions
    onnxruntime-extensions, onnxruntime-genai and onnxruntime-qnn from 2.0 on are import packages of their own and may
    be installed beside them.

Sources
    Names of the packages on the package index, and the files in their wheels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result
from envcheck.core.snapshot import Build, FileClash, Package, Stack, known
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.matrix import Matrix

EXPLAINS = ("cpu-only-build",)

PREFERRED = (
    "onnxruntime-gpu",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-directml",
    "onnxruntime-openvino",
)
"""Which one was meant, when several are installed: the accelerated one."""


def check(packages: Packages, stack: Stack, *, has_gpu: bool | None = None, matrix: Matrix) -> Iterator[Result]:
    from envcheck.rules._onnx import runtimes

    installed = runtimes(packages, matrix)
    clashes = [clash for clash in known(stack.clashes) or () if clash.path.startswith("onnxruntime/")]
    if len(installed) < 2:
        # A variant that the table does not list shows by the files that it shares with a listed one.
        owners = dict.fromkeys(owner for clash in clashes for owner in clash.owners)
        installed = [found for owner in owners if (found := packages.get(owner)) is not None]
    if len(installed) > 1:
        yield _finding(installed, clashes, stack.builds, has_gpu, matrix)
    elif installed:
        yield Pass(installed[0].name, "the only package that brings the module onnxruntime")


def _finding(
    installed: list[Package],
    clashes: list[FileClash],
    builds: list[Build],
    has_gpu: bool | None,
    matrix: Matrix,
) -> Finding:
    from envcheck.matrix.lookup import brings_onnxruntime
    from envcheck.rules._overwritten import outcome, owners_there, whose_files

    names = [canonical(package.name) for package in installed]
    labels = [
        f"{name} {version}" if (version := known(p.version)) else name for name, p in zip(names, installed, strict=True)
    ]
    evidence = [
        Evidence(f"{label} is installed", known(p.location) or "package list")
        for label, p in zip(labels, installed, strict=True)
    ]
    rows = brings_onnxruntime(matrix)
    row = next((rows[name] for name in names if name in rows), None)
    if row is not None:
        title, url, as_of = matrix.cite(row)
        evidence.append(Evidence("each of them installs the module onnxruntime", title, url, as_of))
    evidence += whose_files(clashes, names)
    ends, mixture = outcome(clashes, names), len(owners_there(clashes, names)) > 1
    on_disk = next(
        (b for b in builds if canonical(b.package) in names and isinstance(b.variant, str) and b.source), None
    )
    if on_disk is not None:
        built = f"the files on disk are those of the {on_disk.variant} build"
        ends = ends if mixture else built
        evidence.append(Evidence(f"{on_disk.variant} build" if mixture else built, on_disk.source))
    return Finding(
        severity="error",
        confidence="high",
        subject=" and ".join(labels),
        message=f"{', '.join(labels[:-1])} and {labels[-1]} install the same module onnxruntime; {ends}.",
        evidence=evidence,
        fixes=[_fix(installed, names, has_gpu)],
    )


def _fix(installed: list[Package], names: list[str], has_gpu: bool | None) -> Fix:
    wanted = next((name for name in PREFERRED if name in names), names[0])
    if wanted == "onnxruntime-gpu" and has_gpu is False and "onnxruntime" in names:
        wanted = "onnxruntime"
    version = known(installed[names.index(wanted)].version)
    pin = f'"{wanted}=={version}"' if version else wanted
    return Fix(
        command=f"pip uninstall -y {' '.join(names)} && pip install {pin}",
        note="keep only the one that is wanted; a package that requires plain onnxruntime would bring it back",
        safety="safe",
        verify='python -c "import onnxruntime; print(onnxruntime.get_available_providers())"',
    )
