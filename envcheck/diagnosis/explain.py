"""A diagnosis beside a traceback: for a part of a program, or for all that it does not catch."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO


class explain_failures:
    """``with envcheck.explain_failures(): import torch``: an exception is diagnosed, then goes on its way.

    The diagnosis is written to stderr (or ``file``) where a cause was found; the exception is never changed nor held
    back. ``environment`` is what :func:`envcheck.diagnose` takes: ``"here"`` by default.
    """

    def __init__(self, *, environment: object = "here", file: TextIO | None = None) -> None:
        self.environment, self.file = environment, file

    def __enter__(self) -> explain_failures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or error is None or not issubclass(kind, Exception):
            return
        explain(error, environment=self.environment, file=self.file)


def explain(error: BaseException, *, environment: object = "here", file: TextIO | None = None) -> None:
    """Write the diagnosis of an exception, where there is one to be made. Never raises."""
    try:
        stream = file or sys.stderr
        text = text_of(error, environment, getattr(stream, "encoding", None) or "utf-8")
        if text:
            stream.write(text)
            stream.flush()
    except Exception:
        return  # the program's own error matters


def text_of(error: BaseException, environment: object, encoding: str = "utf-8") -> str:
    """The diagnosis in words; empty when there is nothing to say."""
    import traceback

    from envcheck import api

    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    diagnosis = api.diagnose(lines, environment)  # type: ignore[arg-type]
    if diagnosis.verdict == "unknown":
        return ""
    from envcheck.render.diagnosis import render_diagnosis

    return "\nenvcheck:\n" + render_diagnosis(diagnosis, width=80, color=False, encoding=encoding)


def install_excepthook() -> None:
    """From now on an exception that nobody catches is diagnosed after its traceback was printed."""
    before = sys.excepthook
    if getattr(before, "_envcheck", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        if issubclass(kind, Exception):
            explain(error)

    hook._envcheck = True  # type: ignore[attr-defined]
    sys.excepthook = hook
