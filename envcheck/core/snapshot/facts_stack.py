"""The stack's half of hand-written facts: Python, packages, toolkit, environment, libraries, model."""

from __future__ import annotations

from typing import Any

from envcheck.core.snapshot import (
    NOT_STATED,
    Absent,
    DriverSource,
    EnvVar,
    Library,
    Machine,
    Model,
    NvidiaDriver,
    Package,
    Python,
    SnapshotError,
    Stack,
    Text,
    Toolkit,
    Unknown,
    known,
)
from envcheck.core.snapshot.stated import (
    NONE_STATED,
    Section,
    hash_uuids,
    kind,
    read_compute_capability,
    read_version,
    sequence,
)
from envcheck.requirements import parse
from envcheck.versions import canonical, local_label, numbers, version_key


def read_stack(top: Section, stack: Stack, machine: Machine) -> None:
    """Take the keys of the stack out of ``top``."""
    _read_python(top, stack.python)
    toolkit = top.take("toolkit")
    if toolkit is not None:
        stack.toolkits = _read_toolkit(toolkit, top)
    cudnn = top.take("cudnn")
    section = Section({"system": False} if cudnn is False else cudnn, top.path("cudnn"), top.notes, "system")
    stack.cudnn = section.version("system")
    section.finish(("system",))
    if (packages := top.take("packages")) is not None:
        stack.packages = _read_packages(packages, top)
    if (env := top.take("env")) is not None:
        stack.env = _read_env(env, top)
    _read_libraries(Section(top.take("libraries"), top.path("libraries"), top.notes), stack, machine)
    section = Section(top.take("model"), top.path("model"), top.notes, "format")
    stack.model = Model(
        format=section.text("format"),
        opset=section.integer("opset"),
        ir_version=section.integer("ir_version"),
        saved_with=section.text("saved_with"),
        built_for_gpu=read_compute_capability(section) if section.data.get("compute_capability") else NOT_STATED,
        memory_mib=section.integer("memory_mib"),
        dtype=section.text("dtype"),
        runtime=section.text("runtime"),
        missing_operators=NOT_STATED if (missing := section.names("missing_operators")) is None else missing,
    )
    section.finish(
        (
            *("format", "opset", "ir_version", "saved_with", "compute_capability", "memory_mib", "dtype"),
            *("runtime", "missing_operators"),
        )
    )


def _read_python(top: Section, python: Python) -> None:
    value = top.take("python")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if repr(value) == "3.1":
            raise SnapshotError('python is the number 3.1: write versions in quotes, e.g. "3.10"')
        value = repr(value)
    section = Section(value, top.path("python"), top.notes, "version")
    stated = section.version("version")
    if isinstance(stated, str):
        text = stated.removesuffix(".x")
        if text.endswith("t") and text[-2:-1].isdigit():  # free-threaded builds are written 3.13t
            text = text[:-1]
            python.abi = "cp" + "".join(map(str, numbers(text)[:2])) + "t"
        python.version = text if _is_version(text) else Unknown(f"it reads {stated!r}")
    else:
        python.version = stated
    if isinstance(abi := section.text("abi"), str):
        python.abi = abi
    python.implementation = section.text("implementation")
    python.environment = section.text("environment")
    python.managed_by = section.text("managed_by")
    python.bits = section.integer("bits")
    section.finish(("version", "abi", "implementation"))


def _read_toolkit(value: Any, top: Section) -> list[Toolkit] | Absent | Unknown:
    if value is False:
        return NONE_STATED
    section = Section(value, top.path("toolkit"), top.notes, "nvcc")
    has_nvcc = section.data.get("nvcc")
    stated = section.version("version", tenths=True)
    nvcc = section.version("nvcc", tenths=True)
    path = section.text("path")
    section.finish(("nvcc", "version", "path"))
    if has_nvcc is False and isinstance(stated, Unknown):
        return NONE_STATED
    if isinstance(nvcc, Unknown) and isinstance(stated, Unknown) and isinstance(path, Unknown):
        return NOT_STATED
    version = nvcc if isinstance(nvcc, str) else stated
    flag = True if isinstance(nvcc, str) else False if has_nvcc is False else NOT_STATED
    return [Toolkit(version=version, path=path, found_via="facts", nvcc=flag, active=True)]


def _read_packages(value: Any, top: Section) -> list[Package]:
    where = top.path("packages")
    if isinstance(value, (list, tuple)):  # the lines of `pip freeze`
        pairs: list[tuple[str, Any]] = [_read_line(line, where) for line in value]
    else:
        pairs = list(Section(value, where, top.notes).data.items())
    found: list[Package] = []
    names = Section(None, where, top.notes)
    for name, raw in pairs:
        key = names.path(name)
        if raw is False:
            raise SnapshotError(f"{key} must be a version, not false: leave out what is not installed")
        stated = read_version(raw, key)
        package = Package(name=canonical(name))
        if not package.name:
            raise SnapshotError(f"{where} has a package without a name")
        if isinstance(stated, str):
            package.version, package.local = _read_package_version(stated)
        else:
            package.version = Unknown("installed, version not stated")
        found.append(package)
    return found


