"""Any text with any facts has a diagnosis, the same each time, in whatever parts it comes."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import envcheck
from envcheck.cli.diagnose import _decoded
from envcheck.core.report import CONFIDENCES
from envcheck.core.snapshot import SnapshotError
from envcheck.diagnosis.diagnose import signatures
from envcheck.diagnosis.text import MOST_TEXT, decoded, reduce
from envcheck.matrix import Matrix

MATRIX = Matrix.load()
EXAMPLES = [text for row in signatures(MATRIX).rows for text in row["examples"]]
VERDICTS = ("environment", "not-environment", "unknown")
KNOWN = "RuntimeError: CUDA error: no kernel image is available for execution on the device"

versions = st.sampled_from(
    ["", "0", "1.0", "2.5.1+cu124", "12.4", "535.104.05", "99999.9", "x", "3.11.4", "8.0", "+cu118"]
)
names = st.sampled_from(
    ["torch", "numpy", "onnxruntime-gpu", "onnxruntime", "tensorflow", "jaxlib", "x", "nvidia-cudnn-cu12"]
)
facts_any = st.fixed_dictionaries(
    {},
    optional={
        "os": st.fixed_dictionaries(
            {}, optional={"system": st.sampled_from(["Linux", "Windows", "Darwin"]), "glibc": versions}
        ),
        "gpus": st.lists(
            st.fixed_dictionaries(
                {},
                optional={"name": st.sampled_from(["Tesla V100", "NVIDIA A100", "x"]), "compute_capability": versions},
            ),
            max_size=3,
        ),
        "driver": st.fixed_dictionaries({}, optional={"version": versions, "cuda": versions}),
        "python": versions,
        "packages": st.dictionaries(names, versions, max_size=4),
        "cpu": st.fixed_dictionaries({}, optional={"arch": st.sampled_from(["x86_64", "aarch64", "x"])}),
    },
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Arbitrary text, and messages joined, cut off and with their lines in another order."""
    if draw(st.booleans()) and draw(st.booleans()):
        return draw(st.text(max_size=400))
    parts = draw(st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=4))
    text = draw(st.sampled_from(["\n", " ", "", "\r\n", "\n\x1b[31m", "\0"])).join(parts)
    kind = draw(st.sampled_from(["whole", "cut", "shuffled", "noise"]))
    if kind == "cut":
        first = draw(st.integers(0, len(text)))
        return text[first : draw(st.integers(first, len(text)))]
    if kind == "shuffled":
        return "\n".join(draw(st.permutations(text.split("\n")[:12])))
    if kind == "noise":
        place = draw(st.integers(0, len(text)))
        return text[:place] + draw(st.text(max_size=20)) + text[place:]
    return text


def snapshot_of(facts: dict[str, Any]) -> envcheck.Snapshot | None:
    try:
        return envcheck.Snapshot.from_facts(facts)
    except SnapshotError:
        return None


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts(), facts_any)
def test_any_text_with_any_facts(text: str, facts: dict[str, Any]) -> None:
    snapshot = snapshot_of(facts)
    before = snapshot.to_dict() if snapshot else None
    found = envcheck.diagnose(text, snapshot, matrix=MATRIX)
    assert found.verdict in VERDICTS
    order = [CONFIDENCES.index(cause.confidence) for cause in found.causes]
    assert order == sorted(order, reverse=True)
    rules = [cause.rule for cause in found.causes]
    assert len(rules) == len(set(rules))
    assert all(cause.message for cause in found.causes)
    said = found.to_dict()
    assert json.loads(json.dumps(said)) == said
    assert envcheck.diagnose(text, snapshot, matrix=MATRIX).to_dict() == said
    assert before == (snapshot.to_dict() if snapshot else None), "the caller's snapshot is not changed"
    if found.report is not None:
        assert not [outcome for outcome in found.report.outcomes if outcome.status == "crash"]


@settings(max_examples=60, deadline=None)
@given(texts(), st.lists(st.integers(0, 2000), max_size=6))
def test_parts_are_as_the_whole(text: str, places: list[int]) -> None:
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    parts = [text[first:end] for first, end in pairwise(ends)]
    assert "".join(parts) == text
    assert reduce(parts).text == reduce([text]).text
    assert envcheck.diagnose(iter(parts), matrix=MATRIX).to_dict() == envcheck.diagnose(text, matrix=MATRIX).to_dict()


def long_text(seed: int) -> str:
    """Long lines, progress bars, both line ends, messages, distinct and repeated noise."""
    rng = random.Random(seed)
    lines = []
    size = 0
    while size < 3 * MOST_TEXT:
        kind = rng.random()
        if kind < 0.01:
            line = "x" * rng.choice((3999, 4000, 4001, 9000)) + " error"
        elif kind < 0.05:
            line = "\r".join(f"{step}% cuda" for step in range(rng.randrange(40)))
        elif kind < 0.3:
            line = rng.choice(EXAMPLES)
        else:
            line = f"{rng.random()} warning {rng.randbytes(30).hex()} 错误"
        lines.append(line + rng.choice(("\n", "\r\n")))
        size += len(line)
    return "".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_a_long_text_in_parts(seed: int) -> None:
    text = long_text(seed)
    whole = reduce([text])
    rng = random.Random(seed)
    for width in (7, 4096, 100_000):
        cuts = [0]
        while cuts[-1] < len(text):
            cuts.append(cuts[-1] + rng.randint(1, 2 * width))
        parts = [text[first:end] for first, end in pairwise(cuts)]
        found = reduce(parts)
        assert found.text == whole.text
        assert found.notes == whole.notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030", "utf-8-sig"])
def test_letters_that_are_cut_in_two(encoding: str) -> None:
    text = "错误: 找不到指定的模块。 DLL load failed while importing onnxruntime_pybind11_state\n" * 4
    data = text.encode(encoding)
    assert decoded(data).removeprefix("\ufeff") == text
    for width in (1, 2, 3, 5, 7):
        stream = io.BytesIO(data[64:])
        parts = iter([data[:64], *iter(lambda: stream.read(width), b"")])  # noqa: B023
        assert "".join(_decoded(parts, "x")).removeprefix("\ufeff") == text


def plain(number: int) -> str:
    return f"step {number:x} of the run {number * 7919:x}"


def telling(number: int) -> str:
    """Looks like a part of a message, and no two are the same but for numbers."""
    letters = "".join(chr(97 + int(digit)) for digit in str(number))
    return f"[{letters}] warning: gpu memory of version {letters}"


@pytest.mark.parametrize("noise", [plain, telling])
@pytest.mark.parametrize("place", [0, 1, 1000, 50_000, 99_999, 100_000])
def test_a_message_in_noise_is_kept(noise: Any, place: int) -> None:
    lines = [noise(number) for number in range(100_000)]
    lines.insert(place, "Traceback (most recent call last):\n" + KNOWN)
    text = "\n".join(lines)
    assert len(text) > 1 << 20
    found = envcheck.diagnose(text, matrix=MATRIX)
    assert any("no kernel image" in one.fact for cause in found.causes for one in cause.evidence)


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    def parts() -> Any:
        for number in range(12):
            yield "\n".join(f"{telling(number * 20_000 + line)} error" for line in range(20_000))

    reduce(["cuda"])
    tracemalloc.start()
    try:
        text = reduce(parts()).text
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(text) < 5 * MOST_TEXT
    assert peak < 60 << 20
