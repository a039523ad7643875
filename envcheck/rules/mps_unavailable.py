"""PyTorch's MPS does not work on this Mac.

What it does
    Compares the release of macOS with the oldest one on which the installed PyTorch offers the device mps, and looks
    whether the GPU has Metal.

Why it fails
    MPS is built on Metal Performance Shaders Graph, whose functions came with macOS releases. PyTorch checks the
    release at run time: pip installs newer wheels on older systems without a word.

How it shows
    "The MPS backend is supported on MacOS 12.3+. Current OS version can be queried using `sw_vers`" (the number in it
    may be too low), "torch.backends.mps.is_available() False", "MPS not available because the current MacOS version is
    not 12.3+".

How to fix
    Upgrade macOS, or install the last PyTorch that works on this one.

Exceptions
    The CPU works all the same: a warning, but where PYTORCH_ENABLE_MPS_FALLBACK says that MPS is wanted.

Sources
    Apple's page on PyTorch and Metal; PyTorch issues 139425 and 164943.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import Absent, known
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.matrix import Matrix, Row

WISH = "PYTORCH_ENABLE_MPS_FALLBACK"
VERIFY = 'python -c "import torch; print(torch.backends.mps.is_available())"'


def check(
    on_mac: bool,
    builds: list[FrameworkBuild],
    *,
    arch: str = "",
    env: dict[str, str] | None = None,
    snapshot: Snapshot,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge PyTorch on a Mac."""
    torch = next((build for build in builds if build.package == "torch"), None)
    if torch is None or torch.version is None:
        yield Skip("no PyTorch of a known version")
        return
    row = _row(matrix, torch.version)
    if row is None:
        yield Skip(f"{torch} is older than MPS")
        return
    wish = bool((env or {}).get(WISH, "").strip() not in ("", "0"))
    macos, needed = known(snapshot.machine.system_version), row["macos"]
    title, url, as_of = matrix.cite(row)
    evidence = [Evidence(f"torch {row['from_version']} and newer need macOS {needed} for MPS", title, url, as_of)]
    subject, severity = f"{torch} on macOS", "error" if wish else "warning"
    if arch and arch not in (row["architectures"] or [arch]):
        yield Skip(f"wheels of {torch} for {arch} Macs have no MPS")
    elif macos is None or not numbers(macos):
        if wish:
            yield Undecided(subject, "os.distro_version", f"whether macOS is {needed} or newer, for MPS in {torch}")
    elif compare_numbers(macos, needed) < 0 and not needed.startswith(f"{macos}."):
        evidence.append(Evidence(f"macOS {macos}", "system"))
        message = f"{torch} offers MPS on macOS {needed} and newer, and this is macOS {macos}: it runs on the CPU"
        yield Finding(
            severity=severity,
            confidence="high",
            subject=f"{torch} on macOS {macos}",
            message=message,
            evidence=evidence,
            fixes=list(_fixes(matrix, macos, arch)),
        )
    elif isinstance(snapshot.machine.metal, Absent):
        why = snapshot.machine.metal.why
        fix = Fix("", "run it on a Mac whose GPU has Metal; virtual machines often have none", "manual", VERIFY)
        message = f"MPS in {torch} needs Metal, which this Mac lacks ({why}): it runs on the CPU"
        found = [Evidence(why, "system_profiler")]
        yield Finding(
            severity=severity, confidence="medium", subject=subject, message=message, evidence=found, fixes=[fix]
        )
    else:
        yield Pass(f"{torch} on macOS {macos}", f"macOS {macos} has what MPS in {torch} needs")


def _row(matrix: Matrix, version: str) -> Row | None:
    release = ".".join(map(str, numbers(version)))
    if not release:
        return None
    for row in reversed(matrix.rows("torch-mps")):
        if compare_numbers(release, row["from_version"]) >= 0:
            return row
    return None


def _fixes(matrix: Matrix, macos: str, arch: str) -> Iterator[Fix]:
    from envcheck.rules._fixes import pip_install

    older = [
        row
        for row in matrix.rows("torch-mps")
        if compare_numbers(macos, row["macos"]) >= 0 and (not arch or arch in (row["architectures"] or [arch]))
    ]
    if older:
        end = older[-1]["to_version"]
        yield pip_install(f"torch<{end}", note=f"the releases before {end} offer MPS on macOS {macos}", verify=VERIFY)
    yield Fix("", "upgrade macOS", "manual", VERIFY)
