"""Import tests with real modules: compiled on the spot, each broken in one way, and NumPy, which works."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.core.snapshot import ImportTest, Package, known
from envcheck.facts.imports import Fault, fault_in
from envcheck.probes import collect, imports
from envcheck.probes.host import Host, Ran, RecordedHost
from envcheck.probes.log import Log

needs_gcc = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc") or not Path(sysconfig.get_path("include"), "Python.h").is_file(),
    reason="needs gcc and Python.h on Linux",
)

INIT = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <signal.h>
#include <unistd.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "%(name)s", 0, -1, 0};
%(before)s
PyMODINIT_FUNC PyInit_%(name)s(void) { %(body)s return PyModule_Create(&definition); }
"""

BODIES = {
    "fine": "",
    "segfault": "*(volatile int *)8 = 1;",
    "illegal": '__asm__ volatile (".byte 0x0f, 0x0b");' if platform.machine() == "x86_64" else "raise(SIGILL);",
    "aborts": "abort();",
    "hangs": "for (;;) sleep(1);",
    "stubborn": "signal(SIGTERM, SIG_IGN); signal(SIGINT, SIG_IGN); for (;;) sleep(1);",
    "leaves": "_exit(0);",
    "leaves_three": "_exit(3);",
    "raises": 'PyErr_SetString(PyExc_RuntimeError, "no luck\\nin the second line"); return NULL;',
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the modules."""
    folder = tmp_path_factory.mktemp("site")
    for name, body in BODIES.items():
        build(folder, name, body)
    build(folder, "unresolved", "nowhere_to_be_found();", "extern void nowhere_to_be_found(void);")
    (folder / "absent.c").write_text("int answer(void) { return 42; }")
    gcc(folder / "absent.c", "-shared", "-o", folder / "libabsent_envcheck.so.3", "-Wl,-soname,libabsent_envcheck.so.3")
    build(folder, "lacks_library", "answer();", "extern int answer(void);", str(folder / "libabsent_envcheck.so.3"))
    (folder / "libabsent_envcheck.so.3").unlink()
    too_new(folder)
    in_constructor(folder)
    (folder / "garbage.py").write_text(
        "import os, sys\n"
        'os.write(1, bytes(range(256)) * 4000 + b\'\\n{"done": {"errors": ["fake"]}}\\n\')\n'
        "os.write(2, b'\\xff\\x00' * 100000)\nprint('{\"load\": 7}')\n"
    )
    (folder / "exits.py").write_text("import sys\nsys.exit('not today')\n")
    (folder / "spawns.py").write_text(
        "import os, subprocess, sys\n"
        "subprocess.Popen(['sleep', '4321'])\n"
        "subprocess.Popen(['sleep', '4322'], start_new_session=True)\n"
    )
    (folder / "writes.py").write_text(
        "import os, tempfile\nopen(os.path.join(tempfile.gettempdir(), 'envcheck-left'), 'w').write('x')\n"
        "assert not [n for n in os.listdir('.') if n.endswith('.py')]\n"
        "os.makedirs(os.path.expanduser('~/.cache/envcheck-left'))\n"
    )
    (folder / "wraps.py").write_text(
        "try:\n    import lacks_library\nexcept ImportError as error:\n    raise RuntimeError('no') from error\n"
    )
    (folder / "sleeps.py").write_text("import time\n\n\ndef wait():\n    time.sleep(60)\n\n\nwait()\n")
    return folder


def gcc(*arguments: Any) -> None:
    subprocess.run(["gcc", "-fPIC", *map(str, arguments)], check=True, capture_output=True)


def build(folder: Path, name: str, body: str, before: str = "", *more: str) -> None:
    source = folder / f"{name}.c"
    source.write_text(INIT % {"name": name, "body": body, "before": before})
    gcc("-shared", f"-I{sysconfig.get_path('include')}", source, "-o", folder / f"{name}.so", *more)


def too_new(folder: Path) -> None:
    """A module that asks libc for GLIBC_2.99: linked with a library of that soname, which is then taken away."""
    fake = folder / "fake"
    fake.mkdir()
    (fake / "new.c").write_text("int brand_new(void) { return 1; }")
    (fake / "new.map").write_text("GLIBC_2.99 { global: brand_new; };")
    gcc(fake / "new.c", "-shared", "-nostdlib", "-o", fake / "libc.so.6", "-Wl,-soname,libc.so.6",
        f"-Wl,--version-script={fake / 'new.map'}")  # fmt: skip
    build(folder, "too_new", "brand_new();", "extern int brand_new(void);", str(fake / "libc.so.6"))


def in_constructor(folder: Path) -> None:
    """A module whose library crashes while the loader runs its constructors."""
    (folder / "bad.c").write_text("__attribute__((constructor)) static void start(void) { *(volatile int *)8 = 1; }")
    gcc(folder / "bad.c", "-shared", "-o", folder / "libbad_envcheck.so")
    build(folder, "constructs", "", "", "-Wl,--no-as-needed", str(folder / "libbad_envcheck.so"))


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of our own, which must be empty afterwards."""
    own = tmp_path / "tmp"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    yield own
    assert list(own.iterdir()) == []


def run(site: Path, *names: str, seconds: float = 20.0) -> tuple[dict[str, ImportTest], Log]:
    log = Log()
    host = Host({**os.environ, "PYTHONPATH": str(site)}, deadline=time.monotonic() + seconds)
    return {test.module: test for test in imports.run_all(host, log, {name: name for name in names})}, log


def processes(words: str) -> list[str]:
    return subprocess.run(["pgrep", "-f", words], capture_output=True, text=True, check=False).stdout.split()


def test_a_folder_without_its_module_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "framework" / "lib").mkdir(parents=True)
    (test,) = run(tmp_path, "framework")[0].values()
    assert test.outcome == "error"
    assert "framework is only a folder" in (known(test.error) or "")


