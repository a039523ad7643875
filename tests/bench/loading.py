"""Cost of the loader re-enacted: closures of packages of a venv, as ratios against a bare interpreter start.

    python tests/bench/loading.py --python VENV/bin/python [--runs 15] [--json] [torch onnxruntime ...]

Each figure is the median over fresh processes, of which the time for importing envcheck.binaries counts too; run in
turn with ``python -I -c pass`` of the same interpreter. It judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

CHILD = """
import sys, time, re, struct, typing, collections.abc, errno  # the check has these anyway
begun = time.perf_counter()
from envcheck.binaries.files import Files
from envcheck.binaries.importing import import_package
from envcheck.binaries.loading import Process
imported = time.perf_counter()
process = Process(Files(), sys.executable, env={})
started = time.perf_counter()
libraries = 0
for package in sys.argv[2:]:
    result = import_package(process, package, [sys.argv[1]])
done = time.perf_counter()
print(imported - begun, started - imported, done - started, len(process.loaded))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("packages", nargs="*", default=["torch", "onnxruntime"])
    args = parser.parse_args()
    site = subprocess.check_output(
        [args.python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"], text=True
    ).strip()
    # With compiled modules, as an installed package has them; the first run writes them.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    bare: list[float] = []
    parts: list[list[float]] = []
    for _ in range(args.runs + 1):
        begun = time.perf_counter()
        subprocess.run([args.python, "-I", "-c", "pass"], check=True)
        bare.append(time.perf_counter() - begun)
        out = subprocess.check_output([args.python, "-c", CHILD, site, *args.packages], text=True, env=env)
        parts.append([float(part) for part in out.split()])
    del parts[0], bare[0]
    start = statistics.median(bare)
    names = ("import of envcheck.binaries", "the interpreter itself", " + ".join(args.packages))
    figures = {name: statistics.median(column) for name, column in zip(names, zip(*parts, strict=True), strict=False)}
    for name, value in figures.items():
        print(f"{name:40} {value * 1e3:7.2f} ms  {value / start:6.2f}x bare start ({start * 1e3:.1f} ms)")
    print(f"{'libraries in the process':40} {parts[0][3]:7.0f}")
    if args.json:
        print(json.dumps({name: value / start for name, value in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
