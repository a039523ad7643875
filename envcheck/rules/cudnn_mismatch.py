"""The cuDNN that is loaded does not fit the package.

What it does
    Compares the cuDNN that each package was built for with the ones that are there: NVIDIA's wheel, the system's, that
    of conda, and the one that torch brings. Finds another major release, an older minor release where the package
    refuses it, and a system's cuDNN that LD_LIBRARY_PATH mixes into torch.

Why it fails
    libcudnn.so.8 and libcudnn.so.9 are different libraries. Within a major, a newer minor release serves programs built
    with an older one, never the reverse: TensorFlow, JAX and PyTorch check that when they start. cuDNN consists of
    several libraries that load each other by name; two releases on the path give one process parts of both.

How it shows
    `Loaded runtime CuDNN library: 8.5.0 but source was compiled with: 8.6.0`; `cuDNN version incompatibility: PyTorch
    was compiled against (8, 9, 2) but found runtime version (8, 5, 0)`; `Could not load library
    libcudnn_ops_infer.so.8`; `Could not locate cudnn_ops64_9.dll`; `CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH`.

How to fix
    Install the cuDNN that the package was built with as a wheel, take the system's cuDNN off LD_LIBRARY_PATH, or take a
    release of the package that is built for the cuDNN that is there.

Exceptions
    A newer minor release is accepted. torch loads its own cuDNN: a system's cuDNN of any release does not matter to it
    as long as LD_LIBRARY_PATH does not name its folder.

Sources
    TensorFlow's tested configurations; metadata of torch and of JAX's plugins; CTranslate2's changelog; cuDNN's
    support matrix; PyTorch, torch/backends/cudnn/__init__.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Stack
from envcheck.rules._binaries import at, loaded
from envcheck.rules._cuda_libs import is_side_framework
from envcheck.rules._cudnn import Have, Need, haves, needs, on_library_path, release_of
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.builds import FrameworkBuild
    from envcheck.facts.gpus import GpuView
    from envcheck.facts.libraries import Libraries
    from envcheck.matrix import Matrix

EXPLAINS = ("missing-shared-library",)


def check(
    stack: Stack,
    *,
    cuda_builds: Sequence[FrameworkBuild] = (),
    packages: Packages | None = None,
    libraries: Libraries | None = None,
    env: dict[str, str] | None = None,
    has_gpu: bool | None = None,
    visible_gpus: Sequence[GpuView] = (),
    matrix: Matrix,
) -> Iterator[Result]:
    if has_gpu is False:
        return
    there = haves(stack, libraries, packages)
    wanted = list(needs(cuda_builds, packages, matrix))
    missing = _missing_majors(libraries)
    for major, files in missing.items():
        others = [have for have in there if have.major != major]
        if others and not any(have.major == major for have in there):
            yield _missing(major, files, others, [need for need in wanted if need.major == major])
    before = on_library_path(stack, libraries, env or {})
    for build in cuda_builds:
        if build.package == "torch" and build.cudnn:
            yield from _torch(build, build.cudnn, there, before)
    for need in wanted:
        if need.major not in missing:
            side = is_side_framework(need.package, cuda_builds)
            real = _really(need, stack, libraries)
            all_there = there if real is None else [real, *there]
            yield from _judge(need, all_there, real or before, side, libraries is not None and libraries.complete)
    if cuda_builds:
        yield from _gpus(there, visible_gpus, matrix)


def _missing_majors(libraries: Libraries | None) -> dict[int, list[str]]:
    """Parts of cuDNN that were not found, by the major release of cuDNN."""
    from envcheck.facts.libraries import parse_name

    found: dict[int, list[str]] = {}
    for file in libraries.missing if libraries else ():
        name = parse_name(file)
        if name is not None and name.family == "cudnn" and name.number is not None:
            found.setdefault(name.number, []).append(file)
    return found


def _missing(major: int, files: list[str], others: list[Have], users: list[Need]) -> Finding:
    who = f"{users[0].who} needs" if users else "A program needs"
    have = others[0]
    evidence = [Evidence(f"{file} was not found", "loader") for file in files]
    evidence += [*(users[0].evidence if users else ()), *(other.evidence for other in others[:2])]
    package = users[0] if users else None
    return Finding(
        severity="error",
        confidence="high" if users or have.place != "torch" else "medium",
        subject=f"{package.who if package else files[0]} and cuDNN {have.version or have.major}",
        message=f"{who} cuDNN {major} ({', '.join(files)}), which cannot be found; what is there is {have.label}.",
        evidence=evidence,
        fixes=_fixes(package, major, None, have),
    )


def _torch(build: FrameworkBuild, own: str, there: list[Have], before: Have | None) -> Iterator[Result]:
    """torch loads the wheel it requires; a cuDNN on LD_LIBRARY_PATH comes before that."""
    major, exact = numbers(own)[0], len(numbers(own)) > 1
    if before is not None and before.major == major and before.version and exact:
        wheel = _wheel_of(build, there)
        mine = wheel.version if wheel is not None and wheel.version else own
        older = compare_numbers(before.version, mine) < 0
        # cuDNN 8 that is newer passes torch's own check and loads its own parts; 9 mixes with those of the wheel.
        if release_of(before.version) != release_of(mine) and (older or major >= 9):
            yield _on_path(build, mine, before)
            return
    wheel = _wheel_of(build, there)
    if wheel is None or not wheel.version:
        return
    if wheel.major != major:
        yield _torch_finding(build, own, wheel, f"cuDNN {major}", "it loads libcudnn.so." + str(major))
    elif exact and numbers(wheel.version)[:2] < numbers(own)[:2]:
        yield _torch_finding(build, own, wheel, f"cuDNN {own} or newer", "it refuses an older minor release")
    else:
        yield Pass(str(build), f"{wheel.label} fits cuDNN {own}")


def _wheel_of(build: FrameworkBuild, there: list[Have]) -> Have | None:
    """The wheel that this torch loads. Builds for CUDA 11 other than those of the index carry cuDNN in themselves."""
    if build.cuda_major == 11 and not (build.cuda or "").startswith("11.7"):
        return None
    name = f"nvidia-cudnn-cu{build.cuda_major}"
    return next((have for have in there if have.place == "wheel" and f" of {name}" in have.label), None)


def _torch_finding(build: FrameworkBuild, own: str, wheel: Have, needed: str, why: str) -> Finding:
    name = f"nvidia-cudnn-cu{build.cuda_major}"
    pin = own if len(numbers(own)) > 3 else f"{own}.*"
    return Finding(
        severity="error",
        confidence="medium",
        subject=f"{build} and {name} {wheel.version}",
        message=f"{build} is built with {needed}, and {wheel.label} is installed: {why}.",
        evidence=[*build.evidence, wheel.evidence],
        fixes=[
            Fix(
                command=f'pip install "{name}=={pin}"',
                note="the release that this torch requires",
                safety="safe",
                verify='python -c "import torch; print(torch.backends.cudnn.version())"',
            )
        ],
    )


def _on_path(build: FrameworkBuild, own: str, before: Have) -> Finding:
    return Finding(
        severity="error",
        confidence="medium",
        subject=f"{build} and cuDNN {before.version}",
        message=f"{build} comes with cuDNN {own}, but LD_LIBRARY_PATH puts {before.label} before it: "
        "one process then loads parts of both.",
        evidence=[*build.evidence, before.evidence],
        fixes=[
            Fix(
                command="unset LD_LIBRARY_PATH",
                note="torch finds its own cuDNN; leave only folders on the path that hold no libcudnn",
                safety="safe",
                verify='python -c "import torch; print(torch.backends.cudnn.version())"',
            )
        ],
    )


def _judge(need: Need, there: list[Have], before: Have | None, side: bool, complete: bool) -> Iterator[Result]:
    fitting = [have for have in there if have.major == need.major]
    if there and not fitting:
        # A wheel beside torch is torch's; without torch somebody installed it for this package.
        own = ("torch", "wheel") if any(have.place == "torch" for have in there) else ("torch",)
        stated = [have for have in there if have.place not in own] or (there if complete else [])
        worst = (stated or there)[0]
        yield _other_major(need, worst, sure=bool(stated) and not side, complete=complete)
        return
    if not fitting or need.minimum is None or not need.older:
        if fitting:
            yield Pass(need.who, f"{fitting[0].label} is of the major release that it needs")
        return
    loaded = _loaded(need, fitting, before)
    if loaded is None or not loaded.version or len(numbers(loaded.version)) < 2:
        if need.older == "refuses" and any(have.place != "torch" for have in fitting):
            why = f"it refuses a cuDNN older than {need.minimum}, and the release of {fitting[0].label} is not known"
            yield Undecided(need.who, "cudnn.system", why)
        return
    if numbers(loaded.version)[:2] >= numbers(need.minimum)[:2]:
        yield Pass(need.who, f"{loaded.label} is not older than {need.minimum}")
    else:
        yield _too_old(need, loaded)


def _really(need: Need, stack: Stack, libraries: Libraries | None) -> Have | None:
    """The cuDNN that the loader takes for this package's files; None where that was not read."""
    if not stack.binaries or libraries is None:
        return None
    for file in loaded(stack, need.package, "libcudnn.so."):
        item = at(libraries, file)
        version = item.version if item is not None else None
        major = numbers(file.rpartition(".so.")[2] or "0")[0]
        label = f"cuDNN {version or major} ({file})"
        asks = Evidence(f"{need.package} loads {file}", "the loader's search, re-enacted")
        return Have(major, version, "loaded", label, asks)
    return None


