"""Runs one case of the fault matrix and judges the report: whole, in time, honest, and nothing left behind."""

from __future__ import annotations

import functools
import importlib
import json
import os
import pkgutil
import re
import secrets
import shutil
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from depends import SMI_TELLS, VOLATILE
from fault_cases import Case
from standin_driver import HERE, StandIn, StandInHost, full_gpu, machine

import envcheck.binaries
import envcheck.probes
from envcheck import Snapshot
from envcheck.api import check
from envcheck.matrix import Matrix
from envcheck.probes import PROBES, collect, imports

MARK = "ENVCHECK_FAULT_CASE"
GRACE = 2.0
"""Seconds after the deadline: what is killed must be reaped, and this machine may be busy."""
STACK: dict[str, Any] = {"packages": {"torch": "2.5.1+cu124"}, "python": "3.11", "os": {"system": "Linux"}}
MIG = {
    "mig__0": "MIG-11111111-2222-3333-4444-555555555555",
    "mig__0__name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "mig__0__memory": f"{9856 * 2**20} {9800 * 2**20}",
    "mig__0__slices": "1 1 9856",
}
MACHINE = machine("550.54.15", full_gpu(0), full_gpu(1, mig=1, **MIG), switch=1)


for package in (envcheck.probes, envcheck.binaries):
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("_child"):
            importlib.import_module(found.name)
# What pytest would rewrite in several threads at once is imported now: the probes can run side by side, as for users.


