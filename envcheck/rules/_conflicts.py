"""Unmet requirements between packages: which rule reports them, how bad they are, and what mends them.

Three rules share the fact `unmet`; :func:`home` gives each of them its part, so that nothing is reported twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import CONFIDENCES, Evidence, Finding, Fix, Undecided
from envcheck.facts.requirements import Need, Unmet, is_met, stand_in
from envcheck.facts.wheels import is_pure
from envcheck.versions import numbers, public, satisfies, version_key

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.matrix import Matrix

FRAMEWORK_PAIRS = {
    "torch": (
        *("torchvision", "torchaudio", "torchtext", "torchdata", "torchcodec", "torchrec", "torchao", "torchtune"),
        *(
            "xformers",
            "torch-tensorrt",
            "fbgemm-gpu",
            "vllm",
            "bitsandbytes",
            "deepspeed",
            "flash-attn",
            "flashinfer-python",
        ),
        *("lightning", "pytorch-lightning", "accelerate", "peft", "sentence-transformers", "timm", "torchmetrics"),
        *(
            "torch-scatter",
            "torch-sparse",
            "torch-cluster",
            "torch-geometric",
            "intel-extension-for-pytorch",
            "torch-xla",
        ),
    ),
    "torchvision": ("vllm", "timm", "torchtune"),
    "torchaudio": ("vllm",),
    "xformers": ("vllm",),
    "triton": ("torch",),
    "pytorch-triton": ("torch",),
    "lightning": ("pytorch-lightning",),
}
"""What is asked for, and by whom, so that framework-pair-mismatch reports it; package-conflict reports the others."""

COMPILED_PAIRS = frozenset(
    (
        *("torchvision", "torchaudio", "torchtext", "torchdata", "torchcodec", "torchrec", "fbgemm-gpu"),
        *("xformers", "torch-tensorrt", "vllm", "torch-xla", "intel-extension-for-pytorch"),
    )
)
"""Companions that are compiled against one minor release of torch."""

WORLD = frozenset(
    (
        *("torch", *FRAMEWORK_PAIRS["torch"], "triton", "tensorrt", "tensorrt-cu11", "tensorrt-cu12", "tensorrt-cu13"),
        *(
            "tensorflow",
            "tensorflow-gpu",
            "tensorflow-cpu",
            "tensorflow-intel",
            "tensorflow-macos",
            "tf-keras",
            "keras",
        ),
        *(
            "tensorflow-estimator",
            "tensorflow-text",
            "tensorflow-probability",
            "tensorflow-hub",
            "tf2onnx",
            "ml-dtypes",
        ),
        *(
            "jax",
            "jaxlib",
            "flax",
            "optax",
            "chex",
            "orbax-checkpoint",
            "dm-haiku",
            "jax-cuda12-plugin",
            "jax-cuda13-plugin",
        ),
        *("jax-cuda12-pjrt", "jax-cuda13-pjrt", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
        *(
            "onnxruntime-openvino",
            "onnxruntime-training",
            "onnxruntime-genai",
            "onnxruntime-genai-cuda",
            "skl2onnx",
            "openvino",
        ),
        *("numpy", "scipy", "pandas", "scikit-learn", "numba", "llvmlite", "protobuf", "h5py", "typing-extensions"),
        *(
            "transformers",
            "tokenizers",
            "huggingface-hub",
            "safetensors",
            "diffusers",
            "datasets",
            "optimum",
            "autoawq",
            "auto-gptq",
            "trl",
            "tensorrt-llm",
        ),
        *(
            "spacy",
            "thinc",
            "cupy",
            "cupy-cuda11x",
            "cupy-cuda12x",
            "cupy-cuda13x",
            "cudf-cu12",
            "cuml-cu12",
            "rmm-cu12",
        ),
        *(
            "paddlepaddle",
            "paddlepaddle-gpu",
            "mxnet",
            "ctranslate2",
            "mmcv",
            "mmcv-full",
            "mmdet",
            "mmengine",
            "mmsegmentation",
            "mmpose",
            "mmcls",
            "mmpretrain",
            "detectron2",
        ),
        *("opencv-python", "opencv-python-headless", "opencv-contrib-python", "xgboost", "lightgbm", "ultralytics"),
    )
)
"""Packages of the deep-learning world, between which a broken requirement is likely to break a program."""

CAPS_OUT_OF_CAUTION = frozenset(("typing-extensions", "h5py", "scipy", "pandas", "numba", "llvmlite", "opencv-python"))
"""Packages whose upper bounds are set for releases that nobody has tested yet, not for a known break."""


def of_our_world(name: str, matrix: Matrix) -> bool:
    """A package of the deep-learning world: named above, or one whose wheels our tables list."""
    return name in WORLD or bool(matrix.rows("wheels", package=name))


def home(unmet: Unmet, matrix: Matrix) -> str:
    """The id of the rule that reports this."""
    need = unmet.need
    if need.name == "numpy" and _is_abi_break(unmet, matrix):
        return "numpy-abi"
    if need.package in FRAMEWORK_PAIRS.get(need.name, ()) and (
        need.origin != "runtime" or need.package in COMPILED_PAIRS or need.package == "torchao"
    ):
        return "framework-pair-mismatch"
    return "package-conflict"


def _is_abi_break(unmet: Unmet, matrix: Matrix) -> bool:
    """NumPy 2 or newer beside a package with compiled code that accepts no NumPy 2 at all."""
    if unmet.installed is None or numbers(unmet.installed)[:1] < (2,):
        return False
    if is_met("2", unmet.need.specifier) is not False:
        return False
    rows = matrix.rows("wheels", package=unmet.need.package)
    return any(row["python_tags"] and not is_pure(row) for row in rows)


def undecided(unmet: Unmet) -> Undecided:
    """For a need of which it can't be told whether it is met."""
    need = unmet.need
    subject = f"{need.asker} with {need.name} {unmet.installed or ''}".rstrip()
    if unmet.missing == f"packages.{need.name}":
        why = f"the version of {need.name} is not stated exactly, and {need.asker} needs {need.specifier}"
    elif need.origin == "runtime":
        why = f"only some releases that {need.asker} may mean need {need.name} {need.specifier}"
    else:
        why = f"whether {need.asker} needs {need.name} {need.specifier} depends on the Python release and the platform"
    return Undecided(subject, unmet.missing, why)


