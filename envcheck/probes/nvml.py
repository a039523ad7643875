"""NVML, cuDriverGetVersion and cuInit through one child process: the host query ``nvml``.

Its value is plain JSON without any UUID, so that a recorded machine replays it::

    {"ended": "done",                      # or: timeout, exit 1, signal 6 (SIGABRT), not started: why
     "during": "nvmlInit",                 # the last step begun; where it ended if it was not done
     "crashes": [["nvmlDeviceGetName 0", "signal 11 (SIGSEGV)"]],    # of processes before, where there were any
     "libcuda": {"version": 12040, "path": "..."},             # or {"error": "...", "code": 34}
     "module": {"path": "...", "deprecated": false, "missing": []},   # the Python binding; or {"error": "..."}
     "nvml": {"init": null, "driver": "550.54.15", "nvml": "12.550.54.15", "cuda": 12040, "count": 1, "path": "..."},
     "cuda": {"init": null, "count": 1},     # or {"init": {"code": 803, "name": "..."}}
     "gpus": [{"index": 0, "name": "...", "uuid": "GPU-<hash>", "uuid_prefixes": [], "pci": ["bus", "10de:2204"],
               "cc": "8.6", "memory": [bytes, bytes free], "compute_mode": "Default", "mig": 0, "mig_instances": 0,
               "mig_devices": [{"uuid": ..., "name": ..., "memory": [], "slices": [gpu, compute, MiB]}],
               "ecc": 1, "persistence": 1, "pcie_generation": 4, "pcie_width": 16, "virtual": 0, "throttle": 1,
               "fabric": [state, status], "processes": [count, bytes or null],
               "errors": {"mig": {"code": 3, "text": "Not Supported"}}}]}

``init`` is null or {"code", "text"}; what a driver does not tell is left out, with the reason under ``errors``.

A process that crashes, hangs or exits in one step is followed by another that leaves that step out, so that what
lies behind it is not lost.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from envcheck.probes.host import LEFT_BEHIND, Host, Ran

TIMEOUT = 10.0
"""Seconds for all of it; a healthy driver answers in well under one, many GPUs without persistence mode take some."""
FIRST, LATER = (0.4, 0.85), (0.25, 0.6)
"""Shares of the time that is left that one step, and one process, may take: the first process, and one after it."""
MAX_RUNS = 8
"""Processes that may end before their time."""

UUID_VARIABLES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


def query_nvml(host: Host) -> dict[str, Any]:
    """Run the child, again where it did not reach its end, and gather what all said; never raises for that."""
    from envcheck.probes.child import run

    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nvml_child.py")
    if getattr(sys, "frozen", False) or not sys.executable or not os.path.isfile(script):
        return {"ended": "not started: no Python interpreter to run it in", "during": ""}
    import json

    # The working folder and relative entries stay out: nobody knows what lies there.
    folders = [folder for folder in sys.path if isinstance(folder, str) and os.path.isabs(folder)]
    wanted: dict[str, Any] = {"path": folders, "skip": {}}
    until = time.monotonic() + TIMEOUT
    answer: dict[str, Any] = {}
    crashes: list[list[str]] = []
    while True:
        left = host.seconds_left(until - time.monotonic())
        patience, share = LATER if crashes else FIRST
        wanted["patience"] = round(left * patience, 2)
        # A process that blocks every signal is ended by us; then some time must be left for the next one.
        limit = left * share if len(crashes) < MAX_RUNS else left
        argv = [sys.executable, "-I", "-S", "-B", script, json.dumps(wanted)]
        answer = merge(answer, collect(run(argv, limit, dict(host.env))))
        ended, during = answer["ended"], answer["during"]
        if ended == "done" or ended.startswith("not started") or not during or len(crashes) >= MAX_RUNS:
            break
        step, _, about = during.partition(" ")
        # A function that ends the process for a second GPU, or could not even be stopped, is not asked again at all.
        again = ended.startswith("timeout") or any(name.partition(" ")[0] == step for name, _ in crashes)
        skip = step if again or not about else during
        if skip in wanted["skip"] or host.seconds_left(until - time.monotonic()) < 0.05:
            break
        crashes.append([during, ended])
        wanted["skip"][skip] = ended
    if crashes:
        answer["crashes"] = crashes
    return without_uuids(answer, wanted_uuids(host))


def wanted_uuids(host: Host) -> list[str]:
    """The GPU and MIG UUIDs, or prefixes of them, that the environment names."""
    values = ",".join(host.env.get(name, "") for name in UUID_VARIABLES)
    return [token for token in map(str.strip, values.split(",")) if token.startswith(("GPU-", "MIG-"))]


def collect(ran: Ran) -> dict[str, Any]:
    """The lines of one process as one answer; lines that are none are passed over (a library may print too)."""
    import json

    answer: dict[str, Any] = {"ended": _ended(ran), "during": ""}
    gpus: dict[int, dict[str, Any]] = {}
    slices: dict[tuple[int, int], dict[str, Any]] = {}
    done = False
    for line in ran.stdout.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        for key, value in record.items():
            kind, *places = key.split(" ")
            numbers = [int(place) for place in places if place.isascii() and place.isdigit() and len(place) < 6]
            if key == "begin":
                answer["during"] = str(value)
            elif key == "done":
                done = True
            elif not isinstance(value, dict):
                continue
            elif kind == "gpu" and len(numbers) == 1:
                _merge(gpus.setdefault(numbers[0], {"index": numbers[0]}), value)
            elif kind == "mig" and len(numbers) == 2:
                _merge(slices.setdefault((numbers[0], numbers[1]), {"place": numbers[1]}), value)
            elif key in ("libcuda", "module", "nvml", "cuda"):
                _merge(answer.setdefault(key, {}), value)
    if done:
        # A library may crash while the process ends; all was said by then.
        answer["ended"], answer["during"] = "done", ""
    elif answer["ended"] == "done":
        answer["ended"] = "exit 0 before it was done"
    for (index, _), told in sorted(slices.items()):
        gpus.setdefault(index, {"index": index}).setdefault("mig_devices", []).append(told)
    if gpus:
        answer["gpus"] = [gpus[index] for index in sorted(gpus)]
    return answer


def merge(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Two answers of the same machine: what either told, the later one's where both did."""
    for key in ("libcuda", "module", "nvml", "cuda"):
        if key in before:
            now[key] = {**before[key], **now.get(key, {})}
            if "errors" in before[key]:
                now[key]["errors"] = {**before[key]["errors"], **now[key]["errors"]}
    for key, name in (("gpus", "index"), ("mig_devices", "place")):
        if key in before:
            mine = {row[name]: row for row in now.get(key, ())}
            for row in before[key]:
                mine[row[name]] = merge(row, mine.get(row[name], {}))
            now[key] = [mine[place] for place in sorted(mine)]
    for name, value in before.items():
        if name == "errors":
            now["errors"] = {**value, **now.get("errors", {})}
        else:
            now.setdefault(name, value)
    return now


