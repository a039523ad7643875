"""Memory, /dev/shm, and what the cgroup leaves of memory and CPUs."""

from __future__ import annotations

from envcheck.core.snapshot import Absent, Memory, Number, Text, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log

MIB = 1024 * 1024
CGROUPS = "/sys/fs/cgroup"
NO_LIMIT = 1 << 60
"""cgroup v1 writes "no limit" as the largest multiple of the page size below 2**63."""
MAX_DEPTH = 32


def probe(host: Host, log: Log) -> Memory:
    """1. Linux: /proc/meminfo; elsewhere psutil. 2. statvfs of /dev/shm. 3. The cgroup, v2 and v1, of this process."""
    total: Number = Unknown("the system does not say")
    available: Number = Unknown("the system does not say")
    if host.platform == "linux":
        with log.attempt("memory", "/proc/meminfo") as attempt:
            values = meminfo(host.read("/proc/meminfo", 1 << 16))
            # MemAvailable exists since Linux 3.14; MemFree alone would be far too low.
            total = values.get("MemTotal", total)
            available = values.get("MemAvailable", available)
            attempt.found(f"{total} MiB")
    else:
        with log.attempt("memory", "psutil") as attempt:
            try:
                sizes = host.query("memory")
            except (ValueError, ImportError) as error:
                raise OSError(5, str(error)) from None
            total, available = sizes["total"] // MIB, sizes["available"] // MIB
            attempt.found(f"{total} MiB")
    memory = Memory(total_mib=total, available_mib=available)
    if host.platform != "linux":
        why = f"{host.platform} has none"
        memory.shm_mib = memory.limit_mib = memory.cpu_limit = Absent(why)
        return memory
    memory.shm_mib = Absent("/dev/shm is not there")
    with log.attempt("shared memory", "/dev/shm") as attempt:
        memory.shm_mib = int(host.query("statvfs", "/dev/shm")["total"]) // MIB
        attempt.found(f"{memory.shm_mib} MiB")
    limit, cpus = _limits(host, log)
    if isinstance(limit, int) and isinstance(total, int) and limit >= total:
        limit = Absent(f"the cgroup's limit, {limit} MiB, is not below the memory of the machine")
    memory.limit_mib, memory.cpu_limit = limit, cpus
    return memory


def meminfo(text: str) -> dict[str, int]:
    """MiB by key, of the lines that are in kB."""
    values = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] == "kB" and fields[1].isdecimal() and len(fields[1]) < 19:
            values[fields[0].rstrip(":")] = int(fields[1]) // 1024
    return values


def _limits(host: Host, log: Log) -> tuple[Number, Text]:
    """The least limit of memory (MiB) and of CPUs on the way from this process's cgroup to the root."""
    memory: Number = Unknown("/proc/self/cgroup cannot be read")
    cpus: Text = Unknown("/proc/self/cgroup cannot be read")
    with log.attempt("cgroup", "/proc/self/cgroup") as attempt:
        folders = cgroup_folders(host.read("/proc/self/cgroup", 1 << 16))
        bytes_limits: list[int] = []
        cpu_limits: list[float] = []
        for kind, base, path in folders:
            for folder in ancestors(base, path):
                if kind == "unified":
                    bytes_limits += _numbers(_read(host, f"{folder}/memory.max"))
                    cpu_limits += cpu_max(_read(host, f"{folder}/cpu.max"))
                elif kind == "memory":
                    bytes_limits += _numbers(_read(host, f"{folder}/memory.limit_in_bytes"))
                else:
                    quota = _read(host, f"{folder}/cpu.cfs_quota_us")
                    cpu_limits += cpu_max(f"{quota} {_read(host, f'{folder}/cpu.cfs_period_us')}" if quota else "")
        bytes_limits = [limit for limit in bytes_limits if 0 < limit < NO_LIMIT]
        memory = min(bytes_limits) // MIB if bytes_limits else Absent("no cgroup limits the memory")
        cpus = f"{min(cpu_limits):g}" if cpu_limits else Absent("no cgroup limits the CPUs")
        attempt.found(", ".join(f"{kind} {path}" for kind, _, path in folders))
    return memory, cpus


def cgroup_folders(text: str) -> list[tuple[str, str, str]]:
    """(``unified``, ``memory`` or ``cpu``; folder of the hierarchy; path in it) from /proc/self/cgroup.

    ``0::/path`` is v2; ``4:memory:/path`` and ``1:cpu,cpuacct:/path`` are v1. Both can be there (hybrid): v2 is then
    mounted below ``unified``, or holds no controllers, and finding no file there is harmless.
    """
    folders = []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            folders.append(("unified", CGROUPS, path))
        wanted = [name for name in controllers.split(",") if name in ("memory", "cpu")]
        folders += [(name, f"{CGROUPS}/{name}", path) for name in wanted]
    return folders


def ancestors(base: str, path: str) -> list[str]:
    """The folder of a cgroup and of all that contain it.

    A path that goes above the root of the namespace (``/../..``) or names a group of the host that is not mounted
    here (Docker with v1) simply has no files: the root then stands for the container.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        parts = []
    parts = parts[:MAX_DEPTH]
    return ["/".join([base, *parts[:count]]) for count in range(len(parts), -1, -1)]


def cpu_max(text: str) -> list[float]:
    """``200000 100000`` (quota and period in microseconds) is [2.0]; ``max 100000`` and ``-1 100000`` are no limit."""
    fields = text.split()
    if len(fields) == 2 and all(field.isdecimal() and len(field) < 19 for field in fields):
        quota, period = int(fields[0]), int(fields[1])
        if quota and period:
            return [round(quota / period, 3)]
    return []


def _numbers(text: str) -> list[int]:
    return [int(text)] if text.isdecimal() and len(text) < 20 else []


def _read(host: Host, path: str) -> str:
    try:
        return host.read(path, 256).strip()
    except OSError:
        return ""
