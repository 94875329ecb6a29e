"""The audit trail: written in the transaction of the act, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from bridge.store.connection import Connection, Prepared
from bridge.store.schema import activity, audit
from bridge.store.upsert import upsert

_INSERT = Prepared(insert(audit))
_NEWEST_FIRST = select(audit).order_by(audit.c.id.desc())
_NEWEST = Prepared(select(func.max(audit.c.id)))
_SINCE = Prepared(
    select(audit.c.action, audit.c.subject)
    .where(audit.c.id > bindparam("i"), audit.c.who == bindparam("w"))
    .order_by(audit.c.id)
)
_COUNT = Prepared(select(func.count()).select_from(audit).where(audit.c.action == bindparam("a")))


def write_audit(
    connection: Connection,
    *,
    at: datetime,
    who: str,
    action: str,
    subject: str,
    outcome: str = "ok",
    details: Mapping[str, object] | None = None,
) -> None:
    """`who` is a peer, role or user key; `subject` like `study:12`; `details` hold no patient data."""
    connection.execute(
        _INSERT,
        {"at": at, "who": who, "action": action, "subject": subject, "outcome": outcome, "details": details or {}},
    )


def find_audit(
    connection: Connection, subject: str = "", *, since: datetime | None = None, action: str = "", limit: int = 200
) -> list[dict[str, Any]]:
    """The newest `limit` acts of a subject, since a moment, of one action, or all of these; in order."""
    query = _NEWEST_FIRST.limit(limit)
    if subject:
        query = query.where(audit.c.subject == subject)
    if since is not None:
        query = query.where(audit.c.at >= since)
    if action:
        query = query.where(audit.c.action == action)
    return [dict(r._mapping) for r in connection.execute(query)][::-1]


def newest_id(connection: Connection) -> int:
    return int(connection.execute(_NEWEST).scalar_one() or 0)


def acts_since(connection: Connection, newest: int, who: str) -> tuple[tuple[str, str], ...]:
    """(action, subject) of what `who` did after a row, in order."""
    return tuple((action, subject) for action, subject in connection.execute(_SINCE, {"i": newest, "w": who}))


def count_audit(connection: Connection, action: str) -> int:
    return int(connection.execute(_COUNT, {"a": action}).scalar_one())


_ACTIVITY = upsert(
    activity,
    ("kind", "name"),
    {"at": None, "note": None, "count": activity.c["count"] + bindparam("more")},
    extra_values={"count": bindparam("more")},
)
_ACTIVITIES = Prepared(select(activity).order_by(activity.c.kind, activity.c.name))


def note_activity(connection: Connection, kind: str, name: str, at: datetime, *, more: int = 1, note: str = "") -> None:
    """Remember the newest sign of life of a role, feed or device, and count it."""
    connection.execute(_ACTIVITY, {"kind": kind, "name": name, "at": at, "more": more, "note": note})


def activities(connection: Connection) -> list[dict[str, object]]:
    return [dict(r._mapping) for r in connection.execute(_ACTIVITIES)]
