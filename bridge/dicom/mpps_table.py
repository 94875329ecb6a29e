"""PS3.4 Table F.7.2-1 as data: what a performed procedure step must hold, when, and what may change.

One table for the checks of N-CREATE and N-SET, for N-GET (Table F.8.2-1) and for the conformance statement. What
`deviations` looks at is the DICOM JSON model (PS3.18 F), so that it may run inside a transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_description, dictionary_VR

from bridge.errors import BadInput, BadValue, MissingField
from bridge.uids import is_uid

Attributes: TypeAlias = dict[str, Any]
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?")


class Stage(Enum):
    CREATED = "N-CREATE"
    CHANGED = "N-SET"
    ENDED = "COMPLETED or DISCONTINUED"


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute. `create`: its type in N-CREATE (1, 1C, 2, 3); `settable`: N-SET may hold it; `final`: its type once
    the step has ended, '' where nothing more is asked.

    `vital`: a step without it is never taken, for the schedule hangs on it; anything else is a matter of
    `[performed] strict`. `instead`: tags that stand in for this one.
    """

    tag: str
    create: str
    settable: bool = True
    final: str = ""
    items: tuple[Row, ...] = ()
    vital: bool = False
    instead: tuple[str, ...] = ()

    @property
    def vr(self) -> str:
        return dictionary_VR(int(self.tag, 16))

    @property
    def name(self) -> str:
        return dictionary_description(int(self.tag, 16))

    @property
    def get(self) -> str:
        """Its type in the answer to an N-GET that asks for it (Table F.8.2-1): what is there is told."""
        return f"{self.create}, {self.final} once ended" if self.final not in ("", self.create) else self.create


class Deviation(NamedTuple):
    """What is wrong with an attribute: `what` is `missing`, `empty`, `vr` or `value`; `where` as `(gggg,eeee)`."""

    what: str
    where: str
    vital: bool

    def fault(self) -> BadInput:
        """0120, 0121 or 0106 (`status.TABLE`)."""
        if self.what == "missing":
            return MissingField("a required attribute is missing", where=self.where)
        if self.what == "empty":
            return MissingField("a required attribute is empty", where=self.where, code="missing-value")
        return BadValue(f"not a valid {'value representation' if self.what == 'vr' else 'value'}", where=self.where)


def _fixed(tag: str, create: str, *items: Row, vital: bool = False) -> Row:
    return Row(tag, create, settable=False, items=items, vital=vital)


_CODE = (
    Row("00080100", "1", instead=("00080119", "00080120")),
    Row("00080102", "1", instead=("00080120",)),
    Row("00080103", "3"),
    Row("00080104", "3"),
)
_REFERENCE = (Row("00081150", "1"), Row("00081155", "1"))
_ISSUER = (Row("00400031", "3"), Row("00400032", "3"), Row("00400033", "3"))
_SCHEDULED = (
    Row("0020000D", "1", vital=True),
    Row("00081110", "2", items=_REFERENCE),
    Row("00080050", "2"),
    Row("00080051", "3", items=_ISSUER),
    Row("00402016", "3"),
    Row("00400026", "3", items=_ISSUER),
    Row("00402017", "3"),
    Row("00400027", "3", items=_ISSUER),
    Row("00401001", "2"),
    Row("00321060", "2"),
    Row("00321064", "3", items=_CODE),
    Row("00400009", "2"),
    Row("00400007", "2"),
    Row("00400008", "2", items=_CODE),
)
_SERIES = (
    Row("00081050", "2"),
    Row("00181030", "1"),
    Row("00081070", "2"),
    Row("0020000E", "1", vital=True),
    Row("0008103E", "2"),
    Row("00080054", "2"),
    Row("00081140", "2", items=_REFERENCE),
    Row("00400220", "2", items=_REFERENCE),
)
TABLE = (
    Row("00080005", "1C"),
    # Performed Procedure Step Relationship
    _fixed("00400270", "1", *_SCHEDULED, vital=True),
    _fixed("00100010", "2"),
    _fixed("00100020", "2"),
    _fixed("00100021", "3"),
    _fixed("00100024", "3"),
    _fixed("00100030", "2"),
    _fixed("00100040", "2"),
    _fixed("00081120", "2", *_REFERENCE),
    _fixed("00380010", "3"),
    # Performed Procedure Step Information
    _fixed("00400253", "1", vital=True),
    _fixed("00400241", "1", vital=True),
    _fixed("00400242", "2"),
    _fixed("00400243", "2"),
    _fixed("00400244", "1", vital=True),
    _fixed("00400245", "1", vital=True),
    Row("00400252", "1", final="1", vital=True),
    Row("00400254", "2"),
    Row("00400255", "2"),
    Row("00081032", "2", items=_CODE),
    Row("00400250", "2", final="1"),
    Row("00400251", "2", final="1"),
    Row("00400280", "3"),
    Row("00400281", "3", final="3", items=_CODE),
    # Image Acquisition Results
    _fixed("00080060", "1", vital=True),
    _fixed("00200010", "2"),
    Row("00400260", "2", items=_CODE),
    Row("00400340", "2", final="1", items=_SERIES),
    # Radiation Dose, Billing and Material Management
    Row("00400300", "3"),
    Row("00400301", "3"),
    Row("00181110", "3"),
    Row("00400306", "3"),
    Row("00400302", "3"),
    Row("00408302", "3"),
    Row("00400303", "3"),
    Row("0018115E", "3"),
    Row("00400310", "3"),
    Row("0040030E", "3"),
    Row("00400320", "3"),
    Row("00400321", "3"),
    Row("00400324", "3"),
)
FIXED = frozenset(row.tag for row in TABLE if not row.settable)
"""What stands from the creation on."""


