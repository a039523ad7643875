"""Another image for a container: often a smaller change than what has to be put into the one that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcheck.core.report import Fix
from envcheck.core.snapshot import Absent, Unknown
from envcheck.remedies.system import CDI, GIVE
from envcheck.versions import minor, numbers, public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView
    from envcheck.matrix import Matrix
    from envcheck.remedies.place import Place

MENDED = ("driver-too-old", "gpu-arch-too-new", "gpu-arch-too-old", "cpu-only-build", "cuda-major-mismatch")
"""Causes that lie in the CUDA release that an image was built with."""
FRAMEWORKS = ("torch", "tensorflow", "tensorrt")
"""What images are made for, in the order in which a program's packages are looked at."""


SEEN = "nvidia-smi"


class Image(NamedTuple):
    """A public image."""

    reference: str
    """As ``docker pull`` takes it."""
    framework: str
    version: str
    cuda: str


def other_images(rule: str, place: Place) -> list[Fix]:
    """An image with the same framework that fits driver and GPUs; none outside of a container.

    Without a driver and a GPU that are known nothing is better than what is there.
    """
    if not place.container or rule not in MENDED or place.packages is None:
        return []
    framework = next((name for name in FRAMEWORKS if name in place.packages), "")
    driver, gpus = place.facts.get("driver"), place.facts.get("gpus")
    driver = None if isinstance(driver, (Absent, Unknown)) else driver
    gpus = [] if isinstance(gpus, (Absent, Unknown)) else list(gpus)
    if not framework or not (driver or gpus) or (driver is not None and driver.tegra):
        return []
    best = best_image(place.facts.matrix, framework, place.packages.version(framework), driver, gpus)
    if best is None:
        return []
    fits = ", ".join(filter(None, (str(driver or ""), " and ".join(dict.fromkeys(gpu.name for gpu in gpus)))))
    note = f"an image with {framework} {best.version} for CUDA {minor(best.cuda)}, which fits {fits}: for its FROM"
    if place.container == "kubernetes":
        return [Fix(f"kubectl set image deployment/NAME CONTAINER={best.reference}", note, "review", SEEN)]
    program = "podman" if place.container == "podman" else "docker"
    given = CDI if program == "podman" else GIVE
    return [Fix(f"{program} pull {best.reference}", note, "review", f"{program} run --rm {given} IMAGE {SEEN}")]


def best_image(
    matrix: Matrix, framework: str, version: str | None, driver: Driver | None, gpus: list[GpuView]
) -> Image | None:
    """The image with the release that is installed, or the nearest newer, or the newest one."""
    from envcheck.rules._coverage import toolkit_side
    from envcheck.rules._floors import judge

    fitting = [
        image
        for image in listed(matrix, framework)
        if not any(gpu.sm is not None and toolkit_side(minor(image.cuda), gpu.sm, matrix) for gpu in gpus)
        and (driver is None or judge(driver, minor(image.cuda), matrix).ok)
    ]
    mine = numbers(public(version))[:2] if version else ()
    same = [image for image in fitting if numbers(image.version)[:2] == mine]
    if same:
        return max(same, key=lambda image: (numbers(image.version), numbers(image.cuda)))
    newer = [image for image in fitting if mine and numbers(image.version)[:2] > mine]
    if newer:
        return min(newer, key=lambda image: (numbers(image.version), [-number for number in numbers(image.cuda)]))
    return max(fitting, key=lambda image: numbers(image.version), default=None)


def listed(matrix: Matrix, framework: str) -> Iterator[Image]:
    """Images with a framework of which the tables know the CUDA release."""
    for row in matrix.rows("ngc-images", image="pytorch" if framework == "torch" else framework):
        said = row[framework]
        version = next(iter(said), "") if isinstance(said, list) else said or ""
        if version and row["cuda"] and len(numbers(row["cuda"])) > 1:
            suffix = "-tf2" if framework == "tensorflow" else ""
            name = "pytorch" if framework == "torch" else framework
            reference = f"nvcr.io/nvidia/{name}:{row['release']}{suffix}-py3"
            yield Image(reference, framework, _plain(version), row["cuda"])


def _plain(version: str) -> str:
    """``2.6.0a0+ecf3bae`` -> ``2.6.0a0``."""
    return version.partition("+")[0]
