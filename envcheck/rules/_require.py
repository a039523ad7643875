"""NVIDIA_REQUIRE_*: what an image demands of the driver and the GPUs before its container is started.

Grammar of the NVIDIA Container Toolkit (internal/requirements, and src/cli/dsl.c of libnvidia-container): alternatives
are separated by blanks, conditions that must all hold by commas; all variables must be met, and by every visible GPU
on its own. Conditions: ``cuda``, ``driver``, ``arch``, ``brand`` with ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``.
``cuda`` is what the host's driver serves, without cuda-compat. NVIDIA_REQUIRE_JETPACK* is not among the demands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envcheck.versions import compare_numbers, numbers

if TYPE_CHECKING:
    from envcheck.facts.driver import Driver
    from envcheck.facts.gpus import GpuView

OPERATORS = (">=", "<=", "!=", ">", "<", "=")
TRUE = ("1", "t", "T", "TRUE", "true", "True")
"""What Go's strconv.ParseBool takes for true."""


def disabled(env: dict[str, str]) -> bool:
    """NVIDIA_DISABLE_REQUIRE hides the demands; what fails then fails at run time."""
    return env.get("NVIDIA_DISABLE_REQUIRE", "") in TRUE


def demands(env: dict[str, str]) -> list[tuple[str, str]]:
    """Names and values of the variables that state a demand."""
    return [
        (name, value)
        for name, value in env.items()
        if name.startswith("NVIDIA_REQUIRE_") and not name.startswith("NVIDIA_REQUIRE_JETPACK") and value.strip()
    ]


def met(demand: str, driver: Driver, gpus: Sequence[GpuView]) -> bool | None:
    """Is the demand met for each GPU? None when that depends on a fact that is not known."""
    answers = [_any(demand, driver, gpu) for gpu in gpus] or [_any(demand, driver, None)]
    return False if False in answers else None if None in answers else True


def _any(demand: str, driver: Driver, gpu: GpuView | None) -> bool | None:
    answers = [_all(alternative.split(","), driver, gpu) for alternative in demand.split(" ") if alternative]
    return True if True in answers or not answers else None if None in answers else False


def _all(conditions: list[str], driver: Driver, gpu: GpuView | None) -> bool | None:
    answers = [_holds(condition, driver, gpu) for condition in conditions if condition]
    return False if False in answers else None if None in answers else True


def _holds(condition: str, driver: Driver, gpu: GpuView | None) -> bool | None:
    start = next((place for place, letter in enumerate(condition) if letter in "<>=!"), len(condition))
    rest = condition[start:]
    operator = rest[: len(rest) - len(rest.lstrip("<>=!"))]
    name, wanted = condition[:start].lower(), rest[len(operator) :]
    if operator not in OPERATORS or not wanted:
        return None
    if name == "cuda":
        return _compare(driver.own_cuda if driver.forward_compat else driver.cuda, operator, wanted)
    if name == "driver":
        return _compare(driver.version, operator, wanted)
    if gpu is None:
        return None
    if name == "arch":
        return _compare(gpu.cc, operator, wanted)
    return _brand(gpu, operator, wanted) if name == "brand" else None


def _compare(have: str | None, operator: str, wanted: str) -> bool | None:
    if have is None or not numbers(have) or not numbers(wanted):
        return None
    order = compare_numbers(have, wanted)
    return {"=": order == 0, "!=": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[
        operator
    ]


def _brand(gpu: GpuView, operator: str, wanted: str) -> bool | None:
    brands = _brands(gpu)
    if brands is None or operator not in ("=", "!="):
        return None
    return (wanted.lower() in brands) == (operator == "=")


def _brands(gpu: GpuView) -> tuple[str, ...] | None:
    """Brands under which drivers list such a product; None when the name does not tell."""
    words = gpu.name.lower().replace("-", " ").split()
    for brand in ("geforce", "titan", "tesla", "grid"):
        if brand in words:
            return (brand,)
    if "quadro" in words:
        return ("quadrortx", "quadro") if "rtx" in words else ("quadro",)
    if gpu.data_center:
        return ("nvidia", "tesla")
    return ("nvidiartx", "quadrortx") if "rtx" in words else None
