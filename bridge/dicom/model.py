"""The Modality Worklist model as a table: one row an attribute (PS3.4 Table K.6-1), read by all that speaks of it.

`TOP` and `STEP` map a tag to its row. A row that has a name is held: `bridge/domain/worklist_attributes.py` says what a
device is told under it and how keys of it are compared. Of the others the bridge holds nothing: types 2 and 2C are
answered with zero length (empty says so, and strict consoles ask for them), 1C and 3 are left out, and a key of one
makes the answers FF01.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bridge.dicom.fitting import fitted
from bridge.domain.coding import Code
from bridge.domain.keys import Kind
from bridge.domain.told import lines as text_lines
from bridge.domain.told import plain
from bridge.domain.worklist import WorklistEntry
from bridge.domain.worklist_attributes import ATTRIBUTES, Attribute, code_item

STEP_SEQUENCE = 0x00400100
CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE = 0x00080100, 0x00080119, 0x00080120


class Row(NamedTuple):
    """`type`: of the answer. `name`: in `ATTRIBUTES`, in an item that of its part. `items`: of a sequence.

    `match`: R required, O optional, - no key by the standard, '' housekeeping, which is never meant as a key.
    """

    vr: str
    type: str
    name: str = ""
    match: str = "O"
    items: Mapping[int, Row] = {}

    @property
    def required(self) -> bool:
        """Present in the answer whenever asked for."""
        return self.type in ("1", "2", "2C")

    @property
    def told(self) -> bool:
        """Whether an answer may hold it."""
        return bool(self.name) or self.required or not self.match

    @property
    def attribute(self) -> Attribute:
        return ATTRIBUTES[self.name]


CODE: dict[int, Row] = {
    CODE_VALUE: Row("SH", "1C", "code"),
    0x00080102: Row("SH", "1", "scheme"),
    0x00080103: Row("SH", "3", match="-"),
    0x00080104: Row("LO", "3", "meaning", match="-"),
    LONG_CODE_VALUE: Row("UC", "1C", "long_code"),
    URN_CODE_VALUE: Row("UR", "1C", "urn_code"),
}
_PROTOCOL: dict[int, Row] = {**CODE, 0x00400440: Row("SQ", "3", match="-")}
_QUALIFIERS: dict[int, Row] = {
    0x00400032: Row("UT", "1C", "universal_id"),
    0x00400033: Row("CS", "1C", "universal_id_type"),
}
_ISSUER: dict[int, Row] = {0x00400031: Row("UT", "1C", "namespace"), **_QUALIFIERS}
_OTHER_ID: dict[int, Row] = {
    0x00100020: Row("LO", "1", "patient_id"),
    0x00100021: Row("LO", "3", "issuer"),
    0x00100022: Row("CS", "3", "type"),
    0x00100024: Row("SQ", "3", "qualifiers", items=_QUALIFIERS),
}
_REFERENCE: dict[int, Row] = {0x00081150: Row("UI", "1"), 0x00081155: Row("UI", "1")}

TOP: dict[int, Row] = {
    # requested procedure
    0x00401001: Row("SH", "1", "requested_procedure_id"),
    0x00321060: Row("LO", "1C", "requested_procedure_description"),
    0x00321064: Row("SQ", "1C", "requested_procedure_code", items=CODE),
    0x0020000D: Row("UI", "1", "study_instance_uids"),
    0x00080020: Row("DA", "3"),
    0x00080030: Row("TM", "3"),
    0x00081110: Row("SQ", "2", items=_REFERENCE),
    0x00401003: Row("SH", "2", "priority"),
    0x00401004: Row("LO", "2", "transport"),
    0x00401002: Row("LO", "3", "reason"),
    0x0040100A: Row("SQ", "3", items=CODE),
    0x00401400: Row("LT", "3", "comments"),
    # imaging service request
    0x00080050: Row("SH", "2", "accession_number"),
    0x00080051: Row("SQ", "3", "accession_issuer", items=_ISSUER),
    0x00321032: Row("PN", "2", "requesting_physician"),
    0x00080090: Row("PN", "2", "referring_physician"),
    0x00081040: Row("LO", "3", "department"),
    0x00402016: Row("LO", "3", "placer_order_number"),
    0x00402017: Row("LO", "3", "filler_order_number"),
    0x00400026: Row("SQ", "3", "placer_issuer", items=_ISSUER),
    0x00400027: Row("SQ", "3", "filler_issuer", items=_ISSUER),
    # visit
    0x00380010: Row("LO", "2", "admission_id"),
    0x00380014: Row("SQ", "3", "admission_issuer", items=_ISSUER),
    0x00380016: Row("LO", "3", "patient_class"),
    0x00380300: Row("LO", "2", "patient_location"),
    0x00081120: Row("SQ", "2", items=_REFERENCE),
    # patient
    0x00100010: Row("PN", "1", "patient_name", match="R"),
    0x00100020: Row("LO", "1", "patient_id", match="R"),
    0x00100021: Row("LO", "3", "patient_issuer"),
    0x00100024: Row("SQ", "3", "patient_issuer_qualifiers", items=_QUALIFIERS),
    0x00101002: Row("SQ", "3", "other_patient_ids", items=_OTHER_ID),
    0x00100030: Row("DA", "2", "birth_date"),
    0x00100040: Row("CS", "2", "sex"),
    0x00100101: Row("SQ", "3", items=CODE),
    0x00101030: Row("DS", "2", "patient_weight_kg"),
    0x00101020: Row("DS", "3", "patient_size_m"),
    0x00403001: Row("LO", "2", "confidentiality"),
    0x00380500: Row("LO", "2", "patient_state"),
    0x001021C0: Row("US", "2", "pregnancy_status"),
    0x00102000: Row("LO", "2", "medical_alerts"),
    0x00102110: Row("LO", "2", "allergies"),
    0x00380050: Row("LO", "2"),
    0x00380100: Row("SQ", "3", match="-"),
    # housekeeping
    0x00080201: Row("SH", "1C", match=""),
    0x0040A390: Row("SQ", "1C", match="-"),
}
STEP: dict[int, Row] = {
    0x00400001: Row("AE", "1", "station_ae_title", match="R"),
    0x00400002: Row("DA", "1", "start_date", match="R"),
    0x00400003: Row("TM", "1", "start_time", match="R"),
    0x00080060: Row("CS", "1", "modality", match="R"),
    0x00400006: Row("PN", "2", "performing_physician", match="R"),
    0x00400007: Row("LO", "1C", "step_description"),
    0x00400010: Row("SH", "2", "station_name"),
    0x00400011: Row("SH", "2", "step_location"),
    0x00400008: Row("SQ", "1C", "protocol_codes", items=_PROTOCOL),
    0x0018990C: Row("SQ", "1C", items=_REFERENCE),
    0x0018990D: Row("SQ", "1C", items=_REFERENCE),
    0x00400012: Row("LO", "2C"),
    0x00400009: Row("SH", "1", "step_id"),
    0x00321070: Row("LO", "2C"),
    0x00400020: Row("CS", "3", "step_status"),
    0x00400004: Row("DA", "3"),
    0x00400005: Row("TM", "3"),
    0x00400400: Row("LT", "3"),
    0x00400500: Row("SQ", "3"),
    0x22000005: Row("LT", "3"),
}
ZONE = 0x00080201
"""Timezone Offset From UTC: told when asked for, of the entry's own day, and never a key."""
KEY_TAGS = {row.name: tag for rows in (TOP, STEP) for tag, row in rows.items() if row.name}
"""The tag of each key by its name in `WorklistKeys`."""
_OF_LINES = frozenset({"LT", "ST", "UT"})


