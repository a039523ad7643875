"""The loader of another root, re-enacted, against that root's own loader: cache, glibc-hwcaps, LD_PRELOAD, decoys.

ENVCHECK_TEST_ROOTS names roots (with ":" between) as debootstrap makes them; else the slow test makes one.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import made_elf
import pytest
import real_loader

from envcheck.binaries.files import Files
from envcheck.binaries.loading import Process

ROOTS = [root for root in os.environ.get("ENVCHECK_TEST_ROOTS", "").split(":") if root]
TRIPLET = "x86_64-linux-gnu"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not real_loader.GLIBC or os.uname().machine != "x86_64", reason="no glibc of x86-64 here"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="chroot needs root"),
]


@pytest.fixture(params=ROOTS or [""])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    made = tmp_path / "root"
    if request.param:
        subprocess.run(["cp", "-a", request.param, str(made)], check=True)
        return str(made)
    if not shutil.which("debootstrap"):
        pytest.skip("no debootstrap here")
    ran = subprocess.run(["debootstrap", "--variant=minbase", "trixie", str(made)], capture_output=True, check=False)
    if ran.returncode:
        pytest.skip("debootstrap could not make a root")
    return str(made)


def elf_files(root: str) -> list[str]:
    found = []
    for folder in (f"usr/lib/{TRIPLET}", "usr/bin"):
        for path in sorted(Path(root, folder).rglob("*")):
            if path.is_file() and not path.is_symlink() and not path.name.startswith(("ld-", "libc.so", "libc-2")):
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        found.append("/" + str(path.relative_to(root)))
    return found


def test_another_release(root: str) -> None:
    files = elf_files(root)
    assert len(files) > 100
    decoys = Path(root, "opt/decoys")
    decoys.mkdir(parents=True)
    (decoys / "libz.so.1").write_bytes(made_elf.library("libz.so.1", ("libgone.so.1",)))
    (decoys / "libselinux.so.1").write_bytes(made_elf.library("libselinux.so.1", defines=("OLD_1",)))
    (decoys / "libcap.so.2").write_bytes(made_elf.library("libcap.so.2", machine="aarch64"))
    # Variants by CPU, in a default folder and in the cache; an absolute link that leads out of the root if it is wrong.
    for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
        folder = Path(root, "usr/lib", TRIPLET, "glibc-hwcaps", level)
        folder.mkdir(parents=True)
        (folder / "libtinfo.so.6").write_bytes(made_elf.library("libtinfo.so.6"))
        (folder / f"libonly{level[-1]}.so.1").write_bytes(made_elf.library(f"libonly{level[-1]}.so.1"))
    Path(root, "opt/link").symlink_to("/opt/decoys")
    Path(root, "opt/x").mkdir(exist_ok=True)
    Path(root, "opt/x/libuser.so").write_bytes(
        made_elf.library(None, ("libonly2.so.1", "libonly3.so.1", "libonly4.so.1", "libtinfo.so.6"))
    )
    Path(root, "usr/local/lib/conf").mkdir()
    Path(root, "usr/local/lib/conf/libconf.so.1").write_bytes(made_elf.library("libconf.so.1", ("libz.so.1",)))
    Path(root, "opt/x/libuser2.so").write_bytes(made_elf.library(None, ("libconf.so.1",), rpath="$ORIGIN/../link"))
    Path(root, "etc/ld.so.conf.d/more.conf").write_text("/usr/local/lib/conf\n")
    count = 0
    for cached in (False, True):
        if cached:
            subprocess.run(["/usr/sbin/chroot", root, "/sbin/ldconfig"], env={}, check=True, capture_output=True)
        below = Files(root)
        chosen = files if cached else random.Random(1).sample(files, 40)
        for env in ({}, {"LD_LIBRARY_PATH": "/opt/link:/usr/$LIB"}, {"LD_PRELOAD": "libm.so.6"}):
            for path in [*chosen, "/opt/x/libuser.so", "/opt/x/libuser2.so"]:
                rows, said = real_loader.listed(path, env, root=root)
                process = Process(below, path, env=env, interpreter=real_loader.LOADER, by_loader=True)
                if process.main and not process.main.facts.needs:
                    continue  # "statically linked": preloads are then not listed
                assert real_loader.predicted(process) == rows, (cached, env, path, said)
                count += len(rows)
    assert count > 1000
    print(f"{count} rows equal")
