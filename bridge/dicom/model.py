"""The Modality Worklist model as a table: what each attribute answers (PS3.4 Table K.6-1).

`TOP` and `STEP` map a tag to (VR, type, value of an entry). Types 2 and 2C are answered with zero length when unknown
(no order that we read tells of a pre-medication or a contrast agent: empty says so, and strict consoles ask for them);
types 1C and 3 are left out. Text loses what would break its encoding: backslashes and control characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from pydicom.dataset import Dataset

from bridge.dicom.fitting import set_code
from bridge.domain.coding import Code
from bridge.domain.identity import Issuer, Issuers
from bridge.domain.patient import PersonName
from bridge.domain.worklist import WorklistEntry, utc_offset

STEP_SEQUENCE = 0x00400100
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,5})?")
_TEXT = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_LINE = {**_TEXT, 0x5C: "/"}
_OF_LINES = frozenset({"LT", "ST", "UT"})
_SEX = frozenset({"M", "F", "O"})
Value: TypeAlias = Callable[[WorklistEntry, Issuers], Any]


class Attribute(NamedTuple):
    vr: str
    required: bool  # types 1 and 2: present in the answer whenever asked for
    value: Value


def plain(value: str) -> str:
    return value.translate(_LINE).strip() if value else ""


def lines(value: str) -> str:
    """Text of several lines (LT, PS3.5 6.2): a backslash is a letter there, and a line ends with CR LF."""
    told = (line.translate(_TEXT).rstrip() for line in value.splitlines())
    return "\r\n".join(told).strip()


def _name(name: PersonName) -> str:
    return plain(name.dicom)


def _texts(values: tuple[str, ...]) -> list[str]:
    return [text for text in map(plain, values) if text]


def _decimal(value: str) -> str | None:
    return value if _NUMBER.fullmatch(value) else None


def _short(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 0xFFFF else None


def _code(code: Code) -> Dataset:
    item = Dataset()
    set_code(item, plain(code.value), plain(code.scheme))
    item.CodeMeaning = plain(code.meaning)
    return item


def _issuer(name: str, issuers: Issuers) -> list[Dataset]:
    """An HL7v2 hierarchic designator item (PS3.3 Table 10-17); none when the issuer is unknown."""
    if not name:
        return []
    issuer = issuers.find(name)
    item = Dataset()
    if issuer.namespace:
        item.LocalNamespaceEntityID = plain(issuer.namespace)
    if issuer.universal_id:
        item.UniversalEntityID, item.UniversalEntityIDType = plain(issuer.universal_id), issuer.universal_id_type
    return [item] if len(item) else []


def _namespace(name: str, issuers: Issuers) -> str:
    issuer: Issuer = issuers.find(name) if name else Issuer("")
    return plain(issuer.namespace or issuer.name)


def _qualifiers(name: str, issuers: Issuers) -> list[Dataset]:
    issuer = issuers.find(name) if name else Issuer("")
    if not issuer.universal_id:
        return []
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = plain(issuer.universal_id), issuer.universal_id_type
    return [item]


def _other_ids(entry: WorklistEntry, issuers: Issuers) -> list[Dataset]:
    found = []
    for identifier in entry.other_patient_ids:
        item = Dataset()
        item.PatientID = plain(identifier.value)
        item.IssuerOfPatientID = _namespace(identifier.issuer, issuers)
        item.TypeOfPatientID = "TEXT"
        found.append(item)
    return found


def _procedure_codes(entry: WorklistEntry, _: Issuers) -> list[Dataset]:
    return [_code(entry.requested_procedure_code)] if entry.requested_procedure_code else []


TOP: dict[int, Attribute] = {
    0x00080050: Attribute("SH", True, lambda e, i: plain(e.accession_number)),
    0x00080051: Attribute("SQ", False, lambda e, i: _issuer(e.accession_issuer, i)),
    0x00080090: Attribute("PN", True, lambda e, i: _name(e.referring_physician)),
    0x00080201: Attribute("SH", False, lambda e, i: utc_offset(e)),
    0x00081040: Attribute("LO", False, lambda e, i: plain(e.department)),
    0x00081110: Attribute("SQ", True, lambda e, i: []),
    0x00081120: Attribute("SQ", True, lambda e, i: []),
    0x00100010: Attribute("PN", True, lambda e, i: _name(e.patient_name)),
    0x00100020: Attribute("LO", True, lambda e, i: plain(e.patient_id)),
    0x00100021: Attribute("LO", False, lambda e, i: _namespace(e.patient_issuer, i)),
    0x00100024: Attribute("SQ", False, lambda e, i: _qualifiers(e.patient_issuer, i)),
    0x00100030: Attribute("DA", True, lambda e, i: e.birth_date),
    0x00100040: Attribute("CS", True, lambda e, i: e.sex if e.sex in _SEX else ""),
    0x00101002: Attribute("SQ", False, _other_ids),
    0x00101020: Attribute("DS", False, lambda e, i: _decimal(e.patient_size_m)),
    0x00101030: Attribute("DS", True, lambda e, i: _decimal(e.patient_weight_kg)),
    0x00102000: Attribute("LO", True, lambda e, i: plain(e.medical_alerts)),
    0x00102110: Attribute("LO", True, lambda e, i: _texts(e.allergies)),
    0x001021C0: Attribute("US", True, lambda e, i: _short(e.pregnancy_status)),
    0x0020000D: Attribute("UI", True, lambda e, i: e.study_instance_uid),
    0x00321032: Attribute("PN", True, lambda e, i: _name(e.requesting_physician)),
    0x00321060: Attribute("LO", False, lambda e, i: plain(e.requested_procedure_description)),
    0x00321064: Attribute("SQ", False, _procedure_codes),
    0x00380010: Attribute("LO", True, lambda e, i: plain(e.admission_id)),
    0x00380014: Attribute("SQ", False, lambda e, i: _issuer(e.admission_issuer, i)),
    0x00380016: Attribute("LO", False, lambda e, i: plain(e.patient_class)),
    0x00380050: Attribute("LO", True, lambda e, i: ""),
    0x00380300: Attribute("LO", True, lambda e, i: plain(e.patient_location)),
    0x00380500: Attribute("LO", True, lambda e, i: plain(e.patient_state)),
    0x00401001: Attribute("SH", True, lambda e, i: plain(e.requested_procedure_id)),
    0x00401002: Attribute("LO", False, lambda e, i: plain(e.reason)),
    0x00401003: Attribute("SH", True, lambda e, i: plain(e.priority)),
    0x00401004: Attribute("LO", True, lambda e, i: plain(e.transport)),
    0x00401400: Attribute("LT", False, lambda e, i: lines(e.comments)),
    0x00400026: Attribute("SQ", False, lambda e, i: _issuer(e.placer_issuer, i) if e.placer_order_number else []),
    0x00400027: Attribute("SQ", False, lambda e, i: _issuer(e.filler_issuer, i) if e.filler_order_number else []),
    0x00402016: Attribute("LO", False, lambda e, i: plain(e.placer_order_number)),
    0x00402017: Attribute("LO", False, lambda e, i: plain(e.filler_order_number)),
    0x00403001: Attribute("LO", True, lambda e, i: plain(e.confidentiality)),
}
STEP: dict[int, Attribute] = {
    0x00080060: Attribute("CS", True, lambda e, i: plain(e.modality)),
    0x00400001: Attribute("AE", True, lambda e, i: _texts(e.station_ae_titles)),
    0x00400002: Attribute("DA", True, lambda e, i: e.start_date),
    0x00400003: Attribute("TM", True, lambda e, i: e.start_time),
    0x00400006: Attribute("PN", True, lambda e, i: _name(e.performing_physician)),
    0x00400007: Attribute("LO", False, lambda e, i: plain(e.step_description)),
    0x00400008: Attribute("SQ", False, lambda e, i: list(map(_code, e.protocol_codes))),
    0x00400009: Attribute("SH", True, lambda e, i: plain(e.step_id)),
    0x00400010: Attribute("SH", True, lambda e, i: plain(e.station_name)),
    0x00400011: Attribute("SH", True, lambda e, i: plain(e.step_location)),
    0x00400012: Attribute("LO", True, lambda e, i: ""),
    0x00321070: Attribute("LO", True, lambda e, i: ""),
    0x00400020: Attribute("CS", False, lambda e, i: e.step_status or "SCHEDULED"),
}

NOT_MATCHED_TOP = frozenset(
    {
        *(0x00080020, 0x00080030, 0x00080051, 0x00081110, 0x00081120, 0x00100024, 0x00100101, 0x00101002, 0x00101020),
        *(0x00101030, 0x00102000, 0x00102110, 0x001021C0, 0x00321064, 0x00380014, 0x00380050, 0x00380100, 0x00380300),
        *(0x00380500, 0x00401002, 0x00401003, 0x00401004, 0x0040100A, 0x00401400, 0x00402016, 0x00402017, 0x00403001),
    }
)
"""Optional keys of Table K.6-1 that are not used for matching: with a value they make the answers FF01."""
NOT_MATCHED_STEP = frozenset(
    {0x00321070, 0x00400004, 0x00400005, 0x00400008, 0x00400012, 0x00400400, 0x00400500, 0x22000005}
)


def further(entry: WorklistEntry, tag: int) -> Attribute | None:
    """An attribute that a site's mapping tells on top (`attributes` of mappings/hl7/order.yaml); None when it has none.

    What the sender deleted is told empty.
    """
    kept = entry.attributes.get(f"{tag:08X}")
    if kept is None:
        return None
    vr, *values = kept
    told: list[Any]
    if vr == "SQ":
        told = [_code(Code(*one)) for one in values]
    else:
        told = list(filter(None, map(lines if vr in _OF_LINES else plain, values)))
    return Attribute(vr, True, lambda _, __: told if vr == "SQ" or len(told) > 1 else next(iter(told), ""))
