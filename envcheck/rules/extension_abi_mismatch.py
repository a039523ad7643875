"""A compiled extension was built for another PyTorch, CUDA or C++ ABI.

What it does
    Looks up the C++ functions that the installed file of an extension takes from torch; where nothing was read, reads
    what the local labels of extensions say (flash-attn `+cu122torch2.1cxx11abiFALSE`, torch-scatter
    `+pt20cu118`, auto-gptq `+cu121`), what xFormers' own build record says, and for which CUDA bitsandbytes has
    libraries, and compares it with the torch that is installed.

Why it fails
    An extension calls the C++ functions of the torch it was compiled for. Their mangled names contain types and, for
    text, the C++ ABI; between minor releases of torch they change. Its CUDA code needs the libraries of its CUDA
    major.

How it shows
    `undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocation...` on importing flash_attn_2_cuda, mmcv._ext or
    torch_scatter; `libcudart.so.11.0: cannot open shared object file`; `Configured CUDA binary not found at
    libbitsandbytes_cuda128.so`.

How to fix
    Install the wheel whose label names the installed torch, its CUDA major and its ABI, or build the extension from
    source against it (`pip install --no-build-isolation --no-binary`).

Exceptions
    An extension without a label and without a build record says nothing of its build: most were compiled on the
    spot. CUDA code of one minor release runs with another of the same major.

Sources
    Naming schemes of the wheels; publishing workflows of flash-attention and bitsandbytes; the C++ ABI read from the
    wheels of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Binary, Package, Stack, known
from envcheck.facts.builds import cuda_of_label
from envcheck.facts.wheels import is_foreign
from envcheck.versions import canonical, minor, numbers, public

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.matrix import Matrix

CUDA_LABELLED = frozenset(
    (
        *(
            "auto-gptq",
            "autoawq",
            "autoawq-kernels",
            "gptqmodel",
            "exllamav2",
            "exllamav3",
            "xformers",
            "vllm",
            "flash-attn",
        ),
        *(
            "torch-scatter",
            "torch-sparse",
            "torch-cluster",
            "torch-spline-conv",
            "pyg-lib",
            "detectron2",
            "mmcv",
            "mmcv-full",
        ),
        *("mamba-ssm", "causal-conv1d", "sageattention", "natten", "pytorch3d", "minkowskiengine", "dgl", "nvdiffrast"),
        *(
            "transformer-engine",
            "deepspeed",
            "gsplat",
            "flashinfer-python",
            "sgl-kernel",
            "fbgemm-gpu",
            "torchao",
            "apex",
        ),
    )
)
"""Extensions of torch whose label may name a CUDA release only."""


class Target(Struct, frozen=True):
    """What an extension was built for; None where it does not say."""

    torch: str | None
    """Minor release ``2.1``."""
    cuda: str | None
    """``12.2``, or only the major."""
    abi: bool | None
    """New C++11 ABI."""


def check(
    packages: Packages,
    stack: Stack,
    *,
    builds: Sequence[FrameworkBuild] = (),
    system: str = "",
    matrix: Matrix,
) -> Iterator[Result]:
    torch = packages.get("torch")
    if torch is None:
        return
    built = next((build for build in builds if build.package == "torch"), None)
    lacking: dict[str, Binary] = {}
    for binary in stack.binaries:
        if binary.undefined and binary.package != "torch":
            lacking.setdefault(canonical(binary.package), binary)
    for package in packages:
        name = canonical(package.name)
        if name in lacking:
            yield _undefined(package, lacking[name], torch, built, packages)
            continue
        if name == "torch" or name in ("torchvision", "torchaudio"):
            continue
        target = _recorded(name, stack) or read_label(name, known(package.local))
        if target is not None:
            yield from _judge(package, target, torch, built, stack, matrix)
        elif name == "bitsandbytes":
            yield from _bitsandbytes(package, stack, built, matrix)
        elif name == "flash-attn":
            yield from _nightly(package, torch, matrix)


def read_label(name: str, label: str | None) -> Target | None:
    """What a local version label says of a build; None when it says nothing of torch or CUDA.

    >>> read_label("flash-attn", "cu122torch2.1cxx11abifalse")
    Target(torch='2.1', cuda='12.2', abi=False)
    >>> read_label("torch-scatter", "pt113cu117"), read_label("vllm", "cu118")
    (Target(torch='1.13', cuda='11.7', abi=None), Target(torch=None, cuda='11.8', abi=None))
    """
    if label is None:
        return None
    text = label.lower()
    torch = None
    if "torch" in text:
        found = numbers(text.partition("torch")[2].lstrip(".-"))
        torch = ".".join(map(str, found[:2])) if len(found) > 1 else None
    elif text.startswith("pt") and text[2:5].rstrip("cpu").isdigit():
        digits = text[2:].partition("cu")[0].partition("cpu")[0]
        torch = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else None
    cuda = _cuda_in(text)
    abi = True if "abitrue" in text else False if "abifalse" in text else None
    if torch is None and (cuda is None or name not in CUDA_LABELLED):
        return None
    return Target(torch, cuda, abi)


def _cuda_in(text: str) -> str | None:
    """``cu122...`` -> ``12.2``, ``cu12torch...`` -> ``12``."""
    digits = text.partition("cu")[2].partition("torch")[0].partition(".")[0].removeprefix("da")
    if digits.isdigit() and len(digits) == 2 and digits in ("11", "12", "13"):
        return digits
    return cuda_of_label("cu" + digits) if digits.isdigit() else None


def _recorded(name: str, stack: Stack) -> Target | None:
    """xFormers' cpp_lib.json says what it was built with: torch and CUDA."""
    if name != "xformers":
        return None
    for build in stack.builds:
        if canonical(build.package) == name and (built_for := known(build.torch)) and len(numbers(built_for)) > 1:
            return Target(minor(built_for), known(build.cuda), None)
    return None


