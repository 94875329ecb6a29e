"""Studies, series, instances; links to orders; what matching and publishing read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from bridge.domain.matching import OrderFacts
from bridge.domain.order import OrderStatus
from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import InstanceHeader, MatchState, StoredFile, StudyFacts, StudyState
from bridge.errors import NotFound
from bridge.store.schema import (
    imaging_order,
    instance,
    instance_aside,
    instance_document,
    patient,
    patient_identifier,
    performed_reference,
    requested_procedure,
    scheduled_procedure_step,
    series,
    study,
    study_link,
)
from bridge.store.upsert import upsert

_STUDY_BY_UID = select(study).where(study.c.study_instance_uid == bindparam("uid"))
_STUDY = select(study).where(study.c.id == bindparam("s"))
_STUDY_INSERT = upsert(study, ("study_instance_uid",), {})
_STUDY_GROWS = (
    update(study)
    .where(study.c.id == bindparam("s"))
    .values(
        version=study.c.version + 1,
        state=StudyState.RECEIVING,
        last_received_at=bindparam("at"),
        completed_at=None,
        completed_by="",
    )
)
_SERIES_BY_UID = select(series).where(series.c.series_instance_uid == bindparam("uid"))
_SERIES_INSERT = upsert(series, ("series_instance_uid",), {})
_SERIES_OF = select(series).where(series.c.study_id == bindparam("s")).order_by(series.c.id)
_INSTANCE_BY_UID = (
    select(instance, series.c.series_instance_uid, study.c.study_instance_uid)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == series.c.study_id)
    .where(instance.c.sop_instance_uid == bindparam("uid"))
)
_INSTANCE_INSERT = insert(instance)
_ASIDE_INSERT = insert(instance_aside)
_COUNT = (
    select(func.count())
    .select_from(instance)
    .join(series, series.c.id == instance.c.series_id)
    .where(series.c.study_id == bindparam("s"))
)
_FILE_KNOWN = select(instance.c.id).where(instance.c.file == bindparam("f")).limit(1)
_ASIDE_KNOWN = select(instance_aside.c.id).where(instance_aside.c.file == bindparam("f")).limit(1)
_RECEIVING = (
    select(study).where(study.c.state == StudyState.RECEIVING).order_by(study.c.last_received_at).limit(bindparam("n"))
)
_COMPLETE = (
    update(study)
    .where(study.c.id == bindparam("s"), study.c.version == bindparam("v"))
    .values(state=StudyState.COMPLETE, completed_at=bindparam("at"), completed_by=bindparam("by"))
)
_UNJUDGED = (
    select(study.c.id)
    .where(
        study.c.state == StudyState.COMPLETE,
        or_(study.c.judged_version.is_(None), study.c.judged_version != study.c.version),
    )
    .order_by(study.c.id)
    .limit(bindparam("n"))
)
_JUDGED = (
    update(study).where(study.c.id == bindparam("s")).values(match_state=bindparam("m"), judged_version=study.c.version)
)
_NEW_VERSION = update(study).where(study.c.id == bindparam("s")).values(version=study.c.version + 1)
_REOPEN = (
    update(study)
    .where(
        study.c.match_state.in_([MatchState.UNMATCHED, MatchState.AMBIGUOUS]),
        or_(
            study.c.study_instance_uid.in_(bindparam("uids", expanding=True)),
            and_(
                bindparam("accession") != "",
                study.c.accession_number == bindparam("accession"),
                study.c.accession_issuer == bindparam("issuer"),
            ),
            study.c.patient_id.in_(
                select(patient_identifier.c.value).where(patient_identifier.c.patient_id == bindparam("p"))
            ),
        ),
    )
    .values(judged_version=None)
)
_REJUDGE_OF_PATIENT = (
    update(study)
    .where(
        or_(
            study.c.patient_id.in_(
                select(patient_identifier.c.value).where(patient_identifier.c.patient_id == bindparam("p"))
            ),
            study.c.id.in_(
                select(study_link.c.study_id)
                .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
                .join(imaging_order, imaging_order.c.id == requested_procedure.c.order_id)
                .where(imaging_order.c.patient_id == bindparam("p"), study_link.c.ended_at.is_(None))
            ),
        )
    )
    .values(version=study.c.version + 1)
)
_LINKS = (
    select(study_link, requested_procedure.c.order_id)
    .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
    .where(study_link.c.study_id == bindparam("s"))
    .order_by(study_link.c.id)
)
_LIVE_LINKS = _LINKS.where(study_link.c.ended_at.is_(None))
_LINK_INSERT = insert(study_link)
_LINK_END = (
    update(study_link)
    .where(study_link.c.id == bindparam("l"))
    .values(ended_at=bindparam("at"), ended_by=bindparam("by"), end_reason=bindparam("r"))
)
_PERFORMED_PROCEDURES = (
    select(scheduled_procedure_step.c.requested_procedure_id)
    .join(performed_reference, performed_reference.c.step_id == scheduled_procedure_step.c.id)
    .where(performed_reference.c.study_instance_uid == bindparam("uid"))
    .distinct()
)
_ORDER_FACTS_BASE = (
    select(
        requested_procedure.c.id.label("procedure_pk"),
        requested_procedure.c.order_id,
        requested_procedure.c.study_instance_uid,
        requested_procedure.c.study_instance_uid_generated,
        requested_procedure.c.requested_procedure_id,
        imaging_order.c.accession_number,
        imaging_order.c.accession_issuer,
        imaging_order.c.status,
        imaging_order.c.patient_id.label("patient_pk"),
        patient.c.name,
        patient.c.birth_date,
        patient.c.sex,
    )
    .join(imaging_order, imaging_order.c.id == requested_procedure.c.order_id)
    .join(patient, patient.c.id == imaging_order.c.patient_id)
)
_ORDER_FACTS = (
    _ORDER_FACTS_BASE.where(
        or_(
            requested_procedure.c.study_instance_uid == bindparam("uid"),
            imaging_order.c.accession_number.in_(bindparam("accessions", expanding=True)),
            and_(
                requested_procedure.c.requested_procedure_id.in_(bindparam("procedures", expanding=True)),
                exists().where(
                    scheduled_procedure_step.c.requested_procedure_id == requested_procedure.c.id,
                    scheduled_procedure_step.c.scheduled_step_id.in_(bindparam("steps", expanding=True)),
                ),
            ),
            requested_procedure.c.id.in_(bindparam("performed", expanding=True)),
        )
    ).order_by(requested_procedure.c.id)
    # No limit: what strong evidence names is all weighed, or a second order would be overlooked.
)
_ORDERS_OF_PATIENT = (
    _ORDER_FACTS_BASE.where(
        imaging_order.c.patient_id.in_(
            select(patient_identifier.c.patient_id).where(
                patient_identifier.c.value == bindparam("pid"), patient_identifier.c.issuer == bindparam("pis")
            )
        )
    )
    .order_by(requested_procedure.c.id.desc())
    .limit(100)
)
_STEP_FACTS = select(
    scheduled_procedure_step.c.scheduled_step_id,
    scheduled_procedure_step.c.modality,
    scheduled_procedure_step.c.start_date,
).where(scheduled_procedure_step.c.requested_procedure_id == bindparam("p"))
_IDENTIFIERS = select(patient_identifier.c.value, patient_identifier.c.issuer).where(
    patient_identifier.c.patient_id == bindparam("p")
)
_UNDESCRIBED = (
    select(instance.c.id, instance.c.file)
    .outerjoin(instance_document, instance_document.c.instance_id == instance.c.id)
    .where(instance_document.c.instance_id.is_(None))
    .order_by(instance.c.id)
    .limit(bindparam("n"))
)
_DOCUMENT_INSERT = upsert(instance_document, ("instance_id",), {})
_COUNT_BY_STATE = select(study.c.state, study.c.match_state, func.count()).group_by(study.c.state, study.c.match_state)


def find_study(connection: Connection, study_instance_uid: str) -> Any | None:
    return connection.execute(_STUDY_BY_UID, {"uid": study_instance_uid}).one_or_none()


def get_study(connection: Connection, study_id: int) -> Any:
    row = connection.execute(_STUDY, {"s": study_id}).one_or_none()
    if row is None:
        raise NotFound("no such study", where="study")
    return row


def find_instance(connection: Connection, sop_instance_uid: str) -> Any | None:
    return connection.execute(_INSTANCE_BY_UID, {"uid": sop_instance_uid}).one_or_none()


def take_study(connection: Connection, header: InstanceHeader, at: datetime) -> Any:
    """The study's row, made from its first instance if it is new."""
    connection.execute(
        _STUDY_INSERT(connection),
        {
            "study_instance_uid": header.study_instance_uid,
            "state": StudyState.RECEIVING,
            "match_state": MatchState.PENDING,
            "first_received_at": at,
            "last_received_at": at,
            "patient_id": header.patient_id,
            "patient_issuer": header.patient_issuer,
            "patient_name": header.patient_name.dicom,
            "birth_date": header.birth_date,
            "sex": header.sex,
            "accession_number": header.accession_number,
            "accession_issuer": header.accession_issuer,
            "study_id": header.study_id,
            "study_date": header.study_date,
            "study_time": header.study_time,
            "timezone_offset": header.timezone_offset,
            "description": header.study_description,
            "referring_physician": header.referring_physician.dicom,
        },
    )
    return connection.execute(_STUDY_BY_UID, {"uid": header.study_instance_uid}).one()


