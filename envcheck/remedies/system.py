"""Commands for the system: its package manager, the container, the host around it.

Sources: NVIDIA's CUDA installation guide (package names are the same for apt, dnf and zypper); NVIDIA Container Toolkit
(podman takes GPUs by CDI names); Kubernetes' page on scheduling GPUs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.core.report import Fix
from envcheck.remedies.commands import THEN

if TYPE_CHECKING:
    from envcheck.remedies.place import Place

APT = "sudo apt-get install "
SAME_NAME = ("cuda-toolkit-", "cuda-compat-", "nvidia-container-toolkit")
"""Packages of NVIDIA's repositories that have one name in all of them."""
BY_SONAME = {
    "libgl1": "libGL.so.1",
    "libglib2.0-0": "libgthread-2.0.so.0",
    "libgomp1": "libgomp.so.1",
    "libsndfile1": "libsndfile.so.1",
    "libopenblas0": "libopenblas.so.0",
    "libopenmpi3": "libmpi.so.40",
    "libibverbs1": "libibverbs.so.1",
}
"""Debian's packages and the library for which they are wanted: RPM packages provide a library by its name."""
OF_HOST = (
    *("nvidia-driver", "libnvidia-", "nvidia-container-toolkit", "nvidia-ctk", "fabricmanager", "modprobe", "rmmod"),
    *("reboot", "systemctl", "nvidia-smi", "dkms", "linux-headers", "update-initramfs", "usermod", "setfacl"),
)
"""What a container cannot do for itself."""
GIVE = "--gpus all"
CDI = "--device nvidia.com/gpu=all"
SET_UP = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
RUNTIME = {
    "podman": "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    "kubernetes": "sudo nvidia-ctk runtime configure --runtime=containerd && sudo systemctl restart containerd",
}
"""How other container engines than Docker learn of the GPUs."""


def on_system(fix: Fix, place: Place) -> list[Fix]:
    """The same with this system's package manager, and on the right side of a container's wall."""
    if (written := _for_system(fix, place)) is None:
        return []
    fix = written
    if place.container == "kubernetes" and fix.command.startswith("docker "):
        return [_in_kubernetes(fix)]
    if place.container in RUNTIME:
        command = fix.command.replace(SET_UP, RUNTIME[place.container])
        fix = Fix(command, fix.note, fix.safety, fix.verify)
    if place.container == "podman":
        fix = Fix(_by_podman(fix.command), fix.note, fix.safety, _by_podman(fix.verify))
    if APT in fix.command and not place.package_manager:
        wanted = fix.command.partition(APT)[2].partition(THEN)[0]
        return [Fix("", _joined(f"install what Debian calls {wanted}", fix.note), fix.safety, fix.verify)]
    if APT in fix.command and place.package_manager != "apt-get":
        command = _by_rpm(fix.command, place.package_manager)
        if not command:
            wanted = fix.command.partition(APT)[2].partition(THEN)[0]
            return [Fix("", _joined(f"install what Ubuntu calls {wanted}", fix.note), fix.safety, fix.verify)]
        fix = _changed(fix, command)
    return [_across_the_wall(fix)] if place.container else [fix]


def _for_system(fix: Fix, place: Place) -> Fix | None:
    """The words of Windows' command line there; None for a command of another system."""
    if place.system == "Windows":
        if APT in fix.command:
            return None
        command = re.sub(r'\bexport (\w+)="?([^"\s]*)"?', r"set \1=\2", fix.command)
        command = re.sub(r"\bunset (\w+)", r"set \1=", command)
        return fix if command == fix.command else _changed(fix, command)
    if place.system and fix.command.startswith("winget "):
        return None
    if place.distro == "debian" and (command := re.sub(r"nvidia-driver-\d+(?:-open)?", "nvidia-driver", fix.command)):
        return fix if command == fix.command else _changed(fix, command)
    return fix


def _changed(fix: Fix, command: str, note: str = "") -> Fix:
    return Fix(command, _joined(fix.note, note), fix.safety, fix.verify)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _by_rpm(command: str, manager: str) -> str:
    """Empty where a package's name there is not known."""
    done = []
    for part in command.split(THEN):
        if part.startswith(APT):
            names = part.removeprefix(APT).split()
            if not all(name.startswith(SAME_NAME) or name in BY_SONAME for name in names):
                return ""
            wanted = [f'"{BY_SONAME[name]}()(64bit)"' if name in BY_SONAME else name for name in names]
            part = f"sudo {manager} install {' '.join(wanted)}"
        done.append(part)
    return THEN.join(done)


def _across_the_wall(fix: Fix) -> Fix:
    """In a container there is no sudo and no driver to change, and its package lists are empty."""
    if fix.command.startswith(("docker ", "podman ")):
        return fix
    if any(word in fix.command for word in OF_HOST):
        return fix if "host" in fix.note else _changed(fix, fix.command, "on the host")
    if "sudo " not in fix.command:
        return fix
    command = fix.command.replace("sudo apt-get install ", "apt-get update && apt-get install -y ")
    lasting = "in the image's Dockerfile, as RUN" + (", and ENV for what is exported" if "export " in command else "")
    return _changed(fix, command.replace("sudo ", ""), lasting)


def _by_podman(command: str) -> str:
    if not command.startswith("docker "):
        return command
    return command.replace("docker ", "podman ", 1).replace(GIVE, CDI)


def _in_kubernetes(fix: Fix) -> Fix:
    if fix.command.startswith("docker restart"):
        return Fix("kubectl rollout restart deployment/NAME", _joined(fix.note, "a new pod"), "review", fix.verify)
    if GIVE not in fix.command:
        return Fix(
            "", _joined(fix.note, f"what Docker does by {fix.command} stands in the pod's specification"), "review"
        )
    wanted = [word for word in fix.command.split() if word.startswith("NVIDIA_")]
    variables = f", and in its env {', '.join(wanted)}" if wanted else ""
    note = f"in the pod's specification: resources.limits with nvidia.com/gpu: 1{variables}"
    return Fix("", _joined(note, fix.note), "review", fix.verify or "nvidia-smi")
