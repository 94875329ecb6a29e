"""What waits for a person: one open entry a subject and kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from bridge.store.connection import Connection, Prepared
from bridge.store.schema import review

_OPEN = Prepared(select(review).where(review.c.closed_at.is_(None)).order_by(review.c.id))
_FIND = Prepared(
    select(review.c.id).where(
        review.c.kind == bindparam("k"), review.c.subject == bindparam("s"), review.c.closed_at.is_(None)
    )
)
_INSERT = Prepared(insert(review))
_UPDATE = Prepared(
    update(review).where(review.c.id == bindparam("i")).values(reason=bindparam("r"), details=bindparam("d"))
)
_GET = Prepared(select(review).where(review.c.id == bindparam("i")))
_CLOSE = Prepared(
    update(review)
    .where(review.c.subject == bindparam("s"), review.c.kind == bindparam("k"))
    .where(review.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"), closed_by=bindparam("by"), resolution=bindparam("res"))
)
_OF_REASON = Prepared(
    select(review.c.subject, review.c.details).where(
        review.c.kind == bindparam("k"), review.c.reason == bindparam("r"), review.c.closed_at.is_(None)
    )
)
_LAST = Prepared(
    select(review.c.details)
    .where(review.c.kind == bindparam("k"), review.c.subject == bindparam("s"), review.c.closed_at.is_not(None))
    .order_by(review.c.id.desc())
    .limit(1)
)
_NEWEST = Prepared(
    select(review.c.details)
    .where(review.c.kind == bindparam("k"), review.c.subject == bindparam("s"), review.c.reason == bindparam("r"))
    .order_by(review.c.id.desc())
    .limit(1)
)
_COUNTS = Prepared(
    select(review.c.kind, func.count(), func.min(review.c.opened_at))
    .where(review.c.closed_at.is_(None))
    .group_by(review.c.kind)
)


def open_review(
    connection: Connection, kind: str, subject: str, reason: str, at: datetime, details: Mapping[str, object]
) -> None:
    """Open an entry, or give the open one its newest reason and details; its age stays."""
    found = connection.execute(_FIND, {"k": kind, "s": subject}).scalar_one_or_none()
    if found is not None:
        connection.execute(_UPDATE, {"i": found, "r": reason, "d": dict(details)})
        return
    connection.execute(
        _INSERT, {"kind": kind, "subject": subject, "reason": reason, "details": dict(details), "opened_at": at}
    )


def close_review(
    connection: Connection, kinds: tuple[str, ...], subject: str, at: datetime, by: str, resolution: str
) -> None:
    for kind in kinds:
        connection.execute(_CLOSE, {"k": kind, "s": subject, "at": at, "by": by, "res": resolution})


def is_open(connection: Connection, kind: str, subject: str) -> bool:
    return connection.execute(_FIND, {"k": kind, "s": subject}).first() is not None


def was_accepted(connection: Connection, kind: str, subject: str) -> bool:
    """Whether a person has closed the subject's last entry of the kind by accepting it (`workflow/reviewing.py`)."""
    row = connection.execute(_LAST, {"k": kind, "s": subject}).first()
    return row is not None and bool(row.details.get("accepted"))


def get_review(connection: Connection, entry_id: int) -> dict[str, Any] | None:
    """An entry, open or closed."""
    row = connection.execute(_GET, {"i": entry_id}).one_or_none()
    return dict(row._mapping) if row else None


def open_reviews(connection: Connection) -> list[dict[str, object]]:
    return [dict(r._mapping) for r in connection.execute(_OPEN)]


def reviews_of(connection: Connection, kind: str, reason: str) -> dict[str, dict[str, object]]:
    """Details by subject of the open entries of one kind and reason."""
    return {row.subject: row.details for row in connection.execute(_OF_REASON, {"k": kind, "r": reason})}


def newest_of(connection: Connection, kind: str, subject: str, reason: str) -> dict[str, Any]:
    """Details of the subject's newest entry of one kind and reason, open or closed; {} for none."""
    row = connection.execute(_NEWEST, {"k": kind, "s": subject, "r": reason}).first()
    return dict(row.details) if row else {}


def count_reviews(connection: Connection) -> list[tuple[str, int, datetime]]:
    return [(kind, count, oldest) for kind, count, oldest in connection.execute(_COUNTS)]
