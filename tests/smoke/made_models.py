"""Model files made byte by byte, without the frameworks that they are for."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of protobuf: a varint, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor_type(name: str, shape: list[int | str], kind: int = 1) -> bytes:
    """ValueInfoProto."""
    axes = b"".join(field(1, field(1, axis) if isinstance(axis, int) else field(2, axis)) for axis in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, axes)))


def onnx(
    operator: str = "Relu",
    domain: str = "",
    shape: list[int | str] | None = None,
    kind: int = 1,
    names: tuple[str, ...] = ("x",),
    external: tuple[str, int] | None = None,
    opset: int = 13,
) -> bytes:
    """A model with one node, ``y = operator(x, ...)``. ``external``: a file with weights and how many floats."""
    shape = [2, 3] if shape is None else shape
    node = b"".join(field(1, name) for name in (*names, *(["w"] if external else [])))
    node += field(2, "y") + field(4, operator) + (field(7, domain) if domain else b"")
    graph = field(1, node) + field(2, "g")
    if external:
        location, count = external
        entries = {"location": location, "offset": "0", "length": str(4 * count)}
        said = b"".join(field(13, field(1, key) + field(2, value)) for key, value in entries.items())
        graph += field(5, field(1, count) + field(2, 1) + field(8, "w") + said + field(14, 1))
    graph += b"".join(field(11, tensor_type(name, shape, kind)) for name in names)
    graph += field(12, tensor_type("y", shape, kind))
    opsets = field(8, field(1, "") + field(2, opset)) + (field(8, field(1, domain) + field(2, 1)) if domain else b"")
    return field(1, 8) + field(7, graph) + opsets


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def zipped(entries: Mapping[str, bytes | str], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def node(target: str, **more: Any) -> dict[str, Any]:
    return {"target": target, "inputs": [], "outputs": [], "metadata": {}, **more}


def pt2(
    nodes: list[dict[str, Any]] | None = None,
    expressions: tuple[str, ...] = (),
    constants: Mapping[str, Any] | None = None,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """An exported program, as far as envcheck looks into one."""
    sizes = [{"as_expr": {"expr_str": text, "hint": None}} for text in expressions]
    graph = {"nodes": nodes or [node("torch.ops.aten.relu.default")], "tensor_values": {"x": {"sizes": sizes}}}
    entries: dict[str, bytes | str] = {
        "m/archive_format": "pt2",
        "m/models/model.json": json.dumps({"graph_module": {"graph": graph}}),
        "m/data/weights/model_weights_config.json": json.dumps({"config": {}}),
        "m/data/constants/model_constants_config.json": json.dumps({"config": constants or {}}),
        **(more or {}),
    }
    return zipped(entries)
