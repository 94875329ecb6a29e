"""A message arrives: stored with the change it makes and the answer it gets, in one transaction.

The answer is made inside the transaction and leaves after its commit. A resend is told by MSH-3, MSH-4, MSH-10 and
the bytes, and gets the stored answer again with no second effect.
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.domain.message import Envelope, Fate, Outcome, Reading
from bridge.errors import BadInput, BridgeError
from bridge.store import audit, inbox, review
from bridge.store.db import Connection
from bridge.workflow import demographics, ordering
from bridge.workflow.context import Context

WriteAck = Callable[[Outcome], tuple[str, bytes]]
"""Makes the acknowledgement: (code, bytes). Pure and quick: it runs under the writer's lock."""


class Intake:
    def __init__(self, context: Context) -> None:
        self._context = context

    def take(self, envelope: Envelope, reading: Reading, write_ack: WriteAck) -> tuple[Fate, bytes]:
        """Store the message, apply it, and return its acknowledgement after the commit.

        Raises `StoreUnavailable` / `StoreBroken`: nothing was kept, and nothing may be answered.
        """
        sha256 = inbox.content_hash(envelope.raw)
        return self._context.database.write(lambda c: self._apply(c, envelope, sha256, reading, write_ack))

    def quarantine(self, envelope: Envelope, reason: str, ack_code: str, ack: bytes) -> None:
        """Keep bytes that are no message, with the answer that their sender gets."""

        def change(connection: Connection) -> None:
            message_id = inbox.store_message(connection, envelope, inbox.content_hash(envelope.raw))
            inbox.finish_message(connection, message_id, Fate.QUARANTINED, (reason,), ack_code, ack)
            self._note(connection, envelope, message_id, Fate.QUARANTINED, reason)

        self._context.database.write(change)

    def _apply(
        self, connection: Connection, envelope: Envelope, sha256: str, reading: Reading, write_ack: WriteAck
    ) -> tuple[Fate, bytes]:
        known = inbox.find_answer(connection, envelope, sha256)
        if known is not None:
            audit.note_activity(connection, "resend", envelope.feed, self._context.clock.now())
            return Fate.IGNORED, known.ack
        reused = inbox.control_id_seen(connection, envelope)
        message_id = inbox.store_message(connection, envelope, sha256)
        outcome = self._outcome(connection, envelope, reading, message_id)
        if reused:
            outcome = Outcome(
                outcome.fate, (*outcome.warnings, "the control id was used before"), outcome.reasons, outcome.refusal
            )
        code, ack = write_ack(outcome)
        told = tuple(dict.fromkeys((*outcome.reasons, *outcome.warnings)))
        inbox.finish_message(connection, message_id, outcome.fate, told, code, ack)
        self._note(connection, envelope, message_id, outcome.fate, ",".join(outcome.reasons))
        return outcome.fate, ack

    def _outcome(self, connection: Connection, envelope: Envelope, reading: Reading, message_id: int) -> Outcome:
        if reading.refusal is not None:
            return _refused(reading.refusal, reading.warnings)
        who = f"feed:{envelope.feed}"
        savepoint = connection.begin_nested()
        try:
            warnings, parked, changed = list(reading.warnings), [], False
            if reading.patient is not None:
                at = self._context.clock.now()
                warnings += demographics.take_patient_event(connection, reading.patient, who, at)
                changed = True
            for order in reading.orders:
                result = ordering.take_order(connection, order, message_id, who, self._context)
                warnings += result.warnings
                parked += result.parked
                changed |= result.changed
        except BadInput as refusal:
            savepoint.rollback()
            return _refused(refusal, reading.warnings)
        savepoint.commit()
        fate = Fate.PARKED if parked else Fate.APPLIED if changed else Fate.IGNORED
        return Outcome(fate, tuple(dict.fromkeys(warnings)), tuple(parked))

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


def _refused(refusal: BridgeError, warnings: tuple[str, ...]) -> Outcome:
    assert isinstance(refusal, BadInput)
    reason = f"{refusal.code} {refusal.where}".strip()
    return Outcome(Fate.REFUSED, warnings, (reason,), refusal)
