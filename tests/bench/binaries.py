"""GPU targets of a large library: envcheck against a bare interpreter start, and against cuobjdump on the same file.

    python tests/bench/binaries.py --library libtorch_cuda.so [--cuobjdump PATH] [--wheel W.whl MEMBER] [--runs 9]

The first run warms the page cache. Whole processes are timed in turn, so that a drift of the machine's speed hits all
alike, and the reading alone is timed within one process. cuobjdump (wheel nvidia-cuda-cuobjdump) lists machine code and
PTX in two runs, one round only. Prints one JSON line, and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

READ = "from envcheck.binaries.fatbin import fat_binaries; fat_binaries({!r})"
INSIDE = (
    "from envcheck.binaries.archive import Archive; from envcheck.binaries.source import File; "
    "from envcheck.binaries.fatbin import fat_binaries; fat_binaries(Archive(File({!r})).open({!r}))"
)


def seconds(argv: list[str]) -> tuple[float, float]:
    """Wall time of a process, and its peak memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv[0]} ended with {process.returncode}")
    return wall, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--cuobjdump")
    parser.add_argument("--wheel", nargs=2, metavar=("WHEEL", "MEMBER"))
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    from envcheck.binaries.fatbin import fat_binaries

    alone = []
    for _ in range(args.runs + 1):
        started = time.perf_counter()
        found = fat_binaries(args.library)
        alone.append(time.perf_counter() - started)
    commands = {
        "bare": [sys.executable, "-I", "-c", "pass"],
        "import": [sys.executable, "-I", "-c", "import envcheck.binaries.fatbin"],
        "process": [sys.executable, "-I", "-c", READ.format(args.library)],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(args.runs):
        for name, argv in commands.items():
            times[name].append(seconds(argv))
    median = {name: statistics.median(wall for wall, _ in walls) for name, walls in times.items()}
    row: dict[str, object] = {
        "library": os.path.basename(args.library),
        "mb": round(os.path.getsize(args.library) / 1e6),
        "entries": sum(found.entries.values()),
        "bare_ms": round(median["bare"] * 1e3, 1),
        "read_ms": round(statistics.median(alone[1:]) * 1e3, 1),
        "read_over_bare": round(statistics.median(alone[1:]) / median["bare"], 2),
        "process_over_bare": round(median["process"] / median["bare"], 2),
        "import_over_bare": round(median["import"] / median["bare"], 2),
        "peak_mib": round(max(size for _, size in times["process"])),
    }
    if args.wheel:
        wall, size = seconds([sys.executable, "-I", "-c", INSIDE.format(*args.wheel)])
        row |= {"in_wheel_s": round(wall, 2), "in_wheel_peak_mib": round(size)}
    if args.cuobjdump:
        walls = [seconds([args.cuobjdump, "-all", option, args.library])[0] for option in ("-lelf", "-lptx")]
        row |= {
            "cuobjdump_s": round(sum(walls), 1),
            "cuobjdump_over_read": round(sum(walls) / statistics.median(alone[1:])),
        }
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