def _judge(
    package: Package, target: Target, torch: Package, built: FrameworkBuild | None, stack: Stack, matrix: Matrix
) -> Iterator[Result]:
    version = known(torch.version)
    subject = f"{package.name} {known(package.version) or '+' + (known(package.local) or '')}"
    made = _made_for(target)
    if version is None and target.torch is not None:
        yield Undecided(subject, "packages.torch", f"it is built for {made}, and the version of torch is not stated")
        return
    for what, severity, confidence, evidence in _differences(target, version, built, stack, matrix):
        label = Evidence(f"it is built for {made}", "version label" if known(package.local) else "its build record")
        beside = f"torch {version or ''}".rstrip()
        yield Finding(
            severity=severity,
            confidence=confidence,
            subject=f"{subject} with {beside}",
            message=f"{subject} is built for {made}, but {what}.",
            evidence=[label, *evidence],
            fixes=list(_fixes(package, target, built, version)),
        )
        return
    yield Pass(subject, f"it is built for {made}, as torch {version or ''} is".replace("  ", " "))


def _made_for(target: Target) -> str:
    parts = [f"torch {target.torch}"] if target.torch else []
    parts += [f"CUDA {target.cuda}"] if target.cuda else []
    parts += [f"the {'new' if target.abi else 'old'} C++11 ABI"] if target.abi is not None else []
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _differences(
    target: Target, version: str | None, built: FrameworkBuild | None, stack: Stack, matrix: Matrix
) -> Iterator[tuple[str, str, str, list[Evidence]]]:
    """What is wrong, how bad, how sure, and how we know; the worst first."""
    installed = Evidence(f"torch {version} is installed", "package list")
    if version is not None and target.torch and len(numbers(version)) > 1 and minor(version) != target.torch:
        yield f"torch {version} is installed", "error", "high", [installed]
    elif version is not None and target.torch and is_foreign(version):
        text = f"torch {version} is a pre-release or a vendor's build, whose C++ functions may differ"
        yield text, "warning", "medium", [installed]
    cuda = built.cuda if built is not None and built.variant == "cuda" else None
    if target.cuda and cuda and numbers(cuda)[0] != numbers(target.cuda)[0] and built is not None:
        sure = built.confidence == "high"
        yield (
            f"torch is built for CUDA {cuda}",
            "error" if sure else "warning",
            "high" if sure else "medium",
            built.evidence,
        )
    elif target.cuda and built is not None and built.variant == "cpu" and built.confidence == "high":
        yield "torch is a CPU build", "error", "high", built.evidence
    if target.abi is not None:
        abi, sure, evidence = torch_abi(version, stack, matrix)
        if abi is not None and abi != target.abi:
            text = f"torch {version or ''} is built with the {'new' if abi else 'old'} one"
            yield text, "error", "high" if sure else "medium", evidence


