"""The readers of pasted reports never raise, whatever the text, and take linear time."""

from __future__ import annotations

import string
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.core.snapshot import Snapshot
from envcheck.sources.pasted import facts_from_text, snapshot_from_text

SAMPLES = [path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parent / "pasted").glob("*.txt"))]
MIB = 1 << 20


@given(st.text(max_size=2000))
@settings(max_examples=150, deadline=None)
def test_any_text(text: str) -> None:
    facts = facts_from_text(text)
    if facts is not None:
        Snapshot.from_facts(facts)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sample with parts cut out, doubled, put in from elsewhere."""
    text = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 80)))
        new = draw(
            st.one_of(
                st.just(""),
                st.text(max_size=20),
                st.text(alphabet=string.digits + ".:|= \n", max_size=30),
                st.sampled_from(SAMPLES).map(lambda other: other[:300]),
            )
        )
        text = text[:start] + new + text[end:]
    return text


@given(damaged())
@settings(max_examples=300, deadline=None)
def test_damaged_reports(text: str) -> None:
    facts = facts_from_text(text)
    if facts is not None:
        Snapshot.from_facts(facts)
        assert snapshot_from_text(text) is not None


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_beginning_of_a_report(sample: str) -> None:
    for end in range(0, len(sample), max(1, len(sample) // 40)):
        if (facts := facts_from_text(sample[:end])) is not None:
            Snapshot.from_facts(facts)


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            " ",
            "\n",
            "(",
            "0",
            "|",
            ":",
            "= ",
            "- ",
            "> ",
            ">",
            "# ",
            "\t",
            "\x1b[",
            "'",
            ".0",
            "\ud800",
            "\r",
            "é",
            "：",
        ),
        *(
            "GPU 0: ",
            "GPU 0,",
            "Package Version\n",
            "a==1",
            "a==1\n",
            "a 1 ",
            "Name: a\n",
            "[conda] ",
            "== check ",
            "Linux ",
        ),
        *(
            "| 0 N ",
            "NVIDIA-SMI Driver Version:",
            "Product Name : A\n",
            "libcudnn.so.8",
            "### CUDA/cuDNN version\n",
            "cudnn",
        ),
        *(
            "sys.platform: ('a', 'b'), ",
            "Flags: fpu vme \n",
            "          fpu ",
            "CUDA runtime version: 1.1\n",
            "OS: Ubuntu ",
        ),
        *(
            "name, driver_version\n",
            "Name  Version  Build\n",
            "a 1 py_0\n",
            "Architecture: x86_64\n",
            "Microsoft Windows [",
        ),
        *(
            "OS Name: Microsoft Windows 10 ",
            "- CUDA Runtime 1.1",
            "jaxlib: 1.1\njax: 1.1\n",
            "macos a a a a ",
            "PRETTY_NAME=\n",
        ),
        *("Python 3.10.1 (", "Is CUDA available: True\nIs debug build: False\n", "Probably one of the following:\n"),
    ],
)
def test_linear_time(unit: str) -> None:
    text = unit * (MIB // 2 // len(unit))
    started = time.perf_counter()
    facts_from_text(text)
    assert time.perf_counter() - started < 6


def test_five_megabytes_of_reports() -> None:
    everything = "\n".join(SAMPLES)
    text = everything * (5 * MIB // len(everything))
    started = time.perf_counter()
    facts = facts_from_text(text)
    assert time.perf_counter() - started < 20
    assert facts is not None
