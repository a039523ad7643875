"""Probes find facts and never judge; :func:`collect` runs them all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from envcheck.core.snapshot import NOT_STATED, Machine, Snapshot, Stack, Unknown, Userland

if TYPE_CHECKING:
    from envcheck.probes.host import Host
    from envcheck.probes.log import Log

S = TypeVar("S", bound=Struct)


class Probe(Struct, frozen=True):
    """One row of :data:`PROBES`."""

    name: str
    module: str
    """Below envcheck.probes; imported when its turn comes."""
    function: str
    places: tuple[tuple[str, str], ...]
    """Where the results go, in order: (``machine``, ``stack`` or, for the snapshot itself, nothing; attribute)."""
    packages: bool = False
    """It wants the packages that were found as a third argument."""
    asked: bool = False
    """It runs only where somebody asks for it."""
    lane: str = ""
    """Probes of one lane run one after the other, the lanes side by side; what waits for commands has its own."""


PROBES = (
    Probe("system", "system", "probe", (
        ("machine", "system"), ("machine", "arch"), ("machine", "kernel"), ("machine", "wsl"), ("stack", "container"))),
    Probe("userland", "userland", "probe", (("machine", "userland"), ("stack", "userland"))),
    Probe("cpu", "cpu", "probe", (("machine", "cpu"),)),
    Probe("memory", "memory", "probe", (("machine", "memory"),)),
    Probe("python", "python", "probe", (("stack", "python"),)),
    Probe("environment", "environment", "probe", (("stack", "env"),)),
    Probe("packages", "packages", "probe", (("stack", "packages"), ("stack", "clashes"))),
    Probe("shadows", "shadows", "probe", (("stack", "shadows"),), packages=True),
    Probe("builds", "builds", "probe", (("stack", "builds"),), packages=True),
    Probe("binaries", "binaries", "probe", (("stack", "binaries"),), packages=True),
    Probe("toolkits", "toolkits", "probe", (("stack", "toolkits"),), lane="toolkits"),
    Probe("libraries", "libraries", "probe", (("stack", "libraries"), ("stack", "cudnn")), packages=True),
    Probe("nvidia", "nvidia", "probe", (("machine", "nvidia"), ("machine", "gpus")), lane="nvidia"),
    Probe("amd", "makers", "amd", (("machine", "amd"),)),
    Probe("intel", "makers", "intel", (("machine", "intel"),)),
    Probe("apple", "makers", "apple", (("machine", "system_version"), ("machine", "metal")), lane="apple"),
    Probe("imports", "imports", "probe", (("stack", "imports"),), packages=True, asked=True),
    Probe("smoke", "smoke", "probe", (("", "smoke"),), asked=True, lane="smoke"),
)  # fmt: skip
"""What runs; the probes of a lane in this order: cheap and safe first."""

NVIDIA_SIGNS = (
    "/dev/nvidiactl",
    "/proc/driver/nvidia/version",
    "/dev/dxg",
    "/etc/nv_tegra_release",
    "/dev/nvhost-gpu",
)
"""One of these is there where an NVIDIA GPU is: device node, kernel module, WSL, Jetson."""

INSIDE = "seen from inside a container"

HEAD_START = 0.1
"""Seconds at most that a smoke test is given to begin before anything else does."""

ONE_AT_A_TIME = (3, 11) <= sys.version_info < (3, 11, 8) or (3, 12) <= sys.version_info < (3, 12, 2)
"""These Pythons mix up the depths of two syntax trees that threads build at once (SystemError; CPython issue 106905),
and pytest builds one for every module that is imported."""


def collect(
    host: Host | None = None,
    *,
    deadline: float | None = None,
    parts: Sequence[str] | None = None,
    imports: bool = False,
    smoke: bool = False,
    progress: Callable[[str], None] | None = None,
    meanwhile: Callable[[Snapshot], object] | None = None,
) -> Snapshot:
    """A snapshot of the machine and of the stack of this interpreter.

    ``deadline`` is a ``time.monotonic()`` value (default: the host's own); ``parts`` names the probes to run (all
    but those that run only when asked for); ``imports`` asks for the import tests, ``smoke`` for the smoke tests that
    ``host.smoke`` describes; ``progress`` is called with the name of the probe that is running once half a second has
    passed, and for every later one that takes long; ``meanwhile`` with what is found by then, while a smoke test may
    still run. A probe that raises, hangs or has no time left leaves unknown
    facts with the reason, and the others their results. Raises ValueError for an unknown name in ``parts``.
    """
    from envcheck._version import __version__
    from envcheck.probes.log import Log

    if host is None:
        from envcheck.probes.host import Host

        host = Host()
    if deadline is None:
        deadline = host.deadline
    else:
        host.deadline = deadline
    if parts is not None and (unknown := sorted(set(parts) - {probe.name for probe in PROBES})):
        raise ValueError(f"there is no probe named {', '.join(unknown)}")
    snapshot = Snapshot(envcheck=__version__, created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    snapshot.machine, snapshot.stack = Machine(), Stack()
    from envcheck.probes.runner import Runner

    asked = {"imports": imports, "smoke": smoke}
    host.progress = progress

    def wanted(probe: Probe) -> bool:
        return asked[probe.name] if probe.asked else True

    lanes: dict[str, list[Any]] = {}
    logs = []
    side_by_side = _waiting_is_likely(host, smoke)
    for probe in PROBES:
        if wanted(probe) if parts is None else probe.name in parts:
            logs.append(Log())
            lanes.setdefault(probe.lane if side_by_side else "", []).append(_job(probe, host, logs[-1], snapshot))
    # The commands of the other lanes are waited for while the first one reads files.
    if meanwhile is not None:
        lanes.setdefault("", []).append(_aside(meanwhile, snapshot))
    early = lanes.pop("smoke", [])
    runner = Runner([early, *[*lanes.values()][::-1]], deadline, progress, (1, HEAD_START) if early else (0, 0.0))
    host.started = runner.go_on
    runner.run()
    if isinstance(snapshot.stack.container, str):
        snapshot.machine.userland = unknown_part(Userland, INSIDE)
    # A probe that was given up may still write to its log: keep what is there now.
    snapshot.probes = [run for log in logs for run in list(log.runs)]
    _scrub(snapshot, host)
    return snapshot


def _aside(work: Callable[[Snapshot], object], snapshot: Snapshot) -> Any:
    """Work that finds nothing, as a job: what becomes of it matters to nobody."""
    from envcheck.probes.runner import Job

    def do() -> Callable[[], None]:
        work(snapshot)
        return lambda: None

    return Job("what can be done meanwhile", do, lambda *_: None, lambda _: None)


def nvidia_sign(host: Host) -> bool:
    """Whether something says that an NVIDIA GPU, or a driver in a place of its own, is here. Only for Linux."""
    return bool(host.env.get("LD_LIBRARY_PATH")) or any(map(host.exists, NVIDIA_SIGNS))


def _waiting_is_likely(host: Host, smoke: bool) -> bool:
    """Whether some probe will wait for a child. Where none does, threads only take turns, which costs 2 ms."""
    if ONE_AT_A_TIME and "_pytest.assertion.rewrite" in sys.modules:
        return False
    return smoke or host.platform != "linux" or nvidia_sign(host)


def _job(probe: Probe, host: Host, log: Log, snapshot: Snapshot) -> Any:
    """A probe with the places for its results, for the runner."""
    from envcheck.probes.runner import Job

    def work() -> Callable[[], None]:
        module = __import__(f"{__name__}.{probe.module}", fromlist=(probe.function,))
        extra = (snapshot.stack.packages,) if probe.packages else ()
        result = getattr(module, probe.function)(host, log, *extra)
        values = result if len(probe.places) > 1 else (result,)
        if len(values) != len(probe.places):
            raise TypeError(f"the probe gave {len(values)} results for {len(probe.places)} places")

        def store() -> None:
            for (owner, attribute), value in zip(probe.places, values, strict=True):
                setattr(getattr(snapshot, owner) if owner else snapshot, attribute, value)

        return store

    def fail(status: str, why: str, milliseconds: float) -> None:
        reason = f"the probe {probe.name!r} {'failed' if status == 'failed' else 'did not finish'}: {why}"
        if status == "skipped":
            reason = why
        log.add(probe.name, status, why, f"{probe.module}.{probe.function}", milliseconds)
        for owner, attribute in probe.places:
            part = getattr(snapshot, owner) if owner else snapshot
            setattr(part, attribute, unknown_like(getattr(part, attribute), reason))

    def done(milliseconds: float) -> None:
        log.add(probe.name, "ok", "", f"{probe.module}.{probe.function}", milliseconds)

    return Job(probe.name, work, fail, done)


def unknown_part(cls: type[S], why: str) -> S:
    """A part of a snapshot with every fact unknown for this reason; what is no fact keeps its default."""
    part = cls()
    unknown = Unknown(why)
    for name in cls.__struct_fields__:
        value = getattr(part, name)
        if value is NOT_STATED:
            setattr(part, name, unknown)
        elif hasattr(value, "__struct_fields__"):
            setattr(part, name, unknown_part(type(value), why))
    return part


def unknown_like(value: Any, why: str) -> Any:
    """What stands in the place of a value that was not found: an unknown part, an empty list or an unknown fact."""
    if isinstance(value, list):
        return []
    if isinstance(value, Unknown) or not hasattr(value, "__struct_fields__"):
        return Unknown(why)
    return unknown_part(type(value), why)


def _scrub(snapshot: Snapshot, host: Host) -> None:
    from envcheck.probes.redact import hostname, scrub

    env = host.env
    user = env.get("USER") or env.get("LOGNAME") or env.get("USERNAME") or ""
    # The names of this machine say nothing about a recorded one, which was redacted when it was made.
    live = not hasattr(host, "folder")
    scrub(snapshot, env.get("HOME") or env.get("USERPROFILE") or "", hostname() if live else "", user)
