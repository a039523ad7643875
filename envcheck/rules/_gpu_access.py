"""The way from a program to a GPU, link by link: kernel driver, device nodes, libcuda, NVML, MIG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Absent, known
from envcheck.versions import numbers

if TYPE_CHECKING:
    from envcheck.core.snapshot import Snapshot
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix

DEFAULT_NAMES = ("torch", "tensorflow")
"""Packages whose default build on the index is a CUDA build: their presence is no wish for a GPU."""


class Scene:
    """What the checks share."""

    def __init__(
        self,
        builds: Sequence[FrameworkBuild],
        driver: Driver | None,
        env: dict[str, str],
        container: bool,
        wsl: bool,
        packages: Packages | None,
        snapshot: Snapshot,
        matrix: Matrix,
    ) -> None:
        self.builds, self.driver, self.env = builds, driver, env
        self.container, self.wsl, self.packages, self.snapshot = container, wsl, packages, snapshot
        self.nvidia, self.matrix = snapshot.machine.nvidia, matrix
        self.wish = self._wish()

    @property
    def subject(self) -> str:
        return ", ".join(map(str, self.builds[:3]))

    def _wish(self) -> Evidence | None:
        """Who asked for a GPU: a label, a package's name, the image; None where only the index's default came."""
        for build in self.builds:
            label = self.packages.label(build.package) if self.packages is not None else None
            if label and label.startswith(("cu", "cuda")):
                return Evidence(f"{build.package} is the build {label}", "version label")
            if build.package not in DEFAULT_NAMES:
                return Evidence(f"{build.package} is there for GPUs", "package list")
        for name in ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_REQUIRE_CUDA"):
            value = self.env.get(name)
            if value and value.lower() not in ("void", "none"):
                return Evidence(f"{name}={value[:60]}", "environment")
        return None

    def finding(
        self,
        message: str,
        evidence: Sequence[Evidence],
        fixes: Sequence[Fix],
        severity: str = "error",
        confidence: str = "high",
    ) -> Finding:
        return Finding(
            severity=severity,
            confidence=confidence,
            subject=self.subject,
            message=message,
            evidence=[*evidence, *([self.wish] if self.wish else []), *self.builds[0].evidence],
            fixes=list(fixes),
        )

    def install_driver(self, gpus: Sequence[GpuView], note: str = "") -> Fix:
        """A driver that these GPUs have and that the builds need."""
        from envcheck.rules._fixes import branch_for, driver_package
        from envcheck.rules._floors import floor_of

        floors = [floor_of(self.matrix, build.cuda, windows=False) for build in self.builds if build.cuda]
        needed = [floor[0] for floor in floors if floor is not None] or ["525.60.13"]
        branch = branch_for(self.matrix, max(needed, key=numbers), gpus) or branch_for(self.matrix, "450", gpus)
        if known(self.snapshot.machine.system) == "Windows" or branch is None:
            return Fix("", f"install NVIDIA's driver for this GPU; {note}".rstrip("; "), "manual", "nvidia-smi")
        command = f"sudo apt-get install {driver_package(branch, gpus)} && sudo reboot"
        return Fix(command, note or "or the driver of this branch from your distribution", "manual", "nvidia-smi")

    def start_container(self) -> list[Fix]:
        check = "docker run --rm --gpus all ubuntu nvidia-smi"
        return [
            Fix(
                "docker run --gpus all IMAGE",
                "the same in compose: deploy.resources.reservations.devices",
                "review",
                "nvidia-smi",
            ),
            Fix(
                "sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker "
                "&& sudo systemctl restart docker",
                "on the host, when --gpus is refused or has no effect",
                "manual",
                check,
            ),
        ]


def unbound(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """GPUs on the bus that another kernel driver holds."""
    foreign = []
    for gpu in gpus:
        bound = gpu.raw.kernel_driver
        if isinstance(bound, str) and bound not in ("nvidia", "nvgpu", "tegra"):
            foreign.append((gpu, bound))
        elif isinstance(bound, Absent) and not scene.wsl and isinstance(scene.nvidia.version, Absent):
            foreign.append((gpu, "no driver"))
    if not foreign:
        return []
    gpu, bound = foreign[0]
    alone = len(foreign) == len(gpus)
    if bound == "no driver":
        return _no_driver(scene, gpu) if alone else []
    if bound == "vfio-pci":
        fix = Fix(
            "", "give the GPU back to the host, or run inside the virtual machine that has it", "manual", "lspci -k"
        )
    else:
        fix = scene.install_driver([gpu], f"installing it also disables {bound}")
    return [
        scene.finding(
            f"{gpu.name} is bound to the kernel driver {bound}, and CUDA needs NVIDIA's own",
            [Evidence(f"{known(gpu.raw.pci_bus) or gpu.name}: kernel driver {bound}", "PCI bus")],
            [fix],
            "error" if alone else "info",
            "high",
        )
    ]


def _no_driver(scene: Scene, gpu: GpuView) -> list[Finding]:
    """An NVIDIA GPU is plugged in, and there is no NVIDIA driver."""
    why = getattr(scene.nvidia.version, "why", "there is no NVIDIA driver")
    if scene.container:
        return [
            scene.finding(
                f"the host has {gpu.name}, but this container has no access to it: {why}",
                [Evidence(why, "driver"), gpu.evidence],
                scene.start_container(),
                "error" if scene.wish else "warning",
                "medium",
            )
        ]
    fix = scene.install_driver([gpu])
    message = f"the machine has {gpu.name}, but no NVIDIA driver that {scene.subject} could use: {why}"
    return [scene.finding(message, [Evidence(why, "driver"), gpu.evidence], [fix], "error", "medium")]


def mig_without_instance(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """With MIG enabled, CUDA sees instances only."""
    empty = [gpu for gpu in gpus if known(gpu.raw.mig) == "enabled" and known(gpu.raw.mig_instances) == 0]
    if not empty:
        return []
    gpu = empty[0]
    return [
        scene.finding(
            f"MIG is enabled on {gpu.name}, but it has no instance: CUDA sees no device there",
            [Evidence(f"{gpu.name}: MIG enabled, 0 instances", "NVML")],
            [
                Fix(
                    f"sudo nvidia-smi mig -i {gpu.index} -cgi 0 -C",
                    "one instance with the whole GPU",
                    "manual",
                    "nvidia-smi -L",
                ),
                Fix(f"sudo nvidia-smi -i {gpu.index} -mig 0", "turns MIG off", "manual", "nvidia-smi -L"),
            ],
            "error" if len(empty) == len(gpus) else "warning",
        )
    ]


def closed_mode(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """A compute mode that leaves no room for this program: error 46, "busy or unavailable"."""
    modes = [(gpu, known(gpu.raw.compute_mode), known(gpu.raw.used_by) or 0) for gpu in gpus]
    shut = [gpu for gpu, mode, users in modes if mode == "Prohibited" or (mode == "Exclusive_Process" and users)]
    if not shut:
        return []
    gpu, mode = shut[0], known(shut[0].raw.compute_mode)
    prohibited = mode == "Prohibited"
    why = "lets no program use it" if prohibited else "lets one process use it, and another one does"
    reset = Fix(f"sudo nvidia-smi -i {gpu.index} -c DEFAULT", "lets every program use it", "review", "nvidia-smi")
    end = Fix("nvidia-smi", "shows the process: wait for it, end it, or use MPS", "review")
    return [
        scene.finding(
            f"the compute mode of {gpu.name} is {mode}, which {why}",
            [Evidence(f"compute mode {mode}" + ("" if prohibited else ", 1 process"), "NVML")],
            [reset] if prohibited else [end, reset],
            "error" if prohibited and len(shut) == len(gpus) else "warning",
            "high" if prohibited else "medium",
        )
    ]


OPEN_ONLY, OPEN_FROM = (10, 0), (7, 5)
"""Blackwell and newer have no proprietary module; the open one needs the GSP, which Turing brought."""
KERNEL_MODULES = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/kernel-modules.html"
OPEN_NEEDED = "https://developer.nvidia.com/blog/nvidia-transitions-fully-towards-open-source-gpu-kernel-modules/"


def wrong_module(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """A GPU on the bus that the loaded kind of kernel module does not drive: NVML does not list it."""
    kind = known(scene.nvidia.module)
    # What NVML lists works with the module that is loaded; of others, only the PCI id tells the generation.
    lost = [gpu for gpu in gpus if gpu.sm is not None and known(gpu.raw.compute_capability) is None]
    if kind not in ("open", "proprietary") or scene.wsl or (scene.driver is not None and scene.driver.tegra):
        return []
    for gpu in lost:
        sm = gpu.sm or (0, 0)
        need = "open" if kind == "proprietary" and sm >= OPEN_ONLY else ""
        need = "proprietary" if kind == "open" and sm < OPEN_FROM else need
        if not need:
            continue
        branch = (known(scene.nvidia.version) or "").partition(".")[0] or "580"
        package = f"nvidia-driver-{branch}" + ("-open" if need == "open" else "")
        where = "on the host, " if scene.container else ""
        told = Evidence(f"{'Blackwell and newer need' if need == 'open' else 'the open one supports Turing and newer'}",
                        "NVIDIA, kernel modules", OPEN_NEEDED if need == "open" else KERNEL_MODULES)  # fmt: skip
        note = f"{where}the driver with the {need} kernel module"
        return [
            scene.finding(
                f"{gpu.name} (compute capability {gpu.cc}) needs the {need} kernel module of the driver, but the "
                f"{kind} one is loaded, and NVML does not list this GPU",
                [Evidence(f"kernel module: {kind}", "/proc/driver/nvidia/version"), gpu.evidence, told],
                [Fix(f"sudo apt-get install {package} && sudo reboot", note, "manual", "nvidia-smi -L")],
                "error" if len(lost) == len(gpus) else "warning",
                "high",
            )
        ]
    return []


def denied(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """Device nodes that are there, and that this process may not open."""
    nodes = [path for path in scene.nvidia.nodes_denied if "nvidia-cap" not in path]
    if not nodes or scene.snapshot.built_on is not None:
        return []
    evidence = [Evidence(f"no permission to read and write {path}", "/dev") for path in nodes[:3]]
    if scene.container:
        fixes = [
            Fix("docker run --gpus all IMAGE", "in place of -v or --device: it sets the permissions too", "review"),
            Fix("docker run --gpus all --group-add video IMAGE", "when the program runs as another user", "review"),
        ]
    else:
        fixes = [
            Fix("sudo usermod -aG video,render $USER", "then log in again", "manual", "ls -l /dev/nvidia*"),
            Fix("sudo chmod 0666 /dev/nvidia*", "the driver's default, until the next boot", "manual", "nvidia-smi"),
        ]
    # The control node and the memory node are everybody's; a GPU's own may be another user's.
    shared = any(path.endswith(("nvidiactl", "nvidia-uvm", "dxg")) for path in nodes)
    message = f"this process may not use {', '.join(nodes[:3])}, so that {scene.subject} gets no GPU"
    return [scene.finding(message, evidence, fixes, "error" if shared else "warning", "high" if shared else "medium")]


NVML_CODES = {"4", "9", "12", "17", "27", "28", "999"}
"""NVML errors that mean: the driver cannot be used from here. 18 is another rule's, 3 means nothing."""


