"""Write the data of ``envcheck smoke``: ``python tests/tools/make_smoke_data.py [--check]``. Needs numpy and onnx.

For each operation of envcheck/smoke_tests/reference.py the expected output in float64 (raw, little-endian) and its
ONNX models go to envcheck/smoke_tests/data, and the SHA-256 of every file to tests/smoke/smoke_data.sha256.
``--check`` writes nothing and says whether what is shipped is what would be written: the models byte by byte, the
expected outputs to 1e-13 of their largest value, since float64 sums depend on the order in which a NumPy build takes
them.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "envcheck", "smoke_tests"))

import reference  # noqa: E402  (from the checkout, without the package: it is for the standard library alone)

Array = Any
Given = dict[str, Array]
DIGESTS = os.path.join(ROOT, "tests", "smoke", "smoke_data.sha256")
DTYPES = ("float32", "float16", "bfloat16")
SAME = 1e-13


def given(operation: str) -> Given:
    """The inputs as float64 arrays."""
    return {
        name: np.array(tensor.values, dtype=np.float64).reshape(tensor.shape)
        for name, tensor in reference.inputs(operation).items()
    }


# The mathematics in float64.


def convolve(x: Array, w: Array, b: Array) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]


def pool(x: Array) -> Array:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


def gelu(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def cnn(g: Given) -> Array:
    x = pool(np.maximum(convolve(g["x"], g["w1"], g["b1"]), 0.0))
    x = np.maximum(convolve(x, g["w2"], g["b2"]), 0.0).mean(axis=(2, 3))
    return x @ g["w3"].T + g["b3"]


def transformer(g: Given) -> Array:
    x = g["x"]

    def heads(name: str, normed: Array) -> Array:
        return (normed @ g[f"w{name}"].T + g[f"b{name}"]).reshape(2, 8, 4, 8).transpose(0, 2, 1, 3)

    normed = layer_norm(x, g["ln1_w"], g["ln1_b"])
    q, k, v = (heads(name, normed) for name in "qkv")
    mixed = (softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(8.0)) @ v).transpose(0, 2, 1, 3).reshape(2, 8, 32)
    h = x + mixed @ g["wo"].T + g["bo"]
    inner = gelu(layer_norm(h, g["ln2_w"], g["ln2_b"]) @ g["w1"].T + g["b1"])
    return h + inner @ g["w2"].T + g["b2"]


def matmul(g: Given) -> Array:
    return g["a"] @ g["b"]


EXACT: dict[str, Callable[[Given], Array]] = {
    "matmul": matmul,
    "convolution": lambda g: convolve(g["x"], g["w"], g["b"]),
    "cnn": cnn,
    "transformer": transformer,
    "matmul-fp8": matmul,
    "matmul-int8": matmul,
}


# The ONNX models.


class Graph:
    """Collects the nodes and the weights of a model that computes in one data type."""

    def __init__(self, dtype: str) -> None:
        from onnx import TensorProto

        types = {"float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "int8": "INT8"}
        self.dtype, self.type = dtype, getattr(TensorProto, types[dtype])
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, *names: str, **attributes: Any) -> str:
        from onnx import helper

        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(names), [output], name=output, **attributes))
        return output

    def weight(self, name: str, values: Array) -> str:
        from onnx import helper

        single = np.ascontiguousarray(values, dtype="<f4")
        if self.dtype == "bfloat16":
            raw = (single.view("<u4") >> 16).astype("<u2")  # the values are exact: nothing to round
        else:
            raw = single.astype({"float32": "<f4", "float16": "<f2", "int8": "i1"}[self.dtype])
        self.weights.append(helper.make_tensor(name, self.type, single.shape, raw.tobytes(), raw=True))
        return name

    def constant(self, name: str, value: float) -> str:
        """A scalar that need not be exact in the type."""
        single = np.array([value], dtype="<f4")
        if self.dtype == "bfloat16":
            single = ((single.view("<u4") + 0x8000) & 0xFFFF0000).astype("<u4").view("<f4")
        return self.weight(name, single.reshape(()))

    def shape(self, name: str, lengths: tuple[int, ...]) -> str:
        from onnx import TensorProto, helper

        raw = np.array(lengths, dtype="<i8").tobytes()
        self.weights.append(helper.make_tensor(name, TensorProto.INT64, (len(lengths),), raw, raw=True))
        return name

    def norm(self, x: str, name: str, g: Given, epsilon: str) -> str:
        # LayerNormalization is an operator only from opset 17 on.
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[2], keepdims=1))
        variance = self.node("ReduceMean", self.node("Mul", centred, centred), axes=[2], keepdims=1)
        normed = self.node("Div", centred, self.node("Sqrt", self.node("Add", variance, epsilon)))
        scaled = self.node("Mul", normed, self.weight(f"{name}_w", g[f"{name}_w"]))
        return self.node("Add", scaled, self.weight(f"{name}_b", g[f"{name}_b"]))

    def linear(self, x: str, name: str, g: Given) -> str:
        product = self.node("MatMul", x, self.weight(f"w{name}", g[f"w{name}"].T))
        return self.node("Add", product, self.weight(f"b{name}", g[f"b{name}"]))


def conv_nodes(graph: Graph, x: str, w: str, b: str, g: Given) -> str:
    return graph.node("Conv", x, graph.weight(w, g[w]), graph.weight(b, g[b]), kernel_shape=[3, 3], pads=[1] * 4)


def cnn_nodes(graph: Graph, x: str, g: Given) -> str:
    x = graph.node("Relu", conv_nodes(graph, x, "w1", "b1", g))
    x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.node("GlobalAveragePool", graph.node("Relu", conv_nodes(graph, x, "w2", "b2", g)))
    return graph.node(
        "Gemm", graph.node("Flatten", x), graph.weight("w3", g["w3"]), graph.weight("b3", g["b3"]), transB=1
    )


def transformer_nodes(graph: Graph, x: str, g: Given) -> str:
    epsilon, split = graph.constant("epsilon", 1e-5), graph.shape("split", (2, 8, 4, 8))

    def heads(name: str, order: list[int]) -> str:
        return graph.node("Transpose", graph.node("Reshape", graph.linear(normed, name, g), split), perm=order)

    normed = graph.norm(x, "ln1", g, epsilon)
    q, k, v = heads("q", [0, 2, 1, 3]), heads("k", [0, 2, 3, 1]), heads("v", [0, 2, 1, 3])
    scores = graph.node("Div", graph.node("MatMul", q, k), graph.constant("scale", math.sqrt(8.0)))
    mixed = graph.node("Transpose", graph.node("MatMul", graph.node("Softmax", scores, axis=3), v), perm=[0, 2, 1, 3])
    merged = graph.node("Reshape", mixed, graph.shape("merge", (2, 8, 32)))
    h = graph.node("Add", x, graph.linear(merged, "o", g))
    inner = graph.linear(graph.norm(h, "ln2", g, epsilon), "1", g)
    erf = graph.node("Erf", graph.node("Div", inner, graph.constant("root", math.sqrt(2.0))))
    half = graph.node(
        "Mul", graph.node("Mul", inner, graph.constant("half", 0.5)), graph.node("Add", erf, graph.constant("one", 1.0))
    )
    return graph.node("Add", h, graph.linear(half, "2", g))


def opset(operation: str, dtype: str) -> tuple[int, int]:
    """The oldest opset that has the operators in the type, and the IR version of its time."""
    if dtype != "bfloat16":
        return 11, 6
    return (22, 10) if operation in ("convolution", "cnn") else (13, 7)


def build(operation: str, dtype: str) -> bytes:
    """The bytes of the model of an operation."""
    from onnx import TensorProto

    g, graph = given(operation), Graph(dtype)
    first = next(iter(g))
    x = "x" if dtype == "float32" else graph.node("Cast", "x", to=graph.type)
    if operation == "matmul":
        y = graph.node("MatMul", x, graph.weight("b", g["b"]))
    elif operation == "matmul-int8":
        y = graph.node("MatMulInteger", x, graph.weight("b", g["b"]))
    elif operation == "convolution":
        y = conv_nodes(graph, x, "w", "b", g)
    else:
        y = {"cnn": cnn_nodes, "transformer": transformer_nodes}[operation](graph, x, g)
    if dtype != "float32":
        y = graph.node("Cast", y, to=TensorProto.FLOAT)
    graph.nodes[-1].output[0] = "y"
    return serialised(graph, operation, g[first].shape, reference.SHAPES[operation], opset(operation, dtype))


def build_speed() -> bytes:
    graph = Graph("float32")
    graph.node("MatMul", "x", "x")
    graph.nodes[-1].output[0] = "y"
    return serialised(graph, "speed", ("N", "N"), ("N", "N"), (11, 6))


def serialised(graph: Graph, name: str, x: Any, y: Any, versions: tuple[int, int]) -> bytes:
    from onnx import TensorProto, checker, helper

    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
            graph.weights,
        ),
        producer_name="envcheck",
        opset_imports=[helper.make_opsetid("", versions[0])],
        ir_version=versions[1],
    )
    checker.check_model(made, full_check=True)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def files() -> dict[str, bytes]:
    """All files of the data folder: name -> content."""
    made: dict[str, bytes] = {}
    for operation in reference.OPERATIONS:
        made[f"{operation}.expected.f64"] = np.asarray(EXACT[operation](given(operation)), dtype="<f8").tobytes()
    for operation in ("matmul", "convolution", "cnn", "transformer"):
        for dtype in DTYPES:
            made[f"{operation}.{dtype}.onnx"] = build(operation, dtype)
    made["matmul-int8.int8.onnx"] = build("matmul-int8", "int8")
    made["speed.float32.onnx"] = build_speed()
    return made


def same(name: str, shipped: bytes, made: bytes) -> bool:
    if shipped == made or not name.endswith(".f64") or len(shipped) != len(made):
        return shipped == made
    old, new = np.frombuffer(shipped, "<f8"), np.frombuffer(made, "<f8")
    return bool(np.abs(old - new).max() <= SAME * np.abs(new).max())


def check(made: dict[str, bytes]) -> list[str]:
    """What is not as it would be written, one line each."""
    wrong = [f"{name}: nothing writes this file" for name in sorted(set(os.listdir(reference.DATA)) - set(made))]
    for name, content in made.items():
        path = os.path.join(reference.DATA, name)
        if not os.path.isfile(path):
            wrong.append(f"{name}: missing")
            continue
        with open(path, "rb") as file:
            if not same(name, file.read(), content):
                wrong.append(f"{name}: differs")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where something differs")
    made = files()
    if parser.parse_args().check:
        wrong = check(made)
        print("\n".join(wrong) or f"{len(made)} files are as they would be written")
        return bool(wrong)
    os.makedirs(reference.DATA, exist_ok=True)
    for name, content in made.items():
        with open(os.path.join(reference.DATA, name), "wb") as file:
            file.write(content)
    with open(DIGESTS, "w", encoding="ascii", newline="\n") as file:
        for name in sorted(made):
            file.write(f"{hashlib.sha256(made[name]).hexdigest()}  {name}\n")
    print(f"{len(made)} files, {sum(map(len, made.values()))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
