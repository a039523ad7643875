"""How Windows finds the DLLs that a Python extension needs, re-enacted on files: of this machine, or a mounted disk.

>>> windows = Windows("/mnt/c/venv", drives={"c": "/mnt/c"})
>>> process = DllProcess(windows)
>>> load = process.load("/mnt/c/venv/Lib/site-packages/torch/_C.cp312-win_amd64.pyd")
>>> load.missing                # [Import("torch_python.dll", ...)]

Rules: Microsoft, "Dynamic-link library search order" and "LoadLibraryExW"; Python since 3.8 opens extensions with
LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR (``Python/dynload_win.c``), so PATH is not searched.
The folder of the file that was opened is searched for the needs of its needs too; theirs are not. Delay-loaded DLLs are
not needed to load a file. Side-by-side manifests, ``.local`` redirection and the current folder are not re-enacted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from envcheck.binaries.pe import PeError, PeFile
from envcheck.binaries.source import BinaryError, File
from envcheck.binaries.windows_dlls import (
    CPYTHON,
    DRIVER,
    REDISTRIBUTABLE,
    always_there,
    is_api_set,
    is_runtime,
    sometimes_there,
)

DEFAULT, ALTERED, STANDARD = "default", "altered", "standard"
"""Searches: of Python's extensions and of ctypes; LOAD_WITH_ALTERED_SEARCH_PATH; the old one of LoadLibrary."""
KNOWN = frozenset(("ntdll.dll", "kernel32.dll", "kernelbase.dll", "user32.dll", "gdi32.dll", "advapi32.dll",
                   "comdlg32.dll", "shell32.dll", "ole32.dll", "oleaut32.dll", "rpcrt4.dll", "msvcrt.dll",
                   "combase.dll", "ws2_32.dll"))  # fmt: skip
"""Never taken from elsewhere than System32: "known DLLs" and what every process has loaded already."""
SAME = {"x86_64": ("x86_64", "arm64ec", "arm64x"), "aarch64": ("aarch64", "arm64x", "arm64ec")}
"""Which files a process of an architecture can load."""
NOT_FOUND, BAD_FORMAT = 126, 193
"""ERROR_MOD_NOT_FOUND, ERROR_BAD_EXE_FORMAT."""
MAX_MODULES, MAX_FOLDER = 4096, 1 << 17
CONDA = ("bin", "Scripts", "Library/bin", "Library/usr/bin", "Library/mingw-w64/bin")
"""What conda-forge's Python adds by itself (python-feedstock, 0012-Add-CondaEcosystemModifyDllSearchPath.patch)."""


class Import(NamedTuple):
    """One imported DLL."""

    name: str
    """As written."""
    by: str
    """The file that imports it."""
    where: str
    """``file``, ``loaded`` (by an earlier load), ``system``, ``api-set``, ``python`` (comes with the interpreter, which
    is not here to be read), ``driver`` and ``redistributable`` (in System32 where somebody installed them, which is not
    here to be read), or ``missing``."""
    path: str = ""
    problem: str = ""


class DllLoad(NamedTuple):
    """What loading one file does."""

    path: str
    imports: list[Import]
    """Its own and those of what it loads, breadth first."""
    delayed: list[Import]
    """Its own that are loaded when one of their functions is first called."""
    code: int = 0
    """The error of Windows: 126 (a module was not found), 193 (not for this architecture); 0: it loads."""
    error: str = ""

    @property
    def missing(self) -> list[Import]:
        """Imports that nothing meets."""
        return [one for one in self.imports if one.where == "missing"]

    @property
    def unknown(self) -> list[Import]:
        """Imports that what is not here would have to meet."""
        return [one for one in self.imports if one.where in ("driver", "redistributable")]


