"""Smoke tests: starts a child for each framework that is here, side by side, and again for the devices that are left.

A child that dies, hangs or reports a failure on a GPU has its results kept; the devices that had no turn get a new one.
What a child does is in :mod:`envcheck.smoke_tests`, what its records mean in :mod:`envcheck.probes.smoke_records`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from envcheck.core.snapshot import SmokeStage, SmokeTest, known
from envcheck.probes.host import Host, Ran
from envcheck.probes.log import Log
from envcheck.probes.smoke_options import BUDGET_MIB, SmokeOptions
from envcheck.smoke_tests import BACKENDS, GROUP, ON_DEMAND, ON_DEVICE, asked_for

EACH = 180.0
"""Seconds for one child: a first start from a network disk, with kernels compiled for a new GPU, takes minutes."""
ALTOGETHER = 300.0
"""Seconds for all when there is no deadline."""
MARK = "ENVCHECK_SMOKE_TEST"
"""Environment variable by which what a child has started is found again."""
MOST_STARTS = 20
"""Children for one framework: one for each device that breaks it."""


def probe(host: Host, log: Log) -> list[SmokeTest]:
    """The results, framework by framework."""
    import threading

    options = host.smoke or SmokeOptions()
    until = time.monotonic() + ALTOGETHER if host.deadline is None else host.deadline
    found: dict[str, list[SmokeTest]] = {}
    threads: list[threading.Thread] = []
    places = threading.Semaphore(_side_by_side())

    def work(name: str, module: str) -> None:
        with places:
            if until - time.monotonic() <= 0:
                log.add("smoke", "skipped", "no time was left", name)
                found[name] = [untested(name, "no time was left")]
                return
            try:
                for test in backend_tests(host, log, name, module, options.request()):
                    found.setdefault(name, []).append(test)
            except Exception as error:
                found.setdefault(name, []).append(untested(name, f"{type(error).__name__}: {error}"))

    for name, module in offered(host, options, found):
        if name in found or (options.backends and name not in options.backends):
            continue
        if name in ON_DEMAND and not (options.thorough or options.backends):
            continue
        found[name] = []
        threads.append(threading.Thread(target=work, args=(name, module), daemon=True))
        threads[-1].start()
    if not threads and not found:
        log.add("smoke", "absent", "no framework is installed that could be tested")
    for thread in threads:
        thread.join(max(0.1, until - time.monotonic() + 1.2))
    for name, tests in found.items():
        if not tests:
            tests.append(untested(name, "it did not come to an end"))
    for name in options.backends:
        if name not in found:
            found[name] = [untested(name, "it is not installed")]
    results = [test for tests in list(found.values()) for test in list(tests)]
    return [*results, *not_there(options.devices, results)] if options.devices and found else results


def offered(host: Host, options: SmokeOptions, found: dict[str, list[SmokeTest]]) -> Iterator[tuple[str, str]]:
    """Backends and their modules. For a model those that can run it; what can't be run goes to ``found``."""
    if options.model:
        from envcheck.probes.smoke_model import chosen

        modules, refused = chosen(host, options)
        found |= refused
        yield from modules.items()
        return
    own = host.query("smoke-backends", "own")
    yield from own.items()
    if not options.backends or not set(options.backends) <= own.keys():
        # Those of others are looked for while ours begin: that takes a look into each package.
        if own and host.started is not None:
            time.sleep(0.01)
        yield from host.query("smoke-backends", "added").items()


def not_there(words: list[str], tests: list[SmokeTest]) -> list[SmokeTest]:
    """For each device that was asked for and that no framework has, a test that failed; the others are left alone."""
    missing = []
    for word in words:
        if not any(test.device and asked_for(test.device, test.kind, known(test.gpu), [word]) for test in tests):
            names = " and ".join(dict.fromkeys(test.backend for test in tests))
            error = f"no framework here offers this device ({names})"
            test = SmokeTest(backend=tests[0].backend, device=word, kind=word.partition(":")[0], asked=[word])
            test.outcome, test.stage, test.error = "failed", "device", error
            test.stages = [SmokeStage(name="device", status="failed", error=error)]
            missing.append(test)
    return missing


def untested(backend: str, why: str) -> SmokeTest:
    """What is known of a framework that nobody tried."""
    return SmokeTest(backend=backend, outcome="untested", error=why)


def backend_tests(host: Host, log: Log, name: str, module: str, request: str) -> Iterator[SmokeTest]:
    """The tests of one framework, with as many children as it takes."""
    import json

    had: list[str] = []
    asked = json.loads(request).get("only", [])
    without_gpus = False
    for _ in range(MOST_STARTS):
        with log.attempt("smoke", name) as attempt:
            answer = host.query("smoke", name, module, request, *had)
            from envcheck.probes.smoke_records import read

            tests, left = read(name, answer, had)
            if without_gpus:
                tests = [test for test in tests if test.device]
            for test in tests:
                test.asked = list(asked)
            bad = [test for test in tests if test.outcome not in ("ok", "untested")]
            if bad:
                attempt.failed(f"{bad[0].device or name}: {bad[0].outcome}", "failed")
            else:
                attempt.found(", ".join(test.device for test in tests))
        yield from tests
        before = len(had)
        had += [test.device for test in tests if test.device and test.device not in had]
        if [test.stage for test in tests if not test.device] == ["devices"] and not had and not asked:
            # Looking for GPUs was the end of it: what it does on the CPU is another matter.
            without_gpus, asked = True, ["cpu"]
            request = json.dumps({**json.loads(request), "only": asked}, sort_keys=True)
            continue
        if not left or len(had) == before:
            return


