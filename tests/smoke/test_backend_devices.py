"""Which devices the backends list, and which the user meant that the framework does not list; frameworks in place of
which a few names stand.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace as Names
from typing import Any

import pytest

from envcheck.smoke_tests import cuda
from envcheck.smoke_tests.backends import Missing, Unsupported, jax, openvino, tensorflow


def ids(devices: list[Any]) -> list[tuple[str, str, int | None]]:
    return [(device.id, device.kind, device.gpu) for device in devices]


def fake_tf(*names: str, built: str = "", capability: tuple[int, int] = (9, 0)) -> Any:
    places = [Names(name=f"/physical_device:{name}", device_type=name.partition(":")[0]) for name in names]
    grown: list[str] = []
    config = Names(
        grown=grown,
        list_physical_devices=lambda kind="": [place for place in places if kind in ("", place.device_type)],
        list_logical_devices=lambda: [Names(name=f"/device:{name}") for name in names],
        set_soft_device_placement=lambda on: setattr(config, "soft", on),
        experimental=Names(
            set_memory_growth=lambda place, on: grown.append(place.name),
            get_device_details=lambda place: {"device_name": "Fake", "compute_capability": capability},
            enable_tensor_float_32_execution=lambda on: None,
        ),
    )
    test = Names(is_built_with_cuda=lambda: built == "cuda", is_built_with_rocm=lambda: built == "rocm")
    zeros = Names(numpy=lambda: None)
    return Names(
        __version__="2.21.0", config=config, test=test, device=lambda name: nullcontext(), zeros=lambda _: zeros
    )


def tf_backend(tf: Any) -> tensorflow.TensorFlow:
    made = tensorflow.TensorFlow()
    made.tf = tf
    return made


def test_tensorflow_lists_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = fake_tf("CPU:0", "GPU:0", "GPU:1", built="cuda")
    devices = tf_backend(tf).devices()
    assert ids(devices) == [("CPU:0", "cpu", None), ("GPU:0", "cuda", 0), ("GPU:1", "cuda", 1)]
    assert devices[1].name == "Fake"
    assert tf.config.grown == ["/physical_device:GPU:0", "/physical_device:GPU:1"]


@pytest.mark.parametrize(
    ("built", "nodes", "meant"),
    [("cuda", True, True), ("cuda", False, False), ("", True, False), ("rocm", True, False)],
)
def test_tensorflow_that_lists_no_gpu(monkeypatch: pytest.MonkeyPatch, built: str, nodes: bool, meant: bool) -> None:
    monkeypatch.setattr(cuda, "gpu_nodes", lambda: nodes)
    monkeypatch.setattr(tensorflow.os.path, "exists", lambda path: False)
    found = ids(tf_backend(fake_tf("CPU:0", built=built)).devices())
    assert found == [("CPU:0", "cpu", None), *([("GPU:0", "cuda", 0)] if meant else [])]


def test_tensorflow_places_softly_only_what_it_does_not_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "gpu_nodes", lambda: True)
    tf = fake_tf("CPU:0", built="cuda")
    backend = tf_backend(tf)
    cpu, gpu = backend.devices()
    assert not backend.open(cpu).fell_back  # type: ignore[attr-defined]
    assert tf.config.soft is False
    worker = backend.open(gpu)
    assert tf.config.soft is True
    assert worker.dtypes() == {}
    assert list(worker.speeds()) == []
    with pytest.raises(Unsupported, match="no GPU:0"):
        worker.prepare("cnn", "float32")


def test_tensorflow_claims_by_capability() -> None:
    for capability, claimed in (((9, 0), True), ((7, 0), False)):
        backend = tf_backend(fake_tf("CPU:0", "GPU:0", built="cuda", capability=capability))
        found = backend.open(backend.devices()[1]).dtypes()
        assert found == {"tf32": claimed, "bfloat16": claimed, "float16": True, "int8": False}


def test_tensorflow_without_devices() -> None:
    with pytest.raises(Missing):
        tf_backend(fake_tf()).devices()


def fake_jax(**platforms: list[Any]) -> Any:
    def devices(platform: str = "") -> list[Any]:
        if platform and platform not in platforms:
            raise RuntimeError(f"Unknown backend {platform}")
        return platforms[platform or next(iter(platforms))]

    return Names(devices=devices)


def place(platform: str, index: int, version: str = "") -> Any:
    return Names(platform=platform, id=index, client=Names(platform_version=version), device_kind=f"Fake {platform}")


def jax_backend(module: Any) -> jax.Jax:
    made = jax.Jax()
    made.jax = module
    return made


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """JAX's plugin for CUDA, by the folder that it installs."""
    (tmp_path / "jax_plugins" / "xla_cuda12").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return "xla_cuda12"


