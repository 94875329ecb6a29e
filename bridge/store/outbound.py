"""What we send over MLLP: a queue a destination, in the order of their ids, never dropped.

new      enqueued in the transaction of the act; `raw` holds the facts as JSON
due      `raw` holds the final bytes; sent, perhaps more than once, until answered
stopped  answered with an error, and a person must decide before anything else leaves
sent     positively acknowledged
dead     given up, and listed for a person
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, func, insert, select, union_all, update

from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import message, outbound_message


class OutboundState(StrEnum):
    NEW = "new"
    DUE = "due"
    STOPPED = "stopped"
    SENT = "sent"
    DEAD = "dead"


WAITING = (OutboundState.NEW, OutboundState.DUE, OutboundState.STOPPED)
_out = outbound_message.c


@dataclass(frozen=True, slots=True)
class OutboundRow:
    """`attempts` counts the exchanges begun; it fences: only the newest attempt may settle the row."""

    id: int
    destination: str
    control_id: str
    raw: bytes
    subject: str
    event: str
    state: OutboundState
    attempts: int
    next_attempt_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class QueueState:
    """`oldest` is the age of the oldest message that waits, `answer` what became of its last attempt."""

    destination: str
    waiting: int
    stopped: int
    sent: int
    dead: int
    oldest: datetime | None
    answer: str


_COLUMNS = (
    _out.id, _out.destination, _out.control_id, _out.raw, _out.subject, _out.event, _out.state, _out.attempts,
    _out.next_attempt_at, _out.created_at,
)  # fmt: skip
_INSERT = Prepared(insert(outbound_message))
_EVENTS = Prepared(
    select(_out.event).where(_out.destination == bindparam("d"), _out.subject == bindparam("s")).order_by(_out.id)
)
# The oldest of each state is one step in the index; the oldest of all at once would be a walk through the queue.
_HEAD = Prepared(
    select(*_COLUMNS)
    .where(
        _out.id.in_(
            union_all(
                *(
                    select(func.min(_out.id)).where(_out.destination == bindparam("d"), _out.state == state)
                    for state in WAITING
                )
            )
        )
    )
    .order_by(_out.id)
    .limit(1)
)
_GET = Prepared(select(*_COLUMNS).where(_out.id == bindparam("m")))
_CLAIM = Prepared(
    update(outbound_message)
    .where(_out.id == bindparam("m"), one_of(_out.state, (OutboundState.NEW, OutboundState.DUE)))
    .where(_out.attempts == bindparam("seen"))  # who was first has counted one more
    .values(state=OutboundState.DUE, raw=bindparam("bytes"), attempts=_out.attempts + 1, next_attempt_at=bindparam("t"))
)
_SETTLE = Prepared(
    update(outbound_message)
    .where(_out.id == bindparam("m"), one_of(_out.state, WAITING), _out.attempts == bindparam("mine"))
    .values(
        state=bindparam("to"), next_attempt_at=bindparam("t"), last_answer=bindparam("answer"), sent_at=bindparam("at")
    )
)
_RELEASE = Prepared(
    update(outbound_message)
    .where(_out.id == bindparam("m"), one_of(_out.state, (OutboundState.STOPPED, OutboundState.DEAD)))
    .values(state=bindparam("to"), next_attempt_at=bindparam("t"))
)
_COUNTS = Prepared(
    select(_out.destination, _out.state, func.count(), func.min(_out.id))  # answered by the index alone
    .group_by(_out.destination, _out.state)
    .order_by(_out.destination)
)
_OLDEST = Prepared(select(_out.created_at, _out.last_answer).where(_out.id == bindparam("m")))
_CONTROL_ID = Prepared(select(message.c.control_id).where(message.c.id == bindparam("m")))


def add_outbound(
    connection: Connection,
    destination: str,
    control_id: str,
    facts: bytes,
    subject: str,
    event: str,
    at: datetime,
    due: datetime,
) -> None:
    """Enqueue the facts of a message, in the transaction of the act that it tells of.

    `due` is the steady clock's time, as are all times of attempts here; `at` the wall clock's, to be read.
    """
    connection.execute(
        _INSERT,
        {
            "destination": destination,
            "control_id": control_id,
            "raw": facts,
            "subject": subject,
            "event": event,
            "state": OutboundState.NEW,
            "next_attempt_at": due,
            "created_at": at,
        },
    )


def events_of(connection: Connection, destination: str, subject: str) -> list[str]:
    """What the destination has been told of the subject, or will be, oldest first."""
    return list(connection.execute(_EVENTS, {"d": destination, "s": subject}).scalars())


def oldest_waiting(connection: Connection, destination: str) -> OutboundRow | None:
    """The head of the queue: the only message that may leave."""
    return _row(connection.execute(_HEAD, {"d": destination}).one_or_none())


def get_outbound(connection: Connection, key: int) -> OutboundRow | None:
    return _row(connection.execute(_GET, {"m": key}).one_or_none())


def claim_outbound(connection: Connection, row: OutboundRow, raw: bytes, until: datetime) -> bool:
    """Begin an attempt: the bytes are kept before they leave, and no other node sends until `until`."""
    values = {"m": row.id, "seen": row.attempts, "bytes": raw, "t": until}
    return connection.execute(_CLAIM, values).rowcount == 1


def settle_outbound(
    connection: Connection,
    key: int,
    attempt: int,
    state: OutboundState,
    answer: str,
    *,
    next_at: datetime,
    sent_at: datetime | None = None,
) -> bool:
    """What became of attempt number `attempt`; False when a later one has begun, or a person decided."""
    values = {"m": key, "mine": attempt, "to": state, "t": next_at, "answer": answer, "at": sent_at}
    return connection.execute(_SETTLE, values).rowcount == 1


def release_outbound(connection: Connection, key: int, state: OutboundState, at: datetime) -> bool:
    """A person's word on a stopped or dead message; False for any other."""
    return connection.execute(_RELEASE, {"m": key, "to": state, "t": at}).rowcount == 1


