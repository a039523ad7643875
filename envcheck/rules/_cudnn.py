"""Which cuDNN each package needs, and which ones are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Stack, known
from envcheck.rules._cuda_libs import cite, kind_of, needs_system_cuda
from envcheck.versions import numbers, public

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix


class Need(Struct, frozen=True):
    """The cuDNN one package wants."""

    who: str
    package: str
    cuda: int | None
    major: int
    minimum: str | None
    """It was compiled with this one; None where only the major counts."""
    older: str
    """What it does with an older minor release: ``refuses``, ``warns`` or empty where it does not look."""
    wheels: bool
    """It finds the wheel nvidia-cudnn by itself."""
    confidence: str
    evidence: list[Evidence]

    @property
    def wheel(self) -> str:
        """Name of NVIDIA's wheel for this package's CUDA."""
        return f"nvidia-cudnn-cu{self.cuda or 12}"


class Have(Struct, frozen=True):
    """One cuDNN that is there."""

    major: int
    version: str | None
    place: str
    """``wheel``, ``system``, ``conda``, ``torch``, ``stated`` or ``loaded`` (what its files get from the loader)."""
    label: str
    evidence: Evidence


def needs(builds: Sequence[FrameworkBuild], packages: Packages | None, matrix: Matrix) -> Iterator[Need]:
    """Of every package that loads a cuDNN it does not bring; torch brings its own and is not among them."""
    for build in builds:
        need = _of_build(build, matrix)
        if need is not None:
            yield need
    for package in packages or ():
        version = known(package.version)
        if version is not None:
            yield from _of_package(package.name, version, builds, matrix)


def _of_build(build: FrameworkBuild, matrix: Matrix) -> Need | None:
    kind, cuda = kind_of(build.package), build.cuda_major
    if kind == "jax" and build.package != "jaxlib":
        return _jax_plugin(build, matrix) if build.package.endswith("-plugin") else None
    if kind == "paddlepaddle-gpu":
        return _paddle(build)
    if kind not in ("tensorflow", "jax", "onnxruntime-gpu") or not build.cudnn:
        return None
    parts = numbers(build.cudnn)
    strict = kind != "onnxruntime-gpu"
    minimum = build.cudnn if strict and len(parts) > 1 else None
    wheels = strict and needs_system_cuda(build) is None
    older = "refuses" if strict else ""
    return Need(str(build), build.package, cuda, parts[0], minimum, older, wheels, build.confidence, build.evidence)


def _paddle(build: FrameworkBuild) -> Need | None:
    """Up to 2.6 it takes what it finds and warns of an older one; from 3.0 on its package brings cuDNN."""
    if not build.cudnn or not build.version or numbers(build.version)[0] >= 3:
        return None
    parts = numbers(build.cudnn)
    minimum = ".".join(map(str, parts[:2])) if len(parts) > 1 else None  # it compares no more than that
    return Need(
        str(build), build.package, build.cuda_major, parts[0], minimum, "warns", False, build.confidence, build.evidence
    )


def _jax_plugin(build: FrameworkBuild, matrix: Matrix) -> Need | None:
    from envcheck.matrix.lookup import of_minor

    if build.version is None:
        return None
    row = of_minor(matrix.rows("jax-plugins", package=build.package), "version", build.version)
    if row is None or not row["cudnn_min"]:
        return None
    minimum = str(row["cudnn_min"])
    text = f"{build.package} {row['version']} asks for cuDNN {minimum} or newer"
    evidence = [cite(matrix, row, text)]
    return Need(
        str(build), build.package, build.cuda_major, numbers(minimum)[0], minimum, "refuses", True, "high", evidence
    )


def _of_package(name: str, version: str, builds: Sequence[FrameworkBuild], matrix: Matrix) -> Iterator[Need]:
    from envcheck.matrix.lookup import applying

    rows = matrix.rows("cudnn-needs", package=name)
    for row in applying(rows, public(version)) if rows else ():
        build = next((b for b in builds if b.package == name), None)
        if row["cuda"] and (build is None or str(build.cuda_major) != row["cuda"]):
            continue
        minimum = row["cudnn_min"]
        text = f"{name} from {row['from_version']} on loads cuDNN {minimum or row['cudnn_major']}"
        text += f" ({row['note']})" if row["note"] else ""
        yield Need(
            f"{name} {version}",
            name,
            build.cuda_major if build else None,
            int(row["cudnn_major"]),
            minimum,
            row["older"] or "",
            False,
            row["confidence"],
            [cite(matrix, row, text)],
        )


def haves(stack: Stack, libraries: Libraries | None, packages: Packages | None) -> list[Have]:
    """Every cuDNN that is known to be there, the more certain first; one entry for each place and release."""
    found: list[Have] = []
    system = known(stack.cudnn)
    if system and numbers(system):
        text = f"the system's cuDNN is {system}"
        found.append(
            Have(numbers(system)[0], system, "system", f"the system's cuDNN {system}", Evidence(text, "facts"))
        )
    for item in libraries.find("cudnn") if libraries else ():
        if item.name.number is None or item.name.stem != "cudnn":
            continue
        place = {"wheel": "wheel", "conda": "conda", "torch": "torch", "stated": "stated"}.get(item.origin, "system")
        if place in ("system", "stated") and any(h.place == "system" and h.major == item.name.number for h in found):
            continue
        by = f" of {item.package}" if item.package else f" ({item.file})"
        label = f"cuDNN {item.version or item.name.number}{by}"
        found.append(Have(item.name.number, item.version, place, label, item.evidence))
    return found


def on_library_path(stack: Stack, libraries: Libraries | None, env: dict[str, str]) -> Have | None:
    """A cuDNN outside of wheels that LD_LIBRARY_PATH puts before that of a wheel; None when there is none."""
    for item in libraries.find("cudnn") if libraries else ():
        if item.origin == "LD_LIBRARY_PATH" and item.name.stem == "cudnn" and item.name.number is not None:
            version = item.version or known(stack.cudnn)
            return Have(item.name.number, version, "system", f"cuDNN {version or item.name.number}", item.evidence)
    system = known(stack.cudnn)
    if not system or not numbers(system) or (libraries is not None and libraries.complete):
        return None
    folder = next((part for part in env.get("LD_LIBRARY_PATH", "").split(":") if _holds_system_libraries(part)), None)
    if folder is None:
        return None
    text = f"LD_LIBRARY_PATH has {folder}, and the system's cuDNN is {system}"
    return Have(numbers(system)[0], system, "system", f"the system's cuDNN {system}", Evidence(text, "environment"))


def _holds_system_libraries(folder: str) -> bool:
    """A folder in which the packages of cuDNN put it: the system's, or a CUDA toolkit's."""
    path = folder.rstrip("/").lower()
    if "site-packages" in path or "dist-packages" in path or path.endswith(("/compat", "/stubs")):
        return False
    if path in ("/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib"):
        return True
    return (
        "cudnn" in path
        or path.endswith(("/cuda/lib64", "/cuda/lib"))
        or ("/cuda-" in path and path.endswith(("lib64", "lib")))
    )


def release_of(version: str) -> tuple[int, ...]:
    """The release of cuDNN without the build number that wheels add: 9.1.0.70 is 9.1.0."""
    return numbers(version)[:3]
