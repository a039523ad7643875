"""What is said of the outputs of a model: against the golden file, against another device, by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from envcheck.smoke_tests.models.made import listed

if TYPE_CHECKING:
    from envcheck.smoke_tests.models.running import Output, State


def judge(state: State, device: str, outputs: Mapping[str, Output]) -> Iterator[dict[str, Any]]:
    """Records ``check``, one for each output and each of what it is held against."""
    rtol, atol = state.model.get("rtol"), state.model.get("atol")
    golden = state.golden
    if golden is not None:
        types = golden.meta.get("dtypes")
        types = types if isinstance(types, dict) else {}
        wanted = paired(golden.outputs, outputs)
        for name, array in wanted.items():
            if name in outputs:
                dtype = str(types.get(name, array.dtype))
                yield _held(name, outputs[name], array, dtype, rtol, atol, device, golden.name)
            else:
                text = f"{golden.name} has output {name}, the model has {listed(outputs)}"
                yield _odd(device, name, str(array.dtype), golden.name, text)
        for name, output in outputs.items():
            if name not in wanted:
                text = f"the model has output {name}, {golden.name} has {listed(wanted)}"
                yield _odd(device, name, output.dtype, golden.name, text)
    if state.first is not None:
        other, before = state.first
        for name, output in outputs.items():
            if name in before:
                one = before[name]
                yield _held(name, output, one.array, one.dtype, rtol, atol, device, other)
    if golden is None:
        for name, output in outputs.items():
            count = not_numbers(output.array)
            record = {"device": device, "operation": name, "dtype": output.dtype, "against": "NaN"}
            if not count:
                yield {**record, "status": "ok"}
                continue
            made = "; the inputs were made from the signature: --inputs gives real ones" if state.made else ""
            yield {**record, "status": "nan", "said": f"{count} of {output.array.size} values of {name} are NaN{made}"}


def paired(golden: Mapping[str, Any], outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The golden outputs by the names of the model's: one output is the other whatever it is called."""
    if len(golden) == len(outputs) == 1:
        return dict(zip(outputs, golden.values(), strict=True))
    return golden


def _odd(device: str, name: str, dtype: str, against: str, text: str) -> dict[str, Any]:
    return {"device": device, "operation": name, "dtype": dtype, "status": "shape", "against": against, "said": text}


def _held(
    name: str,
    output: Output,
    wanted: Any,
    dtype: str,
    rtol: float | None,
    atol: float | None,
    device: str,
    against: str,
) -> dict[str, Any]:
    from envcheck.smoke_tests.models.compared import compare, narrower

    found = compare(name, output.array, wanted, narrower(output.dtype, dtype), rtol, atol)
    return {
        "device": device,
        "operation": name,
        "dtype": output.dtype,
        "status": found.status,
        "difference": found.difference,
        "tolerance": found.tolerance,
        "against": against,
        "said": found.text,
    }


def not_numbers(array: Any) -> int:
    import numpy

    return int(numpy.isnan(array).sum()) if array.dtype.kind in "fc" else 0


def remarks(state: State, outputs: Mapping[str, Output]) -> Iterator[tuple[str, str]]:
    """Name and text of what is no failure, and should be known."""
    import numpy

    for name, output in outputs.items():
        array = output.array
        if array.dtype.kind == "f" and array.size:
            infinite = int(numpy.isinf(array).sum())
            if infinite:
                yield f"output {name}", f"{infinite} of {array.size} values are infinite"
        if array.dtype.kind in "fiub" and array.size and not array.any():
            yield f"output {name}", f"all {array.size} values are 0"
    golden = state.golden
    if golden is None:
        return
    meta = golden.meta
    by = " ".join(str(meta[key]) for key in ("backend", "version") if meta.get(key))
    if by:
        yield "golden", f"{golden.name} was recorded by {by} on {meta.get('device', '?')} ({meta.get('machine', '?')})"
    there = str(meta.get("sha256") or "")
    if there and there != state.sha256:
        yield (
            "golden-model",
            f"{golden.name} was recorded with another file: sha256 {there[:12]} there, {state.sha256[:12]} of "
            f"{state.file.name} here",
        )
