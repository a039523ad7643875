"""The first bytes of a Zstandard frame: enough for a table of contents, in pure Python.

Python has a decoder from 3.14 on only, and compressed offload bundles begin with the names that we want. Only the
first block is decoded (at most 128 KiB), and of it no more than is asked for. Format: RFC 8878.
"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.binaries.source import BinaryError

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_BLOCK = 1 << 17
NEEDED = MAX_BLOCK + 64
"""Bytes of the frame that suffice."""

LL_BASE = (*range(16), 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768,
           65536)  # fmt: skip
LL_BITS = (*(0,) * 16, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
ML_BASE = (*range(3, 35), 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387,
           32771, 65539)  # fmt: skip
ML_BITS = (*(0,) * 32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
LL_DEFAULT = (4, 3, *(2,) * 11, 1, 1, 1, *(2,) * 9, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1)
ML_DEFAULT = (1, 4, 3, 2, 2, 2, 2, 2, 2, *(1,) * 37, *(-1,) * 7)
OF_DEFAULT = (1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1)

Table = list[tuple[int, int, int]]
"""Of a state: symbol, bits to read, base of the next state."""


class _Bits:
    """A stream that is read from its end; what lies before its beginning reads as zero."""

    __slots__ = ("data", "left")

    def __init__(self, data: bytes) -> None:
        if not data or not data[-1]:
            raise BinaryError("a Zstandard stream has no end")
        self.data = data
        self.left = len(data) * 8 - 9 + data[-1].bit_length()

    def read(self, count: int) -> int:
        self.left -= count
        if self.left < -64:
            raise BinaryError("a Zstandard stream is too short")
        value = self.peek_from(self.left)
        return value & ((1 << count) - 1)

    def peek_from(self, at: int) -> int:
        if at >= 0:
            return int.from_bytes(self.data[at >> 3 : (at >> 3) + 8], "little") >> (at & 7)
        return int.from_bytes(self.data[:8], "little") << -at


def head(frame: bytes, limit: int) -> bytes:
    """Up to ``limit`` bytes of the frame's content. Raises :class:`BinaryError` when it is damaged."""
    try:
        return _head(frame, limit)
    except (IndexError, StopIteration) as error:  # a table or the literals ended too early
        raise BinaryError("the Zstandard frame is damaged") from error


def _head(frame: bytes, limit: int) -> bytes:
    if frame[:4] != MAGIC:
        raise BinaryError("not a Zstandard frame")
    descriptor = frame[4]
    single = descriptor >> 5 & 1
    size_of_size = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + size_of_size
    header = int.from_bytes(frame[at : at + 3], "little")
    kind, size = header >> 1 & 3, header >> 3
    at += 3
    if kind == 0:
        return frame[at : at + min(size, limit)]
    if kind == 1:
        return frame[at : at + 1] * min(size, limit)
    if kind == 3 or size > MAX_BLOCK:
        raise BinaryError("the Zstandard frame is damaged")
    return _block(frame[at : at + size], limit)


