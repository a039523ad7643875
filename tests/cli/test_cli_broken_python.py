"""The command where Python itself is not as it should be: modules missing or shadowed, no memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import envcheck

ROOT = str(Path(envcheck.__file__).parent.parent)


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (ROOT, env.pop("PYTHONPATH", ""))))
    return subprocess.run(
        [sys.executable, "-m", "envcheck", *arguments],
        capture_output=True, text=True, cwd=folder, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, **env, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["msgspec", "enum", "typing", "datetime", "torch", "json", "numpy", "subprocess"])
def test_a_file_in_the_current_folder_does_not_run(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the shadow ran')\n")
    ran = run(tmp_path, "--format", "json", "--no-config")
    assert ran.returncode in (0, 1), ran.stderr
    assert "the shadow ran" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["msgspec", "struct", "click", "platform", "tomllib"])
@pytest.mark.parametrize("arguments", [(), ("inspect", "msgspec"), ("snapshot",)], ids=lambda words: "-".join(words))
def test_a_missing_module_is_one_sentence(tmp_path: Path, name: str, arguments: tuple[str, ...]) -> None:
    site = tmp_path / "first"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import sys\nsys.modules['{name}'] = None\n")
    ran = run(tmp_path, *arguments, PYTHONPATH=str(site))
    assert "Traceback" not in ran.stderr
    if ran.returncode != 0 or not ran.stdout:
        assert ran.returncode in (1, 2)
    if ran.returncode == 2:
        assert ran.stdout == ""
        assert ran.stderr.count("\n") == 1
        assert ran.stderr.startswith("envcheck: ")
        assert name in ran.stderr
    else:
        assert ran.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what Python allocates on Linux")
@pytest.mark.parametrize("megabytes", [5, 6, 7, 8])
def test_too_little_memory_is_no_finding(tmp_path: Path, megabytes: int) -> None:
    code = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({megabytes} << 20,) * 2)"
    start = f"{code}\nfrom envcheck.__main__ import main\nmain(None)"
    ran = subprocess.run(
        [sys.executable, "-c", start],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    # At the very edge there may be no room for the interpreter's own words either.
    assert "Traceback" not in ran.stderr or "MemoryError" in ran.stderr.splitlines()[-1]
    # With its own output it may also have done what it could; without, it must not look like a verdict.
    assert ran.stdout or ran.returncode not in (0, 1)
