"""Files with two owners: whose content is on disk. With real pip in both orders in the slow tests."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from envcheck.core.snapshot import Absent, FileClash, Package, Unknown, known
from envcheck.probes import packages, records
from envcheck.probes.hashing import file_hash
from envcheck.probes.host import Host
from envcheck.probes.log import Log

CUDNN = "nvidia/cudnn/lib/libcudnn{}.so.9"


def digest(content: bytes, algorithm: str = "sha256") -> str:
    value = hashlib.new(algorithm, content).digest()
    return f"{algorithm}={urlsafe_b64encode(value).rstrip(b'=').decode()}"


class Site(Host):
    """The live system, with one site folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.hashed: list[str] = []

    def query(self, name: str, *arguments: str) -> Any:
        if name == "python-info":
            return {"site": [str(self.folder)]}
        if name == "hashes":
            self.hashed += arguments[1:]
        return super().query(name, *arguments)


def install(site: Path, name: str, version: str, files: dict[str, bytes], algorithm: str = "sha256") -> None:
    """As pip does: what is there is overwritten."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = []
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        lines.append(f"{path},{digest(content, algorithm)},{len(content)}\n")
    (info / "RECORD").write_text("".join(lines) + f"{info.name}/RECORD,,\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n")


def kept(host: Host) -> dict[str, Any]:
    return {clash.path: clash.kept for clash in known(packages.probe(host, Log())[1]) or []}


def test_a_record() -> None:
    text = (
        'a/b.py,sha256=x,3\n"a,b.py",sha256=y,4\n"q""uote.py",sha256=z,5\r\n"x\\y.py",sha512=w,\n'
        "a-1.dist-info/RECORD,,\na/__pycache__/b.pyc,,\n../../bin/tool,sha256=v,9\n\nrubbish\n"
    )
    assert records.parse(text) == {
        "a/b.py": ("sha256=x", "3"),
        "a,b.py": ("sha256=y", "4"),
        'q"uote.py': ("sha256=z", "5"),
        "x/y.py": ("sha512=w", ""),
        "../../bin/tool": ("sha256=v", "9"),
    }


def test_sizes_tell_and_nothing_is_hashed(tmp_path: Path) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", "9.1.0", {CUDNN.format(""): b"old", CUDNN.format("_ops"): b"old ops"})
    install(tmp_path, "nvidia-cudnn-cu13", "9.2.0", {CUDNN.format(""): b"newer", CUDNN.format("_ops"): b"newer ops"})
    host = Site(tmp_path)
    assert kept(host) == {CUDNN.format(""): "nvidia-cudnn-cu13", CUDNN.format("_ops"): "nvidia-cudnn-cu13"}
    assert host.hashed == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_where_sizes_are_equal_the_hash_tells_file_by_file(tmp_path: Path, algorithm: str) -> None:
    install(tmp_path, "nvidia-cudnn-cu12", "9.1.0", {CUDNN.format(x): b"aaaa" for x in "abc"}, algorithm)
    install(tmp_path, "nvidia-cudnn-cu13", "9.1.0", {CUDNN.format(x): b"bbbb" for x in "abc"}, algorithm)
    (tmp_path / CUDNN.format("a")).write_bytes(b"aaaa")
    (tmp_path / CUDNN.format("c")).write_bytes(b"cccc")
    host = Site(tmp_path)
    assert kept(host) == {
        CUDNN.format("a"): "nvidia-cudnn-cu12",
        CUDNN.format("b"): "nvidia-cudnn-cu13",
        CUDNN.format("c"): Absent("the file has the size, but not the hash that a RECORD says: it was changed"),
    }
    assert len(host.hashed) == 3


def test_three_owners(tmp_path: Path) -> None:
    for name, content in (("opencv-python", b"1"), ("opencv-contrib-python", b"22"), ("opencv-python-headless", b"3")):
        install(tmp_path, name, "4.10.0", {"cv2/cv2.so": content, "cv2/__init__.py": b"same"})
    (clash,) = known(packages.probe(Site(tmp_path), Log())[1]) or []
    assert clash == FileClash(
        path="cv2/cv2.so",
        owners=["opencv-contrib-python", "opencv-python", "opencv-python-headless"],
        kept="opencv-python-headless",
    )


def test_large_files_are_not_hashed_in_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "HASH_LIMIT", 10)
    for name, letter in (("onnxruntime", b"a"), ("onnxruntime-gpu", b"b")):
        install(tmp_path, name, "1.20", {"onnxruntime/a.so": letter * 8, "onnxruntime/b.so": letter * 9})
    found = kept(Site(tmp_path))
    assert found["onnxruntime/a.so"] == "onnxruntime-gpu"
    assert isinstance(found["onnxruntime/b.so"], Unknown)


def test_odd_records(tmp_path: Path) -> None:
    """No size, an algorithm that nobody knows, and a folder in the place of a file: no answer, and no crash."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        install(tmp_path, name, "1.20", {})
        (tmp_path / f"{name.replace('-', '_')}-1.20.dist-info/RECORD").write_text(
            f"onnxruntime/a.so,sha256={name},\nonnxruntime/b.so,rot13={name},4\nonnxruntime/c,sha256={name},4096\n"
        )
    (tmp_path / "onnxruntime/c").mkdir(parents=True)
    (tmp_path / "onnxruntime/a.so").write_bytes(b"1234")
    (tmp_path / "onnxruntime/b.so").write_bytes(b"1234")
    found = kept(Site(tmp_path))
    assert not any(isinstance(value, str) for value in found.values())
    assert len(found) == 3


