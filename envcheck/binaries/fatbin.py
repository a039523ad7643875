"""GPU code in CUDA libraries: which targets each fat binary carries, read from plain headers.

    found = fat_binaries("libtorch_cuda.so")        # a path, bytes, or a Source (a member of a wheel)
    found.linked.sets      # ((Target sm_80, Target compute_80 ...), how many fat binaries have just these), ...
    found.relocatable      # the same for code that was still to be linked (separable compilation)
    found.entries          # Counter-like dict: target -> number of entries in all

The layout is not documented by NVIDIA; it was found out by comparison with cuobjdump on real libraries (see
docs/reference). A fat binary is a header of 16 bytes (magic, version, header size, size of what follows) and entries,
each with a header of at least 64 bytes that names kind, compute capability and suffix: nothing need be decompressed.
Sections ``.nv_fatbin`` (what the program registers) and ``__nv_relfatbin`` (separable compilation); in PE files the
names are cut to eight bytes. Any bytes give a result or :class:`BinaryError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from envcheck.binaries.sections import sections
from envcheck.binaries.source import BinaryError, Inflated, Source, source

HEADER = Struct("<IHHQ")
ENTRY = Struct("<HHIQ8xHHI8xQ")
"""Kind, version, header size, payload size, minor, major, compute capability, flags."""
MAGIC = b"\x50\xed\x55\xba\x01\x00"
LEAST = 64
"""Bytes of the shortest header of an entry."""
PARTS = Struct("<II")
CONCATENATED = 0x100
"""Kind of an entry that packs several together (nvcc --concat, CUDA 13): behind its header stands a table of theirs."""
MAX_TABLE = 1 << 16
FIRST = 64
"""Bytes read where a fat binary should begin: it may be padded to an alignment."""
AT_ONCE = 8 << 20
"""Up to this size a packed file may be unpacked twice."""

MAX_ENTRIES = 200_000
"""In one file; the largest known library has some 6,000."""
MAX_UNPACKED = 8 << 30
"""Bytes of a packed library; the largest known has 2 GB."""
MAX_GAP = 16 << 20
"""Bytes in a file that are searched for the next fat binary; real ones follow each other within a few bytes."""

KINDS = {1: "ptx", 2: "sass", 8: "lto"}
ARCH_SPECIFIC, FAMILY_SPECIFIC = 0x100000, 0x200000

RELOCATABLE = ("__nv_relfatbin", "__nv_rel")
NAMES = (".nv_fatbin", ".nv_fatb", *RELOCATABLE)


class Target(NamedTuple):
    """What one entry was compiled for."""

    kind: str
    """``sass`` (machine code), ``ptx``, ``lto`` (for link-time optimisation) or ``kind-N`` of an unknown N."""
    capability: tuple[int, int]
    """Compute capability, ``(9, 0)``."""
    suffix: str = ""
    """``a``: this capability alone; ``f``: its family; empty: its successors too."""
    isa: tuple[int, int] | None = None
    """Version of the PTX ISA, on which the driver's compiler must agree; None for other kinds."""

    @property
    def number(self) -> str:
        """``9.0a``."""
        return f"{self.capability[0]}.{self.capability[1]}{self.suffix}"

    def __str__(self) -> str:
        """As NVIDIA writes it: ``sm_90a``, ``compute_90 (PTX 8.4)``, ``lto_90``."""
        name = f"{self.capability[0]}{self.capability[1]}{self.suffix}"
        if self.kind == "ptx":
            return f"compute_{name}" + (f" (PTX {self.isa[0]}.{self.isa[1]})" if self.isa else "")
        return f"{'sm' if self.kind == 'sass' else self.kind}_{name}"


class Code(NamedTuple):
    """Fat binaries of one kind of section, condensed."""

    sets: tuple[tuple[tuple[Target, ...], int], ...]
    """Distinct sets of targets, sorted, each with the number of fat binaries that have it; the most frequent first."""

    @property
    def number(self) -> int:
        """Number of fat binaries."""
        return sum(count for _, count in self.sets)