def _side_by_side() -> int:
    """Children at a time: each may take a gigabyte of memory, and they share the GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 4))


def query_backends(host: Host, kind: str) -> dict[str, str]:
    """The host query ``smoke-backends``: backend -> module, of those whose framework is here.

    ``kind``: ``own``, or ``added`` by entry points of other packages.
    """
    if kind == "added":
        return dict(_added())
    from importlib.machinery import PathFinder

    here = {}
    for name, module in BACKENDS.items():
        try:
            spec = PathFinder.find_spec(module)
        except (ImportError, OSError, ValueError):
            continue
        if spec is not None and spec.origin is not None:  # without: an empty folder of that name
            here[name] = f"envcheck.smoke_tests.backends.{name}"
    return here


def _added() -> Iterator[tuple[str, str]]:
    """Entry points of :data:`envcheck.smoke_tests.GROUP`; only their names and modules, nothing is imported."""
    for folder in dict.fromkeys(sys.path):
        try:
            entries = [entry for entry in os.scandir(folder or ".") if entry.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for entry in entries:
            try:
                with open(os.path.join(entry.path, "entry_points.txt"), encoding="utf-8", errors="replace") as file:
                    text = file.read(1 << 16)
            except OSError:
                continue
            if GROUP not in text:
                continue
            import configparser

            parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
            try:
                parser.read_string(text)
                yield from parser[GROUP].items()
            except (configparser.Error, KeyError):
                continue


def query_smoke(host: Host, name: str, module: str, request: str, *had: str) -> dict[str, Any]:
    """The host query ``smoke``: run the child of one framework. Plain JSON::

    {"ended": "done",                # or: timeout, abandoned, memory, exit 1, signal 11 (SIGSEGV), not started: why
     "seconds": 2.1, "records": [what :mod:`envcheck.smoke_tests.steps` tells], "loading": "/path/x.so",
     "trace": ["File ..."], "said": {"cpu": ["lines on stderr"]}}
    """
    import json

    from envcheck.probes import child
    from envcheck.probes.imports import environment

    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "smoke_tests", "child.py")
    if getattr(sys, "frozen", False) or not sys.executable or not os.path.isfile(script):
        return {"ended": "not started: no Python interpreter to run it in"}
    limit = host.seconds_left(EACH)
    wanted = json.loads(request)
    mark = os.urandom(16).hex()
    folder = child.temporary_folder()
    wanted |= {"module": module, "skip": list(had), "seconds": limit, "folder": folder}
    started = time.monotonic()
    try:
        ran = child.run(
            [sys.executable, script, json.dumps(wanted)],
            limit,
            environment(host, folder) | {MARK: mark},
            heard=Progress(host, name),
            started=host.started,
            memory_mib=int(wanted.get("budget_mib", BUDGET_MIB)),
        )
        taken = time.monotonic() - started
        answer = gather(ran, taken)
        if host.smoke is not None and wanted.get("model", {}).get("record"):
            from envcheck.probes.smoke_model import keep

            keep(folder, answer, host.smoke)
    finally:
        child.end_marked(mark, MARK)
        child.remove_folder(folder)
    return answer


class Progress:
    """Tells of each step that a child begins."""

    def __init__(self, host: Host, name: str) -> None:
        self.host, self.name = host, name

    def __call__(self, part: bytes) -> None:
        if self.host.progress is None:
            return
        line = part[part.rfind(b'{"begin"') :].split(b"\n")[0]
        try:
            import json

            record = json.loads(line)
            self.host.progress(f"smoke: {self.name} {record['device']} {record['begin']}".replace("  ", " "))
        except Exception:
            return  # half a line; a display that failed must not end the reading


def gather(ran: Ran, seconds: float) -> dict[str, Any]:
    """What a child said, and how it ended."""
    from envcheck.probes.imports import heard

    answer, records = heard(ran, seconds)
    return {**answer, "records": records, "said": said_by_device(ran.stderr, answer["ended"] == "done")}


def said_by_device(stderr: str, ended: bool) -> dict[str, list[str]]:
    """Device (empty: none had its turn yet) -> lines on stderr that tell of a trouble, without colours.

    Of a child that came to no good end the last lines are kept too.
    """
    import re

    found: dict[str, list[str]] = {}
    device, last = "", ("", [""])
    for line in re.sub(r"\x1b\[[0-9;]*m", "", stderr).splitlines():
        line = line.strip()[:500]
        if line.startswith(ON_DEVICE):
            device = line[len(ON_DEVICE) :]
        elif line:
            kept = found.setdefault(device, [])
            if any(word in line for word in TELLING) and len(kept) < 6 and line not in kept:
                kept.append(line)
            last = (device, [*last[1][-2:], line] if last[0] == device else [line])
    if not ended:
        kept = found.setdefault(last[0], [])
        kept += [line for line in last[1] if line and line not in kept]
    return {device: lines for device, lines in found.items() if lines}


TELLING = (
    *("rror", "ERROR", "ailed", "FAIL", "cannot open", "not found", "ould not", "nsupported", "Warning", "abort"),
    "annot dlopen",  # TensorFlow, of the libraries without which it lists no GPU
)
"""Words in the lines on stderr that tell of a trouble."""
