"""Answers about systems: distributions, glibc, manylinux and musllinux tags."""

from __future__ import annotations

from collections.abc import Callable

from envcheck.versions import compare_numbers, numbers

from . import Matrix, Row
from .lookup import of_minor
from .model import QueryError
from .ordering import release, sort_key
from .query import Answer, Sheet, alike, grouped, near

DISTROS = {
    **dict.fromkeys(("redhat", "redhatenterprise", "redhatenterpriselinux", "ubi"), "rhel"),
    **dict.fromkeys(("amazon", "amazonlinux", "al"), "amzn"),
    **dict.fromkeys(("oracle", "oraclelinux"), "ol"),
    **dict.fromkeys(("opensuse", "leap", "suse"), "opensuse-leap"),
    **dict.fromkeys(("sle", "suselinuxenterprise", "suselinuxenterpriseserver"), "sles"),
    "alma": "almalinux",
    "alt": "altlinux",
    "centosstream": "centos",
    "photonos": "photon",
}
"""Names of distributions, without blanks, and the ID that os-release has for them."""

CODENAMES = {
    "bionic": ("ubuntu", "18.04"),
    "focal": ("ubuntu", "20.04"),
    "jammy": ("ubuntu", "22.04"),
    "noble": ("ubuntu", "24.04"),
    "buster": ("debian", "10"),
    "bullseye": ("debian", "11"),
    "bookworm": ("debian", "12"),
    "trixie": ("debian", "13"),
}
SYMBOLS = {"glibcxx": "GLIBCXX", "cxxabi": "CXXABI"}
NOT_LISTED = ("alpine", "arch", "gentoo", "kali", "linuxmint", "manjaro", "nixos", "tumbleweed", "void", "wolfi")
"""Distributions with musl, rolling ones and such that go by another's releases: known as distributions only."""

WHEELS = ("torch", "tensorflow", "onnxruntime", "onnxruntime-gpu", "jaxlib")
ARCH = "x86_64"
"""Where one architecture stands for all: the distributions hardly differ."""


def distro_named(matrix: Matrix, text: str) -> tuple[str, str] | None:
    """ID and release of a distribution as people write it: ``Ubuntu 22.04 LTS``, ``ubuntu:22.04``, ``rhel9``.

    The release is empty when none is stated. None when the text names no distribution of our tables.
    """
    words = text.lower().replace(":", " ").replace("/", " ").removesuffix(" lts").split()
    if not words:
        return None
    if words[-1] in CODENAMES and words[0] in (CODENAMES[words[-1]][0], words[-1]):
        return CODENAMES[words[-1]]
    flat = " ".join(words)
    known: set[str] = {row["distro"] for row in matrix.rows("distros")}
    head = len(flat) - len(flat.lstrip("abcdefghijklmnopqrstuvwxyz- "))
    name, version = flat[:head].strip(" -"), flat[head:].strip()
    if name.endswith(" p"):  # the releases of ALT Linux: p10
        name, version = name[:-2], f"p{version}"
    plain = name.replace(" ", "").replace("-", "")
    ids = {each.replace("-", ""): each for each in known}
    found = ids.get(plain) or DISTROS.get(plain) or ids.get(plain.removesuffix("linux"))
    if found is None:  # "debian sid"
        found, version = ids.get(words[0]) or DISTROS.get(words[0]), " ".join(words[1:])
    return (found, version.removeprefix("v")) if found is not None and found in known else None


def is_distro(matrix: Matrix, text: str) -> bool:
    """Whether a text names a distribution, a listed one or another, or nearly one: ``ubntu 22.04``."""
    from difflib import get_close_matches

    if distro_named(matrix, text) is not None:
        return True
    name = text.lower().replace(":", " ").split()[0].rstrip("0123456789.")
    known = [*{row["distro"] for row in matrix.rows("distros")}, *NOT_LISTED]
    return len(name) > 3 and bool(get_close_matches(name, known, n=1, cutoff=0.85))


