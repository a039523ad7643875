"""The NVIDIA driver: kernel module, libcuda, the CUDA it serves, and whether forward compatibility is active."""

from __future__ import annotations

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.facts import Facts
from envcheck.versions import compare_numbers, minor, numbers, readable


class Driver(Struct, frozen=True):
    """One driver as rules see it."""

    version: str | None
    """Kernel module (on Windows and WSL: the Windows driver), e.g. ``470.82.01``; may be a bare branch, ``470``."""
    cuda: str | None
    """Newest CUDA the libcuda in use serves, ``11.4``; from the branch table where it was not read."""
    cuda_read: bool
    """``cuda`` was read on the machine, not looked up."""
    own_cuda: str | None
    """CUDA that the kernel module's own branch prints, from the table."""
    user_mode: str | None
    """Version of the libcuda in use, from its file name."""
    windows: bool
    """Compare with Windows numbers (native Windows and WSL)."""
    tegra: bool
    """A Jetson: the driver is part of L4T and has no minor-version compatibility."""
    forward_compat: str | None
    """Why we say that a cuda-compat package is active; None when it is not."""
    evidence: list[Evidence]
    system_known: bool = True
    """``windows`` was told, not assumed."""
    l4t: str | None = None
    """Release of Jetson Linux, ``36.4``."""
    compat_seen: bool = False
    """The folder of cuda-compat was seen on the loader's path; otherwise it is inferred from version numbers."""

    @property
    def branch(self) -> int | None:
        """First number of the kernel module's version."""
        return numbers(self.version)[0] if self.version and numbers(self.version) else None

    def at_least(self, floor: str) -> bool | None:
        """Is the kernel module at least this version? None when that can't be told (``525`` against 525.60.13)."""
        have = numbers(self.version or "")
        need = numbers(floor)
        if not have or (len(have) < len(need) and need[: len(have)] == have):
            return None
        return compare_numbers(self.version or "", floor) >= 0

    def __str__(self) -> str:
        text = f"driver {self.version}" if self.version else "driver of unknown version"
        return text + (f" (CUDA {self.cuda})" if self.cuda else "")


def drift_ground(facts: Facts) -> bool | Absent:
    """True where something can differ from the build: there is a driver, or the stack was built on another machine."""
    there = facts.snapshot.built_on is not None or isinstance(facts.get("driver"), Driver)
    return there or Absent("nothing differs from what the stack was built for")


def driver(facts: Facts) -> Driver | Absent | Unknown:
    found = facts.snapshot.machine.nvidia
    version, cuda = known(found.version), readable(known(found.cuda))
    if version is None and cuda is None:
        if isinstance(found.version, Absent):
            return found.version
        return Unknown(f"the driver's version is {getattr(found.version, 'why', 'not known')}")
    if version is not None and not numbers(version):
        return Unknown(f"the driver's version reads {version!r}")
    windows = known(facts.snapshot.machine.system) == "Windows" or bool(known(facts.snapshot.machine.wsl))
    tegra = is_tegra(facts)
    own = None if version is None else branch_cuda(facts, version, windows)
    forward = None if windows else _forward_compat(facts, own)
    evidence = [
        Evidence(f"{_KINDS.get(source.kind, source.kind)} {source.value}", source.source)
        for source in found.sources
        if isinstance(source.value, str)
    ]
    if version and not any(version in item.fact for item in evidence):
        evidence.append(Evidence(f"driver {version}", "facts"))
    if cuda and not any(cuda in item.fact for item in evidence):
        evidence.append(Evidence(f"driver serves CUDA {cuda}", "facts"))
    return Driver(
        version=version,
        cuda=cuda or own,
        cuda_read=cuda is not None,
        own_cuda=own,
        user_mode=readable(known(found.user_mode)),
        windows=windows,
        tegra=tegra,
        forward_compat=forward,
        evidence=evidence,
        system_known=known(facts.snapshot.machine.system) is not None,
        l4t=l4t_release(facts),
        compat_seen=forward is not None and not forward.startswith(_INFERRED),
    )


_INFERRED = "the driver in use serves CUDA"

_KINDS = {"kernel": "kernel module", "user": "user-mode driver", "cuda": "driver serves CUDA"}


def is_tegra(facts: Facts) -> bool:
    """A Jetson before JetPack 7, where the driver is part of the system image."""
    release = l4t_release(facts)
    if release is not None:
        return numbers(release)[:1] < (38,)
    gpus = known(facts.snapshot.machine.gpus) or []
    return any(
        known(gpu.compute_capability) in ("5.3", "6.2", "7.2", "8.7")
        or "jetson" in (known(gpu.name) or "").lower()
        or "orin" in (known(gpu.name) or "").lower().split()
        for gpu in gpus
    )


def l4t_release(facts: Facts) -> str | None:
    """Release of Jetson Linux (L4T), ``35.4.1``; None when this is no Jetson or its release is not known."""
    for land in (facts.snapshot.machine.userland, facts.get("userland")):
        if known(land.distro) == "l4t":
            return known(land.distro_version)
    return None


def branch_cuda(facts: Facts, version: str, windows: bool) -> str | None:
    """CUDA that this driver release prints, by the branch table; None where the table does not say."""
    parts = numbers(version)
    for row in facts.matrix.rows("driver-branches"):
        if windows:
            low, high = row.get("windows_low"), row.get("windows_high")
            if low and high and int(numbers(low)[0]) <= parts[0] <= int(numbers(high)[0]):
                return str(row["cuda"])
        elif str(row["branch"]) == str(parts[0]):
            return str(row["cuda"])
    return None


def _forward_compat(facts: Facts, own_cuda: str | None) -> str | None:
    found = facts.snapshot.machine.nvidia
    libcuda, user_mode, version, cuda = (
        known(found.libcuda),
        readable(known(found.user_mode)),
        readable(known(found.version)),
        readable(known(found.cuda)),
    )
    if libcuda and "/compat/" in libcuda:
        return f"libcuda is loaded from {libcuda}"
    variables = known(facts.get("env")) or {}
    on_path = [part for part in variables.get("LD_LIBRARY_PATH", "").split(":") if part.rstrip("/").endswith("/compat")]
    if cuda and own_cuda and compare_numbers(minor(cuda), own_cuda) > 0 and not known(facts.snapshot.machine.wsl):
        return f"{_INFERRED} {cuda}, the kernel module's own branch serves {own_cuda}"
    if on_path and user_mode and version and compare_numbers(user_mode, version) > 0:
        return f"LD_LIBRARY_PATH has {on_path[0]}"
    if on_path and cuda and not version:
        return f"LD_LIBRARY_PATH has {on_path[0]}"
    return None
