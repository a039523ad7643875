"""Writes docs/reference/ and the JSON Schemas from the code and the tables.

python docs/generate.py            write what has changed
python docs/generate.py --check    write nothing; exit 1 and name the pages that are out of date
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
REFERENCE = TOP / "docs" / "reference"
MADE = "<!-- Made by docs/generate.py from the code. Do not edit. -->\n\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Every generated file with its text."""
    yield from rule_pages()
    yield REFERENCE / "cli.md", MADE + cli_page()
    yield REFERENCE / "configuration.md", MADE + configuration_page()
    yield REFERENCE / "pytest.md", MADE + pytest_page()
    yield REFERENCE / "api.md", MADE + api_page()
    yield REFERENCE / "tables.md", MADE + tables_page()
    yield from schema_pages()


def rule_pages() -> Iterator[tuple[Path, str]]:
    from envcheck.rules import RULES, module_of

    index = "# Rules\n\nEach rule is named after the cause that it finds. Ids never change meaning.\n\n"
    index += "| rule | cause |\n|---|---|\n"
    for rule in sorted(RULES):
        module = import_module(module_of(rule))
        title, body = split_docstring(module.__doc__ or "")
        index += f"| [{rule}]({rule}.md) | {title} |\n"
        text = f"# {rule}\n\n{title}\n\n"
        for heading, paragraph in body:
            text += f"## {heading}\n\n{paragraph}\n\n"
        explains = getattr(module, "EXPLAINS", ())
        if explains:
            text += "## Explains\n\nFindings of these rules are shown under this one: "
            text += ", ".join(f"[{other}]({other}.md)" for other in explains) + ".\n\n"
        text += f"## Examples\n\n{examples(rule)}"
        yield REFERENCE / "rules" / f"{rule}.md", MADE + text.rstrip() + "\n"
    yield REFERENCE / "rules" / "index.md", MADE + index


def split_docstring(doc: str) -> tuple[str, list[tuple[str, str]]]:
    """A rule's title and its sections: a heading line at the margin, the text below it indented."""
    lines = inspect.cleandoc(doc).splitlines()
    sections: list[tuple[str, list[str]]] = []
    for line in lines[1:]:
        if line and not line[0].isspace():
            sections.append((line.rstrip(":"), []))
        elif sections:
            sections[-1][1].append(line[4:])
    return lines[0], [(heading, "\n".join(text).strip()) for heading, text in sections]


def examples(rule: str) -> str:
    """The rule's own test cases, as facts and what it says of them."""
    import tomllib

    from envcheck.core.snapshot import Snapshot
    from envcheck.engine import run_rule
    from envcheck.facts import Facts
    from envcheck.matrix import Matrix

    cases = tomllib.loads((TOP / "tests" / "cases" / f"{rule}.toml").read_text(encoding="utf-8"))["case"]
    text, shown = "", set()
    for case in cases:
        if case["expect"] in shown or "facts" not in case:
            continue
        shown.add(case["expect"])
        outcome, findings, _ = run_rule(rule, Facts(Snapshot.from_facts(case["facts"]), Matrix.load()))
        said = [f"{f.severity}: {f.message}" for f in findings] or [
            f"{outcome.status}: {outcome.why or 'nothing to say'}"
        ]
        facts = json.dumps(case["facts"], ensure_ascii=False)
        text += f"{case['name'].capitalize()}:\n\n```\n{facts}\n```\n\n" + "".join(f"> {line}\n\n" for line in said)
    return text


def cli_page() -> str:
    import click

    from envcheck.cli import main

    text = "# Command line\n\n"

    def describe(command: click.Command, path: str, parent: click.Context | None) -> str:
        context = click.Context(
            command, info_name=path.split()[-1], parent=parent, terminal_width=100, max_content_width=100
        )
        part = f"## {path}\n\n```\n{command.get_help(context)}\n```\n\n"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                if child is not None and not child.hidden:
                    part += describe(child, f"{path} {name}", context)
        return part

    text += describe(main, "envcheck", None)
    return text.rstrip() + "\n"


def configuration_page() -> str:
    from envcheck import config

    return "# Configuration\n\n" + inspect.cleandoc(config.__doc__ or "") + "\n\n" + config.describe().rstrip() + "\n"


def pytest_page() -> str:
    from envcheck import needs, pytest_plugin

    text = "# pytest plugin\n\n" + inspect.cleandoc(pytest_plugin.__doc__ or "") + "\n\n"
    return text + "## What a marker can ask for\n\n" + inspect.cleandoc(needs.__doc__ or "").rstrip() + "\n"