def broken(gpus: Sequence[GpuView], scene: Scene) -> list[Finding]:
    """The GPU is there, and the way to it is not."""
    nvidia = scene.nvidia
    if scene.wsl:
        return _wsl(scene)
    if scene.container and scene.snapshot.built_on is None:
        lacking = [
            (name, fact)
            for name, fact in (("libcuda.so.1", nvidia.libcuda), ("the device nodes /dev/nvidia*", nvidia.nodes))
            if isinstance(fact, Absent)
        ]
        if lacking and not isinstance(nvidia.version, Absent):
            missing = " and ".join(name for name, _ in lacking)
            message = (
                f"the host's driver is loaded, but this container lacks {missing}: it was started without GPU access"
            )
            why = [Evidence(fact.why, "driver") for _, fact in lacking]
            severity, confidence = "error" if scene.wish else "warning", "high" if len(lacking) == 2 else "medium"
            return [scene.finding(message, why, scene.start_container(), severity, confidence)]
    if isinstance(nvidia.version, Absent) and known(nvidia.cuda) is None and known(nvidia.nvml_error) is None:
        return _no_driver(scene, gpus[0])
    found = _nvml(scene)
    if not found and isinstance(nvidia.libcuda, Absent) and known(nvidia.cuda) is None and not scene.container:
        branch = (known(nvidia.version) or "").partition(".")[0]
        fix = Fix(f"sudo apt-get install libnvidia-compute-{branch}", "the user-mode half of the driver", "manual")
        message = f"the kernel driver is loaded, but the loader finds no libcuda.so.1: {nvidia.libcuda.why}"
        found = [scene.finding(message, [Evidence(nvidia.libcuda.why, "loader")], [fix], "error", "medium")]
    return found


