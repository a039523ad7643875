"""The loader re-enacted against the real one in random worlds: decoys, broken files, links, search paths of all kinds.

ENVCHECK_FUZZ_EXAMPLES=5000 makes a long run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import made_elf
import pytest
import real_loader

from envcheck.binaries.files import Files
from envcheck.binaries.loading import Process

WORLDS = int(os.environ.get("ENVCHECK_FUZZ_EXAMPLES", "120"))
FIRST = int(os.environ.get("ENVCHECK_FUZZ_SEED", "0"))

pytestmark = [
    pytest.mark.skipif(not real_loader.GLIBC, reason="no glibc here"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the libraries are made for x86-64"),
]

PARTS = ("a", "b", "c/d", "a/lib/x86_64-linux-gnu", "b/x86_64")
SUBS = ("", "", "", "", "glibc-hwcaps/x86-64-v2", "glibc-hwcaps/x86-64-v4", "tls", "x86_64", "tls/x86_64", "haswell")
NAMES = tuple(f"libw{n}.so.{n}" for n in range(8))


def search_path(chance: random.Random, root: str) -> str:
    kinds = (
        f"{root}/a", f"{root}/b/", f"{root}/c/d", f"{root}/nowhere", "$ORIGIN", "$ORIGIN/../b", "${ORIGIN}/../a/.",
        f"{root}/a/$LIB", f"{root}/b/$PLATFORM", f"{root}/a/${{LIB}}", "$ORIGINAL", "", "a", f"{root}/c/link",
        f"{root}/loop", f"{root}/plain.txt", f"{root}//a///", "$LIB",
    )  # fmt: skip
    return ":".join(chance.choice(kinds) for _ in range(chance.randint(1, 4)))


def make(chance: random.Random, root: Path) -> None:
    for part in PARTS:
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "c/link").symlink_to("../a")
    (root / "loop").symlink_to("loop")
    (root / "plain.txt").write_text("plain")
    for name in NAMES:
        for _ in range(chance.choice((1, 1, 2, 3))):
            folder = root / chance.choice(PARTS) / chance.choice(SUBS)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            if os.path.lexists(path):
                continue
            put(chance, path, str(root))


def put(chance: random.Random, path: Path, root: str) -> None:
    name = path.name
    what = chance.random()
    needed = tuple(chance.choice(NAMES) for _ in range(chance.choice((0, 1, 1, 2, 3))))
    if chance.random() < 0.15:
        needed += (
            chance.choice(("libc.so.6", "libm.so.6", f"{root}/a/{NAMES[1]}", "$ORIGIN/libw2.so.2", "libnone.so")),
        )
    needs: dict[str, tuple[str, ...]] = {}
    if needed and chance.random() < 0.3 and "/" not in needed[0] and "libnone" not in needed[0]:
        needs = {needed[0]: tuple(chance.sample(("V_1", "V_2", "V_3"), chance.randint(1, 2)))}
    data = made_elf.library(
        chance.choice((name, name, name, None, chance.choice(NAMES))),
        needed,
        rpath=search_path(chance, root) if chance.random() < 0.4 else None,
        runpath=search_path(chance, root) if chance.random() < 0.3 else None,
        flags_1=0x800 if chance.random() < 0.1 else 0,
        defines=chance.choice(((), (), ("V_1",), ("V_1", "V_2"), ("V_1", "V_2", "V_3"))),
        needs=needs,
        weak=chance.choice(((), ("V_2",), ("V_3",))),
        machine=chance.choice(("x86_64",) * 12 + ("aarch64",)),
    )
    if what < 0.80:
        path.write_bytes(data)
    elif what < 0.84:
        path.write_bytes(data[:4] + b"\x01" + data[5:])  # of the other word size
    elif what < 0.86:
        path.write_bytes(chance.choice((b"", b"version https://git-lfs.github.com/spec/v1\n" * 3, data[:40])))
    elif what < 0.90:
        path.symlink_to(chance.choice((f"{root}/a/{chance.choice(NAMES)}", f"../{chance.choice(NAMES)}", name)))
    elif what < 0.92:
        path.mkdir()
    elif what < 0.94:
        path.write_bytes(data[:16] + b"\x01\0" + data[18:])  # an object file
    else:
        twin = path.parent / chance.choice(NAMES)
        path.write_bytes(data)
        if not os.path.lexists(twin):
            os.link(path, twin)


@pytest.mark.parametrize("block", range(4))
def test_listing(block: int, tmp_path: Path) -> None:
    different = 0
    for seed in range(FIRST + block, FIRST + WORLDS, 4):
        chance = random.Random(seed)
        root = tmp_path / str(seed)
        make(chance, root)
        start = root / "a" / "main.so"
        start.write_bytes(
            made_elf.library(
                "main.so",
                tuple(chance.sample(NAMES, 4)),
                rpath=search_path(chance, str(root)) if chance.random() < 0.5 else None,
                runpath=search_path(chance, str(root)) if chance.random() < 0.5 else None,
            )
        )
        env = {}
        if chance.random() < 0.7:
            env["LD_LIBRARY_PATH"] = search_path(chance, str(root)).replace(":", chance.choice(":;"))
        if chance.random() < 0.2:
            env["LD_PRELOAD"] = chance.choice((NAMES[0], f"{root}/b/{NAMES[1]}", f"{NAMES[2]}:{NAMES[3]}"))
        rows, said = real_loader.listed(str(start), env, cwd=str(root))
        if "DT_RELR without" in said:
            continue  # libc itself was not found: the listing goes on without it, but to this end
        said = said.replace("Error 21", os.strerror(21))  # the loader itself has no words for it
        process = real_loader.listing(str(start), env, cwd=str(root))
        assert real_loader.predicted(process) == rows or fatal(process), (seed, said)
        different += len(rows)
        broken = fatal(process)
        if broken:
            assert broken in said, (seed, said)
        else:
            assert "error while loading" not in said, (seed, said)
            # A name that was not found at first stands in the listing as a library without versions.
            absent = {need.name for need in process.start.needs if need.step == "nowhere"}
            versions = {
                f"{lack.path}: version `{lack.version}' not found (required by {lack.importer})"
                for lack in process.lacking_versions(process.loaded)
                if not lack.weak and lack.library not in absent
            }
            real = {line.partition(": ")[2] for line in said.splitlines() if "' not found (required by" in line}
            assert {line for line in real if "weak version" not in line} == versions, (seed, said)
    assert different


def plain(message: str | None) -> str | None:
    """Without the words of the error number, which is that of the folder tried last."""
    found, _, _ = (message or "").partition("cannot open shared object file")
    return found or None


def fatal(process: Process) -> str:
    """The message with which the loader ends even its listing."""
    for need in process.start.needs:
        if need.problem and need.step != "nowhere":
            return f"{need.path}: {need.problem}"
    return ""


@pytest.mark.parametrize("block", range(4))
def test_dlopen(block: int, tmp_path: Path) -> None:
    for seed in range(FIRST + block, FIRST + WORLDS // 4, 4):
        chance = random.Random(seed + 1_000_000)
        root = tmp_path / str(seed)
        make(chance, root)
        env = {"LD_LIBRARY_PATH": search_path(chance, str(root))} if chance.random() < 0.8 else {}
        names = [
            name if chance.random() < 0.5 else f"{root}/{chance.choice(PARTS)}/{name}"
            for name in chance.sample(NAMES, 6)
        ]
        extension, answers = real_loader.opened(names, env, cwd=str(root))
        loads = real_loader.foreseen(names, env, extension, cwd=str(root), files=Files())
        for name, (new, error), load in zip(names, answers, loads, strict=True):
            assert plain(load.error) == plain(error), (seed, name)
            if error is None:
                assert [library.path for library in load.new] == new, (seed, name)


@pytest.mark.skipif(not os.path.exists(real_loader.MUSL), reason="musl is not installed")
def test_musl(tmp_path: Path) -> None:
    for seed in range(FIRST, FIRST + WORLDS):
        chance = random.Random(seed + 2_000_000)
        root = tmp_path / str(seed)
        make(chance, root)
        for file in root.rglob("lib*.so*"):
            # Only the byte of the word size differs in these, which musl does not look at: it would load them.
            if file.is_file() and file.read_bytes()[4:5] == b"\x01":
                file.unlink()
        start = root / "a" / "main.so"
        path = search_path(chance, str(root)) if chance.random() < 0.6 else None
        start.write_bytes(made_elf.library("main.so", tuple(chance.sample(NAMES, 4)), runpath=path))
        env = {"LD_LIBRARY_PATH": search_path(chance, str(root))} if chance.random() < 0.6 else {}
        rows, missing = real_loader.musl_listed(str(start), env, cwd=str(root))
        process = Process(Files(), str(start), env=env, cwd=str(root), interpreter=real_loader.MUSL, by_loader=True)
        paths = {library.path for library in process.loaded}
        ours, seen = [], set()
        for need in process.start.needs:
            if need.path in paths and need.path not in seen and need.step not in ("loaded", "itself"):
                seen.add(need.path)
                ours.append((need.name, need.path))
        assert [need.name for need in process.start.missing] == missing, seed
        assert ours == rows, seed
