"""The evidence on an environment: the quick look against the exact search, on made and on real files."""

from __future__ import annotations

import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import made_elf
import pytest

from envcheck.binaries.decisive import DECISIVE, IMPORT, OPTIONAL, PLUGIN
from envcheck.binaries.evidence import Environment
from envcheck.binaries.importers import IMPORTERS
from envcheck.binaries.screen import Doubt, Screen, floors, key

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF files of Linux")
GLIBC = (2, 36)


def put(path: Path, *needed: str, soname: str | None = "", **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made_elf.library(path.name if soname == "" else soname, needed, **more))
    return path


def torch(site: Path, *needed: str, **more: Any) -> None:
    put(site / "torch/lib/libc10.so", "libc.so.6", runpath="$ORIGIN")
    put(site / "torch/lib/libtorch_python.so", "libc10.so", *needed, runpath="$ORIGIN", **more)


def read(site: Path, *packages: str, **options: Any) -> dict[str, dict[str, Any]]:
    environment = Environment(str(site), suffixes=[".abi3.so", ".so"], libc=GLIBC, **options)
    return {record["path"]: record for record in environment.read(packages)}


def test_all_is_well(tmp_path: Path) -> None:
    torch(tmp_path, "libm.so.6", needs={"libm.so.6": ("GLIBC_2.29",), "libc.so.6": ("GLIBC_2.2.5",)})
    found = read(tmp_path, "torch", "numpy", "unheard-of")
    assert list(found) == ["torch/lib/libtorch_python.so"]
    record = found["torch/lib/libtorch_python.so"]
    assert "missing" not in record  # the quick look was enough
    assert record["needs"] == ["libm.so.6", "libc.so.6"]
    assert record["versions"] == [{"name": "GLIBC_2.29", "by": "torch/lib/libtorch_python.so"}]
    assert {"name": "libc10.so", "path": "torch/lib/libc10.so"} in record["loads"]


def test_all_missing_libraries_are_named(tmp_path: Path) -> None:
    torch(tmp_path, "libnowhere.so.1", "libneither.so.2")
    record = read(tmp_path, "torch")["torch/lib/libtorch_python.so"]
    assert [(need["name"], need["by"]) for need in record["missing"]] == [
        ("libnowhere.so.1", "torch/lib/libtorch_python.so"),
        ("libneither.so.2", "torch/lib/libtorch_python.so"),
    ]
    assert record["missing"][0]["why"] == "cannot open shared object file: No such file or directory"
    assert "libnowhere.so.1" in record["needs"]


def test_a_symbol_version_that_the_c_library_lacks(tmp_path: Path) -> None:
    torch(tmp_path, "libm.so.6", needs={"libm.so.6": ("GLIBC_9.99",)})
    record = read(tmp_path, "torch")["torch/lib/libtorch_python.so"]
    assert [(lack["name"], lack["by"]) for lack in record["lacking"]] == [
        ("GLIBC_9.99", "torch/lib/libtorch_python.so")
    ]


def test_library_path_puts_another_file_in_the_way(tmp_path: Path) -> None:
    torch(tmp_path)
    decoy = put(tmp_path / "decoys/libc10.so", "libc.so.6")
    record = read(tmp_path, "torch", env={"LD_LIBRARY_PATH": str(decoy.parent)})["torch/lib/libtorch_python.so"]
    (other,) = record["elsewhere"]
    assert (other["name"], other["why"], other["step"]) == ("libc10.so", "torch/lib/libc10.so", "library-path")


def test_a_library_path_without_any_of_the_names_costs_no_exact_search(tmp_path: Path) -> None:
    torch(tmp_path)
    put(tmp_path / "other/libother.so")
    path = f"{tmp_path}/other:{tmp_path}/not-there"
    assert "missing" not in read(tmp_path, "torch", env={"LD_LIBRARY_PATH": path})["torch/lib/libtorch_python.so"]
    for odd in ("", f":{tmp_path}", "relative"):
        record = read(tmp_path, "torch", env={"LD_LIBRARY_PATH": odd})["torch/lib/libtorch_python.so"]
        assert ("missing" in record) == bool(odd)


