"""`bridge explain`: which path, table row and file line gave each value. It walks the plan that messages meet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.patient import DELETED, PersonName
from bridge.mapping.apply import Found, Rule, Section
from bridge.mapping.source import Source

_BOLD, _DIM, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class ExplainedField:
    """One field of ours. `path`, `value` and `table_row` are '' where the message says nothing; `line` is the
    `file:line` of the path that won, else of the row; `fault` says why a value cannot be used."""

    heading: str
    name: str
    value: str
    path: str
    transform: str
    table: str
    table_row: str
    table_line: str
    line: str
    source: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a message became. `warnings` and `refusal` are those of the reading itself."""

    fields: tuple[ExplainedField, ...]
    warnings: tuple[str, ...] = ()
    refusal: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        return {"fields": [asdict(f) for f in self.fields], "warnings": list(self.warnings), "refusal": self.refusal}


def explain_section(section: Section, source: Source, heading: str) -> list[ExplainedField]:
    """Every rule of the section, in its order, found or not."""
    return [_explain(rule, source, heading) for rule in section.rules]


def _explain(rule: Rule, source: Source, heading: str) -> ExplainedField:
    found = rule.find(source)
    row = rule.row(source, found.path) if found else None
    return ExplainedField(
        heading=heading,
        name=rule.name,
        value=shown(found.value) if found else "",
        path=str(found.path) if found else "",
        transform=rule.as_name,
        table=rule.table.name if rule.table else "",
        table_row=f"{row.sent} -> {row.ours or '(empty)'}" if row else "",
        table_line=str(row.mark) if row else "",
        line=str(found.mark if found else rule.mark),
        source=rule.source,
        fault=_fault(rule, found, source),
    )


def _fault(rule: Rule, found: Found | None, source: Source) -> str:
    if found is None:
        return "required, and empty" if rule.required else ""
    if found.fault:
        return str(found.fault)
    if found.value == "" and rule.table and rule.row(source, found.path) is None:
        return f"'{found.path.text(source)}' is not in the table"
    return ""


def shown(value: object) -> str:
    """A value of ours in one line."""
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(shown(one) for one in value)
        case PersonName():
            return value.dicom
        case Identifier():
            more = ", ".join(filter(None, (value.issuer, value.type)))
            return f"{value.value} ({more})" if more else value.value
        case Code():
            return f"{value.value} {value.scheme} '{value.meaning}'"
        case datetime():
            return value.isoformat(" ")
    return "(deleted)" if value == DELETED else str(value).replace("\n", " / ")


def render(explanation: Explanation, *, colour: bool = False, empty: bool = False) -> str:
    """Aligned columns under headings; `empty` also lists what the message does not say. `colour` is for a terminal."""
    fields = [one for one in explanation.fields if empty or one.path or one.fault]
    width = max((len(one.name) for one in fields), default=0)
    path_width = max((len(one.path) for one in fields), default=0)
    value_width = min(48, max((len(_printable(one.value)) for one in fields), default=0))
    lines: list[str] = []
    heading = ""
    for one in fields:
        if one.heading != heading:
            heading = one.heading
            lines += ["", _painted(heading, _BOLD, colour)] if lines else [_painted(heading, _BOLD, colour)]
        value, path = _printable(one.value).ljust(value_width), one.path.ljust(path_width)
        head = f"  {one.name.ljust(width)}  {value}  {path}"
        lines.append(head + "  " + _painted(_provenance(one), _DIM, colour))
        if one.fault:
            lines.append(" " * (width + 4) + _painted("! " + _printable(one.fault), _RED, colour))
    for warning in explanation.warnings:
        lines += ["", _painted("warning: " + _printable(warning), _RED, colour)]
    if explanation.refusal:
        lines += ["", _painted("refused: " + _printable(explanation.refusal), _RED, colour)]
    return "\n".join(lines) + "\n"


def _provenance(one: ExplainedField) -> str:
    row = f"  {one.table}: {_printable(one.table_row)} ({one.table_line})" if one.table_row else ""
    return f"{one.transform}  {one.line}{row}"


def _printable(text: str) -> str:
    """A message may hold terminal escapes."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _painted(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{_PLAIN}" if colour else text
