"""Fixes for a place: conda, the distribution, the container; and those of signatures."""

from __future__ import annotations

from typing import Any

import pytest

import envcheck
from envcheck.core.report import SAFETIES, Fix
from envcheck.core.snapshot import Snapshot
from envcheck.facts import Facts
from envcheck.matrix import Matrix
from envcheck.remedies import fitted
from envcheck.remedies.images import listed
from envcheck.remedies.place import Place
from envcheck.remedies.system import on_system

MATRIX = Matrix.load()
LAB = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "22.04"},
    "cpu": {"arch": "x86_64"},
    "driver": {"version": "470.57.02"},
    "gpus": [{"name": "NVIDIA GeForce RTX 3090"}],
    "python": {"version": "3.10"},
    "packages": {"torch": "2.6.0+cu124", "torchvision": "0.21.0+cu124"},
}


def lab(**changes: Any) -> Snapshot:
    return Snapshot.from_facts({**LAB, **changes})


def place(snapshot: Snapshot) -> Place:
    return Place.of(Facts(snapshot, MATRIX))


def conda_lab(owner: str | None, **changes: Any) -> Snapshot:
    snapshot = lab(python={"version": "3.10", "environment": "conda"}, **changes)
    assert isinstance(snapshot.stack.packages, list)
    for package in snapshot.stack.packages:
        if owner is not None:
            package.installer = owner
    return snapshot


def commands(snapshot: Snapshot, rule: str) -> list[str]:
    finding = next(one for one in envcheck.check(snapshot).findings if one.rule == rule)
    return [fix.command for fix in finding.fixes]


def test_conda_mends_what_conda_installed() -> None:
    first = commands(conda_lab("conda"), "driver-too-old")[0]
    assert first.startswith('conda install -c conda-forge "pytorch')
    assert "=2.5.1" in first
    assert first.endswith('"cuda-version=11.8" torchvision')


def test_the_build_that_conda_is_asked_for_is_in_the_table() -> None:
    rows = MATRIX.rows("conda-builds", package="torch", channel="conda-forge", version="2.5.1")
    assert rows
    assert "11.8" in rows[0]["cuda_linux_64"]


def test_pip_mends_what_pip_installed() -> None:
    first = commands(conda_lab("pip"), "driver-too-old")[0]
    assert first.startswith('pip install "torch==2.6.0+cu118"')


def test_both_ways_where_nobody_says_what_installed_it() -> None:
    found = commands(conda_lab(None), "driver-too-old")
    assert found[0].startswith("conda install")
    assert found[1].startswith("pip install")


def test_a_conda_environment_that_is_not_active_is_named() -> None:
    snapshot = conda_lab("conda", env={"PATH": "/usr/bin"})
    snapshot.stack.python.prefix = "/opt/conda/envs/lab"
    assert "conda install -p /opt/conda/envs/lab -c" in commands(snapshot, "driver-too-old")[0]


def test_an_image_is_built_where_no_driver_is() -> None:
    """A build with CUDA asks conda for a driver, which is there only at run time."""
    snapshot = conda_lab("conda", driver=False, gpus=[])
    fix = Fix('pip install "torch==2.5.1+cu124" --index-url https://download.pytorch.org/whl/cu124', "", "safe")
    found = fitted("cpu-only-build", [fix], place(snapshot))[0]
    assert found.command.startswith("CONDA_OVERRIDE_CUDA=12.6 conda install")


def test_what_conda_does_not_have_is_left_to_pip() -> None:
    fix = Fix("pip install tensorrt-cu12", "", "safe")
    found = fitted("trt-cuda-mismatch", [fix], place(conda_lab("conda")))
    assert [one.command for one in found] == ["pip install tensorrt-cu12"]


def test_a_command_of_condas_is_nothing_for_a_venv() -> None:
    fixes = [Fix("conda install nomkl"), Fix("pip install a")]
    venv = place(lab(python={"version": "3.10", "environment": "venv"}))
    assert [fix.command for fix in fitted("duplicate-openmp", fixes, venv)] == ["pip install a"]
    unknown = place(lab())
    assert len(fitted("duplicate-openmp", fixes, unknown)) == 2


@pytest.mark.parametrize("rule", ["driver-too-old"])
@pytest.mark.parametrize("container", [None, "docker", "kubernetes", "podman"])
@pytest.mark.parametrize("tool", [None, "uv", "uv-project", "pipx", "distribution"])
def test_least_side_effects_first_and_each_can_be_verified(rule: str, container: str | None, tool: str | None) -> None:
    snapshot = lab(os={**LAB["os"], "container": container or False}, python={"version": "3.10", "managed_by": tool})
    finding = next(one for one in envcheck.check(snapshot).findings if one.rule == rule)
    places = [SAFETIES.index(fix.safety) for fix in finding.fixes]
    assert places == sorted(places)
    assert all(fix.verify for fix in finding.fixes if fix.command)
    driver = [fix for fix in finding.fixes if "nvidia-driver" in fix.command]
    assert all("on the host" in fix.note for fix in driver) or not container
    assert any("nvcr.io/nvidia/pytorch" in fix.command for fix in finding.fixes) == bool(container)