def _loaded(need: Need, fitting: list[Have], before: Have | None) -> Have | None:
    """The one that this package loads; None when that can't be told."""
    if before is not None and before.major == need.major:
        return before
    wheel = next((have for have in fitting if have.place == "wheel" and need.wheel in have.label), None)
    if need.wheels and wheel is not None:
        return wheel
    system = [have for have in fitting if have.place in ("system", "conda", "stated")]
    return next((have for have in system if have.version), None)


def _other_major(need: Need, have: Have, *, sure: bool, complete: bool) -> Finding:
    # Where only torch's own cuDNN is known, the system may have another one that nobody named. A framework that is
    # there for its CPU part leaves the GPU alone.
    return Finding(
        severity="error" if sure else "warning",
        confidence="high" if sure and complete and need.confidence == "high" else "medium",
        subject=f"{need.who} and cuDNN {have.version or have.major}",
        message=f"{need.who} needs cuDNN {need.major}, and what is there is {have.label}.",
        evidence=[*need.evidence, have.evidence],
        fixes=_fixes(need, need.major, need.minimum, have),
    )


def _too_old(need: Need, have: Have) -> Finding:
    does = "refuses an older one" if need.older == "refuses" else "warns of errors with an older one"
    return Finding(
        severity="error" if need.older == "refuses" else "warning",
        confidence="medium",
        subject=f"{need.who} and cuDNN {have.version}",
        message=f"{need.who} was built with cuDNN {need.minimum} and {does}; what is there is {have.label}.",
        evidence=[*need.evidence, have.evidence],
        fixes=_fixes(need, need.major, need.minimum, have),
    )


