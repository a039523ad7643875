"""Imports one module and tells what happens; a stand-alone script, run as ``python import_child.py MODULE SECONDS``.

An import can crash, hang, end the process or write whatever it likes to stdout, so it happens here and not in
envcheck's own process. What is told are lines of JSON on the stdout that this script was started with; the module's own
output goes to stderr. ``{"load": file}`` stands before each compiled library that Python loads, so that the one that
crashed is known; the last line is ``{"done": ...}``: without it the import did not come to its end, whatever the exit
code says. Lines that are no JSON are the traceback that faulthandler writes at a crash or when time runs out.
"""

from __future__ import annotations

import os
import sys
from typing import Any

LIMIT = 2000
DEEP = 8


def main() -> None:
    # Python puts the folder of this script first; a user's program does not have it.
    if sys.path and os.path.realpath(sys.path[0] or ".") == os.path.dirname(os.path.realpath(__file__)):
        del sys.path[0]
    module, seconds = sys.argv[1], float(sys.argv[2])
    channel = os.dup(1)
    os.dup2(2, 1)
    sys.argv = [""]
    guard(seconds)
    import faulthandler

    faulthandler.enable(file=channel, all_threads=False)
    faulthandler.dump_traceback_later(seconds, file=channel)
    watch(channel)
    ending: dict[str, Any] = {}
    try:
        __import__(module)
        refuse_empty(sys.modules[module])
        ending["file"] = str(getattr(sys.modules[module.partition(".")[0]], "__file__", None) or "")[:LIMIT]
        ending["compiled"] = compiled(module)
    except SystemExit as error:
        ending["exit"] = str(error.code)[:LIMIT]
    except BaseException as error:
        ending["errors"] = chain(error)
    say(channel, {"done": ending})
    # An orderly end could crash or hang too; that would say nothing of the import.
    os._exit(0)


def refuse_empty(module: Any) -> None:
    """A folder whose ``__init__.py`` is gone or may not be read is imported as a namespace, with nothing in it.

    Raises ImportError for it: no framework is one.
    """
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        folders = ", ".join(map(str, module.__path__))
        raise ImportError(f"{module.__name__} is only a folder: {folders} has no __init__.py that can be read")


def guard(seconds: float) -> None:
    """No core file, no dialogue, and an end of our own should nobody be left to end us."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetErrorMode(0x8007)
        return
    import resource
    import signal

    try:
        # 1 and not 0: with 0, a core_pattern that is a pipe (systemd-coredump, apport) still gets the core (core(5)).
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(int(seconds) + 5)


def say(channel: int, record: dict[str, Any]) -> None:
    import json

    os.write(channel, json.dumps(record).encode() + b"\n")


def watch(channel: int) -> None:
    """Tell of each library before Python loads it."""
    import json

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import":
            file = arguments[1]  # None but for a compiled module
        elif event == "ctypes.dlopen":
            file = arguments[0]
        else:
            return
        if file:
            try:
                os.write(channel, json.dumps({"load": os.fsdecode(file)[:LIMIT]}).encode() + b"\n")
            except Exception:
                return  # an exception in a hook would become one of the import

    sys.addaudithook(hook)


def compiled(name: str) -> bool:
    """Whether compiled code of the package itself was loaded: that proves more than its Python files do."""
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None) or ""
    folder = os.path.dirname(os.path.realpath(file)) + os.sep if file else ""
    package = hasattr(module, "__path__")
    paths = {getattr(one, "__file__", None) or "" for one in list(sys.modules.values())}
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths.update(line[line.find("/") :].rstrip("\n") for line in maps if "/" in line)
    except OSError:
        pass
    for path in paths:
        if not path.endswith((".so", ".pyd", ".dylib", ".dll")) and ".so." not in path:
            continue
        beside = os.path.basename(path).startswith((top, "_" + top))
        if beside or (package and folder and os.path.realpath(path).startswith(folder)):
            return True
    return False


def chain(error: BaseException) -> list[str]:
    """``Type: text`` of the error and of those that led to it, the last one raised first."""
    texts: list[str] = []
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen and len(texts) < DEEP:
        seen.add(id(current))
        try:
            text = str(current)
        except Exception:
            text = "its text cannot be had"
        texts.append(f"{type(current).__name__}: {text}"[:LIMIT])
        current = current.__cause__ or current.__context__
    return texts


if __name__ == "__main__":
    main()
