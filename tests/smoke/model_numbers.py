"""Arrays, made inputs and comparisons; run by test_model_onnx.py where NumPy is."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest

from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.arrays import Golden, read, write
from envcheck.smoke_tests.models.compared import compare, narrower
from envcheck.smoke_tests.models.made import Slot, given, make, shapes_of
from envcheck.smoke_tests.models.weights import odd_values

NAN, INF = float("nan"), float("inf")


def f32(*values: float) -> Any:
    return numpy.array(values, dtype=numpy.float32)


@pytest.mark.parametrize(
    ("found", "wanted", "status"),
    [
        ((1.0, 2.0), (1.0, 2.0005), "ok"),
        ((1.0, 2.0), (1.0, 2.1), "wrong"),
        ((1e-5, 10.0), (0.0, 10.0), "ok"),  # near zero beside large values: the error of a sum
        ((1e-5, 1e-4), (0.0, 1e-4), "wrong"),
        ((NAN, 1.0), (NAN, 1.0), "ok"),
        ((-INF, 1.0), (-INF, 1.0), "ok"),
        ((INF, 1.0), (-INF, 1.0), "nan"),
        ((NAN, 1.0), (0.0, 1.0), "nan"),
        ((0.0, 1.0), (NAN, 1.0), "wrong"),
        ((0.0, 0.0), (0.0, 0.0), "ok"),
        ((), (), "ok"),
    ],
)
def test_floats(found: tuple[float, ...], wanted: tuple[float, ...], status: str) -> None:
    assert compare("y", f32(*found), f32(*wanted), "float32").status == status


def test_the_worst_element_is_named() -> None:
    wanted = numpy.ones((2, 3, 4), dtype=numpy.float32)
    found = wanted.copy()
    found[1, 2, 3] = 3
    found[0, 0, 1] = 1.5
    said = compare("y", found, wanted, "float32").text
    assert said.startswith("2 of 24 values of y differ: y[1, 2, 3] is 3 where 1 is expected; rtol 0.001 and atol 1e-05")


def test_given_tolerances_are_taken_as_they_are() -> None:
    assert compare("y", f32(1.0, 5.0), f32(1.2, 5.0), "float32", rtol=0.0, atol=0.25).status == "ok"
    assert compare("y", f32(1.0, 5.0), f32(1.2, 5.0), "float32", rtol=0.0, atol=0.1).status == "wrong"


def test_other_types() -> None:
    ints = numpy.array([1, 2**62], dtype=numpy.int64)
    assert compare("y", ints, ints, "").status == "ok"
    assert compare("y", ints, ints + numpy.array([0, 1]), "").status == "wrong"
    flags = numpy.array([True, False])
    assert "y[1] is 0 where 1" in compare("y", flags, numpy.array([True, True]), "").text
    assert compare("y", numpy.array(["a"]), numpy.array(["b"]), "").status == "wrong"
    assert compare("y", f32(1, 2), f32(1), "float32").status == "shape"


def test_the_type_with_fewer_digits_decides() -> None:
    assert narrower("float32", "bfloat16") == "bfloat16"
    assert narrower("int64", "float32") == ""


def test_made_inputs() -> None:
    x = make(Slot("x", "float32", None), (2, 3))
    assert x.dtype == numpy.float32
    assert (x > 0).all()
    assert (x <= 1).all()
    assert (x == make(Slot("x", "float32", None), (2, 3))).all()
    assert (x.astype(numpy.float16) == x).all()
    assert (x != make(Slot("other", "float32", None), (2, 3))).any()
    assert (make(Slot("attention_mask", "int64", None), (1, 9)) == 1).all()
    assert make(Slot("attention_mask", "bool", None), (1, 9)).all()
    assert (make(Slot("token_type_ids", "int64", None), (1, 9)) == 0).all()
    assert make(Slot("position_ids", "int64", None), (2, 3)).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert set(make(Slot("ids", "int32", None), (500,)).tolist()) <= set(range(8))
    assert make(Slot("image", "uint8", None), (500,)).max() > 200
    assert make(Slot("empty", "float32", None), (0, 3)).shape == (0, 3)
    assert make(Slot("scalar", "float32", None), ()).shape == ()
    with pytest.raises(ModelError, match="takes 40000 MiB"):
        make(Slot("x", "float32", None), (100, 1 << 20, 100))


def test_lengths_of_one_name_are_one() -> None:
    slots = [Slot("a", "int64", ("b", "s")), Slot("m", "int64", ("b", "s")), Slot("k", "float32", ("b", 4))]
    shapes, notes = shapes_of(slots, {"a": [2, 5]})
    assert shapes == {"a": (2, 5), "m": (2, 5), "k": (2, 4)}
    assert not notes
    with pytest.raises(ModelError, match=r"give --shape a=1,16 --shape m=1,16 \(with"):
        shapes_of(slots, {})


def test_a_first_axis_alone_is_one() -> None:
    assert shapes_of([Slot("x", "float32", ("n", 3))], {}) == (
        {"x": (1, 3)},
        ["the first axis of x, n, was taken as 1"],
    )
    with pytest.raises(ModelError, match=r"dynamic shape \[n, 3, H, W\]: give --shape x=1,3,224,224"):
        shapes_of([Slot("x", "float32", ("n", 3, "H", "W"))], {})


@pytest.mark.parametrize(
    ("array", "dtype", "fine"),
    [
        (numpy.array([1.5]), "float32", True),
        (numpy.array([0.1]), "float32", False),
        (numpy.array([1, 2]), "float32", True),
        (numpy.array([2**24 + 1]), "float32", False),
        (numpy.array([1, 2]), "int8", True),
        (numpy.array([300]), "int8", False),
        (numpy.array([1.0]), "int64", False),
        (numpy.array([NAN]), "float32", True),
        (numpy.array([1e300]), "float32", False),
        (numpy.array([0, 1]), "bool", True),
        (numpy.array([0, 2]), "bool", False),
        (numpy.array(["a"]), "float32", False),
    ],
)
def test_only_conversions_that_lose_nothing(array: Any, dtype: str, fine: bool) -> None:
    slot = Slot("x", dtype, None)
    if fine:
        assert given([slot], {"x": array}, "in.npz")["x"].dtype == dtype
    else:
        with pytest.raises(ModelError, match="values would be lost"):
            given([slot], {"x": array}, "in.npz")


def test_golden_files_come_back(tmp_path: Path) -> None:
    path = str(tmp_path / "g.npz")
    inputs = {"a/b:0": f32(1, 2), "scalar": numpy.array(3), "texts": numpy.array(["a"], dtype=object)}
    outputs = {"y": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)), "none": numpy.zeros((0, 4))}
    write(path, inputs, outputs, {"sha256": "00"})
    first = Path(path).read_bytes()
    write(path, inputs, outputs, {"sha256": "00"})
    assert Path(path).read_bytes() == first
    golden = Golden(path, 1 << 20)
    assert golden.meta == {"sha256": "00"}
    assert golden.inputs["scalar"].shape == ()
    assert golden.outputs["none"].shape == (0, 4)
    assert (golden.outputs["y"] == outputs["y"]).all()
    with numpy.load(path, allow_pickle=False) as plain:
        assert set(plain) == {"input:a/b:0", "input:scalar", "input:texts", "output:y", "output:none", "meta"}


def archive(path: Path, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(path, "w", compression) as out:
        out.writestr(name, data)
    return str(path)


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    out = io.BytesIO()
    numpy.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (header((1 << 40,)) + b"1234", "claims shape"),
        (header((1,), "|O") + b"\x80\x04.", "holds Python objects"),
        (b"no array", "no array of NumPy"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "no array of NumPy"),
        (header((1000,)) + bytes(4000), "raise it with --memory-budget"),
    ],
)
def test_hostile_arrays(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read(archive(tmp_path / "in.npz", "x.npy", data, zipfile.ZIP_DEFLATED), 3000)


def test_no_archive_of_arrays(tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ModelError, match=r"no \.npz archive, or was cut off"):
        read(str(tmp_path / "in.npz"), 1 << 20)
    with pytest.raises(ModelError, match="is no golden file"):
        Golden(archive(tmp_path / "g.npz", "x.npy", header((0,))), 1 << 20)


@pytest.mark.parametrize(
    ("dtype", "data", "odd"),
    [
        ("F32", f32(1, NAN, INF, -INF).tobytes(), (1, 2)),
        ("F16", numpy.array([NAN, 1], dtype=numpy.float16).tobytes(), (1, 0)),
        ("BF16", b"\xc0\x7f\x80\x7f\x80\x3f", (1, 1)),
        ("F8_E5M2", b"\x7c\x7d\x00", (1, 1)),
        ("F8_E4M3", b"\x7f\x7e\xff", (2, 0)),
        ("I64", b"\xff" * 8, (0, 0)),
        ("F4", b"\xff", None),
    ],
)
def test_what_is_no_number_in_weights(dtype: str, data: bytes, odd: tuple[int, int] | None) -> None:
    assert odd_values(numpy, numpy.frombuffer(data, dtype="u1"), dtype) == odd
