"""Whole-process cost of smoke tests, as ratios against importing the same frameworks in the same environment.

    python tests/bench/smoke.py --python VENV/bin/python [--runs 11]

VENV has envcheck (from a wheel), torch and onnxruntime. Commands run in turn, so that a drift of the machine's speed
hits all alike; medians and minima are compared. It judges nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(argv: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=11)
    args = parser.parse_args()
    python, script = args.python, str(Path(args.python).parent / "envcheck")
    commands = {
        "import onnxruntime": [python, "-c", "import onnxruntime"],
        "envcheck smoke onnxruntime": [script, "smoke", "onnxruntime"],
        "import torch; import onnxruntime": [python, "-c", "import torch; import onnxruntime"],
        "envcheck smoke torch onnxruntime": [script, "smoke", "torch", "onnxruntime"],
        "envcheck smoke": [script, "smoke"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(args.runs + 1):
        for name, argv in commands.items():
            spent = seconds(argv)
            if number:  # the first round warms up
                taken[name].append(spent)
    base = ""
    for name, spent in taken.items():
        if name.startswith("import"):
            base = name
        median, least = statistics.median(spent), min(spent)
        ratio = f"{median / statistics.median(taken[base]):.2f}x (minima {least / min(taken[base]):.2f}x)"
        print(f"{name:36} {median * 1000:7.0f} ms  {ratio}")


if __name__ == "__main__":
    main()