def _nvml(scene: Scene) -> list[Finding]:
    """What NVML answered, where that says that the driver cannot be used from here."""
    error = known(scene.nvidia.nvml_error)
    code = error.split()[0] if error else ""
    if not error or code not in NVML_CODES:
        return []
    row = scene.matrix.row("nvml-errors", code=code)
    meaning = f" ({row['meaning']})" if row is not None and row["meaning"] else ""
    if not scene.container:
        fixes = [_reload(code)]
    elif code in ("4", "17", "999"):
        note = "make the container anew; its device access was lost, as after systemctl daemon-reload"
        fixes = [Fix("docker restart CONTAINER", note, "review", "nvidia-smi")]
    else:
        fixes = scene.start_container()[:1]
    message = f"NVML answers with error {error}{meaning}, so that {scene.subject} gets no GPU"
    return [scene.finding(message, [Evidence(f"NVML: {error}", "NVML")], fixes, "error", "medium")]


def _reload(code: str) -> Fix:
    if code == "12":
        return Fix(
            "sudo apt-get install libnvidia-compute-580",
            "libnvidia-ml of the driver's own version",
            "manual",
            "nvidia-smi",
        )
    if code == "4":
        return Fix("sudo usermod -aG video,render $USER", "then log in again", "manual", "nvidia-smi")
    return Fix(
        "sudo modprobe nvidia nvidia_uvm",
        "when that fails: dmesg says why; reboot after a driver update",
        "manual",
        "nvidia-smi",
    )


