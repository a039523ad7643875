"""The pytest plugin, run by pytest itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from envcheck import api
from envcheck.core.report import Outcome, Report
from envcheck.core.snapshot import ImportTest, Snapshot
from envcheck.rules import RULES

sys.path.insert(0, str(Path(__file__).parent / "render"))
import sample_reports

pytest_plugins = "pytester"

Run = Callable[..., pytest.RunResult]
Says = Callable[[Report], None]

SERVER = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "22.04"},
    "cpu": {"arch": "x86_64", "flags": ["avx2"]},
    "driver": {"version": "470.82.01", "cuda": "11.4"},
    "gpus": [{"name": "Tesla V100-SXM2-32GB", "compute_capability": "7.0", "memory_mib": 32768}],
    "python": "3.11.7",
    "packages": {"torch": "2.5.1+cu124"},
}


@pytest.fixture
def run(pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("-v", facts=...)``: pytest in a folder of its own, on the machine of these facts."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    installed = request.config.pluginmanager.hasplugin("envcheck")

    def start(*arguments: str, facts: dict[str, object] | None = None) -> pytest.RunResult:
        options = [] if installed else ["-p", "envcheck.pytest_plugin"]
        if facts is not None:
            (pytester.path / "facts.json").write_text(json.dumps(facts))
            options += ["--envcheck-snapshot", "facts.json"]
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options, *arguments)

    (pytester.path / ".git").mkdir()
    return start


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    """``says(report)``: the check gives this report, with an outcome for every rule."""

    def install(report: Report) -> None:
        told = {outcome.rule for outcome in report.outcomes}
        report.outcomes += [Outcome(rule=rule, status="skip", why="no model") for rule in RULES if rule not in told]
        monkeypatch.setattr(api, "check", lambda **_: report)
        monkeypatch.setattr(api, "resolve", lambda *_, **__: report.snapshot)

    return install


MARKED = """
    import pytest

    @pytest.mark.envcheck({needs})
    def test_it():
        pass
