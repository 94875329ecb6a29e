"""What is said of an order, kept; and what the order is by all of it (`domain/folding.py`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bridge.domain.folding import DEVICE, Folded, OrderEvent, fold
from bridge.domain.order import OrderRequest, OrderStatus, order_of
from bridge.domain.patient import PatientData
from bridge.store import orders
from bridge.store.db import Connection

_TICK = timedelta(microseconds=1)


def events_of(connection: Connection, order_id: int) -> list[OrderEvent]:
    return [
        OrderEvent(
            row.happened_at,
            row.sent_at,
            row.control,
            row.status,
            row.control_id,
            order_of(row.request) if row.request else None,
        )
        for row in orders.events_of(connection, order_id)
    ]


def event_of(order: OrderRequest, control_id: str, at: datetime, known: list[OrderEvent]) -> OrderEvent:
    """The event of a message: its own times; one that names none counts as newest when it comes."""
    now = max([at, *(e.happened + _TICK for e in known)]) if order.event_time is None else order.event_time
    request = replace(order, patient=PatientData(()))
    return OrderEvent(now, order.sent_time or now, order.control, order.status, control_id, request)


def keep(connection: Connection, order_id: int, message_id: int | None, event: OrderEvent) -> None:
    orders.add_event(
        connection,
        order_id,
        message_id,
        {
            "happened_at": event.happened,
            "sent_at": event.sent,
            "control": event.control,
            "status": event.status,
            "control_id": event.control_id,
            "request": event.request,
        },
    )


def device_says(
    connection: Connection,
    order_id: int,
    status: OrderStatus,
    event: str,
    at: datetime,
    *,
    message_id: int | None = None,
) -> None:
    """A device, a study or a report moves the order: one more saying, and the order is what all of them make it."""
    order = orders.get_order(connection, order_id)
    known = events_of(connection, order_id)
    # A device knows no time but the present: it speaks after all that was said.
    now = max([at, *(e.happened + _TICK for e in known)])
    said = OrderEvent(now, now, DEVICE, status, "")
    folded: Folded = fold([*known, said])
    if folded.status is order.status:
        return
    keep(connection, order_id, message_id, said)
    orders.change_order(connection, order_id, {"status": folded.status, "updated_at": at})
    orders.add_history(connection, order_id, at, event, order.status, folded.status, message_id=message_id)