def queue_states(connection: Connection) -> list[QueueState]:
    """One line a destination, for status and alarms."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for destination, state, count, first in connection.execute(_COUNTS):
        found.setdefault(destination, {})[state] = (count, first)
    states = []
    for destination, by_state in found.items():
        waiting = [by_state[s] for s in WAITING if s in by_state]
        oldest, answer = None, ""
        if waiting:
            oldest, answer = connection.execute(_OLDEST, {"m": min(first for _, first in waiting)}).one()
        stopped, sent, dead = (
            by_state.get(s, (0, 0))[0] for s in (OutboundState.STOPPED, OutboundState.SENT, OutboundState.DEAD)
        )
        states.append(QueueState(destination, sum(n for n, _ in waiting), stopped, sent, dead, oldest, answer))
    return states


def control_id_of(connection: Connection, message_id: int) -> str:
    """MSH-10 of a stored message: what an answer to it repeats as MSA-2."""
    return connection.execute(_CONTROL_ID, {"m": message_id}).scalar_one() or ""


def _row(row: object) -> OutboundRow | None:
    if row is None:
        return None
    values = dict(row._mapping)  # type: ignore[attr-defined]
    return OutboundRow(**{**values, "state": OutboundState(values["state"])})


_UNSENT = Prepared(
    select(
        _out.id, _out.destination, _out.control_id, _out.subject, _out.event, _out.state, _out.attempts,
        _out.last_answer, _out.created_at, _out.next_attempt_at,
    )
    .where(_out.state != OutboundState.SENT)
    .order_by(_out.id)
    .limit(bindparam("n"))
)  # fmt: skip


def list_unsent(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """What waits, stands still or is dead, oldest first; without its bytes."""
    return [dict(r._mapping) for r in connection.execute(_UNSENT, {"n": limit})]