def grow_study(connection: Connection, study_id: int, at: datetime) -> None:
    connection.execute(_STUDY_GROWS, {"s": study_id, "at": at})


def change_study(connection: Connection, study_id: int, values: dict[str, Any]) -> None:
    connection.execute(update(study).where(study.c.id == study_id).values(**values))


def take_series(connection: Connection, study_id: int, header: InstanceHeader) -> Any:
    connection.execute(
        _SERIES_INSERT(connection),
        {
            "study_id": study_id,
            "series_instance_uid": header.series_instance_uid,
            "modality": header.modality,
            "number": header.series_number,
            "description": header.series_description,
            "date": header.series_date,
            "time": header.series_time,
            "body_part": header.body_part,
            "laterality": header.laterality,
            "requests": [
                [
                    r.study_instance_uid,
                    r.accession_number,
                    r.accession_issuer,
                    r.requested_procedure_id,
                    r.scheduled_step_id,
                ]
                for r in header.requests
            ],
        },
    )
    return connection.execute(_SERIES_BY_UID, {"uid": header.series_instance_uid}).one()


def add_instance(
    connection: Connection, series_id: int, header: InstanceHeader, file: StoredFile, calling_ae: str, at: datetime
) -> None:
    connection.execute(
        _INSTANCE_INSERT,
        {
            "series_id": series_id,
            "sop_instance_uid": header.sop_instance_uid,
            "sop_class_uid": header.sop_class_uid,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "number": header.instance_number,
            "frames": header.number_of_frames,
            "rows": header.rows,
            "columns": header.columns,
            "performed_step_uid": header.performed_step_uid,
            "file": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "calling_ae_title": calling_ae,
            "received_at": at,
        },
    )


