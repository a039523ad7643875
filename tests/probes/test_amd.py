"""The AMD side of recorded machines: driver, ROCm, nodes, targets, memory and names of GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import bound, pci_device, recorded

from envcheck.core.snapshot import Absent, Gpu, Unknown
from envcheck.facts.makers import vendor_of
from envcheck.probes import amd, gpus, makers
from envcheck.probes.builds import rocm_targets
from envcheck.probes.gpu_names import amd_name, pci_name
from envcheck.probes.log import Log

NODE = """cpu_cores_count 0
simd_count 192
mem_banks_count 1
caches_count 206
io_links_count 1
p2p_links_count 0
cpu_core_id_base 0
simd_id_base 2147488032
max_waves_per_simd 16
lds_size_in_kb 64
wave_front_size 32
array_count 12
gfx_target_version 110000
vendor_id 4098
device_id 29772
location_id 768
domain 0
drm_render_minor 128
unique_id 11673270660693242239
num_xcc 1
"""
"""/sys/class/kfd/kfd/topology/nodes/1/properties of a Radeon RX 7900 XTX."""
CPU_NODE = "cpu_cores_count 32\nsimd_count 0\ngfx_target_version 0\nvendor_id 0\nlocation_id 0\ndomain 0\n"
BUS = "0000:03:00.0"
TREE = "/sys/class/kfd/kfd/topology/nodes"
PCI_IDS = (
    "# a comment\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n"
    "\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]\n\t\t1002 0e3b  RX 7900 GRE [XFX]\n"
    "\t7408  Aldebaran/MI200 [Instinct MI250X]\n10de  NVIDIA Corporation\n\t744c  not AMD's\n"
    "8086  Intel Corporation\n\t56a0  DG2 [Arc A770]\n\t3e92  CoffeeLake-S GT2 [UHD Graphics 630]\n\t0a2e  Haswell\n"
)
AMDGPU_IDS = "# List of AMDGPU IDs\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n"


def desktop(**more: Any) -> dict[str, Any]:
    """An RX 7900 XTX with AMD's own driver and ROCm 6.2.4."""
    files: dict[str, str | bytes] = {
        **pci_device(BUS, "0x1002", "0x744c", "0x030000"),
        f"/sys/bus/pci/devices/{BUS}/revision": "0xc8\n",
        f"/sys/bus/pci/devices/{BUS}/mem_info_vram_total": "25753026560\n",
        f"/sys/bus/pci/devices/{BUS}/mem_info_vram_used": "1073741824\n",
        f"{TREE}/0/properties": CPU_NODE,
        f"{TREE}/1/properties": NODE,
        "/sys/module/amdgpu/version": "6.8.5\n",
        "/opt/rocm/.info/version": "6.2.4-147\n",
        "/sys/class/drm/renderD128/device/vendor": "0x1002\n",
        "/sys/class/drm/renderD129/device/vendor": "0x8086\n",
        "/usr/share/libdrm/amdgpu.ids": AMDGPU_IDS,
        **more.pop("files", {}),
    }
    for path in more.pop("without", ()):
        files.pop(path)
    return {
        "files": files,
        "others": ["/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129", "/dev/dri/card0"],
        "links": bound(BUS, "amdgpu"),
        **more,
    }


def test_desktop(tmp_path: Path) -> None:
    host = recorded(tmp_path, **desktop(queries={"denied /dev/kfd /dev/dri/renderD128": []}))
    driver = makers.amd(host, Log())
    assert driver.kernel == "6.8.5"
    assert driver.rocm == "6.2.4"
    assert driver.nodes == ["/dev/kfd", "/dev/dri/renderD128"], "the other node is Intel's"
    assert driver.nodes_denied == []
    found = gpus.merge(host, Log(), Unknown("no NVIDIA"), "no NVIDIA", driver_here=False)
    assert isinstance(found, list)
    gpu = found[0]
    assert (gpu.vendor, gpu.name, gpu.target) == ("amd", "AMD Radeon RX 7900 XTX", "gfx1100")
    assert (gpu.memory_mib, gpu.memory_free_mib) == (24560, 24560 - 1024)
    assert (gpu.pci_id, gpu.kernel_driver) == ("1002:744c", "amdgpu")


