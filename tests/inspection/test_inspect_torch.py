"""Extensions of torch: functions that the installed torch does not define, told with and without its files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import made_wheel

from envcheck.binaries.mangled import new_text, new_texts, readable
from envcheck.core.report import Finding, Report
from envcheck.core.snapshot import Snapshot
from envcheck.inspection import Inspection, disk, inspect, overlay
from envcheck.inspection.judge import judge_there
from envcheck.matrix import Matrix
from envcheck.render.inspection import render_inspection

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None or not sys.platform.startswith("linux"), reason="no compiler for ELF")

GOOD = "_ZN3c106detail4goodEi"
OLD = "_ZN3c105ErrorC2ENS_14SourceLocationESs"
NEW = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
MADE_UP = "_ZN3c107made_up4callEv"


@pytest.mark.parametrize(
    ("symbol", "name", "new"),
    [
        (OLD, "c10::Error::Error", False),
        (NEW, "c10::Error::Error", True),
        (MADE_UP, "c10::made_up::call", None),
        ("_ZNK2at6Tensor4dataEv", "at::Tensor::data", None),
        ("_ZTIN3c105ErrorE", "typeinfo of c10::Error", None),
        ("_ZN3c104impl3GetIiEEvv", "c10::impl::Get<...>", None),
        ("_ZN3c109PassScopeC1Ev", "c10::PassScope::PassScope", None),
        ("_ZN3c107SsStuff1fEv", "c10::SsStuff::f", None),
        ("_ZN5torch3jit17parseSchemaOrNameERKSsb", "torch::jit::parseSchemaOrName", False),
        ("_ZN3c10eqERKNS_4ImplE", "c10::(...)", None),
        ("_ZSt4endlv", "std::endl", None),
        ("plain", "plain", None),
        ("_ZN", "_ZN", None),
        ("_ZN9999999999c10E", "_ZN9999999999c10E", None),
        ("_ZN3c1", "_ZN3c1", None),
        ("_Z" + "N" * 9000, "_Z" + "N" * 9000, None),
    ],
)
def test_names(symbol: str, name: str, new: bool | None) -> None:
    assert readable(symbol) == name
    assert new_text(symbol) is new


def test_names_that_contradict_each_other_tell_nothing() -> None:
    assert new_texts([OLD, MADE_UP]) is False
    assert new_texts([OLD, NEW]) is None
    assert new_texts([]) is None


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


def build(path: Path, defines: tuple[str, ...] = (), calls: tuple[str, ...] = (), *options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    code = "".join(f"void {name}(void) {{}}\n" for name in defines)
    code += "".join(f"extern void {name}(void);\n" for name in calls)
    code += f"void run_{len(defines)}_{len(calls)}(void) {{ {' '.join(f'{name}();' for name in calls)} }}\n"
    source = path.with_suffix(".c")
    source.write_text(code)
    command = [GCC or "", "-shared", "-fPIC", "-o", str(path), str(source), f"-Wl,-soname,{path.name}"]
    command += ["-Wl,--no-as-needed", "-Wl,--unresolved-symbols=ignore-all", *options]
    subprocess.run(command, check=True, timeout=60)
    source.unlink()
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages with a small torch in it, in the place of this environment's."""
    folder = tmp_path / "env" / "lib" / "site-packages"
    lib = folder / "torch" / "lib"
    c10 = build(lib / "libc10.so", (GOOD, NEW))
    build(lib / "libtorch_global_deps.so", (), (), str(c10), "-Wl,-rpath,$ORIGIN")
    build(folder / "torch" / "_C.cpython-311-x86_64-linux-gnu.so", (), (), str(c10), "-Wl,-rpath,$ORIGIN/lib")
    (folder / "torch" / "version.py").write_text("__version__ = '2.13.0+cpu'\ncuda = None\n")
    layout = overlay.Layout(str(tmp_path / "env"), str(folder))
    monkeypatch.setattr(overlay.Layout, "here", classmethod(lambda cls: layout))
    monkeypatch.setattr(disk, "_site_folders", lambda first: [str(folder)])
    monkeypatch.setattr(disk, "_installed", lambda: {"torch": "2.13.0+cpu"})
    return folder


def extension(folder: Path, site: Path | None, *calls: str) -> bytes:
    c10 = (site or folder) / "torch" / "lib" / "libc10.so"
    if site is None:
        build(c10)
    return build(folder / "made" / "_C.abi3.so", (), calls, str(c10)).read_bytes()


def wheel(folder: Path, code: bytes, metadata: str = "Requires-Dist: torch") -> Path:
    return made_wheel(folder, "ext-1.0-cp39-abi3-linux_x86_64.whl", {"ext/_C.abi3.so": code}, metadata)


