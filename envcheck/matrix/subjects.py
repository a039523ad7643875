"""Answers about packages: torch, onnxruntime-gpu, tensorrt and any other."""

from __future__ import annotations

from typing import Any

from envcheck.versions import numbers, satisfies

from . import Matrix, Row
from .lookup import applying, of_minor, tensorrt
from .model import QueryError
from .ordering import public, release, sort_key
from .query import BOUNDS, Answer, Sheet, alike, grouped, near
from .torch import torch_archs

FAMILIES = {
    **dict.fromkeys(("cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"), "cupy"),
    **dict.fromkeys(("tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel"), "tensorflow"),
    **{
        f"onnxruntime-{word}": "onnxruntime"
        for word in ("azure", "cann", "coreml", "directml", "migraphx", "openvino", "rocm", "silicon", "training")
    },
}
"""Packages whose releases stand in the tables of another one."""

EFFECTS = {"fails": "it does not run", "part": "some of its functions fail", "slow": "it runs slowly"}
"""The words of the column `effect` of gpu-features."""

NO_PACKAGES = (*BOUNDS, "branch", "cc", "cuda", "first", "gcc", "l4t", "level", "major", "toolkit")
"""Versions that rows have as their key without being releases of a package."""


def package(matrix: Matrix, name: str, version: str) -> Answer:
    """All that the tables say of a package, or of one release of it.

    Raises QueryError when no table names the package or the release.
    """
    names = names_of_packages(matrix)
    if name not in names:
        close = alike(name, sorted(names))
        raise QueryError(
            f"no table has anything on {name!r}{'; did you mean ' + ', '.join(close) + '?' if close else ''}"
        )
    asked = public(version) if version else ""
    if asked and release(asked) is None:
        raise QueryError(f"{version!r} is no version of {name}")
    sheet = Sheet(matrix, f"{name} {version}".strip())
    if asked and _only_major(sheet, name, asked):
        return sheet.answer
    special = {
        "torch": _torch,
        "onnxruntime-gpu": _onnxruntime,
        "onnxruntime": _onnxruntime,
        "tensorrt": _tensorrt,
        "onnx": _onnx,
    }.get(name)
    if special is not None and asked:
        special(sheet, name, asked)
    elif special is None:
        _own_tables(sheet, name, asked)
    _common(sheet, name, asked)
    if not sheet.answer.facts and not any("newer than our data" in gap for gap in sheet.answer.gaps):
        raise QueryError(f"{name} {version} is not in our tables{near(asked, _releases(matrix, name))}")
    return sheet.answer


def _only_major(sheet: Sheet, name: str, asked: str) -> bool:
    """For ``torch 2``, which is any of many releases: say which, instead of taking it for 2.0."""
    mine, matrix = numbers(asked), sheet.matrix
    if len(mine) != 1:
        return False
    pairs = [(row["version"], row) for row in matrix.rows("wheels", package=name)]
    for table in () if pairs else matrix.tables():
        meta = matrix.meta(table)
        if meta.key and meta.key[0].replace("_", "-") in (name, FAMILIES.get(name)):
            pairs = [(row[meta.key[0]], row) for row in matrix.rows(table)]
            break
    within = [(version, row) for version, row in pairs if numbers(version)[:1] == mine]
    if len({numbers(version)[:2] for version, _ in within}) < 2:
        return False
    grouped(sheet, f"releases of {asked} listed", within)
    sheet.answer.gaps.append(f"{name} {asked} is any of these: ask for one, such as {name} {within[-1][0]}")
    return True


def names_of_packages(matrix: Matrix) -> frozenset[str]:
    """Every package that some table has rows for."""
    memo: dict[str, frozenset[str]] = matrix.memo
    if "packages" not in memo:
        memo["packages"] = frozenset(_packages(matrix))
    return memo["packages"]


