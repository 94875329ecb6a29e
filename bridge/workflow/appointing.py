"""Scheduling speaks (SIU^S12, S13, S14, S15, S17, S26): when an order's steps are due, or that they are not to be.

An appointment says nothing of the order itself: an order that has ended stays ended, and one whose appointment was
given up shows again when it is booked anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bridge.domain.appointment import BOOKED, AppointmentRequest
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import ENDED, VISIBLE, newer
from bridge.domain.order import OrderRequest, StepStatus
from bridge.store import appointments, audit, orders, patients, review
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.workflow.context import Context
from bridge.workflow.identifying import is_nobodys
from bridge.workflow.scheduling import Result, move_step

CONFLICT = "appointment-conflict"
ANOTHER_PATIENT = "appointment-of-another-patient"


def take_appointment(
    connection: Connection, request: AppointmentRequest, message_id: int, who: str, context: Context
) -> Result:
    """Apply one order's appointment inside its message's transaction; kept until the order comes when it is unknown."""
    at = context.clock.now()
    when = request.occurred or at
    found = orders.find_order(connection, request.placer, request.filler)
    if len(found) > 1:
        return _park(connection, found[0], "order-numbers-of-two-orders", message_id, at)
    order = found[0] if found and not is_nobodys(connection, found[0]) else None
    if order is not None and not _theirs(connection, order, request.patient.identifiers):
        return _park(connection, order, ANOTHER_PATIENT, message_id, at)
    placer = request.placer or (order.placer if order else None)
    filler = request.filler or (order.filler if order else None)
    known = appointments.find_appointment(connection, placer, filler)
    if known is not None and not newer(when, known.event_at):
        return Result(warnings=["older than what is stored: no effect"], changed=False)
    if order is not None and _outdated(connection, order, when):
        return Result(warnings=["older than what is stored: no effect"], changed=False)
    appointments.put_appointment(connection, known, _values(request, placer, filler, when, message_id))
    if order is None:
        return Result(warnings=["the order of the appointment is not known: kept until it comes"])
    audit.write_audit(connection, at=at, who=who, action=f"appointment-{request.event}", subject=f"order:{order.id}")
    starts, places = list(request.starts), list(request.places)
    changed = _apply(connection, order, request.event, starts, places, message_id, context)
    return Result(warnings=[] if changed else ["the appointment changes nothing"], changed=changed)


def order_came(connection: Connection, order: OrderRequest, context: Context) -> None:
    """An order was made or changed: an appointment that waited is applied, one that is newer is applied again.

    A newer order message that names a time of its own has the last word on it.
    """
    row = appointments.find_appointment(connection, order.placer, order.filler)
    if row is None:
        return
    at = context.clock.now()
    if order.event_time and order.event_time > row.event_at and any(s.start for s in order.procedure.steps):
        appointments.drop_appointment(connection, row.id)
        return
    found = orders.find_order(connection, order.placer, order.filler)
    if len(found) != 1 or is_nobodys(connection, found[0]):
        return
    if not _theirs(connection, found[0], tuple(Identifier(*i) for i in row.patient)):
        _park(connection, found[0], ANOTHER_PATIENT, row.message_id, at)
        return
    starts = [datetime.fromisoformat(start) for start in row.starts]
    _apply(connection, found[0], row.event, starts, row.places, row.message_id, context)


def _park(connection: Connection, order: OrderRow, reason: str, message_id: int | None, at: datetime) -> Result:
    review.open_review(connection, CONFLICT, f"order:{order.id}", reason, at, {"message": message_id})
    return Result(parked=[reason], changed=False)


def _theirs(connection: Connection, order: OrderRow, identifiers: tuple[Identifier, ...]) -> bool:
    return patients.find_patient(connection, identifiers)[:1] == [order.patient_id]


def _outdated(connection: Connection, order: OrderRow, when: datetime) -> bool:
    """Whether the order has named a time of its own since; one that it never named is no rival."""
    if newer(when, order.event_at):
        return False
    return any(not step.start_defaulted for step in orders.steps_of_order(connection, order.id))


def _values(
    request: AppointmentRequest, placer: Identifier | None, filler: Identifier | None, when: datetime, message_id: int
) -> dict[str, Any]:
    return {
        "placer_order_number": placer.value if placer else None,
        "placer_issuer": placer.issuer if placer else "",
        "filler_order_number": filler.value if filler else None,
        "filler_issuer": filler.issuer if filler else "",
        "patient": [[i.value, i.issuer] for i in request.patient.identifiers],
        "event": request.event,
        "starts": [start.isoformat() for start in request.starts],
        "places": list(request.places),
        "event_at": when,
        "message_id": message_id,
    }


def _apply(
    connection: Connection,
    order: OrderRow,
    event: str,
    starts: list[datetime],
    places: list[str],
    message_id: int | None,
    context: Context,
) -> bool:
    """Move or hide the steps that are not performed yet; whether anything changed."""
    if order.status in ENDED:
        return False
    at = context.clock.now()
    open_to_it = VISIBLE | {StepStatus.CANCELED}
    steps = [s for s in orders.steps_of_order(connection, order.id) if StepStatus(s.status) in open_to_it]
    if event in BOOKED:
        changes = [(step, _booked(step, start)) for step, start in zip(steps, _times(steps, starts), strict=True)]
    else:
        changes = [(s, {"status": StepStatus.CANCELED} if s.status != StepStatus.CANCELED else {}) for s in steps]
    changes = [(step, values) for step, values in changes if values]
    for step, values in changes:
        orders.change_step(connection, step.id, values)
    moved = event in BOOKED and _to_their_rooms(connection, order, steps, places, context)
    if changes or moved:
        event = f"SIU {event}"
        orders.add_history(connection, order.id, at, event, order.status, order.status, message_id=message_id)
    return bool(changes) or moved


def _to_their_rooms(
    connection: Connection, order: OrderRow, steps: list[Any], places: list[str], context: Context
) -> bool:
    """The station table places anew each step whose room is another now; whether there was one."""
    if len(places) != len(steps):
        places = places[:1] * len(steps) if len(set(places)) == 1 else []
    moved = [(step, room) for step, room in zip(steps, places, strict=False) if room != step.location]
    for step, room in moved:
        move_step(connection, order, step, room, context)
    return bool(moved)


def _times(steps: list[Any], starts: list[datetime]) -> list[datetime | None]:
    """A time for each step: its own, else all move by as much as the first one does."""
    if not starts:
        return [None] * len(steps)
    if len(starts) == len(steps):
        return list(starts)
    firm = [_start(step) for step in steps if not step.start_defaulted]
    if not firm:
        return [starts[0]] * len(steps)
    shift = starts[0] - min(firm)
    return [starts[0] if step.start_defaulted else _start(step) + shift for step in steps]


def _start(step: Any) -> datetime:
    return datetime.strptime(step.start_date + (step.start_time + "000000")[:6], "%Y%m%d%H%M%S")  # noqa: DTZ007


def _booked(step: Any, start: datetime | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if step.status == StepStatus.CANCELED:
        values["status"] = StepStatus.SCHEDULED
    if start is None:
        return values
    day, time = f"{start:%Y%m%d}", f"{start:%H%M%S}"
    if day != step.start_date:
        values["status"] = StepStatus.SCHEDULED  # who has arrived has arrived for another day
    if (day, time, False) != (step.start_date, step.start_time, step.start_defaulted):
        values |= {"start_date": day, "start_time": time, "start_defaulted": False}
    return {k: v for k, v in values.items() if k != "status" or v != step.status}
