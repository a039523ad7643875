"""What a Mach-O library or bundle of macOS says of itself: architectures, libraries that it loads, least macOS.

Layout: Apple's ``mach-o/loader.h`` and ``mach-o/fat.h``. Any bytes may come in: what is damaged raises
:class:`MachOError`, nothing else; sizes and counts are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import calcsize, unpack

MACHINES = {7: "i686", 0x01000007: "x86_64", 12: "armv7l", 0x0100000C: "arm64", 0x0200000C: "arm64_32"}
PLATFORMS = {1: "macos", 2: "ios", 3: "tvos", 4: "watchos", 6: "maccatalyst", 7: "iossimulator", 11: "visionos"}
FAT, FAT_64 = 0xCAFEBABE, 0xCAFEBABF
THIN = {b"\xce\xfa\xed\xfe": ("<", 28), b"\xcf\xfa\xed\xfe": ("<", 32),
        b"\xfe\xed\xfa\xce": (">", 28), b"\xfe\xed\xfa\xcf": (">", 32)}  # fmt: skip
"""First bytes -> (byte order, size of the header)."""
LC_LOAD_DYLIB, LC_ID_DYLIB, LC_LOAD_WEAK, LC_REEXPORT, LC_LAZY, LC_UPWARD = 0xC, 0xD, 0x18, 0x1F, 0x20, 0x23
LC_RPATH, LC_VERSION_MIN_MACOSX, LC_BUILD_VERSION = 0x1C, 0x24, 0x32
MAX_ARCHITECTURES = 32
"""A file with more is none: Java class files begin with the same four bytes."""
MAX_COMMANDS = 1 << 14
MAX_SIZE = 1 << 22

Read = Callable[[int, int], bytes]


class MachOError(ValueError):
    """Not a Mach-O file, or one whose tables point outside of it."""


class Slice:
    """The code for one architecture."""

    __slots__ = ("compatible", "current", "id", "kind", "loads", "machine", "minimum", "order", "platform", "rpaths",
                 "sdk", "weak")  # fmt: skip

    def __init__(self, machine: str) -> None:
        self.machine = machine
        """``arm64``, ``x86_64`` ..."""
        self.loads: list[str] = []
        """Install names of the libraries that must be there, in order: ``@rpath/libtorch.dylib``."""
        self.weak: list[str] = []
        """Those that may be missing."""
        self.rpaths: list[str] = []
        """What ``@rpath`` stands for, in order."""
        self.order: list[str] = []
        """Both kinds, as dyld takes them."""
        self.id: str | None = None
        """The library's own install name."""
        self.current: tuple[int, int, int] | None = None
        """The library's own version (``current_version`` of LC_ID_DYLIB); 0.0.0 where its build did not set one."""
        self.compatible: tuple[int, int, int] | None = None
        """The oldest version that it can stand in for."""
        self.kind = 0
        """``MH_EXECUTE`` 2, ``MH_DYLIB`` 6, ``MH_BUNDLE`` 8 (an extension module)."""
        self.platform: str | None = None
        """``macos``, ``ios`` ..."""
        self.minimum: tuple[int, int, int] | None = None
        """The least version of that platform."""
        self.sdk: tuple[int, int, int] | None = None
        """The SDK that it was built with; 0.0.0 where that is not known."""


def slices(data: bytes | memoryview | None = None, *, read: Read | None = None, size: int = 0) -> list[Slice]:
    """One for each architecture. Takes any buffer, or a function that reads ``(offset, size)`` of ``size`` bytes.

    Raises :class:`MachOError`.
    """
    if data is not None:
        buffer, size = data, len(data)

        def read(at: int, count: int) -> bytes:
            return bytes(buffer[at : at + count])

    if read is None:
        raise MachOError("nothing to read")
    file = _File(read, size)
    if file.bytes(0, 4) in THIN:
        return [_slice(file, 0)]
    magic, count = file.unpack(">II", 0) if size >= 8 else (0, 0)
    if magic not in (FAT, FAT_64) or not 0 < count <= MAX_ARCHITECTURES:
        raise MachOError("not a Mach-O file")
    layout, step = (">8xI", 20) if magic == FAT else (">8xQ", 32)
    return [_slice(file, file.unpack(layout, 8 + index * step)[0]) for index in range(count)]


class _File:
    __slots__ = ("read", "size")

    def __init__(self, read: Read, size: int) -> None:
        self.read, self.size = read, size

    def bytes(self, at: int, count: int) -> bytes:
        data = self.read(at, count) if at + count <= self.size else b""
        if len(data) < count:
            raise MachOError("the file ends before a table that it names")
        return data

    def unpack(self, layout: str, at: int) -> tuple[int, ...]:
        return unpack(layout, self.bytes(at, calcsize(layout)))


def _slice(file: _File, start: int) -> Slice:
    order, header = THIN.get(file.bytes(start, 4), ("", 0))
    if not header:
        raise MachOError("a slice is not a Mach-O file")
    machine, _, kind, count, size, _ = file.unpack(order + "IIIIII", start + 4)
    found = Slice(MACHINES.get(machine, f"machine-{machine:#x}"))
    found.kind = kind
    if size > MAX_SIZE:
        raise MachOError("the load commands are too large")
    commands = file.bytes(start + header, size)
    at = 0
    for _ in range(min(count, MAX_COMMANDS)):
        if at + 8 > size:
            raise MachOError("the load commands end too early")
        kind, length = unpack(order + "II", commands[at : at + 8])
        if length < 8 or at + length > size:
            raise MachOError("a load command has an impossible size")
        _take(found, kind & 0x7FFFFFFF, commands[at : at + length], order)
        at += length
    return found


def _take(found: Slice, kind: int, command: bytes, order: str) -> None:
    if kind in (LC_LOAD_DYLIB, LC_ID_DYLIB, LC_LOAD_WEAK, LC_REEXPORT, LC_LAZY, LC_UPWARD, LC_RPATH):
        if len(command) < 12:
            raise MachOError("a load command is too short")
        offset = unpack(order + "I", command[8:12])[0]
        text = command[offset:].partition(b"\0")[0].decode("utf-8", "replace")
        if kind == LC_ID_DYLIB:
            found.id = text
            if len(command) >= 24:
                current, compatible = unpack(order + "II", command[16:24])
                found.current, found.compatible = _version(current), _version(compatible)
        elif kind == LC_RPATH:
            found.rpaths.append(text)
        else:
            (found.weak if kind == LC_LOAD_WEAK else found.loads).append(text)
            found.order.append(text)
    elif kind in (LC_VERSION_MIN_MACOSX, LC_BUILD_VERSION):
        if len(command) < 16:
            raise MachOError("a load command is too short")
        platform, (version, sdk) = 1, unpack(order + "II", command[8:16])
        if kind == LC_BUILD_VERSION:
            platform, version = version, sdk
            sdk = unpack(order + "I", command[16:20])[0] if len(command) >= 20 else 0
        if found.platform is None or platform == 1:
            found.platform = PLATFORMS.get(platform, f"platform-{platform}")
            found.minimum, found.sdk = _version(version), _version(sdk)


def _version(number: int) -> tuple[int, int, int]:
    return number >> 16, number >> 8 & 255, number & 255
