"""What a diagnosis says. Plain data."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from envcheck.core.report import Evidence, Fix, Report

DIAGNOSIS_SCHEMA = 1


class Cause(Struct, omit_defaults=True, kw_only=True):
    """One thing that can be the reason, with what speaks for it."""

    rule: str
    """Id of the cause, as in reports."""
    confidence: str
    """``high``, ``medium`` or ``low``."""
    message: str
    """One sentence."""
    subject: str = ""
    evidence: list[Evidence] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)
    explains: list[str] = field(default_factory=list)
    """Ids of causes that follow from this one."""
    signatures: list[str] = field(default_factory=list)
    """Signatures of the text that named it; empty: the facts alone did."""
    processes: list[str] = field(default_factory=list)
    """Who wrote these messages, in the log of several processes (``rank 3``); empty where that is not known."""


class Recognised(Struct, omit_defaults=True, kw_only=True):
    """A message that was understood and that nothing of the environment is to blame for."""

    signature: str
    line: str
    means: str
    cure: str = ""
    """What helps; empty where nothing general can be said."""
    url: str = ""
    processes: list[str] = field(default_factory=list)
    """Who wrote it, in the log of several processes."""


class Diagnosis(Struct, omit_defaults=True, kw_only=True):
    """Causes, the likeliest first; none when the environment is not to blame, or nothing is known."""

    verdict: str
    """``environment`` (a cause of medium or high confidence), ``not-environment`` (the message is a fault of the
    program, or harmless, and the facts show nothing), or ``unknown``."""
    causes: list[Cause] = field(default_factory=list)
    harmless: list[Recognised] = field(default_factory=list)
    """Messages that are normal."""
    program: list[Recognised] = field(default_factory=list)
    """Messages that point to the program, its input or its use."""
    limits: list[Recognised] = field(default_factory=list)
    """Messages of a machine that ran out of something: memory, shared memory, disk, threads."""
    notes: list[str] = field(default_factory=list)
    """What was left out of the text, and what else has to be said."""
    report: Report | None = None
    """The check of the facts, those of the message included; absent when there were none."""
    schema: int = DIAGNOSIS_SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python objects."""
        import msgspec

        result: dict[str, Any] = msgspec.to_builtins(self)
        return {"schema": self.schema, **result}

    def __str__(self) -> str:
        from envcheck.render.diagnosis import render_diagnosis

        return str(render_diagnosis(self, width=80, color=False, encoding="utf-8"))


class Match(Struct, kw_only=True):
    """A signature that was found in a text."""

    signature: dict[str, Any]
    """The row of the table."""
    line: str
    """The line in which it was found."""
    position: int
    values: dict[str, str]
    """What the pattern captured."""
    span: tuple[int, int] = (0, 0)
    """Where the part of the text begins and ends that was matched."""
    processes: list[str] = field(default_factory=list)
    """Who wrote it, in the log of several processes."""

    def filled(self, text: str) -> str:
        """``{name}`` replaced by what was captured; what was not stays."""
        for name, value in self.values.items():
            text = text.replace("{" + name + "}", value.strip())
        return text

    def sentence(self, text: str | None) -> str:
        """The same; a sentence in which something is missing is not said."""
        found = self.filled(text or "")
        return "" if "{" in found else found


def diagnosis_schema() -> dict[str, Any]:
    """The JSON Schema of the command's JSON."""
    import msgspec

    schema = msgspec.json.schema(Diagnosis)
    schema["title"] = f"envcheck diagnosis, schema {DIAGNOSIS_SCHEMA}"
    return schema
