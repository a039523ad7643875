"""What the answer of the query ``nvml`` (see :mod:`envcheck.probes.nvml`) says of the driver and of the GPUs.

The answer may come from a recording, so nothing is taken for granted of its shape.
"""

from __future__ import annotations

from typing import Any

from envcheck.core.snapshot import Absent, DriverSource, Gpu, NvidiaDriver, Text, Unknown
from envcheck.probes.log import Log
from envcheck.probes.nvidia import file_version
from envcheck.probes.pci import normal_bus
from envcheck.versions import is_dotted

MIB = 1024 * 1024


def cuda_version(number: Any) -> str | None:
    """12040 -> ``12.4``."""
    if isinstance(number, int) and 1000 <= number < 1_000_000:
        return f"{number // 1000}.{number % 1000 // 10}"
    return None


def _section(answer: dict[str, Any], name: str) -> dict[str, Any]:
    value = answer.get(name)
    return value if isinstance(value, dict) else {}


def take(answer: dict[str, Any], driver: NvidiaDriver, log: Log) -> tuple[list[Gpu] | Absent | Unknown, str]:
    """Sources 3: facts of the child's answer; the GPUs and, in words, why it told none."""
    stopped = how_it_ended(answer)
    libcuda, module, nvml = _section(answer, "libcuda"), _section(answer, "module"), _section(answer, "nvml")

    served = cuda_version(libcuda.get("version"))
    failure = str(libcuda.get("error") or _crash(answer, "cuDriverGetVersion", LOAD) or stopped or "not told")
    if libcuda.get("code") == 34:
        failure += ": it is a stub library"
    _add(driver, log, "cuDriverGetVersion", "cuda", served or Unknown(failure[:200]))
    path = libcuda.get("path")
    if isinstance(path, str) and path:
        driver.libcuda, driver.user_mode = path, file_version(path)
    _take_cuda(answer, driver, log)

    if "error" in module:
        binding = f"nvidia-ml-py could not be imported: {str(module['error'])[:200]}"
    elif module.get("missing"):
        binding = "the module pynvml is not nvidia-ml-py: it lacks " + ", ".join(map(str, module["missing"]))[:200]
        if module.get("deprecated"):
            binding += ' (the deprecated distribution "pynvml" shadows it)'
    else:
        binding = ""
    if binding:
        log.add("driver", "failed", binding, str(module.get("path", "pynvml")))
    init = nvml.get("init", "")
    if binding or stopped or init == "":
        driver.nvml_error = Unknown(binding or stopped or "NVML was not asked")
    if init is None:
        if not stopped:
            driver.nvml_error = Absent("NVML answered")
    elif init != "":
        driver.nvml_error = nvml_error(init)
    why = driver.nvml_error if isinstance(driver.nvml_error, str) else driver.nvml_error.why
    gpus = from_nvml(answer)
    _log_errors(answer, log)
    if isinstance(gpus, Absent):
        why = gpus.why.removeprefix("NVML: ")
    if not nvml:
        return Unknown(f"NVML: {why}"), f"NVML: {why}"

    for key, source, kind in (("driver", "NVML driver", "kernel"), ("nvml", "NVML library", "user")):
        value = nvml.get(key)
        if isinstance(value, str) and kind == "user":
            # 12.550.54.15: the CUDA major that it was built with comes first.
            first, _, rest = value.partition(".")
            value = rest if first.isdigit() and len(first) < 3 and is_dotted(rest) else value
        told = isinstance(value, str) and is_dotted(value)
        _add(driver, log, source, kind, str(value) if told else Unknown(_reason(nvml, key, why)))
    _add(driver, log, "NVML CUDA", "cuda", cuda_version(nvml.get("cuda")) or Unknown(_reason(nvml, "cuda", why)))
    return gpus, f"NVML: {why}"


def _log_errors(answer: dict[str, Any], log: Log) -> None:
    """What NVML did not tell of a GPU; that a GPU does not support something is no failure."""
    rows = answer.get("gpus")
    for row in rows if isinstance(rows, list) else ():
        errors = row.get("errors") if isinstance(row, dict) else None
        for name, error in errors.items() if isinstance(errors, dict) else ():
            if nvml_code(error) != 3 or name in ("handle", "mig_instances"):
                log.add("gpus", "failed", f"GPU {row.get('index')}, {name}: {nvml_error(error)}", "NVML")


