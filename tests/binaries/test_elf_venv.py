"""The ELF reader against pyelftools on every ELF file of a venv: needs, names, versions, search paths, symbols.

A sample of the suite's own venv; ENVCHECK_TEST_SITE names another site-packages, of which all files are taken.
"""

from __future__ import annotations

import os
import random
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from envcheck.binaries import elf
from envcheck.binaries.elf import ElfFile
from envcheck.binaries.symbols import LOOKED_UP, Symbols

SITE = os.environ.get("ENVCHECK_TEST_SITE", "")
TYPES = ("STT_NOTYPE", "STT_OBJECT", "STT_FUNC", "STT_COMMON", "STT_TLS", "STT_GNU_IFUNC", "STT_LOOS")


def files() -> list[Path]:
    found = []
    for path in sorted(Path(SITE or sysconfig.get_path("platlib")).rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    found.append(path)
    return found if SITE else random.Random(3).sample(found, min(12, len(found)))


def theirs(path: Path) -> dict[str, Any]:
    module = pytest.importorskip("elftools.elf.elffile")
    with path.open("rb") as file:
        read = module.ELFFile(file)
        dynamic = read.get_section_by_name(".dynamic")
        tags = list(dynamic.iter_tags()) if dynamic else []
        defined = read.get_section_by_name(".gnu.version_d")
        needed = read.get_section_by_name(".gnu.version_r")
        marks = read.get_section_by_name(".gnu.version")
        table = read.get_section_by_name(".dynsym")
        interpreter = next((s.get_interp_name() for s in read.iter_segments() if s["p_type"] == "PT_INTERP"), None)
        versions = {}
        if defined:
            versions |= {head["vd_ndx"]: next(iter(names)).name for head, names in defined.iter_versions()}
        if needed:
            versions |= {p["vna_other"] & 0x7FFF: p.name for _, parts in needed.iter_versions() for p in parts}
        symbols: dict[str, list[tuple[str, str | None]]] = {"defined": [], "undefined": []}
        for index, symbol in enumerate(table.iter_symbols() if table else ()):
            bind, kind, section = symbol["st_info"]["bind"], symbol["st_info"]["type"], symbol["st_shndx"]
            if bind == "STB_LOCAL" or not symbol.name:
                continue
            mark = marks.get_symbol(index)["ndx"] if marks else 1
            mark = {"VER_NDX_LOCAL": 0, "VER_NDX_GLOBAL": 1}.get(mark, mark) & 0x7FFF
            row = symbol.name, versions.get(mark) if mark > 1 else None
            if section == "SHN_UNDEF":
                symbols["undefined"].append(row)
            elif kind in TYPES and (symbol["st_value"] or kind == "STT_TLS" or section == "SHN_ABS"):
                symbols["defined"].append(row)
        return {
            "soname": next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), None),
            "needed": [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"],
            "rpath": [p for tag in tags if tag.entry.d_tag == "DT_RPATH" for p in tag.rpath.split(":")],
            "runpath": [p for tag in tags if tag.entry.d_tag == "DT_RUNPATH" for p in tag.runpath.split(":")],
            "flags_1": next((tag["d_val"] for tag in tags if tag.entry.d_tag == "DT_FLAGS_1"), 0),
            "interpreter": interpreter,
            "definitions": [next(iter(n)).name for head, n in defined.iter_versions() if not head["vd_flags"] & 1]
            if defined
            else [],
            "needs": {
                head.name: [(part.name, bool(part["vna_flags"] & 2)) for part in parts]
                for head, parts in needed.iter_versions()
            }
            if needed
            else {},
            **{name: sorted(rows, key=str) for name, rows in symbols.items()},
        }


def test_equals_pyelftools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, "MAX_TEXT", 1 << 30)  # all names of the largest libraries
    assert LOOKED_UP
    paths = files()
    if not paths:
        pytest.skip("no ELF files here")
    for path in paths:
        with ElfFile.open(str(path)) as file:
            table = Symbols(file)
            defined = table.defined()
            mine: dict[str, Any] = {
                "soname": file.soname,
                "needed": file.needed,
                "rpath": file.rpath,
                "runpath": file.runpath,
                "flags_1": file.flags_1,
                "interpreter": file.interpreter,
                "definitions": file.version_definitions,
                "needs": file.version_needs,
                "defined": sorted(((s.name, s.version) for s in defined), key=str),
                "undefined": sorted(((s.name, s.version) for s in table.undefined()), key=str),
            }
            chance = random.Random(str(path))
            for symbol in chance.sample(defined, min(50, len(defined))):
                assert symbol in table.find(symbol.name)
            assert table.find("a name that no file has") == []
        assert mine == theirs(path), path
