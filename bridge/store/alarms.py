"""Alarms, and the facts that they and the gauges rest on: cheap, by indexes, without the messages' bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, cast, func, insert, select, update

from bridge.domain.message import Fate
from bridge.domain.publication import PublicationState
from bridge.store.connection import Connection, Prepared, one_of
from bridge.store.schema import (
    BigId,
    activity,
    alarm,
    message,
    order_history,
    publication,
    requested_procedure,
    review,
    scheduled_procedure_step,
)

_REFUSED = (Fate.REFUSED, Fate.QUARANTINED)
_OWED = (PublicationState.DUE, PublicationState.CLAIMED, PublicationState.WAITING, PublicationState.DEAD)
_ACTIVITY = Prepared(
    select(activity.c.name, activity.c.at, activity.c["count"]).where(activity.c.kind == bindparam("k"))
)
_NEWEST = (
    select(message.c.fate)
    .where(message.c.feed == bindparam("feed"))
    .order_by(message.c.received_at.desc())
    .limit(bindparam("n"))
    .subquery()
)
_SHARE = Prepared(select(func.count(), func.sum(case((one_of(_NEWEST.c.fate, _REFUSED), 1), else_=0))))
_SINCE = Prepared(
    select(func.count())
    .select_from(message)
    .where(message.c.feed == bindparam("feed"), message.c.received_at > bindparam("since"))
)
# Other subjects must not meet the cast: PostgreSQL refuses what is no number.
_KEY = case(
    *(
        (review.c.subject.like(f"{what}:%"), cast(func.substr(review.c.subject, len(what) + 2), BigId))
        for what in ("message", "order", "step")
    )
)
_OPEN_MESSAGES = Prepared(
    select(review.c.kind, message.c.feed, func.count(), func.min(review.c.opened_at))
    .join(message, message.c.id == _KEY)
    .where(review.c.closed_at.is_(None), one_of(review.c.kind, ("message-refused", "message-quarantined")))
    .group_by(review.c.kind, message.c.feed)
)
_ORDER = case(
    (review.c.subject.like("order:%"), _KEY),
    else_=select(requested_procedure.c.order_id)
    .join(scheduled_procedure_step, scheduled_procedure_step.c.requested_procedure_id == requested_procedure.c.id)
    .where(scheduled_procedure_step.c.id == _KEY)
    .scalar_subquery(),
)
_FEED_OF_ORDER = (
    select(message.c.feed)
    .join(order_history, order_history.c.message_id == message.c.id)
    .where(order_history.c.order_id == _ORDER)
    .order_by(order_history.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
"""Of the newest message that spoke of the order."""
_PARKED = (
    select(review.c.opened_at, func.coalesce(_FEED_OF_ORDER, "").label("feed"))
    .where(review.c.closed_at.is_(None), review.c.kind == "order-parked")
    .subquery()
)
_PARKED_BY_FEED = Prepared(select(_PARKED.c.feed, func.count(), func.min(_PARKED.c.opened_at)).group_by(_PARKED.c.feed))
_OPEN_REVIEWS = Prepared(
    select(review.c.kind, func.count(), func.min(review.c.opened_at))
    .where(review.c.closed_at.is_(None))
    .group_by(review.c.kind)
)
_PUBLICATIONS = Prepared(
    select(publication.c.connection, publication.c.state, func.count(), func.min(publication.c.owed_since))
    .where(one_of(publication.c.state, _OWED))
    .group_by(publication.c.connection, publication.c.state)
)
_DONE = Prepared(select(func.count()).select_from(publication).where(publication.c.state == PublicationState.DONE))
_OPEN = Prepared(select(alarm).where(alarm.c.ended_at.is_(None)).order_by(alarm.c.id))
_ALL = Prepared(select(alarm).order_by(alarm.c.id.desc()).limit(bindparam("n")))
_BEGIN = Prepared(insert(alarm).returning(alarm.c.id))
_END = Prepared(
    update(alarm).where(alarm.c.id == bindparam("a"), alarm.c.ended_at.is_(None)).values(ended_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open entries of one kind: how many, and since when the oldest waits. `feed` is '' when none is to blame."""

    kind: str
    feed: str
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """`last_at` is the newest sign of life, resends too; `refused` counts among the newest `recent` messages."""

    name: str
    last_at: datetime | None
    messages: int
    recent: int
    refused: int


@dataclass(frozen=True, slots=True)
class Owed:
    """Publications to an EHR in one state, and since when the oldest of them is owed."""

    connection: str
    state: str
    count: int
    oldest: datetime


def feed_facts(connection: Connection, feeds: tuple[str, ...], window: int) -> tuple[FeedFacts, ...]:
    """One a feed; `window` is how many of its newest messages the share of refused ones is of."""
    kept, again = (
        {name: (at, count) for name, at, count in connection.execute(_ACTIVITY, {"k": kind})}
        for kind in ("feed", "resend")
    )
    facts = []
    for name in feeds:
        recent, refused = connection.execute(_SHARE, {"feed": name, "n": window}).one()
        signs = [at for at, _ in (kept.get(name, (None, 0)), again.get(name, (None, 0))) if at is not None]
        messages = int(kept.get(name, (None, 0))[1])
        facts.append(FeedFacts(name, max(signs, default=None), messages, int(recent), int(refused or 0)))
    return tuple(facts)


def rate(connection: Connection, feed: str, now: datetime, period: timedelta) -> int:
    """Messages kept in the newest `period`: an index range, for a scrape."""
    return int(connection.execute(_SINCE, {"feed": feed, "since": now - period}).scalar_one())


def waiting(connection: Connection) -> tuple[Waiting, ...]:
    """Open review entries by kind, those of messages and of parked orders also by feed."""
    kinds = {kind: (count, oldest) for kind, count, oldest in connection.execute(_OPEN_REVIEWS)}
    found: list[Waiting] = []
    if kinds.keys() & {"message-refused", "message-quarantined"}:
        found += [Waiting(*row) for row in connection.execute(_OPEN_MESSAGES)]
    if "order-parked" in kinds:
        found += [Waiting("order-parked", *row) for row in connection.execute(_PARKED_BY_FEED)]
    told = {one.kind for one in found}
    found += [Waiting(kind, "", *values) for kind, values in kinds.items() if kind not in told]
    return tuple(found)


def owed_publications(connection: Connection) -> tuple[Owed, ...]:
    return tuple(Owed(*row) for row in connection.execute(_PUBLICATIONS))


def done_publications(connection: Connection) -> int:
    return int(connection.execute(_DONE).scalar_one())


def role_beats(connection: Connection) -> dict[str, datetime]:
    return {name: at for name, at, _ in connection.execute(_ACTIVITY, {"k": "role"})}


def open_alarms(connection: Connection) -> list[dict[str, Any]]:
    """Oldest first."""
    return [dict(row._mapping) for row in connection.execute(_OPEN)]


def list_alarms(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Newest first, those that have ended too."""
    return [dict(row._mapping) for row in connection.execute(_ALL, {"n": limit})]


def begin_alarm(connection: Connection, kind: str, subject: str, details: Mapping[str, object], at: datetime) -> int:
    values = {"kind": kind, "subject": subject, "details": dict(details), "began_at": at}
    return int(connection.execute(_BEGIN, values).scalar_one())


def end_alarm(connection: Connection, alarm_id: int, at: datetime) -> bool:
    """False when another node was first."""
    return connection.execute(_END, {"a": alarm_id, "at": at}).rowcount == 1
