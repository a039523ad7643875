"""The steps of a run of the user's model, the same for every framework.

file (is it whole, may it be loaded) -> import -> devices -> on each: context -> memory -> load -> inputs -> run ->
compare -> record -> speed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from envcheck.probes.import_child import chain
from envcheck.smoke_tests import ON_DEVICE, asked_for
from envcheck.smoke_tests.backends import Backend, Device, Missing, Unsupported
from envcheck.smoke_tests.models import ModelError
from envcheck.smoke_tests.models.formats import File, sniff, whole, zipped
from envcheck.smoke_tests.steps import Alone, Failed, free_mib

if TYPE_CHECKING:
    from envcheck.smoke_tests.models.arrays import Golden
    from envcheck.smoke_tests.models.made import Slot
    from envcheck.smoke_tests.steps import Teller

T = TypeVar("T")

RECORDED = "golden.npz"
"""What is recorded is written under this name into the request's folder."""
FRAMEWORK_MIB = 512
"""What a framework takes by itself."""
COPIES = 2
"""A file in memory, and the weights that were made from it."""
RUNS, ENOUGH = 9, 2.0
"""Warm runs at most; fewer when they took this many seconds already."""
LONGEST = 1000


class Output(NamedTuple):
    array: Any
    """Of NumPy; of bfloat16 as float32."""
    dtype: str
    """The type that the model gave."""


class Runner:
    """A model that is loaded on a device."""

    slots: list[Slot]

    def feed(self, arrays: dict[str, Any]) -> Any:
        """Bring the inputs to where the model takes them from."""
        return arrays

    def run(self, fed: Any) -> Any:
        """Run it, come back when it is done."""
        raise NotImplementedError

    def fetch(self, result: Any) -> dict[str, Output]:
        """Bring the outputs to the host."""
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        """As :meth:`Worker.told`: ``ran_on``, ``providers``, ``kernels``, ``facts``."""
        return {}


class State:
    """What is known across the devices."""

    def __init__(self, request: Mapping[str, Any], file: File) -> None:
        self.request, self.file = request, file
        self.model: dict[str, Any] = request["model"]
        self.limit = int(request.get("budget_mib") or 4096) << 20
        self.golden: Golden | None = None
        self.arrays: dict[str, Any] | None = None
        self.made = False
        self.notes: list[str] = []
        self.first: tuple[str, dict[str, Output]] | None = None
        """The first device that gave outputs, and these."""
        self.sha256 = ""
        self.says: dict[str, str] = {}


def step(tell: Teller, name: str, work: Callable[[], T], device: str = "") -> T:
    """As :meth:`Teller.step`; a :class:`ModelError` ends the step as ``model``, with nothing but its text."""
    tell({"begin": name, "device": device})
    since = time.perf_counter()
    try:
        result = work()
    except ModelError as error:
        tell.end("model", device, since, "failed", [str(error)])
        raise Refused from None
    except (Missing, Unsupported) as error:
        tell.end(name, device, since, "skipped", [str(error)])
        raise
    except BaseException as error:
        tell.end(name, device, since, "failed", chain(error))
        raise Failed from None
    tell.end(name, device, since, "ok", [])
    return result


class Refused(Exception):
    """The model, or what goes with it, can't be used on any device; it was told."""


def run(request: dict[str, Any], tell: Teller) -> None:
    """All of it; the request is that of :func:`envcheck.smoke_tests.steps.run`, with ``model``."""
    tell({"model": os.path.basename(request["model"]["path"])})
    try:
        state = step(tell, "file", lambda: opened(request))
        backend: Backend = tell.step("backend", lambda: made(request), quiet=True)
        state.says = {str(name): str(value) for name, value in tell.step("import", backend.load).items()}
        tell({"says": state.says})
        devices = tell.step("devices", lambda: [Device(*device) for device in backend.devices()])
        step(tell, "inputs", lambda: read_arrays(state))
        wanted = [one for one in devices if asked_for(one.id, one.kind, one.gpu, request.get("only") or [])]
        tell({"devices": [device._asdict() for device in wanted], "all": [device.id for device in devices]})
        for device in wanted:
            if device.id in request.get("skip", ()):
                continue
            os.write(2, f"\n{ON_DEVICE}{device.id}\n".encode())
            try:
                on_device(state, backend, device, tell)
            except (Failed, Missing, Unsupported):
                if device.kind != "cpu":
                    # What went wrong on a GPU can spoil everything that this process does on it later.
                    tell({"over": device.id})
                    tell({"again": True})
                    return
            tell({"over": device.id})
    except (Failed, Missing, Unsupported, Refused):
        return


