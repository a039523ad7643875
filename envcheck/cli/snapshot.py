"""``envcheck snapshot``: write down this machine and this stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.cli.options import IMPORT, SMOKE, TIMEOUT

if TYPE_CHECKING:
    import click

    from envcheck.core.snapshot import Snapshot

HELP = """Write down this machine and this Python environment as JSON.

It is safe to share: environment variables enter by an allow-list, home folders and host names are replaced, GPU UUIDs
hashed. The file is written whole or not at all.
"""


def command() -> click.Command:
    import click

    output = click.Option(
        ["-o", "--output"], default="-", metavar="FILE", help="Where to write it; - is standard output. [default: -]"
    )

    def callback(**values: Any) -> int:
        return run(values["output"], values["timeout"], values["import"], values["smoke"])

    params: list[click.Parameter] = [output, *(option.click() for option in (IMPORT, SMOKE, TIMEOUT))]
    return click.Command("snapshot", help=HELP, params=params, callback=callback)


def run(output: str, timeout: float | None, imports: bool = False, smoke: bool = False) -> int:
    """Raises UsageError and OutputError."""
    from envcheck import api
    from envcheck.cli.check import seconds
    from envcheck.cli.output import write, write_file
    from envcheck.cli.progress import Progress

    limit = None if timeout is None else seconds(timeout)
    with Progress() as progress:
        found = api.snapshot(imports=imports, smoke=smoke, timeout=limit, progress=progress, gpu_code=True)
    text = found.to_json() + "\n"
    if output == "-":
        from envcheck.render.json import escape

        write(escape(text))
    else:
        write_file(output, text)
        tell(output, found)
    return 0


def tell(output: str, found: Snapshot) -> None:
    """What was written, on stderr."""
    from envcheck.cli.errors import complain
    from envcheck.render.summary import machine_words, stack_words

    complain(f"wrote {output}: {machine_words(found)}; {stack_words(found)}")
