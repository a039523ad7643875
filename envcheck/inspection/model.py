"""What a compiled file, a wheel or an installed package says of itself: plain data, as in the JSON of the command."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from envcheck.core.report import Report

SCHEMA = 1


class Coverage(Struct, frozen=True, kw_only=True):
    """How much of the GPU code runs on GPUs of one compute capability."""

    capability: str
    """``8.6``."""
    architecture: str
    gpus: list[str]
    """Examples of GPUs that have it."""
    machine_code: int
    """Fat binaries whose machine code runs as it is."""
    ptx: int
    """Fat binaries without, whose PTX the driver compiles first."""
    none: int
    """Fat binaries with nothing for it."""
    driver_cuda: str | None
    """CUDA that the driver must serve at least for that PTX; None where no PTX is needed, or its version not listed."""

    @property
    def percent(self) -> float:
        """What runs, of all."""
        total = self.machine_code + self.ptx + self.none
        return 100 * (self.machine_code + self.ptx) / total if total else 100.0


class CodeSet(Struct, frozen=True, kw_only=True):
    """Fat binaries that carry the same targets."""

    targets: list[str]
    count: int
    relocatable: bool = False
    """Separable compilation: what others were linked from."""


class CudaCode(Struct, kw_only=True):
    """CUDA fat binaries."""

    fat_binaries: int
    """Those that can be launched; code that was still to be linked is not counted."""
    targets: dict[str, int]
    """``sm_90a``, ``compute_90 (PTX 8.4)`` -> number of entries."""
    sets: list[CodeSet]
    """Which targets occur together, the most frequent first."""
    coverage: list[Coverage]
    """For every compute capability that our tables list."""
    damaged: int = 0
    """Fat binaries that could not be read to their end."""
    complete: bool = True
    """False when reading was given up."""


class Need(Struct, frozen=True, kw_only=True):
    """One library that a file asks the loader for."""

    name: str
    where: str
    """``file`` (found: see ``path``), ``wheel`` (a file of the same wheel), ``package`` (another distribution brings
    it), ``system``, ``driver``, ``python``, ``missing``, or ``unknown``: it can't be told, see ``problem``."""
    path: str = ""
    """The file that is taken."""
    package: str = ""
    """The distribution that brings it; of one that is missing: the one that would."""
    problem: str = ""
    """Why it can't be used, or is not found; of one that is found: which file was meant."""
    by: str = ""
    """The library that asks for it, where that is another one than the file itself."""


class Undefined(Struct, frozen=True, kw_only=True):
    """A symbol that nothing defines."""

    symbol: str
    name: str
    """In short, without parameters: ``c10::Error::Error``."""


class Version(Struct, frozen=True, kw_only=True):
    """A version read from the bytes."""

    library: str
    version: str
    source: str
    """Where it was read."""


class Library(Struct, kw_only=True):
    """One compiled file."""

    path: str
    format: str = ""
    """``elf``, ``pe``, ``mach-o``; ``fatbin`` and ``cubin``: GPU code alone."""
    system: str = ""
    """``Linux``, ``Windows`` or ``Darwin``."""
    arch: list[str] = field(default_factory=list)
    """``x86_64``, ``aarch64`` ...; several in a universal binary."""
    system_version: str | None = None
    """Lowest release of macOS or Windows, where the file states it."""
    soname: str | None = None
    python_abi: str | None = None
    """Of an extension module: ``cp311``, ``cp313t``, ``abi3``."""
    cpu_level: str | None = None
    """``x86-64-v3`` when the file is marked to need it. Few files are marked; no mark says nothing."""
    symbols: dict[str, str] = field(default_factory=dict)
    """Highest symbol version that it needs: ``{"GLIBC": "2.28", "GLIBCXX": "3.4.22"}``."""
    version: Version | None = None
    cuda: CudaCode | None = None
    amd_targets: dict[str, int] = field(default_factory=dict)
    """AMD: target (``gfx942``) -> number of bundles that have code for it."""
    search: list[str] = field(default_factory=list)
    """Folders of its RPATH or RUNPATH, as written."""
    inherited: bool = False
    """``search`` is an RPATH: it counts for the needs of what this file needs, too."""
    needs: list[Need] = field(default_factory=list)
    cxx11_abi: bool | None = None
    """Of a file that stands on torch: it hands over texts by the new C++ ABI, by the old one, or that can't be seen."""
    undefined: list[Undefined] | None = None
    """Symbols that it takes from torch and that nothing which is loaded with it defines, the first 20; None: that was
    not looked up (no torch is there, or its files are not)."""
    problem: str = ""
    """What could not be read."""