class FatBinaries(NamedTuple):
    """GPU code in one file."""

    linked: Code
    """What is registered and can be launched."""
    relocatable: Code
    """Separable compilation: what ``linked`` was made of; its PTX can be linked again for another GPU."""
    entries: dict[Target, int]
    """Number of entries of each target, both kinds together, sorted by target."""
    damaged: int
    """Fat binaries whose entries could not be read to the end; what was read of them counts."""
    complete: bool
    """False when reading was given up: too many entries, or too much that is not a fat binary."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets of the file. Which of them a certain kernel has is another question: ask ``sets``."""
        return tuple(self.entries)


def fat_binaries(file: str | bytes | bytearray | memoryview | Source) -> FatBinaries:
    """Read an ELF or PE library, or a bare fat binary (``nvcc --fatbin``).

    Raises OSError when a path cannot be opened and :class:`BinaryError` when it is none of these.
    """
    reader = source(file)
    try:
        return _read(reader)
    finally:
        if isinstance(file, str):
            reader.close()


def _read(reader: Source) -> FatBinaries:
    walk = _Walk(reader)
    if reader.size >= 16 and reader.read(0, 6) == MAGIC:
        return walk.condense(walk.stretch(0, reader.size), ())
    early: list[_Found] | None = None
    if isinstance(reader, Inflated) and reader.size > AT_ONCE and reader.read(0, 4) == b"\x7fELF":
        # Only at its end does an ELF file say where its sections lie, and going back means unpacking twice.
        if reader.size > MAX_UNPACKED:
            raise BinaryError("the packed file is too large")
        early = list(walk.stretch(0, reader.size, anywhere=True))
    places = [(at, at + size, name in RELOCATABLE) for name, at, size in sections(reader) if name in NAMES]
    if early is not None and walk.complete and not any(_across(one, places) for one in early):
        linked, relocatable = ([one for one in early if _inside(one, places, kind)] for kind in (False, True))
        return walk.condense(linked, relocatable)
    walk = _Walk(reader)
    places.sort()
    linked, relocatable = [], []
    for start, end, kind in places:
        (relocatable if kind else linked).extend(walk.stretch(start, end))
    return walk.condense(linked, relocatable)


_Key = tuple[int, int, int, int, int]
"""Kind, compute capability, suffix flags, major and minor."""


class _Found(NamedTuple):
    """One fat binary."""

    start: int
    end: int
    targets: tuple[Target, ...]
    """One for each entry, in order."""
    whole: bool


def _inside(one: _Found, places: list[tuple[int, int, bool]], kind: bool) -> bool:
    return any(start <= one.start < end for start, end, relocatable in places if relocatable == kind)


def _across(one: _Found, places: list[tuple[int, int, bool]]) -> bool:
    """Does it reach over the edge of a section? Then it would have been read otherwise had the edge been known."""
    return any(one.start < edge < one.end for start, end, _ in places for edge in (start, end))


