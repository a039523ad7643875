"""Two things: the check as test items, and markers that say what a test needs.

`pytest --envcheck` adds one item for each rule and one for the verdict, before all other tests. A rule fails when it
has a finding at or above `fail-on` of the configuration (`error`), and its failure is the finding with its evidence and
fixes; one that does not apply is skipped with the reason. With `--envcheck-strict` what could not be checked fails as
well. So a run fails on a broken environment even when there are no other tests. `-k` and `-m` do not deselect these
items; `ignore` in the configuration does.

    @pytest.mark.envcheck("cuda>=12.1", "sm>=8.0", "torch>=2.1")
    def test_kernel(): ...

skips the test, with the reason, where a need is not met. A job that is meant to have what the test needs declares it:
`--envcheck-declare gpu` (or `envcheck_declare = gpu torch` in the pytest configuration, or `declare` in envcheck's);
then a need that is not met is a failure. A need whose fact is not known counts as not met. What a need is called and
what it lacks both count: on a machine without a GPU, `sm>=8.0` lacks `gpu`.

The fixture `envcheck_snapshot` is this machine and stack. `--envcheck-snapshot FILE` takes them from a snapshot or a
facts file instead, to see what a run would do elsewhere. `--envcheck-import` imports each installed framework, in a
process of its own, before the rules judge; `--envcheck-smoke` runs small inferences on each framework and device, as
`envcheck smoke` does. Both imply `--envcheck`.

With `--envcheck` or `--envcheck-diagnose` the report of a failed test, or of a test file that could not be imported,
tells what its traceback says of the environment, as `envcheck diagnose` does.

Nothing of envcheck is imported, and nothing is looked at, before one of these is used.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from envcheck.config import Settings
    from envcheck.core.report import Finding, Outcome, Report
    from envcheck.core.snapshot import Snapshot
    from envcheck.needs import Answer
    from envcheck.pytest_failures import Failures

MARKER = "envcheck(need, ...): what the test needs, such as 'cuda>=12.1', 'sm>=8.0', 'torch>=2.1', 'gpu'"
VERDICT = "verdict"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("envcheck", "deep-learning environment (envcheck)")
    group.addoption(
        "--envcheck",
        action="store_true",
        help="Check that this stack runs on this machine: one test item for each rule, and one for the verdict.",
    )
    group.addoption(
        "--envcheck-strict", action="store_true", help="With --envcheck: what could not be checked fails as well."
    )
    group.addoption(
        "--envcheck-declare",
        action="append",
        default=[],
        metavar="NAME",
        help="This job has NAME (gpu, sm, cuda, torch, ...): a test whose envcheck marker lacks it fails instead of "
        "being skipped. Can be repeated.",
    )
    group.addoption(
        "--envcheck-snapshot",
        metavar="FILE",
        help="Take machine and stack from this snapshot or facts file instead of from here.",
    )
    group.addoption(
        "--envcheck-import",
        action="store_true",
        help="Import each installed framework, in a process of its own, and judge what happens. Implies --envcheck.",
    )
    group.addoption(
        "--envcheck-smoke",
        action="store_true",
        help="Run small inferences on each framework and device, each in a process of its own, and judge what happens. "
        "Implies --envcheck.",
    )
    group.addoption(
        "--envcheck-diagnose",
        action="store_true",
        help="Diagnose failed tests and imports: what a known message says of the environment stands in their reports. "
        "--envcheck does so too.",
    )
    parser.addini("envcheck_declare", "What this job has, as for --envcheck-declare.", type="args", default=[])
    parser.addini("envcheck_strict", "As --envcheck-strict.", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    state = State(config)
    config.stash[STATE] = state
    if config.option.envcheck_import or config.option.envcheck_smoke:
        config.option.envcheck = True
    if config.option.envcheck or config.option.envcheck_declare or config.option.envcheck_snapshot:
        state.prepare()


class State:
    """What was found out so far; everything is computed when it is first asked for."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.parsed: dict[pytest.Item, list[Any]] = {}
        self.faults: dict[pytest.Item, str] = {}
        self.answers: dict[str, Answer] = {}
        self._settings: Settings | None = None
        self._snapshot: Snapshot | None = None
        self._report: Report | None = None
        self._declared: tuple[str, ...] | None = None
        self._failures: Failures | None = None

    def prepare(self) -> None:
        """Read the settings, and the file that was named. Raises pytest.UsageError."""
        self.settings()
        self.declared()
        if self.config.option.envcheck_snapshot:
            self.snapshot()

    def settings(self) -> Settings:
        if self._settings is None:
            from envcheck.config import ConfigError, load

            try:
                self._settings = load(str(self.config.rootpath))
            except ConfigError as error:
                raise pytest.UsageError(f"envcheck: {error}") from None
        return self._settings

    def strict(self) -> bool:
        wanted = self.config.option.envcheck_strict or self.config.getini("envcheck_strict")
        return bool(wanted) or self.settings().strict

    def declared(self) -> tuple[str, ...]:
        if self._declared is None:
            from envcheck.needs import NeedError, declared

            given = [*self.config.option.envcheck_declare, *self.config.getini("envcheck_declare")]
            try:
                self._declared = tuple(dict.fromkeys((*declared(given), *self.settings().declare)))
            except NeedError as error:
                raise pytest.UsageError(f"envcheck_declare: {error}") from None
        return self._declared

    def snapshot(self) -> Snapshot:
        if self._snapshot is None:
            from envcheck import api
            from envcheck.core.snapshot import SnapshotError

            settings, source = self.settings(), self.config.option.envcheck_snapshot
            imports = not source and (self.config.option.envcheck_import or settings.imports)
            smoke = not source and (self.config.option.envcheck_smoke or settings.smoke)
            try:
                found = api.resolve(source, imports=imports, smoke=smoke, timeout=settings.timeout)
            except SnapshotError as error:
                raise pytest.UsageError(f"--envcheck-snapshot: {error}") from None
            self._snapshot = self.assumed(found)
        return self._snapshot

    def assumed(self, found: Snapshot) -> Snapshot:
        """The snapshot with what the configuration assumes."""
        settings = self.settings()
        if not settings.assume:
            return found
        from envcheck.assume import AssumptionError, assume
        from envcheck.matrix import Matrix

        try:
            return assume(found, settings.assume, Matrix.load(settings.matrix_path), settings.assumed_by)
        except AssumptionError as error:
            raise pytest.UsageError(f"envcheck: {error}") from None

    def report(self) -> Report:
        if self._report is None:
            from envcheck.config import judge
            from envcheck.matrix import MatrixError

            here = self.snapshot()
            try:
                self._report = judge(self.settings().replace(assume={}), stack=here, machine=here)
            except MatrixError as error:
                raise pytest.UsageError(f"envcheck: {error}") from None
        return self._report

    def diagnose(self, report: Any) -> None:
        """Add the diagnosis to the report of a failure, where that is asked for."""
        if not (self.config.option.envcheck or self.config.option.envcheck_diagnose):
            return
        if self._failures is None:
            from envcheck.pytest_failures import Failures

            self._failures = Failures(self.snapshot)
        self._failures.section(report)

    def answer(self, need: Any) -> Answer:
        text = str(need)
        if text not in self.answers:
            from envcheck.needs import evaluate

            self.answers[text] = evaluate(need, self.snapshot())
        return self.answers[text]


