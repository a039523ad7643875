"""The Intel side of recorded machines: kernel module, Level Zero, oneAPI, names of GPUs."""

from __future__ import annotations

from pathlib import Path

from recording import LIBS, bound, pci_device, recorded
from test_amd import PCI_IDS

from envcheck.core.snapshot import Absent, Unknown
from envcheck.probes import gpus, makers
from envcheck.probes.log import Log

LEVEL_ZERO = {
    f"{LIBS}/libze_loader.so.1": "libze_loader.so.1.17.6",
    f"{LIBS}/libze_intel_gpu.so.1": "libze_intel_gpu.so.1.6.32567",
}


def test_arc_desktop(tmp_path: Path) -> None:
    bus = "0000:03:00.0"
    host = recorded(
        tmp_path,
        {**pci_device(bus, "0x8086", "0x56a0", "0x030000"), "/usr/share/misc/pci.ids": PCI_IDS},
        links={**LEVEL_ZERO, **bound(bus, "xe")},
        others=["/sys/module/xe", "/sys/module/i915", *(f"{LIBS}/{name}" for name in LEVEL_ZERO.values())],
        folders={"/opt/intel/oneapi/compiler": ["2024.2", "2025.0", "latest"]},
    )
    driver = makers.intel(host, Log())
    assert driver.kernel == "xe", "the newer of two modules"
    assert driver.level_zero == "1.17.6"
    assert driver.compute_runtime == "1.6.32567"
    assert driver.oneapi == "2025.0"
    found = gpus.merge(host, Log(), Unknown("-"), "-", driver_here=False)
    assert isinstance(found, list)
    assert (found[0].vendor, found[0].name, found[0].kernel_driver) == ("intel", "Intel Arc A770", "xe")
    assert isinstance(found[0].memory_mib, Unknown)


def test_a_laptop_without_level_zero(tmp_path: Path) -> None:
    driver = makers.intel(recorded(tmp_path, others=["/sys/module/i915"]), Log())
    assert driver.kernel == "i915"
    assert isinstance(driver.level_zero, Absent)
    assert isinstance(driver.compute_runtime, Absent)
    assert isinstance(driver.oneapi, Absent)


def test_wsl_has_no_module_and_may_have_level_zero(tmp_path: Path) -> None:
    links = {f"{LIBS}/libze_loader.so.1": "libze_loader.so.1.9.9"}
    host = recorded(tmp_path, links=links, others=["/dev/dxg", f"{LIBS}/libze_loader.so.1.9.9"])
    driver = makers.intel(host, Log())
    assert isinstance(driver.kernel, Absent)
    assert driver.level_zero == "1.9.9"


def test_nothing_of_intel(tmp_path: Path) -> None:
    driver = makers.intel(recorded(tmp_path), Log())
    assert isinstance(driver.kernel, Absent)
    assert isinstance(driver.level_zero, Unknown), "nobody looked"
    assert isinstance(makers.intel(recorded(tmp_path / "m", platform="darwin"), Log()).kernel, Unknown)


def test_a_file_name_without_a_version(tmp_path: Path) -> None:
    host = recorded(tmp_path, others=["/sys/module/i915", f"{LIBS}/libze_loader.so.1"])
    assert makers.intel(host, Log()).level_zero == f"{LIBS}/libze_loader.so.1"


def test_oneapi_without_a_release(tmp_path: Path) -> None:
    host = recorded(tmp_path, others=["/sys/module/i915"], folders={"/opt/intel/oneapi/compiler": ["latest"]})
    assert isinstance(makers.intel(host, Log()).oneapi, Unknown)
