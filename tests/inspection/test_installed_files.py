"""``inspect PACKAGE``: which files are missing, changed, or claimed by another package."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from envcheck.inspection import Inspection, installed
from envcheck.inspection.model import ChangedFile, InstalledFiles, Wheel
from envcheck.render.inspection import render_inspection


def digest(content: bytes) -> str:
    return f"sha256={urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()}"


def install(site: Path, name: str, files: dict[str, bytes]) -> str:
    """The text of RECORD."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    record = "".join(f"{path},{digest(content)},{len(content)}\n" for path, content in files.items())
    (info / "RECORD").write_text(record)
    return record


def examine(site: Path, name: str, record: str, installer: str = "pip\n") -> InstalledFiles:
    return installed.examine(name, str(site), record, installer, lambda step: None)


def states(found: InstalledFiles) -> dict[str, tuple[str, str]]:
    return {one.path: (one.state, one.owner) for one in found.changed}


def test_as_installed(tmp_path: Path) -> None:
    record = install(tmp_path / "lib", "tool", {"tool/a.py": b"1", "../share/b": b"2", "../bin/tool": b"#!"})
    (tmp_path / "bin/tool").write_bytes(b"#!/moved/bin/python")
    found = examine(tmp_path / "lib", "tool", record)
    assert found == InstalledFiles(source="RECORD", number=2, hashed=2)


def test_missing_changed_and_overwritten(tmp_path: Path) -> None:
    names = ("gone.py", "longer.py", "other.py", "taken.so", "size.so")
    record = install(tmp_path, "one", {**{f"m/{name}": b"1234" for name in names}, "m/__init__.py": b""})
    install(tmp_path, "two", {"m/taken.so": b"4321", "m/size.so": b"54321", "n.py": b"", "m/__init__.py": b""})
    (tmp_path / "m/gone.py").unlink()
    (tmp_path / "m/longer.py").write_bytes(b"12345")
    (tmp_path / "m/other.py").write_bytes(b"abcd")
    found = examine(tmp_path, "one", record)
    assert states(found) == {
        "m/gone.py": ("missing", ""),
        "m/longer.py": ("size", ""),
        "m/other.py": ("hash", ""),
        "m/taken.so": ("hash", "two"),
        "m/size.so": ("size", "two"),
    }
    assert found.shared == {"two": 2}
    inspection = Inspection(subject="one", kind="package", distribution=Wheel(name="one", version="1.0"), files=found)
    text = " ".join(render_inspection(inspection, width=100, color=False).split())
    assert "missing: m/gone.py" in text
    assert "changed in size: m/size.so, 5 bytes, not 4, the file of two is there" in text
    assert "two lists 2 of these files too" in text
    assert "1 of 6 files have the content that was installed" in text


def test_the_time_limit_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "HASH_SECONDS", -1.0)
    found = examine(tmp_path, "tool", install(tmp_path, "tool", {"a.py": b"1", "b.py": b"22"}))
    assert (found.hashed, found.not_hashed, found.why) == (0, 2, "time limit of -1 s")
    assert not found.changed


def test_an_unknown_algorithm_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    found = examine(tmp_path, "tool", "a,rot13=1,1\na,\n,,,\n")
    assert (found.not_hashed, found.why) == (1, "hash algorithm 'rot13' is not known")


def test_a_damaged_list(tmp_path: Path) -> None:
    """A FIFO, a folder and a name with NUL in the place of files: neither a hang nor a crash."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    found = examine(tmp_path, "tool", f"pipe,{digest(b'')},0\nfolder,{digest(b'')},\na\0b,{digest(b'')},0\n")
    assert {one.state for one in found.changed} == {"unreadable", "missing"}
    assert len(found.changed) == 3


def conda(prefix: Path, name: str, paths: list[dict[str, object]]) -> None:
    (prefix / "conda-meta").mkdir(exist_ok=True)
    text = json.dumps({"name": name, "paths_data": {"paths": paths, "paths_version": 1}})
    (prefix / f"conda-meta/{name}-1.0-py311_0.json").write_text(text)


def entry(path: str, content: bytes, **more: object) -> dict[str, object]:
    written = hashlib.sha256(content).hexdigest()
    return {"_path": path, "path_type": "hardlink", "sha256": written, "sha256_in_prefix": written,
            "size_in_bytes": len(content), **more}  # fmt: skip


def test_conda_writes_its_prefix_into_files(tmp_path: Path) -> None:
    """Their hashes in RECORD do not hold; those in conda-meta do. torch is in the package pytorch."""
    site = tmp_path / "lib/python3.11/site-packages"
    record = install(site, "torch", {"torch/config.py": b"/placehold", "torch/a.so": b"1"})
    (site / "torch/config.py").write_bytes(b"/opt/env")
    (site / "torch-1.0.dist-info/METADATA").write_bytes(b"Name: torch\n")
    below = "lib/python3.11/site-packages"
    relocated = entry(f"{below}/torch/config.py", b"/opt/env", prefix_placeholder="/placehold", size_in_bytes=10)
    (tmp_path / "conda-meta").mkdir()
    for damaged, text in (("apple", "{"), ("pear", '{"paths_data": 3}'), ("plum", "[]")):
        (tmp_path / f"conda-meta/{damaged}-1-0.json").write_text(text)
    link = {"_path": "lib/libtorch.so", "path_type": "softlink", "sha256_in_prefix": "0" * 64}
    metadata = entry(f"{below}/torch-1.0.dist-info/METADATA", b"Name: torch\n")
    conda(tmp_path, "pytorch", [relocated, entry(f"{below}/torch/a.so", b"1"), link, metadata])
    assert examine(site, "torch", record, "conda\n") == InstalledFiles(source="conda-meta", number=3, hashed=3)
    (site / "torch/a.so").write_bytes(b"2")
    (site / "torch/config.py").write_bytes(b"/opt/other")
    assert states(examine(site, "torch", record, "conda\n")) == {
        f"{below}/torch/a.so": ("hash", ""),
        f"{below}/torch/config.py": ("hash", ""),
    }


def test_of_conda_without_its_list(tmp_path: Path) -> None:
    record = install(tmp_path, "tool", {"a.py": b"1"})
    assert examine(tmp_path, "tool", record, "conda").source == "RECORD"
    conda(tmp_path, "other", [])
    assert examine(tmp_path, "tool", record, "conda") == InstalledFiles(source="RECORD", number=1, hashed=1)


def test_a_changed_file_of_unknown_size() -> None:
    one = ChangedFile(path="a", state="unreadable", why="Permission denied")
    found = InstalledFiles(source="RECORD", number=1, changed=[one])
    inspection = Inspection(subject="x", kind="package", distribution=Wheel(name="x", version="1"), files=found)
    assert "can't be read: a, Permission denied" in render_inspection(inspection, width=100, color=False)
