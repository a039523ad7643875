"""What a CUDA release asks of the driver, by the vendor's rules.

* Backward: a driver serves every CUDA release up to its own, without lower bound.
* From CUDA 11 on, a driver at or above the floor of a major release runs all its minor releases.
* CUDA 10 and older: each minor release has its own floor.
* cuda-compat replaces the user-mode driver: then what *it* serves counts.
* Jetson before JetPack 7: the driver runs its own CUDA release and older ones; newer ones need their cuda-compat.

Sources: NVIDIA CUDA Compatibility guide; CUDA for Tegra application note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.versions import compare_numbers, minor, numbers

if TYPE_CHECKING:
    from envcheck.facts.driver import Driver
    from envcheck.matrix import Matrix, Row


class Need(Struct, frozen=True):
    """Whether a driver serves a CUDA release."""

    ok: bool | None
    """None: can't be told."""
    needs: str
    """What is needed: ``driver 525.60.13 or newer``."""
    why: str
    evidence: list[Evidence]
    floor: str | None = None
    """Lowest driver version on this system, where there is one."""
    sure: str = "high"
    """Confidence of the answer."""


def cite(matrix: Matrix, row: Row, fact: str) -> Evidence:
    """A table row as evidence."""
    title, url, as_of = matrix.cite(row)
    return Evidence(fact, title, url, as_of)


def judge(driver: Driver, cuda: str, matrix: Matrix) -> Need:
    """Does this driver serve programs built with ``cuda`` (``12.4``, or only the major ``12``)?"""
    if driver.tegra:
        return _jetson(driver, cuda, matrix)
    if driver.forward_compat:
        ok = _same_or_newer(driver, cuda)
        evidence = [Evidence(driver.forward_compat, "driver")]
        return Need(ok, f"a driver that serves CUDA {cuda}", "cuda-compat is active", evidence)
    if _older_libcuda(driver, cuda):
        why = (
            f"the libcuda in use serves CUDA {driver.cuda} only, less than kernel driver {driver.version}'s own "
            f"{driver.own_cuda}: an old cuda-compat or a foreign libcuda.so.1 comes first"
        )
        return Need(False, f"a libcuda that serves CUDA {cuda}", why, list(driver.evidence), None, "medium")
    if driver.cuda_read and driver.cuda and len(numbers(cuda)) > 1 and compare_numbers(minor(driver.cuda), cuda) >= 0:
        # Backward compatibility needs no floor; some drivers (JetPack 7's prints 580.00) are numbered below it.
        return Need(True, f"a driver that serves CUDA {cuda}", f"the driver serves CUDA {driver.cuda}", [])
    floor = floor_of(matrix, cuda, windows=driver.windows)
    if floor is None:
        return _by_served(driver, cuda, matrix)
    version, source = floor
    ok = driver.at_least(version)
    if driver.l4t is not None and ok is False and numbers(driver.version or "")[0] == numbers(version)[0]:
        ok = None  # Jetson Linux numbers the releases of a branch on its own
    if not driver.system_known and ok is not None:
        # Linux and Windows number their drivers differently; without the system both columns must agree.
        other = floor_of(matrix, cuda, windows=not driver.windows)
        if other is not None and driver.at_least(other[0]) != ok:
            ok = None
    needs = f"driver {version} or newer"
    if ok is None and driver.cuda is not None:
        served = _same_or_newer(driver, cuda)
        why = f"the driver serves CUDA {driver.cuda}"
        return Need(served, needs, why, [source], version, "high" if driver.cuda_read else "medium")
    return Need(ok, needs, "", [source], version)


def floor_of(matrix: Matrix, cuda: str, *, windows: bool) -> tuple[str, Evidence] | None:
    """Lowest driver for programs of a CUDA release, with its source; None when no table says."""
    column = "windows_min" if windows else "linux_min"
    parts = numbers(cuda)
    if not parts:
        return None
    if parts[0] >= 11 and parts[:2] != (11, 0):
        row = matrix.row("cuda-floors", major=str(parts[0]))
    else:
        column = "windows_driver_min" if windows else "linux_driver_min"
        row = matrix.row("cuda-toolkits", toolkit=minor(cuda)) if len(parts) > 1 else None
    if row is None or not row[column]:
        return None
    system = "Windows" if windows else "Linux"
    release = f"{parts[0]}.x" if parts[0] >= 11 and parts[:2] != (11, 0) else minor(cuda)
    return str(row[column]), cite(matrix, row, f"CUDA {release} needs driver {row[column]} or newer on {system}")


