"""pip's commands, read and written, and what other installers make of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.core.report import Fix
from envcheck.core.snapshot import Snapshot
from envcheck.facts import Facts
from envcheck.matrix import Matrix
from envcheck.remedies.commands import THEN, Pip, name_of, parts, read, specifier_of
from envcheck.remedies.place import Place
from envcheck.remedies.tools import by_tool

MATRIX = Matrix.load()
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,12}[a-z0-9]", fullmatch=True)
SPECIFIERS = st.sampled_from(["", "==1.2", "<2", ">=1,<3", "==2.6.0+cu124", "==9.*", "~=1.4"])
EXTRAS = st.sampled_from(["", "[cuda12]", "[and-cuda]"])
REQUIREMENTS = st.builds(lambda name, extra, spec: name + extra + spec, NAMES, EXTRAS, SPECIFIERS)
COMMANDS = st.builds(
    Pip,
    verb=st.sampled_from(["install", "uninstall"]),
    names=st.lists(REQUIREMENTS, min_size=1, max_size=3).map(tuple),
    options=st.sampled_from([(), ("-U",), ("--force-reinstall", "--no-deps"), ("-f", "https://a.example/x.html")]),
    index_url=st.sampled_from(["", "https://download.pytorch.org/whl/cu124"]),
    variables=st.sampled_from([(), ("FORCE_CUDA=1",)]),
)


def place(**facts: object) -> Place:
    return Place.of(Facts(Snapshot.from_facts(facts), MATRIX))


def in_words_of(tool: str, command: str, **facts: object) -> str:
    said = {"version": "3.11", "environment": "venv", "managed_by": tool}
    return by_tool(Fix(command), place(python=said, **facts))[0].command


@given(COMMANDS)
def test_what_is_written_is_read_again(command: Pip) -> None:
    assert read(command.written()) == command


@given(st.lists(COMMANDS, min_size=1, max_size=3))
def test_a_chain_is_read_again(commands: list[Pip]) -> None:
    line = THEN.join([*(command.written() for command in commands), "sudo reboot"])
    assert parts(line) == [*commands, "sudo reboot"]


@given(REQUIREMENTS)
def test_a_requirement_is_its_parts(requirement: str) -> None:
    name, rest = name_of(requirement), specifier_of(requirement)
    assert requirement.startswith(name)
    assert requirement.endswith(rest)
    assert not set(name) & set("[]<>=~")


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert THEN.join(part if isinstance(part, str) else text for part in parts(text)) is not None


@pytest.mark.parametrize(
    "text", ["", "pip", "nvidia-smi", "it's pip install", "sudo apt-get install x", "pipx install a"]
)
def test_what_is_no_command_of_pips(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ('pip install "numpy<2"', 'uv pip install "numpy<2"'),
        ("pip uninstall -y a b && pip install a", "uv pip uninstall a b && uv pip install a"),
        ("pip install --force-reinstall a b", "uv pip install --reinstall a b"),
        ("pip install --force-reinstall --no-deps a", "uv pip install --reinstall --no-deps a"),
        ("pip install --no-binary a a", "uv pip install --refresh-package a --no-binary a a"),
        ("FORCE_CUDA=1 pip install a", "FORCE_CUDA=1 uv pip install a"),
        ("nvidia-smi", "nvidia-smi"),
    ],
)
def test_uv(command: str, wanted: str) -> None:
    assert in_words_of("uv", command) == wanted


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ('pip install "numpy<2"', 'uv add "numpy<2"'),
        ("pip install -U a", "uv add --upgrade-package a a"),
        ("pip uninstall -y a", "uv remove a"),
        ("pip install --force-reinstall a", "uv sync --reinstall"),
        (
            'pip install "torch==2.6.0+cu118" --index-url https://download.pytorch.org/whl/cu118',
            'uv add "torch==2.6.0" --index pytorch-cu118=https://download.pytorch.org/whl/cu118',
        ),
        ("pip install --no-build-isolation a", "uv pip install --no-build-isolation a"),
    ],
)
def test_a_project_of_uvs(command: str, wanted: str) -> None:
    assert in_words_of("uv-project", command) == wanted


def test_a_distributions_python_is_left_alone() -> None:
    found = by_tool(Fix("pip install a", "", "safe"), place(python={"managed_by": "distribution"}))[0]
    assert found.command == "python3 -m venv .venv && .venv/bin/python -m pip install a"
    assert found.safety == "review"
    removed = by_tool(Fix("pip uninstall -y a", "", "safe"), place(python={"managed_by": "distribution"}))[0]
    assert not removed.command


def test_an_environment_that_is_not_active_is_named() -> None:
    snapshot = Snapshot.from_facts({"os": "Linux", "python": {"environment": "venv"}, "env": {"PATH": "/usr/bin"}})
    snapshot.stack.python.prefix = "/srv/app/.venv"
    where = Place.of(Facts(snapshot, MATRIX))
    assert by_tool(Fix("pip install a"), where)[0].command == "/srv/app/.venv/bin/python -m pip install a"
    snapshot = Snapshot.from_facts(
        {"os": "Linux", "python": {"environment": "venv"}, "env": {"VIRTUAL_ENV": "/srv/app/.venv"}}
    )
    snapshot.stack.python.prefix = "/srv/app/.venv"
    assert by_tool(Fix("pip install a"), Place.of(Facts(snapshot, MATRIX)))[0].command == "pip install a"


@pytest.mark.slow
def test_uv_itself_takes_them(tmp_path: Path) -> None:
    """Every way in which a command of pip's is put to uv, read by the real uv."""
    made = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--target", str(tmp_path), "uv"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    program = tmp_path / "bin" / "uv"
    if made.returncode or not program.exists():
        pytest.skip("uv can't be had here")
    commands = [
        'pip install -U "numpy<2"',
        "pip uninstall -y a b",
        "pip install --force-reinstall --no-deps a",
        "pip install --force-reinstall a",
        "pip install --no-deps --no-build-isolation --no-binary a a",
        "pip install a -f https://a.example/x.html",
        'pip install "torch==2.6.0+cu118" --index-url https://download.pytorch.org/whl/cu118',
        "pip check",
    ]
    for tool in ("uv", "uv-project"):
        for command in commands:
            line = in_words_of(tool, command)
            # The options are read before --help takes effect.
            ran = subprocess.run(
                f"{line.replace('uv ', f'{program} ', 1)} --help",
                shell=True,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, (line, ran.stderr)
    shutil.rmtree(tmp_path, ignore_errors=True)
