"""Assumptions: what they replace, what no longer follows, what is refused, and that they are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envcheck
from envcheck.assume import FACTS, AssumptionError, assume, from_environment, parse
from envcheck.core.snapshot import Absent, ImportTest, Snapshot, Unknown, known
from envcheck.facts import Facts
from envcheck.matrix import Matrix

MATRIX = Matrix.load()

GPU_HOST: dict[str, Any] = {
    "os": {"system": "Linux", "distro": "ubuntu", "distro_version": "22.04", "glibc": "2.35"},
    "cpu": {"arch": "x86_64", "flags": ["avx", "avx2", "sse4_2"]},
    "gpus": [{"name": "NVIDIA GeForce RTX 4090", "vendor": "nvidia"}],
    "driver": {"version": "550.54.14", "cuda": "12.4"},
    "python": "3.11.9",
    "packages": {"torch": "2.5.1+cu124"},
}
LAPTOP: dict[str, Any] = {**GPU_HOST, "gpus": False, "driver": False}


def assumed(facts: dict[str, Any], **stated: Any) -> Snapshot:
    return assume(Snapshot.from_facts(facts), stated, MATRIX, "--assume")


def listed(snapshot: Snapshot) -> list[tuple[str, str, str]]:
    return [(one.fact, one.value, one.by) for one in snapshot.assumed]


def test_a_driver_replaces_the_driver_and_what_follows_from_it() -> None:
    found = assumed(GPU_HOST, driver="535.104.05")
    assert found.machine.nvidia.version == "535.104.05"
    assert not known(found.machine.nvidia.cuda)
    assert Facts(found, MATRIX).get("driver").cuda == "12.2"
    assert listed(found) == [("driver.version", "535.104.05", "--assume")]
    assert found.probes[-1].detail == "driver.version 535.104.05 in place of 550.54.14"
    assert known(found.machine.gpus)


def test_the_callers_snapshot_stays_as_it_is() -> None:
    before = Snapshot.from_facts(GPU_HOST)
    text = before.to_json()
    every = {"driver": "535.104.05", "cuda": "12.2", "gpu": "Tesla T4", "glibc": "2.28", "distro": "ubuntu 20.04",
             "cpu": "-avx2", "python": "3.12"}  # fmt: skip
    after = assume(before, every, MATRIX)
    assert before.to_json() == text
    assert {one.fact for one in after.assumed} == set(FACTS.values())
    assert set(every) == set(FACTS)
    assert Snapshot.from_json(after.to_json()) == after


def test_what_is_assumed_as_it_is_changes_nothing_but_is_shown() -> None:
    found = assumed(GPU_HOST, driver="550.54.14", cuda="12.4")
    assert found.machine.nvidia == Snapshot.from_facts(GPU_HOST).machine.nvidia
    assert len(found.assumed) == 2


def test_a_driver_where_there_is_none_leaves_the_gpu_open() -> None:
    found = assumed(LAPTOP, driver="535.104.05")
    assert isinstance(found.machine.gpus, Unknown)
    assert "535" in str(Facts(found, MATRIX).get("driver"))


def test_a_gpu_where_there_is_none_leaves_the_driver_open() -> None:
    found = assumed(LAPTOP, gpu="Tesla T4")
    assert isinstance(found.machine.nvidia.version, Unknown)
    gpus = known(found.machine.gpus)
    assert gpus is not None
    assert (gpus[0].vendor, gpus[0].compute_capability, gpus[0].memory_mib) == ("nvidia", "7.5", 16384)


def test_several_gpus() -> None:
    found = assumed(GPU_HOST, gpu=["Tesla T4", "NVIDIA A100-SXM4-40GB"], driver="535.104.05")
    gpus = known(found.machine.gpus) or []
    assert [(gpu.index, gpu.compute_capability) for gpu in gpus] == [(0, "7.5"), (1, "8.0")]
    assert ("gpus", "Tesla T4, NVIDIA A100-SXM4-40GB", "--assume") in listed(found)


def test_another_cuda_says_nothing_of_the_kernel_module() -> None:
    found = assumed(GPU_HOST, cuda="12.8")
    driver = Facts(found, MATRIX).get("driver")
    assert (driver.version, driver.cuda, driver.forward_compat) == (None, "12.8", None)


def test_driver_and_cuda_together_are_forward_compatibility() -> None:
    driver = Facts(assumed(GPU_HOST, driver="535.104.05", cuda="12.8"), MATRIX).get("driver")
    assert (driver.version, driver.cuda) == ("535.104.05", "12.8")
    assert driver.forward_compat


@pytest.mark.parametrize("none", ["none", "", "None"])
def test_there_is_none(none: str) -> None:
    assert isinstance(assumed(GPU_HOST, gpu=none).machine.gpus, Absent)
    assert isinstance(assumed(GPU_HOST, driver=none).machine.nvidia.version, Absent)
    without = assumed(GPU_HOST, cuda=none)
    assert isinstance(without.machine.nvidia.cuda, Absent)
    assert isinstance(without.machine.gpus, Absent)
    assert listed(without) == [("driver.cuda", "none", "--assume")]


def test_glibc_and_distribution() -> None:
    assert Facts(assumed(GPU_HOST, glibc="2.28"), MATRIX).get("glibc") == "2.28"
    assert Facts(assumed(GPU_HOST, distro="ubuntu 20.04"), MATRIX).get("glibc") == "2.31"
    assert Facts(assumed(GPU_HOST, distro="ubuntu 20.04", glibc="2.28"), MATRIX).get("glibc") == "2.28"
    assert isinstance(Facts(assumed(GPU_HOST, glibc="none"), MATRIX).get("glibc"), Absent)
    inside = {**GPU_HOST, "os": {**GPU_HOST["os"], "container": "docker"}}
    assert Facts(assumed(inside, glibc="2.28"), MATRIX).get("glibc") == "2.28"


def test_cpu() -> None:
    flags = Facts(assumed(GPU_HOST, cpu="-avx2,+fma"), MATRIX).get("cpu_flags")
    assert [flags.has(name) for name in ("avx2", "fma", "avx")] == [False, True, True]
    level = Facts(assumed(GPU_HOST, cpu="x86-64-v2"), MATRIX).get("cpu_flags")
    assert [level.has(name) for name in ("avx2", "aes")] == [False, None]
    facts = {**GPU_HOST, "packages": {"numpy": "2.4.0"}}
    assert envcheck.check(facts, assume={"cpu": "x86-64-v1"}).verdict == "problem"
    assert envcheck.check(facts, assume={"cpu": "x86-64-v3"}, select="cpu-isa-missing").verdict == "ok"


def test_python() -> None:
    stack = assumed(GPU_HOST, python="3.13t").stack.python
    assert (stack.version, stack.abi) == ("3.13", "cp313t")
    assert assumed(GPU_HOST, python="3.12").stack.python.abi == "cp312"


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"drivr": "1"}, "there is no key 'drivr'; did you mean 'driver'?"),
        ({"zzz": "1"}, "there are driver, cuda"),
        ({"driver": "new"}, "driver must be a version such as 535.104.05, not 'new'"),
        ({"driver": 535}, 'driver must be a text, such as "535.104.05"'),
        ({"cuda": 12.4}, 'cuda must be a text, such as "12.2"'),
        ({"cuda": ["12.4", "12.2"]}, "cuda is stated 2 times"),
        ({"gpu": []}, "gpu must be a text"),
        ({"gpu": "Tesla T44"}, "did you mean 'Tesla T4'?"),
        ({"cpu": "avx2"}, "flags with + or -"),
        ({"cpu": ""}, "not an empty text"),
        ({"distro": "ubuntu"}, "a name with a release"),
        ({"glibc": "2.x"}, "glibc must be a version"),
        (["driver=1"], "takes a mapping"),
    ],
)
def test_what_is_refused(stated: Any, said: str) -> None:
    with pytest.raises(AssumptionError) as caught:
        assume(Snapshot.from_facts(GPU_HOST), stated, MATRIX, "--assume")
    assert said in str(caught.value)
    assert str(caught.value).startswith("--assume")
    assert "\n" not in str(caught.value)


def test_command_line_form() -> None:
    assert parse(["driver = 535.1", "gpu=Tesla T4", "gpu=A=B", "cuda="]) == {
        "driver": ("535.1",), "gpu": ("Tesla T4", "A=B"), "cuda": ("",)
    }  # fmt: skip
    with pytest.raises(AssumptionError, match="takes KEY=VALUE"):
        parse(["driver"])


def test_variables_of_conda_and_uv() -> None:
    here = Snapshot.from_facts(GPU_HOST)
    env = {"CONDA_OVERRIDE_CUDA": "11.8", "CONDA_OVERRIDE_GLIBC": "2.28", "UV_CUDA_DRIVER_VERSION": "525.60.13"}
    found = from_environment(here, env)
    driver = Facts(found, MATRIX).get("driver")
    assert (driver.version, driver.cuda) == ("525.60.13", "11.8")
    assert Facts(found, MATRIX).get("glibc") == "2.28"
    assert {one.by for one in found.assumed} == set(env)
    assert from_environment(here, {"PATH": "/bin"}) is here
    later = assume(found, {"driver": "535.104.05"}, MATRIX, "--assume")
    assert Facts(later, MATRIX).get("driver").cuda == "12.2"
    assert {one.by for one in later.assumed} == {"--assume", "CONDA_OVERRIDE_GLIBC"}


def test_empty_variables_of_conda_say_that_there_is_none() -> None:
    """conda: "falsy override: skip __cuda"; uv takes an empty version for a fault."""
    env = {"CONDA_OVERRIDE_CUDA": "", "CONDA_OVERRIDE_GLIBC": "", "UV_CUDA_DRIVER_VERSION": ""}
    found = from_environment(Snapshot.from_facts(GPU_HOST), env)
    assert isinstance(found.machine.nvidia.cuda, Absent)
    assert isinstance(found.machine.gpus, Absent)
    assert isinstance(Facts(found, MATRIX).get("glibc"), Absent)
    assert [run.status for run in found.probes if run.where == "UV_CUDA_DRIVER_VERSION"] == ["failed"]


def test_a_variable_that_is_no_version_is_not_used() -> None:
    here = Snapshot.from_facts(GPU_HOST)
    found = from_environment(here, {"CONDA_OVERRIDE_CUDA": "latest"})
    assert found.machine == here.machine
    assert found.assumed == []
    assert "not used" in found.probes[-1].detail


def test_other_systems_have_no_glibc_to_assume() -> None:
    mac = Snapshot.from_facts({"os": "Darwin"})
    assert from_environment(mac, {"CONDA_OVERRIDE_GLIBC": "2.28"}).assumed == []


def test_import_tests_do_not_hold_on_an_assumed_system() -> None:
    here = Snapshot.from_facts(GPU_HOST)
    here.stack.imports = [ImportTest(package="torch", module="torch", outcome="ok")]
    assert assume(here, {"glibc": "2.17"}, MATRIX).stack.imports == []
    assert assume(here, {"driver": "535.104.05"}, MATRIX).stack.imports == here.stack.imports


def test_it_is_shown_everywhere() -> None:
    report = envcheck.check(GPU_HOST, assume={"driver": "470.82.01", "gpu": "Tesla T4"})
    assert report.verdict == "problem"
    words = "driver.version 470.82.01 (assume); gpus Tesla T4 (assume)"
    assert words in " ".join(str(report).split())
    assert f"assumed: {words}" in report._repr_html_()
    assert report.to_dict()["snapshot"]["assumed"] == [
        {"fact": "driver.version", "value": "470.82.01", "by": "assume"},
        {"fact": "gpus", "value": "Tesla T4", "by": "assume"},
    ]


def test_a_stack_from_elsewhere_leaves_its_machines_assumptions_behind() -> None:
    lab = assumed(GPU_HOST, driver="535.104.05", python="3.12")
    server = assumed(LAPTOP, gpu="Tesla T4")
    report = envcheck.check(stack=lab, machine=server)
    assert [one.fact for one in report.snapshot.assumed] == ["gpus", "python.version"]


KEYS = st.sampled_from([*FACTS, "other", ""])
TEXTS = st.text(max_size=20) | st.sampled_from(["none", "12.4", "-avx2", "x86-64-v9", "Tesla T4", "ubuntu 22.04"])


@given(st.dictionaries(KEYS, TEXTS | st.lists(TEXTS, max_size=3) | st.integers()))
@settings(max_examples=300, deadline=None)
def test_any_input_is_used_or_refused_in_a_sentence(stated: dict[str, Any]) -> None:
    try:
        found = assume(Snapshot.from_facts(GPU_HOST), stated, MATRIX)
    except AssumptionError:
        return
    assert found.to_json()


@given(
    st.dictionaries(st.sampled_from(["CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "UV_CUDA_DRIVER_VERSION"]), TEXTS)
)
@settings(max_examples=200, deadline=None)
def test_any_variable_is_used_or_logged(env: dict[str, str]) -> None:
    found = from_environment(Snapshot.from_facts(GPU_HOST), env)
    assert {run.where for run in found.probes if run.probe == "assume"} == set(env)
