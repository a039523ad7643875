"""Packages that cannot be imported, because the loader will not find what their compiled files need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Stack, known
from envcheck.facts.libraries import parse_name
from envcheck.rules._binaries import missing
from envcheck.versions import canonical

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.libraries import Found, Libraries

SYSTEM_PACKAGES = {
    "gl": ("sudo apt-get install libgl1", "or the package opencv-python-headless, which does not need it"),
    "glib-2": ("sudo apt-get install libglib2.0-0", ""),
    "gomp": ("sudo apt-get install libgomp1", ""),
    "sndfile": ("sudo apt-get install libsndfile1", ""),
    "openblas": ("sudo apt-get install libopenblas0", ""),
    "mpi": ("sudo apt-get install libopenmpi3", ""),
    "ibverbs": ("sudo apt-get install libibverbs1", ""),
}
"""Debian and Ubuntu packages of libraries that are often missing in small images."""

CONDA_PACKAGES = {
    "cudart": "cuda-cudart",
    "cublas": "libcublas",
    "cublaslt": "libcublas",
    "cufft": "libcufft",
    "curand": "libcurand",
    "cusolver": "libcusolver",
    "cusparse": "libcusparse",
    "cusparselt": "cusparselt",
    "cudnn": "cudnn",
    "nccl": "nccl",
    "nvrtc": "cuda-nvrtc",
    "nvjitlink": "libnvjitlink",
    "cupti": "cuda-cupti",
}
"""Packages of conda-forge (CUDA 12 and newer) by the library that they bring."""

TORCH = (
    "libtorch.so",
    "libtorch_cpu.so",
    "libtorch_cuda",
    "libtorch_python.so",
    "libtorch_hip",
    "libc10.so",
    "libc10_",
)
"""Beginnings of the names of torch's own libraries."""


def not_importable(
    stack: Stack,
    libraries: Libraries,
    packages: Packages | None,
    fixes: Callable[[str, list[str], list[Found], str], list[Fix]],
) -> Iterator[Finding]:
    """Packages whose import will end because the loader does not find a library; all of them are named."""
    said = set(libraries.missing)  # by an import that was tried
    for package in dict.fromkeys(canonical(one.package) for one in stack.binaries):
        needs = [need for need in missing(stack, package, "import") if need.name not in said]
        if not needs:
            continue
        names = [need.name for need in needs]
        fitting = [item for name in names for item in libraries.satisfying(name)]
        # What is only inferred from the list of packages is not there: the loader's search has looked.
        elsewhere = [item for item in fitting if item.path]
        gone = [item for item in fitting if item.package and not item.path and item.origin in ("wheel", "conda")]
        gone = gone if libraries.complete and not elsewhere else []
        version = packages.version(package) if packages is not None else None
        who = f"{package} {version}" if version else package
        message = f"{', '.join(names)} will not be found, which {who} needs when it is imported"
        other = [name for name in names if name.startswith(TORCH)]
        if other and packages is not None and "torch" not in packages:
            message += "; there is no torch"
            names = [*other, *(name for name in names if name not in other)]
        elif other:
            names = [*other, *(name for name in names if name not in other)]
            message += f"; {other[0]} is of another build of torch than the installed one"
        elif elsewhere:
            message += f"; {elsewhere[0].file} is there ({elsewhere[0].path}), but not where the loader looks"
        elif gone:
            message += (
                f"; {gone[0].package} {gone[0].version or ''}".rstrip() + f" brings {gone[0].file}, which is gone"
            )
        stem = (name.stem if (name := parse_name(names[0])) is not None else "") or ""
        yield Finding(
            severity="error",
            confidence="high",
            subject=f"{who}: {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""),
            message=message + ".",
            evidence=[
                *(
                    Evidence(f"{need.by} needs {need.name}: {need.why}", "the loader's search, re-enacted")
                    for need in needs
                ),
                *(item.evidence for item in elsewhere[:2]),
            ],
            fixes=[
                *_by_conda(stack, packages, names, package),
                *(_again(gone) if gone and not other else fixes(stem, names, [] if other else elsewhere, package)),
            ],
        )


def _again(gone: list[Found]) -> list[Fix]:
    """Another package with the same files was uninstalled, or they were deleted: bring them back."""
    by_conda = gone[0].origin == "conda"
    wanted = {item.package: item.version for item in gone if (item.origin == "conda") == by_conda}
    if by_conda:
        return [Fix(f"conda install --force-reinstall {' '.join(map(str, wanted))}", "brings the files back", "safe")]
    pins = " ".join(f'"{name}=={version}"' if version else str(name) for name, version in wanted.items())
    return [Fix(f"pip install --force-reinstall --no-deps {pins}", "brings the files back", "safe", "pip check")]


def _by_conda(stack: Stack, packages: Packages | None, names: list[str], user: str) -> list[Fix]:
    """What conda installed finds its libraries in conda's folder: there they belong."""
    package = packages.get(user) if packages is not None else None
    if package is None or known(package.installer) != "conda" or known(stack.python.environment) != "conda":
        return []
    stems = [name.stem for file in names if (name := parse_name(file)) is not None]
    wanted = dict.fromkeys(
        CONDA_PACKAGES["cudnn" if stem.startswith("cudnn") else stem]
        for stem in stems
        if stem in CONDA_PACKAGES or stem.startswith("cudnn")
    )
    if not wanted:
        return []
    note = f"{user} is conda's, and looks for them in the lib folder of the environment"
    return [Fix(f"conda install -c conda-forge {' '.join(wanted)}", note, "review")]


def same_torch(packages: Packages | None) -> Fix:
    """A library of another torch was asked for, or its functions."""
    if packages is not None and "torch" not in packages:
        return Fix("", "install the release of torch for which it was built", "review")
    note = "a library of another torch build: reinstall the package that asks for it, from the index of this torch"
    version = packages.version("torch") if packages is not None else None
    users = [name for name in ("torchvision", "torchaudio") if packages is not None and name in packages]
    label = (version or "").partition("+")[2]
    if not version or not users or not label.startswith(("cpu", "cu")):
        return Fix(command="", note=note, safety="review")
    command = f'pip install --force-reinstall "torch=={version}" {" ".join(users)}'
    return Fix(f"{command} --index-url https://download.pytorch.org/whl/{label}", note, "review")
