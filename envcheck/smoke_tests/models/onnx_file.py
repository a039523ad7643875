"""What an ONNX file says, without the onnx package: whether it is whole, what it refers to. Standard library only.

The fields are those of onnx.proto: ModelProto (ir_version 1, graph 7, opset_import 8), GraphProto (node 1,
initializer 5), NodeProto (op_type 4, domain 7), TensorProto (external_data 13), OperatorSetIdProto (domain 1,
version 2), StringStringEntryProto (key 1, value 2). Graphs within nodes are not looked into.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from envcheck.smoke_tests.models import ModelError

STANDARD = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
"""Domains of the ONNX standard."""


class Truncated(Exception):
    """The bytes end within a field, or are no protobuf."""


def fields(data: Any, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field; of a number, its value stands for both."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if not number:
            raise Truncated
        if wire == 0:
            value, at = _varint(data, at, end)
            yield number, value, value
        elif wire == 2:
            length, at = _varint(data, at, end)
            if at + length > end:
                raise Truncated
            yield number, at, at + length
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            if at > end:
                raise Truncated
        else:
            raise Truncated


def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Truncated


class Said:
    """What the file says of itself."""

    __slots__ = ("domains", "external", "ir", "operators", "opsets")

    def __init__(self) -> None:
        self.ir = 0
        self.opsets: dict[str, int] = {}
        self.domains: dict[str, str] = {}
        """Domain outside of the standard -> one of its operators in the graph."""
        self.external: dict[str, int] = {}
        """File with weights, relative to the model -> least size in bytes that it must have."""
        self.operators = 0


def read(path: str, name: str) -> Said:
    """Raises ModelError for a file that is no ONNX model, is cut off, or misses a file that it refers to."""
    import mmap

    said = Said()
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _model(data, said)
    except Truncated:
        raise ModelError(f"{name} is damaged or no ONNX model: its protobuf ends too early or makes no sense") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} can't be read: {error}") from None
    if not said.ir or not said.operators:
        raise ModelError(f"{name} is no ONNX model: it has no {'graph' if said.ir else 'IR version'}")
    folder = os.path.dirname(os.path.abspath(path))
    for location, least in said.external.items():
        _external(folder, name, location, least)
    return said


def size_of_external(path: str, said: Said) -> int:
    """Bytes of the files with weights beside the model."""
    folder = os.path.dirname(os.path.abspath(path))
    return sum(os.path.getsize(os.path.join(folder, location)) for location in said.external)


def _external(folder: str, name: str, location: str, least: int) -> None:
    if os.path.isabs(location) or ".." in location.replace("\\", "/").split("/"):
        raise ModelError(f"{name} keeps weights in {location!r}, outside of its folder, which is not followed")
    try:
        size = os.path.getsize(os.path.join(folder, location))
    except (OSError, ValueError):
        raise ModelError(f"{name} keeps its weights in {location}, which is not beside it: copy both files") from None
    if size < least:
        raise ModelError(f"{location}, with the weights of {name}, has {size} bytes where {least} are needed: cut off?")


def _model(data: Any, said: Said) -> None:
    for number, begin, end in fields(data, 0, len(data)):
        if number == 1:
            said.ir = begin
        elif number == 7:
            _graph(data, begin, end, said)
        elif number == 8:
            domain, version = "", 0
            for part, first, last in fields(data, begin, end):
                if part == 1:
                    domain = _text(data, first, last)
                elif part == 2:
                    version = first
            said.opsets[domain] = version


def _graph(data: Any, begin: int, end: int, said: Said) -> None:
    said.operators += begin == end
    for number, first, last in fields(data, begin, end):
        if number == 1:
            said.operators += 1
            operator = domain = ""
            for part, low, high in fields(data, first, last):
                if part == 4:
                    operator = _text(data, low, high)
                elif part == 7:
                    domain = _text(data, low, high)
            if domain not in STANDARD:
                said.domains.setdefault(domain, operator)
        elif number == 5:
            told: dict[str, str] = {}
            for part, low, high in fields(data, first, last):
                if part == 13:
                    entry = {key: _text(data, one, two) for key, one, two in fields(data, low, high)}
                    told[entry.get(1, "")] = entry.get(2, "")
            if told.get("location"):
                offset, length = (int(told[key]) if told.get(key, "").isdigit() else 0 for key in ("offset", "length"))
                location = told["location"]
                said.external[location] = max(said.external.get(location, 0), offset + length)


def _text(data: Any, begin: int, end: int) -> str:
    return bytes(data[begin : min(end, begin + 4096)]).decode("utf-8", "replace")
