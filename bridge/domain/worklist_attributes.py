"""What scanners are told of a worklist entry, attribute by attribute (PS3.4 Table K.6-1), and how keys are compared.

One table for the answer and for the match: a key is compared with what the device is told, shortened and spelt as it
would be. `bridge/dicom/model.py` has the tags, VRs and types of the same names, `WorklistKeys` the keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.keys import Items, Kind
from bridge.domain.patient import PersonName
from bridge.domain.told import LONG_STRING, SHORT_STRING, alias, lines, plain, shortened, told

if TYPE_CHECKING:
    from bridge.domain.worklist import WorklistEntry

Item: TypeAlias = Mapping[str, Any]
"""An item of a sequence: name -> text, or a tuple of items."""
Told: TypeAlias = Callable[["WorklistEntry", Issuers], Any]
"""Text, a tuple of several, a PersonName, or a tuple of items; empty when unknown."""
CODE: Items = {"code": Kind.TEXT, "long_code": Kind.TEXT, "urn_code": Kind.TEXT, "scheme": Kind.TEXT}
QUALIFIERS: Items = {"universal_id": Kind.TEXT, "universal_id_type": Kind.TEXT}
ISSUER: Items = {"namespace": Kind.TEXT, **QUALIFIERS}
OTHER_ID: Items = {"patient_id": Kind.TEXT, "issuer": Kind.TEXT, "type": Kind.TEXT, "qualifiers": QUALIFIERS}
_CODE_STRING, _LONG_TEXT, _NAME_GROUP = 16, 10240, 64
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,5})?")
_SEXES = frozenset({"M", "F", "O"})
_NOBODY = PersonName()


@dataclass(frozen=True, slots=True)
class Attribute:
    """`told` is what an answer says. `sought`: what keys are compared with, where that is more than what is told.

    `exact`: an identifier, never spelt otherwise. `public`: says nothing of who a person is or how they are, so that a
    command may print it.
    """

    kind: Kind
    told: Told
    sought: Told | None = None
    items: Items | None = None
    exact: bool = False
    public: bool = False

    def text(self, entry: WorklistEntry, issuers: Issuers) -> str:
        """The value in a line."""
        return _line(self.told(entry, issuers))


def _line(value: Any) -> str:
    if isinstance(value, tuple):
        return "\\".join(map(_line, value))
    if isinstance(value, Mapping):
        return " ".join(filter(None, map(_line, value.values())))
    return value.dicom if isinstance(value, PersonName) else str(value)


def _words(read: Callable[[WorklistEntry], str], most: int = LONG_STRING, **more: Any) -> Attribute:
    """Words: shortened in sight of who reads them."""
    return Attribute(Kind.TEXT, lambda e, i: shortened(plain(read(e)), most), **more)


def _id(read: Callable[[WorklistEntry], str], most: int = LONG_STRING, **more: Any) -> Attribute:
    """An identifier: itself, or its alias."""
    return Attribute(Kind.TEXT, lambda e, i: told(plain(read(e)), most), exact=True, **more)


def _name(read: Callable[[WorklistEntry], PersonName]) -> Attribute:
    return Attribute(Kind.NAME, lambda e, i: _told_name(read(e)), lambda e, i: _sought_name(read(e)))


def _told_name(name: PersonName) -> PersonName:
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    return PersonName(*(shortened(plain(group), _NAME_GROUP) for group in groups))


def _sought_name(name: PersonName) -> PersonName | tuple[PersonName, ...]:
    """A name is found whole, and as it is told when that is less."""
    if max(map(len, (name.alphabetic, name.ideographic, name.phonetic))) <= _NAME_GROUP:
        return name
    return name, _told_name(name)


def _decimal(read: Callable[[WorklistEntry], str]) -> Attribute:
    return Attribute(Kind.NUMBER, lambda e, i: value if _NUMBER.fullmatch(value := read(e)) else "")


def _pregnancy(entry: WorklistEntry, _: Issuers) -> str:
    value = entry.pregnancy_status
    fits = value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 0xFFFF
    return str(int(value)) if fits else ""


def _allergies(entry: WorklistEntry, _: Issuers) -> tuple[str, ...]:
    return tuple(shortened(text, LONG_STRING) for text in map(plain, entry.allergies) if text)


def _stations(entry: WorklistEntry, _: Issuers) -> tuple[str, ...]:
    return tuple(filter(None, map(plain, entry.station_ae_titles)))


# Codes: description and code are a pair, of which a device is told at least one (type 1C).


def code_item(code: Code) -> Item:
    """Code Value, Long Code Value or URN Code Value as it fits (PS3.3 Table 8.8-1). A local scheme's name begins with
    99, and so does the alias of one that is too long."""
    value, scheme = plain(code.value), plain(code.scheme)
    if value.lower().startswith(("urn:", "http://", "https://")):
        name = "urn_code"
    else:
        name = "long_code" if len(value) > SHORT_STRING else "code"
    if len(scheme) > SHORT_STRING:
        scheme = f"99{alias(scheme)[1:15]}"
    return {name: value, "scheme": scheme, "meaning": shortened(plain(code.meaning), LONG_STRING)}


def _meaning(code: Code | None) -> str:
    return code.meaning or code.value if code else ""


def _procedure(entry: WorklistEntry) -> str:
    """What the exam is in words; of one that came without any, its code's, its step's, at last its number."""
    said = entry.requested_procedure_description or _meaning(entry.requested_procedure_code)
    return said or entry.step_description or entry.requested_procedure_id


def _step(entry: WorklistEntry) -> str:
    return entry.step_description or next(filter(None, map(_meaning, entry.protocol_codes)), "") or _procedure(entry)


def _procedure_codes(entry: WorklistEntry, _: Issuers) -> tuple[Item, ...]:
    return (code_item(entry.requested_procedure_code),) if entry.requested_procedure_code else ()


def _protocol_codes(entry: WorklistEntry, _: Issuers) -> tuple[Item, ...]:
    return tuple(map(code_item, entry.protocol_codes))


# Issuers: a device may spell one as it is told it, or by the name that we know it by.


def _namespace(name: str, issuers: Issuers) -> str:
    issuer = issuers.find(name) if name else Issuer("")
    return told(plain(issuer.namespace or issuer.name))


def _names(name: str, issuers: Issuers) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (_namespace(name, issuers), name))))


def _qualifiers(name: str, issuers: Issuers) -> tuple[Item, ...]:
    issuer = issuers.find(name) if name else Issuer("")
    if not issuer.universal_id:
        return ()
    return ({"universal_id": plain(issuer.universal_id), "universal_id_type": issuer.universal_id_type},)


def _designator(name: str, issuers: Issuers) -> tuple[Item, ...]:
    """An HL7v2 hierarchic designator (PS3.3 Table 10-17); none when the issuer is unknown."""
    namespace = plain(issuers.find(name).namespace) if name else ""
    item = {"namespace": namespace} if namespace else {}
    for qualifier in _qualifiers(name, issuers):
        item |= qualifier
    return (item,) if item else ()


def _issuer(read: Callable[[WorklistEntry], str]) -> Attribute:
    def sought(entry: WorklistEntry, issuers: Issuers) -> tuple[Item, ...]:
        name = read(entry)
        return tuple({**item, "namespace": _names(name, issuers)} for item in _designator(name, issuers))

    return Attribute(Kind.ITEMS, lambda e, i: _designator(read(e), i), sought, items=ISSUER, exact=True, public=True)


def _other_id(identifier: Identifier, issuers: Issuers) -> dict[str, Any]:
    return {
        "patient_id": told(plain(identifier.value)),
        "issuer": _namespace(identifier.issuer, issuers),
        "qualifiers": _qualifiers(identifier.issuer, issuers),
        "type": "TEXT",
    }


def _other_ids(entry: WorklistEntry, issuers: Issuers) -> tuple[Item, ...]:
    return tuple(_other_id(one, issuers) for one in entry.other_patient_ids)


def _all_ids(entry: WorklistEntry, issuers: Issuers) -> tuple[Item, ...]:
    """Every number of the patient: which one is told as the Patient ID is our choice, not the device's."""
    every = (Identifier(entry.patient_id, entry.patient_issuer), *entry.other_patient_ids)
    return tuple(_other_id(one, issuers) | {"issuer": _names(one.issuer, issuers)} for one in every if one.value)