def judged(found: Inspection, matrix: Matrix, here: bool = False, **facts: Any) -> Report:
    place = {"os": "linux", "cpu": "x86_64", "python": "3.11", "packages": {"torch": "2.13.0+cpu"}, **facts}
    return judge_there(found, Snapshot.from_facts(place), matrix, here=here)


def mismatch(report: Report) -> Finding:
    return next(one for one in report.findings if one.rule == "extension-abi-mismatch")


def status(report: Report) -> str:
    return next(one.status for one in report.outcomes if one.rule == "extension-abi-mismatch")


@needs_gcc
def test_a_function_that_torch_here_does_not_have(tmp_path: Path, site: Path, matrix: Matrix) -> None:
    found = inspect(str(wheel(tmp_path, extension(tmp_path, site, GOOD, MADE_UP))), matrix)
    report = judged(found, matrix, here=True)
    finding = mismatch(report)
    assert report.verdict == "problem"
    assert finding.message == (
        "ext/_C.abi3.so needs c10::made_up::call, which no library of torch 2.13.0+cpu defines: it was built for "
        "another release of torch."
    )
    assert MADE_UP in str(finding.evidence[0])
    assert found.libraries[0].undefined is not None
    assert [one.symbol for one in found.libraries[0].undefined] == [MADE_UP]
    assert "not defined by torch here" in render_inspection(found, width=100, color=False, encoding="utf-8")


@needs_gcc
def test_all_functions_are_there(tmp_path: Path, site: Path, matrix: Matrix) -> None:
    found = inspect(str(wheel(tmp_path, extension(tmp_path, site, GOOD, NEW))), matrix)
    report = judged(found, matrix, here=True)
    assert (found.libraries[0].undefined, found.libraries[0].cxx11_abi) == ([], True)
    assert status(report) == "pass"
    assert not [one for one in report.findings if one.rule == "extension-abi-mismatch"]


@needs_gcc
def test_the_other_abi_here_and_elsewhere(tmp_path: Path, site: Path, matrix: Matrix) -> None:
    path = wheel(tmp_path, extension(tmp_path, site, GOOD, OLD))
    here = mismatch(judged(inspect(str(path), matrix), matrix, here=True))
    assert "built for the old C++ ABI, and this torch has the new one" in here.message
    elsewhere = mismatch(judged(inspect(str(path), matrix), matrix))
    assert "built for the old C++ ABI, and torch 2.13.0+cpu has the new one" in elsewhere.message
    fits = judged(inspect(str(path), matrix), matrix, packages={"torch": "2.5.1"})
    assert status(fits) == "unknown"


@needs_gcc
def test_without_its_files_it_is_not_known(tmp_path: Path, matrix: Matrix) -> None:
    path = wheel(tmp_path, extension(tmp_path, None, GOOD, MADE_UP))
    found = inspect(str(path), matrix)
    report = judged(found, matrix)
    assert (status(report), report.verdict) == ("unknown", "inconclusive")
    assert found.libraries[0].undefined is None
    pinned = wheel(tmp_path, extension(tmp_path, None, GOOD, MADE_UP), "Requires-Dist: torch==2.13.0")
    assert status(judged(inspect(str(pinned), matrix), matrix)) != "unknown"


@needs_gcc
def test_a_torch_that_pip_would_replace_is_not_asked(tmp_path: Path, site: Path, matrix: Matrix) -> None:
    path = wheel(tmp_path, extension(tmp_path, site, GOOD, MADE_UP), "Requires-Dist: torch==2.6.0")
    found = inspect(str(path), matrix)
    report = judged(found, matrix, here=True)
    assert found.libraries[0].undefined is None
    assert [need.where for need in found.libraries[0].needs if need.name == "libc10.so"] == ["package"]
    assert "pip would replace it" in found.notes[-1]
    assert not [one for one in report.findings if one.rule == "extension-abi-mismatch"]


@needs_gcc
def test_a_library_by_itself(tmp_path: Path, site: Path, matrix: Matrix) -> None:
    extension(tmp_path, site, GOOD, MADE_UP)
    found = inspect(str(tmp_path / "made" / "_C.abi3.so"), matrix)
    assert [one.name for one in found.libraries[0].undefined or ()] == ["c10::made_up::call"]
    assert mismatch(judged(found, matrix, here=True)).message.startswith("_C.abi3.so needs c10::made_up::call,")
    assert status(judged(found, matrix)) == "unknown"


@needs_gcc
def test_damaged_symbol_tables_are_no_finding(tmp_path: Path, site: Path, matrix: Matrix) -> None:
    code = bytearray(extension(tmp_path, site, GOOD, MADE_UP))
    for at in range(0x200, min(len(code), 0x900), 48):
        broken = bytes(code[:at]) + b"\xff" * 24 + bytes(code[at + 24 :])
        found = inspect(str(wheel(tmp_path, broken)), matrix)
        judged(found, matrix, here=True)
