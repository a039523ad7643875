"""``python -m envcheck`` and the console script ``envcheck``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments (default: the process's own) and give the exit code.

    Exit codes: 0 ok, 1 a finding at or above ``--fail-on``, 2 usage or unreadable input, 3 inconclusive under
    ``--strict``, 130 interrupted. Never raises for what a user can do.
    """
    if argv is not None:
        return run(argv)
    import gc

    # This process lives for a moment: collecting cycles, at work or at exit, costs 4 to 6 ms and frees nothing.
    gc.disable()
    code = run(sys.argv[1:])
    leave(code)
    gc.freeze()
    return code


def leave(code: int) -> None:
    """End the process at once, when all output is written and nobody measures it.

    An orderly end costs 2 to 3 ms, and a thread that a broken driver holds in the kernel could keep it from ending at
    all. Comes back under a debugger, profiler or coverage, and when the output can't be written.
    """
    if sys.gettrace() is not None or sys.getprofile() is not None or "coverage" in sys.modules:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of these arguments; every error has become a sentence on stderr."""
    try:
        if arguments[:1] == ["smoke"] and (code := fast_smoke(arguments[1:])) is not None:
            return code
        values = fast(arguments)
        if values is not None:
            from envcheck.cli.check import run as check

            import_msgspec()
            return check(values)
        from envcheck.cli.group import run as with_click

        return with_click(arguments)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, MemoryError):
            error.__traceback__ = None  # it holds what all the frames held: without it there is room for a sentence
        try:
            from envcheck.cli.errors import report_error

            return report_error(error)
        except MemoryError:
            os.write(2, b"envcheck: it can't run here: MemoryError\n")
            os._exit(2)
        except Exception:  # no memory, no file handles, a damaged installation: not even the words can be had
            os.write(2, f"envcheck: it can't run here: {type(error).__name__}\n".encode())
            return 2


def fast(arguments: Sequence[str]) -> dict[str, object] | None:
    """Values for a check, when the arguments are plain enough to be read without click."""
    if "_ENVCHECK_COMPLETE" in os.environ:  # click's shell completion
        return None
    from envcheck.cli.fast import parse

    return parse(arguments[1:] if arguments[:1] == ["check"] else arguments)


def fast_smoke(arguments: Sequence[str]) -> int | None:
    """Run smoke tests, when the arguments are plain enough to be read without click; else None."""
    if "_ENVCHECK_COMPLETE" in os.environ:
        return None
    from envcheck.cli.fast import parse
    from envcheck.cli.smoke import ALL_OPTIONS, run

    words: list[str] = []
    values = parse(arguments, ALL_OPTIONS, words)
    if values is None:
        return None
    import_msgspec()
    return run(tuple(words), values)


def import_msgspec() -> None:
    """Import msgspec without what it imports for others, which takes it longer than all that is used here.

    These are typing_extensions (7 ms), of which it takes ``get_type_hints``, as in the standard library but for
    ``TypedDict`` before Python 3.11; uuid and decimal (3 ms), for values of these types; and what writes JSON Schemas
    (2 ms), which is imported when it is called. Only for this command's own process: it has no such values.
    """
    if "msgspec" in sys.modules:
        return
    names = ("typing_extensions", "uuid", "decimal", "msgspec.inspect", "msgspec._json_schema")
    hidden = {
        name: None if name == "typing_extensions" else _stand_in(name) for name in names if name not in sys.modules
    }
    sys.modules.update(hidden)  # type: ignore[arg-type]
    try:
        import msgspec
    except Exception:  # a release that wants more of them: what is wrong shows below
        for name in [name for name in sys.modules if name.partition(".")[0] == "msgspec"]:
            del sys.modules[name]
        msgspec = None  # type: ignore[assignment]
    finally:
        for name, stand_in in hidden.items():
            if sys.modules.get(name, stand_in) is stand_in:
                sys.modules.pop(name, None)
    if msgspec is None:
        import msgspec  # type: ignore[unreachable]
    elif "msgspec.inspect" in hidden:
        vars(msgspec).pop("inspect", None)


def _stand_in(module: str) -> object:
    """In the place of a module while msgspec is imported. What is taken of it is, when called, the real one's."""

    def take(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def real(_: object, *values: object, **named: object) -> object:
            __import__(module)
            return getattr(sys.modules[module], name)(*values, **named)

        return type(name, (), {"__new__": real, "unknown": None})  # of uuid.SafeUUID the member is taken too

    made = type(sys)(module)
    made.__getattr__ = take  # type: ignore[method-assign]
    return made


def not_from_here() -> None:
    """``python -m`` puts the current folder before the standard library; a file in it named like a module would run.

    It goes to the end: what is installed nowhere else is still found there.
    """
    try:
        here = os.getcwd()
    except OSError:
        return
    if sys.path and sys.path[0] in ("", here):
        sys.path.append(sys.path.pop(0))


if __name__ == "__main__":
    not_from_here()
    sys.exit(main())
