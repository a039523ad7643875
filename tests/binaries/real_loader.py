"""What the real dynamic loader of a machine, or of a root, says of a library; and ours in the same words."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping

from envcheck.binaries.files import Files
from envcheck.binaries.ldso import INTERPRETERS
from envcheck.binaries.loading import Load, Process

LOADER = INTERPRETERS.get(platform.machine(), "")
GLIBC = sys.platform == "linux" and os.path.exists(LOADER)

Rows = list[tuple[str, str | None]]


def listed(path: str, env: Mapping[str, str], *, root: str = "", cwd: str = "/") -> tuple[Rows, str]:
    """(needed name, path) as LD_TRACE_LOADED_OBJECTS prints them, None where not found; and what it said besides."""
    argv = [LOADER, path]
    if root:
        argv = [
            "/usr/sbin/chroot",
            root,
            "/usr/bin/env",
            *(f"{k}={v}" for k, v in env.items()),
            "LD_TRACE_LOADED_OBJECTS=1",
        ]
        argv += [LOADER, path]
    ran = subprocess.run(
        argv,
        env={} if root else {**env, "LD_TRACE_LOADED_OBJECTS": "1"},
        capture_output=True,
        text=True,
        cwd=root or cwd,
        timeout=60,
        check=False,
    )
    rows: Rows = []
    for line in ran.stdout.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow:
            rows.append((name, None if path == "not found" else path.rpartition(" (")[0]))
        elif line.endswith(")"):
            rows.append((name.rpartition(" (")[0],) * 2)
    return [row for row in rows if not (row[1] or "").startswith(("linux-vdso", LOADER))], ran.stderr.strip()


def predicted(process: Process) -> Rows:
    """The same of our own answer."""
    rows: Rows = []
    seen: set[str] = set()
    for need in process.start.needs:
        if need.step == "nowhere":
            rows.append((need.name, None))
        elif need.problem:
            break
        elif need.step != "loaded" and need.path and need.path not in seen:
            # A second name of a file that is loaded already makes no line.
            if any(library.path == need.path for library in process.loaded):
                rows.append((need.name, need.path))
            seen.add(need.path)
    return rows


def listing(path: str, env: Mapping[str, str], *, files: Files | None = None, cwd: str = "/") -> Process:
    return Process(files or Files(), path, env=env, cwd=cwd, interpreter=LOADER, by_loader=True)


CHILD = """
import ctypes, json, sys, os
import _ctypes
class Map(ctypes.Structure):
    pass
Map._fields_ = [("addr", ctypes.c_void_p), ("name", ctypes.c_char_p), ("ld", ctypes.c_void_p), ("next", ctypes.POINTER(Map))]
def names():
    here, found = ctypes.cast(ctypes.CDLL(None)._handle, ctypes.POINTER(Map)), []
    while here:
        found.append(os.fsdecode(here.contents.name)); here = here.contents.next
    return found
answers = []
for name in json.loads(sys.argv[1]):
    before, error = names(), None
    try:
        ctypes.CDLL(name, mode=0x102)  # global too: what was loaded must stay
    except OSError as caught:
        error = str(caught)
    answers.append({"new": [n for n in names() if n not in before], "error": error})
print(json.dumps([_ctypes.__file__, answers]))
"""  # noqa: E501


def opened(names: list[str], env: Mapping[str, str], cwd: str = "/") -> tuple[str, list[tuple[list[str], str | None]]]:
    """Path of _ctypes, then for each name opened in one child: the files that came with it, or the loader's message."""
    ran = subprocess.run(
        [sys.executable, "-S", "-E", "-c", CHILD, json.dumps(names)],
        env=dict(env),
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=True,
    )
    extension, answers = json.loads(ran.stdout.splitlines()[-1])
    return extension, [(answer["new"], answer["error"]) for answer in answers]


def foreseen(
    names: list[str], env: Mapping[str, str], extension: str, cwd: str = "/", files: Files | None = None
) -> list[Load]:
    """Our own answer."""
    process = Process(files or Files(), sys.executable, env=env, cwd=cwd)
    process.dlopen(extension)
    return [process.dlopen(name, extension, everywhere=True) for name in names]


def unbound(path: str) -> set[str] | None:
    """The symbols that ``ldd -r`` finds undefined; None: it did not get that far."""
    env = {"LD_TRACE_LOADED_OBJECTS": "1", "LD_WARN": "1", "LD_BIND_NOW": "1"}
    ran = subprocess.run([LOADER, path], env=env, capture_output=True, text=True, timeout=120, check=False)
    if ran.returncode or " => not found" in ran.stdout:
        return None
    lines = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("undefined symbol: ")]
    return {line.partition(": ")[2].split()[0].partition(",")[0] for line in lines}


MUSL = "/lib/ld-musl-x86_64.so.1"


def musl_listed(path: str, env: Mapping[str, str], cwd: str = "/") -> tuple[list[tuple[str, str]], list[str]]:
    """(needed name, path) as musl's ``ldd`` prints them, and the names that it does not find or cannot use."""
    ran = subprocess.run(
        [MUSL, "--list", path], env=dict(env), capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )
    rows = []
    for line in ran.stdout.splitlines():
        name, arrow, where = line.strip().partition(" => ")
        if arrow and not where.startswith(MUSL):
            rows.append((name, where.rpartition(" (")[0]))
    start = "Error loading shared library "
    return rows, [line[len(start) :].partition(": ")[0] for line in ran.stderr.splitlines() if line.startswith(start)]
