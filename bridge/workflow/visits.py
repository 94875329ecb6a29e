"""What a visit tells an order (ADT A01 to A13, A38), and accounts and visits that are renamed or move (A41 to A51).

An order is never cancelled by a visit that ends: a person does that, or the placer.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from bridge.domain.folding import Folded, fold
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import newer
from bridge.domain.matching import Rule
from bridge.domain.order import OrderStatus, StepStatus, left
from bridge.domain.patient import PatientEvent, Visit
from bridge.domain.visit import Times, outdated, told_of, without
from bridge.errors import MissingField
from bridge.store import links, orders, review, studies, visits
from bridge.store.db import Connection
from bridge.workflow import order_events, scheduling
from bridge.workflow.context import Context
from bridge.workflow.leaving import WAITS

_BECOMES = {
    "A01": frozenset({"P", "E", ""}),
    "A06": frozenset({"O", "E", "P", "R", "B", ""}),
    "A07": frozenset({"I", ""}),
}
"""Events that give a patient of these classes (PV1-2) a new visit: open orders of the old one follow."""
_ENDS = frozenset({"A03", "A11", "A38"})
_TRACKED = {
    "A09": (frozenset({StepStatus.ARRIVED, StepStatus.READY}), StepStatus.DEPARTED),
    "A10": (frozenset({StepStatus.SCHEDULED, StepStatus.DEPARTED}), StepStatus.ARRIVED),
}
"""Where the patient is (HL7 v2.5.1 3.3.9, 3.3.10): steps of the visit in these states get another (PS3.3 C.4.10)."""
_WAITING = frozenset({OrderStatus.SC, OrderStatus.HD})
RENAMES = {"A41": "account", "A49": "account", "A42": "visit", "A50": "visit", "A51": "alternate"}
"""Merged or renamed within one patient: what of."""


def take_visit(connection: Connection, event: PatientEvent, patient_id: int, context: Context) -> list[str]:
    """Open orders of the visit get its number, account, class, place and physician, and the patient's allergies."""
    at = context.clock.now()
    warnings: list[str] = []
    changed = False
    named: list[int] = []
    # Nobody tells of what is still to come: a clock that runs ahead must not make all others look old.
    occurred = min(event.occurred or at, at)
    for order in visits.open_orders(connection, patient_id):
        known = orders.visit_times(order)
        visit = _newest(event.visit, occurred, order, known)
        told = {**_told(event, visit, order), **_allergies(event, order)}
        new = {k: v for k, v in told.items() if getattr(order, k) != v}
        times = {**known, **dict.fromkeys(told_of(visit).keys() & told.keys(), occurred)}
        if new:
            orders.change_order(connection, order.id, {**new, "visit_times": times, "updated_at": at})
            changed = True
        elif times != known:
            orders.note_visit_times(connection, order.id, times)
        if "patient_class" in new:
            warnings += _place_again(connection, order, context)
        if _of(event.visit, order):
            named.append(order.id)
    if changed:
        orders.touch_steps_of_patient(connection, patient_id)
    if event.event in _TRACKED:
        return [*warnings, *_tracked(connection, named, event.event, at)]
    if event.event in _ENDS and named:
        warnings.append(f"open imaging orders of the visit that ended: {len(named)}, kept")
    return warnings


def _newest(visit: Visit, occurred: datetime, order: Any, known: Times) -> Visit:
    """The visit without what this order was told of later. Told of another class since, an order that names no visit
    takes nothing: it was another visit then."""
    told = told_of(visit)
    old = outdated(dict.fromkeys(told, occurred), known)
    if "patient_class" in old and visit.patient_class != order.patient_class and not _names_a_visit(order):
        old = set(told)
    return without(visit, old)


def _names_a_visit(order: Any) -> bool:
    return bool(order.admission_id or order.account_number)


def _told(event: PatientEvent, visit: Visit, order: Any) -> dict[str, Any]:
    """What the visit tells this order.

    An order that names no visit gets none: the event may speak of another one, an old one perhaps, and with its number
    the order would follow it to another patient (A44, A45). It takes what is true of the patient now.
    """
    if not _names_a_visit(order) and event.event not in _ENDS:
        return _values(replace(visit, admission=None, account=None))
    return _values(visit) if _concerns(event, order) else {}


def _allergies(event: PatientEvent, order: Any) -> dict[str, Any]:
    """The allergies are the patient's, whatever the visit. What the order was told later stands."""
    if not newer(event.occurred, order.event_at):
        return {}
    known = tuple(order.allergies) if event.allergies is None else event.allergies
    gone = {one.casefold() for one in event.allergies_no_more}
    every = (*(one for one in known if one.casefold() not in gone), *event.allergies_now)
    return {"allergies": list(dict.fromkeys(every))}


def _place_again(connection: Connection, row: Any, context: Context) -> list[str]:
    """The class is a condition of the station table: steps that wait go to the scanners of the new one."""
    if row.status not in _WAITING or not any(one.patient_class for one in context.settings.station):
        return []
    folded = fold(order_events.events_of(connection, row.id))
    if not folded.created:
        return []
    order, named = orders.get_order(connection, row.id), _named_by(folded)
    placed = [
        scheduling.place_again(connection, order, step, row.patient_class, context)
        for step in orders.steps_of_order(connection, row.id)
        if step.status in WAITS and orders.stations_of(connection, step.id) not in named
    ]
    return [] if all(placed) else ["a step of an open order cannot be placed for the new class: parked"]


