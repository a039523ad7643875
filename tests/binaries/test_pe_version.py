"""Versions from version resources and from LC_ID_DYLIB."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import made_macho
from made_pe import dll

from envcheck.binaries.library_version import LibraryVersion, library_version
from envcheck.binaries.macho import slices
from envcheck.binaries.pe import PeError, PeFile
from envcheck.binaries.pe_version import file_version, major_of_name

RUNTIME = "NVIDIA CUDA Runtime, Version 12.9.79 "


def test_a_version_resource_is_read() -> None:
    texts = {"CompanyName": "NVIDIA Corporation", "FileDescription": RUNTIME, "OriginalFilename": "CUDART64_129_79.DLL"}
    told = file_version(
        PeFile(dll(name="x.dll", version=(6, 14, 11, 12090), product=(10, 0, 10011, 16384), texts=texts))
    )
    assert told is not None
    assert (told.file, told.product) == ((6, 14, 11, 12090), (10, 0, 10011, 16384))
    assert told.texts == {key: text.strip() for key, text in texts.items()}
    assert file_version(PeFile(dll(name="x.dll"))) is None


@pytest.mark.parametrize(
    ("name", "version", "description", "expected"),
    [
        ("cudart64_12.dll", (6, 14, 11, 12090), RUNTIME, ("cudart", "12.9")),
        ("cudart64_12.dll", (6, 14, 11, 12060), "", ("cudart", "12.6")),
        ("cudart64_110.dll", (6, 14, 11, 11080), "", ("cudart", "11.8")),
        ("cudnn64_9.dll", (9, 10, 2, 21), "NVIDIA cuDNN Library", ("cudnn", "9.10.2")),
        ("cudnn_graph64_9.dll", (9, 1, 0, 70), "", ("cudnn", "9.1.0")),
        ("nvjpeg64_12.dll", (6, 14, 11, 1240), "NVIDIA CUDA NVJPEG Library, Version 12.4.0.76 ", ("nvjpeg", "12.4.0")),
        ("nvinfer_10.dll", (10, 4, 0, 26), "", ("tensorrt", "10.4.0")),
        # The number is no version, and nothing says it in words.
        ("nvjpeg64_12.dll", (6, 14, 11, 1240), "", None),
        # A version that contradicts the name is not believed.
        ("cudnn64_9.dll", (8, 9, 4, 25), "", None),
        ("cudnn64_8.dll", (6, 14, 11, 8090), "", None),
        ("kernel32.dll", (10, 0, 1, 1), "", None),
        ("cudnn64_9.dll", (0, 0, 0, 0), "", None),
    ],
)
def test_the_library_and_its_version(
    name: str, version: tuple[int, int, int, int], description: str, expected: tuple[str, str] | None
) -> None:
    texts = {"FileDescription": description} if description else {}
    found = library_version(dll(name=name, version=version, texts=texts))
    assert found == (LibraryVersion(*expected, "version resource") if expected else None)


def test_the_resource_names_a_file_without_exports() -> None:
    data = dll(version=(9, 10, 2, 21), texts={"OriginalFilename": "cudnn64_9.dll"})
    assert library_version(data) == LibraryVersion("cudnn", "9.10.2", "version resource")


@pytest.mark.parametrize(
    ("name", "major"),
    [("cublas64_12.dll", 12), ("cublas64_100.dll", 10), ("cudart64_90.dll", 9), ("CUDNN64_9.DLL", 9),
     ("nvrtc64_112_0.dll", 11), ("nvinfer.dll", None), ("cupti64_2025.2.1.dll", 2025), ("x_99999.dll", None),
     ("cusparse64_10.dll", 10)],
)  # fmt: skip
def test_majors_of_names(name: str, major: int | None) -> None:
    assert major_of_name(name) == major


@pytest.mark.parametrize(
    ("numbers", "text", "expected"),
    [
        ((1, 31, 1, 1023), "1.31.1.20261023.3.6af1a93", "1.31.1"),
        ((1, 23, 25, 1021), "1.23.20251021.3.a83fc4d", "1.23"),  # of 1.23.2: the date stands in the number too
        ((1, 23, 25, 1021), "", None),
    ],
)
def test_onnxruntime(numbers: tuple[int, int, int, int], text: str, expected: str | None) -> None:
    texts = {"FileDescription": "ONNX Runtime", "ProductVersion": text}
    found = library_version(dll(name="onnxruntime.dll", version=numbers, texts=texts))
    assert (found.version if found else None) == expected


def test_damaged_resources() -> None:
    good = dll(name="cudnn64_9.dll", version=(9, 10, 2, 21), texts={"FileDescription": "x"})
    at = good.index("VS_VERSION_INFO".encode("utf-16-le")) - 6
    with pytest.raises(PeError, match="impossible size"):
        file_version(PeFile(good[:at] + b"\xff\xff" + good[at + 2 :]))
    with pytest.raises(PeError, match="damaged"):
        file_version(PeFile(good.replace(b"\xbd\x04\xef\xfe", b"\xbd\x04\xef\xff")))


def test_current_version_of_a_dylib() -> None:
    data = made_macho.dylib(id="@rpath/libonnxruntime.1.dylib", current=(1, 31, 1))
    [part] = slices(data)
    assert (part.current, part.compatible, part.sdk, part.kind) == ((1, 31, 1), (1, 0, 0), (14, 0, 0), 6)
    assert library_version(data) == LibraryVersion("onnxruntime", "1.31.1", "LC_ID_DYLIB")
    assert library_version(made_macho.universal(data)) == LibraryVersion("onnxruntime", "1.31.1", "LC_ID_DYLIB")
    assert library_version(made_macho.dylib(id="/x/libonnxruntime.1.dylib", current=(0, 0, 0))) is None
    assert library_version(made_macho.dylib(id="/x/libz.1.dylib")) is None
