"""PyTorch as it is, on this machine's CPU: the real wheel, through the real children."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch_site import site

from envcheck.core.snapshot import SmokeTest, known
from envcheck.probes import collect
from envcheck.probes.host import Host
from envcheck.probes.smoke_options import SmokeOptions

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the wheel is for Linux")]
Run = Callable[..., SmokeTest]


@pytest.fixture(scope="module")
def folders() -> Iterator[list[str]]:
    yield from site()


@pytest.fixture
def run(folders: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """One framework's test; ``packages``: how many of the folders it has."""

    def smoke(
        backend: str = "torch", packages: int = 1, env: dict[str, str] | None = None, **more: object
    ) -> SmokeTest:
        for folder in reversed(folders[:packages]):
            monkeypatch.syspath_prepend(folder)
        given = {**os.environ, "PYTHONPATH": os.pathsep.join(folders[:packages]), **(env or {})}
        host = Host(env=given, deadline=time.monotonic() + 170)
        host.smoke = SmokeOptions(backends=[backend], **more)  # type: ignore[arg-type]
        (test,) = collect(host, parts=["smoke"]).smoke
        return test

    return smoke


def stages(test: SmokeTest) -> dict[str, str]:
    return {stage.name: stage.status for stage in test.stages}


def error_of(test: SmokeTest, name: str) -> str:
    return next(known(stage.error) or "" for stage in test.stages if stage.name == name)


def test_default(run: Run) -> None:
    test = run()
    assert (test.outcome, known(test.error), test.device, known(test.ran_on)) == ("ok", None, "cpu", "cpu")
    assert stages(test)["gloo all-reduce"] == "ok"
    assert {check.dtype for check in test.checks} == {"float32", "bfloat16", "float16", "int8"}
    assert {check.status for check in test.checks} == {"ok"}
    # Forked beside the other steps: it has ended, or nearly, when it is asked for.
    (gloo,) = [stage for stage in test.stages if stage.name == "gloo all-reduce"]
    assert gloo.milliseconds < 1000


def test_thorough(run: Run) -> None:
    test = run(thorough=True)
    assert (test.outcome, known(test.error)) == ("ok", None)
    found = stages(test)
    for name in ("attention flash", "attention math", "autocast bfloat16", "channels-last convolution", "gradient",
                 "TorchScript", "torch.export"):  # fmt: skip
        assert found[name] == "ok", name
    # Where there is no compiler, or Python came without its headers, that is said.
    if found["torch.compile"] != "ok":
        assert error_of(test, "torch.compile").startswith("torch.compile needs ")
    assert len(test.checks) == 4 * 3 + 1


def test_compile_without_a_compiler(run: Run, tmp_path: Path) -> None:
    test = run(thorough=True, env={"CXX": str(tmp_path / "no-such-compiler"), "PATH": str(tmp_path)})
    assert (test.outcome, stages(test)["torch.compile"]) == ("ok", "skipped")
    assert error_of(test, "torch.compile").startswith("torch.compile needs a C++ compiler: ")


def test_gloo_on_an_interface_that_is_not_there(run: Run) -> None:
    test = run(env={"GLOO_SOCKET_IFNAME": "nosuch0"})
    assert (test.outcome, known(test.stage)) == ("failed", "gloo all-reduce")
    assert "Unable to find address for: nosuch0" in str(test.error)
    assert "GLOO_SOCKET_IFNAME is nosuch0" in str(test.error)


def test_export_chain(run: Run) -> None:
    test = run("export", packages=2)
    assert (test.outcome, known(test.error)) == ("ok", None)
    assert test.device == known(test.ran_on) == "torch>onnxruntime"
    assert test.providers == ["CPUExecutionProvider"]
    found = stages(test)
    for operation in ("matmul", "convolution", "cnn", "transformer"):
        for exporter in ("", " by TorchScript"):
            assert [found[f"{operation}{exporter}: {part}"] for part in ("export", "load", "run")] == ["ok"] * 3
    assert found["as torch"] == found["TorchScript exporter"] == "ok"
    assert [(check.operation, check.status) for check in test.checks] == [
        (name, "ok") for name in ("matmul", "convolution", "cnn", "transformer")
    ]
    assert test.facts["exporter"] == "torch.export"
    assert test.facts["exported"].startswith("opset ")


def test_export_without_its_packages(run: Run) -> None:
    test = run("export")
    assert test.outcome == "untested"
    assert "needs onnx and onnxscript, not installed" in str(test.error)
