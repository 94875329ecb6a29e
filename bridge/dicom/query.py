"""C-FIND identifiers: the request becomes keys and a shape, an entry an answer of that shape (PS3.4 K.6.1.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from bridge.dicom import charset
from bridge.dicom.header import items, text
from bridge.dicom.model import (
    CODE,
    CODE_VALUE,
    LONG_CODE_VALUE,
    STEP,
    STEP_SEQUENCE,
    TOP,
    URN_CODE_VALUE,
    ZONE,
    Row,
    further,
)
from bridge.dicom.model import KEY_TAGS as KEY_TAGS
from bridge.dicom.walk import ODD
from bridge.domain.identity import Issuers
from bridge.domain.keys import ItemKey, is_universal
from bridge.domain.patient import PersonName
from bridge.domain.worklist import WorklistEntry, WorklistKeys, utc_offset
from bridge.errors import BadValue
from bridge.mapping.transliteration import NONE, Transliteration

CHARACTER_SET = 0x00080005
_DATE = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?)?(\.[0-9]{1,6})?")
_MIDNIGHT = re.compile(r"24(00(00(\.0+)?)?)?")
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]{1,3})?|[+-]?[0-9]+\.")
_UID = re.compile(r"[0-9.]{1,64}")
_SHORT = dict.fromkeys(("AE", "CS", "SH", "DA", "TM", "DS", "US"), 64)
_MOST_KEY = {**_SHORT, "PN": 4 * (3 * 64 + 2), "UI": 64 * 1024, "UC": 1024, "UR": 1024, "UT": 1024}
"""Letters of a key by VR: about four times what a value has (PS3.5 6.2), for wild cards and padding. A longer one finds
nothing, and would be compared with every entry."""
_MOST_WORDS = 256
"""The same of LO, and of texts of many lines."""
_PATTERN = frozenset("*?\\")


@dataclass(frozen=True, slots=True)
class Query:
    """A request as we understand it. `warn`: a key that we do not match by carried a value (FF01)."""

    keys: WorklistKeys
    warn: bool


def read_query(request: Dataset, issuers: Issuers) -> Query:
    """The matching keys of an identifier; `BadValue` (A900, `where` the tag) for what cannot be understood.

    Unknown and private elements, group lengths and the Query/Retrieve Level are ignored (rule 6). Text is read by the
    request's own character set; AE titles lose their padding.
    """
    reader = _Reader()
    found = reader.keys(request, TOP) | reader.keys(_item(request, STEP_SEQUENCE), STEP)
    found["patient_issuer"] = _issuer(found, issuers)
    return Query(WorklistKeys(**found), reader.warn)


class _Reader:
    """Reads keys, and remembers whether one was passed over."""

    def __init__(self) -> None:
        self.warn = False

    def keys(self, data: Dataset, rows: Mapping[int, Row]) -> dict[str, Any]:
        """By the names of the rows."""
        found: dict[str, Any] = {}
        for tag in sorted(data.keys()):
            row = rows.get(tag)
            if row is None or not row.match:
                continue
            item = _item(data, tag) if row.vr == "SQ" else None
            if not row.name or row.match == "-":
                self.warn = self.warn or _carries(data, tag)
            else:
                found[row.name] = _key(data, tag, row) if item is None else self._item_key(item, row)
        return found

    def _item_key(self, item: Dataset, row: Row) -> ItemKey:
        found = self.keys(item, row.items)
        return tuple((name, key) for name, key in found.items() if not is_universal(key))


class Part(NamedTuple):
    """An attribute that an answer shall hold. `parts` are those of a sequence's items; `named`: asked for by name, not
    with the whole item."""

    tag: int
    row: Row
    parts: tuple[Part, ...] = ()
    named: bool = True


class Shape:
    """What a request asks for, and the answers to it: read once, filled for every entry."""

    def __init__(self, request: Dataset) -> None:
        self.character_set_asked = CHARACTER_SET in request
        self.top = tuple(_parts(request, TOP))
        # What a site's mapping may tell on top; of sequences it knows codes alone.
        self.further = tuple(
            Part(tag, TOP.get(tag, Row("", "3")), _inner(request, tag, CODE))
            for tag in sorted(request.keys())
            if not (tag in TOP and TOP[tag].name)
        )
        self.step = _inner(request, STEP_SEQUENCE, STEP) if STEP_SEQUENCE in request else ()


def _parts(asked: Dataset, rows: Mapping[int, Row]) -> list[Part]:
    return [Part(tag, rows[tag], _inner(asked, tag, rows[tag].items)) for tag in sorted(asked.keys()) if tag in rows]


def _inner(asked: Dataset, tag: int, rows: Mapping[int, Row]) -> tuple[Part, ...]:
    """What an item shall hold: all of it when no item or an empty one asks (rule 3), else what that names."""
    item = next(iter(items(asked, tag)), Dataset())
    return tuple(_parts(item, rows)) if len(item) else _whole(rows)


def _whole(rows: Mapping[int, Row]) -> tuple[Part, ...]:
    return tuple(Part(tag, rows[tag], _whole(rows[tag].items), named=False) for tag in sorted(rows))


def response(
    entry: WorklistEntry,
    asked: Dataset | Shape,
    character_set: str,
    issuers: Issuers,
    *,
    utf8: bool = True,
    table: Transliteration = NONE,
) -> Dataset:
    """The answer for an entry: the attributes asked for and no others, (0008,0005) when needed (K.6.1.2.2).

    Raises `BadValue` (code `charset.NOT_READABLE`) when a device that cannot have UTF-8 cannot be told it whole.
    """
    shape = asked if isinstance(asked, Shape) else Shape(asked)

    def told(part: Part) -> Any:
        row = part.row
        if row.name:
            return row.attribute.told(entry, issuers)
        return utc_offset(entry) if part.tag == ZONE else ""

    answer = _filled(shape.top, told)
    if entry.attributes:
        _add_further(answer, entry, shape)
    if shape.step:
        answer.add_new(STEP_SEQUENCE, "SQ", Sequence([_filled(shape.step, told)]))
    if not len(answer):
        # Nothing of what was asked is known; an identifier without any attribute is none on the wire.
        answer.SpecificCharacterSet = character_set.split("\\") if character_set else "ISO_IR 100"
        return answer
    charset.settle(answer, character_set, asked=shape.character_set_asked, utf8=utf8, table=table)
    return answer


def _add_further(answer: Dataset, entry: WorklistEntry, shape: Shape) -> None:
    for part in shape.further:
        kept = further(entry, part.tag)
        if kept is None:
            continue
        vr, value = kept
        if vr == "SQ":
            answer.add_new(part.tag, vr, Sequence([_told_item(item, part.parts) for item in value]))
        else:
            answer.add_new(part.tag, vr, _written(value, vr) or None)


def _filled(parts: tuple[Part, ...], told: Callable[[Part], Any]) -> Dataset:
    data = Dataset()
    for part in parts:
        tag, vr = part.tag, part.row.vr
        value = told(part)
        if not value:
            if part.row.required:
                data.add_new(tag, vr, None if vr != "SQ" else Sequence())
        elif vr == "SQ":
            data.add_new(tag, vr, Sequence([_told_item(item, part.parts) for item in value]))
        else:
            data.add_new(tag, vr, _written(value, vr))
    return data


def _told_item(item: Mapping[str, Any], parts: tuple[Part, ...]) -> Dataset:
    data = _filled(parts, lambda part: item.get(part.row.name, ""))
    if any(part.tag == CODE_VALUE for part in parts):
        # A code is told in that attribute of three that can hold it: who asks for one asks for a code.
        for tag, vr, name in ((LONG_CODE_VALUE, "UC", "long_code"), (URN_CODE_VALUE, "UR", "urn_code")):
            if name in item:
                data.add_new(tag, vr, item[name])
    return data


def _written(value: Any, vr: str) -> Any:
    if isinstance(value, PersonName):
        return value.dicom
    if isinstance(value, tuple):
        return list(value)
    return int(value) if vr == "US" else value


def _item(data: Dataset, tag: int) -> Dataset:
    """The one item of a sequence key; an empty one when there is none (K.6.1.2: more than one cannot be meant)."""
    if tag not in data:
        return Dataset()
    try:
        element = data[tag]
        value = element.value
    except ODD:
        raise BadValue("not a sequence", where=where(tag)) from None
    if element.VR != "SQ":
        if value:
            raise BadValue("not a sequence", where=where(tag))
        return Dataset()
    if len(value or ()) > 1:
        raise BadValue("more than one item", where=where(tag))
    return next(iter(value or ()), Dataset())


def _key(data: Dataset, tag: int, row: Row) -> Any:
    key = _text(data, tag)
    if len(key) > _MOST_KEY.get(row.vr, _MOST_WORDS):
        raise BadValue("a key longer than any value", where=where(tag))
    if "\ufffd" in key:
        raise BadValue("a key is not in its character set", where=where(tag))
    match row.vr:
        case "DA":
            return _range(key.replace(".", "").replace(" ", ""), _DATE, tag)  # ACR-NEMA 2.0 has dots
        case "TM":
            return _range(_times(key), _TIME, tag)
        case "DS" | "US":
            return _checked(key, _NUMBER, tag)
        case "UI":
            return _uids(key, tag)
    return key


def _text(data: Dataset, tag: int) -> str:
    """A key's text, its values joined by a backslash. Numbers as they were sent: a parser chokes on a `*` of one."""
    raw = data.get_item(tag)
    try:
        if isinstance(raw, RawDataElement) and (raw.VR or "") in ("", "DS") and _is_decimal(tag):
            return (raw.value or b"").decode("ascii").strip(" \0")
        element = data[tag]
        if element.VR == "SQ":
            raise BadValue("a sequence, where a value is meant", where=where(tag))
        value = element.value
        if value is None:
            return ""
        whole = "\\".join(map(str, value)) if isinstance(value, MultiValue | list | tuple) else str(value)
    except ODD:
        raise BadValue("not a value of its VR", where=where(tag)) from None
    return whole.strip(" \0\t\r\n")