class Windows:
    """A Python environment of Windows, and the system around it as far as it is here."""

    def __init__(
        self,
        prefix: str,
        *,
        drives: Mapping[str, str] | None = None,
        system: str | None = None,
        env: Mapping[str, str] | None = None,
        machine: str = "x86_64",
    ) -> None:
        """``prefix``: sys.prefix, as a folder of this machine. ``drives``: where they are mounted: ``{"c": "/mnt/c"}``.

        ``system``: the folder System32; by default that of a mounted drive C. ``env``: variables of the process.
        """
        self.folders = Folders()
        self.drives = {name.lower().rstrip(":\\/"): path for name, path in (drives or {}).items()}
        self.env = {name.upper(): text for name, text in (env or {}).items()}
        self.machine = machine
        self.prefix = prefix
        self.base = self._base() or ""
        """sys.base_prefix; empty: it is not here."""
        self.system = system if system is not None else self.folders.path(self.local("C:\\"), "Windows/System32") or ""

    def local(self, path: str) -> str:
        """A path of Windows as one of this machine; empty: its drive is not here."""
        drive, colon, rest = path.partition(":")
        if not colon or len(drive) != 1:
            return ""
        if os.name == "nt" and not self.drives:
            return path
        root = self.drives.get(drive.lower(), "")
        rest = rest.replace("\\", "/").strip("/")
        if not root:
            return ""
        return (self.folders.path(root, rest) or "") if rest else root

    @property
    def application(self) -> str:
        """The folder of python.exe: of the base installation, which a venv's own python.exe starts."""
        return self.base

    @property
    def site_packages(self) -> str:
        """The folder of the packages; empty where there is none."""
        return self.folders.path(self.prefix, "Lib/site-packages") or ""

    @property
    def is_conda(self) -> bool:
        return bool(self.folders.path(self.prefix, "conda-meta"))

    def paths(self) -> list[str]:
        """Folders of PATH that are here."""
        found = (self.local(part.strip().strip('"')) for part in self.env.get("PATH", "").split(";") if part.strip())
        return [path for path in found if path]

    def _base(self) -> str | None:
        config = self.folders.path(self.prefix, "pyvenv.cfg")
        if config is None:
            return self.prefix if self.folders.path(self.prefix, "python.exe") else None
        try:
            with open(config, encoding="utf-8-sig", errors="replace") as file:
                lines = file.read(1 << 16).splitlines()
        except OSError:
            return None
        for line in lines:
            key, _, text = line.partition("=")
            if key.strip().lower() == "home":
                here = self.local(text.strip())
                return here if here and self.folders.path(here, "python.exe") else None
        return None


