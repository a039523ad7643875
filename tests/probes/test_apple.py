"""Macs as text: SystemVersion.plist, sysctl, sw_vers and system_profiler, written after what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import recorded

from envcheck.core.snapshot import Absent, Unknown
from envcheck.probes import apple, makers, pci
from envcheck.probes.host import RecordedHost
from envcheck.probes.log import Log

PLIST = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>BuildID</key>
	<string>2FA1A0AC-1D6A-11EF-9F7E-6CF0C7D3B9B5</string>
	<key>ProductBuildVersion</key>
	<string>23F79</string>
	<key>ProductName</key>
	<string>macOS</string>
	<key>ProductUserVisibleVersion</key>
	<string>14.5</string>
	<key>ProductVersion</key>
	<string>14.5</string>
	<key>iOSSupportVersion</key>
	<string>17.5</string>
</dict>
</plist>
"""
M2 = """Graphics/Displays:

    Apple M2 Pro:

      Chipset Model: Apple M2 Pro
      Type: GPU
      Bus: Built-In
      Total Number of Cores: 19
      Vendor: Apple (0x106b)
      Metal Support: Metal 3
      Displays:
        Color LCD:
          Display Type: Built-in Liquid Retina XDR Display
          Resolution: 3456 x 2234 Retina
          Main Display: Yes
          Connection Type: Internal

"""
INTEL_MAC = """Graphics/Displays:

    Intel UHD Graphics 630:

      Chipset Model: Intel UHD Graphics 630
      Type: GPU
      Bus: Built-In
      VRAM (Dynamic, Max): 1536 MB
      Vendor: Intel
      Device ID: 0x3e9b
      Automatic Graphics Switching: Supported
      Metal Family: Supported, Metal GPUFamily macOS 2

    AMD Radeon Pro 5500M:

      Chipset Model: AMD Radeon Pro 5500M
      Type: GPU
      Bus: PCIe
      PCIe Lane Width: x16
      VRAM (Total): 8 GB
      Vendor: AMD (0x1002)
      Device ID: 0x7340
      Metal Family: Supported, Metal GPUFamily macOS 2
      Displays:
        Color LCD:
          Resolution: 3072 x 1920 Retina

"""
VIRTUAL = """Graphics/Displays:

    Apple Paravirtual device:

      Chipset Model: Apple Paravirtual device
      Type: GPU
      Bus: Built-In
      Vendor: Apple (0x106b)

"""


def mac(folder: Path, displays: str | None, plist: str | None = PLIST, **commands: str) -> RecordedHost:
    told: dict[str, Any] = {line: ["done", 0, text + "\n", ""] for line, text in commands.items()}
    if displays is not None:
        told["system_profiler SPDisplaysDataType"] = ["done", 0, displays, ""]
    files: dict[str, str | bytes] = {} if plist is None else {apple.PLIST: plist}
    return recorded(folder, files, platform="darwin", commands=told)


def test_apple_silicon(tmp_path: Path) -> None:
    host = mac(tmp_path, M2, **{"sysctl -n hw.memsize": "34359738368"})
    assert makers.apple(host, Log()) == ("14.5", "Metal 3")
    found = pci.apple(host, Log())
    assert isinstance(found, list)
    assert len(found) == 1
    assert (found[0].vendor, found[0].name, found[0].memory_mib) == ("apple", "Apple M2 Pro", 32768)


def test_intel_mac(tmp_path: Path) -> None:
    host = mac(tmp_path, INTEL_MAC)
    assert makers.apple(host, Log()) == ("14.5", "Metal GPUFamily macOS 2")
    found = pci.apple(host, Log())
    assert isinstance(found, list)
    assert [(gpu.vendor, gpu.name, gpu.memory_mib) for gpu in found] == [
        ("intel", "Intel UHD Graphics 630", 1536),
        ("amd", "AMD Radeon Pro 5500M", 8192),
    ]


def test_a_virtual_machine_has_no_metal(tmp_path: Path) -> None:
    host = mac(tmp_path, VIRTUAL)
    release, metal = makers.apple(host, Log())
    assert release == "14.5"
    assert isinstance(metal, Absent)
    assert isinstance(pci.apple(host, Log()), list)


def test_without_system_profiler_the_chip_tells(tmp_path: Path) -> None:
    host = mac(tmp_path, None, **{"sysctl -n machdep.cpu.brand_string": "Apple M1"})
    assert isinstance(makers.apple(host, Log())[1], Unknown)
    found = pci.apple(host, Log())
    assert isinstance(found, list)
    assert found[0].name == "Apple M1"
    assert isinstance(pci.apple(mac(tmp_path / "b", None), Log()), Unknown)


def test_an_old_program_is_told_10_16(tmp_path: Path) -> None:
    """SYSTEM_VERSION_COMPAT: programs built for macOS before 11 see another SystemVersion.plist."""
    old = PLIST.replace("<string>14.5</string>", "<string>10.16</string>")
    host = mac(tmp_path / "a", M2, old, **{"sysctl -n kern.osproductversion": "13.6.7"})
    assert makers.apple(host, Log())[0] == "13.6.7"
    host = mac(
        tmp_path / "b", M2, old, **{"sysctl -n kern.osproductversion": "10.16", "sw_vers -productVersion": "12.7.6"}
    )
    assert makers.apple(host, Log())[0] == "12.7.6"
    assert isinstance(makers.apple(mac(tmp_path / "c", M2, old), Log())[0], Unknown)
    assert isinstance(makers.apple(mac(tmp_path / "d", M2, None), Log())[0], Unknown)


def test_the_displays_are_asked_for_once(tmp_path: Path) -> None:
    host = mac(tmp_path, M2)
    log = Log()
    makers.apple(host, log)
    pci.apple(host, log)
    assert [run.where for run in log.runs].count("system_profiler SPDisplaysDataType") == 1


def test_other_systems(tmp_path: Path) -> None:
    release, metal = makers.apple(recorded(tmp_path / "l"), Log())
    assert isinstance(release, Absent)
    assert isinstance(metal, Absent)
    name = {"system": "Windows", "release": "10.0.22631", "machine": "AMD64", "bits": 64}
    assert makers.apple(recorded(tmp_path / "w", platform="win32", queries={"uname": name}), Log())[0] == "10.0.22631"
    assert isinstance(
        makers.apple(recorded(tmp_path / "x", platform="win32", queries={"uname": []}), Log())[0], Unknown
    )
    assert isinstance(makers.apple(recorded(tmp_path / "y", platform="win32"), Log())[0], Unknown)


@pytest.mark.parametrize("status", ["timeout", "failed", "not-found"])
def test_system_profiler_that_fails(tmp_path: Path, status: str) -> None:
    host = recorded(tmp_path, platform="darwin", commands={"system_profiler SPDisplaysDataType": [status, -9, "", ""]})
    assert isinstance(makers.apple(host, Log())[1], Unknown)


@given(st.text(max_size=600))
def test_any_text_is_read(text: str) -> None:
    assert all(gpu["Chipset Model"] for gpu in apple.parse_displays(text))
    apple.plist_version(text)
    apple.plist_version(f"<key>ProductVersion</key><string>{text}</string>")