class FaultHost(StandInHost):
    """The machine of the stand-in driver, with a file of it spoilt."""

    def __init__(self, driver: StandIn, env: Mapping[str, str], deadline: float) -> None:
        super().__init__(driver.root, env, deadline)
        self.spoilt, self.how, self.awake = "", "", threading.Event()

    def _bytes(self, path: str, limit: int) -> bytes:
        if path != self.spoilt:
            return super()._bytes(path, limit)
        if self.how == "hang":
            self.awake.wait(60)
            raise OSError(5, "it hung")
        if number := {"gone": 2, "denied": 13, "input-output-error": 5, "folder": 21}.get(self.how):
            raise OSError(number, os.strerror(number), path)
        data = super()._bytes(path, limit)
        return {
            "empty": b"",
            "half": data[: len(data) // 2],
            "bytes": bytes(range(255, -1, -1)) * 40,
            "zeros": bytes(len(data)),
        }[self.how]


def spoil(folder: Path, name: str, how: str) -> None:
    """Damage a library of the driver: the link that the loader follows, or the file behind it."""
    link = folder / name
    real = link.resolve()
    data = bytearray(real.read_bytes())
    real.unlink()
    if how == "folder":
        real.mkdir()
    elif how == "gone":
        link.unlink()
    elif how != "dangling":
        foreign = bytearray(data)
        foreign[18:20] = b"\xb7\x00" if data[18:20] != b"\xb7\x00" else b"\x3e\x00"
        narrow = bytearray(data)
        narrow[4] = 1
        real.write_bytes(bytes({
            "empty": b"", "short": data[:40], "half": data[: len(data) // 2], "text": b"/* GNU ld script */\nINPUT()",
            "foreign": foreign, "32-bit": narrow, "zeros": bytes(len(data)),
        }[how]))  # fmt: skip


NVCC = {
    "answer": "",
    "hang": "sleep 600",
    "ignore-term-and-hang": "trap '' TERM INT HUP; while :; do sleep 600; done",
    "abort": "kill -ABRT $$",
    "segv": "kill -SEGV $$",
    "exit": "exit 0",
    "exit-1": "echo no >&2; exit 1",
    "noise": r"printf '\377\376{" + r"\033[31m\n'; printf '\377' >&2",
    "garbage": "head -c 65536 /dev/urandom; exit 0",
    "silent": "exit 0",
    "flood": "yes release,",
    "child-stays": "sleep 600 &",
}


def make_nvcc(folder: Path, way: str) -> str:
    """A toolkit whose only sign is its nvcc; gives back the folder to put on PATH."""
    file = folder / "toolkit" / "bin" / "nvcc"
    file.parent.mkdir(parents=True)
    answer = "echo 'Cuda compilation tools, release 12.4, V12.4.131'\n"
    head = "#!/nowhere/sh\n" if way == "no-interpreter" else "#!/bin/sh\n"
    action = NVCC.get(way, "")
    if way == "child-stays-in-a-session":
        action = "setsid sleep 4 &" if shutil.which("setsid") else ""
    file.write_text(f"{head}{action}\n{answer}")
    file.chmod(0o644 if way == "not-executable" else 0o755)
    return str(file.parent)


@functools.cache
def framework_module() -> bytes:
    """The compiled module of :file:`framework.c`."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "_C.so"
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}", f"-I{HERE}",
             str(Path(__file__).parent / "framework.c"), str(HERE / "standin.c"), "-o", str(target)],
            check=True,
        )  # fmt: skip
        return target.read_bytes()


def make_framework(folder: Path, way: str) -> tuple[str, dict[str, str | int]]:
    """A folder with a torch that fails in this way and a NumPy that works; lines for the description."""
    site = folder / "site"
    for name in ("torch", "numpy"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(f"from {name} import _C\n")
        (site / name / "_C.so").write_bytes(framework_module())
    torch, module = site / "torch" / "__init__.py", site / "torch" / "_C.so"
    data = module.read_bytes()
    scripts = {
        "raises": "raise RuntimeError('no luck')\n",
        "exits": "import sys\nsys.exit(3)\n",
        "loops": "while True: pass\n",
        "child-stays": "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n",
        "writes-files": "import tempfile\nopen(tempfile.mkstemp()[1], 'w').write('x')\nopen('left', 'w').write('x')\n",
    }  # fmt: skip
    if way in scripts:
        torch.write_text(scripts[way])
    elif way == "no-file":
        module.unlink()
    elif way == "text":
        module.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    elif way == "half":
        module.write_bytes(data[: len(data) // 2])
    elif way == "no-library":
        module.write_bytes(data.replace(b"\0libc.so.6\0", b"\0libd.so.6\0"))
    elif way == "no-symbol":
        module.write_bytes(data.replace(b"\0PyErr_Format\0", b"\0PyErr_Forgot\0"))
    (site / "numpy" / "__init__.py").write_text("")
    if way.startswith("error-"):
        return str(site), {"framework.init.error": int(way[6:])}
    return str(site), {"framework.load.do": way}


class Result:
    def __init__(self, snapshot: Snapshot, seconds: float, left: list[str], folder: Path) -> None:
        self.snapshot, self.seconds, self.left, self.folder = snapshot, seconds, left, folder
        self.facts = flat(snapshot, str(folder))


def run(case: Case) -> Result:
    """Make the broken machine, ask it, look at what is left behind, and take it away again."""
    folder = Path(tempfile.mkdtemp(prefix="envcheck-fault-"))
    before = (tempfile.tempdir, os.getcwd(), envcheck.probes.ONE_AT_A_TIME)
    try:
        driver = StandIn(folder, {**MACHINE, **case.answers})
        own, here = folder / "tmp", folder / "cwd"
        own.mkdir()
        here.mkdir()
        mark = secrets.token_hex(8)
        path = [str(driver.bin), make_nvcc(folder, case.nvcc), "/usr/bin", "/bin"]
        env = {**driver.env, "PATH": ":".join(path), MARK: mark, "TMPDIR": str(own), "HOME": str(here)}
        if case.module:
            env["PYTHONPATH"], more = make_framework(folder, case.module)
            driver.answer({**driver.description, **more})
        host = FaultHost(driver, env, time.monotonic() + case.seconds)
        name, how = case.damage
        if name.startswith("/"):
            host.spoilt, host.how = name, how
        elif name:
            spoil(driver.folder, name, how)
        shared = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
        roots = set(os.listdir("/"))
        tempfile.tempdir, envcheck.probes.ONE_AT_A_TIME = str(own), False
        os.chdir(here)
        started = time.monotonic()
        snapshot = with_imports(host) if case.module else collect(host, deadline=host.deadline)
        seconds = time.monotonic() - started
        host.awake.set()
        left = [f"process {line}" for line in processes(mark)]
        left += [f"file {path}" for path in (*own.rglob("*"), *here.rglob("*"))]
        left += [f"file /{name}" for name in set(os.listdir("/")) - roots if name.startswith("core")]
        if shared:
            left += [f"file /dev/shm/{name}" for name in set(os.listdir("/dev/shm")) - shared if "envcheck" in name]
        return Result(snapshot, seconds, left, folder)
    finally:
        tempfile.tempdir, envcheck.probes.ONE_AT_A_TIME = before[0], before[2]
        os.chdir(before[1])
        shutil.rmtree(folder, ignore_errors=True)


def with_imports(host: FaultHost) -> Snapshot:
    """A snapshot with the import tests of the two frameworks of :func:`make_framework`, installed or not."""
    from envcheck.core.snapshot import Package
    from envcheck.probes.log import Log

    snapshot = collect(host, deadline=host.deadline)
    log = Log()
    installed = [Package(name=name) for name in ("torch", "numpy")]
    snapshot.stack.imports = imports.probe(host, log, installed)
    snapshot.probes += log.runs
    return snapshot


def processes(mark: str) -> list[str]:
    """What still runs with the mark in its environment; what was killed gets a second to go."""
    needle = f"{MARK}={mark}".encode()
    for _ in range(20):
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if needle in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(f"{name} {Path(f'/proc/{name}/cmdline').read_bytes()!r}")
            except OSError:
                continue
        if not found:
            break
        time.sleep(0.05)
    return found


def flat(snapshot: Snapshot, folder: str) -> dict[str, Any]:
    """Path -> fact; an absent or unknown fact is a leaf."""
    facts: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict) and "fact" not in value:
            for key, item in value.items():
                walk(f"{path}.{key}" if path else key, item)
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for place, item in enumerate(value):
                name = item.get("source") or item.get("package") or item.get("index", place)
                walk(f"{path}[{name}]", {"index": place, **item} if path.endswith("gpus") else item)
        else:
            facts[path] = value

    text = json.dumps(msgspec.to_builtins(snapshot)).replace(folder, "TMP")
    walk("", json.loads(text))
    return facts


@functools.cache
def pattern(texts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(".*".join(map(re.escape, text.split("*"))) for text in texts) or r"(?!)")


def rests_on(path: str, texts: tuple[str, ...]) -> bool:
    return pattern(texts).fullmatch(path) is not None


def look_up(facts: Mapping[str, Any], path: str) -> Any:
    """The fact, or the reason that stands in the place of the part that it belongs to."""
    whole = path
    while path:
        if path in facts:
            return facts[path]
        path = path[: max(path.rfind("."), path.rfind("["))] if "." in path else ""
    return {"fact": "unknown", "why": "", "path": whole}


def judge(case: Case, result: Result, healthy: Mapping[str, Any]) -> list[str]:
    """What is wrong with the report; nothing when all is well."""
    faults = list(result.left)
    if result.seconds > case.seconds + GRACE:
        faults.append(f"it took {result.seconds:.1f} s of {case.seconds:.1f}")
    snapshot = result.snapshot
    whole = {probe.name: f"{probe.module}.{probe.function}" for probe in PROBES}
    broken = [one for one in snapshot.probes if one.where == whole.get(one.probe) and one.status != "ok"]
    if case.damage[1] == "hang":
        broken = [one for one in broken if one.status != "timeout"]
    faults += [f"the probe {one.probe} {one.status}: {one.detail}" for one in broken]
    said = "\n".join(f"{one.where}: {one.status} {one.detail}" for one in snapshot.probes)
    for path, value in healthy.items():
        if rests_on(path, VOLATILE):
            continue
        now = look_up(result.facts, path)
        if now == value:
            continue
        if not rests_on(path, case.lost) or (case.smi and rests_on(path, SMI_TELLS) and not reachable_only_once(path)):
            faults.append(f"{path} is {now!r}, not {value!r}")
        elif case.why:
            faults += honest(path, now, value, case.why, said)
    again = Snapshot.from_json(snapshot.to_json())
    if again != snapshot:
        faults.append("JSON does not come back as it was")
    text = snapshot.to_json()
    if any(mark in text for mark in ("\\u001b", "\\ufffd", "\ufffd", "\\u0000")) and case.group == "call":
        facts = {path for path, value in result.facts.items() if isinstance(value, str) and not value.isprintable()}
        faults += [f"{path} is garbage: {result.facts[path]!r}" for path in facts if not rests_on(path, VOLATILE)]
    report = check(with_torch(snapshot), matrix=tables())
    faults += [f"rule {one.rule} crashed: {one.why}" for one in report.outcomes if one.status == "crash"]
    own = check(snapshot, matrix=tables())
    faults += [f"rule {one.rule} crashed: {one.why}" for one in own.outcomes if one.status == "crash"]
    if case.unusable and report.verdict == "ok":
        faults.append("the verdict is ok, and no CUDA program can run")
    if not str(report):
        faults.append("the report has no text")
    return faults


def with_torch(snapshot: Snapshot) -> Snapshot:
    """The same with a CUDA build in the environment."""
    copy = Snapshot.from_json(snapshot.to_json())
    stack = Snapshot.from_facts(STACK).stack
    stack.container, stack.env, stack.userland = copy.stack.container, copy.stack.env, copy.stack.userland
    copy.stack = stack
    return copy


def reachable_only_once(path: str) -> bool:
    """The second MIG instance and the like: nothing is told twice."""
    return "mig_devices" in path


def honest(path: str, now: Any, value: Any, why: str, said: str) -> list[str]:
    """A lost fact is unknown, with a reason; the reason or the log names what was broken."""
    if isinstance(now, str) and path.endswith(("nvml_error", "cu_init")):
        now = {"why": now}  # here a text is the error
    if now == 0 and path.endswith("cuda_devices"):
        return []  # cuInit failed: there are none for anybody
    if not isinstance(now, dict):
        # A list or a number that is another one; the part it belongs to may have shrunk.
        return [f"{path} is {now!r}, not {value!r} and not unknown"]
    reason = str(now.get("why"))
    if now.get("path"):
        return [] if re.search(why, said) else [f"{path} is gone, and no word of {why}"]
    if reason in ("", "not stated", "it was not asked", "it was not told"):
        return [f"{path} has no reason: {now!r}"]
    if not re.search(why, reason) and not re.search(why, said):
        return [f"{path} is unknown because {reason!r}; neither that nor the log says {why!r}"]
    return []


@functools.cache
def tables() -> Matrix:
    return Matrix.load()


@functools.cache
def healthy(imports: bool = False) -> dict[str, Any]:
    """The facts of the machine on which all is well."""
    result = run(Case("healthy", "healthy", {}, module="fine" if imports else ""))
    assert not result.left
    return result.facts
