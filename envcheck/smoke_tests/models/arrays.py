"""Arrays in ``.npz`` files, read without pickle and within a limit, and written whole. Needs NumPy."""

from __future__ import annotations

import os
from typing import Any

from envcheck.smoke_tests.models import ModelError

INPUT, OUTPUT, META = "input:", "output:", "meta"
"""How a golden file names what it holds."""


def read(path: str, limit: int) -> dict[str, Any]:
    """Name -> array. ``limit``: bytes that all of them may take together. Raises ModelError."""
    import zipfile

    name = os.path.basename(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if total > limit:
                raise ModelError(
                    f"{name} unpacks to {total >> 20} MiB, more than the {limit >> 20} MiB that the memory budget "
                    "leaves for it: raise it with --memory-budget"
                )
            return {entry.filename.removesuffix(".npy"): _array(archive, entry, name) for entry in entries}
    except ModelError:
        raise
    except zipfile.BadZipFile:
        raise ModelError(f"{name} is no .npz archive, or was cut off") from None
    except MemoryError:
        raise ModelError(f"{name} does not fit into memory") from None
    except Exception as error:
        raise ModelError(f"{name} can't be read as an .npz archive: {error}") from None


def _array(archive: Any, entry: Any, name: str) -> Any:
    import numpy

    formats = numpy.lib.format
    with archive.open(entry) as file:
        try:
            version = formats.read_magic(file)
            reader = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
            shape, by_columns, dtype = reader(file)
        except ValueError as error:
            raise ModelError(f"{name}: {entry.filename} is no array of NumPy: {error}") from None
        if dtype.hasobject:
            raise ModelError(f"{name}: {entry.filename} holds Python objects, which are pickled: they are not read")
        count = 1
        for length in shape:
            count *= length
        # The header is believed only as far as there are bytes for it.
        if count * dtype.itemsize > entry.file_size:
            raise ModelError(f"{name}: {entry.filename} claims shape {shape}, but holds {entry.file_size} bytes")
        data = file.read(count * dtype.itemsize)
    array = numpy.frombuffer(bytearray(data), dtype=dtype, count=count)
    return array.reshape(shape, order="F" if by_columns else "C")


def write(path: str, inputs: dict[str, Any], outputs: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write a golden file, uncompressed. Raises OSError."""
    import json
    import zipfile

    import numpy

    held = {INPUT + name: array for name, array in inputs.items()}
    held |= {OUTPUT + name: array for name, array in outputs.items()}
    held[META] = numpy.array(json.dumps(meta, sort_keys=True))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in held.items():
            # A fixed date: the same run gives the same file.
            with archive.open(zipfile.ZipInfo(name + ".npy"), "w", force_zip64=True) as file:
                plain = array.astype(str) if array.dtype == object else array  # texts
                numpy.lib.format.write_array(file, numpy.array(plain, order="C"), allow_pickle=False)


class Golden:
    """What a golden file holds."""

    __slots__ = ("inputs", "meta", "name", "outputs")

    def __init__(self, path: str, limit: int) -> None:
        """Raises ModelError."""
        import json

        self.name = os.path.basename(path)
        held = read(path, limit)
        self.inputs = {name[len(INPUT) :]: array for name, array in held.items() if name.startswith(INPUT)}
        self.outputs = {name[len(OUTPUT) :]: array for name, array in held.items() if name.startswith(OUTPUT)}
        if not self.outputs:
            raise ModelError(f"{self.name} is no golden file: it has no array that is named {OUTPUT}NAME")
        try:
            meta = json.loads(str(held[META]))
        except (KeyError, ValueError, RecursionError):
            meta = {}
        self.meta: dict[str, Any] = meta if isinstance(meta, dict) else {}
