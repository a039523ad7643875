"""What installed frameworks say of their own build, in files that are read as text and never run.

Which distribution's files lie in a folder is asked of the folder where it says so (onnxruntime): after two variants
were installed into one place, the names of the distributions no longer tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from envcheck.core.snapshot import Absent, Build, Package, Unknown, known
from envcheck.probes.build_files import Site, assignments, cuda_in_label, targets_of, text_of, windows_number
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.probes.packages import TENSORFLOWS
from envcheck.versions import canonical, local_label, numbers

_CPU = Absent("a build for the CPU")
_NAMES = ("__version__", "_release_version", "version")
"""What frameworks call their version; JAX computes ``__version__`` from ``_release_version``."""
_SILENT = Unknown("the installed files do not say")


def probe(host: Host, log: Log, packages: list[Package] | Unknown) -> list[Build]:
    """One file or two of each framework that is installed:

    1. torch/version.py, TorchConfig.cmake (C++ ABI). 2. version.py and label of torchvision, torchaudio and compiled
    extensions. 3. onnxruntime/capi: build_and_package_info.py, version_info.py, the provider libraries.
    4. tensorflow/python/platform/build_info.py. 5. jaxlib/version.py, names of its plugins. 6. tensorrt/__init__.py.
    7. xformers/cpp_lib.json. 8. names of bitsandbytes' libraries: one build for each CUDA. 9. cupy/.data/_wheel.json.
    10. paddle/version/__init__.py. 11. numpy/version.py, triton/__init__.py.

    A damaged file gives a build whose version is unknown and says why.
    """
    builds: list[Build] = []
    seen: set[str] = set()
    installed = {} if isinstance(packages, Unknown) else {package.name: package for package in reversed(packages)}
    for name in list(installed)[::-1]:
        subject, reader = _reader(name)
        site = known(installed[name].location)
        if reader is None or subject in seen or site is None or site.endswith("/conda-meta"):
            continue
        seen.add(subject)
        with log.attempt("builds", f"{site}: {subject}") as attempt:
            found = reader(Site(host, site, installed), name)
            builds += found
            attempt.found(", ".join(f"{build.package} {known(build.variant) or ''}".strip() for build in found[:3]))
    return builds


_Reader = Callable[[Site, str], list[Build]]


def _broken(package: str, why: Unknown, source: str) -> list[Build]:
    return [Build(package=package, version=why, source=source)]


def _from_label(build: Build, label: str) -> None:
    """Fill in what a version's label tells."""
    if cuda := cuda_in_label(label):
        build.cuda, build.variant = cuda, "cuda"
    elif label.startswith("cpu"):
        build.cuda, build.variant = _CPU, "cpu"
    elif label.startswith(("rocm", "xpu")):
        build.cuda, build.variant = Absent(f"a build for {label}"), "rocm" if label.startswith("rocm") else "xpu"
        if build.variant == "rocm":
            build.hip = label[4:] or _SILENT
    abi = label.lower().partition("cxx11abi")[2]
    if abi.startswith(("true", "false")):
        build.cxx11_abi = abi.startswith("true")


def _torch(site: Site, name: str) -> list[Build]:
    source = "torch/version.py"
    values = site.values(source)
    if isinstance(values, Unknown):
        return _broken("torch", values, source)
    version = text_of(values, "__version__")
    if version is None:
        return _broken("torch", Unknown(f"{source} does not name it"), source)
    build = Build(package="torch", version=version, source=source)
    cuda, hip, xpu = text_of(values, "cuda"), text_of(values, "hip"), text_of(values, "xpu")
    if "cuda" not in values:
        build.cuda = Unknown(f"{source} does not name it")
        _from_label(build, local_label(version) or "")
    else:
        build.variant = "cuda" if cuda else "rocm" if hip else "xpu" if xpu else "cpu"
        build.cuda = cuda or (_CPU if build.variant == "cpu" else Absent(f"a build for {build.variant}"))
        build.hip = hip or Absent("not a ROCm build")
    if build.variant == "rocm" and (targets := rocm_targets(site.listdir("torch/lib/rocblas/library"))):
        build.sass = targets
    # Older releases write the flag there that extensions must be compiled with; newer ones have no such line.
    config = site.read("torch/share/cmake/Torch/TorchConfig.cmake")
    if isinstance(config, str):
        flag = config.partition("_GLIBCXX_USE_CXX11_ABI=")[2][:1]
        if flag in ("0", "1"):
            build.cxx11_abi = flag == "1"
    return [build]


