"""What a Windows DLL, .pyd or program says of itself: architecture, imported DLLs, delay-loaded ones, least Windows.

Layout: Microsoft, "PE Format". Any bytes may come in: what is damaged raises :class:`PeError`, nothing else; sizes and
counts are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import calcsize, unpack

MACHINES = {0x14C: "i686", 0x8664: "x86_64", 0xAA64: "aarch64", 0x1C4: "armv7l", 0xA641: "arm64ec", 0xA64E: "arm64x"}
MAX_SECTIONS = 96
"""The Windows loader takes no more."""
MAX_DLLS = 4096
MAX_NAME = 260
EXPORTS, IMPORTS, DELAYED = 0, 1, 13

Read = Callable[[int, int], bytes]
"""(offset, size) -> bytes; fewer at the end of the file."""


class PeError(ValueError):
    """Not a PE file, or one whose tables point outside of it."""


class PeFile:
    """One PE file. ``PeFile(data)`` takes any buffer, or ``PeFile(read=..., size=...)`` a function that reads parts."""

    __slots__ = ("_directories", "_read", "_sections", "bits", "dll", "machine", "size", "subsystem")

    def __init__(self, data: bytes | memoryview | None = None, *, read: Read | None = None, size: int = 0) -> None:
        if data is not None:
            self.size = len(data)
            self._read: Read = lambda at, count: bytes(data[at : at + count])
        elif read is not None:
            self.size, self._read = size, read
        else:
            raise PeError("nothing to read")
        if self.bytes(0, 2) != b"MZ":
            raise PeError("not a PE file")
        start = self._unpack("I", 60)[0]
        if self.bytes(start, 4) != b"PE\0\0":
            raise PeError("not a PE file")
        number, sections, _, _, _, length, flags = self._unpack("HHIIIHH", start + 4)
        self.machine = MACHINES.get(number, f"machine-{number:#x}")
        """``x86_64``, ``aarch64``, ``i686`` ..."""
        self.dll = bool(flags & 0x2000)
        header = start + 24
        magic = self._unpack("H", header)[0]
        if magic not in (0x10B, 0x20B):
            raise PeError("the optional header is of an unknown kind")
        self.bits = 64 if magic == 0x20B else 32
        self.subsystem = self._unpack("HH", header + 48)
        """Least version of Windows: (6, 0) is Vista, (6, 2) 8, (10, 0) 10."""
        counts = header + (108 if self.bits == 64 else 92)
        count = min(self._unpack("I", counts)[0], 16, max(0, length - (counts + 4 - header)) // 8)
        self._directories = [self._unpack("II", counts + 4 + index * 8) for index in range(count)]
        table = header + length
        self._sections = []
        for index in range(min(sections, MAX_SECTIONS)):
            virtual, address, raw, offset = self._unpack("8xIIII", table + index * 40)
            self._sections.append((address, max(virtual, raw), offset, raw))

    @property
    def imports(self) -> list[str]:
        """DLLs that must be there when this file is loaded, as written, in order, without doubles."""
        return self._names(IMPORTS, 20, 12)

    @property
    def delayed(self) -> list[str]:
        """DLLs that are loaded when one of their functions is first called."""
        return self._names(DELAYED, 32, 4)

    @property
    def name(self) -> str | None:
        """The name that the export table gives the file."""
        if not self._directories or not self._directories[EXPORTS][0]:
            return None
        return self._text(self._unpack("12xI", self.offset(self._directories[EXPORTS][0]))[0])

    def _names(self, directory: int, step: int, field: int) -> list[str]:
        if directory >= len(self._directories) or not self._directories[directory][0]:
            return []
        at = self.offset(self._directories[directory][0])
        names: dict[str, None] = {}
        for index in range(MAX_DLLS):
            entry = self.bytes(at + index * step, step)
            address = int.from_bytes(entry[field : field + 4], "little")
            if not any(entry) or not address:
                break
            if directory == DELAYED and not entry[0] & 1:
                raise PeError("the delay-load table is of the kind before Visual C++ 7")
            names[self._text(address)] = None
        return list(names)

    def directory(self, index: int) -> tuple[int, int] | None:
        """Address, relative to the image, and size of one of the tables; None where the file has none."""
        if index >= len(self._directories) or not self._directories[index][0]:
            return None
        address, size = self._directories[index]
        return address, size

    def bytes(self, at: int, size: int) -> bytes:
        """Raises :class:`PeError` when they are not all there."""
        data = self._read(at, size) if at >= 0 and at + size <= self.size else b""
        if len(data) < size:
            raise PeError("the file ends before a table that it names")
        return data

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        return unpack("<" + layout, self.bytes(at, calcsize("<" + layout)))

    def offset(self, address: int) -> int:
        """File offset of an address relative to the image."""
        for start, length, offset, raw in self._sections:
            if start <= address < start + length:
                if address - start >= raw:
                    break
                return address - start + offset
        raise PeError("an address is not part of the file")

    def _text(self, address: int) -> str:
        at = self.offset(address)
        text, found, _ = self._read(at, max(0, min(MAX_NAME, self.size - at))).partition(b"\0")
        if not found:
            raise PeError("a name in the file has no end")
        return text.decode("utf-8", "replace")
