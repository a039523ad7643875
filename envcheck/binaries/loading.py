"""The search of the dynamic loader, re-enacted: what a process would load, from where, and what it would miss.

>>> process = Process(Files("/"), program=sys.executable, env=os.environ)      # the interpreter and its own libraries
>>> load = process.dlopen("/venv/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so")
>>> load.error                  # what ld.so would say first; None: it loads
'libcudart.so.12: cannot open shared object file: No such file or directory'
>>> [need.name for need in load.missing]            # all that are missing, in the loader's order
>>> [(need.name, need.path, need.step) for need in load.needs]      # where each comes from, and by which step
>>> load.elsewhere              # found, but in another place than the importer's own search path means
>>> load.lacking_versions       # symbol versions that the found library does not define
>>> undefined_symbols(load)     # in envcheck.binaries.symbols: what nothing in the closure defines

A process remembers what it loaded: a later ``dlopen`` finds it by its names, as a preload of torch does for the
libraries that come after. A load that fails leaves nothing behind. ``Files("/some/rootfs")`` re-enacts the loader of
that root, with its own cache and folders; another class with the methods of :class:`~envcheck.binaries.files.Files`
can overlay files of a wheel.

Written after glibc 2.31 to 2.42 (``elf/dl-load.c``, ``dl-deps.c``, ``dl-cache.c``, ``dl-version.c``) and musl 1.2
(``ldso/dynlink.c``). Not re-enacted: set-user-ID programs, LD_AUDIT, dlmopen, /etc/ld.so.cache of another CPU
architecture, the ISA marks of ELF notes, and what constructors of libraries load themselves.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from envcheck.binaries.elf import DT_AUXILIARY, DT_NEEDED, ElfError
from envcheck.binaries.files import Files
from envcheck.binaries.ldso import INTERPRETERS, Loader, expand
from envcheck.binaries.search import Loaded, Search

MAX_LIBRARIES = 5000
MAX_NEEDS = 100_000
MUSL_ITSELF = ("c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet.")
"""Names behind "lib" that musl holds to be itself."""


class Need(NamedTuple):
    """One need of one library, or what was asked for itself."""

    name: str
    """Of DT_NEEDED, mostly a soname; ``$ORIGIN`` and the like put in."""
    by: Loaded | None
    """The library that needs it; None for what dlopen asked for."""
    path: str | None
    """As the loader has it (not free of links or ".."); None when it is missing."""
    step: str
    """``path`` (the name is one), ``loaded`` (already there under this name), ``rpath``, ``library-path``, ``runpath``,
    ``cache``, ``default`` (folders built into the loader), ``itself`` (the loader, musl) or ``nowhere``."""
    owner: str
    """The file whose RPATH or RUNPATH led there."""
    problem: str | None
    """Why it cannot be used, in glibc's words; None: it can."""


class Elsewhere(NamedTuple):
    """A library that comes from another place than its importer's search path, or else the system's, would give."""

    need: Need
    meant: str
    """The file that would have been taken without what got in the way."""
    by: str
    """The step by which it would have been: ``rpath``, ``runpath``, ``cache`` or ``default``."""


class LackingVersion(NamedTuple):
    """A symbol version that a library asks of another, which does not define it."""

    version: str
    """``GLIBCXX_3.4.32``."""
    library: str
    """The name by which it is asked for."""
    path: str
    """The file found for it."""
    importer: str
    """The file that needs it."""
    weak: bool
    """The loader does not mind."""


class Load:
    """The outcome of one load. ``scope`` is the list in which symbols are looked up: the library, then breadth-first
    what it needs; ``new`` are those that were not loaded before.
    """

    __slots__ = ("name", "needs", "new", "process", "scope")

    def __init__(self, process: "Process", name: str) -> None:
        self.process, self.name = process, name
        self.needs: list[Need] = []
        self.scope: list[Loaded] = []
        self.new: list[Loaded] = []

    @property
    def missing(self) -> list[Need]:
        """Needs for which nothing, or nothing usable, is found; in the order in which the loader meets them."""
        return [need for need in self.needs if need.problem]

    @property
    def error(self) -> str | None:
        """What the loader would say first of files and versions (of symbols: see :func:`undefined_symbols`)."""
        for need in self.needs:
            if need.problem:
                return f"{need.path or need.name}: {need.problem}"
        for lack in self.lacking_versions:
            if not lack.weak:
                return f"{lack.path}: version `{lack.version}' not found (required by {lack.importer})"
        return None

    @property
    def failed(self) -> bool:
        """Whether the library could not be loaded."""
        return self.error is not None

    @property
    def elsewhere(self) -> list[Elsewhere]:
        return self.process.elsewhere(self.needs)

    @property
    def lacking_versions(self) -> list[LackingVersion]:
        return self.process.lacking_versions(self.new)


