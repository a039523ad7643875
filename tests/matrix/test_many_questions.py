"""An environment with thousands of packages asks one table once for each of them."""

from __future__ import annotations

from pathlib import Path

from envcheck.matrix.source import SourceStore


def test_the_first_cell_finds_the_same_lines_however_often_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,value\na,1\nb,2\na,3\nab,4\n", encoding="utf-8")
    store = SourceStore(str(tmp_path))
    for _ in range(6):
        assert store._beginning("t", "a") == [(2, "a,1"), (4, "a,3")]
        assert store._beginning("t", "ab") == [(5, "ab,4")]
        assert store._beginning("t", "no") == []
        assert store._beginning("t", "a,1") == []
    store.forget("t")
    (tmp_path / "t.csv").write_text("name,value\na,9\n", encoding="utf-8")
    assert store._beginning("t", "a") == [(2, "a,9")]
