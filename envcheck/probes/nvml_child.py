"""Asks libcuda and NVML; a stand-alone script, run as ``python -I -S -B nvml_child.py '{"path": ["folder", ...]}'``.

Both libraries may hang or end the process when a driver is broken, so nothing of envcheck's own process loads them.
Every fact is one JSON line, written as soon as it is known; before each call stands a line ``{"begin": step}``, so
what was reached before a crash is kept and the step that crashed is known. The last line is ``{"done": true}``:
without it the answer is not complete, whatever the exit code says. A step that takes longer than its share ends the
process by SIGALRM (where there are signals).

The argument is a JSON object: ``path``, folders to append to ``sys.path`` (-I and -S leave the site-packages out);
``skip``, steps to leave out because an earlier run ended there, and how; ``patience``, seconds that one step may take.

Order: libcuda and cuDriverGetVersion; NVML's versions; of every GPU what it is; then of every GPU in what state; last
cuInit, which CUDA_VISIBLE_DEVICES of this process's environment bears on and which is the likeliest to crash.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

NEEDED = (
    "nvmlInit", "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetCount",
    "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetCudaComputeCapability",
)  # fmt: skip
"""What a usable ``pynvml`` module has; old releases of the deprecated distribution of that name lack some."""

COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
"""nvmlComputeMode_t, in the words of nvidia-smi."""

MAX_GPUS, MAX_MIG, MAX_PROCESSES = 256, 16, 1024
SLOW_STEPS = {"nvmlInit": 1.75, "cuInit": 2.0, "dlopen libcuda": 1.25, "cuDriverGetVersion": 1.25}
"""Steps that wake up every GPU may take so many times longer than others."""


class Skipped(Exception):
    """An earlier process ended in this step."""


class Talk:
    """The pipe to envcheck: a private copy of standard output, since a library may print to the real one."""

    def __init__(self, skip: dict[str, str], patience: float) -> None:
        self.skip, self.patience, self.step = skip, patience, ""
        try:
            self.pipe = os.dup(1)
            os.dup2(2, 1)
        except OSError:
            self.pipe = 1
        try:
            import signal

            # The default action ends the process even while a library holds everything else up.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
            self.alarm: Any = lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
        except (ImportError, AttributeError, OSError, ValueError):
            self.alarm = lambda seconds: None  # Windows: only envcheck's deadline ends a hang

    def say(self, record: dict[str, Any]) -> None:
        data = json.dumps(record).encode() + b"\n"
        while data:
            data = data[os.write(self.pipe, data) :]

    def begin(self, step: str) -> None:
        """Raises Skipped for a step that is to be left out."""
        self.step = step
        ended = self.skip.get(step) or self.skip.get(step.partition(" ")[0])
        if ended:
            raise Skipped(f"asked, it ended the process: {ended}")
        self.say({"begin": step})
        self.alarm(self.patience * SLOW_STEPS.get(step, 1.0))


def text(value: Any) -> str:
    """A string of NVML: ``bytes`` or ``str``, by the age of the binding."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def readable(told: str) -> str:
    """The text, unless it is none."""
    return told if told.isprintable() and "\ufffd" not in told else ""


