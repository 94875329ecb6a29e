"""What another mapping would make of a message: two explanations side by side, field by field."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ConfigurationError
from bridge.mapping.compile import Mappings
from bridge.mapping.context import MappingContext
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


def load_with(directory: Path, overlay: Path, context: MappingContext) -> Mappings:
    """The mappings of a directory with a file, wherever it lies, as the site's overlay. Raises ConfigurationError.

    The loader knows sites by name: it is given a directory like this one in which the file is the only site.
    """
    site = re.sub(r"[^A-Za-z0-9_-]", "-", overlay.stem) or "overlay"
    with tempfile.TemporaryDirectory() as folder:
        like = Path(folder) / directory.name
        (like / "sites").mkdir(parents=True)
        for child in directory.iterdir():
            if child.name != "sites":
                (like / child.name).symlink_to(child.resolve())
        (like / "sites" / f"{site}.yaml").symlink_to(overlay.resolve())
        try:
            return Mappings.load(like, site, context)
        except ConfigurationError as faults:
            shown = f"{like.name}/sites/{site}.yaml"
            raise ConfigurationError([line.replace(shown, str(overlay), 1) for line in faults.faults]) from None
