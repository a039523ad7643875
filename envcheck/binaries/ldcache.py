"""Read ``/etc/ld.so.cache``: which file the loader takes for a soname.

Formats (glibc, ``sysdeps/generic/dl-cache.h``): the old one (``ld.so-1.7.0``, up to glibc 2.31 in front of the new one)
and the new one (``glibc-ld.so.cache1.1``). Any bytes may come in: what cannot be read is left out, nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from struct import iter_unpack, unpack_from

NEW_MAGIC = b"glibc-ld.so.cache1.1"
OLD_MAGIC = b"ld.so-1.7.0\0"
NEW_HEADER, NEW_ENTRY = 48, 24
OLD_HEADER, OLD_ENTRY = 16, 12
MAX_NAME = 4096
EXTENSION_MAGIC = 0xEAA42174

ABI_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03, "ppc64le": 0x0503, "s390x": 0x0403, "i686": 0x0003, "armv7l": 0x0903}
"""``flags`` of an entry for an architecture: FLAG_ELF_LIBC6 and the architecture's FLAG_*_LIB64 (``ldconfig.h``)."""


def lookup(
    data: bytes, names: Container[str] | None = None, prefixes: tuple[str, ...] = (), *, arch: str | None = None
) -> dict[str, list[str]]:
    """Soname -> paths in the order of the loader's preference.

    ``names`` and ``prefixes`` choose the sonames (neither: all); ``arch`` (``x86_64``, ``aarch64`` ...) leaves out
    the entries of other ABIs where the flags of that architecture are known.
    """
    wanted_flags = ABI_FLAGS.get(arch or "")
    found: dict[str, list[str]] = {}
    starts = _starts(data, names, prefixes)
    for flags, key, value, base in _entries(data):
        if (wanted_flags is not None and flags != wanted_flags) or (starts is not None and base + key not in starts):
            continue
        name = _text(data, base + key)
        if not name or not (
            (names is None and not prefixes) or (names is not None and name in names) or name.startswith(prefixes)
        ):
            continue
        path = _text(data, base + value)
        if path.startswith("/"):
            paths = found.setdefault(name, [])
            if path not in paths:
                paths.append(path)
    return found


def _starts(data: bytes, names: Container[str] | None, prefixes: tuple[str, ...]) -> set[int] | None:
    """Offsets at which a wanted name may begin; None: every entry must be read.

    Looking for a few texts in the string table is much faster than decoding every key. A key may be the tail of a
    path (glibc merges tails), so what stands before it does not matter.
    """
    if names is None and not prefixes:
        return None
    texts = [prefix.encode("utf-8", "replace") for prefix in prefixes]
    if names is not None:
        if not isinstance(names, Iterable):
            return None
        texts += [name.encode("utf-8", "replace") + b"\0" for name in names]
    if len(texts) > 200:
        return None
    starts: set[int] = set()
    for text in texts:
        at = data.find(text)
        while at >= 0:
            starts.add(at)
            at = data.find(text, at + 1)
    return starts


class _Layout:
    """Where the entries are. A named tuple's class would cost 0.2 ms at each start."""

    __slots__ = ("base", "entries", "first", "order", "size")

    def __init__(self, order: str, size: int, entries: int, first: int, base: int) -> None:
        self.order = order
        """Of bytes, as struct writes it."""
        self.size = size
        """Of an entry."""
        self.entries = entries
        """How many, says the header: it may be more than the file has room for."""
        self.first = first
        self.base = base
        """What the offsets of texts count from."""


def _layout(data: bytes) -> _Layout | None:
    """None: not a cache of either format, or its header is cut off."""
    start = 0
    if data.startswith(OLD_MAGIC):
        if len(data) < OLD_HEADER:
            return None
        # The old format has no mark for its byte order: take the one in which the count fits into the file.
        for order in "<>":
            count = unpack_from(order + "I", data, 12)[0]
            end = OLD_HEADER + count * OLD_ENTRY
            if end <= len(data):
                break
        else:
            return None
        start = data.find(NEW_MAGIC, end, end + 8 + len(NEW_MAGIC))
        if start < 0:
            return _Layout(order, OLD_ENTRY, count, OLD_HEADER, end)
    elif not data.startswith(NEW_MAGIC):
        return None
    if len(data) < start + NEW_HEADER:
        return None
    order = ">" if data[start + 28] & 3 == 3 else "<"
    count = unpack_from(order + "I", data, start + 20)[0]
    if count > (len(data) - start - NEW_HEADER) // NEW_ENTRY and not data[start + 28] & 3:
        order = ">"  # written before glibc 2.32, which first stored the byte order
        count = unpack_from(order + "I", data, start + 20)[0]
    return _Layout(order, NEW_ENTRY, count, start + NEW_HEADER, start)


