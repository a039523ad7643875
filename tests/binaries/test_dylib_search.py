"""dyld's search, re-enacted on made files below a root."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from made_macho import X86_64, dylib, universal

from envcheck.binaries.dylib_search import DylibProcess

SYSTEM = "/usr/lib/libSystem.B.dylib"


def mac(
    root: Path, files: Mapping[str, bytes], env: Mapping[str, str] | None = None, executable: str = ""
) -> DylibProcess:
    for name, data in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return DylibProcess(root=str(root), env=env, executable=executable)


def test_loader_path_and_the_shared_cache(tmp_path: Path) -> None:
    files = {"/v/sk/utils/_h.so": dylib((SYSTEM, "@loader_path/../.dylibs/libomp.dylib"), kind=8),
             "/v/sk/.dylibs/libomp.dylib": dylib((SYSTEM,), id="/DLC/sk/.dylibs/libomp.dylib")}  # fmt: skip
    load = mac(tmp_path, files).load("/v/sk/utils/_h.so")
    assert load.error == ""
    assert [(one.name, one.where, one.path) for one in load.needs] == [
        (SYSTEM, "system", SYSTEM),
        ("@loader_path/../.dylibs/libomp.dylib", "file", "/v/sk/utils/../.dylibs/libomp.dylib"),
        (SYSTEM, "system", SYSTEM),
    ]


def test_rpaths_of_the_whole_chain(tmp_path: Path) -> None:
    """The nearest first; then those of the files that led there, up to the program."""
    files = {"/v/t/_C.so": dylib(("@rpath/liba.dylib",), rpaths=("@loader_path/lib", "@loader_path/far"), kind=8),
             "/v/t/lib/liba.dylib": dylib(("@rpath/libb.dylib", "@rpath/libc.dylib", "@rpath/libd.dylib"),
                                          id="@rpath/liba.dylib", rpaths=("@loader_path/near",)),
             "/v/t/lib/near/libb.dylib": dylib(id="@rpath/libb.dylib"), "/v/t/far/libb.dylib": dylib(),
             "/v/t/far/libc.dylib": dylib(), "/py/lib/libd.dylib": dylib(),
             "/py/bin/python": dylib(rpaths=("@executable_path/../lib",), kind=2)}  # fmt: skip
    load = mac(tmp_path, files, executable="/py/bin/python").load("/v/t/_C.so")
    assert {one.name: one.path for one in load.needs} == {
        "@rpath/liba.dylib": "/v/t/lib/liba.dylib",
        "@rpath/libb.dylib": "/v/t/lib/near/libb.dylib",
        "@rpath/libc.dylib": "/v/t/far/libc.dylib",
        "@rpath/libd.dylib": "/py/bin/../lib/libd.dylib",
    }
    load = mac(tmp_path, {}).load("/v/t/_C.so")
    assert [one.name for one in load.missing] == ["@rpath/libd.dylib"]
    assert load.error.startswith("Library not loaded: @rpath/libd.dylib, needed by /v/t/lib/liba.dylib: tried: ")


def test_missing_libraries_and_weak_ones(tmp_path: Path) -> None:
    needs = ("/opt/homebrew/lib/libx.dylib", "@rpath/liby.dylib", "/usr/local/lib/libz.dylib")
    process = mac(tmp_path, {"/v/_C.so": dylib(needs, weak=("@loader_path/libw.dylib",))})
    load = process.load("/v/_C.so")
    assert [(one.name, one.absolute) for one in load.missing] == [(needs[0], True), (needs[1], False), (needs[2], True)]
    assert load.missing[1].problem == "no LC_RPATH's found"
    assert [(one.name, one.weak, one.where) for one in load.needs][-1] == ("@loader_path/libw.dylib", True, "missing")
    load = mac(tmp_path, {"/v/_D.so": dylib((), weak=("@loader_path/libw.dylib",))}).load("/v/_D.so")
    assert (load.error, load.missing) == ("", [])
    assert "no such file" in process.load("/v/none.so").error


def test_what_is_loaded_already_serves_by_its_install_name(tmp_path: Path) -> None:
    """An extension of torch without any LC_RPATH lives on what torch has loaded."""
    files = {"/v/torch/lib/libtorch.dylib": dylib(id="@rpath/libtorch.dylib"),
             "/v/x/_C.so": dylib(("@rpath/libtorch.dylib", "@loader_path/../torch/lib/libtorch.dylib"))}  # fmt: skip
    process = mac(tmp_path, files)
    assert process.load("/v/x/_C.so").missing
    assert not process.load("/v/torch/lib/libtorch.dylib").error
    found = process.load("/v/x/_C.so").needs
    assert [(one.where, one.path) for one in found] == [("loaded", "/v/torch/lib/libtorch.dylib")] * 2


def test_environment_variables(tmp_path: Path) -> None:
    files = {"/v/_C.so": dylib(("/opt/lib/libx.dylib",), sdk=12), "/opt/lib/libx.dylib": dylib(),
             "/mine/libx.dylib": dylib(), "/usr/local/lib/liby.dylib": dylib(),
             "/v/_D.so": dylib(("/gone/liby.dylib",), sdk=12), "/v/_E.so": dylib(("/gone/liby.dylib",), sdk=13),
             "/v/_F.so": dylib(("/gone/F.framework/Versions/A/F",)),
             "/fw/F.framework/Versions/A/F": dylib()}  # fmt: skip

    def taken(path: str, **env: str) -> str:
        return mac(tmp_path, files, env=env).load(path).needs[0].path

    assert taken("/v/_C.so") == "/opt/lib/libx.dylib"
    assert taken("/v/_C.so", DYLD_LIBRARY_PATH="/none:/mine") == "/mine/libx.dylib"
    assert taken("/v/_C.so", DYLD_FALLBACK_LIBRARY_PATH="/mine") == "/opt/lib/libx.dylib"
    # Without the variable, only files of older SDKs look there.
    assert taken("/v/_D.so") == "/usr/local/lib/liby.dylib"
    assert taken("/v/_E.so") == ""
    assert taken("/v/_E.so", DYLD_FALLBACK_LIBRARY_PATH="/usr/local/lib") == "/usr/local/lib/liby.dylib"
    assert taken("/v/_F.so") == ""
    assert taken("/v/_F.so", DYLD_FRAMEWORK_PATH="/fw") == "/fw/F.framework/Versions/A/F"


def test_another_architecture_is_passed_over(tmp_path: Path) -> None:
    intel = dylib(id="@rpath/libx.dylib", machine=X86_64)
    files = {"/v/_C.so": dylib(("@rpath/libx.dylib",), rpaths=("@loader_path/intel", "@loader_path/both")),
             "/v/intel/libx.dylib": intel, "/v/both/libx.dylib": universal(intel, dylib(id="@rpath/libx.dylib")),
             "/v/_D.so": dylib(("@loader_path/intel/libx.dylib",)), "/v/text.so": b"text"}  # fmt: skip
    process = mac(tmp_path, files)
    assert process.load("/v/_C.so").needs[0].path == "/v/both/libx.dylib"
    [one] = mac(tmp_path, {}).load("/v/_D.so").missing
    assert "incompatible architecture (have 'x86_64', need 'arm64')" in one.problem
    assert "not a usable Mach-O file" in process.load("/v/text.so").error


@pytest.mark.parametrize("count", [2, 2000])
def test_circles_and_long_chains(tmp_path: Path, count: int) -> None:
    files = {f"/v/l{n}.dylib": dylib((f"@loader_path/l{(n + 1) % count}.dylib",)) for n in range(count)}
    load = mac(tmp_path, files).load("/v/l0.dylib")
    assert (len(load.needs), load.error) == (count, "")
