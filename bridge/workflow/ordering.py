"""An order message becomes orders, requested procedures and scheduled steps (IHE RAD-2, RAD-3, RAD-4, RAD-13)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from bridge.domain.folding import CREATING, OrderEvent, not_granted
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import ENDED, ERROR, GIVEN_UP, STEP_OF_ORDER, VISIBLE, Action, action_of
from bridge.domain.message import UNKNOWN_END, UNKNOWN_ORDER
from bridge.domain.order import OrderRequest, OrderStatus, StepStatus, left
from bridge.domain.patient import PatientData
from bridge.domain.told import told_id
from bridge.domain.visit import latest, outdated, times_of, without
from bridge.errors import BadValue, MissingField, StateConflict
from bridge.store import audit, orders, review, studies
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.workflow import appointing, filling, identifying, joining, notifying, order_events, reporting, withholding
from bridge.workflow.context import Context
from bridge.workflow.order_events import Said, Telling
from bridge.workflow.scheduling import Result, take_procedure

_ENDS = frozenset({Action.CANCEL, Action.DISCONTINUE})
PERFORMED = frozenset({StepStatus.STARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED})


def take_order(
    connection: Connection, sent: OrderRequest, message_id: int, who: str, context: Context, telling: Telling
) -> Result:
    """Apply one order of a message inside its transaction. Raises `BadInput` when it cannot be used.

    What the order is afterwards does not depend on when the message came, only on what all its messages say.
    """
    at, again = context.clock.now(), telling.again
    order, warnings = order_events.dated(sent, telling.received)
    action = action_of(order.control)
    if action is None:
        raise BadValue("order control is not in table 0119", where="ORC-1")
    if action is Action.NOTHING:
        if again is None or again.unheard:
            notifying.answer_request(connection, order, message_id, False, context)
        return Result(warnings=[f"order control {order.control} asks for no change"], changed=False)
    found = _find(connection, order)
    joined = joining.find_tombstone(connection, order, found)
    if joined is not None:
        found = [one for one in found if one.id != joined.id]
    if len(found) > 1:
        return _park(connection, found[0], "order-numbers-of-two-orders", {"orders": [f.id for f in found]}, at)
    if order.contradiction:
        if not found:
            raise StateConflict("its groups say different things of one order", where="ORC-1")
        return _park(connection, found[0], order.contradiction, {"message": message_id}, at)
    whose = _whose(connection, order, found, message_id, at)
    if whose.parked:
        return Result(parked=[whose.parked], changed=False)
    if whose.agrees and found and found[0].patient_id == whose.patient_id:
        withholding.release(connection, found[0].id, at, "bridge", "a message of the order agrees with the record")
    known = found[0].id if found else None
    event = telling.event(connection, known, sent)
    if found:
        result = _change(
            connection,
            found[0],
            order,
            event,
            action,
            whose.patient_id,
            message_id,
            who,
            context,
            sent,
            telling,
            joined,
        )
    else:
        result = _create(connection, order, event, action, whose.patient_id, message_id, who, context)
    result.warnings += [*warnings, *whose.warnings]
    repeated = again is not None and known is not None and again.spoke_of(known)
    if not order.further:  # one message, one answer
        notifying.answer_request(connection, order, message_id, result.changed, context, repeated=repeated)
    if filling.ACCESSION in result.warnings:
        notifying.tell_numbered(connection, order, context, repeated=repeated)
    if result.changed:  # what came before its order finds it now
        appointing.order_came(connection, order, context)
        reporting.order_came(connection, order, context)
    return result


def _find(connection: Connection, order: OrderRequest) -> list[OrderRow]:
    """The order's own numbers in ORC and, where OBR gives others, those: of two orders a person must say which."""
    found = orders.find_order(connection, order.placer, order.filler)
    if order.detail_placer or order.detail_filler:
        known = {one.id for one in found}
        detail = orders.find_order(connection, order.detail_placer, order.detail_filler)
        found += [one for one in detail if one.id not in known]
    return found


