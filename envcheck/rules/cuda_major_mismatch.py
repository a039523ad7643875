"""A package is built for another CUDA major release than the libraries that are there.

What it does
    Looks at packages whose CUDA libraries the system or other wheels must bring (ONNX Runtime, TensorFlow, CuPy, older
    jaxlib), at libraries that something could not find, and at NVIDIA wheels that overwrite each other. Reports when
    the CUDA that is there has another major number than the one that is needed.

Why it fails
    The name of a library contains its major: a CUDA 12 program asks for libcudart.so.12, and libcudart.so.13 does not
    serve it. Newer is no substitute. The wheels nvidia-cudnn-cu12 and -cu13 (NCCL and NVSHMEM likewise) write files of
    the same name into the same folder; the one installed last destroys the other.

How it shows
    `Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.11: cannot open shared object
    file`; `CUDA_PATH is set but CUDA wasn't able to be loaded`; `Could not load dynamic library 'libcudart.so.11.0'`;
    `CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH`. ONNX Runtime and TensorFlow then run on the CPU.

How to fix
    Take the build of the package for the CUDA that is there, or install the libraries of its own CUDA major as wheels.
    Several CUDA majors can be installed side by side.

Exceptions
    PyTorch brings its CUDA libraries: the system's toolkit does not matter to it, nor does nvcc. The digits in a name
    are not always the CUDA major: libcufft.so.11 and libcusolver.so.11 belong to CUDA 12.

Sources
    NEEDED entries of the libraries in onnxruntime-gpu wheels; TensorFlow's tested configurations; cuda-pathfinder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import FileClash, Stack, Toolkit, known
from envcheck.rules._binaries import displaced, finds_all
from envcheck.rules._cuda_libs import cite, fixes_for, is_side_framework, needed_files, needs_system_cuda
from envcheck.versions import canonical, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.libraries import Found, Libraries
    from envcheck.matrix import Matrix

EXPLAINS = ("missing-shared-library", "cudnn-mismatch")


def check(
    stack: Stack,
    *,
    cuda_builds: Sequence[FrameworkBuild] = (),
    libraries: Libraries | None = None,
    packages: Packages | None = None,
    toolkit: Toolkit | None = None,
    system: str | None = None,
    has_gpu: bool | None = None,
    visible_gpus: Sequence[GpuView] = (),
    matrix: Matrix,
) -> Iterator[Result]:
    if packages is not None:
        yield from _overwritten(packages, known(stack.clashes) or [], matrix)
    if libraries is None:
        return
    if stack.binaries and has_gpu is not False:
        yield from displaced(stack, libraries)
    there = _There(libraries, toolkit, visible_gpus)
    explained: set[int] = set()
    windows = system == "Windows"
    for asked, files in _missing_by_cuda(libraries).items():
        if (majors := there.instead_of(asked, files)) is not None:
            explained.add(asked)
            yield _missing_finding(asked, files, majors, there, cuda_builds, packages, has_gpu, matrix)
    for build in cuda_builds:
        cuda = build.cuda_major
        if cuda in explained or needs_system_cuda(build) is False or has_gpu is False:
            continue
        if cuda is not None:
            side = is_side_framework(build.package, cuda_builds)
            if stack.binaries and finds_all(stack, build.package):
                yield Pass(str(build), "the loader finds every library that its files need")
                continue
            yield from _build(build, cuda, there, side, packages, windows, matrix)
        elif needs_system_cuda(build) and not explained:
            missing = f"packages.{build.package}"
            yield Undecided(str(build), missing, f"which CUDA it is built for can't be told: {build.evidence[0].fact}")


class _There:
    """The CUDA that is there, by how sure we are of it."""

    def __init__(self, libraries: Libraries, toolkit: Toolkit | None, gpus: Sequence[GpuView]) -> None:
        self.libraries = libraries
        self.gpus = gpus
        # NVIDIA's wheels beside torch are torch's; without torch somebody installed them for another package.
        beside_torch = any(item.origin == "torch" for item in libraries.found)
        self.all = libraries.cuda_majors()
        self.stated = libraries.cuda_majors(stated=True) if beside_torch else self.all
        version = known(toolkit.version) if toolkit is not None else None
        self.toolkit = version
        self.toolkit_major = int(numbers(version)[0]) if version and numbers(version) else None

    def instead_of(self, cuda: int, files: Sequence[str]) -> list[int] | None:
        """Other CUDA majors that are there while ``files`` of this one are missing; None when there is none."""
        stated = set(self.stated) | ({self.toolkit_major} if self.toolkit_major else set())
        if cuda in stated:
            return None
        # libcusparse.so.12 instead of .11 says "not CUDA 11", if not which other one.
        other = [item.cuda for file in files for item in self._other_numbers(file)]
        unclear = {min(majors) for majors in other}
        return sorted(stated or unclear or set(self.all) - {cuda}) or None

    def _other_numbers(self, file: str) -> list[Found]:
        wanted = self.libraries.cuda_of(file)
        stems = {item.name.stem for item in self.libraries.satisfying(file)} or {_stem(file)}
        return [
            i
            for i in self.libraries.found
            if i.name.stem in stems and i.cuda and not i.cuda & wanted and i.origin != "torch"
        ]

    def evidence(self, majors: Sequence[int]) -> list[Evidence]:
        found = [item for major in majors for item in (self.stated.get(major) or self.all.get(major) or ())[:3]]
        evidence = [item.evidence for item in found]
        if self.toolkit_major in majors:
            evidence.append(Evidence(f"CUDA toolkit {self.toolkit}", "nvcc"))
        return evidence

    def named(self, majors: Sequence[int]) -> str:
        """``CUDA 13 (libcudart.so.13)``."""
        texts = []
        for major in majors:
            items = self.stated.get(major) or self.all.get(major)
            if items:
                by = f", which {items[0].package} brings" if items[0].origin == "torch" else f" ({items[0].file})"
            else:
                by = f" (toolkit {self.toolkit})" if major == self.toolkit_major else ""
            texts.append(f"CUDA {major}{by}")
        return " and ".join(texts)


def _stem(file: str) -> str:
    from envcheck.facts.libraries import parse_name

    name = parse_name(file)
    return name.stem if name else ""


def _missing_by_cuda(libraries: Libraries) -> dict[int, list[str]]:
    """Missing CUDA libraries by the CUDA major they belong to; cuDNN and TensorRT serve several majors."""
    by_cuda: dict[int, list[str]] = {}
    for file in libraries.missing:
        majors = libraries.cuda_of(file)
        if majors and not _stem(file).startswith(("cudnn", "nvinfer")):
            by_cuda.setdefault(min(majors), []).append(file)
    return by_cuda


def _missing_finding(
    cuda: int,
    files: list[str],
    majors: list[int],
    there: _There,
    builds: Sequence[FrameworkBuild],
    packages: Packages | None,
    has_gpu: bool | None,
    matrix: Matrix,
) -> Finding:
    users = [b for b in builds if b.cuda_major == cuda] or [b for b in builds if b.cuda_major is None]
    user = next((b for b in users if needs_system_cuda(b) is not False), users[0] if users else None)
    sure = any(major in there.stated or major == there.toolkit_major for major in majors)
    sure = sure and (user is None or not user.package.startswith("tensorrt"))  # that it was TensorRT is inferred
    who = f"{user} needs" if user else "A program needs"
    if user is not None and user.brings_cuda:
        who = f"Something that was built for CUDA {cuda}, as {user} was, needs"
    shown = ", ".join(files)
    evidence = [Evidence(f"{file} was not found", "loader") for file in files]
    evidence += [*(user.evidence if user and user.cuda_major else ()), *there.evidence(majors)]
    return Finding(
        severity="warning" if has_gpu is False else "error",
        confidence="high" if sure else "medium",
        subject=f"{user} and CUDA {majors[-1]}" if user else f"{files[0]} and CUDA {majors[-1]}",
        message=f"{who} {shown} of CUDA {cuda}, which cannot be found; what is there is {there.named(majors)}.",
        evidence=evidence,
        fixes=fixes_for(user, files, cuda, majors[-1], there.libraries, packages, matrix, there.gpus),
    )


def _build(
    build: FrameworkBuild,
    cuda: int,
    there: _There,
    side: bool,
    packages: Packages | None,
    windows: bool,
    matrix: Matrix,
) -> Iterator[Result]:
    """One build that needs the system's CUDA; ``side``: another framework is the one that uses the GPU."""
    libraries = there.libraries
    if cuda <= 10 and cuda == there.toolkit_major and cuda not in there.all:
        yield _minor(build, cuda, there, packages, matrix)
        return
    if cuda in there.all or cuda == there.toolkit_major:
        yield Pass(str(build), f"libraries of CUDA {cuda} are there")
        return
    only_system = needs_system_cuda(build) is True
    if there.stated:
        majors, severity = sorted(there.stated), "error"
        confidence = "high" if libraries.complete and build.confidence == "high" else "medium"
    elif there.toolkit_major is not None and not libraries.complete:
        majors, confidence = [there.toolkit_major], "medium"
        severity = "error" if only_system else "warning"
    elif there.all and only_system:
        majors, severity, confidence = sorted(there.all), "warning", "medium"
    else:
        return
    files, _ = needed_files(build, libraries, matrix, windows=windows)
    what = f" ({files[0]})" if files else ""
    message = f"{build} is built for CUDA {cuda}{what}, and the CUDA that is there is another: {there.named(majors)}."
    yield Finding(
        severity="warning" if side else severity,
        confidence=confidence if build.confidence != "low" else "low",
        subject=f"{build} and CUDA {majors[-1]}",
        message=message,
        evidence=[*build.evidence, *there.evidence(majors)],
        fixes=fixes_for(build, files, cuda, majors[-1], libraries, packages, matrix, there.gpus),
    )