def _read_line(line: Any, where: str) -> tuple[str, str]:
    try:
        found = parse(line) if isinstance(line, str) else None
    except ValueError:
        found = None
    if found is None:
        raise SnapshotError(f'{where} must be a mapping of names to versions, or a list such as ["torch==2.5.1"]')
    exact = found.specifier.startswith("==") and "," not in found.specifier and "*" not in found.specifier
    return found.name, found.specifier.lstrip("= ") if exact else ""


def _read_package_version(stated: str) -> tuple[Text, Text]:
    label = local_label(stated)
    if stated.startswith("+"):
        return Unknown(f"only the label {stated} is stated"), label or NOT_STATED
    text = stated.lstrip("=v ").removesuffix(".*").removesuffix(".x")
    return text if _is_version(text) else Unknown(f"it reads {stated!r}"), label or NOT_STATED


def _is_version(text: str) -> bool:
    try:
        version_key(text)
    except ValueError:
        return False
    return True


def _read_env(value: Any, top: Section) -> list[EnvVar]:
    section = Section(value, top.path("env"), top.notes)
    found: list[EnvVar] = []
    for name, raw in section.data.items():
        if isinstance(raw, bool):
            raw = "1" if raw else "0"
        elif isinstance(raw, float):
            raw = repr(raw)
        elif raw is None:
            continue  # stated: not set
        stated = "" if raw == "" else read_version(raw, section.path(name))
        found.append(EnvVar(name=name, value=hash_uuids(stated if isinstance(stated, str) else "")))
    return found


def _read_libraries(section: Section, stack: Stack, machine: Machine) -> None:
    found, missing = section.take("found"), section.names("missing")
    if found is not None:
        stack.libraries = []
        for entry in sequence(found, section.path("found")):
            if not isinstance(entry, str) or not entry.strip():
                raise SnapshotError(f"{section.path('found')} must hold names of libraries, not {kind(entry)}")
            stack.libraries.append(_read_library(entry.strip()))
    stack.missing_libraries = missing or []
    if "nvcc" in stack.missing_libraries and isinstance(stack.toolkits, Unknown):
        stack.toolkits = Absent("stated: nvcc is missing")
    section.finish(("found", "missing"))
    _note_driver_libraries(known(stack.libraries) or [], known(stack.env) or [], machine.nvidia)


def _read_library(entry: str) -> Library:
    """A file name, a path, or what people write: ``cuBLAS 11.2.1``."""
    name, _, version = entry.partition(" ")
    if version and numbers(version) and "/" not in entry and "\\" not in entry:
        return Library(name=name if "." in name else f"lib{name.lower()}", version=version.strip(), origin=NOT_STATED)
    path = entry.replace("\\", "/")
    name = path.rpartition("/")[2]
    library = Library(name=name)
    if name != path:
        library.path = entry
        folders = path.split("/")
        if "site-packages" in folders or "dist-packages" in folders:
            library.origin = "wheel"
        elif path.lower().startswith("library/bin/") or "envs" in folders:
            library.origin = "conda"
        elif any(folder.startswith("cuda") for folder in folders[:-1]):
            library.origin = "toolkit"
    _, so, version = name.partition(".so.")
    # libcuda.so.580.65.06 names a release; libcudart.so.11.0 only an ABI.
    if so and name.startswith(("libcuda.so.", "libnvidia-")) and len(numbers(version)) > 1:
        library.version = version
    return library


def _note_driver_libraries(libraries: list[Library], env: list[EnvVar], driver: NvidiaDriver) -> None:
    """The user-mode driver, from the name of libcuda (and libnvidia-ml)."""
    search = next((variable.value for variable in env if variable.name == "LD_LIBRARY_PATH"), "").split(":")
    best: tuple[int, Library] | None = None
    for library in libraries:
        version = known(library.version)
        if not library.name.startswith(("libcuda.so", "libnvidia-ml.so")):
            continue
        path = known(library.path)
        if version:
            driver.sources.append(DriverSource(source=path or library.name, kind="user", value=version))
        if library.name.startswith("libcuda.so") and (version or path):
            folder = (path or "").rpartition("/")[0]
            rank = 2 if folder and folder in search else 1 if folder.endswith("/compat") else 0
            if best is None or rank > best[0]:
                best = rank, library
    if best is not None:
        if isinstance(driver.user_mode, Unknown):
            driver.user_mode = best[1].version
        if isinstance(driver.libcuda, Unknown):
            driver.libcuda = best[1].path
