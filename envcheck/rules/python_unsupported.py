"""No build of a package for this Python release.

What it does
    Compares the Python releases for which a package has wheels, and its Requires-Python, with the Python of the stack.

Why it fails
    A wheel with compiled code is made for one Python release (or, as `abi3`, for that one and newer). A new Python
    release has no wheels until the authors build some, and old releases of a package never get them. Where there is
    no source distribution either, pip finds nothing to install.

How it shows
    `ERROR: Could not find a version that satisfies the requirement tensorflow==2.15.1 (from versions: ...)`;
    `ERROR: No matching distribution found for tensorflow`; `Requires-Python >=3.9,<3.13`; `is not a supported wheel
    on this platform` for a wheel that was downloaded by hand.

How to fix
    Use a Python release that the package has wheels for, or a release of the package that has wheels for this Python.

Exceptions
    What is installed under this Python is there, whatever the index says. A release with a source distribution is let
    pass when its Requires-Python accepts this Python, except Numba's, whose set-up refuses. PyTorch's index has wheels
    that the package index lacks.

Sources
    File names and Requires-Python of every release on the package index; TensorRT's support matrix; Numba's table of
    supported versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Stack, known
from envcheck.facts.wheels import Wheels, is_pure, offers_python
from envcheck.versions import minor, numbers, satisfies_prefix

if TYPE_CHECKING:
    from envcheck.matrix import Matrix, Row


def check(
    wheels: list[Wheels], python_version: str, stack: Stack, *, wheel_platforms: tuple[str, ...] = (), matrix: Matrix
) -> Iterator[Result]:
    abi, implementation = known(stack.python.abi), known(stack.python.implementation) or "cpython"
    if any(package.installed for package in wheels):
        yield Pass("installed packages", f"they are installed under Python {python_version}")
    for package in wheels:
        if package.installed:
            yield from _installed(package, python_version)
        elif implementation != "cpython" and not all(is_pure(row) or row["sdist"] for row in package.rows):
            yield Undecided(
                str(package),
                "python.implementation",
                f"our data has only the wheels for CPython, not for {implementation}",
            )
        elif package.gap is not None and package.gap.kind == "newer":
            yield Undecided(str(package), f"wheels of {package.package}", package.gap.sentence)
        elif package.rows:
            yield from _judge(package, python_version, abi, wheel_platforms, matrix)


def _installed(package: Wheels, python: str) -> Iterator[Result]:
    """What is installed has only its own metadata to answer to: pip would have refused it."""
    if _accepts(package.requires_python, python) is not False:
        return
    yield Finding(
        severity="warning",
        confidence="medium",
        subject=f"{package} with Python {python}",
        message=f"{package} is installed under Python {python}, but its metadata requires Python "
        f"{package.requires_python}.",
        evidence=[Evidence(f"Requires-Python: {package.requires_python}", "its own metadata")],
        fixes=[Fix(f"pip install --force-reinstall {package.package}", "takes a release for this Python", "review")],
    )


def _judge(package: Wheels, python: str, abi: str | None, columns: tuple[str, ...], matrix: Matrix) -> Iterator[Result]:
    verdicts = [_supports(package, row, python, abi, matrix) for row in package.rows]
    if any(verdict is not False for verdict in verdicts):
        if all(verdicts):
            yield Pass(str(package), f"there is a build for Python {python}")
        elif all(verdict is None for verdict in verdicts):
            yield Undecided(
                str(package), "python.version", f"Python {python} may mean releases with and without a build"
            )
        return
    if package.version is None:
        newest = package.rows[-1]["version"]
        why = f"no release up to {newest} has a build for Python {python}, and its version is not stated"
        yield Undecided(str(package), f"packages.{package.package}", why)
        return
    yield _finding(package, python, abi, columns, matrix)


def _supports(package: Wheels, row: Row, python: str, abi: str | None, matrix: Matrix) -> bool | None:
    """Whether a release can be installed under this Python; None when ``python`` is too imprecise."""
    if (listed := _listed(package, matrix)) is not None:
        return minor(python) in listed if len(numbers(python)) > 1 else None
    accepted = _accepts(row["requires_python"], python)
    if accepted is False:
        return False
    offered = offers_python(row, python, abi)
    if offered is False and _refuses(package, python, matrix) is not None:
        return False
    if offered is False and (row["sdist"] or not row["python_tags"] or _on_own_index(package, python, matrix)):
        return True
    return None if accepted is None and offered else offered


def _accepts(requires_python: str | None, python: str) -> bool | None:
    if not requires_python:
        return True
    try:
        return satisfies_prefix(python, requires_python)
    except ValueError:
        return None


def _listed(package: Wheels, matrix: Matrix) -> list[str] | None:
    """TensorRT's packages are stubs that fetch wheels from NVIDIA's index: its support matrix says for which Python."""
    if not package.package.startswith("tensorrt") or package.version is None or "llm" in package.package:
        return None
    from envcheck.matrix.lookup import tensorrt

    row = tensorrt(matrix, package.version)
    return row["python"] if row and row["python"] else None


def _refuses(package: Wheels, python: str, matrix: Matrix) -> Row | None:
    """The row of a Numba release that is not made for this Python: its set-up refuses."""
    if package.package != "numba" or package.version is None or len(numbers(python)) < 2:
        return None
    from envcheck.matrix.lookup import of_minor

    row = of_minor(matrix.rows("numba"), "numba", package.version)
    if row is None or any(_accepts(each.strip(), python) is not False for each in row["python"].split("||")):
        return None
    return row


def _on_own_index(package: Wheels, python: str, matrix: Matrix) -> bool:
    """PyTorch's index has the builds with a label, for Python releases of its own choice."""
    if package.package != "torch" or package.label is None or package.version is None:
        return False
    row = matrix.row("torch-variants", torch=minor(package.version))
    return bool(row and minor(python) in row["python"])


