"""Runs the smoke tests of one framework and tells what happens; a script, run as ``python child.py REQUEST``.

REQUEST is JSON: ``backend`` (its name), ``module`` (of the backend), ``seconds``, and what
:func:`envcheck.smoke_tests.steps.run` takes. What is told are lines of JSON on the stdout that this script was started
with; what the framework writes there goes to stderr. The last line is ``{"done": true}``: without it the tests did not
come to their end, whatever the exit code says.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType


def main() -> None:
    import json

    # Python puts the folder of this script first; a user's program does not have it.
    here = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0] or ".") == here:
        del sys.path[0]
    request = json.loads(sys.argv[1])
    channel = os.dup(1)
    os.dup2(2, 1)
    sys.argv = [""]
    bare_packages(os.path.dirname(here))
    from envcheck.probes.import_child import guard, watch

    seconds = float(request["seconds"])
    guard(seconds)
    import faulthandler

    faulthandler.enable(file=channel, all_threads=False)
    faulthandler.dump_traceback_later(max(seconds * 0.9, seconds - 2), file=channel)
    watch(channel)
    from envcheck.smoke_tests.steps import Teller, run

    tell = Teller(channel)
    run(request, tell)
    tell({"done": True})
    # An orderly end could crash or hang too; that would say nothing of the tests.
    os._exit(0)


def bare_packages(folder: str) -> None:
    """Make ``envcheck`` and its packages known without running their ``__init__``, nor changing ``sys.path``: what
    they import is not installed for every Python that has a framework.
    """
    for name, path in (("envcheck", folder), ("envcheck.probes", os.path.join(folder, "probes"))):
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = [path]


if __name__ == "__main__":
    main()