def rocm_targets(names: list[str]) -> list[str]:
    """AMD GPU targets that the kernels of rocBLAS are there for, from the names of their files.

    ``TensileLibrary_lazy_gfx90a.dat``, ``Kernels.so-000-gfx90a-xnack+.hsaco``. The scripts that build PyTorch's wheels
    pack those files of rocBLAS that are for PyTorch's own targets.
    """
    found = set()
    for name in names:
        tail = name.rpartition("gfx")[2] if "gfx" in name else ""
        digits = tail.partition(".")[0].partition("-")[0].partition("_")[0]
        if 3 <= len(digits) <= 4 and digits.isalnum() and digits[0] in "123456789":
            found.add("gfx" + digits)
    return sorted(found, key=lambda target: (len(target), target))


def _extension(folder: str, file: str = "version.py") -> _Reader:
    """A package of compiled code beside torch: its own version, and the CUDA that its label tells."""

    def read(site: Site, name: str) -> list[Build]:
        source = f"{folder}/{file}"
        values = site.values(source)
        if isinstance(values, Unknown):
            # Not all have such a file in all releases; the label of the distribution remains.
            build = Build(package=name, source=f"{name}'s version")
        else:
            build = Build(package=name, version=text_of(values, *_NAMES) or _SILENT, source=source)
            if cuda := text_of(values, "cuda"):
                build.cuda, build.variant = cuda, "cuda"
        label = local_label(known(build.version) or "") or site.label(name)
        _from_label(build, label)
        return [build] if known(build.version) or known(build.variant) else []

    return read


def _onnxruntime(site: Site, name: str) -> list[Build]:
    source = "onnxruntime/capi/build_and_package_info.py"
    values = site.values(source)
    names = site.listdir("onnxruntime/capi")
    if not names:
        return _broken(name, Unknown("onnxruntime/capi is not there"), "onnxruntime/capi")
    providers = sorted(
        {
            entry.partition("onnxruntime_providers_")[2].partition(".")[0]
            for entry in names
            if "onnxruntime_providers_" in entry and not entry.endswith(".py")
        }
        - {"shared"}
    )
    if isinstance(values, Unknown):
        variants = [one for one in site.installed if _is_onnxruntime(one)]
        if len(variants) > 1:
            return _broken(name, Unknown(f"the files may be those of {' or '.join(sorted(variants))}"), source)
        values, source = {}, "onnxruntime/capi"
    package = canonical(text_of(values, "package_name") or name)
    more = site.values("onnxruntime/capi/version_info.py")
    if not isinstance(more, Unknown):
        values = {**more, **values}
    version = text_of(values, "__version__")
    if version is None:
        module = site.values("onnxruntime/__init__.py")
        version = None if isinstance(module, Unknown) else text_of(module, "__version__")
    build = Build(package=package, version=version or _SILENT, source=source)
    build.variant = _onnxruntime_variant(package, providers, any("DirectML" in entry for entry in names), values)
    build.cuda, build.cudnn = text_of(values, "cuda_version") or _SILENT, text_of(values, "cudnn_version") or _SILENT
    if build.variant != "cuda":
        build.cuda = _CPU if build.variant == "cpu" else Absent(f"a build for {build.variant}")
    build.hip = text_of(values, "rocm_version") or Absent("not a ROCm build")
    return [build]


def _onnxruntime_variant(package: str, providers: list[str], directml: bool, values: Mapping[str, Any]) -> str:
    """From the name that the files themselves bear; for the plain name and others, from the providers beside it."""
    for word, variant in (
        *(("gpu", "cuda"), ("directml", "directml"), ("openvino", "openvino"), ("rocm", "rocm"), ("migraphx", "rocm")),
        *(("qnn", "qnn"), ("cann", "cann"), ("vitisai", "vitisai")),
    ):
        if word in package:
            return variant
    if values.get("use_cuda") is True or text_of(values, "cuda_version"):
        return "cuda"
    if package == "onnxruntime" and "package_name" in values:
        return "cpu"
    for word, variant in (("cuda", "cuda"), ("rocm", "rocm"), ("migraphx", "rocm"), ("openvino", "openvino")):
        if word in providers:
            return variant
    return "directml" if directml else "cpu"


def _is_onnxruntime(name: str) -> bool:
    return name.startswith(("onnxruntime", "ort-nightly")) and not name.startswith(
        ("onnxruntime-extensions", "onnxruntime-genai", "onnxruntime-tools")
    )