def distro(matrix: Matrix, text: str) -> Answer:
    """A release of a distribution: its C and C++ libraries, and which manylinux tags and wheels they serve.

    Without a release, all that are listed. Raises QueryError when it is not listed.
    """
    named = distro_named(matrix, text)
    if named is None:
        names = sorted({row["distro"] for row in matrix.rows("distros")})
        first = text.lower().replace(":", " ").split()[0].rstrip("0123456789.")
        close = alike(first, names) if first not in NOT_LISTED else []
        ending = f"did you mean {', '.join(close)}?" if close else f"they have {', '.join(names)}"
        raise QueryError(
            f"our tables have no distribution {text!r} (those with musl and rolling ones are not listed); {ending}"
        )
    name, version = named
    rows = matrix.rows("distros", distro=name)
    mine, listed = numbers(version), list(dict.fromkeys(row["version"] for row in rows))
    if version and version not in listed:
        # "9.4" and "22.04.3" are updates of 9 and 22.04; "22" is 22.04 when there is no other.
        within = [each for each in listed if numbers(each) and mine[: len(numbers(each))] == numbers(each)]
        begun = [each for each in listed if mine and numbers(each)[: len(mine)] == mine]
        if len(within or begun) != 1:
            return _no_release(matrix, name, version, begun)
        version = (within or begun)[0]
    if not version:
        sheet = Sheet(matrix, f"distribution {name}")
        for each in sorted(listed, key=sort_key):
            row = _preferred([row for row in rows if row["version"] == each])
            sheet.say(each, _libraries(row), row)
        return sheet.answer
    sheet = Sheet(matrix, f"distribution {name} {version}")
    found = [row for row in rows if row["version"] == version]
    same = len({_libraries(row) for row in found}) == 1
    for row in found[:1] if same else found:
        sheet.columns(row, suffix="" if same else f" ({row['arch']})")
    row = _preferred(found)
    sheet.say("architectures listed", [each["arch"] for each in found], {**row, "note": None})
    known = row["glibcxx"] and row["cxxabi"]
    later = [each for each in matrix.rows("libstdcxx") if known and not serves(row, each)]
    if later:
        sheet.say(
            "GCC releases whose programs find all symbols in its libstdc++", f"those before {later[0]['gcc']}", later[0]
        )
    _tags(sheet, row["glibc"], row)
    _wheels(sheet, row)
    return sheet.answer


def _no_release(matrix: Matrix, name: str, version: str, begun: list[str]) -> Answer:
    if begun:
        raise QueryError(f"{name} {version} is one of {', '.join(begun)}: ask for one")
    sheet = Sheet(matrix, f"distribution {name} {version}")
    if not numbers(version):
        listed = [row["version"] for row in matrix.rows("distros", distro=name)]
        raise QueryError(
            f"our tables have no {name} {version}; they have {', '.join(sorted(set(listed), key=sort_key))}"
        )
    gap = newer_than(matrix, "distros", "version", version, name, matrix.rows("distros", distro=name))
    sheet.answer.gaps.append(gap)
    return sheet.answer


def newer_than(matrix: Matrix, table: str, column: str, value: str, what: str, rows: list[Row]) -> str:
    """The sentence for what is newer than a table; raises QueryError, with what is near, when it is not."""
    listed = [str(row[column]) for row in rows if row[column]]
    newest = max(listed, key=lambda each: release(each) or ())
    if compare_numbers(value, newest) > 0:
        return f"{what} {value} is newer than our data of {matrix.meta(table).as_of} (newest known {newest})"
    raise QueryError(f"{what} {value} is not in our tables{near(value, listed)}")


def _preferred(rows: list[Row]) -> Row:
    return next((row for row in rows if row["arch"] == ARCH), rows[0])


def _libraries(row: Row) -> str:
    words = (("glibc", "glibc"), ("GLIBCXX", "glibcxx"), ("CXXABI", "cxxabi"))
    return ", ".join(f"{word} {row[column]}" for word, column in words if row[column])


def serves(row: Row, needs: Row) -> bool:
    """Whether the libraries of a distribution define all symbol versions that a row of another table names.

    A library of which the distribution's row says nothing counts as serving: see `_wheels`, which says so.
    """
    pairs = ((row["glibc_symbol"], needs.get("glibc")), *((row[name], needs.get(name)) for name in SYMBOLS))
    return all(not need or not have or compare_numbers(have, need) >= 0 for have, need in pairs)


def tag_numbers(tag: str) -> tuple[int, ...]:
    """``manylinux_2_28`` -> (2, 28)."""
    return numbers(tag.partition("_")[2].replace("_", "."))