def test_who_may_not_open_the_nodes(tmp_path: Path) -> None:
    key = "denied /dev/kfd /dev/dri/renderD128"
    host = recorded(tmp_path / "a", **desktop(queries={key: ["/dev/kfd", "/elsewhere"]}))
    assert makers.amd(host, Log()).nodes_denied == ["/dev/kfd"]
    garbage = recorded(tmp_path / "b", **desktop(queries={key: "/dev/kfd"}))
    assert makers.amd(garbage, Log()).nodes_denied == []
    log = Log()
    assert makers.amd(recorded(tmp_path / "c", **desktop()), log).nodes_denied == []
    assert [run.status for run in log.runs if run.where == "permissions of device nodes"] == ["absent"]


def test_the_kernels_own_module_has_no_version(tmp_path: Path) -> None:
    host = recorded(
        tmp_path, **desktop(without=["/sys/module/amdgpu/version"], files={"/sys/module/amdgpu/initstate": "live\n"})
    )
    assert makers.amd(host, Log()).kernel == "in-tree"
    broken = recorded(tmp_path / "b", **desktop(files={"/sys/module/amdgpu/version": "\0garbage\xff"}))
    assert isinstance(makers.amd(broken, Log()).kernel, Unknown)


def test_nothing_of_amd(tmp_path: Path) -> None:
    driver = makers.amd(recorded(tmp_path), Log())
    assert isinstance(driver.kernel, Absent)
    assert isinstance(driver.rocm, Absent)
    assert isinstance(driver.nodes, Absent)
    assert isinstance(makers.amd(recorded(tmp_path / "w", platform="win32"), Log()).kernel, Unknown)


def test_rocm_without_a_driver(tmp_path: Path) -> None:
    """An image with ROCm on a machine without AMD's kernel module."""
    host = recorded(
        tmp_path, {"/opt/rocm-6.3.0/.info/version": "6.3.0-39\n", "/opt/rocm-6.10.1/.info/version": "6.10.1"}
    )
    driver = makers.amd(host, Log())
    assert driver.rocm == "6.10.1"
    assert isinstance(driver.kernel, Absent)
    assert isinstance(driver.nodes, Absent)


def test_rocm_path_comes_first(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"/opt/rocm/.info/version": "6.3.0", "/data/rocm/.info/version": "5.7.1-98"}
    assert makers.amd(recorded(tmp_path / "a", files, env={"ROCM_PATH": "/data/rocm/"}), Log()).rocm == "5.7.1"
    assert makers.amd(recorded(tmp_path / "b", files, env={"ROCM_PATH": "/gone"}), Log()).rocm == "6.3.0"
    assert makers.amd(recorded(tmp_path / "c", files, env={"ROCM_PATH": "relative"}), Log()).rocm == "6.3.0"
    unreadable = recorded(tmp_path / "d", {"/opt/rocm/.info/version": "unreadable"})
    assert isinstance(makers.amd(unreadable, Log()).rocm, Unknown)
    silent = recorded(tmp_path / "e", {"/opt/rocm/bin/hipcc": ""})
    assert isinstance(makers.amd(silent, Log()).rocm, Unknown)


def test_a_gpu_that_the_driver_does_not_serve(tmp_path: Path) -> None:
    host = recorded(tmp_path, {**pci_device(BUS, "0x1002", "0x744c", "0x030000")}, links=bound(BUS, "vfio-pci"))
    found = gpus.merge(host, Log(), Unknown("-"), "-", driver_here=False)
    assert isinstance(found, list)
    assert isinstance(found[0].target, Unknown)
    assert isinstance(found[0].memory_mib, Unknown)
    assert isinstance(found[0].name, Unknown)
    assert found[0].kernel_driver == "vfio-pci"


def test_partitions_of_one_gpu_have_one_address(tmp_path: Path) -> None:
    """MI300X in CPX mode: a node for each partition, whose number stands in the upper bits of the address."""
    node = NODE.replace("110000", "90402").replace("location_id 768", "location_id {}")
    files: dict[str, str | bytes] = {
        f"{TREE}/{number}/properties": node.format(768 + (number << 28)) for number in range(1, 9)
    }
    assert amd._targets(recorded(tmp_path, files), Log()) == {BUS: "gfx942"}


