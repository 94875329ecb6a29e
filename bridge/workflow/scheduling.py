"""The requested procedure and scheduled steps of an order: their ids, their scanner, and why a step may not show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bridge.config import Settings
from bridge.domain.coding import Code
from bridge.domain.lifecycle import ENDED, STEP_OF_ORDER, Action, action_of
from bridge.domain.order import OrderRequest, OrderStatus, ProcedureRequest, StepRequest, StepStatus, left
from bridge.domain.pairing import (
    UNCLEAR,
    ProcedureKey,
    StepKey,
    find_procedure,
    pair_steps,
    procedure_key,
    step_key,
)
from bridge.domain.told import SHORT_STRING, is_alias, told_id
from bridge.store import orders, review
from bridge.store.db import Connection
from bridge.workflow import filling, performing
from bridge.workflow.context import Context
from bridge.workflow.stations import Placement, place

MOST_MADE = 100
"""Aliases of ids that we made for the steps of one procedure are looked for up to this number."""
FOREIGN_UID = "study-uid-of-another-patient"
NO_STATION = "no-station"
ANOTHERS = "order-contradicts-patient"
"""Not judged anew by a message: `withholding` shows such a step again."""
NOWHERE = Placement(())


@dataclass(slots=True)
class Result:
    """What one order came to. `parked` holds the reasons for which a person must look."""

    warnings: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    changed: bool = True


def _sent(value: str) -> str:
    """The whole id where scanners get an alias, else ''."""
    return value if len(value) > SHORT_STRING else ""


def _fits(value: str, what: str, result: Result) -> str:
    if len(value) > SHORT_STRING:
        result.warnings.append(f"{what} is longer than {SHORT_STRING} characters: scanners get an alias")
    return told_id(value)


def take_procedure(
    connection: Connection,
    order_id: int,
    patient_id: int,
    order: OrderRequest,
    status: OrderStatus,
    result: Result,
    context: Context,
    *,
    fresh: bool = False,
    unseen: bool = False,
) -> str:
    """Create or change the requested procedure and its steps in place: UIDs and ids stay what they were.

    A `fresh` order has nothing yet; of an `unseen` one (a placeholder) no scanner knows the ids that were made, so
    that its own take their place. Returns the Study Instance UID, '' when the order tells of no step.
    """
    request = order.procedure
    if not request.steps:
        open_ = action_of(order.control) is Action.UPSERT and status not in ENDED
        if open_ and (fresh or not orders.steps_of_order(connection, order_id)):
            # An order that no scanner could ever be shown: in sight of a person, not silent.
            result.parked.append("no-step")
            at = context.clock.now()
            review.open_review(connection, "order-parked", f"order:{order_id}", "no-step", at, {})
        return ""
    if not fresh:
        settled, subject = "the order has a step now", f"order:{order_id}"
        review.close_review(connection, ("order-parked",), subject, context.clock.now(), "bridge", settled)
    if order.accession:
        _fits(order.accession.value, "accession number", result)
    stored = [] if fresh else orders.procedures_of(connection, order_id)
    place = _same_procedure(stored, request, order, context.settings) if stored else None
    if place == UNCLEAR:
        _park_unclear(connection, order_id, "exam-unclear", result, context)
        return ""
    row = None if place is None else stored[place]
    known: dict[str, Any] = {}
    if row is None:
        key, procedure_id, uid = _add_procedure(connection, order_id, order, stored, result, context)
        new_uid = True
    else:
        key, procedure_id = row.id, row.requested_procedure_id
        uid = _change_procedure(connection, row, request, result)
        new_uid = uid != row.study_instance_uid
        if request.code is None and row.code:
            order = replace(order, procedure=replace(request, code=Code(*row.code)))
        known = {s.scheduled_step_id: s for s in orders.steps_of(connection, key)}
        if unseen and len(stored) == 1:
            procedure_id, known = _named_anew(connection, row, order, known, context)
    new_uid = new_uid or any(s.parked == FOREIGN_UID for s in known.values())
    # A placeholder was perhaps nobody's, and its UID held against no one.
    foreign = (new_uid or unseen) and orders.study_uid_of_another(connection, uid, patient_id)
    withheld = any(s.parked == ANOTHERS for s in known.values())
    desk = _Steps(connection, key, order, status, foreign, result, context, dict(known), withheld)
    rows = list(known.values())
    sent = [replace(step_key(step), step_id=told_id(step.step_id)) for step in request.steps]
    taken = {*known, *(step.step_id for step in sent)}
    places = pair_steps([_stored_step_key(one, procedure_id) for one in rows], sent) if rows else [None] * len(sent)
    for number, (step, where) in enumerate(zip(request.steps, places, strict=True), 1):
        if where == UNCLEAR:
            _park_unclear(connection, order_id, "step-unclear", result, context)
            continue
        step_id = step.step_id if where is None else rows[where].scheduled_step_id
        if unseen and where is not None and step.step_id:
            desk.known[told_id(step.step_id)] = _step_named_anew(connection, desk.known.pop(step_id), step.step_id)
            step_id = step.step_id
        if not step_id:
            result.warnings.append(filling.MADE.format("scheduled step id"))
            step_id = _free_id(procedure_id, taken, "-", number)
            taken.add(told_id(step_id))
        desk.take(_fits(step_id, "step id", result), step, _sent(step_id))
    if order.accession is None:
        result.warnings += filling.fill_accession(connection, order_id, context)
    if (desk.added or new_uid) and not foreign:
        performing.order_came(connection, uid, order_id, context)
    return uid


def _named_anew(
    connection: Connection, row: Any, order: OrderRequest, steps: dict[str, Any], context: Context
) -> tuple[str, dict[str, Any]]:
    """The requested procedure id as it would be, had its order come first, and the steps that are named after it."""
    old, whole = row.requested_procedure_id, filling.procedure_ids(order, context.settings)[0]
    if told_id(whole) == old:
        return old, steps
    told = {"requested_procedure_id": told_id(whole), "requested_procedure_id_sent": _sent(whole)}
    orders.change_procedure(connection, row.id, told)
    renamed = [
        step if _stored_step_key(step, old).named else _step_named_anew(connection, step, f"{told_id(whole)}-{number}")
        for number, step in enumerate(steps.values(), 1)
    ]
    return told_id(whole), {step.scheduled_step_id: step for step in renamed}


def _step_named_anew(connection: Connection, step: Any, whole: str) -> Any:
    told = {"scheduled_step_id": told_id(whole), "scheduled_step_id_sent": _sent(whole)}
    if told_id(whole) != step.scheduled_step_id:
        orders.change_step(connection, step.id, told)
    return step._replace(**told)


def _park_unclear(connection: Connection, order_id: int, reason: str, result: Result, context: Context) -> None:
    """One of several is meant, and a person must say which: the others stay what they are."""
    review.open_review(connection, "order-conflict", f"order:{order_id}", reason, context.clock.now(), {})
    result.parked.append(reason)


def _values(request: ProcedureRequest) -> dict[str, Any]:
    return {
        "description": request.description,
        "priority": request.priority,
        "reason": request.reason,
        "transport": request.transport,
        "comments": request.comments,
    }


def _add_procedure(
    connection: Connection,
    order_id: int,
    order: OrderRequest,
    stored: list[Any],
    result: Result,
    context: Context,
) -> tuple[int, str, str]:
    request = order.procedure
    if not request.procedure_id:
        result.warnings.append(filling.MADE.format("requested procedure id"))
    whole, taken = filling.procedure_ids(order, context.settings)[0], {row.requested_procedure_id for row in stored}
    if told_id(whole) in taken:  # made from the order's number, which a sister procedure is named by
        whole = _free_id(whole, taken, ".", 2)
    procedure_id = _fits(whole, "requested procedure id", result)
    uid = request.study_instance_uid or filling.study_uid(order, whole, context.settings)
    if not request.study_instance_uid:
        result.warnings.append(filling.MADE.format("Study Instance UID"))
    key = orders.add_procedure(
        connection,
        {
            **{k: left(v) for k, v in _values(request).items()},
            "order_id": order_id,
            "requested_procedure_id": procedure_id,
            "code": _code(request.code),
            "requested_procedure_id_sent": _sent(whole),
            "study_instance_uid": uid,
            "study_instance_uid_generated": not request.study_instance_uid,
        },
    )
    return key, procedure_id, uid


def _change_procedure(connection: Connection, row: Any, request: ProcedureRequest, result: Result) -> str:
    """Returns the Study Instance UID that holds: a UID that images or a device already carry is never replaced."""
    uid = str(row.study_instance_uid)
    kept: dict[str, Any] = {k: left(v) for k, v in _values(request).items() if v}
    if request.code:
        kept["code"] = _code(request.code)
    if request.study_instance_uid and request.study_instance_uid != uid:
        if orders.study_uid_in_use(connection, uid):
            result.warnings.append("the Study Instance UID is in use: the new one was not adopted")
        else:
            uid = request.study_instance_uid
            kept |= {"study_instance_uid": uid, "study_instance_uid_generated": False}
    if kept:
        orders.change_procedure(connection, row.id, kept)
    return uid


def _same_procedure(
    stored: list[Any], request: ProcedureRequest, order: OrderRequest, settings: Settings
) -> int | None:
    """The place of the procedure that is meant, None for a new one, or UNCLEAR."""
    ids, wanted = filling.procedure_ids(order, settings), procedure_key(request)
    made = {told_id(i) for i in ids} - {told_id(request.procedure_id)}
    keys = []
    for row in stored:
        own = row.requested_procedure_id
        # One that we named by the order, before its own id was told, answers to any id.
        ours = own in made or any(own.startswith(f"{one}.") for one in made)
        keys.append(
            ProcedureKey("" if ours else own, row.study_instance_uid, tuple(row.code[:2]) if row.code else None)
        )
    told = told_id(request.procedure_id) if request.procedure_id else ""
    return find_procedure(keys, replace(wanted, procedure_id=told), alone=order.alone)


def _free_id(base: str, taken: Collection[str], mark: str, number: int) -> str:
    """`base` with the first number from `number` on that is not taken: what was told once never names another."""
    while told_id(f"{base}{mark}{number}") in taken:
        number += 1
    return f"{base}{mark}{number}"


def _stored_step_key(row: Any, procedure_id: str) -> StepKey:
    """A step id that begins with the id of its procedure is one of ours, as far as we can tell."""
    own, codes = row.scheduled_step_id, tuple(code[0] for code in row.protocol_codes)
    made = own.startswith(f"{procedure_id}-")
    if is_alias(own):
        made = any(own == told_id(f"{procedure_id}-{number}") for number in range(1, MOST_MADE))
    return StepKey(own, not made, row.modality or row.modality_sent, codes)


def _code(code: Code | None) -> list[str] | None:
    code = left(code)
    return [code.value, code.scheme, code.meaning] if code else None


@dataclass(slots=True)
class _Steps:
    """The steps of one requested procedure, taken one by one; `known` are those that are stored, by their id."""

    connection: Connection
    procedure_pk: int
    order: OrderRequest
    status: OrderStatus
    foreign_uid: bool
    result: Result
    context: Context
    known: dict[str, Any]
    withheld: bool
    added: bool = False

    def take(self, step_id: str, step: StepRequest, sent: str) -> None:
        connection, at = self.connection, self.context.clock.now()
        if step_id in self.known and self.known[step_id] is None:  # this message told of it before
            self.known = {s.scheduled_step_id: s for s in orders.steps_of(connection, self.procedure_pk)}
        row = self.known.get(step_id)
        modality = step.modality or ("" if step.modality_sent or row is None else row.modality)
        stations, where = self._where(step, row, modality)
        parked = ANOTHERS if self.withheld else park_reason(modality, stations, self.foreign_uid)
        values: dict[str, Any] = {
            **where,
            "modality": modality,
            "modality_sent": step.modality_sent or (row.modality_sent if row else ""),
            "parked": parked,
            **self._start(step, row, at),
        }
        if step.protocol_codes or row is None:
            values["protocol_codes"] = [_code(c) for c in left(step.protocol_codes)]
        for name, value in (
            ("description", step.description),
            ("performing_physician", step.performing_physician.dicom),
        ):
            if value or row is None:
                values[name] = left(value)
        if row is None:
            key = self._add(step_id, {**values, "scheduled_step_id_sent": sent})
            orders.add_stations(connection, key, stations)
        else:
            key = row.id
            orders.change_step(connection, key, values)
            if stations:
                orders.set_stations(connection, key, stations)
        self.known[step_id] = None
        subject = f"step:{key}"
        if parked and self.status not in ENDED:
            self.result.parked.append(parked)
            told = {
                "modality_sent": step.modality_sent,
                "room": left(step.location),
                "department": left(self.order.department),
            }
            review.open_review(connection, "order-parked", subject, parked, at, told)
        elif row is not None and row.parked and not parked:
            review.close_review(connection, ("order-parked",), subject, at, "bridge", "the order can be placed now")

    def _add(self, step_id: str, values: dict[str, Any]) -> int:
        # What was performed before it was ordered moves it when all steps are here (IHE PIR, acquired first).
        first = StepStatus.SCHEDULED
        if self.status in ENDED or not self.foreign_uid:
            first = STEP_OF_ORDER.get(self.status, first)
        key = orders.add_step(
            self.connection,
            {
                **values,
                "requested_procedure_id": self.procedure_pk,
                "scheduled_step_id": step_id,
                "status": first,
            },
        )
        self.added = True
        return key

    def _where(self, step: StepRequest, row: Any | None, modality: str) -> tuple[tuple[str, ...], dict[str, str]]:
        """The scanners, and the station name and place that go with them: what a message leaves out stays."""
        stored = orders.stations_of(self.connection, row.id) if row is not None else ()
        room = left(step.location or (row.location if row is not None else ""))
        code = left(self.order.procedure.code)
        placed = place(
            self.context.settings.station,
            modality=modality,
            room=room,
            department=left(self.order.department),
            procedure=code.value if code else "",
            patient_class=left(self.order.visit.patient_class),
        )
        named = left(step.station_ae_titles)
        stations = tuple(dict.fromkeys(named or (placed.ae_titles if placed else ())))
        moved = row is None or (modality, room) != (row.modality, row.location) or bool(step.station_ae_titles)
        if not stations and not moved:
            stations = stored  # the table cannot say better, and nothing that places it has changed
        if row is not None and (not stations or stations == stored):
            name, location = step.station_name or row.station_name, room
        else:
            label = placed if placed and placed.ae_titles == stations else NOWHERE
            name, location = step.station_name or label.name, step.location or label.location
        return stations, {"station_name": left(name), "location": left(location)}

    def _start(self, step: StepRequest, row: Any | None, at: datetime) -> dict[str, Any]:
        start, defaulted = step.start, False
        if start is None:
            if row is not None:
                return {}
            told = self.order.event_time if self.context.settings.filling.start == "event" else None
            start, defaulted = (told or at).astimezone(self.context.settings.site.zone), True
            which = "event" if told else "receipt"
            self.result.warnings.append(f"no scheduled start in the order: the time of {which} stands in")
        return {"start_date": f"{start:%Y%m%d}", "start_time": f"{start:%H%M%S}", "start_defaulted": defaulted}


def park_reason(modality: str, stations: tuple[str, ...], foreign_uid: bool) -> str:
    """Why a step may not be shown to any scanner; '' when it may. Nothing is invented to make it fit."""
    if not modality:
        return "modality-unknown"
    if foreign_uid:
        return FOREIGN_UID
    if any(len(title) > SHORT_STRING for title in stations):
        return "station-title-too-long"  # no scanner is called so, and none may be guessed
    return "" if stations else NO_STATION


def move_step(connection: Connection, order: orders.OrderRow, step: Any, room: str, context: Context) -> None:
    """Scheduling moves a step to another room: the station table says whose it is there; else a person must."""
    placed = _placed(connection, order, step, room, order.patient_class, context)
    _put(connection, order, step, room, placed, context)


def place_again(
    connection: Connection, order: orders.OrderRow, step: Any, class_before: str, context: Context
) -> Placement | None:
    """A step that waits goes to the scanners of the order's new class, in the room that it was told; its time, like
    all else that its appointment tells, stays. Returns None when a person must place it."""
    stations, room = orders.stations_of(connection, step.id), step.location
    before = _placed(connection, order, step, "", class_before, context)
    if before and room == before.location and stations == before.ae_titles:
        room = ""  # nobody told of a room: it was the table's own, for the class before
    placed = _placed(connection, order, step, room, order.patient_class, context)
    if placed is None or placed.ae_titles != stations:
        _put(connection, order, step, room or (placed.location if placed else ""), placed, context)
    return placed


def _placed(
    connection: Connection, order: orders.OrderRow, step: Any, room: str, patient_class: str, context: Context
) -> Placement | None:
    """Whose a stored step is by the station table."""
    (code,) = (p.code for p in orders.procedures_of(connection, order.id) if p.id == step.requested_procedure_id)
    return place(
        context.settings.station,
        modality=step.modality,
        room=room,
        department=order.department,
        procedure=code[0] if code else "",
        patient_class=patient_class,
    )


def _put(
    connection: Connection, order: orders.OrderRow, step: Any, room: str, placed: Placement | None, context: Context
) -> None:
    label = placed or NOWHERE
    parked = step.parked if step.parked not in ("", NO_STATION) else "" if placed else NO_STATION
    values = {"location": room, "station_name": label.name, "parked": parked}
    orders.change_step(connection, step.id, values)
    orders.set_stations(connection, step.id, label.ae_titles)
    at, subject = context.clock.now(), f"step:{step.id}"
    if parked:
        told = {"modality_sent": step.modality_sent, "room": room, "department": order.department}
        review.open_review(connection, "order-parked", subject, parked, at, told)
    elif step.parked:
        review.close_review(connection, ("order-parked",), subject, at, "bridge", "the order can be placed now")
