"""Whatever goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys

USAGE = 2
INTERRUPTED = 130
TRACEBACK = "ENVCHECK_TRACEBACK"
"""Environment variable: show the traceback of an error inside envcheck."""


def report_error(error: BaseException) -> int:
    """Say on stderr what is wrong; gives the exit code."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return USAGE
    from envcheck.matrix.model import MatrixError

    if isinstance(error, MatrixError) and len(error.errors) > 1:
        # Whoever mends a table wants all its faults at once.
        complain(f"the compatibility tables have {len(error.errors)} faults; nothing was loaded")
        for fault in error.errors:
            complain(fault)
        return USAGE
    complain(sentence(error))
    if os.environ.get(TRACEBACK) and not isinstance(error, expected()):
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
    return USAGE


def expected() -> tuple[type[BaseException], ...]:
    """Errors whose text was written for the user."""
    from envcheck.assume import AssumptionError
    from envcheck.cli.check import UsageError
    from envcheck.cli.output import OutputError
    from envcheck.config import ConfigError
    from envcheck.core.snapshot import SnapshotError
    from envcheck.inspection.subject import InspectError
    from envcheck.matrix.model import MatrixError, QueryError

    return AssumptionError, UsageError, OutputError, ConfigError, InspectError, MatrixError, QueryError, SnapshotError


def sentence(error: BaseException) -> str:
    """What is wrong, in one line."""
    message = getattr(error, "format_message", None)
    if message is not None:  # click's
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "envcheck"
        return f"{str(message()).rstrip('.')} (see '{command} --help')"
    if isinstance(error, expected()):
        return (str(error).splitlines() or [type(error).__name__])[0]
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    said = str(error)
    return (
        f"an error inside envcheck, please report it: {type(error).__name__}{': ' * bool(said)}{said} at {place} "
        f"({TRACEBACK}=1 shows more)"
    )


def complain(text: str) -> None:
    """One line on stderr, in whatever that can show."""
    from envcheck.render.terminal import clean, encodable

    stream = sys.stderr
    if stream is None or stream.closed:
        return
    try:
        stream.write(f"envcheck: {encodable(clean(text, 2000), stream.encoding or 'utf-8')}\n")
        stream.flush()
    except (OSError, ValueError):
        pass