def _tags(sheet: Sheet, glibc: str, row: Row | None) -> None:
    """The manylinux tags of a glibc, and, where a distribution is known, those that need a newer libstdc++."""
    mine = numbers(glibc)[:2]
    tags = [each for each in sheet.matrix.rows("manylinux", arch=ARCH) if tag_numbers(each["tag"]) <= mine]
    tags.sort(key=lambda each: tag_numbers(each["tag"]))
    if not tags:
        return
    names = [f"{each['tag']} ({each['alias']})" if each["alias"] else each["tag"] for each in tags]
    sheet.say("manylinux tags that pip takes, newest last", names, {**tags[-1], "note": None})
    over = [each for each in tags if row is not None and not serves(row, each)]
    if over:
        words = "of these, tags whose wheels may use newer symbols than it has"
        sheet.say(words, [each["tag"] for each in over], over[-1])


def _wheels(sheet: Sheet, system: Row) -> None:
    """The newest release of the main packages whose Linux x86-64 wheels need no newer libraries."""
    matrix = sheet.matrix
    if not (system["glibcxx"] and system["cxxabi"]):
        sheet.answer.gaps.append(f"the libstdc++ of {_label(system)} is not listed: the answers go by glibc alone")
    for package in WHEELS:
        symbols = matrix.rows("wheel-symbols", package=package)
        rows = [row for row in matrix.rows("wheels", package=package) if row["glibc_x86_64"] and not row["yanked"]]
        final = [row for row in rows if row["version"].replace(".", "").isdigit()]
        final.sort(key=lambda row: sort_key(row["version"]), reverse=True)
        for row in final:
            measured = of_minor(symbols, "version", row["version"])
            if measured is not None and not measured["glibc"]:
                measured = None
            if serves(system, {"glibc": row["glibc_x86_64"]}) and (measured is None or serves(system, measured)):
                _newest(sheet, package, row["version"], row is final[0], measured, row)
                break
    engines = [row for row in matrix.rows("tensorrt") if row["glibc"]]
    fitting = [row for row in engines if serves(system, {"glibc": row["glibc"]})]
    if fitting:
        newest = max(fitting, key=lambda row: numbers(row["tensorrt"]))
        last = newest["tensorrt"] == max((row["tensorrt"] for row in engines), key=numbers)
        _newest(sheet, "TensorRT", newest["tensorrt"], last, None, newest, "by its documented glibc")


def _newest(
    sheet: Sheet, name: str, version: str, last: bool, measured: Row | None, row: Row, how: str = "by the wheel's tag"
) -> None:
    how = "by the symbols that it uses" if measured is not None else how
    words = f"newest {name} that its libraries serve (x86-64, {how})"
    ending = " (the newest listed)" if last else ""
    sheet.say(words, f"{version}{ending}", {**(measured or row), "note": None})


def glibc(matrix: Matrix, text: str) -> Answer:
    """A release of glibc: the distributions that have it, or a newer one, and the manylinux tags it admits."""
    version = version_in(text, "glibc", "libc")
    if len(numbers(version)) < 2:
        raise QueryError(f"{text!r} is no version of glibc: envcheck matrix glibc 2.28")
    version = ".".join(map(str, numbers(version)[:2]))
    sheet = Sheet(matrix, f"glibc {version}")
    rows = matrix.rows("distros")
    exact = [row for row in rows if row["arch"] == ARCH and compare_numbers(row["glibc"], version) == 0]
    grouped(sheet, "distributions that have it", [(_label(row), row) for row in exact])
    if not exact:
        sheet.answer.gaps.append(
            f"no distribution in our tables has glibc {version}{near(version, [row['glibc'] for row in rows])}"
        )
    newest = max((row["glibc"] for row in rows), key=numbers)
    if compare_numbers(version, newest) > 0:
        sheet.answer.gaps[:] = [newer_than(matrix, "distros", "glibc", version, "glibc", rows)]
    else:
        say_holders(sheet, "it or a newer one", ("glibc",), lambda row: compare_numbers(row["glibc"], version) >= 0)
    _tags(sheet, version, None)
    return sheet.answer


def _label(row: Row) -> str:
    return f"{row['distro']} {row['version']}"


def say_holders(sheet: Sheet, what: str, columns: tuple[str, ...], test: Callable[[Row], bool]) -> None:
    """The oldest release of each distribution that passes, and the listed ones that do not.

    Rows that leave one of the columns open are in neither list.
    """
    releases: dict[str, list[Row]] = {}
    for row in sheet.matrix.rows("distros", arch=ARCH):
        if all(row[column] for column in columns):
            releases.setdefault(row["distro"], []).append(row)
    oldest, without = [], []
    for name in sorted(releases):
        rows = sorted(releases[name], key=lambda row: numbers(row["version"].removeprefix("p")))
        passing = [row for row in rows if test(row)]
        oldest += [(_label(row), row) for row in passing[:1]]
        without += [(_label(row), row) for row in rows if row not in passing]
    grouped(sheet, f"oldest listed release with {what}", oldest)
    grouped(sheet, f"listed releases without {what}", without)


