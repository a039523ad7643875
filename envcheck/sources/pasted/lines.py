"""A pasted text made plain: what copying, quoting and terminals add is taken away, the columns stay."""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 1 << 20
"""Characters that are read at the beginning and, of a longer text, at the end."""
LONGEST_LINE = 4000

_ANSI = r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|[@-Z\\^_])"
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, 8203, 65279)) | {0xA0: " "}


def plain(text: str) -> str:
    """Lines without colours, quote marks (``> ``), code fences and trailing blanks; tabs are blanks."""
    if len(text) > 2 * MOST:
        text = text[:MOST] + "\n" + text[-MOST:]
    if "\x1b" in text:
        text = re.sub(_ANSI, "", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8", "replace")  # halves of surrogate pairs
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    line = line[:LONGEST_LINE]
    while (start := line.lstrip()).startswith(">") and not start.startswith(">>>"):
        line = start[1:].removeprefix(" ")
    if "\t" in line:
        line = line.expandtabs(8)
    stripped = line.strip()
    return "" if stripped.startswith("```") or stripped == "~~~" else line.rstrip()


def labels(text: str) -> Iterator[tuple[str, str]]:
    """``key: value`` of each line that has one; the key in small letters, without bullets and emphasis."""
    for line in text.split("\n"):
        key, colon, value = line.partition(
            "\uff1a" if "\uff1a" in line and ":" not in line[: line.index("\uff1a")] else ":"
        )
        if colon and len(key) < 120:
            yield label(key), value.strip(" *`")


def label(key: str) -> str:
    """``- `transformers` version`` and ``**Python version**`` as they are compared."""
    return " ".join(key.replace("`", " ").replace("**", " ").lower().split()).strip("-*#• ").rstrip("?").strip()


def has(text: str, *words: str) -> bool:
    """Whether one of the words is in the text: what each reader asks first."""
    return any(word in text for word in words)
