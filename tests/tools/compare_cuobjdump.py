"""Count the entries of CUDA fat binaries per target with envcheck and with NVIDIA's cuobjdump, and compare.

    python tests/tools/compare_cuobjdump.py --cuobjdump PATH [--largest N] [--json FILE] FILE...

FILE is a library (.so, .dll, .pyd) or a wheel; of a wheel, every library with fat binaries is taken, or the N largest.
cuobjdump comes with the wheel nvidia-cuda-cuobjdump. Its lists name no PTX ISA, nor the suffix f of machine code, so
these are not compared. It reads no Windows files on Linux: of those, the sections with fat binaries are copied into an
ELF file. Prints a Markdown table; exit code 1 when a count differs where cuobjdump could read the file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter

from envcheck.binaries.archive import Archive
from envcheck.binaries.fatbin import NAMES, RELOCATABLE, fat_binaries
from envcheck.binaries.sections import sections
from envcheck.binaries.source import BinaryError, File, Source

LIBRARY = re.compile(r"\.(so(\.\d+)*|dll|pyd)$")
LISTED = re.compile(r"^(ELF|PTX) file +\d+: .*\.(sm_\w+)\.(cubin|ptx)$", re.MULTILINE)


def by_envcheck(file: Source | str) -> tuple[Counter[str], int, float]:
    """Entries by target as cuobjdump writes it, number of fat binaries, seconds."""
    started = time.perf_counter()
    found = fat_binaries(file)
    taken = time.perf_counter() - started
    counts: Counter[str] = Counter()
    for target, count in found.entries.items():
        number = f"{target.capability[0]}{target.capability[1]}{target.suffix}"
        if target.kind in ("sass", "ptx"):
            counts[f"{'sm' if target.kind == 'sass' else 'compute'}_{number}"] += count
        else:
            counts[f"{target.kind}_{number}"] += count
    return counts, found.linked.number + found.relocatable.number, taken


def by_cuobjdump(tool: str, path: str, timeout: float) -> tuple[Counter[str] | None, str, float]:
    """Entries by target, or None and why; seconds."""
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    for option in ("-lelf", "-lptx"):
        try:
            done = subprocess.run([tool, "-all", option, path], capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            return None, f"no answer within {timeout:.0f} s", time.perf_counter() - started
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return None, f"exit code {done.returncode}: {said[-1] if said else ''}", time.perf_counter() - started
        for kind, target, _ in LISTED.findall(done.stdout):
            counts[target if kind == "ELF" else target.replace("sm_", "compute_")] += 1
    return counts, "", time.perf_counter() - started


def as_elf(path: str, out: str) -> None:
    """Copy the sections with fat binaries of any file into a minimal ELF object."""
    with File(path) as file:
        parts = [
            ("__nv_relfatbin" if name in RELOCATABLE else ".nv_fatbin", file.read(at, size))
            for name, at, size in sections(file)
            if name in NAMES
        ]
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _ in parts) + b".shstrtab\0"
    headers, body = [bytes(64)], b""
    for name, data in [*parts, (".shstrtab", names)]:
        body += bytes(-len(body) % 16)
        kind = 3 if name == ".shstrtab" else 1
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        headers.append(struct.pack("<IIQQQQIIQQ", at, kind, 2, 0, 64 + len(body), len(data), 0, 0, 8, 0))
        body += data
    body += bytes(-len(body) % 8)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    numbers = (1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(headers), len(headers) - 1)
    with open(out, "wb") as file:
        file.write(ident + struct.pack("<HHIQQQIHHHHHH", *numbers) + body + b"".join(headers))


def unfamilied(counts: Counter[str]) -> Counter[str]:
    """Without the suffix f of machine code."""
    folded: Counter[str] = Counter()
    for target, count in counts.items():
        folded[target.removesuffix("f") if target.startswith("sm_") else target] += count
    return folded


def libraries(path: str, largest: int) -> list[tuple[str, str]]:
    """(wheel or directory, member or file) of each library that is to be read."""
    if not path.endswith(".whl"):
        return [("", path)]
    with File(path) as file:
        members = [one for one in Archive(file).members.values() if LIBRARY.search(one.name)]
    members.sort(key=lambda one: -one.size)
    return [(path, one.name) for one in members[: largest or None]]


def compare(wheel: str, name: str, tool: str, timeout: float) -> dict[str, object] | None:
    with tempfile.TemporaryDirectory() as folder:
        path = name
        packed = None
        if wheel:
            with File(wheel) as file:
                member = Archive(file).open(name)
                try:
                    packed = by_envcheck(member)
                except BinaryError:
                    return None
                if not packed[1]:
                    return None
                path = os.path.join(folder, os.path.basename(name))
                with open(path, "wb") as out:
                    for at in range(0, member.size, 1 << 20):
                        out.write(member.read(at, min(1 << 20, member.size - at)))
        mine, number, seconds = by_envcheck(path)
        size = os.path.getsize(path)
        if path.endswith((".dll", ".pyd")):
            as_elf(path, path := os.path.join(folder, "sections.o"))
        theirs, why, others = by_cuobjdump(tool, path, timeout)
        why = why.replace(folder + os.sep, "")
    listed = Counter({key: count for key, count in mine.items() if key.startswith(("sm_", "compute_"))})
    row: dict[str, object] = {
        "from": os.path.basename(wheel).split("-py")[0].split("-cp")[0],
        "file": os.path.basename(name),
        "mb": round(size / 1e6, 1),
        "fat_binaries": number,
        "envcheck": dict(sorted(mine.items())),
        "cuobjdump": None if theirs is None else dict(sorted(theirs.items())),
        "why": why,
        "seconds": [round(seconds, 4), round(others, 2)],
        "equal": None if theirs is None else unfamilied(listed) == theirs,
        "families": any(key.startswith("sm_") and key.endswith("f") for key in listed),
    }
    if packed is not None:
        row["in_wheel_equal"] = packed[:2] == (mine, number)
        row["in_wheel_seconds"] = round(packed[2], 2)
    return row


def table(rows: list[dict[str, object]]) -> str:
    lines = ["| from | file | MB | fat binaries | entries | cuobjdump |", "|---|---|---|---|---|---|"]
    for row in rows:
        mine, theirs = row["envcheck"], row["cuobjdump"]
        assert isinstance(mine, dict)
        if isinstance(theirs, dict):
            keys = sorted({*mine, *theirs})
            differ = [f"{key}: {theirs.get(key, 0)}" for key in keys if mine.get(key, 0) != theirs.get(key, 0)]
            said = "equal" + (", without f" if row["families"] else "") if row["equal"] else ", ".join(differ)
        else:
            said = f"cannot read it ({row['why']})"
        entries = ", ".join(f"{key} {count}" for key, count in mine.items())
        lines.append(f"| {row['from']} | {row['file']} | {row['mb']} | {row['fat_binaries']} | {entries} | {said} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--cuobjdump", required=True)
    parser.add_argument("--largest", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    for file in args.files:
        for wheel, name in libraries(file, args.largest):
            row = compare(wheel, name, args.cuobjdump, args.timeout)
            if row is None:
                continue
            rows.append(row)
            print(row["file"], row["equal"], row.get("in_wheel_equal"), row["seconds"], file=sys.stderr, flush=True)
            if args.json:
                with open(args.json, "w") as out:
                    json.dump(rows, out, indent=1)
    print(table(rows))
    return 1 if any(row["equal"] is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