def _entries(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(flags, key offset, value offset, base of these offsets) of every entry that is in the file."""
    layout = _layout(data)
    if layout is None:
        return
    size, first = layout.size, layout.first
    count = min(layout.entries, (len(data) - first) // size)
    rows = layout.order + ("IIIIQ" if size == NEW_ENTRY else "III")
    for row in iter_unpack(rows, data[first : first + count * size]):
        yield row[0], row[1], row[2], layout.base


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + MAX_NAME)
    return data[at:end].decode("utf-8", "replace") if 0 <= at < end else ""


class LoaderCache:
    """The cache as the loader asks it: one name at a time, by binary search (``_dl_load_cache_lookup``)."""

    __slots__ = ("_base", "_count", "_data", "_first", "_flags", "_levels", "_order", "_size")

    def __init__(self, data: bytes, arch: str) -> None:
        self._data, self._flags = data, ABI_FLAGS.get(arch)
        self._count = self._base = self._first = 0
        self._size, self._order = NEW_ENTRY, "<"
        self._levels: list[str] | None = None
        layout = _layout(data)
        # The loader takes no cache that is cut off.
        if layout is not None and layout.entries <= (len(data) - layout.first) // layout.size:
            self._order, self._size, self._count = layout.order, layout.size, layout.entries
            self._first, self._base = layout.first, layout.base

    def find(self, name: str, levels: Callable[[], list[str]] | None = None) -> str | None:
        """The path that the loader takes; ``levels`` gives the glibc-hwcaps subfolders that this CPU may use, best
        first (None: this loader knows none).
        """
        wanted = name.encode("utf-8", "surrogateescape")
        if not self._count or self._data.find(wanted + b"\0") < 0:
            return None
        left, right = 0, self._count - 1
        while left <= right:
            middle = (left + right) // 2
            order = compare(wanted, self._key(middle))
            if order == 0:
                break
            if order < 0:
                left = middle + 1
            else:
                right = middle - 1
        else:
            return None
        first = middle
        while first > 0 and compare(wanted, self._key(first - 1)) == 0:
            first -= 1
        best: str | None = None
        best_rank = 0
        for index in range(first, self._count):
            if index > middle and compare(wanted, self._key(index)) != 0:
                break
            at = self._first + index * self._size
            flags, _, value = unpack_from(self._order + "III", self._data, at)
            if self._flags is not None and flags != self._flags:
                continue
            rank = 0
            if self._size == NEW_ENTRY:
                hwcap = unpack_from(self._order + "Q", self._data, at + 16)[0]
                if hwcap >> 62 == 1:  # the low half is an index into the list of glibc-hwcaps subfolders
                    rank = self._rank(hwcap & 0xFFFFFFFF, levels)
                    if not rank or (best is not None and rank >= best_rank):
                        continue
                elif best is not None:
                    break
                elif hwcap:
                    continue  # the older kind, by bits of the CPU (until glibc 2.36): not written for x86-64 any more
            path = _text(self._data, self._base + value)
            best, best_rank = path, rank
            if not rank:
                break
        return best if best else None

    def _key(self, index: int) -> bytes:
        at = self._base + unpack_from(self._order + "I", self._data, self._first + index * self._size + 4)[0]
        end = self._data.find(b"\0", at, at + MAX_NAME)
        return self._data[at:end] if end >= 0 else b""

    def _rank(self, index: int, levels: Callable[[], list[str]] | None) -> int:
        """1 for the best subfolder, 0 for one that may not be used."""
        if levels is None:
            return 0
        if self._levels is None:
            self._levels = self._hwcaps()
        name = self._levels[index] if index < len(self._levels) else ""
        order = sorted(levels(), reverse=True)
        return order.index(name) + 1 if name in order else 0

    def _hwcaps(self) -> list[str]:
        """The list of subfolders in the extension of the cache (``cache_extension_tag_glibc_hwcaps``)."""
        data, order = self._data, self._order
        at = self._base + unpack_from(order + "I", data, self._base + 32)[0]
        if at == self._base or at + 8 > len(data):
            return []
        magic, count = unpack_from(order + "II", data, at)
        if magic != EXTENSION_MAGIC:
            return []
        for number in range(min(count, 64)):
            here = at + 8 + number * 16
            if here + 16 > len(data):
                break
            tag, _, offset, size = unpack_from(order + "IIII", data, here)
            if tag == 1:
                start = self._base + offset
                room = max(0, min(size, len(data) - start, 4096) // 4)
                return [
                    _text(data, self._base + text) for (text,) in iter_unpack(order + "I", data[start:][: room * 4])
                ]
        return []


def compare(one: bytes, other: bytes) -> int:
    """Order of names in the cache: digits as numbers (``_dl_cache_libcmp``)."""
    if one == other:
        return 0
    at = there = 0
    while at < len(one):
        a, b = one[at], other[there] if there < len(other) else 0
        if 48 <= a <= 57:
            if not 48 <= b <= 57:
                return 1
            start, begin = at, there
            while at < len(one) and 48 <= one[at] <= 57:
                at += 1
            while there < len(other) and 48 <= other[there] <= 57:
                there += 1
            left, right = int(one[start:at][:18]), int(other[begin:there][:18])
            if left != right:
                return left - right
        elif 48 <= b <= 57:
            return -1
        elif a != b:
            # Signed, as char is on x86; names beyond ASCII are not sorted otherwise on purpose.
            return (a ^ 128) - (b ^ 128)
        else:
            at += 1
            there += 1
    return -(other[there] if there < len(other) else 0)
