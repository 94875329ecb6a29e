"""C-FIND identifiers: the request becomes keys and a shape, an entry an answer of that shape (PS3.4 K.6.1.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bridge.dicom import charset
from bridge.dicom.fitting import fit_item, fitted
from bridge.dicom.header import items, text
from bridge.dicom.model import NOT_MATCHED_STEP, NOT_MATCHED_TOP, STEP, STEP_SEQUENCE, TOP, Attribute, further
from bridge.dicom.walk import ODD
from bridge.domain.identity import Issuers
from bridge.domain.worklist import WorklistEntry, WorklistKeys
from bridge.errors import BadValue
from bridge.mapping.transliteration import NONE, Transliteration

CHARACTER_SET = 0x00080005
_DATE = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?)?(\.[0-9]{1,6})?")
_MOST_KEY = {"AE": 64, "CS": 64, "SH": 64, "LO": 256, "PN": 4 * (3 * 64 + 2), "DA": 64, "TM": 64, "UI": 64 * 1024}
"""Letters of a key by VR: four times what a value has (PS3.5 6.2), for wild cards and padding. A longer one finds
nothing, and would be compared with every entry."""
_TOP_KEYS = {
    "patient_name": 0x00100010,
    "patient_id": 0x00100020,
    "sex": 0x00100040,
    "accession_number": 0x00080050,
    "admission_id": 0x00380010,
    "requested_procedure_id": 0x00401001,
    "requested_procedure_description": 0x00321060,
    "referring_physician": 0x00080090,
    "requesting_physician": 0x00321032,
}
_STEP_KEYS = {
    "station_ae_title": 0x00400001,
    "station_name": 0x00400010,
    "step_location": 0x00400011,
    "modality": 0x00080060,
    "step_id": 0x00400009,
    "step_description": 0x00400007,
    "performing_physician": 0x00400006,
    "step_status": 0x00400020,
}


KEY_TAGS = {
    **_TOP_KEYS,
    **_STEP_KEYS,
    "patient_issuer": 0x00100021,
    "birth_date": 0x00100030,
    "study_instance_uids": 0x0020000D,
    "start_date": 0x00400002,
    "start_time": 0x00400003,
}
"""The tag of each key by its name in `WorklistKeys`."""


@dataclass(frozen=True, slots=True)
class Query:
    """A request as we understand it. `warn`: an optional key that we do not match by carried a value (FF01)."""

    keys: WorklistKeys
    warn: bool


def read_query(request: Dataset, issuers: Issuers) -> Query:
    """The matching keys of an identifier; `BadValue` (A900) for what cannot be understood.

    Unknown and private elements, group lengths and the Query/Retrieve Level are ignored (rule 6). Text is read by the
    request's own character set; AE titles lose their padding.
    """
    step = _step_item(request)
    keys = WorklistKeys(
        **{name: _key(request, tag) for name, tag in _TOP_KEYS.items()},
        **{name: _key(step, tag) for name, tag in _STEP_KEYS.items()},
        patient_issuer=_issuer(_key(request, 0x00100021), issuers),
        birth_date=_dates(request, 0x00100030),
        study_instance_uids=tuple(uid for uid in _key(request, 0x0020000D).split("\\") if uid and uid != "*"),
        start_date=_dates(step, 0x00400002),
        start_time=_times(step, 0x00400003),
    )
    warn = _carries(request, NOT_MATCHED_TOP) or _carries(step, NOT_MATCHED_STEP)
    return Query(keys, warn)


def response(
    entry: WorklistEntry,
    request: Dataset,
    character_set: str,
    issuers: Issuers,
    *,
    utf8: bool = True,
    table: Transliteration = NONE,
) -> Dataset:
    """The answer for an entry: the attributes asked for and no others, (0008,0005) when needed (K.6.1.2.2).

    Raises `BadValue` (code `charset.NOT_READABLE`) when a device that cannot have UTF-8 cannot be told it whole.
    """
    answer = Dataset()
    for tag in sorted(request.keys()):
        if tag == STEP_SEQUENCE:
            asked = next(iter(items(request, STEP_SEQUENCE)), Dataset())
            answer.add_new(tag, "SQ", Sequence([_step(entry, asked, issuers)]))
        elif tag in TOP:
            _add(answer, tag, TOP[tag], entry, request, issuers)
        if tag not in answer and (told := further(entry, tag)):
            _add(answer, tag, told, entry, request, issuers)
    charset.settle(answer, character_set, asked=CHARACTER_SET in request, utf8=utf8, table=table)
    return answer


def _step(entry: WorklistEntry, asked: Dataset, issuers: Issuers) -> Dataset:
    """The one item of (0040,0100): whole for an empty request (rule 3), else what the item names."""
    item = Dataset()
    for tag in sorted(asked.keys()) if len(asked) else STEP:
        if tag in STEP:
            _add(item, tag, STEP[tag], entry, asked, issuers)
    return item


def _add(
    answer: Dataset, tag: int, attribute: Attribute, entry: WorklistEntry, request: Dataset, issuers: Issuers
) -> None:
    value = fitted(tag, attribute.vr, attribute.value(entry, issuers))
    if not value and value != 0:
        if attribute.required:
            answer.add_new(tag, attribute.vr, None if attribute.vr != "SQ" else Sequence())
        return
    if attribute.vr == "SQ":
        asked = next(iter(items(request, tag)), Dataset())
        value = Sequence([_narrowed(fit_item(item), asked) for item in value])
    answer.add_new(tag, attribute.vr, value)


def _narrowed(item: Dataset, asked: Dataset) -> Dataset:
    if not len(asked):
        return item
    kept = Dataset()
    for element in item:
        if element.tag in asked:
            kept.add(element)
    return kept


def _step_item(request: Dataset) -> Dataset:
    if STEP_SEQUENCE not in request:
        return Dataset()
    try:
        element = request[STEP_SEQUENCE]
    except ODD:
        raise BadValue("not a sequence", where="(0040,0100)") from None
    if element.VR != "SQ":
        raise BadValue("not a sequence", where="(0040,0100)")
    if len(element.value or ()) > 1:
        raise BadValue("more than one item", where="(0040,0100)")
    return next(iter(items(request, STEP_SEQUENCE)), Dataset())


def _key(data: Dataset, tag: int) -> str:
    value = text(data, tag)
    if len(value) > _MOST_KEY[(TOP.get(tag) or STEP[tag]).vr]:
        raise BadValue("a key longer than any value", where=where(tag))
    if "\ufffd" in value:
        raise BadValue("a key is not in its character set", where=where(tag))
    return value


def _issuer(key: str, issuers: Issuers) -> str:
    return issuers.canonical(key) if key and not set("*?") & set(key) else key


def _dates(data: Dataset, tag: int) -> str:
    """A DA key or range without the dots of ACR-NEMA 2.0 dates; `*` asks for everything, as some devices mean it."""
    key = _key(data, tag).replace(".", "").replace(" ", "")
    return "" if key == "*" else _range(key, _DATE, tag)


def _times(data: Dataset, tag: int) -> str:
    """A TM key or range without the colons of ACR-NEMA 2.0 times; 24:00 is the day's last second."""
    key = _key(data, tag).replace(":", "").replace(" ", "")
    if key == "*":
        return ""
    parts = ["235959" if re.fullmatch(r"24(00(00(\.0+)?)?)?", part) else part for part in key.split("-")]
    return _range("-".join(parts), _TIME, tag)


def _range(key: str, form: re.Pattern[str], tag: int) -> str:
    ends = key.split("-")
    if key and (len(ends) > 2 or not any(ends) or not all(form.fullmatch(end) for end in ends if end)):
        raise BadValue("not a date, time or range", where=where(tag))
    return key


def _carries(data: Dataset, tags: frozenset[int]) -> bool:
    return any(tag in tags and _has_value(data, tag) for tag in sorted(data.keys()))


def _has_value(data: Dataset, tag: int) -> bool:
    nested = items(data, tag)
    if nested:
        return any(_has_value(item, inner) for item in nested for inner in sorted(item.keys()))
    return text(data, tag) not in ("", "*", "[]")


def where(tag: int) -> str:
    """A tag as it is printed."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
