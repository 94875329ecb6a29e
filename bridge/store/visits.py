"""Visits and accounts as the orders carry them, and the links between records of one person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, or_, select, update

from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import ENDED
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.patients import end_sessions
from bridge.store.schema import imaging_order, patient_link, report, requested_procedure, study_link
from bridge.store.upsert import upsert

_order = imaging_order
_OPEN = Prepared(
    select(
        _order.c.id,
        _order.c.status,
        _order.c.event_at,
        _order.c.admission_id,
        _order.c.admission_issuer,
        _order.c.account_number,
        _order.c.account_issuer,
        _order.c.patient_class,
        _order.c.patient_location,
        _order.c.referring_physician,
        _order.c.visit_times,
        _order.c.allergies,
    )
    .where(_order.c.patient_id == bindparam("p"), ~one_of(_order.c.status, sorted(ENDED)))
    .order_by(_order.c.id)
)
_OF_VISIT = Prepared(
    select(_order.c.id)
    .where(
        _order.c.patient_id == bindparam("p"),
        or_(
            and_(_order.c.admission_id == bindparam("v"), _order.c.admission_issuer == bindparam("i")),
            and_(_order.c.account_number == bindparam("v"), _order.c.account_issuer == bindparam("i")),
        ),
    )
    .order_by(_order.c.id)
)
_LINKS_OF_ORDERS = (
    select(study_link.c.id, study_link.c.study_id, study_link.c.procedure_id, requested_procedure.c.order_id)
    .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
    .where(
        study_link.c.ended_at.is_(None),
        study_link.c.study_id.in_(
            select(study_link.c.study_id)
            .join(requested_procedure, requested_procedure.c.id == study_link.c.procedure_id)
            .where(
                requested_procedure.c.order_id.in_(bindparam("orders", expanding=True)), study_link.c.ended_at.is_(None)
            )
        ),
    )
    .order_by(study_link.c.id)
)
_MOVE_ORDERS = (
    update(_order)
    .where(_order.c.id.in_(bindparam("orders", expanding=True)))
    .values(patient_id=bindparam("into"), version=_order.c.version + 1)
)
_MOVE_REPORTS = (
    update(report)
    .where(report.c.order_id.in_(bindparam("orders", expanding=True)))
    .values(patient_id=bindparam("into"), version=report.c.version + 1)
)
_LINK = upsert(patient_link, ("patient_id", "other_id"), {"made_at": None, "ended_at": None})
_UNLINK = Prepared(
    update(patient_link)
    .where(
        patient_link.c.patient_id == bindparam("p"),
        patient_link.c.other_id == bindparam("o"),
        patient_link.c.ended_at.is_(None),
    )
    .values(ended_at=bindparam("at"))
)
_LINKED = Prepared(
    select(patient_link.c.patient_id, patient_link.c.other_id).where(
        or_(patient_link.c.patient_id == bindparam("p"), patient_link.c.other_id == bindparam("p")),
        patient_link.c.ended_at.is_(None),
    )
)


def open_orders(connection: Connection, patient_id: int) -> list[Any]:
    """The patient's orders that have not ended, with their visit and account."""
    return list(connection.execute(_OPEN, {"p": patient_id}))


def orders_of_visit(connection: Connection, patient_id: int, number: Identifier) -> list[int]:
    """The patient's orders, ended or not, whose Admission ID or account it is."""
    return list(connection.execute(_OF_VISIT, {"p": patient_id, "v": number.value, "i": number.issuer}).scalars())


def rename(connection: Connection, patient_id: int, old: Identifier, new: Identifier, *, account: bool) -> int:
    """Put `new` in place of `old`: as Admission ID and, when it is an account, as account too; returns how many."""
    changed: set[int] = set()
    pairs = [(_order.c.admission_id, _order.c.admission_issuer)]
    if account:
        pairs.append((_order.c.account_number, _order.c.account_issuer))
    for value, issuer in pairs:
        statement = (
            update(_order)
            .where(_order.c.patient_id == patient_id, value == old.value, issuer == old.issuer)
            .values({value: new.value, issuer: new.issuer, _order.c.version: _order.c.version + 1})
            .returning(_order.c.id)
        )
        changed |= set(connection.execute(statement).scalars())
    return len(changed)


def move_orders(connection: Connection, orders: Sequence[int], from_patient: int, into: int, at: datetime) -> None:
    """The orders and their reports become another patient's; sessions that showed them under the first one end."""
    connection.execute(_MOVE_ORDERS, {"orders": list(orders), "into": into})
    connection.execute(_MOVE_REPORTS, {"orders": list(orders), "into": into})
    end_sessions(connection, from_patient, at)


def links_of_orders(connection: Connection, orders: Sequence[int]) -> list[Any]:
    """Every live link of the studies that are linked to one of the orders."""
    return list(connection.execute(_LINKS_OF_ORDERS, {"orders": list(orders)}))


def link_patients(connection: Connection, one: int, other: int, at: datetime) -> None:
    first, second = sorted((one, other))
    connection.execute(_LINK, {"patient_id": first, "other_id": second, "made_at": at, "ended_at": None})


def unlink_patients(connection: Connection, one: int, other: int, at: datetime) -> bool:
    first, second = sorted((one, other))
    return connection.execute(_UNLINK, {"p": first, "o": second, "at": at}).rowcount > 0


def links_follow(connection: Connection, prior: int, survivor: int, at: datetime) -> None:
    """What was linked to a merged record is linked to its survivor."""
    for one, other in connection.execute(_LINKED, {"p": prior}).all():
        connection.execute(_UNLINK, {"p": one, "o": other, "at": at})
        partner = other if one == prior else one
        if partner != survivor:
            link_patients(connection, partner, survivor, at)


def linked_to(connection: Connection, patient_id: int) -> list[int]:
    """The records of the same person, by the sender's word (A24)."""
    rows = connection.execute(_LINKED, {"p": patient_id}).all()
    return sorted(other if one == patient_id else one for one, other in rows)
