"""What model files are, whether they are whole, and what loading them would run: nothing of it is loaded."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import made_models
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.smoke_tests import reference
from envcheck.smoke_tests.models import ModelError, exported, onnx_file, pickled, safetensors
from envcheck.smoke_tests.models.formats import sniff, whole
from envcheck.smoke_tests.models.running import opened


class Runs:
    """What a hostile pickle holds."""

    def __reduce__(self) -> Any:
        return (os.system, ("false",))


EVIL = pickle.dumps(Runs(), protocol=2)
STATE = pickle.dumps(collections.OrderedDict(a=1), protocol=2)
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def put(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.onnx", made_models.onnx(), "onnx"),
        ("a", made_models.onnx(), "onnx"),
        ("a.bin", b"\x00\x00\x00\x00ORTM", "ort"),
        ("a.pt", made_models.zipped({"m/data.pkl": STATE, "m/constants.pkl": b"", "m/code/a.py": b""}), "torchscript"),
        ("a.ts", made_models.zipped({"m/data.pkl": STATE}), "pickled"),
        ("a.pt", made_models.pt2(), "pt2"),
        ("a.pt2", made_models.zipped({"serialized_exported_program.json": b"{}"}), "pt2"),
        ("a.pth", LEGACY, "pickled"),
        ("a.model", made_models.safetensors({}), "safetensors"),
        ("a.plan", b"what TensorRT makes of it", "plan"),
        ("a", b"ftrt....", "plan"),
    ],
)
def test_kinds_are_told_by_content(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    assert sniff(put(tmp_path, name, data)).kind == kind


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.onnx", b"", "a.onnx is empty"),
        ("a.onnx", b"version https://git-lfs and more", "a pointer of Git LFS"),
        ("a.pt", b"<!DOCTYPE html>", "a web page"),
        ("a.pt", b"\x7fELF", "a program or library"),
        ("a.bin", b"GGUF\x03\x00", "a GGUF file"),
        ("a.pt", b"plain words", "no file of torch.save: it begins with 'plain words'"),
        ("a", b"\xff\xfe\x00", "no model of a known kind"),
        ("a.pt", b"PK\x03\x04cut off", "a damaged zip archive"),
        ("a.npz", made_models.zipped({"x.npy": b""}), "arrays of NumPy"),
        ("a.zip", made_models.zipped({"m/readme": b""}), "no known kind of model"),
        ("a.pt2", made_models.zipped({"m/data/aotinductor/model/a.so": b""}), "an AOTInductor package"),
        (
            "a.pt",
            made_models.zipped({"m/data.pkl": STATE, "m/data/0": bytes(200 << 20)}, zipfile.ZIP_DEFLATED),
            "unpacks to 200 MiB from 0 MiB",
        ),
    ],
)
def test_what_is_no_model_is_said_in_a_sentence(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=re.escape(said)):
        sniff(put(tmp_path, name, data))


def test_a_checksum_that_does_not_match_is_found(tmp_path: Path) -> None:
    data = bytearray(made_models.zipped({"m/data.pkl": STATE, "m/data/0": b"weights of a model" * 10}))
    at = data.find(b"weights of")
    data[at] ^= 1
    path = put(tmp_path, "a.pt", bytes(data))
    with pytest.raises(ModelError, match="m/data/0 can't be unpacked"):
        whole(path, "a.pt")


def test_an_archive_without_checksums_is_no_damaged_one(tmp_path: Path) -> None:
    """torch.serialization.set_crc32_options(False) writes zeros in their place."""
    path = put(tmp_path, "a.pt", made_models.zipped({"m/data.pkl": STATE}))
    data = bytearray(Path(path).read_bytes())
    crc = zipfile.ZipFile(path).infolist()[0].CRC.to_bytes(4, "little")
    Path(path).write_bytes(bytes(data).replace(crc, bytes(4)))
    whole(path, "a.pt")
    assert pickled.objects_in(path, "a.pt") == []


@pytest.mark.parametrize("operation", reference.OPERATIONS[:4])
def test_shipped_models_are_read(operation: str) -> None:
    said = onnx_file.read(reference.model(operation), "m")
    assert said.operators
    assert said.opsets[""] >= 9
    assert not said.domains | said.external


def test_an_onnx_model_that_was_cut_off_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    data = Path(reference.model("cnn")).read_bytes()
    for length in range(1, len(data), 97):
        path = put(tmp_path, "cut.onnx", data[:length])
        try:
            said = onnx_file.read(path, "cut.onnx")
        except ModelError:
            continue
        assert said.operators
        assert length > len(data) - 40  # cut between two fields at the end of the file


def test_domains_outside_of_the_standard_are_told(tmp_path: Path) -> None:
    said = onnx_file.read(put(tmp_path, "a.onnx", made_models.onnx("Fancy", "my.company")), "a.onnx")
    assert said.domains == {"my.company": "Fancy"}


def test_weights_beside_an_onnx_model(tmp_path: Path) -> None:
    path = put(tmp_path, "a.onnx", made_models.onnx("Add", external=("a.data", 6)))
    with pytest.raises(ModelError, match=r"keeps its weights in a\.data, which is not beside it: copy both files"):
        onnx_file.read(path, "a.onnx")
    put(tmp_path, "a.data", bytes(20))
    with pytest.raises(ModelError, match="has 20 bytes where 24 are needed"):
        onnx_file.read(path, "a.onnx")
    put(tmp_path, "a.data", bytes(24))
    assert onnx_file.size_of_external(path, onnx_file.read(path, "a.onnx")) == 24


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b"])
def test_weights_outside_of_the_folder_are_not_followed(tmp_path: Path, location: str) -> None:
    path = put(tmp_path, "a.onnx", made_models.onnx("Add", external=(location, 6)))
    with pytest.raises(ModelError, match="outside of its folder"):
        onnx_file.read(path, "a.onnx")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_a_pickle_calls_is_read_from_its_opcodes(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({"w": Runs(), "again": Runs()}, protocol=protocol)
    assert pickled.in_bytes(made_models.zipped({"m/data.pkl": data}), "a.pt") == [f"{os.system.__module__}.system"]
    if protocol >= 2:
        assert pickled.objects_in(put(tmp_path, "a.pt", data), "a.pt") == [f"{os.system.__module__}.system"]


def test_the_parts_of_a_file_before_torch_1_6_are_all_read(tmp_path: Path) -> None:
    parts = [LEGACY, pickle.dumps(1001, 2), pickle.dumps({}, 2), EVIL, pickle.dumps(["0"], 2), b"raw tensors"]
    assert pickled.objects_in(put(tmp_path, "a.pth", b"".join(parts)), "a.pth") == [f"{os.system.__module__}.system"]
    parts[3] = STATE
    assert pickled.objects_in(put(tmp_path, "a.pth", b"".join(parts)), "a.pth") == []


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("collections.OrderedDict", True),
        ("torch._utils._rebuild_tensor_v2", True),
        ("torch.FloatStorage", True),
        ("torch.float8_e4m3fn", True),
        ("torch.load", False),
        ("torch.nn.modules.conv.Conv2d", False),
        ("builtins.eval", False),
        ("torch._utils.os.system", False),
        ("torch.hub.load", False),
        ("os.FloatStorage", False),
    ],
)
def test_only_what_makes_tensors_is_harmless(name: str, fine: bool) -> None:
    assert pickled.harmless(name) is fine


NESTED = made_models.zipped({"archive/data.pkl": EVIL})


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (made_models.pt2(more={"m/data/sample_inputs/model.pt": NESTED}), "system"),
        (made_models.pt2(more={"m/data/weights/model.pt": NESTED}), "system"),
        (made_models.zipped({"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": NESTED}), "system"),
        (
            made_models.pt2(
                constants={"c": {"path_name": "tensor_0", "use_pickle": True}},
                more={"m/data/constants/tensor_0": NESTED},
            ),
            "system",
        ),
        (
            made_models.pt2(constants={"c": {"path_name": "opaque_obj_0", "use_pickle": True}}),
            "the object opaque_obj_0",
        ),
        (
            made_models.pt2(constants={"c": {"path_name": "custom_obj_0", "use_pickle": False}}),
            "the object custom_obj_0",
        ),
        (made_models.pt2([made_models.node("torch.os.system")]), "torch.os.system"),
        (made_models.pt2([made_models.node("torch.ops.load_library")]), "torch.ops.load_library"),
        (made_models.pt2([made_models.node("torch.ops.aten.from_file.default")]), "from_file"),
        (made_models.pt2([made_models.node("torch.ops.__class__.load_library.__call__")]), "__class__"),
        (made_models.pt2([made_models.node("_operator.methodcaller")]), "methodcaller"),
        (made_models.pt2([made_models.node("torch.hub.load")]), "torch.hub.load"),
        (made_models.pt2([made_models.node("#extension:op")]), "#extension"),
        (made_models.pt2(expressions=("__import__('os').system('false')",)), "the expression"),
        (made_models.pt2(expressions=("exec(chr(112))",)), "the expression"),
        (made_models.pt2(expressions=("(lambda: 0)()",)), "the expression"),
        (made_models.pt2(expressions=("Symbol('a; b')",)), "the expression"),
        (made_models.pt2(expressions=("().__class__",)), "the expression"),
    ],
)
def test_programs_that_would_run_code_are_refused(tmp_path: Path, data: bytes, what: str) -> None:
    path = put(tmp_path, "a.pt2", data)
    assert what in " ".join(exported.check(path, "a.pt2"))
    with pytest.raises(ModelError, match=r"^a\.pt2 holds or calls more than .*--trust-pickle"):
        opened({"model": {"path": path}})
    opened({"model": {"path": path, "trust_pickle": True}})


def test_programs_of_operators_on_tensors_are_not(tmp_path: Path) -> None:
    targets = (
        "torch.ops.aten.add.Tensor",
        "torch.ops.aten.__and__.Tensor",
        "torch.ops.mine.op.default",
        "torch.ops.higher_order.cond",
        "_operator.getitem",
        "torch.sym_max",
        "math.trunc",
    )
    expressions = ("Symbol('s77', positive=True, integer=True)", "2*s0 + Max(1, s1//4)", "Eq(Mod(s0, 8), 0)", "s0 >= 2")
    nodes = [made_models.node(target) for target in targets]
    tensors = made_models.zipped({"archive/data.pkl": STATE})
    path = put(tmp_path, "a.pt2", made_models.pt2(nodes, expressions, more={"m/data/sample_inputs/model.pt": tensors}))
    assert exported.check(path, "a.pt2") == []


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4), "is cut off: tensor a ends at byte"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8), "takes 12 bytes, not 8"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8), "4 bytes before tensor a"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8), "last 4 bytes belong to no tensor"),
        (
            {
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
            bytes(12),
            "tensor b overlaps",
        ),
        ({"a": 1}, b"", "makes no sense"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4), "makes no sense"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4), "makes no sense"),
        ([], b"", "no table of tensors"),
        (b"{not json", b"", "no JSON"),
        (b"{" + b'"a":{' * 100_000, b"", "no JSON"),
    ],
)
def test_damaged_safetensors(tmp_path: Path, header: Any, data: bytes, said: str) -> None:
    path = put(tmp_path, "a.safetensors", made_models.safetensors(header, data))
    with pytest.raises(ModelError, match=re.escape(said)):
        safetensors.read(path, "a.safetensors")


def test_a_header_that_is_said_to_be_huge(tmp_path: Path) -> None:
    path = put(tmp_path, "a.safetensors", made_models.safetensors({}, length=1 << 60))
    with pytest.raises(ModelError, match="header would have"):
        safetensors.read(path, "a.safetensors")


def test_whole_safetensors(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]},
        "a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]},
        "new": {"dtype": "F3_NEW", "shape": [9], "data_offsets": [12, 13]},
    }
    path = put(tmp_path, "a.safetensors", made_models.safetensors(header, bytes(13)))
    assert [entry.name for entry in safetensors.read(path, "a")] == ["a", "b", "new"]


def test_what_does_not_fit_the_budget_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    path = put(tmp_path, "a.onnx", made_models.onnx("Add", external=("a.data", 6)))
    with open(tmp_path / "a.data", "wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match=r"takes about 6656 MiB .* budget of 4096 MiB: give --memory-budget 9984"):
        opened({"model": {"path": path}})
    assert opened({"model": {"path": path}, "budget_mib": 9984}).file.size > 3 << 30


STARTS = (b"", b"PK\x03\x04", b"\x80\x02", LEGACY, b"\x08\x08\x3a", b"\x10\x00\x00\x00\x00\x00\x00\x00{", b"ftrt")
WHOLE = (made_models.onnx(), made_models.pt2(), NESTED, made_models.safetensors({"a": 1}), EVIL)


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(STARTS), rest=st.binary(max_size=200), ending=st.sampled_from([".onnx", ".pt", ".pt2", ""])
)
def test_no_bytes_do_more_than_be_refused(start: bytes, rest: bytes, ending: str, tmp_path_factory: Any) -> None:
    _refused_or_not(tmp_path_factory.mktemp("m") / f"a{ending}", start + rest)


@settings(max_examples=150, deadline=None)
@given(data=st.sampled_from(WHOLE), at=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.booleans())
def test_no_changed_byte_does_more_than_be_refused(
    data: bytes, at: int, byte: int, cut: bool, tmp_path_factory: Any
) -> None:
    at %= len(data)
    changed = data[:at] + (b"" if cut else bytes([byte]) + data[at + 1 :])
    _refused_or_not(tmp_path_factory.mktemp("m") / "a.onnx", changed)


def _refused_or_not(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        opened({"model": {"path": str(path)}})


def test_stream_of_pickles_in_memory() -> None:
    assert list(pickled.called(io.BytesIO(STATE), "a")) == ["collections.OrderedDict"]
