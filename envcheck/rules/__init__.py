"""The rules: one file per cause, named after its id. A rule's documentation is its module's docstring.

A rule module has ``check``, a generator of :class:`~envcheck.core.report.Finding`, ``Pass``, ``Undecided`` or ``Skip``,
and may have ``EXPLAINS``: ids of rules whose findings are consequences of this one.

The engine fills ``check``'s parameters by name with facts (see :mod:`envcheck.facts`), in their order: what makes
the rule apply comes first. An absent or empty fact ends it with a skip; an unknown one with "unknown", named. A
parameter with a default is optional: absent or unknown gives the default. ``matrix`` and ``snapshot`` are always there.

A rule that can say nothing without some facts names them in :data:`RULES`; where one of them is absent or empty, the
engine does not even import it.
"""

from __future__ import annotations

RULES: dict[str, tuple[str, ...]] = {
    # Root causes first: the order in which findings of equal weight are shown.
    "nvml-driver-mismatch": (),
    "no-gpu-visible": ("cuda_builds",),
    "amd-gpu-inaccessible": ("rocm_builds", "amd_gpus"),
    "intel-gpu-inaccessible": ("xpu_builds", "intel_gpus"),
    "gpu-vendor-mismatch": ("unserved_builds",),
    "driver-too-old": ("cuda_users", "driver"),
    "platform-unsupported": ("packages",),
    "python-unsupported": ("packages",),
    "glibc-too-old": (),
    "libstdcxx-too-old": (),
    "cpu-isa-missing": ("packages",),
    "ort-packages-shadow": ("packages",),
    "cpu-only-build": ("builds", "gpus"),
    "gpu-arch-too-new": ("cuda_users", "gpus"),
    "gpu-arch-too-old": ("cuda_users", "gpus"),
    "rocm-target-missing": ("rocm_builds", "amd_gpus"),
    "rocm-driver-untested": ("rocm_builds", "amd_gpus"),
    "mps-unavailable": ("on_mac", "builds"),
    "trt-unsupported-gpu": ("gpus",),
    "trt-cuda-mismatch": ("gpus",),
    "trt-engine-mismatch": ("model",),
    "cuda-major-mismatch": (),
    "cudnn-mismatch": ("gpus",),
    "missing-shared-library": (),
    "framework-pair-mismatch": ("packages",),
    "extension-abi-mismatch": ("packages",),
    "numpy-abi": ("packages",),
    "package-conflict": ("packages",),
    "toolkit-mismatch": ("packages",),
    "opset-unsupported": ("model",),
    "ir-version-unsupported": ("model",),
    "serialization-mismatch": ("model",),
    "op-unsupported": ("model",),
    "hardware-feature-missing": ("gpus_or_smoke",),
    "insufficient-gpu-memory": ("model_or_smoke",),
    "import-failure": ("imports",),
    "smoke-failure": ("smoke",),
    "wrong-results": ("smoke",),
    "silent-cpu-fallback": ("smoke",),
    "slow-device": ("smoke",),
    "duplicate-openmp": (),
    "environment-drift": ("drift_ground",),
}
"""All rule ids, and the facts without which a rule has nothing to say. Ids never change meaning."""


def module_of(rule: str) -> str:
    """Name of the module of a rule id."""
    return "envcheck.rules." + rule.replace("-", "_")
