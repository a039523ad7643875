"""``envcheck diagnose``: the causes of an error message."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envcheck.cli.options import FORMAT, TIMEOUT, VERBOSE, Option

if TYPE_CHECKING:
    import click

    from envcheck.core.snapshot import Snapshot
    from envcheck.diagnosis.model import Diagnosis

HELP = """The causes of an error message, ranked, each with evidence and the commands that mend it; or that the
environment is not to blame. Nothing is executed, nothing is sent anywhere.

\b
python app.py 2>&1 | envcheck diagnose          what a program printed, on this machine
envcheck diagnose error.log --environment none  only what the message states counts
envcheck diagnose error.log --environment lab.json
envcheck diagnose "CUDA error: no kernel image is available for execution on the device"

TEXT is a file, - for standard input, or the message itself. A pasted report in it (torch.utils.collect_env, nvidia-smi,
pip list, conda list, ...) is read for facts.

Exit codes: 0 the environment is not to blame, or nothing is known; 1 a cause of medium or high confidence was found;
2 wrong usage or unreadable input.
"""

ENVIRONMENT = Option(
    "--environment",
    "Where it happened: `here`, `none` (nothing is known), a snapshot, a facts file, or a file with a pasted report. "
    "[default: here, or what the text itself reports]",
    metavar="WHERE",
)
CHUNK = 1 << 20
MOST_BYTES = 1 << 30
"""A larger file is read up to here; so much of a log is read in about a minute."""


def command() -> click.Command:
    import click

    def callback(text: str | None, **values: Any) -> int:
        return run(text, values)

    return click.Command(
        "diagnose",
        help=HELP,
        params=[
            click.Argument(["text"], required=False, metavar="[TEXT]"),
            *(option.click() for option in (ENVIRONMENT, FORMAT, TIMEOUT, VERBOSE)),
        ],
        callback=callback,
    )


def run(text: str | None, values: dict[str, Any]) -> int:
    """Raises what :mod:`envcheck.cli.errors` turns into a sentence."""
    from envcheck.cli.check import UsageError, seconds

    if text is None:
        if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
            raise UsageError("give the message, a file, or - for standard input")
        text = "-"
    if text == values["environment"] == "-":
        raise UsageError("standard input can be the text or the environment, not both")
    limit = None if values["timeout"] is None else seconds(values["timeout"])
    diagnosis = diagnosed(parts_of(text), values["environment"], limit)
    show(diagnosis, values["format"], values["verbose"])
    return 1 if diagnosis.verdict == "environment" else 0


def diagnosed(parts: Iterator[str], environment: str | None, timeout: float | None = None) -> Diagnosis:
    """The diagnosis of a text in an environment, as ``--environment`` names it."""
    from envcheck.cli.progress import Progress
    from envcheck.diagnosis.diagnose import diagnose
    from envcheck.diagnosis.text import DiagnosisError, reduce
    from envcheck.matrix import Matrix

    reduced = reduce(parts)
    if not reduced.text.strip():
        raise DiagnosisError("the text is empty")
    matrix = Matrix.load()
    with Progress() as progress:
        place, note = environment_of(reduced.text, environment, timeout, progress)
    diagnosis = diagnose(reduced, place, matrix)
    diagnosis.notes = [*([note] if note else []), *diagnosis.notes]
    return diagnosis


def environment_of(
    text: str, environment: str | None, timeout: float | None, progress: Any
) -> tuple[Snapshot | None, str]:
    """What is known of the place where it happened, and a note on where that comes from."""
    from envcheck import api
    from envcheck.sources.pasted import snapshot_from_text

    if environment == "none":
        return None, ""
    if environment is None:
        pasted = snapshot_from_text(text)
        if pasted is not None:
            return pasted, "the facts are those that the text reports, not those of this machine"
        environment = "here"
    if environment == "here":
        return api.snapshot(timeout=timeout, progress=progress, gpu_code=False), ""
    return api.resolve(environment), ""


def parts_of(text: str) -> Iterator[str]:
    """The text, from a file or standard input in parts. Raises UsageError and DiagnosisError."""
    if text == "-":
        yield from _decoded(_chunks(sys.stdin.buffer.fileno() if hasattr(sys.stdin, "buffer") else 0), "standard input")
        return
    try:
        handle = _opened(text)
    except ValueError:  # a name that no file can have is the message itself
        handle = None
    if handle is None:
        yield text
        return
    try:
        yield from _decoded(_chunks(handle), text)
    finally:
        os.close(handle)


def _opened(text: str) -> int | None:
    """The file of this name; None when the text is the message itself."""
    from envcheck.cli.check import UsageError

    if "\n" in text or len(text) > 4096 or not os.path.lexists(text):
        if (
            "\n" not in text
            and " " not in text
            and len(text) < 4096
            and (os.sep in text or text.endswith((".log", ".txt")))
        ):
            raise UsageError(f"{text}: there is no such file")
        return None
    if os.path.isdir(text):
        raise UsageError(f"{text}: this is a folder")
    try:
        # O_NONBLOCK: a FIFO that nobody writes to must not hang us.
        handle = os.open(text, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        if os.fstat(handle).st_mode & 0o170000 != 0o100000:
            os.close(handle)
            raise UsageError(f"{text}: this is no file; pipe it in, with - as TEXT")
    except OSError as error:
        raise UsageError(f"{text}: can't be read: {error.strerror or error}") from None
    return handle


def _chunks(handle: int) -> Iterator[bytes]:
    left = MOST_BYTES
    while left > 0 and (part := os.read(handle, CHUNK)):
        left -= len(part)
        yield part


def _decoded(chunks: Iterator[bytes], name: str) -> Iterator[str]:
    """The parts as text; the first one tells the encoding."""
    import codecs

    from envcheck.diagnosis.text import decoded, encoding_of

    first = next(chunks, b"")
    while len(first) < 4096 and (more := next(chunks, b"")):
        first += more
    encoding = encoding_of(first)
    if encoding is None:
        yield decoded(first, name)  # raises what is wrong with it
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first)
    for part in chunks:
        yield decoder.decode(part)
    yield decoder.decode(b"", True)


def show(diagnosis: Diagnosis, form: str, verbose: bool) -> None:
    """Write a diagnosis to stdout."""
    from envcheck.cli.output import encoding, write

    if form == "json":
        import json

        write(json.dumps(diagnosis.to_dict(), indent=2) + "\n")
        return
    from envcheck.render.diagnosis import render_diagnosis

    write(render_diagnosis(diagnosis, encoding=encoding(), verbose=verbose))
