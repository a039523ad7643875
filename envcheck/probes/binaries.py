"""The compiled files that the installed frameworks stand on: GPU code, needs, what the loader makes of them.

Which files these are is data (:mod:`envcheck.binaries.decisive`); no folder is walked, nothing is loaded or run. Only
on Linux: elsewhere nothing is said. GPU code is read where there is a sign of an NVIDIA GPU, or when a
snapshot is made.
"""

from __future__ import annotations

import sys
from typing import Any

from envcheck.core.snapshot import Absent, Binary, CodeSet, LibraryNeed, Package, Unknown, known
from envcheck.probes import nvidia_sign
from envcheck.probes.host import Host
from envcheck.probes.log import Log


def probe(host: Host, log: Log, packages: list[Package] | Absent | Unknown) -> list[Binary]:
    """One record for each decisive file of a known framework."""
    if host.platform != "linux":
        return []
    from envcheck.binaries.decisive import DECISIVE

    sites: dict[str, dict[str, None]] = {}
    found_packages = known(packages) or []
    torch = next((known(package.version) for package in found_packages if package.name == "torch"), None)
    pin = f"torch=={(torch or '').partition('+')[0]}"
    for package in found_packages:
        location = known(package.location)
        if package.name in DECISIVE and location is not None and known(package.version) is not None:
            requires = known(package.requires) or ()
            made_for_it = bool(torch) and any(_plain(line) == pin for line in requires if line.startswith("torch"))
            sites.setdefault(location, {})[package.name + "!" * made_for_it] = None
    code = "code" if host.thorough or nvidia_sign(host) else "no-code"
    found: list[Binary] = []
    for site, names in sites.items():
        with log.attempt("binaries", site) as attempt:
            try:
                records = host.query("binaries", code, site, *names)
            except ValueError as error:
                attempt.failed(str(error))
                continue
            here = [binary for record in records if (binary := _binary(record)) is not None]
            attempt.found(f"{len(here)} files of {len(names)} packages")
            found += here
    return found


def _plain(requirement: str) -> str:
    """``torch (==2.7.1)``, as older metadata have it, is ``torch==2.7.1``."""
    return requirement.replace(" ", "").replace("(", "").replace(")", "")


def _binary(record: Any) -> Binary | None:
    if not isinstance(record, dict):
        return None
    values: dict[str, Any] = {
        name: [LibraryNeed(**need) for need in record.get(name, ())]
        for name in ("missing", "elsewhere", "lacking", "undefined", "versions", "loads")
    }
    plain = ("package", "path", "role", "needs", "error")
    values.update((name, record[name]) for name in plain if name in record)
    return Binary(code=[CodeSet(**one) for one in record.get("code", ())], **values)


def query_binaries(host: Host, code: str, site: str, *packages: str) -> list[dict[str, Any]]:
    """See :class:`envcheck.binaries.evidence.Environment`."""
    from _imp import extension_suffixes

    from envcheck.binaries.evidence import Environment
    from envcheck.binaries.screen import key

    try:
        kind, _, version = str(host.query("confstr-libc")).partition(" ")
    except (OSError, ValueError):
        kind, version = "", ""
    conda = host.isdir(f"{sys.base_prefix}/conda-meta")
    environment = Environment(
        site,
        suffixes=extension_suffixes(),
        program=sys.executable,
        env=host.env,
        libc=key(version) if kind == "glibc" else (),
        # conda's interpreter has a search path of its own, which everything in the process inherits.
        exact=conda,
        gpu_code=code == "code",
    )
    return environment.read(packages)
