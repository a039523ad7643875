"""Answers about GPUs (AMD's: `subjects_amd`), compute capabilities, drivers and CUDA toolkits."""

from __future__ import annotations

from envcheck.targets import ptx_serves, runs_on
from envcheck.versions import compare_numbers, minor, numbers

from . import Matrix, Row
from .gpu_names import fitting, merged
from .guess import cuda_version, driver_version
from .model import QueryError
from .query import Answer, Sheet, alike
from .subjects_amd import amd_gpu
from .subjects_speed import speed


def gpu(matrix: Matrix, name: str) -> Answer:
    """A GPU by product name, or several that a name fits: ``V100``.

    Raises QueryError when it is not listed, or the name fits GPUs of different compute capability.
    """
    rows = fitting(matrix, name)
    if not rows:
        other = amd_gpu(matrix, name)
        if other is not None:
            return other
        close = alike(name, [row["name"] for table in ("gpus", "amd-gpus") for row in matrix.rows(table)])
        ending = f"; did you mean {', '.join(close)}?" if close else ""
        raise QueryError(f"there is no GPU {name!r} in our tables, which list NVIDIA's and AMD's{ending}")
    row = merged(rows)
    if row is None:
        each = ", ".join(f"{row['name']} ({row['compute_capability']})" for row in rows[:8])
        raise QueryError(f"{name!r} fits GPUs that differ in compute capability: {each}")
    sheet = Sheet(matrix, f"gpu {row['name'] if len(rows) == 1 else name}")
    if len(rows) > 1:
        sheet.say("products of that name", [each["name"] for each in rows], row)
    sheet.columns(row, "compute_capability", "architecture", "memory_mib", "segment", "first_driver", "pci_ids")
    if row["memory_mib"] is None:
        sheet.answer.gaps.append("memory: not listed, or the product comes in several sizes")
    speed(sheet, [each["name"] for each in rows])
    _capability(sheet, row["compute_capability"])
    return sheet.answer


def capability(matrix: Matrix, cc: str) -> Answer:
    """A compute capability, ``8.9``; ``sm_89`` and the targets ``sm_100a`` and ``12.0f`` are understood."""
    text = cc.lower().removeprefix("sm_").removeprefix("compute_")
    suffix = text[-1:] if text[-1:] in ("a", "f") else ""
    text = text.removesuffix(suffix)
    if text.isdigit():
        text = f"{text}.0" if int(text) < 20 else f"{text[:-1]}.{text[-1]}"
    sheet = Sheet(matrix, f"compute capability {text}{suffix}")
    target = matrix.row("sm-targets", target=text + suffix) if suffix else None
    if suffix and target is None:
        listed = [row["target"] for row in matrix.rows("sm-targets")]
        raise QueryError(f"our tables have no target {text}{suffix}; they have {', '.join(listed)}")
    sheet.columns(target, "kind", "runs_on")
    if matrix.row("compute-capabilities", cc=text) is None:
        return sheet.miss("compute-capabilities", "cc", text, "compute capability")
    _capability(sheet, text)
    return sheet.answer


def _capability(sheet: Sheet, cc: str) -> None:
    matrix = sheet.matrix
    row = matrix.row("compute-capabilities", cc=cc)
    if row is None:
        sheet.gap("compute-capabilities", "cc", cc)
        return
    sheet.columns(row, "first_toolkit", "last_toolkit", "first_driver_branch", "last_driver_branch")
    known = [
        each["toolkit"]
        for each in matrix.rows("cuda-toolkits")
        if (row["first_toolkit"] is None or compare_numbers(each["toolkit"], row["first_toolkit"]) >= 0)
        and (row["last_toolkit"] is None or compare_numbers(each["toolkit"], row["last_toolkit"]) <= 0)
    ]
    sheet.say("CUDA toolkits that know it", known, row)
    parts = numbers(cc)
    sm = (parts[0], parts[1])
    served: dict[tuple[str, str, str], list[Row]] = {}
    for build in matrix.rows("torch-archs"):
        if any(runs_on(target, sm) for target in build["sass"] or ()):
            how = "machine code"
        elif any(ptx_serves(target, sm) for target in build["ptx"] or ()):
            how = "PTX, compiled at the first start"
        else:
            continue
        served.setdefault((how, build["source"], build["confidence"]), []).append(build)
    for (how, _, _), builds in served.items():
        names = list(dict.fromkeys(f"{build['torch']} CUDA {build['cuda']}{_where(build)}" for build in builds))
        # The rows have notes of their own, which speak of one build each.
        sheet.say(f"torch builds that run on it ({how})", names, {**builds[-1], "note": None})
    if not served:
        sheet.answer.gaps.append(f"no torch build in our tables has code for compute capability {cc}")