def loaded_from(name: str) -> str | None:
    """The file that this process has mapped for a library (Linux)."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                path = line[line.find("/") :].rstrip("\n") if "/" in line else ""
                if os.path.basename(path).startswith(name):
                    return path
    except OSError:
        pass
    return None


class Cuda:
    """libcuda: what can be asked without a context."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.library: Any = None

    def version(self) -> None:
        """Load the library, and cuDriverGetVersion: needs no cuInit and no device."""
        import ctypes

        try:
            self.talk.begin("dlopen libcuda")
            self.library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
            self.talk.begin("cuDriverGetVersion")
            version = ctypes.c_int(0)
            code = int(self.library.cuDriverGetVersion(ctypes.byref(version)))
        except Skipped:
            return
        except (OSError, AttributeError) as error:
            # A file that is there and no library; none at all is a machine without a driver.
            absent = "cannot open shared object file" in str(error) or self.library is not None
            self.talk.say({"libcuda": {"error": str(error), **({} if absent else {"unloadable": True})}})
            return
        told = {"version": version.value} if code == 0 else self.failure(code)
        path = loaded_from("libcuda.so")
        self.talk.say({"libcuda": {**told, "path": path} if path else told})

    def failure(self, code: int) -> dict[str, Any]:
        name = self.name(code)
        return {"error": f"CUDA error {code}" + (f" {name}" if name else ""), "code": code}

    def name(self, code: int) -> str:
        """``CUDA_ERROR_NO_DEVICE``; empty where libcuda does not say."""
        import ctypes

        try:
            self.talk.begin("cuGetErrorName")
            pointer = ctypes.c_char_p()
            if self.library.cuGetErrorName(code, ctypes.byref(pointer)) == 0 and pointer.value:
                return readable(text(pointer.value))[:80]
        except (Skipped, AttributeError):
            pass
        return ""

    def devices(self) -> None:
        """cuInit and what it offers to this process. It makes no context."""
        if self.library is None:
            return
        import ctypes

        try:
            self.talk.begin("cuInit")
            code = int(self.library.cuInit(0))
            if code:
                self.talk.say({"cuda": {"init": {"code": code, "name": self.name(code)}}})
                return
            self.talk.say({"cuda": {"init": None}})
            self.talk.begin("cuDeviceGetCount")
            count = ctypes.c_int(0)
            code = int(self.library.cuDeviceGetCount(ctypes.byref(count)))
            self.talk.say({"cuda": self.failure(code) if code else {"count": count.value}})
        except (Skipped, AttributeError) as error:
            self.talk.say({"cuda": {"error": f"{self.talk.step}: {error}"}})


class Nvml:
    def __init__(self, module: Any, talk: Talk) -> None:
        self.module, self.talk = module, talk

    def call(self, function: str, *arguments: Any, about: str = "") -> Any:
        self.talk.begin(f"{function} {about}".rstrip())
        try:
            return getattr(self.module, function)(*arguments)
        except UnicodeDecodeError as error:
            return text(error.object)

    def error(self, error: BaseException) -> dict[str, Any]:
        """Code and text of what went wrong; the driver's text, which nvidia-smi prints too, before the binding's."""
        code = getattr(error, "value", None)
        if not isinstance(code, int):
            return {"code": None, "text": str(error) or type(error).__name__}
        try:
            told = readable(text(self.call("nvmlErrorString", code))) if code != 13 else "Function Not Found"
        except Exception:
            told = ""
        return {"code": code, "text": told or str(error)}

    def tell(self, key: str, name: str, read: Callable[[], Any]) -> Any:
        """Say one fact or why it is not known; its value, or None."""
        try:
            value = read()
        except Exception as error:
            self.talk.say({key: {"errors": {name: self.error(error)}}})
            return None
        self.talk.say({key: {name: value}})
        return value

    def processes(self, handle: Any, about: str) -> list[list[int]]:
        """[process, bytes or -1] of those that have a CUDA context there, without envcheck itself."""
        import ctypes
        import struct

        for version in ("_v3", "_v2"):
            try:
                function = self.module._nvmlGetFunctionPointer(f"nvmlDeviceGetComputeRunningProcesses{version}")
            except self.module.NVMLError:
                continue  # an older driver
            count, room = ctypes.c_uint(MAX_PROCESSES), ctypes.create_string_buffer(b"\xa5" * 32 * MAX_PROCESSES)
            self.talk.begin(f"nvmlDeviceGetComputeRunningProcesses{version} {about}")
            code = function(handle, ctypes.byref(count), room)
            if code:
                raise self.module.NVMLError(code)
            if count.value > MAX_PROCESSES:
                raise ValueError(f"it counts {count.value} processes")
            # By the release, one takes 16, 24 or 32 bytes under the same name: what was written tells which.
            size = len(room.raw[:-1].rstrip(b"\xa5")) // max(count.value, 1)
            if count.value and size not in (16, 24, 32):
                raise ValueError("its list of processes has a shape of its own")
            rows = [struct.unpack_from("=I4xQ", room, place * size) for place in range(count.value)]
            ours = (os.getpid(), os.getppid())
            return [[pid, used if used < 2**62 else -1] for pid, used in rows if pid not in ours]
        raise self.module.NVMLError(13)

    def fabric(self, handle: Any, about: str) -> list[int]:
        """[state, status] of the GPU's registration with the NVSwitch fabric."""
        import ctypes

        info = self.module.c_nvmlGpuFabricInfo_v2_t()
        self.call("nvmlDeviceGetGpuFabricInfoV", handle, ctypes.byref(info), about=about)
        return [int(info.state) & 0xFF, int(info.status)]

    def reasons(self, handle: Any, about: str) -> int:
        """Why the clocks are held down, as bits."""
        try:
            return int(self.call("nvmlDeviceGetCurrentClocksEventReasons", handle, about=about))
        except Exception as error:
            if getattr(error, "value", 13) != 13:
                raise
            return int(self.call("nvmlDeviceGetCurrentClocksThrottleReasons", handle, about=about))