def _whose(
    connection: Connection, order: OrderRequest, found: list[OrderRow], message_id: int, at: datetime
) -> identifying.Whose:
    """PID may be left out (HL7 v2.5.1 4.4.1): what is said of a known order needs none. Of an unknown one it is kept
    with nobody's record, until a message tells whose the order is."""
    if order.patient.identifiers:
        ended = found[0].patient_id if found and action_of(order.control) in _ENDS else None
        return identifying.take_patient_of_order(
            connection, order.patient, order.event_time, message_id, at, ends_order_of=ended
        )
    if order.control in CREATING:
        raise MissingField("an order without a patient", where="PID-3")
    if found:
        return identifying.Whose(found[0].patient_id)
    return identifying.take_patient_of_order(connection, PatientData(()), None, message_id, at)


def _park(connection: Connection, order: OrderRow, reason: str, details: dict[str, Any], at: datetime) -> Result:
    review.open_review(connection, "order-conflict", f"order:{order.id}", reason, at, details)
    return Result(parked=[reason], changed=False)


def _create(
    connection: Connection,
    order: OrderRequest,
    event: OrderEvent,
    action: Action,
    patient_id: int,
    message_id: int,
    who: str,
    context: Context,
) -> Result:
    at = context.clock.now()
    result = Result()
    state = order_events.first_said(event)
    status = state.status or OrderStatus.SC
    if not state.created:
        # A cancel, a change or a bare status of an order that nobody told us of: kept, so that its NW finds it.
        result.warnings.append(UNKNOWN_END if action in _ENDS else UNKNOWN_ORDER)
    order_id = orders.add_order(
        connection,
        {
            **_numbers(order),
            **{k: left(v) for k, v in _order_values(order).items()},
            "patient_id": patient_id,
            "status": status,
            "placeholder": not state.created,
            "fold": orders.kept_state(state),
            "visit_times": times_of([event]),
            "event_at": order.event_time,
            "created_at": at,
            "updated_at": at,
            "allergies": list(left(order.allergies)),
            "attributes": order.attributes,
        },
    )
    order_events.keep(connection, order_id, message_id, event)
    what = f"{order.control} {order.status}".strip()
    orders.add_history(connection, order_id, at, what, "", status, message_id=message_id)
    audit.write_audit(connection, at=at, who=who, action="order-created", subject=f"order:{order_id}")
    uid = ""
    if state.created or order.procedure.steps:  # a placeholder waits for no person: no order exists
        uid = take_procedure(connection, order_id, patient_id, order, status, result, context, fresh=True)
    _put_in_sight(connection, order_id, event, "", result, at)
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
    known: OrderRow,
    order: OrderRequest,
    event: OrderEvent,
    action: Action,
    patient_id: int,
    message_id: int,
    who: str,
    context: Context,
    sent: OrderRequest,
    telling: Telling,
    joined: OrderRow | None,
) -> Result:
    at = context.clock.now()
    if not joining.may_adopt(connection, known, patient_id):
        # The worst fault there is: an order that moves to another person by a number alone.
        return _park(connection, known, "order-of-another-patient", {"message": message_id}, at)
    if _has_two_accessions(connection, known, order):
        return _park(connection, known, "accession-numbers-of-two-exams", {"message": message_id}, at)
    row = joining.adopted(connection, known, patient_id)
    if joined is not None:
        joining.join(connection, row, joined, who, at)
    result = Result()
    said = order_events.say(
        connection,
        row,
        event,
        order,
        sent,
        telling,
        lambda one: not _has_two_accessions(connection, row, one),
        joined is not None,
    )
    order_events.keep(connection, row.id, message_id, event)
    if not said.news:
        return Result(warnings=["older than what is stored: no effect"], changed=False)
    order, late, status = said.request, said.late, said.after.status or OrderStatus.SC
    if not filling.accept_accession(connection, row, order.accession):
        # Images carry the number that was made: which of the two names the exam is a person's to say.
        details = {"message": message_id}
        review.open_review(connection, "order-conflict", f"order:{row.id}", filling.IN_USE, at, details)
        result.parked.append(filling.IN_USE)
        order = replace(order, accession=row.accession)
    elif row.accession_made and order.accession and row.accession and order.accession.key != row.accession.key:
        result.warnings.append(filling.REPLACED)
    if order.control == "NW" and said.before.created and not said.reordered and not order.further:
        result.warnings.append("the order is known: taken as a change")
    visit = without(order.visit, outdated(said.visit_times, row.visit_times))  # ADT has told of it since
    # Empty keeps (HL7 v2.5.1 2.5.3), also for what decides on the procedure and its steps.
    order = replace(
        order,
        placer=order.placer or row.placer,
        filler=order.filler or row.filler,
        accession=order.accession or row.accession,
        department=order.department or row.department,
        visit=replace(visit, patient_class=visit.patient_class or row.patient_class),
    )
    values: dict[str, Any] = {
        **_changes({**_numbers(order), **_order_values(order)}),
        "accession_made": row.accession_made and (order.accession == row.accession),
        "status": status,
        "placeholder": not said.after.created,
        "fold": orders.kept_state(said.after),
        "visit_times": latest(said.visit_times, row.visit_times),
        "updated_at": at,
    }
    if order.allergies:
        values["allergies"] = list(left(order.allergies))
    if order.attributes:
        values["attributes"] = {**row.attributes, **order.attributes}
    if not late:
        values["event_at"] = order.event_time or row.event_at
    orders.change_order(connection, row.id, values)
    what, note = f"{order.control} {event.status}".strip(), "late: it fills what was left open" if late else ""
    orders.add_history(connection, row.id, at, what, row.status, status, message_id=message_id, note=note)
    audit.write_audit(connection, at=at, who=who, action="order-changed", subject=f"order:{row.id}")
    tells_of_exam = late or action is Action.UPSERT or (action is Action.STATUS and order.procedure.steps)
    if tells_of_exam and (said.after.created or order.procedure.steps):
        take_procedure(connection, row.id, row.patient_id, order, status, result, context, unseen=row.placeholder)
    _steps_follow(connection, row.id, status, said)
    _parking_follows(connection, row.id, row.status, status, at)
    _look_for_studies(connection, row.id, row.patient_id)
    _put_in_sight(connection, row.id, event, "" if late else said.before.status or "", result, at)
    return result


