"""What the package index says, asked through the ordinary pip client with the user's own configuration.

For refreshing the tables only; no check imports this.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

_FILE = re.compile(
    r"(?:^|\s)\S*/(?P<file>[^/\s#]+?\.(?:whl|tar\.gz|zip))(?:#\S*)?(?=\s|,|$)"
    r"(?: \(from \S+\))?(?: \(requires-python:(?P<python>[^)]*)\))?"
)


class RefreshError(Exception):
    """pip gave no answer; the text says why in one sentence."""


class File(NamedTuple):
    """One file of a release."""

    name: str
    version: Version
    tags: tuple[tuple[str, str, str], ...]
    """Interpreter, ABI and platform of a wheel; empty for a source distribution."""
    requires_python: str
    yanked: bool


class Metadata(NamedTuple):
    """What METADATA of one wheel says."""

    requires: list[str]
    requires_python: str


def files(package: str, timeout: float = 60) -> list[File]:
    """Return every file of every final release of a package, sorted by name.

    `timeout` is in seconds. Raises RefreshError when pip gives no answer.
    """
    # pip names all links that it sees, also those for other platforms, only when it is told to talk.
    arguments = ["-vv", "index", "versions", package, "--ignore-requires-python"]
    return parse_log(_pip(package, arguments, timeout), package)


def parse_log(log: str, package: str) -> list[File]:
    """Return the files that pip's verbose log names for a package; pre-releases and local labels are left out."""
    wanted = canonicalize_name(package)
    found: dict[str, File] = {}
    for line in log.splitlines():
        match = _FILE.search(line)
        if match is None:
            continue
        name = match["file"].replace("%2B", "+").replace("%21", "!")
        tags: tuple[tuple[str, str, str], ...] = ()
        try:
            if name.endswith(".whl"):
                project, version, _, parsed = parse_wheel_filename(name)
                tags = tuple(sorted((tag.interpreter, tag.abi, tag.platform) for tag in parsed))
            else:
                project, version = parse_sdist_filename(name)
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue  # old releases have files whose names follow no standard; pip ignores them too
        if project == wanted and not version.is_prerelease and version.local is None:
            yanked = "yanked for reason" in line
            found[name] = File(name, version, tags, match["python"] or "", yanked)
    return [found[name] for name in sorted(found)]


def metadata(package: str, file: File, timeout: float = 60) -> Metadata:
    """Return the metadata of one wheel. pip downloads the wheel when the index has no separate metadata file.

    `timeout` is in seconds. Raises RefreshError when pip gives no answer.
    """
    with tempfile.TemporaryDirectory(prefix="envcheck-refresh-") as target:
        report = os.path.join(target, "report.json")
        arguments = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--only-binary=:all:"]
        arguments += ["--ignore-requires-python", "--target", target, "--report", report, *_compatible(file)]
        _pip(package, [*arguments, f"{package}=={file.version}"], timeout)
        try:
            with open(report, encoding="utf-8") as stream:
                return parse_report(json.load(stream), package)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise RefreshError(f"{package} {file.version}: pip's report cannot be read ({error!r}).") from error


def parse_report(report: dict[str, Any], package: str) -> Metadata:
    """Return what pip's installation report (version 1) says of a package; KeyError when it is not in it."""
    for item in report["install"]:
        told = item["metadata"]
        if canonicalize_name(told["name"]) == canonicalize_name(package):
            return Metadata(list(told.get("requires_dist") or ()), told.get("requires_python") or "")
    raise KeyError(package)


def best_wheel(found: Sequence[File]) -> File | None:
    """Return the wheel to read: Linux x86-64, else any platform; the newest Python that is not free-threaded."""

    def rank(file: File) -> tuple[bool, int, str]:
        linux = any(platform != "any" for _, _, platform in file.tags)
        return linux, max(int(tag[0][3:] or 0) for tag in file.tags if tag[0][2:3] == "3"), file.name

    def usable(file: File) -> bool:
        fits = any(platform in ("any", "linux_x86_64") or _many(platform) for _, _, platform in file.tags)
        free_threaded = all(abi.endswith("t") for _, abi, _ in file.tags)
        return fits and not free_threaded and any(tag[0].startswith(("cp3", "py3")) for tag in file.tags)

    return max(filter(usable, found), key=rank, default=None)


def _many(platform: str) -> bool:
    return platform.startswith("manylinux") and platform.endswith("_x86_64")


def _compatible(file: File) -> list[str]:
    """Return the options with which pip takes exactly this kind of wheel, whatever machine it runs on."""
    options: list[str] = []
    for platform in sorted({tag[2] for tag in file.tags} - {"any"}):
        options += ["--platform", platform]
    pythons = [re.sub(r"^[a-z]+3", "3.", tag[0]) for tag in file.tags if tag[0].startswith(("cp3", "py3"))]
    exact = [text for text in pythons if text != "3."]
    return [*options, "--implementation", "cp", *(["--python-version", max(exact, key=Version)] if exact else [])]


def _pip(package: str, arguments: Sequence[str], timeout: float) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color"]
    command += ["--retries", "1", "--timeout", "20"]
    try:
        done = subprocess.run(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RefreshError(f"{package}: pip gave no answer within {timeout:.0f} seconds.") from error
    except OSError as error:
        raise RefreshError(f"{package}: Python cannot be started to run pip: {error.strerror or error}.") from error
    # "No matching distribution" after it listed links: none is for the Python that runs this, which does not matter.
    listed = arguments[:2] == ["-vv", "index"] and "Skipping link: none of the wheel's tags" in done.stdout
    if done.returncode == 0 or listed:
        return done.stdout + done.stderr
    raise RefreshError(f"{package}: {why_not(done.stderr + chr(10) + done.stdout)}")


def why_not(told: str) -> str:
    """Return in one sentence why pip failed, from what it wrote."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "this Python has no pip; install it, or run the command with one that has it."
    fetched = [line for line in lines if line.removeprefix("WARNING: ").startswith("Could not fetch URL ")]
    reached = [line.partition(": ")[2].removesuffix(" - skipping") for line in fetched]
    if any("Retrying (" in line or "connection error" in line.lower() for line in lines):
        return "pip cannot reach the package index."
    absent = [reason for reason in reached if reason.startswith("404 ")]
    if refused := [reason for reason in reached if reason not in absent]:
        return f"pip cannot read the package index: {refused[0].partition(' for url: ')[0]}."
    if absent:
        return "the package index has no package of this name."
    last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "nothing")
    return f"pip says: {last.removeprefix('ERROR: ')}"
