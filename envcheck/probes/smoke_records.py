"""What the records of a smoke test's child mean; takes any JSON."""

from __future__ import annotations

from typing import Any

from envcheck.core.snapshot import Absent, SmokeCheck, SmokeSpeed, SmokeStage, SmokeTest, Unknown, known
from envcheck.facts.imports import fault_in

CHECKED = ("ok", "wrong", "nan", "zeros", "shape", "failed", "unsupported")
STATES = ("ok", "failed", "skipped")
LONGEST = 1000
MOST = 500
"""Records of one kind that are kept."""


def read(backend: str, answer: Any, had: list[str]) -> tuple[list[SmokeTest], bool]:
    """The tests that one child made, and whether devices are left that had no turn.

    ``had``: devices that had theirs in an earlier child.
    """
    answer = answer if isinstance(answer, dict) else {}
    ended = str(answer.get("ended", "it was not said how it ended"))
    if ended.startswith("not started"):
        return [SmokeTest(backend=backend, outcome="untested", error=ended)], False
    records = answer.get("records")
    reading = _Reading(backend)
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict):
            reading.take(record)
    if not reading.done:
        reading.end(ended, answer)
    tests = list(reading.tests.values())
    said = answer.get("said")
    lines = {device: _texts(part) for device, part in said.items()} if isinstance(said, dict) else {}
    for number, test in enumerate(tests):
        # What was written before any device had its turn is told with the first one, and where it can say why a test
        # ran on the CPU instead.
        fell_back = test.kind not in ("", "cpu") and "cpu" in (known(test.ran_on) or "").lower()
        common = lines.get("", []) if test.device and (fell_back or not number) else []
        test.said = [*common, *lines.get(test.device, [])]
    if tests:
        tests[-1].milliseconds = round(_number(answer.get("seconds")) * 1000, 1)
    left = [device for device in reading.devices if device not in had and device not in reading.tests]
    if reading.done and not reading.again:
        left = []
    if not tests:
        why = reading.skipped or "it told of no device"
        if reading.offered:
            why = f"none of its devices was asked for: {', '.join(reading.offered)}"
        # With the steps that it went through: it was tried, and has nothing to test.
        tests = [SmokeTest(backend=backend, outcome="untested", error=why, stages=reading.common)]
        tests[0].said = lines.get("", [])
    return tests, bool(left)


