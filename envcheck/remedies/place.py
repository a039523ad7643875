"""Where a command is to be typed: what keeps the environment, and what is around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.snapshot import Absent, Unknown, known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcheck.facts import Facts
    from envcheck.facts.basics import Packages

DEBIAN = ("debian", "ubuntu", "linuxmint", "pop", "kali", "raspbian", "elementary", "zorin", "neon")
RED_HAT = ("rhel", "centos", "rocky", "almalinux", "fedora", "ol", "amzn")
SUSE = ("sles", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "suse")


class Place:
    """What of a snapshot decides how a command is written."""

    __slots__ = ("container", "distro", "facts", "interpreter", "name", "packages", "system", "tool")

    def __init__(
        self,
        facts: Facts,
        *,
        tool: str = "pip",
        name: str = "",
        interpreter: str = "",
        container: str = "",
        distro: str = "",
        system: str = "",
        packages: Packages | None = None,
    ) -> None:
        self.facts = facts
        self.tool = tool
        """``pip``, ``conda``, or one of those of ``python.managed_by``."""
        self.name = name
        """The last part of the environment's prefix: pipx knows an environment by it."""
        self.interpreter = interpreter
        """Its Python, where the shell has another one: a venv that is not activated. Else empty."""
        self.container = container
        """``docker``, ``podman``, ``kubernetes``, ``container``; empty outside of one, and where nobody said."""
        self.distro = distro
        self.system = system
        """``Linux``, ``Windows``, ``Darwin``; empty where nobody said."""
        self.packages = packages

    @classmethod
    def of(cls, facts: Facts) -> Place:
        stack = facts.snapshot.stack
        python = stack.python
        packages = facts.get("packages")
        prefix = (known(python.prefix) or "").replace("\\", "/").rstrip("/")
        conda = known(python.environment) == "conda"
        userland = facts.get("userland")
        return cls(
            facts,
            tool=known(python.managed_by) or ("conda" if conda else "pip"),
            name=prefix.rpartition("/")[2],
            interpreter=_interpreter(facts, prefix),
            container=known(stack.container) or "",
            distro=known(userland.distro) or "",
            system=known(facts.snapshot.machine.system) or "",
            packages=None if isinstance(packages, (Absent, Unknown)) else packages,
        )

    @property
    def prefix(self) -> str:
        """The environment's folder, where the shell has another one."""
        return self.interpreter.removesuffix("/python").removesuffix("/bin").removesuffix("/Scripts")

    def installed(self, names: Iterable[str]) -> list[str]:
        """Those that can be removed: tools other than pip fail for one that is not there."""
        return [name for name in names if self.packages is None or name in self.packages]

    @property
    def environment_known(self) -> bool:
        """Whether it was said what kind of environment this is."""
        return self.tool != "pip" or known(self.facts.snapshot.stack.python.environment) is not None

    @property
    def package_manager(self) -> str:
        """``apt-get``, ``dnf``, ``zypper``; empty for others. Where nothing is known, the most common one."""
        if not self.distro or self.distro in DEBIAN:
            return "apt-get"
        return "dnf" if self.distro in RED_HAT else "zypper" if self.distro in SUSE else ""


def _interpreter(facts: Facts, prefix: str) -> str:
    """Empty where the environment is the active one, or nothing is known of that."""
    python = facts.snapshot.stack.python
    kind, variables = known(python.environment), known(facts.snapshot.stack.env)
    if kind not in ("venv", "conda") or variables is None or not prefix or any(sign in prefix for sign in " <>$'\""):
        return ""
    wanted = "VIRTUAL_ENV" if kind == "venv" else "CONDA_PREFIX"
    active = next((one.value for one in variables if one.name == wanted), "").replace("\\", "/").rstrip("/")
    if active == prefix:
        return ""
    windows = known(facts.snapshot.machine.system) == "Windows"
    folder = "/" if windows and kind == "conda" else "/Scripts/" if windows else "/bin/"
    return f"{prefix}{folder}python"
