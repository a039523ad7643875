"""Finding a GPU by the name that nvidia-smi, NVML or a person gives it, or by its PCI device id."""

from __future__ import annotations

from . import Matrix, Row, rows_of

#: Words that say how a card is built, not which GPU it has.
_FORM = (
    " gpu generation active passive lc ls fhhl oem mobile notebook ac developer kit nvgpu"
    " blackwell workstation server edition "
)
#: What people and some tools leave out in front of a name.
_BRANDS = ("geforce", "tesla", "jetson")

_BLANKS = dict.fromkeys(map(ord, "®™()-_"), " ")

_Index = tuple[dict[str, Row], dict[str, list[Row]]]


def find_gpu(matrix: Matrix, name: str) -> Row | None:
    """Return the row of `gpus` for a name such as ``NVIDIA A100-SXM4-40GB MIG 1g.5gb``, ``Tesla T4`` or ``rtx 4090``.

    The name is compared without vendor, case and MIG profile. Only when that finds nothing, memory size, vGPU profile
    and form (``-SXM4-40GB``, ``-16Q``, ``PCIe``) are left out; a missing ``GeForce``, ``Tesla`` or ``Jetson`` is
    supplied. When what is left names GPUs of more than one compute capability the answer is None, as it is for a name
    that is not listed.
    """
    wanted = _words(name)
    if not wanted:
        return None
    attempts = [wanted, _bare(wanted)]
    if len(wanted) > 1 and wanted[0] in _BRANDS:  # "Tesla A100", "Jetson Orin"
        attempts.append(_bare(wanted)[1:])
    exact, bare = _index(matrix, max(attempts[-1], key=len, default=""))
    for words in attempts:
        text = " ".join(words)
        for candidate in (text, *(f"{brand} {text}" for brand in _BRANDS)):
            if candidate in exact:
                return exact[candidate]
            found = bare.get(candidate, [])
            if found and len({row["compute_capability"] for row in found}) == 1:
                return _common(found)
    return None


def find_gpu_by_pci(matrix: Matrix, device_id: str) -> Row | None:
    """Return a row of `gpus` for a PCI device id (``2684``, ``0x2684`` or ``10de:2684``).

    One id can stand for several products; the row is theirs when all have one compute capability, else None.
    """
    digits = device_id.strip().lower().rpartition(":")[2].removeprefix("0x").zfill(4)
    found = matrix.rows("gpus", pci_ids=digits)
    return _common(found) if len({row["compute_capability"] for row in found}) == 1 else None


def _common(rows: list[Row]) -> Row:
    """Return the first row without what the others contradict: ``A100`` does not say how much memory there is."""
    common = dict(rows[0])
    for column in ("first_driver", "memory_mib", "data_center", "segment", "pci_ids"):
        if any(row[column] != common[column] for row in rows):
            common[column] = None
    return common


def _index(matrix: Matrix, word: str) -> _Index:
    """Return the rows whose name holds a word, by full and by shortened name; made once for each matrix and word.

    Making rows and words of all 400 names would take 3 ms.
    """
    made: _Index | None = matrix.memo.get("gpus: " + word)
    if made is None:
        exact: dict[str, Row] = {}
        bare: dict[str, list[Row]] = {}
        meta = matrix.meta("gpus")
        data = matrix._read(meta, None)
        at = data.columns.index("name")
        found = [values for values in data.rows if word in values[at].lower()]
        for row in rows_of(meta, data.columns, found):
            words = _words(row["name"])
            exact.setdefault(" ".join(words), row)
            bare.setdefault(" ".join(_bare(words)), []).append(row)
        made = matrix.memo["gpus: " + word] = (exact, bare)
    return made


def _words(name: str) -> list[str]:
    """Return the words of a name without vendor and MIG profile; a hyphen separates words."""
    text = name.lower()
    if "(" in text:
        text = text.replace("(tm)", " ").replace("(r)", " ")
    text = text.translate(_BLANKS).partition(" mig ")[0]
    words: list[str] = []
    for word in text.split():
        # "1660Ti" and "1660 Ti" are one card.
        if word.endswith("ti") and word[:-2].isdigit():
            words += [word[:-2], "ti"]
        elif word not in ("nvidia", "corporation"):
            words.append(word)
    return words


def _bare(words: list[str]) -> list[str]:
    """Return the words without memory size, vGPU profile and form."""
    if words[:1] == ["grid"]:
        words = words[1:]
    return words[:1] + [word for word in words[1:] if not _is_form(word)]


def _is_form(word: str) -> bool:
    if f" {word} " in _FORM or word.startswith(("sxm", "pcie", "hbm", "gddr", "dgxs")):
        return True
    return word[:1].isdigit() and word.rstrip("abcgq").isdigit() and word[-1:] in ("a", "b", "c", "g", "q")