def _fixes(need: Need | None, major: int, minimum: str | None, have: Have) -> list[Fix]:
    cuda = need.cuda if need else None
    if need is not None and need.package == "ctranslate2":
        command = "pip install -U ctranslate2" if have.major > major else 'pip install "ctranslate2==4.4.0"'
        note = f"the release that loads cuDNN {have.major}, which is there"
        return [Fix(command=command, note=note, safety="review"), _wheel_fix(12, major, minimum)]
    fixes = [_wheel_fix(cuda or 12, major, minimum)]
    if need is not None and need.package == "onnxruntime-gpu":
        fixes.append(
            Fix(
                command="",
                note=f"or a release of onnxruntime-gpu that is built for cuDNN {have.major}",
                safety="manual",
            )
        )
    elif have.place in ("system", "conda", "stated"):
        range_ = f">={minimum},<{major + 1}" if minimum else f"={major}"
        fixes.append(
            Fix(command=f'conda install -c conda-forge "cudnn{range_}"', note="in a conda environment", safety="review")
        )
    return fixes


def _wheel_fix(cuda: int, major: int, minimum: str | None) -> Fix:
    wanted = f">={minimum},<{major + 1}" if minimum else f"=={major}.*"
    return Fix(
        command=f'pip install "nvidia-cudnn-cu{cuda}{wanted}"',
        note="where the program does not find wheels itself, put site-packages/nvidia/cudnn/lib on LD_LIBRARY_PATH",
        safety="review",
    )


