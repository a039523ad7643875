"""Versions of DLLs of a Windows machine, where their names tell none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from made_pe import dll

from envcheck.core.snapshot import Unknown
from envcheck.probes import libraries
from envcheck.probes.host import Host
from envcheck.probes.log import Log


class WindowsHost(Host):
    """The live system, said to be Windows."""

    def __init__(self, site: Path) -> None:
        super().__init__({})
        self.platform, self.site = "win32", str(site)

    def query(self, name: str, *arguments: str) -> Any:
        return {"site": [self.site], "prefix": ""} if name == "python-info" else super().query(name, *arguments)


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (dll(name="cudnn64_9.dll", version=(9, 10, 2, 21)), "9.10.2"),
        (dll(name="cudnn64_9.dll"), None),
        (dll(name="onnxruntime.dll", version=(1, 2, 3, 4)), None),
        (b"no DLL", None),
    ],
)
def test_the_version_resource_tells(tmp_path: Path, data: bytes, version: str | None) -> None:
    folder = tmp_path / "nvidia/cudnn/bin"
    folder.mkdir(parents=True)
    (folder / "cudnn64_9.dll").write_bytes(data)
    [found] = libraries.probe(WindowsHost(tmp_path), Log(), [])[0]  # type: ignore[misc]
    assert found.name == "cudnn64_9.dll"
    assert found.version == version if version else isinstance(found.version, Unknown)
