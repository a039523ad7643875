"""Modules and packages that stand before the installed ones on sys.path, so that an import takes them instead.

Python takes the first match in the order of sys.path: the folder of the program, PYTHONPATH, the standard library, the
user's site folder, site-packages. A file ``torch.py`` beside the program hides torch, a checkout of PyTorch too.
Nothing is imported: names are listed, and a few are looked at.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from envcheck.core.snapshot import Absent, Package, Shadow, Unknown, known
from envcheck.probes.host import Host
from envcheck.probes.log import Log

MODULES = {
    "torch": "torch", "torchvision": "torchvision", "torchaudio": "torchaudio", "triton": "triton",
    "xformers": "xformers", "flash_attn": "flash-attn", "bitsandbytes": "bitsandbytes", "transformers": "transformers",
    "accelerate": "accelerate", "diffusers": "diffusers", "deepspeed": "deepspeed", "vllm": "vllm", "mmcv": "mmcv",
    "mmengine": "mmengine", "detectron2": "detectron2", "onnxruntime": "onnxruntime", "onnx": "onnx",
    "tensorflow": "tensorflow", "keras": "keras", "jax": "jax", "jaxlib": "jaxlib", "flax": "flax",
    "tensorrt": "tensorrt", "cupy": "cupy", "paddle": "paddlepaddle", "mxnet": "mxnet", "numpy": "numpy",
    "scipy": "scipy", "pandas": "pandas", "pyarrow": "pyarrow", "numba": "numba", "llvmlite": "llvmlite",
    "sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm", "openvino": "openvino", "cv2": "opencv-",
    "faiss": "faiss", "ctranslate2": "ctranslate2", "sentencepiece": "sentencepiece", "tokenizers": "tokenizers",
    "safetensors": "safetensors", "PIL": "pillow", "dgl": "dgl", "huggingface_hub": "huggingface-hub", "peft": "peft",
    "timm": "timm", "pytorch_lightning": "pytorch-lightning", "lightning": "lightning", "torchmetrics": "torchmetrics",
    "einops": "einops", "tqdm": "tqdm", "requests": "requests", "yaml": "pyyaml", "filelock": "filelock",
    "fsspec": "fsspec", "sympy": "sympy", "networkx": "networkx", "jinja2": "jinja2", "h5py": "h5py",
    "typing_extensions": "typing-extensions", "flatbuffers": "flatbuffers", "matplotlib": "matplotlib",
    "psutil": "psutil", "packaging": "packaging",
}  # fmt: skip
"""Frameworks and what they are built on: module -> how the name of its distribution begins. Names that programs often
give to parts of their own (datasets, evaluate) are left out."""

STANDARD = frozenset((
    "argparse", "array", "ast", "asyncio", "base64", "binascii", "bisect", "bz2", "calendar", "cmath", "collections",
    "concurrent", "configparser", "contextlib", "contextvars", "copy", "copyreg", "csv", "ctypes", "dataclasses",
    "datetime", "decimal", "difflib", "dis", "email", "enum", "fnmatch", "functools", "gettext", "glob", "gzip",
    "hashlib", "heapq", "hmac", "html", "http", "importlib", "inspect", "ipaddress", "json", "keyword", "linecache",
    "locale", "logging", "lzma", "math", "mimetypes", "mmap", "multiprocessing", "numbers", "opcode", "operator",
    "pathlib", "pickle", "pickletools", "pkgutil", "platform", "pprint", "queue", "quopri", "random", "re", "reprlib",
    "runpy", "secrets", "select", "selectors", "shlex", "shutil", "signal", "socket", "ssl", "statistics", "string",
    "struct", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "timeit", "token", "tokenize", "traceback",
    "types", "typing", "unicodedata", "unittest", "urllib", "uuid", "warnings", "weakref", "xml", "zipfile", "zlib",
))  # fmt: skip
"""What torch, NumPy, Transformers and ONNX Runtime import of the standard library, as sys.modules shows after it."""

MOST_NAMES = 2000
"""Of a larger folder (a folder of data) single names are asked for."""
HERE = "the current folder"


def probe(host: Host, log: Log, packages: list[Package] | Absent | Unknown) -> list[Shadow] | Absent | Unknown:
    """1. Files and folders before site-packages. 2. The user's site folder before conda's, and PYTHONPATH."""
    answer: Any = None
    with log.attempt("shadows", "sys.path") as attempt:
        answer = host.query("earlier-modules")
        attempt.found()
    if not isinstance(answer, dict):
        return Unknown("it was not looked for")
    found: list[Shadow] = []
    if answer.get("rows") or answer.get("user") or answer.get("named"):
        from envcheck.probes.shadows_seen import seen

        found = seen(host, answer, known(packages) or [])
    return found or Absent("nothing stands before what is installed")


def live(host: Host) -> dict[str, Any]:
    """What ``earlier-modules`` answers: ``rows`` of {folder, via, names, then: later site folders}, only of folders
    that hold a name of ours; ``user``: the user's site folder where it stands before conda's; ``named``: by PYTHONPATH.
    """
    from envcheck.probes.python import absolute

    named = absolute(host.env.get("PYTHONPATH", "").split(os.pathsep)) if not sys.flags.ignore_environment else []
    paths = absolute(sys.path)
    standard = os.path.dirname(os.__file__)
    sites = [path for path in paths if path.endswith(("site-packages", "dist-packages"))]
    last = paths.index(sites[-1]) if sites else len(paths)
    at = next((place for place, path in enumerate(paths) if path == standard), 0)
    own = _own_folder()
    if own in named:
        own = ""  # every program takes it first
    rows = []
    before = [(-1, own, HERE)] if own else []
    for place, path in enumerate(paths[:last]):
        # The standard library as a folder and as an archive, its compiled part, and where our own command lies.
        if path in (standard, _SCRIPTS) or path.endswith((".zip", "lib-dynload")) or path in sites:
            continue
        before.append((place, path, "PYTHONPATH" if path in named else "" if path == own else "sys.path"))
    for place, path, via in before:
        if via and (names := _names(path, place < at)):
            later = paths[place + 1 :] if place >= 0 else paths
            then = [site for site in later if site in sites or site in named]
            rows.append({"folder": path, "via": via, "names": names, "then": then})
    user = getattr(sys.modules.get("site"), "USER_SITE", None)
    leaks = user in sites[:-1] and os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
    return {"rows": rows, "user": user if leaks else "", "named": named}


_SCRIPTS = os.path.dirname(sys.executable or "")


def _own_folder() -> str:
    """The current folder, where a program that starts here will look first; empty where Python was told not to."""
    if sys.flags.isolated or getattr(sys.flags, "safe_path", False):
        return ""
    called = os.path.basename(sys.argv[0] if sys.argv else "")
    if sys.path[:1] != [""] and not called.startswith(("envcheck", "__main__")):
        return ""  # a program asks: its own folder is on sys.path
    try:
        return os.getcwd()
    except OSError:
        return ""


def _names(folder: str, before_standard: bool) -> list[str]:
    """Entries that are called like a module of ours."""
    found = []
    package = False
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                name = entry.name
                stem, _, rest = name.partition(".")
                if stem in MODULES or stem in STANDARD:
                    if rest in ("", "py", "pyc") or rest.endswith(("so", "pyd")):
                        found.append(name)
                elif name == "__init__.py":
                    package = True
                if number > MOST_NAMES:
                    return [f"{name}.py" for name in MODULES if os.path.isfile(f"{folder}/{name}.py")]
    except OSError:
        return []
    # Modules of a package may be called like those of the standard library: programs are not started from there.
    hides = before_standard and not package
    return sorted(name for name in found if name.partition(".")[0] in MODULES or hides)