def _has_two_accessions(connection: Connection, row: OrderRow, order: OrderRequest) -> bool:
    """Another accession number with another exam under the number of one order: it would be told for both exams.

    Also when the order has ended: a re-order shows all its exams again, and what was late would show with it.
    """
    if row.accession_made:
        return False  # a number of ours for the one exam: its own may take that place
    if not order.accession or not row.accession or order.accession.key == row.accession.key:
        return False
    told = told_id(order.procedure.procedure_id)
    ids = {procedure.requested_procedure_id for procedure in orders.procedures_of(connection, row.id)}
    return bool(told and ids) and told not in ids


def _put_in_sight(
    connection: Connection, order_id: int, event: OrderEvent, before: OrderStatus | str, result: Result, at: datetime
) -> None:
    """What the sender must be told of, and what a person must: a request that came too late, and a filler's error."""
    reason = "filler-reports-an-error" if event.status == ERROR else ""
    current = OrderStatus(before) if before else None
    if not_granted(event.control, event.status, current):
        result.warnings.append(f"{event.control} comes too late, the order is {before}: not done")
        # What replaces it is ordered in the same message, and stands beside what was to be replaced.
        reason = "replaced-too-late" if event.control == "RP" else reason
    elif event.control in ("XO", "XX") and not event.status and current is OrderStatus.IP:
        result.warnings.append("the order is in progress: the change may come too late")
    if reason:
        review.open_review(connection, "order-conflict", f"order:{order_id}", reason, at, {})
        result.parked.append(reason)


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


def _steps_follow(connection: Connection, order_id: int, after: OrderStatus, said: Said) -> None:
    """The order's status moves its steps, but never takes back what a device has performed, save for a re-order."""
    reorder, by_device = said.reordered, said.after.performed is not None
    wanted = STEP_OF_ORDER.get(after)
    if wanted is None:
        return
    for step in orders.steps_of_order(connection, order_id):
        status = StepStatus(step.status)
        waits = wanted is StepStatus.SCHEDULED and status in VISIBLE
        if status is wanted or waits:
            continue
        if by_device and wanted is StepStatus.STARTED and status in VISIBLE:
            continue  # it began another step of the order: this one still waits
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
            kinds = ("order-parked", "performed-discontinued")
            review.close_review(connection, kinds, subject, at, "bridge", "the order has ended")
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
