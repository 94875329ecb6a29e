"""Messages: kept whole, each with its fate and its acknowledgement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, and_, bindparam, cast, delete, func, insert, or_, select, update

from bridge.domain.message import Envelope, Fate
from bridge.store.audit import note_activity
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import activity, message, review

_ANSWER = Prepared(
    select(message.c.id, message.c.ack, message.c.ack_code).where(
        message.c.sending_application == bindparam("app"),
        message.c.sending_facility == bindparam("fac"),
        message.c.control_id == bindparam("control"),
        message.c.sha256 == bindparam("sha"),
    )
)
_SAME_CONTROL = Prepared(
    select(message.c.sha256)
    .where(
        message.c.sending_application == bindparam("app"),
        message.c.sending_facility == bindparam("fac"),
        message.c.control_id == bindparam("control"),
    )
    .limit(1)
)
_QUARANTINED = Prepared(
    select(message.c.id)
    .where(
        message.c.sending_application == bindparam("app"),
        message.c.sending_facility == bindparam("fac"),
        message.c.control_id.is_(None),
        message.c.sha256 == bindparam("sha"),
        message.c.fate == Fate.QUARANTINED,
    )
    .limit(1)
)
_INSERT = Prepared(insert(message).returning(message.c.id))
_FINISH = Prepared(
    update(message)
    .where(message.c.id == bindparam("m"))
    .values(fate=bindparam("f"), reasons=bindparam("r"), ack_code=bindparam("code"), ack=bindparam("a"))
)
_GET = Prepared(select(message).where(message.c.id == bindparam("m")))
_REPLAYED = Prepared(
    update(message)
    .where(message.c.id == bindparam("m"))
    .values(fate=bindparam("f"), reasons=bindparam("r"), replays=message.c.replays + 1)
)
_LIST = select(
    message.c.id,
    message.c.feed,
    message.c.received_at,
    message.c.peer,
    message.c.message_type,
    message.c.control_id,
    message.c.fate,
    message.c.reasons,
    message.c.replays,
    message.c.ack_code,
    func.length(message.c.raw).label("size"),
)
_SEQUENCE = Prepared(select(activity.c.note).where(activity.c.kind == "sequence", activity.c.name == bindparam("link")))
_FORGET_SEQUENCES = Prepared(update(activity).where(activity.c.kind == "sequence").values(note=""))
_WINDOW = Prepared(
    select(message.c.id, message.c.received_at, func.length(message.c.raw).label("size"))
    .where(message.c.id > bindparam("after"))
    .order_by(message.c.id)
    .limit(bindparam("n"))
)
_KINDS = (f"message-{Fate.REFUSED}", f"message-{Fate.QUARANTINED}")
_OLDEST_OPEN_ORDER = Prepared(
    select(func.min(review.c.opened_at)).where(
        review.c.closed_at.is_(None), ~review.c.kind.like("message-%"), ~review.c.kind.like("study-%")
    )
)
_NEWEST = Prepared(select(func.max(message.c.id)))
_SUBJECT = "message:" + cast(message.c.id, String)
_PURGE = Prepared(
    delete(message)
    .where(message.c.id > bindparam("after"), message.c.id <= bindparam("to"))
    .where(message.c.received_at < bindparam("before"))
    .where(
        ~select(review.c.id)
        .where(one_of(review.c.kind, _KINDS), review.c.subject == _SUBJECT, review.c.closed_at.is_(None))
        .exists()
    )
    .where(
        or_(
            message.c.fate != Fate.PARKED,
            and_(message.c.received_at < bindparam("parked_before"), message.c.replays <= bindparam("parked_replays")),
        )
    )
)
_COUNTS = Prepared(select(message.c.fate, func.count()).group_by(message.c.fate))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a message was answered when it first came."""

    message_id: int
    ack: bytes
    ack_code: str


def content_hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def find_answer(connection: Connection, envelope: Envelope, sha256: str) -> tuple[Answer | None, bool]:
    """The stored answer of a resent message (same MSH-3, MSH-4, MSH-10 and the same bytes), and whether the control id
    came before at all: with other bytes it is a counter that restarted."""
    if not envelope.control_id:
        return None, False
    keys = {
        "app": envelope.sending_application,
        "fac": envelope.sending_facility,
        "control": envelope.control_id,
    }
    if connection.execute(_SAME_CONTROL, keys).first() is None:
        return None, False
    row = connection.execute(_ANSWER, {**keys, "sha": sha256}).one_or_none()
    return (Answer(row.id, row.ack or b"", row.ack_code) if row else None), True


