"""pip's commands in the words of conda, where the packages came from it.

What pip writes over conda's files is in conda's way at the next update, so that a package is mended by what installed
it. Names, builds and channels come from the tables `conda-packages` and `conda-builds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.report import Fix
from envcheck.core.snapshot import Absent, Unknown, known
from envcheck.remedies.commands import THEN, Pip, name_of, quoted, specifier_of
from envcheck.versions import canonical, minor, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcheck.matrix import Row
    from envcheck.remedies.place import Place

FORGE = "conda-forge"
_COMPILES = ("--no-binary", "--no-build-isolation", "-f", "--find-links")
"""Options of pip's for what conda cannot do."""
_FRAMEWORKS = ("torch", "tensorflow", "onnxruntime", "onnxruntime-gpu", "jaxlib", "numpy")
"""What of these is installed tells by which of the two the others of an environment come."""


def by_conda(fix: Fix, found: Sequence[Pip | str], place: Place) -> list[Fix]:
    """The same by conda, by pip where pip installed what is named, and both where that is not known."""
    named = [name_of(name) for part in found if isinstance(part, Pip) for name in part.names]
    owners = {_owner(name, place) for name in named} - {""} or {_owner(name, place) for name in _FRAMEWORKS} - {""}
    by_pip = Fix(_with_pip(found, place), fix.note, fix.safety, fix.verify)
    if owners and "conda" not in owners:
        return [by_pip]
    written = Writer(place).chain(found)
    if written is None:
        ours = [name for name in named if _owner(name, place) == "conda"]
        said = (
            f"conda has no such build; what it installed has to go first: conda remove {' '.join(ours)}" if ours else ""
        )
        return [
            Fix(by_pip.command, "; ".join(filter(None, (fix.note, said))), "review" if ours else fix.safety, fix.verify)
        ]
    command, note = written
    # The note of a build speaks of the CUDA release that pip's has.
    driver_known = not isinstance(place.facts.get("driver"), Unknown)
    by_conda_ = Fix(command, note or fix.note, fix.safety if driver_known or not note else "review", fix.verify)
    return [by_conda_] if owners else [by_conda_, Fix(by_pip.command, "where pip installed it", "review", fix.verify)]


def _owner(name: str, place: Place) -> str:
    """``conda``, ``pip`` (or what else wrote INSTALLER); empty where it is not installed, or not known."""
    package = place.packages.get(name) if place.packages is not None else None
    return (known(package.installer) or "") if package is not None else ""


def _with_pip(found: Sequence[Pip | str], place: Place) -> str:
    program = f"{place.interpreter} -m pip" if place.interpreter else "pip"
    return THEN.join(part.written(program) if isinstance(part, Pip) else part for part in found)


