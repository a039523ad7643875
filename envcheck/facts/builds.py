"""Which CUDA, cuDNN and kind of build each installed framework is, and how we know.

The order of trust: what the installed files say (:class:`~envcheck.core.snapshot.Build`), the version's local label,
the package's own requirements, the tables. Each answer keeps its evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from envcheck.core.report import Evidence
from envcheck.core.snapshot import Absent, Build, Package, Unknown, known
from envcheck.facts import Facts
from envcheck.versions import canonical, minor, numbers, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from envcheck.facts.basics import Packages
    from envcheck.matrix import Row


class FrameworkBuild(Struct, frozen=True):
    """One package that carries or wants GPU code."""

    package: str
    version: str | None
    """With its local label; None when not known."""
    variant: str | None
    """``cuda``, ``cpu``, ``rocm``, ``xpu``, ``directml``, ``openvino`` ...; None when it can't be told."""
    cuda: str | None
    """CUDA it was built with: ``11.7``, or only the major ``12`` where no more is known."""
    cudnn: str | None
    """cuDNN it was built with or pins: ``8.5.0``, or only the major."""
    brings_cuda: bool | None
    """True when the CUDA libraries come with it (in it or as required wheels); False when the system must have them."""
    confidence: str
    evidence: list[Evidence]

    @property
    def cuda_major(self) -> int | None:
        parts = numbers(self.cuda or "")
        return parts[0] if parts else None

    def __str__(self) -> str:
        return f"{self.package} {self.version}" if self.version else self.package


if TYPE_CHECKING:
    Finder = Callable[[Facts, Packages, Package, Build | None], FrameworkBuild]


def builds(facts: Facts) -> list[FrameworkBuild] | Absent | Unknown:
    """Every installed package of which a build kind is known or can be asked for."""
    packages = facts.get("packages")
    if isinstance(packages, (Absent, Unknown)):
        return packages
    read = {canonical(build.package): build for build in facts.snapshot.stack.builds}
    found = []
    for package in packages:
        name = canonical(package.name)
        if (finder := _finder(name)) is not None:
            found.append(finder(facts, packages, package, read.get(name)))
    return found


def cuda_builds(facts: Facts) -> list[FrameworkBuild] | Absent | Unknown:
    """The builds that use CUDA."""
    found = facts.get("builds")
    if isinstance(found, (Absent, Unknown)):
        return found
    return [build for build in found if build.variant == "cuda"]


NAMED = ("cupy-cuda", "jax-cuda", "jax-rocm", "jaxlib", "mxnet-cu", "nvidia-dali-", "paddlepaddle", "tensorrt")
"""How packages begin whose name or version tells the CUDA release; others end so (``faiss-gpu-cu12``)."""


def _finder(name: str) -> Finder | None:
    """What tells the build of this package; None for a package that is no framework."""
    if name in _FINDERS:
        return _FINDERS[name]
    if name.startswith("onnxruntime-") and name != "onnxruntime-extensions":
        return _onnxruntime
    # NVIDIA's component wheels (nvidia-cublas-cu12) are many and no frameworks: nothing is imported for them.
    if name.startswith(NAMED) or (name[-1:].isdigit() and "-cu" in name and not name.startswith("nvidia-")):
        from envcheck.facts.builds_named import finder

        return finder(name)
    return None


def cuda_of_label(label: str | None) -> str | None:
    """``cu117`` -> ``11.7``, ``cu92`` -> ``9.2``, ``cu128`` -> ``12.8``; None for other labels."""
    if not label:
        return None
    for part in label.replace(".", "-").split("-"):
        digits = part[2:] if part.startswith("cu") else part[4:] if part.startswith("cuda") else ""
        digits = digits.partition("torch")[0]
        if digits.isdigit() and len(digits) in (2, 3):
            return f"{digits[:-1]}.{digits[-1]}"
    return None


def _variant_of_label(label: str | None) -> str | None:
    if not label:
        return None
    if label.startswith("cpu"):
        return "cpu"
    if label.startswith(("rocm", "hip")):
        return "rocm"
    if label.startswith("xpu"):
        return "xpu"
    return "cuda" if cuda_of_label(label) else None


def stated(package: Package) -> tuple[str | None, str | None]:
    """Version and local label."""
    return known(package.version), known(package.local)


