"""Names of C++ symbols (Itanium C++ ABI, "Mangling"): a short form for people, and the std::string they were made for.

>>> readable("_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE")
'c10::Error::Error'
>>> new_text("_ZN3c105ErrorC2ENS_14SourceLocationESs"), new_text("_ZN2at4_ops4relu4callERKNS_6TensorE")
(False, None)
"""

from __future__ import annotations

from collections.abc import Iterable

SPECIAL = {"_ZTI": "typeinfo of ", "_ZTV": "vtable of ", "_ZTS": "typeinfo name of ", "_ZGV": "guard of "}
STANDARD = {"t": "std", "a": "std::allocator", "b": "std::basic_string", "s": "std::string", "i": "std::istream",
            "o": "std::ostream", "d": "std::iostream"}  # fmt: skip
MAX_NAME = 4000
SHOWN = 100


def readable(symbol: str) -> str:
    """Namespaces, class and function without parameters; the symbol itself where that is not simple."""
    if not symbol.startswith("_Z") or len(symbol) > MAX_NAME:
        return symbol
    before, at = "", 2
    for start, words in SPECIAL.items():
        if symbol.startswith(start):
            before, at = words, len(start)
    nested = symbol[at : at + 1] == "N"
    at += nested
    while nested and symbol[at : at + 1] in ("K", "V", "r", "R", "O"):
        at += 1
    parts: list[str] = []
    while at < len(symbol):
        char = symbol[at]
        if char.isdigit():
            name, at = _identifier(symbol, at)
            if not name:
                return symbol
            parts.append(name)
        elif char == "S" and symbol[at + 1 : at + 2] in STANDARD and not parts:
            parts.append(STANDARD[symbol[at + 1]])
            at += 2
            if nested or parts[0] == "std":
                continue
        elif char in "CD" and symbol[at + 1 : at + 2].isdigit() and parts and nested:
            parts.append(("~" if char == "D" else "") + parts[-1])
            break
        elif char == "I" and parts:
            parts[-1] += "<...>"
            break
        elif char == "E" or not nested:
            break
        else:  # operators, conversions, closures
            parts.append("(...)")
            break
        if not nested:
            break
    return (before + "::".join(parts))[:SHOWN] if parts else symbol


def new_text(symbol: str) -> bool | None:
    """True: a parameter is the std::string of the new C++ ABI (``std::__cxx11``), False: of the old; None: neither."""
    if not symbol.startswith("_Z") or len(symbol) > MAX_NAME:
        return None
    at, old = 2, False
    while at < len(symbol):
        char, following = symbol[at], symbol[at + 1 : at + 2]
        if char.isdigit():
            name, at = _identifier(symbol, at)
            if name == "__cxx11":
                return True
            if not name:
                return None
        elif char == "B":  # an ABI tag: B5cxx11
            name, at = _identifier(symbol, at + 1)
            if name == "cxx11":
                return True
            if not name:
                return None
        elif char == "S" and following in STANDARD:
            old = old or following == "s"
            at += 2
        elif char in "ST" and (following == "_" or following.isdigit() or following.isupper()):
            end = symbol.find("_", at)
            if end < 0:
                return None
            at = end + 1
        elif char == "L" and following.islower():  # a literal: Lb1E
            end = symbol.find("E", at)
            if end < 0:
                return None
            at = end + 1
        else:
            at += 1
    return False if old else None


def new_texts(symbols: Iterable[str]) -> bool | None:
    """Of all of them; None where none says it, or they contradict each other."""
    said = {one for symbol in symbols if (one := new_text(symbol)) is not None}
    return said.pop() if len(said) == 1 else None


def _identifier(symbol: str, at: int) -> tuple[str, int]:
    """``5Error`` -> ``Error``; empty when its length is no sensible one."""
    end = at
    while symbol[end : end + 1].isdigit() and end - at < 5:
        end += 1
    length = int(symbol[at:end] or "0")
    name = symbol[end : end + length]
    return (name, end + length) if 0 < length == len(name) else ("", len(symbol))
