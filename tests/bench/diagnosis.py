"""How many error texts are diagnosed a second in one process, and what a long log takes.

    python tests/bench/diagnosis.py [--megabytes 50]

The texts are the examples of the signatures, in turn with and without facts. It judges nothing.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import envcheck
from envcheck.diagnosis.diagnose import signatures
from envcheck.matrix import Matrix

FACTS = {
    "os": {"system": "Linux", "glibc": "2.35"},
    "gpus": [{"name": "NVIDIA A100-SXM4-80GB", "compute_capability": "8.0"}],
    "driver": {"version": "535.104.05", "cuda": "12.2"},
    "python": "3.11.4",
    "packages": {"torch": "2.5.1+cu124", "onnxruntime-gpu": "1.20.0", "numpy": "1.26.4"},
}


def rate(texts: list[str], snapshot: envcheck.Snapshot | None, matrix: Matrix) -> float:
    started = time.perf_counter()
    for text in texts:
        envcheck.diagnose(text, snapshot, matrix=matrix)
    return len(texts) / (time.perf_counter() - started)


def log_of(size: int, path: Path) -> None:
    """A log of a long training run with one message in a thousand lines."""
    random.seed(0)
    written = 0
    with path.open("w") as file:
        while written < size:
            number = random.random()
            line = f"INFO epoch {random.randint(0, 99)} batch {random.randint(0, 10**6)} accuracy {number:.4f}\n"
            if number < 0.001:
                line = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
            elif number < 0.3:
                line = f"[{number}] WARNING loss {random.random()} cuda memory {random.randint(0, 10**9)}\n"
            file.write(line)
            written += len(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=50)
    args = parser.parse_args()
    matrix = Matrix.load()
    texts = [text for row in signatures(matrix).rows for text in row.get("examples") or ()]
    envcheck.diagnose(texts[0], FACTS, matrix=matrix)
    print(f"{len(signatures(matrix).rows)} signatures, {len(texts)} texts")
    print(f"without facts {rate(texts, None, matrix):.0f} a second")
    print(f"with facts    {rate(texts, envcheck.Snapshot.from_facts(FACTS), matrix):.0f} a second")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.log"
        log_of(args.megabytes << 20, path)
        started = time.perf_counter()
        command = [sys.executable, "-m", "envcheck", "diagnose", str(path), "--environment", "none"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        spent = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"a log of {args.megabytes} MiB {spent:.2f} s, {peak:.0f} MiB")


if __name__ == "__main__":
    main()
