"""The options, defined once: click's parser and the fast one are both made from these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envcheck.config import FAIL_ON

if TYPE_CHECKING:
    import click


class Option:
    """One option; ``kind`` is ``text``, ``switch``, ``list`` (repeatable, commas), ``choice`` or ``seconds``."""

    __slots__ = ("choices", "default", "flag", "help", "kind", "metavar", "short")

    def __init__(
        self,
        flag: str,
        help: str,
        kind: str = "text",
        *,
        short: str = "",
        metavar: str = "",
        choices: tuple[str, ...] = (),
        default: str | None = None,
    ) -> None:
        self.flag = flag
        self.help = help
        self.kind = kind
        self.short = short
        self.metavar = metavar
        self.choices = choices
        self.default = default

    @property
    def name(self) -> str:
        """Its key among the values."""
        return self.flag[2:].replace("-", "_")

    @property
    def unset(self) -> Any:
        """Its value when it is not given."""
        return () if self.kind == "list" else False if self.kind == "switch" else self.default

    def click(self) -> click.Option:
        """The same for click."""
        import click

        names = [self.flag, *([self.short] if self.short else [])]
        if self.kind == "switch":
            return click.Option(names, is_flag=True, help=self.help)
        types: dict[str, Any] = {"choice": click.Choice(self.choices), "seconds": click.FLOAT}
        return click.Option(
            names,
            type=types.get(self.kind, click.STRING),
            multiple=self.kind == "list",
            default=self.default,
            show_default=self.default is not None,
            metavar=self.metavar or None,
            help=self.help,
        )


FORMAT = Option(
    "--format",
    "Text for people, or JSON (then stdout holds nothing else).",
    "choice",
    choices=("text", "json"),
    default="text",
)
TIMEOUT = Option(
    "--timeout",
    "Give up looking at this machine after so many seconds; what is not known by then is reported as unknown. "
    "[default: 20]",
    "seconds",
    metavar="SECONDS",
)
VERBOSE = Option(
    "--verbose", "Show all evidence with its links, every probe, and tracebacks of crashed rules.", "switch", short="-v"
)

IMPORT = Option(
    "--import",
    "Import each installed framework, in a process of its own: shows missing libraries, crashes and hangs. Then the "
    "default of --timeout is 120.",
    "switch",
)
SMOKE = Option(
    "--smoke",
    "Run small inferences on each framework and device that is here (see `envcheck smoke`). Then the default of "
    "--timeout is 300.",
    "switch",
)
SMOKE_TIMEOUT = Option(
    "--timeout",
    "Give up after so many seconds; what has not come to its end by then is reported as hanging. [default: 300]",
    "seconds",
    metavar="SECONDS",
)
ASSUME = Option(
    "--assume",
    "Judge with this fact in place of what is found: driver=535.104.05, cuda=12.2, gpu='Tesla T4' (again for a second "
    "GPU), distro='ubuntu 20.04', glibc=2.31, cpu=-avx2, python=3.12; driver=none: there is none. Can be repeated.",
    "list",
    metavar="KEY=VALUE",
)

CHECK = (
    Option(
        "--stack",
        "What is to run: `here` (this Python environment), a snapshot or facts file, the text of a report such as "
        "pip's list, or - for standard input. [default: here]",
        metavar="STACK",
    ),
    Option(
        "--machine",
        "Where it is to run: `here`, a snapshot or facts file, the text of a report such as nvidia-smi's, or - for "
        "standard input. [default: here]",
        metavar="MACHINE",
    ),
    FORMAT,
    Option("--select", "Run only these rules. Can be repeated; commas separate ids.", "list", metavar="RULE"),
    Option(
        "--ignore",
        "Set findings of these rules aside, besides those that the configuration ignores. Can be repeated; commas "
        "separate ids.",
        "list",
        metavar="RULE",
    ),
    Option(
        "--fail-on",
        "Exit with 1 when a finding is at least this bad; an error counts when its confidence is medium or high. "
        "[default: error]",
        "choice",
        choices=FAIL_ON,
    ),
    Option("--strict", "Exit with 3 when nothing is known to be wrong but not everything could be checked.", "switch"),
    Option(
        "--matrix-path",
        "A TOML file with table rows of your own; they replace or add to ours. Can be repeated.",
        "list",
        metavar="FILE",
    ),
    IMPORT,
    SMOKE,
    ASSUME,
    TIMEOUT,
    Option("--no-config", "Do not read envcheck.toml or pyproject.toml.", "switch"),
    VERBOSE,
)
"""Options of ``envcheck check``, and of ``envcheck`` alone, which is the same."""
