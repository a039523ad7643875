"""The system as the probes see it: live, recorded, or live while being recorded.

Probes read files, list folders, run commands and ask queries only through a :class:`Host`. So a machine can be
recorded once and its probes replayed anywhere, with the same code.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from envcheck.probes.smoke_options import SmokeOptions

READ_LIMIT = 4 * 1024 * 1024
"""No text that a probe reads is larger; what lies behind is cut off."""


LEFT_BEHIND = "; it could not be killed (it sleeps in the kernel) and was left behind"


class Ran(Struct, frozen=True):
    """What became of a command."""

    status: str
    """``done``, ``not-found``, ``timeout``, ``abandoned`` (at the deadline it could not even be killed: it sleeps in
    the kernel, and was left behind), ``memory`` (it took more than it may) or ``failed`` (could not be started)."""
    code: int
    """Exit code; negative: the signal that ended it."""
    stdout: str
    stderr: str

    @property
    def trouble(self) -> str:
        """Why it did not come to an end, in words; empty when it did."""
        if self.status == "done":
            return ""
        if self.status in ("timeout", "abandoned"):
            return (
                f"{self.stderr.strip()[:200] or 'no answer in time'}{LEFT_BEHIND if self.status == 'abandoned' else ''}"
            )
        return self.stderr.strip()[:200] or self.status


def possible(path: str) -> str:
    """The path, unless no file can be called so: paths are read from files, which may hold anything."""
    if "\0" in path:
        raise FileNotFoundError(2, "a path has no NUL", path)
    return path


class Host:
    """The live system."""

    def __init__(self, env: Mapping[str, str] | None = None, deadline: float | None = None) -> None:
        self.env: Mapping[str, str] = os.environ if env is None else env
        self.platform = sys.platform
        self.thorough = False
        """Somebody asks for facts that matter on other machines."""
        self.deadline = deadline
        """``time.monotonic()`` value after which nothing is started or waited for any more."""
        self.smoke: SmokeOptions | None = None
        """What is asked of the smoke tests; None: they run with all that is usual."""
        self.progress: Callable[[str], None] | None = None
        """Told of what takes long."""
        self.started: Callable[[], None] | None = None
        """Told when a smoke test runs: what else there is to do can be done beside it."""

    def read(self, path: str, limit: int = READ_LIMIT) -> str:
        """Text of a file, at most ``limit`` bytes, undecodable bytes as U+FFFD. Raises OSError."""
        return self._bytes(possible(path), limit).decode("utf-8", "replace")

    def read_bytes(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """What a file holds, at most ``limit`` bytes. Raises OSError."""
        return self._bytes(possible(path), limit)

    def _bytes(self, path: str, limit: int) -> bytes:
        # O_NONBLOCK: a FIFO in the place of a file must not hang us.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            parts, left = [], limit
            while left > 0 and (part := os.read(handle, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        finally:
            os.close(handle)
        return b"".join(parts)

    def listdir(self, path: str) -> list[str]:
        """Sorted names in a folder. Raises OSError."""
        return sorted(os.listdir(possible(path)))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def isdir(self, path: str) -> bool:
        return os.path.isdir(path)

    def realpath(self, path: str) -> str:
        """The path with all links followed (of the part that exists)."""
        return path if "\0" in path else os.path.realpath(path)

    def which(self, name: str) -> str | None:
        """The command that the PATH would run."""
        if "/" in name or "\\" in name:
            return name if self.exists(name) else None
        suffix = ".exe" if self.platform == "win32" else ""
        for folder in self.env.get("PATH", "").split(os.pathsep):
            path = os.path.join(folder, name + suffix)
            if folder and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        return None

    def run(self, argv: Sequence[str], timeout: float = 10.0, env: Mapping[str, str] | None = None) -> Ran:
        """Run a command in its own session, kill its whole group at the deadline; never raises for what it does."""
        from envcheck.probes.child import run

        return run(argv, self.seconds_left(timeout), dict(self.env if env is None else env))

    def query(self, name: str, *arguments: str) -> Any:
        """A fact that is neither a file nor a command, as plain JSON; see :mod:`envcheck.probes.queries`.

        May raise OSError or ValueError.
        """
        return _query(name)(self, *arguments)

    def seconds_left(self, wanted: float) -> float:
        if self.deadline is None:
            return wanted
        return max(0.0, min(wanted, self.deadline - time.monotonic()))


def _query(name: str) -> Callable[..., Any]:
    from envcheck.probes import queries

    function: Callable[..., Any] = getattr(queries, "query_" + name.replace("-", "_"))
    return function


class RecordedHost(Host):
    """A machine from a folder: ``files/`` (what was read) and ``host.json``.

    ``host.json`` holds ``env``, ``platform``, ``links`` {path: target}, ``files`` {path: null} (exists, text not
    kept), ``folders`` {path: [names]}, ``commands`` {"argv joined by space": [status, code, stdout, stderr]},
    ``queries`` {"name argument ...": value}. What is not recorded is not there.
    """

    def __init__(self, folder: str) -> None:
        import json

        with open(os.path.join(folder, "host.json"), encoding="utf-8") as file:
            data = json.load(file)
        super().__init__(env=data.get("env", {}))
        self.platform = data.get("platform", "linux")
        self.folder = folder
        links: dict[str, str] = data.get("links", {})
        # Of a link and the link of a folder above it, the longer one knows more.
        self.links = {path: links[path] for path in sorted(links, key=len, reverse=True)}
        self.others: set[str] = set(data.get("files", ()))
        self.folders: dict[str, list[str]] = data.get("folders", {})
        self.commands: dict[str, list[Any]] = data.get("commands", {})
        self.queries: dict[str, Any] = data.get("queries", {})
        self._names = self._walk()

    def _walk(self) -> dict[str, set[str]]:
        """Folder -> names, from the files kept and all paths named."""
        names: dict[str, set[str]] = {}
        base = os.path.join(self.folder, "files")
        paths = [*self.others, *self.links, *self.folders]
        for top, _, files in os.walk(base):
            paths += ["/" + os.path.relpath(os.path.join(top, name), base).replace(os.sep, "/") for name in files]
        for path in paths:
            while path not in ("/", ""):
                parent, _, name = path.rpartition("/")
                names.setdefault(parent or "/", set()).add(name)
                path = parent
        for folder, entries in self.folders.items():
            names.setdefault(folder, set()).update(entries)
        return names

    def realpath(self, path: str) -> str:
        path = os.path.normpath(path)
        for _ in range(40):
            for link, target in self.links.items():
                if path == link or path.startswith(link + "/"):
                    joined = os.path.join(os.path.dirname(link), target) + path[len(link) :]
                    path = os.path.normpath(joined)
                    break
            else:
                return path
        return path

    def _bytes(self, path: str, limit: int) -> bytes:
        real = self.realpath(path)
        try:
            with open(os.path.join(self.folder, "files", real.lstrip("/")), "rb") as file:
                return file.read(limit)
        except OSError:
            raise FileNotFoundError(2, "not in the recording", path) from None

    def listdir(self, path: str) -> list[str]:
        real = self.realpath(path).rstrip("/") or "/"
        if real not in self._names:
            raise FileNotFoundError(2, "not in the recording", path)
        return sorted(self._names[real])

    def exists(self, path: str) -> bool:
        real = self.realpath(path)
        parent, _, name = real.rpartition("/")
        return real == "/" or name in self._names.get(parent or "/", ())

    def isdir(self, path: str) -> bool:
        return (self.realpath(path).rstrip("/") or "/") in self._names

    def which(self, name: str) -> str | None:
        for folder in self.env.get("PATH", "").split(":"):
            if folder and self.exists(os.path.join(folder, name)):
                return os.path.join(folder, name)
        return None

    def run(self, argv: Sequence[str], timeout: float = 10.0, env: Mapping[str, str] | None = None) -> Ran:
        found = self.commands.get(" ".join(argv))
        return Ran(*found) if found else Ran("not-found", 127, "", "not in the recording")

    def query(self, name: str, *arguments: str) -> Any:
        key = " ".join((name, *arguments))
        if key not in self.queries:
            raise FileNotFoundError(2, "not in the recording", key)
        return self.queries[key]


class RecordingHost(Host):
    """The live system, with everything that is asked kept for a :class:`RecordedHost`; see ``save``."""

    def __init__(self, env: Mapping[str, str] | None = None, deadline: float | None = None) -> None:
        super().__init__(env, deadline)
        self.texts: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        self.data: dict[str, dict[str, Any]] = {"links": {}, "files": {}, "folders": {}, "commands": {}, "queries": {}}

    def read(self, path: str, limit: int = READ_LIMIT) -> str:
        text = super().read(path, limit)
        self.texts[self.realpath(path)] = text
        return text

    def read_bytes(self, path: str, limit: int = READ_LIMIT) -> bytes:
        data = super().read_bytes(path, limit)
        real = self.realpath(path)
        if len(data) >= len(self.blobs.get(real, b"")):
            self.blobs[real] = data
        return data

    def listdir(self, path: str) -> list[str]:
        names = super().listdir(path)
        self.data["folders"][self.realpath(path)] = names
        return names

    def exists(self, path: str) -> bool:
        if found := super().exists(path):
            self.data["files"][self.realpath(path)] = None
        return found

    def isdir(self, path: str) -> bool:
        if found := super().isdir(path):
            self.data["folders"].setdefault(self.realpath(path), [])
        return found

    def realpath(self, path: str) -> str:
        if path.startswith("/proc/self/"):
            return os.path.normpath(path)  # the number of this process means nothing later
        real = super().realpath(path)
        if real != os.path.normpath(path):
            self.data["links"][os.path.normpath(path)] = real
        return real

    def which(self, name: str) -> str | None:
        if found := super().which(name):
            self.data["files"][found] = None
        return found

    def run(self, argv: Sequence[str], timeout: float = 10.0, env: Mapping[str, str] | None = None) -> Ran:
        ran = super().run(argv, timeout, env)
        self.data["commands"][" ".join(argv)] = [ran.status, ran.code, ran.stdout, ran.stderr]
        return ran

    def query(self, name: str, *arguments: str) -> Any:
        value = super().query(name, *arguments)
        self.data["queries"][" ".join((name, *arguments))] = value
        return value

    def save(self, folder: str, redact: Callable[[str], str], env: Mapping[str, str]) -> None:
        """Write the recording; ``redact`` is applied to every text, ``env`` is the allow-listed environment."""
        import json

        os.makedirs(folder, exist_ok=True)
        for path, text in self.texts.items():
            target = os.path.join(folder, "files", redact(path).lstrip("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                file.write(redact(text))
        for path, data in self.blobs.items():
            # Replacing text inside of binary data would move its offsets: what holds something private is not kept.
            if path not in self.texts and redact(text := data.decode("latin-1")) == text:
                target = os.path.join(folder, "files", redact(path).lstrip("/"))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target, "wb") as blob:
                    blob.write(data)
        body = {"platform": self.platform, "env": dict(env), **self.data}
        with open(os.path.join(folder, "host.json"), "w", encoding="utf-8") as file:
            json.dump(json.loads(redact(json.dumps(body))), file, indent=1, sort_keys=True)
            file.write("\n")