@pytest.mark.parametrize(("version", "kind"), [("PJRT C API\ncuda 12090", "cuda"), ("PJRT C API\nrocm 60400", "rocm")])
def test_jax_lists_gpus_and_one_cpu(version: str, kind: str) -> None:
    gpus = [place("gpu", 0, version), place("gpu", 1, version)]
    backend = jax_backend(fake_jax(gpu=gpus, cpu=[place("cpu", 0), place("cpu", 1)]))
    assert ids(backend.devices()) == [("cpu:0", "cpu", None), (f"{kind}:0", kind, 0), (f"{kind}:1", kind, 1)]


def test_jax_with_a_plugin_that_found_nothing(plugin: str) -> None:
    backend = jax_backend(fake_jax(cpu=[place("cpu", 0)]))
    assert jax.plugins() == [plugin]
    assert ids(backend.devices()) == [("cpu:0", "cpu", None), ("cuda:0", "cuda", 0)]


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("JAX_PLATFORMS", "cpu", []),
        ("JAX_PLATFORMS", "cuda,cpu", ["cuda"]),
        ("JAX_PLATFORMS", "gpu", ["cuda"]),
        ("CUDA_VISIBLE_DEVICES", "", []),
        ("CUDA_VISIBLE_DEVICES", "-1", []),
        ("CUDA_VISIBLE_DEVICES", "1", ["cuda"]),
    ],
)
def test_jax_where_the_user_hides_gpus(
    plugin: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, meant: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert jax.meant() == meant


def test_jax_without_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert jax.plugins() == jax.meant() == []


class Core:
    """OpenVINO's, with devices that have these capabilities."""

    def __init__(self, **devices: list[str]) -> None:
        self.available_devices = [name.replace("_", ".") for name in devices]
        self.devices = devices

    def get_property(self, device: str, name: str) -> Any:
        if name == "OPTIMIZATION_CAPABILITIES":
            return self.devices[device.replace(".", "_")]
        if name == "FULL_DEVICE_NAME":
            return f"Fake {device}"
        raise RuntimeError(f"no property {name}")

    def compile_model(self, path: str, device: str, asked: dict[str, str]) -> Any:
        hint = asked["INFERENCE_PRECISION_HINT"]
        took = {"f32": "float32", "f16": "float16"}.get(hint, "float32")
        told = {"INFERENCE_PRECISION_HINT": f"<Type: '{took}'>", "EXECUTION_DEVICES": [device]}
        return Names(get_property=told.__getitem__)


def openvino_backend(core: Core, version: str = "2026.4.1") -> openvino.OpenVino:
    made = openvino.OpenVino()
    made.module, made.core, made.version = Names(), core, version
    return made


def test_openvino_lists_the_cpu_first() -> None:
    core = Core(NPU=["FP16"], GPU_0=["FP32", "FP16"], CPU=["FP32"])
    devices = openvino_backend(core).devices()
    assert ids(devices) == [("CPU", "cpu", None), ("NPU", "npu", None), ("GPU.0", "gpu", None)]
    assert devices[2].name == "Fake GPU.0"


def test_openvino_without_devices() -> None:
    with pytest.raises(Missing):
        openvino_backend(Core()).devices()


def test_openvino_on_a_device_without_float32() -> None:
    backend = openvino_backend(Core(NPU=["FP16", "INT8"]))
    worker = backend.open(backend.devices()[0])
    assert worker.dtypes() == {"float16": True, "bfloat16": False, "int8": True}
    with pytest.raises(Unsupported, match="NPU has no float32, only FP16, INT8"):
        worker.prepare("matmul", "float32")
    assert list(worker.speeds()) == []


@pytest.mark.parametrize(("version", "claimed"), [("2023.3.0", False), ("2024.0.0", True)])
def test_openvino_on_a_cpu_that_only_reads_float16(version: str, claimed: bool) -> None:
    backend = openvino_backend(Core(CPU=["FP32", "FP16"]), version)
    assert backend.open(backend.devices()[0]).dtypes()["float16"] is claimed


def test_openvino_that_takes_another_precision() -> None:
    backend = openvino_backend(Core(CPU=["FP32"]))
    worker: Any = backend.open(backend.devices()[0])
    worker._compile("matmul", "float16")
    with pytest.raises(Unsupported, match="asked for bf16 on CPU and took float32"):
        worker._compile("matmul", "bfloat16")


@pytest.mark.parametrize(
    ("device", "used", "where"),
    [
        ("CPU", ["CPU"], "CPU"),
        ("GPU", ["GPU.0"], "GPU"),
        ("GPU.1", ["(GPU.1)"], "GPU.1"),
        ("GPU.1", ["CPU"], "CPU"),
        ("NPU", ["NPU", "CPU"], "NPU,CPU"),
        ("CPU", None, ""),
    ],
)
def test_where_openvino_ran(device: str, used: list[str] | None, where: str) -> None:
    backend = openvino_backend(Core(**{device.replace(".", "_"): ["FP32"]}))
    worker: Any = backend.open(backend.devices()[0])
    assert worker._ran_on(Names(get_property=lambda name: used)) == where


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_no_nodes_where_gpus_are_hidden(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setattr("glob.glob", lambda pattern: ["/dev/nvidia0"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cuda.gpu_nodes()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not cuda.gpu_nodes()
