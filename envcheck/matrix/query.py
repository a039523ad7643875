"""Answers what people ask of the tables: ``envcheck matrix torch 2.5.1``. Every fact is given with its source.

The subjects that take more than one table are in :mod:`envcheck.matrix.subjects` (packages) and the modules
``subjects_*`` beside it; any other package, and any table, is
answered row by row. Where no subject is named, :mod:`envcheck.matrix.guess` finds it: ``rtx4090``, ``sm_89``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from . import Matrix, Row
from .model import QueryError
from .ordering import canonical_package, release, sort_key

QUERY_SCHEMA = 1

COMMON = ("source", "as_of", "confidence", "note")
BOUNDS = ("from_version", "to_version", "versions")
"""Columns that say for which releases a row holds: no facts of a release."""


class Fact(Struct, omit_defaults=True, kw_only=True):
    """One thing that the tables say."""

    name: str
    value: Any
    """Text, whole number, true or false, or a list of texts."""
    row: str
    """Id of the row, which begins with the name of its table."""
    source: str
    """Key of :attr:`Answer.sources`."""
    as_of: str
    confidence: str = "high"
    note: str = ""


class Cited(Struct, kw_only=True):
    """A source."""

    title: str
    url: str
    publisher: str
    as_of: str


class Answer(Struct, kw_only=True):
    """What the tables say of one subject."""

    subject: str
    facts: list[Fact] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    """What the tables do not tell, and why: a sentence each."""
    sources: dict[str, Cited] = field(default_factory=dict)
    schema: int = QUERY_SCHEMA


class Sheet:
    """Collects the facts of an answer."""

    def __init__(self, matrix: Matrix, subject: str) -> None:
        self.matrix = matrix
        self.answer = Answer(subject=subject)

    def say(self, name: str, value: Any, row: Row) -> None:
        """Add a fact that stands in, or follows from, a row; nothing when the row leaves it open."""
        if value is None or value == [] or value == "":
            return
        source = str(row["source"])
        if source not in self.answer.sources:
            found = self.matrix.source(source)
            self.answer.sources[source] = Cited(
                title=found.title, url=found.url, publisher=found.publisher, as_of=found.as_of
            )
        self.answer.facts.append(
            Fact(
                name=name,
                value=value,
                row=row["_id"],
                source=source,
                as_of=row["as_of"],
                confidence=row["confidence"],
                note=row["note"] or "",
            )
        )

    def columns(self, row: Row | None, *names: str, prefix: str = "", suffix: str = "") -> None:
        """Add columns of a row, under the words that its table has for them; all but the key when none is named."""
        if row is None:
            return
        meta = self.matrix.meta(row["_table"])
        for column in meta.columns:
            if column.name in names or (not names and column.name not in (*meta.key, *BOUNDS)):
                words = column.about.partition(" (empty")[0] or column.name.replace("_", " ")
                self.say(prefix + words + suffix, row[column.name], row)

    def gap(self, table: str, column: str, value: str, **key: object) -> str:
        """Add why a table does not answer; gives the kind of the gap."""
        found = self.matrix.gap(table, column, value, **key)
        if found.sentence not in self.answer.gaps:
            self.answer.gaps.append(found.sentence)
        return found.kind

    def miss(self, table: str, column: str, value: str, what: str, **key: object) -> Answer:
        """The answer when there is no row: a gap for what is newer than our data, else QueryError with what is near."""
        if self.gap(table, column, value, **key) == "newer":
            return self.answer
        listed = [row[column] for row in self.matrix.rows(table, **key)]
        raise QueryError(f"{what} {value} is not in our tables{near(value, listed)}")


def grouped(sheet: Sheet, name: str, pairs: Iterable[tuple[str, Row]]) -> None:
    """One fact for all texts that come from one source."""
    groups: dict[tuple[str, str], list[tuple[str, Row]]] = {}
    for text, row in pairs:
        groups.setdefault((row["source"], row["confidence"]), []).append((text, row))
    for members in groups.values():
        sheet.say(name, list(dict.fromkeys(text for text, _ in members)), {**members[-1][1], "note": None})


def near(value: str, listed: Iterable[str]) -> str:
    """``; near it: a, b``: the versions on both sides, or the names most like it."""
    names = sorted(set(listed), key=sort_key)
    mine = release(value)
    if mine is not None and all(release(name) is not None for name in names):
        below = [name for name in names if (release(name) or ()) < mine]
        above = [name for name in names if (release(name) or ()) > mine]
        found = below[-2:] + above[:2]
    else:
        found = alike(value, names)
    return f"; near it: {', '.join(found)}" if found else ""


def alike(value: str, names: Sequence[str]) -> list[str]:
    """The names most like a text, at most four: those that hold all its words first."""
    from difflib import get_close_matches

    words = value.lower().replace("-", " ").split()
    held = [name for name in names if words and all(word in name.lower().replace("-", " ") for word in words)]
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[name] for name in get_close_matches(value.lower(), list(by_lower), n=4, cutoff=0.5)]
    return list(dict.fromkeys([*sorted(held, key=len)[:4], *close]))[:4]


def ask(matrix: Matrix, words: Sequence[str], *, windows: bool = False) -> Answer:
    """Answer a question such as ``["torch", "2.5.1"]``, ``["gpu", "RTX 4090"]`` or ``["table", "gpus", "name=T4"]``.

    ``windows`` reads driver versions as those for Windows. Raises QueryError when what was asked for does not exist;
    for what is only newer than the tables the answer says so in ``gaps``.
    """
    from . import guess, subjects, subjects_errors, subjects_gpu, subjects_places

    if not words or not words[0].strip():
        raise QueryError(f"say what to look up: {', '.join(SUBJECTS)}, or the name of a package")
    kind, rest = words[0].strip().lower(), [word.strip() for word in words[1:] if word.strip()]
    text = " ".join(rest)
    if kind == "tables":
        return tables(matrix)
    if kind == "table":
        return table(matrix, rest)
    if kind == "package":
        if not rest:
            raise QueryError("name a package: envcheck matrix package torch")
        kind, rest = rest[0], rest[1:]
        text = " ".join(rest)
    elif kind in ("image", "instance", "notebook"):
        return subjects_places.listed(matrix, kind, rest)
    elif kind == "error":
        return subjects_errors.error(matrix, rest)
    elif kind in FURTHER:
        if not text:
            raise QueryError(f"name one: envcheck matrix {kind} {FURTHER[kind][1]}")
        return further(kind)(matrix, text)
    elif kind in ("gpu", "driver", "cuda", "cudnn", "cc"):
        if not text:
            raise QueryError(f"name one: envcheck matrix {kind} {EXAMPLES[kind]}")
        if kind == "driver":
            return subjects_gpu.driver(matrix, text, windows=windows)
        if kind == "cudnn":
            from .subjects_cudnn import cudnn

            return cudnn(matrix, text)
        function: Callable[[Matrix, str], Answer] = {
            "gpu": subjects_gpu.gpu,
            "cc": subjects_gpu.capability,
            "cuda": subjects_gpu.cuda,
        }[kind]
        return function(matrix, text)
    name, version = split(kind, text)
    package = canonical_package(name)
    if words[0].strip().lower() != "package" and package not in subjects.names_of_packages(matrix):
        meant = guess.subject(matrix, [words[0].strip(), *rest])
        if meant is not None:
            return ask(matrix, meant, windows=windows)
    if len(rest) > 1:
        raise QueryError(f"{kind} takes one version, not {text!r}")
    return subjects.package(matrix, package, version)


FURTHER = {
    "distro": ("subjects_systems.distro", "ubuntu 22.04"),
    "glibc": ("subjects_systems.glibc", "2.28"),
    "manylinux": ("subjects_systems.tag", "2014"),
    "musllinux": ("subjects_systems.musl", "1_2"),
    "gcc": ("subjects_compiler.gcc", "12"),
    "glibcxx": ("subjects_compiler.glibcxx", "3.4.30"),
    "cxxabi": ("subjects_compiler.cxxabi", "1.3.13"),
    "opset": ("subjects_formats.opset", "21"),
    "ir": ("subjects_formats.ir", "10"),
    "ptx": ("subjects_formats.ptx", "8.4"),
    "jetpack": ("subjects_formats.jetpack", "6.1"),
    "l4t": ("subjects_formats.l4t", "36.4"),
    "x86-64": ("subjects_formats.level", "v2"),
    "cpu": ("subjects_formats.cpu", "avx2"),
    "library": ("subjects_libraries.library", "libcudnn.so.8"),
}
"""Subjects that are one function of a text: where it is, and an example."""


def further(kind: str) -> Callable[[Matrix, str], Answer]:
    """The function of a subject in FURTHER, imported when it is asked for."""
    from importlib import import_module

    module, _, name = FURTHER[kind][0].partition(".")
    function: Callable[[Matrix, str], Answer] = getattr(import_module(f".{module}", __package__), name)
    return function


SUBJECTS = (
    *("gpu", "cc", "driver", "cuda", "cudnn", "error"),
    *FURTHER,
    *("image", "instance", "notebook", "package", "table", "tables"),
)
EXAMPLES = {"gpu": '"RTX 4090"', "driver": "470.82.01", "cuda": "12.4", "cudnn": "9.8", "cc": "8.9"}


def split(name: str, version: str) -> tuple[str, str]:
    """``torch==2.5.1`` is a name and a version too."""
    if not version and "==" in name:
        name, _, version = name.partition("==")
    return name.strip(), version.strip()


def tables(matrix: Matrix) -> Answer:
    """What tables there are: one fact each, its title."""
    sheet = Sheet(matrix, "tables")
    for name in matrix.tables():
        meta = matrix.meta(name)
        covers = meta.covers if isinstance(meta.covers, str) else ", ".join(f"{k} {v}" for k, v in meta.covers.items())
        complete = "complete for" if meta.complete else "covers"
        # A table is no row: its own source, else that of its first row, and its date stand for it.
        source = meta.source or next((row["source"] for row in matrix.rows(name)), None)
        row: Row = {"source": source, "as_of": meta.as_of, "confidence": "high", "note": None, "_id": name}
        if source is not None:
            sheet.say(name, f"{meta.title} ({complete} {covers})", row)
    return sheet.answer


def table(matrix: Matrix, words: Sequence[str]) -> Answer:
    """The rows of a table, limited by ``COLUMN=VALUE``; one fact for each column that is not part of the key."""
    if not words:
        raise QueryError("name a table: envcheck matrix table gpus (envcheck matrix tables lists them)")
    name = words[0]
    if name not in matrix.tables():
        raise QueryError(f"there is no table {name!r}{near(name, matrix.tables())}")
    meta = matrix.meta(name)
    columns = [column.name for column in meta.columns]
    key: dict[str, Any] = {}
    for word in words[1:]:
        column, equals, value = word.partition("=")
        if not equals:
            raise QueryError(f"{word!r} is not COLUMN=VALUE; {name} has the columns {', '.join(columns)}")
        if column not in (*columns, *COMMON):
            raise QueryError(f"table {name} has no column {column!r}{near(column, columns)}")
        yes = {"true": True, "false": False}
        key[column] = yes.get(value, value) if meta.type_of(column) == "bool" else value
    rows = _rows(matrix, name, key)
    sheet = Sheet(matrix, " ".join(["table", *words]))
    for row in rows:
        label = row["_id"].partition("/")[2].rstrip("/")
        open_columns = [column for column in columns if column not in meta.key]
        for column in open_columns:
            sheet.say(f"{label}: {column}", row[column], row)
        if not open_columns:
            sheet.say(label, True, row)
    if not rows:
        column, value = next(reversed(key.items())) if key else ("", "")
        others = {name: given for name, given in key.items() if name != column}
        if not column or column in COMMON or sheet.gap(name, column, str(value), **others) != "newer":
            given = " ".join(words[1:])
            listed = [str(row[column]) for row in matrix.rows(name)] if column and column not in COMMON else []
            raise QueryError(f"table {name} has no row with {given or 'anything'}{near(str(value), listed)}")
    return sheet.answer


def _rows(matrix: Matrix, name: str, key: dict[str, Any]) -> list[Row]:
    """Rows by own columns, and by the common ones after their defaults are filled in."""
    own = {column: value for column, value in key.items() if column not in COMMON}
    common = {column: value for column, value in key.items() if column in COMMON}
    return [row for row in matrix.rows(name, **own) if all(row[column] == value for column, value in common.items())]
