"""Installed distributions, from the names and heads of their metadata; nothing is imported, no code of theirs runs."""

from __future__ import annotations

from typing import Any

from envcheck.core.snapshot import Absent, FileClash, Package, Text, Unknown, known
from envcheck.probes.conda import split
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import canonical, compare_numbers, local_label, version_key

HEAD = 8192
"""Bytes that hold the head of most METADATA files; the others are read again, up to :data:`HEAD_LIMIT`."""
HEAD_LIMIT = 1024 * 1024
MANY = 500
"""In a larger environment only the metadata of :data:`MATTERING` packages are read: 15 microseconds each."""
MATTERING = (
    *(
        "torch",
        "onnx",
        "tensor",
        "nvidia",
        "cuda",
        "cupy",
        "jax",
        "triton",
        "numpy",
        "scipy",
        "pandas",
        "numba",
        "keras",
    ),
    *("transformers", "tokenizers", "accelerate", "diffusers", "peft", "safetensors", "huggingface", "datasets"),
    *("vllm", "sglang", "flash", "xformers", "bitsandbytes", "deepspeed", "lightning", "pytorch", "auto", "optimum"),
    *("opencv", "protobuf", "typing-extensions", "pynvml", "apex", "mmcv", "mm", "paddle", "openvino", "ctranslate2"),
    *("scikit", "spacy", "thinc", "fairscale", "ray", "timm", "ultralytics", "sentence", "faster-whisper", "llama"),
)
"""Beginnings of the names of distributions with compiled GPU code, of those below them and of their users."""

TENSORFLOWS = (
    *("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos", "tensorflow-rocm"),
    *("intel-tensorflow", "tensorflow-aarch64", "tf-nightly", "tf-nightly-cpu", "nvidia-tensorflow"),
)
CONDA_NAMES = (
    *(
        "cudatoolkit",
        "cudnn",
        "pytorch-cuda",
        "pytorch-mutex",
        "nccl",
        "tensorrt",
        "libtorch",
        "cuda-",
        "libcu",
        "libnv",
    ),
    *("mkl", "intel-openmp", "llvm-openmp", "libgomp", "libstdcxx", "libgcc", "_openmp_mutex", "cutensor", "ucx"),
)
"""Beginnings of the names of conda packages that have no Python metadata and matter here."""
CONDA_CALLS = {"pytorch": "torch"}
"""conda's name of a distribution where it is another one."""
MODULES = {
    "onnxruntime": "onnxruntime",
    "opencv-": "cv2",
    "faiss": "faiss",
    "cupy": "cupy",
    "paddlepaddle": "paddle",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "triton": "triton",
}
"""Family -> the module that all of it bring. Uninstalling one of two takes the files of the other away."""

_NONE_NEEDED = Absent("its metadata ask for none")


def probe(host: Host, log: Log) -> tuple[list[Package] | Unknown, list[FileClash] | Absent | Unknown]:
    """1. ``*.dist-info``, ``*.egg-info``, ``*.egg`` and ``*.egg-link`` in the site folders, in the order of sys.path.
    2. ``conda-meta`` for what conda installs besides Python. 3. RECORD of distributions known to share files.

    The copy that an import takes comes first. A distribution whose metadata are gone, and what an interrupted
    install left behind (``~orch``), are kept with an unknown version that says so.
    """
    info: dict[str, Any] = {}
    with log.attempt("packages", "sys.path") as attempt:
        info = host.query("python-info")
        attempt.found(f"{len(info.get('site') or ())} site folders")
    sites = info.get("site")
    if not isinstance(sites, list):
        unknown = Unknown("the interpreter does not tell its site folders")
        return unknown, unknown
    found: list[Package] = []
    folders: dict[str, str] = {}
    for site in sites:  # lib64 is often a link to lib
        folders.setdefault(host.realpath(site), site)
    for site in folders.values():
        with log.attempt("packages", site) as attempt:
            names = host.listdir(site)
            here = _Folder(host, log, site, names, bool(info.get("conda"))).packages()
            attempt.found(f"{len(here)} distributions")
            if len({package.name for package in here}) < len(here):
                from envcheck.probes import records

                here = records.true_first(host, site, here)
            found += here
    if info.get("conda"):
        _add_conda(host, log, info.get("prefix") or "", found)
    return found, _find_clashes(host, log, found)


