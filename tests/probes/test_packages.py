"""Installed distributions: from real folders, whole, doubled, damaged."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from envcheck.core.snapshot import Absent, FileClash, Package, Unknown, known
from envcheck.probes import packages
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import canonical


class Environment(Host):
    """The live system, with site folders of our choice."""

    def __init__(self, *sites: Path, conda: Path | None = None) -> None:
        super().__init__()
        self.info: dict[str, Any] = {"site": [str(site) for site in sites], "conda": bool(conda)}
        if conda:
            self.info["prefix"] = str(conda)

    def query(self, name: str, *arguments: str) -> Any:
        if name in ("sizes", "hashes"):
            return super().query(name, *arguments)
        assert name == "python-info"
        return self.info


def install(site: Path, name: str, version: str, head: str = "", record: str = "") -> Path:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{head}\n# README\n\nRequires-Dist: in-the-body\n"
    (folder / "METADATA").write_text(text)
    (folder / "RECORD").write_text(record)
    (folder / "INSTALLER").write_text("conda\n")
    return folder


def find(*sites: Path, conda: Path | None = None) -> list[Package]:
    found, _ = packages.probe(Environment(*sites, conda=conda), Log())
    assert not isinstance(found, Unknown)
    return found


def only(site: Path) -> Package:
    (package,) = find(site)
    return package


def test_a_distribution(tmp_path: Path) -> None:
    head = (
        "Requires-Python: >=3.9\nClassifier: x\n"
        "Requires-Dist: numpy>=1.24,<3\n"
        'Requires-Dist: triton==3.1.0 ; platform_system == "Linux"\n'
        'Requires-Dist: opt-einsum>=3.3; extra == "opt-einsum"\n'
        'Requires-Dist: nvidia-cudnn-cu13~=9.0; extra == "cudnn"\n'
        "Provides-Extra: opt-einsum\n"
        "Requires-Dist: a; extra == 'x' or os_name == 'nt'\n"
    )
    install(tmp_path, "Torch", "2.5.1+cu124", head)
    assert only(tmp_path) == Package(
        name="torch",
        version="2.5.1+cu124",
        local="cu124",
        requires=[
            "numpy>=1.24,<3",
            'triton==3.1.0 ; platform_system == "Linux"',
            'nvidia-cudnn-cu13~=9.0; extra == "cudnn"',
            "a; extra == 'x' or os_name == 'nt'",
        ],
        requires_python=">=3.9",
        location=str(tmp_path),
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_head_longer_than_the_first_read(tmp_path: Path, newline: str) -> None:
    folder = install(tmp_path, "scipy", "1.17.1")
    lines = ["Name: scipy", *("License:  text" for _ in range(3000)), "Requires-Dist: numpy<2.8", "", "body"]
    (folder / "METADATA").write_bytes(newline.join(lines).encode())
    assert only(tmp_path).requires == ["numpy<2.8"]


def test_metadata_without_a_body(tmp_path: Path) -> None:
    folder = install(tmp_path, "nest-asyncio2", "1.7.4")
    (folder / "METADATA").write_text("Name: x\nRequires-Python: >=3.5")
    assert (only(tmp_path).requires, only(tmp_path).requires_python) == ([], ">=3.5")


@pytest.mark.parametrize(
    ("entry", "name", "version"),
    [
        ("typing_extensions-4.16.0.dist-info", "typing-extensions", "4.16.0"),
        ("nvidia_cublas_cu12-12.4.5.8.dist-info", "nvidia-cublas-cu12", "12.4.5.8"),
        ("ruamel.yaml-0.18.dist-info", "ruamel-yaml", "0.18"),
        ("protobuf-3.20.3-py3.10-linux-x86_64.egg-info", "protobuf", "3.20.3"),
        ("foo_bar-1.0-py3.8.egg-info", "foo-bar", "1.0"),
        ("apex-0.1-py3.10.egg", "apex", "0.1"),
        ("old-1.0.post1_local.dist-info", "old", Unknown("it reads '1.0.post1_local'")),
        ("legacy-1.0_1.dist-info", "legacy", "1.0-1"),
        ("noversion.dist-info", "noversion", Unknown("noversion.dist-info does not name it")),
    ],
)
def test_names_of_metadata_folders(tmp_path: Path, entry: str, name: str, version: Any) -> None:
    folder = tmp_path / entry / ("EGG-INFO" if entry.endswith(".egg") else "")
    folder.mkdir(parents=True)
    (folder / ("METADATA" if entry.endswith("dist-info") else "PKG-INFO")).write_text(
        "Name: x\nRequires-Dist: numpy\n\n"
    )
    package = only(tmp_path)
    assert (package.name, package.version) == (name, version)
    assert package.requires == ["numpy"]


def test_a_single_egg_info_file(tmp_path: Path) -> None:
    (tmp_path / "distro-1.8.0.egg-info").write_text("Name: distro\nVersion: 1.8.0\nRequires-Python: >=3.6\n")
    package = only(tmp_path)
    assert (package.version, package.requires, package.requires_python) == ("1.8.0", [], ">=3.6")


def test_an_egg_info_folder_without_a_version(tmp_path: Path) -> None:
    folder = tmp_path / "mmcv.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: mmcv\nVersion: 1.7.1\n")
    (folder / "requires.txt").write_text("addict\nnumpy>=1.20\n\n[all]\nonnx\n")
    package = only(tmp_path)
    assert (package.version, package.requires) == ("1.7.1", ["addict", "numpy>=1.20"])


def test_installed_in_place(tmp_path: Path) -> None:
    source, site = tmp_path / "src", tmp_path / "site"
    (source / "my_model.egg-info").mkdir(parents=True)
    (source / "my_model.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 1\nVersion: 0.3\nRequires-Dist: torch\n\n"
    )
    site.mkdir()
    (site / "my-model.egg-link").write_text(f"{source}\n.\n")
    (site / "gone.egg-link").write_text("/nowhere\n.\n")
    found = {package.name: package for package in find(site)}
    assert (found["my-model"].version, found["my-model"].requires) == ("0.3", ["torch"])
    assert found["my-model"].location == str(source)
    assert found["gone"].version == Unknown("installed in place")


def test_the_copy_that_an_import_takes_comes_first(tmp_path: Path) -> None:
    user, system = tmp_path / "user", tmp_path / "system"
    install(user, "numpy", "2.1.0")
    install(system, "numpy", "1.21.5")
    found = find(user, system, tmp_path / "missing")
    assert [(package.version, package.location) for package in found] == [
        ("2.1.0", str(user)),
        ("1.21.5", str(system)),
    ]


def test_one_folder_under_two_names(tmp_path: Path) -> None:
    install(tmp_path / "lib", "numpy", "2.1.0")
    (tmp_path / "lib64").symlink_to(tmp_path / "lib")
    assert len(find(tmp_path / "lib64", tmp_path / "lib")) == 1


def test_an_emptied_metadata_folder_comes_last(tmp_path: Path) -> None:
    (tmp_path / "numpy-1.26.4.dist-info").mkdir()
    install(tmp_path, "numpy", "2.1.0")
    (tmp_path / "zeroed-1.0.dist-info").mkdir()
    (tmp_path / "zeroed-1.0.dist-info" / "METADATA").write_bytes(b"\0" * 400)
    found = find(tmp_path)
    assert [(package.name, package.version) for package in found] == [
        ("numpy", "2.1.0"),
        ("numpy", Unknown("numpy-1.26.4.dist-info has no metadata")),
        ("zeroed", Unknown("the metadata of zeroed-1.0.dist-info are empty")),
    ]


def test_what_an_interrupted_pip_left_behind(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.5.1")
    for name in ("~orch", "~orch-2.1.0.dist-info", "~~mpy", "-umpy-1.2.dist-info", "__pycache__"):
        (tmp_path / name).mkdir()
    log = Log()
    found, _ = packages.probe(Environment(tmp_path), log)
    assert [(package.name, known(package.version)) for package in known(found) or []] == [
        ("torch", "2.5.1"),
        ("umpy", None),
        ("~orch", None),
        ("~~mpy", None),
    ]
    assert [run.detail for run in log.runs if run.status == "failed"] == [
        "umpy was left behind by an interrupted pip",
        "~orch was left behind by an interrupted pip",
        "~~mpy was left behind by an interrupted pip",
    ]


def test_conda(tmp_path: Path) -> None:
    site, meta = tmp_path / "lib", tmp_path / "conda-meta"
    install(site, "numpy", "2.1.0")
    meta.mkdir()
    for name in (
        *("cudatoolkit-11.3.1-h2bc3f7f_2.json", "numpy-2.1.0-py311_0.json", "pytorch-cuda-11.8-h7e8668a_5.json"),
        *("history", "readline-8.2-h_0.json", "_openmp_mutex-4.5-2_kmp_llvm.json", "odd.json"),
    ):
        (meta / name).touch()
    found = {package.name: package for package in find(site, conda=tmp_path)}
    assert {name: package.version for name, package in found.items()} == {
        "numpy": "2.1.0",
        "cudatoolkit": "11.3.1",
        "pytorch-cuda": "11.8",
        "-openmp-mutex": "4.5",
    }
    assert {package.installer for package in found.values()} == {"conda"}


ORT = "onnxruntime/capi/_pybind.so,sha256={0},9\nonnxruntime/__init__.py,sha256=same,1\n__pycache__/x.pyc,sha256={0},\n"


def test_two_distributions_own_one_file(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.18.0", record=ORT.format("a"))
    install(tmp_path, "onnxruntime-gpu", "1.18.0", record=ORT.format("b"))
    install(tmp_path, "opencv-python", "4.10.0", record='"cv2/a,b.so",sha256=a,1\ncv2/x.py,sha256=a,1\n')
    install(tmp_path, "opencv-python-headless", "4.10.0", record='"cv2/a,b.so",sha256=b,1\ncv2/y.py,sha256=b,1\n')
    install(tmp_path, "nvidia-cudnn-cu12", "9.1.0", record="nvidia/cudnn/lib/libcudnn.so.9,sha256=a,1\n")
    install(tmp_path, "nvidia-cudnn-cu13", "9.1.0", record="nvidia/cudnn/lib/libcudnn.so.9,sha256=b,1\n")
    install(tmp_path, "nvidia-cublas-cu12", "12.1", record="nvidia/__init__.py,sha256=a,0\n")
    install(tmp_path, "pynvml", "11.5.0", record="pynvml/__init__.py,sha256=a,1\n")
    install(tmp_path, "nvidia-ml-py", "12.535", record="pynvml.py,sha256=b,1\n")
    install(tmp_path, "tensorflow", "2.15", record="tensorflow/a.so,sha256=a,1\n")
    install(tmp_path, "tensorflow-text", "2.15", record="tensorflow/a.so,sha256=b,1\n")
    _, clashes = packages.probe(Environment(tmp_path), Log())
    gone = Absent("the file is not there")
    cudnn, ort = "nvidia/cudnn/lib/libcudnn.so.9", "onnxruntime/capi/_pybind.so"
    assert clashes == [
        FileClash(path=cudnn, owners=["nvidia-cudnn-cu12", "nvidia-cudnn-cu13"], kept=gone),
        FileClash(path="pynvml", owners=["nvidia-ml-py", "pynvml"]),
        FileClash(path=ort, owners=["onnxruntime", "onnxruntime-gpu"], kept=gone),
        FileClash(path="cv2/a,b.so", owners=["opencv-python", "opencv-python-headless"], kept=gone),
    ]


def test_the_size_on_disk_tells_whose_file_was_kept(tmp_path: Path) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", "9.10.2", record="nvidia/a.so,sha256=a,5\nnvidia/b.so,sha256=a,5\n")
    install(tmp_path, "nvidia-cudnn-cu13", "9.28.0", record="nvidia/a.so,sha256=b,7\nnvidia/b.so,sha256=b,7\n")
    (tmp_path / "nvidia").mkdir()
    (tmp_path / "nvidia/a.so").write_bytes(b"1234567")
    (tmp_path / "nvidia/b.so").write_bytes(b"123")
    _, clashes = packages.probe(Environment(tmp_path), Log())
    kept = {clash.path: clash.kept for clash in known(clashes) or []}
    assert kept["nvidia/a.so"] == "nvidia-cudnn-cu13"
    assert kept["nvidia/b.so"] == Absent("the file has 3 bytes, which neither RECORD says")


def test_of_many_clashing_files_the_compiled_ones_are_kept(tmp_path: Path) -> None:
    files = [f"onnxruntime/{index:03}.py" for index in range(100)] + ["onnxruntime/z.so", "onnxruntime/lib.so.1"]
    for name in ("onnxruntime", "onnxruntime-gpu"):
        install(tmp_path, name, "1.18.0", record="".join(f"{path},sha256={name},1\n" for path in files))
    log = Log()
    _, clashes = packages.probe(Environment(tmp_path), log)
    assert [clash.path for clash in known(clashes) or []][:3] == [
        "onnxruntime/lib.so.1",
        "onnxruntime/z.so",
        "onnxruntime/000.py",
    ]
    assert "onnxruntime and onnxruntime-gpu both own 102 files that differ" in [run.detail for run in log.runs]


def test_no_clash_and_no_answer_differ(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.18.0")
    assert isinstance(packages.probe(Environment(tmp_path), Log())[1], Absent)
    (install(tmp_path, "onnxruntime-gpu", "1.18.0") / "RECORD").unlink()
    assert packages.probe(Environment(tmp_path), Log())[1] == Unknown(
        "RECORD of onnxruntime packages could not be read"
    )


def test_a_large_environment_is_not_read_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MANY", 1)
    install(tmp_path, "torch", "2.5.1", "Requires-Dist: sympy\n")
    install(tmp_path, "zope", "1.0", "Requires-Dist: sympy\n")
    torch, zope = find(tmp_path)
    assert (torch.requires, zope.requires) == (["sympy"], Unknown("not read: the environment is large"))
    assert zope.version == "1.0"


def test_an_interpreter_that_does_not_answer(tmp_path: Path) -> None:
    host = Environment()
    host.info = {}
    found, clashes = packages.probe(host, Log())
    assert isinstance(found, Unknown)
    assert isinstance(clashes, Unknown)


def test_the_same_as_importlib_metadata_on_this_environment() -> None:
    sites = list(dict.fromkeys(path for path in sys.path if path.endswith("-packages")))
    expected: dict[str, str] = {}
    for distribution in metadata.distributions(path=sites):
        expected.setdefault(canonical(distribution.metadata["Name"]), distribution.version)
    found: dict[str, Any] = {}
    for package in find(*map(Path, sites)):
        found.setdefault(package.name, package.version)
        theirs = [
            line for line in metadata.distribution(package.name).requires or () if "extra" not in line or " or " in line
        ]
        assert [line.replace(" ", "") for line in known(package.requires) or ()] == [
            line.replace(" ", "") for line in theirs
        ]
    assert found == expected


def test_nothing_is_imported_for_it(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.5.1+cu124", "Requires-Dist: numpy>=1\n")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    code = f"""
import sys
from envcheck.probes import packages
from envcheck.probes.host import Host
from envcheck.probes.log import Log
before = set(sys.modules)
host = Host()
host.query = lambda name: {{"site": [{str(tmp_path)!r}]}}
found, clashes = packages.probe(host, Log())
assert found[0].version == "2.5.1+cu124"
assert set(sys.modules) == before, set(sys.modules) - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
