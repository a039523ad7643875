"""From an error message to its causes: signatures propose, rules decide, the engine folds.

- ``text``: what of a text, a file or a log is looked at.
- ``signatures``: the tables ``matrices/signatures-*.toml`` and what of a text matches them.
- ``codes``: error codes, by number, name or text, in the tables of CUDA and NVML.
- ``values``: what a message states (versions, libraries, capabilities) as facts that the ordinary rules judge.
- ``merge``: facts of a message in a snapshot; what was found on the machine counts before what a message says.
- ``conditions``: which of the causes that a message can have are possible with the facts.
- ``lookups``: conditions that ask the tables: which wheels there are, which library is there under another number.
- ``judged``: the rules' verdict on a snapshot, kept while the snapshot stays as it is.
- ``ranking``: the causes in order, with what speaks for them.
- ``diagnose``: all of it; ``explain``: beside a traceback.
"""

from __future__ import annotations
