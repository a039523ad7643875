"""RECORD: the files that a distribution installed, with sizes and hashes; and what is on disk in their place.

Format: the packaging specification "Recording installed projects". A file that two distributions claim lies on disk
once: its size tells whose it is, and where both are of one size, its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from envcheck.core.snapshot import Absent, FileClash, Package, Text, Unknown, known
from envcheck.probes.host import Host
from envcheck.probes.log import Log
from envcheck.versions import canonical, compare_numbers

RECORD_LIMIT = 16 * 1024 * 1024
SHOWN = 10
"""Clashing or missing files that are kept for each group of owners, compiled ones first."""
HASH_LIMIT = 256 * 1024 * 1024
"""Bytes that a plain check hashes at most. Only files of one size in two RECORDs are hashed at all."""
COMPILED = (".so", ".pyd", ".dll", ".dylib")


class Recorded(NamedTuple):
    """What RECORD says of one file."""

    digest: str
    """``sha256=`` and the URL-safe base64 of the hash."""
    size: str
    """In bytes; may be empty."""


Record = dict[str, Recorded]
"""By path below the site folder, with ``/``."""


def parse(text: str) -> Record:
    """The files with a hash. Left out: what installers write themselves (``*.dist-info``) and compiled bytecode."""
    found: Record = {}
    for line in text.splitlines():
        rest, _, size = line.rpartition(",")
        path, _, digest = rest.rpartition(",")
        if len(path) > 1 and path[0] == '"' == path[-1]:
            path = path[1:-1].replace('""', '"')
        path = path.replace("\\", "/")
        if path and digest and ".dist-info/" not in path and "__pycache__" not in path:
            found[path] = Recorded(digest, size)
    return found


def read(host: Host, location: str, name: str, version: str) -> Record:
    """The files of a distribution. Raises OSError."""
    wanted = f"-{version}.dist-info"
    for entry in host.listdir(location):
        if entry.endswith(wanted) and canonical(entry[: -len(wanted)]) == name:
            return parse(host.read(f"{location}/{entry}/RECORD", RECORD_LIMIT))
    raise FileNotFoundError(2, "no dist-info", name)


def is_compiled(path: str) -> bool:
    return path.endswith(COMPILED) or ".so." in path


def clashes(host: Host, log: Log, location: str, packages: list[Package]) -> list[FileClash]:
    """Files that differ between the RECORDs of these packages of one folder. Raises OSError: one can't be read."""
    records = {
        package.name: {
            path: entry
            for path, entry in read(host, location, package.name, known(package.version) or "").items()
            if not path.startswith("..")
        }
        for package in packages
    }
    owners: dict[str, dict[str, Recorded]] = {}
    for name, files in records.items():
        for path, entry in files.items():
            owners.setdefault(path, {})[name] = entry
    groups: dict[tuple[str, ...], list[str]] = {}
    for path, claims in owners.items():
        if len(claims) > 1 and len({entry.digest for entry in claims.values()}) > 1:
            groups.setdefault(tuple(sorted(claims)), []).append(path)
    for group, path in _hidden(records):
        groups.setdefault(group, []).append(path)
    found: list[FileClash] = []
    for group, shared in groups.items():
        if len(shared) > SHOWN:
            text = f"{', '.join(group[:-1])} and {group[-1]}"
            both = "both" if len(group) == 2 else "all"
            log.add("file clashes", "ok", f"{text} {both} own {len(shared)} files that differ", location)
            shared.sort(key=lambda path: (not is_compiled(path), path))
        found += [FileClash(path=path, owners=list(group)) for path in shared[:SHOWN]]
    _who_won(host, log, location, found, owners)
    return found


def _hidden(records: Mapping[str, Record]) -> list[tuple[tuple[str, ...], str]]:
    """A module and a package of one name: the package wins, whoever wanted the module."""
    return [
        (tuple(sorted((name, other))), path[:-3])
        for name, files in records.items()
        for path in files
        if path.endswith(".py") and "/" not in path
        for other, others in records.items()
        if other != name and f"{path[:-3]}/__init__.py" in others
    ]


