"""Whatever is named: one clear sentence, no hang, bounded memory; and any bytes inside a wheel."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_wheel import KERNELS, METADATA, made_library, made_wheel

from envcheck.inspection import InspectError, inspect
from envcheck.matrix import Matrix
from envcheck.render.inspection import render_inspection


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


def put(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


BAD = {
    "text": (b"hello\n", "neither a compiled library"),
    "empty.so": (b"", "the file is empty"),
    "empty.whl": (b"", "the file is empty"),
    "magic.so": (b"\x7fELF", "looks like a compiled library but can't be read"),
    "magic.dll": (b"MZ", "looks like a compiled library but can't be read"),
    "Foo.class": (bytes.fromhex("cafebabe00000034"), "looks like a compiled library but can't be read"),
    "none.whl": (b"PK\5\6" + bytes(18), "damaged zip archive|no .dist-info"),
    "cut.whl": (b"PK\3\4" + bytes(100), "damaged zip archive"),
    "text.whl": (b"hello\n", "damaged zip archive"),
    "source.tar.gz": (b"\x1f\x8b" + bytes(50), "a source distribution has to be built first"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_files_that_are_none_of_it(tmp_path: Path, matrix: Matrix, name: str) -> None:
    data, words = BAD[name]
    path = put(tmp_path, name, data)
    with pytest.raises(InspectError, match=words) as raised:
        inspect(path, matrix)
    assert str(raised.value).startswith(path)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO, no links there")
def test_things_that_are_no_files(tmp_path: Path, matrix: Matrix) -> None:
    os.mkfifo(tmp_path / "fifo.so")
    (tmp_path / "loop.so").symlink_to("loop.so")
    (tmp_path / "dangling.so").symlink_to("nowhere")
    for name, words in {
        "fifo.so": "no regular file",
        "loop.so": "can't be read",
        "dangling.so": "can't be read",
        "": "this is a folder",
    }.items():
        with pytest.raises(InspectError, match=words):
            inspect(str(tmp_path / name), matrix)
    with pytest.raises(InspectError, match="no regular file"):
        inspect("/dev/zero", matrix)


@pytest.mark.parametrize("name", ["", "\0", "a b", "no-such-package-here", "no/such/file.so", "x\ny", "-", "..."])
def test_names_of_nothing(tmp_path: Path, matrix: Matrix, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InspectError) as raised:
        inspect(name, matrix)
    assert str(raised.value).isprintable()


def test_zip_archives_that_are_no_wheels(tmp_path: Path, matrix: Matrix) -> None:
    path = tmp_path / "plain.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(InspectError, match=r"no \.dist-info"):
        inspect(str(path), matrix)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a-1.dist-info/METADATA", "")
        archive.writestr("b-1.dist-info/METADATA", "")
    with pytest.raises(InspectError, match=r"2 \.dist-info folders"):
        inspect(str(path), matrix)


def test_a_wheel_without_metadata(tmp_path: Path, matrix: Matrix) -> None:
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a-1.dist-info/WHEEL", "Tag: py3-none-any\n")
    with pytest.raises(InspectError, match="no METADATA"):
        inspect(str(path), matrix)


def test_too_many_members(tmp_path: Path, matrix: Matrix) -> None:
    path = made_wheel(tmp_path, members={f"kernels/{number}.so": b"" for number in range(4100)}, packed=False)
    with pytest.raises(InspectError, match="4100 compiled files"):
        inspect(str(path), matrix)


def test_overlapping_members(tmp_path: Path, matrix: Matrix) -> None:
    """Many entries of the directory that share one piece of packed data."""
    body = random.Random(1).randbytes(200_000)
    path = made_wheel(tmp_path, members={f"kernels/{number:03}.so": body for number in range(2)}, packed=False)
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    directory = data[at : data.index(b"PK\1\2", at + 1)]
    end = data.rindex(b"PK\5\6")
    more = b"".join(directory.replace(b"000.so", f"{number:03}.so".encode()) for number in range(2, 900))
    size = int.from_bytes(data[end + 12 : end + 16], "little") + len(more)
    tail = bytearray(data[end:])
    tail[12:16] = size.to_bytes(4, "little")
    path.write_bytes(data[:at] + more + data[at:end] + tail)
    with pytest.raises(InspectError, match="overlap"):
        inspect(str(path), matrix)


def test_hostile_names_stay_names(tmp_path: Path, matrix: Matrix) -> None:
    names = ["../../../etc/passwd.so", "/abs.so", "x/\x1b[31mred\n.so", "y/" + "a" * 5000 + ".so", "z/\u202egpj.so"]
    path = made_wheel(tmp_path, members=dict.fromkeys(names, made_library(needed=("\x1b[2J\n.so",))))
    found = inspect(str(path), matrix)
    assert sorted(library.path for library in found.libraries) == sorted(names)
    for encoding in ("utf-8", "ascii"):
        text = render_inspection(found, width=80, color=False, encoding=encoding, verbose=True)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert max(map(len, text.splitlines())) <= 80


MEMORY = """
import resource, sys
from envcheck.inspection import inspect
from envcheck.matrix import Matrix
matrix = Matrix.load()
inspect("envcheck-nothing.so" if False else sys.argv[2], matrix)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = inspect(sys.argv[1], matrix)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
print([library.problem for library in found.libraries])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss differs")
def test_archive_bombs_stay_small(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    small = made_wheel(tmp_path / "small", members=KERNELS)
    path = made_wheel(tmp_path, members=KERNELS, metadata="Requires-Dist: " + "a" * 50_000_000)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, start, size in (
            ("bomb.so", b"\x7fELF", 300),
            ("small.so", b"\x7fELF\2\1\1", 50),
            ("not.so", b"", 50),
        ):
            with archive.open(f"kernels/{name}", "w") as file:
                file.write(start)
                for _ in range(size):
                    file.write(bytes(1 << 20))
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(small)], capture_output=True, text=True, timeout=60, check=True
    )
    used, problems = ran.stdout.splitlines()
    assert int(used) < 64
    assert "as no library can be" in problems


def _mutated(data: bytes, source: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(source.randrange(1, 12)):
        at = source.randrange(len(made))
        kind = source.randrange(4)
        if kind == 0:
            made[at] = source.randrange(256)
        elif kind == 1:
            made[at : at + 8] = source.choice([bytes(8), b"\xff" * 8, source.randbytes(8)])
        elif kind == 2:
            del made[at : at + source.randrange(1, 64)]
        else:
            del made[at:]
        if not made:
            return b"\0"
    return bytes(made)


def test_mutated_wheels_and_libraries(tmp_path: Path, matrix: Matrix) -> None:
    source = random.Random(20261121)
    whole = {
        "a.whl": made_wheel(tmp_path, members=KERNELS, metadata=METADATA).read_bytes(),
        "b.whl": made_wheel(tmp_path, members=KERNELS, packed=False).read_bytes(),
        "c.so": KERNELS["kernels/lib/libkernels.so"],
        "d.so": KERNELS["kernels/_C.cpython-311-x86_64-linux-gnu.so"],
    }
    read = 0
    messages: list[str] = []
    for number in range(1500):
        name = source.choice(sorted(whole))
        path = put(tmp_path, f"mutated-{name}", _mutated(whole[name], source))
        try:
            found = inspect(path, matrix)
        except InspectError as error:
            messages.append(str(error))
        else:
            read += 1
            if number % 20 == 0:
                render_inspection(found, width=60, color=False, encoding="ascii", verbose=True)
    assert read > 200
    assert all(message.isprintable() for message in messages)
