"""The driver's kernel module and its user-mode libraries are of different releases.

What it does
    Compares the version of the loaded kernel module, as every source tells it, with that of libcuda and libnvidia-ml
    in use, to the last component (570.124.04 is not 570.124.06), and takes the answers of NVML (error 18) and of
    cuInit (errors 803 and 804) for certain.

Why it fails
    The user-mode libraries talk to exactly their own kernel module. After a driver package was updated the old module
    stays loaded until the next boot; in a container or image, libraries of another release may lie before the
    host's.

How it shows
    "Failed to initialize NVML: Driver/library version mismatch", "kernel version 460.91.3 does not match DSO version
    470.57.2 -- cannot find working devices in this configuration", "system has unsupported display driver / cuda
    driver combination" (error 803), "forward compatibility was attempted on non supported HW" (error 804).

How to fix
    Reboot, or unload and load the kernel module. In a container: make it anew, so that the host's current libraries
    are mounted, and remove driver packages from the image. In WSL: wsl --shutdown.

Exceptions
    cuda-compat is a newer libcuda on purpose (data-centre GPUs); its libnvidia-ml still has the kernel's version. The
    libraries of WSL and Jetson tell no driver version by name. Where cuInit was seen to succeed, a file of another
    release that lies about is only mentioned.

Sources
    NVML API reference (NVML_ERROR_LIB_RM_VERSION_MISMATCH); NVIDIA CUDA Compatibility guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.core.snapshot import Absent, known
from envcheck.versions import numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Machine, NvidiaDriver
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView

EXPLAINS = ("no-gpu-visible", "driver-too-old", "environment-drift")


def check(
    machine: Machine,
    *,
    driver: Driver | None = None,
    gpus: Sequence[GpuView] = (),
    in_container: bool = False,
    wsl: bool = False,
) -> Iterator[Result]:
    """Compare the kernel module with the user-mode libraries."""
    nvidia = machine.nvidia
    error = known(nvidia.nvml_error)
    kernel = known(nvidia.version)
    libraries = [] if wsl or known(machine.system) == "Windows" else _libraries(nvidia)
    refusal = (known(nvidia.cu_init) or "").split()[:1]
    if refusal in (["803"], ["804"]) and (error or "").split()[:1] != ["18"]:
        yield _refused(nvidia, driver, gpus, in_container, wsl)
        return
    if error is not None and error.split()[:1] == ["18"]:
        named = [one for one in libraries if kernel and _differ(kernel, one[1])][:1] or libraries[:1]
        yield _finding(kernel, named, [Evidence(f"NVML: {error}", "NVML")], in_container, wsl)
        return
    if wsl or known(machine.system) == "Windows":
        yield Skip("Windows keeps kernel module and libraries together")
        return
    if driver is not None and driver.tegra:
        yield Skip("on Jetson the libraries' names tell no driver version")
        return
    told = _kernel_versions(nvidia)
    if len(told) > 1:
        yield _sources_differ(told, in_container)
        return
    if not libraries:
        yield Skip("no user-mode library with a version in its name")
        return
    if kernel is None:
        if isinstance(nvidia.version, Absent):
            yield Skip(nvidia.version.why)
        else:
            why = f"{libraries[0][0]} is of {libraries[0][1]}, the kernel module's version is not known"
            yield Undecided("NVIDIA driver", "driver.version", why)
        return
    odd = [one for one in libraries if _differ(kernel, one[1])]
    if odd and isinstance(nvidia.cu_init, Absent) and isinstance(nvidia.nvml_error, Absent):
        finding = _finding(kernel, odd, [], in_container, wsl, sure=False)
        message = f"{finding.message.partition(': both')[0]}, and yet cuInit and NVML answer"
        yield replace(finding, severity="info", message=message)
        return
    if not odd:
        yield Pass(f"driver {kernel}", f"kernel module and {libraries[0][0]} are of {kernel}")
        return
    # Only libcuda is newer, and nobody said from which folder: it may be a cuda-compat package.
    perhaps_compat = (
        all("libcuda" in source and "/" not in source for source, _ in odd)
        and numbers(odd[0][1])[:1] > numbers(kernel)[:1]  # a cuda-compat package is of a newer branch
        and (all(gpu.data_center for gpu in gpus) if gpus else in_container)
    )
    yield _finding(kernel, odd, [], in_container, wsl, sure=not perhaps_compat)


def _kernel_versions(nvidia: NvidiaDriver) -> dict[str, str]:
    """Version of the kernel module -> where it was read; more than one where the sources disagree."""
    told: dict[str, str] = {}
    for source in nvidia.sources:
        version = known(source.value)
        if source.kind != "kernel" or version is None or len(numbers(version)) < 2:
            continue
        if not any(not _differ(version, other) for other in told):
            told[version] = source.source
    return told


def _sources_differ(told: dict[str, str], container: bool) -> Finding:
    (one, where), (other, elsewhere) = list(told.items())[:2]
    return Finding(
        severity="error",
        confidence="medium",
        subject=f"driver {one}",
        message=f"{where} tells version {one} of the NVIDIA driver, but {elsewhere} tells {other}: parts of two "
        "releases are loaded",
        evidence=[Evidence(f"driver {version}", source) for version, source in told.items()],
        fixes=_fixes(container, False),
    )


def _refused(
    nvidia: NvidiaDriver,
    driver: Driver | None,
    gpus: Sequence[GpuView],
    container: bool,
    wsl: bool,
) -> Finding:
    """cuInit itself said that libcuda and the kernel module do not go together."""
    error, libcuda, kernel = known(nvidia.cu_init) or "", known(nvidia.libcuda) or "libcuda.so.1", known(nvidia.version)
    user = known(nvidia.user_mode)
    compat = "/compat/" in libcuda or (driver is not None and driver.compat_seen)
    evidence = [Evidence(f"cuInit: {error}", "libcuda, in a process of this environment")]
    evidence += [Evidence(f"libcuda: {user}", libcuda)] if user else []
    evidence += [Evidence(f"kernel module {kernel}", "/proc/driver/nvidia/version")] if kernel else []
    versions = f"{libcuda}" + (f" of {user}" if user else "")
    module = f"the loaded kernel module{' ' + kernel if kernel else ''}"
    if compat:
        why = f"the cuda-compat package in {libcuda.rpartition('/')[0]} does not fit {module}"
        if error.startswith("804"):
            name = next((gpu.name for gpu in gpus if gpu.data_center is not True), gpus[0].name if gpus else "this GPU")
            why = f"forward compatibility by {versions} is not offered on {name}"
        fixes = [
            Fix(
                'export LD_LIBRARY_PATH="$(echo "$LD_LIBRARY_PATH" | tr : "\\n" | grep -v /compat | paste -sd:)"',
                "takes cuda-compat out of the path, so that the driver's own libcuda is loaded",
                "safe",
                "nvidia-smi",
            ),
            Fix("", "or upgrade the driver to one that serves this CUDA by itself", "manual"),
        ]
    else:
        why = f"{versions} does not fit {module}"
        fixes = _fixes(container, wsl)
    return Finding(
        severity="error",
        confidence="high",
        subject=f"driver {kernel or ''}".strip(),
        message=f"cuInit answers {error}: {why}",
        evidence=evidence,
        fixes=fixes,
    )


def _libraries(nvidia: NvidiaDriver) -> list[tuple[str, str]]:
    """File and version of the libcuda and libnvidia-ml in use; cuda-compat and stubs left out."""
    found: list[tuple[str, str]] = []
    for part in ("libcuda", "libnvidia-ml", "NVML library"):
        for source in nvidia.sources:
            version = known(source.value)
            if source.kind != "user" or version is None or part not in source.source:
                continue
            if "/stubs/" in source.source or len(numbers(version)) < 2:
                continue
            # The first one is what the loader takes. A cuda-compat in use has no say on the module's own libraries.
            if "/compat/" not in source.source:
                found.append((source.source, version))
            if part != "libcuda" or "/compat/" not in source.source:
                break
    used = known(nvidia.user_mode)
    libcuda = known(nvidia.libcuda) or ""
    if used and "/compat/" in libcuda:
        found = [one for one in found if "libcuda" not in one[0]]
    elif used and len(numbers(used)) > 1 and not any("libcuda" in source for source, _ in found):
        found.insert(0, (libcuda or "libcuda.so", used))
    return found


def _differ(kernel: str, library: str) -> bool:
    """Versions that cannot be one release; a shortened one (``525``, ``560.35``) agrees with all that it begins."""
    mine, theirs = numbers(kernel), numbers(library)
    length = min(len(mine), len(theirs))
    return mine[:length] != theirs[:length]


def _finding(
    kernel: str | None,
    odd: Sequence[tuple[str, str]],
    evidence: Sequence[Evidence],
    container: bool,
    wsl: bool,
    *,
    sure: bool = True,
) -> Finding:
    module = (
        f"the loaded kernel module is {kernel}" if kernel else "the version of the loaded kernel module is not known"
    )
    library = f"{odd[0][0].rpartition('/')[2]} is of {odd[0][1]}" if odd else "libnvidia-ml is of another release"
    message = f"{module}, but {library}: both must be of one release"
    if not sure:
        message += " (unless that libcuda comes from a cuda-compat package)"
    told = [Evidence(f"kernel module {kernel}", "/proc/driver/nvidia/version")] if kernel else []
    told += [Evidence(f"{source.rpartition('/')[2]}: {version}", source) for source, version in odd]
    return Finding(
        severity="error" if sure else "warning",
        confidence="high" if sure else "low",
        subject=f"driver {kernel or ''}".strip(),
        message=message,
        evidence=[*evidence, *told],
        fixes=_fixes(container, wsl),
    )


def _fixes(container: bool, wsl: bool) -> list[Fix]:
    if wsl:
        return [Fix("wsl --shutdown", "in Windows; restart Windows after a driver update", "manual", "nvidia-smi")]
    reboot = Fix("sudo reboot", "loads the kernel module that belongs to the libraries", "manual", "nvidia-smi")
    reload = Fix(
        "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia nvidia_uvm",
        "without a reboot; stop everything that uses the GPU first, the display too",
        "manual",
        "nvidia-smi",
    )
    if container:
        anew = Fix(
            "docker restart CONTAINER",
            "mounts the host's current libraries; remove driver packages (libnvidia-*) from the image",
            "review",
            "nvidia-smi",
        )
        return [anew, Fix(reboot.command, "on the host, when nvidia-smi fails there too", "manual", "nvidia-smi")]
    return [reboot, reload]
