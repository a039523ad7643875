"""What stands before installed modules on sys.path: with real interpreters and folders, and what is no shadow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envcheck.core.snapshot import Absent, Package, Shadow, Unknown, known
from envcheck.probes import shadows
from envcheck.probes.host import Host
from envcheck.probes.log import Log

REPOSITORY = str(Path(shadows.__file__).parents[2])
ASK = """
import sys, json
site, script, repository, *paths = sys.argv[1:]
sys.argv[:] = [script]
sys.path += [site]
sys.path[0:0] = paths
sys.path.append(repository)
from envcheck.probes import shadows
from envcheck.probes.host import Host
from envcheck.probes.log import Log
import msgspec
from envcheck.core.snapshot import Package
sys.path.remove(repository)
packages = [Package(name=name, version="1.0", location=site) for name in ("torch", "numpy", "scikit-learn", "einops")]
print(msgspec.json.encode(shadows.probe(Host(), Log(), packages)).decode())
"""


class Answering(Host):
    """The live system, with an answer of our choice to ``earlier-modules``."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def query(self, name: str, *arguments: str) -> Any:
        assert name == "earlier-modules"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site folder with torch and numpy, which have compiled modules, and einops and sklearn."""
    folder = tmp_path / "venv" / "site-packages"
    for name, compiled in (("torch", "_C.so"), ("numpy", "_core/multi.so"), ("einops", ""), ("sklearn", "x.so")):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
        if compiled:
            (folder / name / compiled).parent.mkdir(exist_ok=True)
            (folder / name / compiled).touch()
    return folder


def found(
    site: Path,
    *paths: Path,
    here: Path | None = None,
    script: str = "envcheck",
    flags: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
) -> list[Shadow]:
    """What a new interpreter finds: ``paths`` first on its sys.path, started in ``here``."""
    elsewhere = site.parent
    argv = [sys.executable, *flags, "-c", ASK, str(site), script, REPOSITORY, *map(str, paths)]
    extra = {"PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    base = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(argv, cwd=here or elsewhere, env=base | extra, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    return [Shadow(**row) for row in answer] if isinstance(answer, list) else []


def test_a_file_called_torch_where_programs_start(site: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (one,) = found(site, here=tmp_path)
    assert (one.name, one.path, one.via) == ("torch", str(tmp_path / "torch.py"), "the current folder")
    assert (one.package, one.hidden_version, one.hides) == ("torch", "1.0", str(site / "torch"))


def test_python_that_does_not_look_in_the_current_folder(site: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    if sys.version_info >= (3, 11):
        assert found(site, here=tmp_path, flags=("-P",)) == []
    # A program whose folder is another one asks: what lies here is not on its path.
    script = ["import sys; sys.path[0] = '/'", *ASK.splitlines()]
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(script), str(site), "/srv/app.py", REPOSITORY],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["fact"] == "absent"


def test_pythonpath_counts_for_every_program(site: Path, tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").touch()
    (one,) = found(site, env={"PYTHONPATH": str(tmp_path)})
    assert (one.name, one.via, one.package) == ("sklearn", "PYTHONPATH", "scikit-learn")
    (one,) = found(site, here=tmp_path, env={"PYTHONPATH": "."})
    assert one.via == "PYTHONPATH"


def test_a_folder_that_something_put_first(site: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.pyc").touch()
    (one,) = found(site, tmp_path)
    assert (one.name, one.via) == ("numpy", "sys.path")


def test_sources_and_a_whole_build(site: Path, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "einops").mkdir()
    (tmp_path / "einops" / "__init__.py").touch()
    both = {one.name: one.compiled for one in found(site, here=tmp_path)}
    assert both["torch"] is False
    assert both["einops"] == {"fact": "absent", "why": "nor has the one that is meant"}
    (tmp_path / "torch" / "_C.cpython-311-x86_64-linux-gnu.so").touch()
    assert {one.name: one.compiled for one in found(site, here=tmp_path)}["torch"] is True


def test_the_standard_library(site: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets.py").touch()
    (one,) = found(site, here=tmp_path)
    assert (one.name, one.package) == ("secrets", {"fact": "absent", "why": "of the standard library"})
    # The modules of a package: no program is started from there.
    (tmp_path / "__init__.py").touch()
    assert found(site, here=tmp_path) == []


@pytest.mark.parametrize(
    "entries",
    [
        ("torch/model.py", "onnx/export.py", "triton/config.pbtxt"),  # folders of a project, no packages
        ("my_torch.py", "torch_model.py", "numpy.txt", "torch.ipynb", "numpy.py.bak", "torch.pt", "json"),
        ("onnx.py", "tensorflow/__init__.py"),  # neither is installed
        ("test.py", "code.py", "utils.py", "models/__init__.py", "datasets/__init__.py", "tests/__init__.py"),
        ("src/numpy/__init__.py", "conftest.py", "pyproject.toml", "setup.py"),
        ("numpy.libs/libscipy.so", "torch-2.0.dist-info/METADATA"),
    ],
)
def test_what_hides_nothing(site: Path, tmp_path: Path, entries: tuple[str, ...]) -> None:
    for entry in entries:
        (tmp_path / entry).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / entry).touch()
    assert found(site, here=tmp_path) == []
    assert found(site, env={"PYTHONPATH": str(tmp_path)}) == []


def test_the_installed_package_itself(site: Path, tmp_path: Path) -> None:
    assert found(site, here=site) == []
    link = tmp_path / "link"
    link.symlink_to(site)
    assert found(site, env={"PYTHONPATH": str(link)}) == []
    # Installed in place: only a list of it is in the site folder.
    (site / "torch" / "_C.so").unlink()
    (site / "torch" / "__init__.py").unlink()
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    assert found(site, here=tmp_path) == []


def test_a_folder_of_data_is_not_listed_to_its_end(site: Path, tmp_path: Path) -> None:
    for number in range(shadows.MOST_NAMES + 50):
        (tmp_path / f"image-{number}").touch()
    (tmp_path / "torch.py").touch()
    assert [one.name for one in found(site, here=tmp_path)] == ["torch"]


def test_folders_that_cannot_be_listed(site: Path, tmp_path: Path) -> None:
    assert found(site, tmp_path / "gone") == []
    (tmp_path / "file").touch()
    assert found(site, tmp_path / "file") == []


def copies(answer: Mapping[str, Any], *packages: tuple[str, str, Path]) -> list[Shadow]:
    rows = [Package(name=name, version=version, location=str(location)) for name, version, location in packages]
    answer = {"rows": [], "user": "", "named": [], **answer}
    return known(shadows.probe(Answering(answer), Log(), rows)) or []


def test_a_second_copy_before_the_environments_own(tmp_path: Path) -> None:
    user, conda = tmp_path / "user", tmp_path / "conda"
    two = (("numpy", "2.1.0", user), ("numpy", "1.26.4", conda))
    (one,) = copies({"user": str(user)}, *two)
    assert (one.name, one.path, one.hides) == ("numpy", str(user), str(conda))
    assert (one.version, one.hidden_version, one.via) == ("2.1.0", "1.26.4", "the user's site folder")
    (one,) = copies({"named": [str(user)]}, *two)
    assert one.via == "PYTHONPATH"
    # As a distribution's own Python has it: /usr/local before /usr/lib.
    assert copies({}, *two) == []
    assert copies({"named": [str(conda)]}, *two) == []
    assert copies({"user": str(user)}, ("numpy", "1.26.4", user), ("numpy", "1.26.4", conda)) == []
    assert copies({"user": str(user)}, ("leftpad", "2", user), ("leftpad", "1", conda)) == []


def test_answers_that_are_none() -> None:
    assert isinstance(shadows.probe(Answering(OSError(5, "no")), Log(), []), Unknown)
    assert isinstance(shadows.probe(Answering(None), Log(), []), Unknown)
    assert shadows.probe(Answering({}), Log(), Unknown("not read")) == Absent("nothing stands before what is installed")
