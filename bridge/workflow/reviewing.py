"""What a person decides about the review list: an entry that they have dealt with, a publication that may go again."""

from __future__ import annotations

from bridge.errors import NotFound, StateConflict
from bridge.store import audit, orders, outbox, review
from bridge.store.db import Connection
from bridge.workflow import withholding
from bridge.workflow.context import Context
from bridge.workflow.identifying import CONTRADICTS, OVERLAY
from bridge.workflow.scheduling import ANOTHERS

INSTEAD = {
    "study-unmatched": "it closes when the study is linked: bridge review link STUDY ORDER",
    "study-ambiguous": "it closes when the study is linked: bridge review link STUDY ORDER",
    "order-parked": "it closes when the order can be placed or has ended: mend what it names, then "
    "bridge messages replay --parked --yes (order-contradicts-patient: bridge review accept ENTRY)",
    "publication-waiting": "it closes when the EHR has taken the study: bridge publications list",
    "commitment-undeliverable": "it closes when its [[dicom.peer]] row has host and port (restart), "
    "or by bridge commitment drop ID",
    "outbound-dead": "say what becomes of the message: bridge outbound retry ID, or bridge outbound drop ID",
}
"""Kinds that close by themselves once their cause is gone: closed by hand they would hide it."""


def close_entry(context: Context, entry_id: int, who: str, reason: str) -> str:
    """A person has dealt with an entry; returns its subject. Raises `NotFound`, or `StateConflict` for one that is
    closed or that closes by itself. `reason` stays with the entry: it is not in the audit trail."""

    def change(connection: Connection) -> str:
        at, where = context.clock.now(), f"entry {entry_id}"
        entry = review.get_review(connection, entry_id)
        if entry is None:
            raise NotFound("no such entry", where=where)
        if entry["closed_at"] is not None:
            raise StateConflict("it is closed already", where=where)
        kind, subject = str(entry["kind"]), str(entry["subject"])
        if kind in INSTEAD:
            raise StateConflict(INSTEAD[kind], where=where)
        review.close_review(connection, (kind,), subject, at, who, reason)
        details = {"entry": entry_id, "kind": kind, "reason": entry["reason"]}
        audit.write_audit(connection, at=at, who=who, action="review-closed", subject=subject, details=details)
        return subject

    return context.database.write(change)


def accept_patient(context: Context, entry_id: int, who: str, reason: str) -> str:
    """A person says that a parked message, or an order that was withheld, is of the patient whose number it carries,
    whatever it says of their name; returns its subject. The message's next replay takes it, the order is shown again.
    Raises `NotFound`, or `StateConflict` for any other entry.
    """

    def change(connection: Connection) -> str:
        at, where = context.clock.now(), f"entry {entry_id}"
        entry = review.get_review(connection, entry_id)
        if entry is None:
            raise NotFound("no such entry", where=where)
        if entry["closed_at"] is not None or entry["reason"] not in (CONTRADICTS, ANOTHERS):
            raise StateConflict(f"only an open entry {CONTRADICTS} or {ANOTHERS} can be accepted", where=where)
        subject = str(entry["subject"])
        if entry["reason"] == ANOTHERS:
            order_id = orders.get_step(connection, int(subject.removeprefix("step:"))).order_id
            withholding.release(connection, order_id, at, who, reason)
            subject = f"order:{order_id}"
        else:
            review.open_review(connection, OVERLAY, subject, CONTRADICTS, at, {**entry["details"], "accepted": True})
            review.close_review(connection, (OVERLAY,), subject, at, who, reason)
        audit.write_audit(
            connection, at=at, who=who, action="patient-accepted", subject=subject, details={"entry": entry_id}
        )
        return subject

    return context.database.write(change)


def publish_again(context: Context, publication_id: int, who: str) -> bool:
    """A person: a publication that was given up, or waits, is due at once. False when it is neither."""

    def change(connection: Connection) -> bool:
        at, subject = context.clock.now(), f"publication:{publication_id}"
        if not outbox.retry_publication(connection, publication_id, context.clock.steady()):
            return False
        review.close_review(connection, ("publication-dead", "publication-waiting"), subject, at, who, "tried again")
        audit.write_audit(connection, at=at, who=who, action="publication-again", subject=subject)
        return True

    return context.database.write(change)
