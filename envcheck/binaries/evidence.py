"""The evidence on one environment: every installed framework's decisive files, as plain data for a snapshot.

The quick look (:mod:`envcheck.binaries.screen`) answers where all is well; where it is in doubt, or
symbols have to be looked up, the loader's search is re-enacted (:mod:`envcheck.binaries.loading`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from envcheck.binaries.decisive import DECISIVE, IMPORT, OPTIONAL, Decisive
from envcheck.binaries.elf import ElfError
from envcheck.binaries.screen import FOLDERS, Closure, Doubt, Head, Screen, floors

if TYPE_CHECKING:
    from envcheck.binaries.files import Files
    from envcheck.binaries.loading import Load, Process

SHOWN = 20
"""Undefined symbols kept of one file."""
WATCHED = ("libcu", "libnccl", "libnv", "libgomp", "libiomp5", "libomp", "libtorch", "libc10", "libstdc++", "libamdhip")
"""Libraries whose place is kept: those of which an environment often has several."""


class Environment:
    """Reads one site-packages folder. Raises nothing: what cannot be read is said in ``error``."""

    def __init__(
        self,
        site: str,
        *,
        suffixes: Iterable[str] = (".so",),
        program: str | None = None,
        env: Mapping[str, str] | None = None,
        libc: tuple[int, ...] = (),
        exact: bool = False,
        gpu_code: bool = True,
    ) -> None:
        """``suffixes``: of extension modules, best first. ``libc``: glibc's release, empty for another C library.
        ``exact``: never be content with the quick look. ``gpu_code``: read the fat binaries."""
        self.site, self.program, self.env = site, program, env or {}
        self.suffixes = tuple(suffixes)
        self.exact = exact or bool(self.env.get("LD_PRELOAD"))
        self.gpu_code = gpu_code
        self.screen = Screen(libc, self.env.get("LD_LIBRARY_PATH", ""))
        self._imported: dict[str, list[Closure]] = {}
        self._files: Files | None = None
        self._pinned: set[str] = set()
        self._after: dict[str, Process] = {}

    def read(self, packages: Collection[str]) -> list[dict[str, Any]]:
        """One record for each decisive file of these packages that is there.

        A name with ``!`` behind it is of a package made for just the release of the other one that is there: its
        symbols need not be looked up.
        """
        self._pinned = {name[:-1] for name in packages if name.endswith("!")}
        packages = [name.rstrip("!") for name in packages]
        wanted = sorted((name for name in packages if name in DECISIVE), key=lambda name: bool(DECISIVE[name].after))
        there = set(wanted)
        return [record for name in wanted for record in self._package(name, DECISIVE[name], there)]

    def _package(self, name: str, importer: Decisive, there: set[str]) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        after = importer.after if importer.after in there else ""
        if importer.symbols and not after:
            return records
        for pattern, role in importer.files:
            path = self._path(pattern)
            if path is None:
                continue
            record: dict[str, Any] = {"package": name, "path": self.short(path), "role": role}
            try:
                self._closure(record, path, name, importer, after, role)
            except (OSError, ElfError) as error:
                record["error"] = str(error) or type(error).__name__
            records.append(record)
        return records

    def _path(self, pattern: str) -> str | None:
        if not pattern.endswith("@"):
            path = f"{self.site}/{pattern}"
            return path if os.path.exists(path) else None
        stem = f"{self.site}/{pattern[:-1]}"
        return next((stem + suffix for suffix in self.suffixes if os.path.exists(stem + suffix)), None)

    def short(self, path: str) -> str:
        """Relative to site-packages, where it lies there."""
        path = os.path.normpath(path) if "/.." in path else path
        return path[len(self.site) + 1 :] if path.startswith(self.site + "/") else path

    def _closure(self, record: dict[str, Any], path: str, name: str, importer: Decisive, after: str, role: str) -> None:
        before = self._imported.get(after, [])
        heads: list[Head] = []
        loads: Mapping[str, str] = {}
        if not self.exact and (not importer.symbols or name in self._pinned):
            try:
                found = self.screen.closure(path, before)
                heads, loads = found.heads, found.loads
                record["needs"] = found.outside
                if role == IMPORT:
                    self._imported.setdefault(name, []).append(found)
            except Doubt:
                if role == OPTIONAL and not importer.symbols:
                    # Nobody asks where its libraries are.
                    heads = [self.screen.head(path)]
                    record["needs"] = heads[0].needed
        if not heads:
            loaded = self._exactly(record, path, importer, after)
            heads, loads = self._heads(path, loaded), _places(loaded)
        own = self._own(heads)
        record["versions"] = [{"name": version, "by": self.short(file)} for version, file in floors(own).items()]
        record["loads"] = [
            {"name": soname, "path": self.short(where)}
            for soname, where in loads.items()
            if where and soname.startswith(WATCHED) and not where.startswith(FOLDERS)
        ]
        if importer.gpu and self.gpu_code:
            record["code"] = self._code(heads)

    def _own(self, heads: list[Head]) -> list[Head]:
        return [head for head in heads if head.path.startswith(self.site)]

    # The exact search

    def _process(self, after: str) -> Process:
        """A process in which this package was imported; empty: none."""
        from envcheck.binaries.loading import Process

        if after in self._after:
            return self._after[after]
        process = Process(self._files, self.program, env=self.env)
        self._files = process.files
        if after:
            from envcheck.binaries.importing import import_package

            import_package(process, after, [self.site])
            self._after[after] = process  # what extends one package is often imported together
        return process

    def _exactly(self, record: dict[str, Any], path: str, importer: Decisive, after: str) -> list[Load]:
        process = self._process(after)
        if importer.steps:
            from envcheck.binaries.importing import import_package

            loads = import_package(process, importer.steps, [self.site]).loads
        else:
            loads = []
        last = process.dlopen(path)
        short = self.short
        needs = list(dict.fromkeys(need for load in (*loads, last) for need in load.needs))
        record["needs"] = list(
            dict.fromkeys(need.name for need in needs if need.problem or not (need.path or "").startswith(self.site))
        )
        record["missing"] = [
            {"name": need.name, "by": short(need.by.path) if need.by else "", "why": need.problem or ""}
            for need in last.missing
        ]
        record["elsewhere"] = [
            {"name": other.need.name, "path": short(other.need.path or ""), "why": short(other.meant),
             "step": other.need.step, "by": short(other.need.by.path) if other.need.by else ""}
            for other in process.elsewhere(needs)
        ]  # fmt: skip
        record["lacking"] = [
            {"name": lack.version, "path": short(lack.path), "by": short(lack.importer)}
            for lack in last.lacking_versions
            if not lack.weak
        ]
        if importer.symbols and after and not last.missing and record["package"] not in self._pinned:
            from envcheck.binaries.symbols import undefined_symbols

            new = [library for library in last.new if library.path == path]
            undefined = [one.symbol.name for one in undefined_symbols(last, new, importer.symbols)]
            record["undefined"] = [{"name": symbol, "by": short(path)} for symbol in undefined[:SHOWN]]
        return [*loads, last]

    def _heads(self, path: str, loads: list[Load]) -> list[Head]:
        """Of the root and of what it brings from site-packages; of a failed load, what its needs found."""
        fresh = (need for load in loads for need in load.needs if not need.problem and need.step != "loaded")
        paths = dict.fromkeys([path, *(need.path for need in fresh if need.path)])
        heads = []
        for one in paths:
            if one.startswith(self.site):
                try:
                    heads.append(self.screen.head(os.path.normpath(one)))
                except (OSError, ElfError):
                    continue
        return heads

    def _code(self, heads: list[Head]) -> list[dict[str, Any]]:
        from envcheck.binaries.fatbin import fat_binaries

        found: list[dict[str, Any]] = []
        own = self.short(heads[0].path).partition("/")[0] if heads else ""
        for head in self._own(heads):
            file = self.short(head.path)
            top = file.partition("/")[0]
            if top != own and not top.endswith(".libs"):
                continue  # NVIDIA's libraries choose among their kernels themselves
            try:
                code = fat_binaries(head.path)
            except (OSError, ValueError):
                continue
            for kind, part in (("linked", code.linked), ("relocatable", code.relocatable)):
                for targets, count in part.sets:
                    record = {"file": file, "targets": [str(target) for target in targets], "count": count}
                    found.append(record if kind == "linked" else {**record, "relocatable": True})
        return found


def _places(loads: list[Load]) -> dict[str, str]:
    return {need.name: need.path for load in loads for need in load.needs if need.path and not need.problem}
