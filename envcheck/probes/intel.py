"""The Intel side of a Linux machine, from files alone: kernel module, Level Zero, oneAPI.

1. /sys/module/xe and /sys/module/i915. 2. The file behind libze_loader.so.1 (the Level Zero loader) and
libze_intel_gpu.so.1 (its driver for Intel's GPUs), in the loader's order; the version stands in the file name.
3. /opt/intel/oneapi/compiler/*. 4. Intel's /dev/dri/renderD*: which there are, and which this process may not open.
"""

from __future__ import annotations

from envcheck.core.snapshot import Absent, IntelDriver, Text, Unknown
from envcheck.probes import loader
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.probes.makers import denied, render_nodes
from envcheck.versions import numbers

LEVEL_ZERO, GPU_DRIVER = "libze_loader.so.1", "libze_intel_gpu.so.1"
INTEL_VENDOR = "0x8086"
ONEAPI = "/opt/intel/oneapi/compiler"


def probe(host: Host, log: Log, modules: list[str]) -> IntelDriver:
    """``modules``: those of i915 and xe that are loaded."""
    driver = IntelDriver()
    driver.kernel = modules[0] if modules else Absent("neither i915 nor xe is loaded")
    log.add("intel", "ok" if modules else "absent", " ".join(modules), "/sys/module")
    found = loader.find(host, (LEVEL_ZERO, GPU_DRIVER))
    driver.level_zero = _version(found[LEVEL_ZERO], LEVEL_ZERO, log)
    driver.compute_runtime = _version(found[GPU_DRIVER], GPU_DRIVER, log)
    driver.oneapi = _oneapi(host, log)
    if nodes := render_nodes(host, INTEL_VENDOR):
        driver.nodes, driver.nodes_denied = nodes, denied(host, log, nodes, "intel")
    else:
        driver.nodes = Absent("there is no render node of an Intel GPU in /dev/dri")
    return driver


def _version(files: list[loader.Found], name: str, log: Log) -> Text:
    used = next((file for file in files if file.via != "unused"), None)
    if used is None:
        log.add("intel", "absent", "no such file was found", name)
        return Absent(f"the loader finds no {name}")
    version = loader.version_in_name(used.file) or used.real
    log.add("intel", "ok", f"{name}: {version}", used.path)
    return version


def _oneapi(host: Host, log: Log) -> Text:
    with log.attempt("intel", ONEAPI) as attempt:
        releases = [name for name in host.listdir(ONEAPI) if name[:1].isdigit() and numbers(name)]
        if releases:
            newest = max(releases, key=numbers)
            attempt.found(newest)
            return newest
        attempt.failed("no release in it")
        return Unknown(f"{ONEAPI} names no release")
    return Absent(f"there is no {ONEAPI}")