def side(unmet: Unmet) -> str:
    """``low`` or ``high`` when the installed version is below or above what is accepted; ``other`` for exclusions."""
    sides = set()
    for clause in unmet.need.specifier.split(","):
        text = clause.strip()
        bound = text.lstrip("<>=!~ ").removesuffix(".*")
        try:
            if not text or unmet.installed is None or satisfies(public(unmet.installed), text):
                continue
            below = version_key(public(unmet.installed)) < version_key(bound)
        except ValueError:
            continue
        sides.add("other" if text.startswith("!=") else "low" if below else "high")
    return sides.pop() if len(sides) == 1 else "other"


def is_pin(specifier: str) -> bool:
    """One version and no other: ``==2.5.1``, ``>=0.4.33,<=0.4.33``."""
    clauses = [clause.strip() for clause in specifier.split(",") if clause.strip()]
    if any(clause.startswith("==") and not clause.endswith(".*") for clause in clauses):
        return True
    return len(clauses) == 2 and {clause[:2] for clause in clauses} == {">=", "<="} and clauses[0][2:] == clauses[1][2:]


def same_minor(installed: str, specifier: str) -> bool:
    """Whether a pin is missed by a patch release only; in 0.0.x the third number counts as the minor one."""
    pinned, mine = numbers(specifier.partition(",")[0].lstrip("<>=~! ")), numbers(installed)
    width = 3 if pinned[:2] == (0, 0) else 2
    return len(pinned) > 2 and mine[:width] == pinned[:width]


def conflict(unmet: Unmet, severity: str, confidence: str, packages: Packages, tail: str = "") -> Finding:
    """The finding for a need that an installed package does not meet."""
    need, installed = unmet.need, unmet.installed
    effect = f"; {need.effect}" if need.effect else tail
    needs = "needs, like the release next to it," if need.origin == "sibling" else "needs"
    return Finding(
        severity=severity,
        confidence=min(confidence, need.confidence, key=CONFIDENCES.index),
        subject=f"{need.asker} with {need.name} {installed}",
        message=f"{need.asker} {needs} {need.name} {need.specifier}, but {need.name} {installed} is installed{effect}.",
        evidence=[need.evidence, Evidence(f"{need.name} {installed} is installed", _where(packages, need.name))],
    )


def _where(packages: Packages, name: str) -> str:
    package = packages.get(name)
    location = package.location if package is not None else None
    return location if isinstance(location, str) else "package list"


def installable(need: Need) -> str:
    """The need as an argument of pip."""
    clauses = need.specifier.split(",")
    if is_pin(need.specifier) and len(clauses) == 2:
        return f"{need.name}=={clauses[0][2:]}"
    return f"{need.name}{need.specifier}"


def release_for(matrix: Matrix, unmet: Unmet) -> str | None:
    """The nearest listed release of the package that asks that takes what is installed; None when none is listed.

    A newer one when what is installed is too new for it, an older one when that is too old, else either.
    """
    need, way = unmet.need, side(unmet)
    if unmet.installed is None or need.version is None:
        return None
    taking: set[str] = {
        row["version"]
        for row in matrix.rows("requires", package=need.package, requires=need.name)
        if not row["extra"] and row["specifier"] and is_met(unmet.installed, row["specifier"])
    }
    key = version_key(public(need.version))
    fitting = sorted(taking, key=version_key)
    newer = [each for each in fitting if version_key(each) > key]
    older = [each for each in fitting if version_key(each) < key]
    if newer and way != "low":
        return newer[0]
    return older[-1] if older and way != "high" else None


def absent(one: Unmet, packages: Packages) -> Iterator[Finding]:
    """A package of the deep-learning world without another one that it requires: an incomplete installation."""
    need = one.need
    if need.package not in WORLD or need.name not in WORLD or stand_in(need.name, packages):
        return
    from envcheck.rules._fixes import pip_install

    wanted = f"{need.name} {need.specifier}".rstrip()
    yield Finding(
        severity="warning",
        confidence="high",
        subject=f"{need.asker} without {need.name}",
        message=f"{need.asker} requires {wanted}, which is not installed.",
        evidence=[need.evidence],
        fixes=[pip_install(installable(need), note=f"the {need.name} that {need.asker} requires", verify="pip check")],
    )


def fixes(unmet: Unmet, matrix: Matrix) -> list[Fix]:
    """Change what is asked for, or the package that asks."""
    from envcheck.rules._fixes import pip_install

    need = unmet.need
    verify = "pip check" if need.origin != "runtime" else f'python -c "import {need.package.replace("-", "_")}"'
    found = [pip_install(installable(need), note=f"the {need.name} that {need.asker} needs", verify=verify)]
    if unmet.installed and (other := release_for(matrix, unmet)):
        note = f"a {need.package} that goes with {need.name} {unmet.installed}"
        found.append(pip_install(f"{need.package}=={other}", note=note, verify="pip check"))
    return found