def torch_abi(version: str | None, stack: Stack, matrix: Matrix) -> tuple[bool | None, bool, list[Evidence]]:
    """The C++11 ABI of the installed torch, whether that was read from it, and the evidence."""
    for build in stack.builds:
        flag = known(build.cxx11_abi)
        if canonical(build.package) == "torch" and flag is not None:
            return flag, True, [Evidence(f"torch: C++11 ABI {'new' if flag else 'old'}", build.source)]
    if version is None or is_foreign(version) or known(stack.python.environment) == "conda":
        return None, False, []  # conda-forge and vendors build with the new ABI whatever the release
    row = matrix.row("torch-builds", torch=version)
    if row is None or row["cxx11_abi"] is None:
        return None, False, []
    title, url, as_of = matrix.cite(row)
    text = f"the wheels of torch {row['torch']} have the {'new' if row['cxx11_abi'] else 'old'} C++11 ABI"
    return bool(row["cxx11_abi"]), False, [Evidence(text, title, url, as_of)]


def _undefined(
    package: Package, binary: Binary, torch: Package, built: FrameworkBuild | None, packages: Packages
) -> Finding:
    """Its own files say it: symbols that nothing which would be loaded with it defines."""
    names = [need.name for need in binary.undefined]
    who = f"{package.name} {known(package.version) or ''}".rstrip()
    beside = f"torch {known(torch.version) or ''}".rstrip()
    old = any("SsE" in name or name.endswith("Ss") or "RKSs" in name for name in names)
    abi = ", which have the names of the old C++ ABI" if old else ""
    target = read_label(canonical(package.name), known(package.local))
    return Finding(
        severity="warning" if binary.role == "optional" else "error",
        confidence="high",
        subject=f"{who} with {beside}",
        message=f"{binary.path} of {who} needs {names[0]}"
        + (f" and {'at least ' * (len(names) > 19)}{len(names) - 1} more symbols" if len(names) > 1 else "")
        + f"{abi}, and no library of the installed {beside} defines them: it was built for another torch.",
        evidence=[Evidence(f"undefined symbol: {name}", binary.path) for name in names[:3]],
        fixes=_fixes_of_undefined(package, target, built, known(torch.version), packages),
    )


def _fixes_of_undefined(
    package: Package, target: Target | None, built: FrameworkBuild | None, version: str | None, packages: Packages
) -> list[Fix]:
    if canonical(package.name) not in ("torchvision", "torchaudio", "torchtext"):
        return list(_fixes(package, target or Target(None, None, None), built, version))
    from envcheck.rules._importable import same_torch

    return [same_torch(packages)]


