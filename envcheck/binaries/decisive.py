"""Which files of an installed framework decide whether it loads and runs, as data.

Paths are relative to site-packages; ``@`` stands for the suffix of an extension module (``.cpython-311-....so``,
``.abi3.so``, ``.so``). What a package preloads is in :mod:`envcheck.binaries.importers`. Read from the wheels.
"""

from __future__ import annotations

IMPORT, PLUGIN, OPTIONAL = "import", "plugin", "optional"
"""Loaded when the package is imported; when the GPU is asked for; for an extra that most do without."""


class Decisive:
    """One package."""

    __slots__ = ("after", "files", "gpu", "steps", "symbols")

    def __init__(
        self,
        files: tuple[tuple[str, str], ...],
        after: str = "",
        gpu: bool = False,
        steps: str = "",
        symbols: tuple[str, ...] = (),
    ) -> None:
        self.files = files
        """(path, role); of paths that exist in one release and not in another, those that are there count."""
        self.after = after
        """The package that has to be imported before, in the same process."""
        self.gpu = gpu
        """It may carry GPU code."""
        self.steps = steps
        """Its key in :data:`envcheck.binaries.importers.IMPORTERS`, where more than these files is loaded."""
        self.symbols = symbols
        """Beginnings of mangled names that it takes from the package in ``after``: they change between its releases."""


_TORCH_NAMES = ("_ZN3c10", "_ZNK3c10", "_ZTIN3c10", "_ZTVN3c10", "_ZN2at", "_ZNK2at", "_ZN5torch", "_ZNK5torch",
                "_ZTIN5torch", "_ZTVN5torch", "_ZN8pybind11", "_ZTIN2at", "_ZTVN2at", "_ZN6caffe2")  # fmt: skip


def _extension(*files: str, role: str = IMPORT) -> Decisive:
    """An extension of torch."""
    return Decisive(tuple((file, role) for file in files), "torch", gpu=True, symbols=_TORCH_NAMES)


_ORT = Decisive(
    (
        ("onnxruntime/capi/onnxruntime_pybind11_state@", IMPORT),
        ("onnxruntime/capi/libonnxruntime_providers_cuda.so", PLUGIN),
        ("onnxruntime/capi/libonnxruntime_providers_tensorrt.so", OPTIONAL),
    ),
    gpu=True,
)
_TENSORFLOW = Decisive(
    (("tensorflow/libtensorflow_framework.so.2", IMPORT), ("tensorflow/python/_pywrap_tensorflow_internal@", IMPORT)),
    gpu=True,
)
_FAISS = Decisive((("faiss/_swigfaiss@", IMPORT),), gpu=True)
_JAX_12 = Decisive((("jax_plugins/xla_cuda12/xla_cuda_plugin.so", PLUGIN),), gpu=True, steps="jax_plugins.xla_cuda12")
_CUPY = Decisive((("cupy/_core/core@", IMPORT), ("cupy/cuda/cub@", PLUGIN), ("cupy/cuda/thrust@", PLUGIN)), gpu=True)
_PADDLE = Decisive((("paddle/base/libpaddle.so", IMPORT), ("paddle/fluid/libpaddle.so", IMPORT)), gpu=True)

DECISIVE: dict[str, Decisive] = {
    "torch": Decisive((("torch/lib/libtorch_python.so", IMPORT),), gpu=True, steps="torch"),
    "torchvision": _extension("torchvision/_C@"),
    "torchaudio": _extension("torchaudio/lib/libtorchaudio.so", "torchaudio/lib/_torchaudio@"),
    "torchtext": _extension("torchtext/lib/libtorchtext.so", "torchtext/_torchtext@", "torchtext/lib/_torchtext@"),
    "xformers": _extension("xformers/_C@", role=OPTIONAL),
    "flash-attn": _extension("flash_attn_2_cuda@"),
    "vllm": _extension("vllm/_C@"),
    "torch-scatter": _extension("torch_scatter/_scatter_cuda@", "torch_scatter/_version_cpu@"),
    "torch-sparse": _extension("torch_sparse/_spmm_cuda@", "torch_sparse/_version_cpu@"),
    "torch-cluster": _extension("torch_cluster/_knn_cuda@", "torch_cluster/_version_cpu@"),
    "mmcv": _extension("mmcv/_ext@"),
    "mmcv-full": _extension("mmcv/_ext@"),
    "detectron2": _extension("detectron2/_C@"),
    "causal-conv1d": _extension("causal_conv1d_cuda@"),
    "mamba-ssm": _extension("selective_scan_cuda@"),
    "bitsandbytes": Decisive(
        tuple((f"bitsandbytes/libbitsandbytes_{part}.so", OPTIONAL) for part in ("cpu", "cuda118", "cuda121", "cuda124",
              "cuda126", "cuda128", "cuda129", "cuda130")), "torch", gpu=True),
    "triton": Decisive((("triton/_C/libtriton@", IMPORT),), "torch"),
    **dict.fromkeys(("onnxruntime", "onnxruntime-gpu"), _ORT),
    **dict.fromkeys(("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"), _TENSORFLOW),
    "jaxlib": Decisive(
        (("jaxlib/libjax_common.so", IMPORT), ("jaxlib/_jax@", IMPORT), ("jaxlib/xla_extension@", IMPORT))),
    "jax-cuda12-pjrt": _JAX_12,
    **dict.fromkeys(("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"), _CUPY),
    **dict.fromkeys(("paddlepaddle", "paddlepaddle-gpu"), _PADDLE),
    **dict.fromkeys(("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"), _FAISS),
    "ctranslate2": Decisive((("ctranslate2/_ext@", IMPORT),), gpu=True),
    **dict.fromkeys(("tensorrt-libs", "tensorrt-cu12-libs", "tensorrt-cu13-libs"),
                    Decisive((("tensorrt_libs/libnvinfer.so.10", PLUGIN), ("tensorrt_libs/libnvinfer.so.8", PLUGIN)),
                             gpu=True)),
    "numpy": Decisive((("numpy/_core/_multiarray_umath@", IMPORT), ("numpy/core/_multiarray_umath@", IMPORT))),
    "scipy": Decisive((("scipy/linalg/_fblas@", IMPORT),)),
}  # fmt: skip
"""Distribution -> how it is loaded."""