LOAD = "dlopen libcuda"
"""The step in which libcuda is loaded."""


def how_it_ended(answer: dict[str, Any]) -> str:
    """Why the answer is not whole, in words; empty where every question was asked and answered."""
    crashes = answer.get("crashes")
    ended, during = str(answer.get("ended")), str(answer.get("during") or "")
    if isinstance(crashes, list):
        # cuInit is asked last and of libcuda: what becomes of it says nothing of NVML.
        pairs = [crash for crash in crashes if isinstance(crash, list) and len(crash) == 2]
        of_nvml = [pair for pair in pairs if not str(pair[0]).startswith(("cu", LOAD))]
        if of_nvml:
            during, ended = map(str, of_nvml[0])
    if ended == "done":
        return ""
    return f"the child process ended with {ended}" + (f" during {during}" if during else "")


def _crash(answer: dict[str, Any], *steps: str) -> str:
    """How a process ended in one of these steps; empty where none did."""
    crashes = answer.get("crashes")
    rows = [*crashes] if isinstance(crashes, list) else []
    rows.append([answer.get("during"), answer.get("ended")])
    return next((str(row[1]) for row in rows if isinstance(row, list) and len(row) == 2 and row[0] in steps), "")


def _take_cuda(answer: dict[str, Any], driver: NvidiaDriver, log: Log) -> None:
    """What cuInit and cuDeviceGetCount said to a process of this environment."""
    cuda, libcuda = _section(answer, "cuda"), _section(answer, "libcuda")
    init, crashed = cuda.get("init", ""), _crash(answer, "cuInit", LOAD)
    if isinstance(init, dict) and isinstance(init.get("code"), int):
        driver.cu_init = f"{init['code']} {str(init.get('name') or '')[:80]}".strip()
    elif crashed.startswith("signal"):
        driver.cu_init = crashed
    elif init is None and "init" in cuda:
        driver.cu_init = Absent("cuInit succeeded")
    elif libcuda.get("unloadable") is True and not crashed:
        driver.cu_init = f"libcuda cannot be loaded: {str(libcuda.get('error')).rpartition('/')[2][:120]}"
    else:
        told = f"cuInit: {crashed}" if crashed else cuda.get("error") or libcuda.get("error")
        driver.cu_init = Unknown(str(told)[:200] if told else how_it_ended(answer) or "cuInit was not asked")
    count = cuda.get("count")
    if isinstance(count, int) and 0 <= count <= 1024:
        driver.cuda_devices = count
    elif isinstance(driver.cu_init, str):
        driver.cuda_devices = 0
    else:
        why = driver.cu_init.why if isinstance(driver.cu_init, Unknown) else cuda.get("error")
        if not why:
            why = "cuDeviceGetCount was not asked" if count is None else f"cuDeviceGetCount gave {count}"
        driver.cuda_devices = Unknown(str(why)[:200])
    if "init" in cuda or crashed or isinstance(driver.cu_init, str):
        told = driver.cu_init if isinstance(driver.cu_init, str) else driver.cu_init.why
        log.add("driver", "ok" if isinstance(driver.cu_init, Absent) else "failed", told, "cuInit")


def _reason(nvml: dict[str, Any], key: str, why: str) -> str:
    error = _section(nvml, "errors").get(key)
    if not error and key in nvml:
        return f"NVML gave {str(nvml[key])[:40]!a}"
    return f"NVML: {nvml_error(error) if error else why}"


def _add(driver: NvidiaDriver, log: Log, source: str, kind: str, value: Text) -> None:
    driver.sources.append(DriverSource(source=source, kind=kind, value=value))
    known = isinstance(value, str)
    log.add("driver", "ok" if known else "failed", value if isinstance(value, str) else value.why, source)


