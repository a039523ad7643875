"""The NVIDIA driver from every source, and the GPUs.

Where it looks, each an attempt in the log and a :class:`~envcheck.core.snapshot.DriverSource`:

1. /proc/driver/nvidia/version and /sys/module/nvidia/version: the loaded kernel module.
2. The files behind libcuda.so.1 and libnvidia-ml.so.1, in the loader's order: LD_LIBRARY_PATH, /etc/ld.so.cache, the
   default folders; then the known folders of WSL, Jetson and cuda-compat. Stubs are named as such.
3. One child process: cuDriverGetVersion, and NVML (kernel module, own version, CUDA). It is started only where a file
   of a driver exists.
4. nvidia-smi, when NVML gave no answer, or of a GPU none to what nvidia-smi tells too.

The names of the sources that are no paths: ``NVML driver``, ``NVML library``, ``NVML CUDA``, ``cuDriverGetVersion``,
``nvidia-smi driver``, ``nvidia-smi CUDA``, ``nvidia-smi NVML library`` (its last part is cut off: ``560.35``).
"""

from __future__ import annotations

from typing import Any

from envcheck.core.snapshot import Absent, DriverSource, Gpu, NvidiaDriver, Text, Unknown
from envcheck.probes import gpus as all_gpus
from envcheck.probes import loader, nvidia_nodes
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import is_dotted

LINK = ("generation", "generation_max", "width", "width_max")
PROC_VERSION = "/proc/driver/nvidia/version"
SYS_VERSION = "/sys/module/nvidia/version"
LIBCUDA, LIBNVML = "libcuda.so.1", "libnvidia-ml.so.1"


def probe(host: Host, log: Log) -> tuple[NvidiaDriver, list[Gpu] | Absent | Unknown]:
    """The driver and the GPUs; never raises for what it finds."""
    driver = NvidiaDriver()
    nvidia_nodes.device_nodes(host, log, driver)
    if host.platform == "darwin":
        none = Absent("macOS has no NVIDIA driver")
        driver.version = driver.cuda = driver.user_mode = driver.libcuda = none
        driver.nvml_error = Unknown("not asked: macOS has no NVIDIA driver")
        return driver, all_gpus.merge(host, log, none, none.why, driver_here=False)
    module = _kernel_module(host, log, driver)
    files = _user_mode(host, log, driver)
    if not (module or files or _windows_driver(host)):
        why = "there is no NVIDIA driver here"
        log.add("driver", "skipped", why, "NVML")
        driver.version = Absent("no nvidia kernel module is loaded and no file of a driver was found")
        if host.platform == "win32":
            driver.version = Absent("no nvcuda.dll and no nvml.dll in System32")
            driver.libcuda = driver.user_mode = driver.version
        driver.cuda = Absent(why)
        driver.nvml_error = Unknown(f"not asked: {why}")
        return driver, all_gpus.merge(host, log, Unknown(why), why, driver_here=False)
    from envcheck.probes import nvml_facts

    gpus, why = nvml_facts.take(_ask_nvml(host, log), driver, log)
    if not isinstance(driver.nvml_error, Absent) or isinstance(gpus, Unknown) or _has_gaps(gpus):
        gpus, why = _take_smi(host, log, driver, gpus, why)
    _conclude(host, driver)
    driver.fabric_manager = nvidia_nodes.fabric_manager(host, log, driver.nodes, gpus)
    return driver, all_gpus.merge(host, log, gpus, why, driver_here=True)


def parse_proc_version(text: str) -> str | None:
    """Version in /proc/driver/nvidia/version, of the old and the open kernel module; None when there is none.

    ``NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct ...``
    ``NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (...)``
    """
    for line in text.splitlines():
        if line.startswith("NVRM version:"):
            return next((word for word in line.split()[2:] if is_dotted(word)), None)
    return None


