"""The C library side: distribution, libc, libstdc++."""

from __future__ import annotations

from envcheck.core.snapshot import Absent, Text, Unknown, Userland
from envcheck.probes.host import Host
from envcheck.probes.log import Log

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
L4T_RELEASE = "/etc/nv_tegra_release"
MACOS_VERSION = "/System/Library/CoreServices/SystemVersion.plist"


def probe(host: Host, log: Log) -> tuple[Userland, Userland]:
    """What this system gives by default, and what this interpreter takes (they differ where conda brings a libstdc++).

    1. Distribution: :func:`distribution`. 2. C library: :func:`libc`. 3. libstdc++: :func:`libstdcxx`.
    """
    if host.platform != "linux":
        nothing = Absent(f"not used on {host.platform}")
        distro, version = foreign_distribution(host, log)
        userland = Userland(distro=distro, distro_version=version, libc=nothing, libc_version=nothing,
                            glibcxx=nothing, cxxabi=nothing)  # fmt: skip
        return userland, userland
    distro, distro_version = distribution(host, log)
    kind, version = libc(host, log)
    system, taken = libstdcxx(host, log)
    common = {"distro": distro, "distro_version": distro_version, "libc": kind, "libc_version": version}
    of_system = Userland(**common, glibcxx=system[0], cxxabi=system[1])
    return of_system, of_system if taken == system else Userland(**common, glibcxx=taken[0], cxxabi=taken[1])


def distribution(host: Host, log: Log) -> tuple[Text, Text]:
    """1. /etc/nv_tegra_release: a Jetson's ``l4t`` with its release. 2. /etc/os-release. 3. /usr/lib/os-release."""
    with log.attempt("distribution", L4T_RELEASE) as attempt:
        if release := l4t_release(host.read(L4T_RELEASE, 4096)):
            attempt.found(f"l4t {release}")
            return "l4t", release
    for path in OS_RELEASE:
        with log.attempt("distribution", path) as attempt:
            values = os_release(host.read(path, 1 << 16))
            # The default of ID is "linux" (os-release(5)); rolling distributions have no VERSION_ID.
            distro = values.get("ID") or "linux"
            version: Text = values.get("VERSION_ID") or Absent(f"{path} has no VERSION_ID")
            attempt.found(f"{distro} {values.get('VERSION_ID', '')}".strip())
            return distro, version
    why = "neither /etc/os-release nor /usr/lib/os-release is there"
    return Unknown(why), Unknown(why)


def l4t_release(text: str) -> str:
    """``# R35 (release), REVISION: 4.1, GCID: ...`` is ``35.4.1``; empty when the text has another form."""
    head, _, tail = text.partition("REVISION:")
    major = head.strip().removeprefix("#").strip().removeprefix("R").split(" ")[0]
    revision = tail.split(",")[0].strip()
    if major.isdecimal() and revision and all(part.isdecimal() for part in revision.split(".")):
        return f"{major}.{revision}"
    return ""


def os_release(text: str) -> dict[str, str]:
    """Keys and values of os-release(5): shell assignments with optional quotes."""
    values = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            value = value.strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            values[key.strip()] = value.replace('\\"', '"').replace("\\$", "$").replace("\\\\", "\\")
    return values


def foreign_distribution(host: Host, log: Log) -> tuple[Text, Text]:
    """macOS: ``macos`` and the product version. Windows: ``windows`` and the build."""
    if host.platform == "darwin":
        with log.attempt("distribution", MACOS_VERSION) as attempt:
            _, _, tail = host.read(MACOS_VERSION, 1 << 16).partition("<key>ProductVersion</key>")
            version = tail.partition("<string>")[2].partition("</string>")[0].strip()
            if version and all(part.isdecimal() for part in version.split(".")):
                attempt.found(version)
                return "macos", version
        return "macos", Unknown(f"{MACOS_VERSION} could not be read")
    if host.platform == "win32":
        with log.attempt("distribution", "the Windows build") as attempt:
            release = str(host.query("uname")["release"])
            attempt.found(release)
            return "windows", release
    return host.platform, Unknown(f"not looked for on {host.platform}")


