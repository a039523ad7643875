"""The log of several processes has the causes that the texts of the processes have one by one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

import envcheck
from envcheck.diagnosis.failures import announced
from envcheck.diagnosis.prefixes import several
from envcheck.diagnosis.text import MOST_TEXT, reduce
from envcheck.matrix import Matrix

MATRIX = Matrix.load()
TEXTS = (
    "Traceback (most recent call last):\n"
    "RuntimeError: NumPy was built with baseline optimizations: \n"
    "(X86_V2) but your machine doesn't support:\n(X86_V2).",
    "The following required CPU features were not detected:\n    avx2, fma, bmi1, bmi2, lzcnt, movbe\n"
    "Continuing to use this version of Polars on this processor will likely result in a crash.",
    "Traceback (most recent call last):\n  import onnxruntime\n"
    "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory\nexiting",
    "loading the model\nOSError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34'\n"
    "    not found (required by /opt/app/lib/libx.so)\nexiting",
)
FORMS: dict[str, Callable[[int], str]] = {
    "excepthook of torch": lambda number: f"[rank{number}]: ",
    "torchrun --tee": lambda number: f"[default{number}]:",
    "torchrun with a template": lambda number: f"[{number}]:",
    "Open MPI --tag-output": lambda number: f"[1,{number}]<stderr>:",
    "Open MPI --tag-output --timestamp-output": lambda number: f"Sat Nov 21 12:00:0{number} 2026[1,{number}]<stdout>:",
    "PMIx --output tag-detailed": lambda number: f"[prterun-a-12@1,{number}][node1:4{number}]<stderr>: ",
    "PMIx --output tag,timestamp": lambda number: f"[Sat Nov 21 12:00:00 2026][1,{number}]<stderr>: ",
    "Horovod": lambda number: f"[{number}]<stderr>:",
    "srun --label": lambda number: f"{number}: ",
    "MPICH": lambda number: f"[{number}] ",
    "docker compose": lambda number: f"web-{number}  | ",
    "docker compose 1": lambda number: f"worker_{number}     | ",
    "kubectl logs --prefix": lambda number: f"[pod/trainer-{number}/pytorch] ",
    "kubectl logs --prefix --timestamps": lambda number: f"[pod/a-{number}/b] 2026-11-21T12:00:00.12345678Z ",
    "stern": lambda number: f"trainer-{number} pytorch ",
    "Ray": lambda number: f"(pid=12{number}) ",
    "Ray, several hosts": lambda number: f"\x1b[36m(RayTrainWorker pid=12, ip=10.0.0.{number})\x1b[0m ",
    "vLLM": lambda number: f"(Worker_TP{number} pid=12{number}) ",
    "pdsh": lambda number: f"worker-{number}: ",
    "pdsh and torch": lambda number: f"worker-{number % 2}: [rank{number}]: ",
    "journal": lambda number: f"Nov 21 12:00:00 host app[12{number}]: ",
    "GitHub Actions around srun": lambda number: f"2026-11-21T12:00:00.0000000Z {number}: ",
    "gh run view --log": lambda number: f"build ({number})\tRun tests\t2026-11-21T12:00:00.0000000Z ",
    "parallel --tag": lambda number: f"config-{number}\t",
}


def causes(text: str) -> set[str]:
    found = envcheck.diagnose(text, matrix=MATRIX)
    return {cause.rule for cause in found.causes if cause.signatures and cause.confidence != "low"}


ALONE = [causes(text) for text in TEXTS]


def interleaved(prefix: Callable[[int], str], texts: list[str], rng: random.Random) -> str:
    queues = [text.split("\n") for text in texts]
    lines = []
    while any(queues):
        number = rng.choice([number for number, queue in enumerate(queues) if queue])
        lines.append(prefix(number) + queues[number].pop(0))
    return "\n".join(lines)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(6))
def test_interleaved_texts_have_the_same_causes(form: str, seed: int) -> None:
    rng = random.Random(seed)
    texts = [rng.choice(TEXTS) for _ in range(rng.randint(2, 8))]
    expected = set().union(*(ALONE[TEXTS.index(text)] for text in texts))
    assert expected
    assert causes(interleaved(FORMS[form], texts, rng)) == expected


@pytest.mark.parametrize("form", ["excepthook of torch", "Horovod", "Ray", "kubectl logs --prefix"])
def test_a_long_log(form: str) -> None:
    rng = random.Random(1)
    prefix = FORMS[form]
    noise = [f"{prefix(rng.randrange(4))}INFO step {step} loss {rng.random()}" for step in range(20_000)]
    noise.insert(15_000, interleaved(prefix, [TEXTS[0]] * 4, rng))
    text = "\n".join(noise)
    assert len(text) > MOST_TEXT
    assert causes(text) == ALONE[0]


def test_who_wrote_it() -> None:
    text = interleaved(FORMS["excepthook of torch"], [TEXTS[0]] * 4, random.Random(0))
    found = envcheck.diagnose(text, matrix=MATRIX)
    assert sorted(found.causes[0].processes) == ["rank 0", "rank 1", "rank 2", "rank 3"]
    assert found.causes[0].evidence[0].fact.startswith("the message of ranks 0-3: RuntimeError: NumPy")


def test_who_failed_first() -> None:
    follow = "RuntimeError: NCCL error: unhandled cuda error, ncclUnhandledCudaError: Call to CUDA function failed."
    text = "\n".join(f"[rank3]: {line}" for line in TEXTS[0].split("\n")) + f"\n[rank0]: {follow}\n[rank1]: {follow}"
    assert "rank 3 failed first; the others followed" in envcheck.diagnose(text, matrix=MATRIX).notes


SUMMARY = """\
E1121 10:00:00.1 12 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: {code}) local_rank: 3
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-21_10:00:01
  host      : node1
  rank      : 0 (local_rank: 0)
  exitcode  : -9 (pid: 11)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 11
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-21_10:00:00
  host      : node1
  rank      : 3 (local_rank: 3)
  exitcode  : {code} (pid: 14){signal}
  error_file: <N/A>
  traceback : {message}
