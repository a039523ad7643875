"""What is said of modules that hide installed packages, alone and with what tests of imports saw."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.core.report import Finding
from envcheck.core.snapshot import Absent, EnvVar, ImportTest, Package, Shadow, SmokeStage, SmokeTest, Snapshot
from envcheck.engine import evaluate
from envcheck.matrix import Matrix

SITE = "/venv/lib/python3.11/site-packages"


def judge(*shadows: Shadow, **stack: Any) -> tuple[str, list[Finding]]:
    snapshot = Snapshot()
    snapshot.stack.packages = [Package(name="torch", version="2.6.0", location=SITE, requires=[])]
    snapshot.stack.shadows = list(shadows) or Absent("nothing stands before what is installed")
    smoke = stack.pop("smoke", [])
    for name, value in stack.items():
        setattr(snapshot.stack, name, value)
    snapshot.smoke = smoke
    report = evaluate(snapshot, Matrix.load(), select=("package-conflict", "import-failure", "smoke-failure"))
    return report.verdict, report.findings


def torch_py(via: str = "PYTHONPATH", path: str = "/app/torch.py", **more: Any) -> Shadow:
    given = {"hides": f"{SITE}/torch", "package": "torch", "hidden_version": "2.6.0", "compiled": False}
    return Shadow(name="torch", path=path, via=via, **(given | more))


def secrets_py(via: str = "PYTHONPATH") -> Shadow:
    standard = Absent("of the standard library")
    return Shadow(name="secrets", path="/app/secrets.py", via=via, hides=standard, package=standard, compiled=False)


def test_nothing_is_said_of_a_healthy_path() -> None:
    assert judge() == ("ok", [])


@pytest.mark.parametrize(
    ("shadow", "severity", "says"),
    [
        (torch_py(), "error", "/app/torch.py hides the installed torch 2.6.0"),
        (torch_py(via="sys.path"), "error", "first on sys.path"),
        (torch_py(via="the current folder"), "warning", "a program that starts in /app takes it"),
        (torch_py(path="/src/torch"), "error", "sources that were not built"),
        (torch_py(path="/src/torch", compiled=True), "warning", "a copy of its own"),
        (torch_py(path="/src/torch", compiled=Absent("neither")), "warning", "a copy of its own"),
        (secrets_py(), "warning", "the module secrets of the standard library"),
    ],
)
def test_how_much_it_weighs(shadow: Shadow, severity: str, says: str) -> None:
    verdict, (finding,) = judge(shadow)
    assert (finding.rule, finding.severity) == ("package-conflict", severity)
    assert verdict == ("problem" if severity == "error" else "ok")
    assert says in finding.message
    assert shadow.path in finding.evidence[0].fact
    assert all(shadow.path in f"{fix.command}{fix.note}" or fix.verify for fix in finding.fixes)


def test_the_file_gets_another_name() -> None:
    _, (finding,) = judge(torch_py(via="sys.path"))
    assert [fix.command for fix in finding.fixes] == ["mv '/app/torch.py' '/app/my_torch.py'"]


def test_a_second_copy() -> None:
    copy = torch_py(path="/home/x/.local/site-packages", version="2.1.0", hides=SITE)
    verdict, (finding,) = judge(copy)
    assert (verdict, finding.severity, finding.fixes[0].command) == ("ok", "warning", "unset PYTHONPATH")
    copy.via = "the user's site folder"
    _, (finding,) = judge(copy)
    assert (finding.severity, finding.fixes[0].command) == ("info", "export PYTHONNOUSERSITE=1")


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/opt/py/lib/python3.8/site-packages", True),
        ("/usr/lib/python3/dist-packages", False),
        ("/venv/lib/python3.11/site-packages", False),
        ("/srv/plugins", False),
    ],
)
def test_pythonpath_of_another_python(folder: str, said: bool) -> None:
    env = [EnvVar(name="PYTHONPATH", value=f"/src:{folder}")]
    numpy = Package(name="numpy", version="1.24.4", location=folder, requires=[])
    snapshot_stack: dict[str, Any] = {"env": env, "packages": [numpy]}
    from envcheck.core.snapshot import Python

    _, findings = judge(python=Python(version="3.11.4"), **snapshot_stack)
    assert [finding.subject for finding in findings] == (["PYTHONPATH with packages of Python 3.8"] if said else [])
    # Nothing of it is there: nobody takes it.
    assert judge(python=Python(version="3.11.4"), env=env)[1] == []


def test_an_import_that_failed_of_it() -> None:
    error = "ImportError: cannot import name 'token_hex' from 'secrets' (/app/secrets.py)"
    test = ImportTest(package="transformers", module="transformers", outcome="error", error=error)
    verdict, (finding,) = judge(secrets_py(), imports=[test])
    assert (verdict, finding.rule, finding.severity, finding.confidence) == (
        *("problem", "package-conflict", "error", "high"),
    )
    assert [one.rule for one in finding.consequences] == ["import-failure"]
    other = ImportTest(
        package="torch", module="torch", outcome="error", error="ImportError: libcudnn.so.9: cannot open"
    )
    assert {one.rule for one in judge(secrets_py(), imports=[other])[1]} == {"package-conflict", "import-failure"}


def test_an_import_that_took_it() -> None:
    test = ImportTest(package="torch", module="torch", outcome="ok", error=Absent("no"), file="/src/torch/__init__.py")
    _, (finding,) = judge(torch_py(path="/src/torch", compiled=True), imports=[test])
    assert finding.evidence[0].fact == "import torch took /src/torch/__init__.py"
    test.file = f"{SITE}/torch/__init__.py"
    _, (finding,) = judge(torch_py(path="/src/torch", compiled=True), imports=[test])
    assert "took" not in finding.evidence[0].fact


def test_a_smoke_test_that_failed_of_it() -> None:
    error = "AttributeError: module 'torch' has no attribute '__version__'"
    test = SmokeTest(backend="torch", outcome="failed", stage="import", error=error)
    test.stages = [SmokeStage(name="import", status="failed", error=error)]
    verdict, (finding,) = judge(torch_py(), smoke=[test])
    assert (verdict, finding.rule) == ("problem", "package-conflict")
    assert [one.rule for one in finding.consequences] == ["smoke-failure"]
