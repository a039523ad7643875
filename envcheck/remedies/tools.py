"""pip's commands for the tool that keeps the environment.

Sources: uv's reference of its command line, and its guide on PyTorch (an index of a project is named, and bound to the
packages that are added with it); pipx's manual (runpip); PEP 668 (pip refuses to change a distribution's Python).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.report import Fix
from envcheck.remedies.commands import THEN, Pip, name_of, parts, quoted, specifier_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envcheck.remedies.place import Place

_AGAIN = ("--force-reinstall", "--reinstall")
_OF_PIP_ONLY = ("--no-build-isolation", "--no-binary", "--only-binary", "-f", "--find-links", "--extra-index-url")
"""Options for which a project's file has another form: they are left to ``uv pip``."""


def by_tool(fix: Fix, place: Place) -> list[Fix]:
    """The same with this environment's installer; none where the fix is for another kind of environment."""
    if fix.command.startswith("conda "):
        return _of_conda(fix, place)
    found = parts(fix.command)
    if not any(isinstance(part, Pip) for part in found):
        return [fix]
    if place.tool in ("conda", "pixi"):
        from envcheck.remedies.conda import by_conda

        return by_conda(fix, found, place)
    return [WRITERS.get(place.tool, _pip)(fix, found, place)]


def _of_conda(fix: Fix, place: Place) -> list[Fix]:
    """A command of conda's own, which a rule offers beside pip's."""
    if place.tool == "pixi":
        command = fix.command.replace("conda install", "pixi add").replace("-c conda-forge ", "")
        return [Fix(command.replace("--override-channels ", ""), fix.note, fix.safety, fix.verify)]
    # In a venv there is no conda to call; the libraries that it would bring come in other ways.
    return [] if place.environment_known and place.tool != "conda" else [fix]


def changed(fix: Fix, command: str, note: str = "", safety: str = "") -> Fix:
    """A fix with another command, and more to say."""
    said = "; ".join(filter(None, (fix.note, note)))
    return Fix(command, said, safety or fix.safety, verify_with(fix.verify, command))


def verify_with(verify: str, command: str) -> str:
    """pip's own checks, by the tool that the command calls."""
    if verify.startswith("pip ") and command.startswith("uv "):
        return f"uv {verify}"
    return verify


def _each(found: Sequence[Pip | str], write: Callable[[Pip], str]) -> str:
    return THEN.join(filter(None, (write(part) if isinstance(part, Pip) else part for part in found)))


def _pip(fix: Fix, found: Sequence[Pip | str], place: Place) -> Fix:
    if not place.interpreter:
        return fix
    return changed(fix, _each(found, lambda part: part.written(f"{place.interpreter} -m pip")))


def _uv(fix: Fix, found: Sequence[Pip | str], place: Place) -> Fix:
    return changed(fix, _each(found, lambda part: uv_pip(part, place)))


def uv_pip(part: Pip, place: Place) -> str:
    """uv asks for no confirmation, and takes a wheel that it built before for ``--no-binary``."""
    options = []
    for place_of, option in enumerate(part.options):
        if option in _AGAIN:
            options.append("--reinstall")
        elif option == "--no-binary":
            options += ["--refresh-package", part.options[place_of + 1], option]
        elif option not in ("-y", "--yes"):
            options.append(option)
    if place.interpreter:
        options = ["--python", place.interpreter, *options]
    return part._replace(options=tuple(options)).written("uv pip")


def _uv_project(fix: Fix, found: Sequence[Pip | str], place: Place) -> Fix:
    mine = [part for part in found if isinstance(part, Pip)]
    by_hand = any(part.variables or set(part.options) & set(_OF_PIP_ONLY) for part in mine)
    if by_hand:
        return changed(fix, _each(found, lambda part: uv_pip(part, place)), "uv sync puts back what the lock file says")
    return changed(fix, _each(found, lambda part: _uv_add(part, place)), "changes pyproject.toml and uv.lock", "review")


def _uv_add(part: Pip, place: Place) -> str:
    if part.verb == "uninstall":
        there = place.installed(part.names)
        return f"uv remove {' '.join(there)}" if there else ""
    if part.verb != "install":
        return uv_pip(part, place)
    if set(part.options) & set(_AGAIN) and not part.index_url:
        wanted = [name for name in part.names if specifier_of(name)]
        return "uv sync --reinstall" if not wanted else f"uv add --reinstall {' '.join(map(quoted, wanted))}"
    # The index tells the build: a local label would bind the project to this one platform.
    names = [name.partition("+")[0] if part.index_url else name for name in part.names]
    newest = names if set(part.options) & {"-U", "--upgrade"} else ()
    upgrade = "".join(f"--upgrade-package {name_of(name)} " for name in newest)
    index = f" --index {index_name(part.index_url)}={part.index_url}" if part.index_url else ""
    return f"uv add {upgrade}{' '.join(map(quoted, names))}{index}"


def index_name(url: str) -> str:
    """A name for an index, from its address.

    >>> index_name("https://download.pytorch.org/whl/cu124")
    'pytorch-cu124'
    """
    host, _, path = url.partition("://")[2].rstrip("/").partition("/")
    labels = host.split(".")
    owner = labels[-2] if len(labels) > 1 else host
    return "-".join(filter(None, (owner, path.rpartition("/")[2]))).lower().replace("_", "-")


def _pipx(fix: Fix, found: Sequence[Pip | str], place: Place) -> Fix:
    if not place.name:
        return fix
    return changed(fix, _each(found, lambda part: part.written(f"pipx runpip {place.name}")))


def _distribution(fix: Fix, found: Sequence[Pip | str], place: Place) -> Fix:
    """Into an environment of its own."""
    wanted = [part for part in found if isinstance(part, Pip) and part.verb == "install"]
    if not wanted:
        return changed(fix, "", f"only the distribution may change this Python: {fix.command}", "manual")
    command = THEN.join(["python3 -m venv .venv", *(part.written(".venv/bin/python -m pip") for part in wanted)])
    note = "in an environment of its own, with what else the program needs: pip may not change this Python (PEP 668)"
    return changed(fix, command, note, "review")


WRITERS: dict[str, Callable[[Fix, Sequence[Pip | str], Place], Fix]] = {
    "uv": _uv,
    "uv-project": _uv_project,
    "pipx": _pipx,
    "distribution": _distribution,
}
