"""Which data types a device of PyTorch is said to have, and how a refusal is told from a failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from envcheck.smoke_tests.backends import Unsupported
from envcheck.smoke_tests.backends.torch import TorchWorker


def worker(kind: str, **parts: Any) -> TorchWorker:
    made = TorchWorker.__new__(TorchWorker)
    made.kind, made.device, made.threads = kind, "the device", 1
    made.torch = SimpleNamespace(__version__="9.9", float32="float32", **parts)
    return made


def cuda(capability: tuple[int, int], toolkit: str = "12.4", float8: bool = True) -> dict[str, bool]:
    found = SimpleNamespace(get_device_capability=lambda device: capability)
    more = {"float8_e4m3fn": "float8_e4m3fn"} if float8 else {}
    return worker("cuda", cuda=found, version=SimpleNamespace(cuda=toolkit), **more).dtypes()


@pytest.mark.parametrize(
    ("capability", "claimed"),
    [
        ((5, 0), set()),
        ((7, 0), {"float16"}),
        ((7, 5), {"float16", "int8"}),
        ((8, 0), {"tf32", "float16", "bfloat16", "int8"}),
        ((8, 9), {"tf32", "float16", "bfloat16", "int8", "float8_e4m3"}),
        ((9, 0), {"tf32", "float16", "bfloat16", "int8", "float8_e4m3"}),
    ],
)
def test_nvidia(capability: tuple[int, int], claimed: set[str]) -> None:
    found = cuda(capability)
    assert {dtype for dtype, has in found.items() if has} == claimed
    assert set(found) == {"tf32", "float16", "bfloat16", "int8", "float8_e4m3"}


def test_nvidia_with_an_old_toolkit_or_torch() -> None:
    assert cuda((8, 0), "10.2") == {
        "tf32": False,
        "float16": True,
        "bfloat16": False,
        "int8": True,
        "float8_e4m3": False,
    }
    assert cuda((9, 0), "11.8")["float8_e4m3"] is False
    assert "float8_e4m3" not in cuda((9, 0), float8=False)


@pytest.mark.parametrize(
    ("name", "float8"),
    [("gfx90a:sramecc+:xnack-", ""), ("gfx942:sramecc+:xnack-", "float8_e4m3fnuz"), ("gfx950", "float8_e4m3fn"),
     ("gfx1201", "float8_e4m3fn"), ("gfx1100", "")],
)  # fmt: skip
def test_amd(name: str, float8: str) -> None:
    properties = SimpleNamespace(get_device_properties=lambda device: SimpleNamespace(gcnArchName=name))
    has = {"float8_e4m3fn": "a", "float8_e4m3fnuz": "b"}
    found = worker("rocm", cuda=properties, **has)
    assert found._float8() == float8
    assert found.dtypes() == {"float16": True, "bfloat16": True, **({"float8_e4m3": True} if float8 else {})}
    assert worker("rocm", cuda=properties)._float8() == ""  # this torch has no such type


def test_apple_and_intel() -> None:
    newer = SimpleNamespace(mps=SimpleNamespace(is_macos_or_newer=lambda major, minor: major <= 14))
    assert worker("mps", backends=newer).dtypes() == {"float16": True, "bfloat16": True}
    assert worker("mps", backends=SimpleNamespace(mps=SimpleNamespace())).dtypes()["bfloat16"] is False
    native = SimpleNamespace(is_bf16_supported=lambda including_emulation=True: including_emulation)
    assert worker("xpu", xpu=native).dtypes() == {"float16": True, "bfloat16": False}
    plain = SimpleNamespace(is_bf16_supported=lambda: True)
    assert worker("xpu", xpu=plain).dtypes()["bfloat16"] is True
    assert worker("xpu", xpu=SimpleNamespace()).dtypes()["bfloat16"] is True


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        ("\"addmm_impl_cpu_\" not implemented for 'Half'", True),
        (
            "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9, or ROCm MI300+",
            True,
        ),
        ("_int_mm_out_cuda not compiled for this platform.", True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", False),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, error: str, refused: bool) -> None:
    found = worker("cuda")

    def fails() -> None:
        raise RuntimeError(error)

    monkeypatch.setattr(found, "_prepare", lambda operation, dtype: fails)
    with pytest.raises(Unsupported if refused else RuntimeError):
        found.prepare("matmul", "float16")()
    # float32 is there or torch is broken.
    with pytest.raises(RuntimeError):
        found.prepare("matmul", "float32")()
    monkeypatch.setattr(found, "_prepare", lambda operation, dtype: fails())
    with pytest.raises(Unsupported if refused else RuntimeError):
        found.prepare("matmul", "float16")


def test_no_float8_in_this_torch() -> None:
    with pytest.raises(Unsupported, match="has no float8"):
        worker("cuda").prepare("matmul-fp8", "float8_e4m3")
    with pytest.raises(Unsupported, match="has no int8"):
        worker("cuda").prepare("matmul-int8", "int8")
