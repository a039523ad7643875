"""A folder with the CPU build of PyTorch, ONNX Runtime and what the exporters need, for tests of the real thing.

The file of the CPU build must be where pip looks for files (``find-links``); the registry's own build for Linux brings
gigabytes of CUDA. ENVCHECK_TORCH_SITE names folders that have everything already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

TORCH = "2.13.0"
OTHERS = (
    "onnxruntime==1.31.1",
    "numpy==2.4.6",
    "typing-extensions",
    "sympy",
    "networkx",
    "jinja2",
    "fsspec",
    "filelock",
)
EXPORT = ("onnx==1.23.2", "onnxscript==0.7.2", "onnx-ir", "ml_dtypes", "protobuf", "typing-extensions")


def install(folder: str, *arguments: str) -> str:
    """What pip had to say; empty when all went well."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    ran = subprocess.run([*pip, "--target", folder, *arguments], capture_output=True, text=True, timeout=900)
    return ran.stderr if ran.returncode else ""


def site() -> Iterator[list[str]]:
    """The folders: the first has torch and ONNX Runtime, the second the packages for the export."""
    given = os.environ.get("ENVCHECK_TORCH_SITE", "")
    if given:
        yield given.split(os.pathsep)
        return
    with tempfile.TemporaryDirectory(prefix="envcheck-site-") as folder:
        first, second = os.path.join(folder, "torch"), os.path.join(folder, "export")
        said = install(first, "--no-index", "--no-deps", f"torch=={TORCH}")
        if said:
            pytest.skip(f"no file of the CPU build of torch for this Python: {said.strip().splitlines()[-1]}")
        for target, packages in ((first, OTHERS), (second, ("--no-deps", *EXPORT))):
            said = install(target, *packages)
            assert not said, said
        yield [first, second]
