"""A model of the user's in the parent: which backend runs it, what became of the file to record, what to say of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from envcheck.core.snapshot import SmokeTest, known

if TYPE_CHECKING:
    from envcheck.core.report import Report
    from envcheck.probes.host import Host
    from envcheck.probes.smoke_options import SmokeOptions

STAGE = "model"
"""The stage in which a file that can't be used ends."""


def chosen(host: Host, options: SmokeOptions) -> tuple[dict[str, str], dict[str, list[SmokeTest]]]:
    """Backend -> module of those that run the model; and tests that say why a backend, or nothing, runs it."""
    found = host.query("smoke-model", options.request())
    name = str(found.get("name", ""))
    refused = {
        str(backend): [SmokeTest(backend=str(backend), outcome="untested", error=str(why), model=name)]
        for backend, why in found.get("untested", {}).items()
    }
    if found.get("error"):
        error = str(found["error"])
        refused["model"] = [SmokeTest(backend="model", outcome="failed", stage=STAGE, error=error, model=name)]
    return {str(backend): str(module) for backend, module in found.get("backends", {}).items()}, refused


def query_model(host: Host, request: str) -> dict[str, Any]:
    """The host query ``smoke-model``. Plain JSON::

    {"name": "m.onnx", "backends": {"onnxruntime": "envcheck.smoke_tests.backends.onnxruntime"},
     "untested": {"torch": "why"}, "error": "why the file can't be run at all"}
    """
    import json

    from envcheck.probes.smoke import query_backends
    from envcheck.smoke_tests.models import ModelError
    from envcheck.smoke_tests.models.formats import BACKENDS, CALLED, sniff

    wanted = json.loads(request)
    path = wanted["model"]["path"]
    found: dict[str, Any] = {"name": os.path.basename(path)}
    try:
        kind = sniff(path).kind
    except ModelError as error:
        return {**found, "error": str(error)}
    here = {**query_backends(host, "own"), "safetensors": "envcheck.smoke_tests.models.weights"}
    able = BACKENDS[kind]
    called = f"{found['name']} is {'an' if CALLED[kind][0] in 'AEOaeo' else 'a'} {CALLED[kind]}"
    asked = [backend for backend in wanted.get("backends", ()) if backend]
    found["untested"] = {
        backend: f"{called}, which {backend} does not run: {' or '.join(able)} does"
        for backend in asked
        if backend not in able
    }
    found["untested"] |= {
        backend: f"{called}; {backend} is not installed" for backend in asked if backend in able and backend not in here
    }
    ready = [backend for backend in (asked or BACKENDS[kind]) if backend in able and backend in here]
    found["backends"] = {backend: here[backend] for backend in (ready if asked else ready[:1])}
    if not ready and not asked:
        several = BACKENDS[kind]
        lacking = f"neither {' nor '.join(several)} is" if len(several) > 1 else f"{several[0]} is not"
        found["untested"][several[0]] = f"{called}, and {lacking} installed"
    return found


def keep(folder: str, answer: dict[str, Any], options: SmokeOptions) -> None:
    """Move what a child recorded to where the user wants it, whole or not at all; the answer tells of it.

    Only the first file of a run is kept: a second child is one for devices that were left.
    """
    from envcheck.smoke_tests.models.running import RECORDED

    source = os.path.join(folder, RECORDED)
    records = [one for one in answer.get("records", ()) if one.get("end") == "record" and one.get("status") == "ok"]
    if options.recorded or not options.model or not records or not os.path.isfile(source):
        return
    target = str(options.model["record"])
    try:
        replace(source, target)
    except OSError as error:
        sentence = f"{target} can't be written: {error.strerror or error}"
        records[0] |= {"end": STAGE, "status": "failed", "errors": [sentence]}
        return
    options.recorded = True
    note = {"device": records[0].get("device", ""), "name": "recorded", "text": os.path.basename(target)}
    answer["records"].append({"note": note})


def replace(source: str, target: str) -> None:
    """Copy a file over another one, perhaps on another disk, so that readers see the old or the new one, whole."""
    import shutil
    import tempfile

    handle, beside = tempfile.mkstemp(prefix=".envcheck-", dir=os.path.dirname(target))
    try:
        with os.fdopen(handle, "wb") as out, open(source, "rb") as file:
            shutil.copyfileobj(file, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def unusable_model(report: Report) -> str:
    """Why the model file, or a file that goes with it, can't be used: one sentence; empty when it could."""
    for test in report.snapshot.smoke:
        if known(test.model) and known(test.stage) == STAGE:
            return known(test.error) or f"{known(test.model)} can't be used"
    return ""
