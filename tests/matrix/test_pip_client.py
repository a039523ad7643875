"""What pip writes, as it was saved from several of its releases (hosts replaced), and what stands in the way of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("packaging")

from envcheck.matrix import derive, pip_client, refresh
from envcheck.matrix.pip_client import RefreshError

from .conftest import MATRICES

DATA = Path(__file__).parent / "data"


def log(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("pip", ["22.3.1", "26.3"])
def test_a_log_of_wheels(pip: str) -> None:
    found = pip_client.parse_log(log(f"pip-{pip}-onnxruntime-gpu.txt"), "onnxruntime-gpu")
    assert sorted({str(file.version) for file in found}) == ["1.11.0", "1.24.4", "1.31.1"]
    assert len({file.name for file in found}) == len(found)
    row = derive.wheels_row("onnxruntime-gpu", "1.11.0", [file for file in found if str(file.version) == "1.11.0"])
    assert row["python_tags"] == ["3.7", "3.8", "3.9"]
    assert row["glibc_x86_64"] == "2.17"
    assert row["platforms"] == ["linux_x86_64", "win_amd64"]
    assert (row["sdist"], row["yanked"]) == (False, False)
    new = [file for file in found if str(file.version) == "1.31.1"]
    row = derive.wheels_row("onnxruntime-gpu", "1.31.1", new)
    assert (row["glibc_x86_64"], row["glibc_aarch64"]) == ("2.28", "2.34")
    assert {"3.14", "3.14t"} <= set(row["python_tags"])
    wheel = pip_client.best_wheel(new)
    assert wheel is not None
    assert wheel.name == "onnxruntime_gpu-1.31.1-cp314-cp314-manylinux_2_28_x86_64.whl"


def test_the_table_has_what_the_log_says() -> None:
    reviewed = refresh.Reviewed(str(MATRICES)).rows("wheels")
    found = pip_client.parse_log(log("pip-26.3-onnxruntime-gpu.txt"), "onnxruntime-gpu")
    for version in ("1.11.0", "1.24.4"):
        row = derive.wheels_row("onnxruntime-gpu", version, [one for one in found if str(one.version) == version])
        before = reviewed[f"wheels/onnxruntime-gpu/{version}"]
        assert all(derive.same(name, before[name], value) for name, value in row.items() if value is not None)


def test_a_log_with_source_distributions_yanked_and_early_releases() -> None:
    found = pip_client.parse_log(log("pip-26.3-numpy.txt"), "numpy")
    names = {file.name: file for file in found}
    assert not [name for name in names if "2.4.0rc" in name]
    assert names["numpy-1.10.0.post2.zip"].tags == ()
    assert names["numpy-1.10.0.post2.tar.gz"].version.post == 2
    yanked = [file for file in found if str(file.version) == "2.4.0"]
    assert yanked
    assert all(file.yanked and file.requires_python == ">=3.11" for file in yanked)
    assert derive.wheels_row("numpy", "2.4.0", yanked)["yanked"] is True


def test_other_projects_and_odd_names_are_left_out() -> None:
    lines = [
        "  Found link https://files.example/p/numpy_financial-1.0-py3-none-any.whl (from x), version: 1.0",
        "  Found link https://files.example/p/numpy-1.0.linux-x86_64.whl (from x), version: 1.0",
        "  Found link https://files.example/p/numpy-2.0%2Bcu1-cp39-cp39-linux_x86_64.whl (from x), version: 2.0",
        "  Skipping link: unsupported archive format: .exe: https://files.example/p/numpy-1.0.exe (from x)",
        "no link at all",
    ]
    assert pip_client.parse_log("\n".join(lines), "numpy") == []


def test_the_report_of_torch() -> None:
    told = pip_client.parse_report(json.loads(log("pip-23.2.1-report-torch-2.9.1.json")), "Torch")
    assert told.requires_python == ">=3.10"
    row = derive.torch_row("2.9.1", told)
    assert row == {"torch": "2.9.1", "cuda": "12.8", "cudnn": "9.10.2.21", "nccl": "2.27.5", "triton": "==3.5.1"}
    rows = derive.requires_rows("torch", "2.9.1", told)
    assert {"nvidia-cudnn-cu12", "triton", "filelock"} <= {each["requires"] for each in rows}
    assert not [each for each in rows if each["extra"]]  # optree, opt-einsum and pyyaml bring no CUDA


def test_the_report_of_onnxruntime_gpu() -> None:
    told = pip_client.parse_report(json.loads(log("pip-23.2.1-report-onnxruntime-gpu-1.24.4.json")), "onnxruntime-gpu")
    row = derive.ort_row("1.24.4", told)
    assert row is not None
    assert (row["cuda_major"], row["cudnn_major"]) == ("12", "9")
    extras = {each["extra"] for each in derive.requires_rows("onnxruntime-gpu", "1.24.4", told)}
    assert extras == {None, "cuda"}


@pytest.mark.parametrize(
    ("marker", "usual"),
    [
        ("", ""),
        (
            'platform_system == "Linux" and platform_machine == "x86_64"',
            'platform_machine == "x86_64" and sys_platform == "linux"',
        ),
        (
            'sys_platform == "win32" or python_version == "3.9"',
            'python_full_version == "3.9.*" or sys_platform == "win32"',
        ),
        ('python_version > "3.9"', 'python_full_version >= "3.10"'),
        (
            'python_version <= "3.12" and platform_machine == "arm64"',
            'python_full_version < "3.13" and platform_machine == "arm64"',
        ),
        ('python_version < "3"', 'python_full_version < "3"'),
        ('platform_system != "Java"', 'platform_system != "Java"'),
        (
            'python_version >= "3.8" and (os_name == "nt" or os_name == "a")',
            'python_full_version >= "3.8" and (os_name == "nt" or os_name == "a")',
        ),
    ],
)
def test_markers_as_the_tables_spell_them(marker: str, usual: str) -> None:
    assert derive.usual_marker(marker) == usual
    assert derive.usual_marker(usual) == usual


def test_the_table_spells_no_other_way() -> None:
    for row in refresh.Reviewed(str(MATRICES)).rows("requires").values():
        assert derive.usual_marker(row["marker"] or "") == (row["marker"] or "")


def test_a_report_without_the_package() -> None:
    with pytest.raises(KeyError):
        pip_client.parse_report({"install": []}, "torch")


@pytest.mark.parametrize("pip", ["22.3.1", "26.3"])
def test_why_pip_failed(pip: str) -> None:
    assert pip_client.why_not(log(f"pip-{pip}-unknown-package.txt")) == "the package index has no package of this name."
    assert pip_client.why_not(log(f"pip-{pip}-offline.txt")) == "pip cannot reach the package index."


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            "Could not fetch URL https://index.example/simple/torch/: 403 Client Error: Forbidden for url: https://x - "
            "skipping\nERROR: No matching distribution found for torch",
            "pip cannot read the package index: 403 Client Error: Forbidden.",
        ),
        (
            "Could not fetch URL https://index.example/simple/torch/: There was a problem confirming the ssl "
            "certificate: self-signed certificate - skipping\nERROR: No matching distribution found for torch",
            "pip cannot read the package index: There was a problem confirming the ssl certificate: self-signed "
            "certificate.",
        ),
        ("/usr/bin/python3: No module named pip\n", "this Python has no pip; install it, or run the command with one"),
        (
            "Traceback (most recent call last):\nImportError: no 'main'\n",
            "pip says: ImportError: no",
        ),
        ('ERROR: first\nERROR: unknown command "index"\n', 'pip says: unknown command "index"'),
        ("", "pip says: nothing"),
    ],
)
def test_why_pip_failed_otherwise(told: str, says: str) -> None:
    assert pip_client.why_not(told).startswith(says)


def fake_pip(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let ``python -m pip`` run this program."""
    (folder / "pip").mkdir()
    (folder / "pip" / "__init__.py").write_text("")
    (folder / "pip" / "__main__.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("raise ImportError('half of pip is gone')", "pip says: ImportError: half of pip is gone"),
        ("import sys; sys.exit(print('No module named pip', file=sys.stderr) or 1)", "this Python has no pip"),
        ("print('nothing of use')", "the package index lists no release."),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\xfe'); sys.exit(3)", "pip says: "),
        ("import os; os.kill(os.getpid(), 9)", "pip says: nothing"),
    ],
)
def test_a_pip_that_is_broken(
    program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "kill" in program and sys.platform == "win32":
        pytest.skip("signals are POSIX's")
    fake_pip(tmp_path, monkeypatch, program)
    tables = Path(__file__).parents[2] / "matrices"  # an installed envcheck has no sources of the tables
    assert refresh.main(["torch", "triton", "--directory", str(tables)]) == 2
    caught = capsys.readouterr()
    assert caught.out == "0 new rows, 0 conflicts\n"
    assert [line.partition(": ")[0] for line in caught.err.splitlines() if says in line] == ["torch", "triton"]


def test_a_pip_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(tmp_path, monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(RefreshError, match=r"torch: pip gave no answer within 1 seconds\."):
        pip_client.files("torch", 1)


def test_no_python_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RefreshError, match="torch: Python cannot be started to run pip: No such file"):
        pip_client.files("torch")


def test_a_report_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(tmp_path, monkeypatch, "import sys; open(sys.argv[sys.argv.index('--report') + 1], 'w').write('{')")
    (file,) = pip_client.parse_log("x https://h/torch-9.0-cp312-cp312-manylinux_2_28_x86_64.whl", "torch")
    with pytest.raises(RefreshError, match=r"torch 9\.0: pip's report cannot be read"):
        pip_client.metadata("torch", file)
