"""Checks one row against what its table says: used by the linter and for overlays."""

from __future__ import annotations

import re
from typing import Any

from .model import COMMON, CONFIDENCE, TYPES, Row, TableMeta
from .ordering import canonical_package

_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"


def header_faults(meta: TableMeta) -> list[str]:
    """Return what is wrong with the header of a table."""
    names = {column.name for column in meta.columns}
    faults = [f"[table] has no {field}" for field in ("title", "about") if not getattr(meta, field)]
    if not meta.key:
        faults.append("[table] has no key")
    faults += [f"key column {name} is not among the columns" for name in meta.key if name not in names]
    for column in meta.columns:
        if column.type not in TYPES:
            faults.append(f"column {column.name}: unknown type {column.type!r}")
        if column.name in COMMON or column.name.startswith("_"):
            faults.append(f"column {column.name}: the name is reserved")
    if not re.fullmatch(_DATE, meta.as_of):
        faults.append("[table] as_of is not a date")
    if meta.stale_after is not None and not re.fullmatch(_DATE, meta.stale_after):
        faults.append("[table] stale_after is not a date")
    if meta.partition is not None and meta.partition not in meta.key:
        faults.append(f"partition column {meta.partition} is not part of the key")
    used = {name for rule in meta.rising for field in ("column", "by") for name in [rule.get(field, "")]}
    used |= {str(meta.ranges[field]) for field in ("from", "to") if field in meta.ranges}
    used |= set(meta.covers) if isinstance(meta.covers, dict) else set()
    used |= set(meta.labels)
    return faults + [f"[table] names a column {name!r} that does not exist" for name in sorted(used - names)]


def row_faults(meta: TableMeta, row: Row, sources: set[str]) -> list[str]:
    """Return what is wrong with one row (own columns and common ones, as read, before defaults are filled in)."""
    known = {column.name for column in meta.columns} | set(COMMON)
    faults = [f"unknown column {name}" for name in row if name not in known]
    for column in meta.columns:
        value = row.get(column.name)
        if value is None:
            # A text in the key may be empty ("no marker"); what identifies the subject may not.
            if column.name in meta.key and column.type not in ("list", "str"):
                faults.append(f"{column.name} is part of the key and is missing")
            continue
        fault = _type_fault(column.type, value)
        if fault:
            faults.append(f"{column.name}: {fault}")
        elif column.values:
            allowed = ", ".join(column.values)
            given = value if isinstance(value, list) else [value]
            faults += [
                f"{column.name}: {each!r} is not one of {allowed}" for each in given if each not in column.values
            ]
    source = row.get("source") or meta.source
    if source is None:
        faults.append("no source")
    elif source not in sources:
        faults.append(f"unknown source {source!r}")
    if row.get("as_of") is not None and not re.fullmatch(_DATE, str(row["as_of"])):
        faults.append("as_of is not a date")
    if row.get("confidence") is not None and row["confidence"] not in CONFIDENCE:
        faults.append(f"confidence is not one of {', '.join(CONFIDENCE)}")
    texts = ("note", "withdrawn")
    return faults + [f"{name} is not a text" for name in texts if not isinstance(row.get(name, ""), str | None)]


def _type_fault(kind: str, value: Any) -> str | None:
    if kind == "bool":
        return None if isinstance(value, bool) else f"{value!r} is not true or false"
    if kind == "int":
        return None if isinstance(value, int) and not isinstance(value, bool) else f"{value!r} is not a whole number"
    if kind == "list":
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            return f"{value!r} is not a list of texts"
        return "the list names something twice" if len(set(value)) < len(value) else None
    if not isinstance(value, str) or not value:
        return f"{value!r} is not a text"
    if value != value.strip() or "\n" in value:
        return f"{value!r} has blanks around it or a line break in it"
    if kind == "version" and not re.fullmatch(r"\d+(\.\d+)*((\.?(dev|post)|a|b|rc)\d+)*", value):
        return f"{value!r} is not a version"
    if kind == "package" and value != canonical_package(value):
        return f"{value!r} is not in normal form ({canonical_package(value)})"
    if kind == "date" and not re.fullmatch(_DATE, value):
        return f"{value!r} is not a date"
    return None
