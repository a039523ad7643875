"""The real bindings of TensorRT, whose libraries cannot be had: what is missing is named, and the fake is like them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envcheck.core.snapshot import known
from envcheck.probes import collect
from envcheck.probes.host import Host
from envcheck.probes.smoke_options import SmokeOptions

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or sys.version_info[:2] not in ((3, 10), (3, 11)),
        reason="the bindings that are pinned here are for CPython 3.10 and 3.11 on Linux",
    ),
]
FRONTEND = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
"""What the package ``tensorrt`` holds, in which the bindings are found by their usual name."""
FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL", "getLogger"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
    # Until 8 there are functions of C++ that read models of Caffe and UFF.
    *("_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv"),
    *("_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi"),
)
"""What bindings need of TensorRT's libraries."""
WHEELS = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.0.1": "tensorrt-cu12-bindings==10.0.1",
    "10.16.1.11": "tensorrt-cu12-bindings==10.16.1.11",
    "11.4.0.106": "tensorrt-cu12-bindings==11.4.0.106",
}


def install(folder: Path, *requirements: str) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    ran = subprocess.run(
        [*pip, "--only-binary=:all:", "--target", str(folder), *requirements],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "11.4.0.106"])
def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    site = install(tmp_path / "site", WHEELS[version])
    (site / "tensorrt").mkdir()
    (site / "tensorrt" / "__init__.py").write_text(FRONTEND)
    monkeypatch.syspath_prepend(str(site))
    host = Host(env={**os.environ, "PYTHONPATH": str(site)}, deadline=time.monotonic() + 60)
    host.smoke = SmokeOptions(backends=["tensorrt"])
    (test,) = collect(host, parts=["smoke"]).smoke
    assert test.outcome == "failed"
    assert known(test.stage) in ("import", "library")
    major = version.partition(".")[0]
    assert known(test.library) == f"libnvinfer.so.{major}"
    error = known(test.error) or ""
    assert f"libnvinfer.so.{major}: cannot open shared object file" in error
    assert f"libnvonnxparser.so.{major}" in error


@pytest.mark.parametrize("version", WHEELS)
def test_the_fake_is_like_the_real_one(tmp_path: Path, version: str) -> None:
    """With libraries in which every function is there and does nothing, the bindings tell of their classes."""
    site = install(tmp_path / "site", WHEELS[version])
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    source = libraries / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    (binding,) = (site / "tensorrt_bindings").glob("tensorrt*.so")
    needed = sorted(set(re.findall(rb"lib(?:nvinfer|nvonnxparser|nvparsers)[\w.]*\.so\.\d+", binding.read_bytes())))
    assert needed
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    for name in (each.decode() for each in needed):
        built = [compiler, "-shared", "-fPIC", "-o", libraries / name, source, f"-Wl,-soname,{name}"]
        subprocess.run(built, check=True)
    root = str(HERE.parent.parent) if (HERE.parent.parent / "envcheck").is_dir() else ""
    env = {
        **os.environ,
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), str(HERE), root])),
        "FAKE_TENSORRT": json.dumps({"version": version}),
    }
    ran = subprocess.run(
        [sys.executable, str(HERE / "tensorrt_api.py")], capture_output=True, text=True, timeout=60, env=env
    )
    assert ran.stdout.split("\n", 1) == [version, "\n"], ran.stdout + ran.stderr
