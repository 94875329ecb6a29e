"""A message arrives: stored with the change it makes and the answer it gets, in one transaction.

The answer is made inside the transaction and leaves after its commit. A resend is told by MSH-3, MSH-4, MSH-10 and
the bytes, and gets the stored answer again with no second effect. The sequence number protocol (HL7 v2.5.1 2.10.1),
where a feed uses it, is decided in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from bridge.domain.message import Envelope, Fate, Outcome, Reading
from bridge.errors import BadInput, BridgeError, StateConflict, StoreError
from bridge.store import audit, inbox, review
from bridge.store.db import Connection
from bridge.workflow import appointing, demographics, ordering, reporting
from bridge.workflow.context import Context
from bridge.workflow.order_events import Again, Telling

WriteAck = Callable[[Outcome], tuple[str, bytes]]
"""Makes the acknowledgement: (code, bytes). Pure and quick: it runs under the writer's lock."""


log = logging.getLogger("bridge.intake")
RESTART, RESYNCHRONISE = 0, -1
"""MSH-13 that start a link anew and that void its count (2.10.1): messages of the protocol, not of a patient."""
NOT_YET = "-1"
"""MSA-4 of a link without a count: the next number that comes is taken as the first."""


@dataclass(frozen=True, slots=True)
class Turn:
    """MSH-13 of a message, and the two applications whose stream it counts."""

    link: str
    number: int


class Intake:
    def __init__(self, context: Context) -> None:
        self._context = context

    def take(
        self, envelope: Envelope, reading: Reading, write_ack: WriteAck, *, turn: Turn | None = None
    ) -> tuple[Fate, bytes]:
        """Store the message, apply it, and return its acknowledgement after the commit.

        Raises `StoreUnavailable` / `StoreBroken`: nothing was kept, and nothing may be answered.
        """
        sha256 = inbox.content_hash(envelope.raw)

        def write(reading: Reading) -> tuple[Fate, bytes]:
            return self._context.database.write(lambda c: self._apply(c, envelope, sha256, reading, write_ack, turn))

        try:
            return write(reading)
        except StoreError:
            raise
        except Exception:
            # Unanswered, it would come again for ever and hold up all that is behind it.
            log.exception("a message tripped over an error of ours", extra={"fields": {"feed": envelope.feed}})
            return write(Reading(refusal=BadInput("an error of ours", code="internal")))

    def quarantine(self, envelope: Envelope, reason: str, ack_code: str, ack: bytes) -> None:
        """Keep bytes that are no message, with the answer that their sender gets; the same bytes are kept once."""
        # Without a control id: the same message, whole this time, must not be taken for a resend of its pieces.
        junk = replace(envelope, control_id="")
        sha256 = inbox.content_hash(envelope.raw)

        def change(connection: Connection) -> None:
            if inbox.is_quarantined(connection, junk, sha256):
                audit.note_activity(connection, "resend", envelope.feed, self._context.clock.now())
                return
            message_id = inbox.store_message(connection, junk, sha256)
            inbox.finish_message(connection, message_id, Fate.QUARANTINED, (reason,), ack_code, ack)
            self._note(connection, envelope, message_id, Fate.QUARANTINED, reason)

        self._context.database.write(change)

    def _apply(
        self,
        connection: Connection,
        envelope: Envelope,
        sha256: str,
        reading: Reading,
        write_ack: WriteAck,
        turn: Turn | None,
    ) -> tuple[Fate, bytes]:
        known, reused = inbox.find_answer(connection, envelope, sha256)
        if known is not None:
            audit.note_activity(connection, "resend", envelope.feed, self._context.clock.now())
            return Fate.IGNORED, known.ack
        expected = ""
        if turn is not None:
            out_of_turn = self._take_turn(connection, turn)
            if out_of_turn is not None:
                # Not kept: kept, it would be answered the same when its turn has come.
                return Fate.IGNORED, write_ack(out_of_turn)[1]
            expected = str(turn.number)
        message_id = inbox.store_message(connection, envelope, sha256)
        outcome = apply_reading(connection, envelope, reading, message_id, f"feed:{envelope.feed}", self._context)
        if reused:
            outcome = replace(outcome, warnings=(*outcome.warnings, "the control id was used before"))
            audit.note_activity(connection, "control-id-reused", envelope.feed, self._context.clock.now())
        code, ack = write_ack(replace(outcome, expected_sequence=expected))
        inbox.finish_message(connection, message_id, outcome.fate, outcome.told, code, ack)
        self._note(connection, envelope, message_id, outcome.fate, ",".join(outcome.reasons))
        return outcome.fate, ack

    def _take_turn(self, connection: Connection, turn: Turn) -> Outcome | None:
        """Count the message when it is its turn; else what is answered instead of taking it (2.10.1)."""
        at = self._context.clock.now()
        last = inbox.last_sequence(connection, turn.link)
        if turn.number == RESYNCHRONISE:
            inbox.set_sequence(connection, turn.link, None, at)
            return Outcome(Fate.IGNORED, expected_sequence=NOT_YET)
        expected = NOT_YET if last is None else str(last + 1)
        if turn.number == RESTART:
            return Outcome(Fate.IGNORED, expected_sequence=expected)
        if turn.number < 0 or (last is not None and turn.number != last + 1):
            refusal = StateConflict("not the next message of its sender", where="MSH-13", code="out-of-sequence")
            return Outcome(Fate.REFUSED, refusal=refusal, expected_sequence=expected)
        inbox.set_sequence(connection, turn.link, turn.number, at)
        return None

    def _note(self, connection: Connection, envelope: Envelope, message_id: int, fate: Fate, reason: str) -> None:
        at = self._context.clock.now()
        audit.note_activity(connection, "feed", envelope.feed, at)
        audit.write_audit(
            connection,
            at=at,
            who=f"feed:{envelope.feed}",
            action="message",
            subject=f"message:{message_id}",
            outcome=fate,
            details={"type": envelope.message_type},
        )
        if fate in (Fate.REFUSED, Fate.QUARANTINED):
            review.open_review(connection, f"message-{fate}", f"message:{message_id}", reason or fate, at, {})


