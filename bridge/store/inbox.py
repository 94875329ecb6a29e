"""Messages: kept whole, each with its fate and its acknowledgement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.engine import Connection

from bridge.domain.message import Envelope, Fate
from bridge.store.schema import message

_ANSWER = select(message.c.id, message.c.ack, message.c.ack_code).where(
    message.c.sending_application == bindparam("app"),
    message.c.sending_facility == bindparam("fac"),
    message.c.control_id == bindparam("control"),
    message.c.sha256 == bindparam("sha"),
)
_SAME_CONTROL = (
    select(func.count())
    .select_from(message)
    .where(
        message.c.sending_application == bindparam("app"),
        message.c.sending_facility == bindparam("fac"),
        message.c.control_id == bindparam("control"),
    )
)
_INSERT = insert(message).returning(message.c.id)
_FINISH = (
    update(message)
    .where(message.c.id == bindparam("m"))
    .values(fate=bindparam("f"), reasons=bindparam("r"), ack_code=bindparam("code"), ack=bindparam("a"))
)
_GET = select(message).where(message.c.id == bindparam("m"))
_LIST = (
    select(
        message.c.id,
        message.c.feed,
        message.c.received_at,
        message.c.peer,
        message.c.message_type,
        message.c.control_id,
        message.c.fate,
        message.c.reasons,
        message.c.ack_code,
    )
    .where(message.c.fate.in_(bindparam("fates", expanding=True)))
    .order_by(message.c.id.desc())
    .limit(bindparam("n"))
)
_COUNTS = select(message.c.fate, func.count()).group_by(message.c.fate)
_LAST = select(message.c.feed, func.max(message.c.received_at), func.count()).group_by(message.c.feed)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a message was answered when it first came."""

    message_id: int
    ack: bytes
    ack_code: str


def content_hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def find_answer(connection: Connection, envelope: Envelope, sha256: str) -> Answer | None:
    """The stored answer of a resent message: same MSH-3, MSH-4, MSH-10 and the same bytes."""
    if not envelope.control_id:
        return None
    row = connection.execute(
        _ANSWER,
        {
            "app": envelope.sending_application,
            "fac": envelope.sending_facility,
            "control": envelope.control_id,
            "sha": sha256,
        },
    ).one_or_none()
    return Answer(row.id, row.ack or b"", row.ack_code) if row else None


def control_id_seen(connection: Connection, envelope: Envelope) -> bool:
    """Whether another message of this sender has the same control id (a counter that restarted)."""
    keys = {
        "app": envelope.sending_application,
        "fac": envelope.sending_facility,
        "control": envelope.control_id,
    }
    return bool(envelope.control_id) and connection.execute(_SAME_CONTROL, keys).scalar_one() > 0


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


def get_message(connection: Connection, message_id: int) -> dict[str, object] | None:
    row = connection.execute(_GET, {"m": message_id}).one_or_none()
    return dict(row._mapping) if row else None


def list_messages(connection: Connection, fates: tuple[str, ...], limit: int = 50) -> list[dict[str, object]]:
    return [dict(r._mapping) for r in connection.execute(_LIST, {"fates": list(fates), "n": limit})]


def count_by_fate(connection: Connection) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(_COUNTS)}


def last_by_feed(connection: Connection) -> list[tuple[str, datetime, int]]:
    return [(feed, at, count) for feed, at, count in connection.execute(_LAST)]
