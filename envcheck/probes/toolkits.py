"""CUDA toolkits on disk, and which one the build of an extension would take.

Places, in the order of ``torch.utils.cpp_extension``: CUDA_HOME or CUDA_PATH, ``nvcc`` on PATH, /usr/local/cuda (on
Windows the toolkits' own folder); then /usr/local/cuda-*, /opt/cuda and the conda environment. The version is read
from version.json, version.txt, include/cuda.h; only where these are missing nvcc is run.
"""

from __future__ import annotations

from envcheck.core.snapshot import Absent, Text, Toolkit, Unknown
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import is_dotted

WINDOWS_FOLDER = r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA"
CONDA_PACKAGES = ("cuda-toolkit-", "cudatoolkit-", "cuda-nvcc-", "cuda-version-")
HEADER_LIMIT = 65536
"""cuda.h defines CUDA_VERSION in its first 20 kB."""


def probe(host: Host, log: Log) -> list[Toolkit] | Absent | Unknown:
    """All toolkits, the active one first; never raises for what it finds."""
    conda = _conda(host, log)
    conda_real = host.realpath(conda.path) if conda is not None and isinstance(conda.path, str) else ""
    toolkits: dict[str, Toolkit] = {}
    for root, via in _roots(host, log):
        real = host.realpath(root)
        if real in toolkits:
            continue
        # An environment of conda has no version.json: its package says it.
        version = conda.version if conda is not None and real == conda_real else None
        toolkit = _toolkit(host, log, root, via, version)
        # A build does not look further than /usr/local/cuda itself.
        toolkit.active = not toolkits and (via not in ("/usr/local", "/opt") or root == "/usr/local/cuda")
        toolkits[real] = toolkit
    if conda is not None:
        toolkits.setdefault(conda_real, conda)
    if not toolkits:
        return Absent("no nvcc on PATH, no CUDA_HOME, no /usr/local/cuda*, none in conda")
    return list(toolkits.values())


def _roots(host: Host, log: Log) -> list[tuple[str, str]]:
    """(folder, found via); the first is the one that a build takes."""
    windows = host.platform == "win32"
    named = [(host.env.get(name, "").rstrip("/\\"), name) for name in ("CUDA_HOME", "CUDA_PATH")]
    roots = [(folder, name) for folder, name in named if folder]
    nvcc = host.which("nvcc")
    log.add("toolkits", "ok" if nvcc else "absent", nvcc or "no nvcc", "PATH")
    if nvcc:
        roots.append((_parent(_parent(nvcc)), "PATH"))
    if windows:
        roots += [(rf"{WINDOWS_FOLDER}\{name}", "Program Files") for name in _names(host, log, WINDOWS_FOLDER, "v")]
        return roots
    roots += [(f"/usr/local/{name}", "/usr/local") for name in _names(host, log, "/usr/local", "cuda")]
    if host.isdir("/opt/cuda"):
        roots.append(("/opt/cuda", "/opt"))
    return roots


def _parent(path: str) -> str:
    return path[: max(path.rfind("/"), path.rfind("\\"))] if "/" in path or "\\" in path else ""


def _names(host: Host, log: Log, folder: str, prefix: str) -> list[str]:
    with log.attempt("toolkits", folder) as attempt:
        names = [name for name in host.listdir(folder) if name.startswith(prefix)]
        found = [name for name in names if name == "cuda" or _is_version(name[len(prefix) :].lstrip("-"))]
        if found:
            attempt.found(" ".join(found))
        return found
    return []


def _toolkit(host: Host, log: Log, root: str, via: str, version: Text | None = None) -> Toolkit:
    separator = "\\" if host.platform == "win32" else "/"
    nvcc = f"{root}{separator}bin{separator}nvcc" + (".exe" if host.platform == "win32" else "")
    if not host.isdir(root):
        log.add("toolkits", "absent", f"{via} names a folder that is not there", root)
        return Toolkit(version=Absent(f"{root} is not there"), path=root, found_via=via, nvcc=False)
    has_nvcc = host.exists(nvcc)
    version = version or _version(host, log, root, nvcc if has_nvcc else "")
    return Toolkit(version=version, path=root, found_via=via, nvcc=has_nvcc)


