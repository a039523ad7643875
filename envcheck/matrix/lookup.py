"""Questions that take more than one lookup: the row of a release, else of its minor release or the nearest one."""

from __future__ import annotations

from typing import Any

from envcheck.versions import numbers

from . import Matrix, Row
from .ordering import sort_key


def ort_gpu(matrix: Matrix, version: str) -> Row | None:
    """Return the row of `ort-gpu` for a release of onnxruntime-gpu, else the nearest of the same minor release."""
    return of_minor(matrix.rows("ort-gpu"), "onnxruntime_gpu", version)


def ort_opset(matrix: Matrix, version: str) -> Row | None:
    """Return the row of `ort-opset` for a release of ONNX Runtime, else the nearest of the same minor release."""
    return of_minor(matrix.rows("ort-opset"), "onnxruntime", version)


def brings_onnxruntime(matrix: Matrix) -> dict[str, Row]:
    """Return the rows of `ort-packages` by package, of those that install the module ``onnxruntime``."""
    return {row["package"]: row for row in matrix.rows("ort-packages") if row["shadows"]}


def is_plug_in(row: Row, version: str | None) -> bool:
    """Return whether this release of an ONNX Runtime package is a plug-in beside onnxruntime, by `plug_in_from`.

    A release that is not known is taken for one of the newer ones.
    """
    first = row["plug_in_from"]
    return first is not None and (version is None or numbers(version) >= numbers(first))


def tensorrt(matrix: Matrix, version: str) -> Row | None:
    """Return the row of `tensorrt` for a version with two to four parts, e.g. ``10.13.2.6``.

    A row for major.minor.patch comes before the one for major.minor. None when neither is listed or the version does
    not state a minor release.
    """
    parts = [str(number) for number in (*numbers(version), 0)]
    if len(parts) < 3:
        return None
    rows = {row["tensorrt"]: row for row in matrix.rows("tensorrt")}
    return rows.get(".".join(parts[:3])) or rows.get(".".join(parts[:2]))


def cudnn_gpus(matrix: Matrix, version: str, cuda_major: str) -> Row | None:
    """Return the row of `cudnn-gpus` for a cuDNN version (``9.1.0``, ``9.1.0.70``) and a CUDA major release."""
    return _in_range(matrix.rows("cudnn-gpus", cuda=cuda_major), version, "first", "last")


def cpu_requirements(matrix: Matrix, package: str, version: str) -> list[Row]:
    """Return the rows of `cpu-requirements` that apply to a release of a package; empty when none is known."""
    return applying(matrix.rows("cpu-requirements", package=package), version)


def applying(rows: list[Row], version: str) -> list[Row]:
    """Return the rows whose `from_version` to before `to_version` (empty: the newest) holds `version`."""

    def key(text: str) -> tuple[int, Any]:
        return sort_key(text)[:2]  # without the spelling: 2.1 is 2.1.0

    mine = key(version)
    begun = [row for row in rows if key(row["from_version"]) <= mine]
    return [row for row in begun if row["to_version"] is None or mine < key(row["to_version"])]


def of_minor(rows: list[Row], column: str, version: str) -> Row | None:
    """Return the row of `version`, else the nearest full release of its minor release, else the minor's own row.

    None when the version does not state a minor release: ``2`` is any of them.
    """
    mine = numbers(version)
    if len(mine) < 2:
        return None
    minor = mine[:2]
    line = None
    near: list[tuple[int, Row]] = []
    for row in rows:
        listed = numbers(row[column])
        if listed[:2] != minor:
            continue
        if len(listed) < 3:
            line = row
        elif listed == mine:
            return row
        else:
            near.append((abs(listed[2] - (*mine, 0)[2]), row))
    if near:
        return min(near, key=lambda pair: pair[0])[1]
    return line


def _in_range(rows: list[Row], version: str, first: str, last: str) -> Row | None:
    """Return the row whose range holds `version`; a bound of two parts holds all that begins with it."""
    mine = numbers(version)
    if not mine:
        return None
    full = [*mine, 0, 0, 0]
    for row in rows:
        low = [int(part) for part in row[first].split(".")]
        high = [int(part) for part in row[last].split(".")]
        if full[: len(low)] >= low and full[: len(high)] <= high:
            return row
    return None