def _minor(
    build: FrameworkBuild, cuda: int, there: _There, packages: Packages | None, matrix: Matrix
) -> Finding | Pass:
    """Up to CUDA 10 the names of the libraries carry the minor release: 10.0 does not serve a build for 10.1."""
    wanted, have = numbers(build.cuda or ""), numbers(there.toolkit or "")
    if len(wanted) < 2 or len(have) < 2 or wanted[:2] == have[:2]:
        return Pass(str(build), f"libraries of CUDA {cuda} are there")
    return Finding(
        severity="error",
        confidence="medium",
        subject=f"{build} and CUDA {there.toolkit}",
        message=f"{build} is built for CUDA {build.cuda}, and the toolkit that is there is {there.toolkit}: "
        "up to CUDA 10 each minor release has libraries of its own name.",
        evidence=[*build.evidence, *there.evidence([cuda])],
        fixes=[
            Fix(
                command=f'conda install "cudatoolkit={build.cuda}"',
                note="the libraries of that release, in a conda environment; or a newer release of the package",
                safety="review",
            )
        ],
    )


def _overwritten(packages: Packages, clashes: Sequence[FileClash], matrix: Matrix) -> Iterator[Finding]:
    """NVIDIA wheels for two CUDA majors whose files have the same names in the same folder."""
    if sum(package.name.startswith("nvidia-") for package in packages) < 2:
        return
    by_file: dict[tuple[str, str], dict[str, int]] = {}
    rows = {}
    for row in matrix.rows("sonames"):
        if row["wheel_package"] in packages and not (packages.version(row["wheel_package"]) or "").startswith("0.0."):
            by_file.setdefault((row["wheel_dir"], row["soname"]), {})[row["wheel_package"]] = int(row["cuda"])
            rows[row["wheel_package"]] = row
    seen = set()
    for (folder, soname), wheels in by_file.items():
        pair = tuple(sorted(wheels))
        versions = [packages.version(name) for name in pair]
        if len(pair) < 2 or pair in seen or not _same_file(pair, versions, soname):
            continue
        seen.add(pair)
        yield _overwritten_finding(
            pair,
            versions,
            wheels,
            f"{folder}/{soname}",
            clashes,
            packages,
            cite(matrix, rows[pair[0]], f"{' and '.join(pair)} both write {folder}/{soname}"),
        )


