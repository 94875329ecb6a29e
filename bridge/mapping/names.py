"""HL7 names to the component groups of a PN (PS3.5 6.2.1).

HL7 writes family, given, middle, suffix, prefix; DICOM writes family, given, middle, prefix, suffix. The degree is
dropped: it would make one person's names differ from message to message.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.domain.patient import DELETED, PersonName
from bridge.mapping.source import Repetition

_NOT_IN_A_PART = str.maketrans(dict.fromkeys("^=\\", " "))
_GROUPS = {"A": 0, "": 0, "I": 1, "P": 2}


def _clean(text: str) -> str:
    """A part without the marks that mean something in a PN, on one line."""
    return "" if text == DELETED else " ".join(text.translate(_NOT_IN_A_PART).split())


def _group(family: str, given: str, middle: str, suffix: str, prefix: str) -> str:
    return "^".join(_clean(part) for part in (family, given, middle, prefix, suffix)).rstrip("^")


def _whole(groups: dict[int, str]) -> PersonName | None:
    return PersonName(groups.get(0, ""), groups.get(1, ""), groups.get(2, "")) if any(groups.values()) else None


def read_person(repetitions: Sequence[Repetition]) -> PersonName | None:
    """XPN: the legal name (XPN-7 `L`), in the groups that XPN-8 tells (table 4000), in any order.

    Repetitions that name no type count as legal unless one says `L` of itself; aliases, maiden names and the like
    are used only when there is nothing else, and then the first of them alone.
    """
    written = [one for one in repetitions if _group(*(one.get(c) for c in range(1, 6)))]
    for one in written:
        if any("=" in one.get(c) for c in range(1, one.components + 1)):
            return _dicom_style(one)
    legal = [one for one in written if one.get(7) == "L"] + [one for one in written if not one.get(7)]
    groups: dict[int, str] = {}
    for one in legal or written[:1]:
        place = _GROUPS.get(one.get(8))
        if place is not None and place not in groups:
            groups[place] = _group(*(one.get(c) for c in range(1, 6)))
    return _whole(groups)


def _dicom_style(one: Repetition) -> PersonName | None:
    """A PN put into PID-5 as it is, `Yamada^Tarou=山田^太郎`: its parts are in DICOM's order already."""
    text = "^".join(one.get(c) for c in range(1, one.components + 1))
    groups = ["^".join(_clean(p) for p in group.split("^")[:5]).rstrip("^") for group in text.split("=")[:3]]
    return _whole(dict(enumerate(groups)))


def read_provider(repetitions: Sequence[Repetition]) -> PersonName | None:
    """XCN: the first person named; further repetitions count only as other groups (XCN-15) of that person."""
    groups: dict[int, str] = {}
    for one in repetitions:
        group = _group(*(one.get(c) for c in range(2, 7)))
        place = _GROUPS.get(one.get(15))
        if group and place is not None and place not in groups and one.get(1) == repetitions[0].get(1):
            groups[place] = group
    return _whole(groups)


def read_cn(repetitions: Sequence[Repetition]) -> PersonName | None:
    """The CN inside an NDL (OBR-32 to OBR-35): subcomponents of component 1, or an XCN as old senders do."""
    if not repetitions:
        return None
    first = repetitions[0]
    group = _group(*(first.get(1, s) for s in range(2, 7)))
    if group:
        return PersonName(group)
    return None if first.get(2).isdigit() else read_provider(repetitions[:1])
