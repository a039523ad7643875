"""Answers about packages (torch, onnxruntime-gpu, tensorrt and any other), cuDNN, images and machines."""

from __future__ import annotations

from collections.abc import Sequence

from envcheck.versions import numbers, satisfies

from . import Matrix, Row
from .lookup import _in_range, applying, of_minor, tensorrt
from .model import QueryError
from .ordering import public, release, sort_key
from .query import Answer, Sheet, alike, near
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

LISTS = {"image": "ngc-images", "instance": "cloud-instances", "notebook": "hosted-notebooks"}
"""Tables of places where a stack runs, by the word that people use."""


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


def names_of_packages(matrix: Matrix) -> set[str]:
    """Every package that some table has rows for."""
    found = {"torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "onnx"}
    for table in matrix.tables():
        meta = matrix.meta(table)
        if meta.key and meta.type_of(meta.key[0]) == "version":
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
            sheet.say(f"{meta.title.lower()}: releases listed", listed, {**rows[-1], "note": None})
            continue
        near_it = of_minor(rows, column, version)
        found = [row for row in rows if near_it is not None and row[column] == near_it[column]]
        if not found:
            sheet.gap(table, column, version)
        for row in found:
            others = " ".join(str(row[key]) for key in meta.key[1:] if row[key])
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
                sheet.say(f"{meta.title.lower()}: releases listed", listed, newest)
            else:
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
        if table == "requires":
            _requires(sheet, rows)
            continue
        for row in rows:
            sheet.columns(row, prefix=_prefix(row, meta.key))
    _companions(sheet, name, version)


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
    words = [str(row[column]) for column in key if column not in skipped and row[column] and row[column] != "any"]
    return f"{' '.join(words)}: " if words else ""


def _span(row: Row) -> str:
    """`` (from 2.0, before 2.4)``: the releases that a row holds for."""
    first, end = row.get("from_version"), row.get("to_version")
    words = [f"from {first}"] if first else []
    words += [f"before {end}"] if end else []
    words += [str(row["versions"])] if row.get("versions") else []
    return f" ({', '.join(words)})" if words else ""


def _applying(rows: list[Row], version: str) -> list[Row]:
    if rows and "from_version" in rows[0]:
        return applying(rows, version)
    if rows and "versions" in rows[0]:
        return [row for row in rows if not row["versions"] or _fits(version, row["versions"])]
    return rows


def _fits(version: str, specifier: str) -> bool:
    try:
        return satisfies(version, specifier)
    except ValueError:
        return False


def _of_release(rows: list[Row], version: str) -> list[Row]:
    """Rows of this release: 10.5 is 10.5.0 too, and stands for 10.5.1 when there is no 10.5.0."""
    mine = sort_key(version)[:2]  # without the spelling
    same = [row for row in rows if sort_key(row["version"])[:2] == mine]
    line = numbers(version)
    if same or len(line) != 2:
        return same
    within = [row for row in rows if numbers(row["version"])[:2] == line]
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


def cudnn(matrix: Matrix, version: str) -> Answer:
    """A cuDNN release: for each CUDA major its toolkits, drivers and GPUs; the libraries it consists of."""
    if release(version) is None:
        raise QueryError(f"{version!r} is no version of cuDNN")
    sheet = Sheet(matrix, f"cuDNN {version}")
    majors = sorted({row["cuda"] for row in matrix.rows("cudnn")}, key=sort_key)
    found = False
    for major in majors:
        for table in ("cudnn", "cudnn-gpus"):
            row = _in_range(matrix.rows(table, cuda=major), version, "first", "last")
            if row is not None:
                found = True
                names = [column.name for column in matrix.meta(table).columns if column.name not in ("first", "cuda")]
                taken = {"capabilities", "last"} if table == "cudnn-gpus" else {"last"}
                sheet.columns(row, *(name for name in names if name not in taken), prefix=f"for CUDA {major}: ")
    parts = _in_range(matrix.rows("cudnn-sublibraries"), version, "first", "last")
    if parts is not None:
        sheet.columns(parts, "soname", "sublibraries")
    if not found:
        return sheet.miss("cudnn", "last", version, "cuDNN")
    return sheet.answer


def listed(matrix: Matrix, kind: str, words: list[str]) -> Answer:
    """An NGC image, a cloud instance type or a hosted notebook: the rows whose key holds all the words.

    ``p4d`` and ``NC6s_v3`` are parts of names; of more than a dozen rows only the newest (last) are told in full.
    """
    table = LISTS[kind]
    if table not in matrix.tables():
        raise QueryError(f"this release of the tables has none of {kind}s")
    meta = matrix.meta(table)
    texts = {row["_id"].partition("/")[2]: row for row in matrix.rows(table)}
    if not words:
        raise QueryError(f"name one: {', '.join(list(texts)[:4])}, ...")
    labels = labels_like(matrix, kind, words)
    sheet = Sheet(matrix, f"{kind} {' '.join(words)}")
    told = labels[-3:] if len(labels) > MANY else labels
    for label in told:
        several = f"{label.replace('/', ' ')}: " if len(labels) > 1 else ""
        sheet.columns(texts[label], prefix=several)
    if told != labels:
        others = [label.replace("/", " ") for label in labels if label not in told]
        sheet.say("also listed", others, {**texts[labels[0]], "note": None})
    if labels:
        return sheet.answer
    words = _label_words(words)
    version = next((column for column in meta.key if meta.type_of(column) == "version"), None)
    if version is not None and len(meta.key) == 2 and len(words) == 2:
        other = next(column for column in meta.key if column != version)
        if matrix.rows(table, **{other: words[0]}):
            return sheet.miss(table, version, words[1], words[0], **{other: words[0]})
    close = alike(" ".join(words), [label.replace("/", " ") for label in texts])
    raise QueryError(
        f"our tables have no {kind} {' '.join(words)!r}{'; did you mean ' + ', '.join(close) + '?' if close else ''}"
    )


MANY = 12


def labels_like(matrix: Matrix, kind: str, words: Sequence[str]) -> list[str]:
    """The ids of rows that hold all the words, else of those where every word begins or ends a part of the name."""
    wanted = _label_words(words)
    held = {}
    for row in matrix.rows(LISTS[kind]):
        label = row["_id"].partition("/")[2]
        held[label] = label.lower().replace(":", "/").split("/")
    found = [label for label, parts in held.items() if all(word in parts for word in wanted)]
    if found or kind != "instance" or any(len(word) < 2 for word in wanted):
        return found

    def part(word: str, name: str) -> bool:
        return name.startswith((f"{word}.", f"{word}-", f"standard_{word}")) or name == word

    return [label for label, parts in held.items() if all(any(part(w, p) for p in parts) for w in wanted)]


def _label_words(words: Sequence[str]) -> list[str]:
    """``nvcr.io/nvidia/pytorch:24.05-py3`` is the image ``pytorch 24.05``."""
    found = [part for word in words for part in word.lower().replace(":", "/").split("/")]
    return [part.removesuffix("-py3") for part in found if part and part not in ("nvcr.io", "nvidia")]
