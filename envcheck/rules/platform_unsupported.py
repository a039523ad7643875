"""No build of a package for this operating system or architecture.

What it does
    Compares the platforms for which a release has wheels on the package index with the machine that the stack is to
    run on. A release that can be built from its source distribution is let pass, except where its authors say that it
    does not build.

Why it fails
    A wheel holds machine code for one operating system, one architecture and one kind of C library. Where none fits
    and there is no source to build from, pip finds nothing to install, and files copied from another machine do not
    load.

How it shows
    `ERROR: Could not find a version that satisfies the requirement torch` with `ERROR: No matching distribution found
    for torch`; `is not a supported wheel on this platform`; `exec format error` or `invalid ELF header` when files
    were copied from another machine.

How to fix
    Install a release that has a wheel for the platform, or the package that takes its place there (triton-windows
    on Windows, onnxruntime-gpu instead of onnxruntime-directml on Linux). On Alpine use an image with glibc.

Exceptions
    What is installed on a machine of the same kind is there: it came from conda, from the distribution, from a
    vendor's index or from a build. Builds with a CUDA label come from PyTorch's index, which has wheels for Linux and
    Windows that the package index lacks. Jetson boards get their wheels from NVIDIA.

Sources
    File names of every release on the package index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.facts.wheels import PLATFORM_NAMES, Wheels, offers_platform

if TYPE_CHECKING:
    from envcheck.matrix import Matrix, Row

INSTEAD = {
    ("triton", "win_amd64"): "triton-windows",
    ("onnxruntime-directml", "linux_x86_64"): "onnxruntime-gpu",
    ("onnxruntime-directml", "linux_aarch64"): "onnxruntime-gpu",
    ("onnxruntime-directml", "macos_arm64"): "onnxruntime",
    ("onnxruntime-gpu", "macos_arm64"): "onnxruntime",
    ("onnxruntime-gpu", "macos_x86_64"): "onnxruntime",
    ("onnxruntime-gpu", "win_arm64"): "onnxruntime",
    ("tensorflow-gpu", "macos_arm64"): "tensorflow",
    ("tensorflow-cpu", "macos_arm64"): "tensorflow",
    ("tensorflow-macos", "linux_x86_64"): "tensorflow",
    ("tensorflow-intel", "linux_x86_64"): "tensorflow",
}
"""The package that takes the place of another one on a platform."""


class Support(Struct, frozen=True):
    """What the index has for one platform, over the releases that the version may mean."""

    wheel: bool
    """Every release has a wheel, or can be built."""
    none: bool
    """No release has one."""


def check(
    wheels: list[Wheels],
    system: str,
    *,
    wheel_platforms: tuple[str, ...] = (),
    arch: str = "",
    python_version: str = "",
    matrix: Matrix,
) -> Iterator[Result]:
    where = _place(system, arch, wheel_platforms)
    if any(package.installed for package in wheels):
        yield Pass("installed packages", "they are installed on a machine of this kind")
    for package in wheels:
        if package.gap is not None and package.gap.kind == "newer":
            yield Undecided(str(package), f"wheels of {package.package}", package.gap.sentence)
        elif package.rows and not package.installed:
            yield from _judge(package, where, wheel_platforms, arch, python_version, matrix)


def _judge(
    package: Wheels, where: str, columns: Sequence[str], arch: str, python: str, matrix: Matrix
) -> Iterator[Result]:
    from envcheck.rules._builds import refused

    newest = package.rows[-1]
    if (row := refused(matrix, package, columns)) is not None:
        title, url, as_of = matrix.cite(row)
        evidence = [Evidence(f"{package.package} {row['versions']}: {row['reason']}", title, url, as_of)]
        text = f"does not work on {where}: {row['reason']}"
        # Unofficial builds may bear the same name.
        finding = _finding(package, where, text, evidence, columns, python, matrix)
        finding.confidence = "medium"
        yield finding
        return
    if not any(one["platforms"] for one in package.rows):
        return  # source distributions only: nothing is said of platforms
    found = [_support(package, column) for column in columns] or [Support(False, not _buildable(package.rows))]
    if all(one.wheel for one in found):
        yield Pass(str(package), f"there is a wheel, or a source distribution, for {where}")
    elif all(one.none for one in found) and package.jetson and "linux_aarch64" in columns:
        yield Undecided(str(package), "gpus", f"there is no wheel for {where}, but NVIDIA builds it for Jetson boards")
    elif all(one.none for one in found):
        if _for_gpus_of_others(package, columns) and all(offers_platform(newest, column) for column in columns):
            yield _on_macos(package, where, newest, matrix)
            return
        there = ", ".join(PLATFORM_NAMES[name] for name in newest["platforms"] or ())
        title, url, as_of = matrix.cite(newest)
        evidence = [Evidence(f"{newest['package']} {newest['version']} has wheels for {there}", title, url, as_of)]
        text = f"has no wheel for {where} and no source distribution; its wheels are for {there}"
        yield _finding(package, where, text, evidence, columns, python, matrix)
    elif not arch and package.version is not None:
        yield Undecided(str(package), "cpu.arch", f"whether there is a wheel for {where} depends on the architecture")


def _support(package: Wheels, column: str) -> Support:
    if _for_gpus_of_others(package, (column,)):
        return Support(False, True)
    if column in package.elsewhere or _buildable(package.rows):
        return Support(True, False)
    offered = [offers_platform(row, column) for row in package.rows]
    return Support(all(offered), not any(offered))


def _for_gpus_of_others(package: Wheels, columns: Sequence[str]) -> bool:
    """A build for NVIDIA's, AMD's or Intel's GPUs, by its label, on macOS: nobody makes those."""
    mac = bool(columns) and all(column.startswith("macos") for column in columns)
    return mac and (package.label or "").startswith(("cu", "rocm", "xpu"))