ATTRIBUTES: dict[str, Attribute] = {
    # scheduled procedure step
    "modality": _words(lambda e: e.modality, _CODE_STRING, public=True),
    "station_ae_title": Attribute(Kind.TEXT, _stations, exact=True, public=True),
    "station_name": _words(lambda e: e.station_name, SHORT_STRING, public=True),
    "step_location": _words(lambda e: e.step_location, SHORT_STRING, public=True),
    "start_date": Attribute(Kind.DATE, lambda e, i: e.start_date, public=True),
    "start_time": Attribute(Kind.TIME, lambda e, i: e.start_time, public=True),
    "step_id": _id(lambda e: e.step_id, SHORT_STRING, public=True),
    "step_status": _words(lambda e: e.step_status or "SCHEDULED", _CODE_STRING, public=True),
    "step_description": _words(_step, public=True),
    "protocol_codes": Attribute(Kind.ITEMS, _protocol_codes, items=CODE, exact=True, public=True),
    # requested procedure
    "requested_procedure_id": _id(lambda e: e.requested_procedure_id, SHORT_STRING, public=True),
    "requested_procedure_description": _words(_procedure, public=True),
    "requested_procedure_code": Attribute(Kind.ITEMS, _procedure_codes, items=CODE, exact=True, public=True),
    "study_instance_uids": Attribute(Kind.UIDS, lambda e, i: e.study_instance_uid, exact=True, public=True),
    "priority": _words(lambda e: e.priority, SHORT_STRING, public=True),
    "transport": _words(lambda e: e.transport),
    "reason": _words(lambda e: e.reason),
    "comments": Attribute(Kind.TEXT, lambda e, i: shortened(lines(e.comments), _LONG_TEXT)),
    # imaging service request
    "accession_number": _id(lambda e: e.accession_number, SHORT_STRING, public=True),
    "accession_issuer": _issuer(lambda e: e.accession_issuer),
    "placer_order_number": _id(lambda e: e.placer_order_number, public=True),
    "filler_order_number": _id(lambda e: e.filler_order_number, public=True),
    "placer_issuer": _issuer(lambda e: e.placer_issuer if e.placer_order_number else ""),
    "filler_issuer": _issuer(lambda e: e.filler_issuer if e.filler_order_number else ""),
    "department": _words(lambda e: e.department, public=True),
    # visit
    "admission_id": _id(lambda e: e.admission_id),
    "admission_issuer": _issuer(lambda e: e.admission_issuer),
    "patient_class": _words(lambda e: e.patient_class),
    "patient_location": _words(lambda e: e.patient_location),
    # patient
    "patient_id": _id(lambda e: e.patient_id),
    "patient_issuer": Attribute(
        Kind.TEXT,
        lambda e, i: _namespace(e.patient_issuer, i),
        lambda e, i: _names(e.patient_issuer, i),
        exact=True,
    ),
    "patient_issuer_qualifiers": Attribute(
        Kind.ITEMS, lambda e, i: _qualifiers(e.patient_issuer, i), items=QUALIFIERS, exact=True
    ),
    "other_patient_ids": Attribute(Kind.ITEMS, _other_ids, _all_ids, items=OTHER_ID, exact=True),
    "birth_date": Attribute(Kind.DATE, lambda e, i: e.birth_date),
    "sex": Attribute(Kind.TEXT, lambda e, i: e.sex if e.sex in _SEXES else ""),
    "patient_weight_kg": _decimal(lambda e: e.patient_weight_kg),
    "patient_size_m": _decimal(lambda e: e.patient_size_m),
    "confidentiality": _words(lambda e: e.confidentiality),
    "patient_state": _words(lambda e: e.patient_state),
    "pregnancy_status": Attribute(Kind.NUMBER, _pregnancy),
    "medical_alerts": _words(lambda e: e.medical_alerts),
    "allergies": Attribute(Kind.TEXT, _allergies),
    # names last: they cost most
    "patient_name": _name(lambda e: e.patient_name),
    "performing_physician": _name(lambda e: e.performing_physician),
    "requesting_physician": _name(lambda e: e.requesting_physician),
    "referring_physician": _name(lambda e: e.referring_physician),
}
"""By the name of its key in `WorklistKeys`, in the order in which they are tried."""
