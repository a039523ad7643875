"""What a report states, one value after the other: the first statement of a fact counts.

Values are checked here, so that no reader can give a fact of a wrong shape.
"""

from __future__ import annotations

import re
from typing import Any

_NOTHING = (
    *("", "none", "n/a", "na", "no", "null", "unknown", "not found", "not installed", "not available", "no cuda", "-"),
    *("could not collect", "no response", "_no response_", "nan", "false", "err!", "[n/a]", "<fill in>", "not set"),
)
_ENV = re.compile(
    r"^\s*(?:export |set )?((?:CUDA|NVIDIA|NCCL|TORCH|PYTORCH|OMP|MKL|VLLM|XLA|JAX|TF|HIP|HSA|ROCR|ROCM|LD|ORT|TRITON)"
    r"_[A-Z0-9_]{1,60})=([^\n]{0,2000})$"
)
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "API_KEY")


def given(value: str) -> str:
    """The value, or an empty text for what stands for nothing: ``N/A``, ``Could not collect``, ``No CUDA``."""
    value = value.strip().strip("`\"'").strip()
    return "" if value.lower() in _NOTHING or value.lower().startswith(("could not", "not built")) else value[:300]


def version(text: str) -> str:
    """The first version in a text, with its local label: ``v2.0.1+cu118 (True)`` -> ``2.0.1+cu118``."""
    found = re.search(
        r"(?<![\w.])v?(\d{1,6}(?:\.\d{1,8}){1,5}(?:(?:\.?(?:dev|post|rc|a|b)|-)\d{1,10})?(?:\+[\w.]{1,40})?)", text
    )
    return found[1].rstrip(".") if found else ""


class Statements:
    """Sparse facts as they grow."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def put(self, section: str, name: str, value: Any) -> None:
        """Set ``section.name`` unless it is there or the value is empty."""
        if value not in ("", None):
            self.data.setdefault(section, {}).setdefault(name, value)

    def python(self, text: str) -> None:
        """``3.10.12 (main, ...) [GCC 11.4.0] (64-bit runtime)``."""
        found = re.search(r"(?<![\w.])([23]\.\d{1,2}(?:\.\d{1,2})?(?:(?:a|b|rc)\d{1,2})?)(?![\w])", given(text)[:200])
        if found is None or "python" in self.data:
            return
        free = "free-threading" in text or text[found.end() : found.end() + 1] == "t"
        self.put("python", "version", found[1] + ("t" if free else ""))
        if "32-bit" in text or "32 bit" in text:
            self.put("python", "bits", 32)
        elif "64-bit" in text or "64 bit" in text:
            self.put("python", "bits", 64)

    def package(self, name: str, stated: str) -> None:
        """A package that is installed; without a version that can be read, its version is unknown."""
        if re.fullmatch(r"[A-Za-z0-9](?:[\w.-]{0,80}[A-Za-z0-9])?", name):
            self.data.setdefault("packages", {}).setdefault(name.lower().replace("_", "-"), stated[:80])

    def built(self, name: str, label: str) -> None:
        """The local label of a package whose version names none: what it was built with."""
        packages = self.data.setdefault("packages", {})
        if "+" not in packages.get(name, ""):
            packages[name] = packages.get(name, "") + label

    def driver(self, text: str) -> None:
        """The version of the NVIDIA driver; what can be none (Mac's ``1.1.0``) is left out."""
        found = re.search(r"(?<![\w.])(\d{3}\.\d{1,3}(?:\.\d{1,3})?)(?![\w.])", given(text))
        if found:
            self.put("driver", "version", found[1])

    def driver_cuda(self, text: str) -> None:
        if found := re.match(r"(\d{1,2}\.\d)(?:\.\d+)?$", given(text)):
            self.put("driver", "cuda", found[1])

    def nvcc(self, text: str) -> None:
        """The CUDA toolkit's version."""
        found = re.search(r"(?<![\w.])V?(\d{1,2}\.\d{1,2}(?:\.\d{1,4})?)(?![\w])", given(text))
        if found:
            self.put("toolkit", "nvcc", found[1])

    def gpu(self, name: str, **more: Any) -> None:
        """One GPU; ``count`` says how many of it there are."""
        name = shortened(given(name))
        if not name or not any(letter.isalpha() for letter in name) or len(name) > 100:
            return
        known = name.lower()
        vendor = "amd" if any(word in known for word in ("amd ", "radeon", "instinct")) else ""
        entry = {"name": name, "vendor": vendor, **more}
        self.data.setdefault("gpus", []).append({key: value for key, value in entry.items() if value not in ("", None)})

    def variable(self, line: str) -> bool:
        """A line ``CUDA_VISIBLE_DEVICES=0`` of a report's list of variables."""
        found = _ENV.match(line)
        if found is None or any(word in found[1] for word in _SECRET):
            return False
        value = found[2].strip().strip("'\"")
        if value != "(unset)":
            self.data.setdefault("env", {}).setdefault(found[1], value)
        return True

    def done(self) -> dict[str, Any] | None:
        return self.data or None


def shortened(name: str) -> str:
    """A name that nvidia-smi cut off, without the cut word where the rest tells the product: ``NVIDIA A100-SXM...``."""
    name = " ".join(name.split())
    if not name.endswith(("...", "…")):
        return name
    whole = re.sub(r"[ -]?[^ -]*$", "", name.rstrip(".…"))
    return whole if any(letter.isdigit() for letter in whole) else name