def _on_macos(package: Wheels, where: str, newest: Row, matrix: Matrix) -> Finding:
    """The release may have a wheel for macOS, but not this build of it."""
    from envcheck.rules._fixes import pip_install

    release = (package.version or newest["version"]).partition("+")[0]
    title, url, as_of = matrix.cite(newest)
    evidence = [
        Evidence(f"{package} is the build {package.label}", "version label"),
        Evidence(f"wheels of {newest['package']} {newest['version']} for macOS have no label", title, url, as_of),
    ]
    note = "the wheel for macOS, which uses the CPU and MPS" if package.package == "torch" else "the wheel for macOS"
    return Finding(
        severity="error",
        confidence="high" if package.version is not None else "medium",
        subject=f"{package} on {where}",
        message=f"{package} is the build {package.label} for GPUs that Macs do not have: there is none for {where}.",
        evidence=evidence,
        fixes=[pip_install(f"{package.package}=={release}", note=note)],
    )


def _buildable(rows: Sequence[Row]) -> bool:
    return any(row["sdist"] for row in rows)


def _place(system: str, arch: str, columns: Sequence[str]) -> str:
    if len(columns) == 1:
        return PLATFORM_NAMES[columns[0]]
    name = {"Darwin": "macOS"}.get(system, system)
    return f"{name} {arch}".strip()


def _finding(
    package: Wheels,
    where: str,
    text: str,
    evidence: list[Evidence],
    columns: Sequence[str],
    python: str,
    matrix: Matrix,
) -> Finding:
    # Other architectures have builds that the index does not carry (piwheels, IBM's conda channel).
    sure = bool(columns) and package.version is not None
    known_other = where.endswith(("armv7l", "armv6l", "i686", "i386"))
    return Finding(
        severity="error",
        confidence="high" if sure else "medium" if columns or known_other else "low",
        subject=f"{package} on {where}",
        message=f"{package} {text}.",
        evidence=evidence,
        fixes=list(_fixes(package, where, columns, python, matrix)),
    )


def _fixes(package: Wheels, where: str, columns: Sequence[str], python: str, matrix: Matrix) -> Iterator[Fix]:
    from envcheck.rules._builds import nearest_for
    from envcheck.rules._fixes import pip_install

    if "musllinux" in columns:
        yield Fix("", "use an image with glibc, e.g. python:3.12-slim instead of python:3.12-alpine", "manual")
        return
    column = columns[0] if columns else ""
    if other := INSTEAD.get((package.package, column)):
        yield Fix(
            f"pip uninstall -y {package.package} && pip install {other}",
            f"{other} is its place-taker on {where}",
            "safe",
        )
        return
    if column and (release := nearest_for(matrix, package.package, package.version, column, python)):
        yield pip_install(f"{package.package}=={release}", note=f"the nearest release with a wheel for {where}")
    else:
        yield Fix(
            "", f"run this stack on {PLATFORM_NAMES['linux_x86_64']}: no release of it is made for {where}", "manual"
        )
