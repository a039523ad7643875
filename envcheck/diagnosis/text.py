"""What of an error text is looked at: bounded in size, without colours, repeated lines once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from envcheck.diagnosis.prefixes import Prefixes

if TYPE_CHECKING:
    from envcheck.diagnosis.processes import Processes

MOST_TEXT = 256 * 1024
"""Characters that are matched in the end; of more, the lines that look like messages are taken."""
LONGEST_LINE = 4000

ANSI = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)?|[@-Z\\^_])")


class DiagnosisError(ValueError):
    """A text that can't be read; its words are one sentence for the user."""


class Reduced:
    """The part of a text that is matched, and what was left out."""

    __slots__ = ("notes", "processes", "text")

    def __init__(self, text: str, notes: list[str], processes: Processes | None = None) -> None:
        self.text = text
        self.notes = notes
        self.processes = processes
        """Who wrote what, where lines have the prefixes of processes; the text then has a run of lines for each."""


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
    """A text in parts (of any size) -> what is matched: all of a short one, the telling lines of a long one.

    Where several processes write, the lines of each stand together, without what names the process.
    """
    whole: list[str] = []
    size = 0
    source = iter(parts)
    for part in source:
        whole.append(part)
        size += len(part)
        if size > MOST_TEXT:
            from envcheck.diagnosis.telling import Telling

            telling = Telling("".join(whole)[:MOST_TEXT])
            for one in _again(whole, source):
                telling.read(one)
            text, note = telling.result()
            return _divided(text, telling.prefixes, [note], telling.heard)
    text = clean("".join(whole))
    prefixes = Prefixes()
    prefixes.decide(text)
    return _divided(text, prefixes, [])


def _divided(text: str, prefixes: Prefixes, notes: list[str], heard: dict[int, int] | None = None) -> Reduced:
    if not prefixes.occur(text):
        return Reduced(text, notes)
    from envcheck.diagnosis.processes import Processes

    processes = Processes(text, prefixes, heard)
    return Reduced(processes.text, notes, processes)


def _again(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


SOURCE = re.compile(
    r'^(([ \t]{0,40})File "[^"\n]{1,400}", line \d{1,7}[^\n]{0,400})(?:\n\2[ \t]{1,8}[^\n]*){1,3}', re.MULTILINE
)
"""Lines of source in a traceback, with the marks below them: they hold texts of messages that were not written."""


def clean(text: str) -> str:
    """Without colours, carriage returns that draw progress bars, and lines without end."""
    if "\x1b" in text:
        text = ANSI.sub("", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        text = text.replace("\0", "")
    # Quotes with a backslash come from logs of repr(), typographic ones from pastes and from gcc.
    if "\\'" in text:
        text = text.replace("\\'", "'")
    for strange, plain in (("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\xa0", " ")):
        if strange in text:
            text = text.replace(strange, plain)
    if 'File "' in text:
        text = SOURCE.sub(r"\1", text)
    if len(text) > LONGEST_LINE:
        text = "\n".join(line if len(line) <= LONGEST_LINE else _ends(line) for line in text.split("\n"))
    return text


def _ends(line: str) -> str:
    return line[: LONGEST_LINE // 2] + " ... " + line[-LONGEST_LINE // 2 :]