def _where(build: Row) -> str:
    if build["os"] == "windows":
        return " (Windows)"
    return "" if build["arch"] == "x86_64" else f" ({build['arch']})"


def driver(matrix: Matrix, version: str, *, windows: bool = False) -> Answer:
    """A driver version: its branch, the CUDA it prints, the floors it meets, the GPUs and torch builds it serves."""
    asked, version = version, driver_version(version)
    mine = numbers(version)
    if not mine:
        raise QueryError(f"{asked!r} is no version of a driver")
    system = "windows" if windows else "linux"
    sheet = Sheet(matrix, f"{'Windows' if windows else 'Linux'} driver {version}")
    branches = matrix.rows("driver-branches")
    branch = next((row for row in branches if _of_branch(row, mine[0], windows)), None)
    if branch is None and windows:
        highs = [row["windows_high"] for row in branches if row["windows_high"]]
        if highs and mine[0] > max(numbers(high)[0] for high in highs):
            newest = max(highs, key=numbers)
            sheet.answer.gaps.append(f"Windows driver {version} is newer than our data (newest known {newest})")
            return sheet.answer
        lists = [f"{row['windows_low']}-{row['windows_high']}" for row in branches if row["windows_low"]]
        raise QueryError(f"no branch in our tables has the Windows driver {version}; known: {', '.join(lists)}")
    if branch is None:
        if any(_of_branch(row, mine[0], True) for row in branches):
            raise QueryError(f"no Linux branch has the driver {version}, but Windows has: ask with --windows")
        return sheet.miss("driver-branches", "branch", str(mine[0]), "driver branch")
    sheet.say("branch", branch["branch"], branch)
    sheet.columns(branch, "cuda", "type", "eol", "ends", "first_gpus")
    for floor in matrix.rows("cuda-floors"):
        _floor(sheet, floor, version, floor[f"{system}_min"])
    runs = [row for row in matrix.rows("cuda-toolkits") if _at_least(version, row[f"{system}_driver_min"])]
    full = [row for row in matrix.rows("cuda-toolkits") if _at_least(version, row[f"{system}_driver_full"])]
    if full:
        sheet.say("newest toolkit with all features", full[-1]["toolkit"], full[-1])
    for row in matrix.rows("cuda-toolkits"):
        floor = row[f"{system}_driver_full"]
        if floor and _at_least(version, floor) is None:
            sheet.say(f"CUDA {row['toolkit']} with all features", f"from {floor} on", row)
    if runs:
        words = "newest toolkit whose programs start (machine code for the GPU needed)"
        sheet.say(words, runs[-1]["toolkit"], runs[-1])
    if not windows:
        _families(sheet, branch)
    _torch_on(sheet, [row["toolkit"] for row in runs])
    return sheet.answer


def _of_branch(row: Row, first: int, windows: bool) -> bool:
    if not windows:
        return str(row["branch"]) == str(first)
    low, high = row["windows_low"], row["windows_high"]
    return bool(low and high and numbers(low)[0] <= first <= numbers(high)[0])


def _at_least(version: str, floor: str | None) -> bool | None:
    """None where it can't be told: 525 against 525.60.13, or no floor listed."""
    have, need = numbers(version), numbers(floor or "")
    if not need or (len(have) < len(need) and need[: len(have)] == have):
        return None
    return compare_numbers(version, floor or "") >= 0


def _floor(sheet: Sheet, row: Row, version: str, floor: str | None) -> None:
    met = _at_least(version, floor)
    words = {True: "yes", False: "no", None: f"{version} does not tell"}[met]
    sheet.say(f"meets the floor of CUDA {row['major']}.x", f"{words} ({floor} or newer)" if floor else None, row)