def _block(data: bytes, limit: int) -> bytes:
    literals, at = _literals(data)
    count = data[at]
    at += 1
    if count == 255:
        count, at = int.from_bytes(data[at : at + 2], "little") + 0x7F00, at + 2
    elif count >= 128:
        count, at = (count - 128 << 8) + data[at], at + 1
    out = bytearray()
    if count:
        modes = data[at]
        at += 1
        ll, ll_log, at = _table(data, at, modes >> 6, LL_DEFAULT, 6, 9)
        of, of_log, at = _table(data, at, modes >> 4 & 3, OF_DEFAULT, 5, 8)
        ml, ml_log, at = _table(data, at, modes >> 2 & 3, ML_DEFAULT, 6, 9)
        bits = _Bits(data[at:])
        states = [bits.read(ll_log), bits.read(of_log), bits.read(ml_log)]
        repeats = [1, 4, 8]
        for index in range(count):
            if len(out) >= limit:
                return bytes(out[:limit])
            (ll_code, ll_n, ll_base), (of_code, of_n, of_base), (ml_code, ml_n, ml_base) = (
                ll[states[0]],
                of[states[1]],
                ml[states[2]],
            )
            if of_code > 31:
                raise BinaryError("the Zstandard frame is damaged")
            offset = (1 << of_code) + bits.read(of_code)
            length = ML_BASE[ml_code] + bits.read(ML_BITS[ml_code])
            plain = LL_BASE[ll_code] + bits.read(LL_BITS[ll_code])
            if index + 1 < count:
                states[0] = ll_base + bits.read(ll_n)
                states[2] = ml_base + bits.read(ml_n)
                states[1] = of_base + bits.read(of_n)
            offset = _offset(offset, plain, repeats)
            for _ in range(plain):
                out.append(next(literals))
            if not 0 < offset <= len(out):
                raise BinaryError("the Zstandard frame is damaged")
            start = len(out) - offset
            for place in range(start, start + min(length, max(0, limit - len(out)))):
                out.append(out[place])
    for literal in literals:
        if len(out) >= limit:
            break
        out.append(literal)
    return bytes(out[:limit])


def _offset(value: int, plain: int, repeats: list[int]) -> int:
    """The distance of a match; the last three distances have short codes (RFC 8878, 3.1.1.5)."""
    if value > 3:
        offset = value - 3
        repeats[:] = [offset, *repeats[:2]]
        return offset
    index = value - 1 + (plain == 0)
    if index == 3:
        offset = repeats[0] - 1
        repeats[:] = [offset, *repeats[:2]]
        return offset
    offset = repeats.pop(index)
    repeats.insert(0, offset)
    return offset


def _literals(data: bytes) -> tuple[Iterator[int], int]:
    """The literals, decoded as they are taken, and where the next section begins."""
    kind, form = data[0] & 3, data[0] >> 2 & 3
    if kind < 2:
        width = (1, 2, 1, 3)[form]
        size = int.from_bytes(data[:width], "little") >> (3 if width == 1 else 4)
        if size > MAX_BLOCK:
            raise BinaryError("the Zstandard frame is damaged")
        if kind == 0:
            return iter(data[width : width + size]), width + size
        return iter(data[width : width + 1] * size), width + 1
    if kind == 3:
        raise BinaryError("the Zstandard frame is damaged")  # a first block has no table to repeat
    width, bits = ((3, 10), (3, 10), (4, 14), (5, 18))[form]
    header = int.from_bytes(data[:width], "little") >> 4
    size, packed = header & ((1 << bits) - 1), header >> bits & ((1 << bits) - 1)
    if size > MAX_BLOCK:
        raise BinaryError("the Zstandard frame is damaged")
    end = width + packed
    table, longest, at = _huffman(data, width)
    streams = []
    if form == 0:
        streams.append((at, end, size))
    else:
        jumps = [int.from_bytes(data[at + step : at + step + 2], "little") for step in (0, 2, 4)]
        at += 6
        each = (size + 3) // 4
        for jump in jumps:
            streams.append((at, at + jump, each))
            at += jump
        streams.append((at, end, size - 3 * each))
    return _symbols(data, streams, table, longest), end


def _symbols(
    data: bytes, streams: list[tuple[int, int, int]], table: list[tuple[int, int]], longest: int
) -> Iterator[int]:
    mask = (1 << longest) - 1
    for start, end, size in streams:
        bits = _Bits(data[start:end])
        for _ in range(size):
            symbol, used = table[bits.peek_from(bits.left - longest) & mask]
            bits.left -= used
            if bits.left < 0:
                raise BinaryError("a Zstandard stream is too short")
            yield symbol


