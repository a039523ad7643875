"""A second copy of a package: files of the program, versions that contradict the list, folders that are named."""

from __future__ import annotations

from typing import Any

import pytest

import envcheck
from envcheck.core.snapshot import Snapshot
from envcheck.diagnosis.model import Diagnosis
from envcheck.diagnosis.own_files import is_own

HEAD = "Traceback (most recent call last):\n"


def run(text: str, **facts: Any) -> Diagnosis:
    return envcheck.diagnose(text, Snapshot.from_facts(facts) if facts else None)


def said(found: Diagnosis) -> str:
    return " | ".join(
        item.fact for cause in found.causes for item in cause.evidence if "the message: " not in item.fact
    )


def commands(found: Diagnosis) -> list[str]:
    return [fix.command for cause in found.causes for fix in cause.fixes]


OWN = {
    "file in the message": (
        "ImportError: cannot import name 'helper' from 'onnx' (/home/u/proj/onnx.py)",
        "/home/u/proj/onnx.py",
    ),
    "half loaded, file in the message": (
        "ImportError: cannot import name 'nn' from partially initialized module 'torch' "
        "(most likely due to a circular import) (/srv/app/torch.py)",
        "/srv/app/torch.py",
    ),
    "file in the traceback": (
        HEAD + '  File "/home/u/proj/torch.py", line 1, in <module>\n    import torch\n'
        '  File "/home/u/proj/torch.py", line 3, in <module>\n    x = torch.Tensor([1])\n'
        "AttributeError: partially initialized module 'torch' has no attribute 'Tensor' "
        "(most likely due to a circular import)",
        "/home/u/proj/torch.py",
    ),
    "Windows": (
        "ImportError: cannot import name 'InferenceSession' from 'onnxruntime' (C:\\Users\\u\\my app\\onnxruntime.py)",
        "C:\\Users\\u\\my app\\onnxruntime.py",
    ),
    "not a package": (
        HEAD + '  File "main.py", line 1, in <module>\n  File "/work dir/torch.py", line 1, in <module>\n'
        "ModuleNotFoundError: No module named 'torch.nn'; 'torch' is not a package",
        "/work dir/torch.py",
    ),
    "CPython 3.13": (
        "AttributeError: module 'numpy' has no attribute 'array' (consider renaming '/home/u/numpy.py' if it has the "
        "same name as a library you intended to import)",
        "/home/u/numpy.py",
    ),
    "standard library": (
        HEAD + '  File "/home/u/random.py", line 2, in <module>\n'
        "AttributeError: partially initialized module 'random' has no attribute 'randint' "
        "(most likely due to a circular import)",
        "/home/u/random.py",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_a_file_of_the_program_is_named_and_the_package_is_not_blamed(name: str) -> None:
    text, path = OWN[name]
    found = run(text, python="3.11")
    assert found.verdict == "not-environment", found
    assert all(cause.confidence == "low" for cause in found.causes)
    assert [path in one.means and f"Rename {path}" in one.cure for one in found.program] == [True], found.program
    assert "__pycache__" in found.program[0].cure


@pytest.mark.parametrize(
    "text",
    [
        "ImportError: cannot import name 'helper' from 'onnx' (/v/lib/python3.11/site-packages/onnx/__init__.py)",
        "ImportError: cannot import name 'ParamSpec' from 'typing_extensions' (/var/task/typing_extensions.py)",
        "ImportError: cannot import name 'ParamSpec' from 'typing_extensions' "
        "(/usr/lib/python3/dist-packages/typing_extensions.py)",
        # A part of a package may have any name: the message is of the real torch.
        HEAD + '  File "/srv/app/backends/torch.py", line 3, in <module>\n'
        "AttributeError: module 'torch' has no attribute 'float8_e4m3fn'",
    ],
)
def test_an_installed_package_stays_the_cause(text: str) -> None:
    found = run(text)
    assert found.verdict == "environment"
    assert found.causes[0].rule == "package-conflict"
    assert not found.program


def test_a_part_of_a_package_is_not_blamed_where_the_real_one_is_half_loaded() -> None:
    found = run(
        HEAD + '  File "/srv/app/backends/transformers.py", line 1, in <module>\n'
        '  File "/v/lib/python3.11/site-packages/transformers/__init__.py", line 26, in <module>\n'
        "ImportError: cannot import name 'x' from partially initialized module 'transformers' "
        "(most likely due to a circular import) (/v/lib/python3.11/site-packages/transformers/__init__.py)"
    )
    assert not any("backends/transformers.py" in one.means for one in found.program)


def test_a_half_loaded_package_is_hidden_by_no_file() -> None:
    line = "partially initialized module '{0}' has no attribute 'x' (most likely due to a circular import)"
    text = (
        HEAD + '  File "/v/lib/python3.11/site-packages/{0}/__init__.py", line 26, in <module>\nAttributeError: ' + line
    )
    found = run(text.format("polars"))
    assert [one.means.partition(" asks")[0] for one in found.program] == ["a file of the package polars"]
    # Of OpenCV's packages it is known why.
    found = run(text.format("cv2"))
    assert found.causes[0].rule == "package-conflict"
    assert not found.program


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/home/u/torch.py", True),
        ("torch.py", True),
        (r"D:\code\torch.py", True),
        ("/usr/lib/python3.8/random.py", False),
        (r"C:\Users\u\miniconda3\envs\a\lib\random.py", False),
        ("/usr/lib/python3/dist-packages/torch.py", False),
        ("/home/u/.local/lib/python3.10/site-packages/torch.py", False),
        ("/opt/pypy/lib/pypy3.9/random.py", False),
    ],
)
def test_where_files_of_a_program_lie(path: str, own: bool) -> None:
    assert is_own(path) is own