def _who_won(
    host: Host, log: Log, location: str, found: list[FileClash], owners: Mapping[str, Mapping[str, Recorded]]
) -> None:
    """Fill in whose file lies on disk: by its size, by its hash where a size fits several."""
    paths = [f"{location}/{clash.path}" for clash in found if clash.path in owners]
    try:
        sizes = host.query("sizes", *paths) if paths else {}
    except (OSError, ValueError):
        return
    doubtful = []
    for clash in found:
        claims = owners.get(clash.path)
        if claims is None:
            continue
        size = sizes.get(f"{location}/{clash.path}")
        if size is None:
            clash.kept = Absent("the file is not there")
        elif all(entry.size.isdigit() for entry in claims.values()):
            fitting = {name: entry for name, entry in claims.items() if entry.size == str(size)}
            if not fitting:
                none = "neither RECORD says" if len(claims) == 2 else "no RECORD says"
                clash.kept = Absent(f"the file has {size} bytes, which {none}")
            elif len({entry.digest for entry in fitting.values()}) == 1:
                clash.kept = next(iter(fitting))
            else:
                doubtful.append(clash)
    if doubtful:
        _by_hash(host, log, location, doubtful, owners, sizes)


def _by_hash(
    host: Host,
    log: Log,
    location: str,
    doubtful: list[FileClash],
    owners: Mapping[str, Mapping[str, Recorded]],
    sizes: Mapping[str, int],
) -> None:
    """The smallest first, so that the limit leaves out as few as possible."""
    doubtful.sort(key=lambda clash: (sizes[f"{location}/{clash.path}"], clash.path))
    left, chosen = HASH_LIMIT, []
    for clash in doubtful:
        left -= sizes[f"{location}/{clash.path}"]
        if left < 0:
            clash.kept = Unknown("of one size in several RECORDs, and too large to be hashed in a check")
        else:
            chosen.append(clash)
    with log.attempt("file clashes", f"{location}: hashes") as attempt:
        digests: dict[str, str] = {}
        attempt.found(f"{len(chosen)} files")
        for algorithm in sorted({_algorithm(owners[clash.path]) for clash in chosen}):
            paths = [f"{location}/{clash.path}" for clash in chosen if _algorithm(owners[clash.path]) == algorithm]
            try:
                digests |= host.query("hashes", algorithm, *paths)
            except (OSError, ValueError) as error:
                attempt.failed(str(error))
        for clash in chosen:
            clash.kept = _fitting(digests.get(f"{location}/{clash.path}"), owners[clash.path])


def _algorithm(claims: Mapping[str, Recorded]) -> str:
    return next(iter(claims.values())).digest.partition("=")[0]


def _fitting(digest: str | None, claims: Mapping[str, Recorded]) -> Text:
    if digest is None:
        return Unknown("the file could not be hashed")
    for name, entry in claims.items():
        if entry.digest.rstrip("=") == digest:
            return name
    return Absent("the file has the size, but not the hash that a RECORD says: it was changed")


def missing(host: Host, location: str, package: Package) -> list[str]:
    """Files of its RECORD that are not there, compiled ones first. Raises OSError: the RECORD can't be read."""
    files = read(host, location, package.name, known(package.version) or "")
    paths = {f"{location}/{path}": path for path in files if not path.startswith("..")}
    sizes = host.query("sizes", *paths)
    lost = [path for full, path in paths.items() if full not in sizes]
    return sorted(lost, key=lambda path: (not is_compiled(path), path))


def true_first(host: Host, location: str, packages: list[Package]) -> list[Package]:
    """Of one name listed twice in a folder, put the version first whose files lie there; it names the others."""
    groups: dict[str, list[Package]] = {}
    for package in packages:
        groups.setdefault(package.name, []).append(package)
    ordered: list[Package] = []
    for group in groups.values():
        if len(group) > 1:
            whole = [package for package in group if known(package.version) is not None]
            if len(whole) > 1:
                whole.sort(key=lambda package: -_share_there(host, location, package))
                mine, *others = [known(package.version) or "" for package in whole]
                if different := [version for version in others if compare_numbers(version, mine) != 0]:
                    whole[0].doubles = [f"{version} in a *.dist-info folder of its own" for version in different]
            group = whole + [package for package in group if known(package.version) is None]
        ordered += group
    return ordered


def _share_there(host: Host, location: str, package: Package) -> float:
    """Share of its files that have the size that it lists; 0 where it lists none."""
    try:
        files = read(host, location, package.name, known(package.version) or "")
        sizes = host.query("sizes", *(f"{location}/{path}" for path in files))
    except (OSError, ValueError):
        return 0.0
    right = sum(entry.size == str(sizes.get(f"{location}/{path}")) for path, entry in files.items())
    return right / len(files) if files else 0.0