"""


def test_nothing_happens_unless_asked(pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("this machine was looked at")

    monkeypatch.setattr(api, "snapshot", never)
    monkeypatch.setattr(api, "resolve", never)
    pytester.makepyfile("def test_it(): pass")
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*envcheck:*")


def test_loading_imports_nothing_of_ours_or_others() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import envcheck.pytest_plugin; "
        "print(sorted(set(sys.modules) - before - {'envcheck', 'envcheck.pytest_plugin'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_check_without_any_other_test(run: Run) -> None:
    result = run("--envcheck", "-v", facts=SERVER)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "envcheck: problem (*NVIDIA driver 470.82.01*Tesla V100*)",
            "envcheck::driver-too-old FAILED*",
            "envcheck::verdict FAILED*",
            "*error: torch 2.5.1+cu124 on driver 470.82.01 *driver-too-old*",
            "*how we know:",
            "*to mend it*",
            "envcheck: problem: *",
        ]
    )


def test_the_check_comes_first_and_tests_still_run(pytester: pytest.Pytester, run: Run, says: Says) -> None:
    says(sample_reports.ok())
    pytester.makepyfile("def test_it(): pass")
    result = run("--envcheck", "-v")
    result.assert_outcomes(passed=4, skipped=len(RULES) - 2)
    assert result.ret == 0
    lines = [line for line in result.outlines if "::" in line]
    assert lines[-1].startswith("test_the_check_comes_first")
    assert lines[-2].startswith("envcheck::verdict PASSED")
    result.stdout.fnmatch_lines(
        ["envcheck: ok (Ubuntu 20.04 x86_64; *", f"envcheck: ok: nothing found*{len(RULES)} rules: 2 passed*"]
    )


def test_problem(run: Run, says: Says) -> None:
    says(sample_reports.problem())
    result = run("--envcheck", "-rs")
    # The root, its consequence, and the verdict; a warning alone, open questions and a crash do not fail.
    result.assert_outcomes(failed=3, passed=5, skipped=len(RULES) - 7)
    result.stdout.fnmatch_lines(
        [
            f"collected {len(RULES) + 1} items",
            "* envcheck: no-gpu-visible *",
            "explained by driver-too-old: torch 2.5.1*",
            "* envcheck: driver-too-old *",
            "*$ apt-get install nvidia-driver-535-server",
            "* envcheck: verdict *",
            "problem: 1 error, 1 warning",
            "- driver-too-old: torch 2.5.1+cu124 was built with CUDA 12.4*",
            "machine: Ubuntu 20.04 x86_64;*",
            "SKIPPED *envcheck:1: ignored: both are needed here, ticket 77",
        ]
    )


def test_strict(pytester: pytest.Pytester, run: Run, says: Says) -> None:
    says(sample_reports.inconclusive())
    run("--envcheck").assert_outcomes(passed=2, skipped=len(RULES) - 1)
    result = run("--envcheck", "--envcheck-strict")
    result.assert_outcomes(failed=2, skipped=len(RULES) - 1)
    result.stdout.fnmatch_lines(["not known: driver: NVML did not reply within 5 s", "inconclusive: *"])
    pytester.makeini("[pytest]\nenvcheck_strict = true\n")
    run("--envcheck").assert_outcomes(failed=2, skipped=len(RULES) - 1)


def test_strict_and_crashed(run: Run, says: Says) -> None:
    report = sample_reports.inconclusive()
    report.outcomes = [Outcome(rule="numpy-abi", status="crash", why="Traceback ...\nKeyError: 'x'")]
    says(report)
    run("--envcheck", "--envcheck-strict").stdout.fnmatch_lines(["the rule crashed*", "KeyError: 'x'"])


def test_configuration_counts(pytester: pytest.Pytester, run: Run, says: Says) -> None:
    says(sample_reports.problem())
    (pytester.path / "envcheck.toml").write_text(
        'fail-on = "never"\nselect = ["driver-too-old", "numpy-abi"]\nstrict = true\n'
    )
    result = run("--envcheck")
    result.assert_outcomes(passed=2, failed=1)  # the crash, which strict does not let pass
    (pytester.path / "envcheck.toml").write_text('fail-on = "warning"\nselect = ["toolkit-mismatch"]\n')
    run("--envcheck").assert_outcomes(failed=2)
    (pytester.path / "envcheck.toml").write_text("fail-on = 7\n")
    result = run("--envcheck")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: envcheck: *envcheck.toml: fail-on must be one of *"])


def test_collect_only_does_not_look_at_the_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "snapshot", None)
    monkeypatch.setattr(api, "resolve", None)
    result = run("--envcheck", "--collect-only", "-q")
    assert result.ret == 0
    assert [line for line in result.outlines if "::" in line] == [f"envcheck::{name}" for name in (*RULES, "verdict")]


def test_selections_of_tests_leave_the_check_alone(pytester: pytest.Pytester, run: Run, says: Says) -> None:
    says(sample_reports.ok())
    pytester.makepyfile("def test_it(): pass\ndef test_other(): pass")
    run("--envcheck", "-k", "other").assert_outcomes(passed=4, skipped=len(RULES) - 2, deselected=1)


def test_junit(pytester: pytest.Pytester, run: Run, says: Says) -> None:
    says(sample_reports.problem())
    run("--envcheck", "--junitxml=out.xml")
    cases = {
        (case.get("classname"), case.get("name")): case
        for case in ElementTree.parse(pytester.path / "out.xml").getroot().iter("testcase")
    }
    failure = cases["envcheck", "driver-too-old"].find("failure")
    assert failure is not None
    assert "how we know" in (failure.text or "")
    assert ("envcheck", "verdict") in cases


def test_met(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(MARKED.format(needs='"cuda>=11.0", "sm>=7.0", "torch>=2.1", "gpu", "driver>=470", "avx2"'))
    run(facts=SERVER).assert_outcomes(passed=1)


def test_unmet_is_skipped_with_the_reason(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(MARKED.format(needs='"cuda>=12.1", "sm>=8.0", "torch>=2.1"'))
    result = run("-rs", facts=SERVER)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "SKIPPED * test_unmet*.py:*: needs cuda>=12.1: the newest CUDA that the driver serves is 11.4; "
            "sm>=8.0: Tesla V100-SXM2-32GB (compute capability 7.0)"
        ]
    )


def test_unknown_is_skipped(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(MARKED.format(needs='"gpu"'))
    result = run("-rs", facts={"python": "3.11"})
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs gpu: the GPUs are not known: not stated"])


@pytest.mark.parametrize(
    ("options", "ini", "toml"),
    [
        (["--envcheck-declare", "sm"], "", ""),
        (["--envcheck-declare=torch,sm"], "", ""),
        ([], "[pytest]\nenvcheck_declare = gpu sm\n", ""),
        ([], "", 'declare = ["sm"]\n'),
    ],
)
def test_declared_is_a_failure(pytester: pytest.Pytester, run: Run, options: list[str], ini: str, toml: str) -> None:
    pytester.makepyfile(MARKED.format(needs='"sm>=8.0"'))
    if ini:
        pytester.makeini(ini)
    if toml:
        (pytester.path / "envcheck.toml").write_text(toml)
    result = run(*options, facts=SERVER)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["needs sm>=8.0: Tesla V100-SXM2-32GB (compute capability 7.0)", "this job declares*sm"]
    )


def test_declaring_a_gpu_does_not_declare_which(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(MARKED.format(needs='"sm>=8.0"'))
    run("--envcheck-declare", "gpu", facts=SERVER).assert_outcomes(skipped=1)
    result = run("--envcheck-declare", "gpu", facts={**SERVER, "gpus": [], "driver": False})
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["envcheck: declared: gpu", "this job declares that it has gpu"])


@pytest.mark.parametrize("needs", ['"cuda>>12"', '"gpu", 3', "", '"gpu", reason="x"', '"cudnn>=9"'])
def test_a_bad_need_fails_its_own_test_only(pytester: pytest.Pytester, run: Run, needs: str) -> None:
    pytester.makepyfile(MARKED.format(needs=needs), test_good=MARKED.format(needs='"python>=3"'))
    result = run(facts=SERVER)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_it*", "marker envcheck: *"])


@pytest.mark.parametrize("name", ["torch>=2", "cudnn"])
def test_a_bad_declaration(pytester: pytest.Pytester, run: Run, name: str) -> None:
    result = run("--envcheck-declare", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: envcheck_declare: *"])


def test_a_bad_snapshot(pytester: pytest.Pytester, run: Run) -> None:
    (pytester.path / "bad.json").write_text("{")
    result = run("--envcheck-snapshot", "bad.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --envcheck-snapshot: bad.json: *"])


def test_fixture(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        def test_it(envcheck_snapshot):
            assert envcheck_snapshot.machine.nvidia.version == "470.82.01"
        """
    )
    run(facts=SERVER).assert_outcomes(passed=1)