def libc(host: Host, log: Log) -> tuple[Text, Text]:
    """1. confstr of this process. 2. The libc.so.6 of the loader: file name, versions it defines. 3. musl's loader."""
    with log.attempt("libc", "confstr CS_GNU_LIBC_VERSION") as attempt:
        try:
            text = str(host.query("confstr-libc"))
        except ValueError as error:  # a C library that does not know the name
            raise OSError(22, str(error)) from None
        kind, _, version = text.partition(" ")
        if kind == "glibc" and version[:1].isdecimal():
            attempt.found(text)
            return "glibc", version
    for path, real in _files(host, "libc.so.6"):
        with log.attempt("libc", path) as attempt:
            if version := _libc_version(host, path, real.rpartition("/")[2]):
                attempt.found(version)
                return "glibc", version
    with log.attempt("libc", "/lib/ld-musl-*.so.1") as attempt:
        for name in host.listdir("/lib"):
            if name.startswith("ld-musl-") and name.endswith(".so.1"):
                # Run without arguments it prints "musl libc (x86_64)\nVersion 1.2.4\n..." to stderr.
                ran = host.run([f"/lib/{name}"], timeout=2.0)
                version = musl_version(ran.stderr)
                attempt.found(f"{name} {version}".strip())
                return "musl", version or Unknown(
                    f"/lib/{name} printed no version{ran.trouble and f' ({ran.trouble})'}"
                )
    why = "no C library was found that tells its version"
    return Unknown(why), Unknown(why)


def _libc_version(host: Host, path: str, file: str) -> str:
    version = file.removeprefix("libc-").removesuffix(".so")  # libc-2.31.so, up to glibc 2.33
    if file.startswith("libc-2.") and version[2:].isdecimal():
        return version
    return str(host.query("elf-versions", path).get("glibc", ""))


def musl_version(text: str) -> str:
    """``1.2.4`` from what musl's loader prints; empty when it printed something else."""
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1 and lines[0].startswith("musl") and lines[1].startswith("Version "):
        return lines[1].removeprefix("Version ").strip()
    return ""


Versions = tuple[Text, Text]
"""Highest GLIBCXX, highest CXXABI."""


def libstdcxx(host: Host, log: Log) -> tuple[Versions, Versions]:
    """Of the system, and of this interpreter.

    1. The libstdc++.so.6 that the loader takes (LD_LIBRARY_PATH, its cache, its default folders), the first one of
    this process's architecture. 2. conda's own in the prefix of this interpreter: conda's Python has an RPATH to it,
    so it comes before the loader's.
    """
    system: Versions | None = None
    for path, _ in _files(host, "libstdc++.so.6"):
        system = _libstdcxx_of(host, log, path)
        if system:
            break
    if system is None:
        why = Absent("the loader finds no libstdc++.so.6")
        system = (why, why)
    prefix = ""
    try:
        prefix = str(host.query("python-info").get("base_prefix", ""))
    except (OSError, ValueError):
        pass
    if prefix and host.exists(f"{prefix}/conda-meta") and host.exists(path := f"{prefix}/lib/libstdc++.so.6"):
        return system, _libstdcxx_of(host, log, path) or system
    return system, system


def _libstdcxx_of(host: Host, log: Log, path: str) -> Versions | None:
    with log.attempt("libstdc++", path) as attempt:
        try:
            found = host.query("elf-versions", path)
        except ValueError as error:
            attempt.failed(str(error))
            return None
        if found.get("machine") not in (None, _process_arch(host)):
            attempt.absent(f"for {found['machine']}")
            return None
        glibcxx: Text = found.get("glibcxx") or Unknown(f"{path} defines no GLIBCXX version")
        cxxabi: Text = found.get("cxxabi") or Unknown(f"{path} defines no CXXABI version")
        attempt.found(f"GLIBCXX {found.get('glibcxx')}, CXXABI {found.get('cxxabi')}")
        return glibcxx, cxxabi
    return None


def _files(host: Host, name: str) -> list[tuple[str, str]]:
    """(path, real path) of a library, in the order in which the loader tries them."""
    from envcheck.probes.loader import find

    return [(found.path, found.real) for found in find(host, (name,))[name] if found.via != "unused"]


def _process_arch(host: Host) -> str:
    from envcheck.probes.system import architecture

    name = host.query("uname")
    arch = architecture(str(name.get("machine", "")))
    if name.get("bits") == 32:
        return {"x86_64": "i686", "aarch64": "armv7l"}.get(arch, arch)
    return arch
