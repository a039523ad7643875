"""What differs between two snapshots, most important first. What changes by itself, or is only a place, is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct

from envcheck.core.snapshot import Absent, Snapshot, Unknown, known


class Difference(Struct, frozen=True, kw_only=True):
    """One fact that is not the same in both."""

    path: str
    """Where it stands: ``machine.nvidia.version``, ``machine.gpus[0].name``, ``stack.packages[torch]``."""
    a: Any
    """The value in the first snapshot; None when the thing is not there or not known. Of a list, what only it has."""
    b: Any
    kind: str = "changed"
    """``changed``; ``only-a``, ``only-b``: not there in the other; ``unknown-a``, ``unknown-b``: not known there."""
    weight: int = 0
    """0 to 100: how much it matters to a deep-learning stack. Facts not known on one side stand behind all others."""

    def __str__(self) -> str:
        missing = {
            "only-a": ("", "not there"),
            "only-b": ("not there", ""),
            "unknown-a": ("not known", ""),
            "unknown-b": ("", "not known"),
        }
        for_a, for_b = missing.get(self.kind, ("", ""))
        return f"{self.path}: {for_a or shown(self.a)} | {for_b or shown(self.b)}"

    def __repr__(self) -> str:
        return f"<Difference {self}>"


class Differences(list[Difference]):
    """A list that prints one difference a line."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no difference"

    __repr__ = __str__