def import_nvml(talk: Talk) -> Nvml | None:
    # pynvml imports find_library and never calls it; what that module draws in would take half of the time.
    util: Any = type(sys)("ctypes.util")
    util.find_library = None
    try:
        talk.begin("import pynvml")
        sys.modules.setdefault("ctypes.util", util)
        import pynvml
    except Skipped:
        return None
    except Exception as error:
        talk.say({"module": {"error": f"{type(error).__name__}: {error}"}})
        return None
    missing = [name for name in NEEDED if not hasattr(pynvml, name)]
    # nvidia-ml-py is one file; the deprecated distribution "pynvml" is a folder of the same name and wins over it.
    deprecated = hasattr(pynvml, "__path__")
    talk.say({"module": {"path": text(getattr(pynvml, "__file__", "")), "deprecated": deprecated, "missing": missing}})
    return None if missing else Nvml(pynvml, talk)


def ask_nvml(nvml: Nvml) -> None:
    failure = None
    try:
        nvml.call("nvmlInit")
    except Skipped:
        return
    except Exception as error:
        failure = nvml.error(error)
    path = loaded_from("libnvidia-ml.so")
    nvml.talk.say({"nvml": {"init": failure, **({"path": path} if path else {})}})
    # These need no successful nvmlInit, only the library.
    if failure is None or failure["code"] != 12:
        nvml.tell("nvml", "nvml", lambda: text(nvml.call("nvmlSystemGetNVMLVersion")))
        nvml.tell("nvml", "cuda", lambda: int(nvml.call("nvmlSystemGetCudaDriverVersion_v2")))
    if failure is not None:
        return
    nvml.tell("nvml", "driver", lambda: text(nvml.call("nvmlSystemGetDriverVersion")))
    count = nvml.tell("nvml", "count", lambda: int(nvml.call("nvmlDeviceGetCount")))
    handles = []
    # A count that is not told, or is none, is tried: the first number that is no GPU's ends it.
    for index in range(MAX_GPUS if count is None else min(count, MAX_GPUS)):
        try:
            handles.append((index, nvml.call("nvmlDeviceGetHandleByIndex", index, about=str(index))))
        except Exception as error:
            failure = nvml.error(error)
            if failure["code"] in (2, 6) and (count is None or count > MAX_GPUS):
                break
            nvml.talk.say({f"gpu {index}": {"errors": {"handle": failure}}})
            if count is None or count > MAX_GPUS:
                break
            continue
        ask_identity(nvml, *handles[-1])
    for index, handle in handles:
        ask_state(nvml, index, handle)


def numbers(*names: str) -> Callable[[Any], list[int]]:
    return lambda info: [int(getattr(info, name)) for name in names]


def pci(info: Any) -> list[str]:
    number = int(info.pciDeviceId)
    try:
        bus = text(info.busId)
    except UnicodeDecodeError as error:
        bus = text(error.object)
    return [bus, f"{number & 0xFFFF:04x}:{number >> 16 & 0xFFFF:04x}"]


