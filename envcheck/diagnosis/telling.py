"""What of a long text is looked at: the lines that look like parts of messages, each once for each process."""

from __future__ import annotations

from envcheck.diagnosis.prefixes import Prefixes
from envcheck.diagnosis.text import ANSI, LONGEST_LINE, MOST_TEXT, clean

KEPT_FIRST, KEPT_LAST = 500, 2500
"""Of the lines that look like messages in a long text, the first and the last ones."""
CHUNK = 1 << 20
MOST_SEEN = 200_000
"""Lines that are known again."""
MOST_HEARD = 20_000
"""Lines of which it is known what processes wrote them."""
MOST_KEPT = 64
"""Processes of which all telling lines are kept; of the others, what none of those wrote."""

_TELLING = (
    *("err", "fail", "fatal", "exception", "traceback", "abort", "warn", "not ", "can't", "unable", "unsupported"),
    *("cuda", "gpu", "nvidia", "nvml", "cudnn", "cublas", "nccl", "tensorrt", "[trt]", "rocm", "hip", "driver"),
    *("mismatch", "incompatib", "incorrect", "illegal", "segmentation", "killed", "undefined symbol", "no module"),
    *("dll", ".so", "dylib", "requir", "provider", "opset", "version", "kernel", "memory", "sigill", "sigsegv"),
    *("core dumped", "no matching", "docker", "out of", "denied", "refused", "omp:", "numpy", "falling back", "only"),
    *("错误", "失败", "找不到", "无法", "エラー", "失敗", "見つかりません", "fehler", "erreur", "could ", "cannot"),
)
"""A line with one of these may be part of a message. Plain texts: a pattern of them takes twenty times as long."""
_STRONG = (
    *("error", "exception", "fatal", "abort", "cannot", "could not", "undefined", "not found", "no module", "mismatch"),
    *("not supported", "unsupported", "incompatib", "not available", "insufficient", "no kernel image", "no matching"),
    *("illegal instruction", "killed", "load failed", "错误", "失败", "无法", "エラー", "失敗"),
)
"""In the middle of a long text, lines with one of these are kept, and what stands around them."""
_DIGITS = {ord(digit): None for digit in "0123456789"}

Told = tuple[int, str]
"""A line, and the process that wrote it; 0 is nobody."""


class Telling:
    """Reads a long text in parts and keeps what may tell the cause; bounded in time and memory."""

    def __init__(self, start: str) -> None:
        """``start``: the first part of the text, of the same length however the parts are cut."""
        self.prefixes = Prefixes()
        self.prefixes.decide(clean(start))
        self.heard: dict[int, int] = {}
        """Who wrote a line, numbers aside: a bit for each process."""
        self._first: list[Told] = []
        self._middle: list[Told] = []
        self._last: list[Told] = []
        self._seen: set[int] = set()
        self._known: set[int] = {0}
        """Processes that wrote something before all others."""
        self._follow: dict[int, int] = {}
        """How many lines after a message may still belong to it; for each process."""
        self._lines = self._kept = 0
        self._open = ""

    def read(self, part: str) -> None:
        """The next part of the text."""
        for start in range(0, len(part), CHUNK):
            chunk = self._open + part[start : start + CHUNK]
            held = ""
            if "\r" in chunk:  # a progress bar is drawn on one line
                if chunk.endswith("\r"):
                    chunk, held = chunk[:-1], "\r"
                chunk = chunk.replace("\r\n", "\n").replace("\r", "\n")
            found = chunk.split("\n")
            self._open = _shortened(found.pop()) + held
            self._lines += len(found)
            self._take(found, "\x1b" in chunk)

    def _take(self, lines: list[str], coloured: bool) -> None:
        seen, follow, peel = self._seen, self._follow, self.prefixes.peel
        for line in lines:
            if len(line) > LONGEST_LINE:
                line = _shortened(line)
            if coloured and "\x1b" in line:
                line = ANSI.sub("", line)
            who, begin = peel(line)
            # What differs in numbers only is the same message.
            key = hash((line[begin:].strip() if begin else line).translate(_DIGITS))
            if who:
                if key in self.heard:
                    self.heard[key] |= 1 << who
                    if who not in self._known:
                        continue
                one = hash((who, key))
                if one in seen:
                    continue
            else:
                one = key
                if one in seen:
                    continue
            low = line.lower()
            if not any(word in low for word in _TELLING):
                # The line after a message often belongs to it.
                left = follow.get(who, 0)
                if left <= 0 or not line[begin:].strip():
                    continue
                follow[who] = left - 1
            else:
                follow[who] = 2
            if len(seen) < MOST_SEEN:
                seen.add(one)
            if who:
                if key not in self.heard and len(self.heard) < MOST_HEARD:
                    self.heard[key] = 1 << who
                if len(self._known) < MOST_KEPT:
                    self._known.add(who)
            self._keep((who, line))

    def _keep(self, told: Told) -> None:
        self._kept += 1
        if len(self._first) < KEPT_FIRST:
            self._first.append(told)
            return
        last = self._last
        last.append(told)
        if len(last) > 2 * KEPT_LAST:
            self._middle += _strong(last[:KEPT_LAST])
            del last[:KEPT_LAST], self._middle[KEPT_FIRST:-KEPT_LAST]

    def result(self) -> tuple[str, str]:
        """The lines that were kept, as a text, and a note on how many they are."""
        middle = self._middle + _strong(self._last[:-KEPT_LAST])
        kept = [*self._first, *middle, *self._last[-KEPT_LAST:]]
        note = f"of {self._lines} lines {min(self._kept, len(kept))} that look like messages were read"
        if self._open:
            kept.append((0, self._open))
        text = clean("\n".join(line for _, line in kept))
        if len(text) > 4 * MOST_TEXT:
            text = text[: 2 * MOST_TEXT] + "\n" + text[-2 * MOST_TEXT :]
        return text, note


def _strong(lines: list[Told]) -> list[Told]:
    """Those that say what went wrong, with the line before and two behind: a message can have several."""
    kept = bytearray(len(lines))
    before: dict[int, int] = {}
    behind: dict[int, int] = {}
    for place, (who, line) in enumerate(lines):
        low = line.lower()
        if any(word in low for word in _STRONG):
            kept[place] = kept[before.get(who, place)] = 1
            behind[who] = 2
        elif behind.get(who, 0) > 0:
            kept[place] = 1
            behind[who] -= 1
        before[who] = place
    return [told for place, told in enumerate(lines) if kept[place]]


def _shortened(line: str) -> str:
    """The ends of a line, the same in whatever parts it comes."""
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else line[:half] + line[-half:]