def _gpus(there: list[Have], gpus: Sequence[GpuView], matrix: Matrix) -> Iterator[Result]:
    """NVIDIA's wheel of a release that no longer supports a GPU."""
    from envcheck.matrix.lookup import cudnn_gpus

    for have in there:
        cuda = have.label.partition("nvidia-cudnn-cu")[2]
        if have.place != "wheel" or not have.version or not cuda.isdigit():
            continue
        row = cudnn_gpus(matrix, have.version, cuda)
        if row is None or not row["cc_min"]:
            continue
        low, high = row["cc_min"], row["cc_max"]
        title, url, as_of = matrix.cite(row)
        text = (
            f"cuDNN {row['first']} to {row['last']} for CUDA {cuda} supports compute capability {low} to {high or '?'}"
        )
        lost = [gpu for gpu in gpus if gpu.cc and compare_numbers(gpu.cc, low) < 0]
        if lost:
            yield Finding(
                severity="error",
                confidence="medium",
                subject=f"{have.label} on {lost[0].name}",
                message=f"{have.label} supports GPUs from compute capability {low} on, and {lost[0]} is older.",
                evidence=[have.evidence, Evidence(text, title, url, as_of), lost[0].evidence],
                fixes=[_older_cudnn(lost[0], cuda, matrix)],
            )
        newer = [gpu for gpu in gpus if gpu.cc and high and numbers(gpu.cc)[0] > numbers(high)[0]]
        # The cuDNN that a torch requires is as old as that torch: its own GPU code says more.
        if newer and not any(have.place == "torch" for have in there):
            yield Finding(
                severity="warning",  # what it has as PTX may still be compiled for the GPU
                confidence="medium",
                subject=f"{have.label} on {newer[0].name}",
                message=f"{have.label} was made for GPUs up to compute capability {high}, and {newer[0]} is newer.",
                evidence=[have.evidence, Evidence(text, title, url, as_of), newer[0].evidence],
                fixes=[_newer_cudnn(newer[0], cuda, matrix)],
            )


def _newer_cudnn(gpu: GpuView, cuda: str, matrix: Matrix) -> Fix:
    rows = [row for row in matrix.rows("cudnn-gpus", cuda=cuda) if gpu.cc in (row["capabilities"] or ())]
    if not rows:
        return Fix(command="", note=f"a framework build for a CUDA release that knows {gpu}", safety="manual")
    first = min((row["first"] for row in rows), key=numbers)
    note = f"{first} is the first release for this GPU; take a framework build that accepts it"
    return Fix(command=f'pip install "nvidia-cudnn-cu{cuda}>={first}"', note=note, safety="review")


def _older_cudnn(gpu: GpuView, cuda: str, matrix: Matrix) -> Fix:
    rows = [
        r
        for r in matrix.rows("cudnn-gpus", cuda=cuda)
        if r["cc_min"] and gpu.cc and compare_numbers(gpu.cc, r["cc_min"]) >= 0
    ]
    if not rows:
        return Fix(command="", note="a framework build whose cuDNN still supports this GPU", safety="manual")
    last = max((row["last"] for row in rows), key=numbers)
    bound = ".".join(map(str, (*numbers(last)[:-1], numbers(last)[-1] + 1)))
    note = "the last releases for this GPU; torch must be a build that accepts them"
    return Fix(command=f'pip install "nvidia-cudnn-cu{cuda}<{bound}"', note=note, safety="review")
