"""Performed procedure steps and the scheduled ones they refer to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, func, insert, or_, select, update

from bridge.domain.availability import PRESENT
from bridge.domain.performed import Fate, OpenStep, PerformedStatus, PerformedStep, ScheduledReference
from bridge.domain.rejection import Hidden
from bridge.store import orders, review
from bridge.store.change import change_row
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import (
    instance,
    performed_instance,
    performed_procedure_step,
    performed_reference,
    rejected_instance,
    remote_instance,
    scheduled_procedure_step,
    series,
    study,
)
from bridge.store.upsert import insert_new

_pps = performed_procedure_step
MOST_DIGITS = 19
"""A row's number fits eight bytes."""
_INSERT = insert_new(_pps, ("sop_instance_uid",))
_BY_UID = Prepared(select(_pps).where(_pps.c.sop_instance_uid == bindparam("uid")))
_BY_ID = Prepared(select(_pps).where(_pps.c.id == bindparam("p")))
_REFERENCES = Prepared(select(performed_reference).where(performed_reference.c.performed_step_id == bindparam("p")))
_REFERENCE_INSERT = Prepared(insert(performed_reference))
_RESOLVE = Prepared(
    update(performed_reference).where(performed_reference.c.id == bindparam("r")).values(step_id=bindparam("s"))
)
_OF_STUDY = Prepared(
    select(_pps)
    .join(performed_reference, performed_reference.c.performed_step_id == _pps.c.id)
    .where(performed_reference.c.study_instance_uid == bindparam("uid"), _pps.c.rejected_at.is_(None))
    .distinct()
)
_OPEN = Prepared(
    select(
        _pps.c.id,
        _pps.c.sop_instance_uid,
        _pps.c.calling_ae_title,
        _pps.c.modality,
        _pps.c.created_at,
        _pps.c.updated_at,
        func.max(study.c.last_received_at).label("image_at"),
    )
    .outerjoin(performed_reference, performed_reference.c.performed_step_id == _pps.c.id)
    .outerjoin(study, study.c.study_instance_uid == performed_reference.c.study_instance_uid)
    .where(_pps.c.status == PerformedStatus.IN_PROGRESS)
    .group_by(_pps.c.id)
)
_INSTANCE_INSERT = Prepared(insert(performed_instance))
_INSTANCES_DELETE = Prepared(delete(performed_instance).where(performed_instance.c.performed_step_id == bindparam("p")))