NUMPY_2 = "A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.1.0 as it may crash."
NUMPY_API = "RuntimeError: module compiled against API version 0x10 but this version of numpy is 0xe"
CUDNN = "PyTorch was compiled  against (8, 9, 2) but found runtime version (8, 5, 0)."
CONTRADICTIONS = [
    (NUMPY_2, {"numpy": "1.26.4"}, "loaded is 2.1.0, listed is 1.26.4", "numpy.__file__"),
    (NUMPY_API, {"numpy": "1.26.4"}, "C API 0xe, that of NumPy 1.20 to 1.21, listed is 1.26.4", "numpy.__file__"),
    ("AttributeError: _ARRAY_API not found", {"numpy": "1.24.4"}, "is NumPy 2", "numpy.__file__"),
    (
        f"RuntimeError: cuDNN version incompatibility: {CUDNN}",
        {"torch": "2.1.0+cu121", "nvidia-cudnn-cu12": "8.9.2.26"},
        "cuDNN that was loaded is 8.5.0, listed is nvidia-cudnn-cu12 8.9.2.26",
        "libcudnn",
    ),
    (
        "The requested API version [17] is not available, only API versions [1, 10] are supported in this build.",
        {"onnxruntime-gpu": "1.17.1"},
        "loaded is 1.10, listed is 1.17.1",
        "onnxruntime.__file__",
    ),
    (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed: Unsupported model IR version: 10, max "
        "supported IR version: 8",
        {"onnxruntime": "1.20.1"},
        "takes IR version 8 at most, as ONNX Runtime 1.",
        "onnxruntime.__file__",
    ),
    (
        "VersionError: Detected incompatible Protobuf Gencode/Runtime versions when loading x.proto: gencode 5.28.3 "
        "runtime 4.25.5.",
        {"protobuf": "5.29.0"},
        "protobuf that was loaded is 4.25.5, listed is 5.29.0",
        "google.protobuf",
    ),
]


@pytest.mark.parametrize(("text", "packages", "fact", "command"), CONTRADICTIONS)
def test_a_version_that_contradicts_the_list(text: str, packages: dict[str, str], fact: str, command: str) -> None:
    found = run(text, packages=packages)
    assert fact in said(found)
    first = found.causes[0].fixes[0]
    assert command in first.command
    assert first.safety == "safe"
    assert first.note


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        (NUMPY_2, {"numpy": "2.1.0"}),
        (NUMPY_2, {"numpy": "2.1"}),
        (NUMPY_2, {"numpy": ""}),
        (NUMPY_2, {}),
        (NUMPY_API, {"numpy": "1.21.6"}),
        (CUDNN, {"torch": "2.1.0+cu121", "nvidia-cudnn-cu12": "8.5.0.96"}),
        ("AttributeError: _ARRAY_API not found", {"numpy": "2.0.1"}),
        ("Unsupported model IR version: 9, max supported IR version: 8", {"onnxruntime": "1.14.1"}),
        ("Unsupported model IR version: 9, max supported IR version: 8", {"onnxruntime": "1.14.0.dev20230101"}),
        # What an installer asks for was not loaded.
        ("ERROR: No matching distribution found for tensorflow==1.15", {"tensorflow": "2.15.0"}),
        (
            "torchvision 0.15.2 requires torch==2.0.1, but you have torch 2.1.0 which is incompatible.",
            {"torch": "2.0.1"},
        ),
    ],
)
def test_nothing_is_said_where_they_agree_or_nothing_is_known(text: str, packages: dict[str, str]) -> None:
    found = run(text, packages=packages)
    assert "listed" not in said(found)
    assert not any("__file__" in command for command in commands(found))


