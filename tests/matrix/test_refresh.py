"""Refreshing the tables: the real pip on a directory of tiny wheels, and once on the real index."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from envcheck.matrix import derive, refresh
from envcheck.matrix.lint import lint
from envcheck.matrix.model import COMMON
from envcheck.matrix.ordering import sort_key
from envcheck.matrix.pip_client import Metadata

from .conftest import MATRICES

pytest.importorskip("pip")


def wheel(folder: Path, name: str, version: str, tag: str, requires: list[str]) -> None:
    info = f"{name}-{version}.dist-info"
    told = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as file:
        file.writestr(f"{info}/METADATA", "\n".join(told) + "\n")
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    shutil.copytree(MATRICES, tmp_path / "m")
    return folder


def test_new_rows_are_added_once_and_conflicts_kept(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = index.parent / "m"
    pins = ["cuda-toolkit[cudart]==14.1.0; sys_platform == 'linux'", "nvidia-cudnn-cu14==10.1.0.5", "triton~=4.0.0"]
    wheel(index, "torch", "99.0", "cp312-cp312-manylinux_2_28_x86_64", pins)
    wheel(index, "torch", "2.15.0", "cp312-cp312-manylinux_2_31_x86_64", [])
    words = ["torch", "--large", "--write", "--directory", str(tables)]
    assert refresh.main(words) == 1
    out = capsys.readouterr().out
    assert "+ torch-builds/99.0  torch=99.0 cuda=14.1 cudnn=10.1.0.5 triton=~=4.0.0" in out
    assert "! wheels/torch/2.15.0" in out
    assert "glibc_x86_64: reviewed '2.28', metadata '2.31'" in out
    assert not [fault for fault in lint(str(tables)) if not fault.warning]
    assert "torch,99.0,cuda-toolkit,==14.1.0" in (tables / "requires.csv").read_text()
    assert refresh.main(words) == 1
    assert "0 new rows, 1 conflicts" in capsys.readouterr().out


def test_no_answer(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refresh.main(["numpy", "--directory", str(index.parent / "m")]) == 2
    assert capsys.readouterr().err.startswith("numpy: ")


def test_onnxruntime_extras() -> None:
    told = Metadata(["nvidia-cuda-runtime-cu12~=12.0; extra == 'cuda'", "nvidia-cudnn-cu12~=9.0; extra == 'cudnn'"], "")
    row = derive.ort_row("9.0", told)
    assert row is not None
    assert (row["cuda_major"], row["cudnn_major"]) == ("12", "9")


def without(folder: Path, table: str, *starts: str) -> list[str]:
    """Take the rows that begin so out of a table; return them."""
    path = folder / f"{table}.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    gone = [line for line in lines if line.startswith(starts)]
    path.write_text("\n".join(line for line in lines if line not in gone) + "\n", encoding="utf-8")
    return gone


def test_large_wheels_are_read_when_asked_for(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = index.parent / "m"
    pins = ["cuda-toolkit[cudart]==14.1.0; sys_platform == 'linux'", "nvidia-cudnn-cu14==10.1.0.5"]
    wheel(index, "torch", "99.0", "cp312-cp312-manylinux_2_28_x86_64", pins)
    extras = ["nvidia-cuda-runtime-cu14~=14.0; extra == 'cuda'", "nvidia-cudnn-cu14~=10.0; extra == 'cudnn'"]
    wheel(index, "onnxruntime_gpu", "99.0", "cp312-cp312-manylinux_2_28_x86_64", extras)
    words = ["torch", "onnxruntime-gpu", "--directory", str(tables)]
    assert refresh.main(words) == 1
    caught = capsys.readouterr()
    assert [line.split()[1] for line in caught.out.splitlines()[:-1]] == [
        "wheels/torch/99.0",
        "wheels/onnxruntime-gpu/99.0",
    ]
    assert "torch: only file names were read; --large reads its requirements." in caught.err
    assert refresh.main([*words, "--large"]) == 1
    caught = capsys.readouterr()
    assert "+ torch-builds/99.0  torch=99.0 cuda=14.1 cudnn=10.1.0.5" in caught.out
    assert "+ ort-gpu/99.0  onnxruntime_gpu=99.0 cuda_major=14 cudnn_major=10" in caught.out
    assert "+ requires/onnxruntime-gpu/99.0/nvidia-cuda-runtime-cu14" in caught.out
    assert caught.err == ""
    assert "99.0" not in (tables / "torch-builds.csv").read_text(encoding="utf-8")  # nothing is written unasked


def test_a_reviewed_row_that_differs_is_kept(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = index.parent / "m"
    pins = ["cuda-toolkit==99.1.0", "nvidia-cudnn-cu13==99.2.0.1", "triton==99.3"]
    wheel(index, "torch", "2.10.0", "cp312-cp312-manylinux_2_99_x86_64", pins)
    before = {path.name: path.read_bytes() for path in tables.glob("*.*")}
    assert refresh.main(["torch", "--large", "--since", "2.10.0", "--write", "--directory", str(tables)]) == 1
    lines = capsys.readouterr().out.splitlines()
    (wheels,) = [line for line in lines if line.startswith("! wheels/torch/2.10.0 ")]
    assert "glibc_x86_64: reviewed '2.28', metadata '2.99'" in wheels
    assert wheels.endswith("(kept as reviewed)")
    (build,) = [line for line in lines if line.startswith("! torch-builds/2.10.0 ")]
    assert "cuda: reviewed '12.8', metadata '99.1'" in build
    assert "triton: reviewed" in build
    (pin,) = [line for line in lines if line.startswith("! requires/torch/2.10.0/triton ")]
    assert "metadata 'triton==99.3'" in pin
    assert not [line for line in lines if line.startswith("+")]
    assert lines[-1].startswith("0 new rows, ")
    assert {path.name: path.read_bytes() for path in tables.glob("*.*")} == before


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refresh.main(["torch", "--since", "soon"]) == 2
    assert capsys.readouterr().err == "Invalid version: 'soon'\n"
    assert refresh.main(["torch", "--directory", str(tmp_path)]) == 2
    assert "packages.toml: No such file" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_taken_out_are_proposed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real index, as pip finds it here. Rows for later releases than ours may be proposed beside them."""
    tables = tmp_path / "m"
    shutil.copytree(MATRICES, tables)
    packages = ["torch", "onnxruntime", "torchvision"]
    newest = {name: list(refresh.Reviewed(str(tables)).releases("requires", name)) for name in packages}
    latest = {name: max(found, key=sort_key) for name, found in newest.items()}
    gone = without(tables, "wheels", *(f"{name},{version}," for name, version in latest.items()), "torch,2.5.1,")
    assert len(gone) == 4
    read = ["onnxruntime", "torchvision"]  # the metadata of torch is in a wheel of 900 MB
    if os.environ.get("ENVCHECK_TEST_LARGE"):
        read.append("torch")
        assert len(without(tables, "torch-builds", f"{latest['torch']},")) == 1
    required = without(tables, "requires", *(f"{name},{latest[name]}," for name in read))
    assert len(required) > len(read)
    large = ["--large"] if "torch" in read else []
    if refresh.main([*packages, *large, "--write", "--directory", str(tables)]) == 2:
        told = capsys.readouterr().err
        assert "cannot reach the package index" in told, told
        pytest.skip(told)
    proposed = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("+ ")]
    assert {f"wheels/{line.split(',')[0]}/{line.split(',')[1]}" for line in gone} <= set(proposed)
    # What comes back is what reviewers left there, but for the date and the note.
    ours, theirs = refresh.Reviewed(str(MATRICES)), refresh.Reviewed(str(tables))
    for table, package, version in [
        *(("wheels", name, version) for name, version in [*latest.items(), ("torch", "2.5.1")]),
        *(("requires", name, latest[name]) for name in read),
    ]:
        before, after = (
            {
                id_: {name: value for name, value in row.items() if name not in COMMON}
                for id_, row in each.rows(table).items()
                if (row["package"], row["version"]) == (package, version)
            }
            for each in (ours, theirs)
        )
        assert before.keys() == after.keys()
        for id_, row in before.items():
            assert all(derive.same(name, row[name], value) for name, value in after[id_].items()), id_
    if "torch" in read:
        after = theirs.rows("torch-builds")[f"torch-builds/{latest['torch']}"]
        before = ours.rows("torch-builds")[f"torch-builds/{latest['torch']}"]
        assert all(derive.same(name, before[name], after[name]) for name in ("cuda", "cudnn", "nccl", "triton"))
    assert not [fault for fault in lint(str(tables)) if not fault.warning]