def _version(host: Host, log: Log, root: str, nvcc: str) -> Text:
    """Version of the toolkit in a folder, from the first of its sources that tells it."""
    version = _version_of_files(host, log, root)
    if version is None and nvcc and (target := _wrapped(host, nvcc)) and target != root:
        version = _version_of_files(host, log, target)
    if version is not None:
        return version
    if nvcc:
        with log.attempt("toolkits", f"{nvcc} --version") as attempt:
            ran = host.run([nvcc, "--version"], timeout=5.0)
            if told := parse_nvcc(ran.stdout):
                attempt.found(told)
                return told
            status = "timeout" if ran.status in ("timeout", "abandoned") else "failed"
            attempt.failed(ran.trouble or f"exit {ran.code}, no release in its output", status)
    # An image with the runtime only has nothing but the folder's name: /usr/local/cuda -> cuda-12.4.
    name = host.realpath(root).replace("\\", "/").rpartition("/")[2].removeprefix("cuda-").removeprefix("v")
    if "." in name and _is_version(name):
        return name
    return Unknown(f"no version.json, version.txt or cuda.h in {root}")


def _wrapped(host: Host, nvcc: str) -> str:
    """The toolkit that a wrapper script (Debian, some images) calls; empty when nvcc is no script."""
    try:
        script = host.read(nvcc, 4096)
    except OSError:
        return ""
    if not script.startswith("#!"):
        return ""
    words = (word.strip("\"';()") for word in script.split())
    real = next((word for word in words if word.startswith("/") and word.endswith("/bin/nvcc")), "")
    return _parent(_parent(real))


def _version_of_files(host: Host, log: Log, root: str) -> str | None:
    separator = "\\" if host.platform == "win32" else "/"
    for file, parse, limit in (
        ("version.json", parse_version_json, HEADER_LIMIT),
        ("version.txt", parse_version_txt, 4096),
        (f"include{separator}cuda.h", parse_cuda_h, HEADER_LIMIT),
    ):
        path = f"{root}{separator}{file}"
        with log.attempt("toolkits", path) as attempt:
            if version := parse(host.read(path, limit)):
                attempt.found(version)
                return version
            attempt.failed("no version in it")
    return None


def _is_version(text: str) -> bool:
    return is_dotted(text, least=1, digits=5)


def parse_version_json(text: str) -> str | None:
    """version.json (from 11.1 on): {"cuda": {"name": "CUDA SDK", "version": "12.4.1"}, ...}."""
    import json

    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    cuda = data.get("cuda") if isinstance(data, dict) else None
    version = cuda.get("version") if isinstance(cuda, dict) else None
    return version if isinstance(version, str) and _is_version(version) else None


def parse_version_txt(text: str) -> str | None:
    """version.txt (up to 11.0): ``CUDA Version 10.2.89``."""
    _, found, rest = text.partition("CUDA Version ")
    word = rest.split()[0] if found and rest.split() else ""
    return word if _is_version(word) else None


def parse_cuda_h(text: str) -> str | None:
    """``#define CUDA_VERSION 12040`` -> ``12.4``."""
    _, found, rest = text.partition("#define CUDA_VERSION ")
    word = rest.split(None, 1)[0] if found and rest.split(None, 1) else ""
    if not (word.isascii() and word.isdigit() and 4 <= len(word) <= 6):
        return None
    return f"{int(word) // 1000}.{int(word) % 1000 // 10}"


def parse_nvcc(text: str) -> str | None:
    """``Cuda compilation tools, release 11.7, V11.7.99`` -> ``11.7``: its third number is nvcc's, not the toolkit's."""
    _, found, rest = text.partition(", release ")
    word = rest.split(",", 1)[0].strip() if found else ""
    return word if _is_version(word) else None


def _conda(host: Host, log: Log) -> Toolkit | None:
    """The toolkit of the conda environment, from the names of conda-meta/*.json."""
    prefix = host.env.get("CONDA_PREFIX", "").rstrip("/\\")
    if not prefix:
        return None
    packages: dict[str, str] = {}
    with log.attempt("toolkits", f"{prefix}/conda-meta") as attempt:
        for file in host.listdir(f"{prefix}/conda-meta"):
            if file.startswith(CONDA_PACKAGES) and file.endswith(".json"):
                # name-version-build.json; the name may have dashes itself.
                name, _, version = file.rpartition("-")[0].rpartition("-")
                if _is_version(version):
                    packages[name] = version
        if packages:
            attempt.found(" ".join(f"{name} {version}" for name, version in packages.items()))
    whole = packages.get("cuda-toolkit") or packages.get("cudatoolkit")
    if not whole and "cuda-nvcc" not in packages:
        return None
    # cuda-nvcc bears the compiler's own number, 12.4.131; only its first two parts are the toolkit's.
    part = packages.get("cuda-version") or packages.get("cuda-nvcc", "")
    version = whole or ".".join(part.split(".")[:2])
    has_nvcc = any(name in packages for name in ("cuda-nvcc", "cuda-toolkit"))
    return Toolkit(version=version, path=prefix, found_via="conda", nvcc=has_nvcc)