def test_the_marker_is_known(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(MARKED.format(needs='"python>=3"'))
    run("--strict-markers", facts=SERVER).assert_outcomes(passed=1)
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.envcheck(need, ...)*"])


def test_workers(pytester: pytest.Pytester, run: Run) -> None:
    """With pytest-xdist every worker collects the same items, whatever it finds."""
    pytest.importorskip("xdist")
    pytester.makepyfile(MARKED.format(needs='"sm>=8.0"'), test_bad=MARKED.format(needs='"cuda>>12"'))
    result = run("--envcheck", "-n", "2", facts=SERVER)
    assert result.ret == 1
    result.stdout.fnmatch_lines_random(
        [
            "FAILED envcheck::driver-too-old*",
            "marker envcheck: 'cuda>>12' is no need*",
            "*2 failed*1 error*",
        ]
    )


def test_import_tests_and_assumptions(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def snapshot(*, imports: bool = False, **_: object) -> Snapshot:
        asked.append(imports)
        found = Snapshot.from_facts(SERVER)
        found.stack.imports = [ImportTest(package="torch", module="torch", outcome="crash", error="SIGSEGV")] * imports
        return found

    monkeypatch.setattr(api, "_here", snapshot)
    (pytester.path / "envcheck.toml").write_text('[assume]\ndriver = "550.54.14"\n')
    pytester.makepyfile("def test_it(): pass")
    assert run("--envcheck").ret == pytest.ExitCode.OK
    result = run("--envcheck", "--envcheck-import")
    result.stdout.fnmatch_lines(["*Importing torch 2.5.1+cu124 crashes with SIGSEGV*"])
    assert asked == [False, True]
    (pytester.path / "envcheck.toml").write_text('[assume]\ngpu = "no such GPU"\n')
    result = run("--envcheck")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