class Floor(Struct, frozen=True, kw_only=True):
    """The highest symbol version that any of the files needs."""

    version: str
    file: str
    """The first file that needs it."""


class Wheel(Struct, kw_only=True):
    """What the metadata of a distribution say."""

    name: str
    version: str
    tags: list[str] = field(default_factory=list)
    """``cp311-cp311-manylinux_2_28_x86_64``, one for each that fits."""
    requires_python: str | None = None
    requires: list[str] = field(default_factory=list)
    """Requires-Dist, without what only extras ask for."""
    optional: dict[str, str] = field(default_factory=dict)
    """What only extras ask for: name of the package -> the first such extra."""


class ChangedFile(Struct, kw_only=True):
    """One file that is not as it was installed."""

    path: str
    """As the list names it."""
    state: str
    """``missing``, ``size`` (another size), ``hash`` (the same size, another content) or ``unreadable``."""
    size: int | None = None
    """In bytes, as listed."""
    size_there: int | None = None
    hash: str = ""
    """Of the file that is there (``sha256=...``), where it was needed."""
    owner: str = ""
    """Another package whose file is there."""
    why: str = ""


class InstalledFiles(Struct, kw_only=True):
    """The files of an installed package, compared with the list that its installer wrote."""

    source: str
    """``RECORD`` or ``conda-meta``."""
    number: int
    """Files in the list. Those that installers write themselves, scripts and compiled bytecode are left out."""
    changed: list[ChangedFile] = field(default_factory=list)
    shared: dict[str, int] = field(default_factory=dict)
    """Other distributions that list some of these files too (empty ones aside) -> how many."""
    hashed: int = 0
    """Files whose content was compared."""
    not_hashed: int = 0
    """Files of the right size whose content was not compared."""
    why: str = ""
    """Why not."""


class Inspection(Struct, kw_only=True):
    """The answer of ``envcheck inspect``."""

    subject: str
    kind: str
    """``library``, ``wheel`` or ``package``."""
    distribution: Wheel | None = None
    libraries: list[Library] = field(default_factory=list)
    symbols: dict[str, Floor] = field(default_factory=dict)
    """Over all files, plug-ins that are never loaded included."""
    distributions: list[str] = field(default_factory=list)
    """Linux distributions whose C and C++ libraries have those symbols: the lowest release of each that we list."""
    cpu: dict[str, list[str]] = field(default_factory=dict)
    """What asks for CPU instructions -> their flags, by the names of /proc/cpuinfo."""
    files: InstalledFiles | None = None
    """Of an installed package that has a list of its files."""
    notes: list[str] = field(default_factory=list)
    report: Report | None = None
    """Whether it would work on a machine, where one was named."""
    schema: int = SCHEMA

    @property
    def missing(self) -> list[Need]:
        """Needs that nothing meets, each once."""
        found = {need.name: need for library in self.libraries for need in library.needs if need.where == "missing"}
        return list(found.values())


def inspection_schema() -> dict[str, Any]:
    """The JSON Schema of the command's JSON."""
    import msgspec

    schema = msgspec.json.schema(Inspection)
    schema["title"] = f"envcheck inspection, schema {SCHEMA}"
    return schema