class _Walk:
    """Goes from header to header, forwards only."""

    def __init__(self, reader: Source) -> None:
        self.reader = reader
        self.left = MAX_ENTRIES
        self.gap = MAX_GAP
        self.complete = True
        self._known: dict[_Key, Target] = {}
        self._lists: dict[tuple[Target, ...], tuple[Target, ...]] = {}

    def stretch(self, at: int, end: int, anywhere: bool = False) -> Iterator[_Found]:
        """The fat binaries in [at, end); ``anywhere``: most of it may be something else."""
        read = self.reader.read
        while at + HEADER.size <= end:
            data = read(at, min(FIRST, end - at))
            skip = data.find(MAGIC)
            if skip < 0 or skip + HEADER.size > len(data):
                start, at = at, self._next(at, end, anywhere)
                if at < 0:
                    # What is left over at the end of a section is padding.
                    self.complete = self.complete and (anywhere or end - start <= self.gap)
                    return
                continue
            at += skip
            _, _, header, size = HEADER.unpack_from(data, skip)
            self.left -= 1
            if not HEADER.size <= header <= FIRST and self.left > 0:
                at += len(MAGIC)
                continue
            stop = min(at + header + size, end)
            targets, here = self._entries(at + header, stop)
            whole = here == at + header + size
            yield _Found(at, stop, self._lists.setdefault(targets, targets), whole)
            if self.left <= 0:
                self.complete = False
                return
            at = stop if whole else here

    def _next(self, at: int, end: int, anywhere: bool) -> int:
        """Where the next one begins; -1 when there is none near."""
        limit = end if anywhere else min(end, at + self.gap)
        found = self.reader.find(MAGIC, at, limit)
        if not anywhere and found >= 0:
            self.gap -= found - at
        return found if found + HEADER.size <= end else -1

    def _entries(self, at: int, stop: int) -> tuple[tuple[Target, ...], int]:
        """The targets of the entries from ``at`` on, and where reading ended: at ``stop`` when all was well."""
        read, unpack, known, targets = self.reader.read, ENTRY.unpack, self._known, []
        while at + LEAST <= stop and self.left > 0:
            kind, _, header, size, minor, major, number, flags = unpack(read(at, ENTRY.size))
            if header < LEAST or at + header + size > stop:
                break
            if kind == CONCATENATED:
                parts = self._parts(at + LEAST, at + header)
                if parts is None:
                    break
            else:
                parts = [(kind, number, flags & (ARCH_SPECIFIC | FAMILY_SPECIFIC), major, minor)]
            self.left -= len(parts)
            for key in parts:
                target = known.get(key)
                if target is None:
                    target = known[key] = _target(*key)
                targets.append(target)
            at += header + size
        return tuple(targets), at

    def _parts(self, at: int, end: int) -> list[_Key] | None:
        """The headers in a concatenated entry: their number, the size of the table, and the table; None if damaged.

        A header there has, in place of its size, the sum of the payloads before it, and may be followed by options of
        the compiler. So the next one is where that sum stands.
        """
        count, size = PARTS.unpack(self.reader.read(at, 8)) if at + 8 <= end else (0, 0)
        if not 0 < count <= self.left or not 8 < size <= min(MAX_TABLE, end - at):
            return None
        keys: list[_Key] = []
        table, place, before = self.reader.read(at, size), 8, 0
        while place + LEAST <= size and len(keys) < count:
            kind, _, so_far, payload, minor, major, number, flags = ENTRY.unpack_from(table, place)
            if so_far == before and kind in KINDS:
                keys.append((kind, number, flags & (ARCH_SPECIFIC | FAMILY_SPECIFIC), major, minor))
                before += payload
                place += LEAST
            else:
                place += 8
        return keys if len(keys) == count else None

    def condense(self, linked: Iterable[_Found], relocatable: Iterable[_Found]) -> FatBinaries:
        entries: dict[Target, int] = {}
        codes, damaged = [], 0
        for group in (linked, relocatable):
            sets: dict[tuple[Target, ...], int] = {}
            for one in group:
                sets[one.targets] = sets.get(one.targets, 0) + 1
                damaged += not one.whole
            distinct: dict[tuple[Target, ...], int] = {}
            for targets, count in sets.items():
                for target in targets:
                    entries[target] = entries.get(target, 0) + count
                ordered = tuple(sorted(set(targets), key=_order))
                distinct[ordered] = distinct.get(ordered, 0) + count
            codes.append(Code(tuple(sorted(distinct.items(), key=lambda pair: -pair[1]))))
        counted = {one: entries[one] for one in sorted(entries, key=_order)}
        return FatBinaries(codes[0], codes[1], counted, damaged, self.complete)


def _target(kind: int, number: int, flags: int, major: int, minor: int) -> Target:
    suffix = "a" if flags & ARCH_SPECIFIC else "f" if flags & FAMILY_SPECIFIC else ""
    isa = (major, minor) if kind == 1 else None
    return Target(KINDS.get(kind, f"kind-{kind}"), divmod(number, 10), suffix, isa)


def _order(target: Target) -> tuple[str, tuple[int, int], str, tuple[int, int]]:
    return target.kind, target.capability, target.suffix, target.isa or (0, 0)
