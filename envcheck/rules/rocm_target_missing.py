"""The ROCm build has no code for this AMD GPU.

What it does
    Compares the target of each AMD GPU (gfx90a, gfx1100 ...) with those that the installed ROCm build of PyTorch
    carries: read from the rocBLAS files in the wheel, else listed for this release and ROCm. HSA_OVERRIDE_GFX_VERSION
    is honoured: it makes ROCm take the GPU for another one.

Why it fails
    AMD's machine code is made for one target. There is no intermediate code that could be compiled for another GPU, so
    a GPU whose target is not among those of the build finds nothing to run.

How it shows
    "HIP error: invalid device function", "hipErrorNoBinaryForGpu: Unable to find code object for all current
    devices!", "rocBLAS error: Cannot read TensileLibrary.dat: Illegal seek for GPU arch : gfx1103", "Segmentation
    fault (core dumped)" at the first operation on the GPU.

How to fix
    Install a build that has the target. Where none has it, AMD's own wheels may; HSA_OVERRIDE_GFX_VERSION=10.3.0 is
    what people use for gfx1031 to gfx1036, without support from AMD.

Exceptions
    A GPU inside a CPU beside a card that is served is only mentioned. Where only rocBLAS lacks the target, which the
    release is made for, it is a warning. With HSA_OVERRIDE_GFX_VERSION the finding is a
    warning while the generation is the same, for such pairs often work. Wheels of AMD's ROCm SDK bring the code for
    each target in packages of their own: nothing is said of them.

Sources
    PyTorch's build scripts; torch.cuda.get_arch_list() of its wheels; LLVM's user guide for AMDGPU (code object
    targets).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Skip, Undecided
from envcheck.rules._makers import OVERRIDE, generation, override_target

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.facts.makers import MakerGpu, RocmCode
    from envcheck.matrix import Matrix

PASSES_FOR_1030 = ("gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036")
"""Targets that people run with code for gfx1030."""


def check(
    rocm_code: list[RocmCode],
    amd_gpus: list[MakerGpu],
    *,
    env: dict[str, str] | None = None,
    packages: Packages | None = None,
    python_version: str | None = None,
    matrix: Matrix,
) -> Iterator[Result]:
    """Judge every ROCm build of PyTorch on every kind of AMD GPU."""
    variables = env or {}
    for code in rocm_code:
        if not code.targets and "in wheels of their own" in code.missing:
            yield Skip(code.missing)
            continue
        for gpu in _distinct(amd_gpus):
            subject = f"{code.build} on {gpu.name}"
            if not code.targets:
                yield Undecided(subject, f"targets of {code.build.package}", code.missing)
            elif gpu.target is None:
                yield Undecided(subject, "gpus.target", f"which target {gpu.name} has is not known")
            else:
                finding = _judge(code, gpu, amd_gpus, variables)
                if finding is None:
                    yield Pass(subject, f"{code.build} has code for {gpu.target}")
                else:
                    if finding.severity == "error" or override_target(variables):
                        finding.fixes = list(_fixes(code, gpu, variables, packages, python_version, matrix))
                    else:
                        finding.fixes = [
                            Fix("", "HIP_VISIBLE_DEVICES with the numbers of the other GPUs hides it", "review")
                        ]
                    yield finding


def _distinct(gpus: Sequence[MakerGpu]) -> list[MakerGpu]:
    return list({(gpu.name, gpu.target): gpu for gpu in reversed(gpus)}.values())[::-1]


def _judge(code: RocmCode, gpu: MakerGpu, gpus: Sequence[MakerGpu], env: dict[str, str]) -> Finding | None:
    """What is wrong with this pair; None when the build has code for the GPU."""
    target = gpu.target or ""
    taken = override_target(env) or target
    if taken == target and target in code.targets:
        return None
    severity = "error"
    evidence = [code.evidence, gpu.evidence]
    if taken == target:
        message = f"{gpu.name} is {target}, and {code.build} has code for {code.listed} only"
        severity, note = _beside(code, gpu, gpus, env)
        if severity == "error" and target in code.promised:
            severity, note = "warning", f" in rocBLAS; its other kernels are made for {target} too"
        message += note
    else:
        evidence.append(Evidence(f"{OVERRIDE}={env[OVERRIDE].strip()}", "environment"))
        said = f"{OVERRIDE}={env[OVERRIDE].strip()} makes ROCm take {gpu.name} ({target}) for {taken}"
        if target in code.targets:
            severity, message = "info", f"{said}, although {code.build} has code for {target} itself"
        elif taken not in code.targets:
            message = f"{said}, and {code.build} has code for {code.listed} only"
        elif generation(taken) == generation(target):
            severity = "warning"
            message = f"{code.build} has no code for {target}; {said}, which often works and is not supported by AMD"
        else:
            message = f"{said}, whose instructions are others; {code.build} has no code for {target}"
    return Finding(
        severity=severity,
        confidence="high" if code.measured and gpu.raw.target == target else "medium",
        subject=f"{code.build} on {gpu.name}",
        message=message,
        evidence=evidence,
    )


def _beside(code: RocmCode, gpu: MakerGpu, gpus: Sequence[MakerGpu], env: dict[str, str]) -> tuple[str, str]:
    """Severity of a GPU that is not served, and why it is less than an error."""
    served = [other for other in gpus if other.target in code.targets]
    if served and gpu.discrete is False:
        return "info", f"; {served[0].name} is served"
    if served:
        return "warning", f"; {served[0].name} is served, keep programs off this one"
    hidden = next((name for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") if env.get(name)), None)
    if hidden and len(gpus) > 1 and len({other.target for other in gpus}) > 1:
        return "warning", f"; {hidden} may hide it"
    return "error", ""


def _fixes(
    code: RocmCode,
    gpu: MakerGpu,
    env: dict[str, str],
    packages: Packages | None,
    python: str | None,
    matrix: Matrix,
) -> Iterator[Fix]:
    from envcheck.rules._makers import torch_for_amd

    target = gpu.target or ""
    if target in code.targets:
        yield Fix(f"unset {OVERRIDE}", f"the build has code for {target}", "safe")
        return
    build = torch_for_amd(matrix, target, code.build.version, packages, python)
    if build is not None:
        yield build
    elif target in PASSES_FOR_1030 and "gfx1030" in code.targets and override_target(env) != "gfx1030":
        yield Fix(
            f"export {OVERRIDE}=10.3.0", f"code for gfx1030 often runs on {target}; AMD does not support it", "review"
        )
    else:
        yield Fix("", f"look for {target} among AMD's own wheels of PyTorch for ROCm", "review")