def test_an_extension_without_torch_says_nothing(tmp_path: Path) -> None:
    put(tmp_path / "torchvision/_C.so", "libc10.so")
    assert read(tmp_path, "torchvision") == {}


def test_an_extension_finds_what_torch_loaded(tmp_path: Path) -> None:
    torch(tmp_path)
    put(tmp_path / "torch/lib/libtorch_global_deps.so", "libc.so.6", runpath="$ORIGIN")
    put(tmp_path / "torch/_C.abi3.so", "libtorch_python.so", soname=None, runpath="$ORIGIN/lib")
    put(tmp_path / "torchvision/_C.so", "libc10.so", "libc10_cuda.so")
    record = read(tmp_path, "torch", "torchvision")["torchvision/_C.so"]
    assert [need["name"] for need in record["missing"]] == ["libc10_cuda.so"]


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF" + bytes(200), made_elf.library("libx.so")[:100]])
def test_a_damaged_file_is_said_to_be(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "torch/lib").mkdir(parents=True)
    (tmp_path / "torch/lib/libtorch_python.so").write_bytes(data)
    assert read(tmp_path, "torch")["torch/lib/libtorch_python.so"]["error"]


def test_the_quick_look_doubts_what_it_cannot_settle(tmp_path: Path) -> None:
    for needed, more in (
        (("libnowhere.so.1",), {}),
        (("sub/libx.so",), {}),
        (("libx.so",), {"runpath": "$LIB/x"}),
        (("libx.so",), {"runpath": "::/tmp"}),
    ):
        root = put(tmp_path / "libroot.so", *needed, **more)
        with pytest.raises(Doubt):
            Screen(GLIBC).closure(str(root))
    with pytest.raises(Doubt):
        Screen(()).closure(str(root))


def test_circles_end(tmp_path: Path) -> None:
    put(tmp_path / "liba.so", "libb.so", runpath="$ORIGIN")
    put(tmp_path / "libb.so", "liba.so", "libb.so", runpath="$ORIGIN")
    found = Screen(GLIBC).closure(str(tmp_path / "liba.so"))
    assert [head.soname for head in found.heads] == ["liba.so", "libb.so"]


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    assert key("2.34") > key("2.4")
    assert key("PRIVATE") > key("99")
    root = put(tmp_path / "libroot.so", "libc.so.6", needs={"libc.so.6": ("GLIBC_2.4", "GLIBC_2.17", "GLIBC_PRIVATE")})
    head = Screen(GLIBC).head(str(root))
    assert floors([head]) == {"GLIBC_2.17": str(root)}


def test_the_tables_agree() -> None:
    for name, one in DECISIVE.items():
        assert {role for _, role in one.files} <= {IMPORT, PLUGIN, OPTIONAL}, name
        assert not one.after or one.after in DECISIVE, name
        assert not one.steps or one.steps in IMPORTERS, name


def test_the_quick_look_agrees_with_the_exact_search_here() -> None:
    """On this interpreter's own packages."""
    site = sysconfig.get_path("platlib")
    quick, exact = (
        {
            record["path"]: record
            for record in Environment(
                site, suffixes=EXTENSION_SUFFIXES, program=sys.executable, libc=GLIBC, exact=exact, gpu_code=False
            ).read(DECISIVE)
        }
        for exact in (False, True)
    )
    assert quick.keys() == exact.keys()
    for path, record in quick.items():
        for answer in (record, exact[path]):
            assert not answer.get("missing"), answer
            assert not answer.get("lacking"), answer
        assert set(record["needs"]) <= set(exact[path]["needs"])  # which opens the system's libraries as well
        assert sorted(map(str, record["versions"])) == sorted(map(str, exact[path]["versions"]))
