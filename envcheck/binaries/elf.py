"""What an ELF file says of itself: machine, soname, needs, search paths, symbol versions, sections.

Layout: System V gABI; symbol versioning: LSB core, "Symbol Versioning" (.gnu.version_d and .gnu.version_r). Only what
the loader itself reads is used (PT_DYNAMIC, never section headers), so stripped files work. Every offset and count is
checked: arbitrary bytes give :class:`ElfError` or a result, nothing else.

A file is read with pread and not mapped: a mapped file that is cut short by another process kills us with SIGBUS.
"""

from __future__ import annotations

import os
from struct import calcsize, iter_unpack, unpack
from types import TracebackType
from typing import Protocol

BLOCK = 1 << 14
MAX_BLOCKS = 64
MAX_PROGRAM_HEADERS = 4096
MAX_DYNAMIC = 1 << 16
MAX_SECTIONS = 1 << 16
MAX_VERSIONS = 1 << 14
MAX_STRING = 1 << 18  # TensorFlow's RUNPATH has 20,000 characters
MAX_TEXT = 1 << 24

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 14, 15, 29
DT_AUXILIARY, DT_FILTER, DT_FLAGS_1 = 0x7FFFFFFD, 0x7FFFFFFF, 0x6FFFFFFB
DF_1_NODEFLIB, DF_1_PIE = 0x800, 0x08000000
DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
SHT_NOBITS = 8
VER_FLG_BASE, VER_FLG_WEAK = 1, 2

MACHINES = {3: "i686", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64",
            258: "loongarch64"}  # fmt: skip


class ElfError(ValueError):
    """Not an ELF file, or one whose tables point outside of it."""