def test_a_module_that_is_gone(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.20", {"onnxruntime/__init__.py": b"", "onnxruntime/a.so": b"1", "x.py": b""})
    (found,) = known(packages.probe(Site(tmp_path), Log())[0]) or []
    assert known(found.missing) is None
    for file in ("__init__.py", "a.so"):
        (tmp_path / "onnxruntime" / file).unlink()
    (found,) = known(packages.probe(Site(tmp_path), Log())[0]) or []
    assert found.missing == ["onnxruntime/a.so", "onnxruntime/__init__.py"]


def test_links_into_a_cache_that_was_cleaned(tmp_path: Path) -> None:
    """``uv pip install --link-mode symlink``, then ``uv cache clean``: RECORD alone is no link."""
    install(tmp_path / "site", "six", "1.17.0", {"six.py": b"1"})
    for file in ("six.py", "six-1.17.0.dist-info/METADATA"):
        (tmp_path / "site" / file).unlink()
        (tmp_path / "site" / file).symlink_to(tmp_path / "cache" / file)
    (found,) = known(packages.probe(Site(tmp_path / "site"), Log())[0]) or []
    assert (found.version, found.missing) == ("1.17.0", ["six.py"])


def test_of_two_versions_the_one_whose_files_are_there_comes_first(tmp_path: Path) -> None:
    """As after an upgrade that was interrupted, or pip over conda with --ignore-installed."""
    install(tmp_path, "numpy", "1.26.4", {"numpy/version.py": b"1.26.4", "numpy/a.so": b"1"})
    install(tmp_path, "numpy", "2.4.6", {"numpy/version.py": b"2.4.6", "numpy/a.so": b"22"})
    install(tmp_path, "six", "1.0", {"six.py": b""})
    first, second, _ = known(packages.probe(Site(tmp_path), Log())[0]) or []
    assert (first.version, second.version) == ("2.4.6", "1.26.4")
    assert first.doubles == ["1.26.4 in a *.dist-info folder of its own"]
    install(tmp_path, "six", "1.0.0", {"six.py": b""})
    assert not any(known(one.doubles) for one in (known(packages.probe(Site(tmp_path), Log())[0]) or [])[2:])


def test_what_pip_put_in_the_place_of_conda(tmp_path: Path) -> None:
    class Conda(Site):
        def query(self, name: str, *arguments: str) -> Any:
            answer = super().query(name, *arguments)
            return {**answer, "conda": True, "prefix": str(tmp_path)} if name == "python-info" else answer

    site = tmp_path / "lib"
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    for name, version, installer in (("numpy", "2.4.6", "pip"), ("torch", "2.6.0", "uv"), ("six", "1.17", "conda")):
        install(site, name, version, {f"{name}/x.py": b""})
        (site / f"{name}-{version}.dist-info/INSTALLER").write_text(f"{installer}\n")
    for entry in ("numpy-1.26.4-py311_0", "pytorch-2.5.1-cuda126_py311_0", "six-1.16-py_0", "odd-1_x_y-0"):
        (meta / f"{entry}.json").touch()
    found = {one.name: known(one.doubles) for one in known(packages.probe(Conda(site), Log())[0]) or []}
    assert found == {"numpy": ["1.26.4 in conda-meta"], "torch": ["2.5.1 in conda-meta"], "six": None}
    (meta / "numpy-1.26.4-py311_0.json").rename(meta / "numpy-2.4.6-py311_0.json")
    found = {one.name: known(one.doubles) for one in known(packages.probe(Conda(site), Log())[0]) or []}
    assert found["numpy"] is None


def test_installed_in_place_nothing_is_gone(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.5", {"__editable___torch_finder.py": b""})
    (found,) = known(packages.probe(Site(tmp_path), Log())[0]) or []
    assert isinstance(found, Package)
    assert known(found.missing) is None


def test_a_hash_ends_at_the_deadline(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert file_hash(str(tmp_path / "a")) == digest(b"x")
    assert file_hash(str(tmp_path / "a"), deadline=0.0) is None
    for wrong in ("rot13", "shake_128"):
        with pytest.raises(ValueError, match="not known"):
            file_hash(str(tmp_path / "a"), wrong)


def made_wheel(folder: Path, name: str, content: str) -> None:
    """A wheel of one module, ``onnxruntime``."""
    stem = f"{name.replace('-', '_')}-1.20"
    files = {
        "onnxruntime/__init__.py": "",
        "onnxruntime/capi/state.so": content,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.20\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},{digest(text.encode())},{len(text)}" for path, text in files.items()]
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{stem}.dist-info/RECORD", "\n".join([*lines, f"{stem}.dist-info/RECORD,,"]))


@pytest.mark.slow
def test_with_pip_in_both_orders(tmp_path: Path) -> None:
    """Install both, either order; uninstall one: the other has lost its files, and that is an error."""
    for name, content in (("onnxruntime", "aaaa"), ("onnxruntime-gpu", "bbbb")):
        made_wheel(tmp_path, name, content)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    python = venv / "bin/python"

    def pip(*arguments: str) -> None:
        pinned = ["--disable-pip-version-check", "-q", *arguments]
        subprocess.run([python, "-m", "pip", *pinned], check=True, timeout=120, cwd=tmp_path)

    def report() -> dict[str, Any]:
        paths = [str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("site-packages"))]
        code = f"import sys; sys.path += {paths!r}; from envcheck.__main__ import main; sys.exit(main())"
        command = [python, "-c", code, "check", "--format", "json"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer

    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP"))}
    names = ("onnxruntime", "onnxruntime-gpu")
    for first, second in (names, names[::-1]):
        for name in (first, second):
            pip(
                "install",
                "--no-index",
                "--no-deps",
                "--force-reinstall",
                str(next(tmp_path.glob(f"{name.replace('-', '_')}-*.whl"))),
            )
        mine = [clash for clash in report()["snapshot"]["stack"]["clashes"] if clash["path"].startswith("onnxruntime/")]
        assert [(clash["path"], clash["kept"]) for clash in mine] == [("onnxruntime/capi/state.so", second)]
        pip("uninstall", "-y", second)
        found = report()["findings"]
        (lost,) = [one for one in found if one["rule"] == "package-conflict"]
        assert (lost["subject"], lost["severity"]) == (f"{first} 1.20", "error")
        pip("uninstall", "-y", first)
