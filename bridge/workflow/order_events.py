"""What is said of an order, kept; and what the order is by all of it (`domain/folding.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from bridge.domain.folding import (
    DEVICE,
    NOTHING_SAID,
    Folded,
    OrderEvent,
    OrderState,
    advance,
    fold,
    key_of,
)
from bridge.domain.order import OrderRequest, OrderStatus, order_of
from bridge.domain.patient import PatientData
from bridge.domain.visit import times_of
from bridge.store import orders
from bridge.store.db import Connection
from bridge.store.orders import OrderRow

_TICK = timedelta(microseconds=1)
AHEAD = timedelta(minutes=1)
"""A clock may run ahead of ours so far before its times are doubted."""
_EVER = datetime(1, 1, 1, tzinfo=UTC)
AFTER_SENDING = "ORC-9 lies after MSH-7: MSH-7 counts"
AHEAD_OF_US = "the message is dated ahead of our clock: the time of its receipt counts"


@dataclass(frozen=True, slots=True)
class Said:
    """What one more event makes of an order. `request` is what is to be applied: the message's own, or, for a late
    one, what all messages together say. Late without `news`, it changes nothing."""

    before: OrderState
    after: OrderState
    reordered: bool
    late: bool
    news: bool
    request: OrderRequest
    visit_times: dict[str, datetime]
    """When what `request` tells of the visit was told."""


class Again:
    """A message that is run again: what it said of an order the first time holds until it says it anew.

    `unheard`: it was refused or kept as junk, so that nothing of it was answered but by that.
    """

    def __init__(self, connection: Connection, message_id: int, *, unheard: bool) -> None:
        self.unheard = unheard
        self._message_id = message_id
        self._moments = orders.moments_of(connection, message_id)
        self._standing = set(self._moments)

    def spoke_of(self, order_id: int) -> bool:
        return order_id in self._moments

    def moment(self, order_id: int | None) -> datetime | None:
        """When the next thing that it says of the order happened, where it tells no time itself."""
        known = self._moments.get(order_id, []) if order_id is not None else []
        return known.pop(0) if len(known) > 1 else known[0] if known else None

    def take_back(self, connection: Connection, order_id: int) -> Folded | None:
        """Forget what it said of the order, once; what the order was by all of it, None when there was nothing."""
        if order_id not in self._standing:
            return None
        self._standing.remove(order_id)
        was = fold(events_of(connection, order_id))
        orders.forget_said(connection, order_id, self._message_id)
        return was


@dataclass(slots=True)
class Telling:
    """A message, as its orders are taken one by one; `again` when it is run again.

    Several procedures of one order that come late are folded together with the first of them, once: `ahead` holds what
    that gave for the others, by the request as it was sent.
    """

    orders: tuple[OrderRequest, ...]
    control_id: str
    received: datetime
    again: Again | None = None
    events: dict[int, OrderEvent] = field(default_factory=dict)
    ahead: dict[int, Said] = field(default_factory=dict)

    def event(self, connection: Connection, order_id: int | None, sent: OrderRequest) -> OrderEvent:
        known = self.events.pop(id(sent), None)
        return known or event_of(connection, order_id, dated(sent, self.received)[0], self)

    def further(self, sent: OrderRequest) -> list[OrderRequest]:
        """The procedures of the same order that the message tells behind this one."""
        place = next(n for n, one in enumerate(self.orders) if one is sent)
        return list(takewhile(lambda one: one.further, self.orders[place + 1 :]))


def dated(order: OrderRequest, received: datetime) -> tuple[OrderRequest, list[str]]:
    """The order with the time that counts, and what is told of it.

    Nobody reports what is still to come: an ORC-9 after MSH-7 is the date of the exam, or another clock's, and would
    make everything said until then look old, a cancel first of all. Likewise a message from a clock that runs ahead.
    """
    at, sent, warnings = order.event_time, order.sent_time, list[str]()
    if at is not None and sent is not None and at > sent:
        warnings = [AFTER_SENDING] if at > sent + AHEAD else []
        at = sent
    if at is not None and at > received + AHEAD:
        at, warnings = received, [*warnings, AHEAD_OF_US]
    return (order if at == order.event_time else replace(order, event_time=at)), warnings


def event_of(connection: Connection, order_id: int | None, order: OrderRequest, telling: Telling) -> OrderEvent:
    """The event of a message: its own times; one that names none counts as newest when it comes, not when it is run
    again."""
    happened, received, control_id = order.event_time, telling.received, telling.control_id
    if happened is None and telling.again is not None:
        happened = telling.again.moment(order_id) or received
    if happened is None:
        happened = _now(connection, order_id, received)
    sent = order.sent_time or happened
    if order_id is not None and sent > received + AHEAD:
        # The clock of its sender runs ahead. By that same clock it may still be older than what came before.
        by_it = [k for k in orders.keys_since(connection, order_id, _EVER) if k.sent_at > max(sent, received + AHEAD)]
        happened = min([happened, *(k.happened_at for k in by_it)])
    request = replace(order, patient=PatientData(()))
    return OrderEvent(happened, sent, order.control, order.status, control_id, request)


def _now(connection: Connection, order_id: int | None, at: datetime) -> datetime:
    newest = orders.newest_event(connection, order_id) if order_id is not None else None
    return at if newest is None else max(at, newest + _TICK)


def first_said(event: OrderEvent) -> OrderState:
    return advance(NOTHING_SAID, event.control, event.status)[0]


def say(
    connection: Connection,
    row: OrderRow,
    event: OrderEvent,
    request: OrderRequest,
    sent: OrderRequest,
    telling: Telling,
    fits: Callable[[OrderRequest], bool],
    joined: bool,
) -> Said:
    """What the order is with one event more. Only a late one makes us read what was said before, and one that takes
    the place of what its message said the first time. `fits`: whether another procedure of the order will be taken.
    `joined`: the events of another order have just become this one's, so that all of them are applied."""
    ahead = telling.ahead.pop(id(sent), None)
    if ahead is not None and row.state is not None:
        return replace(ahead, before=row.state, after=row.state)
    was = telling.again.take_back(connection, row.id) if telling.again is not None else None
    late = joined or _is_late(connection, row, event)
    if not late and row.state is not None and was is None:
        after, reordered = advance(row.state, event.control, event.status)
        return Said(row.state, after, reordered, False, True, request, times_of([event]))
    known = events_of(connection, row.id)
    further = [one for one in telling.further(sent) if fits(one)] if late else []
    for one in further:
        telling.events[id(one)] = telling.event(connection, row.id, one)
    every = [*known, event, *(telling.events[id(one)] for one in further)]
    before, folded = fold(known), fold(every)
    reordered = folded.reordered > (was or before).reordered
    news = not late or joined or was is not None or folded != before
    times = times_of(every if late else [event])
    said = Said(before.state, folded.state, reordered, late, news, request, times)
    if not late:
        return said
    # What is newer than it stands, and it fills what that left open.
    first, *others = folded.requests_like([request, *further])
    for one, merged in zip(further, others, strict=True):
        telling.ahead[id(one)] = replace(said, reordered=False, request=_in_the_words_of(one, merged))
    return replace(said, request=_in_the_words_of(request, first))


def _is_late(connection: Connection, row: OrderRow, event: OrderEvent) -> bool:
    later = orders.keys_since(connection, row.id, event.happened)
    return any(event.key < key_of(k.happened_at, k.sent_at, k.control, k.control_id) for k in later)


def _in_the_words_of(request: OrderRequest, merged: OrderRequest) -> OrderRequest:
    return replace(
        merged, control=request.control, patient=request.patient, alone=request.alone, further=request.further
    )


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
    before = order.state or fold(events_of(connection, order_id)).state
    after, _ = advance(before, DEVICE, status)
    if after == before:
        return
    # A device knows no time but the present: it speaks after all that was said.
    now = _now(connection, order_id, at)
    keep(connection, order_id, message_id, OrderEvent(now, now, DEVICE, status, ""))
    told = after.status or order.status
    orders.change_order(connection, order_id, {"status": told, "fold": orders.kept_state(after), "updated_at": at})
    if told is not order.status:
        orders.add_history(connection, order_id, at, event, order.status, told, message_id=message_id)
