"""What an order's owner is told, and in which order: status from devices, and the answers of a filler (HL7 v2 4.5.1).

A telling is enqueued in the transaction of the act as plain facts; the message is built from them outside the
writer's lock, kept, and then sent until it is acknowledged: at least once, always with the same MSH-10, and
nothing overtakes it. Without an [[hl7.destination]] nothing happens here.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from pydantic import TypeAdapter

from bridge.config import Destination
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.order import OrderRequest, OrderStatus, StepStatus
from bridge.domain.patient import PersonName
from bridge.store import audit, orders, outbound, patients, review
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.store.outbound import OutboundRow, OutboundState
from bridge.workflow.context import Context

PROGRESS = ("started", "completed", "discontinued")
UNASKED = (*PROGRESS, "numbered")
"""What is told without having been asked."""
ANSWERS = {
    "CA": ("cancelled", "cancel-refused"),
    "DC": ("stopped", "stop-refused"),
    "HD": ("held", "hold-refused"),
    "RL": ("released", "release-refused"),
    "RP": ("replaced", "replace-refused"),
    "XO": ("changed", "change-refused"),
}
"""What a placer asks by ORC-1 -> what it is told when that was done, and when it was not."""
_ORDERS = frozenset({"NW", "RO"})
_ENDED = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED})
_PERFORMED = frozenset({StepStatus.STARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED})
_LEASE_MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ToldProcedure:
    """A requested procedure with its ids as their sender wrote them, not as scanners see them."""

    procedure_id: str
    study_instance_uid: str
    code: Code | None
    description: str
    modality: str
    step_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Telling:
    """Everything a message says. `event` is one of `Destination.events`; `answers` is the MSH-10 of the request
    that this answers, '' for a status of our own; `at` is when it happened (aware UTC); `status` is ORC-5 where it was
    asked for."""

    event: str
    at: datetime
    answers: str
    placer: Identifier | None
    filler: Identifier | None
    accession: Identifier | None
    patient_identifiers: tuple[Identifier, ...]
    patient_name: PersonName
    birth_date: str
    sex: str
    procedures: tuple[ToldProcedure, ...]
    status: str = ""


_TELLING = TypeAdapter(Telling)


def read_telling(facts: bytes) -> Telling:
    """The facts of a row in state `new`."""
    return _TELLING.validate_json(facts)


def tell_progress(connection: Connection, order_id: int, context: Context) -> None:
    """A device changed a step of the order: tell where the order stands now, if that was not told yet.

    Started while any step is; ended when every step has, completed if at least one was. A step that waits again
    (CID 9301) changes nothing: the order is still in progress. A re-order is told anew.
    """
    if not context.settings.hl7.destination:
        return
    statuses = {StepStatus(s.status) for s in orders.steps_of_order(connection, order_id)}
    if statuses and statuses <= _ENDED:
        event = "completed" if StepStatus.COMPLETED in statuses else "discontinued"
        if StepStatus.DISCONTINUED not in statuses and event == "discontinued":
            return
    elif StepStatus.STARTED in statuses:
        event = "started"
    else:
        return
    _tell(connection, orders.get_order(connection, order_id), event, "", context)


def answer_request(
    connection: Connection,
    order: OrderRequest,
    message_id: int,
    changed: bool,
    context: Context,
    *,
    repeated: bool = False,
) -> None:
    """The filler's answer to a placer's order or request (ORC-5 is empty: it asks), by what came of it.

    `repeated`: the message spoke of this order before, in a replay. The answer that its placer then got stands; one
    that was never given, as the order had no exam to tell of, is owed.
    """
    if not context.settings.hl7.destination:
        return
    found = orders.find_order(connection, order.placer, order.filler)
    if len(found) != 1:
        return  # which order is meant is a person's to say, and so is the answer
    (row,) = found
    either: tuple[str, ...] = ("accepted",)
    if order.control in _ORDERS:
        event = "accepted" if changed else ""
    elif order.control == "SS":
        event = "status"
    elif order.control in ANSWERS and not order.status and (changed or order.control != "XO"):
        either = granted, refused = ANSWERS[order.control]
        event = granted if _granted(connection, row, order.control) else refused
    else:
        return
    if event:
        answers = outbound.control_id_of(connection, message_id)
        _tell(connection, row, event, answers, context, settled=either if repeated else ())


def tell_numbered(connection: Connection, order: OrderRequest, context: Context, *, repeated: bool = False) -> None:
    """An accession number was made for the order: its owner is told, once; an answer that holds it is enough, but one
    that was given before does not hold it."""
    found = orders.find_order(connection, order.placer, order.filler)
    unless = "accepted" if order.control in _ORDERS and not repeated else ""
    if len(found) == 1:
        _tell(connection, found[0], "numbered", "", context, unless=unless)


def _granted(connection: Connection, row: OrderRow, control: str) -> bool:
    """Whether the order now is what the placer asked for; what is begun is neither taken back nor changed."""
    performed = any(s.status in _PERFORMED for s in orders.steps_of_order(connection, row.id))
    if control in ("CA", "RP"):
        return row.status is OrderStatus.CA and not performed
    if control == "XO":
        return row.status in (OrderStatus.SC, OrderStatus.HD) and not performed
    if control == "RL":
        return row.status in (OrderStatus.SC, OrderStatus.IP)
    return row.status is (OrderStatus.DC if control == "DC" else OrderStatus.HD)


def _tell(
    connection: Connection,
    order: OrderRow,
    event: str,
    answers: str,
    context: Context,
    *,
    unless: str = "",
    settled: tuple[str, ...] = (),
) -> None:
    """Enqueue it for each destination that wants it, but `unless` it is told another thing, or was told a `settled`
    one."""
    at, subject = context.clock.now(), f"order:{order.id}"
    facts = b""
    for destination in context.settings.hl7.destination:
        if event not in destination.events or unless in destination.events:
            continue
        if destination.placers and (order.placer is None or order.placer.issuer not in destination.placers):
            continue
        told = [word.partition("#")[0] for word in outbound.events_of(connection, destination.name, subject)]
        if not set(settled).isdisjoint(told):
            continue
        if event in PROGRESS and next((word for word in reversed(told) if word in PROGRESS), "") == event:
            continue
        facts = facts or _facts(connection, order, event, answers, at, context.settings.defaults.patient_issuer)
        if not facts:
            return
        key = f"{event}#{told.count(event) + 1}" if event in told else event
        control_id, due = uuid.uuid4().hex[:20], context.clock.steady()
        outbound.add_outbound(connection, destination.name, control_id, facts, subject, key, at, due)


def _facts(
    connection: Connection, order: OrderRow, event: str, answers: str, at: datetime, preferred_issuer: str
) -> bytes:
    """The telling as JSON; b'' for an order of which we know no procedure: there is nothing to tell."""
    procedures = tuple(
        ToldProcedure(
            p.requested_procedure_id_sent or p.requested_procedure_id,
            p.study_instance_uid,
            Code(*p.code) if p.code else None,
            p.description,
            next((s.modality for s in steps if s.modality), ""),
            tuple(s.scheduled_step_id_sent or s.scheduled_step_id for s in steps),
        )
        for p in orders.procedures_of(connection, order.id)
        for steps in (orders.steps_of(connection, p.id),)
    )
    if not procedures:
        return b""
    patient = patients.get_patient(connection, order.patient_id)
    telling = Telling(
        event,
        at,
        answers,
        order.placer,
        order.filler,
        order.accession,
        patients.identifiers_of(connection, order.patient_id, preferred_issuer),
        patient.name,
        patient.birth_date,
        patient.sex,
        procedures,
        order.status if event == "status" else "",
    )
    return orjson.dumps(telling)


class OutQueue:
    """One destination's queue as its sender sees it: the head, an attempt, and what became of it."""

    def __init__(
        self, context: Context, destination: Destination, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._context = context
        self._destination = destination
        self._jitter = jitter

    def head(self) -> OutboundRow | None:
        """The oldest message that waits, if it may be tried now; nothing overtakes one that may not."""
        with self._context.database.read() as connection:
            row = outbound.oldest_waiting(connection, self._destination.name)
        if row is None or row.state is OutboundState.STOPPED:
            return None
        now, settings = self._context.clock.steady(), self._destination
        longest = _LEASE_MARGIN + timedelta(seconds=settings.ack_seconds + settings.retry_most_seconds)
        # Further away than any pause reaches: the clock that wrote it was wrong.
        return None if now < row.next_attempt_at <= now + longest else row

    def begin(self, row: OutboundRow, raw: bytes) -> int:
        """Keep the final bytes and take the attempt; its number, or 0 when another node was first."""
        until = self._context.clock.steady() + timedelta(seconds=self._destination.ack_seconds) + _LEASE_MARGIN
        if self._context.database.write(lambda c: outbound.claim_outbound(c, row, raw, until)):
            return row.attempts + 1
        return 0

    def sent(self, row: OutboundRow, attempt: int, answer: str) -> bool:
        at, due = self._context.clock.now(), self._context.clock.steady()
        return self._context.database.write(
            lambda c: outbound.settle_outbound(c, row.id, attempt, OutboundState.SENT, answer, next_at=due, sent_at=at)
        )

    def again(self, row: OutboundRow, attempt: int, answer: str) -> None:
        """Later: the pause doubles from `retry_seconds` to `retry_most_seconds`, shortened by up to a half."""
        settings = self._destination
        pause = min(settings.retry_most_seconds, settings.retry_seconds * 2 ** min(attempt - 1, 20))
        at = self._context.clock.steady() + timedelta(seconds=pause * (1 - self._jitter() / 2))
        self._context.database.write(
            lambda c: outbound.settle_outbound(c, row.id, attempt, OutboundState.DUE, answer, next_at=at)
        )

    def give_up(self, row: OutboundRow, attempt: int, answer: str, *, stop: bool) -> None:
        """List the message for a person; the next one goes on, unless `stop`."""
        at, due = self._context.clock.now(), self._context.clock.steady()
        state = OutboundState.STOPPED if stop else OutboundState.DEAD

        def change(connection: Connection) -> None:
            if not outbound.settle_outbound(connection, row.id, attempt, state, answer, next_at=due):
                return
            details = {"destination": row.destination, "about": row.subject, "event": row.event, "stopped": stop}
            review.open_review(connection, "outbound-dead", f"outbound:{row.id}", answer, at, details)

        self._context.database.write(change)


def send_again(context: Context, key: int, who: str) -> bool:
    """A person: try the stopped or dead message again, same bytes, same MSH-10. False when it is neither."""
    return _decide(context, key, who, OutboundState.DUE, "outbound-again")


def drop_outbound(context: Context, key: int, who: str) -> bool:
    """A person: the stopped or dead message is not needed; its queue goes on. False when it is neither."""
    return _decide(context, key, who, OutboundState.DEAD, "outbound-dropped")


def _decide(context: Context, key: int, who: str, state: OutboundState, action: str) -> bool:
    at = context.clock.now()

    def change(connection: Connection) -> bool:
        row = outbound.get_outbound(connection, key)
        if row is None:
            return False
        # One that could not be built still holds its facts: it is built anew, by the settings as they are now.
        to = OutboundState.NEW if state is OutboundState.DUE and row.raw.startswith(b"{") else state
        if not outbound.release_outbound(connection, key, to, context.clock.steady()):
            return False
        review.close_review(connection, ("outbound-dead",), f"outbound:{key}", at, who, action)
        audit.write_audit(connection, at=at, who=who, action=action, subject=f"outbound:{key}")
        return True

    return context.database.write(change)
