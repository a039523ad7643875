"""``envcheck inspect``: what a compiled file, a wheel or an installed package says, and whether it would work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.cli.options import CHECK, FORMAT, VERBOSE, Option

if TYPE_CHECKING:
    import click

    from envcheck.config import Settings
    from envcheck.core.snapshot import Snapshot
    from envcheck.inspection.model import Inspection
    from envcheck.matrix import Matrix

HELP = """What a library, a wheel or an installed package says of itself; nothing is unpacked, imported or run.

\b
envcheck inspect libtorch_cuda.so                  a .so, .dll, .pyd or .dylib
envcheck inspect torch-2.6.0-cp311-cp311-linux_x86_64.whl
envcheck inspect onnxruntime-gpu                   a package of this Python environment
envcheck inspect some.whl --machine server.json    would it work there? (here: on this machine; a library too)

Shows the GPU targets with the share of the code that runs on each GPU generation, the libraries that are needed and
where each comes from, the lowest system by symbol versions, and versions that stand in the bytes. Of an installed
package also which of its files are missing, changed (by size, then by hash) or claimed by another package.

Exit codes: 0 it was read, and with --machine nothing at or above --fail-on was found; 1 something was; 2 wrong usage or
unreadable input; 3 with --machine and --strict, nothing is known to be wrong but not everything could be checked.
"""

MACHINE = Option(
    "--machine",
    "Judge a wheel or a library on this machine: `here`, a snapshot or facts file, or - for standard input. Its "
    "Python, its C library, its GPUs and what is installed there count.",
    metavar="MACHINE",
)
SHARED = ("--ignore", "--fail-on", "--strict", "--matrix-path", "--assume", "--timeout", "--no-config")


def command() -> click.Command:
    import click

    shared = [option for option in CHECK if option.flag in SHARED]

    def callback(subject: str, **values: Any) -> int:
        return run(subject, values)

    return click.Command(
        "inspect",
        help=HELP,
        params=[
            click.Argument(["subject"], metavar="FILE|PACKAGE"),
            *(option.click() for option in (FORMAT, MACHINE, *shared, VERBOSE)),
        ],
        callback=callback,
    )


def run(subject: str, values: dict[str, Any]) -> int:
    """Raises what :mod:`envcheck.cli.errors` turns into a sentence."""
    from envcheck.cli.check import exit_code, settings_of
    from envcheck.cli.progress import Progress
    from envcheck.config import explain_ignored
    from envcheck.inspection import inspect
    from envcheck.inspection.judge import judge_there
    from envcheck.matrix import Matrix

    settings = settings_of({"select": (), "import": False, "smoke": False, **values})
    matrix = Matrix.load(settings.matrix_path)
    machine = values["machine"]
    with Progress() as progress:
        place = None if machine is None else _place(machine, settings, matrix, progress)
        found = inspect(subject, matrix, progress=progress)
        if place is not None:
            report = judge_there(
                found, place, matrix, here=machine == "here", select=settings.select, ignore=settings.ignore
            )
            explain_ignored(report, settings)
    _show(found, values["format"], values["verbose"])
    if found.report is not None:
        return exit_code(found.report, settings)
    # A library that could be read in part is shown, and is unreadable input all the same.
    return 2 if found.kind == "library" and found.libraries[0].problem else 0


def _place(machine: str, settings: Settings, matrix: Matrix, progress: Any) -> Snapshot:
    """The machine; first, so that a wrong name is told at once."""
    from envcheck import api

    place = api.resolve(machine, timeout=settings.timeout, progress=progress)
    if settings.assume:
        from envcheck.assume import assume

        place = assume(place, settings.assume, matrix, settings.assumed_by or "assume")
    return place


def _show(found: Inspection, form: str, verbose: bool) -> None:
    from envcheck.cli.output import encoding, write

    if form == "json":
        from envcheck.render.json import escape, plain_json

        write(escape(plain_json(found)))
        return
    from envcheck.render.inspection import render_inspection

    text = render_inspection(found, encoding=encoding(), verbose=verbose)
    if found.report is not None:
        from envcheck.render.text import render_text

        text += "\n" + render_text(found.report, encoding=encoding(), verbose=verbose)
    write(text)
