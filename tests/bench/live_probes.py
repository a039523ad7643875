"""What the live probes cost on a machine with GPUs, as multiples of a bare interpreter start.

    python tests/bench/live_probes.py [--python VENV/bin/python] [--runs 15] [--json]

The stand-in driver (tests/standin) is put on the loader's path: once with one healthy GPU, once with eight, and once
no driver is there. The same commands run in each environment, in turn, so that a drift of the machine's speed hits all
alike; medians are compared. "added" is what a command takes more than the same without a driver, in multiples of
``python -I -c pass``: of wall time, and of processor time of all its processes (which a busy machine spoils less).
For the machine without a driver it is the probes of GPUs against none of them. The stand-in answers at once; what a
real driver needs to wake up its GPUs comes on top, for nvidia-smi too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT_GPU, LIMIT_BARE = 10.0, 1.0
"""Multiples that the live probes may add on a healthy GPU machine, and on one without any GPU."""
GPU_PROBES = ("nvidia", "amd", "intel", "apple")
NONE, BARE, SMI = "no driver", "python -I -c pass", "nvidia-smi (stand-in)"
ALL, REST = "all probes", "all probes but those of GPUs"


def seconds(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Wall time, and processor time of the process and all its children, of one run."""
    started = time.perf_counter()
    process = subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def environments(folder: Path) -> dict[str, dict[str, str]]:
    """Name -> environment of a machine."""
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "standin")]
    from standin_driver import StandIn, full_gpu, machine

    bare = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    one = StandIn(folder / "one", machine("550.54.15", full_gpu(0)))
    eight = StandIn(folder / "eight", machine("550.54.15", *map(full_gpu, range(8))))
    return {NONE: bare, "1 GPU": {**bare, **one.env}, "8 GPUs": {**bare, **eight.env}}


def commands(python: str) -> dict[str, list[str]]:
    script = str(Path(python).parent / "envcheck")
    rest = f"[p.name for p in PROBES if not p.asked and p.name not in {GPU_PROBES}]"
    return {
        BARE: [python, "-I", "-c", "pass"],
        "envcheck snapshot": [script, "snapshot", "-o", os.devnull],
        "envcheck check": [script, "check"],
        ALL: [python, "-I", "-c", "from envcheck.probes import collect; collect()"],
        REST: [python, "-I", "-c", f"from envcheck.probes import collect, PROBES; collect(parts={rest})"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        machines = environments(Path(folder))
        for turn in range(-1, args.runs):
            for place, env in machines.items():
                smi = {} if place == NONE else {SMI: [env["PATH"].split(":")[0] + "/nvidia-smi"]}
                for name, argv in {**commands(args.python), **smi}.items():
                    taken = seconds(argv, env)
                    if turn >= 0:  # the first round warms the page cache
                        times.setdefault((name, place), []).append(taken)

    def median(name: str, place: str, kind: int) -> float:
        return statistics.median(taken[kind] for taken in times[name, place])

    base = [statistics.median(taken[kind] for key, rows in times.items() if key[0] == BARE for taken in rows)
            for kind in (0, 1)]  # fmt: skip
    rows: list[dict[str, Any]] = []
    for name, place in times:
        wall = median(name, place, 0)
        row = {"command": name, "machine": place, "ms": round(wall * 1000, 1), "ratio": round(wall / base[0], 2)}
        against = (REST, NONE) if (name, place) == (ALL, NONE) else (name, NONE)
        if against != (name, place) and against in times and name != BARE:
            for kind, key in ((0, "added"), (1, "added_cpu")):
                row[key] = round((median(name, place, kind) - median(*against, kind)) / base[kind], 2)
        rows.append(row)
    if args.json:
        print(json.dumps(rows))
        return 0
    print(f"{'command':30} {'machine':10} {'ms':>8} {'ratio':>7} {'added':>7} {'added CPU':>10}")
    for row in rows:
        added = [str(row.get(key, "")) for key in ("added", "added_cpu")]
        print(f"{row['command']:30} {row['machine']:10} {row['ms']:8} {row['ratio']:7} {added[0]:>7} {added[1]:>10}")
    print(f"runs: {args.runs}; limits of what is added: {LIMIT_GPU:g} with GPUs, {LIMIT_BARE:g} without a driver")
    return 0


if __name__ == "__main__":
    sys.exit(main())
