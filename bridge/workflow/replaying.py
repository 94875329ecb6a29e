"""Stored messages run again: through today's mapping and workflow, as at first, after what ailed them was mended.

A replay changes what the bridge holds, never what its sender was told: the acknowledgement stays, and an answer that
the placer has is not given again. One that it never got, for nothing of its order was taken, is given. A dry run does
the whole of it and takes it back, so that what it prints is what would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.domain.message import Envelope, Fate, Reading
from bridge.errors import NotFound, StateConflict
from bridge.store import audit, inbox, review
from bridge.store.db import Connection
from bridge.workflow.context import Context
from bridge.workflow.identifying import WAITS
from bridge.workflow.intake import apply_reading
from bridge.workflow.order_events import Again

WHOLE = "frame no-carriage-return"
"""The one bad frame whose message is whole; of the others only a part came."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One message: its fate before and after, what is said of it now, and the acts (as the audit trail names them)."""

    message_id: int
    before: Fate
    after: Fate
    told: tuple[str, ...] = ()
    acts: tuple[tuple[str, str], ...] = ()


class _TakenBack(Exception):
    """No error: the way out of a transaction that must not stay."""

    def __init__(self, replayed: Replayed) -> None:
        self.replayed = replayed


class Replaying:
    """`read` is the feed's own reading of the stored bytes."""

    def __init__(self, context: Context, read: Callable[[Envelope], Reading]) -> None:
        self._context = context
        self._read = read

    def find(self, *, fates: tuple[str, ...], feed: str = "", since: datetime | None = None, limit: int) -> list[int]:
        """The messages of these fates, oldest first."""
        with self._context.database.read() as connection:
            found = inbox.list_messages(connection, fates=fates, feed=feed, since=since, limit=limit, oldest_first=True)
        return [int(row["id"]) for row in found]

    def replay(self, message_id: int, who: str, *, dry_run: bool) -> Replayed:
        """Run one message again. One that was applied stays as it is: a replay twice has one effect.

        Raises NotFound, and StateConflict for a part of a message.
        """
        with self._context.database.read() as connection:
            row = _row(connection, message_id)
        envelope = _envelope(row)
        reading = self._read(envelope)

        def change(connection: Connection) -> Replayed:
            replayed = self._apply(connection, envelope, reading, message_id, who)
            if dry_run:
                raise _TakenBack(replayed)
            return replayed

        if row["fate"] == Fate.APPLIED:
            return Replayed(message_id, Fate.APPLIED, Fate.APPLIED)
        try:
            return self._context.database.write(change)
        except _TakenBack as done:
            return done.replayed

    def _apply(
        self, connection: Connection, envelope: Envelope, reading: Reading, message_id: int, who: str
    ) -> Replayed:
        # Read again under the lock: another replay may have been first.
        row = _row(connection, message_id)
        before = Fate(row["fate"])
        if before is Fate.APPLIED:
            return Replayed(message_id, before, before)
        at = self._context.clock.now()
        newest, waiting = audit.newest_id(connection), review.count_reviews(connection)
        again = Again(connection, message_id, unheard=before in (Fate.REFUSED, Fate.QUARANTINED))
        outcome = apply_reading(connection, envelope, reading, message_id, who, self._context, again=again)
        # An order that is parked again as before was written again, and nothing came of it.
        same = outcome.fate is before and set(outcome.reasons) <= set(row["reasons"])
        in_vain = same and before is Fate.PARKED and review.count_reviews(connection) == waiting
        acts = () if in_vain else audit.acts_since(connection, newest, who)
        inbox.record_replay(connection, message_id, outcome.fate, outcome.told)
        kind, subject = f"message-{Fate.REFUSED}", f"message:{message_id}"
        done = [f"message-{Fate.QUARANTINED}"]
        if outcome.refusal is None:
            done += [kind, *(waits for reason, waits in WAITS.items() if reason not in outcome.reasons)]
        review.close_review(connection, tuple(done), subject, at, who, f"replayed: {outcome.fate}")
        if outcome.refusal is not None:
            review.open_review(connection, kind, subject, ",".join(outcome.reasons), at, {})
        audit.write_audit(
            connection,
            at=at,
            who=who,
            action="message-replay",
            subject=subject,
            outcome=outcome.fate,
            details={"before": before},
        )
        return Replayed(message_id, before, outcome.fate, outcome.told, acts)


def _row(connection: Connection, message_id: int) -> dict[str, Any]:
    row = inbox.get_message(connection, message_id)
    if row is None:
        raise NotFound("no such message", where=f"message {message_id}")
    if row["fate"] == Fate.QUARANTINED and WHOLE not in row["reasons"]:
        where = f"message {message_id}"
        raise StateConflict("only a part of the message came: its sender must send it again", where=where)
    return row


def _envelope(row: dict[str, Any]) -> Envelope:
    return Envelope(
        feed=row["feed"],
        raw=row["raw"],
        peer=row["peer"],
        received=row["received_at"],
        sending_application=row["sending_application"],
        sending_facility=row["sending_facility"],
        control_id=row["control_id"] or "",
        message_type=row["message_type"],
    )
