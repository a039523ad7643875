"""Libraries of conda: whose they are, and that another environment's are left alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recording import recorded

from envcheck.core.snapshot import Absent, Library, Unknown, known
from envcheck.probes import libraries
from envcheck.probes.conda import split
from envcheck.probes.log import Log

ENV, OTHER = "/opt/conda/envs/dl", "/opt/conda/envs/other"


def meta(*files: str) -> str:
    """As conda enhancement proposal "Management and structure of conda environments" describes it."""
    paths = [{"_path": file, "path_type": "hardlink", "sha256": "0" * 64, "size_in_bytes": 1} for file in files]
    return json.dumps({"files": list(files), "paths_data": {"paths": paths, "paths_version": 1}}, indent=2)


def find(tmp_path: Path, info: dict[str, Any], env: dict[str, str], **recording: Any) -> dict[str, Library]:
    host = recorded(tmp_path, queries={"python-info": {"site": [], **info}}, env=env, **recording)
    return {library.name: library for library in known(libraries.probe(host, Log(), [])[0]) or []}


def test_the_name_of_a_package_with_dashes() -> None:
    assert split("cuda-cudart-12.4.127-h3f2d84a_0.json") == ("cuda-cudart", "12.4.127")
    assert split("history") is None
    assert split("odd.json") is None


def test_owner_and_version(tmp_path: Path) -> None:
    """A soname tells no version; the package that lists the file does, unless it is the whole toolkit in one."""
    files = {
        f"{ENV}/conda-meta/libcufft-11.2.1.3-h1_0.json": meta("lib/libcufft.so.11"),
        f"{ENV}/conda-meta/cudnn-9.1.0.70-h2_0.json": meta("lib/libcudnn.so.9.1.0", "lib/libcudnn.so.9"),
        f"{ENV}/conda-meta/cudatoolkit-11.3.1-h3_0.json": meta("lib/libcurand.so.10"),
        f"{ENV}/conda-meta/nccl-2.21.5-h4_0.json": meta("lib/libnccl.so.2.21.5"),
    }
    there = ("libcufft.so.11", "libcudnn.so.9.1.0", "libcurand.so.10", "libnccl.so.2")
    found = find(
        tmp_path,
        {"prefix": ENV, "base_prefix": ENV},
        {"CONDA_PREFIX": ENV},
        files=files,
        links={f"{ENV}/lib/libcudnn.so.9": "libcudnn.so.9.1.0"},
        others=[f"{ENV}/lib/{name}" for name in there],
    )
    assert (found["libcufft.so.11"].package, found["libcufft.so.11"].version) == ("libcufft", "11.2.1.3")
    assert (found["libcudnn.so.9"].package, found["libcudnn.so.9"].version) == ("cudnn", "9.1.0")
    assert found["libcurand.so.10"].package == "cudatoolkit"
    assert isinstance(found["libcurand.so.10"].version, Unknown)
    assert isinstance(found["libnccl.so.2"].package, Absent)
    assert {library.origin for library in found.values()} == {"conda"}


def test_an_activated_environment_that_is_not_the_one_of_this_python(tmp_path: Path) -> None:
    """A venv's Python does not look into what conda activated; its libraries would be found in vain."""
    files = {f"{OTHER}/conda-meta/history": ""}
    others = [f"{OTHER}/lib/libcudnn.so.9.1.0"]
    env = {"CONDA_PREFIX": OTHER}
    assert not find(tmp_path / "a", {"prefix": "/venv", "base_prefix": "/usr"}, env, files=files, others=others)
    assert find(tmp_path / "b", {}, env, files=files, others=others)


def test_a_venv_on_top_of_conda(tmp_path: Path) -> None:
    found = find(
        tmp_path,
        {"prefix": "/venv", "base_prefix": ENV},
        {},
        files={f"{ENV}/conda-meta/history": ""},
        others=[f"{ENV}/lib/libcudnn.so.9.1.0"],
    )
    assert found["libcudnn.so.9.1.0"].origin == "conda"