def from_nvml(answer: dict[str, Any]) -> list[Gpu] | Absent | Unknown:
    """The GPUs in the value of the query ``nvml``; what it does not tell is unknown, with NVML's reason."""
    nvml = answer.get("nvml")
    count = nvml.get("count") if isinstance(nvml, dict) else None
    rows = answer.get("gpus")
    left_out = "it was not asked" if answer.get("ended") == "done" else "NVML did not get that far"
    found = [_from_nvml(row, left_out) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if found:
        return found
    if count == 0:
        return Absent("NVML: 0 devices")
    return Unknown("NVML told no devices")


def _from_nvml(row: dict[str, Any], left_out: str) -> Gpu:
    errors = row.get("errors") if isinstance(row.get("errors"), dict) else {}

    def missing(name: str) -> Unknown:
        error = (errors or {}).get(name) or (errors or {}).get("handle")
        if error:
            return Unknown(f"NVML: {nvml_error(error)}")
        return Unknown(f"NVML gave {str(row[name])[:40]!a}" if name in row else left_out)

    def text(name: str) -> Text:
        value = row.get(name)
        sound = isinstance(value, str) and value and value.isprintable() and "\ufffd" not in value
        return str(value) if sound else missing(name)

    index = row.get("index")
    gpu = Gpu(index=index if isinstance(index, int) else 0, vendor="nvidia")
    gpu.name, gpu.compute_capability = text("name"), text("cc")
    if isinstance(gpu.compute_capability, str) and not is_capability(gpu.compute_capability):
        gpu.compute_capability = missing("cc")
    if isinstance(gpu.name, str):
        gpu.name = gpu.name.removesuffix(" (nvgpu)")
    gpu.uuid, gpu.compute_mode = text("uuid"), text("compute_mode")
    if isinstance(gpu.uuid, str) and not gpu.uuid.startswith("GPU-"):
        gpu.uuid = missing("uuid")
    prefixes = row.get("uuid_prefixes")
    gpu.uuid_prefixes = [prefix for prefix in prefixes if isinstance(prefix, str)] if isinstance(prefixes, list) else []
    address, memory = row.get("pci"), row.get("memory")
    if isinstance(address, list) and len(address) == 2 and _is_address(str(address[0])):
        gpu.pci_bus = normal_bus(str(address[0]))
        gpu.pci_id = str(address[1]) if str(address[1]).startswith("10de:") else missing("pci")
    else:
        gpu.pci_bus = gpu.pci_id = missing("pci")
    gpu.memory_mib, gpu.memory_free_mib = sizes(memory) or (missing("memory"), missing("memory"))
    mode = row.get("mig")
    if mode in (0, 1):
        gpu.mig = "enabled" if mode else "disabled"
        instances = row.get("mig_instances")
        if not mode:
            gpu.mig_instances = 0
        else:
            sensible = isinstance(instances, int) and 0 <= instances < 64
            gpu.mig_instances = int(instances or 0) if sensible else missing("mig_instances")
    elif nvml_code((errors or {}).get("mig")) == 3:
        gpu.mig = Absent("this GPU has no MIG")
    else:
        gpu.mig = gpu.mig_instances = missing("mig")
    from envcheck.probes.nvml_state import take_state

    take_state(gpu, row, missing, left_out)
    return gpu


def is_capability(text: str) -> bool:
    """``8.6``; what a broken driver gives may be any numbers."""
    major, dot, minor = text.partition(".")
    return bool(dot) and major.isdigit() and minor.isdigit() and 0 < len(major) < 3 and len(minor) < 3 and major != "0"


def sizes(memory: Any) -> tuple[int, int] | None:
    """Total and free MiB of [bytes, bytes free]; None for what can be no memory of a GPU."""
    if isinstance(memory, list) and len(memory) == 2 and all(isinstance(size, int) for size in memory):
        total, free = memory
        if 0 <= free <= total < 1 << 50 and total:
            return total // MIB, free // MIB
    return None


def _is_address(text: str) -> bool:
    """``00000000:07:00.0``."""
    parts = text.replace(".", ":").split(":")
    return len(parts) == 4 and all(part and all(c in "0123456789abcdefABCDEF" for c in part) for part in parts)


def nvml_code(error: Any) -> int | None:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None


def nvml_error(error: Any) -> str:
    """``18 Driver/library version mismatch``."""
    if not isinstance(error, dict):
        return str(error)[:200]
    code = nvml_code(error)
    return f"{'' if code is None else f'{code} '}{str(error.get('text', ''))[:200]}".strip()
