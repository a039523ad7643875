"""The CPU on macOS, and wherever py-cpuinfo is the only way."""

from __future__ import annotations

from envcheck.core.snapshot import Absent, Cpu, Unknown
from envcheck.probes.cpu import level
from envcheck.probes.host import Host
from envcheck.probes.log import Log

SYSCTL_FLAGS = {
    "sse3": "pni", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "avx1.0": "avx", "lzcnt": "abm", "lahf": "lahf_lm",
    "avx512f": "avx512f", "fxsr": "fxsr", "fpu": "fpu",
}  # fmt: skip
SYSCTL_ARM = {
    "AdvSIMD": "asimd", "FEAT_LSE": "atomics", "FEAT_FP16": "asimdhp", "FEAT_DotProd": "asimddp", "FEAT_BF16": "bf16",
    "FEAT_I8MM": "i8mm", "FEAT_AES": "aes", "FEAT_SHA256": "sha2", "FEAT_CRC32": "crc32", "FEAT_SME": "sme",
}  # fmt: skip


def macos(host: Host, log: Log) -> Cpu:
    """sysctl: machdep.cpu (brand, x86 features), hw.optional.arm (aarch64), sysctl.proc_translated (Rosetta)."""
    with log.attempt("cpu", "sysctl") as attempt:
        ran = host.run(["sysctl", "machdep.cpu", "hw.optional", "sysctl.proc_translated"], timeout=3.0)
        values = sysctl_values(ran.stdout)
        if not values:
            raise OSError(
                5, f"sysctl gave nothing ({ran.trouble or f'exit code {ran.code}'}): {ran.stderr.strip()[:200]}"
            )
        attempt.found(values.get("machdep.cpu.brand_string", ""))
        return macos_cpu(values)
    return Cpu(
        vendor=Unknown("sysctl gave nothing"),
        brand=Unknown("sysctl gave nothing"),
        flags=Unknown("sysctl gave nothing"),
        level=Unknown("sysctl gave nothing"),
        emulated=Unknown("sysctl gave nothing"),
    )


def sysctl_values(text: str) -> dict[str, str]:
    """``name: value`` lines."""
    return {
        key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in text.splitlines()) if colon
    }


def macos_cpu(values: dict[str, str]) -> Cpu:
    """The facts in sysctl's values."""
    brand = values.get("machdep.cpu.brand_string", "")
    features = " ".join(values.get(f"machdep.cpu.{key}", "") for key in ("features", "leaf7_features", "extfeatures"))
    flags = [SYSCTL_FLAGS.get(name, name) for name in features.lower().split()]
    if not flags:
        flags = [
            flag
            for name, flag in SYSCTL_ARM.items()
            if values.get(f"hw.optional.arm.{name}", values.get(f"hw.optional.{name}")) == "1"
        ]
    x86 = "machdep.cpu.features" in values
    translated = values.get("sysctl.proc_translated") == "1"
    return Cpu(
        vendor="Apple"
        if brand.startswith("Apple")
        else values.get("machdep.cpu.vendor") or Unknown("sysctl does not say"),
        brand=brand or Unknown("sysctl does not say"),
        flags=flags or Unknown("sysctl lists no features"),
        level=level(flags) if x86 else Absent("aarch64 is not x86-64"),
        emulated="Rosetta: sysctl.proc_translated is 1" if translated else Absent("sysctl.proc_translated is not 1"),
    )


def by_py_cpuinfo(host: Host, log: Log) -> Cpu:
    """Windows and others: py-cpuinfo in a child process."""
    why = "py-cpuinfo gave nothing"
    with log.attempt("cpu", "py-cpuinfo in a child") as attempt:
        try:
            info = host.query("cpuinfo")
        except ValueError as error:
            raise OSError(5, str(error)) from None
        attempt.found(str(info.get("brand_raw", "")))
        flags = [SYSCTL_FLAGS.get(str(flag), str(flag)) for flag in info.get("flags", ())]
        x86 = str(info.get("arch", "")).upper().startswith("X86")
        return Cpu(
            vendor=info.get("vendor_id_raw") or Unknown(why),
            brand=info.get("brand_raw") or Unknown(why),
            flags=flags or Unknown(why),
            # py-cpuinfo executes cpuid where it can; a list without SSE2 came from a poorer source.
            level=level(flags) if x86 and "sse2" in flags else Unknown("the flags are not known in full"),
            emulated=Unknown(f"not looked for on {host.platform}"),
        )
    return Cpu(vendor=Unknown(why), brand=Unknown(why), flags=Unknown(why), level=Unknown(why), emulated=Unknown(why))
