"""From an error message to its causes: signatures propose, rules decide, the engine folds.

- ``text``: what of a text, a file or a log is looked at.
- ``signatures``: the tables ``matrices/signatures-*.toml`` and what of a text matches them.
- ``values``: what a message states (versions, libraries, capabilities) as facts that the ordinary rules judge.
- ``merge``: facts of a message in a snapshot; what was found on the machine counts before what a message says.
- ``conditions``: which of the causes that a message can have are possible with the facts.
- ``ranking``: the causes in order, with what speaks for them.
- ``diagnose``: all of it.
"""

from __future__ import annotations