def _is_decimal(tag: int) -> bool:
    return tag in TOP and TOP[tag].vr == "DS"


def _times(key: str) -> str:
    """Without the colons of ACR-NEMA 2.0 times; 24:00 is the day's last second."""
    parts = key.replace(":", "").replace(" ", "").split("-")
    return "-".join("235959" if _MIDNIGHT.fullmatch(part) else part for part in parts)


def _range(key: str, form: re.Pattern[str], tag: int) -> str:
    """A key or range; stars ask for everything, as some devices mean it."""
    if is_universal(key):
        return ""
    ends = key.split("-")
    if len(ends) > 2 or not any(ends) or not all(form.fullmatch(end) for end in ends if end):
        raise BadValue("not a date, time or range", where=where(tag))
    return key


def _checked(key: str, form: re.Pattern[str], tag: int) -> str:
    if is_universal(key):
        return ""
    if not form.fullmatch(key):
        raise BadValue("not a number", where=where(tag))
    return key


def _uids(key: str, tag: int) -> tuple[str, ...]:
    """A list of UIDs; () when nothing or a star is among them."""
    if is_universal(key):
        return ()
    uids = tuple(uid for uid in (part.strip(" \0") for part in key.split("\\")) if uid)
    if not all(map(_UID.fullmatch, uids)):
        raise BadValue("not a UID", where=where(tag))
    return uids


def _issuer(found: Mapping[str, Any], issuers: Issuers) -> str:
    """The authority of the Patient ID under our own name; a pattern stays one."""
    key = found.get("patient_issuer", "")
    qualifiers = dict(found.get("patient_issuer_qualifiers", ()))
    kind = qualifiers.get("universal_id_type", "")
    universal = qualifiers.get("universal_id", "") if kind else ""
    if _PATTERN & set(key + universal + kind) or not (key or universal):
        return str(key)
    return issuers.canonical(key, universal, kind)


def _carries(data: Dataset, tag: int) -> bool:
    """Whether an attribute, or any inside of it, has a value that asks for something."""
    nested = items(data, tag)
    if nested:
        return any(_carries(item, inner) for item in nested for inner in sorted(item.keys()))
    return not is_universal(text(data, tag).replace("[]", ""))


def where(tag: int) -> str:
    """A tag as it is printed."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
