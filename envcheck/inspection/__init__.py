"""What compiled files, wheels and installed packages say of themselves, and whether a wheel would work on a machine.

>>> from envcheck.inspection import inspect
>>> found = inspect("torch-2.6.0-cp311-cp311-manylinux1_x86_64.whl", matrix)      # doctest: +SKIP
>>> found.libraries[0].cuda.targets                                               # doctest: +SKIP
"""

from __future__ import annotations

from envcheck.inspection.model import Inspection as Inspection
from envcheck.inspection.subject import InspectError as InspectError
from envcheck.inspection.subject import inspect as inspect