STATE = pytest.StashKey[State]()


def pytest_report_header(config: pytest.Config) -> str | None:
    state = config.stash[STATE]
    declared = state.declared() if config.option.envcheck_declare else ()
    about = f"; declared: {', '.join(declared)}" if declared else ""
    if config.option.envcheck and not config.option.collectonly:
        from envcheck.render.summary import machine_words

        report = state.report()
        return f"envcheck: {report.verdict} ({machine_words(report.snapshot)}){about}"
    return f"envcheck: declared: {', '.join(declared)}" if declared else None


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, None]:
    """Put the check before all that the session collects."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        collector.config.stash[STATE].diagnose(report)
    if isinstance(collector, pytest.Session) and collector.config.option.envcheck and report.passed:
        check = CheckFile.from_parent(collector, path=collector.config.rootpath / "envcheck", nodeid="envcheck")
        report.result = [check, *report.result]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, Any, None]:
    """Read the markers once; a test with a bad one fails when its turn comes, and the others run.

    The items of the check are kept from what selects and reorders tests: who asks for the check gets it whole, first.
    """
    read_all(config.stash[STATE], items)
    check = [item for item in items if isinstance(item, CheckItem)]
    items[:] = [item for item in items if not isinstance(item, CheckItem)]
    yield
    items[:0] = check


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """What a failed test says of the environment, in a section of its report."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and not isinstance(item, CheckItem):
        item.config.stash[STATE].diagnose(report)


def read_all(state: State, items: list[pytest.Item]) -> None:
    """Read the markers of all tests, and remember what is wrong with one."""
    for item in items:
        markers = list(item.iter_markers("envcheck"))
        if markers:
            try:
                state.parsed[item] = read_markers(markers)
            except ValueError as error:
                state.faults[item] = f"marker envcheck: {error}"


def read_markers(markers: list[pytest.Mark]) -> list[Any]:
    """The needs of all markers of a test. Raises ValueError."""
    from envcheck.needs import NeedError, parse

    found = []
    for marker in markers:
        if marker.kwargs or not marker.args:
            raise NeedError(f"it takes needs, such as 'cuda>=12.1', not {marker.kwargs or 'nothing'}")
        found += [parse(need) for need in marker.args]
    return found


class Problem(Exception):
    """A failure of the check; its text is for people."""


class CheckFile(pytest.File):
    """Holds the items of the check; there is no such file."""

    def collect(self) -> Iterator[pytest.Item]:
        """The same items whatever the machine: workers of pytest-xdist must agree on them."""
        from envcheck.rules import RULES

        select = self.config.stash[STATE].settings().select
        for rule in RULES:
            if not select or rule in select:
                yield RuleItem.from_parent(self, name=rule)
        yield VerdictItem.from_parent(self, name=VERDICT)