def further(entry: WorklistEntry, tag: int) -> tuple[str, Any] | None:
    """VR and value of an attribute that a site's mapping tells on top (`attributes` of mappings/hl7/order.yaml): text,
    several, or items of codes; None when it has none. What the sender deleted is told empty.
    """
    kept = entry.attributes.get(f"{tag:08X}")
    if kept is None:
        return None
    vr, *values = kept
    if vr == "SQ":
        return vr, tuple(code_item(Code(*one)) for one in values)
    told = tuple(fitted(vr, text) for text in map(text_lines if vr in _OF_LINES else plain, values) if text)
    return vr, told if len(told) > 1 else "".join(told)


class Line(NamedTuple):
    """A line of the table for people: `depth` is how many sequences it lies in, `kind` how a key of it is compared, ''
    where none is."""

    depth: int
    tag: int
    row: Row
    kind: str


def lines() -> Iterator[Line]:
    """The whole table with the items of its sequences, the step first, as the conformance statement prints it."""
    yield Line(0, STEP_SEQUENCE, Row("SQ", "1", match="R", items=STEP), str(Kind.ITEMS))
    yield from _lines(STEP, 1)
    yield from _lines(TOP, 0)


def _lines(rows: Mapping[int, Row], depth: int, parts: Any = None) -> Iterator[Line]:
    for tag, row in rows.items():
        kind: Any = ""
        if row.name and row.match in ("R", "O"):
            kind = parts.get(row.name, "") if parts is not None else row.attribute.kind
        inner = kind if isinstance(kind, Mapping) else row.attribute.items if parts is None and row.name else None
        yield Line(depth, tag, row, str(Kind.ITEMS) if isinstance(kind, Mapping) else str(kind))
        yield from _lines(row.items, depth + 1, inner or {})
