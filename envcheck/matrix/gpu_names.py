"""GPUs by what a person types: ``rtx4090``, ``4090``, ``3080ti``, ``A100 80GB``. Reports of tools go to `find_gpu`."""

from __future__ import annotations

from . import Matrix, Row
from .gpus import _common, _is_form, _words, find_gpu

#: Words that a person leaves out, or adds, without meaning another card.
_FILL = frozenset(("geforce", "tesla", "jetson", "quadro", "rtx", "gtx", "gt", "titan", "gpu", "generation"))
_SERIES = ("rtx", "gtx", "gt")
#: Machines that people name in place of their GPU.
_MACHINES = {"dgx spark": "gb10"}


def fitting(matrix: Matrix, name: str) -> list[Row]:
    """Return the rows of `gpus` that a name stands for: one product, or several such as all sizes of ``V100``.

    Empty when nothing fits. The rows may be of different compute capability: ``RTX 5000`` is a card of Turing.
    """
    typed = " ".join(_words(name))
    words = [part for word in _MACHINES.get(typed, typed).split() for part in _parts(word)]
    if not words:
        return []
    made: list[tuple[Row, list[str]]] | None = matrix.memo.get("gpus: words")
    if made is None:
        made = matrix.memo["gpus: words"] = [(row, _words(row["name"])) for row in matrix.rows("gpus")]
    known = {word for _, own in made for word in own}
    # A form that no name has, as the SXM of an H100, says nothing.
    words = [word for word in words if word in known or not _is_form(word)]
    if not words or (set(words) <= _FILL and words not in [own for _, own in made]):
        return []
    for wanted in (words, [word for word in words if not _is_form(word)]):
        held: dict[int, list[Row]] = {}
        for row, own in made if wanted else ():
            if all(word in own for word in wanted):
                # "laptop" and "ti" name other cards; a form (SXM4, 80GB) only narrows.
                other = [word for word in own if word not in wanted and word not in _FILL and not _is_form(word)]
                held.setdefault(len(other), []).append(row)
        if held:
            return held[min(held)]
    found = find_gpu(matrix, name) or find_gpu(matrix, " ".join(words))
    if found is not None:
        return [found]
    # "K40" is K40c, K40m and K40s.
    return [row for row, own in made if all(any(word == each or word == each[:-1] for each in own) for word in words)]


def merged(rows: list[Row]) -> Row | None:
    """Return one row for several products, without what they differ in; None when their capabilities differ."""
    return _common(rows) if len({row["compute_capability"] for row in rows}) == 1 else None


def _parts(word: str) -> list[str]:
    """``rtx4090`` is ``rtx 4090``, ``4070tisuper`` is ``4070 ti super``; ``a100`` stays."""
    series = next((each for each in _SERIES if word.startswith(each) and word[len(each) :][:1].isdigit()), "")
    rest = word[len(series) :]
    tail: list[str] = []
    for ending in ("super", "ti"):
        if rest.endswith(ending) and rest[: -len(ending)][:1].isdigit():
            rest, tail = rest[: -len(ending)], [ending, *tail]
    return [part for part in (series, rest, *tail) if part]