def keep_aside(connection: Connection, instance_id: int, file: StoredFile, calling_ae: str, at: datetime) -> None:
    connection.execute(
        _ASIDE_INSERT,
        {
            "instance_id": instance_id,
            "file": file.name,
            "size": file.size,
            "sha256": file.sha256,
            "calling_ae_title": calling_ae,
            "received_at": at,
        },
    )


def count_instances(connection: Connection, study_id: int) -> int:
    return int(connection.execute(_COUNT, {"s": study_id}).scalar_one())


def file_known(connection: Connection, name: str) -> bool:
    """Whether a row owns the file of the archive."""
    key = {"f": name}
    return bool(connection.execute(_FILE_KNOWN, key).first() or connection.execute(_ASIDE_KNOWN, key).first())


def receiving_studies(connection: Connection, limit: int) -> list[Any]:
    return list(connection.execute(_RECEIVING, {"n": limit}))


def complete_study(connection: Connection, study_id: int, version: int, at: datetime, by: str) -> bool:
    """False when an image came in between: the study goes on receiving."""
    return connection.execute(_COMPLETE, {"s": study_id, "v": version, "at": at, "by": by}).rowcount == 1


def unjudged_studies(connection: Connection, limit: int) -> list[int]:
    return list(connection.execute(_UNJUDGED, {"n": limit}).scalars())


def judged(connection: Connection, study_id: int, state: MatchState) -> None:
    connection.execute(_JUDGED, {"s": study_id, "m": state})


def new_version(connection: Connection, study_id: int) -> None:
    connection.execute(_NEW_VERSION, {"s": study_id})


def reopen_for_order(
    connection: Connection, *, uids: Iterable[str], accession_number: str, accession_issuer: str, patient_id: int
) -> None:
    """An order came or changed: undecided studies that share anything with it are judged again."""
    connection.execute(
        _REOPEN, {"uids": list(uids), "accession": accession_number, "issuer": accession_issuer, "p": patient_id}
    )


def rejudge_of_patient(connection: Connection, patient_id: int) -> None:
    """The patient's identity changed (a merge): every study of theirs is judged and published again."""
    connection.execute(_REJUDGE_OF_PATIENT, {"p": patient_id})


def series_of(connection: Connection, study_id: int) -> list[Any]:
    return list(connection.execute(_SERIES_OF, {"s": study_id}))