def _tensorflow(site: Site, name: str) -> list[Build]:
    source = "tensorflow/python/platform/build_info.py"
    text = site.read(source)
    package = "tensorflow" if "tensorflow" in site.installed else name
    if isinstance(text, Unknown):
        return _broken(package, text, source)
    values = assignments(text)  # older releases: plain assignments
    start, end = text.find("OrderedDict("), text.rfind(")")
    if 0 <= start < end:
        from ast import literal_eval

        try:
            pairs = literal_eval(text[start + len("OrderedDict(") : end])
            values |= {str(key): value for key, value in pairs}
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return _broken(package, Unknown(f"{source} is damaged"), source)
    if "is_cuda_build" not in values:
        return _broken(package, Unknown(f"{source} does not say what it was built for"), source)
    installed = site.installed.get(name)
    build = Build(package=package, version=installed.version if installed else _SILENT, source=source)
    if values["is_cuda_build"] is not True:
        build.variant = "rocm" if values.get("is_rocm_build") is True else "cpu"
        build.cuda = Absent(f"a build for {'ROCm' if build.variant == 'rocm' else 'the CPU'}")
        return [build]
    build.variant = "cuda"
    build.cuda = windows_number(text_of(values, "cuda_version", "cuda_version_number")) or _SILENT
    build.cudnn = windows_number(text_of(values, "cudnn_version", "cudnn_version_number")) or _SILENT
    targets = values.get("cuda_compute_capabilities")
    if isinstance(targets, list):
        build.sass, build.ptx = targets_of([str(target) for target in targets])
    return [build]


def _jax_plugin(site: Site, name: str) -> list[Build]:
    folder = name.replace("-", "_")
    values = site.values(f"{folder}/version.py")
    version = None if isinstance(values, Unknown) else text_of(values, *_NAMES)
    build = Build(package=name, version=version or _SILENT, source=f"{folder}/version.py")
    major = name.removeprefix("jax-cuda").partition("-")[0]
    build.variant = "cuda" if major.isdecimal() else "rocm"
    build.cuda = major if major.isdecimal() else Absent("a build for ROCm")
    return [build]


def _tensorrt(site: Site, name: str) -> list[Build]:
    """The Python package; the CUDA major stands in the name of the distribution that brings the bindings."""
    companions = [one for one in site.installed if one.startswith("tensorrt") and "-cu" in one]
    major = next((one.partition("-cu")[2].partition("-")[0] for one in sorted(companions)), "")
    for folder in ("tensorrt", "tensorrt_bindings", "tensorrt_lean", "tensorrt_dispatch"):
        values = site.values(f"{folder}/__init__.py")
        version = None if isinstance(values, Unknown) else text_of(values, "__version__")
        if version:
            cuda = major if major.isdecimal() else _SILENT
            source = f"{folder}/__init__.py"
            return [Build(package=name, version=version, cuda=cuda, variant="cuda", source=source)]
    return []


def _xformers(site: Site, name: str) -> list[Build]:
    source = "xformers/cpp_lib.json"
    text = site.read(source)
    if isinstance(text, Unknown):
        return _broken(name, text, source)
    import msgspec

    try:
        data = msgspec.json.decode(text)
        said, env = data["version"], data.get("env") or {}
        number, targets = said.get("cuda"), (env.get("TORCH_CUDA_ARCH_LIST") or "").split()
    except (msgspec.MsgspecError, AttributeError, KeyError, TypeError):
        return _broken(name, Unknown(f"{source} is damaged"), source)
    values = site.values("xformers/version.py")
    version = None if isinstance(values, Unknown) else text_of(values, "__version__")
    build = Build(package=name, version=version or _SILENT, source=source)
    if isinstance(built_for := said.get("torch"), str):
        build.torch = built_for
    if isinstance(number, int) and number > 100:
        build.cuda, build.variant = f"{number // 100}.{number % 100}", "cuda"
        build.sass = list(dict.fromkeys(target.removesuffix("+PTX") for target in targets)) or _SILENT
        build.ptx = [target[:-4] for target in targets if target.endswith("+PTX")] if targets else _SILENT
    else:
        build.variant = "rocm" if said.get("hip") else "cpu"
        build.cuda = Absent(f"a build for {'ROCm' if said.get('hip') else 'the CPU'}")
    return [build]


def _bitsandbytes(site: Site, name: str) -> list[Build]:
    """One library for each CUDA; which one is loaded is decided by torch's CUDA at run time."""
    found: dict[str, str] = {}
    names = site.listdir("bitsandbytes")
    for entry in names:
        digits = entry.partition("bitsandbytes_cuda")[2].partition(".")[0].partition("_")[0]
        if digits.isdecimal() and len(digits) > 2:
            found.setdefault(f"{digits[:-1]}.{digits[-1]}", entry)
    installed = site.installed.get(name)
    version = installed.version if installed else _SILENT
    if not found and any("bitsandbytes_cpu" in entry for entry in names):
        return [Build(package=name, version=version, cuda=_CPU, variant="cpu", source="bitsandbytes")]
    return [
        Build(package=name, version=version, cuda=cuda, variant="cuda", source=f"bitsandbytes/{entry}")
        for cuda, entry in sorted(found.items(), key=lambda item: numbers(item[0]))
    ]