class Process:
    """A process as its loader sees it.

    ``program``: the executable (a venv's ``python`` is a link: it is followed); None: an unknown one without libraries.
    ``env``: LD_LIBRARY_PATH and LD_PRELOAD are read. ``cpu``: flags as in /proc/cpuinfo for the glibc-hwcaps
    subfolders; None: asked of this machine, when such a subfolder exists. ``by_loader``: as ``ld.so --list program``,
    where the "program" may be a library.
    """

    def __init__(
        self,
        files: Files | None = None,
        program: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        machine: str | None = None,
        interpreter: str | None = None,
        cpu: Collection[str] | None = None,
        intel: bool = False,
        platform: str | None = None,
        by_loader: bool = False,
    ) -> None:
        self.files = files or Files()
        self.loaded: list[Loaded] = []
        """In the order of loading; first the program."""
        self.everywhere: list[Loaded] = []
        """The global scope: symbols of these are seen by all."""
        self.notes: list[str] = []
        """What the loader says of LD_PRELOAD before it goes on."""
        self.main: Loaded | None = None
        cwd = cwd.rstrip("/") + "/"
        facts = None
        if program is not None:
            path = program if by_loader else self.files.resolve(program)
            looked = self.files.look(path if path.startswith("/") else cwd + path)
            if isinstance(looked, int):
                raise FileNotFoundError(looked, "no such program", program)
            if looked.error:
                raise ElfError(f"{program}: {looked.error}")
            facts = looked
            self.main = Loaded(path, facts, None)
        machine = facts.machine if facts else machine or "x86_64"
        asked = interpreter or (facts.interpreter if facts else None) or INTERPRETERS.get(machine, "")
        self.loader = Loader.read(self.files, asked, machine)
        env = env or {}
        self.search = Search(
            self.files,
            self.loader,
            self.main,
            library_path=env.get("LD_LIBRARY_PATH") or "",
            cwd=cwd,
            cpu=cpu,
            intel=intel,
            platform=platform or machine,
            bits=facts.bits if facts else 32 if machine in ("i686", "armv7l", "ppc") else 64,
            little=facts.little if facts else machine not in ("s390x", "ppc64", "ppc"),
        )
        if self.main:
            self.loaded.append(self.main)
        itself = self.files.look(asked) if asked else 0
        self._itself = None
        if not isinstance(itself, int):
            self._itself = Loaded(asked, itself, None)
            self._itself.names = [asked]
            self.loaded.append(self._itself)
        self.start = Load(self, program or "")
        """How the program itself was loaded."""
        if self.main:
            self._start(self.main, env)

    # What happened

    def find(self, name: str) -> Loaded | None:
        """The library that is loaded under this name, soname or path."""
        for library in self.loaded:
            if self._is(library, name):
                return library
        return None

    def find_file(self, path: str) -> Loaded | None:
        """The library that is loaded from this file, by whatever path."""
        facts = self.files.look(self.search.absolute(path))
        if isinstance(facts, int):
            return None
        return next((library for library in self.loaded if library.facts.id == facts.id), None)

    def dlopen(self, name: str, caller: str | None = None, *, everywhere: bool = False) -> Load:
        """Load a library as ``dlopen`` does.

        ``name``: a path, or a soname that is searched for; then ``caller``, the loaded file from whose code dlopen is
        called, counts with its RPATH or RUNPATH. ``everywhere``: RTLD_GLOBAL.
        """
        load = Load(self, name)
        before = len(self.loaded)
        names = {id(library): len(library.names) for library in self.loaded}
        asking = (self.find(caller) or self.find_file(caller)) if caller else None
        root = self._get(name, asking, load, by_dlopen=True)
        if root:
            self._closure([root], load)
            load.new = self.loaded[before:]
            for library in load.new:
                library.scope = load.scope
        if load.error:
            del self.loaded[before:]
            for library in self.loaded:
                del library.names[names[id(library)] :]
        elif everywhere:
            self.everywhere += [library for library in load.scope if library not in self.everywhere]
        return load

    def elsewhere(self, needs: Iterable[Need]) -> list[Elsewhere]:
        """See :attr:`Load.elsewhere`."""
        found = []
        for need in needs:
            importer = need.by
            if need.path is None or importer is None or need.step not in ("loaded", "library-path", "rpath"):
                continue
            if need.step == "rpath" and need.owner == importer.path:
                continue
            got = self.files.look(self.search.absolute(need.path))
            other = self.search.own(need.name, importer)
            if other is None and need.step == "library-path":
                other = self.search.system(need.name, importer)
            if other and other.facts and not isinstance(got, int) and other.facts.id != got.id:
                found.append(Elsewhere(need, other.path, other.step))
        return found

    def lacking_versions(self, libraries: Iterable[Loaded]) -> list[LackingVersion]:
        """See :attr:`Load.lacking_versions`; musl does not check."""
        lacks: list[LackingVersion] = []
        if self.loader.kind == "musl":
            return lacks
        for library in libraries:
            for name, versions in self.files.versions(self.search.absolute(library.path))[0].items():
                other = next((need for need in library.needs if self._is(need, name)), None) or self.find(name)
                if other is None:
                    continue  # missing, or not even needed
                defined = self.files.versions(self.search.absolute(other.path))[1]
                if defined is not None:
                    lacks += [
                        LackingVersion(version, name, other.path, library.path, weak)
                        for version, weak in versions
                        if version not in defined
                    ]
        return lacks

    # Loading

    def _start(self, main: Loaded, env: Mapping[str, str]) -> None:
        first = [main]
        names = env.get("LD_PRELOAD", "").replace(":", " ").split()
        if self.loader.kind == "glibc":
            try:
                text = self.files.read("/etc/ld.so.preload", 1 << 16).decode("utf-8", "replace")
            except (OSError, ValueError):
                text = ""
            names += " ".join(line.partition("#")[0] for line in text.splitlines()).replace(":", " ").split()
        for name in names:
            quiet = Load(self, name)
            library = self._get(name, main if self.loader.kind == "glibc" else None, quiet)
            if library is None:
                self.notes.append(f"object '{name}' from LD_PRELOAD cannot be preloaded ({quiet.needs[-1].problem})")
            else:
                self.start.needs += quiet.needs
                if library not in first:
                    first.append(library)
        self._closure(first, self.start)
        self.start.new = self.loaded[:]
        self.everywhere = self.start.scope[:]

    def _closure(self, scope: list[Loaded], load: Load) -> None:
        """Breadth-first; ``scope`` grows (``_dl_map_object_deps``)."""
        load.scope = scope
        seen = set(map(id, scope))
        at = 0
        while at < len(scope) and len(scope) < MAX_LIBRARIES and len(load.needs) < MAX_NEEDS:
            library = scope[at]
            fresh, filters = not library.needs, 0
            for tag, name in library.facts.needs:
                found = self._get(name, library, load, optional=tag == DT_AUXILIARY)
                if found is None:
                    continue
                if fresh:
                    library.needs.append(found)
                if id(found) not in seen:
                    seen.add(id(found))
                    if tag == DT_NEEDED:
                        scope.append(found)
                    else:  # what a filter names is searched before the filter
                        scope.insert(at + filters, found)
                        filters += 1
            at += 1 + filters

    def _get(
        self, name: str, importer: Loaded | None, load: Load, *, optional: bool = False, by_dlopen: bool = False
    ) -> Loaded | None:
        """The library for a name, loaded now or before."""
        by = None if by_dlopen else importer
        wanted: str | None = name
        musl = self.loader.kind == "musl"
        if "$" in name and importer is not None and not musl:
            wanted = expand(name, self.search.origin(importer), self.loader.lib, self.search.platform)
            name = wanted or name
        if musl and name.startswith("lib") and name[3:].startswith(MUSL_ITSELF):
            load.needs.append(Need(name, by, self.loader.path, "itself", "", None))
            return self._itself
        known = self.find(wanted) if wanted else None
        if known is not None:
            load.needs.append(Need(name, by, known.path, "loaded", "", None))
            return known
        found = self.search.find(wanted or "", importer)
        facts, problem = found.facts, found.problem
        if facts is None and optional:
            return None
        if facts is not None and problem is None and by_dlopen and facts.pie:
            problem = "cannot dynamically load position-independent executable"
        elif facts is not None and problem is None and facts.kind == 2:
            problem = "cannot dynamically load executable"
        load.needs.append(Need(name, by, found.path if facts else None, found.step, found.owner, problem))
        if facts is None or problem:
            return None
        for library in self.loaded:
            if library.facts.id == facts.id:  # the same file by another name
                if not musl:
                    library.names.append(name)
                elif not library.names and found.step != "path":
                    library.names = [library.path.rpartition("/")[2]]
                return library
        library = Loaded(found.path, facts, importer if by is not None else self.main if musl else None)
        if not musl:
            library.names = [name] if name == found.path else [name, found.path]
        elif found.step != "path":
            library.names = [name]
        self.loaded.append(library)
        return library

    def _is(self, library: Loaded, name: str) -> bool:
        return name in library.names or (name == library.facts.soname and self.loader.kind == "glibc")