def deviations(attributes: Attributes, stage: Stage) -> Iterator[Deviation]:
    """Everything that is not as the table wants it: all of a new step, what an N-SET holds, what an end asks for."""
    for row in TABLE:
        if stage is Stage.ENDED:
            yield from _of(attributes, row, row.final, inside=False)
        elif stage is Stage.CREATED or (row.settable and row.tag in attributes):
            yield from _of(attributes, row, row.create)


def _of(attributes: Attributes, row: Row, kind: str, *, inside: bool = True) -> Iterator[Deviation]:
    if not filled(attributes, row.tag):
        absent = row.tag not in attributes
        if (kind == "1" or (kind == "2" and absent)) and not any(filled(attributes, tag) for tag in row.instead):
            yield Deviation("missing" if absent else "empty", where(row.tag), row.vital)
        return
    if not inside:
        return
    if attributes[row.tag].get("vr", row.vr) != row.vr:
        # Harms nobody as long as the value can be read.
        yield Deviation("vr", where(row.tag), False)
    if not _sound(row.vr, text(attributes, row.tag)):
        yield Deviation("value", where(row.tag), row.vital)
    for item in items(attributes, row.tag):
        for inner in row.items:
            yield from _of(item, inner, inner.create)


def _sound(vr: str, value: str) -> bool:
    """Whether a value is what its VR allows (PS3.5 6.2), of those kinds that the workflow reads; ACR-NEMA's old
    `2026.11.25` and `10:31` too."""
    if vr == "UI":
        return is_uid(value)
    if vr == "DA":
        return date_of(value) != ""
    return vr != "TM" or time_of(value) != ""


def date_of(value: str) -> str:
    """A DA as `YYYYMMDD`, also in ACR-NEMA's form; '' for what is no date."""
    plain = value.replace(".", "") if re.fullmatch(r"\d{4}\.\d{2}\.\d{2}", value) else value
    if not re.fullmatch(r"\d{8}", plain):
        return ""
    try:
        datetime.strptime(plain, "%Y%m%d")  # noqa: DTZ007 - a date alone
    except ValueError:
        return ""
    return plain


def time_of(value: str) -> str:
    """A TM as `HHMMSS`, also in ACR-NEMA's form; '' for what is no time."""
    whole, _, fraction = value.partition(".")
    plain = whole.replace(":", "") if re.fullmatch(r"\d{2}(:\d{2}){1,2}", whole) else whole
    known = _TIME.fullmatch(plain) and (not fraction or fraction.isdecimal())
    return (plain + "0000")[:6] if known else ""


def text(attributes: Attributes, tag: str) -> str:
    """The first value as text; '' when absent or empty."""
    values = attributes.get(tag, {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        return str(first.get("Alphabetic", ""))
    return "" if first is None else str(first).strip()


def items(attributes: Attributes, tag: str) -> list[Attributes]:
    """The items of a sequence that hold anything; real devices send empty ones too."""
    found = attributes.get(tag, {}).get("Value") or []
    return [item for item in found if isinstance(item, dict) and item]


def filled(attributes: Attributes, tag: str) -> bool:
    return bool(items(attributes, tag) or text(attributes, tag))


def where(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})"