def _wsl(scene: Scene) -> list[Finding]:
    """In WSL, libcuda comes from Windows and lies in /usr/lib/wsl/lib."""
    libcuda = scene.nvidia.libcuda
    if isinstance(libcuda, Absent) and scene.container:
        message = f"this container lacks libcuda.so.1 ({libcuda.why}): it was started without GPU access"
        severity = "error" if scene.wish else "warning"
        return [scene.finding(message, [Evidence(libcuda.why, "loader")], scene.start_container(), severity, "medium")]
    if isinstance(libcuda, Absent):
        return [
            scene.finding(
                f"WSL offers no libcuda ({libcuda.why}): the Windows driver is missing or WSL is version 1",
                [Evidence(libcuda.why, "loader")],
                [
                    Fix(
                        "wsl --update && wsl --shutdown",
                        "in Windows, after installing NVIDIA's Windows driver",
                        "manual",
                        "nvidia-smi",
                    )
                ],
                "error",
                "medium",
            )
        ]
    if isinstance(libcuda, str) and "/wsl/" not in libcuda and not scene.container:
        return [
            scene.finding(
                f"libcuda is loaded from {libcuda}, but in WSL it must be the one in /usr/lib/wsl/lib: a Linux driver "
                f"shadows it",
                [Evidence(f"libcuda: {libcuda}", "loader")],
                [
                    Fix(
                        "sudo apt-get purge 'nvidia-*' 'libnvidia-*'",
                        "no Linux driver inside WSL",
                        "manual",
                        "nvidia-smi",
                    )
                ],
                "error",
                "medium",
            )
        ]
    return []
