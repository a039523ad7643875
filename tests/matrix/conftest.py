"""Tables for the tests: the repository's own, compiled ones, and small ones that a test may spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envcheck.matrix import CompiledStore, Matrix
from envcheck.matrix.compiler import compile_tables
from envcheck.matrix.source import SourceStore

MATRICES = Path(__file__).resolve().parents[2] / "matrices"

SOURCES = """
[vendor]
title = "Vendor's table"
url = "https://example.org/table"
publisher = "Vendor"
kind = "vendor-doc"
as_of = 2026-01-02
"""

TOML_TABLE = """
[table]
id = "toolkits"
title = "Toolkits"
about = "A test."
key = ["toolkit"]
covers = { toolkit = ">=10.0,<=12.8" }
complete = true
as_of = 2026-01-02
stale_after = 2099-07-02
source = "vendor"
labels = { toolkit = "CUDA toolkit" }
rising = [{ column = "driver", by = "toolkit" }]

[table.columns]
toolkit = "version"
driver = { type = "version", about = "driver" }
archs = "list"
full = "bool"
count = "int"
kind = { type = "str", values = ["old", "new"] }

[[row]]
toolkit = "10.0"
driver = "410.48"
archs = ["3.5", "7.0"]
full = true
count = 3
kind = "old"

[[row]]
toolkit = "12.4"
driver = "550.54.14"
as_of = 2026-01-01
confidence = "medium"

[[row]]
toolkit = "12.8"
driver = "570.26"
note = "a note"
"""

CSV_HEADER = """
[table]
id = "wheels"
title = "Wheels"
about = "A test."
format = "csv"
key = ["package", "version"]
partition = "package"
covers = "listed packages"
complete = true
as_of = 2026-01-02
source = "vendor"

[table.columns]
package = "package"
version = "version"
tags = "list"
yanked = "bool"
"""

CSV_ROWS = """package,version,tags,yanked
numpy,1.26.4,3.9 3.12,false
torch,2.5.1,3.9 3.13,false
torch,2.10.0,3.10,true
"""

RANGES = """
[table]
id = "needs"
title = "Needs"
about = "A test."
key = ["package", "first"]
covers = "listed packages"
as_of = 2026-01-02
source = "vendor"
ranges = { from = "first", to = "last", within = ["package"] }

[table.columns]
package = "package"
first = "version"
last = "version"

[[row]]
package = "cudnn"
first = "8.0"
last = "8.9"

[[row]]
package = "cudnn"
first = "9.0"
last = "9.10"
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A directory of small, faultless tables."""
    directory = tmp_path / "matrices"
    directory.mkdir()
    for name, text in {
        "sources.toml": SOURCES,
        "toolkits.toml": TOML_TABLE,
        "wheels.toml": CSV_HEADER,
        "wheels.csv": CSV_ROWS,
        "needs.toml": RANGES,
    }.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


@pytest.fixture
def spoil(tables: Path) -> Callable[[str, str, str], Path]:
    """Replace a text in one of the small tables; return their directory."""

    def replace(name: str, old: str, new: str) -> Path:
        path = tables / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return tables

    return replace


@pytest.fixture
def small(tables: Path) -> Matrix:
    """The small tables, read from source."""
    return Matrix(SourceStore(str(tables)))


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    """The repository's tables, read from source."""
    return Matrix(SourceStore(str(MATRICES)))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The repository's tables, compiled to JSON."""
    target = tmp_path_factory.mktemp("compiled")
    compile_tables(str(MATRICES), str(target))
    return Matrix(CompiledStore(str(target)))