def api_page() -> str:
    import envcheck

    text = "# Python\n\n" + inspect.cleandoc(envcheck.__doc__ or "").splitlines()[0] + "\n\n"
    for name in sorted(envcheck.__all__):
        thing = getattr(envcheck, name)
        if inspect.isclass(thing):
            text += f"## envcheck.{name}\n\n{inspect.cleandoc(thing.__doc__ or '')}\n\n"
            for attribute, member in vars(thing).items():
                if attribute.startswith("_") or not member.__doc__:
                    continue
                if inspect.isfunction(member):
                    text += (
                        f"### {name}.{attribute}{inspect.signature(member)}\n\n{inspect.cleandoc(member.__doc__)}\n\n"
                    )
                elif isinstance(member, property):
                    text += f"### {name}.{attribute}\n\n{inspect.cleandoc(member.__doc__)}\n\n"
                elif isinstance(member, classmethod):
                    signature = inspect.signature(getattr(thing, attribute))
                    text += (
                        f"### {name}.{attribute}{signature}\n\n{inspect.cleandoc(member.__func__.__doc__ or '')}\n\n"
                    )
        elif inspect.isfunction(thing):
            text += f"## envcheck.{name}{inspect.signature(thing)}\n\n{inspect.cleandoc(thing.__doc__ or '')}\n\n"
    return text.rstrip() + "\n"


def tables_page() -> str:
    from envcheck.matrix import Matrix

    matrix = Matrix.load()
    tables = matrix.tables()
    text = (
        "# Tables\n\nThe compatibility data in `matrices/`. Every row has a source and a date; a table says what it "
        "covers and whether it is complete there.\n\n"
        "| table | rows | covers | complete | as of |\n|---|---|---|---|---|\n"
    )
    details = ""
    for table in tables:
        meta, rows = matrix.meta(table), matrix.rows(table)
        covers = meta.covers if isinstance(meta.covers, str) else ", ".join(f"{k} {v}" for k, v in meta.covers.items())
        complete = "yes" if meta.complete else "no"
        text += f"| [{table}](#{table}) | {len(rows)} | {cell(covers)} | {complete} | {meta.as_of} |\n"
        details += f"## {table}\n\n{meta.title}. {meta.about}\n\n"
        used = sorted({str(row["source"]) for row in rows})
        details += "Sources: " + "; ".join(cite(matrix, source) for source in used) + ".\n\n"
    return text + "\n" + details.rstrip() + "\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def cite(matrix, source: str) -> str:  # type: ignore[no-untyped-def]
    found = matrix.source(source)
    return f"{found.title} ({found.as_of})"


def schema_pages() -> Iterator[tuple[Path, str]]:
    import envcheck
    from envcheck.core.snapshot.codec import json_schema
    from envcheck.diagnosis.model import diagnosis_schema
    from envcheck.inspection.model import inspection_schema
    from envcheck.matrix.schema import answer_schema, matrix_schema
    from envcheck.render.json import report_schema

    schemas = Path(envcheck.__file__).parent / "schemas"
    text = (
        "# JSON\n\nEvery JSON that envcheck writes has `schema`, an integer. These schemas are shipped in the package "
        'as `envcheck/schemas/*.schema.json`. Facts are a value, `{"fact": "absent", "why": ...}` or '
        '`{"fact": "unknown", "why": ...}`; facts that nobody stated are left out.\n\n'
    )
    schemas_of = {
        "snapshot": json_schema(),
        "report": report_schema(),
        "answer": answer_schema(),
        "inspection": inspection_schema(),
        "diagnosis": diagnosis_schema(),
        "matrix": matrix_schema(),
    }
    for name, schema in schemas_of.items():
        yield schemas / f"{name}.schema.json", json.dumps(schema, indent=1, sort_keys=True) + "\n"
        text += f"## {schema['title']}\n\n"
        for part, definition in sorted(schema.get("$defs", {}).items()):
            if name in ("inspection", "diagnosis") and schemas_of["report"]["$defs"].get(part) == definition:
                continue  # of the report that it may hold
            fields = definition.get("properties", {})
            about = (definition.get("description") or "").partition("\n")[0]
            text += f"### {name}: {part}\n\n{about}\n\n"
            text += (
                "| key | type |\n|---|---|\n"
                + "".join(f"| {k} | {cell(type_of(v))} |\n" for k, v in fields.items())
                + "\n"
            )
    yield REFERENCE / "json.md", MADE + text.rstrip() + "\n"


def type_of(schema: dict) -> str:  # type: ignore[type-arg]
    """A JSON Schema type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(part) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if "const" in schema or "enum" in schema:
        return json.dumps(schema.get("const", schema.get("enum")))
    return str(schema.get("type", "any"))


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    wanted = dict(pages())
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    left_over = [path for path in REFERENCE.rglob("*.md") if path not in wanted]
    if check:
        for path in (*stale, *left_over):
            print(f"out of date: {path} (run python docs/generate.py)")
        return 1 if stale or left_over else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"written: {path}")
    for path in left_over:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
