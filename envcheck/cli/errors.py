"""Whatever goes wrong: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys

USAGE = 2
INTERRUPTED = 130
TRACEBACK = "ENVCHECK_TRACEBACK"
"""Environment variable: show the traceback of an error inside envcheck."""

EXPECTED = (
    ("assume", "AssumptionError"),
    ("cli.check", "UsageError"),
    ("cli.output", "OutputError"),
    ("config", "ConfigError"),
    ("core.snapshot", "SnapshotError"),
    ("inspection.subject", "InspectError"),
    ("probes.smoke_options", "SmokeError"),
    ("diagnosis.text", "DiagnosisError"),
    ("matrix.model", "MatrixError"),
    ("matrix.model", "QueryError"),
)


def report_error(error: BaseException) -> int:
    """Say on stderr what is wrong; gives the exit code."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return USAGE
    faults = getattr(error, "errors", ()) if type(error).__name__ == "MatrixError" else ()
    if len(faults) > 1:
        # Whoever mends a table wants all its faults at once.
        complain(f"the compatibility tables have {len(faults)} faults; nothing was loaded")
        for fault in faults:
            complain(fault)
        return USAGE
    complain(sentence(error))
    if os.environ.get(TRACEBACK) and not isinstance(error, expected()):
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
    return USAGE


def expected() -> tuple[type[BaseException], ...]:
    """Errors whose text was written for the user.

    Nothing is imported for it: an error can only come from a module that is there, and the import of another one may
    be what failed.
    """
    found = [getattr(sys.modules.get(f"envcheck.{module}"), name, None) for module, name in EXPECTED]
    return tuple(kind for kind in found if isinstance(kind, type))


def sentence(error: BaseException) -> str:
    """What is wrong, in one line."""
    message = getattr(error, "format_message", None)
    if message is not None:  # click's
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "envcheck"
        return f"{str(message()).rstrip('.')} (see '{command} --help')"
    if isinstance(error, expected()):
        return (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, ImportError):
        return (
            f"a part that envcheck needs can't be imported: {type(error).__name__}: {error} (Python: {sys.executable})"
        )
    if isinstance(error, MemoryError):
        return "there is not enough memory for envcheck to run"
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
    stream = sys.stderr
    if stream is None or stream.closed:
        return
    try:
        from envcheck.render.terminal import clean, encodable

        stream.write(f"envcheck: {encodable(clean(text, 2000), stream.encoding or 'utf-8')}\n")
        stream.flush()
    except (OSError, ValueError):
        pass
    except (ImportError, MemoryError):
        os.write(2, f"envcheck: {text[:2000]}\n".encode("ascii", "backslashreplace"))
