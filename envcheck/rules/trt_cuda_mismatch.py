"""TensorRT does not go together with the CUDA, the torch or the ONNX Runtime beside it.

What it does
    Compares the major release of TensorRT with the one that ONNX Runtime's provider is linked to, the CUDA major of
    TensorRT with that of torch where Torch-TensorRT or TensorRT-LLM joins the two, and the CUDA libraries that
    TensorRT could not find with those that are there.

Why it fails
    libnvinfer.so.8, .10 and .11 are different libraries, and each exists for several CUDA majors. `pip install
    tensorrt` brings the build for one CUDA major (11 for 8.5, 12 for 8.6 to 10.13.0, 13 from 10.13.3 on), whatever
    torch is built for; two CUDA majors in one process cannot share memory, streams or cuDNN.

How it shows
    `Failed to load library libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: cannot open shared object
    file`; `libcublas.so.12 => not found`; `TensorRT was linked against cuBLAS 11.6.5 but loaded cuBLAS 11.2.1`;
    undefined symbols when torch_tensorrt is imported.

How to fix
    Install the TensorRT of the right major and CUDA by its full name (`tensorrt-cu12==10.*`), or the torch build for
    TensorRT's CUDA.

Exceptions
    TensorRT beside a torch of another CUDA major is no problem as long as they run in separate processes. The TensorRT
    provider of ONNX Runtime is optional: its CUDA provider works without it.

Sources
    NEEDED entries of ONNX Runtime's TensorRT provider; TensorRT release notes; metadata of the packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Toolkit, known
from envcheck.rules._cuda_libs import cite
from envcheck.rules._tensorrt import TensorRT, default_cuda, installed
from envcheck.versions import numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix, Row

EXPLAINS = ("cuda-major-mismatch", "cudnn-mismatch", "missing-shared-library")


def check(
    *,
    cuda_builds: Sequence[FrameworkBuild] = (),
    packages: Packages | None = None,
    libraries: Libraries | None = None,
    toolkit: Toolkit | None = None,
    has_gpu: bool | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    if has_gpu is False:
        return
    by_name = {build.package: build for build in cuda_builds}
    torch = by_name.get("torch")
    if packages is not None and torch is not None and torch.cuda_major is not None:
        yield from _tensorrt_llm(packages, torch, torch.cuda_major, matrix)
    trt = installed(packages, libraries, matrix)
    if trt is None:
        return
    if (ort := by_name.get("onnxruntime-gpu")) is not None and ort.version:
        yield from _onnxruntime(ort, ort.version, trt, libraries, matrix)
    elif libraries is not None and (missing := _other_nvinfer(libraries, trt)) is not None:
        yield _wrong_major("A program", None, missing, trt, [Evidence(f"{missing} was not found", "loader")], True)
    if packages is not None and "torch-tensorrt" in packages and torch is not None and torch.cuda_major is not None:
        yield from _torch_tensorrt(torch, torch.cuda_major, trt, packages)
    if libraries is not None:
        yield from _own_cuda(trt, cuda_builds, libraries, toolkit, matrix)


def _onnxruntime(
    ort: FrameworkBuild, version: str, trt: TensorRT, libraries: Libraries | None, matrix: Matrix
) -> Iterator[Result]:
    from envcheck.matrix.lookup import ort_gpu

    row = ort_gpu(matrix, version)
    if row is None or not row["tensorrt_major"] or trt.major is None:
        return
    wanted = int(row["tensorrt_major"])
    if wanted == trt.major:
        yield Pass(f"{ort} and {trt.label}", f"its provider is built for TensorRT {wanted}")
        return
    soname = f"libnvinfer.so.{wanted}"
    tried = libraries is not None and any(_number(libraries, name) == wanted for name in libraries.missing)
    provider = f"the TensorRT provider of onnxruntime-gpu {row['onnxruntime_gpu']}"
    evidence = [cite(matrix, row, f"{provider} is built for TensorRT {row['tensorrt_doc'] or wanted}")]
    if tried:
        evidence.insert(0, Evidence(f"{soname} was not found", "loader"))
    yield _wrong_major(f"The TensorRT provider of {ort}", ort, soname, trt, evidence, tried)


def _number(libraries: Libraries, file: str) -> int | None:
    from envcheck.facts.libraries import parse_name

    name = parse_name(file)
    return name.number if name is not None and name.family == "nvinfer" else None


def _other_nvinfer(libraries: Libraries, trt: TensorRT) -> str | None:
    """A missing libnvinfer of another major than the one that is there."""
    for file in libraries.missing:
        number = _number(libraries, file)
        if number is not None and trt.major is not None and number != trt.major:
            return file
    return None


def _wrong_major(
    who: str, ort: FrameworkBuild | None, soname: str, trt: TensorRT, evidence: list[Evidence], tried: bool
) -> Finding:
    wanted = "".join(c for c in soname.rpartition(".so.")[2] if c.isdigit()) or soname
    cuda = ort.cuda_major if ort is not None and ort.cuda_major else trt.cuda or 12
    name = f"tensorrt-cu{cuda}" if wanted.isdigit() and int(wanted) >= 10 else "tensorrt"
    without = "" if tried else "; without it the provider is left out and CUDA is used"
    return Finding(
        severity="error" if tried else "warning",
        confidence="high" if tried and ort is not None else "medium",
        subject=f"{ort or soname} and {trt.label}",
        message=f"{who} needs TensorRT {wanted} ({soname}), and {trt.label} is installed{without}.",
        evidence=[*evidence, trt.evidence],
        fixes=[
            Fix(
                command=f'pip install "{name}=={wanted}.*"',
                note="then put site-packages/tensorrt_libs on LD_LIBRARY_PATH, or import tensorrt first",
                safety="review",
                verify='python -c "import tensorrt; print(tensorrt.__version__)"',
            )
        ],
    )


def _torch_tensorrt(torch: FrameworkBuild, cuda: int, trt: TensorRT, packages: Packages) -> Iterator[Result]:
    version = packages.version("torch-tensorrt")
    joint = f"torch-tensorrt {version}" if version else "torch-tensorrt"
    if trt.cuda is None:
        why = f"which CUDA {trt.label} is built for can't be told, and {torch} is built for CUDA {cuda}"
        yield Undecided(f"{joint} with {torch}", "packages.tensorrt", why)
        return
    if trt.cuda == cuda:
        yield Pass(f"{joint} with {torch} and {trt.label}", f"both are for CUDA {cuda}")
        return
    yield Finding(
        severity="error",
        confidence="medium",
        subject=f"{joint} with {torch} and {trt.label}",
        message=f"{joint} joins {torch}, built for CUDA {cuda}, with {trt.label}, which is for CUDA {trt.cuda}.",
        evidence=[*torch.evidence, trt.evidence, Evidence(f"{joint} is installed", "package list")],
        fixes=[_other_tensorrt(trt, cuda)],
    )


def _other_tensorrt(trt: TensorRT, cuda: int) -> Fix:
    version = ".".join(map(str, numbers(trt.version or "")[:3]))
    if (trt.major or 0) >= 10:
        command = f'pip uninstall -y tensorrt tensorrt-cu{trt.cuda} && pip install "tensorrt-cu{cuda}=={version}.*"'
        return Fix(command=command, note=f"the same release for CUDA {cuda}", safety="review")
    note = f"install NVIDIA's archive of TensorRT {version} for CUDA {cuda}: the index has only CUDA {trt.cuda}"
    return Fix(command="", note=note, safety="manual")


def _tensorrt_llm(packages: Packages, torch: FrameworkBuild, cuda: int, matrix: Matrix) -> Iterator[Result]:
    version = packages.version("tensorrt-llm")
    wanted = default_cuda("tensorrt-llm", version, matrix)
    if version is None or wanted is None:
        return
    label = f"tensorrt-llm {version}"
    row = next((r for r in matrix.rows("tensorrt-builds", package="tensorrt-llm")), None)
    if wanted == cuda:
        yield Pass(f"{label} and {torch}", f"both are for CUDA {cuda}")
        return
    evidence = [*torch.evidence, *([cite(matrix, row, f"{label} is built for CUDA {wanted}")] if row else ())]
    yield Finding(
        severity="error",
        confidence="medium",
        subject=f"{label} and {torch}",
        message=f"{label} is built for CUDA {wanted}, and {torch} for CUDA {cuda}.",
        evidence=evidence,
        fixes=[_other_torch(torch, wanted, packages, matrix)],
    )


def _other_torch(torch: FrameworkBuild, cuda: int, packages: Packages, matrix: Matrix) -> Fix:
    """The same torch for another CUDA major, where PyTorch's index has it."""
    from envcheck.rules._fixes import torch_install

    version = (torch.version or "").partition("+")[0]
    line = ".".join(map(str, numbers(version)[:2]))
    row = matrix.row("torch-variants", torch=line) if line else None
    fitting = [release for release in (row["cuda"] if row else None) or () if numbers(release)[0] == cuda]
    if fitting:
        return torch_install(version, max(fitting, key=numbers), packages, f"the same torch for CUDA {cuda}")
    return Fix(
        command="", note=f"a torch build for CUDA {cuda}, or NVIDIA's container of this release", safety="manual"
    )