def first(pair: Any) -> int:
    return int(pair[0])  # of the current and the pending mode


NAME, UUID = ("name", "nvmlDeviceGetName", text), ("uuid", "nvmlDeviceGetUUID", text)
MEMORY = ("memory", "nvmlDeviceGetMemoryInfo", numbers("total", "free"))
CAPABILITY = ("cc", "nvmlDeviceGetCudaComputeCapability", lambda pair: f"{pair[0]}.{pair[1]}")
IDENTITY = (NAME, UUID, ("pci", "nvmlDeviceGetPciInfo", pci), CAPABILITY, MEMORY)
SLICES = numbers("gpuInstanceSliceCount", "computeInstanceSliceCount", "memorySizeMB")
INSTANCE = (UUID, NAME, MEMORY, ("slices", "nvmlDeviceGetAttributes", SLICES))
STATE = (
    ("compute_mode", "nvmlDeviceGetComputeMode", lambda mode: COMPUTE_MODES[int(mode)]),
    ("ecc", "nvmlDeviceGetEccMode", first),
    ("persistence", "nvmlDeviceGetPersistenceMode", int),
    ("pcie_generation", "nvmlDeviceGetCurrPcieLinkGeneration", int),
    ("pcie_generation_max", "nvmlDeviceGetMaxPcieLinkGeneration", int),
    ("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", int),
    ("pcie_width_max", "nvmlDeviceGetMaxPcieLinkWidth", int),
    ("virtual", "nvmlDeviceGetVirtualizationMode", int),
    ("model", "nvmlDeviceGetDriverModel", first),
)
"""Fact, function and how its answer is read."""


def ask(nvml: Nvml, key: str, handle: Any, table: tuple[tuple[str, str, Callable[[Any], Any]], ...]) -> None:
    about = key.partition(" ")[2]
    for name, function, read in table:
        nvml.tell(key, name, lambda: read(nvml.call(function, handle, about=about)))  # noqa: B023 - called at once


def ask_identity(nvml: Nvml, index: int, handle: Any) -> None:
    key, about = f"gpu {index}", str(index)
    ask(nvml, key, handle, IDENTITY)
    if nvml.tell(key, "mig", lambda: first(nvml.call("nvmlDeviceGetMigMode", handle, about=about))) == 1:
        nvml.tell(key, "mig_instances", lambda: ask_mig(nvml, index, handle))


def ask_mig(nvml: Nvml, index: int, handle: Any) -> int:
    """The MIG instances that exist, each told under ``mig GPU PLACE``; their count."""
    found = 0
    for place in range(min(int(nvml.call("nvmlDeviceGetMaxMigDeviceCount", handle, about=str(index))), MAX_MIG)):
        about = f"{index} {place}"
        try:
            instance = nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, place, about=about)
        except Exception as error:
            if getattr(error, "value", None) == 6:
                continue  # Not Found: this place is empty
            raise
        found += 1
        ask(nvml, f"mig {about}", instance, INSTANCE)
    return found


def ask_state(nvml: Nvml, index: int, handle: Any) -> None:
    key, about = f"gpu {index}", str(index)
    ask(nvml, key, handle, STATE)
    nvml.tell(key, "throttle", lambda: nvml.reasons(handle, about))
    nvml.tell(key, "fabric", lambda: nvml.fabric(handle, about))
    nvml.tell(key, "processes", lambda: nvml.processes(handle, about))


def main() -> None:
    if os.name == "posix":
        try:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here and leaves no core file
        except (ImportError, OSError, ValueError):
            pass
    wanted = json.loads(sys.argv[1])
    for folder in wanted.get("path", ()):
        if folder not in sys.path:
            sys.path.append(folder)
    talk = Talk(wanted.get("skip", {}), float(wanted.get("patience", 4.0)))
    cuda = Cuda(talk)
    cuda.version()
    nvml = import_nvml(talk)
    if nvml is not None:
        ask_nvml(nvml)
    cuda.devices()
    talk.say({"done": True})
    # What a broken library does at exit must not change the answer.
    os._exit(0)


if __name__ == "__main__":
    main()
