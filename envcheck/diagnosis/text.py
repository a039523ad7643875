"""What of an error text is looked at: bounded in size, without colours, repeated lines once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MOST_TEXT = 256 * 1024
"""Characters that are matched in the end; of more, the lines that look like messages are taken."""
LONGEST_LINE = 4000
KEPT_FIRST, KEPT_LAST = 500, 2500
"""Of the lines that look like messages in a long text, the first and the last ones."""
CHUNK = 1 << 20

_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)?|[@-Z\\^_])")
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


class DiagnosisError(ValueError):
    """A text that can't be read; its words are one sentence for the user."""


class Reduced:
    """The part of a text that is matched, and what was left out."""

    __slots__ = ("notes", "text")

    def __init__(self, text: str, notes: list[str]) -> None:
        self.text = text
        self.notes = notes


def decoded(data: bytes, name: str = "the text") -> str:
    """Bytes as text. Raises DiagnosisError for binary data."""
    encoding = encoding_of(data)
    if encoding is None:
        raise DiagnosisError(f"{name} is no text: it holds binary data")
    return data.decode(encoding, "replace")


def encoding_of(data: bytes) -> str | None:
    """By how it begins: UTF-8, UTF-16 (Windows' redirections), or a code page of Windows; None for binary data."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if data[:3] == b"\xef\xbb\xbf":
        return "utf-8-sig"
    head = data[:65536]
    even, odd = head[::2].count(b"\0"), head[1::2].count(b"\0")
    if odd * 3 > len(head) // 2 and odd > 4 * even:
        return "utf-16-le"
    if _binary(head):
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start > len(head) - 4:  # a letter that is cut off
            return "utf-8"
        for encoding in ("gb18030", "cp932"):  # what Windows writes in Chinese and Japanese
            try:
                text = head[: len(head) - 4].decode(encoding, "strict" if len(head) < 65536 else "ignore")
            except UnicodeDecodeError:
                continue
            if sum("\u3040" <= letter <= "\u9fff" for letter in text) > len(text) / 50:
                return encoding
    return "utf-8"


def _binary(head: bytes) -> bool:
    """Control characters that no program prints, more than one in 20 bytes."""
    strange = sum(1 for byte in head[:4096] if byte < 7 or 13 < byte < 27 or 28 <= byte < 32)
    return strange * 20 > min(len(head), 4096)


def reduce(parts: Iterable[str]) -> Reduced:
    """A text in parts (of any size) -> what is matched: all of a short one, the telling lines of a long one."""
    whole: list[str] = []
    size = 0
    source = iter(parts)
    for part in source:
        whole.append(part)
        size += len(part)
        if size > MOST_TEXT:
            return _telling(_again(whole, source))
    return Reduced(_clean("".join(whole)), [])


def _again(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _telling(parts: Iterator[str]) -> Reduced:
    first: list[str] = []
    middle: list[str] = []
    last: list[str] = []
    seen: set[int] = set()
    lines = kept = 0
    open_line = ""
    follow = 0
    for part in parts:
        for start in range(0, len(part), CHUNK):
            chunk = open_line + part[start : start + CHUNK]
            held = ""
            if "\r" in chunk:  # a progress bar is drawn on one line
                if chunk.endswith("\r"):
                    chunk, held = chunk[:-1], "\r"
                chunk = chunk.replace("\r\n", "\n").replace("\r", "\n")
            found = chunk.split("\n")
            open_line = _shortened(found.pop()) + held
            lines += len(found)
            for line in found:
                if len(line) > LONGEST_LINE:
                    line = _shortened(line)
                # What differs in numbers only is the same message.
                key = hash(line.translate(_DIGITS))
                if key in seen:
                    continue
                low = line.lower()
                if not any(word in low for word in _TELLING):
                    # The line after a message often belongs to it.
                    if follow <= 0 or not line.strip():
                        continue
                    follow -= 1
                else:
                    follow = 2
                if len(seen) < 200_000:
                    seen.add(key)
                kept += 1
                if len(first) < KEPT_FIRST:
                    first.append(line)
                else:
                    last.append(line)
                    if len(last) > 2 * KEPT_LAST:
                        middle += _strong(last[:KEPT_LAST])
                        del last[:KEPT_LAST], middle[KEPT_FIRST:-KEPT_LAST]
    middle += _strong(last[:-KEPT_LAST])
    last = last[-KEPT_LAST:]
    if open_line:
        last.append(open_line)
    text = _clean("\n".join((*first, *middle, *last)))
    note = f"of {lines} lines {min(kept, len(first) + len(middle) + len(last))} that look like messages were read"
    if len(text) > 4 * MOST_TEXT:
        text = text[: 2 * MOST_TEXT] + "\n" + text[-2 * MOST_TEXT :]
    return Reduced(text, [note])


def _strong(lines: list[str]) -> list[str]:
    """Those that say what went wrong, with the line before and two behind: a message can have several."""
    kept = bytearray(len(lines) + 3)
    for place, line in enumerate(lines):
        low = line.lower()
        if any(word in low for word in _STRONG):
            kept[max(0, place - 1) : place + 3] = b"\1" * (place + 3 - max(0, place - 1))
    return [line for place, line in enumerate(lines) if kept[place]]


def _shortened(line: str) -> str:
    """The ends of a line, the same in whatever parts it comes."""
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else line[:half] + line[-half:]


_SOURCE = re.compile(
    r'^(([ \t]{0,40})File "[^"\n]{1,400}", line \d{1,7}[^\n]{0,400})(?:\n\2[ \t]{1,8}[^\n]*){1,3}', re.MULTILINE
)
"""Lines of source in a traceback, with the marks below them: they hold texts of messages that were not written."""


def _clean(text: str) -> str:
    """Without colours, carriage returns that draw progress bars, and lines without end."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        text = text.replace("\0", "")
    # Typographic quotes come from pastes and from gcc.
    for strange, plain in (("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\xa0", " ")):
        if strange in text:
            text = text.replace(strange, plain)
    if 'File "' in text:
        text = _SOURCE.sub(r"\1", text)
    if len(text) > LONGEST_LINE:
        text = "\n".join(line if len(line) <= LONGEST_LINE else _ends(line) for line in text.split("\n"))
    return text


def _ends(line: str) -> str:
    return line[: LONGEST_LINE // 2] + " ... " + line[-LONGEST_LINE // 2 :]