def from_files(build: Build | None) -> FrameworkBuild | None:
    """What the installed files themselves say: the best evidence."""
    if build is None:
        return None
    variant, cuda, hip = known(build.variant), readable(known(build.cuda)), known(build.hip)
    if variant is None and cuda is None and not isinstance(build.cuda, Absent):
        return None
    kind = variant or ("cuda" if cuda else "rocm" if hip else "cpu")
    text = f"built with CUDA {cuda}" if cuda else f"{kind} build"
    return FrameworkBuild(
        canonical(build.package),
        readable(known(build.version)),
        kind,
        cuda,
        readable(known(build.cudnn)),
        None,
        "high",
        [Evidence(text, build.source)],
    )


def cite(facts: Facts, row: Row, fact: str) -> Evidence:
    """A table row as evidence."""
    title, url, as_of = facts.matrix.cite(row)
    return Evidence(fact, title, url, as_of)


def _torch(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    version, label = stated(package)
    row = facts.matrix.row("torch-builds", torch=version.partition("+")[0]) if version else None
    files = from_files(read)
    if files is not None:
        cudnn = files.cudnn or _pinned(facts, package, "nvidia-cudnn")
        if cudnn is None and files.cuda:
            cudnn = _torch_cudnn(row, minor(files.cuda))
        return replace(files, version=version or files.version, cudnn=cudnn, brings_cuda=files.variant == "cuda")
    if (variant := _variant_of_label(label)) is not None:
        cuda = cuda_of_label(label)
        cudnn = _torch_cudnn(row, cuda)
        evidence = [Evidence(f"torch is the {label} build", "version label")]
        return FrameworkBuild("torch", version, variant, cuda, cudnn, variant == "cuda", "high", evidence)
    return _torch_by_pins(facts, packages, package, version, row) or _torch_by_table(facts, packages, package, row)


def _torch_cudnn(row: Row | None, cuda: str | None) -> str | None:
    """cuDNN of a variant of torch: the pin of the index's default build; of other variants only the major is alike."""
    if row is None or not row["cudnn"] or cuda is None:
        return None
    return str(row["cudnn"]) if row["cuda"] == cuda else str(row["cudnn"]).partition(".")[0]


def _torch_by_pins(
    facts: Facts, packages: Packages, package: Package, version: str | None, row: Row | None
) -> FrameworkBuild | None:
    """From conda's or the wheel's own companions; the only answer for a release newer than the tables."""
    for name in ("pytorch-cuda", "cudatoolkit"):
        if cuda := packages.version(name):
            evidence = [Evidence(f"{name} {cuda} is installed beside it", "package list")]
            # Conda's cudatoolkit may be there for another package: its defaults channel ships a CPU torch.
            confidence = "high" if name == "pytorch-cuda" else "low"
            variant = "cuda" if name == "pytorch-cuda" else None
            return FrameworkBuild("torch", version, variant, minor(cuda), None, True, confidence, evidence)
    pinned = _pinned(facts, package, "nvidia-cuda-runtime") or _pinned(facts, package, "cuda-toolkit")
    if pinned:
        evidence = [Evidence(f"torch requires the CUDA runtime {pinned}", "its own metadata")]
        cudnn = _pinned(facts, package, "nvidia-cudnn")
        # Of a release that no table lists, nobody has compared the pins with what the wheel was compiled with.
        confidence = "high" if row is not None else "medium"
        return FrameworkBuild("torch", version, "cuda", minor(pinned), cudnn, True, confidence, evidence)
    return None


def _torch_by_table(facts: Facts, packages: Packages, package: Package, row: Row | None) -> FrameworkBuild:
    """The wheel that the index gives by default on this platform."""
    version = known(package.version)
    system = known(facts.snapshot.machine.system)
    arch = known(facts.snapshot.machine.arch)
    if version and ".dev" in version:
        evidence = [Evidence("nightly builds are not on the package index; their label would tell the build")]
        return FrameworkBuild("torch", version, None, None, None, None, "low", evidence)
    if system in ("Windows", "Darwin"):
        evidence = [Evidence(f"the index's torch wheels for {system} are CPU-only", "package index")]
        if system == "Windows" and any(p.name.startswith("nvidia-") or p.name == "cuda-version" for p in packages):
            return FrameworkBuild("torch", version, None, None, None, None, "low", evidence)
        return FrameworkBuild("torch", version, "cpu", None, None, None, "medium", evidence)
    if row is not None and arch == "aarch64" and row["aarch64_cuda"] and not _maybe_by_nvidia(facts, packages):
        return _torch_for_aarch64(facts, row, version, installed=known(package.requires) is not None)
    if row is not None and arch in (None, "x86_64"):
        cuda, cudnn = row["cuda"], row["cudnn"]
        evidence = [cite(facts, row, f"the index's torch {row['torch']} for Linux x86-64 is built with CUDA {cuda}")]
        confidence = "medium" if system == "Linux" else "low"
        return FrameworkBuild("torch", version, "cuda", cuda, cudnn, True, confidence, evidence)
    why = "its version is not stated" if version is None else "no table says which CUDA this torch is built with"
    return FrameworkBuild("torch", version, None, None, None, None, "low", [Evidence(why)])


def _torch_for_aarch64(facts: Facts, row: Row, version: str | None, *, installed: bool) -> FrameworkBuild:
    """An installation without a label is the index's; a version that somebody wrote down may have lost its label."""
    cuda = None if row["aarch64_cuda"] == "none" else str(row["aarch64_cuda"])
    what = f"built with CUDA {cuda}" if cuda else "a CPU build"
    evidence = [cite(facts, row, f"the index's torch {row['torch']} for Linux aarch64 is {what}")]
    cudnn = row["cudnn"] if cuda and cuda == row["cuda"] else None
    sure = "medium" if installed or cuda else "low"
    return FrameworkBuild("torch", version, "cuda" if cuda else "cpu", cuda, cudnn, bool(cuda), sure, evidence)


def _maybe_by_nvidia(facts: Facts, packages: Packages) -> bool:
    """Whether torch on an aarch64 machine may come from NVIDIA or conda, whose builds have no label either."""
    from envcheck.facts.driver import is_tegra

    unsaid = not known(facts.snapshot.machine.gpus)
    return unsaid or is_tegra(facts) or any(p.name.startswith("nvidia-") or p.name == "cuda-version" for p in packages)


def _pinned(facts: Facts, package: Package, prefix: str) -> str | None:
    """``==`` version that a package's own metadata pins, on this platform, for a distribution whose name begins so."""
    for line in known(package.requires) or ():
        if line.startswith(prefix):
            asked, _, marker = line.partition(";")
            pin = asked.partition("==")[2].partition(",")[0].strip(" ()=")
            if pin and _applies(facts, marker.strip()):
                return pin.partition(".*")[0]
    return None


def _lowest_major(package: Package, prefix: str) -> str | None:
    """``13`` of ``nvidia-cuda-runtime-cu13~=13.0; extra == "cuda"``: extras count too, and any kind of lower bound."""
    for line in known(package.requires) or ():
        if line.startswith(prefix):
            for clause in line.partition(";")[0].strip(" ()").split(","):
                for sign in ("~=", ">=", "=="):
                    bound = clause.partition(sign)[2].strip()
                    if bound and numbers(bound):
                        return str(numbers(bound)[0])
    return None


def _applies(facts: Facts, marker: str) -> bool:
    """Whether a marker may hold on the machine: a lock file's metadata is that of all platforms at once."""
    if not marker:
        return True
    from envcheck.requirements import marker_environment, marker_holds

    machine, python = facts.snapshot.machine, facts.get("python_version")
    version = None if isinstance(python, (Absent, Unknown)) else python
    environment = marker_environment(version, known(machine.system), known(machine.arch))
    try:
        return marker_holds(marker, environment) is not False
    except ValueError:
        return True


def _onnxruntime(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    from envcheck.matrix.lookup import ort_gpu

    name = canonical(package.name)
    version, _ = stated(package)
    files = from_files(read)
    if name == "onnxruntime-gpu":
        row = ort_gpu(facts.matrix, version) if version else None
        cuda = cudnn = None
        evidence: list[Evidence] = []
        confidence = "high"
        if row is not None:
            cuda, cudnn = row["cuda_major"], row["cudnn_major"]
            cuda = str(row["cuda_doc"] or cuda) if row["cuda_doc"] and not cuda else str(cuda) if cuda else None
            cudnn = str(cudnn) if cudnn else None
            evidence = [cite(facts, row, f"onnxruntime-gpu {version} is a CUDA {cuda} build and wants cuDNN {cudnn}")]
        if files is not None and files.cuda:
            cuda, evidence = files.cuda, [*files.evidence, *evidence]
            cudnn = files.cudnn or cudnn
        if not evidence and (cuda := _lowest_major(package, "nvidia-cuda-runtime")) is not None:
            # A release that no table lists: what its extras would install is what it was built for.
            confidence, cudnn = "medium", _lowest_major(package, "nvidia-cudnn")
            text = f"onnxruntime-gpu {version} names the CUDA {cuda} runtime" + (f" and cuDNN {cudnn}" if cudnn else "")
            evidence = [Evidence(text, "its own metadata")]
        if not evidence:
            confidence = "low"
            evidence = [Evidence("its version is not stated" if version is None else "no table lists this release")]
        return FrameworkBuild(name, version, "cuda", cuda, cudnn, False, confidence, evidence)
    if files is not None:
        return replace(files, package=name, version=version or files.version, brings_cuda=False)
    special = {"onnxruntime-directml": "directml", "onnxruntime-openvino": "openvino"}
    special |= {"onnxruntime-rocm": "rocm", "onnxruntime-migraphx": "rocm"}
    if name == "onnxruntime-training":
        evidence = [Evidence("CPU and CUDA builds share a name")]
        return FrameworkBuild(name, version, None, None, None, False, "low", evidence)
    kind = special.get(name, "cpu" if name == "onnxruntime" else None)
    text = f"the package {name} is the {kind} build" if kind else f"{name} is not in our tables"
    return FrameworkBuild(name, version, kind, None, None, False, "high" if kind else "low", [Evidence(text)])


def _tensorflow(facts: Facts, packages: Packages, package: Package, read: Build | None) -> FrameworkBuild:
    name = canonical(package.name)
    version, _ = stated(package)
    system = known(facts.snapshot.machine.system)
    files = from_files(read)
    if files is not None:
        return replace(files, package=name, version=version or files.version, brings_cuda=None)
    if name == "tensorflow-rocm":
        return FrameworkBuild(name, version, "rocm", None, None, False, "high", [Evidence(f"{name} is the ROCm build")])
    if name in ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos"):
        return FrameworkBuild(name, version, "cpu", None, None, False, "high", [Evidence(f"{name} has no CUDA code")])
    parts = numbers(version or "")
    if system == "Darwin":
        evidence = [Evidence("macOS wheels have no CUDA code")]
        return FrameworkBuild(name, version, "cpu", None, None, False, "high", evidence)
    if system == "Windows" and parts >= (2, 11):
        text = "native Windows wheels have no CUDA code since 2.11"
        return FrameworkBuild(name, version, "cpu", None, None, False, "high", [Evidence(text)])
    row = _tensorflow_row(facts, version, system)
    if row is not None and row["cuda"]:
        text = f"TensorFlow {row['tensorflow']} is built with CUDA {row['cuda']} and cuDNN {row['cudnn']}"
        return FrameworkBuild(
            name, version, "cuda", str(row["cuda"]), row["cudnn"], None, "high", [cite(facts, row, text)]
        )
    why = "its version is not stated" if version is None else "no table lists this release"
    return FrameworkBuild(name, version, None, None, None, None, "low", [Evidence(why)])


def _tensorflow_row(facts: Facts, version: str | None, system: str | None) -> Row | None:
    """The row of this minor release with a CUDA version; the table lists one patch of each minor."""
    if version is None:
        return None
    wanted = ".".join(map(str, numbers(version)[:2]))
    for row in facts.matrix.rows("tensorflow"):
        if minor(row["tensorflow"]) == wanted and row["cuda"]:
            windows = "windows" in str(row["os"]).lower()
            if windows == (system == "Windows"):
                return row
    return None


_FINDERS: dict[str, Finder] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "tensorflow": _tensorflow,
    "tensorflow-gpu": _tensorflow,
    "tensorflow-cpu": _tensorflow,
    "tensorflow-intel": _tensorflow,
    "tensorflow-macos": _tensorflow,
    "tensorflow-rocm": _tensorflow,
}
