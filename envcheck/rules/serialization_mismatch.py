"""A model file was saved by a release that the installed one does not read.

What it does
    Compares what wrote the model file with the installed release of what reads it: Keras files, NumPy and
    scikit-learn pickles, PyTorch checkpoints and TorchScript.

Why it fails
    Pickles name modules and classes of the release that wrote them; other formats carry arguments, operators or a
    version number that an older reader does not know.

How it shows
    `Unrecognized keyword arguments passed to DepthwiseConv2D: {'groups': 1}`, `No module named 'numpy._core'`,
    `InconsistentVersionWarning: Trying to unpickle estimator`, `is a zip archive (did you mean to use
    torch.jit.load()?)`, `Your PyTorch installation may be too old`.

How to fix
    Install the release that wrote the file, or load it there once and save it in a format that both read: weights
    alone, safetensors, ONNX.

Exceptions
    Older files in newer releases are read by NumPy and PyTorch. What a custom class needs is not looked at.

Sources
    Keras's saving code and migration guide; scikit-learn on model persistence; NumPy's stubs of `numpy._core` in
    1.26; PyTorch on serialization.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envcheck.core.report import Evidence, Finding, Fix, Pass, Result, Undecided
from envcheck.core.snapshot import Model, Stack, known
from envcheck.versions import canonical, compare_numbers, minor, numbers, public, satisfies

if TYPE_CHECKING:
    from envcheck.facts.basics import Packages
    from envcheck.matrix import Matrix

WRITERS = {"pytorch": "torch", "sklearn": "scikit-learn", "tf-keras": "keras", "tf.keras": "keras"}
"""Other names of what writes model files."""


def check(model: Model, *, packages: Packages | None = None, stack: Stack, matrix: Matrix) -> Iterator[Result]:
    saved = written_by(known(model.saved_with))
    if saved is None or packages is None:
        return
    writer, version = saved
    kind = (known(model.format) or "").lower().replace("_", "-").replace(" ", "-").lstrip(".")
    rows = [row for row in matrix.rows("saved-files") if row["writer"] == writer and _of_kind(row, kind)]
    if not rows:
        return
    reader = rows[0]["reader"]
    subject = f"a file saved with {reader} {version}"
    installed = _installed(reader, packages, stack)
    if installed is None:
        if reader in packages:
            yield Undecided(subject, f"packages.{reader}", f"the installed release of {reader} is not known")
        return
    for row in rows:
        if _holds(row, version, installed):
            yield _finding(row, version, installed, matrix)
            return
    yield Pass(subject, f"{reader} {installed} reads it")


def written_by(text: str | None) -> tuple[str, str] | None:
    """What wrote a file and in which release; None where it does not say both.

    >>> written_by("Keras 2.15"), written_by("TensorFlow 2.12.0"), written_by("scikit-learn==1.3.2")
    (('keras', '2.15'), ('keras', '2.12.0'), ('scikit-learn', '1.3.2'))
    """
    import re

    found = re.match(r"\s*([A-Za-z][A-Za-z._-]*?)[\s=-]*v?(\d+(?:\.\d+)+)", text or "")
    if found is None:
        return None
    name, version = found[1].lower(), found[2]
    name = WRITERS.get(name) or canonical(name)
    if name in ("tensorflow", "tf"):
        # Keras had TensorFlow's number until 2.15; TensorFlow 2.16 brings Keras 3.
        return "keras", version if compare_numbers(version, "2.16") < 0 else "3.0"
    return name, version


def _of_kind(row: dict[str, Any], kind: str) -> bool:
    words = {kind, *kind.split("-")}
    if words & set(row.get("not_formats") or ()):
        return False
    formats = row.get("formats")
    return not formats or bool(words & set(formats))


def _installed(reader: str, packages: Packages, stack: Stack) -> str | None:
    """The release that reads the file; Keras may come as TensorFlow's own or as tf-keras."""
    version = packages.version(reader)
    if reader != "keras":
        return version
    legacy = any(item.name == "TF_USE_LEGACY_KERAS" and item.value in ("1", "True", "true") for item in _env(stack))
    if legacy and "tf-keras" in packages:
        return packages.version("tf-keras")
    tensorflow = packages.version("tensorflow")
    if version is None and "keras" not in packages and tensorflow is not None:
        return tensorflow if compare_numbers(tensorflow, "2.16") < 0 else "3.0"
    return version


def _env(stack: Stack) -> Any:
    return stack.env if isinstance(stack.env, list) else ()


def _holds(row: dict[str, Any], saved: str, installed: str) -> bool:
    try:
        if not satisfies(saved, row.get("saved") or "") or not satisfies(public(installed), row.get("installed") or ""):
            return False
    except ValueError:
        return False
    differs = row.get("differs")
    if differs == "minor":
        return len(numbers(installed)) > 1 and minor(saved) != minor(installed)
    if differs == "newer":
        return len(numbers(installed)) > 1 and compare_numbers(minor(saved), minor(installed)) > 0
    return True


def _finding(row: dict[str, Any], saved: str, installed: str, matrix: Matrix) -> Finding:
    from envcheck.rules._fixes import pip_install

    reader = row["reader"]
    title, url, as_of = matrix.cite(row)
    fixes = [pip_install(f"{reader}=={minor(saved)}.*", note="the release that wrote the file")]
    if row.get("cure"):
        fixes.append(Fix("", row["cure"], "review"))
    return Finding(
        severity=row["severity"],
        confidence=row["sure"],
        subject=f"{reader} {installed} with a file saved with {saved}",
        message=f"The model file was saved with {reader} {saved}, and {reader} {installed} is to read it: "
        f"{row['why']}.",
        evidence=[Evidence(row["why"], title, url, as_of), Evidence(f"saved with {reader} {saved}", "the model file")],
        fixes=fixes,
    )
