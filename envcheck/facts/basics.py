"""Views that need little more than the snapshot: platform, C library, Python, packages, environment, model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.snapshot import (
    Absent,
    Flag,
    ImportTest,
    Model,
    Package,
    SmokeTest,
    Text,
    Toolkit,
    Unknown,
    Userland,
    known,
)
from envcheck.facts import Facts
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.facts.smoke import Smoked


class Platform(Struct, frozen=True):
    """What wheels are built for."""

    system: str
    """``Linux``, ``Windows``, ``Darwin``."""
    arch: str
    libc: str
    """``glibc``, ``musl`` or empty where it does not matter or is not known."""

    @property
    def column(self) -> str:
        """The name of this platform in the table ``wheels``."""
        if self.system == "Linux":
            return "musllinux" if self.libc == "musl" else f"linux_{self.arch}"
        if self.system == "Windows":
            return "win_arm64" if self.arch == "aarch64" else "win_amd64"
        return "macos_arm64" if self.arch == "aarch64" else "macos_x86_64"

    def __str__(self) -> str:
        libc = " (musl)" if self.libc == "musl" else ""
        return f"{ {'Darwin': 'macOS'}.get(self.system, self.system) } {self.arch}{libc}".replace("  ", " ")


class Packages:
    """Installed distributions by canonical name; the copy that an import would take."""

    def __init__(self, packages: list[Package]) -> None:
        self._first: dict[str, Package] = {}
        self.all = packages
        for package in packages:
            self._first.setdefault(canonical(package.name), package)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical(name) in self._first

    def __iter__(self) -> Iterator[Package]:
        return iter(self._first.values())

    def __len__(self) -> int:
        return len(self._first)

    def get(self, name: str) -> Package | None:
        return self._first.get(canonical(name))

    def version(self, name: str) -> str | None:
        """Version of a distribution; None when it is not installed or its version is not known."""
        package = self.get(name)
        return known(package.version) if package else None

    def label(self, name: str) -> str | None:
        """Local version label, e.g. ``cu124``, also where only the label is known."""
        package = self.get(name)
        return known(package.local) if package else None


def system(facts: Facts) -> Text:
    return facts.snapshot.machine.system


def arch(facts: Facts) -> Text:
    return facts.snapshot.machine.arch


def on_mac(facts: Facts) -> bool | Absent:
    """True on macOS; absent where it is another system, or not stated which."""
    return known(facts.snapshot.machine.system) == "Darwin" or Absent("nothing says that this is a Mac")


def wsl(facts: Facts) -> Flag:
    return facts.snapshot.machine.wsl


def in_container(facts: Facts) -> Flag:
    container = facts.snapshot.stack.container
    if isinstance(container, Absent):
        return False
    return container if isinstance(container, Unknown) else True


def userland(facts: Facts) -> Userland:
    """The C library that the stack will meet: its own in a container, else the machine's where it is known."""
    stack, machine = facts.snapshot.stack, facts.snapshot.machine
    if isinstance(stack.container, str):
        return stack.userland
    merged = Userland()
    for name in Userland.__struct_fields__:
        here, shipped = getattr(machine.userland, name), getattr(stack.userland, name)
        setattr(merged, name, shipped if isinstance(here, Unknown) else here)
    return merged


def platform(facts: Facts) -> Platform | Absent | Unknown:
    """Where wheels are to run; unknown when the system or the architecture is."""
    name, machine_arch = facts.snapshot.machine.system, facts.snapshot.machine.arch
    if not isinstance(name, str):
        return name
    if not isinstance(machine_arch, str):
        return machine_arch
    land: Userland = facts.get("userland")
    libc = known(land.libc) or ("musl" if known(land.distro) in ("alpine", "postmarketos") else "")
    return Platform(name, machine_arch, libc if name == "Linux" else "")


def glibc(facts: Facts) -> Text:
    """Version of glibc that the stack will meet; from the distribution's release where it was not read."""
    land: Userland = facts.get("userland")
    if known(facts.snapshot.machine.system) not in (None, "Linux"):
        return Absent("only Linux has glibc")
    if known(land.libc) == "musl" or (
        not known(land.libc_version) and known(land.distro) in ("alpine", "postmarketos")
    ):
        return Absent("the C library is musl")
    if isinstance(land.libc_version, str | Absent):
        return land.libc_version
    distro, release = known(land.distro), known(land.distro_version)
    if distro and release:
        for candidate in (release, release.partition(".")[0]):
            rows = facts.matrix.rows("distros", distro=distro.lower(), version=candidate)
            if rows:
                return str(rows[0]["glibc"])
    return land.libc_version


def python_version(facts: Facts) -> Text:
    return facts.snapshot.stack.python.version


def packages(facts: Facts) -> Packages | Absent | Unknown:
    found = facts.snapshot.stack.packages
    return found if isinstance(found, (Absent, Unknown)) else Packages(found)


def unread_folders(facts: Facts) -> list[str]:
    """Site folders that exist and could not be listed: what is installed in them is not known."""
    return [
        run.where
        for run in facts.snapshot.probes
        if run.probe == "packages" and run.status == "failed" and run.detail.partition(":")[0].endswith("Error")
    ]


def env(facts: Facts) -> dict[str, str] | Absent | Unknown:
    found = facts.snapshot.stack.env
    return found if isinstance(found, (Absent, Unknown)) else {variable.name: variable.value for variable in found}


class CpuFlags(Struct, frozen=True):
    """What is known of the CPU's instruction sets."""

    present: frozenset[str] | None
    """All flags; None when the whole list is not known."""
    absent: frozenset[str]

    def has(self, flag: str) -> bool | None:
        """True, False, or None when it is not known."""
        if flag in self.absent:
            return False
        return None if self.present is None else flag in self.present


def cpu_flags(facts: Facts) -> CpuFlags | Unknown:
    cpu = facts.snapshot.machine.cpu
    flags = known(cpu.flags)
    if flags is None and not cpu.missing_flags:
        return Unknown("the CPU's instruction sets are " + getattr(cpu.flags, "why", "not stated"))
    return CpuFlags(None if flags is None else frozenset(flags), frozenset(cpu.missing_flags))


def toolkit(facts: Facts) -> Toolkit | Absent | Unknown:
    """The CUDA toolkit that a build of an extension would use."""
    found = facts.snapshot.stack.toolkits
    if isinstance(found, (Absent, Unknown)):
        return found
    for candidate in found:
        if candidate.active:
            return candidate
    return Absent("no CUDA toolkit is on the path")


def model(facts: Facts) -> Model | Absent:
    """The model file; absent when nothing is said of one."""
    found = facts.snapshot.stack.model
    if all(isinstance(getattr(found, name), Unknown) for name in Model.__struct_fields__):
        return Absent("no model was named")
    return found


def model_or_smoke(facts: Facts) -> Model | list[SmokeTest] | Absent:
    """For rules on a model that smoke tests tell of too; absent when neither is there."""
    return facts.snapshot.smoke or model(facts)


def smoke(facts: Facts) -> list[SmokeTest] | Absent:
    """The results of smoke tests."""
    return facts.snapshot.smoke or Absent("no smoke test was made (envcheck smoke)")


def smoked(facts: Facts) -> list[Smoked] | Absent:
    """The same with package, GPU and cause; loaded only where there are some."""
    if not facts.snapshot.smoke:
        return Absent("no smoke test was made (envcheck smoke)")
    from envcheck.facts.smoke import views

    return views(facts)


def imports(facts: Facts) -> list[ImportTest] | Absent:
    """The results of import tests."""
    return facts.snapshot.stack.imports or Absent("no import was tested (--import)")
