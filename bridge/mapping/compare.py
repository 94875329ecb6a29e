"""What another mapping would make of a message: two explanations side by side, field by field."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.mapping.explain import ExplainedField, Explanation

MESSAGE = "message"
"""The heading of what is said of the message as a whole: its refusal and its warnings."""
_NUMBERS = ("placer", "filler", "accession", "procedure_id", "step_id")


@dataclass(frozen=True, slots=True)
class Change:
    """One field that comes out otherwise. `old_line` and `new_line` are `file:line` of the path that won, with the
    line of the table row where there is one; '' where the field had no value."""

    heading: str
    name: str
    old: str
    new: str
    old_line: str = ""
    new_line: str = ""


def compare(old: Explanation, new: Explanation) -> tuple[Change, ...]:
    """What differs, in the order of the message. A value that comes out the same by another path is no change."""
    before = {(one.heading, one.name): one for one in old.fields}
    after = {(one.heading, one.name): one for one in new.fields}
    found = [change for key in dict.fromkeys((*before, *after)) if (change := _change(before.get(key), after.get(key)))]
    if old.refusal != new.refusal:
        found.append(Change(MESSAGE, "refused", old.refusal, new.refusal))
    found += [Change(MESSAGE, "warning", text, "") for text in old.warnings if text not in new.warnings]
    found += [Change(MESSAGE, "warning", "", text) for text in new.warnings if text not in old.warnings]
    return tuple(found)


def _change(old: ExplainedField | None, new: ExplainedField | None) -> Change | None:
    before, after = _told(old), _told(new)
    one = new or old
    if before == after or one is None:
        return None
    return Change(one.heading, one.name, before, after, _line(old), _line(new))


def _told(one: ExplainedField | None) -> str:
    """The value, or why there is none."""
    if one is None:
        return ""
    return one.value or (f"({one.fault})" if one.fault else "")


def _line(one: ExplainedField | None) -> str:
    if one is None or not (one.path or one.fault):
        return ""
    return f"{one.line}, {one.table_line}" if one.table_line else one.line


def numbers(explanation: Explanation, heading: str) -> str:
    """The numbers by which a person knows the order behind a heading: `order (group 2)` and its like."""
    group = heading.partition("(")[2]
    told = {
        one.name: one.value
        for one in explanation.fields
        if one.value and one.name in _NUMBERS and group and one.heading.endswith(f"({group}")
    }
    return ", ".join(f"{name.replace('_', ' ')} {told[name]}" for name in _NUMBERS if name in told)