def shown(value: Any) -> str:
    """A value in a few words."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


SKIPPED = frozenset(
    (
        # What changes from one minute to the next, or never means anything on another machine.
        *("machine.memory.available_mib", "machine.gpus.memory_free_mib", "machine.gpus.uuid"),
        *("machine.gpus.throttled", "machine.gpus.used_by", "machine.gpus.used_by_mib"),
        *("machine.gpus.pcie.generation", "machine.gpus.pcie.width", "machine.gpus.mig_devices.uuid"),
        *("machine.gpus.mig_devices.uuid_prefixes", "machine.nvidia.cuda_devices"),
        *("machine.gpus.uuid_prefixes", "machine.gpus.pci_bus", "machine.gpus.index", "machine.nvidia.sources.source"),
        # Keys of their lists.
        *(
            "stack.packages.name",
            "stack.libraries.name",
            "stack.env.name",
            "stack.builds.package",
            "stack.clashes.path",
        ),
        # Where something lies, and what another fact says already.
        *(
            "stack.packages.local",
            "stack.packages.location",
            "stack.packages.requires",
            "stack.packages.requires_python",
        ),
        *("stack.packages.installer", "stack.libraries.path", "stack.libraries.origin", "stack.libraries.package"),
        *("stack.builds.source", "stack.toolkits.path", "stack.toolkits.found_via", "stack.toolkits.active"),
        *("stack.imports.milliseconds", "stack.imports.package", "stack.imports.module"),
        *("stack.python.prefix", "machine.nvidia.libcuda", "machine.nvidia.sources.kind"),
    )
)
"""Paths, without keys, that are not compared."""

WEIGHTS: tuple[tuple[str, int], ...] = (
    ("machine.system", 100),
    ("machine.arch", 100),
    ("machine.wsl", 95),
    ("machine.nvidia.version", 98),
    ("machine.nvidia.cuda", 96),
    ("machine.nvidia.user_mode", 94),
    ("machine.nvidia.nvml_error", 94),
    ("machine.gpus.memory_mib", 88),
    ("machine.gpus", 90),
    ("stack.builds.cuda", 85),
    ("stack.builds.cudnn", 78),
    ("stack.toolkits", 84),
    ("stack.cudnn", 80),
    ("stack.builds", 72),
    ("machine.userland.libc", 68),
    ("stack.userland.libc", 68),
    ("machine.userland", 50),
    ("stack.userland", 52),
    ("stack.python.version", 64),
    ("stack.python.abi", 63),
    ("stack.python", 45),
    ("stack.container", 60),
    ("machine.cpu.flags", 35),
    ("machine.cpu", 48),
    ("machine.memory", 34),
    ("machine.kernel", 42),
    ("stack.libraries", 40),
    ("stack.missing_libraries", 66),
    ("stack.imports", 70),
    ("stack.model", 46),
    ("stack.packages", 30),
    ("stack.env", 28),
)
"""Weight of what begins so; the first that fits counts. Everything else has 20."""

_NAMED: tuple[tuple[tuple[str, ...], int], ...] = (
    (("torch", "tensorflow", "jax", "jaxlib", "onnxruntime", "onnxruntime-gpu", "tensorrt"), 76),
    (("onnxruntime-", "tensorrt-", "tensorflow-", "torch", "libcudnn", "nvidia-cudnn", "paddlepaddle", "triton"), 74),
    (("nvidia-", "cupy", "numpy", "jax", "flash-attn", "xformers", "bitsandbytes", "libcu", "libnv", "cudart"), 58),
)
"""Packages and libraries whose name is one of the first line, or begins with one of the others."""


def compare(a: Snapshot, b: Snapshot) -> Differences:
    """Every fact that differs, most important first.

    Packages, libraries and variables are matched by name, GPUs by index. Two facts that are both unknown, or both
    absent, do not differ, whatever the reason. The machine on which a stack was built is not compared.
    """
    found = [*_parts("machine", a.machine, b.machine), *_parts("stack", a.stack, b.stack)]
    found.sort(key=lambda difference: -difference.weight)
    return Differences(found)


def _parts(path: str, a: Struct, b: Struct, prefix: str = "") -> Iterator[Difference]:
    """Compare two structs of the same type; ``prefix`` is ``path`` without keys."""
    prefix = prefix or path
    for name in a.__struct_fields__:
        if f"{prefix}.{name}" not in SKIPPED:
            yield from _values(f"{path}.{name}", f"{prefix}.{name}", getattr(a, name), getattr(b, name))


def _values(path: str, prefix: str, a: Any, b: Any) -> Iterator[Difference]:
    states = _state(a), _state(b)
    if states == ("known", "known"):
        if isinstance(a, Struct):
            yield from _parts(path, a, b, prefix)
        elif isinstance(a, list):
            yield from _lists(path, prefix, a, b)
        elif a != b:
            yield _difference(path, prefix, a, b, "changed")
    elif states[0] != states[1] and [] not in (a, b):
        if "unknown" in states:
            kind = "unknown-a" if states[0] == "unknown" else "unknown-b"
        else:
            kind = "only-b" if states[0] == "absent" else "only-a"
        yield _difference(path, prefix, _short(a), _short(b), kind)


def _state(value: Any) -> str:
    return "absent" if isinstance(value, Absent) else "unknown" if isinstance(value, Unknown) else "known"


def _short(value: Any) -> Any:
    """A value of one side; of a list of things, what tells them apart."""
    value = known(value)
    if isinstance(value, list):
        return [_label(item) for item in value]
    return value


def _label(item: Any) -> str:
    if not isinstance(item, Struct):
        return str(item)
    for name in ("name", "package", "source", "path", "version"):
        text = getattr(item, name, None)
        if isinstance(text, str):
            return text
    return type(item).__name__


def _lists(path: str, prefix: str, a: list[Any], b: list[Any]) -> Iterator[Difference]:
    key = _KEYS.get(prefix)
    if key is None:
        left, right = _only(map(str, a), b), _only(map(str, b), a)
        if left or right:
            yield _difference(path, prefix, left, right, "changed")
    elif prefix in _BY_VERSION:
        yield from _versions(path, prefix, _grouped(a, key), _grouped(b, key))
    else:
        yield from _items(path, prefix, {key(item): item for item in a}, {key(item): item for item in b})


def _only(mine: Iterable[str], other: list[Any]) -> list[str]:
    have = set(map(str, other))
    return [item for item in mine if item not in have]


_KEYS: dict[str, Callable[[Any], str]] = {
    "machine.gpus": lambda gpu: str(gpu.index),
    "machine.nvidia.sources": lambda source: str(source.source),
    "stack.packages": lambda package: str(package.name),
    "stack.libraries": lambda library: str(library.name),
    "stack.toolkits": lambda toolkit: "active" if toolkit.active else "other",
    "stack.builds": lambda build: str(build.package),
    "stack.env": lambda variable: str(variable.name),
    "stack.clashes": lambda clash: str(clash.path),
    "stack.imports": lambda test: str(test.module),
}
"""How the things in a list are told apart."""

_BY_VERSION = ("stack.packages", "stack.libraries", "stack.toolkits")
"""Lists of which only presence and versions count; one name can stand there more than once."""


def _grouped(items: list[Any], key: Callable[[Any], str]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item.version)
    return groups


def _versions(path: str, prefix: str, a: dict[str, list[Any]], b: dict[str, list[Any]]) -> Iterator[Difference]:
    for name in dict.fromkeys((*a, *b)):
        place = f"{path}[{name}]"
        if name not in a or name not in b:
            kind = "only-a" if name in a else "only-b"
            yield _difference(place, prefix, _together(a.get(name)), _together(b.get(name)), kind, name)
            continue
        left, right = _together(a[name]), _together(b[name])
        if left != right:
            kind = "unknown-a" if left is None else "unknown-b" if right is None else "changed"
            yield _difference(place, prefix, left, right, kind, name)


def _together(versions: list[Any] | None) -> str | None:
    """The versions under one name; None when none is known."""
    texts = sorted({text for version in versions or () if (text := known(version))})
    return ", ".join(texts) or None


def _items(path: str, prefix: str, a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    if prefix == "stack.imports" and not (a and b):
        return  # on one side nobody tested
    for name in dict.fromkeys((*a, *b)):
        place = f"{path}[{name}]"
        if name in a and name in b:
            yield from _parts(place, a[name], b[name], prefix)
        else:
            kind = "only-a" if name in a else "only-b"
            yield _difference(place, prefix, _content(a.get(name)), _content(b.get(name)), kind, name)


def _content(item: Any) -> str | None:
    """What a thing that is there on one side only is, in a word."""
    if item is None:
        return None
    value = getattr(item, "value", None)
    return value if isinstance(value, str) else _label(item)


def _difference(path: str, prefix: str, a: Any, b: Any, kind: str, name: str = "") -> Difference:
    weight = next((weight for start, weight in WEIGHTS if prefix.startswith(start)), 20)
    if prefix in ("stack.packages", "stack.libraries"):
        for number, (names, value) in enumerate(_NAMED):
            if name in names if number == 0 else name.startswith(names):
                weight = value
                break
    if kind.startswith("unknown"):
        weight //= 10
    return Difference(path=path, a=a, b=b, kind=kind, weight=weight)
