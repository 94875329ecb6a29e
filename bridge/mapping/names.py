"""HL7 names to the component groups of a PN (PS3.5 6.2.1).

HL7 writes family, given, middle, suffix, prefix; DICOM writes family, given, middle, prefix, suffix. The degree is
dropped: it would make one person's names differ from message to message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.domain.patient import DELETED, PersonName
from bridge.errors import BadValue
from bridge.mapping.path import one_line
from bridge.mapping.source import Repetition

_NOT_IN_A_PART = str.maketrans(dict.fromkeys("^=\\", " "))
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_GROUPS = {"A": 0, "": 0, "I": 1, "P": 2}


def _clean(text: str) -> str:
    """A part without the marks that mean something in a PN, on one line.

    Raises BadValue for a control character: it stands where a letter or an apostrophe was, and nobody knows which.
    """
    if text.isalnum() or not text:
        return text
    if not text.isprintable() and _CONTROLS.search(text):
        raise BadValue("a name with a control character")
    if "^" in text or "=" in text or "\\" in text:
        text = text.translate(_NOT_IN_A_PART)
    return "" if text == DELETED else one_line(text)


def _at(values: list[str], component: int) -> str:
    return values[component - 1] if component <= len(values) else ""


def _group(parts: list[str]) -> str:
    """Family, given, middle, suffix, prefix, as HL7 has them."""
    cleaned = [_clean(part) if part else "" for part in parts[:5]]
    if len(cleaned) > 3:
        cleaned[3:] = [*cleaned[4:], cleaned[3]] if len(cleaned) == 5 else ["", cleaned[3]]
    return "^".join(cleaned).rstrip("^")


def _whole(groups: dict[int, str]) -> PersonName | None:
    name = PersonName(groups.get(0, ""), groups.get(1, ""), groups.get(2, ""))
    return name if name else None


def read_person(repetitions: Sequence[Repetition]) -> PersonName | None:
    """XPN: the legal name (XPN-7 `L`), in the groups that XPN-8 tells (table 4000), in any order.

    Repetitions that name no type count as legal unless one says `L` of itself; aliases, maiden names and the like
    are used only when there is nothing else, and then the first of them alone.
    """
    written = [(values, group) for one in repetitions if (group := _group(values := one.values()))]
    for values, _ in written:
        if "=" in "".join(values):
            return _dicom_style(values)
    legal = [one for one in written if _at(one[0], 7) == "L"] + [one for one in written if not _at(one[0], 7)]
    groups: dict[int, str] = {}
    for values, group in legal or written[:1]:
        place = _GROUPS.get(_at(values, 8))
        if place is not None:
            groups.setdefault(place, group)
    return _whole(groups)


def _dicom_style(values: list[str]) -> PersonName | None:
    """A PN put into PID-5 as it is, `Yamada^Tarou=山田^太郎`: its parts are in DICOM's order already."""
    text = "^".join(values)
    groups = ["^".join(_clean(p) for p in group.split("^")[:5]).rstrip("^") for group in text.split("=")[:3]]
    return _whole(dict(enumerate(groups)))


def read_provider(repetitions: Sequence[Repetition]) -> PersonName | None:
    """XCN: the first person named; further repetitions count only as other groups (XCN-15) of that person."""
    groups: dict[int, str] = {}
    for one in repetitions:
        values = one.values()
        group, place = _group(values[1:6]), _GROUPS.get(_at(values, 15))
        if group and place is not None and values[0] == repetitions[0].get(1):
            groups.setdefault(place, group)
    return _whole(groups)


def read_provider_without_id(repetitions: Sequence[Repetition]) -> PersonName | None:
    """An XCN whose sender leaves the id out and begins with the family name; the first person."""
    group = _group(repetitions[0].values()[:5])
    return PersonName(group) if group else None


def may_lack_id(repetition: Repetition) -> bool:
    """Whether an XCN looks like `SMITH^JOHN`: letters for an id, and no given name. Nobody can tell it from the login
    of a doctor whose given name is left out."""
    values = repetition.values()
    first = values[0].strip()
    lettered = any(letter.isalpha() for letter in first) and not any(letter.isdigit() for letter in first)
    return lettered and bool(_at(values, 2)) and not _at(values, 3)


def read_cn(repetitions: Sequence[Repetition]) -> PersonName | None:
    """The CN inside an NDL (OBR-32 to OBR-35): subcomponents of component 1, or an XCN as old senders do."""
    if not repetitions:
        return None
    first = repetitions[0]
    group = _group(first.subcomponents(1)[1:6])
    if group:
        return PersonName(group)
    return None if first.get(2).isdigit() else read_provider(repetitions[:1])
