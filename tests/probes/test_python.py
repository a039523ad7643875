"""The interpreter and the wheels it accepts."""

from __future__ import annotations

import sys
from pathlib import Path

import packaging.tags
import packaging.version
import pytest
from recording import recorded

from envcheck.core.snapshot import Unknown
from envcheck.probes import python
from envcheck.probes.host import Host
from envcheck.probes.log import Log


def test_platform_tags_equal_those_of_packaging() -> None:
    theirs = list(packaging.tags.platform_tags())
    mine = python.live_tags()
    assert sorted(mine) == sorted(theirs)
    # Older versions of packaging put linux_* last.
    if theirs[0].startswith("linux_"):
        assert mine == theirs


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "ppc64le"])
def test_the_short_way_equals_packaging_elsewhere(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if python.manylinux_tags() is None:
        pytest.skip("not a 64-bit CPython on Linux with glibc")
    import os
    import sysconfig
    from collections import namedtuple

    Name = namedtuple("Name", "sysname nodename release version machine")
    monkeypatch.setattr(os, "uname", lambda: Name("Linux", "h", "5", "1", arch))
    monkeypatch.setattr(sysconfig, "get_platform", lambda: f"linux-{arch}")
    assert sorted(python.manylinux_tags() or []) == sorted(packaging.tags.platform_tags())


def test_packaging_decides_where_the_short_way_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "manylinux_tags", lambda: None)
    assert python.live_tags() == list(packaging.tags.platform_tags())


def test_what_the_short_way_leaves_to_packaging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if python.manylinux_tags() is None:
        pytest.skip("not a 64-bit CPython on Linux with glibc")
    with monkeypatch.context() as patch:
        patch.setenv("_PYTHON_HOST_PLATFORM", "linux-armv7l")
        assert python.manylinux_tags() is None
    with monkeypatch.context() as patch:
        (tmp_path / "_manylinux.py").write_text("manylinux1_compatible = False\n")
        patch.syspath_prepend(str(tmp_path))
        assert python.manylinux_tags() is None
    with monkeypatch.context() as patch:
        patch.setattr("os.confstr", lambda name: None)
        assert python.manylinux_tags() is None


def test_abi_equals_that_of_packaging() -> None:
    assert python.abi() == next(iter(packaging.tags.sys_tags())).abi


def test_here() -> None:
    found = python.probe(Host(), Log())
    assert found.version == packaging.version.Version(found.version).__str__()
    assert found.implementation == sys.implementation.name
    assert found.environment in ("venv", "conda", "system")
    assert found.prefix == sys.prefix
    assert found.bits == (64 if sys.maxsize > 2**32 else 32)


def test_no_answer(tmp_path: Path) -> None:
    found = python.probe(recorded(tmp_path), Log())
    assert isinstance(found.version, Unknown)
    assert isinstance(found.platform_tags, Unknown)


def test_what_else_a_program_puts_into_sys_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [5, None, b"/bytes/site-packages", "nul\0/site-packages", "", str(site)])
    assert python.site_folders() == [str(site)]