def is_here(sop_instance_uid: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether an instance counts as here, for "the images that a device lists are all here": stored, and be it hidden,
    or rejected before it came, or kept by another archive that says so.
    """
    return or_(
        exists().where(instance.c.sop_instance_uid == sop_instance_uid),
        exists().where(
            rejected_instance.c.sop_instance_uid == sop_instance_uid, rejected_instance.c.lifted_at.is_(None)
        ),
        exists().where(
            remote_instance.c.sop_instance_uid == sop_instance_uid, one_of(remote_instance.c.availability, PRESENT)
        ),
    )


_LACKING = and_(performed_instance.c.performed_step_id == _pps.c.id, ~is_here(performed_instance.c.sop_instance_uid))
_MISSING = Prepared(
    select(_pps.c.status, func.count(performed_instance.c.sop_instance_uid.distinct()))
    .join(performed_instance, performed_instance.c.performed_step_id == _pps.c.id)
    .where(
        _pps.c.id.in_(
            select(performed_reference.c.performed_step_id).where(
                performed_reference.c.study_instance_uid == bindparam("uid")
            )
        ),
        _pps.c.rejected_at.is_(None),
        _LACKING,
    )
    .group_by(_pps.c.status)
)
_REJECTED = Prepared(
    select(_pps.c.id)
    .where(
        _pps.c.rejected_at.is_not(None),
        _pps.c.id.in_(
            select(performed_reference.c.performed_step_id).where(
                performed_reference.c.study_instance_uid == bindparam("uid")
            )
        ),
    )
    .order_by(_pps.c.id)
)
_AWAITED = Prepared(
    select(
        _pps.c.id,
        _pps.c.calling_ae_title,
        _pps.c.instances,
        _pps.c.updated_at,
        and_(_pps.c.rejected_at.is_(None), exists().where(_LACKING).correlate(_pps)).label("lacks"),
    )
    .where(_pps.c.awaited)
    .order_by(_pps.c.updated_at)
)
_COUNT_LACKING = Prepared(
    select(func.count())
    .select_from(performed_instance)
    .where(performed_instance.c.performed_step_id == bindparam("p"), ~is_here(performed_instance.c.sop_instance_uid))
)
_UNSCHEDULED = Prepared(
    select(_pps.c.id, _pps.c.calling_ae_title, _pps.c.modality, _pps.c.status, _pps.c.instances)
    .where(_pps.c.unscheduled, _pps.c.rejected_at.is_(None), _pps.c.created_at <= bindparam("before"))
    .order_by(_pps.c.created_at)
    .limit(bindparam("n"))
)
_STUDIES = Prepared(
    select(study.c.id)
    .join(performed_reference, performed_reference.c.study_instance_uid == study.c.study_instance_uid)
    .where(performed_reference.c.performed_step_id == bindparam("p"))
    .distinct()
    .order_by(study.c.id)
)
_PROCEDURES = Prepared(
    select(_pps.c.id, _pps.c.sop_instance_uid, _pps.c.fate, scheduled_procedure_step.c.requested_procedure_id)
    .join(performed_reference, performed_reference.c.performed_step_id == _pps.c.id)
    .join(scheduled_procedure_step, scheduled_procedure_step.c.id == performed_reference.c.step_id)
    .where(performed_reference.c.study_instance_uid == bindparam("uid"), _pps.c.rejected_at.is_(None))
    .distinct()
)
_MADE = Prepared(
    select(instance.c.id)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == series.c.study_id)
    .where(
        study.c.study_instance_uid == bindparam("uid"),
        instance.c.hidden == Hidden.NO,
        or_(
            instance.c.performed_step_uid == bindparam("step"),
            instance.c.sop_instance_uid.in_(
                select(performed_instance.c.sop_instance_uid).where(
                    performed_instance.c.performed_step_id == bindparam("p")
                )
            ),
        ),
    )
    .limit(1)
)
_WAITING_BY_STUDY = Prepared(
    select(performed_reference.c.performed_step_id).where(
        or_(
            performed_reference.c.study_instance_uid == bindparam("uid"),
            performed_reference.c.original_study_uid == bindparam("uid"),
        ),
        performed_reference.c.step_id.is_(None),
    )
)
_WAITING_BY_ACCESSION = Prepared(
    select(performed_reference.c.performed_step_id).where(
        performed_reference.c.accession_number == bindparam("a"),
        performed_reference.c.accession_issuer == bindparam("i"),
        performed_reference.c.step_id.is_(None),
    )
)
_OF_STEP = Prepared(
    select(_pps.c.id, _pps.c.status, _pps.c.discontinuation, _pps.c.fate)
    .where(
        _pps.c.id.in_(
            select(performed_reference.c.performed_step_id).where(performed_reference.c.step_id == bindparam("s"))
        ),
        _pps.c.rejected_at.is_(None),
    )
    .order_by(_pps.c.updated_at, _pps.c.id)
)


def _created(step: PerformedStep) -> dict[str, Any]:
    """What stands from the creation on (Table F.7.2-1)."""
    return {
        "station_ae_title": step.station_ae_title,
        "modality": step.modality,
        "patient_id": step.patient_id,
        "patient_issuer": step.patient_issuer,
        "start": step.start,
    }


def _values(step: PerformedStep, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": step.status,
        "attributes": attributes,
        "end": step.end,
        "discontinuation": [[code.value, code.scheme, code.meaning] for code in step.discontinuation],
        "instances": len(step.instances),
        "series": list(step.series_instance_uids),
    }


def add_performed(
    connection: Connection, step: PerformedStep, attributes: dict[str, Any], calling_ae: str, at: datetime
) -> int | None:
    """The new row's id, or None when the UID is known."""
    new = _INSERT(
        connection,
        {
            **_created(step),
            **_values(step, attributes),
            "sop_instance_uid": step.sop_instance_uid,
            "calling_ae_title": calling_ae,
            "unscheduled": True,
            "created_at": at,
            "updated_at": at,
        },
    )
    if not new:
        return None
    key = int(connection.execute(_BY_UID, {"uid": step.sop_instance_uid}).one().id)
    _list(connection, key, step)
    return key


def _list(connection: Connection, performed_id: int, step: PerformedStep) -> None:
    for uid, sop_class in {one.sop_instance_uid: one.sop_class_uid for one in step.instances}.items():
        row = {"performed_step_id": performed_id, "sop_instance_uid": uid, "sop_class_uid": sop_class}
        connection.execute(_INSTANCE_INSERT, row)


def get_performed(connection: Connection, performed_id: int) -> Any:
    return connection.execute(_BY_ID, {"p": performed_id}).one()


def find_performed(connection: Connection, sop_instance_uid: str) -> Any | None:
    return connection.execute(_BY_UID, {"uid": sop_instance_uid}).one_or_none()


def change_performed(
    connection: Connection,
    performed_id: int,
    step: PerformedStep,
    attributes: dict[str, Any],
    at: datetime,
    fate: Fate | None,
) -> None:
    """N-SET: a sequence replaces the whole sequence, and with it what is listed."""
    awaited = step.status is PerformedStatus.COMPLETED and bool(step.instances)
    changed = {**_values(step, attributes), "fate": fate or "", "awaited": awaited, "updated_at": at}
    change_row(connection, _pps, performed_id, changed)
    connection.execute(_INSTANCES_DELETE, {"p": performed_id})
    _list(connection, performed_id, step)


def add_reference(connection: Connection, performed_id: int, reference: ScheduledReference) -> None:
    connection.execute(
        _REFERENCE_INSERT,
        {
            "performed_step_id": performed_id,
            "study_instance_uid": reference.study_instance_uid,
            "accession_number": reference.accession_number,
            "accession_issuer": reference.accession_issuer,
            "requested_procedure_id": reference.requested_procedure_id,
            "scheduled_step_id": reference.scheduled_step_id,
            "original_study_uid": reference.original_study_uid,
            "step_id": None,
        },
    )


def references_of(connection: Connection, performed_id: int) -> list[Any]:
    return list(connection.execute(_REFERENCES, {"p": performed_id}))


def performed_of_study(connection: Connection, study_instance_uid: str) -> list[Any]:
    return list(connection.execute(_OF_STUDY, {"uid": study_instance_uid}))


def end_performed(connection: Connection, performed_id: int, status: PerformedStatus, at: datetime) -> None:
    """A person ends what its device will not end; what the device told stays as it told it, and its list is waited
    for."""
    listed = get_performed(connection, performed_id).instances > 0
    awaited = listed and status is PerformedStatus.COMPLETED
    change_row(connection, _pps, performed_id, {"status": status, "awaited": awaited, "updated_at": at})


def shown_step(connection: Connection, named: str) -> dict[str, Any] | None:
    """One step with the scheduled ones that it names, for a person; `named` is its UID, or `performed:12`."""
    number = named.removeprefix("performed:")
    key = int(number) if number.isdecimal() and len(number) < MOST_DIGITS else 0
    row = find_performed(connection, named) or connection.execute(_BY_ID, {"p": key}).one_or_none()
    if row is None:
        return None
    subject = f"performed:{row.id}"
    return {
        **row._mapping,
        "subject": subject,
        "listed": row.instances,
        "missing": count_lacking(connection, row.id),
        "scheduled": [_shown_reference(connection, reference) for reference in references_of(connection, row.id)],
        "reviews": [one for one in review.open_reviews(connection) if one["subject"] == subject],
    }


def _shown_reference(connection: Connection, reference: Any) -> dict[str, Any]:
    step = orders.get_step(connection, reference.step_id) if reference.step_id else None
    return {
        "study_instance_uid": reference.study_instance_uid,
        "accession_number": reference.accession_number,
        "scheduled_step_id": reference.scheduled_step_id,
        "step": step.id if step else None,
        "status": step.status if step else "",
        "order": step.order_id if step else None,
        "scheduled_at": orders.stations_of(connection, step.id) if step else (),
    }


def reject_performed(connection: Connection, performed_id: int, at: datetime | None) -> None:
    """Done under the wrong worklist entry: it says nothing of any scheduled step, until that is taken back (None)."""
    change_row(connection, _pps, performed_id, {"rejected_at": at})


def rejected_of_study(connection: Connection, study_instance_uid: str) -> list[int]:
    return list(connection.execute(_REJECTED, {"uid": study_instance_uid}).scalars())


def open_steps(connection: Connection) -> list[OpenStep]:
    """Those in progress, the one that was silent longest first."""
    found = [
        OpenStep(
            row.id,
            row.sop_instance_uid,
            row.calling_ae_title,
            row.modality,
            row.created_at,
            max(row.updated_at, row.image_at or row.updated_at),
        )
        for row in connection.execute(_OPEN)
    ]
    return sorted(found, key=lambda step: step.last_at)


def missing_of_study(connection: Connection, study_instance_uid: str) -> dict[PerformedStatus, int]:
    """How many instances the performed steps of a study list that are not here, by the status of the steps."""
    found = connection.execute(_MISSING, {"uid": study_instance_uid})
    return {PerformedStatus(status): count for status, count in found}


def awaited(connection: Connection) -> list[Any]:
    """Completed steps whose images are waited for, the one that ended first first; `lacks`: some are not here yet."""
    return list(connection.execute(_AWAITED))


def count_lacking(connection: Connection, performed_id: int) -> int:
    return int(connection.execute(_COUNT_LACKING, {"p": performed_id}).scalar_one())


def unscheduled(connection: Connection, before: datetime, limit: int) -> list[Any]:
    """Steps that began before then, without an order that we know, and of which nobody was told yet."""
    return list(connection.execute(_UNSCHEDULED, {"before": before, "n": limit}))


def looked_after(connection: Connection, performed_id: int, what: str) -> None:
    """`unscheduled` or `awaited`: nothing more is to be looked for."""
    change_row(connection, _pps, performed_id, {what: False})


def studies_of_performed(connection: Connection, performed_id: int) -> list[int]:
    """The stored studies that the step says it is of."""
    return list(connection.execute(_STUDIES, {"p": performed_id}).scalars())


def procedures_of_study(connection: Connection, study_instance_uid: str) -> tuple[dict[int, set[int]], set[int]]:
    """The requested procedures that each performed step of a study names, by its row; and of all procedures those that
    were named by mistake.

    A step that was discontinued because the wrong entry had been chosen names none. What it named was a mistake while
    images that it made are here, and else unless another step says that it was done.
    """
    named, wrong = dict[int, set[int]](), dict[int, set[int]]()
    made = set[int]()
    for row in connection.execute(_PROCEDURES, {"uid": study_instance_uid}):
        mistaken = row.fate == Fate.WRONG_ENTRY
        (wrong if mistaken else named).setdefault(row.id, set()).add(row.requested_procedure_id)
        key = {"uid": study_instance_uid, "step": row.sop_instance_uid, "p": row.id}
        if mistaken and connection.execute(_MADE, key).first():
            made.add(row.id)
    done = set[int]().union(*named.values())
    return named, {p for key, procedures in wrong.items() for p in procedures if key in made or p not in done}


def waiting_for(connection: Connection, study_instance_uid: str, accession: str, issuer: str) -> list[int]:
    """Performed steps that name a study or an accession number, but no step we knew: a late order may be theirs."""
    found = connection.execute(_WAITING_BY_STUDY, {"uid": study_instance_uid}).scalars()
    if accession:
        found += connection.execute(_WAITING_BY_ACCESSION, {"a": accession, "i": issuer}).scalars()
    return sorted(set(found))


def resolve_reference(connection: Connection, reference_id: int, step_id: int) -> None:
    connection.execute(_RESOLVE, {"r": reference_id, "s": step_id})


def performed_of_step(connection: Connection, step_id: int) -> list[Any]:
    """Status, reasons and fate of every performed step of one scheduled step, the last that was spoken of last."""
    return list(connection.execute(_OF_STEP, {"s": step_id}))