def _merge(target: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if key == "errors" and isinstance(value, dict):
            target.setdefault("errors", {}).update(value)
        else:
            target[key] = value


def without_uuids(answer: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Hashes in the place of UUIDs, as :func:`envcheck.probes.redact.redact` writes them, and process numbers gone."""
    for gpu in answer.get("gpus", ()):
        _hash(gpu, wanted)
        for slice in gpu.get("mig_devices", ()):
            _hash(slice, wanted)
            slice.pop("place", None)
        rows = gpu.get("processes")
        if isinstance(rows, list):
            sizes = [row[1] for row in rows if isinstance(row, list) and len(row) == 2 and isinstance(row[1], int)]
            gpu["processes"] = [len(rows), sum(sizes) if all(size >= 0 for size in sizes) else None]
    return answer


def _hash(device: dict[str, Any], wanted: list[str]) -> None:
    from envcheck.probes.redact import redact

    uuid = str(device.pop("uuid", ""))
    if uuid:
        device["uuid"] = redact(uuid)
    matching = [token for token in wanted if uuid.lower().startswith(token.lower())]
    if matching:
        device["uuid_prefixes"] = [redact(token) for token in dict.fromkeys(matching)]


def _ended(ran: Ran) -> str:
    if ran.status in ("timeout", "abandoned"):
        return "timeout" + (LEFT_BEHIND if ran.status == "abandoned" else "")
    if ran.status != "done":
        return f"not started: {ran.stderr}"
    if ran.code == 0:
        return "done"
    if ran.code > 0:
        last = ran.stderr.strip().splitlines()[-1:]
        return f"exit {ran.code}" + (f": {last[0][:200]}" if last else "")
    import signal

    try:
        name = signal.Signals(-ran.code).name
    except ValueError:
        return f"signal {-ran.code}"
    return "no answer in time" if name == "SIGALRM" else f"signal {-ran.code} ({name})"
