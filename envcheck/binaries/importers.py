"""What packages load when they are imported or used, and in which order: data for :mod:`envcheck.binaries.importing`.

Read in the packages' own sources and wheels in November 2026; each row says where.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Preload(NamedTuple):
    """A library of the NVIDIA wheels that an importer opens by its path before something needs it."""

    folder: str
    """Below ``nvidia/``: ``cudnn`` for ``nvidia/cudnn/lib``."""
    pattern: str
    """File name; ``*`` and ``[0-9]`` as in a shell."""
    required: bool = True
    """The import ends with an error when no such file is there."""


class Step(NamedTuple):
    """One ``dlopen``."""

    file: str
    """A path below a folder of sys.path, ``*`` as in a shell; with ``search`` a soname."""
    search: bool = False
    """The loader searches for the name."""
    caller: str = ""
    """The file from whose code it is opened: its RUNPATH counts in a search."""
    everywhere: bool = False
    """Opened with RTLD_GLOBAL."""
    optional: bool = False
    """The package goes on without it."""
    rescue: tuple[Preload, ...] = ()
    """Opened when the step fails for a library named here; then the step is tried again."""
    then: tuple[Preload, ...] = ()
    """Opened after the step, when a library that begins with ``when`` is loaded by then; failures don't matter."""
    when: str = ""
    wheels: tuple[str, ...] = ()
    """Of a search: folders of the NVIDIA wheels that are tried by path first (``cuda.pathfinder``)."""


class Importer(NamedTuple):
    """What ``import`` of a package loads."""

    first: tuple[str, ...]
    """Packages that it imports before."""
    steps: tuple[Step, ...]
    uses: Mapping[str, tuple[Step, ...]]
    """What is loaded later, by what is used: ``cuda``, ``tensorrt`` ..."""
    source: str


TORCH_PRELOADS = (
    Preload("cublas", "libcublasLt.so.*[0-9]"),
    Preload("cublas", "libcublas.so.*[0-9]"),
    Preload("cudnn", "libcudnn.so.*[0-9]"),
    Preload("cuda_nvrtc", "libnvrtc.so.*[0-9]"),
    Preload("cuda_nvrtc", "libnvrtc-builtins.so.*[0-9]"),
    Preload("cuda_runtime", "libcudart.so.*[0-9]"),
    Preload("cuda_cupti", "libcupti.so.*[0-9]"),
    Preload("cufft", "libcufft.so.*[0-9]"),
    Preload("curand", "libcurand.so.*[0-9]"),
    Preload("nvjitlink", "libnvJitLink.so.*[0-9]"),
    Preload("cusparse", "libcusparse.so.*[0-9]"),
    Preload("cusparselt", "libcusparseLt.so.*[0-9]"),
    Preload("cusolver", "libcusolver.so.*[0-9]"),
    Preload("nccl", "libnccl.so.*[0-9]"),
    Preload("nvshmem", "libnvshmem_host.so.*[0-9]"),
    Preload("cufile", "libcufile.so.*[0-9]"),
    Preload("nvtx", "libnvToolsExt.so.*[0-9]", required=False),
)
"""torch 2.13.0, ``torch/__init__.py``, ``_preload_cuda_deps``; also from ``nvidia/cuNN/lib``, NN: CUDA of the build."""

ORT_PRELOADS = tuple(
    Step(f"nvidia/{folder}/lib/{file}", optional=True)
    for folder, file in (
        ("cublas", "libcublasLt.so.12"),
        ("cublas", "libcublas.so.12"),
        ("cuda_nvrtc", "libnvrtc.so.12"),
        ("curand", "libcurand.so.10"),
        ("cufft", "libcufft.so.11"),
        ("cuda_runtime", "libcudart.so.12"),
        ("cu13", "libcublasLt.so.13"),
        ("cu13", "libcublas.so.13"),
        ("cu13", "libnvrtc.so.13"),
        ("cu13", "libcurand.so.10"),
        ("cu13", "libcufft.so.12"),
        ("cu13", "libcudart.so.13"),
        ("cudnn", "libcudnn.so.9"),
    )
)
"""``_get_nvidia_dll_paths``: one of the two groups, by the major CUDA version of the build."""

ORT = "onnxruntime/capi/"
FRAMEWORK = "tensorflow/libtensorflow_framework.so.2"
PATHFINDER = ("cublas", "cusolver", "cusparse", "curand", "nccl", "cusparselt", "cufft", "cuda_nvrtc", "cu13", "cu12")


JAX_PRELOADS = tuple(
    Step(f"nvidia/{folder}/lib/{file}", optional=True)
    for folder, file in (
        ("cuda_runtime", "libcudart.so.12"),
        ("cu13", "libcudart.so.13"),
        ("cuda_nvrtc", "libnvrtc.so.12"),
        ("cu13", "libnvrtc.so.13"),
        ("cublas", "libcublas.so.12"),
        ("cublas", "libcublasLt.so.12"),
        ("cu13", "libcublas.so.13"),
        ("cu13", "libcublasLt.so.13"),
        ("nccl", "libnccl.so.2"),
        ("cuda_cupti", "libcupti.so.12"),
        ("cu13", "libcupti.so.13"),
        ("cusparse", "libcusparse.so.12"),
        ("cu13", "libcusparse.so.12"),
        ("cusolver", "libcusolver.so.11"),
        ("cu13", "libcusolver.so.12"),
        ("cufft", "libcufft.so.11"),
        ("cu13", "libcufft.so.12"),
        ("nvshmem", "libnvshmem_host.so.3"),
        ("cudnn", "libcudnn.so.9"),
    )
)
"""jax-cuda12-pjrt 0.12.0.1, ``_load_nvidia_libraries``: by path only, what is not there is passed over."""