def _finding(package: Wheels, python: str, abi: str | None, columns: tuple[str, ...], matrix: Matrix) -> Finding:
    row = package.rows[-1]
    exact = len(package.rows) == 1
    evidence = []
    if (listed := _listed(package, matrix)) is not None:
        from envcheck.matrix.lookup import tensorrt

        row = tensorrt(matrix, package.version or "") or row
        needed = f"its wheels are for Python {_span(listed)}"
    elif _accepts(row["requires_python"], python) is False:
        needed = f"it requires Python {row['requires_python']}"
    else:
        needed = f"its wheels are for Python {_span(row['python_tags'])}"
    title, url, as_of = matrix.cite(row)
    evidence.append(Evidence(f"{package.package} {package.version}: {needed}", title, url, as_of))
    if (refuses := _refuses(package, python, matrix)) is not None:
        title, url, as_of = matrix.cite(refuses)
        evidence.append(Evidence(f"numba {refuses['numba']} is for Python {refuses['python']}", title, url, as_of))
    free_threaded = " (free-threaded)" if abi is not None and abi.endswith("t") else ""
    return Finding(
        severity="error",
        confidence="high" if exact and package.label is None else "medium",
        subject=f"{package} with Python {python}",
        message=f"There is no build of {package} for Python {python}{free_threaded}: {needed}.",
        evidence=evidence,
        fixes=list(_fixes(package, row, listed, python, columns, matrix)),
    )


def _fixes(
    package: Wheels, row: Row, listed: list[str] | None, python: str, columns: tuple[str, ...], matrix: Matrix
) -> Iterator[Fix]:
    from envcheck.rules._builds import allows, nearest_for
    from envcheck.rules._fixes import pip_install

    supported = listed or [
        tag.partition("+")[0] for tag in row["python_tags"] or () if tag[0].isdigit() and not tag.endswith("t")
    ]
    if not listed and (not supported or "+abi3" in " ".join(row["python_tags"])):
        supported = [f"3.{number}" for number in range(6, 16)]
    fitting = [one for one in supported if listed or allows(row["requires_python"], one)]
    mine = numbers(python)[:2]
    wanted = min(fitting, key=lambda one: abs(numbers(one)[-1] - mine[-1]), default=None)
    if wanted and numbers(wanted) == mine:
        yield Fix("", f"use another patch release of Python {wanted}: it requires {row['requires_python']}", "review")
    elif wanted:
        yield Fix(
            f"uv venv --python {wanted}",
            f"or conda create -n env python={wanted}; then install the stack there",
            "review",
        )
    column = columns[0] if len(columns) == 1 else ""
    if listed is None and (release := nearest_for(matrix, package.package, package.version, column, python)):
        yield pip_install(
            f"{package.package}=={release}", note=f"the nearest release with a build for Python {minor(python)}"
        )


def _span(tags: list[str]) -> str:
    """``3.9 to 3.13`` of tags."""
    plain = sorted({tag.partition("+")[0] for tag in tags if tag[0].isdigit() and not tag.endswith("t")}, key=numbers)
    if not plain:
        return ", ".join(tags) or "none"
    last = "and newer" if any(tag.endswith("+abi3") for tag in tags) else f"to {plain[-1]}"
    return plain[0] if len(plain) == 1 and last != "and newer" else f"{plain[0]} {last}"