============================================================"""


def test_the_elastic_agent_names_the_first() -> None:
    told = "Signal 9 (SIGKILL) received by PID 14"
    found = envcheck.diagnose(SUMMARY.format(code=-9, signal="  (SIGKILL)", message=told), matrix=MATRIX)
    assert any(
        note.startswith("rank 3 failed first, as torchrun tells (exit code -9 (SIGKILL))") for note in found.notes
    )
    assert [one.signature for one in found.limits] == ["killed"]
    found = envcheck.diagnose(SUMMARY.format(code=1, signal="", message="To enable traceback see: ..."), matrix=MATRIX)
    assert not found.limits, "the agent killed rank 0 after rank 3 had failed"


@pytest.mark.parametrize(
    ("text", "who", "how"),
    [
        (
            "mpirun noticed that process rank 2 with PID 12 on node a exited on signal 9 (Killed).",
            "rank 2",
            "signal 9 (Killed)",
        ),
        (
            "to be terminated. The first process to do so was:\n\n  Process name: [[61000,1],5]\n  Exit code:    1",
            "rank 5",
            "exit code 1",
        ),
        ("srun: error: node1: task 3: Segmentation fault", "task 3", "Segmentation fault"),
        ("ProcessExitedException: process 1 terminated with signal SIGKILL", "process 1", "signal SIGKILL"),
        ("[rank: 1] Child process with PID 9 terminated with code -9. Forcefully", "rank 1", "exit code -9 (SIGKILL)"),
    ],
)
def test_launchers(text: str, who: str, how: str) -> None:
    found = announced(text)
    assert found is not None
    assert (found.process, found.how) == (who, how)


@pytest.mark.parametrize(
    "text",
    [
        "ImportError: a\nOSError: b\nImportError: c\nOSError: d\nValueError: e",
        "1: a\n2: b\n3: c\n4: d\n5: e",
        "torch | 2.1\nnumpy | 1.26\nonnx | 1.15\nscipy | 1.11",
        "E0521 10:00:00 a.cc:1] x\nlibcudnn.so.9: cannot open\nlibcudnn.so.8: cannot open\nlibcudnn.so.9: cannot open",
        "step-1 loss 1.0\nstep-2 loss 0.9\nstep-3 loss 0.8\nstep-4 loss 0.7",
        "name\tversion\nnumpy\t1.26\ntorch\t2.1\nonnx\t1.15",
    ],
)
def test_plain_texts_are_left_alone(text: str) -> None:
    assert reduce([text]).processes is None
    assert reduce([text]).text == text


def test_lines_of_nobody_are_kept() -> None:
    text = "W run.py:1] starting\n[rank0]: a\n[rank1]: b\n[rank0]: c\nlast words"
    assert reduce([text]).text.split("\n") == ["W run.py:1] starting", "last words", "\0", "a", "c", "\0", "b"]


def test_processes_in_words() -> None:
    assert several(["rank 3", "rank 0", "rank 2", "rank 1"]) == "ranks 0-3"
    assert several(["host a1", "host b2"]) == "host a1, host b2"
    assert several(["a", "b", "c", "d", "e"]) == "a, b, c and 2 others"


@pytest.mark.parametrize(
    "unit", ["[", "(", "[rank0]:", "(a ", "[1,", "0: ", "a-1 b ", "1-1: ", "x\t", "[pod/", "2026-11-21T"]
)
def test_hostile_texts_take_no_long_time(unit: str) -> None:
    for text in (unit * (100_000 // len(unit)), (unit * 20 + "\n") * 5000):
        started = time.process_time()
        reduce([text])
        assert time.process_time() - started < 1.5
