"""Files that are imported in the place of an installed package, and packages of which an earlier copy is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envcheck.core.report import Evidence, Finding, Fix
from envcheck.core.snapshot import Absent, Shadow, Stack, known
from envcheck.versions import numbers

HERE = "the current folder"


def hidden(shadows: Iterable[Shadow]) -> Iterator[Finding]:
    """A finding for each; a warning where only programs that start in this folder meet it."""
    for shadow in shadows:
        yield _copy(shadow) if known(shadow.version) else _file(shadow)


def _file(shadow: Shadow) -> Finding:
    standard = isinstance(shadow.package, Absent)
    package = known(shadow.package) or shadow.name
    folder = not shadow.path.endswith((".py", ".pyc", ".so", ".pyd"))
    whole = folder and not standard and shadow.compiled is not False
    where = f"on the path ({shadow.via})" if shadow.via != "sys.path" else "on sys.path"
    if standard:
        meant = f"the module {shadow.name} of the standard library, which frameworks import"
    else:
        label = f"{package} {version}" if (version := known(shadow.hidden_version)) else package
        meant = f"the installed {label} ({known(shadow.hides)})"
    who = f"a program that starts in {_folder(shadow.path)} takes" if shadow.via == HERE else "an import takes"
    message = f"{shadow.path} hides {meant}: {who} it, for it comes first{'' if shadow.via == HERE else ' ' + where}"
    if whole:
        message += "; it is a copy of its own"
    elif folder and not standard:
        message += "; it has no compiled modules, as sources that were not built"
    return Finding(
        # Of the standard library a program may need what the other file has too, or nothing at all.
        severity="warning" if whole or standard or shadow.via == HERE else "error",
        confidence="medium" if whole or standard or shadow.via == HERE else "high",
        subject=f"{package} hidden by {shadow.path}",
        message=message + ".",
        evidence=[
            Evidence(f"{shadow.path} is there, and stands first: {shadow.via}", "sys.path"),
            *([Evidence(f"the one that is meant: {shadow.hides}", "sys.path")] if known(shadow.hides) else []),
        ],
        fixes=list(fixes(shadow.name, shadow.path, shadow.via)),
    )


def fixes(module: str, path: str, via: str = "") -> Iterator[Fix]:
    """Give the file another name; or take its folder away from before the others."""
    folder, name = _folder(path), path.replace("\\", "/").rpartition("/")[2]
    verify = f'python -c "import {module}; print({module}.__file__)"'
    if name.endswith((".py", ".pyc")):
        other = f"{folder}/my_{name}"
        yield Fix(f"mv '{path}' '{other}'", "any name that no package has; then the imports of it", "review", verify)
    elif via == HERE or not via:
        yield Fix("cd ..", "start the program from another folder than that of the sources", "safe", verify)
    if via == "PYTHONPATH":
        note = f"without PYTHONPATH, or with one that does not name {folder}"
        yield Fix("env -u PYTHONPATH " + verify, note, "safe", verify)
    elif not name.endswith((".py", ".pyc")):
        yield Fix("", f"rename {path}, or take {folder} off sys.path", "review", verify)


def _copy(shadow: Shadow) -> Finding:
    other = f"{shadow.name} {known(shadow.hidden_version)}"
    mine = f"{shadow.name} {known(shadow.version)}"
    by_name = shadow.via == "PYTHONPATH"
    verify = f"python -m pip show -f {shadow.name}"
    fix = (
        Fix("unset PYTHONPATH", "so that what is installed in this environment is taken", "review", verify)
        if by_name
        else Fix("export PYTHONNOUSERSITE=1", "so that the environment's own is taken", "review", verify)
    )
    return Finding(
        severity="warning" if by_name else "info",
        confidence="medium",
        subject=f"{mine}, before {other}",
        message=f"{mine} in {shadow.path} ({shadow.via}) is taken in the place of this environment's own {other}.",
        evidence=[
            Evidence(f"{mine} in {shadow.path}", "sys.path"),
            Evidence(f"{other} in {known(shadow.hides)}", "sys.path"),
        ],
        fixes=[fix],
    )


def other_python(stack: Stack) -> Iterator[Finding]:
    """PYTHONPATH names the site-packages of another Python: its compiled modules do not load here."""
    import re

    mine = numbers(known(stack.python.version) or "")[:2]
    value = next((variable.value for variable in known(stack.env) or () if variable.name == "PYTHONPATH"), "")
    for folder in re.split("[:;]", value) if len(mine) == 2 else ():
        found = re.search(r"[Pp]ython-?(\d)\.?(\d{1,2})[/\\](?:[Ll]ib[/\\])?(?:site|dist)-packages/?$", folder)
        if found is None or (int(found[1]), int(found[2])) == mine:
            continue
        names = [one.name for one in known(stack.packages) or () if known(one.location) == folder.rstrip("/")]
        if not names:
            continue
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        python = f"Python {found[1]}.{found[2]}"
        yield Finding(
            severity="warning",
            confidence="high",
            subject=f"PYTHONPATH with packages of {python}",
            message=f"PYTHONPATH names {folder}, where packages of {python} are ({', '.join(names[:3])}{more}); "
            f"this is Python {mine[0]}.{mine[1]}, which takes them first and cannot load their compiled modules.",
            evidence=[Evidence(f"PYTHONPATH={value}", "environment")],
            fixes=[Fix("unset PYTHONPATH", "each Python has packages of its own", "review", "python -m pip list")],
        )


def _folder(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[0] or "/"