def made(request: dict[str, Any]) -> Backend:
    backend: Backend = __import__(request["module"], fromlist=("backend",)).backend()
    backend.request = request
    return backend


def opened(request: Mapping[str, Any]) -> State:
    """Look at the file before any framework is imported. Raises ModelError."""
    file = sniff(request["model"]["path"])
    if zipped(file.path):
        whole(file.path, file.name)
    if file.kind == "onnx":
        from envcheck.smoke_tests.models import onnx_file

        said = onnx_file.read(file.path, file.name)
        file = file._replace(size=file.size + onnx_file.size_of_external(file.path, said))
    elif file.kind == "safetensors":
        from envcheck.smoke_tests.models import safetensors

        safetensors.read(file.path, file.name)
    elif file.kind in ("pt2", "pickled") and not request["model"].get("trust_pickle"):
        from envcheck.smoke_tests.models import exported, pickled

        if file.kind == "pt2":
            objects, what = exported.check(file.path, file.name), "holds or calls more than operators on tensors"
        else:
            objects, what = pickled.objects_in(file.path, file.name), "holds pickled Python objects"
        if objects:
            raise ModelError(pickled.refusal(file.name, what, objects))
    state = State(request, file)
    need = (file.size * COPIES >> 20) + FRAMEWORK_MIB
    if file.kind not in ("safetensors", "pickled") and need << 20 > state.limit:
        raise ModelError(
            f"{file.name} takes about {need} MiB to load, more than the memory budget of {state.limit >> 20} MiB: "
            f"give --memory-budget {need * 3 // 2}"
        )
    return state