class Writer:
    """Writes commands of conda's for one place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.matrix = place.facts.matrix
        self.notes: list[str] = []
        self.cuda = ""
        """The CUDA release of the builds that are asked for; empty: none is."""
        machine = place.facts.snapshot.machine
        system, arch = known(machine.system) or "Linux", known(machine.arch) or "x86_64"
        self.column = {"Windows": "cuda_win_64", "Linux": "cuda_linux_64"}.get(system, "")
        if system == "Linux" and arch == "aarch64":
            self.column = "cuda_linux_aarch64"

    def chain(self, found: Sequence[Pip | str]) -> tuple[str, str] | None:
        """The command and what to say of it; None where conda cannot do it."""
        done = []
        for part in found:
            if isinstance(part, str):
                done.append(part)
            elif part.verb == "uninstall":
                theirs = [name for name in part.names if _owner(name, self.place) not in ("conda", "")]
                mine = list(
                    dict.fromkeys(
                        self._name(name)
                        for name in self.place.installed([name for name in part.names if name not in theirs])
                    )
                )
                done += [Pip("uninstall", tuple(theirs), ("-y",)).written()] if theirs else []
                done += [self._program("remove", " ".join(mine))] if mine else []
            elif part.verb == "install":
                specs = self._install(part)
                if not specs:
                    return None
                again = "--force-reinstall " if "--force-reinstall" in part.options else ""
                newest = {"-U", "--upgrade"} & set(part.options) and len(self.place.installed(part.names)) == len(specs)
                verb = "update" if newest and self.place.packages is not None else "install"
                done.append(self._program(verb, again + " ".join(map(quoted, specs))))
            else:
                return None
        return THEN.join(done), "; ".join(self.notes)

    def _program(self, verb: str, rest: str) -> str:
        if self.place.tool == "pixi":
            return f"pixi {'add' if verb == 'install' else verb} {rest.replace('--force-reinstall ', '')}"
        prefix = f"-p {self.place.prefix} " if self.place.interpreter else ""
        channel = f"-c {FORGE} " if verb != "remove" else ""
        override = f"CONDA_OVERRIDE_CUDA={self.cuda} " if self.cuda and self._no_driver() else ""
        return f"{override}conda {verb} {prefix}{channel}{rest}"

    def _no_driver(self) -> bool:
        """A build with CUDA asks for a driver: an image is built without one."""
        return isinstance(self.place.facts.get("driver"), Absent)

    def _row(self, name: str) -> Row | None:
        rows = self.matrix.rows("conda-packages", package=canonical(name), channel=FORGE)
        return next((row for row in rows if row["status"] == "present"), None)

    def _name(self, name: str) -> str:
        row = self._row(name)
        return str(row["name"]) if row is not None else name

    def _install(self, part: Pip) -> list[str]:
        """Specifications; empty where conda-forge lacks one of the packages."""
        extras = [name for name in part.names if "[" in name and "cuda" not in name]
        if extras or part.variables or set(part.options) & set(_COMPILES):
            return []
        specs: list[str] = []
        moved = False
        for requirement in part.names:
            row = self._row(name_of(requirement))
            if row is None:
                return []
            label = requirement.partition("+")[2] or part.index_url.rpartition("/")[2]
            wants = _wants(requirement, label)
            version = _exact(requirement)
            if not wants or not row["gpu" if wants == "cuda" else "cpu"]:
                asked = f"={version}" if version else specifier_of(requirement).partition("+")[0]
                specs.append(row["name"] + ("" if moved else asked))
                continue
            if wants == "cuda" and not self.cuda and row["cuda_floor"] == "build":
                fitting = self._build(row["package"], version)
                if fitting is None:
                    return []
                moved = bool(version) and fitting[0] != version
                version, self.cuda = fitting
                self.notes.append(f"conda-forge's build of {row['name']} {version} for CUDA {self.cuda}")
            elif moved:  # a companion of another release than pip's: the solver finds it
                specs.append(row["name"])
                continue
            listed = row["gpu"] if wants == "cuda" else row["cpu"]
            specs += [self._filled(spec, version) for spec in listed]
        return list(dict.fromkeys(specs))

    def _filled(self, spec: str, version: str) -> str:
        if not version:
            spec = spec.replace("={version}=", "=*=").replace("={version}", "")
        if not self.cuda:
            spec = spec.replace("={cuda}", "")
        return spec.replace("{version}", version).replace("{cuda}", self.cuda)

    def _build(self, package: str, version: str) -> tuple[str, str] | None:
        """A release and its CUDA that the driver serves: the one that is asked for, else the nearest below it."""
        from envcheck.rules._floors import judge

        driver = self.place.facts.get("driver")
        driver = None if isinstance(driver, (Absent, Unknown)) else driver
        name = "jaxlib" if package == "jax" else "tensorflow" if package == "tensorflow-gpu" else package
        name = "onnxruntime" if name == "onnxruntime-gpu" else name
        rows = self.matrix.rows("conda-builds", package=name, channel=FORGE)
        asked = numbers(version)
        for row in sorted(rows, key=lambda one: numbers(one["version"]), reverse=True):
            mine = numbers(row["version"])
            if asked and mine > asked + (0,) * (len(mine) - len(asked)):
                continue
            built = sorted(row[self.column] or [], key=numbers, reverse=True) if self.column else []
            for cuda in built:
                if driver is None or judge(driver, minor(cuda), self.matrix).ok:
                    return row["version"], cuda
        return None


def _wants(requirement: str, label: str) -> str:
    """``cuda``, ``cpu``, or empty where either will do."""
    if label.startswith("cu") and label[2:].isdigit():
        return "cuda"
    if label == "cpu":
        return "cpu"
    return "cuda" if "-gpu" in name_of(requirement) or "[cuda" in requirement or "[and-cuda" in requirement else ""


def _exact(requirement: str) -> str:
    """The one release that is asked for, without its label; empty for a choice."""
    asked = specifier_of(requirement)
    version = asked.removeprefix("==").partition("+")[0]
    if not asked.startswith("==") or "," in version or "*" in version:
        return ""
    # py-opencv leaves out the fourth number.
    return ".".join(version.split(".")[:3]) if name_of(requirement).startswith("opencv") else version
