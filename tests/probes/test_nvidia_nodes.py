"""Device nodes, the kind of the kernel module and the fabric manager of recorded machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import recorded

from envcheck.core.snapshot import Absent, Gpu, NvidiaDriver, Unknown
from envcheck.probes import nvidia_nodes
from envcheck.probes.log import Log

SWITCH = f"{nvidia_nodes.SWITCH_DRIVER}/0000:c0:00.0"
NONE = Absent("no /dev/nvidia*")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 2021\n", "proprietary"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "open"),
        ("GCC version: gcc 12\n", None),
    ],
)
def test_kind_of_the_module(text: str, kind: str | None) -> None:
    found = nvidia_nodes.module_kind(text)
    assert isinstance(found, Unknown) if kind is None else found == kind


@given(st.text())
def test_any_text_of_the_module(text: str) -> None:
    assert nvidia_nodes.module_kind(text) is not None


def test_the_fabric_manager_runs(tmp_path: Path) -> None:
    files = {"/proc/1/comm": "systemd\n", "/proc/77/comm": "nv-fabricmanage\n"}
    host = recorded(tmp_path, files, others=[SWITCH])
    assert nvidia_nodes.fabric_manager(host, Log(), NONE, []) == "running"


def test_it_is_installed_and_does_not_run(tmp_path: Path) -> None:
    host = recorded(tmp_path, {"/proc/1/comm": "systemd\n", "/proc/2/comm": "nv"}, others=[nvidia_nodes.PLACES[0]])
    log = Log()
    assert nvidia_nodes.fabric_manager(host, log, ["/dev/nvidia-nvswitch0"], []) == "stopped"
    assert log.runs[-1].status == "failed"


def test_it_is_not_installed(tmp_path: Path) -> None:
    host = recorded(tmp_path, {"/proc/1/comm": "systemd\n"})
    told = nvidia_nodes.fabric_manager(host, Log(), NONE, [Gpu(fabric="in progress")])
    assert isinstance(told, Absent)
    assert "not installed" in told.why


def test_a_container_does_not_see_it(tmp_path: Path) -> None:
    host = recorded(tmp_path, {"/proc/1/comm": "bash\n"}, others=[SWITCH, "/.dockerenv"])
    assert isinstance(nvidia_nodes.fabric_manager(host, Log(), NONE, []), Unknown)


def test_without_a_switch_no_process_is_looked_at(tmp_path: Path) -> None:
    host = recorded(tmp_path, {"/proc/77/comm": "nv-fabricmanage\n"})
    log = Log()
    told = nvidia_nodes.fabric_manager(host, log, ["/dev/nvidia-nvswitchctl"], [Gpu()])
    assert (told, log.runs) == (Absent("there is no NVSwitch here"), [])


def test_nodes_of_a_recording_without_permissions(tmp_path: Path) -> None:
    driver = NvidiaDriver()
    nvidia_nodes.device_nodes(recorded(tmp_path, others=["/dev/nvidia0", "/dev/null"]), Log(), driver)
    assert (driver.nodes, driver.nodes_denied) == (["/dev/nvidia0"], [])


def test_nodes_that_are_denied(tmp_path: Path) -> None:
    queries = {"access /dev/nvidia0 /dev/nvidiactl": ["/dev/nvidiactl"]}
    others = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-caps/nvidia-cap1"]
    driver = NvidiaDriver()
    nvidia_nodes.device_nodes(recorded(tmp_path, others=others, queries=queries), Log(), driver)
    assert driver.nodes_denied == ["/dev/nvidiactl"]


def test_an_empty_dev(tmp_path: Path) -> None:
    driver = NvidiaDriver()
    nvidia_nodes.device_nodes(recorded(tmp_path, others=["/dev/null"]), Log(), driver)
    assert driver.nodes == NONE
