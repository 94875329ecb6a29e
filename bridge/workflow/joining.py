"""What was told apart and is one: an order known by each of its numbers alone, and an order that was nobody's so far.

Only what was never ordered and never shown is joined; two orders stay two, and a person must say which is meant.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bridge.domain.identity import Identifier
from bridge.domain.order import OrderRequest
from bridge.store import audit, orders, patients, review
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.workflow import appointing

_WAITING = ("order-conflict", "order-parked", appointing.CONFLICT)


def find_tombstone(connection: Connection, order: OrderRequest, found: list[OrderRow]) -> OrderRow | None:
    """Of two orders that a message says are one: what was only spoken of by the one number, before its order came by
    the other. No scanner was ever shown it, it is nobody's or the same patient's, and nothing of it waits for a person.
    """
    if len(found) != 2 or order.detail_placer or order.detail_filler:
        return None
    for gone, kept in (found[::-1], found):
        if (
            gone.placeholder
            and may_adopt(connection, gone, kept.patient_id)
            and all(a is None or b is None or a.key == b.key for a, b in _numbers_of(gone, kept))
            and not orders.procedures_of(connection, gone.id)
            and not any(review.is_open(connection, kind, f"order:{gone.id}") for kind in _WAITING)
        ):
            return gone
    return None


def _numbers_of(one: OrderRow, other: OrderRow) -> list[tuple[Identifier | None, Identifier | None]]:
    return [(one.placer, other.placer), (one.filler, other.filler), (one.accession, other.accession)]


def join(connection: Connection, row: OrderRow, gone: OrderRow, who: str, at: datetime) -> None:
    """What was said of the tombstone was said of the order: a cancel by its filler number stops it after all."""
    orders.join_orders(connection, row.id, gone.id)
    if gone.patient_id != row.patient_id:
        patients.drop_patient(connection, gone.patient_id)
    details = {"joined": gone.id}
    audit.write_audit(connection, at=at, who=who, action="order-joined", subject=f"order:{row.id}", details=details)


def may_adopt(connection: Connection, row: OrderRow, patient_id: int) -> bool:
    """Whether the order is the patient's own, or nobody's so far."""
    return patient_id == row.patient_id or (row.placeholder and not patients.identifiers_of(connection, row.patient_id))


def adopted(connection: Connection, row: OrderRow, patient_id: int) -> OrderRow:
    """The order as the patient's own."""
    if patient_id == row.patient_id:
        return row
    orders.change_order(connection, row.id, {"patient_id": patient_id})
    patients.drop_patient(connection, row.patient_id)
    return replace(row, patient_id=patient_id)
