"""Several GPUs together, with PyTorch: copies between each two of them, and an all-reduce over all by NCCL or RCCL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from envcheck.smoke_tests.backends import Missing, Unsupported
from envcheck.smoke_tests.backends.torch_distributed import SPAWNED, Group

MOST_PAIRS = 28
"""Pairs that are copied between: all those of 8 GPUs."""
VALUES = 1 << 18
SECONDS = 60.0
HINT = "NCCL_P2P_DISABLE=1 tells whether direct copies between GPUs are at fault, NCCL_DEBUG=INFO what NCCL does"

Steps = Iterable[tuple[str, Callable[[], Any]]]


def steps(torch: Any, index: int, gpus: list[int], request: dict[str, Any]) -> Steps:
    """The steps that a GPU has with those before it, and that the last one has with all."""
    place = gpus.index(index)
    first = place * (place - 1) // 2
    for number, other in enumerate(gpus[:place], first):
        if number >= MOST_PAIRS:
            yield "peer copies left out", partial(_left_out, index, gpus[number - first : place])
            break
        yield f"peer copy with cuda:{other}", partial(peer_copy, torch, index, other)
    if len(gpus) > 1 and place == len(gpus) - 1:
        yield "nccl all-reduce", partial(nccl, torch, gpus)
        if request.get("thorough"):
            yield "nccl all-reduce by processes", partial(nccl_processes, torch, gpus, request)


def _left_out(index: int, others: list[int]) -> None:
    names = ", ".join(f"cuda:{other}" for other in others)
    raise Missing(f"{MOST_PAIRS} pairs of GPUs are tried, without cuda:{index} and {names}")


def peer_copy(torch: Any, index: int, other: int) -> str | None:
    """Copy both ways and compare on the host. Raises RuntimeError for data that arrived changed."""
    direct = [torch.cuda.can_device_access_peer(index, other), torch.cuda.can_device_access_peer(other, index)]
    for number, (source, target) in enumerate(((index, other), (other, index))):
        # Values that differ by direction: what an earlier copy left behind must not pass for this one.
        right = torch.arange(VALUES, dtype=torch.float32) + 0.5 + number
        there = right.to(f"cuda:{source}")
        torch.cuda.synchronize(source)
        copied = torch.full_like(there, -1.0, device=f"cuda:{target}")
        copied.copy_(there)
        torch.cuda.synchronize(source)
        torch.cuda.synchronize(target)
        wrong = int((copied.cpu() != right).sum())
        if wrong:
            way = "directly (peer-to-peer)" if direct[number] else "through the host"
            what = f"{wrong} of {VALUES} values copied {way} from cuda:{source} to cuda:{target} arrived changed"
            hint = "; an IOMMU or PCIe ACS that redirects what GPUs send each other does that" if direct[number] else ""
            raise RuntimeError(what + hint)
    return None if all(direct) else f"cuda:{index} and cuda:{other} reach each other through the host only"


def _lacks(torch: Any) -> None:
    """Raises Unsupported for a build without NCCL."""
    distributed = getattr(torch, "distributed", None)
    has = getattr(distributed, "is_nccl_available", None) if distributed and distributed.is_available() else None
    if has is None or not has():
        raise Unsupported(f"torch {torch.__version__} was built without NCCL")


def nccl(torch: Any, gpus: list[int]) -> str:
    """All-reduce over the GPUs from this process. Raises RuntimeError; a thread that hangs is left to itself."""
    import threading

    _lacks(torch)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            reduce(torch, gpus)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if thread.is_alive():
        raise Stuck(f"no answer in {SECONDS:.0f} s; {HINT}")
    if raised:
        raise RuntimeError(f"{raised[0]}; {HINT}") from raised[0]
    return f"NCCL {version(torch)}"


class Stuck(RuntimeError):
    """Work on the GPUs does not end: nothing else can be asked of them by this process."""


def reduce(torch: Any, gpus: list[int]) -> None:
    """Raises RuntimeError for wrong sums."""
    base = torch.arange(VALUES, dtype=torch.float32) % 4096
    values = [(base + float(rank)).to(f"cuda:{index}") for rank, index in enumerate(gpus)]
    if not torch.cuda.nccl.is_available(values):
        raise RuntimeError("torch.cuda.nccl does not take these tensors")
    for index in gpus:
        torch.cuda.synchronize(index)
    torch.cuda.nccl.all_reduce(values)
    size = len(gpus)
    right = base * size + size * (size - 1) / 2  # integers below 2^24: exact in any order
    for index, value in zip(gpus, values):  # noqa: B905 - `strict` is younger than some Pythons with an old torch
        torch.cuda.synchronize(index)
        wrong = int((value.cpu() != right).sum())
        if wrong:
            raise RuntimeError(f"{wrong} of {VALUES} sums over {size} GPUs are wrong on cuda:{index}")


def nccl_processes(torch: Any, gpus: list[int], request: dict[str, Any]) -> str:
    """All-reduce with one process for each GPU, as training does. Raises RuntimeError."""
    _lacks(torch)
    folder = str(request.get("folder") or "")
    if not folder:
        raise Missing("there is no folder where the processes could meet")
    seconds = min(2 * SPAWNED, float(request.get("seconds") or 180.0) / 3)
    try:
        Group("nccl", "nccl", [f"cuda:{index}" for index in gpus], folder, seconds).spawn().wait()
    except RuntimeError as error:
        raise RuntimeError(f"{error}; {HINT}") from None
    return f"{len(gpus)} processes"


def version(torch: Any) -> str:
    """Of NCCL, as torch tells it; it gives a number in old releases."""
    try:
        found = torch.cuda.nccl.version()
    except Exception:
        return "of unknown version"
    return ".".join(map(str, found)) if isinstance(found, tuple) else str(found)
