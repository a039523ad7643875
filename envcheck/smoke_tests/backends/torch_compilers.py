"""The ways in which a PyTorch model is compiled or saved for deployment: torch.compile, TorchScript, torch.export.

Each is tried with a small CNN and must give what the plain model gives. Only in a thorough test: compiling takes
seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from envcheck.smoke_tests.backends import Missing, Unsupported
from envcheck.smoke_tests.backends.torch_operations import module, must_agree, must_be_right, refused

NO_COMPILER = {
    "InvalidCxxCompiler": "a C++ compiler",
    "No working C++ compiler": "a C++ compiler",
    "Failed to find C compiler": "a C compiler",
    "Compiler: cl is not found": "a C++ compiler",
    "TritonMissing": "Triton",
    "Cannot find a working triton": "Triton",
    "No module named 'triton'": "Triton",
    "Python.h": "the headers of Python",
    "libcuda.so cannot found": "libcuda.so where the compiler looks for it",
}
"""Words in an error of torch.compile -> what it needs and did not find."""
NOT_YET = ("not supported on Python", "not yet supported", "too old to be supported by the triton")
"""How torch says that torch.compile is not for this Python, system or GPU."""


def steps(torch: Any, device: Any, request: dict[str, Any]) -> Iterable[tuple[str, Callable[[], Any]]]:
    folder = str(request.get("folder") or "")
    yield "TorchScript", partial(torchscript, torch, device, folder)
    yield "torch.export", partial(export, torch, device, folder)
    yield "torch.compile", partial(compiled, torch, device, folder)


def _model(torch: Any, device: Any) -> tuple[Any, Any, Any]:
    """A model, its input and its result, on the device."""
    model, x = module(torch, "cnn")
    model, x = model.to(device), x.to(device)
    return model, x, model(x)


def _compare(torch: Any, result: Any, eager: Any) -> None:
    must_be_right(torch, "cnn", "float32", result)
    must_agree(torch, result, eager)


def _file(folder: str, name: str, device: Any) -> str:
    if not folder:
        raise Missing("there is no folder to save a model in")
    return os.path.join(folder, name.format(str(device).replace(":", "")))


def torchscript(torch: Any, device: Any, folder: str) -> None:
    """Trace, save, load, run. Raises what torch raises, RuntimeError for another result."""
    import warnings

    if not hasattr(torch, "jit"):
        raise Unsupported(f"torch {torch.__version__} has no TorchScript")
    path = _file(folder, "traced.{}.pt", device)
    model, x, eager = _model(torch, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.10 and later advise torch.export
        torch.jit.save(torch.jit.trace(model, x), path)
        loaded = torch.jit.load(path, map_location=device)
        result = loaded(x)
    _compare(torch, result, eager)


def export(torch: Any, device: Any, folder: str) -> None:
    """torch.export, save, load, run. Raises what torch raises, RuntimeError for another result."""
    exporter = getattr(torch, "export", None)
    if exporter is None or not hasattr(exporter, "save"):  # since 2.1
        raise Unsupported(f"torch {torch.__version__} has no torch.export")
    path = _file(folder, "exported.{}.pt2", device)
    model, x, eager = _model(torch, device)
    exporter.save(exporter.export(model, (x,)), path)
    program = exporter.load(path)
    # What runs a loaded program is not in all releases the same.
    loaded = program.module() if callable(getattr(program, "module", None)) else program
    _compare(torch, loaded(x), eager)


def compiled(torch: Any, device: Any, folder: str) -> None:
    """torch.compile with its own compiler, Inductor. Raises Missing for what it needs and did not find."""
    if not hasattr(torch, "compile"):  # since 2.0
        raise Unsupported(f"torch {torch.__version__} has no torch.compile")
    _file(folder, "", device)
    # Compiled anew and left nowhere; by this process, without a pool of others that would have to be ended.
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        os.environ[name] = os.path.join(folder, name.lower())
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    model, x, eager = _model(torch, device)
    try:
        result = torch.compile(model)(x)
    except Exception as error:
        for words, what in NO_COMPILER.items():
            if refused(error, (words,)):
                raise Missing(f"torch.compile needs {what}: {_first_line(error)}") from None
        if refused(error, NOT_YET):
            raise Unsupported(_first_line(error)) from None
        raise
    _compare(torch, result, eager)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
