"""envcheck: will this deep-learning stack run on this machine? If not: what is wrong, how do we know, what mends it.

>>> import envcheck
>>> envcheck.report()            # here x here, printed nicely
>>> envcheck.report().raise_for_problems()
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from envcheck._version import __version__ as __version__
    from envcheck.api import check as check
    from envcheck.api import diagnose as diagnose
    from envcheck.api import diff as diff
    from envcheck.api import inspect as inspect
    from envcheck.api import report as report
    from envcheck.api import smoke as smoke
    from envcheck.api import snapshot as snapshot
    from envcheck.core.report import EnvironmentProblem as EnvironmentProblem
    from envcheck.core.report import Evidence as Evidence
    from envcheck.core.report import Finding as Finding
    from envcheck.core.report import Fix as Fix
    from envcheck.core.report import Outcome as Outcome
    from envcheck.core.report import Report as Report
    from envcheck.core.snapshot import Absent as Absent
    from envcheck.core.snapshot import Machine as Machine
    from envcheck.core.snapshot import Snapshot as Snapshot
    from envcheck.core.snapshot import SnapshotError as SnapshotError
    from envcheck.core.snapshot import Stack as Stack
    from envcheck.core.snapshot import Unknown as Unknown
    from envcheck.diagnosis.explain import explain_failures as explain_failures
    from envcheck.diagnosis.explain import install_excepthook as install_excepthook
    from envcheck.diagnosis.model import Cause as Cause
    from envcheck.diagnosis.model import Diagnosis as Diagnosis
    from envcheck.diagnosis.text import DiagnosisError as DiagnosisError
    from envcheck.inspection.model import Inspection as Inspection
    from envcheck.inspection.subject import InspectError as InspectError
    from envcheck.probes.smoke_options import SmokeError as SmokeError

_WHERE = {
    "__version__": "_version",
    "report": "api",
    "smoke": "api",
    "check": "api",
    "snapshot": "api",
    "diff": "api",
    "diagnose": "api",
    "explain_failures": "diagnosis.explain",
    "install_excepthook": "diagnosis.explain",
    "Cause": "diagnosis.model",
    "Diagnosis": "diagnosis.model",
    "DiagnosisError": "diagnosis.text",
    "inspect": "api",
    "EnvironmentProblem": "core.report",
    "Evidence": "core.report",
    "Finding": "core.report",
    "Fix": "core.report",
    "Outcome": "core.report",
    "Report": "core.report",
    "Absent": "core.snapshot",
    "Machine": "core.snapshot",
    "Snapshot": "core.snapshot",
    "SnapshotError": "core.snapshot",
    "Stack": "core.snapshot",
    "Unknown": "core.snapshot",
    "Inspection": "inspection.model",
    "InspectError": "inspection.subject",
    "SmokeError": "probes.smoke_options",
}
"""Public names and the module each comes from; imported when first used, so that ``import envcheck`` costs nothing."""

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'envcheck' has no attribute {name!r}")
    import sys

    module = f"envcheck.{_WHERE[name]}"
    __import__(module)
    value: object = getattr(sys.modules[module], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
