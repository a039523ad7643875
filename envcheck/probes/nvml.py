"""NVML and cuDriverGetVersion through one child process: the host query ``nvml``.

Its value is plain JSON without any UUID, so that a recorded machine replays it::

    {"ended": "done",                      # or: timeout, exit 1, signal 6 (SIGABRT), not started: why
     "during": "GPU 0",                    # the last step begun; where it ended if it was not done
     "libcuda": {"version": 12040, "path": "..."},             # or {"error": "...", "code": 34}
     "module": {"path": "...", "deprecated": false, "missing": []},   # the Python binding; or {"error": "..."}
     "nvml": {"init": null, "driver": "550.54.15", "nvml": "12.550.54.15", "cuda": 12040, "count": 1, "path": "..."},
     "gpus": [{"index": 0, "name": "...", "uuid": "GPU-<hash>", "uuid_prefixes": [], "pci": ["bus", "10de:2204"],
               "cc": "8.6", "memory": [bytes, bytes free], "compute_mode": "Default", "mig": 0, "mig_instances": 0,
               "errors": {"mig": {"code": 3, "text": "Not Supported"}}}]}

``init`` is null or {"code", "text"}; what a driver does not tell is left out, with the reason under ``errors``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from envcheck.probes.host import LEFT_BEHIND, Host, Ran

TIMEOUT = 10.0
"""Seconds; a healthy driver answers in well under one, many GPUs without persistence mode take some."""

UUID_VARIABLES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


def query_nvml(host: Host) -> dict[str, Any]:
    """Run the child and gather what it said; never raises for what becomes of it."""
    from envcheck.probes.child import run

    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nvml_child.py")
    if getattr(sys, "frozen", False) or not sys.executable or not os.path.isfile(script):
        return {"ended": "not started: no Python interpreter to run it in", "during": ""}
    import json

    # The working folder and relative entries stay out: nobody knows what lies there.
    folders = [folder for folder in sys.path if os.path.isabs(folder)]
    argv = [sys.executable, "-I", "-S", "-B", script, json.dumps(folders)]
    return gather(run(argv, host.seconds_left(TIMEOUT), dict(host.env)), wanted_uuids(host))


def wanted_uuids(host: Host) -> list[str]:
    """The GPU and MIG UUIDs, or prefixes of them, that the environment names."""
    values = ",".join(host.env.get(name, "") for name in UUID_VARIABLES)
    return [token for token in map(str.strip, values.split(",")) if token.startswith(("GPU-", "MIG-"))]


def gather(ran: Ran, wanted: list[str]) -> dict[str, Any]:
    """The child's lines as one answer; lines that are none are passed over (a library may print too)."""
    import json

    answer: dict[str, Any] = {"ended": _ended(ran), "during": ""}
    gpus: dict[str, dict[str, Any]] = {}
    done = False
    for line in ran.stdout.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        for key, value in record.items():
            if key == "begin":
                answer["during"] = str(value)
            elif key == "done":
                done = True
            elif not isinstance(value, dict):
                continue
            elif key.startswith("gpu ") and key[4:].isdigit():
                _merge(gpus.setdefault(key, {"index": int(key[4:])}), value)
            elif key in ("libcuda", "module", "nvml"):
                _merge(answer.setdefault(key, {}), value)
    if done:
        # A library may crash while the process ends; all was said by then.
        answer["ended"], answer["during"] = "done", ""
    elif answer["ended"] == "done":
        answer["ended"] = "exit 0 before it was done"
    if gpus:
        answer["gpus"] = [_without_uuids(gpu, wanted) for gpu in gpus.values()]
    return answer


def _merge(target: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if key == "errors" and isinstance(value, dict):
            target.setdefault("errors", {}).update(value)
        else:
            target[key] = value


def _without_uuids(gpu: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Hashes in the place of UUIDs, as :func:`envcheck.probes.redact.redact` writes them."""
    from envcheck.probes.redact import redact

    uuid = str(gpu.pop("uuid", ""))
    slices = gpu.pop("mig_uuids", None)
    if isinstance(slices, list):
        gpu["mig_instances"] = len(slices)
    own = [name.lower() for name in (uuid, *map(str, slices if isinstance(slices, list) else ())) if name]
    if uuid:
        gpu["uuid"] = redact(uuid)
    matching = [token for token in wanted if any(name.startswith(token.lower()) for name in own)]
    if matching:
        gpu["uuid_prefixes"] = [redact(token) for token in dict.fromkeys(matching)]
    return gpu


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
        return f"signal {-ran.code} ({signal.Signals(-ran.code).name})"
    except ValueError:
        return f"signal {-ran.code}"
