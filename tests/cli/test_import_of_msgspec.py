"""The command imports msgspec without modules that it needs for nothing; afterwards everything works as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = ("uuid", "decimal", "typing_extensions", "msgspec.inspect", "msgspec._json_schema")


def run(code: str, *path: Path) -> str:
    lines = ["import sys", *(f"sys.path.insert(0, {str(folder)!r})" for folder in path), code]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


START = "import envcheck.__main__ as command\ncommand.import_msgspec()\n"


def test_what_is_not_used_is_not_imported() -> None:
    assert run(START + f"print([name for name in {SKIPPED!r} if name in sys.modules])") == "[]"


def test_a_snapshot_goes_to_json_and_back() -> None:
    code = (
        "from envcheck.core.snapshot import Snapshot\ns = Snapshot.from_facts({'os': 'linux', 'driver': '550.54.14'})"
    )
    assert run(f"{START}{code}\nprint(Snapshot.from_json(s.to_json()) == s)") == "True"


def test_what_was_left_out_can_be_had_later() -> None:
    code = """
import msgspec
assert msgspec.json.schema(dict[str, int])["type"] == "object"
import decimal, uuid, msgspec.inspect
assert decimal.Decimal("1.5") * 2 == 3 and uuid.UUID(int=1).int == 1
print(type(msgspec.inspect.type_info(int)).__name__)"""
    assert run(START + code) == "IntType"


def test_what_is_imported_already_stays() -> None:
    code = "import decimal, uuid, msgspec.inspect\nfound = decimal, uuid, msgspec.inspect\n"
    assert run(f"{code}{START}print(found == (decimal, uuid, msgspec.inspect))") == "True"
    code = "import decimal\n"
    assert run(f"{code}{START}print(sys.modules['decimal'] is decimal, decimal.Decimal(2) + 1)") == "True 3"


@pytest.mark.parametrize("line", ["import decimal\nif not hasattr(decimal, '__file__'): raise RuntimeError", "1 / 0"])
def test_a_release_that_wants_more(tmp_path: Path, line: str) -> None:
    """What a stand-in can't serve is imported plainly; a real fault of msgspec is told as it is."""
    (tmp_path / "msgspec").mkdir()
    (tmp_path / "msgspec" / "__init__.py").write_text(line + "\n", encoding="utf-8")
    code = f"{START}import decimal\nprint(decimal.Decimal(2) + 1)"
    if line == "1 / 0":
        code = f"try:\n    {START.strip().splitlines()[0]}\n    command.import_msgspec()\nexcept ZeroDivisionError:\n"
        code += "    print(3)\nprint('msgspec' in sys.modules, 'decimal' in sys.modules)"
        assert run(code, tmp_path).split() == ["3", "False", "False"]
    else:
        assert run(code, tmp_path) == "3"