@pytest.mark.parametrize(
    ("version", "target"),
    [
        (90010, "gfx90a"),
        (90402, "gfx942"),
        (90500, "gfx950"),
        (90006, "gfx906"),
        (80003, "gfx803"),
        (100300, "gfx1030"),
        (100306, "gfx1036"),
        (110000, "gfx1100"),
        (110501, "gfx1151"),
        (120001, "gfx1201"),
        (0, None),
        (110099, None),
        (2**63, None),
    ],
)
def test_gfx_target(version: int, target: str | None) -> None:
    """Pairs from the kernel's kfd_device.c and from AMD's tables."""
    assert amd.gfx_target(version) == target


@pytest.mark.parametrize(
    ("location", "domain", "bus"),
    [(768, 0, "0000:03:00.0"), (34304, 0, "0000:86:00.0"), (0x6501, 1, "0001:65:00.1"), (0, 0, None)],
)
def test_pci_address(location: int, domain: int, bus: str | None) -> None:
    assert amd.pci_address({"location_id": location, "domain": domain}) == bus


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    values = amd.properties(text)
    amd.gfx_target(values.get("gfx_target_version", 0))
    amd.pci_address(values)
    amd.rocm_version(text)
    amd_name(text, "744c", "c8")
    pci_name("\n1002  AMD\n" + text, "1002", "744c")
    rocm_targets(text.splitlines())


@given(st.integers(-(2**40), 2**70))
def test_any_target_version_is_read(version: int) -> None:
    target = amd.gfx_target(version)
    assert target is None or target.startswith("gfx")


def test_names_of_lists() -> None:
    assert amd_name(AMDGPU_IDS, "744c", "cc") == "AMD Radeon RX 7900 XT"
    assert amd_name(AMDGPU_IDS, "744c", "00") is None
    assert amd_name(AMDGPU_IDS, "744c", "") is None
    assert pci_name(PCI_IDS, "1002", "7408") == "AMD Instinct MI250X"
    assert pci_name(PCI_IDS, "8086", "56a0") == "Intel Arc A770"
    assert pci_name(PCI_IDS, "8086", "0a2e") == "Intel Haswell"
    assert pci_name(PCI_IDS, "1002", "56a0") is None, "another maker's device"
    assert pci_name(PCI_IDS, "1234", "744c") is None
    assert pci_name("", "1002", "744c") is None


def test_names_by_the_pci_list(tmp_path: Path) -> None:
    host = recorded(
        tmp_path,
        **desktop(without=["/usr/share/libdrm/amdgpu.ids"], files={"/usr/share/misc/pci.ids": PCI_IDS}),
    )
    found = gpus.merge(host, Log(), Unknown("-"), "-", driver_here=False)
    assert isinstance(found, list)
    assert found[0].name == "AMD Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M"


def test_targets_of_rocblas_files() -> None:
    names = [
        "Kernels.so-000-gfx1030.hsaco",
        "Kernels.so-000-gfx90a-xnack+.hsaco",
        "Kernels.so-000-gfx90a-xnack-.hsaco",
        "TensileLibrary_lazy_gfx942.dat",
        "TensileLibrary_Type_4xi8I_HPA_Contraction_l_Ailk_Bjlk_Cijk_Dijk_gfx908.co",
        "TensileLibrary_Type_CC_Contraction_l_Ailk_Bjlk_Cijk_Dijk_fallback_gfx1100.hsaco",
        "TensileManifest.txt",
        "gfx",
    ]
    assert rocm_targets(names) == ["gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100"]


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("AMD Radeon RX 7900 XTX", "amd"),
        ("Radeon RX 580", "amd"),
        ("Intel(R) Arc(TM) A770 Graphics", "intel"),
        ("Intel UHD Graphics 630", "intel"),
        ("Apple M2 Pro", "apple"),
        ("NVIDIA GeForce RTX 4090", None),
        ("GRID A100D", None),
    ],
)
def test_vendor_by_name(name: str, vendor: str | None) -> None:
    assert vendor_of(Gpu(name=name)) == vendor