@needs_gcc
def test_every_way_to_fail(site: Path, clean: Path) -> None:
    names = [*BODIES, "unresolved", "lacks_library", "too_new", "constructs", "wraps", "exits", "garbage"]
    del names[names.index("hangs")], names[names.index("stubborn")]
    before = sorted(path.name for path in site.iterdir())
    tests, log = run(site, *names)
    said = {name: (test.outcome, known(test.error), known(test.library)) for name, test in tests.items()}
    file = {name: str(site / f"{name}.so") for name in names}
    assert said["fine"] == ("ok", None, None)
    assert tests["fine"].compiled is True
    assert said["segfault"] == ("crash", "SIGSEGV", file["segfault"])
    assert said["illegal"] == ("crash", "SIGILL", file["illegal"])
    assert said["aborts"] == ("crash", "SIGABRT", file["aborts"])
    assert said["constructs"] == ("crash", "SIGSEGV", file["constructs"])
    assert said["leaves"] == ("exit", "exit code 0 before the import was done", file["leaves"])
    assert said["leaves_three"] == ("exit", "exit code 3", file["leaves_three"])
    assert said["exits"][:2] == ("exit", "SystemExit: not today")
    assert said["raises"][:2] == ("error", "RuntimeError: no luck")
    missing = "ImportError: libabsent_envcheck.so.3: cannot open shared object file: No such file or directory"
    assert said["lacks_library"] == said["wraps"] == ("error", missing, "libabsent_envcheck.so.3")
    assert said["unresolved"][0] == "error"
    assert "undefined symbol: nowhere_to_be_found" in (said["unresolved"][1] or "")
    assert said["unresolved"][2] == file["unresolved"]
    assert "version `GLIBC_2.99' not found" in (said["too_new"][1] or "")
    assert said["too_new"][2] == file["too_new"]
    assert said["garbage"][0] == "ok"
    assert tests["garbage"].compiled is False
    assert {entry.status for entry in log.runs} == {"ok", "failed"}
    assert sorted(path.name for path in site.iterdir()) == before, "an import test must write nothing"


@needs_gcc
def test_hangs_end_at_the_deadline(site: Path, clean: Path) -> None:
    begun = time.monotonic()
    tests, log = run(site, "hangs", "stubborn", "sleeps", seconds=3.0)
    assert time.monotonic() - begun < 5
    tests = {name: test for name, test in tests.items() if test.outcome != "untested"}
    assert {test.outcome for test in tests.values()} == {"hang"}
    assert known(tests["hangs"].library) == str(site / "hangs.so")
    for test in tests.values():
        assert 500 < test.milliseconds < 4000
        assert (known(test.error) or "").startswith("no answer in ")
    if "sleeps" in tests:
        assert "sleeps.py" in (known(tests["sleeps"].error) or "")
    assert {entry.status for entry in log.runs} <= {"timeout", "skipped"}