class CheckItem(pytest.Item):
    """One item of the check."""

    @property
    def state(self) -> State:
        return self.config.stash[STATE]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, Problem):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, 0, f"envcheck: {self.name}"


class RuleItem(CheckItem):
    """What one rule says."""

    def runtest(self) -> None:
        from envcheck.render import IGNORED_BY
        from envcheck.render.terminal import clean

        report = self.state.report()
        outcome = next(outcome for outcome in report.outcomes if outcome.rule == self.name)
        self.user_properties.append(("envcheck", outcome.status))
        if outcome.status in ("skip", "ignored"):
            reasons = [
                f"ignored: {item.fact}"
                for finding in report.ignored
                for item in finding.evidence
                if finding.rule == self.name and item.source == IGNORED_BY
            ]
            reason = clean((*reasons, outcome.why or "ignored")[0])
            raise pytest.skip.Exception(reason, _use_item_location=True)
        if outcome.status == "fail":
            said = failures(report, self.name, self.state.settings().fail_on)
            if said:
                raise Problem("\n".join(said))
        if self.state.strict() and (open_question := left_open(report, outcome)):
            raise Problem(open_question)


class VerdictItem(CheckItem):
    """What all rules say together; fails exactly when ``envcheck`` would exit with 1 or 3."""

    def runtest(self) -> None:
        from envcheck.config import failing
        from envcheck.render.summary import machine_words, stack_words, verdict_words

        report = self.state.report()
        self.user_properties.append(("envcheck", report.verdict))
        inconclusive = self.state.strict() and report.verdict == "inconclusive"
        if failing(report, self.state.settings().fail_on) or inconclusive:
            causes = [f"- {finding.rule}: {finding.message}" for finding in report.findings]
            about = [f"machine: {machine_words(report.snapshot)}", f"stack: {stack_words(report.snapshot)}"]
            raise Problem("\n".join((verdict_words(report), *causes, *about)))


def failures(report: Report, rule: str, fail_on: str) -> list[str]:
    """The findings of a rule that count, rendered; one that another rule explains says which."""
    from envcheck.render.text import render_finding

    said = []
    for finding in report.findings:
        if finding.rule == rule and counts(finding, fail_on):
            said.append(render_finding(finding))
        said += [
            f"{other.severity}: {other.message}\nexplained by {finding.rule}: {finding.message}\n"
            for other in finding.consequences
            if other.rule == rule and counts(other, fail_on)
        ]
    return said


def counts(finding: Finding, fail_on: str) -> bool:
    """Whether a finding alone would make a run fail, as :func:`envcheck.config.failing` has it."""
    from envcheck.core.report import SEVERITIES, worst_confident_error

    if fail_on == "error":
        return worst_confident_error([finding])
    return fail_on != "never" and SEVERITIES.index(finding.severity) >= SEVERITIES.index(fail_on)


def left_open(report: Report, outcome: Outcome) -> str:
    """Why a rule did not decide, in a few lines; empty when it did."""
    from envcheck.render.terminal import clean
    from envcheck.render.text import render_finding

    if outcome.status == "crash":
        return f"the rule crashed (an error in envcheck, please report it)\n{outcome.why}"
    if outcome.status == "unknown" or outcome.missing:
        return clean(f"not known: {', '.join(outcome.missing)}: {outcome.why}")
    unsure = [f for f in report.findings if f.rule == outcome.rule and f.severity == "error" and f.confidence == "low"]
    return "\n".join(map(render_finding, unsure))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    state = item.config.stash[STATE]
    if item in state.faults:
        pytest.fail(state.faults[item], pytrace=False)
    needs = state.parsed.get(item)
    if needs is None:
        return
    answers = [(need, state.answer(need)) for need in needs]
    unmet = [(need, answer) for need, answer in answers if answer.status != "met"]
    if not unmet:
        return
    from envcheck.render.terminal import clean

    promised = [(need, answer) for need, answer in unmet if {need.name, answer.lacks} & set(state.declared())]
    if promised:
        said = [clean(f"needs {answer.reason}") for _, answer in promised]
        names = dict.fromkeys(
            name for need, answer in promised for name in (need.name, answer.lacks) if name in state.declared()
        )
        pytest.fail("\n".join((*said, f"this job declares that it has {', '.join(names)}")), pytrace=False)
    reason = clean("needs " + "; ".join(answer.reason for _, answer in unmet))
    raise pytest.skip.Exception(reason, _use_item_location=True)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line on what the items passed over: warnings, and what could not be checked."""
    report = config.stash[STATE]._report
    if report is not None and config.option.envcheck:
        from envcheck.render.summary import counts as tally
        from envcheck.render.summary import verdict_words

        terminalreporter.write_line(f"envcheck: {verdict_words(report)}; {tally(report)}")


@pytest.fixture(scope="session")
def envcheck_snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """This machine and this stack, as :func:`envcheck.core.snapshot` gives them."""
    return request.config.stash[STATE].snapshot()
