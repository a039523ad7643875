"""The loader re-enacted against the real one on real libraries: as they are, and with decoys in the way.

On the libraries of the suite's own venv; ENVCHECK_TEST_SITE names another site-packages, of which all are taken.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import made_elf
import pytest
import real_loader

from envcheck.binaries.elf import DT_NEEDED
from envcheck.binaries.files import Facts, Files
from envcheck.binaries.loading import Process
from envcheck.binaries.symbols import undefined_symbols


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


SITE = os.environ.get("ENVCHECK_TEST_SITE", "")
LIBRARIES = sorted(
    str(path) for path in Path(SITE or sysconfig.get_path("platlib")).rglob("*.so*") if path.is_file() and is_elf(path)
)
LIBRARIES = LIBRARIES if SITE else random.Random(1).sample(LIBRARIES, min(30, len(LIBRARIES)))

pytestmark = pytest.mark.skipif(not real_loader.GLIBC, reason="no glibc here")


def decoys(folder: Path, chance: random.Random) -> str:
    """A folder for LD_LIBRARY_PATH with other files under names that the libraries need."""
    folder.mkdir()
    files = Files()
    needed: set[str] = set()
    for path in LIBRARIES:
        facts = files.look(path)
        if isinstance(facts, Facts):
            needed |= {name for tag, name in facts.needs if tag == DT_NEEDED}
    own = {need.name for need in Process(files, sys.executable).start.needs}
    for name in sorted(needed - own):  # the interpreter itself is to start
        what = chance.random()
        if what < 0.3:
            (folder / name).write_bytes(made_elf.library(name, machine=os.uname().machine))  # a stub: nothing in it
        elif what < 0.5:
            (folder / name).write_bytes(made_elf.library(name, ("libnot-there.so.1",), machine=os.uname().machine))
        elif what < 0.6:
            (folder / name).write_bytes(made_elf.library("libother.so.1", machine="s390x"))
        elif what < 0.65:
            (folder / name).write_bytes(made_elf.library(name, defines=("OLD_1.0",), machine=os.uname().machine))
    return str(folder)


@pytest.mark.parametrize("obstructed", [False, True])
def test_listing(obstructed: bool, tmp_path: Path) -> None:
    env = {"LD_LIBRARY_PATH": decoys(tmp_path / "decoys", random.Random(7))} if obstructed else {}
    files = Files()
    resolved = missing = 0
    for path in LIBRARIES:
        rows, said = real_loader.listed(path, env)
        process = real_loader.listing(path, env, files=files)
        assert real_loader.predicted(process) == rows, (path, said)
        lacks = {
            f"{lack.path}: version `{lack.version}' not found (required by {lack.importer})"
            for lack in process.lacking_versions(process.loaded)
            if not lack.weak
        }
        real = {line.partition(": ")[2] for line in said.splitlines() if "' not found (required by" in line}
        assert {line for line in real if "weak version" not in line} == lacks, path
        resolved += sum(row[1] is not None for row in rows)
        missing += sum(row[1] is None for row in rows)
    assert resolved
    print(f"{len(LIBRARIES)} libraries, {resolved} resolved, {missing} missing: all equal")


@pytest.mark.parametrize("obstructed", [False, True])
def test_dlopen(obstructed: bool, tmp_path: Path) -> None:
    """Each in its own child; what is undefined is known too."""
    env = {"LD_LIBRARY_PATH": decoys(tmp_path / "decoys", random.Random(8))} if obstructed else {}
    files = Files()
    outcomes = {"loaded": 0, "missing": 0, "undefined symbol": 0, "died": 0}
    for path in LIBRARIES:
        try:
            extension, [(new, error)] = real_loader.opened([path], env)
        except subprocess.CalledProcessError:
            outcomes["died"] += 1  # in a constructor, or the interpreter itself did not start with these decoys
            continue
        [load] = real_loader.foreseen([path], env, extension, files=files)
        symbol = re.search(r"undefined symbol: ([^\s,]+)", error or "")
        if symbol:
            assert load.error is None, path
            assert symbol[1] in {found.symbol.name for found in undefined_symbols(load)}, path
            outcomes["undefined symbol"] += 1
        elif error and "PyInit" not in error and "static TLS" not in error:
            assert load.error is not None, (path, error)
            assert error.startswith(load.error.partition(": cannot open")[0]), path
            outcomes["missing"] += 1
        else:
            assert load.error is None, path
            ours = [library.path for library in load.new]
            assert new[: len(ours)] == ours, path  # what comes behind was loaded by constructors
            assert undefined_symbols(load) == [], path
            outcomes["loaded"] += 1
    print(outcomes)
    assert outcomes["loaded"] or obstructed


def test_undefined_symbols() -> None:
    """As ``ldd -r`` lists them: here nothing of Python is loaded, so that much is undefined."""
    files = Files()
    total = 0
    for path in LIBRARIES:
        real = real_loader.unbound(path)
        if real is None:
            continue
        process = real_loader.listing(path, {}, files=files)
        ours = {found.symbol.name for found in undefined_symbols(process.start)}
        assert ours == real, path
        total += len(real)
    assert total