def _same_or_newer(driver: Driver, cuda: str) -> bool | None:
    """By the CUDA release that the libcuda in use serves."""
    have, need = numbers(driver.cuda or ""), numbers(cuda)
    if not have or not need:
        return None
    if have[0] != need[0]:
        return have[0] > need[0]
    if need[0] >= 11:
        # Drivers from 450.36.06 on print 11.0, minor-version compatibility begins at 450.80.02.
        unsure = have[:2] == (11, 0) and need[1:2] != (0,) and not driver.forward_compat
        return None if unsure else True
    if len(need) < 2:
        return True if have >= (10, 2) else None
    return have[:2] >= need[:2]


def _by_served(driver: Driver, cuda: str, matrix: Matrix) -> Need:
    """Where no floor is listed: CUDA 9 and older, ``10`` without its minor, and releases newer than our data."""
    ok = _same_or_newer(driver, cuda)
    evidence = [Evidence(f"the driver serves CUDA {driver.cuda}", "driver")] if driver.cuda else []
    why = ""
    if ok is None:
        column, table = ("major", "cuda-floors") if numbers(cuda)[:1] >= (11,) else ("toolkit", "cuda-toolkits")
        gap = matrix.gap(table, column, minor(cuda) if column == "toolkit" else str(numbers(cuda)[0]))
        why = (
            gap.sentence
            if driver.cuda is None
            else f"the driver serves CUDA {driver.cuda}; which minor is needed is open"
        )
    return Need(ok, f"a driver that serves CUDA {cuda}", why, evidence, None, "high" if driver.cuda_read else "medium")


def _older_libcuda(driver: Driver, cuda: str) -> bool:
    """The libcuda in use serves an older major than needed although the kernel module's branch would do."""
    have, own, need = numbers(driver.cuda or ""), numbers(driver.own_cuda or ""), numbers(cuda)
    return bool(driver.cuda_read and have and own and need and have[0] < need[0] <= own[0])


def _jetson(driver: Driver, cuda: str, matrix: Matrix) -> Need:
    row = matrix.row("jetson", l4t=str(numbers(driver.l4t or "")[0])) if driver.l4t and numbers(driver.l4t) else None
    evidence = []
    served = driver.cuda
    if row is not None:
        allowed = ", ".join(row["compat_allowed"] or [])
        text = f"JetPack {row['jetpack']} runs CUDA {row['default_cuda']}, with cuda-compat also {allowed}"
        evidence.append(cite(matrix, row, text))
    if not driver.cuda_read:
        release = _jetpack(driver, matrix)  # a minor release of JetPack may bring a newer CUDA than its major's first
        if release is not None:
            served = str(release["cuda"])
            text = f"JetPack {release['jetpack']} (L4T {release['l4t']}) installs CUDA {served}"
            evidence.append(cite(matrix, release, text))
        elif row is not None:
            served = str(row["default_cuda"])
    needs = f"a driver that serves CUDA {cuda} (Jetson has no minor-version compatibility)"
    if served is None:
        return Need(None, needs, "the CUDA release of the Jetson's driver is not known", evidence)
    have, need = numbers(served), numbers(cuda)
    if len(need) == 1:
        ok: bool | None = True if have[0] > need[0] else False if have[0] < need[0] else None
    else:
        ok = compare_numbers(minor(served), minor(cuda)) >= 0
    sure = "high" if driver.cuda_read else "medium"
    return Need(ok, needs, f"the Jetson's driver serves CUDA {served}", evidence, None, sure)


def _jetpack(driver: Driver, matrix: Matrix) -> Row | None:
    """The release of JetPack that this L4T belongs to, where its CUDA release is known."""
    from envcheck.matrix.lookup import of_minor

    rows = [row for row in matrix.rows("jetpack") if row["cuda"]]
    return of_minor(rows, "l4t", driver.l4t) if driver.l4t else None


def jetson_compat(driver: Driver, cuda: str, matrix: Matrix) -> str | None:
    """The newest CUDA release, up to ``cuda``, that this JetPack can run with a cuda-compat package."""
    row = matrix.row("jetson", l4t=str(numbers(driver.l4t)[0])) if driver.l4t and numbers(driver.l4t) else None
    if row is None:
        release = _jetpack(driver, matrix)
        return str(release["cuda"]) if release is not None else None
    fitting = [one for one in row["compat_allowed"] or [] if compare_numbers(one, cuda) <= 0]
    return max(fitting, key=numbers) if fitting else str(row["default_cuda"])


def ptx_isa(matrix: Matrix, cuda: str | None) -> str | None:
    """PTX version that a CUDA release writes, and that its driver can compile; None when not known."""
    if cuda is None or len(numbers(cuda)) < 2:
        return None
    row = matrix.row("ptx-isa", cuda=minor(cuda))
    return str(row["ptx"]) if row else None
