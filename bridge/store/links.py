"""Links between studies and orders, and the facts that matching weighs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, exists, insert, or_, select, update

from bridge.domain.matching import OrderFacts
from bridge.domain.order import OrderStatus
from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import StudyFacts
from bridge.domain.told import told
from bridge.store import studies
from bridge.store.connection import Connection, Prepared
from bridge.store.schema import (
    imaging_order,
    patient,
    patient_identifier,
    requested_procedure,
    scheduled_procedure_step,
    study_link,
)

_LINKS = (
    select(study_link, requested_procedure.c.order_id)
    .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
    .where(study_link.c.study_id == bindparam("s"))
    .order_by(study_link.c.id)
)
_LIVE_LINKS = Prepared(_LINKS.where(study_link.c.ended_at.is_(None)))
_LINK_INSERT = Prepared(insert(study_link))
_LINK_END = Prepared(
    update(study_link)
    .where(study_link.c.id == bindparam("l"))
    .values(ended_at=bindparam("at"), ended_by=bindparam("by"), end_reason=bindparam("r"))
)
_ORDER_FACTS_BASE = (
    select(
        requested_procedure.c.id.label("procedure_pk"),
        requested_procedure.c.order_id,
        requested_procedure.c.study_instance_uid,
        requested_procedure.c.study_instance_uid_generated,
        requested_procedure.c.requested_procedure_id,
        imaging_order.c.accession_told,
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
            imaging_order.c.accession_told.in_(bindparam("accessions", expanding=True)),
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
_ORDERS_OF_PATIENT = Prepared(
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
_STEP_FACTS = Prepared(
    select(
        scheduled_procedure_step.c.scheduled_step_id,
        scheduled_procedure_step.c.modality,
        scheduled_procedure_step.c.start_date,
    ).where(scheduled_procedure_step.c.requested_procedure_id == bindparam("p"))
)
_IDENTIFIERS = Prepared(
    select(patient_identifier.c.value, patient_identifier.c.issuer).where(
        patient_identifier.c.patient_id == bindparam("p")
    )
)
_FACTS_OF_ORDER = Prepared(_ORDER_FACTS_BASE.where(requested_procedure.c.order_id == bindparam("o")))


def facts_of(connection: Connection, study_id: int) -> StudyFacts:
    row = studies.get_study(connection, study_id)
    parts = studies.series_of(connection, study_id)
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
        accession_number=row.accession_told,
        accession_issuer=row.accession_issuer,
        requested_procedure_id=row.requested_procedure_id,
        step_ids=tuple(s.scheduled_step_id for s in steps),
        modalities=tuple(s.modality for s in steps if s.modality),
        scheduled_dates=tuple(s.start_date for s in steps if s.start_date),
        patient_pk=row.patient_pk,
        patient_identifiers=frozenset((v, i.issuer) for i in identifiers for v in (i.value, told(i.value))),
        patient_name=PersonName.from_dicom(row.name),
        birth_date=row.birth_date,
        sex=row.sex,
        ended=row.status in (OrderStatus.CA, OrderStatus.DC),
        generated_uid=row.study_instance_uid_generated,
    )


def procedures_of_order(connection: Connection, order_id: int) -> tuple[OrderFacts, ...]:
    return tuple(_order_facts(connection, row) for row in connection.execute(_FACTS_OF_ORDER, {"o": order_id}).all())


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
