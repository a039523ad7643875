"""A declared requirement of an installed package is not met by another one.

What it does
    Checks what packages require of each other: from their own metadata where they are installed, else from our table
    of the release's metadata. It also checks what some packages demand only when they are imported, and reports the
    deprecated distribution pynvml, whose module hides the one of nvidia-ml-py; packages whose files are a mixture with
    those of another one, and packages whose files are gone; files and folders that stand before an installed package
    on sys.path and are called like it (torch.py, a checkout of PyTorch), and copies of packages on PYTHONPATH or in the
    user's site folder that are taken in the place of the environment's own.

Why it fails
    pip resolves requirements for what is being installed, not for what was there before: a later `pip install` can
    leave an older package with a companion that it was not made for. The program then fails on import, or uses names
    that no longer exist. Packages of one module (opencv-python and opencv-python-headless) overwrite each other, and
    whichever is uninstalled takes the files of the other away. An import takes the first file of its name on sys.path:
    the folder of the program and PYTHONPATH come before the standard library and before site-packages.

How it shows
    `ERROR: pip's dependency resolver does not currently take into account all the packages that are installed`;
    `TypeError: Descriptors cannot not be created directly`; `cannot import name 'ParamSpec' from 'typing_extensions'`;
    `jaxlib version 0.4.26 is newer than and incompatible with jax version 0.4.20`; `Disabling PyTorch because PyTorch
    >= 2.4 is required but found 2.3.0`; `AttributeError: partially initialized module 'torch' has no attribute 'Tensor'
    (most likely due to a circular import)`; `Failed to load PyTorch C extensions` in a checkout of PyTorch.

How to fix
    Install the release of the other package that is required, or a release of the package that accepts what is there.
    `pip check` lists what is still unmet. A file that hides a package gets another name.

Exceptions
    Exact pins on NVIDIA's wheels are how a build was tested: a newer release of the same CUDA major works, so that is
    only mentioned. Pins missed by packages outside the deep-learning world are warnings. PyTorch and the packages
    that are compiled for it are the business of framework-pair-mismatch, NumPy 2 that of numpy-abi. What lies in the
    current folder only hides a package from programs that start there: that is a warning. A folder without
    `__init__.py` hides nothing.

Sources
    Requires-Dist of the installed packages and of the releases on the package index; version checks in the sources
    of the packages; the files in the wheels of pynvml 11.5.3, 12.0.0 and 13.0.1. The order of sys.path: The Python
    Standard Library, sys.path and site.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Stack, known
from envcheck.facts.requirements import Unmet
from envcheck.rules import _conflicts as conflicts
from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.matrix import Matrix

NVIDIA = ("nvidia-", "cuda-")
"""Beginnings of the names of NVIDIA's component wheels."""


def check(
    packages: Packages,
    stack: Stack,
    *,
    unmet: Sequence[Unmet] = (),
    unread_folders: Sequence[str] = (),
    matrix: Matrix,
) -> Iterator[Result]:
    for folder in unread_folders:
        yield Undecided(folder, "packages", "the folder could not be read: what is installed in it is not known")
    mine = [one for one in unmet if conflicts.home(one, matrix) == "package-conflict"]
    nvidia = [one for one in mine if one.need.name.startswith(NVIDIA)]
    for one in mine:
        if one.need.name.startswith(NVIDIA):
            continue
        if one.installed is None and not one.missing:
            yield from conflicts.absent(one, packages)
        elif not one.certain:
            if one.need.package in conflicts.WORLD and one.need.name in conflicts.WORLD:
                yield conflicts.undecided(one)
        else:
            yield _finding(one, packages, matrix)
    yield from _nvidia(nvidia, packages)
    yield from _pynvml(packages)
    if (clashes := known(stack.clashes)) or any(known(one.missing) or known(one.doubles) for one in packages):
        from envcheck.rules._overwritten import overwritten

        yield from overwritten(packages, clashes or ())
    if shadows := known(stack.shadows):
        from envcheck.rules._shadows import hidden

        yield from hidden(shadows)
    if any(variable.name == "PYTHONPATH" for variable in known(stack.env) or ()):
        from envcheck.rules._shadows import other_python

        yield from other_python(stack)
    if not mine:
        yield Pass("installed packages", "what they require of each other is met")


def _finding(one: Unmet, packages: Packages, matrix: Matrix) -> Finding:
    severity, confidence = _weight(one, matrix)
    finding = conflicts.conflict(one, severity, confidence, packages)
    finding.fixes = conflicts.fixes(one, matrix)
    return finding


