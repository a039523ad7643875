"""``envcheck diagnose`` and ``envcheck run`` as commands: texts of every kind, exit codes, errors."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envcheck.__main__ import main

DRIVER = (
    "RuntimeError: The NVIDIA driver on your system is too old (found version 10010). Please update your GPU driver"
)
SHAPES = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x3 and 5x6)"
NOWHERE = ["--environment", "none"]


def diagnosed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    main(["diagnose", *arguments, "--format", "json"])
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def first(found: dict[str, object]) -> str:
    causes = found.get("causes")
    return causes[0]["rule"] if isinstance(causes, list) and causes else ""


def test_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", DRIVER, *NOWHERE]) == 1
    assert "the cause is driver-too-old" in capsys.readouterr().out


def test_a_fault_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", SHAPES, *NOWHERE]) == 0
    assert "the environment is not to blame" in capsys.readouterr().out


def test_versions_in_brackets_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    message = (
        "cuDNN version incompatibility: PyTorch was compiled  against (8, 5, 0) but found runtime version (8, 3, 2)."
    )
    assert main(["diagnose", f"RuntimeError: {message}", *NOWHERE]) == 1
    assert "(8, 3, 2) is loaded" in capsys.readouterr().out


def test_what_helps_against_a_fault_of_the_program_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    message = "DataLoader worker (pid 33) is killed by signal: Bus error. It is possible that dataloader's workers are"
    assert main(["diagnose", f"RuntimeError: {message} out of shared memory.", *NOWHERE]) == 0
    assert "what helps: " in (said := capsys.readouterr().out)
    assert "--shm-size" in said


def test_a_fact_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    message = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert main(["diagnose", message, *NOWHERE]) == 1
    assert capsys.readouterr().out.count("the message:") == 1


def test_a_text_that_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "hello", *NOWHERE]) == 0
    assert "no known message was recognised" in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [
        DRIVER.encode(),
        b"\xef\xbb\xbf" + DRIVER.encode(),
        DRIVER.encode("utf-16"),
        DRIVER.encode("utf-16-le"),
        ("\x1b[31m" + DRIVER.replace(" ", "\x1b[0m \x1b[1;31m") + "\x1b[m").encode(),
        ("epoch 1\repoch 2\r" + DRIVER + "\r\n").encode(),
        ("进度 完成\n" * 30 + DRIVER).encode("gb18030"),
        (b"\xff\xc3 broken \xe9 bytes\n" + DRIVER.encode()),
        ("x" * 20000 + "\n" + DRIVER + "\n" + "y" * 20000).encode(),
        ("\n".join(f"INFO {n} all is well" for n in range(60000)) + "\n" + DRIVER).encode(),
        (DRIVER + "\n" + "\n".join(f"INFO {n} all is well" for n in range(60000))).encode(),
    ],
)
def test_files_of_every_kind(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "error.log"
    file.write_bytes(data)
    assert first(diagnosed(capsys, str(file), *NOWHERE)) == "driver-too-old"


def test_source_lines_of_a_traceback_are_no_messages(capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        'Traceback (most recent call last):\n  File "/v/torch/cuda/__init__.py", line 229, in _lazy_init\n'
        f'    raise RuntimeError("{DRIVER}")\n          ^^^^^^^^^^^^\n{SHAPES}\n'
    )
    found = diagnosed(capsys, text, *NOWHERE)
    assert (found["verdict"], first(found)) == ("not-environment", "")
    assert first(diagnosed(capsys, text + DRIVER, *NOWHERE)) == "driver-too-old"


def test_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [sys.executable, "-m", "envcheck", "diagnose", *NOWHERE]
    ran = subprocess.run(argv, input=DRIVER, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "driver-too-old" in ran.stdout


def test_the_json_is_as_its_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    import jsonschema

    import envcheck

    schema = json.loads((Path(envcheck.__file__).parent / "schemas" / "diagnosis.schema.json").read_text())
    for text in (DRIVER, SHAPES, "hello"):
        jsonschema.validate(diagnosed(capsys, text, *NOWHERE), schema)


def test_an_environment_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = tmp_path / "lab.json"
    facts.write_text(json.dumps({"packages": {"torch": "1.7.1"}, "os": {"system": "Linux"}}))
    found = diagnosed(capsys, DRIVER, "--environment", str(facts))
    assert first(found) == "driver-too-old"
    assert "torch 1.7.1" in json.dumps(found["causes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diagnose", "/nonesuch/error.log"], "there is no such file"),
        (["diagnose", "."], "this is a folder"),
        (["diagnose", "  "], "the text is empty"),
        (["diagnose", "-", "--environment", "-"], "standard input can be the text or the environment, not both"),
        (["diagnose", "x", "--environment", "nonesuch.json"], "nonesuch.json"),
        (["diagnose", "x", "--timeout", "0"], "--timeout takes a number of seconds above 0"),
        (["run", "--", "/nonesuch/program"], "can't be started"),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_binary_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "core"
    file.write_bytes(b"\x7fELF\2\1\1\0" + bytes(range(256)) * 40)
    assert main(["diagnose", str(file), *NOWHERE]) == 2
    assert capsys.readouterr().err.strip() == f"envcheck: {file} is no text: it holds binary data"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_does_not_hang(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    begun = time.monotonic()
    assert main(["diagnose", str(tmp_path / "pipe"), *NOWHERE]) == 2
    assert time.monotonic() - begun < 2


class TestRun:
    def run(self, code: str, *options: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "envcheck", "run", *NOWHERE, *options, "--", sys.executable, "-c", code]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def test_success_is_left_alone(self) -> None:
        ran = self.run("import sys; print('out'); print('err', file=sys.stderr)")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "out\n", "err\n")

    def test_failure(self) -> None:
        ran = self.run(f"import sys; print('out'); sys.stderr.write({DRIVER!r}); sys.exit(7)")
        assert (ran.returncode, ran.stdout) == (7, "out\n")
        assert ran.stderr.startswith(DRIVER)
        assert "the command failed (exit code 7)" in ran.stderr
        assert "the cause is driver-too-old" in ran.stderr

    @pytest.mark.skipif(os.name != "posix", reason="signals")
    def test_a_signal_without_a_word(self) -> None:
        ran = self.run("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
        assert ran.returncode == 128 + 4
        assert "ended by signal SIGILL (Illegal instruction)" in ran.stderr
        assert "cpu-isa-missing" in ran.stderr

    def test_input_is_passed_on(self) -> None:
        code = "import sys; sys.exit(0 if sys.stdin.read() == 'hello' else 1)"
        argv = [sys.executable, "-m", "envcheck", "run", *NOWHERE, "--", sys.executable, "-c", code]
        assert subprocess.run(argv, input="hello", text=True, timeout=60, check=False).returncode == 0

    def test_much_output(self) -> None:
        code = f"import sys\nfor _ in range(60000): sys.stderr.write('noise ' * 10 + '\\n')\nsys.exit({DRIVER!r})"
        ran = self.run(code)
        assert ran.returncode == 1
        assert ran.stderr.count("noise") == 600000
        assert "the cause is driver-too-old" in ran.stderr


def test_run_does_not_wait_for_what_goes_on_in_the_background(tmp_path: Path) -> None:
    script = "(sleep 3; echo later >&2; echo alive > done.txt) & echo boom >&2; exit 4"
    argv = [sys.executable, "-m", "envcheck", "run", *NOWHERE, "--", "sh", "-c", script]
    begun = time.monotonic()
    with (tmp_path / "err.txt").open("wb") as err:
        ran = subprocess.run(argv, stderr=err, stdout=subprocess.DEVNULL, timeout=60, check=False, cwd=tmp_path)
    assert (ran.returncode, (tmp_path / "done.txt").exists()) == (4, False)
    until = time.monotonic() + 20
    while not (tmp_path / "done.txt").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert time.monotonic() - begun > 3, "what goes on in the background is left alone"
    assert "later" in (tmp_path / "err.txt").read_text()


def test_run_says_nothing_when_the_user_ended_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *NOWHERE, "--", "sh", "-c", "kill -INT $$"]) == 130
    assert capfd.readouterr().err == ""


def test_run_looks_at_the_environment_before_it_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--environment", str(tmp_path / "no.json"), "--", "touch", str(tmp_path / "ran")]) == 2
    assert not (tmp_path / "ran").exists()
    assert "there is no such file" in capsys.readouterr().err


def test_a_signal_is_a_message_that_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "Segmentation fault (core dumped)", *NOWHERE]) == 0
    said = capsys.readouterr().out
    assert said.startswith("? the message alone does not tell the cause; it can be")
    assert "no known message" not in said


def test_explain_failures() -> None:
    code = f"import envcheck\nwith envcheck.explain_failures(environment=None): raise RuntimeError({DRIVER!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "the cause is driver-too-old" in ran.stderr
    assert ran.stderr.rstrip().endswith("Please update your GPU driver")


def test_a_stream_that_takes_ascii_only_gets_ascii() -> None:
    import envcheck

    said = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with pytest.raises(RuntimeError), envcheck.explain_failures(environment=None, file=said):
        raise RuntimeError(DRIVER)
    said.seek(0)
    assert "x the cause is driver-too-old" in said.read()


def test_excepthook() -> None:
    code = (
        f"import envcheck\nenvcheck.install_excepthook()\nenvcheck.install_excepthook()\nraise RuntimeError({DRIVER!r})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert ran.stderr.count("driver-too-old (") == 1
    assert ran.stderr.startswith("Traceback")


def test_errors_that_say_nothing_are_left_alone() -> None:
    code = "import envcheck\nwith envcheck.explain_failures(environment=None): raise KeyError('x')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "envcheck:" not in ran.stderr


def test_messages_of_a_pytest_report_are_not_those_of_its_source() -> None:
    from envcheck.pytest_failures import messages

    report = (
        "    def _lazy_init():\n"
        '            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess.")\n'
        '>       raise AssertionError("Torch not compiled with CUDA enabled")\n'
        "E       AssertionError: Torch not compiled with CUDA enabled\n"
    )
    assert messages(report) == "AssertionError: Torch not compiled with CUDA enabled"
    native = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nImportError: no'
    assert messages(native) == native