class _Reading:
    """The records one after the other."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.tests: dict[str, SmokeTest] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self.common: list[SmokeStage] = []
        """Steps before any device: they are told with the first one."""
        self.says: dict[str, str] = {}
        self.open: tuple[str, str] | None = None
        """The step, and its device, that began and has not ended."""
        self.done = self.again = False
        self.skipped = ""
        self.model = ""
        self.offered: list[str] = []
        """All devices that it has."""

    def take(self, record: dict[str, Any]) -> None:
        if "begin" in record:
            self.open = (str(record["begin"])[:80], _text(record.get("device")))
        elif "end" in record:
            self._stage(record)
        elif isinstance(record.get("says"), dict):
            self.says = {str(name)[:80]: _text(value) for name, value in record["says"].items()}
        elif isinstance(record.get("devices"), list):
            self.devices = {_text(one.get("id")): one for one in record["devices"] if isinstance(one, dict)}
            self.offered = _texts(record.get("all"))
        elif isinstance(record.get("model"), str):
            self.model = _text(record["model"])
        elif record.get("again"):
            self.again = True
        elif record.get("done"):
            self.done = True
        else:
            for kind, method in (("check", self._check), ("speed", self._speed), ("told", self._told),
                                 ("memory", self._memory), ("note", self._note)):  # fmt: skip
                part = record.get(kind)
                if isinstance(part, dict):
                    method(self._test(_text(part.get("device"))), part)

    def _test(self, device: str) -> SmokeTest:
        test = self.tests.get(device)
        if test is None:
            about = self.devices.get(device, {})
            test = self.tests[device] = SmokeTest(
                backend=self.backend,
                device=device,
                kind=_text(about.get("kind")),
                version=self.says.get("version") or Unknown("it was not told"),
                stage=Absent("it came through"),
                error=Absent("nothing was raised"),
                library=Absent("no library is at fault"),
                ran_on=Unknown("it was not told"),
                model=self.model or Absent("our own small models"),
                facts={name: value for name, value in self.says.items() if name != "version"},
            )
            if isinstance(about.get("gpu"), int):
                test.gpu = about["gpu"]
            if about.get("name"):
                test.name = _text(about["name"])
            test.stages, self.common = self.common, []
        return test

    def _stage(self, record: dict[str, Any]) -> None:
        self.open = None
        if record.get("quiet"):
            return
        device = _text(record.get("device"))
        status = record.get("status")
        stage = SmokeStage(name=_text(record["end"])[:80], status=status if status in STATES else "failed")
        stage.milliseconds = _number(record.get("ms"))
        if isinstance(record.get("rss"), int) and record["rss"] > 0:
            stage.memory_mib = record["rss"]
        errors = _texts(record.get("errors"))
        if errors:
            stage.error = told(errors)
        if stage.status == "skipped" and not device:
            self.skipped = known(stage.error) or "it was skipped"
        if device or stage.status == "failed":
            test = self._test(device)
            if len(test.stages) < MOST:
                test.stages.append(stage)
            if stage.status == "failed" and test.outcome in ("ok", "wrong"):
                _failed(test, "failed", stage.name, known(stage.error) or "it did not say what was raised")
        elif len(self.common) < MOST:
            self.common.append(stage)

    def _check(self, test: SmokeTest, part: dict[str, Any]) -> None:
        status = part.get("status") if part.get("status") in CHECKED else "failed"
        check = SmokeCheck(operation=_text(part.get("operation")), dtype=_text(part.get("dtype")), status=str(status))
        check.difference, check.tolerance = _number(part.get("difference")), _number(part.get("tolerance"))
        check.milliseconds = _number(part.get("ms"))
        if isinstance(part.get("claimed"), bool):
            check.claimed = part["claimed"]
        if part.get("ran_on"):
            check.ran_on = _text(part["ran_on"])
            # One result from elsewhere tells more than all that came from where they should.
            if known(test.ran_on) in (None, test.device):
                test.ran_on = check.ran_on
        if part.get("against"):
            check.against = _text(part["against"])
        if part.get("said"):
            check.said = _text(part["said"])
        if len(test.checks) < MOST:
            test.checks.append(check)
        # What a data type that nobody claims does is no failure.
        wrong = status in ("wrong", "nan", "zeros", "shape")
        if test.outcome == "ok" and (wrong or status == "failed") and check.claimed is not False:
            test.outcome = "wrong" if wrong else "failed"
            test.stage = f"{check.operation} in {check.dtype}"
            test.error = known(check.said) or f"the result of {check.operation} in {check.dtype} is {status}"

    def _speed(self, test: SmokeTest, part: dict[str, Any]) -> None:
        if len(test.speeds) < MOST:
            test.speeds.append(
                SmokeSpeed(
                    measure=_text(part.get("measure")),
                    dtype=_text(part.get("dtype")),
                    value=_number(part.get("value")),
                    unit=_text(part.get("unit")),
                )
            )

    def _told(self, test: SmokeTest, part: dict[str, Any]) -> None:
        if part.get("ran_on") and known(test.ran_on) in (None, test.device):
            test.ran_on = _text(part["ran_on"])
        if part.get("name"):
            test.name = _text(part["name"])
        test.providers = _texts(part.get("providers"))[:MOST]
        kernels = part.get("kernels")
        if isinstance(kernels, dict):
            test.kernels = {str(name)[:80]: count for name, count in kernels.items() if isinstance(count, int)}
        facts = part.get("facts")
        if isinstance(facts, dict):
            test.facts |= {str(name)[:80]: _text(value) for name, value in facts.items()}
        if "peak_mib" in part:
            test.memory_mib = round(_number(part["peak_mib"]))

    def _memory(self, test: SmokeTest, part: dict[str, Any]) -> None:
        if isinstance(part.get("free"), int | float):
            test.free_mib = round(_number(part["free"]))

    def _note(self, test: SmokeTest, part: dict[str, Any]) -> None:
        test.facts[_text(part.get("name"))[:80]] = _text(part.get("text"))

    def end(self, ended: str, answer: dict[str, Any]) -> None:
        """The child came to no good end: what it was doing is what failed."""
        step, device = self.open or ("", next(reversed(self.tests), ""))
        failed = [test for test in self.tests.values() if test.outcome == "failed"]
        if ended == "done" and not self.open and failed:
            return
        test = self._test(device)
        everything = answer.get("said")
        trace = _texts(answer.get("trace"))
        said = _texts(everything.get(device) or everything.get("")) if isinstance(everything, dict) else []
        seconds = _number(answer.get("seconds"))
        outcome, error = how(ended, seconds, trace, said)
        step = step or (test.stages[-1].name if test.stages else "start")
        loading = _text(answer.get("loading"))
        inside = any("importlib" in line or "ctypes" in line for line in trace[:2])
        if loading and inside:
            test.library = loading
            if step == "import":
                step = "library"
        test.stages.append(SmokeStage(name=step, status=outcome, error=error))
        _failed(test, outcome, step, error)


def how(ended: str, seconds: float, trace: list[str], said: list[str]) -> tuple[str, str]:
    """The outcome and the error of a child that did not come to its end."""
    place = f", stopped at {trace[0]}" if trace else ""
    if ended.startswith("signal"):
        error = ended.partition("(")[2].rstrip(")") or ended
        telling = [line for line in said if fault_in(line).kind or "what():" in line]
        return "crash", f"{error}: {(telling or said)[-1]}" if said and (telling or error == "SIGABRT") else error
    if ended in ("timeout", "abandoned"):
        left = " and could not be ended" if ended == "abandoned" else ""
        return "hang", f"no answer in {seconds:.1f} s{left}{place}"
    if ended == "memory":
        return "memory", "it took more memory than it may, and was ended"
    number = ended.removeprefix("exit ")
    error = f"exit code {number}" if number.isdigit() else "it ended before the tests were done"
    loader = [line for line in said if fault_in(line).kind in ("library", "version", "symbol")]
    lines = loader or said[-1:]
    return "exit", f"{error}: {lines[0]}" if lines else error


def _failed(test: SmokeTest, outcome: str, step: str, error: str) -> None:
    test.outcome, test.stage, test.error = outcome, step, error[:LONGEST]
    fault = fault_in(error)
    if known(test.library) is None and fault.kind in ("library", "version", "symbol", "format"):
        test.library = fault.file or fault.name or Unknown("it is not named")


def told(errors: list[str]) -> str:
    """The error that names a cause, of a chain of them; else the one that was raised."""
    named = [text for text in reversed(errors) if fault_in(text).kind not in ("", "module")]
    return (named or errors)[0][:LONGEST]


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:LONGEST]


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else []


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if abs(value) < 1e15 else 0.0  # not a number, too: then no comparison is true
