"""The files of an installed package as they lie on disk now: missing, changed, or claimed by another package too.

What was installed stands in RECORD, for a package of conda in ``conda-meta/NAME.json``: conda writes its prefix into
some files, whose sizes and hashes in RECORD then no longer hold. The format is that of the conda enhancement proposal
"Management and structure of conda environments" (2025).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from envcheck.inspection.model import ChangedFile, InstalledFiles
from envcheck.probes.hashing import file_hash, supported
from envcheck.probes.records import RECORD_LIMIT, Record, parse
from envcheck.versions import canonical

HASH_SECONDS = 20.0
"""Hashing ends after so long; what is left is said."""
CONDA_LIMIT = 1 << 26

Progress = Callable[[str], None]


class Wanted(NamedTuple):
    """What the list says of one file."""

    path: str
    """As listed."""
    full: str
    """On this machine."""
    size: int | None
    digest: str
    """``sha256=...`` as in RECORD; empty: the list has none."""


def examine(name: str, folder: str, record: str, installer: str, tell: Progress) -> InstalledFiles:
    """Compare a package with its list of files: sizes of all, hashes of those whose size fits, within a time.

    ``folder``: the site folder; ``record``: the text of RECORD; ``installer``: that of INSTALLER. Never raises for
    what lies on disk.
    """
    wanted, source = None, "conda-meta"
    if installer.strip() == "conda":
        wanted = _conda_files(name, folder)
    if wanted is None:
        wanted, source = _from_record(folder, record), "RECORD"
    found = InstalledFiles(source=source, number=len(wanted))
    changes: dict[str, ChangedFile] = {}
    to_hash: list[tuple[int, Wanted]] = []
    for one in wanted:
        try:
            size = os.stat(one.full).st_size
        except (OSError, ValueError):  # ValueError: a NUL in a damaged list
            changes[one.path] = ChangedFile(path=one.path, state="missing", size=one.size)
            continue
        if one.size is not None and size != one.size:
            changes[one.path] = ChangedFile(path=one.path, state="size", size=one.size, size_there=size)
        elif one.digest:
            to_hash.append((size, one))
    _hash(found, changes, to_hash, tell)
    _claims(found, changes, name, folder, {one.path for one in wanted} if source == "RECORD" else set())
    found.changed = sorted(changes.values(), key=lambda change: (change.state, change.path))
    return found


def _from_record(folder: str, record: str) -> list[Wanted]:
    """Without the scripts: whoever moves an environment writes the path of its Python into them anew."""
    found = []
    for path, (digest, size) in parse(record).items():
        if path.startswith("..") and path.rpartition("/")[0].rpartition("/")[2] in ("bin", "Scripts"):
            continue
        full = os.path.normpath(os.path.join(folder, path))
        found.append(Wanted(path, full, int(size) if size.isascii() and size.isdigit() else None, digest))
    return found


def _hash(
    found: InstalledFiles, changes: dict[str, ChangedFile], to_hash: list[tuple[int, Wanted]], tell: Progress
) -> None:
    """The smallest first: so the time serves as many as possible."""
    to_hash.sort(key=lambda item: (item[0], item[1].path))
    deadline = time.monotonic() + HASH_SECONDS
    for number, (_, one) in enumerate(to_hash, 1):
        if time.monotonic() > deadline:
            break
        if number % 256 == 1 or number == len(to_hash):
            tell(f"hashing {os.path.basename(one.path)} ({number} of {len(to_hash)})")
        algorithm = one.digest.partition("=")[0]
        if not supported(algorithm):
            found.not_hashed += 1
            found.why = f"hash algorithm {algorithm[:40]!r} is not known"
            continue
        try:
            digest = file_hash(one.full, algorithm, deadline)
        except OSError as error:
            changes[one.path] = ChangedFile(path=one.path, state="unreadable", why=error.strerror or str(error))
            continue
        if digest is None:
            break
        found.hashed += 1
        if digest != one.digest.rstrip("="):
            changes[one.path] = ChangedFile(
                path=one.path, state="hash", size=one.size, size_there=one.size, hash=digest
            )
    else:
        return
    found.not_hashed += len(to_hash) - number + 1
    found.why = f"time limit of {HASH_SECONDS:.0f} s"


def _claims(found: InstalledFiles, changes: dict[str, ChangedFile], name: str, folder: str, mine: set[str]) -> None:
    """Other distributions of the folder that list the same files, and whether what is there is theirs."""
    for other, record in _others(folder, name):
        # An empty __init__.py of a folder that many share is all the same to all of them.
        shared = {path for path in mine & record.keys() if record[path].size != "0"}
        if not shared:
            continue
        found.shared[other] = len(shared)
        for path in shared & changes.keys():
            change, theirs = changes[path], record[path]
            if change.state == "size" and theirs.size == str(change.size_there) and not change.hash:
                change.hash = _late_hash(folder, path, theirs.digest) or ""
            if change.hash and change.hash == theirs.digest.rstrip("="):
                change.owner = other


def _late_hash(folder: str, path: str, digest: str) -> str | None:
    try:
        return file_hash(os.path.join(folder, path), digest.partition("=")[0], time.monotonic() + HASH_SECONDS / 4)
    except (OSError, ValueError):
        return None


def _others(folder: str, name: str) -> Iterable[tuple[str, Record]]:
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return
    for entry in entries:
        if not entry.endswith(".dist-info"):
            continue
        other = canonical(entry[:-10].rpartition("-")[0])
        if other == name:
            continue
        try:
            with open(f"{folder}/{entry}/RECORD", encoding="utf-8", errors="replace") as file:
                yield other, parse(file.read(RECORD_LIMIT))
        except OSError:
            continue


def _conda_files(name: str, folder: str) -> list[Wanted] | None:
    """From ``conda-meta`` of the prefix above the site folder; None where no package there holds this distribution."""
    import msgspec

    prefix = folder
    while not os.path.isdir(os.path.join(prefix, "conda-meta")):
        prefix, last = os.path.split(prefix)
        if not last:
            return None
    meta = os.path.join(prefix, "conda-meta")
    below = os.path.relpath(folder, prefix).replace(os.sep, "/")
    for entry in _likely_first(os.listdir(meta), name):
        try:
            with open(os.path.join(meta, entry), "rb") as file:
                data = msgspec.json.decode(file.read(CONDA_LIMIT))
            paths = data["paths_data"]["paths"]
            if any(_is_metadata(path["_path"], below, name) for path in paths):
                return [_from_conda(prefix, path) for path in paths if _comparable(path)]
        except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
            continue
    return None


def _likely_first(entries: list[str], name: str) -> list[str]:
    """The conda package of the same name, then the others: ``torch`` is in ``pytorch``."""
    files = sorted(entry for entry in entries if entry.endswith(".json"))
    return sorted(files, key=lambda entry: canonical(entry.rsplit("-", 2)[0]) != name)


def _is_metadata(path: str, below: str, name: str) -> bool:
    folder, _, file = path.rpartition("/")
    home, _, entry = folder.rpartition("/")
    if file != "METADATA" or not entry.endswith(".dist-info") or home != below:
        return False
    return canonical(entry[:-10].rpartition("-")[0]) == name


def _comparable(path: dict[str, Any]) -> bool:
    return path.get("path_type", "hardlink") == "hardlink" and "__pycache__" not in path["_path"]


def _from_conda(prefix: str, path: dict[str, Any]) -> Wanted:
    """A file into which the prefix was written has another hash than in the package, and mostly another size."""
    from base64 import urlsafe_b64encode

    relocated = bool(path.get("prefix_placeholder"))
    written = path.get("sha256_in_prefix") or ("" if relocated else path.get("sha256")) or ""
    try:
        digest = "sha256=" + urlsafe_b64encode(bytes.fromhex(written)).rstrip(b"=").decode() if written else ""
    except ValueError:
        digest = ""
    size = path.get("size_in_bytes")
    listed = path["_path"]
    full = os.path.normpath(os.path.join(prefix, listed))
    return Wanted(listed, full, size if isinstance(size, int) and not relocated else None, digest)
