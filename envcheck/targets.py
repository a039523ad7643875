"""Whether GPU code for one target runs on a compute capability, by the vendor's rules.

Machine code for X.y runs on X.z with z >= y, never across majors. PTX for N runs on every capability >= N, when the
driver's compiler knows its PTX ISA. Suffix ``a``: exactly that capability, PTX too. Suffix ``f``: the same family.
Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".
"""

from __future__ import annotations

FAMILIES = {
    (10, 0): {(10, 0), (10, 3), (10, 7)},
    (10, 3): {(10, 3), (10, 7)},
    (10, 7): {(10, 7)},
    (11, 0): {(11, 0)},
    (12, 0): {(12, 0), (12, 1)},
    (12, 1): {(12, 1)},
}
"""Family-specific targets (suffix f) and where they run: CUDA C++ Programming Guide, "Family-Specific Features";
10.7 and the whole table as ptxas 13.5.37 accepts PTX of one target for another GPU (12.9.86 knows no 10.7)."""


def parse_target(target: str) -> tuple[tuple[int, int], str]:
    """``8.6`` or ``86`` or ``sm_90a`` -> ((9, 0), "a"). Raises ValueError for other text."""
    text = target.lower().removeprefix("sm_").removeprefix("compute_")
    suffix = text[-1] if text and text[-1] in "af" else ""
    digits = text[: len(text) - len(suffix)]
    if "." in digits:
        parts = digits.split(".")
        return (int(parts[0]), int(parts[1])), suffix
    return (int(digits[:-1]), int(digits[-1])), suffix


def runs_on(target: str, sm: tuple[int, int]) -> bool:
    """Does machine code for ``target`` run on compute capability ``sm``?"""
    have, suffix = parse_target(target)
    if suffix == "a":
        return have == sm
    if suffix == "f":
        return sm in FAMILIES.get(have, {have})
    return have[0] == sm[0] and have[1] <= sm[1]


def ptx_serves(target: str, sm: tuple[int, int]) -> bool:
    """Can PTX for ``target`` be compiled for compute capability ``sm``?"""
    have, suffix = parse_target(target)
    if suffix == "a":
        return have == sm
    if suffix == "f":
        return sm in FAMILIES.get(have, {have})
    return have <= sm