def test_another_pip_than_that_of_the_environment() -> None:
    found = run("ERROR: Package 'onnxruntime' requires a different Python: 3.9.7 not in '>=3.10'", python="3.11.4")
    assert "the Python that ran is 3.9.7, the one of this environment is 3.11.4" in said(found)
    assert "python -m pip -V" in commands(found)


def glibcxx(path: str, asker: str) -> str:
    return f"ImportError: {path}: version `GLIBCXX_3.4.30' not found (required by {asker})"


def test_the_systems_libstdcxx_before_condas() -> None:
    asker = "/home/u/miniconda3/envs/a/lib/python3.10/site-packages/x/_C.so"
    found = run(glibcxx("/lib/x86_64-linux-gnu/libstdc++.so.6", asker))
    assert (
        "is the system's: /lib/x86_64-linux-gnu/libstdc++.so.6, not conda's in /home/u/miniconda3/envs/a/lib"
        in said(found)
    )
    paths = [command for command in commands(found) if "LD_LIBRARY_PATH" in command]
    assert paths == ['export LD_LIBRARY_PATH="/home/u/miniconda3/envs/a/lib:$LD_LIBRARY_PATH"']


def test_condas_libstdcxx_is_the_old_one() -> None:
    found = run(glibcxx("/opt/conda/lib/libstdc++.so.6", "/opt/conda/lib/python3.10/site-packages/x/_C.so"))
    assert "is conda's: /opt/conda/lib/libstdc++.so.6" in said(found)
    assert not any("LD_LIBRARY_PATH" in command for command in commands(found))


def test_libstdcxx_of_a_program() -> None:
    found = run(glibcxx("/usr/local/MATLAB/R2020b/sys/os/glnxa64/libstdc++.so.6", "/v/lib/python3.10/x.so"))
    assert "neither the system's nor conda's" in said(found)
    assert any(
        "take /usr/local/MATLAB/R2020b/sys/os/glnxa64 out of LD_LIBRARY_PATH" in fix.note for fix in fixes(found)
    )


def fixes(found: Diagnosis) -> list[envcheck.Fix]:
    return [fix for cause in found.causes for fix in cause.fixes]


def frames(*files: str) -> str:
    lines = "".join(f'  File "{file}", line 1, in <module>\n' for file in files)
    return HEAD + lines + "ImportError: cannot import name 'x' from 'transformers' (/a/transformers/__init__.py)"


USER = "/home/u/.local/lib/python3.10/site-packages/huggingface_hub/__init__.py"
CONDA = "/opt/conda/lib/python3.10/site-packages/transformers/__init__.py"
SYSTEM = "/usr/lib/python3/dist-packages/yaml/__init__.py"


def test_the_users_site_folder_beside_conda() -> None:
    found = run(frames(CONDA, USER))
    assert "huggingface_hub is loaded from the user's site folder" in said(found)
    assert "export PYTHONNOUSERSITE=1" in commands(found)


def test_the_systems_packages_in_an_environment() -> None:
    assert "yaml is loaded from the system's /usr/lib/python3/dist-packages" in said(run(frames(CONDA, SYSTEM)))


def test_folders_of_two_pythons() -> None:
    found = run(frames(CONDA, USER.replace("3.10", "3.8")))
    assert "folders of two Pythons" in said(found)
    assert "unset PYTHONPATH" in commands(found)


def test_another_python_than_that_of_the_facts() -> None:
    assert "the traceback is of Python 3.10" in said(run(frames(CONDA), python="3.12.1"))
    assert "the traceback is of" not in said(run(frames(CONDA), python="3.10.9"))


def test_folders_that_belong_together() -> None:
    for files in ([USER, SYSTEM], [CONDA], [SYSTEM, "/usr/local/lib/python3.10/dist-packages/numpy/__init__.py"]):
        assert "folder" not in said(run(frames(*files))).replace("no folder of installed packages", "")


def test_sources_in_the_place_of_an_installed_package() -> None:
    assert "transformers was loaded from /a/transformers, no folder of installed" in said(run(frames(CONDA)))


def test_a_text_without_such_paths_costs_little() -> None:
    import time

    from envcheck.diagnosis.diagnose import signatures
    from envcheck.diagnosis.own_files import named
    from envcheck.matrix import Matrix

    known = signatures(Matrix.load())
    text = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n" * 2000
    begin = time.perf_counter()
    for _ in range(20):
        assert named(text, [], known) == []
    assert time.perf_counter() - begin < 0.2


@pytest.mark.parametrize("part", ["cannot import name 'a", 'File "/a/', "from 'torch' (", "(", "/", "a"])
def test_hostile_texts_take_no_time(part: str) -> None:
    import time

    begin = time.perf_counter()
    run(("partially initialized module 'torch' .py cannot import name 'x' from 'torch' " + part * 100_000)[:200_000])
    assert time.perf_counter() - begin < 3
