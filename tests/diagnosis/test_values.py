"""What a message states: every reader, every place, and what cannot be read is left out."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.core.snapshot import Snapshot, SnapshotError
from envcheck.diagnosis.diagnose import diagnose
from envcheck.diagnosis.model import Match
from envcheck.diagnosis.signatures import Signatures
from envcheck.diagnosis.values import LISTS, READERS, TEXTS, facts_of, parsed, put
from envcheck.matrix import Matrix

READ = [
    ("", " 1.2 ", "1.2"),
    ("cuda-int", "11040", "11.4"),
    ("cuda-int", "12080", "12.8"),
    ("cuda-int", "9020", "9.2"),
    ("cudnn-int", "8902", "8.9.2"),
    ("cudnn-int", "7605", "7.6.5"),
    ("cudnn-int", "90100", "9.1.0"),
    ("cudnn-int", "91002", "9.10.2"),
    ("sm", "sm_86", "8.6"),
    ("sm", "compute_120", "12.0"),
    ("sm", "86", "8.6"),
    ("sm", "8.6", "8.6"),
    ("sm", "0x806", "8.6"),
    ("sm", "sm_90a", "9.0"),
    ("sm", "SM 100f", "10.0"),
    ("label", "11.7", "+cu117"),
    ("label", "12.4.1", "+cu124"),
    ("flags", "AVX2, FMA and SSE4.1", ["avx2", "fma", "sse4_1"]),
    ("flags", "avx512f/avx512_vnni", ["avx512f", "avx512_vnni"]),
    ("python-tag", "cp36", "3.6"),
    ("python-tag", "cp311", "3.11"),
    ("python-tag", "py3", None),
    ("sm", "8", None),
    ("sm", "sm_70 sm_75", None),
    ("mib", "lots", None),
    ("mib", "15.90 GiB", "16282"),
    ("mib", "11441 MiB", "11441"),
    ("mib", "16 GB", "16384"),
    ("mib", "512", "512"),
    ("arch", "manylinux_2_28_x86_64", "x86_64"),
    ("arch", "linux_aarch64", "aarch64"),
    ("arch", "macosx_11_0_arm64", "aarch64"),
    ("arch", "win_amd64", "x86_64"),
    ("arch", "win32", "i686"),
    ("arch", "win_arm64", "aarch64"),
    ("exact", "==2.12.0", "2.12.0"),
    ("exact", "== 2.12.0", "2.12.0"),
    ("exact", "==2.*", ""),
    ("exact", ">=2,<3", ""),
    ("lower", "CUDA", "cuda"),
    ("digits", "v8_9_2", "8.9.2"),
    ("base", "C:\\a\\cudnn64_8.dll", "cudnn64_8.dll"),
    ("base", "/usr/lib/libcuda.so.1", "libcuda.so.1"),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "text", "value"), READ)
def test_readers(reader: str, text: str, value: Any) -> None:
    assert parsed(f"driver.cuda = found:{reader}", {"found": text}) == ("driver.cuda", value)


def test_every_reader_is_tested() -> None:
    assert {reader for reader, _, _ in READ} == set(READERS)


GARBAGE = [
    "",
    " ",
    "x",
    "-",
    ".",
    "..",
    "0x",
    "0xzz",
    "cp",
    "sm_",
    "sm_x",
    "9" * 5000,
    "1.2.3.4.5",
    "²",
    "٣",
    "\0",
    "==",
    "None",
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_left_out_or_read(reader: str, text: str) -> None:
    place, value = parsed(f"driver.cuda = found:{reader}", {"found": text})
    assert place == "driver.cuda"
    assert value is None or isinstance(value, (str, list))


@pytest.mark.parametrize("reader", ["cuda-int", "cudnn-int", "sm", "python-tag", "mib"])
@pytest.mark.parametrize("text", ["", "x", "-", "..", "0xzz", "sm_x", "cp", "cpx", "²"])
def test_no_number_is_no_fact(reader: str, text: str) -> None:
    assert not parsed(f"driver.cuda = found:{reader}", {"found": text})[1]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.text(max_size=40))
def test_any_text(reader: str, text: str) -> None:
    parsed(f"driver.cuda = found:{reader}", {"found": text})


def test_what_was_not_captured_is_left_out() -> None:
    assert parsed("driver.cuda = found:cuda-int", {}) == ("driver.cuda", None)


def test_a_constant_and_a_name_that_was_captured() -> None:
    assert parsed('os.system = "Windows"', {}) == ("os.system", "Windows")
    assert parsed("package.{name} = version", {"name": " torch ", "version": "2.1"}) == ("package.torch", "2.1")


SAMPLES = {
    "driver.cuda": "12.2", "driver.version": "535.104.05", "cudnn.system": "8.9.2", "toolkit.nvcc": "12.1",
    "python": "3.11", "python.environment": "conda", "python.managed_by": "uv",
    "os.system": "Linux", "os.distro": "ubuntu", "os.glibc": "2.31", "cpu.arch": "x86_64",
    "gpu.compute_capability": "8.6", "gpu.name": "Tesla T4", "gpu.memory_mib": "15360", "model.opset": "21",
    "model.ir_version": "10", "model.format": "onnx", "model.saved_with": "2.1", "model.compute_capability": "8.6",
    "model.runtime": "10.0",
}  # fmt: skip


def test_every_place_has_a_sample() -> None:
    assert set(SAMPLES) == set(TEXTS)


@pytest.mark.parametrize("place", [*TEXTS, *LISTS, "package.torch"])
def test_every_place_is_a_fact_of_a_snapshot(place: str) -> None:
    facts: dict[str, Any] = {}
    put(facts, place, SAMPLES.get(place, ["x"] if place in LISTS else "2.1"))
    assert Snapshot.from_facts(facts).to_dict() != Snapshot().to_dict()


def match(*sets: str, **values: str) -> Match:
    return Match(signature={"id": "a", "sets": list(sets)}, line="", position=0, values=values)


def test_the_first_statement_counts_and_lists_grow() -> None:
    sets = ("driver.cuda = v:cuda-int", "libraries.missing = lib:base")
    found = facts_of(
        [match(*sets, v="11040", lib="/a/b.so"), match(*sets, v="12020", lib="c.so"), match(*sets, lib="c.so")]
    )
    assert found == {"driver": {"cuda": "11.4"}, "libraries": {"missing": ["b.so", "c.so"]}}


def test_numbers_become_numbers() -> None:
    found = facts_of([match("gpu.memory_mib = m:mib", "model.opset = o", m="2 GiB", o="21")])
    assert found == {"gpus": [{"memory_mib": 2048}], "model": {"opset": 21}}


@pytest.mark.parametrize("place", [*TEXTS, *LISTS, "package.{name}"])
@pytest.mark.parametrize("text", ["", "x", "²", "9" * 400, "1.2", "\x1b", "-1", "*", "[", "sm_"])
def test_garbage_in_every_place_never_raises(place: str, text: str) -> None:
    facts = facts_of([match(f"{place} = v", v=text, name=text)])
    with contextlib.suppress(SnapshotError):
        Snapshot.from_facts(facts)
    matrix = Matrix.load()
    signature = {"id": "a", "literals": ["said"], "kind": "cause", "causes": ["driver-too-old medium"], "means": "x"}
    source = next(iter(matrix._read_sources()))
    more = {"pattern": r"said (?P<v>.*?) by (?P<name>\S*)", "sets": [f"{place} = v"], "source": source, "as_of": ""}
    matrix.memo["signatures"] = Signatures([{**signature, **more}])
    found = diagnose([f"said {text} by {text}"], None, matrix)
    assert "driver-too-old" in [cause.rule for cause in found.causes]
    if found.report is not None:
        assert not [one for one in found.report.outcomes if one.status == "crash"]