def apply_reading(
    connection: Connection,
    envelope: Envelope,
    reading: Reading,
    message_id: int,
    who: str,
    context: Context,
    *,
    again: Again | None = None,
) -> Outcome:
    """The effects of one message, all of them or none, inside the caller's transaction; `again` for a replay."""
    if reading.refusal is not None:
        return _refused(reading.refusal, reading.warnings)
    at = context.clock.now()
    warnings, parked, changed = list(reading.warnings), list[str](), bool(reading.patients)
    telling = Telling(reading.orders, envelope.control_id, envelope.received, again)
    try:
        with connection.savepoint():
            for patient in reading.patients:
                warnings += demographics.take_patient_event(connection, patient, who, context)
                if patient.event in demographics.RE_OWNING:
                    reporting.patient_changed(connection, patient.patient.identifiers, at)
            for result in (
                *(ordering.take_order(connection, o, message_id, who, context, telling) for o in reading.orders),
                *(appointing.take_appointment(connection, a, message_id, who, context) for a in reading.appointments),
                *(reporting.take_report(connection, r, message_id, who, context) for r in reading.reports),
            ):
                warnings += result.warnings
                parked += result.parked
                changed |= result.changed
    except BadInput as refusal:
        return _refused(refusal, reading.warnings)
    fate = Fate.PARKED if parked else Fate.APPLIED if changed else Fate.IGNORED
    return Outcome(fate, tuple(dict.fromkeys(warnings)), tuple(parked))


def _refused(refusal: BridgeError, warnings: tuple[str, ...]) -> Outcome:
    assert isinstance(refusal, BadInput)
    reason = f"{refusal.code} {refusal.where}".strip()
    return Outcome(Fate.REFUSED, warnings, (reason,), refusal)
