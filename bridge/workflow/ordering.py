"""An order message becomes orders, requested procedures and scheduled steps (IHE RAD-2, RAD-3, RAD-4, RAD-13)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from bridge.domain.folding import fold
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import ENDED, GIVEN_UP, STEP_OF_ORDER, Action, action_of
from bridge.domain.message import UNKNOWN_ORDER
from bridge.domain.order import OrderRequest, OrderStatus, StepStatus, left
from bridge.errors import BadValue
from bridge.store import audit, orders, review, studies
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.workflow import appointing, identifying, notifying, order_events, reporting
from bridge.workflow.context import Context
from bridge.workflow.scheduling import Result, take_procedure, told_id

PERFORMED = frozenset({StepStatus.STARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED})


def take_order(
    connection: Connection, order: OrderRequest, message_id: int, who: str, context: Context, *, control_id: str = ""
) -> Result:
    """Apply one order of a message inside its transaction. Raises `BadInput` when it cannot be used.

    What the order is afterwards does not depend on when the message came, only on what all its messages say.
    """
    at = context.clock.now()
    action = action_of(order.control)
    if action is None:
        raise BadValue("order control is not in table 0119", where="ORC-1")
    if action is Action.NOTHING:
        return Result(warnings=["order control asks for no change"], changed=False)
    found = orders.find_order(connection, order.placer, order.filler)
    if len(found) > 1:
        return _park(connection, found[0], "order-numbers-of-two-orders", {"orders": [f.id for f in found]}, at)
    whose = identifying.take_patient_of_order(connection, order.patient, order.event_time, message_id, at)
    if whose.parked:
        return Result(parked=[whose.parked], changed=False)
    if found:
        result = _change(connection, found[0], order, action, whose.patient_id, message_id, who, context, control_id)
    else:
        result = _create(connection, order, action, whose.patient_id, message_id, who, context, control_id)
    result.warnings += whose.warnings
    notifying.answer_request(connection, order, message_id, result.changed, context)
    if result.changed:  # what came before its order finds it now
        appointing.order_came(connection, order, context)
        reporting.order_came(connection, order, context)
    return result


def _park(connection: Connection, order: OrderRow, reason: str, details: dict[str, Any], at: datetime) -> Result:
    review.open_review(connection, "order-conflict", f"order:{order.id}", reason, at, details)
    return Result(parked=[reason], changed=False)


def _create(
    connection: Connection,
    order: OrderRequest,
    action: Action,
    patient_id: int,
    message_id: int,
    who: str,
    context: Context,
    control_id: str,
) -> Result:
    at = context.clock.now()
    result = Result()
    event = order_events.event_of(order, control_id, at, [])
    folded = fold([event])
    if not folded.created:
        # A cancel, a change or a bare status of an order that nobody told us of: kept, so that its NW finds it.
        result.warnings.append(UNKNOWN_ORDER)
    order_id = orders.add_order(
        connection,
        {
            **_numbers(order),
            **{k: left(v) for k, v in _order_values(order).items()},
            "patient_id": patient_id,
            "status": folded.status,
            "placeholder": not folded.created,
            "event_at": order.event_time,
            "created_at": at,
            "updated_at": at,
            "allergies": list(left(order.allergies)),
        },
    )
    order_events.keep(connection, order_id, message_id, event)
    what = f"{order.control} {order.status}".strip()
    orders.add_history(connection, order_id, at, what, "", folded.status, message_id=message_id)
    audit.write_audit(connection, at=at, who=who, action="order-created", subject=f"order:{order_id}")
    uid = take_procedure(connection, order_id, patient_id, order, folded.status, result, context, fresh=True)
    studies.reopen_for_order(
        connection,
        uids=[uid] if uid else [],
        accession_number=told_id(order.accession.value) if order.accession else "",
        accession_issuer=order.accession.issuer if order.accession else "",
        patient_id=patient_id,
    )
    return result


def _change(
    connection: Connection,
    row: OrderRow,
    order: OrderRequest,
    action: Action,
    patient_id: int,
    message_id: int,
    who: str,
    context: Context,
    control_id: str,
) -> Result:
    at = context.clock.now()
    if patient_id != row.patient_id:
        # The worst fault there is: an order that moves to another person by a number alone.
        return _park(connection, row, "order-of-another-patient", {"message": message_id}, at)
    result = Result()
    known = order_events.events_of(connection, row.id)
    event = order_events.event_of(order, control_id, at, known)
    before, folded = fold(known), fold([*known, event])
    late = any(event.key < other.key for other in known)
    order_events.keep(connection, row.id, message_id, event)
    if late and folded == before:
        return Result(warnings=["older than what is stored: no effect"], changed=False)
    reorder = folded.reordered > before.reordered
    if order.control == "NW" and before.created and not reorder:
        result.warnings.append("the order is known: taken as a change")
    if late and folded.request is not None:
        # It came late: what is newer than it stands, and it fills what that left open.
        order = replace(folded.request, control=order.control, patient=order.patient)
    # Empty keeps (HL7 v2.5.1 2.5.3), also for what decides on the procedure and its steps.
    order = replace(
        order,
        placer=order.placer or row.placer,
        filler=order.filler or row.filler,
        accession=order.accession or row.accession,
        department=order.department or row.department,
        visit=replace(order.visit, patient_class=order.visit.patient_class or row.patient_class),
    )
    values: dict[str, Any] = {
        **_changes({**_numbers(order), **_order_values(order)}),
        "status": folded.status,
        "placeholder": not folded.created,
        "updated_at": at,
    }
    if order.allergies:
        values["allergies"] = list(left(order.allergies))
    if not late:
        values["event_at"] = order.event_time or row.event_at
    orders.change_order(connection, row.id, values)
    what, note = f"{order.control} {event.status}".strip(), "late: it fills what was left open" if late else ""
    orders.add_history(connection, row.id, at, what, row.status, folded.status, message_id=message_id, note=note)
    audit.write_audit(connection, at=at, who=who, action="order-changed", subject=f"order:{row.id}")
    if late or action is Action.UPSERT or (action is Action.STATUS and order.procedure.steps):
        take_procedure(connection, row.id, row.patient_id, order, folded.status, result, context)
    _steps_follow(connection, row.id, folded.status, reorder=reorder)
    _parking_follows(connection, row.id, row.status, folded.status, at)
    _look_for_studies(connection, row.id, row.patient_id)
    return result


_NUMBER_OF = {
    "placer_issuer": "placer_order_number",
    "filler_issuer": "filler_order_number",
    "accession_issuer": "accession_number",
    "admission_issuer": "admission_id",
    "account_issuer": "account_number",
}


def _changes(told: dict[str, Any]) -> dict[str, Any]:
    """Empty keeps, the null deletes (HL7 v2.5.1 2.5.3); a number takes its issuer with it, also when it has none."""
    return {k: left(v) for k, v in told.items() if v or told.get(_NUMBER_OF.get(k, ""))}


def _numbers(order: OrderRequest) -> dict[str, Any]:
    return {
        "placer_order_number": order.placer.value if order.placer else None,
        "placer_issuer": order.placer.issuer if order.placer else "",
        "filler_order_number": order.filler.value if order.filler else None,
        "filler_issuer": order.filler.issuer if order.filler else "",
    }


def _order_values(order: OrderRequest) -> dict[str, Any]:
    admission = order.visit.admission or Identifier("")
    account = order.visit.account or Identifier("")
    accession = order.accession or Identifier("")
    return {
        "accession_number": accession.value,
        "accession_issuer": accession.issuer,
        "accession_told": told_id(accession.value),
        "requesting_physician": order.requesting_physician.dicom,
        "referring_physician": order.visit.referring_physician.dicom,
        "department": order.department,
        "admission_id": admission.value,
        "admission_issuer": admission.issuer,
        "account_number": account.value,
        "account_issuer": account.issuer,
        "patient_class": order.visit.patient_class,
        "patient_location": order.visit.location,
        "patient_state": order.patient_state,
        "confidentiality": order.confidentiality,
        "medical_alerts": order.medical_alerts,
        "pregnancy_status": order.pregnancy_status,
        "patient_weight_kg": order.patient_weight_kg,
        "patient_size_m": order.patient_size_m,
    }


def _steps_follow(connection: Connection, order_id: int, after: OrderStatus, *, reorder: bool) -> None:
    """The order's status moves its steps, but never takes back what a device has performed, save for a re-order."""
    wanted = STEP_OF_ORDER.get(after)
    if wanted is None:
        return
    for step in orders.steps_of_order(connection, order_id):
        status = StepStatus(step.status)
        arrived = wanted is StepStatus.SCHEDULED and status in (StepStatus.ARRIVED, StepStatus.READY)
        if status is wanted or arrived:
            continue
        if status in PERFORMED and not reorder and orders.was_performed(connection, step.id):
            if wanted is StepStatus.SCHEDULED or status is StepStatus.COMPLETED:
                continue
            if after not in GIVEN_UP:
                continue
        orders.set_step_status(connection, step.id, wanted)


def _parking_follows(
    connection: Connection, order_id: int, before: OrderStatus, after: OrderStatus, at: datetime
) -> None:
    """Nobody need look at a parked order that has ended; one that is alive again waits for a person again."""
    if after in ENDED:
        subjects = [f"order:{order_id}", *(f"step:{s.id}" for s in orders.steps_of_order(connection, order_id))]
        for subject in subjects:
            review.close_review(connection, ("order-parked",), subject, at, "bridge", "the order has ended")
    elif before in ENDED:
        for step in orders.steps_of_order(connection, order_id):
            if step.parked:
                details = {"modality_sent": step.modality_sent, "room": step.location}
                review.open_review(connection, "order-parked", f"step:{step.id}", step.parked, at, details)


def _look_for_studies(connection: Connection, order_id: int, patient_id: int) -> None:
    row = orders.get_order(connection, order_id)
    studies.reopen_for_order(
        connection,
        uids=[p.study_instance_uid for p in orders.procedures_of(connection, order_id)],
        accession_number=row.accession_told,
        accession_issuer=row.accession.issuer if row.accession else "",
        patient_id=patient_id,
    )
