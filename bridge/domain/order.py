"""Imaging orders: order -> requested procedure -> scheduled procedure step (PS3.3 C.4.10-C.4.12; IHE RAD-4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.patient import DELETED, NO_NAME, PatientData, PersonName, Visit

NO_CODE = Code(DELETED)
NO_TEXTS = (DELETED,)
NO_CODES = (NO_CODE,)
"""The HL7 null (v2.5.1 2.5.3) in place of a code, of texts, of codes: the sender deletes them. In a fold it is a value
like any other: it takes the place of an older one, and a newer one takes its place."""
T = TypeVar("T")
_LEFT: dict[Any, Any] = {DELETED: "", NO_NAME: PersonName(), NO_CODE: None, NO_TEXTS: (), NO_CODES: ()}


def left(value: T) -> T:
    """What is left of a value that may be the null: itself, or the empty value of its kind."""
    return _LEFT.get(value, value)  # type: ignore[no-any-return]


class OrderStatus(StrEnum):
    """HL7 table 0038, as far as an imaging order takes it."""

    SC = "SC"
    IP = "IP"
    CM = "CM"
    CA = "CA"
    DC = "DC"
    HD = "HD"


class StepStatus(StrEnum):
    """Scheduled Procedure Step Status (0040,0020): the terms of PS3.3 C.4.10; the last three are the common extension:
    they only hide. DEPARTED: the patient was there and has gone, with the step undone."""

    SCHEDULED = "SCHEDULED"
    ARRIVED = "ARRIVED"
    READY = "READY"
    DEPARTED = "DEPARTED"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, slots=True)
class StepRequest:
    """A scheduled procedure step as a message orders it.

    `start` is the site's local wall clock (naive) or None when the order names no time; `modality` is the DICOM
    code, or '' with the sender's own word in `modality_sent`; `station_ae_titles` is what the message itself names
    (IPC-9), usually nothing.
    """

    step_id: str = ""
    modality: str = ""
    modality_sent: str = ""
    start: datetime | None = None
    station_ae_titles: tuple[str, ...] = ()
    station_name: str = ""
    location: str = ""
    description: str = ""
    protocol_codes: tuple[Code, ...] = ()
    performing_physician: PersonName = PersonName()


@dataclass(frozen=True, slots=True)
class ProcedureRequest:
    """A requested procedure as a message orders it; `study_instance_uid` from ZDS-1 or IPC-3, '' when absent."""

    procedure_id: str = ""
    study_instance_uid: str = ""
    description: str = ""
    code: Code | None = None
    priority: str = ""
    reason: str = ""
    transport: str = ""
    comments: str = ""
    steps: tuple[StepRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order of a message. At least one of `placer`, `filler` is present. An empty value keeps what is stored, the
    null (`DELETED`, `NO_NAME`, `NO_CODE`, `NO_TEXTS`, `NO_CODES`) deletes it: `left`.

    `event_time` orders late messages: ORC-9, else MSH-7; `sent_time` is MSH-7 (both aware UTC). `detail_placer` and
    `detail_filler` are OBR-2 and OBR-3 where they differ from ORC-2 and ORC-3. A message may order several procedures
    under one number, each an OrderRequest: then none is `alone`, and all but the first are `further`. `contradiction`
    is why the groups of the message cannot all be meant.
    """

    control: str
    status: str
    placer: Identifier | None
    filler: Identifier | None
    accession: Identifier | None
    patient: PatientData
    procedure: ProcedureRequest
    visit: Visit = Visit()
    event_time: datetime | None = None
    sent_time: datetime | None = None
    requesting_physician: PersonName = PersonName()
    department: str = ""
    patient_state: str = ""
    confidentiality: str = ""
    medical_alerts: str = ""
    allergies: tuple[str, ...] = ()
    pregnancy_status: str = ""
    attributes: dict[str, list[Any]] = field(default_factory=dict, hash=False)
    patient_weight_kg: str = ""
    patient_size_m: str = ""
    detail_placer: Identifier | None = None
    detail_filler: Identifier | None = None
    alone: bool = True
    further: bool = False
    contradiction: str = ""


_IDENTIFIERS = ("placer", "filler", "accession", "detail_placer", "detail_filler")


def order_of(stored: dict[str, Any]) -> OrderRequest:
    """An order as it was kept: its JSON form, without the patient, who is the order's own."""
    names = ("requesting_physician",)
    procedure = stored["procedure"]
    steps = tuple(
        StepRequest(
            **{
                **step,
                "start": _time(step["start"]),
                "station_ae_titles": tuple(step["station_ae_titles"]),
                "protocol_codes": tuple(Code(**c) for c in step["protocol_codes"]),
                "performing_physician": PersonName(**step["performing_physician"]),
            }
        )
        for step in procedure["steps"]
    )
    code = Code(**procedure["code"]) if procedure["code"] else None
    visit = stored["visit"]
    return OrderRequest(
        **{
            **stored,
            **{name: PersonName(**stored[name]) for name in names},
            **{name: _identifier(stored[name]) for name in _IDENTIFIERS},
            "patient": PatientData(()),
            "procedure": ProcedureRequest(**{**procedure, "code": code, "steps": steps}),
            "visit": Visit(
                **{
                    **visit,
                    **{k: _identifier(v) for k, v in visit.items() if isinstance(v, dict) and "value" in v},
                    "referring_physician": PersonName(**visit["referring_physician"]),
                }
            ),
            "event_time": _time(stored["event_time"]),
            "sent_time": _time(stored["sent_time"]),
            "allergies": tuple(stored["allergies"]),
        }
    )


def _identifier(stored: dict[str, str] | None) -> Identifier | None:
    return Identifier(**stored) if stored else None


def _time(stored: str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if stored else None