def _bitsandbytes(package: Package, stack: Stack, built: FrameworkBuild | None, matrix: Matrix) -> Iterator[Result]:
    """Its wheel carries one library for each CUDA release that it knows."""
    version = known(package.version)
    if version is None or built is None or built.variant != "cuda" or built.cuda is None or "." not in built.cuda:
        return
    row = matrix.row("extension-builds", package="bitsandbytes", version=version)
    have = [cuda for one in stack.builds if canonical(one.package) == "bitsandbytes" and (cuda := known(one.cuda))]
    evidence = [Evidence(f"bitsandbytes has libraries for CUDA {', '.join(have)}", "bitsandbytes/")]
    if not have and row is not None:
        have = row["cuda"]
        title, url, as_of = matrix.cite(row)
        evidence = [Evidence(f"bitsandbytes {version} is built for CUDA {', '.join(have)}", title, url, as_of)]
    if not have:
        return
    wanted = minor(built.cuda)
    exact = row["match"] == "exact" if row is not None else numbers(version) < (0, 50)
    if wanted in have if exact else any(numbers(one)[0] == numbers(wanted)[0] for one in have):
        yield Pass(f"bitsandbytes {version}", f"it has a library for CUDA {wanted}")
        return
    later = [
        each["version"]
        for each in matrix.rows("extension-builds", package="bitsandbytes")
        if wanted in each["cuda"] and numbers(each["version"]) > numbers(version)
    ]
    sure = built.confidence == "high"
    yield Finding(
        severity="error" if sure else "warning",
        confidence="high" if sure else "medium",
        subject=f"bitsandbytes {version} with {built}",
        message=f"bitsandbytes {version} has libraries for CUDA {', '.join(have)}, "
        f"but {built} is built for CUDA {wanted}.",
        evidence=[*evidence, *built.evidence],
        fixes=[_install(f"bitsandbytes=={later[0]}" if later else "bitsandbytes", f"has a library for CUDA {wanted}")],
    )


def _nightly(package: Package, torch: Package, matrix: Matrix) -> Iterator[Result]:
    """A release whose prebuilt wheel for this torch was made with a nightly of it, before its functions were final."""
    version, beside = known(package.version), known(torch.version)
    row = matrix.row("extension-builds", package="flash-attn", version=version) if version else None
    if row is None or beside is None or len(numbers(beside)) < 2:
        return
    used = next((one for one in row["torch"] if minor(one) == minor(beside)), None)
    if used is None or not is_foreign(used) or used == public(beside):
        return
    title, url, as_of = matrix.cite(row)
    yield Finding(
        severity="warning",
        confidence="medium",
        subject=f"flash-attn {version} with torch {beside}",
        message=f"The prebuilt wheels of flash-attn {version} for torch {minor(beside)} were made with torch {used}, "
        f"but torch {beside} is installed.",
        evidence=[
            Evidence(
                f"the wheels of flash-attn {version} were made with torch {', '.join(row['torch'])}", title, url, as_of
            )
        ],
        fixes=[rebuild("flash-attn", version)],
    )


def _fixes(package: Package, target: Target, built: FrameworkBuild | None, version: str | None) -> Iterator[Fix]:
    name, own = canonical(package.name), known(package.version)
    if name.startswith(("torch-", "pyg-lib")) and version is not None:
        cuda = "cpu" if built is None or built.cuda is None else "cu" + "".join(map(str, numbers(built.cuda)[:2]))
        page = f"https://data.pyg.org/whl/torch-{minor(version)}.0+{cuda}.html"
        yield Fix(
            f"pip install --force-reinstall {name} -f {page}",
            f"the wheel for torch {minor(version)} and {cuda}",
            "safe",
        )
    yield rebuild(name, own)
    if target.torch and (version is None or minor(version) != target.torch):
        yield _install(f"torch=={target.torch}.*", f"or the torch that {package.name} is built for")


def rebuild(name: str, version: str | None) -> Fix:
    """Compile the extension against the torch that is there."""
    pin = f"{name}=={public(version)}" if version else name
    environment = "FLASH_ATTENTION_FORCE_BUILD=TRUE " if name == "flash-attn" else ""
    return Fix(
        f'{environment}pip install --force-reinstall --no-deps --no-build-isolation --no-binary {name} "{pin}"',
        "compiles it against the installed torch; needs nvcc of torch's CUDA major",
        "review",
        f'python -c "import {name.replace("-", "_")}"',
    )


def _install(requirement: str, note: str) -> Fix:
    from envcheck.rules._fixes import pip_install

    return pip_install(requirement, note=note)
