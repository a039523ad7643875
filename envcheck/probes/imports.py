"""Import tests: each installed framework is imported in a process of its own. Only where somebody asked for them.

Places, in order: the list of packages; then one child for each framework that is in it, several side by side. A child
runs the interpreter that is looked at, as the user's program would run it, but from the root folder; it writes no
bytecode, and a temporary folder that is removed stands for the home folder and for those of caches.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from envcheck.core.snapshot import Absent, ImportTest, Package, Unknown, known
from envcheck.facts.imports import fault_in
from envcheck.probes.host import Host, Ran
from envcheck.probes.log import Log

EACH = 90.0
"""Seconds that one import may take; torch takes 30 from a cold network disk."""
ALTOGETHER = 50.0
"""Seconds for all when there is no deadline."""
SIDE_BY_SIDE = 4
"""Children at a time, where there are as many cores: each may take a gigabyte of memory."""
MARK = "ENVCHECK_IMPORT_TEST"
"""Environment variable by which what a child has started is found again."""

MODULES = {
    "torch": "torch", "torchvision": "torchvision", "torchaudio": "torchaudio", "xformers": "xformers",
    "triton": "triton", "pytorch-triton": "triton", "triton-windows": "triton", "flash-attn": "flash_attn",
    "bitsandbytes": "bitsandbytes", "torch-scatter": "torch_scatter", "torch-sparse": "torch_sparse",
    "torch-cluster": "torch_cluster", "torch-spline-conv": "torch_spline_conv", "pyg-lib": "pyg_lib",
    "transformers": "transformers", "accelerate": "accelerate", "diffusers": "diffusers", "deepspeed": "deepspeed",
    "vllm": "vllm", "mmcv": "mmcv", "detectron2": "detectron2", "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime", "onnxruntime-openvino": "onnxruntime", "onnxruntime-directml": "onnxruntime",
    "onnxruntime-training": "onnxruntime", "onnxruntime-rocm": "onnxruntime", "onnx": "onnx",
    "tensorflow": "tensorflow", "tensorflow-cpu": "tensorflow", "tensorflow-intel": "tensorflow",
    "tf-nightly": "tensorflow", "jax": "jax", "jaxlib": "jaxlib", "tensorrt": "tensorrt",
    "tensorrt-cu11": "tensorrt", "tensorrt-cu12": "tensorrt", "tensorrt-cu13": "tensorrt", "cupy": "cupy",
    "cupy-cuda11x": "cupy", "cupy-cuda12x": "cupy", "cupy-cuda13x": "cupy", "paddlepaddle": "paddle",
    "paddlepaddle-gpu": "paddle", "mxnet": "mxnet", "numpy": "numpy", "scipy": "scipy.linalg",
    "pandas": "pandas", "polars": "polars", "polars-lts-cpu": "polars", "pyarrow": "pyarrow", "numba": "numba",
    "llvmlite": "llvmlite.binding", "scikit-learn": "sklearn", "xgboost": "xgboost", "lightgbm": "lightgbm",
    "openvino": "openvino", "opencv-python": "cv2", "opencv-python-headless": "cv2",
    "opencv-contrib-python": "cv2", "opencv-contrib-python-headless": "cv2", "faiss-cpu": "faiss",
    "faiss-gpu": "faiss", "ctranslate2": "ctranslate2", "sentencepiece": "sentencepiece",
    "tokenizers": "tokenizers", "safetensors": "safetensors", "pillow": "PIL.Image", "dgl": "dgl",
}  # fmt: skip
"""Distribution -> the module to import, one that loads compiled code. Two distributions of one module are one test."""

PLACES = (
    *("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"),
    *("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH", "HF_HOME"),
)
"""Variables that name folders to write to."""

COMPLAINTS = (
    "compiled using NumPy 1",
    "_ARRAY_API not found",
    "Failed to initialize NumPy",
    "Missing required CPU features",
)
"""What a module writes to stderr that was imported all the same, but will not work."""


def probe(host: Host, log: Log, packages: list[Package] | Absent | Unknown) -> list[ImportTest]:
    """The results, in the order of :data:`MODULES`."""
    installed = {package.name for package in known(packages) or ()}
    modules: dict[str, str] = {}
    for package, module in MODULES.items():
        if package in installed:
            modules.setdefault(module, package)
    if not modules:
        log.add("imports", "absent", "no framework is installed that could be imported")
        return []
    return run_all(host, log, {package: module for module, package in modules.items()})


def run_all(host: Host, log: Log, modules: dict[str, str]) -> list[ImportTest]:
    """Import the modules (distribution -> module), several side by side."""
    import threading

    until = time.monotonic() + ALTOGETHER if host.deadline is None else host.deadline
    waiting = list(modules.items())[::-1]
    found: dict[str, ImportTest] = {}
    begun: dict[str, float] = {}

    def work() -> None:
        while True:
            try:
                package, module = waiting.pop()
            except IndexError:
                return
            left = until - time.monotonic()
            if left <= 0:
                log.add("imports", "skipped", "no time was left", f"import {module}")
                found[package] = untested(package, module, "no time was left")
                continue
            begun[package] = time.monotonic()
            try:
                with log.attempt("imports", f"import {module}") as attempt:
                    answer = host.query("import", module, f"{min(left, EACH):.0f}")
                    test = found[package] = read(package, module, answer)
                    said = known(test.error) or ""
                    if test.outcome == "ok":
                        attempt.found(said)
                    else:
                        status = {"hang": "timeout", "untested": "skipped"}.get(test.outcome, "failed")
                        attempt.failed(f"{test.outcome}: {said}", status)
            except Exception as error:
                found[package] = untested(package, module, f"{type(error).__name__}: {error}")
            del begun[package]

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_cores(), SIDE_BY_SIDE, len(modules)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, until - time.monotonic() + 1.2))
    for package, since in list(begun.items()):  # not even its end came to an end
        answer = {"ended": "abandoned", "seconds": time.monotonic() - since}
        found.setdefault(package, read(package, modules[package], answer))
    return [found[package] for package in modules if package in found]


def untested(package: str, module: str, why: str) -> ImportTest:
    """What is known of an import that nobody tried."""
    unknown = Unknown(why)
    return ImportTest(package=package, module=module, outcome="untested", error=why, library=unknown, compiled=unknown)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def query_import(host: Host, module: str, seconds: str) -> dict[str, Any]:
    """The host query ``import``: import one module in a child. Plain JSON::

    {"ended": "done",                # or: timeout, abandoned, exit 1, signal 11 (SIGSEGV), not started: why
     "seconds": 1.3, "done": {"compiled": true, "file": "/x.py"} or {"errors": ["ImportError: ..."]} or {"exit": "1"},
     "loading": "/path/x.so", "trace": ["File ..."], "said": ["last lines on stderr"]}
    """

    from envcheck.probes import child

    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "import_child.py")
    if getattr(sys, "frozen", False) or not sys.executable or not os.path.isfile(script):
        return {"ended": "not started: no Python interpreter to run it in"}
    limit = host.seconds_left(float(seconds))
    mark = os.urandom(16).hex()
    folder = child.temporary_folder()
    started = time.monotonic()
    try:
        # The traceback of a hang is written a moment before the end.
        argv = [sys.executable, script, module, f"{max(limit * 0.9, limit - 2):.2f}"]
        ran = child.run(argv, limit, environment(host, folder) | {MARK: mark})
        taken = time.monotonic() - started
    finally:
        child.end_marked(mark, MARK)
        child.remove_folder(folder)
    return gather(ran, taken)


def environment(host: Host, folder: str) -> dict[str, str]:
    """The variables of the user's program, but that nothing is written outside of ``folder``."""
    env = {name: value for name, value in host.env.items() if name not in ("PYTHONINSPECT", "PYTHONSTARTUP")}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env["HF_HUB_OFFLINE"] = env["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if path := env.get("PYTHONPATH"):
        # The child runs in another folder; what is relative was meant from here.
        env["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in path.split(os.pathsep) if part)
    if folder and "PYTHONUSERBASE" not in env:
        # Keras, Paddle, DGL and others write into the home folder when they are imported; packages in it count.
        import site

        env["PYTHONUSERBASE"] = site.getuserbase()
    for name in PLACES:
        if folder:
            env[name] = folder
    return env


def gather(ran: Ran, seconds: float) -> dict[str, Any]:
    """What the child said, and how it ended."""
    answer, records = heard(ran, seconds)
    for record in records:
        if isinstance(record.get("done"), dict):
            answer["done"] = record["done"]
    lines = [line.strip()[:500] for line in ran.stderr.splitlines() if line.strip()]
    wanted = [line for line in lines if any(text in line for text in COMPLAINTS)]
    answer["said"] = (wanted[:1] + lines[-3:]) if "done" not in answer else wanted[:1]
    return answer


def heard(ran: Ran, seconds: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What every child tells: ``ended``, ``seconds``, ``loading`` and ``trace``; and its other records."""
    import json

    answer: dict[str, Any] = {"ended": how_it_ended(ran), "seconds": round(seconds, 3)}
    records: list[dict[str, Any]] = []
    trace: list[str] = []
    late = False
    for line in ran.stdout.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            late = late or line.startswith("Timeout (")
            # What faulthandler writes at a crash, or when time runs out.
            if line.lstrip().startswith("File ") and len(trace) < 12:
                trace.append(line.strip()[:300])
            continue
        if not isinstance(record, dict):
            continue
        if isinstance(record.get("load"), str):
            answer["loading"] = record["load"]
        else:
            records.append(record)
    if trace:
        answer["trace"] = trace
    if late and ran.code in (-7, -10, -11):
        # faulthandler reads the stack of a thread that runs on: that itself crashes at times (SIGSEGV, SIGBUS).
        answer["ended"] = "timeout"
    return answer, records


def how_it_ended(ran: Ran) -> str:
    """``done``, ``timeout``, ``abandoned``, ``memory``, ``not started: why``, ``exit 1`` or ``signal 11 (SIGSEGV)``."""
    if ran.status in ("timeout", "abandoned", "memory"):
        return ran.status
    if ran.status != "done":
        return f"not started: {ran.stderr}"
    if ran.code >= 0:
        return f"exit {ran.code}" if ran.code else "done"
    import signal

    try:
        return f"signal {-ran.code} ({signal.Signals(-ran.code).name})"
    except ValueError:
        return f"signal {-ran.code}"


def read(package: str, module: str, answer: Any) -> ImportTest:
    """A test from what :func:`query_import` told; takes any JSON."""
    answer = answer if isinstance(answer, dict) else {}
    ended = str(answer.get("ended", "it was not said how it ended"))
    if ended.startswith("not started"):
        return untested(package, module, ended)
    seconds = answer.get("seconds")
    seconds = float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e6 else 0.0
    done = answer.get("done")
    said = _texts(answer.get("said"))
    test = ImportTest(package=package, module=module, outcome="ok", milliseconds=round(seconds * 1000, 1))
    test.library = Absent("no library is at fault")
    loading, trace = str(answer.get("loading") or ""), _texts(answer.get("trace"))
    if isinstance(done, dict):
        _read_done(test, done, said)
    elif ended.startswith("signal"):
        test.outcome = "crash"
        test.error = ended.partition("(")[2].rstrip(")") or ended
        if test.error == "SIGABRT" and said:  # who aborts says why
            telling = [line for line in said if fault_in(line).kind or "what():" in line]
            test.error += f": {(telling or said[-1:])[0]}"
    elif ended in ("timeout", "abandoned"):
        test.outcome = "hang"
        place = f", stopped at {trace[0]}" if trace else ""
        left = " and could not be ended" if ended == "abandoned" else ""
        test.error = f"no answer in {seconds:.1f} s{left}{place}"
    else:
        test.outcome = "exit"
        loader = [line for line in said if fault_in(line).kind in ("library", "version", "symbol")]
        told = loader or said[-1:]
        number = ended.removeprefix("exit ")
        test.error = f"exit code {number}" if number.isdigit() else "exit code 0 before the import was done"
        if told:
            test.error += f": {told[0]}"
    if test.outcome != "ok":
        test.library = _library(test, loading, trace)
    return test


def _read_done(test: ImportTest, done: dict[str, Any], said: list[str]) -> None:
    errors = _texts(done.get("errors"))
    if "exit" in done:
        test.outcome, test.error = "exit", f"SystemExit: {done['exit']}"
    elif errors or "compiled" not in done:
        # What the loader said first names the cause; what was raised for it in the end often does not.
        test.outcome = "error"
        named = [text for text in reversed(errors) if fault_in(text).kind not in ("", "module")]
        test.error = _line(named[0] if named else errors[0] if errors else "it did not say what was raised")
    else:
        test.compiled = bool(done["compiled"])
        if isinstance(done.get("file"), str) and done["file"]:
            test.file = done["file"]
        test.error = said[0] if said else Absent("it was imported")


def _library(test: ImportTest, loading: str, trace: list[str]) -> str | Unknown:
    """The file at fault: as the error names it, or the one that was being loaded when the process ended."""
    fault = fault_in(known(test.error) or "")
    if fault.kind in ("library", "version", "symbol", "format"):
        return fault.file or (fault.name if fault.kind == "library" else "") or loading or Unknown("it is not named")
    # faulthandler tells the frame that runs: the import machinery, or ctypes, while a library is being loaded.
    inside = any("importlib" in line or "ctypes" in line for line in trace[:2])
    if loading and test.outcome in ("crash", "hang", "exit") and (inside or (test.outcome == "exit" and not trace)):
        return loading
    place = f" (it ran {trace[0]})" if trace else ""
    return Unknown(f"no library was being loaded{place}")


def _line(text: str) -> str:
    """A message of several lines in one: its kind, and the line that names the cause."""
    kind, _, rest = text.partition(": ")
    lines = [line.strip() for line in rest.splitlines() if line.strip()]
    if not lines:
        return text.strip()[:1000]
    named = [line for line in lines if fault_in(line).kind]
    return f"{kind}: {(named or lines)[0]}"[:1000]


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
