"""Settings come from the command line or from a file; what is given on the command line wins.

The file is `envcheck.toml`, or `pyproject.toml` with a table `[tool.envcheck]`. It is looked for in the current folder
and then in those above it, up to the one that holds `.git`; the first one found is used, and `envcheck.toml` before
`pyproject.toml` in the same folder. In `envcheck.toml` the keys stand at the top, or in a table `[envcheck]`.
`--no-config` reads no file. An unknown key or a value of a wrong type ends the run with exit code 2.

    [tool.envcheck]
    fail-on = "warning"
    matrix-path = "ci/our-builds.toml"

    [tool.envcheck.ignore]
    duplicate-openmp = "both runtimes are needed, ticket 77"
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envcheck.api import Source
    from envcheck.core.report import Report
    from envcheck.probes.smoke_options import SmokeOptions

FAIL_ON = ("error", "warning", "info", "never")
"""The least severity that makes a run fail; ``never``: none does."""

FILES = ("envcheck.toml", "pyproject.toml")

MAX_BYTES = 4 * 1024 * 1024
"""A configuration larger than this is refused."""


class ConfigError(ValueError):
    """A configuration file that cannot be used; its text is one sentence with the file and the key."""


class Settings:
    """What a run is to do."""

    # A plain class: making a named tuple's class costs a third of a millisecond at each start.
    __slots__ = (
        "assume",
        "assumed_by",
        "declare",
        "fail_on",
        "file",
        "ignore",
        "imports",
        "matrix_path",
        "select",
        "smoke",
        "strict",
        "timeout",
    )

    def __init__(
        self,
        select: tuple[str, ...] = (),
        ignore: Mapping[str, str] | None = None,
        fail_on: str = "error",
        strict: bool = False,
        matrix_path: tuple[str, ...] = (),
        timeout: float | None = None,
        declare: tuple[str, ...] = (),
        imports: bool = False,
        assume: Mapping[str, tuple[str, ...]] | None = None,
        file: str = "",
        assumed_by: str = "",
        smoke: bool | SmokeOptions = False,
    ) -> None:
        """``select``: rules to run, all when empty; ``ignore``: rules whose findings are set aside, and why;
        ``timeout``: seconds, None for the usual time; ``imports``: whether to test imports; ``smoke``: whether to run
        the smoke tests, and which; ``assume``: facts in place
        of those found; ``file``: where the settings were read; ``assumed_by``: who states what is assumed.
        """
        self.select = select
        self.ignore: Mapping[str, str] = ignore or {}
        self.fail_on = fail_on
        self.strict = strict
        self.matrix_path = matrix_path
        self.timeout = timeout
        self.declare = declare
        self.imports = imports
        self.smoke = smoke
        self.assume: Mapping[str, tuple[str, ...]] = assume or {}
        self.assumed_by = assumed_by
        self.file = file

    def replace(self, **values: Any) -> Settings:
        """The same with some values changed."""
        return Settings(**{**{name: getattr(self, name) for name in self.__slots__}, **values})


def _rules(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of rule ids")
    return tuple(known_rule(item) for item in value)


def _ignored(value: Any) -> dict[str, str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {known_rule(item): "" for item in value}
    if isinstance(value, dict) and all(isinstance(reason, str) for reason in value.values()):
        return {known_rule(rule): reason for rule, reason in value.items()}
    raise ValueError('a list of rule ids, or a table of rule = "reason"')


def _severity(value: Any) -> str:
    if value not in FAIL_ON:
        raise ValueError(f"one of {', '.join(FAIL_ON)}")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("a text or a list of texts")
    return tuple(value)


def _names(value: Any) -> tuple[str, ...]:
    from envcheck.needs import declared

    return declared(_texts(value))


def _assumed(value: Any) -> dict[str, tuple[str, ...]]:
    from envcheck.assume import AssumptionError, normal

    try:
        return normal(value, "assume")
    except AssumptionError as error:
        raise ValueError(f"a table of facts: {str(error).removeprefix('assume: ')}") from None


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
        raise ValueError("a number of seconds above 0")
    return float(value)


KEYS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "select": ("list of rule ids", "Run only these rules.", _rules),
    "ignore": ("list of rule ids, or table", "Set findings of these rules aside; the table gives reasons.", _ignored),
    "fail-on": ("error, warning, info or never", "Least severity that makes a run fail (default: error).", _severity),
    "strict": ("true or false", "Fail when not everything could be checked (default: false).", _flag),
    "matrix-path": ("path, or list of paths", "TOML files with table rows of your own, from this folder.", _texts),
    "timeout": ("number", "Seconds for looking at this machine (default: 20).", _seconds),
    "import": ("true or false", "Import each installed framework, in a process of its own (default: false).", _flag),
    "smoke": ("true or false", "Run the smoke tests (default: false).", _flag),
    "assume": (
        "table",
        "Facts in place of those that are found, as for --assume: `driver`, `cuda`, `gpu` ...",
        _assumed,
    ),
    "declare": ("list of names", "What the job claims to have: unmet pytest markers of these names fail.", _names),
}
"""Every key: what its value is, what it does, and how it is read (raises ValueError whose text follows "must be")."""


def describe() -> str:
    """The keys as a Markdown table, for the documentation."""
    rows = "".join(f"| `{name}` | {kind} | {about} |\n" for name, (kind, about, _) in KEYS.items())
    return f"| key | value | meaning |\n|---|---|---|\n{rows}"


def known_rule(rule: str) -> str:
    """The same id. Raises ValueError, whose text follows "must be", for one that does not exist."""
    from envcheck.rules import RULES

    if rule not in RULES:
        from envcheck.core.snapshot.stated import similar

        raise ValueError(f"rule ids, and there is no rule {rule!r}{similar(rule, tuple(RULES))}")
    return rule


def load(folder: str | None = None) -> Settings:
    """The settings that hold in a folder (default: the current one). Raises :class:`ConfigError`."""
    try:
        place = os.path.abspath(folder or os.getcwd())
    except FileNotFoundError:  # the current folder was deleted
        return Settings()
    while True:
        for name in FILES:
            path = os.path.join(place, name)
            table = _table(path, name)
            if table is not None:
                return _settings(table, path)
        above = os.path.dirname(place)
        if above == place or os.path.exists(os.path.join(place, ".git")):
            return Settings()
        place = above


def _table(path: str, name: str) -> dict[str, Any] | None:
    """The table with our keys; None when this file is not there or says nothing of envcheck."""
    try:
        # Opened so that a FIFO of this name does not hold us up for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            if os.fstat(handle).st_mode & 0o170000 != 0o100000:  # stat.S_ISREG, without the import
                raise OSError("this is not a file")
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        if name == "pyproject.toml":  # perhaps of somebody else, above us
            return None
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from None
    own = name == "envcheck.toml"
    # Reading TOML takes milliseconds; most projects say nothing of envcheck.
    if not own and b"envcheck" not in data:
        return None
    document = _parse(data, path)
    if own:
        table = document["envcheck"] if list(document) == ["envcheck"] else document
    else:
        tool = document.get("tool", {})
        table = tool.get("envcheck") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{path}: envcheck must be a table")
    return table


def _parse(data: bytes, path: str) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: it has more than {MAX_BYTES // 1024**2} MiB, which is more than is read")
    try:
        document: dict[str, Any] = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is no text in UTF-8 (byte {error.start})") from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {str(error) or 'it is nested too deeply'}") from None
    return document


def _settings(table: dict[str, Any], path: str) -> Settings:
    found: dict[str, Any] = {"file": path}
    for name, value in table.items():
        if name not in KEYS:
            from envcheck.core.snapshot.stated import similar

            hint = "; in this file write [envcheck]" if name == "tool" else similar(name, tuple(KEYS))
            raise ConfigError(f"{path}: there is no key {name!r}{hint}")
        try:
            found["imports" if name == "import" else name.replace("-", "_")] = KEYS[name][2](value)
        except ValueError as error:
            raise ConfigError(f"{path}: {name} must be {error}") from None
    if "matrix_path" in found:
        folder = os.path.dirname(path)
        found["matrix_path"] = tuple(os.path.join(folder, each) for each in found["matrix_path"])
    if "assume" in found:
        found["assumed_by"] = os.path.basename(path)
    return Settings(**found)


def judge(
    settings: Settings,
    *,
    stack: Source | None = None,
    machine: Source | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """:func:`envcheck.check` under these settings; ignored findings say why they are.

    Raises :class:`envcheck.SnapshotError`, :class:`envcheck.matrix.MatrixError` and
    :class:`envcheck.assume.AssumptionError`.
    """
    from envcheck import api

    here = all(source is None or source == "here" for source in (stack, machine))
    imports, smoke = settings.imports and here, settings.smoke if here else False
    matrix = None
    if settings.matrix_path:
        from envcheck.matrix import Matrix

        matrix = Matrix.load(settings.matrix_path)
    if settings.assume:
        from envcheck.assume import assume

        if matrix is None:
            from envcheck.matrix import Matrix

            matrix = Matrix.load()
        found = api.combine(
            api.resolve(stack, imports=imports, smoke=smoke, timeout=settings.timeout, progress=progress),
            api.resolve(machine, timeout=settings.timeout, progress=progress) if machine != stack else None,
        )
        stack = machine = assume(found, settings.assume, matrix, settings.assumed_by or "assume")
        imports = smoke = False
    report = api.check(
        stack=stack,
        machine=machine,
        select=settings.select,
        ignore=settings.ignore,
        imports=imports,
        smoke=smoke,
        matrix=matrix,
        timeout=settings.timeout,
        progress=progress,
    )
    explain_ignored(report, settings)
    return report


def explain_ignored(report: Report, settings: Settings) -> None:
    """Ignored findings say why they are."""
    if not report.ignored:
        return
    from envcheck.core.report import Evidence
    from envcheck.render import IGNORED_BY

    for finding in report.ignored:
        reason = settings.ignore.get(finding.rule) or f"listed in {settings.file or 'the options'}, without a reason"
        finding.evidence = [*finding.evidence, Evidence(reason, IGNORED_BY)]


def failing(report: Report, fail_on: str) -> bool:
    """Whether a finding is at or above a severity of :data:`FAIL_ON`.

    For ``error`` that is what makes the verdict ``problem``: an error of medium or high confidence.
    """
    if fail_on == "never":
        return False
    return report.verdict == "problem" if fail_on == "error" else bool(report.at_least(fail_on))
