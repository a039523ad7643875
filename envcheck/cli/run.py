"""``envcheck run -- COMMAND``: run a command, watch what it says on stderr and how it ends, diagnose a failure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from envcheck.cli.options import Option

if TYPE_CHECKING:
    import click

HELP = """Run a command; when it fails, diagnose what it wrote to stderr and the signal that ended it.

\b
envcheck run -- python app.py --epochs 3

Its input and output are left alone; stderr is passed on as it comes. The diagnosis goes to stderr, after the command
has ended. The exit code is the command's own (128 and the number of the signal that ended it, as in a shell); 2 when it
could not be started.
"""

OPTIONS = (
    Option("--environment", "As for `envcheck diagnose`. [default: here]", metavar="WHERE"),
    Option("--verbose", "Show all evidence with its links.", "switch", short="-v"),
)
FIRST, LAST = 256 * 1024, 1024 * 1024
"""Bytes of stderr that are kept: the first and the last ones."""


def command() -> click.Command:
    import click

    def callback(command: tuple[str, ...], **values: Any) -> int:
        return run(command, values)

    return click.Command(
        "run",
        help=HELP,
        params=[
            click.Argument(["command"], nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED),
            *(option.click() for option in OPTIONS),
        ],
        callback=callback,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )


def run(command: tuple[str, ...], values: dict[str, Any]) -> int:
    """Raises UsageError when the command can't be started."""
    where = values["environment"]
    if where not in (None, "here", "none") and not os.path.isfile(where):
        from envcheck.cli.check import UsageError

        raise UsageError(f"{where}: there is no such file")  # a long run is not to end with that
    code, said = watch(list(command))
    if code == 0:
        return 0
    if code in (-2, 130):  # who pressed Ctrl-C knows why it ended
        return 130
    ending = how_it_ended(code)
    try:
        _diagnose(f"{said}\n{ending}\n", values)
    except Exception as error:  # the command's own exit code matters more than what we could say of it
        from envcheck.cli.errors import complain

        complain(f"no diagnosis: {error or type(error).__name__}")
    return 128 - code if code < 0 else code


def _diagnose(text: str, values: dict[str, Any]) -> None:
    from envcheck.cli.diagnose import diagnosed
    from envcheck.render.diagnosis import render_diagnosis
    from envcheck.render.terminal import wants_color

    diagnosis = diagnosed(iter((text,)), values["environment"])
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    shown = render_diagnosis(
        diagnosis, color=wants_color(sys.stderr), encoding=encoding, verbose=bool(values["verbose"])
    )
    sys.stderr.write(f"\nenvcheck: the command failed ({text.splitlines()[-1]})\n{shown}")
    sys.stderr.flush()


def watch(command: list[str]) -> tuple[int, str]:
    """Run it; its exit code (negative: the signal) and what is kept of its stderr."""
    import signal
    import subprocess

    from envcheck.cli.check import UsageError

    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{command[0]}: can't be started: {reason}") from None
    assert process.stderr is not None
    # Ctrl-C reaches the command by itself, which may handle it; what else ends us is passed on.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT,)}
    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, lambda received, _: process.send_signal(received))
    try:
        said = _passed_on(process.stderr.fileno(), lambda: process.poll() is not None)
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        process.stderr.close()
    return code, said


def _passed_on(handle: int, ended: Callable[[], bool]) -> str:
    """Copy what comes to our stderr; the first and the last part of it.

    What the command leaves running in the background may hold stderr open: it is not waited for.
    """
    from envcheck.diagnosis.text import encoding_of

    first, last = b"", b""
    while True:
        try:
            if not _comes(handle) and ended() and not _comes(handle):
                _left_to_itself(handle)
                break
            part = os.read(handle, 1 << 16)
        except InterruptedError:
            continue
        if not part:
            break
        try:
            os.write(2, part)
        except OSError:
            pass  # nobody reads it: the command is not to end for that
        if len(first) < FIRST:
            first += part
        else:
            last = (last + part)[-LAST:]
    data = first + last
    return data.decode(encoding_of(data) or "utf-8", "replace")


def _comes(handle: int) -> bool:
    """Whether there is something to read, or the end of it, within 0.2 s; Windows can't tell."""
    if os.name == "nt":
        return True
    import select

    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(200))


def _left_to_itself(handle: int) -> None:
    """A process that goes on passing stderr on, as long as anybody holds it: closed, it would end who writes to it."""
    if os.fork():
        return
    try:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()
        for number in (0, 1):
            os.close(number)
        while part := os.read(handle, 1 << 16):
            try:
                os.write(2, part)
            except OSError:
                pass
    finally:
        os._exit(0)


def how_it_ended(code: int) -> str:
    """``exit code 3`` or ``signal SIGILL (Illegal instruction)``."""
    if code >= 0:
        return f"exit code {code}" if code < 1 << 16 else f"exit code {code:#x}"
    import signal

    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return f"ended by signal {name} ({signal.strsignal(-code)})"