class _Folder:
    """One site folder."""

    def __init__(self, host: Host, log: Log, site: str, names: list[str], conda: bool) -> None:
        self.host, self.log, self.site, self.names, self.conda = host, log, site, names, conda

    def packages(self) -> list[Package]:
        whole: list[Package] = []
        damaged: list[Package] = []
        metadata = [name for name in self.names if name.endswith((".dist-info", ".egg-info", ".egg", ".egg-link"))]
        for name in metadata:
            if name[0] not in "~-":
                package = self._read(name, read_all=len(metadata) <= MANY)
                (damaged if isinstance(package.version, Unknown) else whole).append(package)
        for name in self._leftovers():
            damaged.append(Package(name=name, version=Unknown("an interrupted pip left it behind"), location=self.site))
            self.log.add("packages", "failed", f"{name} was left behind by an interrupted pip", self.site)
        return whole + damaged

    def _leftovers(self) -> list[str]:
        """pip renames ``torch`` to ``~orch`` before it removes it; what is left of it has no function."""
        found: dict[str, None] = {}
        for name in self.names:
            if name[0] == "~" or (name[0] == "-" and name.endswith(".dist-info")):
                stem = name.removesuffix(".dist-info")
                found[stem.partition("-")[0] if name[0] == "~" else stem[1:].partition("-")[0]] = None
        return [name for name in found if name]

    def _read(self, entry: str, read_all: bool) -> Package:
        stem, _, kind = entry.rpartition(".")
        path = f"{self.site}/{entry}"
        if kind == "egg-link":
            return self._read_link(stem, path)
        name, version = _split(stem) if kind == "dist-info" else _split_egg(stem)
        package = Package(name=canonical(name), location=self.site)
        package.version = _checked(version, entry)
        if label := local_label(version):
            package.local = label
        if not read_all and not package.name.startswith(MATTERING):
            package.requires = Unknown("not read: the environment is large")
            return package
        file = {"dist-info": f"{path}/METADATA", "egg": f"{path}/EGG-INFO/PKG-INFO"}.get(kind, f"{path}/PKG-INFO")
        try:
            try:
                head = self._head(file)
            except NotADirectoryError:  # distutils wrote a single file
                head = self._head(path)
        except OSError as error:
            why = f"{entry} has no metadata" if isinstance(error, FileNotFoundError) else f"{entry}: {error.strerror}"
            self.log.add("packages", "failed", why, self.site)
            package.requires = Unknown(why)
            if kind != "dist-info" or not self._is_linked_away(package, path):
                package.version = Unknown(why)
            return package
        self._fill(package, head, entry)
        if kind == "egg-info" and not package.requires:
            package.requires = self._egg_requires(path)
        if self.conda:
            package.installer = self._installer(path)
        return package

    def _is_linked_away(self, package: Package, path: str) -> bool:
        """uv can install links into its cache; when that is cleaned, RECORD is left, which uv writes itself."""
        if known(package.version) is None or not self.host.exists(f"{path}/RECORD"):
            return False
        from envcheck.probes import records

        try:
            lost = records.missing(self.host, self.site, package)
        except (OSError, ValueError):
            return False
        package.missing = lost[: records.SHOWN]
        return bool(lost)

    def _head(self, path: str) -> str:
        """Everything before the first empty line: the body is the project's README."""
        text = self.host.read(path, HEAD)
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        end = text.find("\n\n")
        if end < 0 and len(text) >= HEAD - 1024:
            text = self.host.read(path, HEAD_LIMIT).replace("\r\n", "\n")
            end = text.find("\n\n")
        return text if end < 0 else text[:end]

    def _fill(self, package: Package, head: str, entry: str) -> None:
        if not head.strip("\0 \n"):
            package.version = package.requires = Unknown(f"the metadata of {entry} are empty")
            self.log.add("packages", "failed", package.version.why, self.site)
            return
        if not isinstance(package.version, str) and (version := _field(head, "Version")):
            package.version = _checked(version, entry)
        package.requires_python = _field(head, "Requires-Python") or _NONE_NEEDED
        package.requires = []
        start = head.find("\nRequires-Dist:")
        if start >= 0:
            for line in head[start + 1 :].split("\n"):
                if not line.startswith("Requires-Dist:"):
                    continue
                # What extras would bring of CUDA tells what onnxruntime-gpu was built for.
                if "extra" not in line or line.startswith("nvidia-cud", 15) or not _only_with_extra(line):
                    package.requires.append(line[14:].strip())

    def _egg_requires(self, path: str) -> list[str]:
        try:
            text = self.host.read(f"{path}/requires.txt", HEAD_LIMIT)
        except OSError:
            return []
        return [line.strip() for line in text.partition("[")[0].splitlines() if line.strip()]

    def _installer(self, path: str) -> Text:
        try:
            return self.host.read(f"{path}/INSTALLER", 64).strip() or Unknown("INSTALLER is empty")
        except OSError:
            return Absent("no INSTALLER file")

    def _read_link(self, stem: str, path: str) -> Package:
        """``setup.py develop``: the first line names the folder with the sources and their egg-info."""
        package = Package(name=canonical(stem), version=Unknown("installed in place"), location=self.site)
        try:
            folder = self.host.read(path, HEAD).splitlines()[0].strip()
            entry = f"{stem.replace('-', '_')}.egg-info"
            package.location = folder
            self._fill(package, self._head(f"{folder}/{entry}/PKG-INFO"), entry)
        except (OSError, IndexError):
            self.log.add("packages", "failed", f"{stem} is linked to sources that are not there", path)
        return package