def _cupy(site: Site, name: str) -> list[Build]:
    values, wheel = site.values("cupy/_version.py"), site.read("cupy/.data/_wheel.json")
    version = None if isinstance(values, Unknown) else text_of(values, "__version__")
    build = Build(package=name, version=version or _SILENT, source="cupy/_version.py")
    tail = name.partition("cuda")[2].removesuffix("x")
    if isinstance(wheel, str):
        import msgspec

        try:
            said = msgspec.json.decode(wheel)  # {"cuda": "12.x", "packaging": "pip", "cudnn": {"version": "8.8.1"}}
            if numbers(said["cuda"]):
                build.cuda, build.variant = said["cuda"].removesuffix(".x"), "cuda"
            build.cudnn = (said.get("cudnn") or {}).get("version") or _SILENT
            build.source = "cupy/.data/_wheel.json"
        except (msgspec.MsgspecError, AttributeError, KeyError, TypeError):
            build.cudnn = Unknown("cupy/.data/_wheel.json is damaged")
    if not known(build.cuda) and tail.isdecimal():
        build.cuda, build.variant = tail if len(tail) < 3 else f"{tail[:-1]}.{tail[-1]}", "cuda"
    return [build]


def _paddle(site: Site, name: str) -> list[Build]:
    source = "paddle/version/__init__.py"
    values = site.values(source)
    if isinstance(values, Unknown):
        source = "paddle/version.py"  # older releases
        values = site.values(source)
    if isinstance(values, Unknown):
        return _broken(name, values, source)
    build = Build(package=name, version=text_of(values, "full_version") or _SILENT, source=source)
    cuda = text_of(values, "cuda_version")
    build.variant = "cuda" if cuda else "cpu"
    build.cuda, build.cudnn = cuda or _CPU, text_of(values, "cudnn_version") or (_SILENT if cuda else _CPU)
    return [build]


def _numpy(site: Site, name: str) -> list[Build]:
    source = "numpy/version.py"
    values = site.values(source)
    version = None if isinstance(values, Unknown) else text_of(values, "version", "full_version")
    if version is None:
        source = "numpy/_version.py"  # where releases made with versioneer keep it, in a JSON text
        text = site.read(source)
        version = "" if isinstance(text, Unknown) else text.partition('"version": "')[2].partition('"')[0]
    if not version:
        why = values if isinstance(values, Unknown) else Unknown("numpy/version.py does not name it")
        return _broken(name, why, "numpy/version.py")
    return [Build(package=name, version=version, source=source)]


_READERS: dict[str, tuple[str, _Reader]] = {
    "torch": ("torch", _torch),
    "numpy": ("numpy", _numpy),
    "xformers": ("xformers", _xformers),
    "bitsandbytes": ("bitsandbytes", _bitsandbytes),
    "paddlepaddle": ("paddle", _paddle),
    "paddlepaddle-gpu": ("paddle", _paddle),
    "jaxlib": ("jaxlib", _extension("jaxlib")),
    "triton": ("triton", _extension("triton", "__init__.py")),
    "flash-attn": ("flash-attn", _extension("flash_attn", "__init__.py")),
    **dict.fromkeys(TENSORFLOWS, ("tensorflow", _tensorflow)),
    **{name: (name, _extension(name)) for name in ("torchvision", "torchaudio", "torchtext", "mmcv", "natten")},
    **{name: (name, _extension(name, "__init__.py")) for name in ("detectron2", "pytorch3d")},
    "vllm": ("vllm", _extension("vllm", "_version.py")),
    **{
        name: (name, _extension(name.replace("-", "_"), "__init__.py"))
        for name in ("torch-scatter", "torch-sparse", "torch-cluster", "torch-spline-conv", "pyg-lib", "dgl")
    },
    "mmcv-full": ("mmcv", _extension("mmcv")),
}


def _reader(name: str) -> tuple[str, _Reader | None]:
    """What a distribution's modules are called here, and who reads them."""
    if name in _READERS:
        return _READERS[name]
    if _is_onnxruntime(name):
        return "onnxruntime", _onnxruntime
    if name.startswith("tensorrt") and not name.startswith(("tensorrt-llm", "tensorrt-model")):
        return "tensorrt", _tensorrt
    if name.startswith("cupy"):
        return "cupy", _cupy
    if name.startswith(("jax-cuda", "jax-rocm")) and name.endswith("-plugin"):
        return name, _jax_plugin
    return name, None