class Folders:
    """Folders as Windows sees them: names without regard to case."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def names(self, folder: str) -> dict[str, str]:
        """Lower-case names to names; empty where there is no such folder."""
        known = self._known.get(folder)
        if known is None:
            known = {}
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        known.setdefault(entry.name.lower(), entry.name)
                        if len(known) >= MAX_FOLDER:
                            break
            except (OSError, ValueError):
                pass
            self._known[folder] = known
        return known

    def path(self, folder: str, below: str) -> str | None:
        """A file or folder below another; None: there is none, or ``folder`` is empty."""
        if not folder:
            return None
        for part in below.replace("\\", "/").split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                folder = os.path.dirname(folder)
                continue
            name = self.names(folder).get(part.lower())
            if name is None:
                return None
            folder = os.path.join(folder, name)
        return folder

    def match(self, folder: str, pattern: str) -> list[str]:
        """Paths of the entries of a folder whose names fit a pattern with ``*``, sorted."""
        from fnmatch import fnmatchcase

        low = pattern.lower()
        return [os.path.join(folder, name) for key, name in sorted(self.names(folder).items()) if fnmatchcase(key, low)]


class _Facts(NamedTuple):
    machine: str
    imports: list[str]
    delayed: list[str]
    problem: str


class DllProcess:
    """A process of that environment's Python: what it has loaded, and the folders that were added to the search."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.added: list[str] = []
        """os.add_dll_directory; Windows leaves their order open, here it is that of adding."""
        self.path = windows.paths()
        self.loaded: dict[str, str] = {}
        """Lower-case names of the modules that are loaded -> where they lie; empty for those of the system."""
        self._facts: dict[str, _Facts] = {}
        if windows.is_conda:
            for below in CONDA:
                self.add_folder(windows.folders.path(windows.prefix, below) or "")
        for name in windows.folders.match(windows.application, "python3*.dll") if windows.application else ():
            self.loaded[os.path.basename(name).lower()] = name
        for name in CPYTHON[:1]:
            if found := windows.folders.path(windows.application, name):
                self.loaded[name] = found

    def add_folder(self, folder: str) -> bool:
        """``os.add_dll_directory``; False: there is no such folder."""
        if not folder or not os.path.isdir(folder):
            return False
        if folder not in self.added:
            self.added.append(folder)
        return True

    def load(self, path: str, search: str = DEFAULT) -> DllLoad:
        """Load a file by its path: an extension module, or a DLL with LoadLibraryEx."""
        folder = os.path.dirname(path)
        places = list(self._places(search, folder))
        name = os.path.basename(path).lower()
        if self.loaded.get(name) == path:
            return DllLoad(path, [], [])
        facts = self._read(path)
        problem = self._unfit(facts)
        if problem:
            return DllLoad(path, [], [], BAD_FORMAT, f"{path}: {problem}")
        return self._follow(path, facts, places)

    def load_name(self, name: str, search: str = DEFAULT) -> DllLoad:
        """Load by name alone: ``ctypes.CDLL("cudart64_12.dll")``; ``winmode=0`` is the STANDARD search."""
        found = self._find(name, "", list(self._places(search, "")))
        if found.where != "file":
            code = NOT_FOUND if found.where == "missing" else BAD_FORMAT if found.problem else 0
            return DllLoad(name, [found], [], code, found.problem)
        load = self.load(found.path, search)
        return load._replace(imports=[found, *load.imports])

    def _places(self, search: str, folder: str) -> Iterator[str]:
        windows = self.windows
        if search != STANDARD and folder:
            yield folder
        if search != ALTERED and windows.application:
            yield windows.application
        if search == DEFAULT:
            yield from self.added
        if windows.system:
            yield windows.system
        if search != DEFAULT:
            if windows.system:
                yield os.path.dirname(windows.system)
            yield from self.path

    def _follow(self, path: str, facts: _Facts, places: Sequence[str]) -> DllLoad:
        before = dict(self.loaded)
        # Of two files of one name, opened by their paths, later needs are met by the first.
        self.loaded.setdefault(os.path.basename(path).lower(), path)
        imports: list[Import] = []
        queue = [(path, facts)]
        answered: dict[str, Import] = {}
        for by, told in queue:
            for name in told.imports:
                low = _module(name)
                known = answered.get(low)
                if known is not None:
                    if known.where == "missing" or known.problem or by == path:
                        imports.append(known._replace(name=name, by=by))
                    continue
                found = answered[low] = self._find(low, by, places)
                imports.append(found._replace(name=name))
                if found.where == "missing" or found.problem:
                    continue
                if found.where in ("file", "system"):
                    self.loaded.setdefault(low, found.path)
                if found.where == "file" and len(queue) < MAX_MODULES:
                    queue.append((found.path, self._read(found.path)))
        # The compiler's helper asks LoadLibrary for them.
        later = list(self._places(STANDARD, "")) if facts.delayed else []
        load = DllLoad(path, imports, [self._find(name, path, later) for name in facts.delayed])
        bad = next((one for one in imports if one.where == "missing" or one.problem), None)
        if bad is None:
            return load
        self.loaded = before
        code = NOT_FOUND if bad.where == "missing" else BAD_FORMAT
        return load._replace(code=code, error=f"{bad.name}, imported by {os.path.basename(bad.by)}: {bad.problem}")

    def _find(self, name: str, by: str, places: Sequence[str]) -> Import:
        """Where the loader takes a module of this name from."""
        low = _module(name)
        windows = self.windows
        if is_api_set(low):
            return Import(name, by, "api-set")
        if low in self.loaded:
            return Import(name, by, "loaded" if self.loaded[low] else "system", self.loaded[low])
        for folder in () if low in KNOWN else places:
            path = windows.folders.path(folder, low) if "/" not in low and "\\" not in low else None
            if path is None:
                continue
            if folder == windows.system:
                return Import(name, by, "system", path)
            return Import(name, by, "file", path, self._unfit(self._read(path)))
        return self._elsewhere(name, low, by)

    def _elsewhere(self, name: str, low: str, by: str) -> Import:
        windows = self.windows
        listed = not windows.system and (low in always_there() or low in sometimes_there())
        if low in KNOWN or listed:
            return Import(name, by, "system", windows.folders.path(windows.system, low) or "")
        python = low.startswith("python3") and low[6:-4].rstrip("t").isdigit()
        if not windows.application and (python or low in CPYTHON):
            return Import(name, by, "python")
        brought = f"a part of the {REDISTRIBUTABLE}" if is_runtime(low) else ""
        if not windows.system:
            if brought:
                return Import(name, by, "redistributable")
            if low in DRIVER:
                return Import(name, by, "driver")
        elif low in DRIVER:
            brought = "installed with the driver"
        return Import(name, by, "missing", "", f"not found{f' ({brought})' if brought else ''}")

    def _read(self, path: str) -> _Facts:
        known = self._facts.get(path)
        if known is None:
            known = self._facts[path] = read_facts(path)
        return known

    def _unfit(self, facts: _Facts) -> str:
        """Why the file can't be loaded; empty: it can be."""
        if facts.problem:
            return facts.problem
        machine = self.windows.machine
        return "" if facts.machine in SAME.get(machine, (machine,)) else f"it is for {facts.machine}, not {machine}"


def read_facts(path: str) -> _Facts:
    """What the loader reads of a file; ``problem`` says why it cannot be loaded."""
    try:
        with File(path) as source:
            file = PeFile(read=source.read, size=source.size)
            return _Facts(file.machine, file.imports, _delayed(file), "")
    except OSError as error:
        return _Facts("", [], [], f"can't be read: {error.strerror or error}")
    except (PeError, BinaryError, ValueError) as error:
        return _Facts("", [], [], f"it is damaged, or no DLL: {error}")


def _delayed(file: PeFile) -> list[str]:
    try:
        return file.delayed
    except PeError:
        return []  # read when it is used, not when the file is loaded


def _module(name: str) -> str:
    """As the loader compares names: a name without a dot gets ``.dll``."""
    low = name.lower()
    return low if "." in low else f"{low}.dll"