def _packages(matrix: Matrix) -> set[str]:
    found = {"torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "onnx"}
    for table in matrix.tables():
        meta = matrix.meta(table)
        if meta.key and meta.type_of(meta.key[0]) == "version" and meta.key[0] not in NO_PACKAGES:
            found.add(meta.key[0].replace("_", "-"))
        if meta.partition == "package":
            found.update(matrix._store.partitions(table))
        elif "package" in meta.key and meta.type_of("package") == "package":
            found.update(row["package"] for row in matrix.rows(table))
    return found


def _own_tables(sheet: Sheet, name: str, version: str) -> None:
    """Tables whose rows are releases of this package: their first key column has its name."""
    matrix = sheet.matrix
    for table in matrix.tables():
        meta = matrix.meta(table)
        column = meta.key[0] if meta.key else ""
        if column.replace("_", "-") not in (name, FAMILIES.get(name)) or meta.type_of(column) != "version":
            continue
        rows = matrix.rows(table)
        if not version:
            listed = list(dict.fromkeys(row[column] for row in rows))
            sheet.say(f"{meta.title}: releases listed", listed, {**rows[-1], "note": None})
            continue
        near_it = of_minor(rows, column, version)
        found = [row for row in rows if near_it is not None and row[column] == near_it[column]]
        if not found:
            sheet.gap(table, column, version)
        for row in found:
            others = " ".join(filter(None, (key_word(key, row[key]) for key in meta.key[1:])))
            suffix = "" if release(row[column]) == release(version) else f" (as in {row[column]})"
            sheet.columns(row, prefix=f"{others}: " if others else "", suffix=suffix)


def _releases(matrix: Matrix, name: str) -> list[str]:
    """Releases of a package that are listed, oldest first."""
    own = {"torch": ("torch-builds", "torch"), "tensorrt": ("tensorrt", "tensorrt"), "onnx": ("onnx-versions", "onnx")}
    found = {row["version"] for row in matrix.rows("wheels", package=name)}
    if name in own:
        table, column = own[name]
        found |= {row[column] for row in matrix.rows(table)}
    return sorted(found, key=sort_key)


def _common(sheet: Sheet, name: str, version: str) -> None:
    """What the tables with one row a package or a release say."""
    matrix = sheet.matrix
    if not version:
        for table in _tables_of_packages(matrix):
            rows = matrix.rows(table, package=name)
            meta = matrix.meta(table)
            if rows and "version" in meta.key:
                listed = list(dict.fromkeys(row["version"] for row in rows))
                newest = {**rows[-1], "note": None}
                sheet.say(f"{meta.title}: releases listed", listed, newest)
            elif not _only_keys(sheet, table, rows):
                for row in rows:
                    sheet.columns(row, prefix=_prefix(row, meta.key), suffix=_span(row))
        return
    for table in _tables_of_packages(matrix):
        meta = matrix.meta(table)
        if "version" in meta.key:
            rows = _of_release(matrix.rows(table, package=name), version)
            if not rows and table == "wheels" and matrix.rows(table, package=name):
                sheet.gap(table, "version", version, package=name)
        else:
            rows = _applying(matrix.rows(table, package=name), version)
        if table == "cuda-components":
            held = [row for row in rows if row["version"] == version or _fits(version, row["version"])]
            grouped(sheet, "part of CUDA toolkits", [(row["toolkit"], row) for row in held])
            continue
        if table == "requires":
            _requires(sheet, rows)
            continue
        if _only_keys(sheet, table, rows):
            continue
        for row in rows:
            other = "version" in meta.key and sort_key(row["version"])[:2] != sort_key(version)[:2]
            suffix = f" (as in {row['version']})" if other else ""
            sheet.columns(row, prefix=_prefix(row, meta.key), suffix=suffix)
    _companions(sheet, name, version)
    _gpu_features(sheet, name, version)


def _gpu_features(sheet: Sheet, name: str, version: str) -> None:
    """The lowest compute capability that a package asks for."""
    rows = (
        sheet.matrix.rows("gpu-features", kind="package", subject=name)
        if "gpu-features" in sheet.matrix.tables()
        else []
    )
    for row in rows:
        begun = not row["from_version"] or sort_key(row["from_version"])[:2] <= sort_key(version)[:2]
        if begun and (not row["to_version"] or sort_key(version)[:2] < sort_key(row["to_version"])[:2]):
            sheet.columns(row, "min_cc", "needs")
            sheet.say("what happens without", EFFECTS.get(row["effect"], row["effect"]), row)


def _only_keys(sheet: Sheet, table: str, rows: list[Row]) -> bool:
    """One fact for a table that says by its keys alone what there is: wheels outside the package index."""
    meta = sheet.matrix.meta(table)
    if any(column.name not in (*meta.key, *BOUNDS) for column in meta.columns):
        return False
    grouped(sheet, meta.title, [(_prefix(row, meta.key).removesuffix(": "), row) for row in rows])
    return True


def _tables_of_packages(matrix: Matrix) -> list[str]:
    order = ["wheels", "wheel-symbols"]
    found = []
    for table in matrix.tables():
        meta = matrix.meta(table)
        if "package" in meta.key and meta.type_of("package") == "package":
            found.append(table)
    return sorted(found, key=lambda table: (order.index(table) if table in order else len(order), table))


def _prefix(row: Row, key: tuple[str, ...]) -> str:
    """What tells the rows of one release apart: ``libcudnn.so.9: ``."""
    skipped = ("package", "version", "from_version", "versions", "first")
    words = [key_word(column, row[column]) for column in key if column not in skipped and row[column] != "any"]
    words = [word for word in words if word]
    return f"{' '.join(words)}: " if words else ""


def key_word(column: str, value: Any) -> str:
    """A cell of a key in words: ``CUDA 12``, not ``12``."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    word = {"cuda": "CUDA ", "toolkit": "CUDA ", "torch": "torch "}.get(column, "")
    return f"{word if numbers(str(value)) else ''}{value}" if value else ""


def _span(row: Row) -> str:
    """`` (from 2.0, before 2.4)``: the releases that a row holds for."""
    first, end = row.get("from_version"), row.get("to_version")
    words = [f"from {first}"] if first else []
    words += [f"before {end}"] if end else []
    words += [key_word("versions", row["versions"])] if row.get("versions") else []
    return f" ({', '.join(words)})" if words else ""


def _applying(rows: list[Row], version: str) -> list[Row]:
    if rows and "from_version" in rows[0]:
        return applying(rows, version)
    if rows and "versions" in rows[0]:
        return [row for row in rows if _holds(row["versions"], version)]
    return rows


def _holds(versions: str | list[str] | None, version: str) -> bool:
    """Whether a column `versions`, a specifier or a list of releases, speaks of this one."""
    if isinstance(versions, list):
        return any(sort_key(each)[:2] == sort_key(version)[:2] for each in versions)
    return not versions or _fits(version, versions)


def _fits(version: str, specifier: str) -> bool:
    try:
        return satisfies(version, specifier)
    except ValueError:
        return False


def _of_release(rows: list[Row], version: str) -> list[Row]:
    """Rows of this release: 10.5 is 10.5.0 too, and stands for 10.5.1 when there is no 10.5.0.

    10.13.2 stands for 10.13.2.6 in the same way.
    """
    mine = sort_key(version)[:2]  # without the spelling
    same = [row for row in rows if sort_key(row["version"])[:2] == mine]
    line = numbers(version)
    if same or len(line) not in (2, 3):
        return same
    within = [row for row in rows if numbers(row["version"])[: len(line)] == line]
    newest = max((row["version"] for row in within), key=sort_key, default=None)
    return [row for row in within if row["version"] == newest]


def _requires(sheet: Sheet, rows: list[Row]) -> None:
    """One fact for all requirements that come from one source."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        group = (row["extra"] or "", row["marker"] or "", row["source"], row["confidence"])
        groups.setdefault(group, []).append(row)
    for (extra, marker, *_), members in groups.items():
        words = " ".join(filter(None, ("requires", f"[{extra}]" if extra else "", f"where {marker}" if marker else "")))
        lines = [f"{row['requires']}{row['specifier'] or ''}" for row in members]
        sheet.say(words, lines, {**members[0], "note": None})


def _companions(sheet: Sheet, name: str, version: str) -> None:
    """Releases of other packages that pin exactly this one: torchvision for a torch."""
    if name not in ("torch", "jaxlib", "onnx"):
        return
    found: dict[str, list[Row]] = {}
    for row in sheet.matrix.rows("requires", requires=name):
        pinned = (row["specifier"] or "").startswith("==") and _fits(version, row["specifier"])
        if pinned and not row["extra"] and row["package"] != name:
            found.setdefault(row["package"], []).append(row)
    for companion, rows in found.items():
        listed = sorted({row["version"] for row in rows}, key=sort_key)
        sheet.say(f"goes with {companion}", listed, {**rows[-1], "note": None})


def _torch(sheet: Sheet, name: str, version: str) -> None:
    matrix = sheet.matrix
    build = of_minor(matrix.rows("torch-builds"), "torch", version)
    parts = numbers(version)
    line = ".".join(map(str, (*parts, 0)[:2]))
    variants = matrix.row("torch-variants", torch=line)
    if variants is None:
        sheet.gap("torch-variants", "torch", line)
    else:
        labels = [f"cu{cuda.replace('.', '')}" for cuda in variants["cuda"] or ()]
        sheet.say("CUDA variants", labels, variants)
        sheet.say("ROCm variants", variants["rocm"], variants)
        sheet.say("Python", variants["python"], variants)
    if build is None or (len(parts) > 2 and public(build["torch"]) != version):
        if sheet.gap("torch-builds", "torch", version) == "not-listed":
            raise QueryError(sheet.answer.gaps[-1])
        build = None
    if build is not None:
        sheet.say("default (Linux x86-64, package index)", f"CUDA {build['cuda']}" if build["cuda"] else None, build)
        sheet.columns(build, "cudnn", "nccl", "triton", "cxx11_abi", "numpy2", "windows_cuda", "aarch64_cuda", "glibc")
    for cuda in (variants or {}).get("cuda") or ():
        row = torch_archs(matrix, version, cuda)
        if row is None:
            sheet.gap("torch-archs", "cuda", cuda, torch=version)
            continue
        read = "measured" if row["measured"] else "from the build scripts"
        near_it = "" if row["torch"] in (version, line) else f", of {row['torch']}"
        sheet.say(f"CUDA {cuda}: GPU machine code ({read}{near_it})", row["sass"], row)
        sheet.say(f"CUDA {cuda}: PTX", row["ptx"], row)
        for where, system, arch in (("Windows", "windows", "x86_64"), ("aarch64", "linux", "aarch64")):
            other = torch_archs(matrix, version, cuda, system, arch)
            if other is not None and (other["sass"], other["ptx"]) != (row["sass"], row["ptx"]):
                sheet.say(f"CUDA {cuda}, {where}: GPU machine code", other["sass"], other)
                sheet.say(f"CUDA {cuda}, {where}: PTX", other["ptx"], other)
        toolkit = matrix.row("cuda-toolkits", toolkit=cuda)
        if toolkit is not None:
            sheet.say(f"CUDA {cuda}: lowest Linux driver", toolkit["linux_driver_min"], toolkit)
    for row in matrix.rows("torch-rocm", torch=line):
        sheet.say(f"ROCm {row['rocm']}: GPU targets with code", row["targets"], row)
    for row in applying(matrix.rows("torch-mps"), line):
        sheet.say(f"MPS: oldest macOS ({', '.join(row['architectures'] or ())})", row["macos"], row)


def _onnxruntime(sheet: Sheet, name: str, version: str) -> None:
    matrix = sheet.matrix
    tables = [("ort-opset", "onnxruntime")]
    if name == "onnxruntime-gpu":
        tables.insert(0, ("ort-gpu", "onnxruntime_gpu"))
    for table, column in tables:
        row = of_minor(matrix.rows(table), column, version)
        if row is None:
            sheet.gap(table, column, version)
            continue
        sheet.columns(row, suffix="" if public(row[column]) == version else f" (as in {row[column]})")


def _tensorrt(sheet: Sheet, name: str, version: str) -> None:
    row = tensorrt(sheet.matrix, version)
    if row is None:
        sheet.gap("tensorrt", "tensorrt", version)
    else:
        sheet.columns(row)


def _onnx(sheet: Sheet, name: str, version: str) -> None:
    row = of_minor(sheet.matrix.rows("onnx-versions"), "onnx", version)
    if row is None:
        sheet.gap("onnx-versions", "onnx", version)
    else:
        sheet.columns(row)