def _huffman(data: bytes, at: int) -> tuple[list[tuple[int, int]], int, int]:
    """Table from the next bits to (symbol, bits used), the length of the longest code, and where the table ended."""
    size = data[at]
    at += 1
    if size >= 128:
        count = size - 127
        weights = [data[at + index // 2] >> (0 if index & 1 else 4) & 15 for index in range(count)]
        end = at + (count + 1) // 2
    else:
        end = at + size
        probabilities, log, after = _probabilities(data[:end], at, 6, 12)
        table = _states(probabilities, log)
        bits = _Bits(data[after:end])
        states, weights, turn = [bits.read(log), bits.read(log)], [], 0
        while len(weights) < 255:
            symbol, count, base = table[states[turn]]
            weights.append(symbol)
            if bits.left < count:
                weights.append(table[states[1 - turn]][0])
                break
            states[turn] = base + bits.read(count)
            turn = 1 - turn
    total = sum(1 << weight - 1 for weight in weights if weight)
    if not total or max(weights) > 12:
        raise BinaryError("the Zstandard frame is damaged")
    longest = total.bit_length()
    rest = (1 << longest) - total
    if longest > 12 or rest & (rest - 1):
        raise BinaryError("the Zstandard frame is damaged")
    weights.append(rest.bit_length())
    codes: list[tuple[int, int]] = []
    for weight in range(1, longest + 1):
        for symbol, own in enumerate(weights):
            if own == weight:
                codes += [(symbol, longest + 1 - weight)] * (1 << weight - 1)
    return codes, longest, end


def _table(data: bytes, at: int, mode: int, default: tuple[int, ...], log: int, highest: int) -> tuple[Table, int, int]:
    """Decoding table of one kind of code, its accuracy, and where its description ended."""
    if mode == 0:
        return _states(list(default), log), log, at
    if mode == 1:
        return [(data[at], 0, 0)], 0, at + 1
    if mode == 3:
        raise BinaryError("the Zstandard frame is damaged")
    probabilities, log, at = _probabilities(data, at, highest, 64)
    return _states(probabilities, log), log, at


def _probabilities(data: bytes, at: int, highest: int, most: int) -> tuple[list[int], int, int]:
    """A table's description (RFC 8878, 4.1.1), read from its beginning: probabilities, accuracy, where it ended."""
    stream = int.from_bytes(data[at : at + 160], "little")
    log, place = (stream & 15) + 5, 4
    if log > highest:
        raise BinaryError("the Zstandard frame is damaged")
    found: list[int] = []
    left = 1 << log
    while left > 0 and len(found) < most:
        width = (left + 1).bit_length()
        value = stream >> place & ((1 << width) - 1)
        short = (1 << width) - 2 - left
        if value & ((1 << width - 1) - 1) < short:
            value &= (1 << width - 1) - 1
            place += width - 1
        else:
            if value >= 1 << width - 1:
                value -= short
            place += width
        probability = value - 1
        found.append(probability)
        left -= abs(probability)
        if probability == 0:
            while True:
                repeat = stream >> place & 3
                place += 2
                found += [0] * repeat
                if repeat < 3 or len(found) > most:
                    break
    if left or len(found) > most:
        raise BinaryError("the Zstandard frame is damaged")
    return found, log, at + (place + 7) // 8


def _states(probabilities: list[int], log: int) -> Table:
    size = 1 << log
    symbols, high = [0] * size, size - 1
    for symbol, probability in enumerate(probabilities):
        if probability == -1:
            symbols[high] = symbol
            high -= 1
    place, step = 0, (size >> 1) + (size >> 3) + 3
    for symbol, probability in enumerate(probabilities):
        for _ in range(max(0, probability)):
            symbols[place] = symbol
            place = place + step & size - 1
            while place > high:
                place = place + step & size - 1
    following = [max(1, probability) if probability else 0 for probability in probabilities]
    table = []
    for symbol in symbols:
        state = following[symbol]
        following[symbol] += 1
        bits = log + 1 - state.bit_length()
        table.append((symbol, bits, (state << bits) - size))
    return table
