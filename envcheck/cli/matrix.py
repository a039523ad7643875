"""``envcheck matrix``: what the compatibility tables say, with sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.cli.options import CHECK, FORMAT, Option

if TYPE_CHECKING:
    import click

    from envcheck.matrix.query import Answer, Fact

HELP = """What the compatibility tables say, each fact with its source.

\b
envcheck matrix torch 2.5.1            any package, with or without a release
envcheck matrix onnxruntime-gpu 1.20.1
envcheck matrix tensorrt 10.5
envcheck matrix gpu "RTX 4090"
envcheck matrix cc 8.9                 a compute capability
envcheck matrix driver 470.82.01       --windows for a Windows driver
envcheck matrix cuda 12.4
envcheck matrix cudnn 9.8
envcheck matrix ubuntu 22.04           its glibc and libstdc++, and what they serve; also glibc 2.28,
                                       GLIBCXX_3.4.30, gcc 12, manylinux_2_28, musllinux_1_2
envcheck matrix opset 21               who defines and who loads it; also ir 10
envcheck matrix jetpack 6.1            also l4t 36.4
envcheck matrix cpu avx2               which packages need it; also x86-64-v2
envcheck matrix ptx 8.4
envcheck matrix libcudnn.so.8          which CUDA it belongs to, which wheel brings it
envcheck matrix error 803              a code of CUDA or NVML, or its name
envcheck matrix image pytorch 24.05    an NGC image
envcheck matrix instance g5.xlarge     a cloud instance type
envcheck matrix package NAME           where a package is named like one of these words
envcheck matrix tables                 the tables; table NAME [COLUMN=VALUE ...] shows rows

Without a subject it is guessed: rtx4090, sm_89, 12.4, R550, p4d.24xlarge, CUDA_ERROR_NO_DEVICE, rhel9, avx2.

Exit codes: 0 it is listed, or newer than our data (which is then said); 2 there is no such thing.
"""

VERBOSE = Option("--verbose", "Show the rows and the links of the sources.", "switch", short="-v")
WINDOWS = Option("--windows", "The driver's version is one for Windows.", "switch")


def command() -> click.Command:
    import click

    shared = [option for option in CHECK if option.flag in ("--matrix-path", "--no-config")]
    return click.Command(
        "matrix",
        help=HELP,
        params=[
            click.Argument(["words"], nargs=-1, required=True, metavar="SUBJECT..."),
            *(option.click() for option in (FORMAT, WINDOWS, *shared, VERBOSE)),
        ],
        callback=run,
    )


def run(
    words: tuple[str, ...], format: str, windows: bool, matrix_path: tuple[str, ...], no_config: bool, verbose: bool
) -> int:
    """Raises QueryError, ConfigError, MatrixError and OutputError."""
    from envcheck.cli.output import encoding, write
    from envcheck.config import Settings, load
    from envcheck.matrix import Matrix
    from envcheck.matrix.query import ask

    settings = Settings() if no_config else load()
    answer = ask(Matrix.load(matrix_path or settings.matrix_path), words, windows=windows)
    if format == "json":
        import msgspec

        from envcheck.render.json import escape

        write(escape(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n"))
    else:
        from envcheck.render.terminal import encodable

        write(encodable(text(answer, verbose=verbose), encoding()))
    return 0


def text(answer: Answer, *, verbose: bool) -> str:
    """For people: a line for each fact with the number of its source, then what is not known, then the sources."""
    import sys

    from envcheck.render.terminal import Paint, clean, columns, wants_color, wrap

    width, paint = columns(sys.stdout), Paint(wants_color(sys.stdout))
    places = {name: number for number, name in enumerate(answer.sources, 1)}
    lines = [paint(clean(answer.subject, 300), "bold")]
    for fact in answer.facts:
        mark = f" [{places[fact.source]}]"
        sure = "" if fact.confidence == "high" else f" ({fact.confidence} confidence)"
        lines += wrap(f"{clean(fact.name)}: {clean(shown(fact.value), 4000)}{sure}{mark}", width, "  ", "      ")
        if verbose:
            lines += wrap(f"row {clean(fact.row, 300)}, as of {fact.as_of}", width, "      ")
    notes: dict[str, Fact] = {}
    for fact in answer.facts:
        if fact.note:
            notes.setdefault(fact.note, fact)
    # A note speaks of its row: "as 1.18.1" means nothing without.
    told = [f"{fact.row}: {note}" for note, fact in notes.items()]
    for heading, texts in (("notes", told), ("not known", answer.gaps)):
        if texts:
            lines += ["", paint(heading, "bold")]
            for each in texts:
                lines += wrap(clean(each, 4000), width, "  - ", "    ")
    if places:
        lines += ["", paint("sources", "bold")]
    for name, number in places.items():
        source = answer.sources[name]
        dated = " ".join(filter(None, (clean(source.title, 300), f"({source.as_of})" if source.as_of else "")))
        lines += wrap(dated, width, f"  [{number}] ", "      ")
        if verbose and source.url:
            lines.append(f"      {clean(source.url, 1000)}")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A cell as text."""
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