def _named_by(folded: Folded) -> set[tuple[str, ...]]:
    """The scanners that the order names itself: they are its own, whatever the class."""
    steps = [step for request in folded.requests for step in request.procedure.steps]
    return {tuple(dict.fromkeys(step.station_ae_titles)) for step in steps if step.station_ae_titles}


def _values(visit: Visit) -> dict[str, Any]:
    told: dict[str, Any] = {**told_of(visit)}
    for names, number in (
        (("admission_id", "admission_issuer"), visit.admission),
        (("account_number", "account_issuer"), visit.account),
    ):
        if number is not None:
            told |= dict(zip(names, number.key, strict=True))
    return {k: left(v) for k, v in told.items() if v or k.endswith("_issuer")}


def _of(visit: Visit, order: Any) -> bool:
    """Whether the order carries the visit's number or account."""
    admission, account = (order.admission_id, order.admission_issuer), (order.account_number, order.account_issuer)
    told = {number.key for number in (visit.admission, visit.account) if number is not None}
    return bool(told & {key for key in (admission, account) if key[0]})


def _concerns(event: PatientEvent, order: Any) -> bool:
    if _of(event.visit, order):
        return True
    if event.event in _ENDS:
        return False
    before = Visit(event.prior_visit, account=event.prior_account)
    if _of(before, order):
        return True  # A06, A07 with MRG: the visit that turned into this one
    return order.patient_class in _BECOMES.get(event.event, ()) and newer(event.occurred, order.event_at)


def _tracked(connection: Connection, order_ids: list[int], event: str, at: datetime) -> list[str]:
    """A10: who was expected is here. A09: who was here has gone; the step waits on, in sight of the scanners."""
    before, after = _TRACKED[event]
    if not order_ids:
        return [f"no open imaging order of the visit: nobody is marked as {after.lower()}"]
    for order_id in order_ids:
        found = [s for s in orders.steps_of_order(connection, order_id) if s.status in before]
        for step in found:
            orders.set_step_status(connection, step.id, after)
        if found:
            status = orders.get_order(connection, order_id).status
            orders.add_history(connection, order_id, at, f"ADT {event}", status, status)
    return []


def rename(connection: Connection, event: PatientEvent, patient_id: int) -> list[str]:
    """A41, A42, A49, A50, A51: another number for the same account or visit. Raises MissingField."""
    kind = RENAMES[event.event]
    visit = event.visit
    number = None if visit.admission == visit.account else visit.admission
    old, new, where = {
        "account": (event.prior_account, visit.account, "PID-18"),
        "visit": (event.prior_visit, number, "PV1-19"),
        "alternate": (event.prior_alternate, visit.alternate, "PV1-50"),
    }[kind]
    if old is None or new is None:
        raise MissingField(f"{where} is empty", where=where)
    return renamed(connection, patient_id, old, new, account=kind == "account")


def renamed(connection: Connection, patient_id: int, old: Identifier, new: Identifier, *, account: bool) -> list[str]:
    if not visits.rename(connection, patient_id, old, new, account=account):
        return ["no imaging order carries the number that changes"]
    orders.touch_steps_of_patient(connection, patient_id)
    return []


def move(
    connection: Connection, event: PatientEvent, from_patient: int, patient_id: int, who: str, at: datetime
) -> list[str]:
    """A44, A45: the orders of one account or visit, and what hangs on them, become another patient's."""
    if from_patient == patient_id:
        return ["no imaging order carries the number that moves"]
    number = event.prior_account if event.event == "A44" else event.prior_visit
    moved = visits.orders_of_visit(connection, from_patient, number) if number else []
    warnings = _left_behind(connection, from_patient, patient_id, at)
    if not moved:
        return [*warnings, "no imaging order carries the number that moves"]
    rows = visits.links_of_orders(connection, moved)
    visits.move_orders(connection, moved, from_patient, patient_id, at)
    for order_id in moved:
        status = orders.get_order(connection, order_id).status
        orders.add_history(connection, order_id, at, f"ADT {event.event}", status, status, note="moved to its patient")
    new = event.visit.account if event.event == "A44" else event.visit.admission
    if number and new and new != number:
        visits.rename(connection, patient_id, number, new, account=event.event == "A44")
    orders.touch_steps_of_patient(connection, patient_id)
    _studies_follow(connection, rows, frozenset(moved), event.event, who, at)
    return warnings


def _left_behind(connection: Connection, from_patient: int, patient_id: int, at: datetime) -> list[str]:
    """Open orders that name no visit may be of the one that moves: nobody can tell but a person."""
    if all(_names_a_visit(o) for o in visits.open_orders(connection, from_patient)):
        return []
    reason, details = "visit-moved-orders-stay", {"moved_to": patient_id}
    review.open_review(connection, "patient-identifiers", f"patient:{from_patient}", reason, at, details)
    return ["open orders that name no visit stay with the first patient: a person is asked"]


def _studies_follow(
    connection: Connection, rows: list[Any], moved: frozenset[int], event: str, who: str, at: datetime
) -> None:
    """Their images name the first patient for ever: the hospital's word stands above what a device wrote."""
    for study_id in dict.fromkeys(link.study_id for link in rows):
        own = [link for link in rows if link.study_id == study_id]
        if all(link.order_id in moved for link in own):
            for link in own:
                links.end_link(connection, link.id, at, who, f"moved by {event}")
                links.add_link(
                    connection,
                    study_id,
                    link.procedure_id,
                    rule=Rule.PERSON,
                    evidence=[[f"moved by {event}", "equal"]],
                    at=at,
                    by=who,
                )
        studies.new_version(connection, study_id)