def facts_of(connection: Connection, study_id: int) -> StudyFacts:
    row = get_study(connection, study_id)
    parts = series_of(connection, study_id)
    requests = {ScheduledReference(*r) for s in parts for r in s.requests}
    return StudyFacts(
        study_id=row.id,
        study_instance_uid=row.study_instance_uid,
        patient_id=row.patient_id,
        patient_issuer=row.patient_issuer,
        patient_name=PersonName.from_dicom(row.patient_name),
        birth_date=row.birth_date,
        sex=row.sex,
        accession_number=row.accession_number,
        accession_issuer=row.accession_issuer,
        study_date=row.study_date,
        modalities=tuple(dict.fromkeys(s.modality for s in parts if s.modality)),
        requests=tuple(sorted(requests, key=str)),
    )


def performed_procedures(connection: Connection, study_instance_uid: str) -> frozenset[int]:
    return frozenset(connection.execute(_PERFORMED_PROCEDURES, {"uid": study_instance_uid}).scalars())


def candidate_orders(connection: Connection, facts: StudyFacts, performed: frozenset[int]) -> tuple[OrderFacts, ...]:
    """Every requested procedure that shares a UID, an accession, a procedure id or the patient with the study."""
    accessions = {facts.accession_number, *(r.accession_number for r in facts.requests)}
    plain = [r for r in facts.requests if not r.accession_number]
    rows = {
        row.procedure_pk: row
        for row in connection.execute(
            _ORDER_FACTS,
            {
                "uid": facts.study_instance_uid,
                "accessions": sorted(accessions - {""}),
                "procedures": sorted({r.requested_procedure_id for r in plain} - {""}),
                "steps": sorted({r.scheduled_step_id for r in plain} - {""}),
                "performed": sorted(performed),
            },
        )
    }
    of_patient = {"pid": facts.patient_id, "pis": facts.patient_issuer}
    for row in connection.execute(_ORDERS_OF_PATIENT, of_patient):
        rows.setdefault(row.procedure_pk, row)
    return tuple(_order_facts(connection, row) for row in rows.values())


def _order_facts(connection: Connection, row: Any) -> OrderFacts:
    steps = connection.execute(_STEP_FACTS, {"p": row.procedure_pk}).all()
    identifiers = connection.execute(_IDENTIFIERS, {"p": row.patient_pk})
    return OrderFacts(
        procedure_id=row.procedure_pk,
        order_id=row.order_id,
        study_instance_uid=row.study_instance_uid,
        accession_number=row.accession_number,
        accession_issuer=row.accession_issuer,
        requested_procedure_id=row.requested_procedure_id,
        step_ids=tuple(s.scheduled_step_id for s in steps),
        modalities=tuple(s.modality for s in steps if s.modality),
        scheduled_dates=tuple(s.start_date for s in steps if s.start_date),
        patient_pk=row.patient_pk,
        patient_identifiers=frozenset((i.value, i.issuer) for i in identifiers),
        patient_name=PersonName.from_dicom(row.name),
        birth_date=row.birth_date,
        sex=row.sex,
        ended=row.status in (OrderStatus.CA, OrderStatus.DC),
        generated_uid=row.study_instance_uid_generated,
    )


def live_links(connection: Connection, study_id: int) -> list[Any]:
    return list(connection.execute(_LIVE_LINKS, {"s": study_id}))


def all_links(connection: Connection, study_id: int) -> list[Any]:
    return list(connection.execute(_LINKS, {"s": study_id}))


def add_link(
    connection: Connection,
    study_id: int,
    procedure_id: int,
    *,
    rule: str,
    evidence: list[list[str]],
    at: datetime,
    by: str,
) -> None:
    connection.execute(
        _LINK_INSERT,
        {
            "study_id": study_id,
            "procedure_id": procedure_id,
            "rule": rule,
            "evidence": evidence,
            "made_at": at,
            "made_by": by,
        },
    )


def end_link(connection: Connection, link_id: int, at: datetime, by: str, reason: str) -> None:
    connection.execute(_LINK_END, {"l": link_id, "at": at, "by": by, "r": reason})


def undescribed(connection: Connection, limit: int) -> list[tuple[int, str]]:
    return [(row.id, row.file) for row in connection.execute(_UNDESCRIBED, {"n": limit})]


def add_document(connection: Connection, instance_id: int, json: bytes, frames: object) -> None:
    connection.execute(_DOCUMENT_INSERT(connection), {"instance_id": instance_id, "json": json, "frames": frames})


def count_by_state(connection: Connection) -> list[tuple[str, str, int]]:
    return [(state, match, count) for state, match, count in connection.execute(_COUNT_BY_STATE)]


_FACTS_OF_ORDER = _ORDER_FACTS_BASE.where(requested_procedure.c.order_id == bindparam("o"))


def procedures_of_order(connection: Connection, order_id: int) -> tuple[OrderFacts, ...]:
    return tuple(_order_facts(connection, row) for row in connection.execute(_FACTS_OF_ORDER, {"o": order_id}).all())
