"""The references of ``envcheck smoke``: inputs, expected outputs, ONNX models and the comparison with them."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import zipfile
from array import array
from collections.abc import Callable
from pathlib import Path

import plain_operations as plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.smoke_tests import reference
from envcheck.smoke_tests.reference import OPERATIONS, TOLERANCE, Tensor, compare, compare_values, expected, inputs

ROOT = Path(__file__).resolve().parent.parent.parent
FLOATS = ("float32", "tf32", "float16", "bfloat16")
MODELS = [
    *((operation, dtype) for operation in OPERATIONS[:4] for dtype in ("float32", "float16", "bfloat16")),
    ("matmul-int8", "int8"),
    ("speed", "float32"),
]


def significant_bits(value: float) -> int:
    numerator, _ = abs(value).as_integer_ratio()
    return len(bin(numerator).rstrip("0")) - 2


def right(operation: str) -> list[float]:
    return list(expected(operation).values)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_inputs_are_exact_in_every_type(operation: str) -> None:
    tensors = inputs(operation)
    assert tensors == inputs(operation)
    for tensor in tensors.values():
        assert tensor.values.typecode == "f"
        assert len(tensor.values) == math.prod(tensor.shape)
        bits = {"matmul-fp8": 3}.get(operation, 8)
        assert max(map(significant_bits, tensor.values)) <= bits
        # Normal numbers of float16 and of float8_e4m3, whose exponents begin at -14 and -6.
        smallest = min(abs(value) for value in tensor.values if value)
        assert smallest >= 2.0 ** (-6 if operation == "matmul-fp8" else -14)
        assert len(set(tensor.values)) > 5
    if operation == "matmul-int8":
        assert all(value == int(value) and -128 <= value <= 127 for value in tensors["a"].values)
        # Two products fit into 16 bits, also with the first factor moved to 0..255.
        assert all(value == int(value) and -64 <= value <= 63 for value in tensors["b"].values)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_expected_outputs_by_plain_python(operation: str) -> None:
    shipped = expected(operation)
    assert len(shipped.values) == math.prod(shipped.shape)
    computed = plain.COMPUTE[operation](inputs(operation))
    allowed = 0.0 if operation in ("matmul", "convolution", "matmul-fp8", "matmul-int8") else 1e-13
    found = compare_values(computed, shipped.values, 0.0, allowed * max(map(abs, shipped.values)))
    assert found.status == "ok", found.text


@pytest.mark.parametrize("operation", OPERATIONS)
def test_outputs_are_around_one(operation: str) -> None:
    values = right(operation)
    largest = max(map(abs, values))
    assert 0.5 <= largest <= 6 or operation == "matmul-int8"
    assert sum(map(abs, values)) / len(values) > 0.1 * largest


def test_what_is_shipped() -> None:
    listed = dict(
        reversed(line.split("  ")) for line in (ROOT / "tests/smoke/smoke_data.sha256").read_text().splitlines()
    )
    files = {path.name: path.read_bytes() for path in Path(reference.DATA).iterdir()}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == listed
    assert sum(map(len, files.values())) <= 400_000


@pytest.mark.parametrize(("operation", "dtype"), MODELS)
def test_models_are_there(operation: str, dtype: str) -> None:
    assert b"envcheck" in Path(reference.model(operation, dtype)).read_bytes()


def test_unknown_names() -> None:
    for call in (inputs, expected):
        with pytest.raises(ValueError, match="no operation 'fft'; there are matmul, "):
            call("fft")
    with pytest.raises(ValueError, match="no ONNX model of matmul in int4"):
        reference.model("matmul", "int4")
    with pytest.raises(ValueError, match="no tolerance for matmul in int8"):
        compare("matmul", "int8", [], ())
    with pytest.raises(ValueError, match="no operation"):
        compare("fft", "float32", [], ())


@pytest.mark.parametrize(("operation", "dtype"), TOLERANCE)
def test_the_expected_output_is_right(operation: str, dtype: str) -> None:
    shipped = expected(operation)
    found = compare(operation, dtype, shipped.values, shipped.shape)
    assert (found.status, found.error, found.tolerance) == ("ok", 0.0, TOLERANCE[operation, dtype])
    assert found.text.startswith("max error 0 of the largest value, ")


@pytest.mark.parametrize(("operation", "dtype"), TOLERANCE)
def test_the_tolerance_is_the_border(operation: str, dtype: str) -> None:
    shipped = expected(operation)
    allowed = TOLERANCE[operation, dtype] * max(map(abs, shipped.values))
    for factor, status in ((0.99, "ok"), (1.01, "wrong")):
        values = list(shipped.values)
        values[7] += (allowed or (0.0 if status == "ok" else 1.0)) * factor
        assert compare(operation, dtype, values, shipped.shape).status == status


def test_float32_sees_tf32_and_says_so() -> None:
    # The least error that TF32 has in the simulation, tests/tools/simulate_smoke_errors.py.
    for operation, least in (("cnn", 2.7e-4), ("transformer", 4.1e-4)):
        assert TOLERANCE[operation, "float32"] * 50 < least < TOLERANCE[operation, "tf32"]
        shipped = expected(operation)
        values = list(shipped.values)
        values[0] += least * max(map(abs, values))
        found = compare(operation, "float32", values, shipped.shape)
        assert found.status == "wrong"
        assert found.text.endswith("; tf32 gives errors of this size")
        values[0] += 1.0
        assert "errors of this size" not in compare(operation, "float32", values, shipped.shape).text


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        shape, values = tensors[name]
        return {**tensors, name: Tensor(shape, array("f", [0.0] * len(values)))}

    return change


def transposed(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """The last two axes exchanged, in the same shape."""

    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        shape, values = tensors[name]
        high, wide = shape[-2:]
        out = array("f")
        for start in range(0, len(values), high * wide):
            part = values[start : start + high * wide]
            out.extend(part[row * wide + column] for column in range(wide) for row in range(high))
        return {**tensors, name: Tensor(shape, out)}

    return change


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        ("matmul", transposed("b")),
        ("matmul-fp8", transposed("b")),
        ("matmul-int8", transposed("a")),
        ("convolution", without("b")),
        ("convolution", transposed("w")),
        *(("cnn", without(name)) for name in ("b1", "b2", "b3")),
        *(("cnn", transposed(name)) for name in ("w1", "w2", "w3")),
        *(("transformer", without(name)) for name in ("ln1_b", "bq", "bv", "bo", "ln2_b", "b1", "b2")),
        *(("transformer", transposed(name)) for name in ("wq", "wk", "wv", "wo", "w1", "w2")),
    ],
)
def test_mistakes_are_seen_in_every_type(
    operation: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    values = plain.COMPUTE[operation](change(inputs(operation)))
    for name, dtype in TOLERANCE:
        if name == operation:
            assert compare(operation, dtype, values, reference.SHAPES[operation]).status == "wrong"


def test_gelu_by_tanh_and_unscaled_scores_are_seen() -> None:
    shape = reference.SHAPES["transformer"]
    values = plain.transformer(inputs("transformer"), tanh=True)
    assert compare("transformer", "float32", values, shape).status == "wrong"
    assert compare("transformer", "float16", values, shape).status == "ok"
    values = plain.transformer(inputs("transformer"), scale=1.0)
    assert all(compare("transformer", dtype, values, shape).status == "wrong" for dtype in FLOATS)


def test_each_status_and_what_it_says() -> None:
    shape, values = (64, 48), right("matmul")
    lost = values[: 63 * 48] + [0.0] * 48
    found = compare("matmul", "float16", lost, shape)
    assert found.status == "wrong"
    assert found.error is not None
    assert found.error > 0.3
    assert found.text == (
        "46 of 3072 values are wrong: 0 at [63, 39] where -1.83556 is expected;"
        " max error 0.69 of the largest value, 0.015 allowed"
    )
    assert compare("matmul", "float32", [0.0] * len(values), shape)[:2] == ("zeros", 1.0)
    found = compare("matmul", "float32", values, (48, 64))
    assert found == ("shape", None, 1e-6, "the output has shape (48, 64), not (64, 48)")
    found = compare("matmul", "float32", values[1:], shape)
    assert found == ("shape", None, 1e-6, "the output has 3071 values, not 3072")
    for odd in (math.nan, math.inf, -math.inf):
        found = compare("matmul", "float32", [*values[:49], odd, *values[50:]], shape)
        assert found[:2] == ("nan", None)
        assert found.text.startswith(f"1 of 3072 values are NaN or infinite: {odd} at [1, 1] where ")
    assert compare("matmul", "float32", ["x"] * len(values), shape).status == "wrong"  # type: ignore[list-item]
    assert compare("matmul", "float32", None, shape).status == "wrong"  # type: ignore[arg-type]
    assert compare("matmul-int8", "int8", [int(value) for value in right("matmul-int8")], shape).status == "ok"


def test_two_results_of_other_origin() -> None:
    assert compare_values([1.0, 2.0], [1.0, 2.0002], 1e-3).status == "ok"
    found = compare_values([1.0, 2.0], [1.0, 2.01], 1e-3)
    assert found.status == "wrong"
    assert found.text.startswith("1 of 2 values are wrong: 2 at [1] where 2.01 is expected; max error 0.005 of ")
    assert compare_values([1e-9], [0.0], 1e-3).status == "wrong"
    assert compare_values([1e-9], [0.0], 1e-3, 1e-6).status == "ok"
    assert compare_values([0.0, 0.0], [1.0, 2.0], 1e-3).status == "zeros"
    assert compare_values([0.0], [0.0], 0.0).status == "ok"
    assert compare_values([], [], 0.0).status == "ok"
    assert compare_values([1.0], [], 0.0).status == "shape"
    assert compare_values([0.0, math.inf], [1.0, math.inf], 0.0).status == "wrong"
    assert compare_values([1.0], [5e-324], 0.0, 2.0)[:2] == ("ok", None)  # the quotient is beyond float64
    # A mask of -inf is right where the golden result has it too.
    assert compare_values([-math.inf, math.nan, 1.0], [-math.inf, math.nan, 1.0], 1e-3).status == "ok"
    assert compare_values([-math.inf, 1.0], [math.inf, 1.0], 1e-3).status == "nan"
    assert compare_values([1.0, 1.0], [math.inf, 1.0], 1e-3).status == "nan"
    found = compare_values([-math.inf, 1.0, 3.0], [-math.inf, 1.0, 2.0], 1e-3)
    assert found.status == "wrong"
    assert "3 at [2] where 2 is expected" in found.text


anything = st.lists(
    st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=3), st.binary(max_size=3)),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(values=anything, shape=st.one_of(st.just((2, 10)), st.lists(st.integers(), max_size=4)))
def test_compare_never_raises(values: list[object], shape: list[int]) -> None:
    found = compare("cnn", "float32", values, shape)  # type: ignore[arg-type]
    assert found.status in ("wrong", "shape")


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(width=64), min_size=20, max_size=20))
def test_compare_has_a_finite_error_or_none(values: list[float]) -> None:
    found = compare("cnn", "float32", values, (2, 10))
    assert found.status in ("wrong", "nan", "zeros")
    assert found.error is None or math.isfinite(found.error)


@settings(max_examples=200, deadline=None)
@given(a=anything, b=anything, rtol=st.floats(0, 1), atol=st.floats(0, 1))
def test_compare_values_never_raises(a: list[object], b: list[object], rtol: float, atol: float) -> None:
    found = compare_values(a, b, rtol, atol)  # type: ignore[arg-type]
    assert found.status in ("ok", "wrong", "nan", "zeros", "shape")
    assert found.error is None or math.isfinite(found.error)


def test_light_and_for_itself() -> None:
    """The file is imported beside a framework: with nothing of envcheck, and without what takes long."""
    code = (
        "import sys, typing; before = set(sys.modules); import reference; reference.inputs('matmul');"
        "print(*(set(sys.modules) - before))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(reference.__file__)},
        check=True,
    )
    assert set(ran.stdout.split()) <= {"__future__", "_random", "array", "math", "reference"}


@pytest.mark.slow
def test_the_wheel_has_the_data(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; it is part of the test extra")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        for path in Path(reference.DATA).iterdir():
            assert wheel.read(f"envcheck/smoke_tests/data/{path.name}") == path.read_bytes()