def _same_file(pair: tuple[str, ...], versions: Sequence[str | None], soname: str) -> bool:
    """cuDNN's file name depends on its release: the wheels meet only when both are of that major."""
    if not pair[0].startswith("nvidia-cudnn-"):
        return True
    majors = {int(numbers(version)[0]) for version in versions if version and numbers(version)}
    return len(majors) <= 1 and (not majors or soname.endswith(f".{majors.pop()}"))


def _overwritten_finding(
    pair: tuple[str, ...],
    versions: Sequence[str | None],
    wheels: dict[str, int],
    file: str,
    clashes: Sequence[FileClash],
    packages: Packages,
    row: Evidence,
) -> Finding:
    labels = [f"{name} {version}" if version else name for name, version in zip(pair, versions, strict=True)]
    seen = next((c for c in clashes if {canonical(owner) for owner in c.owners} >= set(pair)), None)
    from envcheck.rules._overwritten import outcome, whose_files

    evidence = [*(Evidence(f"{label} is installed", "package list") for label in labels), row]
    if seen is not None:
        evidence += whose_files(clashes, pair)
    torch = packages.label("torch") or ""
    keep = next((name for name in pair if torch.startswith(f"cu{wheels[name]}")), pair[-1])
    drop = [name for name in pair if name != keep]
    version = packages.version(keep)
    again = f'"{keep}=={version}"' if version else keep
    # Two releases of cuDNN mix their sub-libraries; NCCL and NVSHMEM are one file each and mostly work.
    severity = "error" if pair[0].startswith("nvidia-cudnn-") else "warning"
    majors = " and ".join(str(wheels[name]) for name in pair)
    return Finding(
        severity=severity,
        confidence="high" if seen is not None else "medium",
        subject=" and ".join(labels),
        message=f"{' and '.join(labels)}, for CUDA {majors}, write the same files ({file}); {outcome(clashes, pair)}.",
        evidence=evidence,
        fixes=[
            Fix(
                command=f"pip uninstall -y {' '.join(pair)} && pip install --no-deps --force-reinstall {again}",
                note=f"keeps one; what needs {' and '.join(drop)} belongs into an environment of its own",
                safety="review",
                verify=f"pip show {keep}",
            )
        ],
    )
