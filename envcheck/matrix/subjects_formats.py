"""Answers about formats and processors: ONNX opsets and IR, PTX, JetPack, x86-64 levels and CPU flags."""

from __future__ import annotations

from envcheck.versions import compare_numbers, numbers

from . import Matrix, Row
from .model import QueryError
from .ordering import sort_key
from .query import Answer, Sheet, alike, grouped
from .subjects_systems import newer_than

FLAGS = {
    "avx512": "avx512f",
    "bmi": "bmi1",
    "cmpxchg16b": "cx16",
    "fma3": "fma",
    "lahf": "lahf_lm",
    "lzcnt": "abm",
    "osxsave": "xsave",
    "sse3": "pni",
}
"""Names of instruction sets, without dots and underscores, and the flag of /proc/cpuinfo."""


def _whole(text: str, word: str, example: str) -> int:
    flat = text.lower().strip().removeprefix(word).strip(" =_-v")
    if not (flat.isascii() and flat.isdigit() and 0 < len(flat) < 9):
        raise QueryError(f"{text!r} is no {word} number: envcheck matrix {example}")
    return int(flat)


def opset(matrix: Matrix, text: str) -> Answer:
    """An opset of ONNX, ``21``, or of its other domain, ``ai.onnx.ml 5``: who defines it and who loads it."""
    flat = text.lower().strip()
    domain = next((each for each in ("ai.onnx.ml", "ml") if flat.startswith(each)), "")
    number = _whole(flat.removeprefix(domain), "opset", "opset 21")
    column, name = ("opset_ml", "ai.onnx.ml") if domain else ("opset", "ai.onnx")
    sheet = Sheet(matrix, f"opset {number} of {name}")
    first = _first(sheet, "onnx-versions", "onnx", column, number, f"opset of {name}")
    if first is not None:
        sheet.say("first onnx release that defines it", first["onnx"], first)
        sheet.say("IR version of that release", first["ir_version"], first)
    if domain:
        return sheet.answer
    return _loads(sheet, "opset_max", number, f"opset {number}")


def ir(matrix: Matrix, text: str) -> Answer:
    """An IR version of ONNX, ``10``: the onnx release that began to write it, and the ONNX Runtime that loads it."""
    number = _whole(text, "ir", "ir 10")
    sheet = Sheet(matrix, f"ONNX IR version {number}")
    first = _first(sheet, "onnx-versions", "onnx", "ir_version", number, "IR version")
    if first is not None:
        if first["ir_version"] == number:
            sheet.say("first onnx release that writes it", first["onnx"], first)
            sheet.say("opset of that release", first["opset"], first)
        else:
            sheet.answer.gaps.append(
                f"no onnx release in our tables writes IR version {number}: the oldest writes {first['ir_version']}"
            )
    return _loads(sheet, "ir_max", number, f"IR version {number}")


def _first(sheet: Sheet, table: str, release: str, column: str, number: int, what: str) -> Row | None:
    rows = [row for row in sheet.matrix.rows(table) if row[column] is not None]
    found = next((row for row in rows if row[column] >= number), None)
    if found is None:
        newest = max(row[column] for row in rows)
        as_of = sheet.matrix.meta(table).as_of
        sheet.answer.gaps.append(f"{what} {number} is newer than our data of {as_of} (newest known {newest})")
    return found


def _loads(sheet: Sheet, column: str, number: int, what: str) -> Answer:
    rows = sheet.matrix.rows("ort-opset")
    found = next((row for row in rows if row[column] >= number), None)
    if found is not None:
        oldest = " (the oldest listed)" if found is rows[0] else ""
        sheet.say("first ONNX Runtime release that loads it", f"{found['onnxruntime']}{oldest}", found)
    else:
        last = rows[-1]
        sheet.answer.gaps.append(
            f"no ONNX Runtime in our data of {sheet.matrix.meta('ort-opset').as_of} loads {what}: the newest, "
            f"{last['onnxruntime']}, loads up to {last[column]}"
        )
    return sheet.answer


def ptx(matrix: Matrix, text: str) -> Answer:
    """A version of PTX, ``8.4``: the CUDA releases that write it and the drivers that read it."""
    version = text.lower().removeprefix("ptx").removeprefix("isa").strip(" -_v")
    if not numbers(version):
        raise QueryError(f"{text!r} is no version of PTX: envcheck matrix ptx 8.4")
    rows = matrix.rows("ptx-isa")
    sheet = Sheet(matrix, f"PTX {version}")
    found = [row for row in rows if row["ptx"] and compare_numbers(row["ptx"], version) == 0]
    if not found:
        sheet.answer.gaps.append(newer_than(matrix, "ptx-isa", "ptx", version, "PTX", rows))
        return sheet.answer
    grouped(sheet, "CUDA releases whose compilers write it", [(row["cuda"], row) for row in found])
    reads = next((row for row in found if row["driver_branch"]), None)
    if reads is None:
        sheet.answer.gaps.append(f"the driver branch of CUDA {found[0]['cuda']} is not listed")
    else:
        words = "drivers whose compiler reads it (and all older PTX)"
        sheet.say(words, f"branch {reads['driver_branch']} and newer", {**reads, "note": None})
    return sheet.answer


def jetpack(matrix: Matrix, text: str) -> Answer:
    """A release of JetPack, ``6.1``: what it installs, and the further CUDA releases that it can run."""
    version = text.lower().removeprefix("jetpack").strip(" -_v")
    if not numbers(version):
        raise QueryError(f"{text!r} is no release of JetPack: envcheck matrix jetpack 6.1")
    return _jetpack(Sheet(matrix, f"JetPack {version}"), "jetpack", version, "JetPack")