def _own_cuda(
    trt: TensorRT, builds: Sequence[FrameworkBuild], libraries: Libraries, toolkit: Toolkit | None, matrix: Matrix
) -> Iterator[Result]:
    """TensorRT could not find the libraries of its CUDA major, and another one is there."""
    from envcheck.matrix.lookup import tensorrt

    row = tensorrt(matrix, trt.version) if trt.version else None
    majors = {int(major) for major in (row["cuda_majors"] if row else None) or ()} | ({trt.cuda} if trt.cuda else set())
    others = {b.cuda_major for b in builds if not b.package.startswith("tensorrt")}
    missing: dict[int, list[str]] = {}
    for file in libraries.missing:
        for cuda in libraries.cuda_of(file):
            if len(libraries.cuda_of(file)) == 1 and cuda in majors and cuda not in others:
                missing.setdefault(cuda, []).append(file)
    there = set(libraries.cuda_majors(stated=True))
    version = known(toolkit.version) if toolkit is not None else None
    if version and numbers(version):
        there.add(int(numbers(version)[0]))
    for cuda, files in missing.items():
        if there and cuda not in there:
            yield _wrong_cuda(trt, cuda, files, sorted(there), libraries, row, matrix)


def _wrong_cuda(
    trt: TensorRT, cuda: int, files: list[str], there: list[int], libraries: Libraries, row: Row | None, matrix: Matrix
) -> Finding:
    evidence = [*(Evidence(f"{file} was not found", "loader") for file in files), trt.evidence]
    evidence += [item.evidence for major in there for item in libraries.cuda_majors().get(major, ())[:2]]
    if row is not None:
        evidence.append(
            cite(matrix, row, f"TensorRT {row['tensorrt']} exists for CUDA {' and '.join(row['cuda_majors'])}")
        )
    offered = row is not None and str(there[-1]) in (row["cuda_majors"] or ())
    what = (
        f"install the build of {trt.label} for CUDA {there[-1]}" if offered else f"install the libraries of CUDA {cuda}"
    )
    command = f'pip install "tensorrt-cu{there[-1]}=={trt.version}"' if offered and (trt.major or 0) >= 10 else ""
    return Finding(
        severity="error",
        # Facts do not tell that it was TensorRT that looked for them; nothing else here is built for that CUDA.
        confidence="medium",
        subject=f"{trt.label} and CUDA {there[-1]}",
        message=f"{trt.label} is the build for CUDA {cuda}: it needs {', '.join(files)}, and what is there is CUDA "
        f"{' and '.join(map(str, there))}.",
        evidence=evidence,
        fixes=[Fix(command=command, note=what, safety="review" if command else "manual")],
    )
