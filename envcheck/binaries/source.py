"""Bytes to read from: a buffer, a file on disk, a part of either, or a deflated member of an archive.

Readers of this package take a :class:`Source`, so that what works on a library on disk works on one inside a wheel.
A file is read with pread and not mapped: a mapped file that another process cuts short kills us with SIGBUS.

Memory: a source holds a few blocks. A deflated one can only be read forwards, so it keeps a copy of the decoder's
state (some 40 KB) at regular distances and begins again from the nearest one; going back costs time, not memory.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

CHUNK = 1 << 18
"""Bytes of one step of a search and of decompression."""
MAX_STATES = 192
SMALL, MAX_SMALL = 1 << 14, 256
"""Bytes of a block that is kept, and how many are."""


class BinaryError(ValueError):
    """What was to be read is damaged, or is not what it was taken for."""


class Source:
    """Random access to ``size`` bytes. A context manager; slices and len() work, as :class:`ElfFile` wants them."""

    __slots__ = ("size",)

    size: int

    def read(self, at: int, size: int) -> bytes:
        """Exactly those bytes. Raises :class:`BinaryError` when they are not all there, OSError from the disk."""
        if at < 0 or size < 0 or at + size > self.size:
            raise BinaryError("the file ends before a part that it names")
        return self._read(at, size)

    def _read(self, at: int, size: int) -> bytes:
        raise NotImplementedError

    def find(self, pattern: bytes, at: int, end: int) -> int:
        """The first offset in [at, end) where ``pattern`` lies, whole; -1 when nowhere."""
        end, keep, before = min(end, self.size), len(pattern) - 1, b""
        while at < end:
            data = before + self.read(at, min(CHUNK, end - at))
            found = data.find(pattern)
            if found >= 0:
                return at - len(before) + found
            at += len(data) - len(before)
            before = data[-keep:] if keep else b""
        return -1

    def close(self) -> None:
        """Lets go of the file; a part leaves it to the whole."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        return self.read(start, max(0, stop - start))

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


class Buffer(Source):
    """Bytes in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data, self.size = data, len(data)

    def _read(self, at: int, size: int) -> bytes:
        return bytes(self.data[at : at + size])


def _seek_and_read(fd: int, size: int, at: int) -> bytes:
    os.lseek(fd, at, os.SEEK_SET)
    return os.read(fd, size)


_pread = getattr(os, "pread", _seek_and_read)  # Windows has no pread


class File(Source):
    """A regular file on disk. Raises OSError when it cannot be opened, :class:`BinaryError` for another kind."""

    __slots__ = ("fd",)

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        status = os.fstat(self.fd)
        if status.st_mode & 0o170000 != 0o100000:
            self.close()
            raise BinaryError("not a regular file")
        self.size = status.st_size

    def read(self, at: int, size: int) -> bytes:
        # Called once for each entry of a fat binary: so without another layer.
        if at < 0 or size < 0 or at + size > self.size:
            raise BinaryError("the file ends before a part that it names")
        data = _pread(self.fd, size, at)
        if len(data) < size:
            raise BinaryError("the file ends before a part that it names")
        return data

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Part(Source):
    """A stretch of another source: a stored member of an archive, one slice of a universal binary."""

    __slots__ = ("start", "whole")

    def __init__(self, whole: Source, start: int, size: int) -> None:
        if start < 0 or size < 0 or start + size > whole.size:
            raise BinaryError("the part lies outside of the file")
        self.whole, self.start, self.size = whole, start, size

    def _read(self, at: int, size: int) -> bytes:
        return self.whole.read(self.start + at, size)


class Inflated(Source):
    """A deflated stretch of another source, ``size`` bytes when unpacked, decoded as far as it is asked for.

    Raises :class:`BinaryError` while reading when the stream is damaged or ends too early, and when so much was read
    back and forth that all of it could have been unpacked several times (damaged tables can demand that).
    """

    __slots__ = (
        "_at",
        "_block",
        "_blocks",
        "_budget",
        "_decoder",
        "_input",
        "_states",
        "_step",
        "_taken",
        "packed",
        "start",
        "whole",
    )

    def __init__(self, whole: Source, start: int, packed: int, size: int) -> None:
        import zlib

        if start < 0 or packed < 0 or size < 0 or start + packed > whole.size:
            raise BinaryError("the member lies outside of the file")
        self.whole, self.start, self.packed, self.size = whole, start, packed, size
        self._decoder: Any = zlib.decompressobj(-15)
        self._input = b""  # packed bytes that the decoder was not yet given
        self._taken = 0  # packed bytes read so far
        self._block = b""  # the last bytes unpacked, so that a reader may step back a little ...
        self._at = 0  # ... which begin here
        self._blocks: dict[int, bytes] = {}  # where small things were read far from the last place
        self._budget = 4 * size + (256 << 20)  # bytes that may be unpacked in all
        self._step = max(4 << 20, size // MAX_STATES)
        self._states: list[tuple[int, int, Any, bytes]] = [(0, 0, self._decoder.copy(), b"")]

    def _read(self, at: int, size: int) -> bytes:
        end = self._at + len(self._block)
        if self._at <= at and at + size <= end:
            return self._block[at - self._at : at - self._at + size]
        number, start = divmod(at, SMALL)
        if start + size > SMALL or self._at <= at <= end:
            return self._unpack(at, size)
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= MAX_SMALL:
                self._blocks.clear()
            block = self._unpack(number * SMALL, min(SMALL, self.size - number * SMALL))
            self._blocks[number] = block
        return block[start : start + size]

    def _unpack(self, at: int, size: int) -> bytes:
        """Moves to ``at`` and reads from there."""
        end = self._at + len(self._block)
        if at < self._at or at - end > self._step:
            state = max((one for one in self._states if one[0] <= at), key=lambda one: one[0])
            if at < self._at or state[0] > end:
                self._at, self._taken, decoder, self._input = state
                self._decoder, self._block = decoder.copy(), b""
        parts = []
        while True:
            end = self._at + len(self._block)
            if at < end:
                parts.append(self._block[at - self._at : at - self._at + size])
                at, size = at + len(parts[-1]), size - len(parts[-1])
            if not size:
                return b"".join(parts)
            self._forward()

    def _forward(self) -> None:
        """Unpacks the next block and forgets what lies far behind."""
        import zlib

        end = self._at + len(self._block)
        if end - self._states[-1][0] >= self._step:
            self._states.append((end, self._taken, self._decoder.copy(), self._input))
        while True:
            if not self._input and not self._decoder.eof:
                size = min(CHUNK, self.packed - self._taken)
                self._input = self.whole.read(self.start + self._taken, size)
                self._taken += size
            try:
                block = self._decoder.decompress(self._input, CHUNK)
            except zlib.error as error:
                raise BinaryError("the packed data is damaged") from error
            stuck = not self._input and not block
            self._input = self._decoder.unconsumed_tail
            if block:
                self._budget -= len(block)
                if self._budget < 0:
                    raise BinaryError("the packed file would have to be unpacked too often")
                kept = self._block[-2 * CHUNK :]
                self._block, self._at = kept + block, end - len(kept)
                return
            if self._decoder.eof or stuck:
                raise BinaryError("the packed data ends too early")


def source(data: str | bytes | bytearray | memoryview | Source) -> Source:
    """A source from a path, a buffer or a source. Raises OSError when a path cannot be opened."""
    if isinstance(data, Source):
        return data
    return File(data) if isinstance(data, str) else Buffer(data)