def version_in(text: str, *names: str) -> str:
    """``GLIBCXX_3.4.30``, ``glibcxx 3.4.30`` and ``3.4.30`` as a version."""
    flat = text.lower().strip()
    for name in names:
        flat = flat.removeprefix(name)
    return flat.strip(" _-='`\"")


def tag(matrix: Matrix, text: str) -> Answer:
    """A manylinux tag: what its wheels may use, and the distributions that run them.

    ``manylinux2014``, ``manylinux_2_28_x86_64`` and ``2.28`` are understood. Raises QueryError for what is no tag.
    """
    flat = text.lower().strip().replace(" ", "").replace("-", "_")
    arch = next((each for each in ("x86_64", "aarch64") if flat.endswith(f"_{each}")), "")
    flat = flat.removesuffix(f"_{arch}") if arch else flat
    rest = flat.removeprefix("manylinux").strip("_").replace(".", "_")
    rows = [row for row in matrix.rows("manylinux") if f"manylinux{rest}" == row["alias"] or row["tag"][10:] == rest]
    names = sorted({row["tag"] for row in matrix.rows("manylinux")}, key=tag_numbers)
    if not rows:
        parts = numbers(rest.replace("_", "."))
        # PEP 600 gives every glibc a tag.
        if len(parts) != 2 or parts[0] != 2 or rest != f"2_{parts[1]}":
            raise QueryError(f"our tables have no tag {text!r}; they have {', '.join(names)}")
        rows = [{"tag": f"manylinux_{rest}"}]
    name = rows[0]["tag"]
    sheet = Sheet(matrix, f"{name}{f' ({arch})' if arch else ''}")
    told = [row for row in rows if row.get("arch") and arch in ("", row["arch"])]
    for row in told:
        sheet.say("older name", row["alias"] if row is told[0] else None, {**row, "note": None})
    alike_in = len({(row["glibc"], row["glibcxx"], row["cxxabi"]) for row in told}) == 1
    for row in told[:1] if alike_in else told:
        where = "" if alike_in else f" ({row['arch']})"
        sheet.columns(row, "glibc", "glibcxx", "cxxabi", suffix=f" that its wheels may use{where}")
    if told and alike_in:
        sheet.say("architectures listed", [row["arch"] for row in told], {**told[0], "note": None})
    if not told:
        sheet.answer.gaps.append(
            f"{name} is not in auditwheel's policy of {matrix.meta('manylinux').as_of}: by its name it needs glibc "
            f"{'.'.join(map(str, tag_numbers(name)))}; what else its wheels may use is not listed"
        )
    needed = ".".join(map(str, tag_numbers(name)))
    say_holders(
        sheet, f"glibc {needed}, which pip asks for", ("glibc",), lambda row: compare_numbers(row["glibc"], needed) >= 0
    )
    return sheet.answer


def musl(matrix: Matrix, text: str) -> Answer:
    """A musllinux tag, ``musllinux_1_2``: the musl that it needs, and the packages with such wheels."""
    flat = (
        text.lower().strip().replace(" ", "_").replace("-", "_").replace(".", "_").removeprefix("musllinux").strip("_")
    )
    flat = "_".join(["musllinux", *flat.split("_")[:2]])
    row = matrix.row("musllinux", tag=flat)
    if row is None:
        listed = ", ".join(each["tag"] for each in matrix.rows("musllinux"))
        raise QueryError(f"our tables have no tag {text!r}; they have {listed}")
    sheet = Sheet(matrix, flat)
    sheet.columns(row)
    with_wheels = []
    for package in matrix._store.partitions("wheels"):
        rows = [each for each in matrix.rows("wheels", package=package) if "musllinux" in (each["platforms"] or ())]
        if rows:
            with_wheels.append((package, rows[-1]))
    grouped(sheet, "packages with some musllinux wheel (whichever tag)", with_wheels)
    sheet.answer.gaps.append("which releases of which distribution have which musl: not in our tables")
    return sheet.answer
