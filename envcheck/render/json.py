"""A report as JSON."""

from __future__ import annotations

from typing import Any

from envcheck.core.report import Report


def render_json(report: Report) -> str:
    """What ``report.to_json()`` gives, with a newline at the end."""
    try:
        return report.to_json() + "\n"
    except UnicodeEncodeError:
        # A file name or a variable with bytes that are no UTF-8: half a surrogate pair, which JSON cannot hold.
        import json

        return json.dumps(_repaired(report.to_dict()), indent=2) + "\n"


def plain_json(value: Any) -> str:
    """Any struct as indented JSON with a newline at the end, as :func:`render_json` writes a report."""
    import msgspec

    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    except UnicodeEncodeError:
        import json

        return json.dumps(_repaired(msgspec.to_builtins(value)), indent=2) + "\n"


def escape(text: str) -> str:
    """The same JSON in ASCII: every console takes it, whatever its encoding, and nothing in it steers a terminal.

    >>> escape('{"name": "na\u00efve"}')
    '{"name": "na\\\\u00efve"}'
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(char if " " <= char <= "~" or char == "\n" else _escaped(ord(char)) for char in text)


def report_schema() -> dict[str, Any]:
    """The JSON Schema of a report."""
    import msgspec

    from envcheck.core.report import REPORT_SCHEMA

    schema = msgspec.json.schema(Report)
    schema["title"] = f"envcheck report, schema {REPORT_SCHEMA}"
    return schema


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _repaired(item) for key, item in value.items()}
    return [_repaired(item) for item in value] if isinstance(value, list) else value


def _escaped(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