def _split(stem: str) -> tuple[str, str]:
    """Name and version of a dist-info folder: neither has a ``-`` of its own (PEP 376, PEP 427)."""
    name, dash, version = stem.rpartition("-")
    return (name, version) if dash else (stem, "")


def _split_egg(stem: str) -> tuple[str, str]:
    """``name-version[-pyX.Y[-platform]]``, or the name alone."""
    parts = stem.split("-py3")[0].split("-py2")[0].split("-", 1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _checked(version: str, entry: str) -> Text:
    if not version:
        return Unknown(f"{entry} does not name it")
    try:
        version_key(version)
    except ValueError:
        # Eggs and old wheels write "_" for "-".
        try:
            version_key(version.replace("_", "-"))
        except ValueError:
            return Unknown(f"it reads {version!r}")
        return version.replace("_", "-")
    return version


def _field(head: str, name: str) -> str:
    _, found, rest = head.partition(f"\n{name}:")
    return rest.partition("\n")[0].strip() if found else ""


def _only_with_extra(line: str) -> bool:
    """Whether a line applies only when an extra is asked for; in doubt it is kept, and its marker decides."""
    marker = line.partition(";")[2]
    return "extra" in marker and " or " not in marker


def _add_conda(host: Host, log: Log, prefix: str, found: list[Package]) -> None:
    """What conda installs besides Python's packages, and what pip has since put in the place of conda's."""
    folder = f"{prefix}/conda-meta"
    with log.attempt("packages", folder) as attempt:
        present = {package.name: package for package in reversed(found)}
        others = {name: package for name, package in present.items() if known(package.installer) not in (None, "conda")}
        count = 0
        for entry in host.listdir(folder):
            parts = split(entry)
            if parts is None:
                continue
            name = canonical(parts[0])
            if (package := others.get(CONDA_CALLS.get(name, name))) is not None:
                _note_double(package, parts[1])
            elif name not in present and parts[0].startswith(CONDA_NAMES):
                found.append(Package(name=name, version=_checked(parts[1], entry), location=folder, installer="conda"))
                count += 1
        attempt.found(f"{count} packages beside Python's")


def _note_double(package: Package, version: str) -> None:
    """conda still lists another version than the one that pip installed over it."""
    mine = known(package.version)
    if mine is not None and isinstance(_checked(version, ""), str) and compare_numbers(mine, version) != 0:
        package.doubles = [*(known(package.doubles) or ()), f"{version} in conda-meta"]


def _family(name: str) -> str | None:
    """What a distribution shares its modules with; only of these, and only where two are there, RECORD is read."""
    if name.startswith(("nvidia-", "tensorrt")):
        if name.startswith("nvidia-ml-py"):
            return "pynvml"
        head, _, digits = name.rpartition("-cu")
        return head if digits.isdigit() else name
    for family in ("onnxruntime", "opencv-", "faiss", "cupy", "mxnet", "paddlepaddle"):
        if name.startswith(family):
            return family
    if name.startswith("ort-nightly"):
        return "onnxruntime"
    if name in TENSORFLOWS:
        return "tensorflow"
    if name in ("torch", "torch-cpu", "torch-nightly", "pytorch"):
        return "torch"
    if name in ("triton", "pytorch-triton", "triton-windows", "triton-rocm"):
        return "triton"
    return name if name == "pynvml" else None


def _find_clashes(host: Host, log: Log, packages: list[Package]) -> list[FileClash] | Absent | Unknown:
    """Files that two distributions own and that differ, so that one of the two is broken."""
    families: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        location, version = known(package.location), known(package.version)
        if location is None or version is None or known(package.installer) == "conda":
            continue
        if (key := _family(package.name)) is not None:
            members = families.setdefault((location, key), [])
            if all(member.name != package.name for member in members):
                members.append(package)
    clashes: list[FileClash] = []
    unread = ""
    for (location, key), members in families.items():
        if len(members) < 2:
            _find_missing(host, log, location, key, members[0])
            continue
        from envcheck.probes import records

        with log.attempt(
            "file clashes", f"{location}: RECORD of {', '.join(member.name for member in members)}"
        ) as attempt:
            unread = f"RECORD of {key} packages could not be read"
            found = records.clashes(host, log, location, members)
            clashes += found
            unread = ""
            attempt.found(f"{len(found)} files shown")
    if clashes:
        return clashes
    return Unknown(unread) if unread else Absent("no two distributions own one file")


def _find_missing(host: Host, log: Log, location: str, family: str, package: Package) -> None:
    """What is gone since another package with the same files was uninstalled; one look where nothing is."""
    module = MODULES.get(family)
    if module is None or host.exists(f"{location}/{module}/__init__.py"):
        return
    from envcheck.probes import records

    try:
        lost = records.missing(host, location, package)
    except (OSError, ValueError):
        return  # a package that was installed in place, or by another tool, has no such list
    if f"{module}/__init__.py" in lost:
        package.missing = lost[: records.SHOWN]
        log.add("packages", "failed", f"{len(lost)} files of {package.name} are not there", location)
