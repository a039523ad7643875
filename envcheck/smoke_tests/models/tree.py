"""Results of a model as a flat table: outputs may be tensors, tuples, tables, or any of these within each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST = 2000
"""Outputs that are looked at."""


def leaves(result: Any, is_leaf: Callable[[Any], bool], name: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of each; ``output`` when there is one, keys and positions joined by dots otherwise."""
    if is_leaf(result) or isinstance(result, bool | int | float):
        yield name or "output", result
    elif isinstance(result, Mapping):
        for key, value in result.items():
            yield from leaves(value, is_leaf, _joined(name, key))
    elif isinstance(result, list | tuple):
        fields = getattr(result, "_fields", None) or range(len(result))
        for key, value in zip(fields, result, strict=False):
            yield from leaves(value, is_leaf, _joined(name, key))
    elif hasattr(result, "__dataclass_fields__"):
        for key in result.__dataclass_fields__:
            yield from leaves(getattr(result, key, None), is_leaf, _joined(name, key))


def _joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)
