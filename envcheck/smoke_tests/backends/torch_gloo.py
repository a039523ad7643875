"""The all-reduce by Gloo over two processes on the CPU, as :class:`.torch.Torch` has it.

Forked right after the import, so that it costs some milliseconds beside the other tests. When the forked group does
not come to a good end, a spawned one, which is what a user would start, has the last word.
"""

from __future__ import annotations

import sys
from typing import Any

from envcheck.smoke_tests import asked_for
from envcheck.smoke_tests.backends import Missing, Unsupported
from envcheck.smoke_tests.backends.torch_distributed import FORKED, SPAWNED, Group

UNRESOLVED = "Unable to resolve hostname"
"""How torch says that it falls back to the loopback (ProcessGroupGloo.cpp, createDefaultDevice)."""
DEVICES = ["cpu", "cpu"]


class Gloo:
    """Made after the import and before anything is computed."""

    def __init__(self, torch: Any, request: dict[str, Any]) -> None:
        self.torch, self.folder = torch, str(request.get("folder") or "")
        self.thorough = bool(request.get("thorough"))
        self.seconds = float(request.get("seconds") or 180.0)
        self.forked: Group | None = None
        self.refused: OSError | None = None
        wanted = asked_for("cpu", "cpu", None, request.get("only") or []) and "cpu" not in request.get("skip", ())
        wanted = wanted and not request.get("model")
        if sys.platform == "linux" and wanted and self.folder and not self.lacks():
            try:
                self.forked = Group("gloo", "gloo", DEVICES, self.folder, min(FORKED, self.seconds / 4)).fork()
            except OSError as error:
                self.refused = error

    def lacks(self) -> str:
        """What the build has not, and says so."""
        distributed = getattr(self.torch, "distributed", None)
        if distributed is None or not distributed.is_available():
            return f"torch {self.torch.__version__} was built without torch.distributed"
        has = getattr(distributed, "is_gloo_available", None) or (lambda: hasattr(distributed, "ProcessGroupGloo"))
        return "" if has() else f"torch {self.torch.__version__} was built without Gloo"

    def step(self) -> str | None:
        """The step itself. Raises RuntimeError when the processes cannot add up what they have."""
        lacks = self.lacks()
        if lacks:
            raise Unsupported(lacks)
        if not self.folder:
            raise Missing("there is no folder where the processes could meet")
        if full := unwritable(self.folder):
            raise Missing(f"the temporary folder, where the processes meet, can't be written to: {full}")
        if self.refused is not None:
            raise RuntimeError(f"no process could be started: {self.refused.strerror or self.refused}")
        if self.forked is not None:
            try:
                return self.note(self.forked.wait())
            except RuntimeError:
                pass  # it may be the fork's fault: see below
        elif not self.thorough:
            raise Missing("two processes that import torch anew are started by a thorough test only")
        try:
            return self.note(
                Group("gloo", "gloo-anew", DEVICES, self.folder, min(SPAWNED, self.seconds / 3)).spawn().wait()
            )
        except RuntimeError as error:
            raise RuntimeError(f"{error}; {self.host()}") from None

    def note(self, said: str) -> str | None:
        """What is worth knowing of processes that came to a good end."""
        if UNRESOLVED in said:
            return f"Gloo fell back to the loopback, where no other machine is reached; {self.host()}"
        return None

    def host(self) -> str:
        """Where Gloo listens: at the address of the machine's name, unless it is told an interface."""
        import os
        import socket

        interface = os.environ.get("GLOO_SOCKET_IFNAME")
        if interface:
            return f"GLOO_SOCKET_IFNAME is {interface}"
        name = socket.gethostname()
        try:
            address = str(socket.getaddrinfo(name, None)[0][4][0])
        except OSError as error:
            found = f"can't be resolved ({error.strerror or error})"
        else:
            found = f"is {address}"
        return f"the name of this machine, {name}, {found}; GLOO_SOCKET_IFNAME tells Gloo another interface, such as lo"


def unwritable(folder: str) -> str:
    """Why no file can be written there; empty when one can. A full disk would look like a fault of the network."""
    import os

    path = os.path.join(folder, "gloo-try")
    try:
        with open(path, "wb") as file:
            file.write(bytes(4096))
        os.unlink(path)
    except OSError as error:
        return error.strerror or str(error)
    return ""