def is_quarantined(connection: Connection, envelope: Envelope, sha256: str) -> bool:
    """Whether the same bytes, which are no message, are kept already: a sender that repeats them fills no disk."""
    keys = {"app": envelope.sending_application, "fac": envelope.sending_facility, "sha": sha256}
    return connection.execute(_QUARANTINED, keys).first() is not None


def store_message(connection: Connection, envelope: Envelope, sha256: str) -> int:
    return int(
        connection.execute(
            _INSERT,
            {
                "feed": envelope.feed,
                "received_at": envelope.received,
                "peer": envelope.peer,
                "sending_application": envelope.sending_application,
                "sending_facility": envelope.sending_facility,
                "control_id": envelope.control_id or None,
                "message_type": envelope.message_type,
                "sha256": sha256,
                "raw": envelope.raw,
                "fate": Fate.QUARANTINED,
                "reasons": [],
            },
        ).scalar_one()
    )


def finish_message(
    connection: Connection, message_id: int, fate: Fate, reasons: tuple[str, ...], ack_code: str, ack: bytes
) -> None:
    connection.execute(_FINISH, {"m": message_id, "f": fate, "r": list(reasons), "code": ack_code, "a": ack})


def get_message(connection: Connection, message_id: int) -> dict[str, Any] | None:
    row = connection.execute(_GET, {"m": message_id}).one_or_none()
    return dict(row._mapping) if row else None


def record_replay(connection: Connection, message_id: int, fate: Fate, reasons: tuple[str, ...]) -> None:
    """What came of it today. The acknowledgement stays what its sender was told."""
    connection.execute(_REPLAYED, {"m": message_id, "f": fate, "r": list(reasons)})


def list_messages(
    connection: Connection,
    *,
    fates: tuple[str, ...] = (),
    feed: str = "",
    since: datetime | None = None,
    errors: bool = False,
    limit: int = 50,
    oldest_first: bool = False,
) -> list[dict[str, Any]]:
    """The newest (or oldest) messages that fit, without their bytes. `errors`: not simply applied or ignored."""
    statement = _LIST
    if fates or errors:
        some = fates or (Fate.PARKED, Fate.REFUSED, Fate.QUARANTINED)
        statement = statement.where(message.c.fate.in_(some))
    if feed:
        statement = statement.where(message.c.feed == feed)
    if since is not None:
        statement = statement.where(message.c.received_at >= since)
    statement = statement.order_by(message.c.id if oldest_first else message.c.id.desc()).limit(limit)
    return [dict(r._mapping) for r in connection.execute(statement)]


def last_sequence(connection: Connection, link: str) -> int | None:
    """The number of the message last accepted on a link that counts (MSH-13); None: any comes next."""
    note = connection.execute(_SEQUENCE, {"link": link}).scalar_one_or_none()
    return int(note) if note else None


def set_sequence(connection: Connection, link: str, number: int | None, at: datetime) -> None:
    note_activity(connection, "sequence", link, at, note="" if number is None else str(number))


def forget_sequences(connection: Connection) -> None:
    """On every link any number comes next: what was counted since a backup is not known."""
    connection.execute(_FORGET_SEQUENCES)


def next_window(connection: Connection, after: int, most: int, most_bytes: int) -> tuple[int, datetime] | None:
    """The next rows after an id, as the id and the receipt of their last: at most so many rows and bytes, but one."""
    last: tuple[int, datetime] | None = None
    size = 0
    for row in connection.execute(_WINDOW, {"after": after, "n": most}):
        size += row.size
        if last is not None and size > most_bytes:
            break
        last = row.id, row.received_at
    return last


def purge_window(connection: Connection, after: int, to: int, before: datetime) -> int:
    """Delete what came before a moment, save what a person has not settled.

    A parked message stands for the entries (of orders, reports, appointments) that were opened after it came, or by its
    replay. The newest row stays, so that no id is given twice. What waits to be sent holds all that it needs itself.
    """
    oldest = connection.execute(_OLDEST_OPEN_ORDER).scalar_one()
    newest = connection.execute(_NEWEST).scalar_one() or 0
    bounds = {
        "after": after,
        "to": min(to, newest - 1),
        "before": before,
        "parked_before": before if oldest is None else min(before, oldest - timedelta(days=1)),
        "parked_replays": 0 if oldest is not None else 2**31 - 1,
    }
    return int(connection.execute(_PURGE, bounds).rowcount)


def count_by_fate(connection: Connection) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(_COUNTS)}