@needs_gcc
def test_nothing_is_left(site: Path, clean: Path) -> None:
    tests, _ = run(site, "spawns", "writes")
    assert {name: (test.outcome, test.error) for name, test in tests.items() if test.outcome != "ok"} == {}
    assert processes("sleep 432[12]") == []
    assert not Path(tempfile.gettempdir(), "envcheck-left").exists()
    assert not Path("~/.cache/envcheck-left").expanduser().exists()


def test_packages_of_the_user_are_found_all_the_same(tmp_path: Path) -> None:
    import site

    env = imports.environment(Host({"HOME": "/home/somebody", "PYTHONSTARTUP": "x.py"}), str(tmp_path))
    assert env["HOME"] == env["TMPDIR"] == str(tmp_path)
    assert env["PYTHONUSERBASE"] == site.getuserbase()
    assert "PYTHONSTARTUP" not in env
    assert imports.environment(Host({"PYTHONUSERBASE": "/u"}), str(tmp_path))["PYTHONUSERBASE"] == "/u"


def test_no_time_is_no_hang(tmp_path: Path) -> None:
    tests, log = run(tmp_path, "json", seconds=-1.0)
    assert {name: (test.outcome, test.error) for name, test in tests.items()} == {
        "json": ("untested", "no time was left")
    }
    assert [(entry.status, entry.where) for entry in log.runs] == [("skipped", "import json")]


def test_the_probe_takes_what_is_installed() -> None:
    asked: list[str] = []

    class Fake(Host):
        def query(self, name: str, *arguments: str) -> Any:
            asked.append(arguments[0])
            return {"ended": "done", "seconds": 1, "done": {"compiled": True}}

    packages = [Package(name) for name in ("onnxruntime-gpu", "onnxruntime", "requests", "cupy-cuda12x")]
    found = imports.probe(Fake(), Log(), packages)
    assert sorted(asked) == ["cupy", "onnxruntime"]
    assert [test.package for test in found] == ["onnxruntime", "cupy-cuda12x"]


def test_a_recording_without_import_tests_has_none(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}")
    log = Log()
    assert imports.probe(RecordedHost(str(tmp_path)), log, [Package("torch")]) == []
    assert [entry.status for entry in log.runs] == ["absent"]


def test_they_run_only_when_asked_for() -> None:
    found = collect(deadline=time.monotonic() + 20)
    assert found.stack.imports == []
    assert not [entry for entry in found.probes if entry.probe == "imports"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = ("ended", "seconds", "done", "loading", "trace", "said")


@given(st.dictionaries(st.sampled_from(KEYS), JSON) | JSON)
@settings(max_examples=300)
def test_any_answer_can_be_read(answer: Any) -> None:
    test = imports.read("p", "m", answer)
    assert test.outcome in ("ok", "error", "crash", "hang", "exit", "untested")
    json.dumps(test.outcome)


@given(st.text())
@settings(max_examples=300)
def test_any_text_can_be_searched(text: str) -> None:
    fault_in(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /s/torch/lib/libtorch.so)",
         Fault("version", "GLIBC_2.38", "/s/torch/lib/libtorch.so")),
        ("ImportError: /s/flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
         Fault("symbol", "_ZN3c104cuda9SetDeviceEi", "/s/flash_attn_2_cuda.so")),
        ("Error loading shared library libstdc++.so.6: No such file or directory (needed by /s/x.so)",
         Fault("library", "libstdc++.so.6", "/s/x.so")),
        ("Error relocating /s/x.so: __strdup: symbol not found", Fault("symbol", "__strdup", "/s/x.so")),
        ("dlopen(/s/x.so, 0x0002): Library not loaded: @rpath/libomp.dylib\n  Referenced from: <AB-1> /s/libt.dylib",
         Fault("library", "@rpath/libomp.dylib", "/s/libt.dylib")),
        ("DLL load failed while importing onnxruntime_pybind11_state: The specified module could not be found.",
         Fault("library", "", "onnxruntime_pybind11_state")),
        ("ImportError: /s/x.so: wrong ELF class: ELFCLASS32", Fault("format", "", "/s/x.so")),
        ("ModuleNotFoundError: No module named 'packaging'", Fault("module", "packaging", "")),
        ("NumPy was built with baseline optimizations: (X86_V2) but your machine doesn't support: (X86_V2)",
         Fault("instruction")),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility.", Fault("numpy")),
        ("AttributeError: module 'numpy' has no attribute 'bool'", Fault("")),
    ],
)  # fmt: skip
def test_what_messages_name(text: str, fault: Fault) -> None:
    assert fault_in(text) == fault