def test_an_image_fits_the_driver() -> None:
    """Driver 470 serves CUDA 11: an image with CUDA 12 would be no help."""
    command = next(
        one for one in commands(lab(os={**LAB["os"], "container": "docker"}), "driver-too-old") if "nvcr" in one
    )
    image = next(one for one in listed(MATRIX, "torch") if one.reference == command.split()[-1])
    assert image.cuda.startswith("11.")


@pytest.mark.parametrize(
    ("distro", "command", "wanted"),
    [
        ("ubuntu", "sudo apt-get install libgl1", "sudo apt-get install libgl1"),
        ("rocky", "sudo apt-get install libgl1", 'sudo dnf install "libGL.so.1()(64bit)"'),
        (
            "rhel",
            "sudo apt-get install cuda-toolkit-12-4 && export A=b",
            "sudo dnf install cuda-toolkit-12-4 && export A=b",
        ),
        ("sles", "sudo apt-get install cuda-compat-12-4", "sudo zypper install cuda-compat-12-4"),
        ("rhel", "sudo apt-get install libnvidia-compute-580", ""),
        ("arch", "sudo apt-get install libgl1", ""),
    ],
)
def test_package_managers(distro: str, command: str, wanted: str) -> None:
    found = on_system(Fix(command, "why", "manual"), place(lab(os={"system": "Linux", "distro": distro})))[0]
    assert found.command == wanted
    assert "why" in found.note
    assert wanted or command.split()[-1] in found.note


@pytest.mark.parametrize(
    ("container", "command", "wanted"),
    [
        ("docker", "sudo apt-get install libgl1", "apt-get update && apt-get install -y libgl1"),
        ("docker", "sudo modprobe nvidia", "sudo modprobe nvidia"),
        ("podman", "docker run --gpus all IMAGE", "podman run --device nvidia.com/gpu=all IMAGE"),
        ("kubernetes", "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all IMAGE", ""),
        ("kubernetes", "docker restart CONTAINER", "kubectl rollout restart deployment/NAME"),
    ],
)
def test_containers(container: str, command: str, wanted: str) -> None:
    found = on_system(Fix(command, "", "manual"), place(lab(os={**LAB["os"], "container": container})))[0]
    assert found.command == wanted
    if container == "kubernetes" and not wanted:
        assert "nvidia.com/gpu" in found.note
        assert "NVIDIA_DRIVER_CAPABILITIES" in found.note
    if "modprobe" in command:
        assert "host" in found.note


@pytest.mark.parametrize(
    ("python", "wanted"),
    [
        ({"environment": "venv"}, "pip install "),
        ({"environment": "venv", "managed_by": "uv"}, "uv pip install "),
        ({"environment": "conda"}, "conda install -c conda-forge "),
    ],
)
def test_a_diagnosis_speaks_the_same_words(python: dict[str, str], wanted: str) -> None:
    text = (
        "RuntimeError: Numpy is not available\nA module that was compiled using NumPy 1.x cannot be run in NumPy 2.1.0"
    )
    snapshot = Snapshot.from_facts({"python": {"version": "3.10", **python}, "packages": {"torch": "2.1.0"}})
    told = envcheck.diagnose(text, snapshot)
    assert told.causes[0].rule == "numpy-abi"
    assert told.causes[0].fixes[0].command.startswith(wanted)


def test_a_message_alone_gets_a_build_for_this_machine() -> None:
    """No rule knows what the installed torch was built for; the message does, and the driver is known."""
    facts = {**LAB, "packages": {"torch": "2.1.2"}}
    told = envcheck.diagnose("AssertionError: Torch not compiled with CUDA enabled", Snapshot.from_facts(facts))
    assert told.causes[0].rule == "cpu-only-build"
    assert told.causes[0].fixes[0].command == (
        'pip install "torch==2.1.2+cu118" --index-url https://download.pytorch.org/whl/cu118'
    )


def test_a_driver_for_a_container_of_debians_is_the_hosts() -> None:
    where = place(lab(os={"system": "Linux", "distro": "debian", "container": "docker"}))
    found = on_system(Fix("sudo apt-get install nvidia-driver-580", "", "manual"), where)[0]
    assert found.command == "sudo apt-get install nvidia-driver"
    assert "on the host" in found.note


def test_windows_has_its_own_words() -> None:
    where = place(lab(os={"system": "Windows"}))
    assert on_system(Fix('export KMP_A="TRUE"'), where)[0].command == "set KMP_A=TRUE"
    assert on_system(Fix("unset PYTHONPATH"), where)[0].command == "set PYTHONPATH="
    assert not on_system(Fix("sudo apt-get install libgl1"), where)
    assert not on_system(Fix("winget install x"), place(lab()))