def _tensorflow(*names: str) -> tuple[Step, ...]:
    return tuple(Step(name, search=True, caller=FRAMEWORK, optional=True) for name in names)


def _ort(name: str) -> tuple[Step, ...]:
    return (
        Step(ORT + "libonnxruntime_providers_shared.so", everywhere=True),
        Step(ORT + f"libonnxruntime_providers_{name}.so"),
    )


IMPORTERS: dict[str, Importer] = {
    "torch": Importer(
        (),
        (
            Step(
                "torch/lib/libtorch_global_deps.so",
                everywhere=True,
                rescue=TORCH_PRELOADS,
                then=TORCH_PRELOADS,
                when="libcudart.so",
            ),
            Step("torch/_C.*.so"),
        ),
        {},
        "torch 2.13.0, torch/__init__.py: _load_global_deps, _preload_cuda_deps; wheel: RUNPATH of torch/lib/*.so",
    ),
    "torchvision": Importer(
        ("torch",),
        (Step("torchvision/_C*.so", optional=True), Step("torchvision/image*.so", optional=True)),
        {},
        "torchvision 0.29.2, torchvision/extension.py, torchvision/io/image.py: torch.ops.load_library after torch; "
        "the RPATH of its _C_stable.so is of the build machine",
    ),
    "xformers": Importer(
        ("torch",),
        (Step("xformers/_C.so", optional=True),),
        {},
        "xformers 0.0.35, xformers/_cpp_lib.py: torch.ops.load_library, failures only warn; no RPATH: lives on torch's",
    ),
    "flash_attn": Importer(
        ("torch",),
        (Step("flash_attn_2_cuda.*.so"),),
        {},
        "flash-attention, flash_attn/flash_attn_interface.py: 'import the CUDA kernels after importing torch'",
    ),
    "onnxruntime": Importer(
        (),
        (
            Step(ORT + "onnxruntime_pybind11_state*.so"),
            Step(ORT + "libonnxruntime_providers_shared.so", everywhere=True, optional=True),
        ),
        {
            "cuda": _ort("cuda"),
            "tensorrt": _ort("tensorrt"),
            "rocm": _ort("rocm"),
            "migraphx": _ort("migraphx"),
            "openvino": _ort("openvino"),
            "dnnl": _ort("dnnl"),
            "preload_dlls": ORT_PRELOADS,
        },
        "onnxruntime-gpu 1.31.1, onnxruntime/__init__.py: preload_dlls runs only when it is called; providers are "
        "opened with a session (onnxruntime/core/session/provider_bridge_ort.cc, ProviderLibrary, s_library_shared); "
        "they have no RPATH: without a preload, or torch of the same CUDA, the system must have the libraries",
    ),
    "tensorflow": Importer(
        (),
        (Step("tensorflow/python/_pywrap_tensorflow_internal.so"),),
        {
            "cuda": _tensorflow(
                "libcudart.so.12",
                "libcublas.so.12",
                "libcublasLt.so.12",
                "libcufft.so.11",
                "libcusolver.so.11",
                "libcusparse.so.12",
                "libcudnn.so.9",
            ),
        },
        "tensorflow 2.21.0: tsl/platform/default/dso_loader.cc opens by soname, from libtensorflow_framework.so.2, "
        "whose RUNPATH names nvidia/*/lib beside tensorflow (the and-cuda wheels), but neither cusolver nor nvjitlink; "
        "tensorflow/python/platform/build_info.py: CUDA 12, cuDNN 9 (cuDNN 8 until 2.17)",
    ),
    "cupy": Importer(
        (),
        (Step("cupy/_core/core.*.so"),),
        {
            name: (
                Step(soname, search=True, wheels=PATHFINDER, optional=True),
                Step(f"cupy_backends/cuda/libs/{name}.*.so"),
            )
            for name, soname in (
                ("cublas", "libcublas.so.12"),
                ("cusolver", "libcusolver.so.11"),
                ("cusparse", "libcusparse.so.12"),
                ("curand", "libcurand.so.10"),
                ("nccl", "libnccl.so.2"),
            )
        },
        "cupy-cuda12x 14.2.0, cupy_backends/cuda/libs/__init__.py: each part is opened when first used, by "
        "cuda.pathfinder: loaded already, NVIDIA wheels, conda, the loader's own search",
    ),
    "paddle": Importer(
        (),
        (Step("paddle/base/libpaddle.so"),),
        {},
        "paddlepaddle-gpu 2.6.2, paddle/base/core.py; RUNPATH $ORIGIN/../libs of libpaddle.so. What phi opens later by "
        "name depends on its flags and is not re-enacted",
    ),
    "jax_plugins.xla_cuda12": Importer(
        (),
        (*JAX_PRELOADS, Step("jax_plugins/xla_cuda12/xla_cuda_plugin.so")),
        {},
        "jax-cuda12-pjrt 0.12.0.1, jax_plugins/xla_cuda12/__init__.py: _load_nvidia_libraries; RPATH (inherited) to "
        "nvidia/*/lib of xla_cuda_plugin.so",
    ),
}