def _kernel_module(host: Host, log: Log, driver: NvidiaDriver) -> bool:
    """Sources 1; is the module loaded?"""
    loaded = False
    if host.platform != "linux":
        return loaded
    for path in (PROC_VERSION, SYS_VERSION):
        value: Text = Unknown(f"{path} could not be read")
        with log.attempt("driver", path) as attempt:
            try:
                text = host.read(path, 4096)
            except FileNotFoundError:
                value = Absent("not there")
                raise
            loaded = True
            if path == PROC_VERSION:
                driver.module = nvidia_nodes.module_kind(text)
            version = parse_proc_version(text) if path == PROC_VERSION else text.strip()
            if version and is_dotted(version):
                value = version
                attempt.found(version)
            else:
                value = Unknown(f"reads {text.strip()[:80]!r}")
                attempt.failed(f"no version in it: {text.strip()[:80]!r}")
        driver.sources.append(DriverSource(source=path, kind="kernel", value=value))
    return loaded


def _user_mode(host: Host, log: Log, driver: NvidiaDriver) -> bool:
    """Sources 2: libcuda and libnvidia-ml on disk; is there any?"""
    if host.platform != "linux":
        driver.libcuda = driver.user_mode = Unknown("only NVML tells it on this system")
        return False
    found = loader.find(host, (LIBCUDA, LIBNVML))
    for name in (LIBCUDA, LIBNVML):
        for file in found[name]:
            version = file_version(file.real)
            driver.sources.append(DriverSource(source=file.real, kind="user", value=version))
            told = version if isinstance(version, str) else version.why
            log.add("driver", "ok", f"{name}: {told}, {file.via}", file.path)
        if not found[name]:
            driver.sources.append(DriverSource(source=name, kind="user", value=Absent("no such file was found")))
            log.add("driver", "absent", "no such file was found", name)
    used = next((file for file in found[LIBCUDA] if file.via != "unused"), None)
    if used is not None:
        driver.libcuda, driver.user_mode = used.real, file_version(used.real)
    else:
        lying = ", ".join(file.path for file in found[LIBCUDA])
        why = f"the loader finds no {LIBCUDA}" + (f"; it does not look at {lying}" if lying else "")
        driver.libcuda = driver.user_mode = Absent(why)
    return any(found.values())


def file_version(path: str) -> Text:
    """Version in a file name; Jetson's libcuda.so.1.1 and WSL's libcuda.so.1 tell none, a stub is no driver."""
    if "/stubs/" in path:
        return Absent(f"{path} is a stub: for linking only")
    version = loader.version_in_name(path.rpartition("/")[2])
    if version is None or int(version.partition(".")[0]) < 100:
        return Unknown(f"the file name {path.rpartition('/')[2]} tells no driver version")
    return version


def _windows_driver(host: Host) -> bool:
    if host.platform != "win32":
        return False
    system = host.env.get("SystemRoot", r"C:\Windows") + r"\System32"
    return any(host.exists(rf"{system}\{name}") for name in ("nvml.dll", "nvcuda.dll", "nvidia-smi.exe"))


def _ask_nvml(host: Host, log: Log) -> dict[str, Any]:
    with log.attempt("driver", "NVML and libcuda in a child process") as attempt:
        try:
            answer = host.query("nvml")
        except FileNotFoundError:
            attempt.absent("not in the recording")
            return {"ended": "not started: not in the recording"}
        except ValueError as error:
            attempt.failed(str(error))
            return {"ended": f"failed: {error}"}
        if not isinstance(answer, dict):
            attempt.failed("not an object")
            return {"ended": "failed: not an object"}
        ended, crashes = str(answer.get("ended")), answer.get("crashes")
        steps = [*crashes] if isinstance(crashes, list) else []
        if ended != "done":
            steps.append([answer.get("during"), ended])
        if not steps:
            attempt.found("done")
        else:
            rows = [row for row in steps if isinstance(row, list) and len(row) == 2]
            told = "; ".join(f"{row[1]} during {row[0]}" if row[0] else str(row[1]) for row in rows)
            late = all(str(row[1]).startswith(("timeout", "no answer")) for row in rows)
            attempt.failed(told, "timeout" if late else "failed")
        return answer
    return {"ended": "failed: the query failed"}


