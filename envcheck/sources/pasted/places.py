"""Names of operating systems, platforms and processors as reports write them."""

from __future__ import annotations

import re

from envcheck.sources.pasted.statements import Statements, given

_DISTROS = (
    ("ubuntu", "ubuntu"), ("debian", "debian"), ("centos stream", "centos"), ("centos", "centos"), ("red hat", "rhel"),
    ("rhel", "rhel"), ("rocky", "rocky"), ("alma", "almalinux"), ("fedora", "fedora"), ("amazon linux", "amzn"),
    ("arch linux", "arch"), ("archlinux", "arch"), ("manjaro", "manjaro"), ("opensuse", "opensuse-leap"),
    ("suse linux", "sles"), ("linux mint", "linuxmint"), ("linuxmint", "linuxmint"), ("pop!_os", "pop"),
    ("nixos", "nixos"),
    ("alpine", "alpine"), ("gentoo", "gentoo"), ("oracle linux", "ol"), ("kali", "kali"),
    ("azure linux", "azurelinux"),
    ("mariner", "mariner"), ("tencentos", "tencentos"), ("openeuler", "openeuler"), ("anolis", "anolis"),
    ("kylin", "kylin"), ("uos", "uos"), ("endeavouros", "endeavouros"), ("raspbian", "raspbian"), ("deepin", "deepin"),
    ("void linux", "void"),
)  # fmt: skip
_ARCHES = ("x86_64", "amd64", "aarch64", "arm64", "ppc64le", "riscv64", "s390x", "armv7l", "i686")


def system(facts: Statements, text: str) -> None:
    """``Ubuntu 22.04.5 LTS (x86_64)``, ``Microsoft Windows 11 Pro``, ``macOS 13.4 (arm64)``, ``Linux Ubuntu 16.04``."""
    text = given(text)
    low = text.lower()
    if not text or "e.g." in low:
        return
    if low.startswith(("linux-", "windows-", "macos-", "darwin-")):
        platform(facts, text)
        return
    number = r"(\d+(?:\.\d+)*)"
    if re.search(r"wsl\s?2?\b", low):
        facts.put("os", "system", "Linux")
        facts.put("os", "wsl", True)
        low = re.sub(r"(?:microsoft )?(?:windows|win) ?1[01]", "", low)
    if re.search(r"\bmac ?os|\bosx|os x\b|\bdarwin\b", low):
        facts.put("os", "system", "Darwin")
        if found := re.search(r"(?:mac ?os(?: ?x)?|osx|os x)(?:[ -][a-z]{2,12}){0,2}[ v-]{0,3}" + number, low):
            facts.put("os", "distro_version", found[1])
    elif re.search(r"\bwin(?:dows)?(?:\b|(?=\d))", low) and "linux" not in low:
        facts.put("os", "system", "Windows")
        if found := re.search(r"win(?:dows)?[ -]?(1[01]|8\.1|8|7)\b(?!\.\d)", low):
            facts.put("os", "distro_version", found[1])
    else:
        for word, name in _DISTROS:
            if re.search(r"(?<![a-z])" + re.escape(word), low):
                facts.put("os", "system", "Linux")
                tail = low[low.index(word) + len(word) :]
                if "distro" not in facts.data.get("os", {}):
                    facts.put("os", "distro", name)
                    if found := re.match(r"[^\d\n]{0,40}?" + number, tail):
                        facts.put("os", "distro_version", _released(name, found[1]))
                break
        else:
            if re.search(r"\blinux\b", low):
                facts.put("os", "system", "Linux")
    arch(facts, low)


def _released(distro: str, stated: str) -> str:
    """What /etc/os-release has for it: point releases of Ubuntu and Debian are no releases."""
    return ".".join(stated.split(".")[: {"ubuntu": 2, "debian": 1}.get(distro, 3)])


def arch(facts: Statements, text: str) -> None:
    """The architecture that a text names."""
    low = text.lower()
    for name in _ARCHES:
        if re.search(r"(?<![a-z0-9])" + name + r"(?![a-z0-9])", low):
            facts.put("cpu", "arch", {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name))
            return


def platform(facts: Statements, text: str) -> None:
    """``platform.platform()`` of Python: ``Linux-5.15.0-107-generic-x86_64-with-glibc2.31``."""
    text = given(text)
    low = text.lower()
    if low.startswith("linux-"):
        facts.put("os", "system", "Linux")
        head, _, tail = text[6:].partition("-with-")
        if "microsoft" in low:
            facts.put("os", "wsl", True)
        if found := re.match(r"(\d[\w.+-]{0,80}?)-(?:x86_64|aarch64|ppc64le|riscv64|s390x)\b", head):
            facts.put("os", "kernel", found[1])
        # Up to Python 3.8 the number is the newest symbol that the interpreter needs, not the version of the library.
        python = facts.data.get("python", {}).get("version", "")
        parts = python.rstrip("t").split(".")
        if (
            tail.lower().startswith("glibc")
            and len(parts) > 1
            and parts[1].isdigit()
            and (parts[0], int(parts[1])) >= ("3", 9)
        ):
            glibc(facts, tail)
        elif not tail.lower().startswith("glibc") and tail:
            system(facts, tail.replace("-", " "))
    elif low.startswith("windows"):
        facts.put("os", "system", "Windows")
        if found := re.match(r"windows-(1[01]|8\.1|8|7)\b", low):
            # Old Pythons say 10 for Windows 11; its builds count from 22000.
            build = re.search(r"10\.0\.(\d{5})", low)
            facts.put(
                "os", "distro_version", "11" if build and int(build[1]) >= 22000 and found[1] == "10" else found[1]
            )
    elif low.startswith(("macos-", "darwin-")):
        facts.put("os", "system", "Darwin")
        if found := re.match(r"macos-(\d+(?:\.\d+)*)", low):
            facts.put("os", "distro_version", found[1])
    arch(facts, low)


def glibc(facts: Statements, text: str) -> None:
    """``glibc-2.35``, ``glibc2.35``, ``glibc 2.35``."""
    if found := re.match(r"glibc[- ]?(2\.\d{1,2})(?!\d)", given(text).lower()):
        facts.put("os", "glibc", found[1])


def cudnn(facts: Statements, text: str) -> None:
    """A version, or the names of the libraries that were found, when they agree: ``libcudnn.so.8.9.2``."""
    text = text if given(text[:300]) else ""
    named = set(re.findall(r"libcudnn(?:_[a-z_]{1,40})?\.so\.(\d{1,2}(?:\.\d{1,3}){0,3})", text))
    named |= set(re.findall(r"cudnn(?:_[a-z_]{1,40})?64_(\d{1,2})\.dll", text))
    if not named and "/" not in text and "\\" not in text:
        named = set(re.findall(r"(?<![\w.])v?(\d{1,2}(?:\.\d{1,3}){1,3})(?![\w.])", text)[:1])
        if found := re.fullmatch(r"\s*(\d{4,5})\s*", text):
            number = int(found[1])
            base = 10000 if number >= 90000 else 1000
            named = {f"{number // base}.{number % base // 100}.{number % 100}"}
    longest = max(named, key=len, default="")
    if longest and all(longest == name or longest.startswith(name + ".") for name in named):
        facts.put("cudnn", "system", longest)