def _weight(one: Unmet, matrix: Matrix) -> tuple[str, str]:
    """How bad and how sure."""
    need, side = one.need, conflicts.side(one)
    if need.origin == "runtime":
        return need.severity, "high"
    if one.installed is None or not all(conflicts.of_our_world(name, matrix) for name in (need.package, need.name)):
        return "warning", "medium"
    if conflicts.is_pin(need.specifier):
        locked = need.package.partition("-")[0] == need.name.removesuffix("lib").partition("-")[0]
        if conflicts.same_minor(one.installed, need.specifier) and not locked:
            return "warning", "high"
        cautious = need.name in conflicts.CAPS_OUT_OF_CAUTION and side != "low"
        return "warning" if cautious else "error", "high" if locked else "medium"
    if side == "high":
        cautious = need.name in conflicts.CAPS_OUT_OF_CAUTION or (need.name == "numpy" and _scipy_like(one))
        return ("warning", "medium") if cautious else ("error", "medium")
    return ("error", "high") if side == "low" else ("warning", "medium")


def _scipy_like(one: Unmet) -> bool:
    """These cap NumPy at the releases of a year ahead; SciPy itself only warns."""
    return one.need.package in ("scipy", "scikit-learn", "pandas") and numbers(one.installed or "")[:1] == (1,)


def _nvidia(found: list[Unmet], packages: Packages) -> Iterator[Finding]:
    """Pins of a framework on NVIDIA's wheels, one finding for each framework and severity."""
    groups: dict[tuple[str, str, str], list[Unmet]] = {}
    for one in found:
        if one.certain and one.installed is not None:
            severity, confidence = _nvidia_weight(one)
            groups.setdefault((one.need.asker, severity, confidence), []).append(one)
    for (asker, severity, confidence), members in groups.items():
        from envcheck.rules._fixes import pip_install

        names = [f"{one.need.name} {one.installed} (pinned {one.need.specifier})" for one in members]
        ending = {
            "info": "within a CUDA major release NVIDIA's libraries stay compatible",
            "warning": "an older library can lack what it was built with",
            "error": "libcusparse needs the nvJitLink of its own minor release or a newer one",
        }[severity]
        yield Finding(
            severity=severity,
            confidence=confidence,
            subject=f"{asker} with {', '.join(f'{one.need.name} {one.installed}' for one in members)}",
            message=f"{asker} pins NVIDIA wheels of which others are installed: {', '.join(names)}; {ending}.",
            evidence=[
                item
                for one in members
                for item in (
                    one.need.evidence,
                    Evidence(f"{one.need.name} {one.installed} is installed", "package list"),
                )
            ],
            fixes=[
                pip_install(
                    *(conflicts.installable(one.need) for one in members),
                    note=f"what {asker} was built and tested with",
                    verify="pip check",
                )
            ],
        )


def _pynvml(packages: Packages) -> Iterator[Finding]:
    """Up to 11.5 the distribution pynvml has a module of its own; from 12 on it only requires nvidia-ml-py."""
    version = packages.version("pynvml")
    if "pynvml" not in packages:
        return
    hides = version is not None and numbers(version)[:1] < (12,) and "nvidia-ml-py" in packages
    message = (
        f"pynvml {version or ''}".rstrip() + " is a deprecated distribution; nvidia-ml-py brings the module pynvml"
    )
    if hides:
        message += (
            f", and its file pynvml.py ({packages.version('nvidia-ml-py')}) is hidden by the older folder pynvml/"
        )
    yield Finding(
        severity="warning" if hides else "info",
        confidence="high",
        subject=f"pynvml {version or ''}".rstrip(),
        message=message + ".",
        evidence=[Evidence(f"pynvml {version or ''}".rstrip() + " is installed", "package list")],
        fixes=[
            Fix(
                command="pip uninstall -y pynvml && pip install --force-reinstall --no-deps nvidia-ml-py",
                note="the same module, maintained by NVIDIA; pynvml_utils goes away with pynvml",
                safety="review",
                verify='python -c "import pynvml; print(pynvml.__file__)"',
            )
        ],
    )


def _nvidia_weight(one: Unmet) -> tuple[str, str]:
    pinned = one.need.specifier.partition(",")[0].lstrip("<>=~! ").removesuffix(".*")
    if one.installed is None or compare_numbers(one.installed, pinned) >= 0:
        return "info", "high"
    if one.need.name.startswith("nvidia-nvjitlink") and numbers(one.installed)[:2] < numbers(pinned)[:2]:
        return "error", "medium"
    return "warning", "medium"
