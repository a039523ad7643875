"""Record this machine for tests/machines: ``python tests/tools/record_machine.py FOLDER [--map OLD=NEW ...]``.

Everything that the probes read, list, run and ask is written to FOLDER, redacted: home folders become /home/someone,
host and user names and credentials go, UUIDs become hashes, and of the environment only the allow-listed variables
stay. ``--map`` renames folders that should not be seen; ``--only cuda.h=CUDA_VERSION`` keeps of a file only the lines
with that word (for files that may not be copied in full). FOLDER gets an ``expected.json`` with the facts that the
recording gives when it is replayed; cut it down to what the recording is meant to show.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

PROBE_SIGNS = ("KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
"""Variables of which the probes only ask whether they are set."""
SECONDS = 60.0
LEFT_OUT = ("probes", "created", "envcheck", "schema")


# From a checkout, without installing it into the environment that is recorded.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def redactor(renames: list[tuple[str, str]]) -> Callable[[str], str]:
    """A function that makes a text safe to publish. Paths stay absolute, so that the probes can follow them."""
    from envcheck.probes.redact import hostname, identifies, redact

    home = os.path.expanduser("~")
    user = os.path.basename(home)

    def clean(text: str) -> str:
        for old, new in renames:
            text = re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w.-])", new.replace("\\", "\\\\"), text)
        if home != "/root":
            text = text.replace(home, "/home/someone")
        text = re.sub(r"(/home/|/Users/)[^/\\:;\s\"']+", r"\1someone", text)
        # What follows would make "~" of a home folder, which no probe could read.
        text = text.replace("/home/", "/\0home/").replace("/Users/", "/\0Users/").replace("/root", "/\0root")
        text = redact(text, "", hostname(), user if identifies(user) else "")
        return text.replace("/\0", "/")

    return clean


def differences(live: Any, replayed: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(place, live, replayed) of every fact that the recording gives differently."""
    if isinstance(live, dict) and isinstance(replayed, dict):
        for key in sorted({*live, *replayed} - ({*LEFT_OUT} if not path else set())):
            yield from differences(live.get(key), replayed.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(live, list) and isinstance(replayed, list) and len(live) == len(replayed):
        for place, (was, now) in enumerate(zip(live, replayed, strict=True)):
            yield from differences(was, now, f"{path}[{place}]")
    elif live != replayed:
        yield path, live, replayed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="a new folder; its name ends with --ok or --RULE+RULE")
    parser.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="rename a folder")
    parser.add_argument("--only", action="append", default=[], metavar="FILE=WORD", help="keep these lines of a file")
    parser.add_argument("--smoke", action="store_true", help="run the smoke tests and keep what they tell")
    arguments = parser.parse_args()
    if os.path.exists(arguments.folder):
        parser.error(f"{arguments.folder} is there already")
    import time

    from envcheck.probes import collect
    from envcheck.probes.host import RecordedHost, RecordingHost
    from envcheck.probes.redact import ENV_ALLOWED

    clean = redactor([(old, new) for old, _, new in (pair.partition("=") for pair in arguments.map)])
    host = RecordingHost(deadline=time.monotonic() + SECONDS)
    live = collect(host, smoke=arguments.smoke)
    env = {name: clean(host.env[name]) for name in ENV_ALLOWED if name in host.env}
    env |= dict.fromkeys((name for name in PROBE_SIGNS if name in host.env), "set")
    for path, text in host.texts.items():
        if path.endswith("/METADATA"):
            # What follows the headers is the README; no probe reads it.
            host.texts[path] = text.partition("\n\n")[0] + "\n"
    for name, word in (pair.split("=", 1) for pair in arguments.only):
        for path, text in host.texts.items():
            if path.endswith("/" + name):
                host.texts[path] = "".join(line for line in text.splitlines(keepends=True) if word in line)
    host.save(arguments.folder, clean, env)
    replayed = collect(RecordedHost(arguments.folder), smoke=arguments.smoke)
    facts = {key: value for key, value in replayed.to_dict().items() if key not in LEFT_OUT}
    with open(os.path.join(arguments.folder, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.write("\n")
    for failed in (run for run in replayed.probes if run.status in ("failed", "timeout", "skipped") and run.where):
        print(f"{failed.probe}: {failed.status}: {failed.detail} ({failed.where})", file=sys.stderr)
    for path, was, now in differences(live.to_dict(), replayed.to_dict()):
        print(f"{path}: live {was!r}, replayed {now!r}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