class Readable(Protocol):
    """Bytes that are there to be sliced: a buffer, or a :class:`envcheck.binaries.source.Source`."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | bytearray | memoryview: ...


class Section:
    """A section header; ``kind`` is its ``sh_type``, the rest in bytes."""

    __slots__ = ("kind", "name", "offset", "size")

    def __init__(self, name: str, kind: int, offset: int, size: int) -> None:
        self.name, self.kind, self.offset, self.size = name, kind, offset, size


class ElfFile:
    """One ELF file, of either width and byte order. Everything but the header is read when asked for.

    ``ElfFile(data)`` takes any buffer; :meth:`open` a path. Properties raise :class:`ElfError` when the part of the
    file that they need is damaged, and OSError when the disk does not answer.
    """

    __slots__ = ("_blocks", "_dynamic", "_fd", "_interp", "_loads", "_names", "_sections", "_text_left", "abi",
                 "bits", "data", "kind", "little", "machine", "size")  # fmt: skip

    def __init__(self, data: Readable | None, fd: int = -1) -> None:
        self.data = data
        self._fd = fd
        self._blocks: dict[int, bytes] = {}
        self._dynamic: list[tuple[int, int]] | None = None
        self._interp = (0, 0)
        self._text_left = MAX_TEXT
        self._loads: list[tuple[int, int, int]] = []
        self._names: tuple[int, int] | None = None
        self._sections: list[Section] | None = None
        if data is None:
            status = os.fstat(fd)
            if status.st_mode & 0o170000 != 0o100000:
                raise ElfError("not a regular file")
            self.size = status.st_size
        else:
            self.size = len(data)
        ident = self._bytes(0, min(20, self.size))
        if not ident.startswith(b"\x7fELF"):
            raise ElfError("not an ELF file")
        if len(ident) < 20 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ElfError("the ELF header is damaged")
        self.bits = 64 if ident[4] == 2 else 32
        """Width of addresses: 32 or 64."""
        self.little = ident[5] == 1
        self.abi = ident[7]
        """EI_OSABI; glibc on x86 and Arm64 loads 0 (System V) and 3 (GNU)."""
        self.kind = int.from_bytes(ident[16:18], "little" if self.little else "big")
        """``e_type``: 2 a program at a fixed address, 3 a shared object (or a program anywhere)."""
        number = int.from_bytes(ident[18:20], "little" if self.little else "big")
        self.machine = MACHINES.get(number, f"machine-{number}")
        """Architecture as uname names it: ``x86_64``, ``aarch64``, ``ppc64le`` ..."""
        if number == 21 and self.little:
            self.machine = "ppc64le"

    @classmethod
    def open(cls, path: str) -> ElfFile:
        """Raises OSError when the file cannot be opened, :class:`ElfError` when it is not ELF. Close it after use."""
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            return cls(None, fd)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def interpreter(self) -> str | None:
        """PT_INTERP: the loader that a program asks for."""
        self._entries()
        offset, length = self._interp
        return self._text(offset, offset + length) if length else None

    @property
    def flags_1(self) -> int:
        """DT_FLAGS_1; see :data:`DF_1_NODEFLIB`."""
        return self.value(DT_FLAGS_1) or 0

    @property
    def dynamic(self) -> bool:
        """Whether there is a dynamic section."""
        return bool(self._entries())

    @property
    def end(self) -> int:
        """The least size of a file that holds all that is loaded of it, in bytes."""
        self._entries()
        return max((offset + length for _, length, offset in self._loads), default=0)

    def strings(self, *tags: int) -> list[tuple[int, str]]:
        """(tag, text) of those entries of the dynamic section that name something, in the order of the file."""
        return [(tag, self.name(value)) for tag, value in self._entries() if tag in tags]

    @property
    def soname(self) -> str | None:
        for tag, value in self._entries():
            if tag == DT_SONAME:
                return self.name(value)
        return None

    @property
    def needed(self) -> list[str]:
        """DT_NEEDED, in order."""
        return [self.name(value) for tag, value in self._entries() if tag == DT_NEEDED]

    @property
    def rpath(self) -> list[str]:
        """DT_RPATH, split; ``$ORIGIN`` and the like as written."""
        return self._paths(DT_RPATH)

    @property
    def runpath(self) -> list[str]:
        """DT_RUNPATH, split."""
        return self._paths(DT_RUNPATH)

    @property
    def version_definitions(self) -> list[str]:
        """Symbol versions that the library defines (``GLIBCXX_3.4.30``), without the one that is its own name."""
        names = []
        at, count = self._table(DT_VERDEF, DT_VERDEFNUM)
        for _ in range(count):
            _, flags, _, parts, _, first, following = self._unpack("HHHHIII", at)
            if parts and not flags & VER_FLG_BASE:
                names.append(self.name(self._unpack("II", at + first)[0]))
            if not following:
                break
            at += following
        return names

    @property
    def version_needs(self) -> dict[str, list[tuple[str, bool]]]:
        """Library -> (symbol version that it must define, weak); the loader only warns about a missing weak one."""
        needs: dict[str, list[tuple[str, bool]]] = {}
        at, count = self._table(DT_VERNEED, DT_VERNEEDNUM)
        left = MAX_VERSIONS
        for _ in range(count):
            _, parts, file, first, following = self._unpack("HHIII", at)
            versions = needs.setdefault(self.name(file), [])
            part = at + first
            for _ in range(min(parts, left)):
                left -= 1
                _, flags, _, name, another = self._unpack("IHHII", part)
                versions.append((self.name(name), bool(flags & VER_FLG_WEAK)))
                if not another:
                    break
                part += another
            if not following:
                break
            at += following
        return needs

    @property
    def sections(self) -> list[Section]:
        """From the section headers; empty when the file has none."""
        if self._sections is None:
            self._sections = self._read_sections()
        return self._sections

    def section(self, name: str) -> Section | None:
        """The first section of that name; its bytes are known to lie in the file."""
        for section in self.sections:
            if section.name == name:
                if section.kind != SHT_NOBITS and section.offset + section.size > self.size:
                    raise ElfError(f"section {name} lies outside of the file")
                return section
        return None

    # Reading

    def _bytes(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > self.size:
            raise ElfError("the file ends before a table that it names")
        if self.data is not None:
            return bytes(self.data[at : at + size])
        number, start = divmod(at, BLOCK)
        if start + size > BLOCK:
            return self._read(at, size)
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            block = self._blocks[number] = self._read(number * BLOCK, min(BLOCK, self.size - number * BLOCK))
        return block[start : start + size]

    def _read(self, at: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            data = os.pread(self._fd, size, at)
        else:
            os.lseek(self._fd, at, os.SEEK_SET)
            data = os.read(self._fd, size)
        if len(data) < size:
            raise ElfError("the file became shorter while it was read")
        return data

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        layout = ("<" if self.little else ">") + layout
        return unpack(layout, self._bytes(at, calcsize(layout)))

    def number(self, at: int, size: int) -> int:
        """An unsigned number at a file offset; read by itself, for tables that are hit in few places."""
        if at < 0 or at + size > self.size:
            raise ElfError("the file ends before a table that it names")
        data = bytes(self.data[at : at + size]) if self.data is not None else self._read(at, size)
        return int.from_bytes(data, "little" if self.little else "big")

    def rows(self, layout: str, at: int, count: int) -> list[tuple[int, ...]]:
        """``count`` rows of a table at a file offset."""
        layout = ("<" if self.little else ">") + layout
        return list(iter_unpack(layout, self._bytes(at, count * calcsize(layout))))

    def _text(self, at: int, end: int) -> str:
        """The NUL-terminated text at a file offset, which must end before ``end``."""
        end = min(end, self.size, at + MAX_STRING)
        if self._text_left < 0:
            raise ElfError("the names in the file are too long")
        found, here = b"", at
        block = self._blocks.get(at // BLOCK) if at >= 0 else None
        if block is not None:  # most names lie in a block that was read: only they are copied
            start = at % BLOCK
            stop = block.find(b"\0", start, start + end - at)
            if stop >= 0:
                self._text_left -= stop - start
                return block[start:stop].decode("utf-8", "replace")
        while here < end:
            part = self._bytes(here, min(end, (here // BLOCK + 1) * BLOCK) - here)
            stop = part.find(b"\0")
            if stop >= 0:
                self._text_left -= here - at + stop
                return (found + part[:stop]).decode("utf-8", "replace")
            found += part
            here += len(part)
        raise ElfError("a name in the file has no end")

    # The dynamic section

    def _entries(self) -> list[tuple[int, int]]:
        """(tag, value) of PT_DYNAMIC; empty for a file that is not dynamic."""
        if self._dynamic is not None:
            return self._dynamic
        if self.bits == 64:
            phoff = self._unpack("Q", 32)[0]
            size, count = self._unpack("HH", 54)
            layout, want = "IIQQQQQQ", 56
        else:
            phoff = self._unpack("I", 28)[0]
            size, count = self._unpack("HH", 42)
            layout, want = "IIIIIIII", 32
        if count and size != want:
            raise ElfError("the program headers have an unknown size")
        dynamic = (0, 0)
        loads = []
        for fields in self.rows(layout, phoff, min(count, MAX_PROGRAM_HEADERS)):
            if self.bits == 64:
                kind, _, offset, address, _, length, _, _ = fields
            else:
                kind, offset, address, _, length, _, _, _ = fields
            if kind == PT_LOAD:
                loads.append((address, length, offset))
            elif kind == PT_DYNAMIC:
                dynamic = (offset, length)
            elif kind == PT_INTERP:
                self._interp = (offset, length)
        self._loads = loads
        offset, length = dynamic
        step, layout = (16, "QQ") if self.bits == 64 else (8, "II")
        whole = min(length // step, MAX_DYNAMIC)
        count = min(whole, max(0, self.size - offset) // step)
        entries = []
        for tag, value in self.rows(layout, offset, count):
            if tag == DT_NULL:
                break
            entries.append((tag, value))
        else:
            if count < whole:
                raise ElfError("the file ends before its dynamic section does")
        self._dynamic = entries
        return entries

    def value(self, tag: int) -> int | None:
        """The first entry of the dynamic section with that tag."""
        return next((value for key, value in self._entries() if key == tag), None)

    def offset(self, address: int) -> int:
        """File offset of a virtual address."""
        for start, length, offset in self._loads:
            if start <= address < start + length:
                return address - start + offset
        raise ElfError("an address is not part of the file")

    def name(self, index: int) -> str:
        """A text of DT_STRTAB."""
        if self._names is None:
            table, size = self.value(DT_STRTAB), self.value(DT_STRSZ)
            if table is None or size is None:
                raise ElfError("there is no table of names")
            start = self.offset(table)
            self._names = start, start + size
        start, end = self._names
        return self._text(start + index, end)

    def _paths(self, tag: int) -> list[str]:
        value = self.value(tag)
        return [] if value is None else [path for path in self.name(value).split(":") if path]

    def _table(self, tag: int, count_tag: int) -> tuple[int, int]:
        address = self.value(tag)
        if address is None:
            return 0, 0
        return self.offset(address), min(self.value(count_tag) or 0, MAX_VERSIONS)

    def _read_sections(self) -> list[Section]:
        if self.bits == 64:
            shoff = self._unpack("Q", 40)[0]
            size, count, names = self._unpack("HHH", 58)
            layout, want = "IIQQQQII", 64
        else:
            shoff = self._unpack("I", 32)[0]
            size, count, names = self._unpack("HHH", 46)
            layout, want = "IIIIIIII", 40
        if not shoff:
            return []
        if size != want:
            raise ElfError("the section headers have an unknown size")
        if not count or names == 0xFFFF:  # the numbers did not fit: they stand in the first header
            first = self._unpack(layout, shoff)
            count = count or first[5]
            names = first[6] if names == 0xFFFF else names
        count = min(count, MAX_SECTIONS)
        if names >= count:
            raise ElfError("the section names are not in the file")
        table = self._unpack(layout, shoff + names * size)
        sections = []
        for index in range(count):
            name, kind, _, _, offset, length = self._unpack(layout, shoff + index * size)[:6]
            sections.append(Section(self._text(table[4] + name, table[4] + table[5]), kind, offset, length))
        return sections