def l4t(matrix: Matrix, text: str) -> Answer:
    """A release of Jetson Linux, ``36.4``, ``R36.4.3`` or ``R36 (release), REVISION: 4.3``: its JetPack."""
    flat = text.lower().removeprefix("l4t").replace("(release)", "").replace(", revision:", ".").replace(" ", "")
    version = flat.lstrip("-_").removeprefix("r").partition(",")[0].strip("#")
    if not numbers(version):
        raise QueryError(f"{text!r} is no release of L4T: envcheck matrix l4t 36.4")
    return _jetpack(Sheet(matrix, f"L4T {version}"), "l4t", version, "L4T")


def _jetpack(sheet: Sheet, column: str, version: str, what: str) -> Answer:
    matrix, mine = sheet.matrix, numbers(version)
    rows = [row for row in matrix.rows("jetpack") if row[column]]
    found = [row for row in rows if compare_numbers(row[column], version) == 0]
    begun = [row for row in rows if numbers(row[column])[: len(mine)] == mine]
    told = found if found and len(mine) > 2 else begun
    if not told and what == "L4T":
        # A row stands for the first release of several: 36.4.7 is JetPack 6.2.1 too.
        older = [row for row in rows if numbers(row["l4t"])[:2] == mine[:2] and numbers(row["l4t"]) <= mine]
        noted = [row for row in older if version in (row["note"] or "")]
        told = noted
    if not told:
        sheet.answer.gaps.append(newer_than(matrix, "jetpack", column, version, what, rows))
        return sheet.answer
    for row in told:
        prefix = f"JetPack {row['jetpack']}, L4T {row['l4t']}: " if len(told) > 1 else ""
        first = ("jetpack", "l4t") if not prefix else ()
        sheet.columns(row, *first, "cuda", "cudnn", "tensorrt", "ubuntu", "cc", "modules", prefix=prefix)
    majors = {str(numbers(row["l4t"])[0]) for row in told}
    for major in sorted(majors):
        sheet.columns(matrix.row("jetson", l4t=major), "compat_allowed", "compat_refused", prefix=f"L4T {major}: ")
    return sheet.answer


def level(matrix: Matrix, text: str) -> Answer:
    """A micro-architecture level, ``x86-64-v2``: its flags, the first processors, the packages that need it."""
    flat = text.lower().replace("_", "-").replace(" ", "-").removeprefix("x86-64").strip("-").removeprefix("v")
    row = matrix.row("x86-levels", level=flat or "1") if (flat or "1").isdigit() else None
    if row is None:
        listed = ", ".join(f"x86-64-v{each['level']}" for each in matrix.rows("x86-levels"))
        raise QueryError(f"there is no level {text!r} of x86-64; there are {listed}")
    sheet = Sheet(matrix, f"x86-64-v{row['level']}")
    sheet.columns(row, "flags", "all_flags", suffix=" (as /proc/cpuinfo has them)")
    sheet.columns(row, "first_intel", "first_amd")
    below = matrix.row("x86-levels", level=str(int(row["level"]) - 1))
    lower = set(below["all_flags"]) if below else set()
    needing = [
        each
        for each in matrix.rows("cpu-requirements")
        if set(each["requires_flags"]) <= set(row["all_flags"]) and not set(each["requires_flags"]) <= lower
    ]
    grouped(sheet, "packages that need flags of this level", [(_package(each), each) for each in needing])
    return sheet.answer


def _package(row: Row) -> str:
    end = f", before {row['to_version']}" if row["to_version"] else " on"
    unless = f" (not with {' or '.join(row['unless'])})" if row["unless"] else ""
    return f"{row['package']} from {row['from_version']}{end}{unless}"


def flag_named(matrix: Matrix, text: str) -> str | None:
    """The flag of /proc/cpuinfo for ``AVX2``, ``SSE4.2`` or ``lzcnt``; None when our tables do not use it."""
    flat = text.lower().strip().replace(".", "").replace("_", "").replace("-", "").replace(" ", "")
    flags = {flag.replace("_", ""): flag for flag in _flags(matrix)}
    return flags.get(flat) or FLAGS.get(flat)


def _flags(matrix: Matrix) -> list[str]:
    found = [flag for row in matrix.rows("x86-levels") for flag in row["all_flags"]]
    found += [flag for row in matrix.rows("cpu-requirements") for flag in row["requires_flags"]]
    return sorted(set(found), key=sort_key)


def cpu(matrix: Matrix, text: str) -> Answer:
    """A CPU flag, ``avx2``: the level of x86-64 that adds it and the packages that do not run without."""
    if text.lower().replace("_", "-").startswith(("x86-64", "v")):
        return level(matrix, text)
    flag = flag_named(matrix, text)
    if flag is None:
        close = alike(text, _flags(matrix))
        ending = f"; did you mean {', '.join(close)}?" if close else f"; they use {', '.join(_flags(matrix))}"
        raise QueryError(f"our tables have no CPU flag {text!r}{ending}")
    sheet = Sheet(matrix, f"CPU flag {flag}")
    for row in matrix.rows("x86-levels", flags=flag):
        sheet.say("added by level", f"x86-64-v{row['level']}", row)
        sheet.columns(row, "first_intel", "first_amd", suffix=" of that level")
    needing = matrix.rows("cpu-requirements", requires_flags=flag)
    grouped(sheet, "packages that do not run without it", [(_package(row), row) for row in needing])
    if not needing:
        sheet.answer.gaps.append(f"no package in our tables is known to need {flag}")
    return sheet.answer
