"""Worklist entries: one indexed query narrows by what SQL does well, the domain's rules decide the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

from sqlalchemy import bindparam, exists, func, or_, select, update

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import StepStatus
from bridge.domain.patient import PersonName
from bridge.domain.worklist import WorklistEntry
from bridge.domain.worklist_view import KEPT, WITHDRAWN, Standing
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.patients import identifiers_of
from bridge.store.schema import (
    imaging_order,
    patient,
    patient_identifier,
    performed_reference,
    requested_procedure,
    scheduled_procedure_step,
    scheduled_station,
    study,
)

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_step, _rp, _order = scheduled_procedure_step, requested_procedure, imaging_order


def _universal(column: Any, name: str) -> Any:
    return or_(bindparam(name) == "", column == bindparam(name))


_STEPS = (
    select(
        _step,
        _rp.c.requested_procedure_id.label("rp_id"),
        _rp.c.study_instance_uid,
        _rp.c.description.label("rp_description"),
        _rp.c.code.label("rp_code"),
        _rp.c.priority,
        _rp.c.reason,
        _rp.c.transport,
        _rp.c.comments,
        _order.c.placer_order_number,
        _order.c.filler_order_number,
        _order.c.accession_told,
        _order.c.accession_issuer,
        _order.c.placer_issuer,
        _order.c.filler_issuer,
        _order.c.department,
        _order.c.patient_class,
        _order.c.requesting_physician,
        _order.c.referring_physician,
        _order.c.admission_id,
        _order.c.admission_issuer,
        _order.c.patient_location,
        _order.c.patient_state,
        _order.c.confidentiality,
        _order.c.medical_alerts,
        _order.c.allergies,
        _order.c.attributes,
        _order.c.pregnancy_status,
        _order.c.patient_weight_kg,
        _order.c.patient_size_m,
        _order.c.status.label("order_status"),
        _order.c.placeholder,
        _order.c.patient_id.label("patient_pk"),
        patient.c.name.label("patient_name"),
        patient.c.birth_date,
        patient.c.sex,
        patient.c.other_identifiers,
    )
    .join(_rp, _rp.c.id == _step.c.requested_procedure_id)
    .join(_order, _order.c.id == _rp.c.order_id)
    .join(patient, patient.c.id == _order.c.patient_id)
    .order_by(_step.c.start_date, _step.c.start_time, _step.c.id)
)
_ENTRIES = _STEPS.where(
    _step.c.parked == "",
    _order.c.placeholder.is_(False),
    _order.c.status.notin_(sorted(WITHDRAWN)),
    _step.c.status.in_(bindparam("statuses", expanding=True)),
    or_(_step.c.status.notin_(sorted(KEPT)), _step.c.ended_at >= bindparam("kept_since")),
    or_(bindparam("low") == "", _step.c.start_date >= bindparam("low")),
    or_(bindparam("high") == "", _step.c.start_date <= bindparam("high")),
    _universal(_step.c.modality, "modality"),
    _universal(_order.c.accession_told, "accession"),
    _universal(_rp.c.study_instance_uid, "uid"),
    or_(
        bindparam("patient_id") == "",
        exists().where(
            patient_identifier.c.patient_id == _order.c.patient_id,
            patient_identifier.c.value == bindparam("patient_id"),
        ),
    ),
    or_(
        bindparam("station") == "",
        exists().where(scheduled_station.c.step_id == _step.c.id, scheduled_station.c.ae_title == bindparam("station")),
    ),
)
_OF_ACCESSION = Prepared(
    _STEPS.where(or_(_order.c.accession_told == bindparam("a"), _order.c.accession_number == bindparam("a")))
)
_STATIONS = Prepared(
    select(scheduled_station.c.ae_title)
    .where(scheduled_station.c.step_id == bindparam("s"))
    .order_by(scheduled_station.c.position)
)
_STATIONS_DUE = Prepared(
    select(scheduled_station.c.ae_title)
    .distinct()
    .join(_step, _step.c.id == scheduled_station.c.step_id)
    .where(one_of(_step.c.status, sorted(VISIBLE)), _step.c.parked == "")
    .order_by(scheduled_station.c.ae_title)
)
_START = _step.c.start_date + _step.c.start_time
_DUE = Prepared(
    select(func.count())
    .select_from(_step)
    .where(one_of(_step.c.status, sorted(VISIBLE)), _step.c.parked == "", _step.c.no_show != _START)
)
# Nobody began it, nobody was heard of: no device by MPPS or images, no message since. What is parked waits for a
# person.
_MISSED = Prepared(
    select(_step.c.id, _START.label("start"))
    .join(_rp, _rp.c.id == _step.c.requested_procedure_id)
    .join(_order, _order.c.id == _rp.c.order_id)
    .where(
        _step.c.status == StepStatus.SCHEDULED,
        _step.c.start_date >= bindparam("earliest"),
        _step.c.start_date <= bindparam("day"),
        bindparam("moment") > _START,
        _step.c.start_time != "",
        _step.c.no_show != _START,
        _step.c.parked == "",
        _order.c.placeholder.is_(False),
        ~one_of(_order.c.status, sorted(WITHDRAWN)),
        _order.c.updated_at < bindparam("silent_since"),
        ~exists().where(performed_reference.c.step_id == _step.c.id),
        ~exists().where(study.c.study_instance_uid == _rp.c.study_instance_uid),
    )
    .order_by(_step.c.start_date, _step.c.id)
    .limit(bindparam("most"))
)
_MISS = Prepared(
    update(_step)
    .where(_step.c.id == bindparam("s"), _step.c.status == StepStatus.SCHEDULED, bindparam("start") == _START)
    .values(no_show=bindparam("start"), version=_step.c.version + 1)
)


def find_entries(
    connection: Connection,
    *,
    statuses: tuple[StepStatus, ...],
    earliest: str,
    latest: str,
    kept_since: datetime | None = None,
    modality: str = "",
    station: str = "",
    accession_number: str = "",
    study_instance_uid: str = "",
    patient_id: str = "",
    preferred_issuers: tuple[str, ...] = (),
    number: str = "",
    zone: tzinfo | None = None,
) -> Iterator[tuple[WorklistEntry, Standing]]:
    """Visible steps in order of start, each with what else decides about it. '' is universal; every value given is an
    exact one.

    The Patient ID told is `number` where it is one of the patient's own, else of the first of `preferred_issuers` that
    has given the patient one, else any. `zone` is whose clocks the dates and times are of.
    """
    rows = connection.execute(
        _ENTRIES,
        {
            "statuses": list(statuses),
            "kept_since": kept_since or NEVER,
            "low": earliest,
            "high": latest,
            "modality": modality,
            "station": station,
            "accession": accession_number,
            "uid": study_instance_uid,
            "patient_id": patient_id,
        },
    )
    for row in rows:
        yield _step_of(connection, row, preferred_issuers, number, zone)


def steps_of_accession(
    connection: Connection,
    accession_number: str,
    *,
    preferred_issuers: tuple[str, ...] = (),
    number: str = "",
    zone: tzinfo | None = None,
) -> list[tuple[WorklistEntry, Standing]]:
    """Every step of the orders of an accession number (as sent, or as scanners are told it), also the hidden ones."""
    rows = connection.execute(_OF_ACCESSION, {"a": accession_number})
    return [_step_of(connection, row, preferred_issuers, number, zone) for row in rows]


def _step_of(
    connection: Connection, row: Any, preferred_issuers: tuple[str, ...], number: str, zone: tzinfo | None
) -> tuple[WorklistEntry, Standing]:
    identifiers = _identifiers(connection, row.patient_pk, preferred_issuers, number)
    stations = tuple(connection.execute(_STATIONS, {"s": row.id}).scalars())
    missed = bool(row.no_show) and row.no_show == row.start_date + row.start_time
    standing = Standing(row.order_status, bool(row.placeholder), row.parked, row.ended_at, missed)
    return _entry(row, identifiers, stations, zone), standing


def _identifiers(
    connection: Connection, patient: int, preferred: tuple[str, ...], number: str
) -> tuple[Identifier, ...]:
    found: tuple[Identifier, ...] = ()
    for issuer in preferred or ("",):
        found = identifiers_of(connection, patient, issuer, number)
        if not found or found[0].issuer == issuer or found[0].value == number:
            break
    return found


def missed_steps(
    connection: Connection, *, earliest: str, moment: str, silent_since: datetime, most: int
) -> list[tuple[int, str]]:
    """Steps that were to begin before `moment` (DA and TM in one), and their starts, of which nobody was heard: no
    device, and nothing of their order since `silent_since`."""
    values = {"earliest": earliest, "day": moment[:8], "moment": moment, "silent_since": silent_since, "most": most}
    return [(row.id, row.start) for row in connection.execute(_MISSED, values)]


def mark_missed(connection: Connection, step_id: int, start: str) -> bool:
    """False when somebody was heard of in between."""
    return connection.execute(_MISS, {"s": step_id, "start": start}).rowcount == 1


def stations_due(connection: Connection) -> list[str]:
    """The AE titles that steps wait for."""
    return connection.execute(_STATIONS_DUE).scalars()


def count_due(connection: Connection) -> int:
    return int(connection.execute(_DUE).scalar_one())


def _entry(
    row: Any, identifiers: tuple[Identifier, ...], stations: tuple[str, ...], zone: tzinfo | None
) -> WorklistEntry:
    first = identifiers[0] if identifiers else Identifier("")
    return WorklistEntry(
        step_pk=row.id,
        version=row.version,
        patient_name=PersonName.from_dicom(row.patient_name),
        patient_id=first.value,
        patient_issuer=first.issuer,
        other_patient_ids=(*identifiers[1:], *(Identifier(*one) for one in row.other_identifiers)),
        birth_date=row.birth_date,
        sex=row.sex,
        patient_weight_kg=row.patient_weight_kg,
        patient_size_m=row.patient_size_m,
        patient_state=row.patient_state,
        confidentiality=row.confidentiality,
        medical_alerts=row.medical_alerts,
        allergies=tuple(row.allergies),
        attributes=row.attributes or {},
        pregnancy_status=row.pregnancy_status,
        admission_id=row.admission_id,
        admission_issuer=row.admission_issuer,
        patient_location=row.patient_location,
        referring_physician=PersonName.from_dicom(row.referring_physician),
        requesting_physician=PersonName.from_dicom(row.requesting_physician),
        accession_number=row.accession_told,
        accession_issuer=row.accession_issuer,
        placer_order_number=row.placer_order_number or "",
        filler_order_number=row.filler_order_number or "",
        requested_procedure_id=row.rp_id,
        requested_procedure_description=row.rp_description,
        requested_procedure_code=Code(*row.rp_code) if row.rp_code else None,
        study_instance_uid=row.study_instance_uid,
        priority=row.priority,
        reason=row.reason,
        transport=row.transport,
        comments=row.comments,
        step_id=row.scheduled_step_id,
        modality=row.modality,
        station_ae_titles=stations,
        station_name=row.station_name,
        step_location=row.location,
        start_date=row.start_date,
        start_time=row.start_time,
        step_description=row.description,
        protocol_codes=tuple(Code(*c) for c in row.protocol_codes),
        performing_physician=PersonName.from_dicom(row.performing_physician),
        step_status=row.status,
        placer_issuer=row.placer_issuer,
        filler_issuer=row.filler_issuer,
        department=row.department,
        patient_class=row.patient_class,
        zone=zone,
    )