def read_arrays(state: State) -> None:
    """Read what was given with the model. Raises ModelError."""
    model = state.model
    if state.file.kind == "safetensors":
        given = next((name for name in ("inputs", "golden", "record", "shapes") if model.get(name)), "")
        if given:
            raise ModelError(f"{state.file.name} holds weights and nothing to run: --{given} has no use")
        return
    if not model.get("inputs") and not model.get("golden") and not model.get("record"):
        return
    need_numpy()
    from envcheck.smoke_tests.models.arrays import INPUT, Golden, read

    room = max(state.limit // 4, 64 << 20)
    if model.get("golden"):
        state.golden = Golden(model["golden"], room)
    if model.get("inputs"):
        held = read(model["inputs"], room)
        if any(name.startswith(INPUT) for name in held):  # a golden file
            held = {name[len(INPUT) :]: array for name, array in held.items() if name.startswith(INPUT)}
        state.arrays = held
    elif state.golden is not None and state.golden.inputs:
        state.arrays = state.golden.inputs
    if state.golden is not None or model.get("record"):
        state.sha256 = sha256(state.file.path)


def need_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise ModelError(f"a model is run with arrays of NumPy, which can't be imported here: {error}") from None


def sha256(path: str) -> str:
    """Of the model file itself, without files that it refers to."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def on_device(state: State, backend: Backend, device: Device, tell: Teller) -> None:
    """The steps on one device. Raises Refused when no other device need be tried, Failed for this one."""
    place = device.id
    worker = tell.step("context", lambda: backend.open(device), place)
    free = tell.step("memory", lambda: free_mib(worker), place, quiet=True)
    tell({"memory": {"device": place, "free": free}})
    if device.kind != "cpu" and free is not None:
        tell.step("memory", lambda: room(state.file.name, state.file.size, place, free), place)
    module = loader(str(state.request["module"]), state.file)
    loaded = step(tell, "load", lambda: module.load(backend, worker, device, state), place)
    if not isinstance(loaded, Runner):
        loaded(tell)  # weights: there is nothing to run
        tell({"told": {"device": place, **worker.told(), "ran_on": place}})
        return
    arrays = step(tell, "inputs", lambda: inputs_for(state, loaded), place)
    for number, note in enumerate(state.notes):
        tell({"note": {"device": place, "name": f"inputs.{number}" if number else "inputs", "text": note}})
    fed = tell.step("copy", lambda: loaded.feed(arrays), place)
    since = time.perf_counter()
    result = step(tell, "run", lambda: first_run(state, loaded, fed), place)
    seconds = time.perf_counter() - since
    outputs = tell.step("copy", lambda: loaded.fetch(result), place)
    told = {**worker.told(), **loaded.told()}
    told["facts"] = {**worker.told().get("facts", {}), **loaded.told().get("facts", {})}

    def check() -> None:
        from envcheck.smoke_tests.models.judged import judge

        for record in judge(state, place, outputs):
            tell({"check": {"ran_on": told.get("ran_on") or place, "ms": round(seconds * 1000, 3), **record}})

    tell.step("compare", check, place)
    from envcheck.smoke_tests.models.judged import remarks

    for name, text in remarks(state, outputs):
        tell({"note": {"device": place, "name": name, "text": text[:LONGEST]}})
    if state.first is None:
        state.first = (place, outputs)
        if state.model.get("record"):
            step(tell, "record", lambda: record_golden(state, arrays, outputs, device), place)
    measure(loaded, fed, arrays, place, tell)
    tell({"told": {"device": place, **told}})


def room(name: str, size: int, device: str, free: float) -> None:
    """Raises MemoryError when the weights alone are larger than what is free on the device."""
    if size >> 20 > free:
        raise MemoryError(f"{name} needs {size >> 20} MiB on {device}, where {free:.0f} MiB are free")


def loader(module: str, file: File) -> Any:
    """The module that loads this kind of file with this backend. Raises ModelError when there is none."""
    import importlib

    backend = module.rpartition(".")[2]
    name = "weights" if file.kind == "safetensors" else f"with_{backend}"
    return importlib.import_module(f"envcheck.smoke_tests.models.{name}")


def inputs_for(state: State, runner: Runner) -> dict[str, Any]:
    """The inputs, the same for every device. Raises ModelError."""
    need_numpy()
    from envcheck.smoke_tests.models.made import given, make, shapes_of

    if state.arrays is not None and not state.made:
        file = os.path.basename(state.model.get("inputs") or state.model.get("golden") or "")
        if state.model.get("shapes"):
            raise ModelError(f"--shape has no use: the inputs are those of {file}")
        arrays = given(runner.slots, state.arrays, file)
        if state.golden is not None and state.model.get("inputs"):
            for name, array in state.golden.inputs.items():
                if name in arrays and not equal(array, arrays[name]):
                    raise ModelError(f"{state.golden.name} was recorded with another {name} than that of {file}")
        return arrays
    if state.arrays is None:
        shapes, notes = shapes_of(runner.slots, state.model.get("shapes") or {})
        state.arrays = {slot.name: make(slot, shapes[slot.name]) for slot in runner.slots}
        said = ", ".join(f"{slot.name} {slot.dtype} {list(shapes[slot.name])}" for slot in runner.slots)
        state.made, state.notes = True, [f"made: {said}", *notes]
    return state.arrays


def equal(one: Any, other: Any) -> bool:
    import numpy

    return bool(numpy.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f"))


def first_run(state: State, runner: Runner, fed: Any) -> Any:
    """The first run; what a model says of inputs that were made up is said with that."""
    try:
        return runner.run(fed)
    except Exception as error:
        if not state.made or isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise
        said = f"{type(error).__name__}: {error}"[:600]
        raise RuntimeError(
            f"{said} (with inputs that were made from the signature; --inputs gives real ones)"
        ) from error


def record_golden(state: State, arrays: Mapping[str, Any], outputs: Mapping[str, Output], device: Device) -> None:
    """Write inputs and outputs to the folder of this run. Raises ModelError."""
    import platform

    from envcheck.smoke_tests.models.arrays import write

    folder = str(state.request.get("folder") or "")
    meta = {
        "format": 1,
        "model": state.file.name,
        "sha256": state.sha256,
        "backend": str(state.request["module"]).rpartition(".")[2],
        "version": state.says.get("version", ""),
        "device": device.id,
        "machine": platform.machine(),
        "inputs": "made" if state.made else "given",
        "dtypes": {name: output.dtype for name, output in outputs.items()},
    }
    try:
        if not folder:
            raise OSError("there is no temporary folder")
        path = os.path.join(folder, RECORDED)
        write(path, dict(arrays), {name: output.array for name, output in outputs.items()}, meta)
    except (OSError, ValueError) as error:
        raise ModelError(f"{state.model['record']} can't be recorded: {error}") from None


def measure(runner: Runner, fed: Any, arrays: Mapping[str, Any], device: str, tell: Teller) -> None:
    """The median of some warm runs."""
    with Alone():
        tell({"begin": "speed", "device": device})
        times: list[float] = []
        try:
            while len(times) < RUNS and sum(times) < ENOUGH:
                since = time.perf_counter()
                runner.run(fed)
                times.append(time.perf_counter() - since)
        except Exception as error:
            text = f"a second run failed: {type(error).__name__}: {error}"[:LONGEST]
            tell({"end": "speed", "device": device, "status": "failed", "ms": 0, "errors": [text]})
            return
        times.sort()
        dtype = next((str(array.dtype) for array in arrays.values()), "")
        value = float(f"{times[len(times) // 2] * 1000:.4g}")
        tell({"speed": {"device": device, "measure": "model", "dtype": dtype, "unit": "ms", "value": value}})
        tell({"end": "speed", "device": device, "status": "ok", "quiet": True})
