"""An order message becomes orders, requested procedures and scheduled steps (IHE RAD-2, RAD-3, RAD-4, RAD-13)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge import uids
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import ENDED, STEP_OF_ORDER, Action, action_of, newer, status_of
from bridge.domain.order import OrderRequest, OrderStatus, ProcedureRequest, StepRequest, StepStatus
from bridge.errors import BadValue
from bridge.store import audit, orders, performed, review, studies
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.workflow import demographics
from bridge.workflow.context import Context
from bridge.workflow.stations import place

SHORT_STRING = 16
"""SH (PS3.5 6.2): accession number, requested procedure id, step id."""
PERFORMED = frozenset({StepStatus.STARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED})


@dataclass(slots=True)
class Result:
    """What one order came to. `parked` holds the reasons for which a person must look."""

    warnings: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    changed: bool = True


def take_order(connection: Connection, order: OrderRequest, message_id: int, who: str, context: Context) -> Result:
    """Apply one order of a message inside its transaction. Raises `BadInput` when it cannot be used."""
    at = context.clock.now()
    action = action_of(order.control)
    if action is None:
        raise BadValue("order control is not in table 0119", where="ORC-1")
    if action is Action.NOTHING:
        return Result(warnings=["order control asks for no change"], changed=False)
    found = orders.find_order(connection, order.placer, order.filler)
    if len(found) > 1:
        return _park(connection, found[0], "order-numbers-of-two-orders", {"orders": [f.id for f in found]}, at)
    patient_id = demographics.take_patient_of_order(connection, order.patient, order.event_time, at)
    if found:
        return _change(connection, found[0], order, action, patient_id, message_id, who, context)
    return _create(connection, order, action, patient_id, message_id, who, context)


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
) -> Result:
    at = context.clock.now()
    result = Result()
    status = status_of(order.control, order.status)
    # A cancel, or a bare status, for an order that nobody told us of: kept, so that a late NW finds it.
    placeholder = action is not Action.UPSERT and not order.procedure.steps
    if action is not Action.UPSERT:
        result.warnings.append("the order was not known: kept as a placeholder")
    order_id = orders.add_order(
        connection,
        {
            **_numbers(order),
            **_order_values(order),
            "patient_id": patient_id,
            "status": status,
            "placeholder": placeholder,
            "event_at": order.event_time,
            "created_at": at,
            "updated_at": at,
            "allergies": list(order.allergies),
        },
    )
    orders.add_history(
        connection, order_id, at, f"{order.control} {order.status}".strip(), "", status, message_id=message_id
    )
    audit.write_audit(connection, at=at, who=who, action="order-created", subject=f"order:{order_id}")
    _take_procedure(connection, order_id, order, status, result, context)
    _look_for_studies(connection, order_id, patient_id)
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
) -> Result:
    at = context.clock.now()
    if patient_id != row.patient_id:
        # The worst fault there is: an order that moves to another person by a number alone.
        return _park(connection, row, "order-of-another-patient", {"message": message_id}, at)
    result = Result()
    late = not newer(order.event_time, row.event_at)
    if late and not row.placeholder:
        return Result(warnings=["older than what is stored: no effect"], changed=False)
    status = row.status if late else status_of(order.control, order.status)
    values: dict[str, Any] = {
        **{k: v for k, v in _numbers(order).items() if v},
        **{k: v for k, v in _order_values(order).items() if v},
        "status": status,
        "updated_at": at,
    }
    if order.allergies:
        values["allergies"] = list(order.allergies)
    if not late:
        values["event_at"] = order.event_time or row.event_at
    if action is Action.UPSERT:
        values["placeholder"] = False
    orders.change_order(connection, row.id, values)
    orders.add_history(
        connection,
        row.id,
        at,
        f"{order.control} {order.status}".strip(),
        row.status,
        status,
        message_id=message_id,
        note="late: fills a placeholder" if late else "",
    )
    audit.write_audit(connection, at=at, who=who, action="order-changed", subject=f"order:{row.id}")
    reorder = order.control == "NW" and row.status in ENDED and status not in ENDED
    if action is Action.UPSERT or (action is Action.STATUS and order.procedure.steps):
        _take_procedure(connection, row.id, order, status, result, context)
    _steps_follow(connection, row.id, row.status, status, reorder=reorder)
    _look_for_studies(connection, row.id, row.patient_id)
    return result


def _numbers(order: OrderRequest) -> dict[str, Any]:
    return {
        "placer_order_number": order.placer.value if order.placer else None,
        "placer_issuer": order.placer.issuer if order.placer else "",
        "filler_order_number": order.filler.value if order.filler else None,
        "filler_issuer": order.filler.issuer if order.filler else "",
    }


def _order_values(order: OrderRequest) -> dict[str, Any]:
    admission = order.visit.admission or Identifier("")
    accession = order.accession or Identifier("")
    return {
        "accession_number": accession.value,
        "accession_issuer": accession.issuer,
        "requesting_physician": order.requesting_physician.dicom,
        "referring_physician": order.visit.referring_physician.dicom,
        "department": order.department,
        "admission_id": admission.value,
        "admission_issuer": admission.issuer,
        "patient_class": order.visit.patient_class,
        "patient_location": order.visit.location,
        "patient_state": order.patient_state,
        "medical_alerts": order.medical_alerts,
        "pregnancy_status": order.pregnancy_status,
        "patient_weight_kg": order.patient_weight_kg,
        "patient_size_m": order.patient_size_m,
    }


def alias(value: str) -> str:
    """A stored stand-in for an id too long for DICOM: unique and the same for the same id, never a bare cut."""
    return "~" + base64.b32encode(hashlib.sha256(value.encode()).digest()).decode()[: SHORT_STRING - 1]


def _fits(value: str, what: str, result: Result) -> str:
    if len(value) <= SHORT_STRING:
        return value
    result.warnings.append(f"{what} is longer than {SHORT_STRING} characters: scanners get an alias")
    return alias(value)


def _take_procedure(
    connection: Connection,
    order_id: int,
    order: OrderRequest,
    status: OrderStatus,
    result: Result,
    context: Context,
) -> None:
    """Create or change the requested procedure and its steps in place: UIDs and ids stay what they were."""
    request = order.procedure
    if not request.steps:
        if action_of(order.control) is Action.UPSERT and not orders.steps_of_order(connection, order_id):
            # An order that no scanner could ever be shown: in sight of a person, not silent.
            result.parked.append("no-step")
            at = context.clock.now()
            review.open_review(connection, "order-parked", f"order:{order_id}", "no-step", at, {})
        return
    review.close_review(
        connection, ("order-parked",), f"order:{order_id}", context.clock.now(), "bridge", "the order has a step now"
    )
    stored = orders.procedures_of(connection, order_id)
    row = _same_procedure(stored, request, order)
    procedure_id = _fits(_procedure_id(order), "requested procedure id", result)
    values = {
        "description": request.description,
        "code": _code(request.code),
        "priority": request.priority,
        "reason": request.reason,
        "transport": request.transport,
        "comments": request.comments,
    }
    if row is None:
        uid = request.study_instance_uid or uids.new_uid()
        if not request.study_instance_uid:
            result.warnings.append("no Study Instance UID in the order: one was made")
        key = orders.add_procedure(
            connection,
            {
                **values,
                "order_id": order_id,
                "requested_procedure_id": procedure_id,
                "study_instance_uid": uid,
                "study_instance_uid_generated": not request.study_instance_uid,
            },
        )
    else:
        key, uid = row.id, row.study_instance_uid
        kept: dict[str, Any] = {k: v for k, v in values.items() if v}
        if request.study_instance_uid and request.study_instance_uid != uid:
            if orders.study_uid_in_use(connection, uid):
                result.warnings.append("the Study Instance UID is in use: the new one was not adopted")
            else:
                uid = request.study_instance_uid
                kept["study_instance_uid"] = uid
                kept["study_instance_uid_generated"] = False
        if kept:
            orders.change_procedure(connection, key, kept)
    accession = order.accession.value if order.accession else ""
    known = {s.scheduled_step_id: s for s in orders.steps_of(connection, key)}
    for number, step in enumerate(request.steps, 1):
        step_id = _fits(step.step_id or _step_id(known, procedure_id, number, len(request.steps)), "step id", result)
        _take_step(connection, key, known.get(step_id), step_id, step, order, status, accession, uid, result, context)


def _same_procedure(stored: list[Any], request: ProcedureRequest, order: OrderRequest) -> Any | None:
    wanted = _procedure_id(order)
    for row in stored:
        if row.requested_procedure_id in (wanted, alias(wanted)):
            return row
    return stored[0] if stored and not request.procedure_id else None


def _procedure_id(order: OrderRequest) -> str:
    """OBR-19, else the accession number, else the filler's or placer's number: stable for the life of the order."""
    for candidate in (
        order.procedure.procedure_id,
        order.accession.value if order.accession else "",
        order.filler.value if order.filler else "",
        order.placer.value if order.placer else "",
    ):
        if candidate:
            return candidate
    raise AssertionError("an order has a number")


def _step_id(known: dict[str, Any], procedure_id: str, number: int, of: int) -> str:
    if of == 1 and len(known) == 1:
        return next(iter(known))
    return f"{procedure_id}-{number}"


def _code(code: Any) -> list[str] | None:
    return [code.value, code.scheme, code.meaning] if code else None


def _take_step(
    connection: Connection,
    procedure_pk: int,
    row: Any | None,
    step_id: str,
    step: StepRequest,
    order: OrderRequest,
    status: OrderStatus,
    accession: str,
    study_uid: str,
    result: Result,
    context: Context,
) -> None:
    at = context.clock.now()
    placement = place(
        context.settings.station,
        modality=step.modality,
        room=step.location,
        department=order.department,
        procedure=order.procedure.code.value if order.procedure.code else "",
    )
    stations = step.station_ae_titles or (placement.ae_titles if placement else ())
    parked = _park_reason(step, stations, accession)
    values: dict[str, Any] = {
        "modality": step.modality,
        "modality_sent": step.modality_sent,
        "station_name": step.station_name or (placement.name if placement else ""),
        "location": step.location or (placement.location if placement else ""),
        "description": step.description,
        "performing_physician": step.performing_physician.dicom,
    }
    if step.start is not None:
        values |= {"start_date": f"{step.start:%Y%m%d}", "start_time": f"{step.start:%H%M%S}", "start_defaulted": False}
    if step.protocol_codes:
        values["protocol_codes"] = [_code(c) for c in step.protocol_codes]
    if row is None:
        if step.start is None:
            local = at.astimezone(context.settings.site.zone)
            values |= {"start_date": f"{local:%Y%m%d}", "start_time": f"{local:%H%M%S}", "start_defaulted": True}
            result.warnings.append("no scheduled start in the order: the time of receipt stands in")
        values.setdefault("protocol_codes", [])
        key = orders.add_step(
            connection,
            {
                **values,
                "requested_procedure_id": procedure_pk,
                "scheduled_step_id": step_id,
                "status": _first_status(connection, study_uid, status),
                "parked": parked,
            },
        )
        _adopt_performed(connection, study_uid, step_id, key)
    else:
        key = row.id
        orders.change_step(connection, key, {**{k: v for k, v in values.items() if v != ""}, "parked": parked})
    if stations:
        orders.set_stations(connection, key, stations)
    subject = f"step:{key}"
    if parked:
        result.parked.append(parked)
        details = {"modality_sent": step.modality_sent, "room": step.location, "department": order.department}
        review.open_review(connection, "order-parked", subject, parked, at, details)
    elif row is not None and row.parked:
        review.close_review(connection, ("order-parked",), subject, at, "bridge", "the order can be placed now")


def _park_reason(step: StepRequest, stations: tuple[str, ...], accession: str) -> str:
    """Why a step may not be shown to any scanner; '' when it may. Nothing is invented to make it fit."""
    if not step.modality:
        return "modality-unknown"
    if len(accession) > SHORT_STRING:
        return "accession-number-too-long"
    return "" if stations else "no-station"


def _first_status(connection: Connection, study_uid: str, status: OrderStatus) -> StepStatus:
    """A step that is ordered after it was done is never offered to a scanner (IHE PIR, acquired first)."""
    if status not in STEP_OF_ORDER or status is OrderStatus.SC:
        done = [r.status for r in performed.performed_of_study(connection, study_uid)]
        if done:
            return StepStatus.COMPLETED if "IN PROGRESS" not in done else StepStatus.STARTED
        if studies.find_study(connection, study_uid) is not None:
            return StepStatus.COMPLETED
        return StepStatus.SCHEDULED
    return STEP_OF_ORDER[status]


def _adopt_performed(connection: Connection, study_uid: str, step_id: str, key: int) -> None:
    """Performed steps that came before their order find it now."""
    for reference in performed.unresolved_of_study(connection, study_uid):
        if reference.scheduled_step_id in ("", step_id):
            performed.resolve_reference(connection, reference.id, key)


def _steps_follow(
    connection: Connection, order_id: int, before: OrderStatus, after: OrderStatus, *, reorder: bool
) -> None:
    """The order's status moves its steps, but never takes back what a device has performed, save for a re-order."""
    wanted = STEP_OF_ORDER.get(after)
    for step in orders.steps_of_order(connection, order_id):
        status = StepStatus(step.status)
        if wanted is None or status is wanted:
            continue
        if wanted is StepStatus.SCHEDULED and status in PERFORMED and not reorder:
            continue
        if wanted is StepStatus.SCHEDULED and status in (StepStatus.ARRIVED, StepStatus.READY):
            continue
        if wanted is StepStatus.CANCELED and status is StepStatus.COMPLETED:
            continue
        if before == after and not reorder and wanted is not StepStatus.SCHEDULED:
            continue
        orders.set_step_status(connection, step.id, wanted)


def _look_for_studies(connection: Connection, order_id: int, patient_id: int) -> None:
    row = orders.get_order(connection, order_id)
    studies.reopen_for_order(
        connection,
        uids=[p.study_instance_uid for p in orders.procedures_of(connection, order_id)],
        accession_number=row.accession.value if row.accession else "",
        accession_issuer=row.accession.issuer if row.accession else "",
        patient_id=patient_id,
    )
