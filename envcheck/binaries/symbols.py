"""Dynamic symbols of ELF files, and the undefined ones that nothing which is loaded defines.

A hash table lists the symbols that a file defines; those before its first entry are what it needs from others. So the
needs of a library of 200 MB are read without its 100,000 definitions, and a name is looked up as the loader does it:
by the Bloom filter and bucket of DT_GNU_HASH (``elf/dl-lookup.c``, ``do_lookup_x``; else all symbols are read).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envcheck.binaries.elf import DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, MAX_VERSIONS, ElfError, ElfFile
from envcheck.binaries.loading import Load, Process
from envcheck.binaries.search import Loaded

DT_HASH, DT_SYMTAB, DT_GNU_HASH, DT_VERSYM = 4, 6, 0x6FFFFEF5, 0x6FFFFFF0
STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE = 1, 2, 10
STT_TLS, SHN_ABS = 6, 0xFFF1
LOOKED_UP = (0, 1, 2, 5, 6, 10)
"""Types that the loader binds to: NOTYPE, OBJECT, FUNC, COMMON, TLS, GNU_IFUNC."""
MAX_SYMBOLS = 1 << 20
MAX_CHAIN = 1 << 12
WINDOW = 1 << 12
"""Symbols read at a time."""


class Symbol(NamedTuple):
    """A dynamic symbol."""

    name: str
    version: str | None
    """``GLIBC_2.34``; None: without one."""
    library: str | None
    """Of an undefined symbol with a version: the library that should define it."""
    weak: bool
    hidden: bool
    """A definition that only references with exactly its version are bound to (``name@VERSION``)."""


class Undefined(NamedTuple):
    """A symbol that nothing defines."""

    symbol: Symbol
    importer: str
    """The file that needs it."""


class Symbols:
    """The dynamic symbols of an open file. Raises :class:`ElfError` for damaged tables, nothing else of its own."""

    def __init__(self, file: ElfFile) -> None:
        self.file = file
        self._wide = file.bits == 64
        table, strings = file.value(DT_SYMTAB), file.value(5)
        self._table = file.offset(table) if table is not None and strings is not None else None
        self._entry = 24 if self._wide else 16
        versions = file.value(DT_VERSYM)
        self._versions = file.offset(versions) if versions is not None else None
        self._names: dict[int, tuple[str, str | None]] | None = None
        self._all: dict[str, list[Symbol]] | None = None
        self._gnu = self._gnu_table()

    def undefined(self) -> list[Symbol]:
        """What the file needs from others, weak needs too."""
        # A program at a fixed address has undefined symbols in its hash table too: those whose address it takes.
        end = self.count() if self.file.kind == 2 else self._first()
        return [symbol for symbol, defined in self._read(0, end) if not defined and symbol.name]

    def defined(self) -> list[Symbol]:
        """What others may bind to."""
        rows = self._read(0 if self._gnu is None else self._first(), self.count())
        return [symbol for symbol, defined in rows if defined and symbol.name]

    def count(self) -> int:
        """Entries of the table of dynamic symbols."""
        file = self.file
        address = file.value(DT_HASH)
        if address is not None:
            if file.machine == "s390x":  # its entries have 8 bytes
                return self._limit(file.rows("QQ", file.offset(address), 1)[0][1])
            return self._limit(file.rows("II", file.offset(address), 1)[0][1])
        if self._gnu is None:
            return 0
        buckets, first, _, _, start, chains = self._gnu
        if not buckets:
            return self._limit(first)
        last = max((row[0] for row in file.rows("I", start, buckets)), default=0)
        if last < first:
            return self._limit(first)
        for _ in range(MAX_SYMBOLS):
            if file.rows("I", chains + (last - first) * 4, 1)[0][0] & 1:
                break
            last += 1
        return self._limit(last + 1)

    def find(self, name: str, hashed: int | None = None) -> list[Symbol]:
        """Definitions of a name, of every version. ``hashed``: its :func:`gnu_hash`."""
        if self._gnu is None:
            if self._all is None:
                self._all = {}
                for symbol in self.defined():
                    self._all.setdefault(symbol.name, []).append(symbol)
            return self._all.get(name, [])
        buckets, first, words, shift, start, chains = self._gnu
        if not buckets:
            return []
        value = gnu_hash(name) if hashed is None else hashed
        bits = self.file.bits
        if words:
            size = bits // 8
            word = self.file.number(start - words * size + value // bits % words * size, size)
            if not (word >> value % bits & word >> (value >> shift) % bits & 1):
                return []
        index = self.file.number(start + value % buckets * 4, 4)
        found: list[Symbol] = []
        if index < first:
            return found
        for at in range(index, index + MAX_CHAIN):
            here = self.file.number(chains + (at - first) * 4, 4)
            if here | 1 == value | 1:
                found += [symbol for symbol, defined in self._read(at, at + 1) if defined and symbol.name == name]
            if here & 1:
                break
        return found

    # Tables

    def _limit(self, count: int) -> int:
        if self._table is None or count * self._entry > self.file.size - self._table:
            raise ElfError("the table of symbols has no room in the file")
        return min(count, MAX_SYMBOLS)

    def _first(self) -> int:
        """The first symbol that the hash table holds."""
        return self.count() if self._gnu is None else self._limit(self._gnu[1])

    def _gnu_table(self) -> tuple[int, int, int, int, int, int] | None:
        """Buckets, first symbol, words of the filter, its shift, offset of the buckets and of the chains."""
        address = self.file.value(DT_GNU_HASH)
        if address is None or self._table is None:
            return None
        at = self.file.offset(address)
        buckets, first, words, shift = self.file.rows("IIII", at, 1)[0]
        start = at + 16 + words * (self.file.bits // 8)
        if start + buckets * 4 > self.file.size:
            raise ElfError("the hash table has no room in the file")
        return buckets, first, words, shift, start, start + buckets * 4

    def _read(self, start: int, end: int) -> Iterator[tuple[Symbol, bool]]:
        """(symbol, whether it is defined here and can be bound to)."""
        if self._table is None:
            return
        versions = self._version_names() if self._versions is not None else {}
        for begin in range(start, end, WINDOW):
            count = min(WINDOW, end - begin)
            layout = "IBBHQQ" if self._wide else "IIIBBH"
            marks: Iterable[tuple[int, ...]] = [(1,)] * count
            if self._versions is not None:
                marks = self.file.rows("H", self._versions + begin * 2, count)
            rows = self.file.rows(layout, self._table + begin * self._entry, count)
            for fields, (mark,) in zip(rows, marks, strict=True):
                if self._wide:
                    name, info, _, section, value, _ = fields
                else:
                    name, value, _, info, _, section = fields
                bind, kind = info >> 4, info & 15
                if bind not in (STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE):
                    continue
                defined = bool(section)
                if defined and (kind not in LOOKED_UP or (not value and kind != STT_TLS and section != SHN_ABS)):
                    continue
                text, library = versions.get(mark & 0x7FFF, (None, None)) if mark & 0x7FFF > 1 else (None, None)
                hidden = bool(mark & 0x8000) and defined
                weak = bind == STB_WEAK
                yield Symbol(self.file.name(name), text, library if not defined else None, weak, hidden), defined

    def _version_names(self) -> dict[int, tuple[str, str | None]]:
        """Index in DT_VERSYM -> (version, the library that should define it)."""
        if self._names is not None:
            return self._names
        file = self.file
        names: dict[int, tuple[str, str | None]] = {}
        address = file.value(DT_VERDEF)
        at = file.offset(address) if address is not None else 0
        for _ in range(min(file.value(DT_VERDEFNUM) or 0, MAX_VERSIONS) if address is not None else 0):
            _, _, index, parts, _, first, following = file.rows("HHHHIII", at, 1)[0]
            if parts:
                names[index & 0x7FFF] = file.name(file.number(at + first, 4)), None
            if not following:
                break
            at += following
        address = file.value(DT_VERNEED)
        at = file.offset(address) if address is not None else 0
        left = MAX_VERSIONS
        for _ in range(min(file.value(DT_VERNEEDNUM) or 0, MAX_VERSIONS) if address is not None else 0):
            _, parts, library, first, following = file.rows("HHIII", at, 1)[0]
            part, owner = at + first, file.name(library)
            for _ in range(min(parts, left)):
                left -= 1
                _, _, index, name, another = file.rows("IHHII", part, 1)[0]
                names[index & 0x7FFF] = file.name(name), owner
                if not another:
                    break
                part += another
            if not following:
                break
            at += following
        self._names = names
        return names


def gnu_hash(name: str) -> int:
    """The hash of DT_GNU_HASH."""
    value = 5381
    for byte in name.encode("utf-8", "surrogateescape"):
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def binds(need: Symbol, offered: list[Symbol]) -> bool:
    """Whether one of these definitions satisfies the need (``check_match``)."""
    for symbol in offered:
        if need.version is None:
            if not symbol.hidden or symbol.version is None:
                return True
        elif symbol.version == need.version or symbol.version is None:
            return True
    return False


def undefined_symbols(
    load: Load, libraries: Iterable[Loaded] | None = None, names: tuple[str, ...] = ()
) -> list[Undefined]:
    """Symbols that a library of this load needs and neither the global scope nor its own defines; weak ones left out.

    ``libraries``: only the needs of these (else of all that are new); ``names``: only symbols that begin so. The
    extension modules of Python need much of the interpreter: without a known program, names that begin with ``Py`` or
    ``_Py`` are left out. A symbol that stands in the table but in no relocation is listed too, although the loader
    would not miss it; compilers leave none such.
    Files that are damaged define nothing and need nothing.
    """
    process = load.process
    opened: dict[str, Symbols | None] = {}
    files: list[ElfFile] = []
    missing: list[Undefined] = []
    known: dict[tuple[str, str | None], bool] = {}
    scope = [*process.everywhere, *(library for library in load.scope if library not in process.everywhere)]
    if process.main is None:
        scope += [library for library in process.loaded if library not in scope]
    try:
        for library in load.new if libraries is None else libraries:
            table = _symbols(process, library, opened, files)
            for symbol in _quietly(table):
                if names and not symbol.name.startswith(names):
                    continue
                if symbol.weak or (process.main is None and symbol.name.startswith(("Py", "_Py"))):
                    continue
                key = symbol.name, symbol.version
                found = known.get(key)
                if found is None:
                    hashed = gnu_hash(symbol.name)
                    first = process.find(symbol.library) if symbol.library else None
                    # Tried first only to be quick: the loader asks in the order of the scope.
                    places = [first, *scope] if first is not None and first in scope else scope
                    found = known[key] = any(
                        binds(symbol, _offered(_symbols(process, place, opened, files), symbol.name, hashed))
                        for place in places
                    )
                if not found:
                    missing.append(Undefined(symbol, library.path))
    finally:
        for file in files:
            file.close()
    return missing


def _symbols(
    process: Process, library: Loaded, opened: dict[str, Symbols | None], files: list[ElfFile]
) -> Symbols | None:
    if library.path not in opened:
        opened[library.path] = None
        try:
            file = process.files.open(process.search.absolute(library.path))
            files.append(file)
            opened[library.path] = Symbols(file)
        except (OSError, ElfError):
            pass
    return opened[library.path]


def _quietly(table: Symbols | None) -> list[Symbol]:
    try:
        return table.undefined() if table else []
    except (OSError, ElfError):
        return []


def _offered(table: Symbols | None, name: str, hashed: int) -> list[Symbol]:
    try:
        return table.find(name, hashed) if table else []
    except (OSError, ElfError):
        return []