def start(folder: Path, tmp: Path, seconds: int, *arguments: str) -> subprocess.Popen[str]:
    """envcheck in a process of its own, in an environment whose torch starts ``sleep SECONDS`` and hangs."""
    (folder / "torch").mkdir(exist_ok=True)
    (folder / "torch" / "__init__.py").write_text(
        f"import subprocess, time\nsubprocess.Popen(['sleep', '{seconds}'])\ntime.sleep(60)\n"
    )
    info = folder / "torch-2.5.1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.5.1\n")
    import envcheck

    paths = (str(folder), str(Path(envcheck.__file__).parent.parent))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(tmp)}
    command = [sys.executable, "-m", "envcheck", "check", "--import", "--no-config", "--format", "json", *arguments]
    return subprocess.Popen(
        command, env=env, cwd=tmp.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with pgrep")
def test_the_command_line_survives_a_hang(tmp_path: Path) -> None:
    site, tmp = tmp_path / "site", tmp_path / "tmp"
    site.mkdir()
    tmp.mkdir()
    begun = time.monotonic()
    process = start(site, tmp, 4323, "--timeout", "4")
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 9
    assert process.returncode in (0, 1), err
    report = json.loads(out)
    tests = report["snapshot"]["stack"]["imports"]
    assert [(test["package"], test["outcome"]) for test in tests if test["package"] == "torch"] == [("torch", "hang")]
    assert "torch/__init__.py" in next(test["error"] for test in tests if test["package"] == "torch")
    failures = [finding for finding in report["findings"] if finding["rule"] == "import-failure"]
    assert [(finding["severity"], finding["confidence"]) for finding in failures] == [("error", "low")]
    assert report["snapshot"]["machine"]["arch"], "the other facts are there"
    assert processes("sleep 4323") == []
    assert list(tmp.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes with pgrep")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_an_end_from_outside_leaves_nothing(tmp_path: Path, name: str) -> None:
    """Neither the import, nor what it has started in a session of its own, nor the temporary folder."""
    site, tmp = tmp_path / "site", tmp_path / "tmp"
    site.mkdir()
    tmp.mkdir()
    process = start(site, tmp, 4324)
    torch = site / "torch" / "__init__.py"
    torch.write_text(torch.read_text().replace("4324']", "4324'], start_new_session=True"))
    until = time.monotonic() + 15
    while not processes("sleep 4324") and time.monotonic() < until:
        time.sleep(0.05)
    assert list(tmp.iterdir()), "its folder"
    number = signal.Signals[name]
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    time.sleep(0.2)
    assert processes("sleep 4324") == []
    assert list(tmp.iterdir()) == []


def test_a_query_that_fails_or_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Host):
        def query(self, name: str, *arguments: str) -> Any:
            if arguments[0] == "torch":
                raise ValueError("no such thing")
            time.sleep(3)

    log = Log()
    begun = time.monotonic()
    host = Broken(deadline=begun + 0.3)
    tests = {test.module: test for test in imports.run_all(host, log, {"torch": "torch", "numpy": "numpy"})}
    assert time.monotonic() - begun < 2.5
    assert (tests["torch"].outcome, tests["torch"].error) == ("untested", "ValueError: no such thing")
    if os.cpu_count() != 1:
        assert tests["numpy"].outcome == "hang"
        assert "could not be ended" in str(tests["numpy"].error)


def test_long_messages_take_no_time() -> None:
    begun = time.monotonic()
    for text in ("a" * 100000, "a:" * 50000, "dlopen(" + "x" * 50000, "'" * 50000, "symbol not found" * 5000):
        fault_in(text)
    assert time.monotonic() - begun < 2


def test_a_crash_of_the_dump_at_the_deadline_is_no_crash_of_the_import() -> None:
    """faulthandler reads the stack of a thread that runs on; on a busy one that can crash."""
    dump = 'Timeout (0:00:00.900000)!\nThread 0x00007f (most recent call first):\n  File "ast.py", line 50 in parse\n'
    for said, ended in ((dump, "timeout"), ("", "signal 11 (SIGSEGV)")):
        answer, _ = imports.heard(Ran("done", -11, said, ""), 0.9)
        assert answer["ended"] == ended
    assert imports.heard(Ran("done", -4, dump, ""), 0.9)[0]["ended"] == "signal 4 (SIGILL)"