def _has_gaps(gpus: list[Gpu] | Absent) -> bool:
    """Did NVML fail to tell something that nvidia-smi might? "Not Supported" is an answer, nvidia-smi has no other."""
    for gpu in gpus if isinstance(gpus, list) else ():
        facts = (gpu.name, gpu.compute_capability, gpu.memory_mib, gpu.pci_bus, gpu.uuid, gpu.mig, gpu.mig_instances,
                 gpu.compute_mode, gpu.ecc, gpu.persistence, *(getattr(gpu.pcie, name) for name in LINK))  # fmt: skip
        # Without a name and a place NVML did not even give a handle of it.
        lost = isinstance(gpu.name, Unknown) and isinstance(gpu.pci_bus, Unknown)
        answers = ("not stated",) if lost else ("not stated", "NVML: 3 ", "NVML: 13 ")
        if any(isinstance(fact, Unknown) and not fact.why.startswith(answers) for fact in facts):
            return True
    return False


def _take_smi(
    host: Host, log: Log, driver: NvidiaDriver, gpus: list[Gpu] | Absent | Unknown, why: str
) -> tuple[list[Gpu] | Absent | Unknown, str]:
    """Source 4. What NVML told before it failed is kept where nvidia-smi tells nothing."""
    from envcheck.probes.nvidia_smi import ask

    smi = ask(host, log)
    if smi is None:
        return gpus, why
    for source, kind, value in (
        ("nvidia-smi driver", "kernel", smi.driver),
        ("nvidia-smi CUDA", "cuda", smi.cuda),
        ("nvidia-smi NVML library", "user", smi.library),
    ):
        if kind != "user" or isinstance(value, str):
            driver.sources.append(DriverSource(source=source, kind=kind, value=value))
    if isinstance(gpus, list):
        told = smi.gpus if isinstance(smi.gpus, list) else []
        for gpu in gpus:
            same = [one for one in told if isinstance(gpu.pci_bus, str) and one.pci_bus == gpu.pci_bus]
            all_gpus.fill(gpu, next(iter(same or [one for one in told if one.index == gpu.index]), None))
        return gpus + [one for one in told if one.index > max(gpu.index for gpu in gpus)], why
    if not isinstance(smi.gpus, Unknown):
        return smi.gpus, "nvidia-smi"
    return gpus, f"{why}; {smi.error or 'nvidia-smi told nothing'}"


def _conclude(host: Host, driver: NvidiaDriver) -> None:
    """The driver's version and the CUDA it serves, from the best source that told them."""
    kernel = [source for source in driver.sources if source.kind == "kernel"]
    driver.version = next((source.value for source in kernel if isinstance(source.value, str)), driver.version)
    if isinstance(driver.version, str) and int(driver.version.partition(".")[0]) < 100:
        # JetPack 5 and older: the nvidia module bears the number of the L4T release (35.3.1), no driver branch.
        driver.version = Unknown(f"the driver is part of L4T {driver.version}")
    elif not isinstance(driver.version, str):
        unreadable = [source.value for source in kernel if isinstance(source.value, Unknown)]
        if host.platform == "win32" or host.exists("/dev/dxg"):
            told = unreadable[-1].why if unreadable else "NVML was not asked"
            driver.version = Unknown(f"only the Windows driver tells it: {told}")
        elif any(isinstance(source.value, Absent) and source.source == PROC_VERSION for source in kernel):
            driver.version = Absent("the nvidia kernel module is not loaded")
        else:
            driver.version = unreadable[0] if unreadable else Unknown("no source told it")
    cuda = [source.value for source in driver.sources if source.kind == "cuda"]
    known = next((value for value in cuda if isinstance(value, str)), None)
    if known is not None:
        driver.cuda = known
    elif isinstance(driver.libcuda, Absent):
        driver.cuda = Absent(driver.libcuda.why)
    elif cuda:
        driver.cuda = cuda[0]