def _families(sheet: Sheet, branch: Row) -> None:
    number, prints = numbers(branch["branch"]), branch["cuda"]
    rows = []
    for row in sheet.matrix.rows("compute-capabilities"):
        first, last, toolkit = row["first_driver_branch"], row["last_driver_branch"], row["first_toolkit"]
        # Where the first branch is not listed: a driver knows the GPUs that the toolkit of its own CUDA knows.
        begun = numbers(first) <= number if first else toolkit and compare_numbers(toolkit, prints) <= 0
        if begun and not row["tegra"] and (last is None or numbers(last) >= number):
            rows.append(row if first else {**row, "confidence": "medium"})
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row["architecture"], []).append(row)
    for family, members in families.items():
        sheet.say(f"drives {family}", [row["cc"] for row in members], {**members[-1], "note": None})


def _torch_on(sheet: Sheet, toolkits: list[str]) -> None:
    """Newest torch release for each CUDA variant that starts on these toolkits' drivers."""
    newest: dict[str, Row] = {}
    for row in sheet.matrix.rows("torch-variants"):
        for cuda in row["cuda"] or ():
            if cuda in toolkits:
                newest[cuda] = row
    for cuda, row in sorted(newest.items(), key=lambda pair: numbers(pair[0])):
        sheet.say(f"newest torch for CUDA {cuda} (variant runs)", row["torch"], {**row, "note": None})


def cuda(matrix: Matrix, version: str) -> Answer:
    """A CUDA toolkit: drivers, PTX, GPUs it knows, forward compatibility, torch variants built with it."""
    asked, version = version, cuda_version(version)
    parts = numbers(version)
    if not parts:
        raise QueryError(f"{asked!r} is no version of CUDA")
    sheet = Sheet(matrix, f"CUDA {version}")
    if len(parts) == 1:
        floor = matrix.row("cuda-floors", major=str(parts[0]))
        if floor is None:
            return sheet.miss("cuda-floors", "major", str(parts[0]), "CUDA")
        sheet.columns(floor)
        listed = [row for row in matrix.rows("cuda-toolkits") if numbers(row["toolkit"])[0] == parts[0]]
        if listed:
            sheet.say("toolkits", [row["toolkit"] for row in listed], listed[-1])
        return sheet.answer
    line = minor(version)
    row = matrix.row("cuda-toolkits", toolkit=line)
    if row is None:
        printed = matrix.rows("driver-branches", cuda=line)
        if not printed:
            return sheet.miss("cuda-toolkits", "toolkit", line, "CUDA toolkit")
        sheet.say("driver branches that print it", [each["branch"] for each in printed], printed[0])
        sheet.columns(matrix.row("ptx-isa", cuda=line), "ptx")
        sheet.gap("cuda-toolkits", "toolkit", line)
        return sheet.answer
    sheet.columns(row)
    floor = matrix.row("cuda-floors", major=str(parts[0]))
    sheet.columns(floor, prefix=f"any CUDA {parts[0]}.x: ")
    known = [
        each
        for each in matrix.rows("compute-capabilities")
        if (each["first_toolkit"] is None or compare_numbers(each["first_toolkit"], line) <= 0)
        and (each["last_toolkit"] is None or compare_numbers(line, each["last_toolkit"]) <= 0)
    ]
    if known:
        sheet.say("compute capabilities it knows", [each["cc"] for each in known], {**known[-1], "note": None})
    for verdict in ("compatible", "not-compatible"):
        rows = matrix.rows("forward-compat", package=line, verdict=verdict)
        if rows:
            words = f"cuda-compat {line} {'runs' if verdict == 'compatible' else 'does not run'} on driver branches"
            sheet.say(words, [each["driver_branch"] for each in rows], rows[-1])
    variants = [each for each in matrix.rows("torch-variants") if line in (each["cuda"] or ())]
    if variants:
        sheet.say("torch releases with a variant for it", [each["torch"] for each in variants], variants[-1])
    updates = [each for each in matrix.rows("cuda-updates") if minor(each["toolkit"]) == line]
    if len(parts) > 2:
        sheet.columns(next((each for each in updates if each["toolkit"] == version), None))
    elif updates:
        sheet.say("releases", [each["toolkit"] for each in updates], {**updates[-1], "note": None})
    exact = matrix.rows("cuda-components", toolkit=version)
    for each in exact if len(parts) > 2 else ():
        sheet.say(each["package"], each["version"], each)
    return sheet.answer
