"""Cost of the evidence from installed files, as a ratio against a bare interpreter start in the same environment.

    python tests/bench/evidence.py --python VENV/bin/python [--runs 15]

VENV has envcheck and, for example, CUDA builds of torch and onnxruntime. The whole check runs in turn without the
probe, with it, and with it reading GPU code as on a machine with a GPU; CPU times (user and system) are
compared, because they do not depend on what else the machine does. It judges nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

START = "import sys; sys.argv = ['envcheck']\nimport envcheck.probes as probes\n"
END = "from envcheck.__main__ import main\nmain()"
PROGRAMS = {
    "python -I -c pass": "pass",
    "without": START + "probes.PROBES = tuple(p for p in probes.PROBES if p.name != 'binaries')\n" + END,
    "with": START + END,
    "with GPU code": START + "import envcheck.probes as p; p.NVIDIA_SIGNS = ('/',)\n" + END,
}


def seconds(python: str, program: str) -> float:
    """CPU time of one process."""
    process = subprocess.Popen([python, "-I", "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for round_ in range(args.runs + 1):
        for name, program in PROGRAMS.items():
            taken = seconds(args.python, program)
            if round_:  # the first round warms the page cache
                times[name].append(taken)
    base = statistics.median(times["python -I -c pass"])
    before = statistics.median(times["without"])
    print(f"{'check':20} {'ms CPU':>8} {'ratio':>7} {'added':>7}")
    for name, taken_all in times.items():
        middle = statistics.median(taken_all)
        added = f"{(middle - before) / base:7.2f}" if name.startswith("with ") or name == "with" else ""
        print(f"{name:20} {middle * 1000:8.1f} {middle / base:7.2f} {added}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
